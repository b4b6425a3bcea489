package main

import (
	"fmt"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

// bodies are what Flyte's console, SDKs and users' scripts send, by call. Words in capitals stand for the scene.
var bodies = map[string][]string{
	"CreateTask":       {`{"id":{"resource_type":"TASK","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.say_hello","version":"v1"},"spec":{"template":{"id":{"resource_type":"TASK","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.say_hello","version":"v1"},"type":"python-task","metadata":{"runtime":{"type":"FLYTE_SDK","version":"1.16.0","flavor":"python"},"retries":{},"discovery_version":"1"},"interface":{"inputs":{},"outputs":{"variables":{"o0":{"type":{"simple":"STRING"},"description":"o0"}}}},"container":{"image":"registry.test/x:v1","args":["pyflyte-execute"],"env":[{"key":"A","value":"b"}],"resources":{"requests":[{"name":"CPU","value":"1"}]}}},"description":{"long_description":{"format":"DESCRIPTION_FORMAT_RST"}}}}`},
	"CreateWorkflow":   {`{"id":{"resource_type":"WORKFLOW","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.wf","version":"v1"},"spec":{"template":{"id":{"resource_type":"WORKFLOW","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.wf","version":"v1"},"interface":{"inputs":{},"outputs":{}},"nodes":[{"id":"start-node"},{"id":"n0","metadata":{"name":"say_hello","retries":{}},"task_node":{"reference_id":{"resource_type":"TASK","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.say_hello","version":"v1"},"overrides":{"resources":{}}}}],"metadata_defaults":{}}}}`},
	"CreateLaunchPlan": {`{"id":{"resource_type":"LAUNCH_PLAN","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.wf","version":"v1"},"spec":{"workflow_id":{"resource_type":"WORKFLOW","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.wf","version":"v1"},"entity_metadata":{"schedule":{"cron_schedule":{"schedule":"0 * * * *"}}},"default_inputs":{"parameters":{"name":{"var":{"type":{"simple":"STRING"},"description":"name"},"default":{"scalar":{"primitive":{"string_value":"x"}}}}}},"fixed_inputs":{},"labels":{},"annotations":{},"raw_output_data_config":{}}}`},
	"UpdateLaunchPlan": {
		`{"state":"ACTIVE"}`,
		`{"id":{"resource_type":"LAUNCH_PLAN","project":"PROJECT","domain":"DOMAIN","name":"NAME","version":"VERSION"},"state":"INACTIVE"}`,
	},
	"CreateExecution": {
		`{"project":"PROJECT","domain":"DOMAIN","name":"f0a1b2c3","spec":{"launch_plan":{"resource_type":"LAUNCH_PLAN","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.wf","version":"v1"},"metadata":{"mode":"MANUAL","principal":"sdk","nesting":0,"referenceExecution":null},"labels":{},"annotations":{},"max_parallelism":25,"raw_output_data_config":{}},"inputs":{"literals":{"name":{"scalar":{"primitive":{"string_value":"x"}}}}}}`,
		`{"project":"PROJECT","domain":"DOMAIN","spec":{"launchPlan":{"resourceType":3,"project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.wf","version":"v1"},"metadata":{"mode":"MANUAL","principal":"flyteconsole","referenceExecution":{"project":"PROJECT","domain":"DOMAIN","name":"f0"}},"interruptible":true,"overwriteCache":true,"envs":{"values":[{"key":"A","value":"b"}]},"tags":["x"]}}`,
		`{"project":"PROJECT","domain":"DOMAIN","spec":{"launch_plan":{"resource_type":"TASK","project":"PROJECT","domain":"DOMAIN","name":"flyte.workflows.say_hello","version":"v1"},"metadata":{"mode":"MANUAL"},"disable_all":true}}`,
	},
	"TerminateExecution": {`{"cause":"not needed"}`, `{"id":{"project":"PROJECT","domain":"DOMAIN","name":"NAME"},"cause":"x"}`, ``},
	"UpdateExecution":    {`{"state":"EXECUTION_ARCHIVED"}`, `{"id":{"project":"PROJECT","domain":"DOMAIN","name":"NAME"},"state":"EXECUTION_ACTIVE"}`},
	"RelaunchExecution":  {`{"id":{"project":"PROJECT","domain":"DOMAIN","name":"f0"},"name":"f1","overwrite_cache":true}`},
	"RecoverExecution":   {`{"id":{"project":"PROJECT","domain":"DOMAIN","name":"f0"},"name":"f1","metadata":{"mode":"RECOVERED","reference_execution":{"project":"PROJECT","domain":"DOMAIN","name":"f0"}}}`},
	"UpdateNamedEntity":  {`{"metadata":{"state":"NAMED_ENTITY_ARCHIVED","description":"x"}}`},
	"SetSignal":          {`{"id":{"signal_id":"s","execution_id":{"project":"PROJECT","domain":"DOMAIN","name":"f0"}},"value":{"scalar":{"primitive":{"boolean":true}}}}`},
	"CreateUploadLocation": {
		`{"project":"PROJECT","domain":"DOMAIN","filename":"script_mode.tar.gz","expires_in":"3600s","content_md5":"AAECAwQFBgcICQoLDA0ODw==","add_content_md5_metadata":true}`,
		`{"project":"PROJECT","domain":"DOMAIN","filename_root":"abc/def","filename":"a b.txt"}`,
	},
	"CreateDownloadLink":            {`{"artifact_type":"ARTIFACT_TYPE_DECK","node_execution_id":{"node_id":"n0","execution_id":{"project":"PROJECT","domain":"DOMAIN","name":"f0"}}}`},
	"UpdateProjectDomainAttributes": {`{"attributes":{"project":"PROJECT","domain":"DOMAIN","matching_attributes":{"task_resource_attributes":{"defaults":{"cpu":"1","memory":"1Gi"}}}}}`},
	"UpdateProject":                 {`{"name":"A project","description":"x","labels":{"values":{"team":"a"}}}`},
	"RegisterProject":               {`{"project":{"id":"PROJECT","name":"A project","domains":[{"id":"development","name":"Development"}]}}`},
	"CreateWorkflowEvent":           {`{"request_id":"r","event":{"execution_id":{"project":"PROJECT","domain":"DOMAIN","name":"f0"},"producer_id":"propeller","phase":"RUNNING","occurred_at":"2026-01-01T00:00:00Z"}}`},
	"CreateNodeEvent":               {`{"event":{"id":{"node_id":"n0","execution_id":{"project":"PROJECT","domain":"DOMAIN","name":"f0"}},"phase":"SUCCEEDED","occurred_at":"2026-01-01T00:00:00Z","output_uri":"s3://bucket/x","spec_node_id":"n0","node_name":"say_hello"}}`},
	"CreateTaskEvent":               {`{"event":{"task_id":{"resource_type":"TASK","project":"PROJECT","domain":"DOMAIN","name":"t","version":"v1"},"parent_node_execution_id":{"node_id":"n0","execution_id":{"project":"PROJECT","domain":"DOMAIN","name":"f0"}},"phase":"RUNNING","occurred_at":"2026-01-01T00:00:00Z"}}`},
}

// asClient gives a request as a real client sends it, and whether there is one of this call.
func (g *generator) asClient(binding binding) (generated, bool) {
	made := generated{Plain: true, request: request{Method: binding.method, Target: g.path(binding, true)}}
	made.Headers = [][2]string{
		{"Authorization", "Bearer {{root}}"}, {"Accept", g.pick("application/json", "application/octet-stream", "*/*", "application/json, text/plain, */*")},
		{"User-Agent", "Mozilla/5.0"}, {"Accept-Encoding", "gzip, deflate, br"}, {"X-Requested-With", "x"},
	}
	if !binding.body {
		made.Target += g.clientQuery(binding)
		if g.chance(20) {
			// Axios and flytekit's helpers name a type also where there is no body.
			made.Headers = append(made.Headers, [2]string{"Content-Type", "application/json"})
		}
		return made, true
	}
	known := bodies[binding.rpc[strings.LastIndex(binding.rpc, "/")+1:]]
	if len(known) == 0 {
		return made, false
	}
	filled := strings.NewReplacer("PROJECT", g.project, "DOMAIN", g.domain)
	body := filled.Replace(one(g, known))
	if strings.Contains(body, `"NAME"`) {
		// What the path says, in the body again.
		path, err := url.PathUnescape(made.Target)
		if err != nil {
			panic(err)
		}
		segments := strings.Split(path, "/")
		version := segments[len(segments)-1]
		name := version
		if strings.Contains(body, `"VERSION"`) {
			name = segments[len(segments)-2]
		}
		body = strings.NewReplacer(`"NAME"`, fmt.Sprintf("%q", name), `"VERSION"`, fmt.Sprintf("%q", version)).Replace(body)
	}
	contentType := "application/json"
	made.Body = []byte(body)
	if g.chance(50) && body != "" {
		contentType = "application/octet-stream"
		made.Body = g.encoded(binding, body)
	}
	made.Headers = append(made.Headers, [2]string{"Content-Type", contentType})
	return made, true
}

// encoded gives the wire form of a message in JSON.
func (g *generator) encoded(binding binding, body string) []byte {
	made, err := message(binding.input)
	if err == nil {
		err = protojson.Unmarshal([]byte(body), made)
	}
	if err != nil {
		panic(fmt.Sprintf("%s: %v", binding.rpc, err))
	}
	wire, err := proto.MarshalOptions{Deterministic: true}.Marshal(made)
	if err != nil {
		panic(err)
	}
	return wire
}
