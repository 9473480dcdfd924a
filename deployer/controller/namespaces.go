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

// namespacesEvery is how often the controller checks which namespaces it can reach.
const namespacesEvery = 5 * time.Second

// reachable returns the namespaces of environments in which the controller has its
// role.
func reachable(ctx context.Context, c client.Reader) ([]string, error) {
	var all v1alpha1.EnvironmentList
	if err := c.List(ctx, &all); err != nil {
		return nil, fmt.Errorf("listing environments: %w", err)
	}
	var out []string
	for i := range all.Items {
		namespace := all.Items[i].Spec.Namespace
		if slices.Contains(out, namespace) {
			continue
		}
		err := c.List(ctx, &appsv1.DeploymentList{}, client.InNamespace(namespace), client.Limit(1))
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
	reader     client.Reader // not cached
	namespaces []string
	end        context.CancelFunc
	log        *slog.Logger
}

// Start implements manager.Runnable.
func (f follower) Start(ctx context.Context) error {
	ticks := time.NewTicker(namespacesEvery)
	defer ticks.Stop()
	for {
		select {
		case <-ctx.Done():
			return nil
		case <-ticks.C:
		}
		now, err := reachable(ctx, f.reader)
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
