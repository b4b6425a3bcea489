{{/* What the schema cannot say: fails with every problem at once. */}}
{{- define "authz.check" -}}
{{- $v := .Values -}}
{{- $problems := list -}}
{{- if not $v.config.issuers -}}
{{- $problems = append $problems "config.issuers is empty: write whose tokens are accepted, such as [{issuer: https://idp.example.com, audiences: [flyte]}]" -}}
{{- end -}}
{{- range $key, $instead := dict "version" "nothing" "listeners" "listener.port and extraListeners" "admin.address" "admin.port" "upstream.grpc" "flyteadmin.grpc or, as a sidecar, flyteadmin.ports" "upstream.http" "flyteadmin.http or, as a sidecar, flyteadmin.ports" "policy.path" "policy.inline or policy.existingConfigMaps" "shutdown.drain" "drainSeconds" "credentials.session" "session.existingSecret" -}}
{{- $place := $v.config -}}
{{- $found := true -}}
{{- range $part := splitList "." $key -}}
{{- if and $found (kindIs "map" $place) (hasKey $place $part) -}}
{{- $place = get $place $part -}}
{{- else -}}
{{- $found = false -}}
{{- end -}}
{{- end -}}
{{- if $found -}}
{{- $problems = append $problems (printf "config.%s is set by the chart: write %s instead" $key $instead) -}}
{{- end -}}
{{- end -}}
{{- $policies := 0 -}}
{{- range $name, $text := $v.policy.inline -}}
{{- if not (hasSuffix ".test.yaml" $name) -}}{{- $policies = add1 $policies -}}{{- end -}}
{{- if not (hasSuffix ".yaml" $name) -}}
{{- $problems = append $problems (printf "policy.inline.%s: the names of policies end in .yaml; in --set and --set-file write the dot as \\." $name) -}}
{{- end -}}
{{- end -}}
{{- if and (eq (int $policies) 0) (not $v.policy.existingConfigMaps) -}}
{{- $problems = append $problems "there is no policy: write one as policy.inline.\"policy.yaml\" or name ConfigMaps in policy.existingConfigMaps" -}}
{{- end -}}
{{- if $v.tls.enabled -}}
{{- if and $v.tls.certManager.enabled $v.tls.existingSecret -}}
{{- $problems = append $problems "tls.existingSecret and tls.certManager.enabled are both set: keep one" -}}
{{- else if not (or $v.tls.certManager.enabled $v.tls.existingSecret) -}}
{{- $problems = append $problems "tls has no certificate: name a Secret in tls.existingSecret, set tls.certManager.enabled, or set tls.enabled to false for plain text" -}}
{{- end -}}
{{- if and $v.tls.certManager.enabled (not $v.tls.certManager.issuerRef.name) -}}
{{- $problems = append $problems "tls.certManager.issuerRef.name is empty: name an Issuer of cert-manager" -}}
{{- end -}}
{{- else if or $v.tls.certManager.enabled $v.tls.existingSecret -}}
{{- $problems = append $problems "tls.enabled is false, but a certificate is set: remove tls.existingSecret and tls.certManager, or enable tls" -}}
{{- end -}}
{{- $ports := list (int $v.listener.port) (int $v.admin.port) -}}
{{- if eq $v.mode "sidecar" -}}
{{- $ports = concat $ports (list (int $v.flyteadmin.ports.http) (int $v.flyteadmin.ports.grpc) (int $v.flyteadmin.ports.metrics)) -}}
{{- end -}}
{{- range $v.extraListeners -}}
{{- $ports = append $ports (int (regexFind "[0-9]+$" .address)) -}}
{{- end -}}
{{- if ne (len $ports) (len (uniq $ports)) -}}
{{- $problems = append $problems (printf "a port is used twice: %s; look at listener.port, admin.port, extraListeners and flyteadmin.ports" (join ", " $ports)) -}}
{{- end -}}
{{- if eq $v.mode "sidecar" -}}
{{- range $name := list "ingress" "gatewayApi" "autoscaling" -}}
{{- if (get $v $name).enabled -}}
{{- $problems = append $problems (printf "%s.enabled is for mode gateway: a sidecar is reached through FlyteAdmin's own Service and runs in its pods" $name) -}}
{{- end -}}
{{- end -}}
{{- if and $v.flyteadmin.namespace (ne $v.flyteadmin.namespace .Release.Namespace) -}}
{{- $problems = append $problems (printf "flyteadmin.namespace is %s: a sidecar's release has to be in that namespace" $v.flyteadmin.namespace) -}}
{{- end -}}
{{- end -}}
{{- if and $v.ingress.enabled (not $v.ingress.host) -}}
{{- $problems = append $problems "ingress.host is empty: write the name that clients use" -}}
{{- end -}}
{{- if $v.gatewayApi.enabled -}}
{{- if not (and $v.gatewayApi.parentRefs $v.gatewayApi.hostnames) -}}
{{- $problems = append $problems "gatewayApi needs parentRefs, the Gateways to attach to, and hostnames, the names that clients use" -}}
{{- end -}}
{{- range $v.gatewayApi.grpcHostnames -}}
{{- if and (has . $v.gatewayApi.hostnames) (not $v.gatewayApi.grpcParentRefs) -}}
{{- $problems = append $problems (printf "gatewayApi: %s is in hostnames and grpcHostnames, and a listener of a Gateway accepts only one of the two routes: leave out grpcHostnames, since the HTTPRoute carries gRPC, too, or name another listener in grpcParentRefs" .) -}}
{{- end -}}
{{- end -}}
{{- if and $v.gatewayApi.backendTLS.enabled (not (and $v.tls.enabled $v.gatewayApi.backendTLS.hostname $v.gatewayApi.backendTLS.caConfigMap)) -}}
{{- $problems = append $problems "gatewayApi.backendTLS needs tls.enabled, hostname, a name in the proxy's certificate, and caConfigMap, with ca.crt" -}}
{{- end -}}
{{- end -}}
{{- if and $v.autoscaling.enabled (gt (int $v.autoscaling.minReplicas) (int $v.autoscaling.maxReplicas)) -}}
{{- $problems = append $problems "autoscaling.minReplicas is more than maxReplicas" -}}
{{- end -}}
{{- if and $v.metrics.podMonitor.enabled $v.metrics.serviceMonitor.enabled -}}
{{- $problems = append $problems "metrics.podMonitor and metrics.serviceMonitor are both enabled: everything would be scraped twice" -}}
{{- end -}}
{{- if and $v.metrics.prometheusRule.enabled (not (.Files.Get "files/alerts.yaml")) -}}
{{- $problems = append $problems "metrics.prometheusRule is enabled, but this copy of the chart has no files/alerts.yaml" -}}
{{- end -}}
{{- if $problems -}}
{{- fail (printf "\n\n  - %s\n" (join "\n  - " $problems)) -}}
{{- end -}}
{{- end -}}
