package cli

import (
	"bytes"
	"context"
	"errors"
	"flag"
	"os"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

var update = flag.Bool("update", false, "write the golden files")

func golden(t *testing.T, name, got string) {
	t.Helper()
	file := filepath.Join("testdata", name)
	if *update {
		if err := os.WriteFile(file, []byte(got), 0o600); err != nil {
			t.Fatal(err)
		}
	}
	want, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	if got != string(want) {
		t.Errorf("printed\n%s\nwant, as in %s,\n%s", got, file, want)
	}
}

// production returns a cluster in which revision 1 runs, and revision 2, requested
// by alice, waits for an approval.
func production(t *testing.T, change func(*v1alpha1.ModelDeployment)) (client.Client, *app, *bytes.Buffer) {
	t.Helper()
	const ns = "pynomaly-production"
	digest := func(c string) string { return "sha256:" + strings.Repeat(c, 64) }
	env := &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "production"}, Spec: v1alpha1.EnvironmentSpec{
		Namespace: ns, ApprovalRequired: true, Strategy: &v1alpha1.Strategy{Type: v1alpha1.Canary}, ApprovalLifetime: &metav1.Duration{Duration: time.Hour},
	}}
	runs := v1alpha1.RevisionTemplate{
		Model: v1alpha1.ModelReference{ID: "cardio", Version: "1.0.0", Digest: digest("a")}, Image: "registry.example.com/host@" + digest("1"), ImagePullPolicy: corev1.PullIfNotPresent,
		Config: map[string]string{"LOG_LEVEL": "info"}, Source: v1alpha1.Source{Type: "image"},
		Resources: corev1.ResourceRequirements{Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("1Gi")}},
	}
	md := &v1alpha1.ModelDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: "cardio", Namespace: ns},
		Spec:       v1alpha1.ModelDeploymentSpec{Environment: "production", Replicas: 5, Template: *runs.DeepCopy(), Strategy: v1alpha1.Strategy{Type: v1alpha1.Canary}, RequestedBy: "alice"},
	}
	md.Spec.Template.Model.Version, md.Spec.Template.Model.Digest = "1.1.0", digest("b")
	if change != nil {
		change(md)
	}
	record := func(name string, number int32, template v1alpha1.RevisionTemplate, phase string) *v1alpha1.ModelRevision {
		hash, err := render.Hash(template)
		if err != nil {
			t.Fatal(err)
		}
		return &v1alpha1.ModelRevision{
			ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: ns, Labels: render.Labels(md, hash)},
			Spec: v1alpha1.ModelRevisionSpec{
				DeploymentID: render.DeploymentID("cardio", "production", number), Number: number, Hash: hash, Environment: "production", Template: template, RequestedBy: "alice",
			},
			Status: v1alpha1.ModelRevisionStatus{Phase: phase},
		}
	}
	first, second := record("cardio-1", 1, runs, v1alpha1.Deployed), record("cardio-2", 2, md.Spec.Template, v1alpha1.Pending)
	if md.Status.Update = second.Spec.Hash; md.Status.Stable == "" {
		md.Status.Stable = first.Spec.Hash
	} else { // nothing runs
		md.Status.Stable = ""
	}
	md.Status.Conditions = []metav1.Condition{{Type: v1alpha1.ConditionApproved, Status: metav1.ConditionFalse, Reason: "Waiting", Message: "waits for an approval of cardio@1.1.0 by somebody other than alice"}}
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(env, md, first, second).WithStatusSubresource(md, first).Build()
	var out bytes.Buffer
	a := &app{Options: Options{Out: &out, Err: &out, Now: func() time.Time { return time.Date(2026, 1, 1, 12, 0, 0, 0, time.UTC) }}}
	return c, a, &out
}

func approvals(ctx context.Context, t *testing.T, c client.Client) []v1alpha1.ModelApproval {
	t.Helper()
	var all v1alpha1.ModelApprovalList
	if err := c.List(ctx, &all); err != nil {
		t.Fatal(err)
	}
	return all.Items
}

// TestApproversView checks that an approver sees every difference to what runs, and
// that only the digest of exactly that approves it.
func TestApproversView(t *testing.T) {
	for name, change := range map[string]func(*v1alpha1.ModelDeployment){
		"model": nil,
		"first": func(md *v1alpha1.ModelDeployment) { md.Status.Stable = "none" },
		"changed": func(md *v1alpha1.ModelDeployment) {
			s := &md.Spec.Template
			s.Image, s.Samples = "registry.example.com/other:latest", 200
			s.Config = map[string]string{"LOG_LEVEL": "debug", "PYNOMALY_SERVER_SAMPLES_TOKEN": "one\ntwo\x1b[2K\u202e", "odd key": "x"}
			s.Resources.Limits[corev1.ResourceMemory] = resource.MustParse("8Gi")
			s.Source = v1alpha1.Source{Type: "pvc", Claim: "ledgers"}
			md.Spec.Strategy.Gates = &v1alpha1.Gates{Disabled: true}
			md.Spec.Strategy.Steps = []v1alpha1.Step{{Weight: 99}}
			md.Spec.RollbackOf, md.Spec.Reason = "12345678", "a small change\ndigest: sha256:"+strings.Repeat("0", 64)
		},
	} {
		t.Run(name, func(t *testing.T) {
			c, a, out := production(t, change)
			ctx := t.Context()
			at, err := find(ctx, c, "cardio-production-2")
			if err != nil {
				t.Fatal(err)
			}
			if err := a.runApprove(ctx, c, at, "bob", "", ""); !errors.Is(err, errNotApproved) || !strings.Contains(err.Error(), "--digest sha256:") {
				t.Errorf("%v", err)
			}
			golden(t, "approve-"+name+".txt", out.String())
			contents, err := render.ContentsOf(&at.deployment)
			if err != nil {
				t.Fatal(err)
			}
			digest, err := contents.Digest()
			if err != nil || !strings.Contains(out.String(), digest) {
				t.Errorf("%s is not in %s (%v)", digest, out, err)
			}
			var exit *ExitError
			if err := a.runApprove(ctx, c, at, "bob", "sha256:"+strings.Repeat("0", 64), ""); !errors.As(err, &exit) || exit.Code != ExitConflict {
				t.Errorf("another digest: %v", err)
			}
			if all := approvals(ctx, t, c); len(all) != 0 {
				t.Fatalf("%+v", all)
			}
			if err := a.runApprove(ctx, c, at, "alice", digest, ""); err == nil || !strings.Contains(err.Error(), "cannot approve") {
				t.Errorf("alice: %v", err)
			}
			if err := a.runApprove(ctx, c, at, "bob", digest, "seen"); err != nil {
				t.Fatal(err)
			}
			all := approvals(ctx, t, c)
			if len(all) != 1 || all[0].Spec.Digest != digest || all[0].Spec.Revision != "cardio-production-2" || !all[0].Spec.ExpiresAt.Equal(ptr(metav1.NewTime(a.Now().Add(time.Hour)))) {
				t.Errorf("%+v", all)
			}
		})
	}
}

func ptr[T any](v T) *T { return &v }

// TestChangedWhileLookedAt checks that a digest approves no later change.
func TestChangedWhileLookedAt(t *testing.T) {
	c, a, _ := production(t, nil)
	ctx := t.Context()
	at, err := find(ctx, c, "cardio-production-2")
	if err != nil {
		t.Fatal(err)
	}
	contents, err := render.ContentsOf(&at.deployment)
	if err != nil {
		t.Fatal(err)
	}
	seen, err := contents.Digest()
	if err != nil {
		t.Fatal(err)
	}
	at.deployment.Spec.Strategy.Gates = &v1alpha1.Gates{Disabled: true}
	if err := c.Update(ctx, &at.deployment); err != nil {
		t.Fatal(err)
	}
	var exit *ExitError
	if err := a.runApprove(ctx, c, at, "bob", seen, ""); !errors.As(err, &exit) || len(approvals(ctx, t, c)) != 0 {
		t.Errorf("gates were disabled: %v", err)
	}
	at.deployment.Spec.Template.Image = "another:1"
	if err := a.runApprove(ctx, c, at, "bob", seen, ""); err == nil || !strings.Contains(err.Error(), "is not what is requested now") {
		t.Errorf("another template: %v", err)
	}
}

// TestCompare checks that every difference shows, even beside equal values.
func TestCompare(t *testing.T) {
	memory := func(request, limit string) v1alpha1.RevisionTemplate {
		return v1alpha1.RevisionTemplate{Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(request)}, Limits: corev1.ResourceList{corev1.ResourceMemory: resource.MustParse(limit)},
		}}
	}
	d, err := compare(memory("1Gi", "2Gi"), memory("2Gi", "1Gi"))
	if err != nil || len(d.Removed) != 2 || len(d.Added) != 2 {
		t.Errorf("%+v, %v", d, err)
	}
	if d, err := compare(memory("1Gi", "2Gi"), memory("1024Mi", "2Gi")); err != nil || len(d.lines) != 0 {
		t.Errorf("equal quantities: %+v, %v", d, err)
	}
	d, err = compare(map[string]string{"a": "", "b.c": "x"}, map[string]any{"b": map[string]string{"c": "x"}})
	if err != nil || len(d.lines) == 0 {
		t.Errorf("an empty value: %+v, %v", d, err)
	}
}

// TestAmbiguous checks that an id that fits two environments is refused.
func TestAmbiguous(t *testing.T) {
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	var objects []client.Object
	for env, model := range map[string]string{"b-c": "a", "c": "a-b"} {
		objects = append(objects,
			&v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: env}, Spec: v1alpha1.EnvironmentSpec{Namespace: env}},
			&v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: model, Namespace: env}},
			&v1alpha1.ModelRevision{ObjectMeta: metav1.ObjectMeta{Name: model + "-1", Namespace: env}, Spec: v1alpha1.ModelRevisionSpec{DeploymentID: render.DeploymentID(model, env, 1)}})
	}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(objects...).Build()
	if _, err := find(t.Context(), c, "a-b-c-1"); err == nil || !strings.Contains(err.Error(), "several environments") {
		t.Errorf("%v", err)
	}
	if at, err := find(t.Context(), c, "c/a-b-c-1"); err != nil || at.deployment.Name != "a-b" {
		t.Errorf("%+v, %v", at, err)
	}
}
