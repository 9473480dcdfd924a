package process_test

import (
	"errors"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/backends"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
)

// TestBanners checks that what a plugin or its libraries print to standard output,
// before the line that says where it listens and after it, is logged and harms nothing.
func TestBanners(t *testing.T) {
	log, logs := logger()
	a := artifact(t, `"fault":"banner"`, xy)
	s := open(t, backend(t, a, logs), a)
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, want := range []string{`text="Hello from a library that prints a banner"`, `text="and from one that ends no line"`, `text="Hello from within a call"`} {
		testkit.Eventually(t, "the log has "+want, func() bool { return strings.Contains(log.String(), want) })
	}
	if strings.Contains(log.String(), "|unix|") {
		t.Errorf("the handshake is logged: %s", log)
	}
}

// TestPythonBanners is TestBanners for the Python SDK.
func TestPythonBanners(t *testing.T) {
	log, logs := logger()
	s, err := python(t, script(t, "native.py", xy, nil), logs)
	if err != nil {
		t.Fatal(err)
	}
	if got, err := score(t, s, 1, 2); err != nil || got[0] != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	for _, want := range []string{"[native] before the import", "[python] before the import", "[native] banner", "[libc] in a buffer", "[libc] in a call"} {
		testkit.Eventually(t, "the log has "+want, func() bool { return strings.Contains(log.String(), want) })
	}
}

// TestPythonTracebacks checks that a traceback is one record of the log, and that the
// error says what was raised and where.
func TestPythonTracebacks(t *testing.T) {
	for fault, c := range map[string]struct {
		script, record, detail string
	}{
		"load":    {"odd.py", "RuntimeError: model.joblib was written by another version", "RuntimeError: model.joblib was written by another version (in load at odd.py:"},
		"raises":  {"odd.py", "ValueError: the matrix is singular", "ValueError: the matrix is singular (in score at odd.py:"},
		"import":  {"odd.py", "ModuleNotFoundError: No module named 'no_such_library'", "ModuleNotFoundError: No module named 'no_such_library'"},
		"before":  {"early.py", "ModuleNotFoundError: No module named 'no_such_library'", "ModuleNotFoundError: No module named 'no_such_library'"},
		"explain": {"odd.py", "", "serve says explains=True, but load returned Mute, which has no explain method"},
	} {
		t.Run(fault, func(t *testing.T) {
			log, logs := logger()
			files := map[string][]byte{}
			if fault == "import" {
				files["import"] = nil
			}
			s, err := python(t, script(t, c.script, xy+"config: {fault: "+fault+"}\n", files), logs)
			if fault == "raises" && err == nil {
				_, err = score(t, s, 1, 2)
			} else if !errors.Is(err, backends.ErrRefused) {
				t.Errorf("it is not refused: %v", err)
			}
			if err == nil || !strings.Contains(err.Error(), c.detail) {
				t.Errorf("%v, want %q", err, c.detail)
			}
			if c.record == "" {
				return
			}
			testkit.Eventually(t, "the traceback is logged", func() bool { return strings.Contains(log.String(), c.record) })
			for line := range strings.Lines(log.String()) {
				if strings.Contains(line, c.record) && (!strings.Contains(line, "level=ERROR") || !strings.Contains(line, "Traceback (most recent call last):") || !strings.Contains(line, "File ")) {
					t.Errorf("the traceback is not one record: %s", line)
				}
			}
		})
	}
}
