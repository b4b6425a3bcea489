package main

import (
	"fmt"
	"math/rand/v2"
	"net/url"
	"strings"

	"google.golang.org/protobuf/encoding/protojson"
	"google.golang.org/protobuf/proto"
	"google.golang.org/protobuf/reflect/protoreflect"
)

// marker is in every value by which a request tries to be somebody else's: it must not arrive anywhere.
const marker = "forged"

// generator makes requests; the same ones for the same random numbers.
type generator struct {
	*rand.Rand
	bindings []binding
	vectors  []vector
	// Where the request says that it acts, most of the time.
	project, domain string
	// How often in a hundred times a value is an unusual one.
	unusual int
}

// newGenerator makes the generator of one request: what it makes depends on the seed and the request's number only.
func newGenerator(seed uint64, number int, bindings []binding, vectors []vector) *generator {
	return &generator{Rand: rand.New(rand.NewPCG(seed, uint64(number))), bindings: bindings, vectors: vectors}
}

// generated is a request to be sent, and where it comes from.
type generated struct {
	request
	// Whether nothing of it is unusual: real clients send such requests, and whoever may do everything gets through.
	Plain bool `json:"-"`
}

// pick gives one of some choices, the first of which is as likely as all others.
func (g *generator) pick(choices ...string) string {
	if g.IntN(2) == 0 {
		return choices[0]
	}
	return choices[g.IntN(len(choices))]
}

// one gives one of some choices.
func one[T any](g *generator, choices []T) T {
	return choices[g.IntN(len(choices))]
}

// chance is true that often in a hundred times.
func (g *generator) chance(percent int) bool {
	return g.IntN(100) < percent
}

// next makes a request.
func (g *generator) next() generated {
	made := g.made()
	made.HTTP2 = g.chance(35)
	return made
}

func (g *generator) made() generated {
	g.unusual = one(g, []int{0, 0, 3, 10})
	g.project = g.pick("ml", "shared-lib", "fraud")
	g.domain = g.pick("development", "staging", "production")
	if g.chance(85) {
		g.project = "ml"
	}
	if g.chance(12) {
		return g.mutated(g.recorded())
	}
	binding := one(g, g.bindings)
	if g.chance(25) {
		if made, known := g.asClient(binding); known {
			if g.chance(60) {
				return made
			}
			// The same by somebody who may not do everything, or changed.
			made.Plain = false
			made.Headers = append(g.credential(), made.without("authorization")...)
			return g.mutated(made)
		}
	}
	made := g.valid(binding)
	made.Headers = append(made.Headers, g.credential()...)
	return g.mutated(made)
}

// credential gives the header with which a caller is known.
func (g *generator) credential() [][2]string {
	name := g.pick("alice", "root", "engine", "lister", "lister", "tuner")
	switch g.IntN(10) {
	case 0:
		return [][2]string{{"Cookie", "{{session-" + name + "}}"}}
	case 1:
		return [][2]string{{"flyte-authorization", "Bearer {{" + name + "}}"}}
	default:
		return [][2]string{{"Authorization", "Bearer {{" + name + "}}"}}
	}
}

// valid makes a request as a client would.
func (g *generator) valid(binding binding) generated {
	made := generated{request: request{Method: binding.method, Target: g.path(binding, false)}}
	if !binding.body {
		if g.chance(60) {
			made.Target += g.clientQuery(binding)
		}
		return made
	}
	message := g.message(binding)
	var err error
	if g.chance(50) {
		made.Headers = [][2]string{{"Content-Type", "application/json"}}
		made.Body, err = protojson.MarshalOptions{UseProtoNames: g.chance(50), UseEnumNumbers: g.chance(20), EmitUnpopulated: g.chance(10)}.Marshal(message)
	} else {
		made.Headers = [][2]string{{"Content-Type", "application/octet-stream"}}
		made.Body, err = proto.Marshal(message)
	}
	if err != nil {
		// A text that is not UTF-8, for instance: nothing to send, then.
		made.Body = nil
	}
	return made
}

// path fills a template.
func (g *generator) path(binding binding, plain bool) string {
	escape := url.PathEscape
	if g.chance(50) {
		escape = componentEscape
	}
	return variable.ReplaceAllStringFunc(binding.template, func(found string) string {
		field := fieldAt(binding.input, variable.FindStringSubmatch(found)[1])
		if plain {
			return escape(g.plain(field))
		}
		return escape(g.text(field))
	})
}

// componentEscape escapes as browsers do by `encodeURIComponent`.
func componentEscape(text string) string {
	return strings.ReplaceAll(url.QueryEscape(text), "+", "%20")
}

// fieldAt gives the field at a path.
func fieldAt(message protoreflect.MessageDescriptor, path string) protoreflect.FieldDescriptor {
	first, rest, nested := strings.Cut(path, ".")
	field := message.Fields().ByName(protoreflect.Name(first))
	if nested {
		return fieldAt(field.Message(), rest)
	}
	return field
}

// plain gives an ordinary value of a field, as text.
func (g *generator) plain(field protoreflect.FieldDescriptor) string {
	switch {
	case field.Enum() != nil && field.Enum().FullName() == "flyteidl.core.ResourceType":
		return one(g, []string{"1", "2", "3", "TASK", "WORKFLOW", "LAUNCH_PLAN"})
	case field.Enum() != nil:
		return fmt.Sprint(field.Enum().Values().Get(g.IntN(field.Enum().Values().Len())).Number())
	case field.Kind() == protoreflect.BoolKind:
		return "true"
	case field.Kind() != protoreflect.StringKind:
		return fmt.Sprint(g.IntN(3))
	}
	switch field.Name() {
	case "project":
		return g.project
	case "domain":
		return g.domain
	case "id":
		return g.project
	case "version":
		return one(g, []string{"v1", "1.0.0", "abcDEF_-", "kfQ9_h-A==", "2026-01-01T00:00:00", "v1+dev", "release@1"})
	case "name":
		return one(g, []string{"core.flyte_basics.wf", "n1", "f0a1b2c3d4", "x7"})
	default:
		return one(g, []string{"n0", "x1", "n0-0-dn1"})
	}
}

// text gives a value of a field, sometimes one of another project or none.
func (g *generator) text(field protoreflect.FieldDescriptor) string {
	if !g.chance(g.unusual) {
		return g.plain(field)
	}
	switch field.Name() {
	case "project", "id":
		return one(g, []string{"fraud", "", "ML", "ml ", "shared-lib", "*", "flytesnacks", "m\u013c"})
	case "domain":
		return one(g, []string{"production", "", "prod", "Development", "*"})
	default:
		return one(g, []string{"", "a b", "..", "a/b", "é", "*", "fraud", "x%2Fy"})
	}
}

// clientQuery gives a query with the keys that clients send.
func (g *generator) clientQuery(binding binding) string {
	var pairs []string
	values := map[string][]string{
		"limit": {"1", "100"}, "token": {"", "10"}, "filters": {"eq(state,0)", "ne(phase,FAILED)%2Beq(name,x)", "value_in(phase,RUNNING%3BQUEUED)"},
		"sort_by.key": {"created_at"}, "sort_by.direction": {"DESCENDING", "0"}, "unique_parent_id": {"n0"}, "depth": {"3"},
		"flyte_url":  {"flyte://v1/" + g.project + "/" + g.domain + "/e1/n0/i", "flyte://v1/" + g.project + "/" + g.domain + "/e1/n0/0/o/x"},
		"native_url": {"s3://bucket/data/ml/x"}, "expires_in": {"60s"},
	}
	for _, name := range binding.free() {
		choices, sent := values[name]
		if !sent || (name != "flyte_url" && name != "native_url" && g.chance(50)) {
			continue
		}
		pairs = append(pairs, name+"="+one(g, choices))
	}
	if len(pairs) == 0 {
		return ""
	}
	return "?" + strings.Join(pairs, "&")
}

// recorded gives a request recorded at FlyteAdmin's gateway, in projects and domains of this test.
func (g *generator) recorded() generated {
	vector := one(g, g.vectors)
	renamed := strings.NewReplacer(
		"pro0", g.project, "dom1", g.domain, "OVERRIDE", "fraud", "BODYPROJ", "fraud", "id0", g.project,
		"/A/", "/"+g.project+"/", "/dev/", "/"+g.domain+"/", `"A"`, `"`+g.project+`"`, `"B"`, `"fraud"`, `"d"`, `"`+g.domain+`"`,
		"=B", "=fraud", "dom2", g.domain, "dom5", g.domain, "pro1", g.project, "pro4", g.project,
	)
	made := generated{request: request{Method: vector.Method, Target: renamed.Replace(vector.Target), Body: vector.Body}}
	if strings.HasPrefix(string(vector.Body), "{") {
		made.Body = []byte(renamed.Replace(string(vector.Body)))
	}
	for _, header := range vector.Headers {
		if !strings.HasSuffix(strings.ToLower(header[0]), "authorization") {
			made.Headers = append(made.Headers, header)
		}
	}
	made.Headers = append(made.Headers, g.credential()...)
	return made
}

// message makes a request message of a call.
func (g *generator) message(binding binding) proto.Message {
	made, err := message(binding.input)
	if err != nil {
		panic(err)
	}
	g.fill(made.ProtoReflect(), 0)
	return made
}

// leading are the fields that lead to references to other things.
var leading = map[protoreflect.Name]bool{
	"template": true, "nodes": true, "sub_workflows": true, "failure_node": true, "branch_node": true, "if_else": true, "case": true, "then_node": true,
	"else_node": true, "other": true, "array_node": true, "node": true, "task_node": true, "reference_id": true, "workflow_node": true, "launchplan_ref": true,
	"metadata": true, "reference_execution": true, "parent_node_execution": true, "default_inputs": true, "parameters": true, "artifact_query": true,
	"artifact_id": true, "artifact_key": true, "artifact_tag": true, "security_context": true, "run_as": true,
}

// fill sets fields of a message: those that name something mostly, others the more seldom the deeper they are.
func (g *generator) fill(message protoreflect.Message, depth int) {
	fields := message.Descriptor().Fields()
	naming := fields.ByName("project") != nil || fields.ByName("execution_id") != nil || fields.ByName("node_id") != nil
	often := []int{80, 60, 30, 15, 10, 8, 5}
	for index := range fields.Len() {
		field := fields.Get(index)
		likely := 97
		if !naming && field.Kind() == protoreflect.MessageKind {
			likely = often[min(depth, len(often)-1)]
		}
		if depth == 0 && (field.Name() == "spec" || field.Name() == "event" || field.Name() == "id") {
			likely = 98
		}
		if depth == 1 && (field.Name() == "launch_plan" || field.Name() == "workflow_id") {
			likely = 95
		}
		if field.Name() == "org" {
			likely = 1
		}
		if leading[field.Name()] {
			likely = 45
		}
		if depth > 14 && field.Kind() == protoreflect.MessageKind || !g.chance(likely) {
			continue
		}
		g.set(message, field, depth)
	}
}

func (g *generator) set(message protoreflect.Message, field protoreflect.FieldDescriptor, depth int) {
	switch {
	case field.IsMap():
		value := message.Mutable(field).Map().NewValue()
		if field.MapValue().Kind() == protoreflect.MessageKind {
			g.fill(value.Message(), depth+1)
		} else {
			value = g.scalar(field.MapValue())
		}
		key := protoreflect.ValueOfString(g.pick("k", "iam.amazonaws.com/role", "x")).MapKey()
		if field.MapKey().Kind() != protoreflect.StringKind {
			key = g.scalar(field.MapKey()).MapKey()
		}
		message.Mutable(field).Map().Set(key, value)
	case field.IsList():
		list := message.Mutable(field).List()
		for range 1 + g.IntN(2) {
			if field.Kind() == protoreflect.MessageKind {
				g.fill(list.AppendMutable().Message(), depth+1)
			} else {
				list.Append(g.scalar(field))
			}
		}
	case field.Kind() == protoreflect.MessageKind:
		// These have a JSON form of their own, which not every content has.
		switch field.Message().FullName() {
		case "google.protobuf.Any", "google.protobuf.Value", "google.protobuf.Struct", "google.protobuf.ListValue":
			return
		case "google.protobuf.Timestamp", "google.protobuf.Duration":
			inner := message.Mutable(field).Message()
			inner.Set(inner.Descriptor().Fields().ByName("seconds"), protoreflect.ValueOfInt64(int64(g.IntN(1<<20))))
			return
		}
		g.fill(message.Mutable(field).Message(), depth+1)
	default:
		message.Set(field, g.scalar(field))
	}
}

func (g *generator) scalar(field protoreflect.FieldDescriptor) protoreflect.Value {
	number := g.IntN(4)
	switch field.Kind() {
	case protoreflect.StringKind:
		return protoreflect.ValueOfString(g.text(field))
	case protoreflect.BytesKind:
		return protoreflect.ValueOfBytes([]byte{byte(number), 1, 2})
	case protoreflect.BoolKind:
		return protoreflect.ValueOfBool(number == 0)
	case protoreflect.EnumKind:
		return protoreflect.ValueOfEnum(field.Enum().Values().Get(g.IntN(field.Enum().Values().Len())).Number())
	case protoreflect.FloatKind:
		return protoreflect.ValueOfFloat32(float32(number))
	case protoreflect.DoubleKind:
		return protoreflect.ValueOfFloat64(float64(number))
	case protoreflect.Int32Kind, protoreflect.Sint32Kind, protoreflect.Sfixed32Kind:
		return protoreflect.ValueOfInt32(int32(number))
	case protoreflect.Uint32Kind, protoreflect.Fixed32Kind:
		return protoreflect.ValueOfUint32(uint32(number))
	case protoreflect.Uint64Kind, protoreflect.Fixed64Kind:
		return protoreflect.ValueOfUint64(uint64(number))
	default:
		return protoreflect.ValueOfInt64(int64(number))
	}
}
