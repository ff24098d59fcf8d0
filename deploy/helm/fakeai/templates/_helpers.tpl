{{- define "fakeai.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 32 | trimSuffix "-" -}}
{{- end -}}

{{- define "fakeai.fullname" -}}
{{- if contains (include "fakeai.name" .) .Release.Name -}}
{{- .Release.Name | trunc 40 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "fakeai.name" .) | trunc 40 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "fakeai.selector" -}}
app.kubernetes.io/name: {{ include "fakeai.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "fakeai.labels" -}}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
{{ include "fakeai.selector" . }}
{{- end -}}

{{/* The replicas behind a Service are one server to whoever asks it: two of its ports may lead to two of them. A UUID of the release. */}}
{{- define "fakeai.serverId" -}}
{{- $digest := printf "%s/%s" .Release.Namespace (include "fakeai.fullname" .) | sha256sum -}}
{{- printf "%s-%s-4%s-8%s-%s" (substr 0 8 $digest) (substr 8 12 $digest) (substr 12 15 $digest) (substr 15 18 $digest) (substr 18 30 $digest) -}}
{{- end -}}

{{- define "fakeai.image" -}}
{{- printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) -}}
{{- end -}}

{{/* What every pod has: no root, nothing that can be written to but /data, no right of its own. */}}
{{- define "fakeai.podSecurity" -}}
automountServiceAccountToken: false
# A Service called fakeai would set variables that look like settings.
enableServiceLinks: false
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  fsGroup: 65532
  seccompProfile: { type: RuntimeDefault }
{{- with .Values.imagePullSecrets }}
imagePullSecrets: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.nodeSelector }}
nodeSelector: {{- toYaml . | nindent 2 }}
{{- end }}
{{- with .Values.tolerations }}
tolerations: {{- toYaml . | nindent 2 }}
{{- end }}
{{- end -}}

{{- define "fakeai.containerSecurity" -}}
image: {{ include "fakeai.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities: { drop: ["ALL"] }
{{- end -}}

{{- define "fakeai.rendezvous" -}}
{{- printf "%s:%v" (default (printf "%s-rendezvous" (include "fakeai.fullname" .)) .Values.bench.rendezvous.host) .Values.bench.rendezvous.port -}}
{{- end -}}
