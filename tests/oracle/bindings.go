package main

import (
	"regexp"
	"sort"
	"strings"

	"google.golang.org/genproto/googleapis/api/annotations"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/reflect/protoregistry"
)

// binding is a method and path by which a call can be made, as the published descriptors say it.
type binding struct {
	rpc      string
	method   string
	template string
	body     bool
	input    protoreflect.MessageDescriptor
	// Fields of the request that a query can set, by their paths.
	query []string
}

// variable is a field in a path's template.
var variable = regexp.MustCompile(`\{([^}=]+)[^}]*\}`)

// bindings gives every binding of the services that the gateway serves, in the order of their templates.
func bindings() []binding {
	var all []binding
	protoregistry.GlobalFiles.RangeFilesByPackage("flyteidl.service", func(file protoreflect.FileDescriptor) bool {
		for index := range file.Services().Len() {
			methods := file.Services().Get(index).Methods()
			for index := range methods.Len() {
				all = append(all, bindingsOf(methods.Get(index))...)
			}
		}
		return true
	})
	sort.Slice(all, func(one, other int) bool {
		return all[one].method+all[one].template < all[other].method+all[other].template
	})
	return all
}

func bindingsOf(method protoreflect.MethodDescriptor) []binding {
	switch method.Parent().Name() {
	case "AdminService", "AuthMetadataService", "DataProxyService", "IdentityService", "SignalService":
	default:
		return nil
	}
	rule, ok := proto.GetExtension(method.Options(), annotations.E_Http).(*annotations.HttpRule)
	if !ok || rule == nil {
		return nil
	}
	var all []binding
	for _, rule := range append([]*annotations.HttpRule{rule}, rule.GetAdditionalBindings()...) {
		made := binding{
			rpc:   "/" + string(method.Parent().FullName()) + "/" + string(method.Name()),
			body:  rule.GetBody() != "",
			input: method.Input(),
		}
		switch pattern := rule.GetPattern().(type) {
		case *annotations.HttpRule_Get:
			made.method, made.template = "GET", pattern.Get
		case *annotations.HttpRule_Put:
			made.method, made.template = "PUT", pattern.Put
		case *annotations.HttpRule_Post:
			made.method, made.template = "POST", pattern.Post
		case *annotations.HttpRule_Delete:
			made.method, made.template = "DELETE", pattern.Delete
		default:
			continue
		}
		if !made.body {
			leaves(made.input, "", 0, &made.query)
		}
		all = append(all, made)
	}
	return all
}

// variables gives the fields that the path sets.
func (b binding) variables() []string {
	var names []string
	for _, found := range variable.FindAllStringSubmatch(b.template, -1) {
		names = append(names, found[1])
	}
	return names
}

// free gives the fields that a query can set and the path does not.
func (b binding) free() []string {
	bound := strings.Join(b.variables(), " ") + " "
	var names []string
	for _, name := range b.query {
		if !strings.Contains(bound, name+" ") {
			names = append(names, name)
		}
	}
	return names
}

// leaves collects the paths of single fields.
func leaves(message protoreflect.MessageDescriptor, at string, depth int, found *[]string) {
	for index := range message.Fields().Len() {
		field := message.Fields().Get(index)
		path := at + string(field.Name())
		switch {
		case field.IsList() || field.IsMap() || depth > 4:
		case field.Kind() == protoreflect.MessageKind:
			leaves(field.Message(), path+".", depth+1, found)
		default:
			*found = append(*found, path)
		}
	}
}

// lowerCamel spells a field's path as JSON does.
func lowerCamel(path string) string {
	parts := strings.Split(path, "_")
	for index, part := range parts[1:] {
		if part != "" {
			parts[index+1] = strings.ToUpper(part[:1]) + part[1:]
		}
	}
	return strings.Join(parts, "")
}
