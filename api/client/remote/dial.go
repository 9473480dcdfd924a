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

// Host says which host is asked, and as whom.
type Host struct {
	URL     string
	KeyFile string // holds the key; empty: Key is it
	Key     string // from the environment: everybody sees a process's arguments
	CAFile  string // holds certificates, in PEM, of those who vouch for the host; empty: the system's
}

// AddFlags adds the flags that say which host it is. None takes the key itself.
func (h *Host) AddFlags(f *pflag.FlagSet) {
	f.StringVar(&h.URL, "host", "", "score through the host at this URL")
	f.StringVar(&h.KeyFile, "key-file", "", "file that holds the key for --host (default: PYNOMALY_KEY)")
	f.StringVar(&h.CAFile, "ca-file", "", "certificates of who vouches for --host (default: the system's)")
}

const fileMost = 1 << 20

// Open finds a model on the host by its name, which is an id or id@version. Close it.
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
			return nil, fmt.Errorf("reading whom to trust: %w", err)
		}
		cfg.TLS = &tls.Config{MinVersion: tls.VersionTLS12, RootCAs: x509.NewCertPool()}
		if !cfg.TLS.RootCAs.AppendCertsFromPEM(text) {
			return nil, fmt.Errorf("reading whom to trust: %s holds no certificate in PEM", h.CAFile)
		}
	}
	return client.New(cfg) //nolint:wrapcheck // it says what is wrong with the URL or the key
}

// readSmall reads a file that is no larger than keys and certificates are.
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
