//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// wanted returns a ModelDeployment of a model that does not exist.
func wanted(name string, change func(*v1alpha1.ModelDeployment)) *v1alpha1.ModelDeployment {
	md := &v1alpha1.ModelDeployment{
		ObjectMeta: metav1.ObjectMeta{Name: name, Namespace: namespace},
		Spec: v1alpha1.ModelDeploymentSpec{
			Environment: "development", Replicas: 0, Strategy: v1alpha1.Strategy{Type: v1alpha1.Canary},
			Template: v1alpha1.RevisionTemplate{Model: v1alpha1.ModelReference{ID: name, Version: "1.0.0"}, Image: "x:1"},
		},
	}
	if change != nil {
		change(md)
	}
	return md
}

// TestAdmission checks what the API server refuses by the resource definitions and
// the admission policies. It needs no node.
func TestAdmission(t *testing.T) {
	w := connect(t)
	defer w.told(t, "TestAdmission")
	w.run(t, 0, "install", "--image", w.image, "--image-pull-policy", w.pull)
	ctx := context.Background()
	refused := func(what string, err error, says string) {
		t.Helper()
		if err == nil || (!apierrors.IsInvalid(err) && !apierrors.IsForbidden(err)) || !strings.Contains(err.Error(), says) {
			t.Errorf("%s: %v, want %q", what, err, says)
		}
	}
	// Policies take effect some time after their creation.
	w.eventually(t, time.Minute, "policies are in force", func() bool {
		err := w.Create(ctx, wanted("probe", func(md *v1alpha1.ModelDeployment) { md.Spec.RequestedBy = "mallory" }), client.DryRunAll)
		return err != nil && strings.Contains(err.Error(), "spec.requestedBy must be")
	})
	for what, c := range map[string]struct {
		change func(*v1alpha1.ModelDeployment)
		says   string
	}{
		"two models in one":       {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.Version = "1.0.0-a,evil@6.6.6" }, "template.model.version"},
		"build metadata":          {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.Version = "1.0.0+a" }, "template.model.version"},
		"an id that is a flag":    {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.ID = "-a" }, "template.model.id"},
		"a digest and more":       {func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Model.Digest = "sha256:x" }, "template.model.digest"},
		"the cluster's namespace": {func(md *v1alpha1.ModelDeployment) { md.Namespace = "kube-system" }, "namespace of the system"},
		"a host that is open": {func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Config = map[string]string{"PYNOMALY_SERVER_INSECURE": "true"}
		}, "cannot say who may use the host"},
		"a role without a key": {func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Config = map[string]string{"PYNOMALY_AUTH_ANONYMOUS": "admin"}
		}, "cannot say who may use the host"},
		"the controller's": {func(md *v1alpha1.ModelDeployment) { md.Namespace = "pynomaly-system" }, "namespace of the system"},
	} {
		refused(what, w.Create(ctx, wanted("refused", c.change)), c.says)
	}
	// A value that the controller cannot decode would keep it from reading all
	// deployments.
	strategy := func(field string, value any) map[string]any { return map[string]any{"type": "canary", field: value} }
	memory := func(kind string, value any) map[string]any {
		return map[string]any{kind: map[string]any{"memory": value}}
	}
	for _, c := range []struct {
		strategy, resources map[string]any
		says                string
	}{
		{strategy("deadline", "soon"), nil, "strategy.deadline"},
		{strategy("deadline", "99999999999h"), nil, "strategy.deadline"},
		{strategy("deadline", "-1s"), nil, "strategy.deadline"},
		{strategy("deadline", ""), nil, "strategy.deadline"},
		{strategy("deadline", "0"), nil, "strategy.deadline"},
		{strategy("steps", []any{map[string]any{"weight": int64(10), "hold": "1d"}}), nil, "hold"},
		{strategy("maxSurge", int64(99999999999)), nil, "strategy.maxSurge"},
		{strategy("gates", map[string]any{"latencyPercent": int64(99999999999)}), nil, "latencyPercent"},
		{nil, memory("limits", "much"), "limits"},
		{nil, memory("limits", "1e1.5"), "must be quantities"},
		{nil, memory("requests", "1e1.5"), "must be quantities"},
	} {
		if c.strategy == nil {
			c.strategy = map[string]any{"type": "canary"}
		}
		template := map[string]any{"image": "x:1", "model": map[string]any{"id": "refused", "version": "1.0.0"}}
		if c.resources != nil {
			template["resources"] = c.resources
		}
		fields := map[string]any{
			"apiVersion": v1alpha1.GroupVersion().String(), "kind": "ModelDeployment", "metadata": map[string]any{"name": "refused", "namespace": namespace},
			"spec": map[string]any{"environment": "development", "replicas": int64(0), "strategy": c.strategy, "template": template},
		}
		refused(fmt.Sprint(c.strategy, c.resources), w.Create(ctx, &unstructured.Unstructured{Object: fields}), c.says)
	}
	// All of these can be decoded.
	w.readable(t, strategy("deadline", "1h0m0.5s"), memory("limits", "1e3"))
	w.readable(t, strategy("drain", "0"), memory("requests", int64(5)))
	for what, c := range map[string]struct {
		change func(*v1alpha1.EnvironmentSpec)
		says   string
	}{
		"the cluster's namespace": {func(e *v1alpha1.EnvironmentSpec) { e.Namespace = "kube-system" }, "one of the cluster's own"},
		"an image without a tag":  {func(e *v1alpha1.EnvironmentSpec) { e.Images = []string{"registry.example.com:5000/host"} }, "images"},
		"half a digest":           {func(e *v1alpha1.EnvironmentSpec) { e.Images = []string{"host@sha256:12"} }, "images"},
		"any image":               {func(e *v1alpha1.EnvironmentSpec) { e.Images = []string{"*"} }, "images"},
		"a Secret by a path":      {access(func(a *v1alpha1.Access) { a.KeysSecret = "../x" }), "keysSecret must be the name of a Secret"},
		"an issuer twice":         {access(func(a *v1alpha1.Access) { a.JWT = append(a.JWT, a.JWT[0]) }), "jwt names an issuer and audience twice"},
		"no audience":             {access(func(a *v1alpha1.Access) { a.JWT[0].Audience = "" }), "audience"},
		"no algorithm":            {access(func(a *v1alpha1.Access) { a.JWT[0].Algorithms = nil }), "algorithms"},
		"the algorithm none":      {access(func(a *v1alpha1.Access) { a.JWT[0].Algorithms = []string{"none"} }), "algorithms"},
		"a secret for a key":      {access(func(a *v1alpha1.Access) { a.JWT[0].Algorithms = []string{"HS256"} }), "HS512 go with secretFile"},
		"keys in clear":           {access(func(a *v1alpha1.Access) { a.JWT[0].JWKS = "http://id.example.com/keys" }), "jwks must be an https URL, or the name of an item"},
		"keys by a path":          {access(func(a *v1alpha1.Access) { a.JWT[0].JWKS = "../keys" }), "jwks must be an https URL, or the name of an item"},
		"keys and a secret":       {access(func(a *v1alpha1.Access) { a.JWT[0].SecretFile = "x" }), "a jwt takes either jwks or secretFile"},
		"a CA without a server":   {access(func(a *v1alpha1.Access) { a.JWT[0].JWKS, a.JWT[0].CA = "keys.json", "ca.crt" }), "ca goes with a jwks that is an https URL"},
		"a role of nobody":        {access(func(a *v1alpha1.Access) { a.JWT[0].Roles["x"] = "boss" }), "roles must map to viewer"},
		"no roles":                {access(func(a *v1alpha1.Access) { a.JWT[0].Roles = map[string]v1alpha1.RoleName{} }), "roles"},
		"an hour of leeway":       {access(func(a *v1alpha1.Access) { a.JWT[0].Leeway = span(time.Hour) }), "leeway"},
	} {
		env := &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "refused"}, Spec: v1alpha1.EnvironmentSpec{Namespace: "refused"}}
		c.change(&env.Spec)
		refused(what, w.Create(ctx, env), c.says)
	}
	good := &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "accepted"}, Spec: v1alpha1.EnvironmentSpec{Namespace: "accepted"}}
	access(func(a *v1alpha1.Access) {
		a.KeysSecret, a.JWT[0].CA, a.JWT[0].Leeway = "team.keys", "ca.crt", span(time.Minute+30*time.Second)
	})(&good.Spec)
	if err := w.Create(ctx, good, client.DryRunAll); err != nil {
		t.Error(err)
	}
	w.names(t, refused)
	w.records(t, refused)
}

// access returns a change of an Environment that accepts tokens of an issuer.
func access(change func(*v1alpha1.Access)) func(*v1alpha1.EnvironmentSpec) {
	return func(e *v1alpha1.EnvironmentSpec) {
		e.Access = &v1alpha1.Access{JWT: []v1alpha1.JWT{{
			Issuer: "https://id.example.com", Audience: "pynomaly", JWKS: "https://id.example.com/keys", Algorithms: []string{"ES256"}, Roles: map[string]v1alpha1.RoleName{"x": "viewer"},
		}}}
		change(e.Access)
	}
}

// readable checks that the API server accepts a value and that the controller can
// decode it.
func (w *world) readable(t *testing.T, strategy, resources map[string]any) {
	t.Helper()
	u := &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": v1alpha1.GroupVersion().String(), "kind": "ModelDeployment", "metadata": map[string]any{"name": "readable", "namespace": namespace},
		"spec": map[string]any{
			"environment": "development", "replicas": int64(0), "strategy": strategy,
			"template": map[string]any{"image": "x:1", "model": map[string]any{"id": "readable", "version": "1.0.0"}, "resources": resources},
		},
	}}
	if err := w.Create(context.Background(), u, client.DryRunAll); err != nil {
		t.Errorf("%v %v: %v", strategy, resources, err)
		return
	}
	var md v1alpha1.ModelDeployment
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, &md); err != nil {
		t.Errorf("%v %v: %v", strategy, resources, err)
	}
}

// names checks that a user who changes what an approval covers becomes the
// requester.
func (w *world) names(t *testing.T, refused func(string, error, string)) {
	ctx := context.Background()
	md := wanted("named", nil)
	if err := client.IgnoreNotFound(w.Delete(ctx, md)); err != nil {
		t.Fatal(err)
	}
	carol, dave := w.as(t, "carol"), w.as(t, "dave")
	for user, role := range map[string]string{"carol": "pynomaly-deployer", "dave": "pynomaly-deployer"} {
		w.bind(t, user, role)
	}
	md.Spec.RequestedBy = "carol"
	w.eventually(t, time.Minute, "carol's request is created", func() bool { return carol.Create(ctx, md) == nil })
	defer func() { _ = w.Delete(ctx, md) }()
	try := func(change func(*v1alpha1.ModelDeploymentSpec)) error {
		t.Helper()
		for {
			now := &v1alpha1.ModelDeployment{}
			if err := dave.Get(ctx, client.ObjectKeyFromObject(md), now); err != nil {
				t.Fatal(err)
			}
			change(&now.Spec)
			if err := dave.Update(ctx, now, client.DryRunAll); !apierrors.IsConflict(err) { // the controller writes the status
				return err
			}
		}
	}
	for what, change := range map[string]func(*v1alpha1.ModelDeploymentSpec){
		"image":    func(s *v1alpha1.ModelDeploymentSpec) { s.Template.Image = "x:2" },
		"gates":    func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Gates = &v1alpha1.Gates{Disabled: true} },
		"steps":    func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Steps = []v1alpha1.Step{{Weight: 99}} },
		"strategy": func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Type = v1alpha1.Direct },
		"promote":  func(s *v1alpha1.ModelDeploymentSpec) { s.Promote = "12345678" },
		"rollback": func(s *v1alpha1.ModelDeploymentSpec) { s.RollbackOf = "12345678" },
	} {
		refused("dave changes "+what+" in carol's name", try(change), "spec.requestedBy must be")
		if err := try(func(s *v1alpha1.ModelDeploymentSpec) { change(s); s.RequestedBy = "dave" }); err != nil {
			t.Errorf("dave changes %s in his own: %v", what, err)
		}
	}
	for what, change := range map[string]func(*v1alpha1.ModelDeploymentSpec){
		"replicas": func(s *v1alpha1.ModelDeploymentSpec) { s.Replicas = 1 },
		"deadline": func(s *v1alpha1.ModelDeploymentSpec) { s.Strategy.Deadline = span(90 * time.Minute) },
		"nothing":  func(*v1alpha1.ModelDeploymentSpec) {},
	} {
		if err := try(change); err != nil {
			t.Errorf("dave changes %s: %v", what, err)
		}
	}
}

// records checks that only the controller writes what was approved, admitted or
// deployed.
func (w *world) records(t *testing.T, refused func(string, error, string)) {
	ctx := context.Background()
	md := wanted("recorded", nil)
	if err := client.IgnoreAlreadyExists(w.Create(ctx, md)); err != nil {
		t.Fatal(err)
	}
	defer func() { _ = w.Delete(ctx, md) }()
	var err error
	w.eventually(t, time.Minute, "the controller does not change it for a moment", func() bool {
		w.get(t, client.ObjectKeyFromObject(md), md)
		md.Status.Rollout.Admitted = &v1alpha1.Admission{Digest: "sha256:" + strings.Repeat("0", 64)}
		err = w.Status().Update(ctx, md)
		return !apierrors.IsConflict(err)
	})
	refused("a status", err, "only the controller writes them")
	approval := func(change func(*v1alpha1.ModelApprovalSpec)) error {
		a := &v1alpha1.ModelApproval{ObjectMeta: metav1.ObjectMeta{GenerateName: "refused-", Namespace: namespace}, Spec: v1alpha1.ModelApprovalSpec{
			Model: v1alpha1.ModelReference{ID: "recorded", Version: "1.0.0", Digest: "sha256:" + strings.Repeat("1", 64)}, Environment: "development", ApprovedBy: w.me(t),
			Digest: "sha256:" + strings.Repeat("2", 64), ExpiresAt: &metav1.Time{Time: time.Now().Add(time.Hour)},
		}}
		change(&a.Spec)
		return w.Create(ctx, a, client.DryRunAll)
	}
	if err := approval(func(*v1alpha1.ModelApprovalSpec) {}); err != nil {
		t.Errorf("an approval: %v", err)
	}
	refused("an approval of the model alone", approval(func(s *v1alpha1.ModelApprovalSpec) { s.Digest = "" }), "an approval needs spec.digest")
	refused("one without an end", approval(func(s *v1alpha1.ModelApprovalSpec) { s.ExpiresAt = nil }), "and spec.expiresAt")
	for _, end := range []string{"2026-01-01t00:00:00z", "2026-01-01T00:00:00+99:99", "2026-01-01T00:00:00", "tomorrow"} {
		u := &unstructured.Unstructured{Object: map[string]any{
			"apiVersion": v1alpha1.GroupVersion().String(), "kind": "ModelApproval", "metadata": map[string]any{"name": "refused", "namespace": namespace},
			"spec": map[string]any{
				"model": map[string]any{"id": "recorded", "version": "1.0.0", "digest": "sha256:" + strings.Repeat("1", 64)}, "environment": "development", "approvedBy": w.me(t),
				"digest": "sha256:" + strings.Repeat("2", 64), "expiresAt": end,
			},
		}}
		refused("an end at "+end, w.Create(ctx, u, client.DryRunAll), "spec.expiresAt")
	}
	refused("one of half a digest", approval(func(s *v1alpha1.ModelApprovalSpec) { s.Digest = "sha256:12" }), "spec.digest")
	refused("another's", approval(func(s *v1alpha1.ModelApprovalSpec) { s.ApprovedBy = "bob" }), "must be the user who creates the approval")
}
