package main

import (
	"slices"
	"strings"
	"testing"

	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
)

const (
	listExecutions  = "/flyteidl.service.AdminService/ListExecutions"
	createExecution = "/flyteidl.service.AdminService/CreateExecution"
)

var tokens = &credentials{
	words:    map[string]string{"{{alice}}": "alice.token", "{{bob}}": "bob.token"},
	subjects: map[string]string{"alice.token": "alice", "bob.token": "bob"},
}

// arrivedAs makes what arrived of alice's call.
func arrivedAs(t *testing.T, rpc, request string) arrival {
	t.Helper()
	method, err := methodOf(rpc)
	if err != nil {
		t.Fatal(err)
	}
	made, err := message(method.Input())
	if err != nil {
		t.Fatal(err)
	}
	if err := protojson.Unmarshal([]byte(request), made); err != nil {
		t.Fatal(err)
	}
	return arrival{path: rpc, request: made, metadata: metadata.Pairs(
		"authorization", "Bearer alice.token", "authorization", "", "from_http", "true", "x-request-id", "r1",
	)}
}

// judgedAs makes the record of alice's call.
func judgedAs(rpc string, targets ...target) *record {
	made := &record{RequestID: "r1", Outcome: "forwarded", RPC: rpc, Targets: targets}
	made.Principal = &struct {
		Kind    string `json:"kind"`
		Subject string `json:"subject"`
	}{Kind: "token", Subject: "alice"}
	return made
}

func TestWhatArrivesAsItWasJudgedAgrees(t *testing.T) {
	for rpc, call := range map[string]struct {
		request string
		targets []target
	}{
		listExecutions: {`{"id":{"project":"ml","domain":"development"}}`, []target{{Project: "ml", Domain: "development"}}},
		createExecution: {
			`{"project":"ml","domain":"staging","spec":{"launch_plan":{"resource_type":"LAUNCH_PLAN","project":"shared-lib","domain":"production","name":"p"}}}`,
			[]target{{Project: "ml", Domain: "staging"}, {Project: "shared-lib", Domain: "production", Resource: "launch_plan", Name: "p", Reference: "spec.launch_plan"}},
		},
		"/flyteidl.service.DataProxyService/GetData": {
			`{"flyte_url":"flyte://v1/ml/development/e/n/i"}`, []target{{Project: "ml", Domain: "development", Execution: "e"}},
		},
		"/flyteidl.service.AdminService/ListDescriptionEntities": {
			`{"resource_type":"TASK","id":{"project":"ml","domain":"development","name":"x"}}`,
			[]target{
				{Project: "ml", Domain: "development", Resource: "task", Name: "x"},
				{Project: "ml", Domain: "development", Resource: "workflow", Name: "x"},
				{Project: "ml", Domain: "development", Resource: "launch_plan", Name: "x"},
			},
		},
		"/flyteidl.service.AdminService/CreateTask": {
			`{"id":{"project":"ml","domain":"development","name":"t"},"spec":{"template":{"id":{"project":"fraud","domain":"production"}}}}`,
			[]target{{Project: "ml", Domain: "development", Resource: "task", Name: "t"}},
		},
	} {
		if wrong := judge(judgedAs(rpc, call.targets...), []arrival{arrivedAs(t, rpc, call.request)}, tokens); len(wrong) > 0 {
			t.Errorf("%s: %q", rpc, wrong)
		}
	}
}

func TestEveryKindOfDisagreementIsFound(t *testing.T) {
	judged := target{Project: "ml", Domain: "development"}
	plain := `{"id":{"project":"ml","domain":"development"}}`
	for name, test := range map[string]struct {
		request string
		rpc     string
		targets []target
		change  func(*record, *arrival)
		want    string
	}{
		"another project":           {request: `{"id":{"project":"fraud","domain":"development"}}`, want: `alice may do nothing at id: project "fraud"`},
		"another project, unjudged": {request: `{"id":{"project":"shared-lib","domain":"production"}}`, want: "not judged: id"},
		"no project":                {request: `{"id":{"domain":"development"}}`, want: "not judged: id"},
		"nothing of it":             {request: `{}`, want: "judged, and not in what arrived"},
		"a reference": {
			rpc: createExecution, request: `{"project":"ml","domain":"development","spec":{"launch_plan":{"project":"ml","domain":"staging"}}}`,
			want: "not judged: spec.launch_plan",
		},
		"another name": {
			rpc: "/flyteidl.service.AdminService/GetExecution", request: `{"id":{"project":"ml","domain":"development","name":"e1"}}`,
			targets: []target{{Project: "ml", Domain: "development", Execution: "e2"}}, want: "not judged: id",
		},
		"another kind": {
			rpc: "/flyteidl.service.AdminService/GetNamedEntity", request: `{"resource_type":"TASK","id":{"project":"ml","domain":"development","name":"x"}}`,
			targets: []target{{Project: "ml", Domain: "development", Resource: "workflow", Name: "x"}}, want: "not judged: id",
		},
		"another kind of description": {
			rpc: "/flyteidl.service.AdminService/GetDescriptionEntity", request: `{"id":{"resource_type":"TASK","project":"ml","domain":"development","name":"x"}}`,
			targets: []target{{Project: "ml", Domain: "development", Resource: "task", Name: "x"}}, want: "not judged: id",
		},
		"a URL in a URL": {
			rpc: "/flyteidl.service.DataProxyService/GetData", request: `{"flyte_url":"flyte://v1/ml/development/e/n/x/flyte://v1/fraud/development/e/n/i"}`,
			want: "alice may do nothing at",
		},
		"an upload beside the project": {
			rpc: "/flyteidl.service.DataProxyService/CreateUploadLocation", request: `{"project":"ml","domain":"development","filename_root":"../../fraud"}`,
			want: "leaves its directory",
		},
		"a setting": {
			rpc: createExecution, request: `{"project":"ml","domain":"development","spec":{"security_context":{"run_as":{"iam_role":"r"}}}}`,
			want: "a setting was not judged: {Setting:iam_role Value:r}",
		},
		"another action": {
			rpc:     "/flyteidl.service.AdminService/UpdateProjectDomainAttributes",
			request: `{"attributes":{"project":"ml","domain":"development","matching_attributes":{"cluster_assignment":{}}}}`,
			targets: []target{{Project: "ml", Domain: "development", Needs: []string{"edit_execution_attributes"}}}, want: "it needs edit_cluster_attributes",
		},
		"another call": {request: plain, change: func(record *record, _ *arrival) { record.RPC = createExecution }, want: "arrived as"},
		"refused":      {request: plain, change: func(record *record, _ *arrival) { record.Outcome = "denied" }, want: "and arrived"},
		"somebody else": {request: plain, change: func(_ *record, arrived *arrival) {
			arrived.metadata.Set("authorization", "Bearer bob.token")
		}, want: `credential Bearer of "bob"`},
		"somebody else, too": {request: plain, change: func(_ *record, arrived *arrival) {
			arrived.metadata.Append("authorization", "Bearer bob.token")
		}, want: "2 credentials"},
		"somebody else in another key": {request: plain, change: func(_ *record, arrived *arrival) {
			arrived.metadata.Set("x", "IDToken bob.token")
		}, want: `metadata "x" has a token of bob`},
		"somebody else's name": {request: plain, change: func(_ *record, arrived *arrival) {
			arrived.metadata.Set("userinfo-bin", `{"subject":"bob"}`)
		}, want: `userinfo-bin says "bob"`},
		"the extra header": {request: plain, change: func(_ *record, arrived *arrival) {
			arrived.metadata.Set(header, "")
		}, want: "flyte-authorization"},
		"a forged value": {request: plain, change: func(_ *record, arrived *arrival) {
			arrived.metadata.Set("x-forwarded-for", marker)
		}, want: `has "forged"`},
		"a forged tag":          {request: plain, change: func(_ *record, arrived *arrival) { arrived.metadata.Append("from_http", "false") }, want: "from_http"},
		"a credential for none": {request: plain, change: func(record *record, _ *arrival) { record.Principal.Kind = "anonymous" }, want: "without a credential"},
		"another identifier":    {request: plain, change: func(_ *record, arrived *arrival) { arrived.metadata.Append("x-request-id", "r2") }, want: "identifiers"},
	} {
		t.Run(name, func(t *testing.T) {
			rpc, targets := listExecutions, []target{judged}
			if test.rpc != "" {
				rpc = test.rpc
			}
			if test.targets != nil {
				targets = test.targets
			}
			record, arrived := judgedAs(rpc, targets...), arrivedAs(t, rpc, test.request)
			if test.change != nil {
				test.change(record, &arrived)
			}
			wrong := judge(record, []arrival{arrived}, tokens)
			if !slices.ContainsFunc(wrong, func(text string) bool { return strings.Contains(text, test.want) }) {
				t.Errorf("found %q, wanted %q", wrong, test.want)
			}
		})
	}
}

func TestWhatIsNotOnTheListOrRunsSomethingElseIsFound(t *testing.T) {
	for at, reached := range map[place]bool{
		{project: "ml", domain: "staging"}:                                   true,
		{project: "ml", domain: "staging", name: listed}:                     true,
		{project: "ml", domain: "staging", name: "n1"}:                       false,
		{project: "ml", domain: "staging", name: "f0", execution: true}:      true,
		{project: "ml", domain: "staging", name: listed, execution: true}:    false,
		{project: "shared-lib", domain: "production", name: listed}:          false,
		{project: "fraud", domain: "production", name: "f", execution: true}: false,
	} {
		if reaches("lister", at) != reached {
			t.Errorf("%v: %v", at, !reached)
		}
	}
}

func TestAChosenNameIsJudgedWhereNamesAreListedAndSomethingHasIt(t *testing.T) {
	relaunch := "/flyteidl.service.AdminService/RelaunchExecution"
	place := func(execution, reference string) target {
		return target{Project: "ml", Domain: "development", Execution: execution, Reference: reference, Needs: []string{"create_executions"}}
	}
	for name, test := range map[string]struct {
		subject, chosen string
		judged          bool
		want            string
	}{
		"free":                    {"lister", "x7", false, ""},
		"taken by what is listed": {"lister", "f1", true, ""},
		"taken and not judged":    {"lister", "f1", false, "not judged: name"},
		"taken by another":        {"lister", "n1", true, "lister may do nothing at name"},
		"none":                    {"lister", "", false, ""},
		"of no concern":           {"alice", "n1", false, ""},
	} {
		t.Run(name, func(t *testing.T) {
			record := judgedAs(relaunch, place("f0", ""))
			record.Principal.Subject = test.subject
			if test.judged {
				record.Targets = append(record.Targets, place(test.chosen, "name"))
			}
			arrived := arrivedAs(t, relaunch, `{"id":{"project":"ml","domain":"development","name":"f0"},"name":"`+test.chosen+`"}`)
			wrong := slices.DeleteFunc(compareTargets(record, arrived), func(text string) bool { return test.want != "" && strings.HasPrefix(text, test.want) })
			if len(wrong) > 0 {
				t.Errorf("%q", wrong)
			}
			if test.want != "" && len(wrong) == len(compareTargets(record, arrived)) {
				t.Errorf("not found: %s", test.want)
			}
		})
	}
}

func TestALookUpIsTheCallersOwnAndIsRecorded(t *testing.T) {
	get := "/flyteidl.service.AdminService/GetExecution"
	question := arrivedAs(t, get, `{"id":{"project":"ml","domain":"development","name":"f0"}}`)
	question.metadata = metadata.Pairs("authorization", "Bearer alice.token", "x-request-id", "r1")
	refused := judgedAs(get, target{Project: "ml", Domain: "development", Execution: "f0"})
	refused.Outcome, refused.Reason, refused.Lookups = "denied", "resource_not_listed", 1
	if wrong := judge(refused, []arrival{question}, tokens); len(wrong) > 0 {
		t.Errorf("%q", wrong)
	}
	refused.Lookups = 0
	if wrong := judge(refused, []arrival{question}, tokens); len(wrong) != 1 {
		t.Errorf("%q", wrong)
	}
	refused.Lookups, refused.Targets = 1, []target{{Project: "ml", Domain: "staging"}}
	if wrong := judge(refused, []arrival{question}, tokens); len(wrong) != 1 {
		t.Errorf("%q", wrong)
	}
	refused.Targets[0].Domain = "development"
	question.metadata.Set("authorization", "Bearer bob.token")
	if wrong := judge(refused, []arrival{question}, tokens); len(wrong) != 1 {
		t.Errorf("%q", wrong)
	}
}

func TestTwoArrivalsOfOneRequestAreFound(t *testing.T) {
	arrived := arrivedAs(t, listExecutions, `{"id":{"project":"ml","domain":"development"}}`)
	wrong := judge(judgedAs(listExecutions, target{Project: "ml", Domain: "development"}), []arrival{arrived, arrived}, tokens)
	if len(wrong) != 1 || !strings.Contains(wrong[0], "2 times") {
		t.Errorf("%q", wrong)
	}
}

func TestTheSameSeedMakesTheSameRequests(t *testing.T) {
	vectors, err := readVectors("../fixtures/gateway-vectors.json")
	if err != nil {
		t.Fatal(err)
	}
	known := bindings()
	if len(known) != 69 {
		t.Errorf("%d bindings", len(known))
	}
	for number := range 2000 {
		one, other := newGenerator(7, number, known, vectors).next(), newGenerator(7, number, known, vectors).next()
		if one.Method != other.Method || one.Target != other.Target || !slices.Equal(one.Headers, other.Headers) || one.HTTP2 != other.HTTP2 {
			t.Fatalf("%v\n%v", one, other)
		}
	}
}

func TestEveryBodyOfClientsIsOneOfItsCall(t *testing.T) {
	found := map[string]bool{}
	for _, binding := range bindings() {
		name := binding.rpc[strings.LastIndex(binding.rpc, "/")+1:]
		for _, body := range bodies[name] {
			found[name] = true
			made, err := message(binding.input)
			if err != nil {
				t.Fatal(err)
			}
			if body == "" {
				continue
			}
			if err := protojson.Unmarshal([]byte(body), made); err != nil || proto.Size(made) == 0 {
				t.Errorf("%s: %v", name, err)
			}
		}
	}
	for name := range bodies {
		if !found[name] {
			t.Errorf("no binding takes a body of %s", name)
		}
	}
}
