package v1alpha1

import (
	"time"

	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// DefaultApprovalLifetime is how long an approval lasts if the Environment does not
// say.
const DefaultApprovalLifetime = 72 * time.Hour

// EnvironmentSpec holds the defaults of deployments to an environment, and what they
// may use.
//
// +kubebuilder:validation:XValidation:rule="!self.namespace.startsWith('kube-')",message="namespace must not be one of the cluster's own"
type EnvironmentSpec struct {
	// Namespace of the environment's objects.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Kind says what hosts take the environment for, whatever its name. It may be left
	// out if it is the name.
	// +kubebuilder:validation:Enum=development;staging;production
	// +optional
	Kind string `json:"kind,omitempty"`
	// Replicas if a deployment does not say.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Replicas int32 `json:"replicas"`
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	// Image of the host.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Image string `json:"image,omitempty"`
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// Strategy if a deployment does not say.
	// +optional
	Strategy *Strategy `json:"strategy,omitempty"`
	// +optional
	Traffic Traffic `json:"traffic,omitempty"`
	// PullSecrets are the Secrets that deployments may use as source.pullSecret. The
	// user who deploys chooses the image that receives them.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	PullSecrets []string `json:"pullSecrets,omitempty"`
	// Images are what deployments may run besides Image:
	// <repository>@sha256:<digest>, or <repository>:<tag> if anybody who can move
	// the tag may choose. If empty, deployments may run any image or, with
	// ApprovalRequired, only Image.
	// +kubebuilder:validation:MaxItems=64
	// +kubebuilder:validation:items:MaxLength=512
	// +kubebuilder:validation:items:Pattern=`^[a-zA-Z0-9][a-zA-Z0-9._:/-]*(:[a-zA-Z0-9_][a-zA-Z0-9_.-]*|@sha256:[0-9a-f]{64})$`
	// +optional
	Images []string `json:"images,omitempty"`
	// Claims are the PersistentVolumeClaims that deployments may use as
	// source.claim.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Claims []string `json:"claims,omitempty"`
	// Egress is what pods may connect to, besides the registry of their model.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Egress []Egress `json:"egress,omitempty"`
	// RegistryAddresses are the CIDRs of the registries of models. If empty, pods
	// that pull a model may connect to the registry's port at any address.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Pattern=`^[0-9a-fA-F:.]+/[0-9]{1,3}$`
	// +optional
	RegistryAddresses []string `json:"registryAddresses,omitempty"`
	// Access says who may use the hosts.
	// +optional
	Access *Access `json:"access,omitempty"`
	// PromotesFrom is the environment in which a model must have run before.
	// +optional
	PromotesFrom string `json:"promotesFrom,omitempty"`
	// Soak is how long the model must have run there.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^(0|([0-9]{1,5}(\.[0-9]{1,9})?(ms|s|m|h)){1,4})$`
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`
	// ApprovalRequired says that another user must approve each deployment.
	// +optional
	ApprovalRequired bool `json:"approvalRequired,omitempty"`
	// ApprovalLifetime is how long after its creation an approval lets a rollout
	// begin; default 72 hours.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^(0|([0-9]{1,5}(\.[0-9]{1,9})?(ms|s|m|h)){1,4})$`
	// +optional
	ApprovalLifetime *metav1.Duration `json:"approvalLifetime,omitempty"`
	// GatewayMetrics says where the controller reads what the gateway of the
	// environment's deployments counts. Gates then see the requests that failed at the
	// gateway, which no host counts.
	// +optional
	GatewayMetrics *GatewayMetrics `json:"gatewayMetrics,omitempty"`
}

// The kinds of GatewayMetrics.
const (
	MetricsTraefik    = "traefik"
	MetricsEnvoy      = "envoy"
	MetricsPrometheus = "prometheus"
)

// GatewayMetrics says where a gateway's metrics are.
type GatewayMetrics struct {
	// Kind is traefik or envoy if URL is the gateway's own page of metrics, and prometheus
	// if a Prometheus at URL has scraped either of them.
	// +kubebuilder:validation:Enum=traefik;envoy;prometheus
	Kind string `json:"kind"`
	// URL of the metrics. The controller reads all addresses of its host, one for each
	// instance of the gateway: a headless Service has them.
	// +kubebuilder:validation:MaxLength=1024
	// +kubebuilder:validation:Pattern=`^https?://[^/@?#\s]+(/[^@?#\s]*)?$`
	URL string `json:"url"`
}

// Lifetime returns how long an approval lasts.
func (e *EnvironmentSpec) Lifetime() time.Duration {
	if e.ApprovalLifetime != nil {
		return e.ApprovalLifetime.Duration
	}
	return DefaultApprovalLifetime
}

// KindOf returns what hosts take the environment for, or "" if it does not say.
func (e *Environment) KindOf() string {
	switch {
	case e.Spec.Kind != "":
		return e.Spec.Kind
	case e.Name == "development" || e.Name == "staging" || e.Name == "production":
		return e.Name
	}
	return ""
}

// Egress is a set of addresses or pods that pods may connect to.
//
// +kubebuilder:validation:XValidation:rule="has(self.cidr) != has(self.namespace)",message="egress takes either a cidr or a namespace"
type Egress struct {
	// CIDR of the addresses.
	// +kubebuilder:validation:Pattern=`^[0-9a-fA-F:.]+/[0-9]{1,3}$`
	// +optional
	CIDR string `json:"cidr,omitempty"`
	// Namespace of the pods.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Ports of TCP; empty: all.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Minimum=1
	// +kubebuilder:validation:items:Maximum=65535
	// +optional
	Ports []int32 `json:"ports,omitempty"`
}
