package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// The statuses of a deployment, as commands show them.
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
	// ConditionApproved exists if the environment requires an approval.
	ConditionApproved = "Approved"
	// ConditionDrifted exists once somebody has changed what the controller keeps. It is
	// True while the change is in force, and False after it was put back.
	ConditionDrifted = "Drifted"
)

// ModelDeploymentStatus holds the last observations and the state of the rollout. It
// includes everything that the next step needs and that cannot be observed in the
// cluster.
type ModelDeploymentStatus struct {
	// +optional
	ObservedGeneration int64 `json:"observedGeneration,omitempty"`
	// Phase is the status of the newest revision.
	// +optional
	Phase string `json:"phase,omitempty"`
	// Message explains the phase to people.
	// +optional
	Message string `json:"message,omitempty"`
	// Stable is the revision that serves.
	// +optional
	Stable string `json:"stable,omitempty"`
	// Update is the revision that Template requests. It equals Stable after the
	// rollout.
	// +optional
	Update string `json:"update,omitempty"`
	// Digest of everything in the request that an approval covers.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Number of the newest revision.
	// +optional
	Number int32 `json:"number,omitempty"`
	// Rollout is the state of the rollout from Stable to Update.
	// +optional
	Rollout Rollout `json:"rollout,omitempty"`
	// Serving counts the pods of Stable, and Arriving those of Update during a rollout.
	// +optional
	Serving *PodCount `json:"serving,omitempty"`
	// +optional
	Arriving *PodCount `json:"arriving,omitempty"`
	// UsedApprovals are the UIDs of the ModelApprovals that have let rollouts begin, the
	// newest last. Each lets one begin.
	// +kubebuilder:validation:MaxItems=100
	// +optional
	UsedApprovals []string `json:"usedApprovals,omitempty"`
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

// Rollout is the state of a rollout.
type Rollout struct {
	// State is what the rollout is doing since Since.
	// +optional
	State string `json:"state,omitempty"`
	// +optional
	Since *metav1.Time `json:"since,omitempty"`
	// Step is the index of the step. After the last step it is the number of steps.
	// +optional
	Step int32 `json:"step,omitempty"`
	// Begun is when the rollout was admitted. What must happen before a rollout no
	// longer stops it.
	// +optional
	Begun *metav1.Time `json:"begun,omitempty"`
	// Attempt is the spec.attempt that the rollout follows.
	// +optional
	Attempt int32 `json:"attempt,omitempty"`
	// Seen is the time up to which Held, Served and Waited are counted. They count only
	// time in which the controller looked at the cluster.
	// +optional
	Seen *metav1.MicroTime `json:"seen,omitempty"`
	// Held is how long the step's weight has been in force with all of its pods ready.
	// While pods drain, it is for how long.
	// +optional
	Held metav1.Duration `json:"held,omitempty"`
	// Served is how long the rollout has taken, while somebody looked.
	// +optional
	Served metav1.Duration `json:"served,omitempty"`
	// Waited is how long the step has waited for pods, the gateway or figures without
	// progress. Time that is held makes up for it.
	// +optional
	Waited metav1.Duration `json:"waited,omitempty"`
	// Best is the largest number of ready pods since the step began to wait for them.
	// +optional
	Best int32 `json:"best,omitempty"`
	// Alone is how long no other revision has been able to answer, while somebody looked.
	// It is missing while another one can.
	// +optional
	Alone *metav1.Duration `json:"alone,omitempty"`
	// Rows counts what the revision has scored at its step, if the step waits for rows.
	// +optional
	Rows *StepRows `json:"rows,omitempty"`
	// Crashes are counted once the revision has had all pods of a step.
	// +optional
	Crashes *Crashes `json:"crashes,omitempty"`
	// Weight is the last share of traffic that was set for Update, in percent.
	// +optional
	Weight int32 `json:"weight"`
	// Aborted names the aborted revision, and AbortReason says why it was aborted.
	// +optional
	Aborted string `json:"aborted,omitempty"`
	// +optional
	AbortReason string `json:"abortReason,omitempty"`
	// End is the phase in which the aborted rollout ends.
	// +optional
	End string `json:"end,omitempty"`
	// Old is the former stable revision, which is kept until KeepUntil.
	// +optional
	Old string `json:"old,omitempty"`
	// +optional
	KeepUntil *metav1.Time `json:"keepUntil,omitempty"`
	// Admitted is what the rollout was admitted with.
	// +optional
	Admitted *Admission `json:"admitted,omitempty"`
	// Gateway is what the gateway has counted, if the Environment says where its metrics
	// are.
	// +optional
	Gateway *GatewayFigures `json:"gateway,omitempty"`
	// History is how the rollout went, the oldest moment first.
	// +kubebuilder:validation:MaxItems=40
	// +optional
	History []Moment `json:"history,omitempty"`
	// Warning says what clients will notice of the rollout.
	// +kubebuilder:validation:MaxLength=300
	// +optional
	Warning string `json:"warning,omitempty"`
}

// Admission is what a rollout was admitted with. It is valid until the rollout ends,
// even if the approval expires before.
type Admission struct {
	// Digest of everything that an approval covers.
	Digest string `json:"digest"`
	// +optional
	At metav1.Time `json:"at,omitempty"`
	// ApprovedBy is empty if the environment requires no approval.
	// +optional
	ApprovedBy string `json:"approvedBy,omitempty"`
	// Approval is the UID of the ModelApproval that let the rollout begin.
	// +optional
	Approval string `json:"approval,omitempty"`
	// Strategy is the approved strategy. A changed one applies once it is approved.
	// +optional
	Strategy *Strategy `json:"strategy,omitempty"`
}

// Verdict is the result of a gate.
type Verdict struct {
	Gate string `json:"gate"`
	// Result is Pass, Fail, Inconclusive, CannotTell, Skipped or Error.
	Result string `json:"result"`
	// N is the number of samples of the new revision.
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

// ModelRevision records one rollout. Its spec never changes; its status is the
// outcome.
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
	// Hash of the template, as in the names of the revision's objects.
	// +kubebuilder:validation:MaxLength=16
	Hash        string           `json:"hash"`
	Environment string           `json:"environment"`
	Template    RevisionTemplate `json:"template"`
	// +optional
	RequestedBy string `json:"requestedBy,omitempty"`
	// +optional
	Reason string `json:"reason,omitempty"`
}

// ModelRevisionStatus is the outcome of a revision.
type ModelRevisionStatus struct {
	// +kubebuilder:validation:Enum=pending;deploying;paused;deployed;rolling_back;rolled_back;failed;superseded
	// +optional
	Phase string `json:"phase,omitempty"`
	// +optional
	Message string `json:"message,omitempty"`
	// Digest of the model's contents, as the pods report it.
	// +optional
	Digest string `json:"digest,omitempty"`
	// Pods is what the controller has written of the revision's pods, as JSON: the digest of
	// who may use the hosts, and the pod template. Changes by hand are put back to it.
	// +kubebuilder:validation:MaxLength=100000
	// +optional
	Pods string `json:"pods,omitempty"`
	// +optional
	FinishedAt *metav1.Time `json:"finishedAt,omitempty"`
	// DeployedAt is when the revision became stable.
	// +optional
	DeployedAt *metav1.Time `json:"deployedAt,omitempty"`
	// History is how the revision's last rollout went, the oldest moment first.
	// +kubebuilder:validation:MaxItems=40
	// +optional
	History []Moment `json:"history,omitempty"`
}

// ModelApproval admits one revision to an environment: the model, and everything
// else that Digest covers. Its creator must not be the user who requested the
// deployment. It expires.
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

// ModelApprovalSpec says what is approved, and by whom.
//
// +kubebuilder:validation:XValidation:rule="size(self.model.digest) > 0",message="an approval needs model.digest"
type ModelApprovalSpec struct {
	Model ModelReference `json:"model"`
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=40
	Environment string `json:"environment"`
	// Revision is the id of the deployment that was reviewed.
	// +kubebuilder:validation:MaxLength=200
	// +optional
	Revision string `json:"revision,omitempty"`
	// Digest of everything that is approved, as `deploy approve` prints it. An
	// approval without one, as older versions made them, admits nothing.
	// +kubebuilder:validation:Pattern=`^sha256:[0-9a-f]{64}$`
	// +optional
	Digest string `json:"digest,omitempty"`
	// ExpiresAt ends the approval, unless the Environment's approvalLifetime ends it
	// earlier. It is in UTC.
	// +kubebuilder:validation:Type=string
	// +kubebuilder:validation:Format=date-time
	// +kubebuilder:validation:Pattern=`^[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}(\.[0-9]{1,9})?Z$`
	// +optional
	ExpiresAt *metav1.Time `json:"expiresAt,omitempty"`
	// ApprovedBy must be the user who creates the object. The admission policy
	// enforces that.
	// +kubebuilder:validation:MinLength=1
	// +kubebuilder:validation:MaxLength=256
	ApprovedBy string `json:"approvedBy"`
	// +kubebuilder:validation:MaxLength=1000
	// +optional
	Notes string `json:"notes,omitempty"`
}

// Environment is a target of deployments, with defaults for them.
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
