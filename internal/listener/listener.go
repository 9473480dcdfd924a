// Package listener opens the address of a server and reloads its certificate.
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

// Listen opens the configured address. The error says what to change.
func Listen(ctx context.Context, host string, port int) (net.Listener, error) {
	bare := host
	if strings.HasPrefix(host, "[") && strings.HasSuffix(host, "]") {
		bare = host[1 : len(host)-1]
	}
	address := net.JoinHostPort(bare, strconv.Itoa(port))
	var how net.ListenConfig
	how.SetMultipathTCP(false) // an MPTCP socket takes no filter, without which stopping would lose connections
	ln, err := how.Listen(ctx, "tcp", address)
	if err == nil {
		return ln, nil
	}
	return nil, fmt.Errorf("listening on %s: %w; %s", address, err, advice(err))
}

// advice says what to change after an error of listening.
func advice(err error) string {
	var unknown *net.DNSError
	switch {
	case errors.Is(err, syscall.EADDRINUSE):
		return "another program listens there: stop it, or choose another port with --port (server.port); 0 means any free port"
	case errors.Is(err, syscall.EACCES):
		return "the port needs privileges: choose one from 1024 on with --port (server.port), or give the binary CAP_NET_BIND_SERVICE"
	case errors.Is(err, syscall.EADDRNOTAVAIL):
		return "this machine does not have the address: choose another with --host (server.host); 0.0.0.0 and :: mean all addresses"
	case errors.As(err, &unknown):
		return "the name is unknown: choose another with --host (server.host)"
	}
	return "--host (server.host) and --port (server.port) say where to listen"
}

// IsLoopback reports whether only this machine can reach an address.
func IsLoopback(a net.Addr) bool {
	tcp, ok := a.(*net.TCPAddr)
	return ok && tcp.IP.IsLoopback()
}

// Certificate holds the certificate and key for new connections, which can be
// replaced. The zero value has none.
type Certificate struct {
	now     atomic.Pointer[tls.Certificate]
	clients atomic.Pointer[x509.CertPool] // who signs those of clients; nil: none is asked for
}

// Read loads the certificate and key from their files, if files names them.
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

// Prepare loads the next certificate and key, and returns a function that makes new
// connections use them. A server cannot switch between TLS and plain HTTP.
func (c *Certificate) Prepare(files config.TLS) (use func(), err error) {
	if was, is := c.now.Load() != nil, files.Cert != ""; was != is {
		return nil, errors.New("server.tls can be switched on or off only at the next start")
	}
	var next Certificate
	if err := next.Read(files); err != nil {
		return nil, fmt.Errorf("the TLS certificate was not applied: the old one stays in use: %w", err)
	}
	return func() { c.clients.Store(next.clients.Load()); c.now.Store(next.now.Load()) }, nil
}

// Config returns the server's TLS configuration, or nil without a certificate.
func (c *Certificate) Config() *tls.Config {
	if c.now.Load() == nil {
		return nil
	}
	return &tls.Config{
		MinVersion: tls.VersionTLS12, GetCertificate: func(*tls.ClientHelloInfo) (*tls.Certificate, error) { return c.now.Load(), nil },
		GetConfigForClient: func(*tls.ClientHelloInfo) (*tls.Config, error) {
			clients := c.clients.Load()
			if clients == nil {
				return nil, nil //nolint:nilnil // the configuration stays as it is
			}
			return &tls.Config{MinVersion: tls.VersionTLS12, Certificates: []tls.Certificate{*c.now.Load()}, ClientCAs: clients, ClientAuth: tls.VerifyClientCertIfGiven}, nil
		},
	}
}
