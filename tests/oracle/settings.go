package main

import (
	"regexp"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// settingFields are the fields by which a request chooses how executions run, by the message that has them.
var settingFields = map[protoreflect.FullName]map[protoreflect.Name]string{
	"flyteidl.core.Identity": {
		"iam_role": "iam_role", "k8s_service_account": "service_account", "execution_identity": "identity",
	},
	"flyteidl.admin.AuthRole":              {"assumable_iam_role": "iam_role", "kubernetes_service_account": "service_account"},
	"flyteidl.admin.Auth":                  {"assumable_iam_role": "iam_role", "kubernetes_service_account": "service_account"},
	"flyteidl.admin.LaunchPlanSpec":        {"role": "iam_role"},
	"flyteidl.admin.RawOutputDataConfig":   {"output_location_prefix": "raw_output_prefix"},
	"flyteidl.admin.ClusterAssignment":     {"cluster_pool_name": "cluster_pool"},
	"flyteidl.admin.ExecutionClusterLabel": {"value": "cluster_label"},
}

// settingCalls are the calls of which those fields are judged.
var settingCalls = regexp.MustCompile(`/(CreateTask|CreateLaunchPlan|CreateExecution|Update(Project|ProjectDomain|Workflow)Attributes)$`)

// setting is one choice.
type setting struct {
	Setting string `json:"setting"`
	Value   string `json:"value"`
}

// settingsOf gives every choice that a request makes in a field of its own.
func settingsOf(rpc string, request proto.Message) []setting {
	var found []setting
	if settingCalls.MatchString(rpc) {
		chosen(request.ProtoReflect(), &found)
	}
	return found
}

func chosen(message protoreflect.Message, found *[]setting) {
	names := settingFields[message.Descriptor().FullName()]
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if name, sets := names[field.Name()]; sets && value.String() != "" {
			*found = append(*found, setting{name, value.String()})
		}
		switch {
		case field.Kind() != protoreflect.MessageKind || field.IsMap():
		case field.IsList():
			for index := range value.List().Len() {
				chosen(value.List().Get(index).Message(), found)
			}
		default:
			chosen(value.Message(), found)
		}
		return true
	})
}
