package controller

import (
	"context"
	"encoding/json"
	"errors"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	ctrl "sigs.k8s.io/controller-runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/controller-runtime/pkg/controller/controllerutil"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// ReasonNameTaken is the reason in the conditions if an object that a
// ModelDeployment needs exists with another owner.
const ReasonNameTaken = "NameTaken"

// lookAgain is how often a taken name is checked again, because the objects of
// others are not watched.
const lookAgain = 10 * time.Second

// errBehind means that the cache does not yet contain an object that was made.
var errBehind = errors.New("the cache is behind")

// own makes md the owner of o. It does not block md's deletion, which would need the
// permission to change md's finalizers.
func own(md *v1alpha1.ModelDeployment, o client.Object, scheme *runtime.Scheme) error {
	if err := ctrl.SetControllerReference(md, o, scheme, controllerutil.WithBlockOwnerDeletion(false)); err != nil {
		return fmt.Errorf("owning %s: %w", nameOf(o), err)
	}
	return nil
}

// owned reports whether md owns o, by md's UID, because anybody can set labels. It
// records an object that md does not own in s.others.
func (s *sight) owned(md *v1alpha1.ModelDeployment, o client.Object) bool {
	if metav1.IsControlledBy(o, md) {
		return true
	}
	s.others[nameOf(o)] = describe(md, o)
	return false
}

// claim looks up the names of objects that are not yet made, so that nothing is made
// if one of them belongs to somebody else. It asks the API server, because the cache
// has no objects without the label.
func (r *Reconciler) claim(ctx context.Context, md *v1alpha1.ModelDeployment, s *sight, hash string) error {
	named := func(o client.Object, name string) client.Object {
		o.SetName(name)
		o.SetNamespace(md.Namespace)
		return o
	}
	type claimed struct {
		there, wanted bool
		object        client.Object
	}
	all := []claimed{
		{s.services[md.Name] != nil, true, named(&corev1.Service{}, md.Name)},
		{s.network != nil, true, named(&networkingv1.NetworkPolicy{}, md.Name)},
		{s.budget != nil, true, named(&policyv1.PodDisruptionBudget{}, md.Name)},
		{s.autoscaler != nil, md.Spec.Autoscaling != nil, named(&autoscalingv2.HorizontalPodAutoscaler{}, md.Name)},
		{s.route != nil, md.Spec.Traffic.Gateway != nil, named(&gatewayv1.HTTPRoute{}, md.Name)},
	}
	s.needs = []string{md.Name}
	for _, h := range []string{hash, md.Status.Stable} {
		if name := render.RevisionName(md, h); h != "" && !slices.Contains(s.needs, name) {
			s.needs = append(s.needs, name)
			all = append(all, claimed{s.deployments[h] != nil, true, named(&appsv1.Deployment{}, name)}, claimed{s.services[name] != nil, true, named(&corev1.Service{}, name)})
		}
	}
	for _, c := range all {
		if c.there || !c.wanted || s.others[nameOf(c.object)] != "" {
			continue
		}
		err := r.Live.Get(ctx, client.ObjectKeyFromObject(c.object), c.object)
		switch {
		case apierrors.IsNotFound(err), meta.IsNoMatchError(err):
		case err != nil:
			return fmt.Errorf("looking up %s: %w", nameOf(c.object), err)
		case !s.owned(md, c.object), !c.object.GetDeletionTimestamp().IsZero():
		case c.object.GetLabels()[render.LabelDeployment] != md.Name: // the cache will not contain it before
			if err := r.label(ctx, md, c.object); err != nil {
				return err
			}
			return fmt.Errorf("looking up %s: %w", nameOf(c.object), errBehind)
		default:
			return fmt.Errorf("looking up %s: %w", nameOf(c.object), errBehind)
		}
	}
	return nil
}

// label puts back the label by which the cache finds an object of md's. Other changes to
// the object are put back once the cache contains it.
func (r *Reconciler) label(ctx context.Context, md *v1alpha1.ModelDeployment, o client.Object) error {
	text, err := json.Marshal(map[string]any{"metadata": map[string]any{"resourceVersion": o.GetResourceVersion(), "labels": map[string]string{render.LabelDeployment: md.Name}}})
	if err != nil {
		return fmt.Errorf("putting the label of %s back: %w", nameOf(o), err)
	}
	if err := r.Patch(ctx, o, client.RawPatch(types.MergePatchType, text), owner); err != nil {
		return fmt.Errorf("putting the label %s=%s of %s back: %w", render.LabelDeployment, md.Name, nameOf(o), err)
	}
	r.Events.Event(md, corev1.EventTypeWarning, "Drift", fmt.Sprintf("%s had lost its label %s, and has it again", nameOf(o), render.LabelDeployment))
	return nil
}

// taken returns which objects with names that md needs belong to others, and what to
// do. It returns "" if there are none.
func (s *sight) taken() string {
	all := make([]string, 0, len(s.others))
	for name, why := range s.others {
		if slices.Contains(s.needs, name[strings.LastIndexByte(name, '/')+1:]) {
			all = append(all, why)
		}
	}
	slices.Sort(all)
	return strings.Join(all, "; ")
}

// nameOf returns an object's kind, namespace and name.
func nameOf(o client.Object) string {
	return reflect.TypeOf(o).Elem().Name() + " " + o.GetNamespace() + "/" + o.GetName()
}

// describe returns who owns an object, and what to do about it.
func describe(md *v1alpha1.ModelDeployment, o client.Object) string {
	whose, then := "nobody owns it", "delete it, or deploy the model under another id"
	if owner := metav1.GetControllerOf(o); owner != nil {
		whose = fmt.Sprintf("%s %s owns it", owner.Kind, owner.Name)
		if owner.Kind == "ModelDeployment" && owner.Name == md.Name {
			whose, then = "an earlier ModelDeployment of this name owns it", "wait until it is deleted, or delete it"
		}
	}
	return fmt.Sprintf("%s is not of this ModelDeployment (%s): %s", nameOf(o), whose, then)
}
