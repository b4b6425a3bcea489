package main

import (
	"bufio"
	"bytes"
	"errors"
	"fmt"
	"io"
	"net"
	"net/http"
	"os"
	"strings"
	"time"
)

// request is a request, of which method, target, headers and body may be no valid ones.
type request struct {
	Method  string      `json:"method"`
	Target  string      `json:"target"`
	Headers [][2]string `json:"headers"`
	Body    []byte      `json:"body,omitempty"`
	// Whether the body is sent in chunks, not with its length.
	Chunked bool `json:"chunked,omitempty"`
	// What says where it ends, in place of its length; nothing else is then sent on its connection.
	Framing [][2]string `json:"framing,omitempty"`
	// Whether the proxy gets it by HTTP/2; the gateway itself speaks HTTP/1.1 only.
	HTTP2 bool `json:"http2,omitempty"`
}

// bytes gives what is sent by HTTP/1.1, with more headers before its own.
func (r *request) bytes(more ...[2]string) []byte {
	var text bytes.Buffer
	fmt.Fprintf(&text, "%s %s HTTP/1.1\r\n", r.Method, r.Target)
	if !r.has("host") {
		text.WriteString("Host: localhost\r\n")
	}
	for _, header := range append(more, r.Headers...) {
		fmt.Fprintf(&text, "%s: %s\r\n", header[0], header[1])
	}
	switch {
	case r.Framing != nil:
		for _, header := range r.Framing {
			fmt.Fprintf(&text, "%s: %s\r\n", header[0], header[1])
		}
		fmt.Fprintf(&text, "\r\n%s", r.Body)
	case r.Chunked:
		text.WriteString("Transfer-Encoding: chunked\r\n\r\n")
		if len(r.Body) > 0 {
			fmt.Fprintf(&text, "%x\r\n%s\r\n", len(r.Body), r.Body)
		}
		text.WriteString("0\r\n\r\n")
	case len(r.Body) > 0:
		fmt.Fprintf(&text, "Content-Length: %d\r\n\r\n%s", len(r.Body), r.Body)
	default:
		text.WriteString("\r\n")
	}
	return text.Bytes()
}

// odd tells whether it may leave its connection in disorder.
func (r *request) odd() bool {
	for _, header := range r.Headers {
		if strings.ContainsAny(header[0]+header[1], "\r\n") {
			return true
		}
	}
	return r.Framing != nil
}

func (r *request) has(name string) bool {
	for _, header := range r.Headers {
		if strings.EqualFold(header[0], name) {
			return true
		}
	}
	return false
}

// answer is what came back.
type answer struct {
	status int
	header http.Header
	body   []byte
}

func (a answer) redirected() bool {
	return a.status == http.StatusTemporaryRedirect || a.status == http.StatusMovedPermanently
}

// connection sends one request after the other on a connection, which it makes anew when it has ended.
type connection struct {
	address string
	stream  net.Conn
	reader  *bufio.Reader
	// Whether the request may have no end, so that no answer is no surprise.
	endless bool
}

var errNoAnswer = errors.New("the connection ended without an answer")

// send gives the answer to a request. It tries again, once, if a connection that was used before has ended.
func (c *connection) send(request []byte) (answer, error) {
	used := c.stream != nil
	received, err := c.try(request)
	if errors.Is(err, errNoAnswer) && used {
		received, err = c.try(request)
	}
	return received, err
}

func (c *connection) try(request []byte) (answer, error) {
	if c.stream == nil {
		stream, err := net.Dial("tcp", c.address)
		if err != nil {
			return answer{}, err
		}
		c.stream, c.reader = stream, bufio.NewReader(stream)
	}
	patience := 30 * time.Second
	if c.endless {
		patience = time.Second
	}
	if err := c.stream.SetDeadline(time.Now().Add(patience)); err != nil {
		return answer{}, err
	}
	// What is refused early may leave no time to write the rest; the answer is there to be read.
	_, written := c.stream.Write(request)
	method, _, _ := strings.Cut(string(request[:min(len(request), 16)]), " ")
	response, err := http.ReadResponse(c.reader, &http.Request{Method: method})
	for err == nil && response.StatusCode == http.StatusContinue {
		response, err = http.ReadResponse(c.reader, &http.Request{Method: method})
	}
	if err != nil {
		c.close()
		if errors.Is(err, os.ErrDeadlineExceeded) && !c.endless {
			return answer{}, fmt.Errorf("no answer within 30 s to %q", request)
		}
		return answer{}, errNoAnswer
	}
	body, err := io.ReadAll(response.Body)
	if err != nil || written != nil || response.Close || c.reader.Buffered() > 0 {
		c.close()
	}
	return answer{status: response.StatusCode, header: response.Header, body: body}, nil
}

func (c *connection) close() {
	if c.stream != nil {
		_ = c.stream.Close()
		c.stream = nil
	}
}
