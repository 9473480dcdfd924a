package cli

import (
	"bytes"
	"encoding/json"
	"strings"
	"testing"
	"testing/synctest"
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/client/fake"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// TestRecorded checks that a command prints an object with --json, too, if the controller
// takes its time, and that the table's reader is told on standard error.
func TestRecorded(t *testing.T) {
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	md := &v1alpha1.ModelDeployment{ObjectMeta: metav1.ObjectMeta{Name: "cardio", Namespace: "x", Generation: 2}}
	md.Spec.Environment, md.Spec.Template.Model, md.Status.Phase = "staging", v1alpha1.ModelReference{ID: "cardio", Version: "1.1.0"}, v1alpha1.Paused
	for _, c := range []struct {
		id, status string
		json       bool
	}{{"", v1alpha1.Pending, true}, {"cardio-staging-3", v1alpha1.Paused, true}, {"", "", false}} {
		synctest.Test(t, func(t *testing.T) {
			all := fake.NewClientBuilder().WithScheme(scheme).WithObjects(md.DeepCopy()).WithStatusSubresource(md).Build()
			was := md.DeepCopy()
			if err := all.Get(t.Context(), client.ObjectKeyFromObject(md), was); err != nil {
				t.Fatal(err)
			}
			was.Generation, was.Status = 2, md.Status
			if err := all.Status().Update(t.Context(), was); err != nil {
				t.Fatal(err)
			}
			var out, errs bytes.Buffer
			a := &app{Options: Options{Out: &out, Err: &errs, Now: time.Now}, asJSON: c.json}
			if err := a.follow(t.Context(), all, was, false, c.id); err != nil {
				t.Fatal(err)
			}
			if !c.json {
				if out.Len() > 0 || !strings.Contains(errs.String(), "has not processed it yet") {
					t.Errorf("it printed %q and %q", &out, &errs)
				}
				return
			}
			var d Deployment
			if err := json.Unmarshal(out.Bytes(), &d); err != nil {
				t.Fatalf("%v: %s", err, &out)
			}
			if d.ID != c.id || d.Status != c.status || d.Model != "cardio" || d.Version != "1.1.0" || d.Environment != "staging" || !strings.Contains(d.Message, "has not processed it yet") {
				t.Errorf("%+v", d)
			}
		})
	}
}

// TestInstallNudges checks that hosts that run hear of a controller's key that is new, and
// that pods stay as they are otherwise.
func TestInstallNudges(t *testing.T) {
	scheme, err := controller.Scheme()
	if err != nil {
		t.Fatal(err)
	}
	env := &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "staging"}, Spec: v1alpha1.EnvironmentSpec{Namespace: "x"}}
	pod := &corev1.Pod{ObjectMeta: metav1.ObjectMeta{Name: "cardio-1", Namespace: "x", Labels: map[string]string{render.LabelHost: render.HostName}}}
	c := fake.NewClientBuilder().WithScheme(scheme).WithObjects(env, pod).Build()
	synctest.Test(t, func(t *testing.T) {
		var out, errs bytes.Buffer
		a := &app{Options: Options{Out: &out, Err: &errs, Now: time.Now}}
		var first string
		for i := range 2 {
			if err := a.surround(t.Context(), c, render.System{Namespace: "pynomaly-system"}); err != nil {
				t.Fatal(err)
			}
			if err := c.Get(t.Context(), client.ObjectKeyFromObject(pod), pod); err != nil {
				t.Fatal(err)
			}
			at := pod.Annotations[render.AnnotationKeysChanged]
			if at == "" || i > 0 && at != first {
				t.Errorf("time %d: the annotation is %q, was %q", i, at, first)
			}
			first = at
		}
		if errs.Len() > 0 {
			t.Errorf("%s", &errs)
		}
	})
}
