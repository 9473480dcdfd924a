package render_test

import (
	"encoding/json"
	"math"
	"os"
	"reflect"
	"regexp"
	"strings"
	"testing"
	"time"

	apiextensionsv1 "k8s.io/apiextensions-apiserver/pkg/apis/apiextensions/v1"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/manifest"
)

func sha(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// TestImageAllowed checks which images a list of images allows.
func TestImageAllowed(t *testing.T) {
	const repository = "registry.example.com:5000/models/host"
	list := []string{repository + "@" + sha("a"), repository + ":1.0", "short:2"}
	for image, want := range map[string]bool{
		repository + "@" + sha("a"):             true,
		repository + ":any@" + sha("a"):         true, // the digest decides
		repository + "@" + sha("b"):             false,
		repository + ":1.0":                     true,
		repository + ":1.0@" + sha("b"):         false,
		repository + ":1.1":                     false,
		repository:                              false,
		"other.example.com/host@" + sha("a"):    false,
		"short:2":                               true,
		"docker.io/library/short:2":             false,
		"short":                                 false,
		"short:2 ":                              false,
		"":                                      false,
		"short:2@" + sha("a"):                   false,
		repository + "@sha512:" + sha("a")[7:]:  false,
		repository + "@" + sha("a") + "@" + "x": false,
		"own:3":                                 true,
	} {
		if got := render.ImageAllowed(&v1alpha1.EnvironmentSpec{Image: "own:3", Images: list}, image); got != want {
			t.Errorf("%s: %v", image, got)
		}
	}
	for _, c := range []struct {
		e    v1alpha1.EnvironmentSpec
		want bool
	}{
		{v1alpha1.EnvironmentSpec{}, true},
		{v1alpha1.EnvironmentSpec{Image: "y:1"}, true},
		{v1alpha1.EnvironmentSpec{ApprovalRequired: true}, false},
		{v1alpha1.EnvironmentSpec{ApprovalRequired: true, Image: "y:1"}, false},
		{v1alpha1.EnvironmentSpec{ApprovalRequired: true, Image: "x:1"}, true},
	} {
		if got := render.ImageAllowed(&c.e, "x:1"); got != c.want {
			t.Errorf("%+v: %v", c.e, got)
		}
	}
}

// FuzzParseImage checks that an image has one reading, and that a list with one
// digest allows no other digest.
func FuzzParseImage(f *testing.F) {
	for _, text := range []string{"a", "a:1", "a@" + sha("a"), "r:5000/a/b:1@" + sha("b"), ":", "@", "a:1/b", "a::b", "a/@" + sha("a")} {
		f.Add(text)
	}
	f.Fuzz(func(t *testing.T, text string) {
		i, err := render.ParseImage(text)
		if err != nil {
			return
		}
		again := i.Repository
		if i.Tag != "" {
			again += ":" + i.Tag
		}
		if i.Digest != "" {
			again += "@" + i.Digest
		}
		if again != text || strings.ContainsAny(text, " ,=\n\x00") {
			t.Errorf("%q: %+v", text, i)
		}
		if !render.ImageAllowed(&v1alpha1.EnvironmentSpec{Images: []string{text}}, text) {
			t.Errorf("%q does not equal itself", text)
		}
		if i.Digest != sha("c") && render.ImageAllowed(&v1alpha1.EnvironmentSpec{Images: []string{text}}, i.Repository+"@"+sha("c")) {
			t.Errorf("%q allows another digest", text)
		}
	})
}

// FuzzValidModel checks that valid names, joined, are parsed by the host as the same
// names.
func FuzzValidModel(f *testing.F) {
	f.Add("cardio", "1.0.0-a,evil@6.6.6", "")
	f.Add("cardio", "1.0.0-rc.1", sha("a"))
	f.Add("-", "01.0.0", "sha256:")
	f.Fuzz(func(t *testing.T, id, version, digest string) {
		if render.ValidModel(v1alpha1.ModelReference{ID: id, Version: version, Digest: digest}) != nil {
			return
		}
		only := id + "@" + version
		if digest != "" {
			only += "=" + digest
		}
		if strings.ContainsAny(only, ", \n$") || strings.HasPrefix(only, "-") {
			t.Errorf("%q", only)
		}
		if i, v, d, err := manifest.ParsePinned(only); err != nil || i != id || v != version || d != digest {
			t.Errorf("%q is read as %s %s %s: %v", only, i, v, d, err)
		}
	})
}

// specOf returns the schema of a kind's spec.
func specOf(t testing.TB, kind string) apiextensionsv1.JSONSchemaProps {
	t.Helper()
	text, err := os.ReadFile("../v1alpha1/crds/runtime.pynomaly.io_" + kind + ".yaml")
	if err != nil {
		t.Fatal(err)
	}
	var crd apiextensionsv1.CustomResourceDefinition
	if err := yaml.Unmarshal(text, &crd); err != nil {
		t.Fatal(err)
	}
	return crd.Spec.Versions[0].Schema.OpenAPIV3Schema.Properties["spec"]
}

// patterns returns the patterns of the resource definitions for a field of a model,
// wherever they name a model.
func patterns(t *testing.T, field string) map[string]*regexp.Regexp {
	t.Helper()
	out := map[string]*regexp.Regexp{}
	for _, kind := range []string{"modeldeployments", "modelrevisions", "modelapprovals"} {
		spec := specOf(t, kind)
		if template, ok := spec.Properties["template"]; ok {
			spec = template
		}
		out[kind] = regexp.MustCompile(spec.Properties["model"].Properties[field].Pattern)
	}
	return out
}

// FuzzTimes checks that every time that the definitions allow can be decoded. One
// object that cannot be decoded would keep the controller from reading all objects
// of its kind.
func FuzzTimes(f *testing.F) {
	for _, text := range []string{"0", "1h0m0s", "99999.999999999h99999h99999h99999h", "1.5ms", "1h1h1h1h", "soon", "100000h", "1d", "4m59.5s", "5m0s", "99s", "-5s", "-0"} {
		f.Add(text)
	}
	spec := func(kind string) apiextensionsv1.JSONSchemaProps { return specOf(f, kind) }
	strategy := spec("modeldeployments").Properties["strategy"].Properties
	step := strategy["steps"].Items.Schema.Properties
	access := spec("environments").Properties["access"].Properties["jwt"].Items.Schema.Properties
	var all []*regexp.Regexp
	for _, field := range []apiextensionsv1.JSONSchemaProps{
		strategy["deadline"], strategy["window"], strategy["drain"], step["hold"], spec("environments").Properties["soak"], spec("environments").Properties["approvalLifetime"], access["leeway"],
	} {
		if field.Pattern == "" {
			f.Fatal("a time without a pattern")
		}
		all = append(all, regexp.MustCompile(field.Pattern))
	}
	f.Fuzz(func(t *testing.T, text string) {
		for _, pattern := range all {
			if !pattern.MatchString(text) {
				continue
			}
			// A rule refuses negative holds, in words.
			if d, err := time.ParseDuration(text); err != nil || d < 0 && !strings.HasPrefix(text, "-") {
				t.Errorf("%q: %v, %v", text, d, err)
			}
		}
	})
}

// TestNumbersFit checks that the definitions bound all numbers. The API server
// ignores the format, so a number without a maximum might not be decoded.
func TestNumbersFit(t *testing.T) {
	var walk func(at string, p apiextensionsv1.JSONSchemaProps)
	walk = func(at string, p apiextensionsv1.JSONSchemaProps) {
		if p.Format == "int32" && (p.Maximum == nil || *p.Maximum > math.MaxInt32 || p.Minimum == nil) {
			t.Errorf("%s has no bounds", at)
		}
		for name, below := range p.Properties {
			walk(at+"."+name, below)
		}
		if p.Items != nil && p.Items.Schema != nil {
			walk(at+"[]", *p.Items.Schema)
		}
	}
	for _, kind := range []string{"modeldeployments", "modelapprovals", "environments"} {
		walk(kind, specOf(t, kind))
	}
}

// TestDefinitionsAgree checks that the resource definitions and the chart accept
// exactly the ids, versions and digests that the host accepts.
func TestDefinitionsAgree(t *testing.T) {
	ids := []string{"cardio", "a", "A_b-9", "9", "-a", "_a", "", "a b", "a@b", "a,b", "a=b", "a\n", "ä", "a.b"}
	versions := []string{
		"1.0.0", "0.0.0", "10.20.30", "1.0.0-rc.1", "1.0.0-0", "1.0.0-0a.b-c", "1.0.0--", "1.0.0-x.7.z", "1", "1.0", "v1.0.0", "01.0.0", "1.00.0", "1.0.0-01", "1.0.0-",
		"1.0.0-a..b", "1.0.0+b", "1.0.0-a+b", "1.0.0-a,evil@6.6.6", "1.0.0=sha256:x", "1.0.0-a b", "1.0.0\n", "1.0.0-ä", "", "1.0.0-$(X)", "latest",
	}
	var chart struct {
		Properties struct {
			Server struct {
				Properties struct{ Only struct{ Pattern string } }
			}
		}
	}
	text, err := os.ReadFile("../../charts/pynomaly-runtime/values.schema.json")
	if err == nil {
		err = json.Unmarshal(text, &chart)
	}
	if err != nil {
		t.Fatal(err)
	}
	only := regexp.MustCompile(chart.Properties.Server.Properties.Only.Pattern)
	for field, texts := range map[string][]string{"id": ids, "version": versions, "digest": {sha("a"), "", "sha256:", sha("A"), sha("a") + "0", sha("a") + ",x@1.0.0"}} {
		for kind, pattern := range patterns(t, field) {
			for _, text := range texts {
				m := v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0"}
				switch field {
				case "id":
					m.ID = text
				case "version":
					m.Version = text
				default:
					m.Digest = text
				}
				name := m.ID + "@" + m.Version
				if m.Digest != "" {
					name += "=" + m.Digest
				}
				valid := render.ValidModel(m) == nil
				if pattern.MatchString(text) != valid {
					t.Errorf("%s: %s %q: %v, the host says %v", kind, field, text, !valid, valid)
				}
				p := render.GuidePlain("x:1")
				p.Only = name
				if only.MatchString(name) != valid || (p.Valid() == nil) != valid {
					t.Errorf("chart and render: %q: the host says %v", name, valid)
				}
			}
		}
	}
}

// TestContents checks that an approval covers every field of a template and of a
// strategy, except those that are excluded on purpose.
func TestContents(t *testing.T) {
	left := map[string]bool{"maxSurge": true, "window": true, "deadline": true, "drain": true}
	covered := reflect.TypeFor[render.Checks]()
	strategy := reflect.TypeFor[v1alpha1.Strategy]()
	for i := range strategy.NumField() {
		name, _, _ := strings.Cut(strategy.Field(i).Tag.Get("json"), ",")
		_, has := covered.FieldByName(strategy.Field(i).Name)
		if has = has || name == "type"; has == left[name] {
			t.Errorf("strategy.%s: an approval covers it: %v", name, has)
		}
	}
	if f, ok := reflect.TypeFor[render.Contents]().FieldByName("Template"); !ok || f.Type != reflect.TypeFor[v1alpha1.RevisionTemplate]() {
		t.Error("an approval covers the whole template")
	}
	spec := reflect.TypeFor[v1alpha1.ModelDeploymentSpec]()
	outside := map[string]bool{
		"Replicas": true, "Autoscaling": true, "Traffic": true, "Paused": true, "Abort": true, "Resume": true, "Reason": true, "RequestedBy": true, "HistoryLimit": true,
	}
	inside := map[string]bool{"Environment": true, "Template": true, "Strategy": true, "Promote": true, "RollbackOf": true, "ReplaceBroken": true, "Attempt": true}
	for i := range spec.NumField() {
		if name := spec.Field(i).Name; outside[name] == inside[name] {
			t.Errorf("spec.%s: does an approval cover it?", name)
		}
	}
}
