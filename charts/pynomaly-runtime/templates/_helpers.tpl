{{- define "server.selector" -}}
app.kubernetes.io/instance: {{ .Values.server.name }}
app.kubernetes.io/name: pynomaly-model-server
{{- end }}

{{- define "server.labels" -}}
{{ include "server.selector" . }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{- end }}

{{- define "server.metadata" -}}
{{- $root := index . 0 -}}
name: {{ $root.Values.server.name }}{{ index . 1 }}
namespace: {{ $root.Release.Namespace }}
labels:
  {{- include "server.labels" $root | nindent 2 }}
{{- end }}

{{- /* the role of callers without credentials; empty: they are refused */}}
{{- define "server.anonymous" -}}
{{- $a := .Values.server.access.anonymousPredict }}
{{- if kindIs "bool" $a }}{{ if $a }}viewer{{ end }}{{ else if eq .Values.server.environment "development" }}viewer{{ end }}
{{- end }}

{{- /* auth.jwt of the host; names of items of the Secret become files */}}
{{- define "server.issuers" -}}
{{- $all := list }}
{{- range .Values.server.access.jwt }}
{{- $j := omit . "secretFile" "jwks" "ca" }}
{{- with .jwks }}{{ $_ := set $j "jwks" (ternary . (printf "/etc/pynomaly-runtime/access/%s" .) (contains "://" .)) }}{{ end }}
{{- with .ca }}{{ $_ := set $j "ca" (printf "/etc/pynomaly-runtime/access/%s" .) }}{{ end }}
{{- with .secretFile }}{{ $_ := set $j "secret_file" (printf "/etc/pynomaly-runtime/access/%s" .) }}{{ end }}
{{- $all = append $all $j }}
{{- end }}
{{- $all | toJson }}
{{- end }}

{{- /* what the schema cannot say: settings that contradict each other */}}
{{- define "server.valid" -}}
{{- $s := .Values.server }}
{{- if $s.autoscaling.enabled }}
{{- if lt (int $s.replicas) 1 }}
{{- fail (printf "server.replicas is %d, and an autoscaler needs at least 1: set server.autoscaling.enabled=false for a server without an autoscaler" (int $s.replicas)) }}
{{- end }}
{{- if gt (int $s.replicas) (int $s.autoscaling.maxReplicas) }}
{{- fail (printf "server.replicas is %d, which is above server.autoscaling.maxReplicas %d: raise that, or set server.autoscaling.enabled=false for a server without an autoscaler" (int $s.replicas) (int $s.autoscaling.maxReplicas)) }}
{{- end }}
{{- end }}
{{- if and $s.gateway.namespace (not $s.gateway.name) }}
{{- fail "server.gateway.namespace needs server.gateway.name" }}
{{- end }}
{{- if and $s.traces.endpoint (not $s.egress) }}
{{- fail (printf "server.traces.endpoint is %q, and pods may connect to nothing: list the receiver, and DNS, in server.egress" $s.traces.endpoint) }}
{{- end }}
{{- end }}

{{- define "pullSecrets" -}}
{{- range .Values.imagePullSecrets }}
- name: {{ . | quote }}
{{- end }}
{{- end }}

{{- define "controller.valid" -}}
{{- if not (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) }}
{{- fail (printf "controller.enabled needs Kubernetes 1.30 or later, and this is %s: set controller.enabled=false" .Capabilities.KubeVersion.Version) }}
{{- end }}
{{- end }}
