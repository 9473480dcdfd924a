package render

import (
	"slices"

	corev1 "k8s.io/api/core/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// ModelsRole holds the controller's permissions where models run. It is bound only
// in the namespaces of environments.
const ModelsRole = ControllerName + "-models"

// LeaseName is the name of the leader's lease.
const LeaseName = "controller." + v1alpha1.Group

func rule(group string, verbs []string, resources ...string) rbacv1.PolicyRule {
	return rbacv1.PolicyRule{APIGroups: []string{group}, Resources: resources, Verbs: verbs}
}

func named(name, group string, verbs []string, resource string) rbacv1.PolicyRule {
	r := rule(group, verbs, resource)
	r.ResourceNames = []string{name}
	return r
}

// everywhere returns the controller's permissions in all namespaces: to follow the
// deployer's own objects and to write their status.
func everywhere() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule(v1alpha1.Group, []string{"list", "watch"}, "environments", "modeldeployments", "modelrevisions", "modelapprovals"),
		rule(v1alpha1.Group, []string{"update"}, "modeldeployments/status"),
	}
}

// whereModelsRun returns its permissions in the namespaces of environments. It gets
// objects without the cache before it creates them, to find those that belong to
// others, and changes them by server-side apply.
func whereModelsRun() []rbacv1.PolicyRule {
	made := []string{"get", "list", "watch", "create"}
	changed := slices.Concat(made, []string{"patch"})
	removed := slices.Concat(changed, []string{"delete"})
	return []rbacv1.PolicyRule{
		rule(v1alpha1.Group, []string{"create", "delete"}, "modelrevisions"),
		rule(v1alpha1.Group, []string{"update"}, "modelrevisions/status"),
		rule("apps", removed, "deployments"), rule("", removed, "services"), rule("autoscaling", removed, "horizontalpodautoscalers"),
		rule("networking.k8s.io", changed, "networkpolicies"), rule("gateway.networking.k8s.io", removed, "httproutes"),
		rule("policy", changed, "poddisruptionbudgets"),
		rule("", []string{"create"}, "configmaps"), named(NumbersName, "", []string{"get", "patch"}, "configmaps"),
		rule("", []string{"list", "watch"}, "pods"), rule("discovery.k8s.io", []string{"list", "watch"}, "endpointslices"),
		rule("", []string{"create", "patch"}, "events"),
	}
}

// inItsOwn returns its permissions in its own namespace: to lead, and to read the
// keys by which it asks hosts.
func inItsOwn() []rbacv1.PolicyRule {
	return []rbacv1.PolicyRule{
		rule("coordination.k8s.io", []string{"create"}, "leases"),
		named(LeaseName, "coordination.k8s.io", []string{"get", "update"}, "leases"),
		rule("", []string{"create"}, "events"),
		named(ControllerKeys, "", []string{"get"}, "secrets"),
	}
}

func (s System) subject() []rbacv1.Subject {
	return []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: ControllerName, Namespace: s.Namespace}}
}

// Binding binds the controller's role in the namespace of an environment.
func (s System) Binding(namespace string) *rbacv1.RoleBinding {
	b := &rbacv1.RoleBinding{
		TypeMeta: typed("RoleBinding", rbacv1.SchemeGroupVersion.String()), ObjectMeta: s.meta(ModelsRole, false), Subjects: s.subject(),
		RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ModelsRole},
	}
	b.Namespace = namespace
	return b
}

func (s System) roles() []client.Object {
	rbac := rbacv1.SchemeGroupVersion.String()
	look := []string{"get", "list", "watch"}
	clusterRole := func(name string, rules ...rbacv1.PolicyRule) *rbacv1.ClusterRole {
		return &rbacv1.ClusterRole{TypeMeta: typed("ClusterRole", rbac), ObjectMeta: s.meta(name, false), Rules: rules}
	}
	own := rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: ControllerName}
	return []client.Object{
		s.account(),
		clusterRole(ControllerName, everywhere()...),
		&rbacv1.ClusterRoleBinding{
			TypeMeta: typed("ClusterRoleBinding", rbac), ObjectMeta: s.meta(ControllerName, false), Subjects: s.subject(),
			RoleRef: rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "ClusterRole", Name: ControllerName},
		},
		clusterRole(ModelsRole, whereModelsRun()...),
		&rbacv1.Role{TypeMeta: typed("Role", rbac), ObjectMeta: s.meta(ControllerName, true), Rules: inItsOwn()},
		&rbacv1.RoleBinding{TypeMeta: typed("RoleBinding", rbac), ObjectMeta: s.meta(ControllerName, true), Subjects: s.subject(), RoleRef: own},
		// These roles are for people.
		clusterRole("pynomaly-deployer",
			rule(v1alpha1.Group, []string{"get", "list", "watch", "create", "update", "patch"}, "modeldeployments"),
			rule(v1alpha1.Group, look, "modelrevisions", "modelapprovals", "environments"), rule("", look, "events")),
		clusterRole("pynomaly-approver",
			rule(v1alpha1.Group, []string{"get", "list", "watch", "create", "approve"}, "modelapprovals"),
			rule(v1alpha1.Group, look, "modeldeployments", "modelrevisions", "environments")),
	}
}

func (s System) account() client.Object {
	return &corev1.ServiceAccount{TypeMeta: typed("ServiceAccount", "v1"), ObjectMeta: s.meta(ControllerName, true)}
}
