// The gateway that Flyte publishes, behind the proxy: whatever the proxy forwards must arrive at FlyteAdmin's gRPC server as
// what was judged. docs/testing.md tells how it is run and what it found.
package main

import (
	"context"
	"crypto/rand"
	"errors"
	"flag"
	"fmt"
	"log"
	"os"
	"path/filepath"
	"time"

	"google.golang.org/grpc/grpclog"
)

// options are what the command line says.
type options struct {
	proxy, tests, report string
	requests, workers    int
	seed                 uint64
	direct               int
}

func main() {
	log.SetFlags(0)
	var options options
	flag.StringVar(&options.proxy, "proxy", "", "the program under test")
	flag.StringVar(&options.tests, "tests", "tests", "the directory with oracle/ and fixtures/")
	flag.StringVar(&options.report, "report", "", "where the report is written, besides standard output")
	flag.IntVar(&options.requests, "requests", 10_000, "how many requests are made")
	flag.IntVar(&options.workers, "workers", 16, "connections at a time")
	flag.Uint64Var(&options.seed, "seed", 0, "the seed of the requests; 0 for one of the time")
	flag.IntVar(&options.direct, "direct", 25, "how many in a hundred of those refused are sent to the gateway itself")
	flag.Parse()
	if options.seed == 0 {
		options.seed = uint64(time.Now().UnixNano())
	}
	// The gateway tells of every content type that it cannot read.
	grpclog.SetLoggerV2(grpclog.NewLoggerV2(discard{}, discard{}, discard{}))
	if err := run(options); err != nil {
		log.Fatalf("oracle: %v", err)
	}
}

// discard is a writer that writes nothing.
type discard struct{}

func (discard) Write(text []byte) (int, error) { return len(text), nil }

func run(options options) error {
	recorder := &recorder{arrivals: map[string][]arrival{}}
	grpcAddress, err := recorder.serve()
	if err != nil {
		return err
	}
	hashKey, blockKey := make([]byte, 64), make([]byte, 32)
	for _, key := range [][]byte{hashKey, blockKey} {
		if _, err := rand.Read(key); err != nil {
			return err
		}
	}
	gateway, err := newGateway(context.Background(), grpcAddress, hashKey, blockKey)
	if err != nil {
		return err
	}
	gatewayAddress, err := gateway.serve()
	if err != nil {
		return err
	}
	vectors, err := readVectors(filepath.Join(options.tests, "fixtures/gateway-vectors.json"))
	if err != nil {
		return err
	}
	if err := prove(vectors, gatewayAddress, recorder); err != nil {
		return err
	}
	fmt.Printf("the gateway does what FlyteAdmin's did with all %d recorded requests\n", len(vectors))
	known, err := newCredentials(gateway)
	if err != nil {
		return err
	}
	directory, err := os.MkdirTemp("", "oracle")
	if err != nil {
		return err
	}
	defer os.RemoveAll(directory)
	proxy, err := startProxy(options.proxy, directory, filepath.Join(options.tests, "oracle/policy.yaml"), gatewayAddress, grpcAddress, known, hashKey, blockKey)
	if err != nil {
		return err
	}
	defer proxy.stop()
	trial := &trial{
		options: options, proxy: proxy, gateway: gatewayAddress, recorder: recorder, known: known,
		vectors: vectors, bindings: bindings(), corpus: filepath.Join(options.tests, "oracle/corpus"),
	}
	report, err := trial.run()
	if err != nil {
		return err
	}
	text := report.String()
	fmt.Print(text)
	if options.report != "" {
		if err := os.WriteFile(options.report, []byte(text), 0o644); err != nil {
			return err
		}
	}
	if report.failed() {
		return errors.New("what was judged is not what arrived, or a client was refused: see above")
	}
	return nil
}
