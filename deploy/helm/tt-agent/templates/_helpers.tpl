{{/* SPDX-License-Identifier: Apache-2.0 */}}
{{- define "tt-agent.name" -}}
{{- $name := ternary .Release.Name (printf "%s-tt-agent" .Release.Name) (contains "tt-agent" .Release.Name) -}}
{{- $name | trunc 52 | trimSuffix "-" }}
{{- end }}

{{- define "tt-agent.selector" -}}
app.kubernetes.io/name: tt-agent
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end }}

{{- define "tt-agent.labels" -}}
{{ include "tt-agent.selector" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version }}
{{- end }}

{{- define "tt-agent.secret" -}}
{{ .Values.secrets.existing | default (include "tt-agent.name" .) }}
{{- end }}

{{/* What both containers have. */}}
{{- define "tt-agent.container" -}}
image: "{{ .Values.image.repository }}:{{ .Values.image.tag | default .Chart.AppVersion }}"
imagePullPolicy: {{ .Values.image.pullPolicy }}
securityContext:
  allowPrivilegeEscalation: false
  readOnlyRootFilesystem: true
  capabilities:
    drop: [ALL]
lifecycle:
  preStop:
    exec:
      command: [sleep, {{ .Values.stopDelaySeconds | quote }}]
{{- end }}

{{- define "tt-agent.environment" -}}
- name: TT_AGENT_SOCKET
  value: /run/tt-agent-fcgi/fcgi.sock
- name: TT_AGENT_WORKERS
  value: {{ .Values.workers | quote }}
- name: TT_AGENT_DRAIN
  value: {{ .Values.drainSeconds | quote }}
{{- end }}
