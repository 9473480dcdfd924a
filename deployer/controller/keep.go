package controller

import (
	"context"
	"encoding/json"
	"fmt"
	"reflect"
	"slices"
	"strings"
	"sync"
	"time"

	corev1 "k8s.io/api/core/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/api/meta"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/types"
	"k8s.io/apimachinery/pkg/util/sets"
	"k8s.io/client-go/util/csaupgrade"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/digest"
)

// keeper remembers what the API server makes of objects, and who fights for them. Its
// zero value is ready. It is safe for concurrent use.
type keeper struct {
	mu       sync.Mutex
	accepted map[string]string // by keyOf: differences that writing does not remove
	fights   map[string]fight
}

// aftermath is what came of the writes of one reconcile.
type aftermath struct {
	putBack []string      // what others have changed, and was put back
	fought  []string      // what others have changed again and again, and is put back later
	again   time.Duration // when to look again; 0: when something happens
}

// lookAgain asks for another look after d, or earlier.
func (s *aftermath) lookAgain(d time.Duration) {
	if s.again == 0 || d < s.again {
		s.again = d
	}
}

// fight is how often a change of somebody else was put back.
type fight struct {
	times int
	last  time.Time
}

const (
	calm     = 10 * time.Minute // without a change end a fight
	longWait = 5 * time.Minute  // between two changes of a fight at most
)

// mayPutBack returns how long a change of pods has to wait before it is put back. The
// first one does not wait; whoever makes the same change again and again would replace
// the pods again and again.
func (k *keeper) mayPutBack(key string, now time.Time) time.Duration {
	k.mu.Lock()
	defer k.mu.Unlock()
	f := k.fights[key]
	if f.times == 0 || now.Sub(f.last) > calm {
		return 0
	}
	return max(0, f.last.Add(min(longWait, 5*time.Second<<min(f.times, 10))).Sub(now))
}

func (k *keeper) putBack(key string, now time.Time) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if k.fights == nil {
		k.fights = map[string]fight{}
	}
	f := k.fights[key]
	if now.Sub(f.last) > calm {
		f.times = 0
	}
	k.fights[key] = fight{f.times + 1, now}
}

// accept remembers that an object differs although it was just written: an admission
// webhook or the API server has changed what was sent.
func (k *keeper) accept(key string, all []difference) {
	k.mu.Lock()
	defer k.mu.Unlock()
	if len(all) == 0 {
		delete(k.accepted, key)
		return
	}
	if k.accepted == nil {
		k.accepted = map[string]string{}
	}
	k.accepted[key] = digestOf(all)
}

func (k *keeper) accepts(key string, all []difference) bool {
	k.mu.Lock()
	defer k.mu.Unlock()
	return k.accepted[key] != "" && k.accepted[key] == digestOf(all)
}

func (k *keeper) forget(key string) {
	k.mu.Lock()
	defer k.mu.Unlock()
	delete(k.accepted, key)
	delete(k.fights, key)
}

// keyOf names one object: another one of the same name has another key.
func keyOf(o client.Object) string { return nameOf(o) + " " + string(o.GetUID()) }

func digestOf(all []difference) string {
	text := make([]string, 0, len(all))
	for _, d := range all {
		text = append(text, d.String())
	}
	slices.Sort(text)
	return digest.Of([]byte(strings.Join(text, "\n")))
}

// Reasons of the condition Drifted.
const (
	ReasonPutBack = "PutBack" // a change of somebody else was put back
	ReasonFought  = "Fought"  // it comes again and again, and is put back later
)

// created makes an object that md owns, and remembers what the API server has made of
// it.
func (r *Reconciler) created(ctx context.Context, md *v1alpha1.ModelDeployment, o client.Object) error {
	if err := own(md, o, r.Scheme()); err != nil {
		return fmt.Errorf("owning %s: %w", o.GetName(), err)
	}
	want, err := plainOf(o)
	if err != nil {
		return err
	}
	if err := r.Create(ctx, o, owner); err != nil {
		return fmt.Errorf("making %s: %w", o.GetName(), err)
	}
	have, err := plainOf(o)
	if err != nil {
		return err
	}
	r.kept.accept(keyOf(o), compare(want, have))
	return nil
}

// keep makes an object match want, by server-side apply: the fields that want has are the
// controller's, and others' fields stay. Only a Deployment's pods are the controller's
// altogether. It writes nothing if the object agrees. What somebody else has changed is put
// back and recorded in seen. keep returns the object as it is now.
func (r *Reconciler) keep(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight, have, want client.Object) (client.Object, error) {
	if err := own(md, want, r.Scheme()); err != nil {
		return nil, err
	}
	wanted, err := plainOf(want)
	if err != nil {
		return nil, err
	}
	there, err := plainOf(have)
	if err != nil {
		return nil, err
	}
	managed := have.GetManagedFields()
	differs := compare(wanted, there)
	var foreign []difference
	var who []writer
	if wanted["kind"] == "Deployment" {
		foreign, who = added(managed, wanted, there)
	}
	all := slices.Concat(differs, foreign)
	if len(all) == 0 || r.kept.accepts(keyOf(have), all) {
		return have, nil
	}
	told := foundBy(have, managed, differs, foreign, who)
	if wait := r.kept.mayPutBack(keyOf(have), r.Now()); told != "" && wait > 0 && onlyPods(all) {
		seen.fought = append(seen.fought, fmt.Sprintf("%s again; it is put back in %s", told, wait.Round(time.Second)))
		seen.lookAgain(wait)
		return have, nil
	}
	now, err := r.write(ctx, have, wanted, there, unwanted(all))
	if err != nil {
		return nil, fmt.Errorf("writing %s: %w", nameOf(have), err)
	}
	if told != "" && !r.kept.accepts(keyOf(now), all) { // or the API server makes it so itself
		r.kept.putBack(keyOf(have), r.Now())
		seen.putBack = append(seen.putBack, told)
		r.Events.Event(md, corev1.EventTypeWarning, "Drift", told+"; it was put back")
		r.Audit.Info("drift", "namespace", md.Namespace, "deployment", md.Name, "object", nameOf(have), "detail", told)
	}
	return now, nil
}

// unwanted returns the differences that are fields to be removed. Applying removes only
// fields that the controller owns.
func unwanted(all []difference) []difference {
	return slices.DeleteFunc(slices.Clone(all), func(d difference) bool { return d.want != nil })
}

// onlyPods reports whether all differences are about a Deployment's pods.
func onlyPods(all []difference) bool {
	return !slices.ContainsFunc(all, func(d difference) bool { return !strings.HasPrefix(d.path.String(), ".spec.template.") })
}

// foundBy returns what others have changed in an object and who, or "" if nobody has. It
// takes over in silence an object that the controller has never written, such as one from a
// backup.
func foundBy(o client.Object, managed []metav1.ManagedFieldsEntry, differs, foreign []difference, who []writer) string {
	if !slices.ContainsFunc(managed, func(m metav1.ManagedFieldsEntry) bool { return ours(&m) }) {
		return ""
	}
	var texts []string
	for _, d := range differs {
		if by, known := changedBy(managed, d.path); known {
			texts = append(texts, fmt.Sprintf("%s (by %s)", d, by))
		} else if d.have == nil && strings.HasPrefix(d.path.String(), ".spec.template.spec.") {
			texts = append(texts, fmt.Sprintf("%s (somebody removed it)", d))
		}
	}
	for i, d := range foreign {
		texts = append(texts, fmt.Sprintf("%s was added (by %s)", strings.TrimPrefix(d.path.String(), "."), who[i]))
	}
	if texts == nil {
		return ""
	}
	const most = 5
	if n := len(texts) - most; n > 0 {
		texts = append(texts[:most], fmt.Sprintf("and %d more", n))
	}
	return nameOf(o) + " was changed by hand: " + strings.Join(texts, "; ")
}

// write sends an object with the version that was read, so that the API server refuses it
// if somebody has changed the object since.
func (r *Reconciler) write(ctx context.Context, have client.Object, wanted, there map[string]any, gone []difference) (client.Object, error) {
	now, ok := have.DeepCopyObject().(client.Object)
	if !ok {
		return nil, fmt.Errorf("%T is no object", have)
	}
	// Earlier versions, and requests that create objects, own fields in another way, by
	// which they would stay for ever.
	patch, err := csaupgrade.UpgradeManagedFieldsPatch(now, sets.New(formerOwner, string(owner)), string(owner))
	if err != nil {
		return nil, fmt.Errorf("taking over the fields of earlier versions: %w", err)
	}
	if patch != nil {
		if err := r.Patch(ctx, now, client.RawPatch(types.JSONPatchType, patch), owner); err != nil {
			return nil, fmt.Errorf("taking over the fields of earlier versions: %w", err)
		}
	}
	if len(gone) > 0 {
		for _, d := range gone {
			without(there, d.path)
		}
		patch, err := json.Marshal([]map[string]any{
			{"op": "replace", "path": "/spec", "value": there["spec"]},
			{"op": "replace", "path": "/metadata/resourceVersion", "value": now.GetResourceVersion()},
		})
		if err != nil {
			return nil, fmt.Errorf("removing fields: %w", err)
		}
		if err := r.Patch(ctx, now, client.RawPatch(types.JSONPatchType, patch), owner); err != nil {
			return nil, fmt.Errorf("removing fields: %w", err)
		}
		if there, err = plainOf(now); err != nil {
			return nil, err
		}
		if len(compare(wanted, there)) == 0 {
			return now, r.result(now, wanted)
		}
	}
	u := &unstructured.Unstructured{Object: runtime.DeepCopyJSON(wanted)}
	u.SetResourceVersion(now.GetResourceVersion())
	u.SetUID(now.GetUID())
	unstructured.RemoveNestedField(u.Object, "metadata", "creationTimestamp")
	if err := r.Apply(ctx, client.ApplyConfigurationFromUnstructured(u), owner, client.ForceOwnership); err != nil {
		return nil, err //nolint:wrapcheck // the caller says what was being done
	}
	made, ok := reflect.New(reflect.TypeOf(have).Elem()).Interface().(client.Object)
	if !ok {
		return nil, fmt.Errorf("%T is no object", have)
	}
	if err := runtime.DefaultUnstructuredConverter.FromUnstructured(u.Object, made); err != nil {
		return nil, fmt.Errorf("reading the answer: %w", err)
	}
	return made, r.result(made, wanted)
}

// result remembers how an object differs from what was just sent.
func (r *Reconciler) result(now client.Object, wanted map[string]any) error {
	there, err := plainOf(now)
	if err != nil {
		return err
	}
	all := compare(wanted, there)
	if wanted["kind"] == "Deployment" {
		foreign, _ := added(now.GetManagedFields(), wanted, there)
		all = append(all, foreign...)
	}
	r.kept.accept(keyOf(now), all)
	return nil
}

func (r *Reconciler) delete(ctx context.Context, o client.Object) error {
	uid, version := o.GetUID(), o.GetResourceVersion()
	err := r.Delete(ctx, o, client.Preconditions{UID: &uid, ResourceVersion: &version})
	if client.IgnoreNotFound(err) != nil {
		return fmt.Errorf("deleting %s: %w", o.GetName(), err)
	}
	r.kept.forget(keyOf(o))
	return nil
}

// drifted records in the conditions what somebody else has changed.
func (r *Reconciler) drifted(ctx context.Context, md *v1alpha1.ModelDeployment, seen *sight) error {
	value, reason, texts := metav1.ConditionFalse, ReasonPutBack, seen.putBack
	if len(seen.fought) > 0 {
		value, reason, texts = metav1.ConditionTrue, ReasonFought, seen.fought
	}
	last := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionDrifted)
	switch {
	case len(texts) > 0 && last != nil && last.Reason == ReasonFought && reason == ReasonFought:
		return nil // or the time that is left would change it again and again
	case len(texts) == 0 && (last == nil || last.Status == metav1.ConditionFalse):
		return nil
	case len(texts) == 0:
		texts = []string{"nothing differs any more"}
	}
	status := md.Status.DeepCopy()
	message := strings.Join(texts, "; ")
	if reason == ReasonPutBack && len(seen.putBack) > 0 {
		message += "; it was put back"
	}
	const most = 2000
	setCondition(status, md.Generation, v1alpha1.ConditionDrifted, value, reason, fmt.Sprintf("%.*s", most, message))
	err := r.writeStatus(ctx, md, status)
	if apierrors.IsConflict(err) { // the event says it, too
		r.Log.Debug("the conditions do not say what was put back", "deployment", md.Name, "error", err)
		return nil
	}
	return err
}
