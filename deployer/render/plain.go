package render

import (
	"bytes"
	"strconv"
	"strings"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv1 "k8s.io/api/autoscaling/v1"
	corev1 "k8s.io/api/core/v1"
	networkingv1 "k8s.io/api/networking/v1"
	policyv1 "k8s.io/api/policy/v1"
	rbacv1 "k8s.io/api/rbac/v1"
	"k8s.io/apimachinery/pkg/api/resource"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/apis/meta/v1/unstructured"
	"k8s.io/apimachinery/pkg/runtime"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
	"github.com/pynomaly/pynomaly-runtime/internal/config"
)

// Plain describes a model server without the controller, as manifests for GitOps
// tools.
type Plain struct {
	Name        string
	Namespace   string
	Environment string
	Image       string
	Only        string // <model>@<version>[=digest]; empty: everything in the volume
	Replicas    int32
	MaxReplicas int32 // of the autoscaler; 0: no autoscaler
	CPUPercent  int32
	Resources   corev1.ResourceRequirements
	LogLevel    string
	Workers     int
	CacheSize   int
	Volume      Volume
	Host        string // of the Ingress or HTTPRoute; empty: neither
	TLSSecret   string
	Annotations map[string]string // of the Ingress
	Class       string            // of the Ingress
	Gateway     string            // [<namespace>/]<name>: an HTTPRoute instead of an Ingress
	Admit       []string          // namespaces whose pods may connect; none: no pod may
	PullSecrets []string          // Secrets for the registry of the image
	Pod         Pod
	Traces      Traces
	Monitor     bool            // add a ServiceMonitor for the Prometheus operator
	Access      v1alpha1.Access // who may use the host; defaults are those of Environment
}

// GuidePlain returns the settings of the guide's manifests.
func GuidePlain(image string) Plain {
	return Plain{ //nolint:gosec // the name of a Secret is not secret
		Name: "pynomaly-model-server", Namespace: "pynomaly-production", Environment: "production", Image: image,
		Replicas: 3, MaxReplicas: 10, CPUPercent: 70, LogLevel: "info", Workers: 4, CacheSize: 16,
		Volume: Volume{Size: "10Gi", Access: corev1.ReadOnlyMany}, Traces: Traces{Protocol: config.TracesGRPC, Ratio: 0.01},
		Resources: corev1.ResourceRequirements{
			Requests: corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("1000m"), corev1.ResourceMemory: resource.MustParse("2Gi")},
			Limits:   corev1.ResourceList{corev1.ResourceCPU: resource.MustParse("2000m"), corev1.ResourceMemory: resource.MustParse("4Gi")},
		},
		Host: "models.example.com", TLSSecret: "pynomaly-model-server-tls", Class: "nginx",
		Admit: []string{"ingress-nginx", "gateway", "monitoring", "pynomaly-system"},
	}
}

// Objects returns the manifests in the order of applying them.
func (p Plain) Objects() []runtime.Object {
	out := []runtime.Object{
		&corev1.ConfigMap{TypeMeta: typed("ConfigMap", "v1"), ObjectMeta: p.meta("-config"), Data: p.settings()},
		&corev1.ServiceAccount{TypeMeta: typed("ServiceAccount", "v1"), ObjectMeta: p.meta(""), AutomountServiceAccountToken: ptr(false)},
		&rbacv1.Role{TypeMeta: typed("Role", rbacv1.SchemeGroupVersion.String()), ObjectMeta: p.meta(""), Rules: []rbacv1.PolicyRule{}}, // a host does not use the API server
		&rbacv1.RoleBinding{
			TypeMeta: typed("RoleBinding", rbacv1.SchemeGroupVersion.String()), ObjectMeta: p.meta(""),
			RoleRef:  rbacv1.RoleRef{APIGroup: rbacv1.GroupName, Kind: "Role", Name: p.Name},
			Subjects: []rbacv1.Subject{{Kind: rbacv1.ServiceAccountKind, Name: p.Name, Namespace: p.Namespace}},
		},
	}
	out = append(out, p.claim()...)
	out = append(out,
		p.deployment(),
		&corev1.Service{TypeMeta: typed("Service", "v1"), ObjectMeta: p.meta("-service"), Spec: corev1.ServiceSpec{
			Selector: p.selector(), Ports: []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP}},
		}},
		&policyv1.PodDisruptionBudget{TypeMeta: typed("PodDisruptionBudget", "policy/v1"), ObjectMeta: p.meta("-pdb"), Spec: policyv1.PodDisruptionBudgetSpec{
			MaxUnavailable: ptr(intstr.FromInt32(1)), Selector: &metav1.LabelSelector{MatchLabels: p.selector()},
		}},
		p.networkPolicy(),
	)
	if p.MaxReplicas > 0 {
		// Every version of Kubernetes has autoscaling/v1.
		out = append(out, &autoscalingv1.HorizontalPodAutoscaler{
			TypeMeta: typed("HorizontalPodAutoscaler", "autoscaling/v1"), ObjectMeta: p.meta("-hpa"),
			Spec: autoscalingv1.HorizontalPodAutoscalerSpec{
				ScaleTargetRef: autoscalingv1.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: p.Name},
				MinReplicas:    ptr(p.Replicas), MaxReplicas: p.MaxReplicas, TargetCPUUtilizationPercentage: ptr(p.CPUPercent),
			},
		})
	}
	switch {
	case p.Host == "":
	case p.Gateway != "":
		out = append(out, p.route())
	default:
		out = append(out, p.ingress())
	}
	if p.Monitor {
		out = append(out, p.serviceMonitor())
	}
	return out
}

// settings returns the environment variables of the host.
func (p Plain) settings() map[string]string {
	all := map[string]string{
		"ENVIRONMENT": p.Environment, "MODEL_SERVER_PORT": strconv.Itoa(Port), "LOG_LEVEL": p.LogLevel,
		"WORKERS": strconv.Itoa(p.Workers), "MODEL_CACHE_SIZE": strconv.Itoa(p.CacheSize), keysEnv: keysFile,
	}
	p.Traces.settings(all)
	access := p.access()
	if role := anonymous(access); role != "" {
		all[anonymousEnv] = role
	}
	if len(access.JWT) > 0 {
		all[jwtEnv] = issuers(access.JWT)
	}
	return all
}

func (p Plain) access() v1alpha1.Access { return p.Access.WithDefaults(p.Environment) }

// YAML returns the manifests as one file.
func (p Plain) YAML() ([]byte, error) {
	var b bytes.Buffer
	for _, o := range p.Objects() {
		if err := Manifest(&b, o); err != nil {
			return nil, err
		}
	}
	return b.Bytes(), nil
}

func (p Plain) selector() map[string]string {
	return map[string]string{LabelHost: HostName, "app.kubernetes.io/instance": p.Name}
}

func (p Plain) meta(suffix string) metav1.ObjectMeta {
	l := p.selector()
	l[ManagedBy] = Manager
	return metav1.ObjectMeta{Name: p.Name + suffix, Namespace: p.Namespace, Labels: l}
}

func (p Plain) deployment() *appsv1.Deployment {
	zero, one := intstr.FromInt32(0), intstr.FromInt32(1)
	probe := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}}
	}
	volume, mount := secured(p.access())
	args := []string{"serve", "--host", "0.0.0.0", "--models", "/models", "--state-dir", stateDir}
	if p.Only != "" {
		args = append(args, "--only", p.Only)
	}
	d := &appsv1.Deployment{
		TypeMeta: typed("Deployment", "apps/v1"), ObjectMeta: p.meta(""),
		Spec: appsv1.DeploymentSpec{
			Selector: &metav1.LabelSelector{MatchLabels: p.selector()},
			Strategy: appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &zero, MaxSurge: &one}},
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: p.selector(), Annotations: map[string]string{
					"prometheus.io/scrape": "true", "prometheus.io/port": strconv.Itoa(Port), "prometheus.io/path": "/metrics",
					AnnotationAccess: AccessDigest(p.access()),
				}},
				Spec: corev1.PodSpec{
					ServiceAccountName: p.Name, AutomountServiceAccountToken: ptr(false), EnableServiceLinks: ptr(false), TerminationGracePeriodSeconds: ptr(int64(graceSeconds)),
					SecurityContext: &corev1.PodSecurityContext{
						RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(userID)), RunAsGroup: ptr(int64(userID)), FSGroup: ptr(int64(userID)),
						SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
					},
					Containers: []corev1.Container{{
						Name: ContainerName, Image: p.Image, Args: args, Resources: p.Resources,
						Ports: []corev1.ContainerPort{{Name: "http", ContainerPort: Port, Protocol: corev1.ProtocolTCP}},
						EnvFrom: []corev1.EnvFromSource{
							{ConfigMapRef: &corev1.ConfigMapEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: p.Name + "-config"}}},
							{SecretRef: &corev1.SecretEnvSource{LocalObjectReference: corev1.LocalObjectReference{Name: p.Name + "-secrets"}, Optional: ptr(true)}},
						},
						StartupProbe:   &corev1.Probe{ProbeHandler: probe("/health"), PeriodSeconds: 1, FailureThreshold: 60},
						ReadinessProbe: &corev1.Probe{ProbeHandler: probe("/ready"), PeriodSeconds: 2, FailureThreshold: 2},
						LivenessProbe:  &corev1.Probe{ProbeHandler: probe("/health"), PeriodSeconds: 10, FailureThreshold: 6, TimeoutSeconds: 5},
						SecurityContext: &corev1.SecurityContext{
							AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
						},
						VolumeMounts: []corev1.VolumeMount{{Name: modelsVolume, MountPath: "/models", ReadOnly: true}, {Name: tmpVolume, MountPath: "/tmp"}, mount},
					}},
					Volumes: []corev1.Volume{
						{Name: modelsVolume, VolumeSource: corev1.VolumeSource{PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: p.claimName(), ReadOnly: true}}},
						{Name: tmpVolume, VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}},
						volume,
					},
				},
			},
		},
	}
	if p.MaxReplicas == 0 { // do not overwrite the autoscaler's number
		d.Spec.Replicas = ptr(p.Replicas)
	}
	p.extend(d)
	return d
}

func (p Plain) ingress() *networkingv1.Ingress {
	i := &networkingv1.Ingress{
		TypeMeta: typed("Ingress", "networking.k8s.io/v1"), ObjectMeta: p.meta("-ingress"),
		Spec: networkingv1.IngressSpec{Rules: []networkingv1.IngressRule{{Host: p.Host, IngressRuleValue: networkingv1.IngressRuleValue{HTTP: &networkingv1.HTTPIngressRuleValue{
			Paths: []networkingv1.HTTPIngressPath{{Path: "/", PathType: ptr(networkingv1.PathTypePrefix), Backend: networkingv1.IngressBackend{
				Service: &networkingv1.IngressServiceBackend{Name: p.Name + "-service", Port: networkingv1.ServiceBackendPort{Number: 80}},
			}}},
		}}}}},
	}
	i.Annotations = p.Annotations
	if p.Class != "" {
		i.Spec.IngressClassName = &p.Class
	}
	if p.TLSSecret != "" {
		i.Spec.TLS = []networkingv1.IngressTLS{{Hosts: []string{p.Host}, SecretName: p.TLSSecret}}
	}
	return i
}

func (p Plain) route() *gatewayv1.HTTPRoute {
	namespace, name := SplitName(p.Gateway)
	parent := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(name)}
	if namespace != "" {
		parent.Namespace = ptr(gatewayv1.Namespace(namespace))
	}
	return &gatewayv1.HTTPRoute{
		TypeMeta: typed("HTTPRoute", gatewayv1.GroupVersion.String()), ObjectMeta: p.meta(""),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}},
			Hostnames:       []gatewayv1.Hostname{gatewayv1.Hostname(p.Host)},
			Rules: []gatewayv1.HTTPRouteRule{{BackendRefs: []gatewayv1.HTTPBackendRef{{BackendRef: gatewayv1.BackendRef{
				BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(p.Name + "-service"), Port: ptr(gatewayv1.PortNumber(80))},
			}}}}},
		},
	}
}

func (p Plain) serviceMonitor() runtime.Object {
	m := p.meta("")
	return &unstructured.Unstructured{Object: map[string]any{
		"apiVersion": "monitoring.coreos.com/v1", "kind": "ServiceMonitor",
		"metadata": map[string]any{"name": m.Name, "namespace": m.Namespace, "labels": anyMap(m.Labels)},
		"spec": map[string]any{
			"selector":  map[string]any{"matchLabels": anyMap(p.selector())},
			"endpoints": []any{map[string]any{"port": "http", "path": "/metrics", "interval": "15s"}},
		},
	}}
}

func anyMap(m map[string]string) map[string]any {
	out := map[string]any{}
	for k, v := range m {
		out[k] = v
	}
	return out
}

// SplitName parses [<namespace>/]<name>.
func SplitName(text string) (namespace, name string) {
	if before, after, ok := strings.Cut(text, "/"); ok {
		return before, after
	}
	return "", text
}
