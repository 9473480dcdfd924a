package remote

import (
	"bytes"
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"io"
	"os"
	"strings"

	"github.com/spf13/pflag"

	"github.com/pynomaly/pynomaly-runtime/api/client"
)

// Host says which host to use, and with which key.
type Host struct {
	URL     string
	KeyFile string // file of the key; empty: Key
	Key     string // from the environment, because everybody sees a process's arguments
	CAFile  string // file of CAs in PEM that verify the host; empty: the system's
}

// AddFlags adds the flags of h. No flag takes the key itself.
func (h *Host) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&h.URL, "host", "", "score through the host at this URL")
	f.StringVar(&h.KeyFile, "key-file", "", "file of the key for --host (default: PYNOMALY_KEY)")
	f.StringVar(&h.CAFile, "ca-file", "", "file of the CAs that verify --host (default: the system's)")
}

const fileMost = 1 << 20

// Open finds a model on the host by its name, which is id or id@version. The caller
// must close it.
func (h Host) Open(ctx context.Context, name string) (*Model, error) {
	c, err := h.client()
	if err != nil {
		return nil, err
	}
	id, version, _ := strings.Cut(name, "@")
	m, err := Open(ctx, c, id, version)
	if err != nil {
		c.Close()
		return nil, err
	}
	return m, nil
}

// Close closes the connections to the host.
func (m *Model) Close() { m.client.Close() }

func (h Host) client() (*client.Client, error) {
	cfg := client.Config{URL: h.URL, Key: h.Key}
	if h.KeyFile != "" {
		text, err := readSmall(h.KeyFile)
		if err != nil {
			return nil, fmt.Errorf("reading the key: %w", err)
		}
		if cfg.Key = string(bytes.TrimSpace(text)); cfg.Key == "" {
			return nil, fmt.Errorf("reading the key: %s is empty", h.KeyFile)
		}
	}
	if h.CAFile != "" {
		text, err := readSmall(h.CAFile)
		if err != nil {
			return nil, fmt.Errorf("reading the CAs: %w", err)
		}
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading the CAs: %s has no certificate in PEM", h.CAFile)
		}
	}
	return client.New(cfg) //nolint:wrapcheck // it says what is wrong with the URL or the key
}

// readSmall reads a file of at most the size of keys and certificates.
func readSmall(name string) ([]byte, error) {
	f, err := os.Open(name)
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	defer f.Close()
	text, err := io.ReadAll(io.LimitReader(f, fileMost+1))
	if err != nil {
		return nil, err //nolint:wrapcheck // it names the file
	}
	if len(text) > fileMost {
		return nil, fmt.Errorf("%s: %w", name, errLarge)
	}
	return text, nil
}

var errLarge = errors.New("the file has more than a megabyte")
