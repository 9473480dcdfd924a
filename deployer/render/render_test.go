package render_test

import (
	"bytes"
	"flag"
	"os"
	"regexp"
	"strings"
	"testing"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

// TestGuide checks that the checked-in manifests are up to date.
func TestGuide(t *testing.T) {
	const file = "../../docker/kubernetes/model-server-deployment.yaml"
	got, err := render.GuidePlain("pynomaly-runtime:0.1.0").YAML()
	if err != nil {
		t.Fatal(err)
	}
	if *update {
		if err := os.WriteFile(file, got, 0o644); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if !bytes.Equal(got, want) {
		t.Errorf("%s differs from what `deploy render` prints: run go test ./deployer/render -update", file)
	}
	for _, name := range []string{
		"name: pynomaly-model-server-config", "name: pynomaly-model-server-secrets", "name: pynomaly-model-server-service", "name: pynomaly-model-server-models",
		"kind: HorizontalPodAutoscaler", "kind: PodDisruptionBudget", "kind: NetworkPolicy", "kind: Ingress", "kind: RoleBinding",
		"MODEL_CACHE_SIZE", "kubernetes.io/metadata.name: monitoring", "enableServiceLinks: false", "runAsNonRoot: true",
	} {
		if !strings.Contains(string(got), name) {
			t.Errorf("there is no %s", name)
		}
	}
	if strings.Contains(string(got), "\n  replicas:") {
		t.Error("the manifests set replicas in spite of the autoscaler")
	}
}

// TestVariants checks optional objects, and that an HTTPRoute replaces the Ingress.
func TestVariants(t *testing.T) {
	p := render.GuidePlain("x:1")
	p.MaxReplicas, p.Monitor, p.Gateway = 0, true, "infra/web"
	text, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	for word, want := range map[string]bool{
		"HorizontalPodAutoscaler": false, "kind: ServiceMonitor": true, "kind: Ingress": false, "kind: HTTPRoute": true, "namespace: infra": true, "replicas: 3": true,
	} {
		if strings.Contains(string(text), word) != want {
			t.Errorf("%s: %v", word, !want)
		}
	}
	p.MaxReplicas = 2
	if p.Valid() == nil {
		t.Error("max replicas below replicas were accepted")
	}
	p.Volume.Size = "much"
	if p.Valid() == nil {
		t.Error("a bad quantity was accepted")
	}
}

func TestBaseName(t *testing.T) {
	valid := regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	seen := map[string]string{}
	for id, want := range map[string]string{
		"cardio": "cardio", "ecod-c": "ecod-c", "Cardio": "cardio-", "my_model": "my-model-", "my-model": "my-model", "2024": "m-2024-", "_": "m-",
		strings.Repeat("a", 40): strings.Repeat("a", 40), strings.Repeat("a", 41): strings.Repeat("a", 40) + "-",
	} {
		got := render.BaseName(id)
		if got != want && (!strings.HasPrefix(got, want) || !strings.HasSuffix(want, "-") || len(got) > 47) {
			t.Errorf("%s: %s, want %s", id, got, want)
		}
		if !valid.MatchString(got) || seen[got] != "" {
			t.Errorf("%s: the name %s is not unique (%s)", id, got, seen[got])
		}
		seen[got] = id
	}
}

// FuzzBaseName checks that every id has a valid name and that no two ids share one.
func FuzzBaseName(f *testing.F) {
	for _, id := range []string{"a", "A", "-", "___", "9", "a-", "Ab_c-D"} {
		f.Add(id)
	}
	valid := regexp.MustCompile(`^[a-z]([a-z0-9-]*[a-z0-9])?$`)
	ids := regexp.MustCompile(`^[a-zA-Z0-9_-]{1,128}$`)
	f.Fuzz(func(t *testing.T, id string) {
		if !ids.MatchString(id) {
			return
		}
		if name := render.BaseName(id); !valid.MatchString(name) || len(name) > 47 {
			t.Errorf("%s: %s", id, name)
		}
	})
}

func FuzzWeights(f *testing.F) {
	f.Add("a=10,b=90")
	f.Add("=,")
	f.Fuzz(func(t *testing.T, text string) {
		w := render.ParseWeights(text)
		if w == nil {
			return
		}
		if again := render.ParseWeights(render.FormatWeights(w)); len(again) != len(w) {
			t.Errorf("%q: %v, then %v", text, w, again)
		}
	})
}

func TestHash(t *testing.T) {
	a := v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: "m", Version: "1.0.0"}, Image: "x"}
	b := a
	b.Attempt = 1
	one, err := render.Hash(a)
	if err != nil {
		t.Fatal(err)
	}
	two, err := render.Hash(b)
	if err != nil || one == two || len(one) != 8 {
		t.Errorf("%s, %s, %v", one, two, err)
	}
	if id := render.DeploymentID("m", "staging", 3); id != "m-staging-3" {
		t.Error(id)
	}
}
