package remote_test

import (
	"bytes"
	"encoding/pem"
	"io"
	"net/http"
	"net/http/httptest"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api/client/remote"
)

// TestHost checks that the key comes from its file or else from Key, and that errors
// do not reveal it.
func TestHost(t *testing.T) {
	dir := t.TempDir()
	file := func(name, text string) string {
		name = filepath.Join(dir, name)
		if err := os.WriteFile(name, []byte(text), 0o600); err != nil {
			t.Fatal(err)
		}
		return name
	}
	var given atomic.Value
	s := httptest.NewTLSServer(http.HandlerFunc(func(w http.ResponseWriter, r *http.Request) {
		given.Store(r.Header.Get("Authorization"))
		w.WriteHeader(http.StatusNotFound)
	}))
	defer s.Close()
	var trust bytes.Buffer
	if err := writePEM(&trust, s.Certificate().Raw); err != nil {
		t.Fatal(err)
	}
	trusted := file("ca.pem", trust.String())
	for name, k := range map[string]struct {
		host remote.Host
		want string
	}{
		"the environment's": {remote.Host{Key: "env"}, "Bearer env"},
		"a file's":          {remote.Host{Key: "env", KeyFile: file("key", "of-file\n")}, "Bearer of-file"},
		"none":              {remote.Host{}, ""},
	} {
		k.host.URL, k.host.CAFile = s.URL, trusted
		if _, err := k.host.Open(t.Context(), "m"); err == nil || given.Load() != k.want {
			t.Errorf("%s: %v was sent; %v", name, given.Load(), err)
		}
	}
	given.Store("nothing")
	for name, h := range map[string]remote.Host{
		"no file":          {KeyFile: filepath.Join(dir, "none")},
		"an empty file":    {KeyFile: file("empty", "\n")},
		"two lines":        {KeyFile: file("two", "s3cret\ns3cret")},
		"a large file":     {KeyFile: file("large", strings.Repeat("x", 1<<20+1))},
		"no certificates":  {CAFile: file("none.pem", "s3cret")},
		"no file of them":  {CAFile: filepath.Join(dir, "none")},
		"nobody vouches":   {},
		"a key in the URL": {URL: strings.Replace(s.URL, "https://", "https://u:s3cret@", 1)},
	} {
		if h.URL == "" {
			h.URL = s.URL
		}
		if _, err := h.Open(t.Context(), "m"); err == nil || strings.Contains(err.Error(), "s3cret") || given.Load() != "nothing" {
			t.Errorf("%s: %v; %v was sent", name, err, given.Load())
		}
	}
}

func writePEM(w io.Writer, certificate []byte) error {
	return pem.Encode(w, &pem.Block{Type: "CERTIFICATE", Bytes: certificate})
}
