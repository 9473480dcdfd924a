package v1alpha1

import metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"

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
