// Package listener opens the address of a server, and follows its certificate.
package listener

import (
	"context"
	"crypto/tls"
	"errors"
	"fmt"
	"net"
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

// Certificate is the pair that new connections get; it can be changed.
type Certificate struct {
	now atomic.Pointer[tls.Certificate]
}

// Read takes the pair from its files. After an error it is what it was.
func (c *Certificate) Read(files config.TLS) error {
	pair, err := tls.LoadX509KeyPair(files.Cert, files.Key)
	if err != nil {
		return fmt.Errorf("reading the TLS certificate: %w", err)
	}
	c.now.Store(&pair)
	return nil
}

// Config returns the server's TLS configuration; nil where it has no certificate.
func (c *Certificate) Config() *tls.Config {
	if c.now.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion:     tls.VersionTLS12,
		GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
	}
}
