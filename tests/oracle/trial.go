package main

import (
	"encoding/json"
	"fmt"
	"hash/fnv"
	"os"
	"path/filepath"
	"strings"
	"sync"
	"sync/atomic"
	"time"
)

// trial sends requests through the proxy and compares what arrives with what was judged.
type trial struct {
	options  options
	proxy    *proxy
	gateway  string
	recorder *recorder
	known    *credentials
	vectors  []vector
	bindings []binding
	// The directory with the requests of which there was a disagreement.
	corpus string
}

// exchange is a request with the answer to it.
type exchange struct {
	generated
	answer answer
	// What the gateway itself made of it, if it was refused and asked.
	asked  bool
	direct []arrival
}

// waiting is what came of one request so far: its audit record is written behind its answer.
type waiting struct {
	exchange *exchange
	record   *record
}

func (t *trial) run() (*report, error) {
	stored, err := t.stored()
	if err != nil {
		return nil, err
	}
	report := newReport(t.options.seed, len(stored))
	exchanges := make(chan *exchange, 256)
	failure := make(chan error, t.options.workers)
	started := time.Now()
	go func() {
		defer close(exchanges)
		t.send(stored, exchanges, failure)
	}()
	if err := t.match(exchanges, report, started); err != nil {
		return nil, err
	}
	select {
	case err := <-failure:
		return nil, err
	default:
	}
	for id, arrivals := range t.recorder.left() {
		report.disagreements = append(report.disagreements, fmt.Sprintf("arrived, and no record tells of it (%s): %v", id, arrivals))
	}
	return report, nil
}

// stored gives the requests of the corpus.
func (t *trial) stored() ([]generated, error) {
	paths, err := filepath.Glob(filepath.Join(t.corpus, "*.json"))
	if err != nil {
		return nil, err
	}
	var all []generated
	for _, path := range paths {
		text, err := os.ReadFile(path)
		if err != nil {
			return nil, err
		}
		var read generated
		if err := json.Unmarshal(text, &read.request); err != nil {
			return nil, fmt.Errorf("%s: %w", path, err)
		}
		all = append(all, read)
	}
	return all, nil
}

// send sends the stored requests, and then those made anew. Each is made from the seed and its number only.
func (t *trial) send(stored []generated, exchanges chan<- *exchange, failure chan<- error) {
	var next atomic.Int64
	var workers sync.WaitGroup
	for range t.options.workers {
		workers.Go(func() {
			clients := newClients(t.proxy.address, t.gateway)
			defer clients.close()
			for {
				number := int(next.Add(1)) - 1
				if number >= len(stored)+t.options.requests {
					return
				}
				var made generated
				generator := newGenerator(t.options.seed, number, t.bindings, t.vectors)
				if number < len(stored) {
					made = stored[number]
				} else {
					made = generator.next()
				}
				done, err := t.exchange(made, clients, number, generator.chance(t.options.direct))
				if err != nil {
					failure <- err
					return
				}
				exchanges <- done
			}
		})
	}
	workers.Wait()
}

// clients are the connections of one worker.
type clients struct {
	proxy, gateway *connection
	proxy2         *connection2
}

func newClients(proxy, gateway string) *clients {
	return &clients{proxy: &connection{address: proxy}, gateway: &connection{address: gateway}, proxy2: &connection2{address: proxy}}
}

func (c *clients) close() {
	c.proxy.close()
	c.proxy2.close()
	c.gateway.close()
}

// exchange sends a request to the proxy, and perhaps, if it is refused, to the gateway.
func (t *trial) exchange(made generated, clients *clients, number int, ask bool) (*exchange, error) {
	filled := t.filled(made.request)
	var received answer
	var err error
	if filled.HTTP2 {
		received, err = clients.proxy2.send(filled)
	} else {
		client := clients.proxy
		if filled.odd() {
			client = &connection{address: t.proxy.address, endless: true}
			defer client.close()
		}
		received, err = client.send(filled.bytes())
	}
	if err != nil && err != errNoAnswer {
		return nil, err
	}
	done := &exchange{generated: made, answer: received}
	if ask && received.status >= 400 && !filled.odd() {
		id := fmt.Sprintf("direct-%d", number)
		_, err := clients.gateway.send(filled.bytes([2]string{"X-Request-Id", id}))
		if err != nil && err != errNoAnswer {
			return nil, err
		}
		done.asked, done.direct = true, t.recorder.take(id)
	}
	return done, nil
}

func (t *trial) filled(made request) *request {
	filled := made
	filled.Headers = nil
	if made.Framing != nil {
		filled.Body = []byte(t.known.fill(string(made.Body)))
	}
	for _, header := range made.Headers {
		filled.Headers = append(filled.Headers, [2]string{header[0], t.known.fill(header[1])})
	}
	return &filled
}

// match brings together answers and audit records, and judges each pair.
func (t *trial) match(exchanges <-chan *exchange, report *report, started time.Time) error {
	pending := map[string]*waiting{}
	var idle <-chan time.Time
	for exchanges != nil || len(pending) > 0 {
		var id string
		select {
		case done, open := <-exchanges:
			if !open {
				report.seconds = time.Since(started).Seconds()
				exchanges, idle = nil, time.After(5*time.Second)
				continue
			}
			report.sent++
			if report.sent%20_000 == 0 {
				fmt.Fprintf(os.Stderr, "%d sent, %d disagreements\n", report.sent, len(report.disagreements))
			}
			if done.answer.status == 0 || done.answer.header.Get("X-Request-Id") == "" {
				// The HTTP library's own refusal, which leaves no record.
				report.library++
				continue
			}
			id = done.answer.header.Get("X-Request-Id")
			entry(pending, id).exchange = done
		case written, open := <-t.proxy.records:
			if !open {
				return fmt.Errorf("the proxy has ended")
			}
			id = written.RequestID
			entry(pending, id).record = written
			if idle != nil {
				idle = time.After(5 * time.Second)
			}
		case <-idle:
			// Of a connection that broke, or has a request behind another, answers may not be read; every record is.
			for id, half := range pending {
				if half.record == nil {
					report.disagreements = append(report.disagreements, fmt.Sprintf("%s has no record: %s", id, shown(half.exchange.request)))
					continue
				}
				report.lost++
				t.judge(&exchange{}, half.record, report)
			}
			return nil
		}
		if whole := pending[id]; whole.exchange != nil && whole.record != nil {
			delete(pending, id)
			t.judge(whole.exchange, whole.record, report)
		}
	}
	return nil
}

func entry(pending map[string]*waiting, id string) *waiting {
	if pending[id] == nil {
		pending[id] = &waiting{}
	}
	return pending[id]
}

func (t *trial) judge(done *exchange, written *record, report *report) {
	arrivals := t.recorder.take(written.RequestID)
	report.count(done, written, arrivals, t.known)
	wrong := judge(written, arrivals, t.known)
	if len(wrong) == 0 {
		return
	}
	name, err := t.store(done.request)
	if err != nil {
		name = err.Error()
	}
	report.disagreements = append(report.disagreements, fmt.Sprintf("%s\n  %s\n  %s\n  judged %+v\n  arrived %v",
		name, shown(done.request), strings.Join(wrong, "\n  "), *written, arrivals))
}

// store keeps a request, so that it is the first that is tried from now on.
func (t *trial) store(made request) (string, error) {
	text, err := json.MarshalIndent(made, "", "  ")
	if err != nil {
		return "", err
	}
	hash := fnv.New64a()
	_, _ = hash.Write(text)
	path := filepath.Join(t.corpus, fmt.Sprintf("%016x.json", hash.Sum64()))
	return path, os.WriteFile(path, append(text, '\n'), 0o644)
}
