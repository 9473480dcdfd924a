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
