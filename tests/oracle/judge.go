package main

import (
	"encoding/base64"
	"encoding/json"
	"fmt"
	"path"
	"slices"
	"strings"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/flyteidl/service"
)

// record is an audit record of the proxy, as far as it is compared.
type record struct {
	RequestID string `json:"request_id"`
	Outcome   string `json:"outcome"`
	Reason    string `json:"reason"`
	Message   string `json:"message"`
	RPC       string `json:"rpc"`
	Principal *struct {
		Kind    string `json:"kind"`
		Subject string `json:"subject"`
	} `json:"principal"`
	Credential string    `json:"credential"`
	Targets    []target  `json:"targets"`
	Lookups    int       `json:"lookups"`
	Omitted    int       `json:"targets_omitted"`
	AsksFor    []setting `json:"asks_for"`
	Status     int       `json:"status"`
}

type target struct {
	Project   string   `json:"project"`
	Domain    string   `json:"domain"`
	Resource  string   `json:"resource"`
	Name      string   `json:"name"`
	Execution string   `json:"execution"`
	Reference string   `json:"reference"`
	Needs     []string `json:"needs"`
}

// judge compares what arrived of one request with what was judged, and tells every disagreement.
func judge(record *record, arrivals []arrival, known *credentials) []string {
	looked, arrivals := parted(arrivals)
	wrong := compareLookups(record, looked, known)
	return append(wrong, compareCall(record, arrivals, known)...)
}

// parted gives the questions that the proxy itself asked, which come past the gateway, and the calls.
func parted(arrivals []arrival) (looked, calls []arrival) {
	for _, arrived := range arrivals {
		if len(arrived.metadata.Get("from_http")) == 0 {
			looked = append(looked, arrived)
		} else {
			calls = append(calls, arrived)
		}
	}
	return looked, calls
}

// compareLookups checks that the proxy asked as its caller, and as often as it says.
func compareLookups(record *record, looked []arrival, known *credentials) []string {
	var wrong []string
	if len(looked) != record.Lookups {
		wrong = append(wrong, fmt.Sprintf("%d look-ups, recorded %d", len(looked), record.Lookups))
	}
	for _, question := range looked {
		asked := append(question.metadata.Get("authorization"), question.metadata.Get(header)...)
		if len(asked) != 1 || record.Principal == nil || !slices.Equal(known.holders(asked[0]), []string{record.Principal.Subject}) {
			wrong = append(wrong, fmt.Sprintf("looked up with %d credentials, or another's", len(asked)))
		}
		for _, place := range judgedPlaces(question.path, question.request) {
			// A chosen name that nothing has is nothing that the call touches.
			place.nameless = !exists(place.name)
			if !slices.ContainsFunc(record.Targets, place.is) {
				wrong = append(wrong, fmt.Sprintf("looked up, and not judged: %v", place))
			}
		}
	}
	return wrong
}

// compareCall compares the call itself.
func compareCall(record *record, arrivals []arrival, known *credentials) []string {
	if record.Outcome != "forwarded" {
		if len(arrivals) > 0 && !mayHaveArrived(record) {
			return []string{fmt.Sprintf("it was %s (%s), and arrived", record.Outcome, record.Reason)}
		}
		return nil
	}
	switch len(arrivals) {
	case 0:
		// The gateway found that it cannot read the rest of it, or it is a page.
		return nil
	case 1:
	default:
		return []string{fmt.Sprintf("it arrived %d times", len(arrivals))}
	}
	arrived := arrivals[0]
	var wrong []string
	if arrived.path != record.RPC {
		wrong = append(wrong, fmt.Sprintf("judged as %s, arrived as %s", record.RPC, arrived.path))
	}
	if ids := arrived.metadata.Get("x-request-id"); !slices.Equal(ids, []string{record.RequestID}) {
		wrong = append(wrong, fmt.Sprintf("its identifiers are %q", ids))
	}
	wrong = append(wrong, compareCredential(record, arrived, known)...)
	wrong = append(wrong, compareTargets(record, arrived)...)
	return wrong
}

// mayHaveArrived tells the failures that are found when the control plane has answered.
func mayHaveArrived(record *record) bool {
	switch record.Reason {
	case "upstream_failed", "answer_unreadable", "upstream_timeout", "credential_refused":
		return true
	}
	return record.Outcome == "aborted"
}

// compareCredential checks that FlyteAdmin would take the call for the caller's that was judged, and finds nobody else in it.
func compareCredential(record *record, arrived arrival, known *credentials) []string {
	var wrong []string
	subject := ""
	if record.Principal != nil && record.Principal.Kind == "token" {
		subject = record.Principal.Subject
	}
	// The gateway adds the extra header, also when it is not there.
	values := slices.DeleteFunc(slices.Clone(arrived.metadata.Get("authorization")), func(value string) bool { return value == "" })
	switch {
	case subject == "" && len(values) > 0:
		wrong = append(wrong, "judged without a credential, arrived with one")
	case subject != "" && len(values) != 1:
		wrong = append(wrong, fmt.Sprintf("arrived with %d credentials", len(values)))
	case subject != "":
		scheme, token, _ := strings.Cut(values[0], " ")
		if known.subjects[token] != subject || (scheme != "Bearer" && scheme != "IDToken") {
			wrong = append(wrong, fmt.Sprintf("judged as %s's, arrived with a credential %s of %q", subject, scheme, known.subjects[token]))
		}
	}
	for name, values := range arrived.metadata {
		for _, value := range values {
			for _, holder := range known.holders(value) {
				if holder != subject {
					wrong = append(wrong, fmt.Sprintf("metadata %q has a token of %s", name, holder))
				}
			}
			if strings.Contains(value, marker) {
				wrong = append(wrong, fmt.Sprintf("metadata %q has %q", name, value))
			}
		}
	}
	if given := arrived.metadata.Get(header); len(given) > 0 {
		wrong = append(wrong, fmt.Sprintf("metadata %q arrived", header))
	}
	for _, info := range arrived.metadata.Get("userinfo-bin") {
		if says := subjectOf(info); says != "" && says != subject {
			wrong = append(wrong, fmt.Sprintf("userinfo-bin says %q", says))
		}
	}
	if tag := arrived.metadata.Get("from_http"); len(tag) != 1 || tag[0] != "true" {
		wrong = append(wrong, fmt.Sprintf("from_http is %q", tag))
	}
	return wrong
}

func subjectOf(info string) string {
	var read struct{ Subject string }
	if json.Unmarshal([]byte(info), &read) == nil {
		return read.Subject
	}
	if decoded, err := base64.StdEncoding.DecodeString(info); err == nil && json.Unmarshal(decoded, &read) == nil {
		return read.Subject
	}
	return ""
}

// compareTargets checks that every place in what arrived was judged, that everything judged is in it, and that the caller
// has any right there.
func compareTargets(record *record, arrived arrival) []string {
	var wrong []string
	places := judgedPlaces(arrived.path, arrived.request)
	if strings.HasSuffix(arrived.path, "/GetDescriptionEntity") || strings.HasSuffix(arrived.path, "/ListDescriptionEntities") {
		places = ofEveryKind(places)
	}
	subject := ""
	if record.Principal != nil {
		subject = record.Principal.Subject
	}
	if chosen, chooses := chosenPlace(arrived.path, arrived.request, places); chooses {
		places = append(places, chosen)
	}
	for _, place := range places {
		if !reaches(subject, place) {
			wrong = append(wrong, fmt.Sprintf("%s may do nothing at %v", subject, place))
		}
		// Whoever may start anything may choose any name.
		isOpen := place.chosen && (!exists(place.name) || !isListed(subject))
		if record.Omitted == 0 && !isOpen && !slices.ContainsFunc(record.Targets, place.is) {
			wrong = append(wrong, fmt.Sprintf("not judged: %v", place))
		}
	}
	for _, target := range record.Targets {
		if target.Project != "" && !slices.ContainsFunc(places, func(place place) bool { return place.is(target) }) {
			wrong = append(wrong, fmt.Sprintf("judged, and not in what arrived: %+v", target))
		}
	}
	if action := actionOf(arrived.path, arrived.request); action != "" && !slices.ContainsFunc(record.Targets, func(target target) bool {
		return slices.Equal(target.Needs, []string{action})
	}) {
		wrong = append(wrong, "it needs "+action)
	}
	for _, setting := range settingsOf(arrived.path, arrived.request) {
		if !slices.Contains(record.AsksFor, setting) {
			wrong = append(wrong, fmt.Sprintf("a setting was not judged: %+v", setting))
		}
	}
	if upload, ok := arrived.request.(*service.CreateUploadLocationRequest); ok && climbs(upload) {
		wrong = append(wrong, fmt.Sprintf("an upload leaves its directory: {%v}", upload))
	}
	return wrong
}

// ofEveryKind has each place once for every kind: FlyteAdmin finds descriptions by their names, whatever kind is asked for.
func ofEveryKind(places []place) []place {
	var all []place
	for _, place := range places {
		for _, kind := range []string{"task", "workflow", "launch_plan"} {
			place.kind = kind
			all = append(all, place)
		}
	}
	return all
}

// is tells whether a target is what a place says. Whoever may act on the whole platform may do it anywhere.
func (p place) is(target target) bool {
	if target.Project == "" && target.Domain == "" {
		return true
	}
	named := target.Name + target.Execution
	sameKind := p.kind == "" || target.Resource == "" || p.kind == target.Resource
	return p.project == target.Project && p.domain == target.Domain && sameKind &&
		(named == "" || named == p.name || p.nameless)
}

// climbs tells whether the object that FlyteAdmin would let the caller write lies outside what is the project's. It joins
// the parts to a path as it comes.
func climbs(upload *service.CreateUploadLocationRequest) bool {
	parts := []string{upload.GetProject(), upload.GetDomain(), upload.GetFilenameRoot(), upload.GetFilename()}
	joined := path.Join(append([]string{"/bucket/data"}, parts...)...)
	within := strings.HasPrefix(joined, "/bucket/data/"+upload.GetProject()+"/"+upload.GetDomain()+"/") ||
		joined == "/bucket/data/"+upload.GetProject()+"/"+upload.GetDomain()
	return !within || strings.ContainsAny(upload.GetFilenameRoot()+upload.GetFilename(), "\\?#%")
}
