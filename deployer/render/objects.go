package render

import (
	"cmp"
	"fmt"
	"slices"

	appsv1 "k8s.io/api/apps/v1"
	autoscalingv2 "k8s.io/api/autoscaling/v2"
	corev1 "k8s.io/api/core/v1"
	policyv1 "k8s.io/api/policy/v1"
	metav1 "k8s.io/apimachinery/pkg/apis/meta/v1"
	"k8s.io/apimachinery/pkg/util/intstr"
	gatewayv1 "sigs.k8s.io/gateway-api/apis/v1"

	"github.com/pynomaly/pynomaly-runtime/deployer/v1alpha1"
)

// Constants of pods.
const (
	ContainerName = "model-server"
	Port          = 8080
	modelsDir     = "/app/models"
	stateDir      = "/tmp/pynomaly-runtime"
	registryDir   = "/registry"
	userID        = 65532
	// preStopSeconds is the time for gateways and kube-proxy to notice that a pod
	// stops.
	preStopSeconds = 5
	graceSeconds   = 60

	// KeysItem is the item of an Environment's Secret of keys that has the file of API
	// keys.
	KeysItem = "keys.yaml"
	// ControllerKeys is a Secret in the controller's namespace with the keys by which
	// the controller asks hosts, by their namespaces.
	ControllerKeys = "pynomaly-controller-keys"
)

// Labels returns the labels of a model's objects or, if hash is not empty, of one
// revision.
func Labels(md *v1alpha1.ModelDeployment, hash string) map[string]string {
	l := map[string]string{LabelHost: HostName, ManagedBy: Manager, LabelDeployment: md.Name}
	if hash != "" {
		l[LabelRevision] = hash
	}
	return l
}

func selector(md *v1alpha1.ModelDeployment, hash string) map[string]string {
	l := map[string]string{LabelDeployment: md.Name}
	if hash != "" {
		l[LabelRevision] = hash
	}
	return l
}

func meta(md *v1alpha1.ModelDeployment, name, hash string) metav1.ObjectMeta {
	return metav1.ObjectMeta{
		Name: name, Namespace: md.Namespace, Labels: Labels(md, hash),
		Annotations: map[string]string{AnnotationModel: md.Spec.Template.Model.ID},
	}
}

// RevisionName returns the name of a revision's Deployment and Service.
func RevisionName(md *v1alpha1.ModelDeployment, hash string) string { return md.Name + "-" + hash }

// Deployment returns the Deployment of a revision's pods, whose hosts may be used as
// access says. Pods receive only the SHA-256 of each API key, which grants nothing.
func Deployment(md *v1alpha1.ModelDeployment, hash string, t v1alpha1.RevisionTemplate, replicas int32, access v1alpha1.Access) *appsv1.Deployment {
	one, zero := intstr.FromInt32(1), intstr.FromInt32(0)
	d := &appsv1.Deployment{
		TypeMeta:   metav1.TypeMeta{APIVersion: "apps/v1", Kind: "Deployment"},
		ObjectMeta: meta(md, RevisionName(md, hash), hash),
		Spec: appsv1.DeploymentSpec{
			Replicas:             &replicas,
			Selector:             &metav1.LabelSelector{MatchLabels: selector(md, hash)},
			Strategy:             appsv1.DeploymentStrategy{Type: appsv1.RollingUpdateDeploymentStrategyType, RollingUpdate: &appsv1.RollingUpdateDeployment{MaxUnavailable: &zero, MaxSurge: &one}},
			RevisionHistoryLimit: ptr(int32(1)),
			Template: corev1.PodTemplateSpec{
				ObjectMeta: metav1.ObjectMeta{Labels: Labels(md, hash), Annotations: map[string]string{AnnotationModel: t.Model.ID}},
				Spec:       pod(md, t, access),
			},
		},
	}
	d.Annotations[AnnotationAccess] = AccessDigest(access)
	return d
}

func pod(md *v1alpha1.ModelDeployment, t v1alpha1.RevisionTemplate, access v1alpha1.Access) corev1.PodSpec {
	only := t.Model.ID + "@" + t.Model.Version
	if t.Model.Digest != "" {
		only += "=" + t.Model.Digest
	}
	probe := func(path string) corev1.ProbeHandler {
		return corev1.ProbeHandler{HTTPGet: &corev1.HTTPGetAction{Path: path, Port: intstr.FromString("http")}}
	}
	volume, mount := secured(access)
	c := corev1.Container{
		Name: ContainerName, Image: t.Image, ImagePullPolicy: t.ImagePullPolicy,
		Args: []string{
			"serve", "--host", "0.0.0.0", "--port", fmt.Sprint(Port), "--models", modelsDir, "--only", only,
			"--env", md.Spec.Environment, "--state-dir", stateDir,
			// Flags outrank environment variables and the image's configuration.
			"--auth", "on", "--auth-keys", keysFile, "--auth-anonymous", anonymous(access), "--insecure=false",
		},
		Ports:     []corev1.ContainerPort{{Name: "http", ContainerPort: Port, Protocol: corev1.ProtocolTCP}},
		Resources: t.Resources,
		// The startup probe does not wait for models, however long they load. A pod
		// is ready when its golden rows have the expected scores.
		StartupProbe:    &corev1.Probe{ProbeHandler: probe("/health"), PeriodSeconds: 1, FailureThreshold: 60},
		ReadinessProbe:  &corev1.Probe{ProbeHandler: probe("/ready"), PeriodSeconds: 1, FailureThreshold: 2},
		LivenessProbe:   &corev1.Probe{ProbeHandler: probe("/health"), PeriodSeconds: 10, FailureThreshold: 6, TimeoutSeconds: 5},
		Lifecycle:       &corev1.Lifecycle{PreStop: &corev1.LifecycleHandler{Sleep: &corev1.SleepAction{Seconds: preStopSeconds}}},
		SecurityContext: locked(),
		VolumeMounts:    []corev1.VolumeMount{{Name: "tmp", MountPath: "/tmp"}, mount},
		// The pod's status shows the last words of a host that crashed.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	c.Env = variables(t, access)
	spec := corev1.PodSpec{
		AutomountServiceAccountToken: ptr(false), EnableServiceLinks: ptr(false), TerminationGracePeriodSeconds: ptr(int64(graceSeconds)),
		SecurityContext: &corev1.PodSecurityContext{
			RunAsNonRoot: ptr(true), RunAsUser: ptr(int64(userID)), RunAsGroup: ptr(int64(userID)), FSGroup: ptr(int64(userID)),
			SeccompProfile: &corev1.SeccompProfile{Type: corev1.SeccompProfileTypeRuntimeDefault},
		},
		Volumes: []corev1.Volume{{Name: "tmp", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}}, volume},
	}
	if t.Source.Type == "oci" {
		spec.InitContainers = []corev1.Container{puller(t)}
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "models", MountPath: modelsDir, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "models", VolumeSource: corev1.VolumeSource{EmptyDir: &corev1.EmptyDirVolumeSource{}}})
		if t.Source.PullSecret != "" {
			spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "registry", VolumeSource: corev1.VolumeSource{Secret: &corev1.SecretVolumeSource{
				SecretName: t.Source.PullSecret, Items: []corev1.KeyToPath{{Key: corev1.DockerConfigJsonKey, Path: "config.json"}},
			}}})
		}
	}
	if t.Source.Type == "pvc" {
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "models", MountPath: modelsDir, ReadOnly: true})
		spec.Volumes = append(spec.Volumes, corev1.Volume{Name: "models", VolumeSource: corev1.VolumeSource{
			PersistentVolumeClaim: &corev1.PersistentVolumeClaimVolumeSource{ClaimName: t.Source.Claim, ReadOnly: true},
		}})
	}
	spec.Containers = []corev1.Container{c}
	return spec
}

// variables returns the environment variables of a host. Those of the deployment that
// are about access are left out, because the Environment decides that.
func variables(t v1alpha1.RevisionTemplate, access v1alpha1.Access) []corev1.EnvVar {
	var all []corev1.EnvVar
	for _, name := range sortedKeys(t.Config) {
		if !DecidesAccess(name) {
			all = append(all, corev1.EnvVar{Name: name, Value: t.Config[name]})
		}
	}
	if len(access.JWT) > 0 {
		all = append(all, corev1.EnvVar{Name: jwtEnv, Value: issuers(access.JWT)})
	}
	if t.Samples > 0 {
		all = append(all, corev1.EnvVar{Name: "PYNOMALY_SERVER_SAMPLES_SIZE", Value: fmt.Sprint(t.Samples)})
	}
	return all
}

// puller fetches the model from a registry before the host starts. It uses the
// host's image, and checks the model against the revision's digest.
func puller(t v1alpha1.RevisionTemplate) corev1.Container {
	c := corev1.Container{
		Name: "model-pull", Image: t.Image, ImagePullPolicy: t.ImagePullPolicy, Resources: t.Resources,
		Args:            []string{"model", "pull", t.Source.Reference, "--models", modelsDir, "--expect", t.Model.ID + "@" + t.Model.Version},
		SecurityContext: locked(),
		VolumeMounts:    []corev1.VolumeMount{{Name: "models", MountPath: modelsDir}},
		// The pod's status shows what went wrong.
		TerminationMessagePolicy: corev1.TerminationMessageFallbackToLogsOnError,
	}
	if t.Model.Digest != "" {
		c.Args = append(c.Args, "--digest", t.Model.Digest)
	}
	if t.Source.PlainHTTP {
		c.Args = append(c.Args, "--plain-http")
	}
	for _, host := range t.Source.AuthHosts {
		c.Args = append(c.Args, "--registry-auth-host", host)
	}
	if t.Source.PullSecret != "" {
		c.Args = append(c.Args, "--registry-config", registryDir+"/config.json")
		c.VolumeMounts = append(c.VolumeMounts, corev1.VolumeMount{Name: "registry", MountPath: registryDir, ReadOnly: true})
	}
	return c
}

func locked() *corev1.SecurityContext {
	return &corev1.SecurityContext{
		AllowPrivilegeEscalation: ptr(false), ReadOnlyRootFilesystem: ptr(true), Capabilities: &corev1.Capabilities{Drop: []corev1.Capability{"ALL"}},
	}
}

// RevisionService returns a Service for one revision's pods. It exists before they
// have traffic, so that a new version can be inspected.
func RevisionService(md *v1alpha1.ModelDeployment, hash string) *corev1.Service {
	return service(md, RevisionName(md, hash), hash, selector(md, hash))
}

// PreviewName returns the name of the Service for the revision that is being rolled
// out.
func PreviewName(md *v1alpha1.ModelDeployment) string { return md.Name + "-preview" }

// PreviewService returns that Service, which exists during a rollout.
func PreviewService(md *v1alpha1.ModelDeployment, hash string) *corev1.Service {
	return service(md, PreviewName(md), "", selector(md, hash))
}

// Service returns the Service for the pods that have traffic: those of one revision,
// or of all if several share it.
func Service(md *v1alpha1.ModelDeployment, weights map[string]int32) *corev1.Service {
	hash := ""
	if len(weights) == 1 {
		for name := range weights {
			hash = name
		}
	}
	s := service(md, md.Name, "", selector(md, hash))
	s.Annotations[AnnotationWeights] = FormatWeights(weights)
	return s
}

func service(md *v1alpha1.ModelDeployment, name, hash string, selected map[string]string) *corev1.Service {
	return &corev1.Service{
		TypeMeta:   metav1.TypeMeta{APIVersion: "v1", Kind: "Service"},
		ObjectMeta: meta(md, name, hash),
		Spec: corev1.ServiceSpec{
			Selector: selected,
			Ports:    []corev1.ServicePort{{Name: "http", Port: 80, TargetPort: intstr.FromString("http"), Protocol: corev1.ProtocolTCP}},
		},
	}
}

// Route returns the HTTPRoute that splits a Gateway's requests between revisions.
func Route(md *v1alpha1.ModelDeployment, weights map[string]int32) *gatewayv1.HTTPRoute {
	g := md.Spec.Traffic.Gateway
	parent := gatewayv1.ParentReference{Name: gatewayv1.ObjectName(g.Name)}
	if g.Namespace != "" {
		parent.Namespace = ptr(gatewayv1.Namespace(g.Namespace))
	}
	rule := gatewayv1.HTTPRouteRule{Matches: []gatewayv1.HTTPRouteMatch{{Path: &gatewayv1.HTTPPathMatch{
		Type: ptr(gatewayv1.PathMatchPathPrefix), Value: ptr(cmp.Or(md.Spec.Traffic.PathPrefix, "/")),
	}}}}
	if p := md.Spec.Traffic.PathPrefix; p != "" && p != "/" { // hosts serve at the root
		rule.Filters = []gatewayv1.HTTPRouteFilter{{Type: gatewayv1.HTTPRouteFilterURLRewrite, URLRewrite: &gatewayv1.HTTPURLRewriteFilter{
			Path: &gatewayv1.HTTPPathModifier{Type: gatewayv1.PrefixMatchHTTPPathModifier, ReplacePrefixMatch: ptr("/")},
		}}}
	}
	for _, hash := range sortedKeys(weights) {
		rule.BackendRefs = append(rule.BackendRefs, gatewayv1.HTTPBackendRef{BackendRef: gatewayv1.BackendRef{
			BackendObjectReference: gatewayv1.BackendObjectReference{Name: gatewayv1.ObjectName(RevisionName(md, hash)), Port: ptr(gatewayv1.PortNumber(80))},
			Weight:                 ptr(weights[hash]),
		}})
	}
	r := &gatewayv1.HTTPRoute{
		TypeMeta:   metav1.TypeMeta{APIVersion: gatewayv1.GroupVersion.String(), Kind: "HTTPRoute"},
		ObjectMeta: meta(md, md.Name, ""),
		Spec: gatewayv1.HTTPRouteSpec{
			CommonRouteSpec: gatewayv1.CommonRouteSpec{ParentRefs: []gatewayv1.ParentReference{parent}},
			Rules:           []gatewayv1.HTTPRouteRule{rule},
		},
	}
	for _, h := range md.Spec.Traffic.Hostnames {
		r.Spec.Hostnames = append(r.Spec.Hostnames, gatewayv1.Hostname(h))
	}
	return r
}

// Autoscaler returns the autoscaler of the stable revision.
func Autoscaler(md *v1alpha1.ModelDeployment, stable string) *autoscalingv2.HorizontalPodAutoscaler {
	a := md.Spec.Autoscaling
	return &autoscalingv2.HorizontalPodAutoscaler{
		TypeMeta:   metav1.TypeMeta{APIVersion: "autoscaling/v2", Kind: "HorizontalPodAutoscaler"},
		ObjectMeta: meta(md, md.Name, ""),
		Spec: autoscalingv2.HorizontalPodAutoscalerSpec{
			ScaleTargetRef: autoscalingv2.CrossVersionObjectReference{APIVersion: "apps/v1", Kind: "Deployment", Name: RevisionName(md, stable)},
			MinReplicas:    ptr(a.MinReplicas), MaxReplicas: a.MaxReplicas,
			Metrics: []autoscalingv2.MetricSpec{{Type: autoscalingv2.ResourceMetricSourceType, Resource: &autoscalingv2.ResourceMetricSource{
				Name:   corev1.ResourceCPU,
				Target: autoscalingv2.MetricTarget{Type: autoscalingv2.UtilizationMetricType, AverageUtilization: ptr(cmp.Or(a.CPUPercent, 70))},
			}}},
		},
	}
}

// Budget returns a budget that lets evictions remove one pod at a time.
func Budget(md *v1alpha1.ModelDeployment) *policyv1.PodDisruptionBudget {
	one := intstr.FromInt32(1)
	return &policyv1.PodDisruptionBudget{
		TypeMeta:   metav1.TypeMeta{APIVersion: "policy/v1", Kind: "PodDisruptionBudget"},
		ObjectMeta: meta(md, md.Name, ""),
		Spec:       policyv1.PodDisruptionBudgetSpec{MaxUnavailable: &one, Selector: &metav1.LabelSelector{MatchLabels: selector(md, "")}},
	}
}

func ptr[T any](v T) *T { return &v }

func sortedKeys[V any](m map[string]V) []string {
	out := make([]string, 0, len(m))
	for k := range m {
		out = append(out, k)
	}
	slices.Sort(out)
	return out
}
