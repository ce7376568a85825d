{{- define "cachew.labels" -}}
{{ include "cachew.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | quote }}
{{- end -}}
{{- define "cachew.selector" -}}
app.kubernetes.io/name: cachew
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}
{{- define "cachew.config" -}}
state = "/var/lib/cachew"
listen = ["tcp:8080"]
log-format = "json"
shutdown-readiness-delay = {{ .Values.shutdownReadinessDelay | quote }}
{{ .Values.config }}
{{- end -}}
