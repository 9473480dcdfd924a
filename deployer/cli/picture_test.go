package cli

import (
	"bytes"
	"encoding/xml"
	"errors"
	"io"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/strategy"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// course is a rollout that waits, holds, restarts and ends.
func course(end ...v1alpha1.Moment) []v1alpha1.Moment {
	at := func(seconds int) metav1.Time {
		return metav1.NewTime(time.Date(2026, 1, 2, 3, 4, seconds, 0, time.UTC))
	}
	return append([]v1alpha1.Moment{
		{At: at(0), State: strategy.StateBlocked, Phase: v1alpha1.Pending, Message: "waits for an approval"},
		{At: at(30), State: strategy.StateScaling, Phase: v1alpha1.Deploying, Message: "step 1 of 3, 10 %: 0 of 1 pods are ready"},
		{At: at(42), State: strategy.StateShifting, Phase: v1alpha1.Deploying, Planned: 10, Message: "step 1 of 3, 10 %: setting the weight to 10 %"},
		{At: at(43), State: strategy.StateGating, Phase: v1alpha1.Deploying, Planned: 10, Weight: 10, Figures: &v1alpha1.StepFigures{Requests: 400, Errors: 1, Rows: 1200, P95Microseconds: 3100}},
		{At: at(103), State: strategy.StateGating, Phase: v1alpha1.Deploying, Planned: 10, Weight: 10, Restarts: 1, Figures: &v1alpha1.StepFigures{Requests: 900, Errors: 4, Rows: 2600, P95Microseconds: 3400}},
		{At: at(263), Step: 1, State: strategy.StateShifting, Phase: v1alpha1.Deploying, Planned: 50, Weight: 10, Restarts: 1, Message: "step 2 of 3, 50 %: setting the weight to 50 %"},
		{At: at(265), Step: 1, State: strategy.StateGating, Phase: v1alpha1.Deploying, Planned: 50, Weight: 50, Restarts: 1},
		{At: at(300), Step: 1, State: strategy.StatePaused, Phase: v1alpha1.Paused, Planned: 50, Weight: 50, Restarts: 1, Message: "too few samples: <script>&\x1b[31m\x00\xff", Figures: &v1alpha1.StepFigures{Requests: 2000, Errors: 9, Rows: 5000}},
	}, end...)
}

func failed() []v1alpha1.Moment {
	at := func(seconds int) metav1.Time {
		return metav1.NewTime(time.Date(2026, 1, 2, 3, 4, seconds, 0, time.UTC))
	}
	return course(
		v1alpha1.Moment{At: at(340), Step: 1, State: strategy.StateRecovering, Phase: v1alpha1.RollingBack, Weight: 50, Restarts: 2, Message: "hosts were OOMKilled 2 times; memory limit 512Mi"},
		v1alpha1.Moment{At: at(343), Step: 1, State: strategy.StateDraining, Phase: v1alpha1.RollingBack, Restarts: 2, Message: "its last requests are running"},
		v1alpha1.Moment{At: at(355), Step: 1, State: strategy.StateIdle, Phase: v1alpha1.Failed, Restarts: 2, Message: "hosts were OOMKilled 2 times; memory limit 512Mi"},
	)
}

// TestPictures checks the drawings of rollouts, in text and SVG, against golden files,
// and that the SVG is valid XML without scripts, whatever the messages contain.
func TestPictures(t *testing.T) {
	for name, history := range map[string][]v1alpha1.Moment{"failed": failed(), "running": course(), "one": course()[:1]} {
		d := Deployment{ID: "cardio-production-7", Model: "cardio", Version: "1.1.0", Status: v1alpha1.Failed, Message: "a gate failed: <b> & more", History: history}
		now := time.Date(2026, 1, 2, 3, 10, 0, 0, time.UTC)
		var text, svg bytes.Buffer
		if err := errors.Join(picture(&text, history, now), writeSVG(&svg, &d, now)); err != nil {
			t.Fatal(err)
		}
		for end, got := range map[string][]byte{".txt": text.Bytes(), ".svg": svg.Bytes()} {
			file := filepath.Join("testdata", "rollout-"+name+end)
			if *update {
				if err := os.WriteFile(file, got, 0o600); err != nil {
					t.Fatal(err)
				}
			}
			want, err := os.ReadFile(file)
			if err != nil || !bytes.Equal(got, want) {
				t.Errorf("%s is not up to date: run go test ./deployer/cli -update (%v)\n%s", file, err, got)
			}
		}
		valid(t, svg.String())
	}
}

// valid checks that a text is one XML document of allowed elements.
func valid(t *testing.T, text string) {
	t.Helper()
	d := xml.NewDecoder(strings.NewReader(text))
	d.Strict = true
	for {
		token, err := d.Token()
		if errors.Is(err, io.EOF) {
			return
		}
		if err != nil {
			t.Fatalf("not XML: %v\n%s", err, text)
		}
		e, ok := token.(xml.StartElement)
		if !ok {
			continue
		}
		switch e.Name.Local {
		case "svg", "title", "desc", "style", "rect", "text", "line", "path":
		default:
			t.Errorf("a drawing has the element %s", e.Name.Local)
		}
		for _, a := range e.Attr {
			if strings.HasPrefix(a.Name.Local, "on") || a.Name.Local == "href" {
				t.Errorf("a drawing has the attribute %s", a.Name.Local)
			}
		}
	}
}

// TestNoPicture checks that a deployment without a history says so.
func TestNoPicture(t *testing.T) {
	if err := writeSVG(io.Discard, &Deployment{ID: "cardio-staging-1"}, time.Time{}); err == nil || !strings.Contains(err.Error(), "cardio-staging-1 has no history") {
		t.Error(err)
	}
}

// FuzzPicture draws histories with messages, times and weights of anything.
func FuzzPicture(f *testing.F) {
	f.Add("a<b", int64(5), int32(10), int32(900), uint8(3))
	f.Add("\x00\xff\n]]>\t\u202e", int64(-1<<60), int32(-5), int32(1<<30), uint8(200))
	f.Add("", int64(1<<60), int32(-1<<31), int32(100), uint8(10))
	f.Fuzz(func(t *testing.T, message string, seconds int64, weight, planned int32, cut uint8) {
		history := failed()[:1+int(cut)%len(failed())]
		m := &history[int(cut)%len(history)]
		m.Message, m.Weight, m.Planned, m.At = message, weight, planned, metav1.NewTime(time.Unix(seconds%1e11, 0))
		var text, svg bytes.Buffer
		d := Deployment{ID: message, Model: message, Message: message, History: history}
		if err := errors.Join(picture(&text, history, time.Unix(0, 0)), writeSVG(&svg, &d, time.Unix(0, 0))); err != nil {
			t.Fatal(err)
		}
		valid(t, svg.String())
		if lines := strings.Count(text.String(), "\n"); lines != len(history)+2 {
			t.Errorf("%d lines of %d moments", lines, len(history))
		}
	})
}
