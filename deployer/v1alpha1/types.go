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

// Strategy says how traffic moves to a new revision.
//
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || self.type == 'canary'",message="strategy.steps are for canary",messageExpression="'strategy.steps are for canary, and strategy.type is '+self.type+': leave the steps out, or set the type to canary'"
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || size(self.steps) < 2 || self.steps.all(i, s, i == 0 || s.weight >= self.steps[i-1].weight)",message="the weights of strategy.steps must not fall: put them in order"
// +kubebuilder:validation:XValidation:rule="!has(self.steps) || self.steps.exists(s, s.weight > 0)",message="strategy.steps give the new revision no traffic, so that its gates have nothing to judge: give a step a weight of 1 or more, or leave the steps out"
// +kubebuilder:validation:XValidation:rule="!has(self.deadline) || duration(self.deadline) >= duration('1s')",message="strategy.deadline must be 1s or more",messageExpression="'strategy.deadline is '+self.deadline+', in which no pod gets ready: 1s is the least, and 10m the default'"
type Strategy struct {
	// +kubebuilder:validation:Enum=rolling;blue_green;canary;direct
	Type string `json:"type"`
	// Steps of a canary before all traffic moves; default: 10, 25 and 50 %.
	// +kubebuilder:validation:MinItems=1
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Steps []Step `json:"steps,omitempty"`
	// MaxSurge is how many pods a rolling rollout may have beyond the replicas;
	// default: a quarter of the replicas.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:validation:Maximum=1000
	// +optional
	MaxSurge int32 `json:"maxSurge,omitempty"`
	// Window is how long the old revision of a blue_green rollout stays up after the
	// switch; default 5 minutes.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^(0|([0-9]{1,5}(\.[0-9]{1,9})?(ms|s|m|h)){1,4})$`
	// +optional
	Window *metav1.Duration `json:"window,omitempty"`
	// Deadline is the longest time that a step may wait for pods, for the gateway or for
	// the figures of its gates without progress; default 10 minutes. A hold or a pause
	// may take longer.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=80
	// +kubebuilder:validation:Pattern=`^(0|([0-9]{1,5}(\.[0-9]{1,9})?(ms|s|m|h)){1,4})$`
	// +optional
	Deadline *metav1.Duration `json:"deadline,omitempty"`
	// Drain is how long a pod without traffic is kept; default 10 s.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Pattern=`^(0|([0-9]{1,5}(\.[0-9]{1,9})?(ms|s|m|h)){1,4})$`
	// +optional
	Drain *metav1.Duration `json:"drain,omitempty"`
	// Gates that a new revision must pass at each step; default: all of them.
	// +optional
	Gates *Gates `json:"gates,omitempty"`
}

// Step is a share of traffic that is held for a time.
//
// +kubebuilder:validation:XValidation:rule="!has(self.hold) || duration(self.hold) >= duration('0s')",message="the hold of a step must not be negative",messageExpression="'the hold of a step is '+self.hold+', which is negative: 0s goes on as soon as the gates have passed'"
type Step struct {
	// Weight is the new revision's share in percent.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	Weight int32 `json:"weight"`
	// Hold is how long the gates watch this weight.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:MaxLength=80
	// +kubebuilder:validation:Pattern=`^-?(0|([0-9]{1,5}(\.[0-9]{1,9})?(ms|s|m|h)){1,4})$`
	// +optional
	Hold *metav1.Duration `json:"hold,omitempty"`
	// Pause waits for `deploy resume` after Hold.
	// +optional
	Pause bool `json:"pause,omitempty"`
	// MinSamples is how many rows the new revision must have scored at this weight before
	// the next step, besides those that the gates need. It needs gates.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000000
	// +optional
	MinSamples int64 `json:"minSamples,omitempty"`
}

// Gates limits how a new revision may differ from the stable one.
type Gates struct {
	// Disabled disables all gates.
	// +optional
	Disabled bool `json:"disabled,omitempty"`
	// MinSamples is how many rows each revision must have scored before a gate
	// compares them.
	// +kubebuilder:validation:Minimum=1
	// +kubebuilder:default=1000
	// +optional
	MinSamples int64 `json:"minSamples,omitempty"`
	// ErrorPercent is how far the share of failed requests, and that of failed rows, may
	// exceed that of stable, in percentage points.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	ErrorPercent *int32 `json:"errorPercent,omitempty"`
	// AnomalyPercent is how far the share of anomalies may differ from that of
	// stable, in percentage points.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	AnomalyPercent *int32 `json:"anomalyPercent,omitempty"`
	// LatencyPercent is how far the 95th percentile may exceed that of stable, in
	// percent.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	LatencyPercent *int32 `json:"latencyPercent,omitempty"`
	// LatencyMillis is an increase of the 95th percentile in milliseconds that is no
	// failure, however large it is in percent; default 5.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	LatencyMillis *int32 `json:"latencyMillis,omitempty"`
	// PSIThousandths is the limit of the population stability index of the scores,
	// in thousandths.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000000
	// +optional
	PSIThousandths *int32 `json:"psiThousandths,omitempty"`
	// DisagreePercent is the share of replayed rows that the revisions may judge
	// differently; default 5.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	DisagreePercent *int32 `json:"disagreePercent,omitempty"`
	// RankPercent is how similarly the revisions must rank replayed rows: Spearman's
	// coefficient in percent; default 80.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=100
	// +optional
	RankPercent *int32 `json:"rankPercent,omitempty"`
	// Skip names gates that are not asked for, such as score-distribution of a model whose
	// scores no bins tell apart.
	// +kubebuilder:validation:MaxItems=9
	// +kubebuilder:validation:items:Enum=error-rate;nonfinite-scores;constant-scores;anomaly-rate;score-distribution;latency;shadow-disagreement;restarts;oom-kills
	// +optional
	Skip []string `json:"skip,omitempty"`
	// Restarts is how many times in a rollout hosts of the new revision may end with an
	// error and be started again; default 1. Each time the hold begins anew.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	Restarts *int32 `json:"restarts,omitempty"`
	// Inconclusive says what happens if a step's time ends with too few samples:
	// pause (default) or proceed.
	// +kubebuilder:validation:Enum=pause;proceed
	// +optional
	Inconclusive string `json:"inconclusive,omitempty"`
	// OOMKills is how many times in a rollout hosts of the new revision may end because
	// they used up their memory; default 1. Each of them counts in Restarts as well.
	// +kubebuilder:validation:Minimum=0
	// +kubebuilder:validation:Maximum=1000
	// +optional
	OOMKills *int32 `json:"oomKills,omitempty"`
}

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
