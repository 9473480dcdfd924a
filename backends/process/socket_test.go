package process_test

import (
	"context"
	"crypto/tls"
	"errors"
	"io"
	"io/fs"
	"net"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestOnlyTheHostConnects checks that a starting plugin answers only the host's
// certificate, and that a started one has no socket.
func TestOnlyTheHostConnects(t *testing.T) {
	dir, err := os.MkdirTemp("/tmp", "sockets-*") // short, because the length of socket names is limited
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
			if err == nil && d.Type() == fs.ModeSocket { // skip files that are gone by now
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
	// HTTP/2's preface with the client's settings. A server responds with its own
	// settings.
	const preface, settingsFrame = "PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\x00\x00\x00\x04\x00\x00\x00\x00\x00", 4
	talk := func(c net.Conn) error {
		defer c.Close()
		header := make([]byte, 9)
		_, _ = io.WriteString(c, preface)
		if _, err := io.ReadFull(c, header); err != nil || header[3] != settingsFrame {
			return errors.Join(errors.New("no settings"), err)
		}
		return nil
	}
	clear, err := net.Dial("unix", socket)
	if err != nil {
		t.Fatal(err)
	}
	if talk(clear) == nil {
		t.Error("a client without TLS is answered")
	}
	c, err := tls.Dial("unix", socket, &tls.Config{InsecureSkipVerify: true, NextProtos: []string{"h2"}})
	if err == nil { // in TLS 1.3 the server refuses after the client's handshake
		err = talk(c)
	}
	if err == nil || !strings.Contains(err.Error(), "certificate required") {
		t.Errorf("a client without a certificate: %v", err)
	}
	cancel()
	<-ended
	good := artifact(t, "", xy)
	open(t, backend(t, good, nil), good)
	if left := sockets(); len(left) > 0 {
		t.Errorf("sockets %q", left)
	}
}
