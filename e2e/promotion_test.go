//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"regexp"
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	authenticationv1 "k8s.io/api/authentication/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// as returns a client of another user.
func (w *world) as(t *testing.T, user string) client.Client {
	t.Helper()
	cfg, err := clientcmd.NewNonInteractiveDeferredLoadingClientConfig(clientcmd.NewDefaultClientConfigLoadingRules(), nil).ClientConfig()
	if err != nil {
		t.Fatal(err)
	}
	cfg.Impersonate.UserName = user
	c, err := client.New(cfg, client.Options{Scheme: w.Scheme()})
	if err != nil {
		t.Fatal(err)
	}
	return c
}

// bind binds a user to a role of the deployer.
func (w *world) bind(t *testing.T, user, role string) {
	t.Helper()
	b := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "e2e-" + user + "-" + role}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
	}
	if err := client.IgnoreAlreadyExists(w.Create(context.Background(), b)); err != nil {
		t.Fatal(err)
	}
}

// me returns the user of the tests.
func (w *world) me(t *testing.T) string {
	t.Helper()
	var r authenticationv1.SelfSubjectReview
	if err := w.Create(context.Background(), &r); err != nil {
		t.Fatal(err)
	}
	return r.Status.UserInfo.Username
}

// TestPromotion checks that production gets what ran in staging, with the same
// digest, after another user has approved it, and that no user can act in another's
// name.
func TestPromotion(t *testing.T) {
	w := open(t)
	defer w.told(t, "TestPromotion")
	ctx := context.Background()
	for user, role := range map[string]string{"alice": "pynomaly-deployer", "bob": "pynomaly-approver"} {
		w.bind(t, user, role)
	}
	for _, ns := range []string{"pynomaly-staging", "pynomaly-production"} {
		if err := w.DeleteAllOf(ctx, &v1alpha1.ModelApproval{}, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		if err := w.DeleteAllOf(ctx, &v1alpha1.ModelDeployment{}, client.InNamespace(ns)); err != nil {
			t.Fatal(err)
		}
		w.eventually(t, time.Minute, "nothing of an earlier run is left", func() bool {
			var all v1alpha1.ModelRevisionList
			return w.List(ctx, &all, client.InNamespace(ns)) == nil && len(all.Items) == 0
		})
	}
	shown := func(out string) (d struct {
		ID, Status, Message, Digest string
	}) {
		t.Helper()
		var raw map[string]any
		if err := json.Unmarshal([]byte(out), &raw); err != nil {
			t.Fatalf("%v: %s", err, out)
		}
		text := func(key string) string { s, _ := raw[key].(string); return s }
		d.ID, d.Status, d.Message, d.Digest = text("deployment_id"), text("status"), text("message"), text("digest")
		return d
	}
	status := func(id string) (d struct{ ID, Status, Message, Digest string }) {
		t.Helper()
		return shown(w.run(t, 0, "status", id, "--json"))
	}
	said := func(id, what string) {
		t.Helper()
		w.eventually(t, time.Minute, id+" says "+what, func() bool { return strings.Contains(status(id).Message, what) })
	}
	// Production refuses a model that did not run in staging.
	direct := shown(w.run(t, 0, "deploy", model+"@1.2.0", "--env", "production", "--models", w.models, "--as", "alice", "--json"))
	said(direct.ID, "does not run in staging")
	// The model is not available here: staging determines its digest.
	staged := shown(w.run(t, 0, "deploy", model+"@1.1.0", "--env", "staging", "--models", t.TempDir(), "--as", "alice", "--json"))
	w.eventually(t, 2*time.Minute, "staging is deployed", func() bool { return status(staged.ID).Status == v1alpha1.Deployed })
	digest := status(staged.ID).Digest
	if !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("%+v", status(staged.ID))
	}
	promoted := shown(w.run(t, 0, "promote", staged.ID, "--notes", "a test", "--as", "alice", "--json"))
	said(promoted.ID, "waits for an approval")
	p := status(promoted.ID)
	if p.Digest != digest || p.Status != v1alpha1.Pending {
		t.Errorf("%+v, want digest %s", p, digest)
	}
	if _, errs, code := w.try(t, "approve", promoted.ID, "--as", "alice"); code != 1 || !strings.Contains(errs, "cannot approve") {
		t.Errorf("%d: %s", code, errs)
	}
	approval := func(by, digest string) *v1alpha1.ModelApproval {
		return &v1alpha1.ModelApproval{ObjectMeta: metav1.ObjectMeta{GenerateName: "forged-", Namespace: "pynomaly-production"}, Spec: v1alpha1.ModelApprovalSpec{
			Model: v1alpha1.ModelReference{ID: model, Version: "1.1.0", Digest: p.Digest}, Environment: "production", ApprovedBy: by,
			Revision: promoted.ID, Digest: digest, ExpiresAt: &metav1.Time{Time: time.Now().Add(time.Hour)},
		}}
	}
	other := "sha256:" + strings.Repeat("1", 64)
	if err := w.as(t, "alice").Create(ctx, approval("bob", other)); err == nil {
		t.Error("alice has approved as bob")
	}
	if err := w.Create(ctx, approval("bob", other)); err == nil || !strings.Contains(err.Error(), "must be the user who creates the approval") {
		t.Errorf("an administrator has approved as bob: %v", err)
	}
	if err := w.as(t, "bob").Create(ctx, approval("bob", "")); err == nil || !strings.Contains(err.Error(), "an approval needs spec.digest") {
		t.Errorf("bob's approval without a digest: %v", err)
	}
	if err := w.as(t, "bob").Create(ctx, approval("bob", other)); err != nil {
		t.Fatal(err)
	}
	said(promoted.ID, "bob approved "+other)
	var rev v1alpha1.ModelRevision
	w.get(t, client.ObjectKey{Namespace: "pynomaly-production", Name: model + promoted.ID[strings.LastIndexByte(promoted.ID, '-'):]}, &rev)
	rev.Status.Phase = v1alpha1.Deployed
	if err := w.Update(ctx, &rev); err == nil || !strings.Contains(err.Error(), "only the controller writes them") {
		t.Errorf("a user wrote a record: %v", err)
	}
	seen := w.approves(t, promoted.ID, "+ template.model.id: "+model)
	w.run(t, 0, "approve", promoted.ID, "--digest", seen, "--notes", "seen it", "--as", "bob")
	w.eventually(t, 2*time.Minute, "production is deployed", func() bool { return status(promoted.ID).Status == v1alpha1.Deployed })
	w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("production.test") })
	if out := w.run(t, 0, "list", "--env", "production", "--status", "deployed"); !strings.Contains(out, promoted.ID) || strings.Contains(out, direct.ID) {
		t.Errorf("%s", out)
	}
	w.changed(t, promoted.ID, digest, seen)
	w.once(t, digest)
}

// approves returns the digest that bob is shown for a waiting deployment.
func (w *world) approves(t *testing.T, id, shows string) string {
	t.Helper()
	out, errs, code := w.try(t, "approve", id, "--as", "bob")
	m := regexp.MustCompile(`(?m)^digest: +(sha256:[0-9a-f]{64})$`).FindStringSubmatch(out)
	if code != 1 || !strings.Contains(errs, "nothing is approved yet") || m == nil || !strings.Contains(out, shows) {
		t.Fatalf("%d: %s%s", code, out, errs)
	}
	t.Log(out)
	return m[1]
}

// changed checks that nothing is deployed that differs from what was approved.
func (w *world) changed(t *testing.T, first, digest, seen string) {
	const production = "pynomaly-production"
	ctx := context.Background()
	deploy := func(args ...string) string {
		t.Helper()
		out := w.run(t, 0, append([]string{"deploy", model + "@1.1.0", "--env", "production", "--models", t.TempDir(), "--digest", digest, "--as", "alice", "--json"}, args...)...)
		var d struct {
			ID string `json:"deployment_id"`
		}
		if err := json.Unmarshal([]byte(out), &d); err != nil || d.ID == "" {
			t.Fatalf("%v: %s", err, out)
		}
		return d.ID
	}
	message := func(id string) string { return w.run(t, 0, "show", id) }
	says := func(id, what string) {
		t.Helper()
		w.eventually(t, time.Minute, id+" says "+what, func() bool { return strings.Contains(message(id), what) })
	}
	image := deploy("--image", "registry.example.com/other:1")
	says(image, "may not run the image registry.example.com/other:1")
	claim := deploy("--image", w.image, "--models-claim", "ledgers")
	says(claim, "may not use the PersistentVolumeClaim ledgers")
	variable := deploy("--models-image", "--set", "LOG_LEVEL=debug", "--strategy", "rolling")
	says(variable, " of "+first+"; the request is now")
	says(variable, "+ template.config.LOG_LEVEL: debug")
	wants := w.approves(t, variable, "+ template.config.LOG_LEVEL: debug")
	if _, errs, code := w.try(t, "approve", variable, "--digest", seen, "--as", "bob"); code != 4 || !strings.Contains(errs, "no longer has the digest") {
		t.Errorf("%d: %s", code, errs)
	}
	var md v1alpha1.ModelDeployment
	w.get(t, client.ObjectKey{Namespace: production, Name: model}, &md)
	if c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionApproved); c == nil || c.Status != metav1.ConditionFalse || c.Reason != "ChangedAfterApproval" || md.Status.Digest != wants {
		t.Errorf("%+v, digest %s, want %s", c, md.Status.Digest, wants)
	}
	var ds appsv1.DeploymentList
	if err := w.List(ctx, &ds, client.InNamespace(production)); err != nil || len(ds.Items) != 1 {
		t.Errorf("%d Deployments: %v", len(ds.Items), err)
	}
	// Alice disables the gates while bob reviews.
	w.eventually(t, 10*time.Second, "alice has changed the gates", func() bool {
		w.get(t, client.ObjectKeyFromObject(&md), &md)
		md.Spec.Strategy.Gates = &v1alpha1.Gates{Disabled: true}
		return w.as(t, "alice").Update(ctx, &md) == nil
	})
	if _, errs, code := w.try(t, "approve", variable, "--digest", wants, "--as", "bob"); code != 4 || !strings.Contains(errs, "no longer has the digest") {
		t.Errorf("%d: %s", code, errs)
	}
	w.run(t, 0, "approve", variable, "--digest", w.approves(t, variable, "+ rollout.gates.disabled: true"), "--as", "bob")
	w.eventually(t, 3*time.Minute, "the change is deployed", func() bool {
		w.get(t, client.ObjectKeyFromObject(&md), &md)
		return md.Status.Phase == v1alpha1.Deployed && md.Status.Stable == md.Status.Update && meta.IsStatusConditionTrue(md.Status.Conditions, v1alpha1.ConditionApproved)
	})
}
