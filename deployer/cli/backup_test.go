package cli

import (
	"bytes"
	"io"
	"maps"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

const numbers = `---
apiVersion: v1
kind: ConfigMap
metadata: {name: pynomaly-numbers, namespace: pynomaly-development}
data: {cardio: 7 some-uid/abc}
`

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
	got, err := decodeBackup(strings.NewReader(saved+numbers), "x")
	if err != nil || len(got["Environment"]) != 1 || len(got["ModelDeployment"]) != 1 || len(got["ConfigMap"]) != 1 {
		t.Fatalf("%v, %v", got, err)
	}
	for what, text := range map[string]string{
		"another kind":  "apiVersion: v1\nkind: Secret\nmetadata: {name: x}\n",
		"another group": strings.Replace(saved, "runtime.pynomaly.io", "example.com", 1),
		"no name":       strings.Replace(saved, "name: development", "namex: development", 1),
		"another map":   strings.Replace(numbers, "pynomaly-numbers", "passwords", 1),
		"no number":     strings.Replace(numbers, "7 some", "seven some", 1),
		"no text":       strings.Replace(numbers, "7 some-uid/abc", "7", 1),
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

// TestNumbers checks that a backup holds the numbers that were used, and that restoring
// them lowers none.
func TestNumbers(t *testing.T) {
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	env := func(name, namespace string) *v1alpha1.Environment {
		return &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: name}, Spec: v1alpha1.EnvironmentSpec{Namespace: namespace}}
	}
	kept := func(data map[string]string) *corev1.ConfigMap {
		return &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: "models", Name: render.NumbersName}, Data: data}
	}
	var out bytes.Buffer
	a := &app{Options: Options{Out: &out, Err: io.Discard, Now: time.Now}}
	from := fake.NewClientBuilder().WithScheme(scheme).WithObjects(env("one", "models"), env("two", "models"), env("three", "empty"), kept(map[string]string{"cardio": "7 uid/abc", "pima": "3 uid/def", "old": "2 uid/x"})).Build()
	if err := a.writeBackup(t.Context(), from); err != nil {
		t.Fatal(err)
	}
	objects, err := decodeBackup(&out, "x")
	if err != nil || len(objects["ConfigMap"]) != 1 || len(objects["Environment"]) != 3 {
		t.Fatalf("%v, %v", objects, err)
	}
	sign(objects, "alice")
	for name, c := range map[string]struct {
		there []client.Object
		want  map[string]string
		says  string
	}{
		"nothing is there":      {nil, map[string]string{"cardio": "7 uid/abc", "pima": "3 uid/def", "old": "2 uid/x"}, ": restored"},
		"some numbers are less": {[]client.Object{kept(map[string]string{"cardio": "6 uid/y", "pima": "4 uid/z"})}, map[string]string{"cardio": "7 uid/abc", "pima": "4 uid/z", "old": "2 uid/x"}, ": restored"},
		"an empty map":          {[]client.Object{kept(nil)}, map[string]string{"cardio": "7 uid/abc", "pima": "3 uid/def", "old": "2 uid/x"}, ": restored"},
		"all numbers are more":  {[]client.Object{kept(map[string]string{"cardio": "8 u/y", "pima": "4 u/z", "old": "2 u/z"})}, map[string]string{"cardio": "8 u/y", "pima": "4 u/z", "old": "2 u/z"}, ": exists already"},
	} {
		t.Run(name, func(t *testing.T) {
			to := fake.NewClientBuilder().WithScheme(scheme).WithObjects(c.there...).Build()
			out.Reset()
			if err := a.putNumbers(t.Context(), to, objects["ConfigMap"][0]); err != nil {
				t.Fatal(err)
			}
			var got corev1.ConfigMap
			if err := to.Get(t.Context(), client.ObjectKey{Namespace: "models", Name: render.NumbersName}, &got); err != nil {
				t.Fatal(err)
			}
			if !maps.Equal(got.Data, c.want) || !strings.Contains(out.String(), c.says) || len(got.Annotations) > 0 {
				t.Errorf("%v, not %v; %s", got.Data, c.want, out.String())
			}
		})
	}
}

// FuzzBackup checks that a file is refused or contains only named objects of the
// deployer.
func FuzzBackup(f *testing.F) {
	f.Add(saved)
	f.Add(numbers)
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
