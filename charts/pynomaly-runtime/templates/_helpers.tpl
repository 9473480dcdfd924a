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
