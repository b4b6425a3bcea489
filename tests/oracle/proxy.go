package main

import (
	"bufio"
	"encoding/base64"
	"encoding/json"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"os/exec"
	"path/filepath"
	"syscall"
	"time"
)

// proxy is the program under test, as users run it.
type proxy struct {
	address string
	// Its audit records, as they are written.
	records <-chan *record
	command *exec.Cmd
}

// startProxy starts the program in front of a control plane, and waits until it is ready.
func startProxy(program, directory, policy, gatewayAddress, grpcAddress string, known *credentials, hashKey, blockKey []byte) (*proxy, error) {
	address, err := free()
	if err != nil {
		return nil, err
	}
	admin, err := free()
	if err != nil {
		return nil, err
	}
	text, err := os.ReadFile(policy)
	if err != nil {
		return nil, err
	}
	configuration := fmt.Sprintf(`version: 1
listeners:
  - {name: oracle, address: "%s", identity: tokens}
admin: {address: "%s"}
upstream: {grpc: "http://%s", http: "http://%s"}
issuers:
  - {issuer: "%s", audiences: [flyte], jwks: {file: keys.json}}
credentials:
  session: {hash_key: {file: hash_key}, block_key: {file: block_key}}
policy: {path: policy.yaml}
`, address, admin, grpcAddress, gatewayAddress, issuer)
	for name, content := range map[string][]byte{
		"config.yaml": []byte(configuration), "policy.yaml": text, "keys.json": known.keySet,
		"hash_key":  []byte(base64.RawStdEncoding.EncodeToString(hashKey)),
		"block_key": []byte(base64.RawStdEncoding.EncodeToString(blockKey)),
	} {
		if err := os.WriteFile(filepath.Join(directory, name), content, 0o600); err != nil {
			return nil, err
		}
	}
	command := exec.Command(program, "serve", "--config", filepath.Join(directory, "config.yaml"))
	// However this program ends, the proxy does not outlive it.
	command.SysProcAttr = &syscall.SysProcAttr{Pdeathsig: syscall.SIGTERM}
	output, err := command.StdoutPipe()
	if err != nil {
		return nil, err
	}
	log, err := os.Create(filepath.Join(directory, "proxy.log"))
	if err != nil {
		return nil, err
	}
	command.Stderr = log
	if err := command.Start(); err != nil {
		return nil, err
	}
	records := make(chan *record, 1024)
	go read(output, records)
	started := &proxy{address: address, records: records, command: command}
	if err := ready(admin); err != nil {
		started.stop()
		text, _ := os.ReadFile(log.Name())
		return nil, fmt.Errorf("%w\n%s", err, text)
	}
	return started, nil
}

func (p *proxy) stop() {
	_ = p.command.Process.Signal(os.Interrupt)
	_ = p.command.Wait()
}

// free gives a loopback address at which nothing listens.
func free() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	return listener.Addr().String(), listener.Close()
}

func read(output io.Reader, records chan<- *record) {
	defer close(records)
	lines := bufio.NewReaderSize(output, 1<<20)
	for {
		line, err := lines.ReadBytes('\n')
		if err != nil {
			return
		}
		written := &record{}
		if json.Unmarshal(line, written) == nil && written.RequestID != "" {
			records <- written
		}
	}
}

func ready(admin string) error {
	for range 200 {
		answer, err := http.Get("http://" + admin + "/readyz")
		if err == nil {
			_ = answer.Body.Close()
			if answer.StatusCode == http.StatusOK {
				return nil
			}
		}
		time.Sleep(50 * time.Millisecond)
	}
	return errors.New("the proxy did not become ready within 10 s")
}
