package main

import (
	"regexp"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// attributeCalls need another action for attributes that say where executions run than for those that say how.
var attributeCalls = regexp.MustCompile(`/(Update|Delete)(Project|ProjectDomain|Workflow)Attributes$`)

// onClusters are the attributes that say where, by their field in an update and by their kind in a deletion.
var (
	onClusters = map[protoreflect.Name]bool{
		"cluster_resource_attributes": true, "execution_queue_attributes": true, "execution_cluster_label": true, "cluster_assignment": true,
	}
	kindsOnClusters = map[protoreflect.Name]bool{
		"CLUSTER_RESOURCE": true, "EXECUTION_QUEUE": true, "EXECUTION_CLUSTER_LABEL": true, "CLUSTER_ASSIGNMENT": true,
	}
)

// actionOf gives the action that a request needs, where what it holds decides that; otherwise nothing.
func actionOf(rpc string, request proto.Message) string {
	if !attributeCalls.MatchString(rpc) {
		return ""
	}
	message := request.ProtoReflect()
	if kind := message.Descriptor().Fields().ByName("resource_type"); kind != nil {
		value := kind.Enum().Values().ByNumber(message.Get(kind).Enum())
		return attributeAction(value != nil && kindsOnClusters[value.Name()])
	}
	attributes := message.Get(message.Descriptor().Fields().ByName("attributes")).Message()
	matching := attributes.Get(attributes.Descriptor().Fields().ByName("matching_attributes")).Message()
	held := matching.WhichOneof(matching.Descriptor().Oneofs().Get(0))
	return attributeAction(held != nil && onClusters[held.Name()])
}

func attributeAction(onClusters bool) string {
	if onClusters {
		return "edit_cluster_attributes"
	}
	return "edit_execution_attributes"
}
