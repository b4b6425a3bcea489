{{/* Names, labels, the configuration and the container, each said once. */}}

{{- define "authz.name" -}}
{{- default .Chart.Name .Values.nameOverride | trunc 63 | trimSuffix "-" -}}
{{- end -}}

{{- define "authz.fullname" -}}
{{- if .Values.fullnameOverride -}}
{{- .Values.fullnameOverride | trunc 52 | trimSuffix "-" -}}
{{- else if contains (include "authz.name" .) .Release.Name -}}
{{- .Release.Name | trunc 52 | trimSuffix "-" -}}
{{- else -}}
{{- printf "%s-%s" .Release.Name (include "authz.name" .) | trunc 52 | trimSuffix "-" -}}
{{- end -}}
{{- end -}}

{{- define "authz.selectorLabels" -}}
app.kubernetes.io/name: {{ include "authz.name" . }}
app.kubernetes.io/instance: {{ .Release.Name }}
{{- end -}}

{{- define "authz.labels" -}}
{{ include "authz.selectorLabels" . }}
app.kubernetes.io/version: {{ .Chart.AppVersion | quote }}
app.kubernetes.io/managed-by: {{ .Release.Service }}
helm.sh/chart: {{ printf "%s-%s" .Chart.Name .Chart.Version | replace "+" "_" }}
{{- with .Values.commonLabels }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The labels of the pods that the proxy runs in. */}}
{{- define "authz.podLabels" -}}
{{- if eq .Values.mode "sidecar" -}}
{{ toYaml .Values.flyteadmin.podLabels }}
{{- else -}}
{{ include "authz.selectorLabels" . }}
{{- end -}}
{{- end -}}

{{- define "authz.flyteadminNamespace" -}}
{{- default .Release.Namespace .Values.flyteadmin.namespace -}}
{{- end -}}

{{- define "authz.tlsSecret" -}}
{{- if .Values.tls.certManager.enabled -}}
{{ include "authz.fullname" . }}-tls
{{- else -}}
{{ .Values.tls.existingSecret }}
{{- end -}}
{{- end -}}

{{- define "authz.serviceAccount" -}}
{{- if .Values.serviceAccount.create -}}
{{ default (include "authz.fullname" .) .Values.serviceAccount.name }}
{{- else -}}
{{ default "default" .Values.serviceAccount.name }}
{{- end -}}
{{- end -}}

{{- define "authz.image" -}}
{{- if .Values.image.digest -}}
{{ printf "%s@%s" .Values.image.repository .Values.image.digest }}
{{- else -}}
{{ printf "%s:%s" .Values.image.repository (default .Chart.AppVersion .Values.image.tag) }}
{{- end -}}
{{- end -}}

{{/* The whole configuration: what the chart decides, under what `config` says. */}}
{{- define "authz.config" -}}
{{- $public := dict "name" "public" "address" (printf "0.0.0.0:%d" (int .Values.listener.port)) -}}
{{- if .Values.tls.enabled -}}
{{- $_ := set $public "tls" (dict "certificate" "/etc/flyte-authz-tls/tls.crt" "key" "/etc/flyte-authz-tls/tls.key") -}}
{{- end -}}
{{- $upstream := dict "grpc" .Values.flyteadmin.grpc "http" .Values.flyteadmin.http -}}
{{- if eq .Values.mode "sidecar" -}}
{{- $grpc := printf "http://127.0.0.1:%d" (int .Values.flyteadmin.ports.grpc) -}}
{{- $http := printf "http://127.0.0.1:%d" (int .Values.flyteadmin.ports.http) -}}
{{- $upstream = dict "grpc" $grpc "http" $http -}}
{{- end -}}
{{- $config := dict "version" 1 "upstream" $upstream -}}
{{- $_ := set $config "listeners" (prepend .Values.extraListeners $public) -}}
{{- $_ := set $config "admin" (dict "address" (printf "0.0.0.0:%d" (int .Values.admin.port))) -}}
{{- $_ := set $config "policy" (dict "path" "/etc/flyte-authz-policy") -}}
{{- $_ := set $config "shutdown" (dict "drain" (printf "%ds" (int .Values.drainSeconds))) -}}
{{- if .Values.session.existingSecret -}}
{{- $hash := dict "file" "/etc/flyte-authz-session/cookie_hash_key" -}}
{{- $block := dict "file" "/etc/flyte-authz-session/cookie_block_key" -}}
{{- $_ := set $config "credentials" (dict "session" (dict "hash_key" $hash "block_key" $block)) -}}
{{- end -}}
{{- toYaml (mustMergeOverwrite $config (deepCopy .Values.config)) -}}
{{- end -}}

{{/* The ports that others than the pod itself can reach, public first, as JSON: `{"ports": [8443]}`. */}}
{{- define "authz.openPorts" -}}
{{- $ports := list (int .Values.listener.port) -}}
{{- range .Values.extraListeners -}}
{{- if not (or (hasPrefix "127." .address) (hasPrefix "[::1]" .address)) -}}
{{- $ports = append $ports (int (regexFind "[0-9]+$" .address)) -}}
{{- end -}}
{{- end -}}
{{- toJson (dict "ports" $ports) -}}
{{- end -}}

{{- define "authz.sleeps" -}}
{{- if and (gt (int .Values.preStopSeconds) 0) (semverCompare ">=1.30.0-0" .Capabilities.KubeVersion.Version) -}}
true
{{- end -}}
{{- end -}}

{{/* Longer than the hook and the draining together. */}}
{{- define "authz.graceSeconds" -}}
{{- add (int .Values.preStopSeconds) (int .Values.drainSeconds) 10 -}}
{{- end -}}

{{- define "authz.container" -}}
name: authz-proxy
image: {{ include "authz.image" . | quote }}
imagePullPolicy: {{ .Values.image.pullPolicy }}
args: [serve, --config, /etc/flyte-authz/config.yaml]
ports:
  {{- range $index, $port := (include "authz.openPorts" . | fromJson).ports }}
  - {name: {{ if $index }}authz-{{ int $port }}{{ else }}authz{{ end }}, containerPort: {{ int $port }}}
  {{- end }}
  - {name: authz-admin, containerPort: {{ int .Values.admin.port }}}
{{- with .Values.extraEnv }}
env:
  {{- toYaml . | nindent 2 }}
{{- end }}
startupProbe:
  httpGet: {path: /readyz, port: authz-admin}
  periodSeconds: 1
  failureThreshold: 60
readinessProbe:
  httpGet: {path: /readyz, port: authz-admin}
  periodSeconds: 5
livenessProbe:
  httpGet: {path: /healthz, port: authz-admin}
  periodSeconds: 10
{{- if include "authz.sleeps" . }}
# Connections still come until every node has learnt that this pod goes.
lifecycle:
  preStop:
    sleep: {seconds: {{ int .Values.preStopSeconds }}}
{{- end }}
resources:
  {{- toYaml .Values.resources | nindent 2 }}
securityContext:
  runAsNonRoot: true
  runAsUser: 65532
  runAsGroup: 65532
  readOnlyRootFilesystem: true
  allowPrivilegeEscalation: false
  capabilities: {drop: [ALL]}
  seccompProfile: {type: RuntimeDefault}
# Directories, never subPath: a subPath mount does not see updates.
volumeMounts:
  - {name: flyte-authz-config, mountPath: /etc/flyte-authz, readOnly: true}
  - {name: flyte-authz-policy, mountPath: /etc/flyte-authz-policy, readOnly: true}
  {{- if .Values.tls.enabled }}
  - {name: flyte-authz-tls, mountPath: /etc/flyte-authz-tls, readOnly: true}
  {{- end }}
  {{- if .Values.session.existingSecret }}
  - {name: flyte-authz-session, mountPath: /etc/flyte-authz-session, readOnly: true}
  {{- end }}
  {{- with .Values.extraVolumeMounts }}
  {{- toYaml . | nindent 2 }}
  {{- end }}
{{- end -}}

{{- define "authz.volumes" -}}
- name: flyte-authz-config
  configMap: {name: {{ include "authz.fullname" . }}-config}
- name: flyte-authz-policy
  projected:
    sources:
      {{- if .Values.policy.inline }}
      - configMap: {name: {{ include "authz.fullname" . }}-policy}
      {{- end }}
      {{- range .Values.policy.existingConfigMaps }}
      - configMap: {name: {{ . }}}
      {{- end }}
{{- if .Values.tls.enabled }}
- name: flyte-authz-tls
  secret: {secretName: {{ include "authz.tlsSecret" . }}}
{{- end }}
{{- with .Values.session.existingSecret }}
- name: flyte-authz-session
  secret:
    secretName: {{ . }}
    items:
      - {key: cookie_hash_key, path: cookie_hash_key}
      - {key: cookie_block_key, path: cookie_block_key}
{{- end }}
{{- with .Values.extraVolumes }}
{{ toYaml . }}
{{- end }}
{{- end -}}

{{/* The gRPC services of FlyteAdmin, and health. */}}
{{- define "authz.grpcServices" -}}
- flyteidl.service.AdminService
- flyteidl.service.AuthMetadataService
- flyteidl.service.DataProxyService
- flyteidl.service.IdentityService
- flyteidl.service.SignalService
- grpc.health.v1.Health
{{- end -}}

{{/* The ports that may be scraped go to a rule only if somebody may: a rule without peers is open to all. */}}
{{- define "authz.scraped" -}}
{{- with .peers -}}
- from: {{- toYaml . | nindent 4 }}
  ports:
    {{- range $.ports }}
    - {protocol: TCP, port: {{ int . }}}
    {{- end }}
{{- end }}
{{- end -}}
