package render

import (
	"fmt"
	"strings"

	admissionv1 "k8s.io/api/admissionregistration/v1"
	appsv1 "k8s.io/api/apps/v1"
	corev1 "k8s.io/api/core/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	"sigs.k8s.io/controller-runtime/pkg/client"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// System describes what `deploy install` creates. All names but the namespace are
// fixed.
type System struct {
	Namespace       string
	Image           string
	ImagePullPolicy corev1.PullPolicy
	PullSecrets     []string // Secrets for the registry of the image, in Namespace
	Replicas        int32
	Prometheus      string // URL; empty: ask the hosts
	Environments    bool   // create the default environments, too
}

// ControllerName is the name of the controller's objects.
const ControllerName = "pynomaly-controller"

// User returns the account of the controller.
func (s System) User() string {
	return "system:serviceaccount:" + s.Namespace + ":" + ControllerName
}

func typed(kind, version string) metav1.TypeMeta {
	return metav1.TypeMeta{APIVersion: version, Kind: kind}
}

func (s System) meta(name string, namespaced bool) metav1.ObjectMeta {
	m := metav1.ObjectMeta{Name: name, Labels: map[string]string{"app.kubernetes.io/name": ControllerName, ManagedBy: Manager}}
	if namespaced {
		m.Namespace = s.Namespace
	}
	return m
}

// Objects returns the namespace, the account and its roles, the controller, the
// admission policies and the environments, in the order of their creation. The
// resource definitions must exist before.
func (s System) Objects() []client.Object {
	all := []client.Object{s.namespace(s.Namespace)}
	all = append(all, s.roles()...)
	all = append(all, s.policies()...)
	if s.Environments {
		all = append(all, s.Surroundings()...)
	}
	return append(all, s.deployment())
}

// Surroundings returns the default environments, their namespaces, and the
// controller's role in these.
func (s System) Surroundings() []client.Object {
	var all []client.Object
	for _, e := range Environments(s.Image, s.ImagePullPolicy) {
		all = append(all, s.namespace(e.Spec.Namespace), e, s.Binding(e.Spec.Namespace))
	}
	return all
}

func (s System) namespace(name string) *corev1.Namespace {
	n := &corev1.Namespace{TypeMeta: typed("Namespace", "v1"), ObjectMeta: s.meta(name, false)}
	n.Labels["pod-security.kubernetes.io/enforce"] = "restricted"
	return n
}

// restored is true for an object that a user restores from a backup with the
// original names of users. That needs the verb restore on environments, which is a
// permission in the whole cluster, and an annotation records who restored the
// object. So policies stay in force during a restore. The status of such an object
// is written after it.
const restored = "(request.operation == 'CREATE' || request.subResource == 'status') && has(object.metadata.annotations) && '" + AnnotationRestored + "' in object.metadata.annotations" +
	" && object.metadata.annotations['" + AnnotationRestored + "'] == request.userInfo.username" +
	" && authorizer.group('" + v1alpha1.Group + "').resource('environments').check('restore').allowed()"

// policies prevent impersonation: approvedBy and requestedBy must be the requesting
// user, who must have the right to approve. Only the controller writes records.
func (s System) policies() []client.Object {
	type rule struct{ expression, message string }
	policy := func(name string, kinds []string, operations []admissionv1.OperationType, rules ...rule) []client.Object {
		version := admissionv1.SchemeGroupVersion.String()
		p := &admissionv1.ValidatingAdmissionPolicy{
			TypeMeta: typed("ValidatingAdmissionPolicy", version), ObjectMeta: s.meta(name, false),
			Spec: admissionv1.ValidatingAdmissionPolicySpec{
				FailurePolicy: ptr(admissionv1.Fail),
				MatchConstraints: &admissionv1.MatchResources{ResourceRules: []admissionv1.NamedRuleWithOperations{{RuleWithOperations: admissionv1.RuleWithOperations{
					Operations: operations,
					Rule:       admissionv1.Rule{APIGroups: []string{v1alpha1.Group}, APIVersions: []string{"*"}, Resources: kinds},
				}}}},
				Variables: []admissionv1.Variable{{Name: "restored", Expression: restored}},
			},
		}
		for _, r := range rules {
			p.Spec.Validations = append(p.Spec.Validations, admissionv1.Validation{Expression: "variables.restored || (" + r.expression + ")", Message: r.message})
		}
		return []client.Object{p, &admissionv1.ValidatingAdmissionPolicyBinding{
			TypeMeta: typed("ValidatingAdmissionPolicyBinding", version), ObjectMeta: s.meta(name, false),
			Spec: admissionv1.ValidatingAdmissionPolicyBindingSpec{PolicyName: name, ValidationActions: []admissionv1.ValidationAction{admissionv1.Deny}},
		}}
	}
	const me = "request.userInfo.username"
	create, update := admissionv1.Create, admissionv1.Update
	all := policy("pynomaly-approvals", []string{"modelapprovals"}, []admissionv1.OperationType{create},
		rule{"object.spec.approvedBy == " + me, "spec.approvedBy must be the user who creates the approval"},
		rule{"has(object.spec.digest) && has(object.spec.expiresAt)", "an approval needs spec.digest, which `deploy approve` prints, and spec.expiresAt"},
		rule{"authorizer.group('" + v1alpha1.Group + "').resource('modelapprovals').namespace(request.namespace).check('approve').allowed()", "approving needs the verb approve on modelapprovals"})
	all = append(all, policy("pynomaly-requests", []string{"modeldeployments"}, []admissionv1.OperationType{create, update},
		rule{"!has(object.spec.requestedBy) || object.spec.requestedBy == '' || object.spec.requestedBy == " + me +
			" || (oldObject != null && has(oldObject.spec.requestedBy) && object.spec.requestedBy == oldObject.spec.requestedBy && " + unchanged("template", "strategy.type", "strategy.?steps", "strategy.?gates", "?promote", "?rollbackOf", "?replaceBroken", "?attempt") + ")",
			"spec.requestedBy must be the user who changes what an approval covers: spec.template, the steps and gates of spec.strategy, spec.promote, spec.rollbackOf, spec.replaceBroken, spec.attempt"},
		rule{"oldObject != null || !(request.namespace.startsWith('kube-') || request.namespace == '" + s.Namespace + "')", "models cannot be deployed in a namespace of the system"},
		rule{"object.spec.template.?config.orValue({}).all(k, !(k.startsWith('" + authPrefix + "') || k == '" + insecureEnv + "'))" +
			" || (oldObject != null && " + unchanged("template.?config") + ")",
			"spec.template.config cannot say who may use the host: spec.access of the Environment does"},
		// The definitions cannot validate quantities. One that the controller cannot
		// decode would keep it from reading all ModelDeployments.
		rule{quantities("requests") + " && " + quantities("limits"), "spec.template.resources must be quantities such as 500m or 1Gi"})...)
	return append(all, policy("pynomaly-records", []string{"modelrevisions", "modelrevisions/status", "modeldeployments/status"}, []admissionv1.OperationType{create, update},
		rule{me + " == '" + s.User() + "'", "ModelRevisions and statuses are records: only the controller writes them"})...)
}

// unchanged returns an expression that is true if an update does not change the
// given fields of spec.
func unchanged(fields ...string) string {
	out := make([]string, 0, len(fields))
	for _, f := range fields {
		out = append(out, "object.spec."+f+" == oldObject.spec."+f)
	}
	return strings.Join(out, " && ")
}

// quantities returns an expression that is true if all requests or limits are
// quantities.
func quantities(of string) string {
	return "object.spec.template.?resources.?" + of + ".orValue({}).all(k, isQuantity(string(object.spec.template.resources." + of + "[k])))"
}

func (s System) deployment() *appsv1.Deployment {
	probe := func(path string) *corev1.Probe {
		return &corev1.Probe{ProbeHandler: corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("health")}}}
	}
	labels := map[string]string{"app.kubernetes.io/name": ControllerName}
	return &appsv1.Deployment{
		TypeMeta: typed("Deployment", "apps/v1"), ObjectMeta: s.meta(ControllerName, true),
		Spec: appsv1.DeploymentSpec{
			Replicas: ptr(s.Replicas), Selector: &metav1.LabelSelector{MatchLabels: labels},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: labels},
				Spec: corev1.PodSpec{
					ServiceAccountName: ControllerName, EnableServiceLinks: ptr(false), ImagePullSecrets: pullSecrets(s.PullSecrets),
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(userID)), SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name: "controller", Image: s.Image, ImagePullPolicy: s.ImagePullPolicy,
						Args:  s.args(),
						Ports: []corev1.ContainerPort{{Name: "metrics", ContainerPort: 8081}, {Name: "health", ContainerPort: 8082}},
						Resources: corev1.ResourceRequirements{
							Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("10m"), corev1.ResourceMemory: resource.MustParse("64Mi")},
							Limits:   corev1.ResourceList{corev1.ResourceMemory: resource.MustParse("256Mi")},
						},
						ReadinessProbe: probe("/readyz"), LivenessProbe: probe("/healthz"),
						SecurityContext: locked(),
					}},
				},
			},
		},
	}
}

func (s System) args() []string {
	args := []string{"controller", "--leader-elect-namespace", s.Namespace}
	if s.Prometheus != "" {
		args = append(args, "--prometheus-url", s.Prometheus)
	}
	return args
}

// Environments returns the default environments.
func Environments(image string, pull corev1.PullPolicy) []*v1alpha1.Environment {
	resources := func(cpu, cpuLimit, memory, memoryLimit string) corev1.ResourceRequirements {
		return corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpu), corev1.ResourceMemory: resource.MustParse(memory)},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse(cpuLimit), corev1.ResourceMemory: resource.MustParse(memoryLimit)},
		}
	}
	environment := func(name string, spec v1alpha1.EnvironmentSpec) *v1alpha1.Environment {
		spec.Namespace, spec.Image, spec.ImagePullPolicy = "pynomaly-"+name, image, pull
		return &v1alpha1.Environment{
			TypeMeta:   typed("Environment", fmt.Sprintf("%s/%s", v1alpha1.Group, "v1alpha1")),
			ObjectMeta: metav1.ObjectMeta{Name: name, Labels: map[string]string{ManagedBy: Manager}}, Spec: spec,
		}
	}
	return []*v1alpha1.Environment{
		environment("development", v1alpha1.EnvironmentSpec{
			Replicas: 1, Resources: resources("100m", "100m", "256Mi", "256Mi"), Strategy: &v1alpha1.Strategy{Type: v1alpha1.Direct},
		}),
		environment("staging", v1alpha1.EnvironmentSpec{
			Replicas: 2, Resources: resources("500m", "500m", "1Gi", "1Gi"), Strategy: &v1alpha1.Strategy{Type: v1alpha1.Rolling},
		}),
		environment("production", v1alpha1.EnvironmentSpec{
			Replicas: 5, Resources: resources("1000m", "2000m", "2Gi", "4Gi"), Strategy: &v1alpha1.Strategy{Type: v1alpha1.Canary},
			Autoscaling:  &v1alpha1.Autoscaling{MinReplicas: 5, MaxReplicas: 10, CPUPercent: 70},
			PromotesFrom: "staging", ApprovalRequired: true, Soak: &metav1.Duration{},
		}),
	}
}
