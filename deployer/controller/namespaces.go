package controller

import (
	"context"
	"fmt"
	"log/slog"
	"slices"
	"time"

	appsv1 "k8s.io/api/apps/v1"
	apierrors "k8s.io/apimachinery/pkg/api/errors"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// ReasonNoRole is the reason in the conditions of a ModelDeployment whose namespace
// gives the controller no role.
const ReasonNoRole = "NoRole"

// namespacesEvery is how often the controller checks which environments there are, in its
// cache, and rolesEvery how often it asks the API server whether it still has its roles. It
// asks for a role that it does not have each time.
const (
	namespacesEvery = 5 * time.Second
	rolesEvery      = time.Minute
)

// reachable returns the namespaces of environments in which the controller has its
// role. It does not ask for those that it knows.
func reachable(ctx context.Context, environments, live client.Reader, known []string) ([]string, error) {
	var all v1alpha1.EnvironmentList
	if err := environments.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("listing environments: %w", err)
	}
	var out, asked []string
	for i := range all.Items {
		namespace := all.Items[i].Spec.Namespace
		if slices.Contains(asked, namespace) {
			continue
		}
		asked = append(asked, namespace)
		if slices.Contains(known, namespace) {
			out = append(out, namespace)
			continue
		}
		err := live.List(ctx, &appsv1.DeploymentList{}, client.InNamespace(namespace), client.Limit(1))
		switch {
		case apierrors.IsForbidden(err):
		case err != nil:
			return nil, fmt.Errorf("listing Deployments of namespace %s: %w", namespace, err)
		default:
			out = append(out, namespace)
		}
	}
	slices.Sort(out)
	return out, nil
}

// follower ends a manager when the controller can reach other namespaces than those
// the manager was made for: the caches of a manager have fixed namespaces.
type follower struct {
	environments client.Reader // cached
	live         client.Reader
	namespaces   []string
	end          context.CancelFunc
	log          *slog.Logger
}

// Start implements manager.Runnable.
func (f follower) Start(ctx context.Context) error {
	ticks, roles := time.NewTicker(namespacesEvery), time.NewTicker(rolesEvery)
	defer ticks.Stop()
	defer roles.Stop()
	for {
		known := f.namespaces
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		case <-roles.C:
			known = nil
		}
		now, err := reachable(ctx, f.environments, f.live, known)
		if err != nil {
			f.log.Debug("a change of environments may be noticed late", "error", err)
			continue
		}
		if !slices.Equal(now, f.namespaces) {
			f.log.Info("restarting for other namespaces", "namespaces", now)
			f.end()
			return nil
		}
	}
}

// NeedLeaderElection implements manager.LeaderElectionRunnable: every controller
// follows, leader or not.
func (follower) NeedLeaderElection() bool { return false }
