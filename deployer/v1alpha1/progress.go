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
}

// PodCount says how many pods are ready.
type PodCount struct {
	Ready  int32 `json:"ready"`
	Wanted int32 `json:"wanted"`
}
