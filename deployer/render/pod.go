package render

import (
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	"k8s.io/apimachinery/pkg/runtime"

	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// Volume describes the volume of models.
type Volume struct {
	Size   string
	Class  string // storage class; empty: the cluster's default
	Access corev1.PersistentVolumeAccessMode
	Claim  string // an existing claim, used instead of a new one
}

// Pod says where pods run, what they may connect to, and what they have besides what a
// host needs. The names in YAML are those in the chart's values.
type Pod struct {
	NodeSelector              map[string]string                 `json:"nodeSelector,omitempty"`
	Tolerations               []corev1.Toleration               `json:"tolerations,omitempty"`
	Affinity                  *corev1.Affinity                  `json:"affinity,omitempty"`
	TopologySpreadConstraints []corev1.TopologySpreadConstraint `json:"topologySpreadConstraints,omitempty"`
	Env                       []corev1.EnvVar                   `json:"extraEnv,omitempty"`
	Volumes                   []corev1.Volume                   `json:"extraVolumes,omitempty"`
	Mounts                    []corev1.VolumeMount              `json:"extraVolumeMounts,omitempty"`
	// Egress is what pods may connect to; empty: nothing.
	Egress []networkingv1.NetworkPolicyEgressRule `json:"egress,omitempty"`
}

// Traces configures the traces of hosts. Headers are a secret: PYNOMALY_TRACES_HEADERS
// belongs in the Secret of environment variables.
type Traces struct {
	Endpoint string // URL of an OTLP receiver; empty: no traces
	Protocol string
	Ratio    float64 // share of requests without a trace that are recorded, 0 to 1
}

const (
	modelsVolume = "models"
	tmpVolume    = "tmp"
)

// The environment variables of traces.
const (
	tracesEndpointEnv = "PYNOMALY_TRACES_ENDPOINT"
	tracesProtocolEnv = "PYNOMALY_TRACES_PROTOCOL"
	tracesRatioEnv    = "PYNOMALY_TRACES_RATIO"
)

func (t Traces) settings(into map[string]string) {
	if t.Endpoint == "" {
		return
	}
	into[tracesEndpointEnv], into[tracesProtocolEnv], into[tracesRatioEnv] = t.Endpoint, t.Protocol, strconv.FormatFloat(t.Ratio, 'g', -1, 64)
}

// claimName returns the name of the claim that pods mount.
func (p Plain) claimName() string {
	if p.Volume.Claim != "" {
		return p.Volume.Claim
	}
	return p.Name + "-models"
}

// claim returns the claim of models, unless an existing one is used.
func (p Plain) claim() []runtime.Object {
	if p.Volume.Claim != "" {
		return nil
	}
	c := &corev1.PersistentVolumeClaim{TypeMeta: typed("PersistentVolumeClaim", "v1"), ObjectMeta: p.meta("-models"), Spec: corev1.PersistentVolumeClaimSpec{
		AccessModes: []corev1.PersistentVolumeAccessMode{p.Volume.Access},
		Resources:   corev1.VolumeResourceRequirements{Requests: corev1.ResourceList{corev1.ResourceStorage: resource.MustParse(p.Volume.Size)}},
	}}
	if p.Volume.Class != "" {
		c.Spec.StorageClassName = &p.Volume.Class
	}
	return []runtime.Object{c}
}

// extend adds the settings of p.Pod and the pull secrets.
func (p Plain) extend(d *appsv1.Deployment) {
	s := &d.Spec.Template.Spec
	s.ImagePullSecrets = pullSecrets(p.PullSecrets)
	s.NodeSelector, s.Tolerations, s.Affinity, s.TopologySpreadConstraints = p.Pod.NodeSelector, p.Pod.Tolerations, p.Pod.Affinity, p.Pod.TopologySpreadConstraints
	s.Volumes = append(s.Volumes, p.Pod.Volumes...)
	c := &s.Containers[0]
	c.Env = p.Pod.Env
	c.VolumeMounts = append(c.VolumeMounts, p.Pod.Mounts...)
}

func pullSecrets(names []string) []corev1.LocalObjectReference {
	var out []corev1.LocalObjectReference
	for _, n := range names {
		out = append(out, corev1.LocalObjectReference{Name: n})
	}
	return out
}

// podRules returns the rules of the volume, the pods and the traces.
func podRules() []Rule {
	modes := []string{string(corev1.ReadOnlyMany), string(corev1.ReadWriteMany), string(corev1.ReadWriteOnce), string(corev1.ReadWriteOncePod)}
	return []Rule{
		{
			Name: "storage", Flag: "storage", Words: "a quantity above 0 such as 10Gi", Pattern: `^` + number + unit + `$`, Not: `^[0.]+([kMGTPE]|[KMGTPE]i)?$`, Longest: 32,
			values: texts(func(p *Plain) []string { return []string{p.Volume.Size} }),
		},
		{Name: "storageClass", Flag: "storage-class", Words: subdomainWords + ", or empty", Pattern: `^(` + subdomain + `)?$`, Longest: maxSubdomain, values: texts(func(p *Plain) []string { return []string{p.Volume.Class} })},
		{Name: "accessMode", Flag: "models-access-mode", Enum: modes, values: texts(func(p *Plain) []string { return []string{string(p.Volume.Access)} })},
		{Name: "existingClaim", Flag: "models-claim", Words: subdomainWords + ", or empty", Pattern: `^(` + subdomain + `)?$`, Longest: maxSubdomain, values: texts(func(p *Plain) []string { return []string{p.Volume.Claim} })},
		{Name: "imagePullSecret", Flag: "image-pull-secret", Words: subdomainWords, Pattern: `^` + subdomain + `$`, Longest: maxSubdomain, values: texts(func(p *Plain) []string { return p.PullSecrets })},
		{
			Name: "extraEnvName", Flag: "pod", Words: "the name of an environment variable: letters, digits and _, and not one that says who may use the host", Longest: 256,
			Pattern: `^[A-Za-z_][A-Za-z0-9_]*$`, Not: `^(` + authPrefix + `.*|` + insecureEnv + `)$`,
			values: texts(func(p *Plain) []string {
				return namesOf(p.Pod.Env, func(e corev1.EnvVar) string { return e.Name })
			}),
		},
		{
			Name: "extraVolumeName", Flag: "pod", Words: "another name than those of the host's own volumes (" + strings.Join(ownVolumes(), ", ") + "): " + labelWords,
			Pattern: `^` + label + `$`, Not: `^(` + strings.Join(ownVolumes(), "|") + `)$`,
			values: texts(func(p *Plain) []string {
				return namesOf(p.Pod.Volumes, func(v corev1.Volume) string { return v.Name })
			}),
		},
		{
			Name: "traceEndpoint", Flag: "trace-endpoint", Words: "a URL such as http://collector:4317, without a password, or empty", Pattern: `^(https?://[^/?#@\s]+([/?#][^\s]*)?)?$`, Longest: 2048,
			values: texts(func(p *Plain) []string { return []string{p.Traces.Endpoint} }),
		},
		{Name: "traceProtocol", Flag: "trace-protocol", Enum: []string{config.TracesGRPC, config.TracesHTTP}, values: texts(func(p *Plain) []string { return []string{p.Traces.Protocol} })},
		{Name: "traceRatio", Flag: "trace-ratio", Least: 0, Most: 1, real: true, values: func(p *Plain) []any { return []any{p.Traces.Ratio} }},
	}
}

// chartRules returns the rules of settings that plain manifests do not have.
func chartRules() []Rule {
	return []Rule{
		{Name: "imagePullPolicy", Flag: "image-pull-policy", Enum: []string{string(corev1.PullAlways), string(corev1.PullIfNotPresent), string(corev1.PullNever)}},
		{Name: "quantity", Words: "a quantity such as 500m or 1Gi", Pattern: `^` + number + `(m|[kMGTPE]|[KMGTPE]i)?$`, Longest: 32},
		{Name: "controllerReplicas", Flag: "replicas", Least: 1, Most: 10},
		{Name: "prometheusURL", Flag: "prometheus-url", Words: "an http or https URL, or empty", Pattern: `^(https?://[^/?#@\s]+([/?#][^\s]*)?)?$`, Longest: 2048},
	}
}

func ownVolumes() []string { return []string{modelsVolume, tmpVolume, accessVolume} }

func namesOf[T any](all []T, name func(T) string) []string {
	var out []string
	for _, v := range all {
		out = append(out, name(v))
	}
	return out
}
