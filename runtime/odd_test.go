package runtime_test

import (
	"context"
	"errors"
	"math"
	"os"
	"path/filepath"
	"strings"
	"sync/atomic"
	"syscall"
	"testing"
	"testing/synctest"
	"time"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/manifest"
	"github.com/pynomaly/pynomaly-runtime/runtime"
	"github.com/pynomaly/pynomaly-runtime/runtime/batching"
	"github.com/pynomaly/pynomaly-runtime/sdk"
)

// lingering ignores its deadline, and knows whether it was closed meanwhile.
type lingering struct {
	sums
	returns          chan struct{} // Score does, when it is closed
	busy, closedBusy *atomic.Bool
}

func (l lingering) Score(_ context.Context, in *sdk.Batch, out []float64) error {
	l.busy.Store(true)
	<-l.returns
	l.busy.Store(false)
	copy(out, in.Float64s())
	return nil
}

func (l lingering) Close() error {
	if l.busy.Load() {
		l.closedBusy.Store(true)
	}
	return nil
}

// TestNothingIsClosedUnderACall: a model whose probe comes back late is refused,
// and closed only when the call has returned.
func TestNothingIsClosedUnderACall(t *testing.T) {
	l := lingering{returns: make(chan struct{}), busy: new(atomic.Bool), closedBusy: new(atomic.Bool)}
	calls := batching.NewCalls(2)
	_, err := tryFake(t, simple("late", "1.0.0")+"limits: {timeout: 20ms}\n", calls, func(*manifest.Manifest) sdk.Scorer { return l })
	if !errors.Is(err, batching.ErrLate) {
		t.Errorf("opened with %v", err)
	}
	close(l.returns)
	if err := calls.Wait(t.Context()); err != nil {
		t.Fatal(err)
	}
	if l.closedBusy.Load() {
		t.Error("the detector was closed under a running call")
	}
}

// TestWaitingIsNotTheDetectorsTime: batches that wait for a slot, and then take all
// of limits.timeout but a moment, are answered all the same.
func TestWaitingIsNotTheDetectorsTime(t *testing.T) {
	synctest.Test(t, func(t *testing.T) {
		const timeout, each = time.Minute, 59 * time.Second
		var armed atomic.Bool
		m := openFake(t, simple("m", "1.0.0")+"limits: {timeout: 1m}\n", batching.NewCalls(1), func(*manifest.Manifest) sdk.Scorer {
			return leisurely{armed: &armed, takes: each}
		})
		armed.Store(true)
		done := make(chan error, 2)
		start := time.Now()
		for range 2 {
			go func() {
				_, err := m.Predict(t.Context(), batch(1, 2), 0, make([]float64, 2))
				done <- err
			}()
		}
		for range 2 {
			if err := <-done; err != nil {
				t.Error(err)
			}
		}
		if took := time.Since(start); took <= timeout { // of the bubble's clock
			t.Errorf("both together took %v: none has waited", took)
		}
	})
}

// leisurely takes its time over a call, once it is armed.
type leisurely struct {
	sums
	armed *atomic.Bool
	takes time.Duration
}

func (l leisurely) Score(ctx context.Context, in *sdk.Batch, out []float64) error {
	if l.armed.Load() {
		time.Sleep(l.takes)
	}
	return l.sums.Score(ctx, in, out)
}

// TestFailedRowsCountNothing: a failed row is counted as a row and nothing else.
func TestFailedRowsCountNothing(t *testing.T) {
	m, _, _ := openGated(t, "", 1)
	before := m.Stats.Snapshot()
	for _, v := range []float64{50, failsWhole} {
		if _, err := m.Predict(t.Context(), batch(v), 0, make([]float64, 1)); err != nil {
			t.Fatal(err)
		}
	}
	if _, err := m.Predict(t.Context(), batch(50, 13), 0, make([]float64, 2)); err != nil {
		t.Fatal(err)
	}
	after := m.Stats.Snapshot()
	if rows, anomalies, sum := after.Rows-before.Rows, after.Anomalies-before.Anomalies, after.Sum-before.Sum; rows != 4 || anomalies != 2 || sum != 200 || after.Nonfinite != before.Nonfinite {
		t.Errorf("%d rows, %d anomalies, sum %v, %d not finite", rows, anomalies, sum, after.Nonfinite)
	}
}

// TestUnexplainableRow: a row that cannot be scored fails as such with an
// explanation, too.
func TestUnexplainableRow(t *testing.T) {
	m, _, _ := openGated(t, "explanation: {method: occlusion, reference: {x: 1}}\n", 1)
	for _, v := range []float64{noScore, failsWhole} {
		_, err := m.Explain(t.Context(), batch(v))
		var failed *sdk.RowErrors
		if !errors.As(err, &failed) {
			t.Errorf("row %v: %v", v, err)
		}
	}
	if e, err := m.Explain(t.Context(), batch(3)); err != nil || e.Score != 6 || math.Abs(e.Residual) > 1e-12 {
		t.Errorf("%+v, %v", e, err)
	}
}

// TestFullCacheTakesNewModels: a model that is dropped in while the cache is full
// loads on first use.
func TestFullCacheTakesNewModels(t *testing.T) {
	dir := t.TempDir()
	writeModel(t, dir, "a", "1.0.0", simple("a", "1.0.0"))
	r := follow(t, dir, newFake(), func(c *runtime.Config) { c.CacheSize = 1 })
	writeModel(t, dir, "b", "1.0.0", simple("b", "1.0.0"))
	testkit.Eventually(t, "b is there", func() bool { return state(t, r, "b", "1.0.0").State == runtime.StateAvailable })
	if got := version(t, r, "b", "", ""); got != "1.0.0" {
		t.Error(got)
	}
}

func TestPreloadedComesFirst(t *testing.T) {
	dir := t.TempDir()
	for _, id := range []string{"a", "b", "z"} {
		writeModel(t, dir, id, "1.0.0", simple(id, "1.0.0"))
	}
	r := follow(t, dir, newFake(), func(c *runtime.Config) { c.CacheSize, c.Preload = 2, []string{"z"} })
	if s := state(t, r, "z", "1.0.0"); s.State != runtime.StateLoaded {
		t.Errorf("z is %s", s.State)
	}
}

// TestSlowVersionTakesNoTraffic: while a new version loads, the one that runs
// answers; and closing the registry does not wait for it.
func TestSlowVersionTakesNoTraffic(t *testing.T) {
	dir := t.TempDir()
	writeModel(t, dir, "m", "1.0.0", simple("m", "1.0.0"))
	gate := make(chan struct{})
	f := &fake{open: func(m *manifest.Manifest) sdk.Scorer {
		if m.Version == "2.0.0" {
			<-gate
		}
		return sums{}
	}}
	r := follow(t, dir, f, nil)
	writeModel(t, dir, "m", "2.0.0", simple("m", "2.0.0"))
	testkit.Eventually(t, "2.0.0 loads", func() bool { return state(t, r, "m", "2.0.0").State == runtime.StateLoading })
	if got := version(t, r, "m", "", ""); got != "1.0.0" {
		t.Errorf("%s answers", got)
	}
	close(gate)
	testkit.Eventually(t, "2.0.0 answers", func() bool { return version(t, r, "m", "", "") == "2.0.0" })
}

// TestReadyDespiteAWriter: one version that never settles does not keep the host
// from being ready. (follow waits for that.)
func TestReadyDespiteAWriter(t *testing.T) {
	dir := t.TempDir()
	writeModel(t, dir, "a", "1.0.0", simple("a", "1.0.0"))
	writeModel(t, dir, "busy", "1.0.0", simple("busy", "1.0.0"))
	stop, done := make(chan struct{}), make(chan struct{})
	go func() {
		defer close(done)
		for i := 0; ; i++ {
			select {
			case <-stop:
				return
			case <-time.After(2 * time.Millisecond):
				_ = os.WriteFile(filepath.Join(dir, "busy", "1.0.0", "extra"), make([]byte, i), 0o600)
			}
		}
	}()
	defer func() { close(stop); <-done }()
	r := follow(t, dir, newFake(), nil)
	if got := version(t, r, "a", "", ""); got != "1.0.0" {
		t.Error(got)
	}
}

// TestOddEntries: what stands in a models directory by mistake is named, and
// hides nothing.
func TestOddEntries(t *testing.T) {
	dir := t.TempDir()
	for _, v := range []string{"1.0.0", "1.1.0"} {
		writeModel(t, dir, "m", v, simple("m", v))
	}
	must := func(err error) {
		t.Helper()
		if err != nil {
			t.Fatal(err)
		}
	}
	must(os.Mkdir(filepath.Join(dir, "m", "\xff\xfe"), 0o750)) // not UTF-8
	must(os.Symlink("1.0.0", filepath.Join(dir, "m", "stable")))
	must(os.Mkdir(filepath.Join(dir, "m", "backup"), 0o750))
	must(os.Mkdir(filepath.Join(dir, "pipe"), 0o750))
	must(os.Mkdir(filepath.Join(dir, "pipe", "1.0.0"), 0o750))
	must(os.WriteFile(filepath.Join(dir, "pipe", "1.0.0", manifest.FileName), []byte(simple("pipe", "1.0.0")), 0o600))
	must(syscall.Mkfifo(filepath.Join(dir, "pipe", "1.0.0", "a"), 0o600))
	must(os.WriteFile(filepath.Join(dir, "bare.onnx"), []byte("x"), 0o600))
	must(os.Symlink("/nonexistent", filepath.Join(dir, "bare")))
	f := newFake()
	r := follow(t, dir, f, nil)
	for _, err := range r.SetAliases(t.Context(), map[string]runtime.Aliases{"m": {
		Names:   map[string]string{"stable": "1.0.0", "latest": "1.0.0", "soon": "2.0.0"},
		Default: map[string]int{"soon": 50, "stable": 50},
	}}) {
		if !strings.Contains(err.Error(), "soon") {
			t.Error(err)
		}
	}
	for _, c := range []struct{ version, want string }{{"stable", "1.0.0"}, {"latest", "1.0.0"}, {"", "1.0.0"}, {"1.1.0", "1.1.0"}} {
		if got := version(t, r, "m", c.version, ""); got != c.want {
			t.Errorf("%q is %s, want %s", c.version, got, c.want)
		}
	}
	if s := state(t, r, "m", "backup"); s.State != runtime.StateFailed || !strings.Contains(s.Error.Error(), "semantic version") {
		t.Errorf("backup: %+v", s)
	}
	if s := state(t, r, "m", "\uFFFD"); s.State != runtime.StateFailed {
		t.Errorf("the name that is not UTF-8: %+v", s)
	}
	if s := state(t, r, "pipe", "1.0.0"); s.State != runtime.StateFailed || !strings.Contains(s.Error.Error(), "no regular file") {
		t.Errorf("pipe: %+v", s)
	}
	if s := state(t, r, "bare", "0.0.0"); s.Error != nil && strings.Contains(s.Error.Error(), "nonexistent") {
		t.Errorf("a dangling link hides a file: %+v", s)
	}
	// Loading and unloading go by aliases and latest, too.
	if _, err := r.Unload("m", "stable"); err != nil || state(t, r, "m", "1.0.0").State != runtime.StateUnloaded {
		t.Errorf("unloading by alias: %v", err)
	}
	for _, v := range []string{"stable", ""} {
		l, err := r.Load(t.Context(), "m", v)
		if err != nil {
			t.Errorf("loading %q: %v", v, err)
			continue
		}
		if want := map[string]string{"stable": "1.0.0", "": "1.1.0"}[v]; l.Model().Version() != want {
			t.Errorf("loading %q loads %s", v, l.Model().Version())
		}
		l.Release()
	}
	writeModel(t, dir, "m", "2.0.0", simple("m", "2.0.0"))
	testkit.Eventually(t, "the alias that waited is set", func() bool { return r.AliasesOf("m").Names["soon"] == "2.0.0" })
	if got := version(t, r, "m", "soon", ""); got != "2.0.0" {
		t.Error(got)
	}
}
