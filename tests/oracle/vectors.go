package main

import (
	"encoding/json"
	"errors"
	"fmt"
	"net/http"
	"os"
	"slices"
	"strings"

	"google.golang.org/protobuf/proto"
)

// vector is a request recorded at FlyteAdmin's own gateway, with what came out of it.
type vector struct {
	Group         string      `json:"group"`
	Method        string      `json:"method"`
	Target        string      `json:"target"`
	Headers       [][2]string `json:"headers"`
	Body          []byte      `json:"body_b64"`
	Status        int         `json:"status"`
	GRPCPath      string      `json:"grpc_path"`
	Request       []byte      `json:"request_b64"`
	Authorization []string    `json:"authorization"`
}

func readVectors(path string) ([]vector, error) {
	text, err := os.ReadFile(path)
	if err != nil {
		return nil, err
	}
	var vectors []vector
	return vectors, json.Unmarshal(text, &vectors)
}

// prove replays every recorded request at the gateway itself: it is an oracle only if it does what FlyteAdmin's did.
func prove(vectors []vector, gateway string, recorder *recorder) error {
	client := &connection{address: gateway}
	defer client.close()
	var wrong []string
	for index, vector := range vectors {
		// Where a path is served for several methods, the gateway asks a map which of them a form is for: in random order.
		err := errors.New("not tried")
		for try := 0; err != nil && try < 40; try++ {
			err = vector.replay(client, recorder, fmt.Sprintf("vector-%d-%d", index, try))
		}
		if err != nil {
			wrong = append(wrong, fmt.Sprintf("%s %s %s %q: %v", vector.Group, vector.Method, vector.Target, vector.Body, err))
		}
	}
	if len(wrong) > 0 {
		return fmt.Errorf("the gateway is not FlyteAdmin's: %d of %d recorded requests differ:\n%s",
			len(wrong), len(vectors), strings.Join(wrong, "\n"))
	}
	return nil
}

func (v vector) replay(client *connection, recorder *recorder, id string) error {
	request := &request{Method: v.Method, Target: v.Target, Body: v.Body}
	request.Headers = append(request.Headers, v.Headers...)
	answer, err := client.send(request.bytes([2]string{"X-Request-Id", id}))
	if err != nil {
		return err
	}
	arrivals := recorder.take(id)
	switch {
	case answer.status != v.Status && !(v.redirected() && answer.redirected()):
		return fmt.Errorf("status %d, recorded %d", answer.status, v.Status)
	case v.GRPCPath == "" && len(arrivals) == 0:
		return nil
	case len(arrivals) != 1 || arrivals[0].path != v.GRPCPath:
		return fmt.Errorf("%d calls arrived %v, recorded %q", len(arrivals), arrivals, v.GRPCPath)
	}
	arrived := arrivals[0]
	recorded := arrived.request.ProtoReflect().New().Interface()
	if err := proto.Unmarshal(v.Request, recorded); err != nil {
		return err
	}
	if !proto.Equal(arrived.request, recorded) {
		return fmt.Errorf("made {%v}, recorded {%v}", arrived.request, recorded)
	}
	if credentials := arrived.metadata.Get("authorization"); !slices.Equal(credentials, v.Authorization) {
		return fmt.Errorf("authorization %q, recorded %q", credentials, v.Authorization)
	}
	return nil
}

// redirected tells a redirect: net/http's own status for one differs between the versions of Go.
func (v vector) redirected() bool {
	return v.Status == http.StatusTemporaryRedirect || v.Status == http.StatusMovedPermanently
}
