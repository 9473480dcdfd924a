//go:build e2e

package e2e

import (
	"context"
	"encoding/json"
	"strings"
	"testing"
	"time"

	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/client-go/tools/clientcmd"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// as is a client of another user.
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

// TestPromotion: what ran in staging goes to production, with the digest that it had
// there, once somebody else has approved it; nobody can write another's name.
func TestPromotion(t *testing.T) {
	w := open(t)
	defer w.told(t, "TestPromotion")
	ctx := context.Background()
	for user, role := range map[string]string{"alice": "pynomaly-deployer", "bob": "pynomaly-approver"} {
		b := &rbacv1.ClusterRoleBinding{
			ObjectMeta: metav1.ObjectMeta{Name: "e2e-" + user}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: role},
			Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: user}},
		}
		if err := client.IgnoreAlreadyExists(w.Create(ctx, b)); err != nil {
			t.Fatal(err)
		}
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
	// Not without staging.
	direct := shown(w.run(t, 0, "deploy", model+"@1.2.0", "--env", "production", "--models", w.models, "--as", "alice", "--json"))
	said(direct.ID, "does not run in staging")
	// The model is not looked up here: staging finds out what its digest is.
	staged := shown(w.run(t, 0, "deploy", model+"@1.1.0", "--env", "staging", "--models", t.TempDir(), "--as", "alice", "--json"))
	w.eventually(t, 2*time.Minute, "staging is deployed", func() bool { return status(staged.ID).Status == v1alpha1.Deployed })
	digest := status(staged.ID).Digest
	if !strings.HasPrefix(digest, "sha256:") {
		t.Fatalf("%+v", status(staged.ID))
	}
	promoted := shown(w.run(t, 0, "promote", staged.ID, "--notes", "a test", "--as", "alice", "--json"))
	said(promoted.ID, "waits for an approval")
	if p := status(promoted.ID); p.Digest != digest || p.Status != v1alpha1.Pending {
		t.Errorf("%+v, want digest %s", p, digest)
	}
	if _, errs, code := w.try(t, "approve", promoted.ID, "--as", "alice"); code != 1 || !strings.Contains(errs, "cannot approve") {
		t.Errorf("%d: %s", code, errs)
	}
	approval := func(by, digest string) *v1alpha1.ModelApproval {
		return &v1alpha1.ModelApproval{ObjectMeta: metav1.ObjectMeta{GenerateName: "forged-", Namespace: "pynomaly-production"}, Spec: v1alpha1.ModelApprovalSpec{
			Model: v1alpha1.ModelReference{ID: model, Version: "1.1.0", Digest: digest}, Environment: "production", ApprovedBy: by,
		}}
	}
	if err := w.as(t, "alice").Create(ctx, approval("bob", digest)); err == nil {
		t.Error("alice has approved as bob")
	}
	if err := w.Create(ctx, approval("bob", digest)); err == nil || !strings.Contains(err.Error(), "must be who makes the approval") {
		t.Errorf("an administrator has approved as bob: %v", err)
	}
	if err := w.as(t, "bob").Create(ctx, approval("bob", "")); err == nil || !strings.Contains(err.Error(), "of a digest") {
		t.Errorf("bob has approved no digest: %v", err)
	}
	other := "sha256:" + strings.Repeat("1", 64)
	if err := w.as(t, "bob").Create(ctx, approval("bob", other)); err != nil {
		t.Fatal(err)
	}
	said(promoted.ID, "bob approved digest "+other)
	var rev v1alpha1.ModelRevision
	w.get(t, client.ObjectKey{Namespace: "pynomaly-production", Name: model + "-2"}, &rev)
	rev.Status.Phase = v1alpha1.Deployed
	if err := w.Update(ctx, &rev); err == nil || !strings.Contains(err.Error(), "the controller alone writes them") {
		t.Errorf("a record was written by somebody else: %v", err)
	}
	w.run(t, 0, "approve", promoted.ID, "--notes", "seen it", "--as", "bob")
	w.eventually(t, 2*time.Minute, "production is deployed", func() bool { return status(promoted.ID).Status == v1alpha1.Deployed })
	w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("production.test") })
	if out := w.run(t, 0, "list", "--env", "production", "--status", "deployed"); !strings.Contains(out, promoted.ID) || strings.Contains(out, direct.ID) {
		t.Errorf("%s", out)
	}
}
