package cli

import (
	"crypto/x509"
	"encoding/pem"
	"fmt"
	"os"
	"time"

	"k8s.io/client-go/rest"
)

// expired returns an error if the client certificate of a kubeconfig has expired. The
// API server would only say that it refuses the connection. Whatever else is wrong
// with the certificate, the connection says.
func expired(cfg *rest.Config, now time.Time) error {
	text := cfg.CertData
	if len(text) == 0 && cfg.CertFile != "" {
		var err error
		if text, err = os.ReadFile(cfg.CertFile); err != nil {
			return fmt.Errorf("reading the client certificate of the kubeconfig: %w", err)
		}
	}
	block, _ := pem.Decode(text)
	if block == nil {
		return nil
	}
	cert, err := x509.ParseCertificate(block.Bytes)
	if err != nil || !now.After(cert.NotAfter) {
		return nil //nolint:nilerr // the connection says what is wrong
	}
	return fmt.Errorf("the client certificate of the kubeconfig (%s) expired at %s: renew it", cert.Subject.CommonName, cert.NotAfter.UTC().Format(time.RFC3339))
}
