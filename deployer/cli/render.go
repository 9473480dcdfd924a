package cli

import (
	"github.com/spf13/cobra"

	"github.com/pynomaly/pynomaly-runtime/deployer/render"
)

func (a *app) render() *cobra.Command {
	p := render.GuidePlain("")
	var access accessFlags
	var pod string
	c := &cobra.Command{
		Use: "render", Short: "Print plain manifests of a model server, for GitOps without the controller", Args: cobra.NoArgs,
		Example: "  pynomaly-runtime deploy render --name pynomaly-model-server --host-name models.example.com > model-server.yaml",
		RunE: func(*cobra.Command, []string) error {
			if p.Image == "" {
				p.Image = a.Image
			}
			var err error
			if p.Access, err = access.read(); err != nil {
				return err
			}
			if pod != "" {
				if err := readYAML("--pod", pod, &p.Pod); err != nil {
					return err
				}
			}
			if err := p.Valid(); err != nil {
				return err
			}
			text, err := p.YAML()
			if err != nil {
				return err
			}
			_, err = a.Out.Write(text)
			return err
		},
	}
	f := c.Flags()
	f.StringVar(&p.Name, "name", p.Name, "name of the objects")
	f.StringVarP(&p.Namespace, "namespace", "n", p.Namespace, "namespace of the objects")
	f.StringVar(&p.Environment, "env", p.Environment, "environment of the host: development, staging or production")
	f.StringVar(&p.Image, "image", "", "image of the host")
	f.StringSliceVar(&p.PullSecrets, "image-pull-secret", nil, "Secrets for the registry of the image")
	f.StringVar(&p.Only, "only", "", "serve <model>@<version>[=sha256:<digest>] alone")
	f.Int32Var(&p.Replicas, "replicas", p.Replicas, "number of pods; the minimum, with an autoscaler")
	f.Int32Var(&p.MaxReplicas, "max-replicas", p.MaxReplicas, "maximum of the autoscaler; 0: no autoscaler")
	f.Int32Var(&p.CPUPercent, "cpu-percent", p.CPUPercent, "target of the autoscaler, in percent of the requested CPU")
	f.StringVar(&p.LogLevel, "log-level", p.LogLevel, "log level: debug, info, warn or error")
	f.IntVar(&p.Workers, "workers", p.Workers, "largest number of concurrent calls of detectors; 0: one per processor")
	f.IntVar(&p.CacheSize, "model-cache-size", p.CacheSize, "largest number of loaded models")
	f.StringVar(&p.Volume.Size, "storage", p.Volume.Size, "size of the volume of models")
	f.StringVar(&p.Volume.Class, "storage-class", "", "storage class of the volume of models; empty: the cluster's default")
	f.StringVar((*string)(&p.Volume.Access), "models-access-mode", string(p.Volume.Access), "access mode of the volume of models")
	f.StringVar(&p.Volume.Claim, "models-claim", "", "existing PersistentVolumeClaim with the models, instead of a new one")
	f.StringVar(&p.Host, "host-name", p.Host, "host name of the Ingress or HTTPRoute; empty: neither")
	f.StringVar(&p.TLSSecret, "tls-secret", p.TLSSecret, "Secret with the Ingress's certificate; empty: no TLS")
	f.StringVar(&p.Class, "ingress-class", p.Class, "class of the Ingress; empty: the cluster's default")
	f.StringToStringVar(&p.Annotations, "ingress-annotation", nil, "annotations of the Ingress")
	f.StringVar(&p.Gateway, "gateway", "", "[<namespace>/]<name> of a Gateway: an HTTPRoute instead of an Ingress")
	f.StringSliceVar(&p.Admit, "admit", p.Admit, "namespaces whose pods may connect; none: no pod may")
	f.StringVar(&pod, "pod", "", "YAML file with what pods have besides: nodeSelector, tolerations, affinity, topologySpreadConstraints, extraEnv, extraVolumes, extraVolumeMounts, egress")
	f.StringVar(&p.Traces.Endpoint, "trace-endpoint", "", "URL of the OTLP receiver that gets traces; empty: none are made")
	f.StringVar(&p.Traces.Protocol, "trace-protocol", p.Traces.Protocol, "protocol of traces: grpc or http/protobuf")
	f.Float64Var(&p.Traces.Ratio, "trace-ratio", p.Traces.Ratio, "share of requests to trace, 0 to 1")
	access.flags(f)
	f.BoolVar(&p.Monitor, "service-monitor", p.Monitor, "a ServiceMonitor for the Prometheus operator")
	return c
}
