package catalog_test

import (
	"fmt"
	"os"
	"path/filepath"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/internal/testkit"
	"github.com/pynomaly/pynomaly-runtime/internal/testkit/modeltest"
	"github.com/pynomaly/pynomaly-runtime/runtime/catalog"
	"github.com/pynomaly/pynomaly-runtime/runtime/registry"
)

// TestStrays checks that a scan reports what looks like a model and is not served
// because of its name or place, with a name that would do.
func TestStrays(t *testing.T) {
	for _, c := range []struct {
		files string // a space separates files, _ in them is a space
		path  string // of the stray; empty: there is none
		want  string // in its error
	}{
		{"fraud.v2.onnx", "fraud.v2.onnx", "Rename it to fraud@2.0.0.onnx"},
		{"iforest-1.2.0.onnx", "iforest-1.2.0.onnx", "Rename it to iforest@1.2.0.onnx"},
		{"a.b.onnx", "a.b.onnx", "Rename it to a-b.onnx"},
		{"my~model.onnx", "my model.onnx", "Rename it to my-model.onnx"},
		{"a+b.wasm", "a+b.wasm", "Rename it to a-b.wasm"},
		{"betrug-ü.onnx", "betrug-ü.onnx", "Rename it to betrug.onnx"},
		{"_private.onnx", "_private.onnx", "Rename it to private.onnx"},
		{"ü.onnx", "ü.onnx", "Rename it to model.onnx"},
		{strings.Repeat("x", 200) + ".onnx", strings.Repeat("x", 200) + ".onnx", "at most 128 characters"},
		{"cardio@1.2.onnx", "cardio@1.2.onnx", "Rename it to cardio@1.2.0.onnx"},
		{"cardio@2.onnx", "cardio@2.onnx", "Rename it to cardio@2.0.0.onnx"},
		{"cardio@v1.0.0.onnx", "cardio@v1.0.0.onnx", "Rename it to cardio@1.0.0.onnx"},
		{"@v1.0.0.onnx", "@v1.0.0.onnx", "Rename it to model@1.0.0.onnx"},
		{"cardio@new.onnx", "cardio@new.onnx", "as in cardio@1.0.0.onnx"},
		{"X.ONNX", "X.ONNX", "Rename it to X.onnx"},
		{"m.pkl", "m.pkl", "Export the model to ONNX"},
		{"m.Joblib", "m.Joblib", "Export the model to ONNX"},
		{"model.yaml", "model.yaml", "<id>/<version>"},
		{"flat/model.onnx", "flat/model.onnx", "Move it to flat.onnx"},
		{"flat/model.onnx flat/model.yaml", "flat/model.yaml", "flat/1.0.0"},
		{"flat/a.pkl flat/model.onnx", "flat/model.onnx", "Move it to flat.onnx"},
		{"flat/a.pkl", "flat/a.pkl", "Export the model to ONNX"},
		{"m/1.0.0/model.yaml m/old.onnx", "m/old.onnx", "a directory of its own"},
		{"my~model/1.0.0/model.yaml", "my model", "Rename it to my-model"},
		{"my~model/model.onnx", "my model", "Rename it to my-model"},
		{"1.0.0/model.yaml", "1.0.0", "name the directory above"},

		{"good.onnx good@1.2.0.wasm", "", ""},
		{"README.md LICENSE .hidden.onnx model.onnx.part sums.txt", "", ""},
		{"m/1.0.0/model.yaml m/notes.pkl m/README.md", "", ""},
		{"lost+found/x", "", ""},
		{".git/1.0.0/model.yaml", "", ""},
	} {
		dir := t.TempDir()
		for file := range strings.FieldsSeq(c.files) {
			put(t, dir, strings.ReplaceAll(file, "~", " "))
		}
		root, err := os.OpenRoot(dir)
		if err != nil {
			t.Fatal(err)
		}
		found, err := catalog.Scan(root)
		root.Close()
		if err != nil {
			t.Errorf("%s: %v", c.files, err)
		}
		var strays []catalog.Found
		for _, f := range found {
			if f.Stray {
				strays = append(strays, f)
			}
		}
		switch {
		case c.path == "":
			if len(strays) > 0 {
				t.Errorf("%s: %v", c.files, strays[0].Err)
			}
		case len(strays) != 1 || strays[0].ID != c.path || strays[0].Path() != c.path || !strings.Contains(strays[0].Err.Error(), c.want):
			t.Errorf("%s: %+v, want %s: %s", c.files, strays, c.path, c.want)
		}
		if name, rename := strings.CutPrefix(c.want, "Rename it to "); rename && strings.Contains(name, ".") {
			if _, _, ok := catalog.BareName(name); !ok || catalog.Misnamed(name) != nil {
				t.Errorf("%s would not do either", name)
			}
		}
	}
}

func put(t *testing.T, dir, file string) {
	t.Helper()
	name := filepath.Join(dir, file)
	if err := os.MkdirAll(filepath.Dir(name), 0o750); err != nil {
		t.Fatal(err)
	}
	if err := os.WriteFile(name, []byte("x"), 0o644); err != nil {
		t.Fatal(err)
	}
}

// TestManyStrays checks that a directory full of other files makes few failures.
func TestManyStrays(t *testing.T) {
	dir := t.TempDir()
	for i := range 150 {
		put(t, dir, fmt.Sprintf("%03d.pkl", i))
	}
	root, err := os.OpenRoot(dir)
	if err != nil {
		t.Fatal(err)
	}
	defer root.Close()
	found, err := catalog.Scan(root)
	if err != nil || len(found) != 100 || !strings.Contains(found[99].Err.Error(), "50 more") {
		t.Errorf("%d strays, %v", len(found), err)
	}
}

// TestStraysDisturbNothing checks that strays are listed and logged once, that they
// change no answer, and that they are forgotten when they are gone.
func TestStraysDisturbNothing(t *testing.T) {
	dir := modeltest.OpenDir(t)
	put(t, dir, "only.pkl")
	w := watch(t, dir, nil)
	testkit.Eventually(t, "a host without a model says what is there", func() bool { return strings.Contains(w.NotReady(), "only.pkl") })
	if _, err := w.Acquire(t.Context(), "", "", ""); err == nil || !strings.Contains(err.Error(), "only.pkl") {
		t.Errorf("without a model: %v", err)
	}
	models(t, dir, "only@1.0.0")
	w.serves(t, "only", "1.0.0")
	put(t, dir, "my model.onnx")
	testkit.Eventually(t, "the stray is listed", func() bool {
		return modeltest.StateOf(t, w.Registry, "my model.onnx", "0.0.0").State == registry.StateFailed
	})
	if got := modeltest.VersionOf(t, w.Registry, "", "", ""); got != "1.0.0" {
		t.Errorf("the only model is %s", got)
	}
	if why := w.NotReady(); why != "" {
		t.Errorf("not ready: %s", why)
	}
	if n := w.log.Count("my-model.onnx"); n != 1 {
		t.Errorf("logged %d times", n)
	}
	if err := os.Rename(filepath.Join(dir, "my model.onnx"), filepath.Join(dir, "my-model.onnx")); err != nil {
		t.Fatal(err)
	}
	w.gone(t, "my model.onnx", "0.0.0")
	w.serves(t, "my-model", "0.0.0")
}

// TestCheckName checks that what is wrong with an id and a version is said with ones that
// would do.
func TestCheckName(t *testing.T) {
	for name, want := range map[string][]string{
		"shop@1.0.0":                        nil,
		"my shop@1.0.0":                     {`the id "my shop" is not valid`, "such as my-shop"},
		"shop@2":                            {`the version "2" is not valid`, "such as 2.0.0"},
		"shop@v1":                           {"such as 1.0.0"},
		"shop@new":                          {"such as 1.0.0"},
		"a b@x":                             {"such as a-b", `the version "x"`},
		"@1.0.0":                            {"such as model"},
		strings.Repeat("a", 200) + "@1.0.0": {"at most 128 characters"},
	} {
		id, version, _ := strings.Cut(name, "@")
		err := catalog.CheckName(id, version)
		if (err == nil) != (want == nil) {
			t.Errorf("%s: %v", name, err)
		}
		for _, w := range want {
			if err != nil && !strings.Contains(err.Error(), w) {
				t.Errorf("%s: %v, want %s", name, err, w)
			}
		}
	}
}
