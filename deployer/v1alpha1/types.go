package v1alpha1

import (
	corev1 "k8s.io/api/core/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
)

// ModelDeployment is one model in one environment: what should be served there, and
// how a change is rolled out.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mdep
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.template.model.id`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.template.model.version`
// +kubebuilder:printcolumn:name="Strategy",type=string,JSONPath=`.spec.strategy.type`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Weight",type=integer,JSONPath=`.status.rollout.weight`
// +kubebuilder:printcolumn:name="Ready",type=string,JSONPath=`.status.conditions[?(@.type=="Ready")].status`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
type ModelDeployment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ModelDeploymentSpec   `json:"spec"`
	Status ModelDeploymentStatus `json:"status,omitempty"`
}

// ModelDeploymentList is a list of ModelDeployments.
//
// +kubebuilder:object:root=true
type ModelDeploymentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ModelDeployment `json:"items"`
}

// ModelDeploymentSpec is the request.
//
// +kubebuilder:validation:XValidation:rule="self.template.model.id == oldSelf.template.model.id",message="template.model.id cannot change: another model is another ModelDeployment"
// +kubebuilder:validation:XValidation:rule="self.environment == oldSelf.environment",message="environment cannot change: promote the model instead"
type ModelDeploymentSpec struct {
	// Environment is the name of the deployment's Environment object.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Environment string `json:"environment"`
	// Template defines the revision. A change of it begins a rollout.
	Template RevisionTemplate `json:"template"`
	// Replicas is how many pods serve, if there is no Autoscaling.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +kubebuilder:default=1
	Replicas int32 `json:"replicas"`
	// Autoscaling creates a HorizontalPodAutoscaler for the stable revision.
	// +optional
	Autoscaling *Autoscaling `json:"autoscaling,omitempty"`
	// Strategy says how traffic moves to a new revision.
	Strategy Strategy `json:"strategy"`
	// Traffic says what splits requests between revisions.
	// +optional
	Traffic Traffic `json:"traffic,omitempty"`
	// Paused holds the rollout in its present state. Deadlines stop, too.
	// +optional
	Paused bool `json:"paused,omitempty"`
	// Abort names a revision whose rollout is aborted. It outranks Promote and
	// applies until Template changes.
	// +kubebuilder:validation:MaxLength=80
	// +optional
	Abort string `json:"abort,omitempty"`
	// Resume lets the rollout continue past the pause at a step of a revision.
	// +optional
	Resume *StepOf `json:"resume,omitempty"`
	// Promote names a revision whose remaining steps are skipped.
	// +kubebuilder:validation:MaxLength=80
	// +optional
	Promote string `json:"promote,omitempty"`
	// Attempt makes a revision that was given up be rolled out again.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// RollbackOf names the revision that is rolled back by Template.
	// +kubebuilder:validation:MaxLength=80
	// +optional
	RollbackOf string `json:"rollbackOf,omitempty"`
	// Reason of the last change, for the record.
	// +kubebuilder:validation:MaxLength=1000
	// +optional
	Reason string `json:"reason,omitempty"`
	// RequestedBy is the user who last changed Template.
	// +kubebuilder:validation:MaxLength=256
	// +optional
	RequestedBy string `json:"requestedBy,omitempty"`
	// HistoryLimit is how many finished revisions are kept.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=10
	// +optional
	HistoryLimit int32 `json:"historyLimit,omitempty"`
	// ReplaceBroken names a revision that replaces a broken one. Its gates do not compare it
	// with the stable revision; what holds for it alone still holds: errors, scores that are
	// not finite or constant, restarts.
	// +kubebuilder:validation:MaxLength=80
	// +optional
	ReplaceBroken string `json:"replaceBroken,omitempty"`
}

// StepOf names a step of one revision's rollout.
type StepOf struct {
	// +kubebuilder:validation:MaxLength=80
	Revision string `json:"revision"`
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	Step int32 `json:"step"`
}

// RevisionTemplate is everything that distinguishes one revision from another.
type RevisionTemplate struct {
	Model ModelReference `json:"model"`
	// Image of the host.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=512
	Image string `json:"image"`
	// +kubebuilder:validation:Enum=Always;IfNotPresent;Never
	// +kubebuilder:default=IfNotPresent
	// +optional
	ImagePullPolicy corev1.PullPolicy `json:"imagePullPolicy,omitempty"`
	// Source is where pods get the model.
	// +optional
	Source Source `json:"source,omitempty"`
	// Resources of the host's container.
	// +optional
	Resources corev1.ResourceRequirements `json:"resources,omitempty"`
	// Samples is how many of the rows that they score hosts keep. The controller
	// replays them to the next revision before it has traffic. 0: none.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Samples int32 `json:"samples,omitempty"`
	// Attempt makes another revision with the same contents, to try again.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// Config holds environment variables of the host, such as WORKERS. Who may use the
	// host is not among them: the Environment says it.
	// +kubebuilder:validation:MaxProperties=50
	// +optional
	Config map[string]string `json:"config,omitempty"`
}

// ModelReference names a version of a model and its contents.
type ModelReference struct {
	// +kubebuilder:validation:Pattern=`^[a-zA-Z0-9][a-zA-Z0-9\-_]*$`
	// +kubebuilder:validation:MaxLength=128
	ID string `json:"id"`
	// Version is a semantic version without build metadata, as hosts require it.
	// +kubebuilder:validation:Pattern=`^(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)\.(0|[1-9][0-9]*)(-(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*)(\.(0|[1-9][0-9]*|[0-9]*[a-zA-Z-][0-9a-zA-Z-]*))*)?$`
	// +kubebuilder:validation:MaxLength=128
	Version string `json:"version"`
	// Digest of the model's contents. Pods whose model has another digest do not get
	// ready.
	// +kubebuilder:validation:Pattern=`^(sha256:[0-9a-f]{64})?$`
	// +optional
	Digest string `json:"digest,omitempty"`
}

// Source says where pods get models.
//
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'pvc' || has(self.claim)",message="source.type pvc needs source.claim"
// +kubebuilder:validation:XValidation:rule="!has(self.type) || self.type != 'oci' || has(self.reference)",message="source.type oci needs source.reference"
type Source struct {
	// +kubebuilder:validation:Enum=image;pvc;oci
	// +kubebuilder:default=image
	// +optional
	Type string `json:"type,omitempty"`
	// Claim is a PersistentVolumeClaim with a models directory.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	Claim string `json:"claim,omitempty"`
	// Reference of a model in an OCI registry, <registry>/<repository>:<tag> or @<digest>.
	// +kubebuilder:validation:MaxLength=512
	// +optional
	Reference string `json:"reference,omitempty"`
	// PullSecret is a Secret of type kubernetes.io/dockerconfigjson for that registry.
	// +kubebuilder:validation:MaxLength=253
	// +optional
	PullSecret string `json:"pullSecret,omitempty"`
	// AuthHosts are hosts, <host>[:<port>], to which the registry's credentials may
	// be sent for a token, besides the registry itself.
	// +kubebuilder:validation:MaxItems=8
	// +kubebuilder:validation:items:MaxLength=260
	// +kubebuilder:validation:items:Pattern=`^[a-zA-Z0-9.:\[\]-]+$`
	// +optional
	AuthHosts []string `json:"authHosts,omitempty"`
	// PlainHTTP connects to the registry without TLS, even with credentials.
	// +optional
	PlainHTTP bool `json:"plainHTTP,omitempty"`
}

// Autoscaling sets the range of the stable revision's replicas.
//
// +kubebuilder:validation:XValidation:rule="self.minReplicas <= self.maxReplicas",message="autoscaling.minReplicas must not be above maxReplicas: lower the one, or raise the other"
type Autoscaling struct {
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MinReplicas int32 `json:"minReplicas"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	MaxReplicas int32 `json:"maxReplicas"`
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=100
	// +kubebuilder:default=70
	// +optional
	CPUPercent int32 `json:"cpuPercent,omitempty"`
}

// The kinds of strategies.
const (
	Rolling   = "rolling"
	BlueGreen = "blue_green"
	Canary    = "canary"
	Direct    = "direct"
)

// Traffic says what splits requests between revisions.
type Traffic struct {
	// Gateway is the Gateway whose HTTPRoute weights split requests. If empty, the
	// numbers of replicas do.
	// +optional
	Gateway *GatewayReference `json:"gateway,omitempty"`
	// Hostnames of the HTTPRoute.
	// +kubebuilder:validation:MaxItems=16
	// +optional
	Hostnames []string `json:"hostnames,omitempty"`
	// PathPrefix of the HTTPRoute; default /.
	// +kubebuilder:validation:Pattern=`^/`
	// +kubebuilder:validation:MaxLength=256
	// +optional
	PathPrefix string `json:"pathPrefix,omitempty"`
	// Admit names the namespaces whose pods may connect, besides those of the
	// Gateway, of monitoring and of the controller.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Admit []string `json:"admit,omitempty"`
}

// GatewayReference names a Gateway.
type GatewayReference struct {
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=253
	Name string `json:"name"`
	// +kubebuilder:validation:MaxLength=63
	// +optional
	Namespace string `json:"namespace,omitempty"`
}
