package main

import (
	"bytes"
	"net"
	"net/http"
	"slices"
	"strconv"
	"strings"
	"time"

	"golang.org/x/net/http2"
	"golang.org/x/net/http2/hpack"
)

// connection2 is like connection, for HTTP/2 with prior knowledge: one request after the other, each on a stream of its own.
type connection2 struct {
	address string
	stream  net.Conn
	framer  *http2.Framer
	block   bytes.Buffer
	encoder *hpack.Encoder
	next    uint32
}

// frame is the largest that is sent: the smallest that every peer accepts.
const frame = 16 << 10

// send gives the answer to a request, trying again once if a connection that was used before has ended.
func (c *connection2) send(made *request) (answer, error) {
	used := c.stream != nil
	received, err := c.try(made)
	if err == errNoAnswer && used && c.stream == nil {
		received, err = c.try(made)
	}
	return received, err
}

func (c *connection2) try(made *request) (answer, error) {
	if c.stream == nil {
		if err := c.open(); err != nil {
			return answer{}, err
		}
	}
	if err := c.stream.SetDeadline(time.Now().Add(30 * time.Second)); err != nil {
		return answer{}, err
	}
	id := c.next
	c.next += 2
	if err := c.write(id, made); err != nil {
		c.close()
		return answer{}, errNoAnswer
	}
	received, err := c.read(id)
	if err != nil {
		return answer{}, errNoAnswer
	}
	return received, nil
}

func (c *connection2) open() error {
	stream, err := net.Dial("tcp", c.address)
	if err != nil {
		return err
	}
	c.stream, c.next = stream, 1
	c.framer = http2.NewFramer(stream, stream)
	c.framer.ReadMetaHeaders = hpack.NewDecoder(4096, nil)
	c.encoder = hpack.NewEncoder(&c.block)
	if _, err := stream.Write([]byte(http2.ClientPreface)); err != nil {
		return err
	}
	return c.framer.WriteSettings(http2.Setting{ID: http2.SettingEnablePush, Val: 0})
}

func (c *connection2) write(id uint32, made *request) error {
	c.block.Reset()
	host := "localhost"
	for _, header := range made.Headers {
		if strings.EqualFold(header[0], "host") {
			host = header[1]
		}
	}
	fields := [][2]string{{":method", made.Method}, {":scheme", "http"}, {":authority", host}, {":path", made.Target}}
	for _, header := range append(slices.Clone(made.Headers), made.Framing...) {
		if name := strings.ToLower(header[0]); name != "host" {
			fields = append(fields, [2]string{name, header[1]})
		}
	}
	if len(made.Body) > 0 && !made.Chunked && made.Framing == nil {
		fields = append(fields, [2]string{"content-length", strconv.Itoa(len(made.Body))})
	}
	for _, field := range fields {
		if err := c.encoder.WriteField(hpack.HeaderField{Name: field[0], Value: field[1]}); err != nil {
			return err
		}
	}
	block, rest := c.block.Bytes(), made.Body
	first := block[:min(len(block), frame)]
	parameters := http2.HeadersFrameParam{StreamID: id, BlockFragment: first, EndHeaders: len(first) == len(block), EndStream: len(rest) == 0}
	if err := c.framer.WriteHeaders(parameters); err != nil {
		return err
	}
	for block = block[len(first):]; len(block) > 0; {
		part := block[:min(len(block), frame)]
		block = block[len(part):]
		if err := c.framer.WriteContinuation(id, len(block) == 0, part); err != nil {
			return err
		}
	}
	for len(rest) > 0 {
		part := rest[:min(len(rest), frame)]
		rest = rest[len(part):]
		if err := c.framer.WriteData(id, len(rest) == 0, part); err != nil {
			return err
		}
	}
	return nil
}

func (c *connection2) read(id uint32) (answer, error) {
	received := answer{header: http.Header{}}
	for {
		next, err := c.framer.ReadFrame()
		if err != nil {
			c.close()
			return received, err
		}
		ended := false
		switch next := next.(type) {
		case *http2.SettingsFrame:
			if !next.IsAck() {
				err = c.framer.WriteSettingsAck()
			}
		case *http2.PingFrame:
			if !next.IsAck() {
				err = c.framer.WritePing(true, next.Data)
			}
		case *http2.GoAwayFrame:
			c.close()
			return received, errNoAnswer
		case *http2.RSTStreamFrame:
			if next.StreamID == id {
				return received, errNoAnswer
			}
		case *http2.MetaHeadersFrame:
			for _, field := range next.Fields {
				if field.Name == ":status" {
					received.status, _ = strconv.Atoi(field.Value)
				} else {
					received.header.Add(field.Name, field.Value)
				}
			}
			ended = next.StreamID == id && next.StreamEnded() && received.status >= 200
		case *http2.DataFrame:
			received.body = append(received.body, next.Data()...)
			ended = next.StreamID == id && next.StreamEnded()
			if length := uint32(len(next.Data())); length > 0 {
				err = c.framer.WriteWindowUpdate(0, length)
			}
		}
		if err != nil {
			c.close()
			return received, err
		}
		if ended {
			return received, nil
		}
	}
}

func (c *connection2) close() {
	if c.stream != nil {
		_ = c.stream.Close()
		c.stream = nil
	}
}
