package cli

import (
	"errors"
	"testing"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestChange checks that a change of the status is no conflict, but that another
// user's change of the spec is.
func TestChange(t *testing.T) {
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	md := &v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: "cardio", Namespace: "x", Generation: 1}, Spec: v1alpha1.ModelDeploymentSpec{Replicas: 1}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(md).WithStatusSubresource(md).Build()
	ctx := t.Context()
	read := func() *v1alpha1.ModelDeployment {
		t.Helper()
		var got v1alpha1.ModelDeployment
		if err := c.Get(ctx, client.ObjectKeyFromObject(md), &got); err != nil {
			t.Fatal(err)
		}
		return &got
	}
	mine, controllers := read(), read()
	controllers.Status.Message = "step 2"
	if err := c.Status().Update(ctx, controllers); err != nil {
		t.Fatal(err)
	}
	mine.Spec.Replicas = 2
	if err := change(ctx, c, mine); err != nil {
		t.Fatal(err)
	}
	if now := read(); now.Spec.Replicas != 2 || now.Status.Message != "step 2" {
		t.Errorf("%+v", now)
	}
	mine, other := read(), read()
	other.Spec.Replicas, other.Generation = 5, other.Generation+1
	if err := c.Update(ctx, other); err != nil {
		t.Fatal(err)
	}
	mine.Spec.Replicas = 3
	var exit *ExitError
	if err := change(ctx, c, mine); !errors.As(err, &exit) || exit.Code != ExitConflict || read().Spec.Replicas != 5 {
		t.Errorf("%v, %d replicas", err, read().Spec.Replicas)
	}
}
