package cli

import (
	"bytes"
	"io"
	"os"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestDocumentedSpec checks that the settings in the guide are settings of a
// ModelDeployment.
func TestDocumentedSpec(t *testing.T) {
	text, err := os.ReadFile("../../docs/deployer.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(spec:.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("the guide shows no settings")
	}
	var md v1alpha1.ModelDeployment
	if err := yaml.UnmarshalStrict(m[1], &md); err != nil {
		t.Fatal(err)
	}
	if g := md.Spec.Strategy.Gates; g == nil || *g.RankPercent != 80 || len(md.Spec.Strategy.Steps) != 2 || md.Spec.Autoscaling == nil {
		t.Errorf("%+v", md.Spec)
	}
}

// TestDocumentedAccess checks that the access in the guide is that of an Environment, and
// that a host would start with it.
func TestDocumentedAccess(t *testing.T) {
	text, err := os.ReadFile("../../docs/deployer.md")
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)```yaml\n(spec:\n  access:\n.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatal("the guide shows no access")
	}
	var env v1alpha1.Environment
	if err := yaml.UnmarshalStrict(m[1], &env); err != nil {
		t.Fatal(err)
	}
	file := filepath.Join(t.TempDir(), "access.yaml")
	text, err = yaml.Marshal(env.Spec.Access)
	if err == nil {
		err = os.WriteFile(file, text, 0o600)
	}
	if err != nil {
		t.Fatal(err)
	}
	for args, want := range map[string]string{
		"--access " + file: "PYNOMALY_AUTH_JWT: '[{",
		"--access " + file + " --anonymous-predict=true --keys-secret other": "PYNOMALY_AUTH_ANONYMOUS: viewer",
		"--keys-secret other":         "secretName: other",
		"--keys-secret Other":         "the Secret of keys",
		"--anonymous-predict=perhaps": "must be true or false",
		"--access " + file + "x":      "no such file",
		"--env development":           "PYNOMALY_AUTH_ANONYMOUS: viewer",
	} {
		var out bytes.Buffer
		c := (&app{Options: Options{Out: &out, Image: "x:1"}}).render()
		c.SetArgs(strings.Fields(args))
		c.SetOut(io.Discard)
		c.SetErr(io.Discard)
		text := ""
		if err := c.Execute(); err != nil {
			text = err.Error()
		}
		if text += out.String(); !strings.Contains(text, want) {
			t.Errorf("%s: there is no %q in\n%s", args, want, text)
		}
	}
	if err := os.WriteFile(file, []byte("anonymous: true"), 0o600); err != nil {
		t.Fatal(err)
	}
	if _, err := (&accessFlags{file: file}).read(); err == nil || !strings.Contains(err.Error(), "anonymous") {
		t.Error(err)
	}
}

func TestParseSteps(t *testing.T) {
	got, err := parseSteps("10:30s, 25%:1m:500rows:pause,50")
	if err != nil || len(got) != 3 {
		t.Fatalf("%v, %v", got, err)
	}
	if got[0].Weight != 10 || got[0].Hold.Duration != 30*time.Second || got[0].Pause || got[1].Weight != 25 || !got[1].Pause || got[1].MinSamples != 500 || got[2].Hold != nil {
		t.Errorf("%+v", got)
	}
	for _, bad := range []string{"", "x", "-1", "101", "10:soon", "10:-5s", "10,,20", "10:5", "10,50,25", "0", "0:1m,0", "10:rows", "10:-1rows", "10:9999999999rows"} {
		if got, err := parseSteps(bad); err == nil {
			t.Errorf("%q: %+v", bad, got)
		}
	}
}

func FuzzParseSteps(f *testing.F) {
	f.Add("10:30s,25:1m:pause,50")
	f.Add("::,%")
	f.Fuzz(func(t *testing.T, text string) {
		steps, err := parseSteps(text)
		for _, s := range steps {
			if err == nil && (s.Weight < 0 || s.Weight > 100) {
				t.Errorf("%q: %+v", text, s)
			}
		}
	})
}

// TestFlags checks that flags change exactly what they name.
func TestFlags(t *testing.T) {
	md := &v1alpha1.ModelDeployment{Spec: v1alpha1.ModelDeploymentSpec{
		Replicas: 5, Strategy: v1alpha1.Strategy{Type: v1alpha1.Canary, Steps: []v1alpha1.Step{{Weight: 5}}},
	}}
	w := wish{replicas: -1, gateway: "infra/web", resources: [4]string{"500m", "", "1Gi", "4Gi"}}
	if err := w.into(md); err != nil {
		t.Fatal(err)
	}
	r := md.Spec.Template.Resources
	if md.Spec.Replicas != 5 || len(md.Spec.Strategy.Steps) != 1 || md.Spec.Traffic.Gateway.Namespace != "infra" ||
		r.Requests.Cpu().String() != "500m" || r.Limits.Memory().String() != "4Gi" || len(r.Limits) != 1 {
		t.Errorf("%+v", md.Spec)
	}
	w = wish{replicas: 0, strategy: v1alpha1.Rolling}
	if err := w.into(md); err != nil || md.Spec.Replicas != 0 || md.Spec.Strategy.Steps != nil {
		t.Errorf("%+v, %v", md.Spec, err)
	}
	if err := (&wish{resources: [4]string{"much"}}).into(md); err == nil || !strings.Contains(err.Error(), "such as 500m") {
		t.Errorf("%v", err)
	}
}

// TestWithoutCluster checks that commands that need a cluster say how to name one,
// and that the others work without.
func TestWithoutCluster(t *testing.T) {
	t.Setenv("KUBECONFIG", t.TempDir()+"/none")
	t.Setenv("HOME", t.TempDir())
	run := func(args ...string) (string, error) {
		var out bytes.Buffer
		for _, c := range Commands(Options{Out: &out, Err: &out, Now: time.Now, Image: "pynomaly-runtime:1"}) {
			if c.Name() == args[0] {
				c.SetArgs(args[1:])
				c.SetOut(&out)
				c.SetErr(&out)
				c.SilenceUsage, c.SilenceErrors = true, true
				err := c.ExecuteContext(t.Context())
				return out.String(), err
			}
		}
		t.Fatalf("there is no command %s", args[0])
		return "", nil
	}
	for _, args := range [][]string{{"list"}, {"status", "m-staging-1"}, {"deploy", "m@1.0.0"}, {"environments"}, {"promote", "m-staging-1"}} {
		if _, err := run(args...); err == nil || !strings.Contains(err.Error(), "KUBECONFIG") {
			t.Errorf("%v: %v", args, err)
		}
	}
	if out, err := run("install", "--print"); err != nil || strings.Count(out, "kind: CustomResourceDefinition") != 4 || !strings.Contains(out, "image: pynomaly-runtime:1") {
		t.Errorf("%v: %.300s", err, out)
	}
	if out, err := run("render", "--name", "x"); err != nil || !strings.Contains(out, "name: x-service") {
		t.Errorf("%v: %.300s", err, out)
	}
	if _, err := run("list", "--status", "odd"); err == nil || !strings.Contains(err.Error(), "rolled_back") {
		t.Errorf("%v", err)
	}
}
