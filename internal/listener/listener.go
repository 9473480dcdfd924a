// Package listener opens the address of a server, and follows its certificate.
package listener

import (
	"context"
	"crypto/tls"
	"crypto/x509"
	"errors"
	"fmt"
	"net"
	"os"
	"strconv"
	"strings"
	"sync/atomic"
	"syscall"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// Listen opens the address of the configuration. The error says what to change.
func Listen(ctx context.Context, host string, port int) (net.Listener, error) {
	bare := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare = host[1 : len(host)-1]
	}
	address := net.JoinHostPort(bare, strconv.Itoa(port))
	var how net.ListenConfig
	how.SetMultipathTCP(false) // such a socket takes no filter, which a stop needs to lose nobody
	ln, err := how.Listen(ctx, "tcp", address)
	if err == nil {
		return ln, nil
	}
	return nil, fmt.Errorf("listening on %s: %w; %s", address, err, advice(err))
}

// advice says what to change when an address cannot be listened on.
func advice(err error) string {
	var unknown *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "something listens there already: stop it, or choose another port with --port (server.port); 0 is a free one"
	case errors.Is(err, syscall.EACCES):
		return "the port needs privileges: choose one from 1024 on with --port (server.port), or give the binary CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "the address is none of this machine's: choose another with --host (server.host); 0.0.0.0 and :: are all of them"
	case errors.As(err, &unknown):
		return "the name is not known: choose another with --host (server.host)"
	}
	return "--host (server.host) and --port (server.port) say where to listen"
}

// IsLoopback reports whether only this machine reaches an address.
func IsLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Certificate is the pair that new connections get; it can be changed. The zero value has
// none.
type Certificate struct {
	now     atomic.Pointer[tls.Certificate]
	clients atomic.Pointer[x509.CertPool] // who signs those of clients; nil: none is asked for
}

// Read takes the pair from its files, if they are named.
func (c *Certificate) Read(files config.TLS) error {
	if files.Cert == "" {
		return nil
	}
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return fmt.Errorf("reading the TLS certificate: %w", err)
	}
	if files.ClientCA != "" {
		pem, err := os.ReadFile(files.ClientCA)
		if err != nil {
			return fmt.Errorf("reading the CAs of clients: %w", err)
		}
		pool := x509.NewCertPool()
		if !pool.AppendCertsFromPEM(pem) {
			return fmt.Errorf("reading the CAs of clients: %s holds no certificate", files.ClientCA)
		}
		c.clients.Store(pool)
	}
	c.now.Store(&pair)
	return nil
}

// Prepare reads the pair that is to follow, and returns what lets new connections get it.
// A server keeps to TLS, or to doing without.
func (c *Certificate) Prepare(files config.TLS) (use func(), err error) {
	if was, is := c.now.Load() != nil, files.Cert != ""; was != is {
		return nil, errors.New("server.tls is switched on or off at the next start only")
	}
	var next Certificate
	if err := next.Read(files); err != nil {
		return nil, fmt.Errorf("the TLS certificate is not taken up: the one in use stays: %w", err)
	}
	return func() { c.clients.Store(next.clients.Load()); c.now.Store(next.now.Load()) }, nil
}

// Config returns the server's TLS configuration; nil where it has no certificate.
func (c *Certificate) Config() *tls.Config {
	if c.now.Load() == nil {
		return nil
	}
	own := func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil }
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: own,
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			clients := c.clients.Load()
			if clients == nil {
				return nil, nil //nolint:nilnil // the configuration stays as it is
			}
			return &tls.Config{MinVersion: tls.VersionTLS12, GetCertificate: own, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven}, nil
		},
	}
}
