//go:build e2e

package e2e

import (
	"bytes"
	"context"
	"fmt"
	"os"
	"os/exec"
	"path/filepath"
	"regexp"
	"strings"
	"testing"
	"time"

	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime/schema"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// block returns the commands of a document that follow a comment with a name.
func block(t *testing.T, file, name string) string {
	t.Helper()
	text, err := os.ReadFile(filepath.Join("../docs", file))
	if err != nil {
		t.Fatal(err)
	}
	m := regexp.MustCompile("(?s)<!-- e2e: " + name + " -->\n```sh\n(.*?)```").FindSubmatch(text)
	if m == nil {
		t.Fatalf("%s has no commands %s", file, name)
	}
	return string(m[1])
}

// sh runs commands one after another, as a reader would. All of them must succeed.
func (w *world) sh(t *testing.T, dir, script string, environment map[string]string) string {
	t.Helper()
	binary, err := filepath.Abs(w.binary)
	if err != nil {
		t.Fatal(err)
	}
	models, err := filepath.Abs(w.models)
	if err != nil {
		t.Fatal(err)
	}
	ctx, cancel := context.WithTimeout(context.Background(), 6*time.Minute)
	defer cancel()
	cmd := exec.CommandContext(ctx, "bash", "-euxo", "pipefail", "-c", script)
	cmd.Dir = dir
	cmd.Env = append(os.Environ(), "PATH="+filepath.Dir(binary)+":"+os.Getenv("PATH"), "MODELS="+models, "IMAGE="+w.image, "PULL="+w.pull, "NS="+namespace, "MODEL="+model)
	for k, v := range environment {
		cmd.Env = append(cmd.Env, k+"="+v)
	}
	var out bytes.Buffer
	cmd.Stdout, cmd.Stderr = &out, &out
	if err := cmd.Run(); err != nil {
		t.Fatalf("%v\n%s", err, out.String())
	}
	return out.String()
}

// TestQuickStart runs the commands of the guide, verbatim, on a cluster without the
// deployer.
func TestQuickStart(t *testing.T) {
	w := connect(t)
	defer w.told(t, "TestQuickStart")
	w.wipe(t)
	models, err := filepath.Abs(w.models)
	if err != nil {
		t.Fatal(err)
	}
	dir := t.TempDir()
	if err := os.Symlink(models, filepath.Join(dir, "models")); err != nil {
		t.Fatal(err)
	}
	out := w.sh(t, dir, block(t, "deployer.md", "quick"), nil)
	for _, want := range []string{"ecod-c-staging-1", "ecod-c-staging-2", "ecod-c-production-1", `"status": "deployed"`} {
		if !strings.Contains(out, want) {
			t.Errorf("there is no %q", want)
		}
	}
	manifests, err := filepath.Abs("../docker/kubernetes/model-server-deployment.yaml")
	if err != nil {
		t.Fatal(err)
	}
	if out := w.sh(t, dir, "kubectl apply -f "+manifests+"; kubectl delete --wait=false -f "+manifests, nil); !strings.Contains(out, "deployment.apps/pynomaly-model-server created") {
		t.Errorf("%s", out)
	}
	if s := w.run(t, 0, "status", "ecod-c-staging-2"); !strings.Contains(s, v1alpha1.RolledBack) {
		t.Errorf("after the rollback: %s", s)
	}
	t.Log(out)
	w.wipe(t)
}

// wipe removes all objects of the deployer.
func (w *world) wipe(t *testing.T) {
	t.Helper()
	ctx := context.Background()
	remove := func(group, version, kind, name string) {
		u := &unstructured.Unstructured{}
		u.SetGroupVersionKind(schema.GroupVersionKind{Group: group, Version: version, Kind: kind})
		u.SetName(name)
		if err := w.Delete(ctx, u, client.PropagationPolicy("Foreground")); client.IgnoreNotFound(err) != nil {
			t.Fatal(err)
		}
		w.eventually(t, 3*time.Minute, kind+" "+name+" is gone", func() bool {
			return apierrors.IsNotFound(w.Get(ctx, client.ObjectKey{Name: name}, u))
		})
	}
	for _, kind := range []string{"modelrevisions", "modelapprovals", "modeldeployments", "environments"} {
		remove("apiextensions.k8s.io", "v1", "CustomResourceDefinition", kind+"."+v1alpha1.Group)
	}
	for _, name := range []string{"pynomaly-system", "pynomaly-development", "pynomaly-staging", "pynomaly-production"} {
		remove("", "v1", "Namespace", name)
	}
}

// TestOperations runs the commands of the operations guide on deployments that have
// the problem.
func TestOperations(t *testing.T) {
	w := open(t)
	defer w.told(t, "TestOperations")
	w.follow(t, w.deploy(t, "1.0.0", "--strategy", "direct", "--replicas", "1"), v1alpha1.Deployed, long)
	w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("development.test") })
	l := startLoad(t, w.key, "development.test", 20)
	defer l.end()
	stuck := func(what string, says string, want []string, version string, args ...string) {
		t.Run(what, func(t *testing.T) {
			id := w.deploy(t, version, append([]string{"--strategy", "rolling"}, args...)...)
			w.eventually(t, 2*time.Minute, id+" says "+says, func() bool { return strings.Contains(w.revision(t, id).Status.Message, says) })
			out := w.sh(t, t.TempDir(), block(t, "operations.md", what), map[string]string{"ID": id})
			for _, s := range want {
				if !strings.Contains(out, s) {
					t.Errorf("there is no %q in\n%s", s, out)
				}
			}
			w.run(t, 0, "abort", id, "--wait")
		})
	}
	stuck("pending", "Insufficient cpu", []string{"Pending", "FailedScheduling", "Insufficient cpu"}, "1.1.0", "--cpu-request", "1000")
	stuck("image", "Image", []string{"ErrImage", "no-such-tag"}, "1.2.0", "--cpu-request", "10m", "--image", "pynomaly-runtime:no-such-tag")
	stuck("load", "2.1.0", []string{"was not loaded", "ecod-c"}, "2.1.0", "--image", w.image)
	stuck("memory", "OOMKilled", []string{"OOMKilled"}, "1.3.0", "--memory-request", "8Mi", "--memory-limit", "8Mi")
	id := w.deploy(t, "1.0.0", "--strategy", "rolling", "--memory-request", "64Mi", "--memory-limit", "1Gi")
	w.follow(t, id, v1alpha1.Deployed, long)
	pod := w.pods(t, w.state(t).Status.Stable)[0].Name
	healthy := map[string][]string{
		"latency": {"model_prediction_duration_seconds_count{", `"duration_histogram"`},
		"connect": {"Accepted=True", "ResolvedRefs=True", "kubernetes.io/metadata.name=pynomaly-system", `"ready":true`},
		"logs":    {`"logger":"audit"`, "deployed", `"status":"healthy"`},
	}
	for _, what := range []string{"latency", "connect", "logs"} {
		t.Run(what, func(t *testing.T) {
			out := w.sh(t, t.TempDir(), block(t, "operations.md", what), map[string]string{"ID": id, "POD": pod})
			for _, s := range healthy[what] {
				if !strings.Contains(out, s) {
					t.Errorf("there is no %q in\n%s", s, out)
				}
			}
		})
	}
	l.end()
	t.Run("backup_and_restore", func(t *testing.T) { w.lost(t) })
}

// lost deletes the resource definitions with all their objects, and restores them
// from a backup.
func (w *world) lost(t *testing.T) {
	dir := t.TempDir()
	list := func() string {
		return w.run(t, 0, "list", "--json")
	}
	w.run(t, 0, "deploy", model+"@1.1.0", "--env", "development", "--models", w.models, "--strategy", "rolling", "--wait")
	before, was := list(), w.state(t)
	w.sh(t, dir, block(t, "operations.md", "backup"), nil)
	audit, err := os.ReadFile(filepath.Join(dir, "audit.ndjson"))
	if err != nil || !strings.Contains(string(audit), `"message":"rollout"`) {
		t.Errorf("%v: %.500s", err, audit)
	}
	w.wipe(t)
	out := w.sh(t, dir, block(t, "operations.md", "restore"), nil)
	if !strings.Contains(out, "ModelDeployment "+namespace+"/"+model+": restored") {
		t.Errorf("%s", out)
	}
	w.eventually(t, 2*time.Minute, "the deployment serves again", func() bool {
		s := w.state(t).Status
		return s.Phase == v1alpha1.Deployed && s.Stable == was.Status.Stable && strings.HasPrefix(s.Message, "1 of 1")
	})
	w.eventually(t, time.Minute, "the gateway answers", func() bool { return answers("development.test") })
	if after := list(); summaryOf(t, after) != summaryOf(t, before) {
		t.Errorf("the list is\n%s\nit was\n%s", after, before)
	}
	for _, r := range w.revisions(t) {
		if len(r.OwnerReferences) != 1 || r.OwnerReferences[0].UID != w.state(t).UID {
			t.Errorf("%s is not owned by the deployment: %v", r.Name, r.OwnerReferences)
		}
	}
	// A rollback still works, and the policies are in force.
	id := fmt.Sprintf("%s-development-%d", model, was.Status.Number)
	w.run(t, 0, "rollback", id, "--wait")
	w.eventually(t, time.Minute, "only the controller can write records", func() bool {
		r := w.revision(t, id)
		r.Annotations = map[string]string{"a": "b"}
		err := w.Update(context.Background(), r)
		return err != nil && strings.Contains(err.Error(), "only the controller writes them")
	})
}

func (w *world) revisions(t *testing.T) []v1alpha1.ModelRevision {
	t.Helper()
	var all v1alpha1.ModelRevisionList
	if err := w.List(context.Background(), &all, client.InNamespace(namespace)); err != nil {
		t.Fatal(err)
	}
	return all.Items
}

// summaryOf returns the ids and statuses of a list.
func summaryOf(t *testing.T, text string) string {
	t.Helper()
	return strings.Join(regexp.MustCompile(`"(deployment_id|status)": "[^"]*"`).FindAllString(text, -1), "\n")
}
