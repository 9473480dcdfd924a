package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

// Crashes counts how often hosts of the new revision ended with an error and were
// started again.
type Crashes struct {
	// Total since the revision first had all pods of a step.
	Total int32 `json:"total"`
	// Pods holds the counts that were last seen, by the pods' UIDs. Pods that never
	// crashed are left out.
	// +optional
	Pods map[string]int32 `json:"pods,omitempty"`
	// Served is how long the rollout had taken when hosts last crashed. The next hold
	// takes at least twice as long, so that it sees the next crash.
	// +optional
	Served metav1.Duration `json:"served,omitempty"`
	// OOMKilled is how many of Total ended because the container's memory was used up.
	// +optional
	OOMKilled int32 `json:"oomKilled,omitempty"`
}

// StepRows counts the rows that the new revision has scored while its step's weight was
// in force. The number is the sum of Before and Counted.
type StepRows struct {
	// From is when the controller began to count. A controller that was restarted begins
	// again.
	From metav1.MicroTime `json:"from"`
	// Counted is the number of rows since From.
	Counted int64 `json:"counted"`
	// Before is the number of rows that were counted before From.
	// +optional
	Before int64 `json:"before,omitempty"`
}

// GatewayFigures is what the gateway has counted for both revisions since the new one
// had traffic.
type GatewayFigures struct {
	// EdgesMicroseconds are the upper edges of the bins of durations. The last bin has
	// none.
	// +kubebuilder:validation:MaxItems=64
	// +optional
	EdgesMicroseconds []int64 `json:"edgesMicroseconds,omitempty"`
	// Update and Stable are the sums over all instances.
	// +optional
	Update GatewayCount `json:"update,omitempty"`
	// +optional
	Stable GatewayCount `json:"stable,omitempty"`
	// Instances holds the counters that were last seen of each instance of the gateway.
	// +kubebuilder:validation:MaxItems=32
	// +optional
	Instances []GatewayInstance `json:"instances,omitempty"`
}

// GatewayCount counts what a gateway answered.
type GatewayCount struct {
	Requests int64 `json:"requests"`
	// Errors are the answers with a status of 500 and above, whoever made them.
	Errors int64 `json:"errors"`
	// Durations counts the requests of each bin.
	// +kubebuilder:validation:MaxItems=65
	// +optional
	Durations []int64 `json:"durations,omitempty"`
}

// GatewayInstance is one process of a gateway.
type GatewayInstance struct {
	// Name is its address.
	// +kubebuilder:validation:MaxLength=300
	Name string `json:"name"`
	// Started is when its process started, if it says so.
	// +optional
	Started *metav1.MicroTime `json:"started,omitempty"`
	// +optional
	Update GatewayCount `json:"update,omitempty"`
	// +optional
	Stable GatewayCount `json:"stable,omitempty"`
}

// Moment is a part of a rollout in which its step, its state and its weight stayed the
// same.
type Moment struct {
	At   metav1.Time `json:"at"`
	Step int32       `json:"step"`
	// +optional
	State string `json:"state,omitempty"`
	// +optional
	Phase string `json:"phase,omitempty"`
	// Planned is the share of traffic that was to be set for the new revision, in percent.
	Planned int32 `json:"planned"`
	// Weight is the share that the gateway had accepted.
	Weight int32 `json:"weight"`
	// Restarts of the new revision's hosts so far.
	// +optional
	Restarts int32 `json:"restarts,omitempty"`
	// Message says what the rollout waited for.
	// +kubebuilder:validation:MaxLength=300
	// +optional
	Message string `json:"message,omitempty"`
	// Figures are the new revision's, at the end of the moment.
	// +optional
	Figures *StepFigures `json:"figures,omitempty"`
}

// StepFigures is what was counted for a revision since it had traffic.
type StepFigures struct {
	Requests int64 `json:"requests"`
	Errors   int64 `json:"errors"`
	Rows     int64 `json:"rows"`
	// P95Microseconds is the 95th percentile of the durations of requests.
	// +optional
	P95Microseconds int64 `json:"p95Microseconds,omitempty"`
}

// PodCount says how many pods are ready.
type PodCount struct {
	Ready  int32 `json:"ready"`
	Wanted int32 `json:"wanted"`
}
