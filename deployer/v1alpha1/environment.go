package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// EnvironmentSpec is what deployments to an environment begin with.
type EnvironmentSpec struct {
	// Namespace of its objects.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	Namespace string `json:"namespace"`
	// Replicas where a deployment says nothing.
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
	// Strategy where a deployment says nothing.
	// +optional
	Strategy *Strategy `json:"strategy,omitempty"`
	// +optional
	Traffic Traffic `json:"traffic,omitempty"`
	// PullSecrets are the Secrets that deployments may take as source.pullSecret: whoever
	// deploys chooses the image that is given them.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	PullSecrets []string `json:"pullSecrets,omitempty"`
	// Egress is what pods may connect to beyond what pulling their model takes; none: nothing.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Egress []Egress `json:"egress,omitempty"`
	// RegistryAddresses are CIDRs that the registries of models have; where there are none,
	// pods that pull a model may connect to the registry's port at any address.
	// +kubebuilder:validation:MaxItems=32
	// +kubebuilder:validation:items:Pattern=`^[0-9a-fA-F:.]+/[0-9]{1,3}$`
	// +optional
	RegistryAddresses []string `json:"registryAddresses,omitempty"`
	// PromotesFrom is the environment that a model must have run in.
	// +optional
	PromotesFrom string `json:"promotesFrom,omitempty"`
	// Soak is how long it must have run there.
	// +optional
	Soak *metav1.Duration `json:"soak,omitempty"`
	// ApprovalRequired: somebody else must approve a deployment.
	// +optional
	ApprovalRequired bool `json:"approvalRequired,omitempty"`
}

// Egress is addresses or pods that pods may connect to.
//
// +kubebuilder:validation:XValidation:rule="has(self.cidr) != has(self.namespace)",message="egress takes either a cidr or a namespace"
type Egress struct {
	// CIDR of addresses.
	// +kubebuilder:validation:Pattern=`^[0-9a-fA-F:.]+/[0-9]{1,3}$`
	// +optional
	CIDR string `json:"cidr,omitempty"`
	// Namespace of pods.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
	// Ports of TCP; none: all.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Ports []int32 `json:"ports,omitempty"`
}
