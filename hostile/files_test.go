package hostile

import (
	"encoding/binary"
	"encoding/json"
	"fmt"
	"math"
	"net/http"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/api"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/hostile"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

// group is a kind of hostile models.
type group struct {
	name   string
	models []hostileModel
}

func groups() []group {
	return []group{{"graphs", graphs()}, {"modules", modules()}, {"manifests", manifests()}, {"folders", folders()}}
}

// manifestOf returns a manifest. The artifact is model.onnx unless more names
// another.
func manifestOf(id, more string) string {
	text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\n"
	if !strings.Contains(more, "artifact:") {
		text += "artifact: model.onnx\nthreshold: 3\n"
	}
	return testkit.Patient(text + more)
}

// graphs returns the graphs that TestHostileGraphs of backends/onnx loads one by
// one. Those that take too much memory for the usual number of rows are dropped once with
// that number in their manifest, and once without.
func graphs() []hostileModel {
	var all []hostileModel
	for _, g := range hostile.Graphs() {
		drops := func(more string) func(t *testing.T, s *site, id string) {
			return func(t *testing.T, s *site, id string) {
				data, err := os.ReadFile(g.File)
				check(t, err)
				// The host would look for external data beside the graph and in its
				// working directory.
				testkit.WriteModel(t, s.Models, id, map[string][]byte{"model.onnx": data, "model.yaml": []byte(manifestOf(id, more))})
			}
		}
		all = append(all, hostileModel{
			name: g.Name, must: "refused before ONNX Runtime sees it (" + g.Code + ")", want: []string{"checking the graph: "}, keep: true,
			drops: drops("limits: {max_batch_rows: 10000, load_timeout: 10m}\n"),
		})
		if g.Rows {
			all = append(all, hostileModel{name: g.Name + "-in-small-calls", must: "refused, or served in calls that fit the memory", keep: true, drops: drops(""), judge: fewer})
		}
	}
	return all
}

// fewer accepts a graph that is refused for its memory, or served in calls of fewer rows
// than usual.
func fewer(t *testing.T, _ *site, _ string, v *api.ModelVersion) string {
	if v.Status == "loaded" {
		if v.MaxBatchRows < 1 || v.MaxBatchRows >= manifest.Defaults().Limits.MaxBatchRows {
			t.Errorf("calls have %d rows", v.MaxBatchRows)
		}
		return fmt.Sprintf("calls have at most %d rows", v.MaxBatchRows)
	}
	if !strings.Contains(v.Error, "checking the graph: ") && !strings.Contains(v.Error, "limits.memory") {
		t.Errorf("failed with %q", v.Error)
	}
	return v.Error
}

func modules() []hostileModel {
	var all []hostileModel
	for _, a := range hostile.Attacks() {
		limits, must := "timeout: 5m, load_timeout: 10m", "fails: "+a.Want
		switch {
		case a.OrLate && a.Want != "":
			must += ", or late"
		case a.OrLate:
			must = "ends at its deadline"
		case a.Scores:
			must = "the row fails: its score is not finite"
		}
		if a.OrLate {
			limits = "timeout: 100ms, load_timeout: 1s"
		}
		all = append(all, hostileModel{name: a.Name, must: must, drops: dropModule(a.Module, limits),
			judge: func(t *testing.T, s *site, id string, v *api.ModelVersion) string { return attacked(t, s, id, v, a) }})
	}
	for _, l := range hostile.Leaks() {
		if l.Asks { // it is stateful but does not say so, which the probe detects
			continue
		}
		all = append(all, hostileModel{name: "keeps a row: " + l.Name, must: "the next caller is told nothing of it", drops: dropModule(l.Module, "timeout: 5m, load_timeout: 10m"),
			judge: func(t *testing.T, s *site, id string, v *api.ModelVersion) string { return leaked(t, s, id, v) }})
	}
	return all
}

func dropModule(module []byte, limits string) func(t *testing.T, s *site, id string) {
	return func(t *testing.T, s *site, id string) {
		text := "apiVersion: pynomaly.io/v1\nkind: Model\nid: " + id + "\nversion: 1.0.0\nbackend: wasm\nartifact: m.wasm\n" +
			"features: [{name: x, dtype: float64}, {name: \"y\", dtype: float64}]\nlimits: {" + limits + ", memory: 8MiB}\n"
		testkit.WriteModel(t, s.Models, id, map[string][]byte{"m.wasm": module, "model.yaml": []byte(text)})
	}
}

// attacked judges how a module ended: while loading, or with its first request.
func attacked(t *testing.T, s *site, id string, v *api.ModelVersion, a hostile.Attack) string {
	t.Helper()
	cause := v.Error
	if v.Status == "loaded" {
		_, text := s.Send(http.MethodPost, "/api/v1/predict", `{"model_id": "`+id+`", "data": [1, 2]}`)
		var p api.Problem
		if err := json.Unmarshal([]byte(text), &p); err != nil {
			t.Fatalf("%v: %s", err, text)
		}
		cause = p.Detail
	}
	named := (a.Want != "" && strings.Contains(cause, a.Want)) || (a.Scores && strings.Contains(cause, "not finite"))
	late := a.OrLate && strings.Contains(cause, "deadline") || a.Slow && strings.Contains(cause, "cannot be loaded for now")
	if !named && !late {
		t.Errorf("it ended with %.500q, want %q, or late: %v", cause, a.Want, a.OrLate)
	}
	return cause
}

// leaked sends requests as two callers, and checks what the second one learns about
// the first.
func leaked(t *testing.T, s *site, id string, v *api.ModelVersion) string {
	t.Helper()
	if v.Status != "loaded" {
		t.Errorf("it is %s: %s", v.Status, v.Error)
		return v.Error
	}
	ask := func(x float64) (p api.Prediction, text string) {
		_, text = s.Send(http.MethodPost, "/api/v1/predict", fmt.Sprintf(`{"model_id": %q, "data": [%g, 2]}`, id, x))
		check(t, json.Unmarshal([]byte(text), &p))
		return p, text
	}
	ask(math.Float64frombits(binary.LittleEndian.Uint64([]byte(hostile.Secret))))
	second, text := ask(1)
	if strings.Contains(text, hostile.Secret) || second.ModelID != id || second.Score != 0 {
		t.Errorf("the second caller is told %s", text)
	}
	return fmt.Sprintf("the second caller's score is %v", second.Score)
}

// manifests returns hostile manifests with a good graph.
func manifests() []hostileModel {
	of := func(name, must, more string, want ...string) hostileModel {
		return hostileModel{name: name, must: must, want: want, keep: true, drops: func(t *testing.T, s *site, id string) {
			dropGraph(t, s, id, manifestOf(id, more))
		}}
	}
	var children strings.Builder
	for i := range 36_000 {
		fmt.Fprintf(&children, "%d: 1, ", i)
	}
	const refused = "refused with a short text"
	loop, err := os.ReadFile(testkit.Testdata("variants", "data-loop.onnx"))
	return []hostileModel{
		of("a key of 500 KB with 36,000 children", refused, "metadata:\n  ? "+strings.Repeat("k", 500<<10)+"\n  : {"+children.String()+"}\n", "has a key of 512000 bytes"),
		of("200,000 empty features", refused, "features: ["+strings.Repeat("{}, ", 200_000)+"]\n", "at most 300000 are read"),
		of("60,000 unknown keys", refused, numbered("unknown%d: 1\n", 60_000), "there are more problems"),
		of("aliases", refused, "metadata: {a: &x [1], b: *x}\n", "alias"),
		of("aliases of aliases", refused, "metadata:\n  a0: &a0 [x]\n"+numbered("  a%[1]d1: &a%[1]d1 [*a%[1]d, *a%[1]d]\n", 1), "alias"),
		of("lists in 20,000 lists", refused, "metadata: {a: "+strings.Repeat("[", 20_000)+strings.Repeat("]", 20_000)+"}\n", "exceeded max depth"),
		of("more than 1 MiB", "refused unread", "description: "+strings.Repeat("x", 1<<20)+"\n", "at most 1048576 are read"),
		of("escapes for a terminal", "refused; the text holds none of them", "\"\\e]0;owned\\a\\x9b31m\\u202e\": 1\n", "unknown key"),
		of("a file outside", refused, "files: {../../../secret: 'sha256:"+strings.Repeat("0", 64)+"'}\n", "files"),
		of("an artifact by an absolute name", refused, "artifact: /etc/passwd\n", "artifact"),
		{name: "limits of 1 TiB and 23 hours", must: "served with the host's maxima, and a warning for each", keep: true,
			drops: func(t *testing.T, s *site, id string) {
				dropGraph(t, s, id, manifestOf(id, "limits: {memory: 1TiB, timeout: 20h, load_timeout: 23h}\n"))
			},
			judge: func(t *testing.T, _ *site, _ string, v *api.ModelVersion) string {
				if text := strings.Join(v.Warnings, "; "); v.Status != "loaded" || strings.Count(text, "this host allows") != 3 {
					t.Errorf("it is %s: %s; %s", v.Status, v.Error, text)
				}
				return "served: " + strings.Join(v.Warnings, "; ")
			}},
		{name: "trusted, by its own word", must: "refused as without it; the text says who grants it", keep: true,
			want: []string{"list the model in backends.onnx.trusted if you trust it", "which only the host's operator grants"},
			drops: func(t *testing.T, s *site, id string) {
				check(t, err)
				testkit.WriteModel(t, s.Models, id, map[string][]byte{"model.onnx": loop, "model.yaml": []byte(manifestOf(id, "trusted: true\n"))})
			}},
	}
}

func numbered(format string, n int) string {
	var b strings.Builder
	for i := range n {
		fmt.Fprintf(&b, format, i)
	}
	return b.String()
}

// dropGraph writes a good graph with a manifest.
func dropGraph(t *testing.T, s *site, id, text string) {
	t.Helper()
	data, err := os.ReadFile(testkit.Testdata("models", "thyroid-autoencoder", "1.0.0", "model.onnx"))
	check(t, err)
	testkit.WriteModel(t, s.Models, id, map[string][]byte{"model.onnx": data, "model.yaml": []byte(text)})
}

// dirOf returns the directory of a hostile model.
func (s *site) dirOf(id string) string { return filepath.Join(s.Models, id, "1.0.0") }
