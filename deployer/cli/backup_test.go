package cli

import (
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

const saved = `---
apiVersion: runtime.pynomaly.io/v1alpha1
kind: Environment
metadata: {name: development}
spec: {namespace: pynomaly-development, replicas: 1}
---
apiVersion: runtime.pynomaly.io/v1alpha1
kind: ModelDeployment
metadata: {name: cardio, namespace: pynomaly-development}
spec: {}
`

func TestReadBackup(t *testing.T) {
	got, err := decodeBackup(strings.NewReader(saved), "x")
	if err != nil || len(got["Environment"]) != 1 || len(got["ModelDeployment"]) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	for what, text := range map[string]string{
		"another kind":  "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n",
		"another group": strings.Replace(saved, "runtime.pynomaly.io", "example.com", 1),
		"no name":       strings.Replace(saved, "name: development", "namex: development", 1),
		"no YAML":       "{{",
		"no object":     "- a\n",
	} {
		if _, err := decodeBackup(strings.NewReader(text), "x"); err == nil || !strings.Contains(err.Error(), "document 1") {
			t.Errorf("%s: %v", what, err)
		}
	}
}

// TestSign checks that restored objects name the user who restores them, whatever
// the backup says.
func TestSign(t *testing.T) {
	text := strings.Replace(saved, "namespace: pynomaly-development}\nspec: {}", "namespace: pynomaly-development, annotations: {runtime.pynomaly.io/restored-by: mallory}}\nspec: {}", 1)
	got, err := decodeBackup(strings.NewReader(text), "x")
	if err != nil {
		t.Fatal(err)
	}
	sign(got, "alice")
	if by := got["ModelDeployment"][0].GetAnnotations()[render.AnnotationRestored]; by != "alice" {
		t.Errorf("restored by %q", by)
	}
	if a := got["Environment"][0].GetAnnotations(); len(a) > 0 {
		t.Errorf("%v", a)
	}
}

// FuzzBackup checks that a file is refused or contains only named objects of the
// deployer.
func FuzzBackup(f *testing.F) {
	f.Add(saved)
	f.Add("---\n---\nkind: x")
	f.Fuzz(func(t *testing.T, text string) {
		got, err := decodeBackup(strings.NewReader(text), "x")
		if err != nil {
			return
		}
		for kind, all := range got {
			for _, u := range all {
				if u.GetName() == "" || u.GetKind() != kind {
					t.Errorf("%v", u)
				}
			}
		}
	})
}
