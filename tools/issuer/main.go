// Command issuer is an OpenID provider for tests: the certified one of
// github.com/zitadel/oidc, with its storage in memory. It gives the service user sid1
// tokens by the grant client_credentials, for the audience and the role that the
// scopes "audience:<name>" and "role:<name>" ask for.
//
// After SIGHUP it signs with a new key, and goes on publishing the old ones. It
// prints its address when it is ready.
package main

import (
	"context"
	"crypto/ecdsa"
	"crypto/elliptic"
	"crypto/rand"
	"crypto/tls"
	"errors"
	"flag"
	"fmt"
	"log/slog"
	"net"
	"net/http"
	"os"
	"os/signal"
	"strings"
	"sync"
	"syscall"
	"time"

	"github.com/go-jose/go-jose/v4"
	"github.com/zitadel/oidc/v3/example/server/storage"
	"github.com/zitadel/oidc/v3/pkg/oidc"
	"github.com/zitadel/oidc/v3/pkg/op"
)

func main() {
	if err := run(); err != nil {
		fmt.Fprintln(os.Stderr, "issuer:", err)
		os.Exit(1)
	}
}

func run() error {
	cert, key := flag.String("cert", "", "file of the certificate"), flag.String("key", "", "file of its key")
	flag.Parse()
	ctx, stop := signal.NotifyContext(context.Background(), os.Interrupt, syscall.SIGTERM)
	defer stop()
	pair, err := tls.LoadX509KeyPair(*cert, *key)
	if err != nil {
		return fmt.Errorf("reading the certificate: %w", err)
	}
	ln, err := new(net.ListenConfig).Listen(ctx, "tcp", "127.0.0.1:0")
	if err != nil {
		return fmt.Errorf("listening: %w", err)
	}
	issuer := "https://" + ln.Addr().String()
	s := &store{Storage: storage.NewStorage(storage.NewUserStore(issuer))}
	if err := s.rotate(); err != nil {
		return err
	}
	config := &op.Config{}
	if _, err := rand.Read(config.CryptoKey[:]); err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	provider, err := op.NewProvider(config, s, op.StaticIssuer(issuer), op.WithLogger(slog.New(slog.DiscardHandler)))
	if err != nil {
		return fmt.Errorf("making a provider: %w", err)
	}
	hangUps := make(chan os.Signal, 1)
	signal.Notify(hangUps, syscall.SIGHUP)
	server := &http.Server{Handler: provider, ReadHeaderTimeout: 10 * time.Second, TLSConfig: &tls.Config{Certificates: []tls.Certificate{pair}, MinVersion: tls.VersionTLS12}}
	var wg sync.WaitGroup
	wg.Go(func() { s.follow(ctx, hangUps); _ = server.Close() })
	fmt.Println(issuer)
	err = server.ServeTLS(ln, "", "")
	stop()
	wg.Wait()
	if !errors.Is(err, http.ErrServerClosed) {
		return fmt.Errorf("serving: %w", err)
	}
	return nil
}

// store is the storage of the provider's example, with keys that can be exchanged.
type store struct {
	*storage.Storage
	mu   sync.Mutex
	keys []signingKey // the last one signs
}

// signingKey is one key of the provider.
type signingKey struct {
	id      string
	private *ecdsa.PrivateKey
}

func (k signingKey) ID() string                                  { return k.id }
func (k signingKey) Key() any                                    { return k.private }
func (k signingKey) SignatureAlgorithm() jose.SignatureAlgorithm { return jose.ES256 }

// publicKey is what the provider publishes of a signingKey.
type publicKey struct{ signingKey }

func (k publicKey) Key() any                           { return k.private.Public() }
func (k publicKey) Algorithm() jose.SignatureAlgorithm { return jose.ES256 }
func (k publicKey) Use() string                        { return "sig" }

// follow exchanges the key for a new one at each signal, until ctx ends.
func (s *store) follow(ctx context.Context, signals <-chan os.Signal) {
	for {
		select {
		case <-ctx.Done():
			return
		case <-signals:
			if err := s.rotate(); err != nil {
				fmt.Fprintln(os.Stderr, "issuer:", err)
			}
		}
	}
}

func (s *store) rotate() error {
	key, err := ecdsa.GenerateKey(elliptic.P256(), rand.Reader)
	if err != nil {
		return fmt.Errorf("making a key: %w", err)
	}
	s.mu.Lock()
	defer s.mu.Unlock()
	s.keys = append(s.keys, signingKey{fmt.Sprintf("key-%d", len(s.keys)+1), key})
	return nil
}

// SigningKey implements op.Storage.
func (s *store) SigningKey(context.Context) (op.SigningKey, error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	return s.keys[len(s.keys)-1], nil
}

// SignatureAlgorithms implements op.Storage.
func (s *store) SignatureAlgorithms(context.Context) ([]jose.SignatureAlgorithm, error) {
	return []jose.SignatureAlgorithm{jose.ES256}, nil
}

// KeySet implements op.Storage.
func (s *store) KeySet(context.Context) (all []op.Key, err error) {
	s.mu.Lock()
	defer s.mu.Unlock()
	for _, k := range s.keys {
		all = append(all, publicKey{k})
	}
	return all, nil
}

// client is a client whose access tokens are JWTs.
type client struct{ op.Client }

func (client) AccessTokenType() op.AccessTokenType { return op.AccessTokenTypeJWT }

// ClientCredentials implements op.ClientCredentialsStorage.
func (s *store) ClientCredentials(ctx context.Context, id, secret string) (op.Client, error) {
	c, err := s.Storage.ClientCredentials(ctx, id, secret)
	return client{c}, err
}

// The scopes that choose what a token says.
const (
	audiencePrefix = "audience:"
	rolePrefix     = "role:"
)

// values returns what follows a prefix in scopes.
func values(scopes []string, prefix string) (all []string) {
	for _, scope := range scopes {
		if v, ok := strings.CutPrefix(scope, prefix); ok {
			all = append(all, v)
		}
	}
	return all
}

// ClientCredentialsTokenRequest implements op.ClientCredentialsStorage.
func (s *store) ClientCredentialsTokenRequest(_ context.Context, id string, scopes []string) (op.TokenRequest, error) {
	return &oidc.JWTTokenRequest{Subject: id, Audience: values(scopes, audiencePrefix), Scopes: scopes}, nil
}

// GetPrivateClaimsFromScopes implements op.Storage.
func (s *store) GetPrivateClaimsFromScopes(_ context.Context, _, _ string, scopes []string) (map[string]any, error) {
	return map[string]any{"roles": values(scopes, rolePrefix)}, nil
}
