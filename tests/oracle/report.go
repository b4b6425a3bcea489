package main

import (
	"fmt"
	"maps"
	"slices"
	"strings"
)

// report is what a run came to.
type report struct {
	seed            uint64
	stored, sent    int
	library, lost   int
	lookups         int
	forwarded       int
	arrived         int
	byRPC           map[string]int
	refused         map[string]int
	asked, accepted int
	// What the gateway accepts of those refused, by the reason: beyond and within what the caller may reach.
	beyond, within map[string]int
	examples       map[string][]string
	// What disagreed, and clients' own requests that were refused.
	disagreements, clients []string
	// Some that were forwarded, and that the gateway refused.
	stricter []string
	plain    int
	seconds  float64
}

func newReport(seed uint64, stored int) *report {
	return &report{
		seed: seed, stored: stored, byRPC: map[string]int{}, refused: map[string]int{}, beyond: map[string]int{},
		within: map[string]int{}, examples: map[string][]string{},
	}
}

func (r *report) failed() bool {
	return len(r.disagreements)+len(r.clients) > 0
}

// count adds a request.
func (r *report) count(done *exchange, written *record, arrivals []arrival, known *credentials) {
	looked, arrivals := parted(arrivals)
	r.lookups += len(looked)
	if written.Outcome == "forwarded" {
		r.forwarded++
		if len(arrivals) == 1 {
			r.arrived++
			r.byRPC[arrivals[0].path]++
		} else if strings.HasPrefix(written.RPC, "/flyteidl.") && len(r.stricter) < 12 {
			r.stricter = append(r.stricter, fmt.Sprintf("%s\n      %d %.200q", shown(done.request), written.Status, done.answer.body))
		}
	} else {
		r.refused[written.Outcome+" "+written.Reason]++
	}
	if done.Plain {
		r.plain++
		if len(arrivals) != 1 {
			r.clients = append(r.clients, fmt.Sprintf("%s: %s: %s", shown(done.request), written.Reason, written.Message))
		}
	}
	if !done.asked || written.Outcome == "forwarded" {
		return
	}
	r.asked++
	if len(done.direct) == 0 {
		return
	}
	r.accepted++
	if !isWithin(done.direct[0], known) {
		r.beyond[written.Reason]++
		return
	}
	r.within[written.Reason]++
	if len(r.examples[written.Reason]) < 12 {
		r.examples[written.Reason] = append(r.examples[written.Reason], shown(done.request)+"\n      "+written.Message)
	}
}

// isWithin tells whether the caller whose credential FlyteAdmin would take may reach everything that a request is about.
func isWithin(arrived arrival, known *credentials) bool {
	given := arrived.metadata.Get("authorization")
	if len(given) == 0 {
		return false
	}
	_, token, _ := strings.Cut(given[0], " ")
	subject, found := known.subjects[token]
	if !found {
		return false
	}
	for _, place := range judgedPlaces(arrived.path, arrived.request) {
		if !reaches(subject, place) {
			return false
		}
	}
	return true
}

func shown(made request) string {
	text := fmt.Sprintf("%s %s %q", made.Method, made.Target, made.Headers)
	if len(made.Body) > 0 {
		text += fmt.Sprintf(" %.300q", made.Body)
	}
	return text
}

func (r *report) String() string {
	var text strings.Builder
	fmt.Fprintf(&text, "seed %d: %d sent (%d of them from the corpus) in %.0f s, %.0f a second\n", r.seed, r.sent, r.stored, r.seconds, float64(r.sent)/r.seconds)
	fmt.Fprintf(&text, "forwarded %d, of which %d arrived as calls of %d RPCs; the gateway refused the rest itself; %d stored executions were looked up\n", r.forwarded, r.arrived, len(r.byRPC), r.lookups)
	fmt.Fprintf(&text, "refused by the HTTP library, without a record: %d; recorded, and the answer not read: %d\n", r.library, r.lost)
	table(&text, "refused", r.refused)
	table(&text, "arrived", r.byRPC)
	fmt.Fprintf(&text, "clients' own spellings: %d sent, %d refused\n", r.plain, len(r.clients))
	fmt.Fprintf(&text, "refused and sent to the gateway itself: %d, of which it accepts %d\n", r.asked, r.accepted)
	table(&text, "  about something the caller may not reach", r.beyond)
	table(&text, "  about nothing else", r.within)
	for _, reason := range slices.Sorted(maps.Keys(r.examples)) {
		fmt.Fprintf(&text, "  examples of %s:\n", reason)
		for _, example := range r.examples[reason] {
			fmt.Fprintf(&text, "    %s\n", example)
		}
	}
	text.WriteString("  examples of what is forwarded, and refused by the gateway:\n")
	for _, example := range r.stricter {
		fmt.Fprintf(&text, "    %s\n", example)
	}
	for _, client := range r.clients[:min(len(r.clients), 20)] {
		fmt.Fprintf(&text, "A CLIENT WAS REFUSED: %s\n", client)
	}
	for _, disagreement := range r.disagreements[:min(len(r.disagreements), 50)] {
		fmt.Fprintf(&text, "DISAGREEMENT: %s\n", disagreement)
	}
	fmt.Fprintf(&text, "disagreements: %d\n", len(r.disagreements))
	return text.String()
}

func table(text *strings.Builder, title string, counts map[string]int) {
	fmt.Fprintf(text, "%s:\n", title)
	names := slices.SortedFunc(maps.Keys(counts), func(one, other string) int { return counts[other] - counts[one] })
	for _, name := range names {
		fmt.Fprintf(text, "  %8d  %s\n", counts[name], name)
	}
}
