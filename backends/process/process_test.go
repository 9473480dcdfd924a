package process_test

import (
	"bytes"
	"context"
	"crypto/sha256"
	"errors"
	"fmt"
	"log/slog"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"testing"
	"time"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/backends/process"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

func TestMain(m *testing.M) { testkit.Main(m) }

const (
	plain = "./internal/testkit/faulty"
	xy    = "features: [{name: x, dtype: float64}, {name: y, dtype: float64}]\n"
)

// decode reads a manifest with long time limits, unless extra sets others.
func decode(t testing.TB, extra string) *manifest.Manifest {
	t.Helper()
	m, err := manifest.Decode([]byte("apiVersion: pynomaly.io/v1\nkind: Model\nid: m\nversion: 1.0.0\nbackend: process\n" + extra))
	if err != nil {
		t.Fatal(err)
	}
	if !strings.Contains(extra, "load_timeout:") {
		m.Limits.LoadTimeout = 10 * time.Minute
	}
	if !strings.Contains(extra, "{timeout:") && !strings.Contains(extra, " timeout:") {
		m.Limits.Timeout = 2 * time.Minute
	}
	return m
}

// artifact returns the faulty plugin, which behaves well unless settings say
// otherwise.
func artifact(t testing.TB, settings, extra string) backends.Artifact {
	t.Helper()
	return backends.Artifact{
		Manifest: decode(t, "artifact: plugin\n"+extra), Bytes: testkit.Program(t, plain), Dir: t.TempDir(),
		Files: map[string][]byte{"plugin.json": []byte("{" + settings + "}")},
	}
}

func backend(t testing.TB, a backends.Artifact, log *slog.Logger) *process.Backend {
	t.Helper()
	return testkit.Processes(t, a.Dir, log)
}

func open(t testing.TB, b *process.Backend, a backends.Artifact) sdk.Scorer {
	t.Helper()
	s, err := b.Open(t.Context(), a)
	if err != nil {
		t.Fatal(err)
	}
	t.Cleanup(func() {
		if err := s.Close(); err != nil {
			t.Error(err)
		}
	})
	return s
}

func rows(features []sdk.Feature, values ...float64) *sdk.Batch {
	b := sdk.NewBatch(features)
	b.Resize(len(values) / len(features))
	copy(b.Float64s(), values)
	return b
}

func score(t testing.TB, s sdk.Scorer, values ...float64) ([]float64, error) {
	t.Helper()
	in := rows(s.Info().Features, values...)
	out := make([]float64, in.Rows())
	ctx, cancel := context.WithTimeout(t.Context(), 5*time.Minute)
	defer cancel()
	return out, s.Score(ctx, in, out)
}

// text is a log that tests can read.
type text struct {
	mu  sync.Mutex
	buf bytes.Buffer
}

func (l *text) Write(b []byte) (int, error) {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.Write(b)
}

func (l *text) String() string {
	l.mu.Lock()
	defer l.mu.Unlock()
	return l.buf.String()
}

func discard() *slog.Logger { return slog.New(slog.DiscardHandler) }

func logger() (*text, *slog.Logger) {
	l := &text{}
	return l, slog.New(slog.NewTextHandler(l, &slog.HandlerOptions{Level: slog.LevelDebug}))
}

func TestScore(t *testing.T) {
	a := artifact(t, `"concurrency":4`, xy)
	s := open(t, backend(t, a, nil), a)
	got, err := score(t, s, 1, 2, 30, 4)
	if err != nil || got[0] != 3 || got[1] != 34 {
		t.Errorf("%v, %v", got, err)
	}
	var failed *sdk.RowErrors
	if got, err = score(t, s, 1, 2, math.NaN(), 4, 5, 6); !errors.As(err, &failed) || len(failed.Rows) != 1 || failed.Rows[0].Row != 1 || failed.Rows[0].Field != "x" || got[2] != 11 {
		t.Errorf("%v, %v", got, err)
	}
	if _, err := score(t, s); err != nil {
		t.Errorf("no rows: %v", err)
	}
	if i := s.Info(); i.Concurrency != 4 || i.Stateful || i.Algorithm != "sum" {
		t.Errorf("%+v", i)
	}
}

// TestLargeBatch scores a batch of several chunks and one that exceeds gRPC's
// default limit.
func TestLargeBatch(t *testing.T) {
	a := artifact(t, `"concurrency":4`, xy)
	s := open(t, backend(t, a, nil), a)
	values := make([]float64, 2*600_000)
	for i := range values {
		values[i] = float64(i)
	}
	got, err := score(t, s, values...)
	if err != nil {
		t.Fatal(err)
	}
	for i, v := range got {
		if v != float64(4*i+1) {
			t.Fatalf("row %d scored %v", i, v)
		}
	}
}

// TestTypedColumns checks that strings, booleans and numbers of different types
// reach a plugin unchanged.
func TestTypedColumns(t *testing.T) {
	a := artifact(t, `"dtype":""`, "features: [{name: s, dtype: string}, {name: b, dtype: bool}, {name: i, dtype: int64}, {name: f, dtype: float32}]\n")
	s := open(t, backend(t, a, nil), a)
	in := sdk.NewBatch(s.Info().Features)
	in.Resize(2)
	copy(in.Column(0).Strings, []string{"abc", "ü"})
	copy(in.Column(1).Bools, []bool{true, false})
	copy(in.Column(2).Int64s, []int64{1 << 40, -1})
	copy(in.Column(3).Float32s, []float32{0.5, 0.25})
	out := make([]float64, 2)
	if err := s.Score(t.Context(), in, out); err != nil || out[0] != 3+1+(1<<40)+0.5 || out[1] != 2-1+0.25 {
		t.Errorf("%v, %v", out, err)
	}
}

// TestWidened checks that a plugin that takes a matrix receives one, and that a row
// fails if the matrix cannot hold one of its numbers.
func TestWidened(t *testing.T) {
	a := artifact(t, "", "features: [{name: x, dtype: int64}, {name: y, dtype: bool}]\n")
	s := open(t, backend(t, a, nil), a)
	in := sdk.NewBatch(s.Info().Features)
	in.Resize(3)
	copy(in.Column(0).Int64s, []int64{7, 1<<53 + 1, -2})
	copy(in.Column(1).Bools, []bool{true, true, false})
	out := make([]float64, 3)
	var failed *sdk.RowErrors
	if err := s.Score(t.Context(), in, out); !errors.As(err, &failed) || len(failed.Rows) != 1 || failed.Rows[0].Row != 1 || out[0] != 8 || out[2] != -2 {
		t.Errorf("%v, %v", out, err)
	}
}

func TestFeaturesFromThePlugin(t *testing.T) {
	a := artifact(t, `"features":["p","q"]`, "")
	b := backend(t, a, nil)
	d, err := b.Inspect(t.Context(), a)
	if err != nil || len(d.Features) != 2 || d.Features[1].Name != "q" || len(a.Manifest.Features) != 0 {
		t.Fatalf("%v, %v", d.Features, err)
	}
	a.Manifest = a.Manifest.With(d)
	open(t, b, a)
	a.Manifest.Features[1].Name = "r"
	if _, err := b.Open(t.Context(), a); !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), `feature 1 is "r" in the manifest and "q" in the plugin`) {
		t.Errorf("%v", err)
	}
	a = artifact(t, "", "")
	if _, err := backend(t, a, nil).Inspect(t.Context(), a); err == nil || !strings.Contains(err.Error(), "list them under features") {
		t.Errorf("%v", err)
	}
}

func TestTrust(t *testing.T) {
	a := artifact(t, `"concurrency":4`, xy)
	inside := filepath.Join(a.Dir, "below")
	if err := os.Mkdir(inside, 0o755); err != nil {
		t.Fatal(err)
	}
	digest := "sha256:" + strings.Repeat("0", 64)
	for want, allow := range map[string][]process.Allowed{
		"no directory may run process plugins": nil,
		"may not run process plugins":          {{Path: inside}, {Path: t.TempDir()}},
		"does not list sha256:":                {{Path: a.Dir, Digests: []string{digest}}},
	} {
		b := process.New(process.Config{Allow: allow, User: testkit.PluginUser(), Log: slog.New(slog.DiscardHandler)})
		if _, err := b.Open(t.Context(), a); !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), want) {
			t.Errorf("%v, want %q", err, want)
		}
		if err := b.Close(); err != nil {
			t.Error(err)
		}
	}
	// A link cannot circumvent the check. A link to an allowed directory is allowed.
	link := filepath.Join(t.TempDir(), "link")
	if err := os.Symlink(a.Dir, link); err != nil {
		t.Fatal(err)
	}
	b := testkit.Processes(t, link, nil)
	a.Dir = inside
	open(t, b, a)
}

// TestDigestsCoverTheCommand checks that with digests nothing runs that they do not
// cover: no other program of the command, and no file beside a script.
func TestDigestsCoverTheCommand(t *testing.T) {
	dir := t.TempDir()
	script := []byte("#!/bin/sh\nexit 3\n")
	b := process.New(process.Config{
		Allow: []process.Allowed{{Path: dir, Digests: []string{fmt.Sprintf("sha256:%x", sha256.Sum256(script))}}},
		User:  testkit.PluginUser(), Random: func() float64 { return 0.5 }, Log: discard(),
	})
	defer b.Close()
	for name, c := range map[string]struct {
		manifest string
		bytes    []byte
		files    map[string][]byte
		want     string
	}{
		"no artifact":          {"command: [/bin/sh, -c, 'exit 3']\n", nil, nil, "followed by the artifact"},
		"an option first":      {"artifact: s\ncommand: [sh, -c, 'exit 3', s]\n", script, nil, "followed by the artifact"},
		"a program elsewhere":  {"artifact: s\ncommand: [/bin/sh, s]\n", script, nil, "followed by the artifact"},
		"a file beside it":     {"artifact: s\n", script, map[string][]byte{"json.py": []byte("evil")}, "json.py"},
		"all of it is listed":  {"artifact: s\n", script, nil, "exit status 3"},
		"with its interpreter": {"artifact: s\ncommand: [sh, s]\n", script, nil, "exit status 3"},
	} {
		a := backends.Artifact{Manifest: decode(t, c.manifest+xy), Bytes: c.bytes, Files: c.files, Dir: dir}
		if _, err := b.Open(t.Context(), a); !errors.Is(err, backends.ErrRefused) || !strings.Contains(err.Error(), c.want) {
			t.Errorf("%s: %v, want %q", name, err, c.want)
		}
	}
}

func TestUsers(t *testing.T) {
	for user, want := range map[string]string{"no-such-user": "unknown user", "1:x": "not a group number"} {
		if err := process.New(process.Config{User: user}).Err(); !errors.Is(err, backends.ErrUnavailable) || !strings.Contains(err.Error(), want) {
			t.Errorf("%s: %v, want %q", user, err, want)
		}
	}
	if os.Geteuid() == 0 {
		if err := process.New(process.Config{}).Err(); err == nil || !strings.Contains(err.Error(), "name a user") {
			t.Errorf("a host that is root: %v", err)
		}
		return
	}
	if err := process.New(process.Config{User: "0"}).Err(); err == nil || !strings.Contains(err.Error(), "only root can") {
		t.Errorf("a host that is not root: %v", err)
	}
}
