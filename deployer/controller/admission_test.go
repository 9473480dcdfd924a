package controller_test

import (
	"strings"
	"testing"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/meta"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

func sha(c string) string { return "sha256:" + strings.Repeat(c, 64) }

// guarded returns an environment that requires an approval.
func guarded(change func(*v1alpha1.EnvironmentSpec)) *v1alpha1.Environment {
	env := &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "guarded"}, Spec: v1alpha1.EnvironmentSpec{Namespace: ns, Kind: "production", ApprovalRequired: true, Image: "x:1"}}
	if change != nil {
		change(&env.Spec)
	}
	return env
}

// requested returns what alice wants to deploy there.
func requested(change func(*v1alpha1.ModelDeployment)) *v1alpha1.ModelDeployment {
	return deployment(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Environment, md.Spec.RequestedBy, md.Spec.Template.Model.Digest = "guarded", "alice", sha("a")
		if change != nil {
			change(md)
		}
	})
}

// approve returns bob's approval of what a deployment requests, made at the given
// time.
func approve(t *testing.T, md *v1alpha1.ModelDeployment, at time.Time, change func(*v1alpha1.ModelApproval)) *v1alpha1.ModelApproval {
	t.Helper()
	contents, err := render.ContentsOf(md)
	if err != nil {
		t.Fatal(err)
	}
	digest, err := contents.Digest()
	if err != nil {
		t.Fatal(err)
	}
	a := &v1alpha1.ModelApproval{
		ObjectMeta: metav1.ObjectMeta{Name: "bobs-" + digest[7:15], Namespace: ns, CreationTimestamp: metav1.NewTime(at)},
		Spec: v1alpha1.ModelApprovalSpec{
			Model: md.Spec.Template.Model, Environment: md.Spec.Environment, Revision: "cardio-guarded-1", Digest: digest, ApprovedBy: "bob",
			ExpiresAt: &metav1.Time{Time: at.Add(1000 * time.Hour)},
		},
	}
	if change != nil {
		change(a)
	}
	return a
}

func approvedReason(md *v1alpha1.ModelDeployment) string {
	if c := meta.FindStatusCondition(md.Status.Conditions, v1alpha1.ConditionApproved); c != nil {
		return c.Reason
	}
	return ""
}

// deployments returns how many Deployments the model has.
func (b *bench) deployments() int {
	b.t.Helper()
	var ds appsv1.DeploymentList
	if err := b.List(b.t.Context(), &ds); err != nil {
		b.t.Fatal(err)
	}
	return len(ds.Items)
}

// TestApproval checks which approvals admit a deployment, and what the status says
// of the others.
func TestApproval(t *testing.T) {
	begin := newBench(t).now
	for what, c := range map[string]struct {
		env    func(*v1alpha1.EnvironmentSpec)
		at     time.Duration // when it was made, before now
		change func(*v1alpha1.ModelApproval)
		none   bool
		reason string
		says   string
	}{
		"bob's":                {reason: "Approved"},
		"almost over":          {at: 71 * time.Hour, reason: "Approved"},
		"none":                 {none: true, reason: "Waiting", says: "waits for an approval of cardio@1.0.0 by somebody other than alice"},
		"over":                 {at: 72 * time.Hour, reason: "Expired", says: "the approval by bob expired at 2026-01-01"},
		"over by its own word": {at: time.Hour, change: func(a *v1alpha1.ModelApproval) { a.Spec.ExpiresAt = &metav1.Time{Time: begin} }, reason: "Expired", says: "expired"},
		"over in a short one":  {at: time.Hour, env: func(e *v1alpha1.EnvironmentSpec) { e.ApprovalLifetime = &metav1.Duration{Duration: time.Minute} }, reason: "Expired", says: "expired"},
		"in a long one":        {at: 100 * time.Hour, env: func(e *v1alpha1.EnvironmentSpec) { e.ApprovalLifetime = &metav1.Duration{Duration: 200 * time.Hour} }, reason: "Approved"},
		"without its own word": {change: func(a *v1alpha1.ModelApproval) { a.Spec.ExpiresAt = nil }, reason: "Approved"},
		"alice's":              {change: func(a *v1alpha1.ModelApproval) { a.Spec.ApprovedBy = "alice" }, reason: "ByRequester", says: "alice requested it"},
		"of something else":    {change: func(a *v1alpha1.ModelApproval) { a.Spec.Digest = sha("0") }, reason: "ChangedAfterApproval", says: "bob approved " + sha("0") + " of cardio-guarded-1"},
		"of the model alone":   {change: func(a *v1alpha1.ModelApproval) { a.Spec.Digest, a.Spec.Revision = "", "" }, reason: "NotOfARevision", says: "not the whole deployment"},
		"of another contents":  {change: func(a *v1alpha1.ModelApproval) { a.Spec.Model.Digest = sha("b") }, reason: "ChangedAfterApproval"},
		"of another version": {change: func(a *v1alpha1.ModelApproval) {
			a.Spec.Model.Version, a.Spec.Revision, a.Spec.Digest = "2.0.0", "", sha("0")
		}, reason: "Waiting"},
		"of another model":     {change: func(a *v1alpha1.ModelApproval) { a.Spec.Model.ID = "thyroid" }, reason: "Waiting"},
		"of another place":     {change: func(a *v1alpha1.ModelApproval) { a.Spec.Environment = "development" }, reason: "Waiting"},
		"of another namespace": {change: func(a *v1alpha1.ModelApproval) { a.Namespace = "elsewhere" }, reason: "Waiting"},
		"where none is asked":  {none: true, env: func(e *v1alpha1.EnvironmentSpec) { e.ApprovalRequired = false }, reason: ""},
		"an image not listed":  {env: func(e *v1alpha1.EnvironmentSpec) { e.Image = "x:2" }, reason: "", says: "may not run the image x:1"},
		"before an image is":   {none: true, env: func(e *v1alpha1.EnvironmentSpec) { e.Image, e.Images = "", []string{"x@" + sha("a")} }, reason: "", says: "may not run the image x:1"},
	} {
		t.Run(what, func(t *testing.T) {
			md := requested(nil)
			objects := []client.Object{md, guarded(c.env)}
			if !c.none {
				objects = append(objects, approve(t, md, begin.Add(-c.at), c.change))
			}
			b := newBench(t, objects...)
			got := b.rounds(3)
			in := c.says == "" && c.reason != "Waiting" && c.reason != "ChangedAfterApproval"
			if (b.deployments() > 0) != in || approvedReason(got) != c.reason || !in && !strings.Contains(got.Status.Message, c.says) {
				t.Errorf("%d Deployments, %s, %q", b.deployments(), approvedReason(got), got.Status.Message)
			}
			if !in && (got.Status.Phase != v1alpha1.Pending || meta.IsStatusConditionTrue(got.Status.Conditions, v1alpha1.ConditionReady)) {
				t.Errorf("%+v", got.Status)
			}
		})
	}
}

// TestApprovalCovers checks that after an approval nothing may change that reaches
// the pods or that weakens the rollout's checks, and that everything else may.
func TestApprovalCovers(t *testing.T) {
	covered := map[string]func(*v1alpha1.ModelDeployment){
		"image":       func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Image = "x:2" },
		"pull policy": func(md *v1alpha1.ModelDeployment) { md.Spec.Template.ImagePullPolicy = corev1.PullAlways },
		"environment": func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Config = map[string]string{"LOG_LEVEL": "debug"} },
		"resources": func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Resources.Limits = corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("64Gi")}
		},
		"samples": func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Samples = 1000 },
		"claim": func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Source = v1alpha1.Source{Type: "pvc", Claim: "models"}
		},
		"registry": func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Source = v1alpha1.Source{Type: "oci", Reference: "r/x:1"}
		},
		"secret": func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Source = v1alpha1.Source{Type: "oci", Reference: "r/x:1", PullSecret: "pull"}
		},
		"attempt":  func(md *v1alpha1.ModelDeployment) { md.Spec.Template.Attempt = 1 },
		"again":    func(md *v1alpha1.ModelDeployment) { md.Spec.Attempt = 1 },
		"gates":    func(md *v1alpha1.ModelDeployment) { md.Spec.Strategy.Gates = &v1alpha1.Gates{Disabled: true} },
		"a limit":  func(md *v1alpha1.ModelDeployment) { md.Spec.Strategy.Gates = &v1alpha1.Gates{MinSamples: 1} },
		"strategy": func(md *v1alpha1.ModelDeployment) { md.Spec.Strategy.Type = v1alpha1.Rolling },
		"steps": func(md *v1alpha1.ModelDeployment) {
			md.Spec.Strategy.Type, md.Spec.Strategy.Steps = v1alpha1.Canary, []v1alpha1.Step{{Weight: 99}}
		},
		"skipping":  func(md *v1alpha1.ModelDeployment) { md.Spec.Promote, _ = render.Hash(md.Spec.Template) },
		"no pods":   func(md *v1alpha1.ModelDeployment) { md.Spec.Replicas = 0 },
		"no way in": func(md *v1alpha1.ModelDeployment) { md.Spec.RollbackOf = "12345678" },
	}
	free := map[string]func(*v1alpha1.ModelDeployment){
		"replicas": func(md *v1alpha1.ModelDeployment) { md.Spec.Replicas = 3 },
		"hosts":    func(md *v1alpha1.ModelDeployment) { md.Spec.Traffic.Hostnames = []string{"a.example.com"} },
		"deadline": func(md *v1alpha1.ModelDeployment) { md.Spec.Strategy.Deadline = &metav1.Duration{Duration: time.Hour} },
		"reason":   func(md *v1alpha1.ModelDeployment) { md.Spec.Reason = "another" },
	}
	env := guarded(func(e *v1alpha1.EnvironmentSpec) {
		e.Images, e.Claims, e.PullSecrets = []string{"x:2"}, []string{"models"}, []string{"pull"}
	})
	try := func(rounds int, change func(*v1alpha1.ModelDeployment)) (int, *v1alpha1.ModelDeployment) {
		approval := approve(t, requested(nil), newBench(t).now, nil)
		b := newBench(t, requested(change), env.DeepCopy(), approval)
		md := b.rounds(rounds)
		return b.deployments(), md
	}
	for what, change := range covered {
		if n, md := try(2, change); n != 0 || approvedReason(md) != "ChangedAfterApproval" || !strings.Contains(md.Status.Message, "the request is now "+md.Status.Digest) {
			t.Errorf("%s: %d Deployments, %s: %q", what, n, approvedReason(md), md.Status.Message)
		}
	}
	for what, change := range free {
		if n, md := try(6, change); n != 1 || md.Status.Phase != v1alpha1.Deployed || approvedReason(md) != "Approved" {
			t.Errorf("%s: %d Deployments, %+v", what, n, md.Status)
		}
	}
}

// TestApprovalOfARolloutThatGoesOn checks that an approval that ends during a
// rollout stops nothing, and that changes during the rollout count once they are
// approved.
func TestApprovalOfARolloutThatGoesOn(t *testing.T) {
	first := requested(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Strategy = v1alpha1.Strategy{Type: v1alpha1.Canary, Gates: &v1alpha1.Gates{Disabled: true}, Steps: []v1alpha1.Step{{Weight: 10, Pause: true}, {Weight: 50, Pause: true}}}
	})
	b := newBench(t, first, guarded(nil))
	ctx := t.Context()
	approveNow := func(md *v1alpha1.ModelDeployment) {
		t.Helper()
		if err := b.Create(ctx, approve(t, md, b.now, nil)); err != nil {
			t.Fatal(err)
		}
	}
	change := func(change func(*v1alpha1.ModelDeployment)) *v1alpha1.ModelDeployment {
		t.Helper()
		var md v1alpha1.ModelDeployment
		b.get("cardio", &md)
		change(&md)
		md.Generation++
		if err := b.Update(ctx, &md); err != nil {
			t.Fatal(err)
		}
		return &md
	}
	is := func(md *v1alpha1.ModelDeployment, weight int32, reason string) {
		t.Helper()
		if md.Status.Rollout.Weight != weight || approvedReason(md) != reason {
			t.Fatalf("weight %d, want %d; %s, want %s: %q", md.Status.Rollout.Weight, weight, approvedReason(md), reason, md.Status.Message)
		}
	}
	approveNow(first)
	md := b.settle()
	if md.Status.Phase != v1alpha1.Deployed {
		t.Fatalf("%+v", md.Status)
	}
	approveNow(change(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Template.Model.Version, md.Spec.Template.Model.Digest = "1.1.0", sha("b")
	}))
	is(b.rounds(8), 10, "Approved")
	b.now = b.now.Add(1000 * time.Hour)
	is(b.rounds(8), 10, "Approved")
	// Bob approved neither other steps nor skipping them.
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Strategy.Steps = []v1alpha1.Step{{Weight: 99}} })
	is(b.rounds(8), 10, "ChangedAfterApproval")
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Promote = md.Status.Update })
	is(b.rounds(8), 10, "ChangedAfterApproval")
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Replicas = 0 })
	is(b.rounds(8), 10, "ChangedAfterApproval")
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Replicas = 2 })
	// The rollout continues as it was approved.
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Resume = &v1alpha1.StepOf{Revision: md.Status.Update} })
	is(b.rounds(8), 50, "ChangedAfterApproval")
	back := change(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Promote, md.Spec.Strategy.Steps = "", []v1alpha1.Step{{Weight: 10, Pause: true}, {Weight: 50, Pause: true}}
	})
	is(b.rounds(8), 50, "Approved")
	back.Spec.Promote = back.Status.Update
	approveNow(back)
	change(func(md *v1alpha1.ModelDeployment) { md.Spec.Promote = md.Status.Update })
	if md = b.settle(); md.Status.Phase != v1alpha1.Deployed || md.Status.Stable != md.Status.Update || approvedReason(md) != "Approved" {
		t.Errorf("%+v", md.Status)
	}
	// A version that was deployed before may return without an approval.
	change(func(md *v1alpha1.ModelDeployment) {
		md.Spec.Promote, md.Spec.RollbackOf = "", md.Status.Stable
		md.Spec.Template.Model.Version, md.Spec.Template.Model.Digest = "1.0.0", sha("a")
	})
	if md = b.settle(); md.Status.Phase != v1alpha1.Deployed || md.Status.Stable != md.Status.Update || approvedReason(md) != "" {
		t.Errorf("%+v", md.Status)
	}
}

// TestRequesters checks that neither the requester of the revision nor whoever
// changed its strategy since may approve it.
func TestRequesters(t *testing.T) {
	for by, want := range map[string]string{"alice": "ByRequester", "carol": "ByRequester", "bob": "Approved"} {
		md := requested(nil)
		b := newBench(t, md, guarded(nil))
		b.rounds(1) // alice made the record
		var now v1alpha1.ModelDeployment
		b.get("cardio", &now)
		now.Spec.RequestedBy, now.Spec.Strategy.Gates = "carol", &v1alpha1.Gates{Disabled: true}
		if err := b.Update(t.Context(), &now); err != nil {
			t.Fatal(err)
		}
		if err := b.Create(t.Context(), approve(t, &now, b.now, func(a *v1alpha1.ModelApproval) { a.Spec.ApprovedBy = by })); err != nil {
			t.Fatal(err)
		}
		if got := b.rounds(3); approvedReason(got) != want {
			t.Errorf("%s: %s, %q", by, approvedReason(got), got.Status.Message)
		}
	}
}

// TestLists checks which images and claims deployments may use.
func TestLists(t *testing.T) {
	claim := func(md *v1alpha1.ModelDeployment) {
		md.Spec.Template.Source = v1alpha1.Source{Type: "pvc", Claim: "models"}
	}
	for what, c := range map[string]struct {
		env    v1alpha1.EnvironmentSpec
		change func(*v1alpha1.ModelDeployment)
		says   string // empty: it is deployed
	}{
		"any image without a list": {v1alpha1.EnvironmentSpec{}, nil, ""},
		"an image of the list":     {v1alpha1.EnvironmentSpec{Images: []string{"y:1", "x:1"}}, nil, ""},
		"another image":            {v1alpha1.EnvironmentSpec{Images: []string{"y:1"}}, nil, "may not run the image x:1"},
		"the environment's own":    {v1alpha1.EnvironmentSpec{Image: "x:1", Images: []string{"y:1"}}, nil, ""},
		"no claim without a list":  {v1alpha1.EnvironmentSpec{}, claim, "may not use the PersistentVolumeClaim models"},
		"another claim":            {v1alpha1.EnvironmentSpec{Claims: []string{"model", "models2"}}, claim, "may not use the PersistentVolumeClaim models"},
		"a claim of the list":      {v1alpha1.EnvironmentSpec{Claims: []string{"models"}}, claim, ""},
		"a claim beside a source": {v1alpha1.EnvironmentSpec{}, func(md *v1alpha1.ModelDeployment) {
			md.Spec.Template.Source = v1alpha1.Source{Type: "image", Claim: "models"}
		}, "may not use the PersistentVolumeClaim models"},
	} {
		t.Run(what, func(t *testing.T) {
			c.env.Namespace, c.env.Kind = ns, "staging"
			b := newBench(t, deployment(func(md *v1alpha1.ModelDeployment) {
				md.Spec.Environment = "listed"
				if c.change != nil {
					c.change(md)
				}
			}), &v1alpha1.Environment{ObjectMeta: metav1.ObjectMeta{Name: "listed"}, Spec: c.env})
			md := b.rounds(2)
			if (b.deployments() == 0) != (c.says != "") || !strings.Contains(md.Status.Message, c.says) {
				t.Errorf("%d Deployments: %q", b.deployments(), md.Status.Message)
			}
		})
	}
}
