// Package v1alpha1 defines the Kubernetes resources of the deployer:
// ModelDeployment, ModelRevision, ModelApproval and Environment.
//
// deployer/strategy decides what happens with them, and deployer/controller does it.
// This package does not connect to a cluster.
//
// +kubebuilder:object:generate=true
// +groupName=runtime.pynomaly.io
package v1alpha1

import (
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/runtime/schema"
)

// Group is the API group of the resources.
const Group = "runtime.pynomaly.io"

// GroupVersion is the group and version of the resources.
func GroupVersion() schema.GroupVersion {
	return schema.GroupVersion{Group: Group, Version: "v1alpha1"}
}

// AddToScheme registers the resources in a scheme.
func AddToScheme(s *runtime.Scheme) error {
	s.AddKnownTypes(GroupVersion(), &ModelDeployment{}, &ModelDeploymentList{}, &ModelRevision{}, &ModelRevisionList{},
		&ModelApproval{}, &ModelApprovalList{}, &Environment{}, &EnvironmentList{})
	metav1.AddToGroupVersion(s, GroupVersion())
	return nil
}
