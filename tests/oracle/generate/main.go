// Generates Go code from the published descriptors of Flyte's API, with the plugins that Flyte generates it with. A plugin
// reads a request from standard input and answers with files, so that no protoc is needed.
//
// Usage: generate DESCRIPTORS TOOLS OUTPUT
package main

import (
	"bytes"
	"fmt"
	"log"
	"os"
	"os/exec"
	"path/filepath"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protodesc"
	"google.golang.org/protobuf/reflect/protoreflect"
	"google.golang.org/protobuf/types/descriptorpb"
	"google.golang.org/protobuf/types/pluginpb"
)

// plugin is one generator, with the options of Flyte's buf.gen.yaml.
type plugin struct {
	name, options, directory string
	// The services whose code is wanted; empty for all files.
	only []string
}

// served are the files with the services that FlyteAdmin's gateway serves.
var served = []string{"admin", "auth", "dataproxy", "identity", "signal"}

var plugins = []plugin{
	{name: "protoc-gen-go", options: "paths=source_relative", directory: "gen/pb-go"},
	{name: "protoc-gen-go-grpc", options: "paths=source_relative,require_unimplemented_servers=false", directory: "gen/pb-go", only: served},
	{
		name:      "protoc-gen-grpc-gateway",
		options:   "paths=import,module=github.com/flyteorg/flyte/flyteidl/gen/pb-go,standalone=true,allow_delete_body=true",
		directory: "gen/pb-go/gateway",
		only:      served,
	},
}

func main() {
	log.SetFlags(0)
	if len(os.Args) != 4 {
		log.Fatal("usage: generate DESCRIPTORS TOOLS OUTPUT")
	}
	files, err := read(os.Args[1])
	if err != nil {
		log.Fatalf("generate: %s: %v", os.Args[1], err)
	}
	for _, plugin := range plugins {
		if err := plugin.run(files, os.Args[2], os.Args[3]); err != nil {
			log.Fatalf("generate: %s: %v", plugin.name, err)
		}
	}
}

// read gives the files as protoc hands them to plugins: every field with its JSON name, which the published ones lack and
// from which the gateway's generator makes the filters of queries.
func read(path string) ([]*descriptorpb.FileDescriptorProto, error) {
	encoded, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	set := &descriptorpb.FileDescriptorSet{}
	if err := proto.Unmarshal(encoded, set); err != nil {
		return nil, err
	}
	registry, err := protodesc.NewFiles(set)
	if err != nil {
		return nil, err
	}
	for _, file := range set.File {
		for _, message := range file.MessageType {
			name := protoreflect.FullName(file.GetPackage()).Append(protoreflect.Name(message.GetName()))
			found, err := registry.FindDescriptorByName(name)
			if err != nil {
				return nil, err
			}
			withJSONNames(message, found.(protoreflect.MessageDescriptor))
		}
	}
	return set.File, nil
}

func withJSONNames(message *descriptorpb.DescriptorProto, found protoreflect.MessageDescriptor) {
	for index, field := range message.Field {
		field.JsonName = proto.String(found.Fields().Get(index).JSONName())
	}
	for index, nested := range message.NestedType {
		withJSONNames(nested, found.Messages().Get(index))
	}
}

func (p plugin) run(files []*descriptorpb.FileDescriptorProto, tools, output string) error {
	request := &pluginpb.CodeGeneratorRequest{
		Parameter:       proto.String(p.options),
		ProtoFile:       files,
		CompilerVersion: &pluginpb.Version{Major: proto.Int32(4), Minor: proto.Int32(22), Patch: proto.Int32(2)},
	}
	for _, file := range files {
		if p.wants(file.GetName()) {
			request.FileToGenerate = append(request.FileToGenerate, file.GetName())
		}
	}
	input, err := proto.Marshal(request)
	if err != nil {
		return err
	}
	command := exec.Command(filepath.Join(tools, p.name))
	command.Stdin, command.Stderr = bytes.NewReader(input), os.Stderr
	answer, err := command.Output()
	if err != nil {
		return err
	}
	response := &pluginpb.CodeGeneratorResponse{}
	if err := proto.Unmarshal(answer, response); err != nil {
		return err
	}
	if response.Error != nil {
		return fmt.Errorf("%s", response.GetError())
	}
	for _, file := range response.File {
		path := filepath.Join(output, p.directory, file.GetName())
		if err := os.MkdirAll(filepath.Dir(path), 0o755); err != nil {
			return err
		}
		if err := os.WriteFile(path, []byte(file.GetContent()), 0o644); err != nil {
			return err
		}
	}
	return nil
}

func (p plugin) wants(name string) bool {
	if len(p.only) == 0 {
		return strings.HasPrefix(name, "flyteidl/")
	}
	for _, service := range p.only {
		if name == "flyteidl/service/"+service+".proto" {
			return true
		}
	}
	return false
}
