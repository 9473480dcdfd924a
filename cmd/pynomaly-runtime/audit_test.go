package main

import (
	"bytes"
	"log/slog"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/api/audit"
)

// TestAuditVerify checks that the command names the line with one changed byte.
func TestAuditVerify(t *testing.T) {
	name := filepath.Join(t.TempDir(), "audit.log")
	l, err := audit.Open(audit.Config{File: name, Rotate: 1000, Now: time.Now, Log: slog.New(slog.DiscardHandler)})
	if err != nil {
		t.Fatal(err)
	}
	for range 10 {
		if err := l.Write(audit.Entry{Action: "load_model", Model: "m", Outcome: "ok"}); err != nil {
			t.Fatal(err)
		}
	}
	if err := l.Close(); err != nil {
		t.Fatal(err)
	}
	files, err := filepath.Glob(name + "*")
	if err != nil || len(files) < 2 {
		t.Fatalf("%q, %v", files, err)
	}
	verify := append([]string{"audit", "verify"}, files...)
	out, _, err := command(t, nil, verify...)
	if err != nil || !strings.Contains(out, "10 lines in order, 1 to 10, 0 interrupted") {
		t.Fatalf("%s, %v", out, err)
	}
	hash := strings.TrimSpace(out[strings.LastIndex(out, " "):])
	if _, _, err := command(t, nil, append(verify, "--last", hash)...); err != nil {
		t.Error(err)
	}
	if _, _, err := command(t, nil, append(verify, "--last", strings.Repeat("0", 64))...); err == nil || !strings.Contains(err.Error(), "no line has the hash") {
		t.Error(err)
	}
	text, err := os.ReadFile(files[1])
	if err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(files[1], bytes.Replace(text, []byte(`"model":"m"`), []byte(`"model":"n"`), 1), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, _, err := command(t, nil, verify...); err == nil || !strings.Contains(err.Error(), files[1]+":1: ") || !strings.Contains(err.Error(), "it was changed") {
		t.Error(err)
	}
}
