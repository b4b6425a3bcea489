// Command label stands between the proxy and the suite's own server. That server has to be told which test a call belongs
// to, by headers that the proxy, rightly, does not forward: they travel inside `baggage`, and are taken out here.
//
// Usage: label HOST:PORT [PEM FILE OF THE SERVER'S CERTIFICATE]. Prints its own port; ends when its input does.
package main

import (
	"crypto/tls"
	"crypto/x509"
	"encoding/base64"
	"encoding/json"
	"fmt"
	"io"
	"log"
	"net"
	"net/http"
	"net/url"
	"os"
	"strings"
)

func main() {
	target := &url.URL{Scheme: "http", Host: os.Args[1]}
	transport := &http.Transport{Protocols: new(http.Protocols), DisableCompression: true}
	transport.Protocols.SetUnencryptedHTTP2(true)
	if len(os.Args) > 2 {
		pem, err := os.ReadFile(os.Args[2])
		if err != nil {
			log.Fatal(err)
		}
		roots := x509.NewCertPool()
		roots.AppendCertsFromPEM(pem)
		target.Scheme = "https"
		transport.TLSClientConfig = &tls.Config{RootCAs: roots, NextProtos: []string{"h2"}}
		transport.Protocols = new(http.Protocols)
		transport.Protocols.SetHTTP2(true)
	}
	server := &http.Server{
		Handler: http.HandlerFunc(func(answer http.ResponseWriter, request *http.Request) {
			forward(answer, request, target, transport)
		}),
		ErrorLog:  log.New(io.Discard, "", 0),
		Protocols: new(http.Protocols),
	}
	server.Protocols.SetUnencryptedHTTP2(true)
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		log.Fatal(err)
	}
	fmt.Println(listener.Addr().(*net.TCPAddr).Port)
	go func() { log.Fatal(server.Serve(listener)) }()
	_, _ = io.Copy(io.Discard, os.Stdin)
}

// forward passes everything on as it is. httputil.ReverseProxy does not: it joins trailers with headers of the same name.
func forward(answer http.ResponseWriter, request *http.Request, target *url.URL, transport *http.Transport) {
	out := request.Clone(request.Context())
	out.URL.Scheme, out.URL.Host = target.Scheme, target.Host
	out.Host, out.RequestURI = target.Host, ""
	// What it adds of its own would be taken for the proxy's.
	if _, ok := request.Header["User-Agent"]; !ok {
		out.Header["User-Agent"] = nil
	}
	label(out.Header)
	response, err := transport.RoundTrip(out)
	if err != nil {
		panic(http.ErrAbortHandler)
	}
	defer response.Body.Close()
	for name, values := range response.Header {
		answer.Header()[name] = values
	}
	answer.WriteHeader(response.StatusCode)
	pass(answer, response.Body, response.ContentLength != 0)
	for name, values := range response.Trailer {
		for _, value := range values {
			answer.Header().Add(http.TrailerPrefix+name, value)
		}
	}
}

// pass hands on what comes when it comes, and breaks off where it is broken off. Without a body nothing is flushed, so that
// the headers can end the stream.
func pass(answer http.ResponseWriter, body io.Reader, flushes bool) {
	flusher := http.NewResponseController(answer)
	buffer := make([]byte, 32<<10)
	for {
		if flushes && flusher.Flush() != nil {
			panic(http.ErrAbortHandler)
		}
		count, err := body.Read(buffer)
		if _, failed := answer.Write(buffer[:count]); failed != nil || (err != nil && err != io.EOF) {
			panic(http.ErrAbortHandler)
		}
		if err == io.EOF {
			return
		}
	}
}

// label takes the headers of the test out of the baggage.
func label(header http.Header) {
	carried, ok := strings.CutPrefix(header.Get("Baggage"), "conformance=")
	if !ok {
		return
	}
	header.Del("Baggage")
	text, err := base64.RawURLEncoding.DecodeString(carried)
	labels := map[string]string{}
	if err == nil {
		err = json.Unmarshal(text, &labels)
	}
	if err != nil {
		log.Printf("baggage did not arrive as it was sent: %v", err)
	}
	for name, value := range labels {
		header.Set(name, value)
	}
}
