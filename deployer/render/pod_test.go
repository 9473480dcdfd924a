package render_test

import (
	"bytes"
	"os"
	"path/filepath"
	"testing"

	corev1 "k8s.io/api/core/v1"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// fullPlain returns a server that uses every setting of pods, and a file with the
// values of the chart for it.
func fullPlain(t *testing.T) (p render.Plain, values string) {
	t.Helper()
	p = render.GuidePlain("registry.example.com/pynomaly-runtime:0.1.0")
	p.Name, p.PullSecrets = "full", []string{"registry", "mirror"}
	p.Volume = render.Volume{Size: "1Gi", Class: "fast", Access: corev1.ReadWriteMany}
	p.Traces = render.Traces{Endpoint: "http://collector.tracing:4317", Protocol: "http/protobuf", Ratio: 0.5}
	pod, err := os.ReadFile("testdata/pod.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if err := yaml.UnmarshalStrict(pod, &p.Pod); err != nil {
		t.Fatal(err)
	}
	server := map[string]any{}
	if err := yaml.Unmarshal(pod, &server); err != nil {
		t.Fatal(err)
	}
	server["name"], server["storage"], server["storageClass"], server["accessMode"] = p.Name, p.Volume.Size, p.Volume.Class, p.Volume.Access
	server["traces"] = map[string]any{"endpoint": p.Traces.Endpoint, "protocol": p.Traces.Protocol, "ratio": p.Traces.Ratio}
	text, err := yaml.Marshal(map[string]any{"image": p.Image, "imagePullSecrets": p.PullSecrets, "server": server})
	if err != nil {
		t.Fatal(err)
	}
	values = filepath.Join(t.TempDir(), "values.yaml")
	if err := os.WriteFile(values, text, 0o600); err != nil {
		t.Fatal(err)
	}
	return p, values
}

// TestFull compares the manifests of a server that uses every setting of pods with a
// golden file.
func TestFull(t *testing.T) {
	p, _ := fullPlain(t)
	if err := p.Valid(); err != nil {
		t.Fatal(err)
	}
	got, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	const file = "testdata/full.golden.yaml"
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
		t.Errorf("%s differs: run go test ./deployer/render -update\n%s", file, got)
	}
}

// TestClaim checks that an existing claim is mounted and no other one made.
func TestClaim(t *testing.T) {
	p := render.GuidePlain("x:1")
	p.Volume.Claim = "team-models"
	text, err := p.YAML()
	if err != nil {
		t.Fatal(err)
	}
	if bytes.Contains(text, []byte("kind: PersistentVolumeClaim")) || !bytes.Contains(text, []byte("claimName: team-models")) {
		t.Errorf("the claim is not used:\n%s", text)
	}
}
