//go:build e2e

package e2e

import (
	"context"
	"fmt"
	"os"
	"strings"
	"testing"
	"time"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/yaml"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestPrevious stores objects as an earlier controller wrote them, with the resource
// definitions of that time. Then it installs the present ones under load.
func TestPrevious(t *testing.T) {
	w := connect(t)
	defer w.table(t)
	w.wipe(t)
	for _, o := range []client.Object{&admissionv1.ValidatingAdmissionPolicyBinding{}, &admissionv1.ValidatingAdmissionPolicy{}} {
		if err := w.DeleteAllOf(context.Background(), o); err != nil { // they let only the controller write records
			t.Fatal(err)
		}
	}
	dir, err := os.Getwd()
	if err != nil {
		t.Fatal(err)
	}
	w.sh(t, dir, "kubectl apply --server-side -f testdata/previous/crds; kubectl wait --for condition=established crd --all --timeout=1m", nil)
	w.apart(t, "resource definitions and controller of an earlier version renewed", func(t *testing.T) *load {
		was := w.store(t, "testdata/previous/objects.yaml")
		w.key = strings.TrimSpace(w.run(t, 0, "key", "create", "--env", "development", "--role", "viewer", "--name", "load"))
		w.eventually(t, 2*time.Minute, "the stored pods are ready", func() bool {
			var all appsv1.DeploymentList
			return w.List(context.Background(), &all, client.InNamespace(namespace)) == nil && len(all.Items) == 1 && all.Items[0].Status.ReadyReplicas == 2
		})
		w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("development.test") })
		l := startLoad(t, w.key, "development.test", w.rate)
		w.answered(t, l, "1.0.0")
		w.run(t, 0, "install", "--image", w.image, "--image-pull-policy", w.pull)
		w.eventually(t, 2*time.Minute, "the controller has seen the deployment, and it is as it was", func() bool {
			s := w.state(t).Status
			ready := s.Serving != nil && s.Serving.Ready == 2
			return ready && s.Phase == v1alpha1.Deployed && s.Stable == was.Stable && s.Update == was.Update && s.Number == was.Number
		})
		id := w.deploy(t, "1.1.0", steps("20:3s")...)
		if want := fmt.Sprintf("%s-development-%d", model, was.Number+1); id != want {
			t.Errorf("the next one is %s, not %s", id, want)
		}
		w.follow(t, id, v1alpha1.Deployed, long)
		w.only(t, l, "1.1.0", "1.0.0")
		w.run(t, 0, "rollback", id, "--wait") // to a revision that the earlier controller recorded
		w.only(t, l, "1.0.0", "1.1.0")
		return l
	})
	w.wipe(t)
}

// store creates the objects of a file, of which the first ModelDeployment owns those
// that had an owner, and returns the status of that one.
func (w *world) store(t *testing.T, file string) v1alpha1.ModelDeploymentStatus {
	t.Helper()
	ctx := context.Background()
	text, err := os.ReadFile(file)
	if err != nil {
		t.Fatal(err)
	}
	var owner unstructured.Unstructured
	for _, part := range strings.Split(string(text), "\n---\n") {
		var u unstructured.Unstructured
		if err := yaml.Unmarshal([]byte(part), &u.Object); err != nil {
			t.Fatal(err)
		}
		if owners := u.GetOwnerReferences(); len(owners) == 1 {
			owners[0].UID = owner.GetUID()
			u.SetOwnerReferences(owners)
		}
		status, has := u.Object["status"]
		if err := w.Create(ctx, &u); err != nil && !apierrors.IsAlreadyExists(err) {
			t.Fatal(err)
		}
		if has {
			u.Object["status"] = status
			if err := w.Status().Update(ctx, &u); err != nil {
				t.Fatal(err)
			}
		}
		if u.GetKind() == "ModelDeployment" {
			owner = u
		}
	}
	return w.state(t).Status
}
