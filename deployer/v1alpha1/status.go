package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The statuses of a deployment, as the commands show them.
const (
	Pending     = "pending"
	Deploying   = "deploying"
	Paused      = "paused"
	Deployed    = "deployed"
	RollingBack = "rolling_back"
	RolledBack  = "rolled_back"
	Failed      = "failed"
	Superseded  = "superseded"
)

// The types of conditions.
const (
	ConditionReady       = "Ready"
	ConditionReconciling = "Reconciling"
	ConditionStalled     = "Stalled"
	// ConditionApproved is there where the environment asks for an approval.
	ConditionApproved = "Approved"
)

// ModelDeploymentStatus is what was seen last, and where the rollout stands. What the
// next step depends on and cannot be seen in the cluster is here.
type ModelDeploymentStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Phase is the status of the newest revision.
	// +optional
	Phase string `json:"phase,omitempty"`
	// Message says why, for people.
	// +optional
	Message string `json:"message,omitempty"`
	// Stable is the revision that serves.
	// +optional
	Stable string `json:"stable,omitempty"`
	// Update is the revision that Template asks for; equal to Stable when all is done.
	// +optional
	Update string `json:"update,omitempty"`
	// Digest is of all that is asked for, as an approval covers it.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Number is that of the newest revision.
	// +optional
	Number int32 `json:"number,omitempty"`
	// Rollout is where the way from Stable to Update stands.
	// +optional
	Rollout Rollout `json:"rollout,omitempty"`
	// Verdicts of the gates, the newest of each.
	// +listType=map
	// +listMapKey=gate
	// +kubebuilder:validation:MaxItems=20
	// +optional
	Verdicts []Verdict `json:"verdicts,omitempty"`
	// Promotion says how Stable became so: which gates decided, on how many samples, and
	// which did not.
	// +optional
	Promotion string `json:"promotion,omitempty"`
	// +listType=map
	// +listMapKey=type
	// +optional
	Conditions []metav1.Condition `json:"conditions,omitempty"`
}

// Rollout is where a rollout stands.
type Rollout struct {
	// State is what is being done; since Since.
	// +optional
	State string `json:"state,omitempty"`
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// Step is the index of the step; the number of steps after the last one.
	// +optional
	Step int32 `json:"step,omitempty"`
	// HeldSince is when the step's weight was seen to hold.
	// +optional
	HeldSince *metav1.MicroTime `json:"heldSince,omitempty"`
	// Weight is the share of traffic of Update that was set last, in percent.
	// +optional
	Weight int32 `json:"weight"`
	// Aborted names the revision that was given up, and AbortReason says why.
	// +optional
	Aborted string `json:"aborted,omitempty"`
	// +optional
	AbortReason string `json:"abortReason,omitempty"`
	// PausedFor is how long the present state was paused, which its deadline leaves out.
	// +optional
	PausedFor metav1.Duration `json:"pausedFor,omitempty"`
	// +optional
	PausedSince *metav1.Time `json:"pausedSince,omitempty"`
	// Old is the revision that was stable before and is kept until KeepUntil.
	// +optional
	Old string `json:"old,omitempty"`
	// +optional
	KeepUntil *metav1.Time `json:"keepUntil,omitempty"`
	// Admitted is what the rollout was let in as.
	// +optional
	Admitted *Admission `json:"admitted,omitempty"`
}

// Admission is what a rollout was let in as. It lasts as long as the rollout does: an
// approval that expires meanwhile stops nothing.
type Admission struct {
	// Digest is of all that an approval covers.
	Digest string `json:"digest"`
	// +optional
	At metav1.Time `json:"at,omitempty"`
	// ApprovedBy is empty where the environment asked for no approval.
	// +optional
	ApprovedBy string `json:"approvedBy,omitempty"`
	// Strategy is the one that was approved. Another one counts once it is approved, too.
	// +optional
	Strategy *Strategy `json:"strategy,omitempty"`
}

// Verdict is what a gate said.
type Verdict struct {
	Gate string `json:"gate"`
	// Result is Pass, Fail, Inconclusive, CannotTell, Skipped or Error.
	Result string `json:"result"`
	// N is how many samples of the new revision it rests on.
	N int64 `json:"n"`
	// Statistic and Limit are decimal numbers.
	// +optional
	Statistic string `json:"statistic,omitempty"`
	// +optional
	Limit string `json:"limit,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
	// +optional
	Time metav1.Time `json:"time,omitempty"`
}

// ModelRevision records what one rollout was of. Its spec never changes; status says
// what became of it.
//
// +kubebuilder:object:root=true
// +kubebuilder:subresource:status
// +kubebuilder:resource:shortName=mrev
// +kubebuilder:printcolumn:name="ID",type=string,JSONPath=`.spec.deploymentID`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.template.model.version`
// +kubebuilder:printcolumn:name="Status",type=string,JSONPath=`.status.phase`
// +kubebuilder:printcolumn:name="Age",type=date,JSONPath=`.metadata.creationTimestamp`
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="a ModelRevision is a record: its spec cannot change"
type ModelRevision struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec   ModelRevisionSpec   `json:"spec"`
	Status ModelRevisionStatus `json:"status,omitempty"`
}

// ModelRevisionList is a list of ModelRevisions.
//
// +kubebuilder:object:root=true
type ModelRevisionList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ModelRevision `json:"items"`
}

// ModelRevisionSpec is what was rolled out.
type ModelRevisionSpec struct {
	// DeploymentID is <model>-<environment>-<number>.
	// +kubebuilder:validation:MaxLength=200
	DeploymentID string `json:"deploymentID"`
	// +kubebuilder:validation:Minimum=1
	Number int32 `json:"number"`
	// Hash of the template, as in the names of its objects.
	// +kubebuilder:validation:MaxLength=16
	Hash        string           `json:"hash"`
	Environment string           `json:"environment"`
	Template    RevisionTemplate `json:"template"`
	// +optional
	RequestedBy string `json:"requestedBy,omitempty"`
	// +optional
	Reason string `json:"reason,omitempty"`
}

// ModelRevisionStatus is what became of a revision.
type ModelRevisionStatus struct {
	// +kubebuilder:validation:Enum=pending;deploying;paused;deployed;rolling_back;rolled_back;failed;superseded
	// +optional
	Phase string `json:"phase,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
	// Digest is what the pods said of the model's contents.
	// +optional
	Digest string `json:"digest,omitempty"`
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// DeployedAt is when it became stable.
	// +optional
	DeployedAt *metav1.Time `json:"deployedAt,omitempty"`
}

// ModelApproval lets one revision into an environment: the model, and all else that
// Digest is of. It is made by somebody other than who asked for the deployment, and it
// expires.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:shortName=mappr
// +kubebuilder:printcolumn:name="Model",type=string,JSONPath=`.spec.model.id`
// +kubebuilder:printcolumn:name="Version",type=string,JSONPath=`.spec.model.version`
// +kubebuilder:printcolumn:name="By",type=string,JSONPath=`.spec.approvedBy`
// +kubebuilder:printcolumn:name="Revision",type=string,JSONPath=`.spec.revision`
// +kubebuilder:printcolumn:name="Expires",type=string,JSONPath=`.spec.expiresAt`
// +kubebuilder:validation:XValidation:rule="self.spec == oldSelf.spec",message="a ModelApproval cannot change: delete it and make another"
type ModelApproval struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec ModelApprovalSpec `json:"spec"`
}

// ModelApprovalList is a list of ModelApprovals.
//
// +kubebuilder:object:root=true
type ModelApprovalList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []ModelApproval `json:"items"`
}

// ModelApprovalSpec is what is approved, and by whom.
//
// +kubebuilder:validation:XValidation:rule="size(self.model.digest) > 0",message="an approval is of a digest: give model.digest"
type ModelApprovalSpec struct {
	Model ModelReference `json:"model"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Environment string `json:"environment"`
	// Revision is the id of the deployment that was looked at.
	// +kubebuilder:validation:MaxLength=200
	// +optional
	Revision string `json:"revision,omitempty"`
	// Digest is of all that is approved, as `deploy approve` prints it. An approval without
	// one, as older versions made them, lets nothing in.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +optional
	Digest string `json:"digest,omitempty"`
	// ExpiresAt ends the approval, if the Environment's approvalLifetime does not do so
	// before. It is in UTC.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$`
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// ApprovedBy must be the user who makes the object; the admission policy sees to
	// that.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ApprovedBy string `json:"approvedBy"`
	// +kubebuilder:validation:MaxLength=1000
	// +optional
	Notes string `json:"notes,omitempty"`
}

// Environment is a place that models are deployed to, with its defaults.
//
// +kubebuilder:object:root=true
// +kubebuilder:resource:scope=Cluster,shortName=menv
// +kubebuilder:printcolumn:name="Namespace",type=string,JSONPath=`.spec.namespace`
// +kubebuilder:printcolumn:name="Replicas",type=integer,JSONPath=`.spec.replicas`
// +kubebuilder:printcolumn:name="Approval",type=boolean,JSONPath=`.spec.approvalRequired`
type Environment struct {
	metav1.TypeMeta   `json:",inline"`
	metav1.ObjectMeta `json:"metadata,omitempty"`

	Spec EnvironmentSpec `json:"spec"`
}

// EnvironmentList is a list of Environments.
//
// +kubebuilder:object:root=true
type EnvironmentList struct {
	metav1.TypeMeta `json:",inline"`
	metav1.ListMeta `json:"metadata,omitempty"`
	Items           []Environment `json:"items"`
}
