//go:build !nodeployer

package main

import (
	"log/slog"
	"time"

	"github.com/spf13/cobra"
	ctrl "sigs.k8s.io/controller-runtime"

	"github.com/pynomaly/pynomaly-runtime/deployer/controller"
	"github.com/pynomaly/pynomaly-runtime/internal/lifecycle"
	"github.com/pynomaly/pynomaly-runtime/internal/logs"
)

// controllerCommand returns the command that runs the controller of rollouts.
func controllerCommand(s streams) *cobra.Command {
	o := controller.Options{Now: time.Now}
	var level, prometheus string
	cmd := &cobra.Command{
		Use: "controller", Short: "Roll models out on Kubernetes as ModelDeployments request", Args: cobra.NoArgs,
		Annotations: map[string]string{stopsInOrder: "yes"},
		RunE: func(cmd *cobra.Command, _ []string) error {
			_, forget := lifecycle.Survive()
			defer forget()
			out := logs.NewBuffered(s.raw.err)
			defer out.CloseSoon()
			base, err := logs.New(out, new(slog.LevelVar), level, "json")
			if err != nil {
				return err
			}
			if o.Config, err = ctrl.GetConfig(); err != nil {
				return err
			}
			o.Config.UserAgent = "pynomaly-controller/" + version
			o.Library = base
			o.Log, o.Audit = logs.Named(base, "controller"), logs.Audit(base)
			if prometheus != "" {
				if o.Prometheus, err = controller.NewPrometheus(prometheus); err != nil {
					return err
				}
			}
			return controller.Run(cmd.Context(), o)
		},
	}
	f := cmd.Flags()
	f.BoolVar(&o.LeaderElection, "leader-elect", true, "elect a leader, so that only one of several controllers acts")
	f.StringVar(&o.Namespace, "leader-elect-namespace", "", "namespace of the leader's lease (default: the pod's)")
	f.StringVar(&o.Metrics, "metrics-bind-address", ":8081", "address of Prometheus metrics; 0: none")
	f.StringVar(&o.Health, "health-probe-bind-address", ":8082", "address of /healthz and /readyz; 0: none")
	f.StringVar(&prometheus, "prometheus-url", "", "Prometheus that counts requests, errors and latency (default: the hosts themselves)")
	f.IntVar(&o.Workers, "workers", 4, "deployments that are handled at the same time")
	f.StringVar(&level, "log-level", "info", "debug, info, warn or error")
	return cmd
}
