//go:build chart

package render_test

import (
	"bufio"
	"bytes"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"os"
	"os/exec"
	"path/filepath"
	"reflect"
	"slices"
	"strings"
	"testing"

	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/runtime"
	k8syaml "k8s.io/apimachinery/pkg/util/yaml"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

const chart = "../../charts/pynomaly-runtime"

// helm runs the binary that make builds from helm's Go module.
func helm(t *testing.T, args ...string) (string, error) {
	t.Helper()
	program, err := filepath.Abs("../../bin/helm")
	if err != nil {
		t.Fatal(err)
	}
	if _, err := os.Stat(program); err != nil {
		t.Fatalf("there is no helm: run make test-chart: %v", err)
	}
	var out, errs bytes.Buffer
	cmd := exec.Command(program, args...)
	cmd.Stdout, cmd.Stderr = &out, &errs
	cmd.Env = append(os.Environ(), "HELM_CACHE_HOME="+t.TempDir(), "HELM_CONFIG_HOME="+t.TempDir(), "HELM_DATA_HOME="+t.TempDir())
	if err := cmd.Run(); err != nil {
		return out.String(), fmt.Errorf("helm %s: %w: %s", strings.Join(args, " "), err, errs.String())
	}
	return out.String(), nil
}

// objects returns documents by kind and name, without the managed-by label.
func objects(t *testing.T, text string) map[string]map[string]any {
	t.Helper()
	out := map[string]map[string]any{}
	d := k8syaml.NewYAMLReader(bufio.NewReader(strings.NewReader(text)))
	for {
		doc, err := d.Read()
		if errors.Is(err, io.EOF) {
			return out
		}
		if err != nil {
			t.Fatal(err)
		}
		var o map[string]any
		if err := yaml.Unmarshal(doc, &o); err != nil {
			t.Fatalf("%v in\n%s", err, doc)
		}
		if o == nil {
			continue
		}
		m := o["metadata"].(map[string]any)
		if l, ok := m["labels"].(map[string]any); ok {
			delete(l, render.ManagedBy)
		}
		out[fmt.Sprint(o["kind"], " ", m["name"])] = o
	}
}

func manifests[T runtime.Object](t *testing.T, all []T) string {
	t.Helper()
	var b bytes.Buffer
	for _, o := range all {
		if err := render.Manifest(&b, o); err != nil {
			t.Fatal(err)
		}
	}
	return b.String()
}

func same(t *testing.T, got, want string) {
	t.Helper()
	g, w := objects(t, got), objects(t, want)
	for name, o := range w {
		if !reflect.DeepEqual(o, g[name]) {
			a, _ := yaml.Marshal(g[name])
			b, _ := yaml.Marshal(o)
			t.Errorf("%s is\n%s\nwant\n%s", name, a, b)
		}
	}
	for name := range g {
		if w[name] == nil {
			t.Errorf("%s is unexpected", name)
		}
	}
}

// TestChart checks that the chart renders what `deploy render` and `deploy install`
// print.
func TestChart(t *testing.T) {
	system := render.System{Namespace: "sentinel-namespace", Image: "sentinel-image", ImagePullPolicy: "sentinel-pull", PullSecrets: []string{"sentinel-secret"}, Replicas: 987654, Prometheus: "sentinel-prometheus"}
	text := manifests(t, system.Objects()[1:]) // Helm creates the namespace
	for _, r := range []struct{ from, to string }{
		{"sentinel-namespace", "{{ .Release.Namespace }}"}, {"sentinel-image", "{{ .Values.image }}"}, {"sentinel-pull", "{{ .Values.imagePullPolicy }}"},
		{"987654", "{{ .Values.controller.replicas }}"}, {render.ManagedBy + ": " + render.Manager, render.ManagedBy + ": {{ .Release.Service }}"},
		{"        - --prometheus-url\n        - sentinel-prometheus\n", "        {{- with .Values.controller.prometheusURL }}\n        - --prometheus-url\n        - {{ . }}\n        {{- end }}\n"},
		{"      imagePullSecrets:\n      - name: sentinel-secret\n", "      {{- with include \"pullSecrets\" . }}\n      imagePullSecrets:\n        {{- . | nindent 8 }}\n      {{- end }}\n"},
	} {
		if !strings.Contains(text, r.from) {
			t.Fatalf("there is no %q in\n%s", r.from, text)
		}
		text = strings.ReplaceAll(text, r.from, r.to)
	}
	text = "{{- if .Values.controller.enabled }}\n{{- include \"controller.valid\" . }}\n" + text + "{{- end }}\n"
	golden := map[string]string{chart + "/templates/controller.yaml": text}
	crds, err := filepath.Glob("../v1alpha1/crds/*.yaml")
	if err != nil || len(crds) == 0 {
		t.Fatalf("%v, %v", crds, err)
	}
	for _, file := range crds {
		text, err := os.ReadFile(file)
		if err != nil {
			t.Fatal(err)
		}
		golden[chart+"/crds/"+filepath.Base(file)] = string(text)
	}
	for file, text := range golden {
		if *update {
			if err := os.WriteFile(file, []byte(text), 0o644); err != nil {
				t.Fatal(err)
			}
		}
		if got, err := os.ReadFile(file); err != nil || string(got) != text {
			t.Errorf("%s is not up to date: run go test -tags chart ./deployer/render -update (%v)", file, err)
		}
	}
	if out, err := helm(t, "lint", "--strict", chart); err != nil {
		t.Errorf("%v: %s", err, out)
	}
	render1 := func(namespace string, args ...string) string {
		t.Helper()
		out, err := helm(t, append([]string{"template", "x", chart, "--namespace", namespace}, args...)...)
		if err != nil {
			t.Fatal(err)
		}
		return out
	}
	p := render.GuidePlain("pynomaly-runtime:0.1.0")
	same(t, render1("pynomaly-production"), manifests(t, p.Objects()))
	p.Admit = nil
	same(t, render1("pynomaly-production", "--set-json", "server.admit=[]"), manifests(t, p.Objects()))
	p.Name, p.Namespace, p.Environment, p.Image, p.Only, p.Replicas, p.MaxReplicas = "other", "models", "staging", "r.example.com/x:2", "cardio@1.0.0", 2, 0
	p.Resources, p.LogLevel, p.Workers, p.CacheSize, p.Volume.Size, p.Monitor = corev1.ResourceRequirements{}, "debug", 2, 3, "1Gi", true
	p.Gateway, p.Admit, p.Host = "infra/web", []string{"gateway"}, "x.example.com"
	other := []string{
		"--set", "server.name=other,server.environment=staging,image=r.example.com/x:2,server.only=cardio@1.0.0,server.replicas=2,server.autoscaling.enabled=false",
		"--set", "server.resources.requests=null,server.resources.limits=null,server.logLevel=debug,server.workers=2,server.modelCacheSize=3,server.storage=1Gi,server.serviceMonitor=true",
		"--set", "server.gateway.name=web,server.gateway.namespace=infra,server.admit={gateway},server.host=x.example.com",
	}
	same(t, render1("models", other...), manifests(t, p.Objects()))
	p.Admit = nil
	p.Pod.Egress = []networkingv1.NetworkPolicyEgressRule{{To: []networkingv1.NetworkPolicyPeer{{IPBlock: &networkingv1.IPBlock{CIDR: "192.0.2.0/24"}}}}}
	other = append(other, "--set", "server.admit=null", "--set-json", `server.egress=[{"to": [{"ipBlock": {"cidr": "192.0.2.0/24"}}]}]`)
	same(t, render1("models", other...), manifests(t, p.Objects()))
	p.Gateway, p.TLSSecret, p.Class, p.Annotations = "", "", "", map[string]string{"a.example.com/b": "c"}
	other = append(other, "--set", "server.gateway.name=,server.gateway.namespace=,server.ingress.tlsSecret=,server.ingress.className=", "--set-json", `server.ingress.annotations={"a.example.com/b":"c"}`)
	same(t, render1("models", other...), manifests(t, p.Objects()))
	p.Environment = "production"
	access := func(a v1alpha1.Access, values string) {
		t.Helper()
		p.Access = a
		same(t, render1("models", append(slices.Clone(other), "--set", "server.environment="+p.Environment, "--set-json", "server.access="+values)...), manifests(t, p.Objects()))
	}
	yes, no := true, false
	access(v1alpha1.Access{AnonymousPredict: &yes, KeysSecret: "team.keys"}, `{"anonymousPredict": true, "keysSecret": "team.keys"}`)
	tokens, err := json.Marshal(issuers())
	if err != nil {
		t.Fatal(err)
	}
	access(v1alpha1.Access{JWT: issuers()}, `{"jwt": `+string(tokens)+`}`)
	p.Environment = "development"
	access(v1alpha1.Access{}, "{}")
	access(v1alpha1.Access{AnonymousPredict: &no}, `{"anonymousPredict": false}`)
	s := render.System{Namespace: "ops", Image: "r.example.com/x:2", ImagePullPolicy: corev1.PullAlways, Replicas: 3}
	only := []string{"--set", "server.enabled=false,controller.enabled=true,controller.replicas=3,image=r.example.com/x:2,imagePullPolicy=Always"}
	same(t, render1("ops", only...), manifests(t, s.Objects()[1:]))
	s.Prometheus = "http://prometheus.monitoring:9090"
	same(t, render1("ops", append(only, "--set", "controller.prometheusURL=http://prometheus.monitoring:9090")...), manifests(t, s.Objects()[1:]))
	s.PullSecrets = []string{"a", "b"}
	same(t, render1("ops", append(only, "--set", "controller.prometheusURL=http://prometheus.monitoring:9090,imagePullSecrets={a,b}")...), manifests(t, s.Objects()[1:]))
	full, values := fullPlain(t)
	same(t, render1(full.Namespace, "--values", values), manifests(t, full.Objects()))
}

// TestChartRefuses checks that Helm refuses what `deploy render` refuses.
func TestChartRefuses(t *testing.T) {
	for args, want := range map[string]string{
		"--set=server.nane=x": "nane", "--set=controller.replicas=0": "controller/replicas", "--set=server.egress[0].ports=x": "server/egress",
		"--set=server.access.anonymousPredict=perhaps": "anonymousPredict", "--set=server.access.jwt[0].issuer=x": "server/access/jwt",
		"--set-json=server.egress=[{\"to\":[]}]": "server/egress/0/to", "--set=server.gateway.namespace=infra": "server.gateway.name",
		"--set=server.replicas=20":                                    "server.replicas is 20, which is above server.autoscaling.maxReplicas 10",
		"--set=server.replicas=0":                                     "server.autoscaling.enabled=false",
		"--set=server.traces.endpoint=http://x:4317":                  "server.egress",
		"--kube-version=1.29.0 --set=controller.enabled=true":         "needs Kubernetes 1.30",
		"--kube-version=1.20.0":                                       "1.21",
		"--set=server.resources.limits.cpu=much":                      "server/resources/limits/cpu",
		"--set=server.replicas=0,server.autoscaling.enabled=false":    "",
		"--set=server.replicas=20,server.autoscaling.maxReplicas=20":  "",
		"--kube-version=1.21.0 --set=server.resources.limits.cpu=0.5": "",
		"--kube-version=1.30.0-eks-1 --set=controller.enabled=true":   "",
	} {
		_, err := helm(t, append([]string{"template", "x", chart}, strings.Fields(args)...)...)
		if want == "" && err != nil || want != "" && (err == nil || !strings.Contains(err.Error(), want)) {
			t.Errorf("%s: %v", args, err)
		}
	}
	text, err := os.ReadFile("testdata/values.yaml")
	if err != nil {
		t.Fatal(err)
	}
	var all []struct {
		Chart, Key string
		List       bool
		Bad        []any
	}
	if err := yaml.Unmarshal(text, &all); err != nil || len(all) < 20 {
		t.Fatalf("%d settings, %v", len(all), err)
	}
	for _, s := range all { // one value each: the schema itself is tested with all
		var v any = s.Bad[0]
		if s.Key != "" {
			v = map[string]any{s.Key: v}
		}
		if s.List {
			v = []any{v}
		}
		value, err := json.Marshal(v)
		if err != nil {
			t.Fatal(err)
		}
		if _, err := helm(t, "template", "x", chart, "--set-json", s.Chart+"="+string(value)); err == nil || !strings.Contains(err.Error(), strings.ReplaceAll(s.Chart, ".", "/")) {
			t.Errorf("%s=%s: %v", s.Chart, value, err)
		}
	}
}
