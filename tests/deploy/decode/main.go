// Decodes each document of standard input whose kind is none of Kubernetes' own into the type that its operator publishes,
// strictly: unknown and duplicate fields and wrong types are errors. Prints what it has decoded.
package main

import (
	"bytes"
	"fmt"
	"io"
	"os"

	certificates "github.com/cert-manager/cert-manager/pkg/apis/certmanager/v1"
	monitoring "github.com/prometheus-operator/prometheus-operator/pkg/apis/monitoring/v1"
	gateway "sigs.k8s.io/gateway-api/apis/v1"
	"sigs.k8s.io/yaml"
)

var types = map[string]func() any{
	"cert-manager.io/v1/Certificate":                func() any { return &certificates.Certificate{} },
	"gateway.networking.k8s.io/v1/HTTPRoute":        func() any { return &gateway.HTTPRoute{} },
	"gateway.networking.k8s.io/v1/GRPCRoute":        func() any { return &gateway.GRPCRoute{} },
	"gateway.networking.k8s.io/v1/BackendTLSPolicy": func() any { return &gateway.BackendTLSPolicy{} },
	"monitoring.coreos.com/v1/PodMonitor":           func() any { return &monitoring.PodMonitor{} },
	"monitoring.coreos.com/v1/ServiceMonitor":       func() any { return &monitoring.ServiceMonitor{} },
	"monitoring.coreos.com/v1/PrometheusRule":       func() any { return &monitoring.PrometheusRule{} },
}

func main() {
	input, err := io.ReadAll(os.Stdin)
	if err != nil {
		fmt.Fprintln(os.Stderr, err)
		os.Exit(1)
	}
	failed := false
	for _, document := range bytes.Split(input, []byte("\n---\n")) {
		var head struct {
			APIVersion string `json:"apiVersion"`
			Kind       string `json:"kind"`
		}
		if err := yaml.Unmarshal(document, &head); err != nil {
			fmt.Fprintln(os.Stderr, err)
			os.Exit(1)
		}
		kind := head.APIVersion + "/" + head.Kind
		empty, known := types[kind]
		if !known {
			fmt.Fprintf(os.Stderr, "%s: there is no type for this kind\n", kind)
			failed = true
			continue
		}
		if err := yaml.UnmarshalStrict(document, empty()); err != nil {
			fmt.Fprintf(os.Stderr, "%s: %v\n", kind, err)
			failed = true
			continue
		}
		fmt.Println(kind)
	}
	if failed {
		os.Exit(1)
	}
}
