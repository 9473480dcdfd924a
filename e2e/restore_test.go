//go:build e2e

package e2e

import (
	"bufio"
	"context"
	"os"
	"os/exec"
	"path/filepath"
	"strings"
	"testing"
	"time"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestRestoreKilled kills a restore after each restored object. The policies must be
// in force all the time, and the next restore must continue.
func TestRestoreKilled(t *testing.T) {
	w := open(t)
	defer w.told(t, "TestRestoreKilled")
	ctx := context.Background()
	id := w.deploy(t, "1.0.0", "--strategy", "direct", "--replicas", "1")
	w.follow(t, id, v1alpha1.Deployed, long)
	file := filepath.Join(t.TempDir(), "backup.yaml")
	if err := os.WriteFile(file, []byte(w.run(t, 0, "backup")), 0o600); err != nil {
		t.Fatal(err)
	}
	if err := w.Delete(ctx, w.state(t)); err != nil {
		t.Fatal(err)
	}
	numbers := &corev1.ConfigMap{ObjectMeta: metav1.ObjectMeta{Namespace: namespace, Name: render.NumbersName}}
	if err := w.Delete(ctx, numbers); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, time.Minute, "the record is gone", func() bool { return len(w.revisions(t)) == 0 })
	approver := &rbacv1.ClusterRoleBinding{
		ObjectMeta: metav1.ObjectMeta{Name: "e2e-bob"}, RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: "pynomaly-approver"},
		Subjects: []rbacv1.Subject{{APIGroup: rbacv1.GroupName, Kind: rbacv1.UserKind, Name: "bob"}},
	}
	if err := client.IgnoreAlreadyExists(w.Create(ctx, approver)); err != nil {
		t.Fatal(err)
	}
	w.eventually(t, time.Minute, "the policies are in force", func() bool { return forged(w, "carol", "") != nil })
	forge := func(when string) {
		t.Helper()
		if err := forged(w, "carol", ""); err == nil || !strings.Contains(err.Error(), "approvedBy must be") {
			t.Errorf("%s: the administrator approved in another's name: %v", when, err)
		}
		if err := forged(w.as(t, "bob"), "carol", "bob"); err == nil || !strings.Contains(err.Error(), "approvedBy must be") {
			t.Errorf("%s: bob approved in another's name by pretending to restore: %v", when, err)
		}
	}
	forge("before")
	for _, lines := range []int{0, 1, 4, 5} { // three environments come first
		cmd := exec.CommandContext(ctx, w.binary, "deploy", "restore", file)
		out, err := cmd.StdoutPipe()
		if err != nil {
			t.Fatal(err)
		}
		if err := cmd.Start(); err != nil {
			t.Fatal(err)
		}
		read := bufio.NewScanner(out)
		for range lines {
			if !read.Scan() {
				break
			}
			t.Log(read.Text())
		}
		_ = cmd.Process.Kill()
		_ = cmd.Wait()
		forge("killed")
	}
	out := w.run(t, 0, "restore", file)
	forge("after")
	w.eventually(t, 2*time.Minute, "the deployment serves again", func() bool {
		md := w.state(t)
		return md.Status.Phase == v1alpha1.Deployed && md.Annotations[render.AnnotationRestored] != ""
	})
	if r := w.revision(t, id); r.Annotations[render.AnnotationRestored] == "" || len(r.OwnerReferences) != 1 {
		t.Errorf("%+v\n%s", r.ObjectMeta, out)
	}
	w.get(t, client.ObjectKeyFromObject(numbers), numbers)
	if n, _, _ := strings.Cut(numbers.Data[model], " "); !strings.HasSuffix(id, "-"+n) {
		t.Errorf("the numbers are %v, and the last deployment was %s", numbers.Data, id)
	}
	w.eventually(t, time.Minute, "the controllers are back", func() bool { return len(w.controllers(t)) == 2 })
}

// forged creates an approval in the name of a user, which another user claims to
// restore.
func forged(c client.Client, by, restoredBy string) error {
	a := &v1alpha1.ModelApproval{
		ObjectMeta: metav1.ObjectMeta{GenerateName: "forged-", Namespace: namespace},
		Spec:       v1alpha1.ModelApprovalSpec{Model: v1alpha1.ModelReference{ID: model, Version: "1.0.0", Digest: "sha256:" + strings.Repeat("0", 64)}, Environment: "development", ApprovedBy: by},
	}
	if restoredBy != "" {
		a.Annotations = map[string]string{render.AnnotationRestored: restoredBy}
	}
	return c.Create(context.Background(), a)
}
