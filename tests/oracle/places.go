package main

import (
	"fmt"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// place is where something in a message says that it is: found by looking at every field, without the proxy's catalogue.
type place struct {
	// The path of the message that says it.
	at                    string
	project, domain, name string
	// Whether it is one of those whose names no right is about: whoever may act in the place may refer to it.
	nameless bool
	// Whether the name is that of an execution.
	execution bool
	// Whether it is the name that the call chooses for a new execution: of one that has it already, or of none.
	chosen bool
	// What kind of thing is there: `task`, `workflow`, `launch_plan`, or empty if the message does not say.
	kind string
}

func (p place) String() string {
	return fmt.Sprintf("%s: project %q, domain %q, name %q, kind %q", p.at, p.project, p.domain, p.name, p.kind)
}

// exception is a place that names something but is no question of rights.
type exception struct {
	rpc, at *regexp.Regexp
	// The place below `at` that is judged all the same.
	but string
}

// unjudged are all exceptions: every other place in a request is judged.
var unjudged = []exception{
	// FlyteAdmin overwrites it with `id`.
	{regexp.MustCompile(`/Create(Task|Workflow)$`), regexp.MustCompile(`^spec\.template\.id$`), ""},
	// Stored under `id`.
	{regexp.MustCompile(`/Create(Task|Workflow)$`), regexp.MustCompile(`^spec\.description\.id$`), ""},
	// Labels inside this request.
	{regexp.MustCompile(`/CreateWorkflow$`), regexp.MustCompile(`^spec\.sub_workflows\[\]\.id$|\.sub_workflow_ref$`), ""},
	// Declares inputs and outputs; nothing is read.
	{regexp.MustCompile(`/Create(Task|Workflow)$`), regexp.MustCompile(`\.interface\.`), ""},
	{regexp.MustCompile(`/CreateLaunchPlan$`), regexp.MustCompile(`^spec\.default_inputs\.parameters\{\}\.var\.`), ""},
	// FlyteAdmin overwrites these, or does not read them.
	{regexp.MustCompile(`/CreateExecution$`), regexp.MustCompile(`^spec\.metadata\.artifact_ids\[\]`), ""},
	{regexp.MustCompile(`/RecoverExecution$`), regexp.MustCompile(`^metadata\.(reference_execution$|artifact_ids\[\])`), ""},
	// The row belongs to the execution, whose task may be another project's.
	{regexp.MustCompile(`/(GetTaskExecution|GetTaskExecutionData)$`), regexp.MustCompile(`^id\.task_id$`), ""},
	{regexp.MustCompile(`/ListNodeExecutionsForTask$`), regexp.MustCompile(`^task_execution_id\.task_id$`), ""},
	// What the engine ran, stored with the execution.
	{regexp.MustCompile(`/CreateNodeEvent$`), regexp.MustCompile(`^event\.`), "event.id.execution_id"},
	{regexp.MustCompile(`/CreateTaskEvent$`), regexp.MustCompile(`^event\.`), "event.parent_node_execution_id.execution_id"},
}

// starts are the calls that choose the name of a new execution, in their own place or in that of the one they start again.
var starts = regexp.MustCompile(`/(Create|Relaunch|Recover)Execution$`)

// chosenPlace gives the place that the name of a new execution is chosen for, if a request chooses one.
func chosenPlace(rpc string, request proto.Message, judged []place) (place, bool) {
	field := request.ProtoReflect().Descriptor().Fields().ByName("name")
	if !starts.MatchString(rpc) || field == nil {
		return place{}, false
	}
	name := request.ProtoReflect().Get(field).String()
	for _, known := range judged {
		if name != "" && (known.at == "" || known.at == "id") {
			return place{at: "name", project: known.project, domain: known.domain, name: name, execution: true, chosen: true}, true
		}
	}
	return place{}, false
}

// judgedPlaces gives every place in the request of an RPC of which somebody's rights are a question.
func judgedPlaces(rpc string, request proto.Message) []place {
	var found []place
	collect(request.ProtoReflect(), "", "", &found)
	var judged []place
	for _, place := range found {
		if !kinds.MatchString(rpc) || strings.HasSuffix(rpc, "/CreateExecution") && place.at != "spec.launch_plan" {
			place.kind = ""
		}
		if !isUnjudged(rpc, place) {
			judged = append(judged, place)
		}
	}
	return judged
}

func isUnjudged(rpc string, place place) bool {
	for _, exception := range unjudged {
		if exception.rpc.MatchString(rpc) && exception.at.MatchString(place.at) && exception.but != place.at {
			return true
		}
	}
	return false
}

// kinds are the calls that are about the kind of thing that the request names. In all others FlyteAdmin knows it from the
// call, and refuses or ignores another one.
var kinds = regexp.MustCompile(`/(CreateExecution|(Get|List|Update)(NamedEntit|DescriptionEntit)(y|ies))$`)

// collect finds the places in a message. `kind` is what the message around it says of kinds.
func collect(message protoreflect.Message, at, kind string, found *[]place) {
	kind = kindOf(message, kind)
	if place, says := placeOf(message, at, kind); says {
		*found = append(*found, place)
	}
	message.Range(func(field protoreflect.FieldDescriptor, value protoreflect.Value) bool {
		if field.Kind() != protoreflect.MessageKind {
			return true
		}
		inner := string(field.Name())
		if at != "" {
			inner = at + "." + inner
		}
		switch {
		case field.IsMap():
			if field.MapValue().Kind() == protoreflect.MessageKind {
				value.Map().Range(func(_ protoreflect.MapKey, value protoreflect.Value) bool {
					collect(value.Message(), inner+"{}", "", found)
					return true
				})
			}
		case field.IsList():
			for index := range value.List().Len() {
				collect(value.List().Get(index).Message(), inner+"[]", "", found)
			}
		default:
			collect(value.Message(), inner, kind, found)
		}
		return true
	})
}

// kindOf gives the kind that a message names, or else the one named around it.
func kindOf(message protoreflect.Message, around string) string {
	field := message.Descriptor().Fields().ByName("resource_type")
	if field == nil || field.Enum() == nil || field.Enum().FullName() != "flyteidl.core.ResourceType" {
		return around
	}
	switch message.Get(field).Enum() {
	case 1:
		return "task"
	case 2:
		return "workflow"
	case 3:
		return "launch_plan"
	default:
		return around
	}
}

func placeOf(message protoreflect.Message, at, kind string) (place, bool) {
	text := func(name protoreflect.Name) string {
		field := message.Descriptor().Fields().ByName(name)
		if field == nil || field.Kind() != protoreflect.StringKind || field.IsList() {
			return ""
		}
		return message.Get(field).String()
	}
	here := place{at: at, kind: kind}
	switch message.Descriptor().FullName() {
	case "flyteidl.admin.Project", "flyteidl.admin.ProjectGetRequest":
		here.project = text("id")
	case "flyteidl.admin.WorkflowAttributes", "flyteidl.admin.WorkflowAttributesGetRequest", "flyteidl.admin.WorkflowAttributesDeleteRequest":
		here.project, here.domain, here.name = text("project"), text("domain"), text("workflow")
	case "flyteidl.service.GetDataRequest":
		here.project, here.domain, here.name = readFlyteURL(text("flyte_url"))
		here.execution = true
	case "flyteidl.core.Identifier", "flyteidl.admin.NamedEntityIdentifier", "flyteidl.core.WorkflowExecutionIdentifier":
		here.project, here.domain, here.name = text("project"), text("domain"), text("name")
		here.execution = message.Descriptor().Name() == "WorkflowExecutionIdentifier"
	case "flyteidl.core.ArtifactKey":
		here.project, here.domain, here.nameless = text("project"), text("domain"), true
	default:
		// The `name` of these is one to be given, or no name at all.
		here.project, here.domain = text("project"), text("domain")
	}
	return here, here.project != "" || here.domain != ""
}

// flyteURLs are the expressions with which FlyteAdmin looks for a `flyte://` URL, in its order. None begins at the beginning.
var flyteURLs = func() []*regexp.Regexp {
	name := `([a-zA-Z0-9_-]+)`
	whose := strings.Join([]string{name, name, name, name}, "/")
	var all []*regexp.Regexp
	for _, organization := range []string{`org/[a-zA-Z0-9_-]+/`, ``} {
		for _, what := range []string{`[iod]$`, `[io]/[a-zA-Z0-9_-]+$`} {
			all = append(all, regexp.MustCompile(`flyte://v1/`+organization+whose+`(?:/[0-9]+)?/`+what))
		}
	}
	return all
}()

func readFlyteURL(url string) (project, domain, execution string) {
	for _, known := range flyteURLs {
		if found := known.FindStringSubmatch(url); found != nil {
			return found[1], found[2], found[3]
		}
	}
	return "", "", ""
}
