package controller

import (
	"bytes"
	"encoding/json"
	"fmt"
	"maps"
	"reflect"
	"slices"
	"strings"

	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"sigs.k8s.io/controller-runtime/pkg/client"
	"sigs.k8s.io/structured-merge-diff/v6/fieldpath"
	"sigs.k8s.io/structured-merge-diff/v6/value"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

// owner is the field manager of all objects that the controller keeps.
const owner = client.FieldOwner(render.ControllerName)

// formerOwner is the field manager of earlier versions, which wrote whole objects: the name
// of the program.
const formerOwner = render.Manager

// ours reports whether the controller, or an earlier version of it, owns an entry.
func ours(m *metav1.ManagedFieldsEntry) bool {
	return m.Manager == string(owner) || m.Manager == formerOwner && m.Operation == metav1.ManagedFieldsOperationUpdate
}

// difference is a field of an object that is not as the controller wants it.
type difference struct {
	path       fieldpath.Path
	want, have any // nil: the field is missing
}

func (d difference) String() string {
	return fmt.Sprintf("%s is %s, and should be %s", strings.TrimPrefix(d.path.String(), "."), brief(d.have), brief(d.want))
}

// brief returns a value in some 120 bytes at most.
func brief(v any) string {
	const most = 120
	if v == nil {
		return "missing"
	}
	text, err := json.Marshal(v)
	if err != nil {
		return "unreadable"
	}
	if len(text) > most {
		return strings.ToValidUTF8(string(text[:most]), "") + "…"
	}
	return string(text)
}

// plainOf converts an object to maps. It leaves out what the API server alone sets.
func plainOf(o client.Object) (map[string]any, error) {
	m, err := runtime.DefaultUnstructuredConverter.ToUnstructured(o)
	if err != nil {
		return nil, fmt.Errorf("converting %s: %w", nameOf(o), err)
	}
	delete(m, "status")
	return m, nil
}

// compare returns how have differs from want, in labels, annotations and spec. Fields
// that want leaves out are defaults or other people's, and do not count, except where
// the whole is the controller's.
func compare(want, have map[string]any) []difference {
	var c comparer
	switch want["kind"] {
	case "HTTPRoute":
		c.exact = func(key string) bool { return key != "group" && key != "kind" } // these have defaults
	case "NetworkPolicy":
		c.exact = func(string) bool { return true }
	}
	for _, at := range []string{"labels", "annotations"} {
		w, _ := inside(want, "metadata", at).(map[string]any)
		h, _ := inside(have, "metadata", at).(map[string]any)
		(&comparer{out: &c.list}).maps(w, h, fieldpath.MakePathOrDie("metadata", at))
	}
	c.out = &c.list
	c.values(want["spec"], have["spec"], fieldpath.MakePathOrDie("spec"))
	return c.list
}

func inside(m map[string]any, keys ...string) any {
	var v any = m
	for _, k := range keys {
		m, _ := v.(map[string]any)
		v = m[k]
	}
	return v
}

// comparer collects differences.
type comparer struct {
	exact func(key string) bool // whether a field that is not wanted is a difference; nil: it is not
	list  []difference
	out   *[]difference
}

func (c *comparer) add(path fieldpath.Path, want, have any) {
	*c.out = append(*c.out, difference{path.Copy(), want, have})
}

func (c *comparer) values(want, have any, path fieldpath.Path) {
	switch w := want.(type) {
	case map[string]any:
		if h, ok := have.(map[string]any); ok {
			c.maps(w, h, path)
			return
		}
	case []any:
		if h, ok := have.([]any); ok {
			c.lists(w, h, path)
			return
		}
	}
	if !reflect.DeepEqual(want, have) {
		c.add(path, want, have)
	}
}

func (c *comparer) maps(want, have map[string]any, path fieldpath.Path) {
	exact := c.exact
	if last := path[len(path)-1].FieldName; last != nil && (*last == "selector" || *last == "matchLabels") {
		exact = func(string) bool { return true }
	}
	for _, k := range slices.Sorted(maps.Keys(want)) {
		if _, there := have[k]; !there {
			c.add(with(path, k), want[k], nil)
			continue
		}
		c.values(want[k], have[k], with(path, k))
	}
	for _, k := range slices.Sorted(maps.Keys(have)) {
		if _, wanted := want[k]; !wanted && exact != nil && exact(k) {
			c.add(with(path, k), nil, have[k])
		}
	}
}

func with(path fieldpath.Path, field string) fieldpath.Path {
	return append(path.Copy(), fieldpath.PathElement{FieldName: &field})
}

// keys returns the fields by which the API server tells the items of a list apart, or
// nil if it takes the list as a whole.
func keys(list []any, path fieldpath.Path) []string {
	last := path[len(path)-1].FieldName
	if last == nil || len(list) == 0 {
		return nil
	}
	switch *last {
	case "containers", "initContainers", "volumes", "env":
		return []string{"name"}
	case "volumeMounts":
		return []string{"mountPath"}
	case "ports":
		item, _ := list[0].(map[string]any)
		switch {
		case item["containerPort"] != nil:
			return []string{"containerPort", "protocol"}
		case item["targetPort"] != nil:
			return []string{"port", "protocol"}
		}
	}
	return nil
}

func (c *comparer) lists(want, have []any, path fieldpath.Path) {
	by := keys(want, path)
	if by == nil {
		var within []difference
		inner := comparer{exact: c.exact, out: &within}
		for i := range min(len(want), len(have)) {
			inner.values(want[i], have[i], append(path.Copy(), fieldpath.PathElement{Index: &i}))
		}
		if len(want) != len(have) || len(within) > 0 {
			c.add(path, want, have)
		}
		return
	}
	for _, item := range want {
		m, _ := item.(map[string]any)
		key := value.FieldList{}
		for _, name := range by {
			key = append(key, value.Field{Name: name, Value: value.NewValueInterface(m[name])})
		}
		at := append(path.Copy(), fieldpath.PathElement{Key: &key})
		if found, ok := itemOf(have, at[len(at)-1]); ok {
			c.values(item, found, at)
		} else {
			c.add(at, item, nil)
		}
	}
}

// itemOf returns the item of a list that an element of a path names.
func itemOf(list []any, e fieldpath.PathElement) (any, bool) {
	switch {
	case e.Index != nil && *e.Index >= 0 && *e.Index < len(list):
		return list[*e.Index], true
	case e.Key == nil:
		return nil, false
	}
	for _, item := range list {
		m, ok := item.(map[string]any)
		same := ok
		for _, f := range *e.Key {
			same = same && fmt.Sprint(m[f.Name]) == fmt.Sprint(f.Value.Unstructured())
		}
		if same {
			return item, true
		}
	}
	return nil, false
}

// reaches returns how many elements of a path lead to something in v.
func reaches(v any, path fieldpath.Path) int {
	for i, e := range path {
		ok := false
		switch at := v.(type) {
		case map[string]any:
			if e.FieldName != nil {
				v, ok = at[*e.FieldName]
			}
		case []any:
			v, ok = itemOf(at, e)
		}
		if !ok {
			return i
		}
	}
	return len(path)
}

// setOf returns the fields that an entry owns. It returns an empty set if the entry
// cannot be read.
func setOf(m *metav1.ManagedFieldsEntry) *fieldpath.Set {
	s := &fieldpath.Set{}
	if m.FieldsV1 == nil || s.FromJSON(bytes.NewReader(m.FieldsV1.Raw)) != nil {
		return &fieldpath.Set{}
	}
	return s
}

// writer is who has changed a field.
type writer struct{ name, at string }

func writerOf(m *metav1.ManagedFieldsEntry) writer {
	w := writer{name: m.Manager}
	if m.Time != nil {
		w.at = m.Time.UTC().Format("15:04:05Z")
	}
	return w
}

func (w writer) String() string {
	if w.at == "" {
		return w.name
	}
	return w.name + " at " + w.at
}

// changedBy returns who else has written a field that the controller does not own any
// more. known is false if nobody else has.
func changedBy(managed []metav1.ManagedFieldsEntry, path fieldpath.Path) (by writer, known bool) {
	best := 0
	for i := range managed {
		m := &managed[i]
		owned := 0
		set := setOf(m)
		for n := len(path); n > 1 && owned == 0; n-- {
			if set.Has(path[:n]) {
				owned = n
			}
		}
		switch {
		case owned == len(path) && ours(m):
			return writer{}, false
		case owned > best && !ours(m) && !scales(m):
			by, best, known = writerOf(m), owned, true
		}
	}
	return by, known
}

// scales reports whether an entry is an autoscaler's.
func scales(m *metav1.ManagedFieldsEntry) bool {
	return m.Subresource == "scale" && m.Manager == "kube-controller-manager"
}

// added returns the fields of a Deployment's spec that others have added, each once, and
// who has. What others may set is left out: annotations and labels of the pods, and the
// replicas.
func added(managed []metav1.ManagedFieldsEntry, want, have map[string]any) ([]difference, []writer) {
	var out []difference
	var who []writer
	for i := range managed {
		m := &managed[i]
		if ours(m) || m.Subresource != "" {
			continue
		}
		for path := range setOf(m).Leaves().All() {
			if !exclusive(path) || reaches(have, path) < len(path) {
				continue
			}
			n := reaches(want, path)
			if n == len(path) || isDefault(have, path) {
				continue
			}
			path = path[:n+1].Copy()
			if !slices.ContainsFunc(out, func(d difference) bool { return d.path.Equals(path) }) {
				out, who = append(out, difference{path: path, have: "set"}), append(who, writerOf(m))
			}
		}
	}
	return out, who
}

// defaults has the fields of Deployments that the API server sets where they are missing,
// and their values. Whoever sends a whole Deployment owns them, too.
func defaults(field string) any {
	return map[string]any{
		"progressDeadlineSeconds": 600, "restartPolicy": "Always", "dnsPolicy": "ClusterFirst", "schedulerName": "default-scheduler",
		"terminationMessagePath": "/dev/termination-log", "terminationMessagePolicy": "File", "imagePullPolicy": "IfNotPresent", "defaultMode": 420,
		"timeoutSeconds": 1, "periodSeconds": 10, "successThreshold": 1, "failureThreshold": 3, "scheme": "HTTP",
	}[field]
}

func isDefault(have map[string]any, path fieldpath.Path) bool {
	last := path[len(path)-1].FieldName
	if last == nil || defaults(*last) == nil {
		return false
	}
	return fmt.Sprint(valueAt(have, path)) == fmt.Sprint(defaults(*last))
}

func valueAt(v any, path fieldpath.Path) any {
	for _, e := range path {
		switch at := v.(type) {
		case map[string]any:
			if e.FieldName == nil {
				return nil
			}
			v = at[*e.FieldName]
		case []any:
			v, _ = itemOf(at, e)
		}
	}
	return v
}

// exclusive reports whether a field of a Deployment is the controller's alone.
func exclusive(path fieldpath.Path) bool {
	text := path.String()
	return strings.HasPrefix(text, ".spec.") && text != ".spec.replicas" && !strings.HasPrefix(text, ".spec.template.metadata.")
}

// without removes the fields of paths from v and returns it.
func without(v any, path fieldpath.Path) any {
	e := path[0]
	switch at := v.(type) {
	case map[string]any:
		if e.FieldName == nil {
			return v
		}
		if len(path) == 1 {
			delete(at, *e.FieldName)
		} else if inner, ok := at[*e.FieldName]; ok {
			at[*e.FieldName] = without(inner, path[1:])
		}
	case []any:
		for i, item := range at {
			if _, ok := itemOf([]any{item}, e); !ok || e.Index != nil {
				continue
			}
			if len(path) == 1 {
				return slices.Delete(slices.Clone(at), i, i+1)
			}
			at[i] = without(item, path[1:])
			break
		}
	}
	return v
}
