package process_test

import (
	"context"
	"crypto/tls"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestOnlyTheHostConnects: whoever reaches the socket of a plugin that is starting is not
// spoken to without the host's certificate. One that has started has no socket any more.
func TestOnlyTheHostConnects(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sockets-*") // a short name, as sockets need
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() { _ = os.RemoveAll(dir) })
	if err := os.Chmod(dir, 0o711); err != nil { // plugins of another user pass through it
		t.Fatal(err)
	}
	t.Setenv("TMPDIR", dir)
	sockets := func() (names []string) {
		_ = filepath.WalkDir(dir, func(path string, d fs.DirEntry, err error) error {
			if err == nil && d.Type() == fs.ModeSocket { // what has gone meanwhile is passed over
				names = append(names, path)
			}
			return nil
		})
		return names
	}
	a := artifact(t, `"fault":"hangs"`, xy+"limits: {load_timeout: 5m}\n")
	ctx, cancel := context.WithCancel(t.Context())
	ended := make(chan struct{})
	go func() {
		defer close(ended)
		if _, err := testkit.Processes(t, a.Dir, nil).Open(ctx, a); err == nil {
			t.Error("a plugin that hangs was opened")
		}
	}()
	defer func() { cancel(); <-ended }()
	testkit.Eventually(t, "the plugin listens", func() bool { return len(sockets()) == 1 })
	socket := sockets()[0]
	for name, dial := range map[string]func() (net.Conn, error){
		"who speaks in clear": func() (net.Conn, error) { return net.Dial("unix", socket) },
		"who has no certificate": func() (net.Conn, error) {
			return tls.Dial("unix", socket, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
		},
	} {
		c, err := dial()
		if err != nil {
			continue // the handshake has failed
		}
		// The preface of HTTP/2 with a client's settings, which a server answers with its own.
		const settingsFrame = 4
		_, _ = io.WriteString(c, "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00")
		header := make([]byte, 9)
		if _, err := io.ReadFull(c, header); err == nil && header[3] == settingsFrame {
			t.Errorf("%s is answered", name)
		}
		_ = c.Close()
	}
	cancel()
	<-ended
	good := artifact(t, "", xy)
	open(t, backend(t, good, nil), good)
	if left := sockets(); len(left) > 0 {
		t.Errorf("sockets %q", left)
	}
}
