package main

import (
	"bytes"
	"fmt"
	"net/url"
	"regexp"
	"strings"

	"google.golang.org/protobuf/proto"
)

// mutated changes a request in none, one or a few ways.
func (g *generator) mutated(made generated) generated {
	for range []int{0, 1, 1, 1, 1, 2, 3}[g.IntN(7)] {
		switch g.IntN(11) {
		case 10:
			g.changeFraming(&made.request)
		case 0, 1:
			made.Target = g.changedPath(made.Target)
		case 2, 3:
			made.Target = g.changedQuery(made.Target)
		case 4:
			g.changeMethod(&made.request)
		case 5, 6:
			g.changeHeaders(&made.request)
		default:
			if len(made.Body) > 0 || g.chance(20) {
				g.changeBody(&made.request)
			} else {
				made.Target = g.respelled(made.Target)
			}
		}
	}
	return made
}

// pathPieces have, or once had, a meaning in paths.
var pathPieces = []string{
	"/", "//", "%2F", "%2f", "..", ".", "%2e", "%2E%2e", "/../", "/./", ";", ";x=y", "?", "#", ":", "\\", "%5C", "%00", "%", "%25", "%252F",
	"+", "%20", "*", ",", "@", "fraud", "ml", "fraud/", "/fraud", "executions", "api/v1", "\u00e9", "%C3%A9", "%FF", "%zz", "v1", "{", "%7B",
}

// respelled changes a target without changing what it means to the gateway, or so that it is hard to say whether it does.
func (g *generator) respelled(target string) string {
	at := 1 + g.IntN(len(target)+1)
	if at >= len(target) || strings.ContainsRune("/?&=%", rune(target[at])) {
		return target
	}
	return target[:at] + fmt.Sprintf(one(g, []string{"%%%02X", "%%%02x"}), target[at]) + target[at+1:]
}

func (g *generator) changedPath(target string) string {
	path, query, found := strings.Cut(target, "?")
	at := g.IntN(len(path) + 1)
	switch g.IntN(9) {
	case 0:
		path = path[:at] + one(g, pathPieces) + path[at:]
	case 1, 2:
		// One byte in another spelling, once or twice encoded.
		if at < len(path) {
			spelled := fmt.Sprintf(one(g, []string{"%%%02X", "%%%02x", "%%25%02x"}), path[at])
			path = path[:at] + spelled + path[at+1:]
		}
	case 3:
		path = strings.Replace(path, "/", one(g, []string{"%2F", "//", "/./", "/x/../", "\\", ";/"}), 1+g.IntN(4))
	case 4:
		path += one(g, []string{"/", "//", ".", "/..", "%2F", "/fraud", "?", ";", "%20", "#x"})
	case 5:
		parts := strings.Split(path, "/")
		index := g.IntN(len(parts))
		parts[index] = one(g, []string{"fraud", "", "..", parts[g.IntN(len(parts))], "ML", "ml%20", "%66raud", "m%6C", "ml%00"})
		path = strings.Join(parts, "/")
	case 6:
		path = one(g, []string{"http://localhost", "http://fraud.test", "//localhost", "/", "/x/..", "/%2e%2e", "", "*"}) + path
	case 7:
		path = swapCase(path, at)
	default:
		end := min(at+g.IntN(4), len(path))
		path = path[:at] + path[end:]
	}
	// Nothing that would make another request of it.
	path = strings.Map(func(char rune) rune {
		if char == '\r' || char == '\n' {
			return -1
		}
		return char
	}, path)
	if found {
		path += "?" + query
	}
	return path
}

func swapCase(text string, at int) string {
	if at >= len(text) {
		return text
	}
	char := text[at : at+1]
	if upper := strings.ToUpper(char); upper != char {
		return text[:at] + upper + text[at+1:]
	}
	return text[:at] + strings.ToLower(char) + text[at+1:]
}

// changedQuery adds a key that sets something in the request, in one of its spellings.
func (g *generator) changedQuery(target string) string {
	binding := one(g, g.bindings)
	path, _, _ := strings.Cut(target, "?")
	for _, candidate := range g.bindings {
		// Most often a key of this very call.
		if strings.HasPrefix(path, strings.SplitN(candidate.template, "{", 2)[0]) && len(candidate.query) > 0 && g.chance(90) {
			binding = candidate
			break
		}
	}
	names := append(binding.variables(), binding.query...)
	if len(names) == 0 || g.chance(10) {
		names = []string{"project", "id.project", "id.domain", "org", "id.org", "id", "limit", "filters"}
	}
	name := one(g, names)
	if g.chance(40) && len(binding.variables()) > 0 {
		name = one(g, binding.variables())
	}
	value := one(g, []string{"fraud", "", "ml", "production", "1", "2", "x", "fraud&" + name + "=ml", "%66raud", "null"})
	switch g.IntN(9) {
	case 0:
		name = lowerCamel(name)
	case 1:
		at := g.IntN(len(name))
		name = name[:at] + fmt.Sprintf("%%%02x", name[at]) + name[at+1:]
	case 2:
		name = one(g, []string{name + "[]", name + "[x]", strings.ToUpper(name), name + ".", "." + name, strings.ReplaceAll(name, ".", "[") + "]"})
	case 3:
		name = strings.ReplaceAll(name, ".", "%2E")
	}
	pair := name + "=" + value
	if g.chance(5) {
		pair = name
	}
	separator := one(g, []string{"&", "&", "&", "&", ";", "&&", "&%26"})
	if !strings.Contains(target, "?") {
		separator = one(g, []string{"?", "?", "?", "?", "??", "?&", "%3F"})
	}
	if g.chance(30) && strings.Contains(target, "?") {
		path, query, _ := strings.Cut(target, "?")
		return path + "?" + pair + "&" + query
	}
	return target + separator + pair
}

func (g *generator) changeMethod(made *request) {
	switch g.IntN(4) {
	case 0:
		// A form that the gateway takes for a query.
		made.Method = "POST"
		made.Headers = append(made.without("content-type"), [2]string{"Content-Type", "application/x-www-form-urlencoded"})
		binding := one(g, g.bindings)
		names := append([]string{"id.project", "project", "limit"}, binding.query...)
		made.Body = []byte(one(g, names) + "=" + url.QueryEscape(one(g, []string{"fraud", "ml", "", "1"})))
	case 1:
		made.Method = one(g, []string{"POST", "GET", "PUT"})
		name := one(g, []string{"X-HTTP-Method-Override", "x-http-method", "X-Method-Override"})
		made.Headers = append(made.Headers, [2]string{name, one(g, []string{"GET", "PUT", "DELETE", "POST", "put"})})
		if g.chance(50) {
			made.Headers = append(made.without("content-type"), [2]string{"Content-Type", "application/x-www-form-urlencoded"})
		}
	default:
		made.Method = one(g, []string{"GET", "POST", "PUT", "DELETE", "PATCH", "HEAD", "OPTIONS", "get", "Get", "TRACE", "PROPFIND"})
	}
}

// without gives the headers that are called otherwise.
func (r *request) without(name string) [][2]string {
	var kept [][2]string
	for _, header := range r.Headers {
		if !strings.EqualFold(header[0], name) {
			kept = append(kept, header)
		}
	}
	return kept
}

// contentTypes are spellings of the three codecs: JSON, protobuf, and JSON with fields that may be unknown.
var contentTypes = []string{
	"application/json", "application/octet-stream", "text/plain", "APPLICATION/JSON", "application/json; charset=utf-8", "application/json;;",
	"application/octet-stream;x=y", "application/x-protobuf", "application/protobuf", "application/grpc", "application/grpc-web+proto", "", "*/*",
	"application/json, application/octet-stream", "application/x-www-form-urlencoded", "multipart/form-data; boundary=x", " application/json",
}

// forgeries are headers by which a request tries to be somebody else's, or to change how it is read.
var forgeries = [][2]string{
	{"Grpc-Metadata-Authorization", "Bearer {{bob}}"}, {"Grpc-Metadata-Authorization", "Bearer {{root}}"},
	{"Grpc-Metadata-Flyte-Authorization", "Bearer {{bob}}"}, {"grpcgateway-authorization", "Bearer {{bob}}"},
	{"Grpc-Metadata-Userinfo-Bin", "eyJzdWJqZWN0IjoiYm9iIn0="}, {"Grpc-Metadata-From_http", marker}, {"Grpc-Metadata-X", marker},
	{"userinfo-bin", "eyJzdWJqZWN0IjoiYm9iIn0="}, {"from_http", marker}, {"X-User-Subject", marker}, {"X-Forwarded-User", marker},
	{"X-Forwarded-Host", marker}, {"X-Forwarded-For", marker}, {"X-Forwarded-Proto", marker}, {"Forwarded", "for=" + marker},
	{"X-Request-Id", marker}, {"Grpc-Metadata-X-Request-Id", marker}, {"X-Amzn-Oidc-Data", "{{bob}}"}, {"X-Original-Url", "/" + marker},
	{"Proxy-Authorization", "Bearer {{bob}}"}, {"Content-Encoding", "gzip"}, {"Content-Encoding", "identity"}, {"Te", "trailers"},
	{"Connection", "authorization"}, {"Connection", "content-type, cookie"}, {"Connection", "x-request-id, keep-alive"}, {"Expect", "100-continue"},
	{"Host", "fraud.test"}, {"Grpc-Timeout", "10S"}, {"Grpc-Timeout", "x"}, {"Upgrade", "h2c"}, {"Trailer", "authorization"},
	{"flyte-authorization", "Bearer {{bob}}"}, {"flyte-authorization", "Bearer {{alice}}"}, {"flyte-authorization", ""},
	{"Authorization", "Bearer {{bob}}"}, {"Authorization", "Bearer {{alice}}"}, {"Authorization", "Basic Ym9iOmJvYg=="}, {"Authorization", ""},
	{"Authorization", "IDToken {{alice}}"}, {"authorization", "bearer {{alice}}"}, {"Authorization", "Bearer  {{alice}}"},
	{"Authorization", "Bearer {{alice}}, Bearer {{bob}}"}, {"Authorization", "Bearer {{alice}} {{bob}}"}, {"Authorization", "Bearer {{alice}}x"},
	{"Cookie", "{{session-bob}}"}, {"Cookie", "{{session-alice}}"}, {"Cookie", "flyte_idt={{bob}}; flyte_at=x"},
	{"Cookie", "{{session-alice}}; {{session-bob}}"}, {"Cookie", "a=b; {{session-root}}"}, {"Cookie", `flyte_idt=""; flyte_at="x"`},
	{"Accept", "application/grpc"}, {"Accept", "application/octet-stream"}, {"Accept", "text/html"}, {"Accept-Encoding", "gzip"},
	{"Origin", "https://console.test"}, {"If-None-Match", marker}, {"Range", "bytes=0-1"}, {"Content-Language", marker}, {"From", marker},
	{"X", "y\r\n Authorization: Bearer {{bob}}"}, {"X", "y\nAuthorization: Bearer {{bob}}"}, {"X", "y\rAuthorization: Bearer {{bob}}"},
	{"X", "y\r\nAuthorization: Bearer {{bob}}"}, {"Authorization ", "Bearer {{bob}}"}, {"Authorization", "Bearer\r\n {{bob}}"}, {":path", "/me"},
	{"Transfer_Encoding", "chunked"}, {"Content_Type", "application/json"}, {"X_Http_Method_Override", "PUT"},
}

func (g *generator) changeHeaders(made *request) {
	switch g.IntN(4) {
	case 0:
		made.Headers = made.without("content-type")
		if g.chance(90) {
			made.Headers = append(made.Headers, [2]string{"Content-Type", one(g, contentTypes)})
		}
		if g.chance(10) {
			made.Headers = append(made.Headers, [2]string{"content-type", one(g, contentTypes)})
		}
	case 1:
		if len(made.Headers) > 0 && g.chance(30) {
			index := g.IntN(len(made.Headers))
			made.Headers = append(made.Headers[:index:index], made.Headers[index+1:]...)
		}
		fallthrough
	default:
		forged := one(g, forgeries)
		if g.chance(50) {
			made.Headers = append([][2]string{forged}, made.Headers...)
		} else {
			made.Headers = append(made.Headers, forged)
		}
	}
}

// framings say in several ways where a request ends.
var framings = [][2]string{
	{"Content-Length", "0"}, {"Content-Length", "5"}, {"Content-Length", "+5"}, {"Content-Length", "5, 5"}, {"Content-Length ", "0"}, {"Content-Length", "-1"},
	{"Content-Length", "0x5"}, {"Content-Length", "99999999999999999999"}, {"Transfer-Encoding", "chunked"}, {"Transfer-Encoding", " chunked"},
	{"Transfer-Encoding", "Chunked"}, {"Transfer-Encoding", "xchunked"}, {"Transfer-Encoding", "identity"}, {"Transfer-Encoding", "chunked, identity"},
	{"Transfer-Encoding", "identity, chunked"}, {"Transfer-Encoding\t", "chunked"}, {"Transfer-Encoding", "\x0bchunked"}, {"X: y\nTransfer-Encoding", "chunked"},
}

// changeFraming says once more where the request ends, and puts another one behind it.
func (g *generator) changeFraming(made *request) {
	made.Framing = [][2]string{one(g, framings)}
	if g.chance(50) {
		made.Framing = append(made.Framing, one(g, framings))
	}
	smuggled := "GET /api/v1/executions/fraud/development HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer {{" + g.pick("alice", "root") + "}}\r\n\r\n"
	switch g.IntN(3) {
	case 0:
		made.Body = append(bytes.Clone(made.Body), smuggled...)
	case 1:
		made.Body = []byte("0\r\n\r\n" + smuggled)
	default:
		made.Body = []byte(fmt.Sprintf("%x\r\n%s\r\n0\r\n\r\n%s", len(made.Body), made.Body, smuggled))
	}
}

// jsonPieces have a meaning in JSON.
var jsonPieces = []string{
	"{", "}", "[", "]", ":", ",", `"`, "\\", "null", "{}", "[]", "0", "1e0", "-1", "true", `"project":"fraud",`, `"domain":"production",`, `"id":{"project":"fraud"},`,
	`"x":1,`, `"org":"x",`, `"\u0070roject":"fraud",`, `"Project":"fraud",`, `"id":null,`, `"name":"",`, "\ufeff", " ", "\x00", `"@type":"x",`, `"resource_type":"TASK",`,
	`"resourceType":2,`, `"spec":{"launch_plan":{"project":"fraud"}},`, "//", "/**/", `{"project":"fraud"}`, "\xff", `\ud800`,
}

// key is a member's name in JSON, with the text that follows it.
var key = regexp.MustCompile(`"([a-zA-Z_]+)":\s*("[^"]*")?`)

func (g *generator) changeBody(made *request) {
	if g.chance(8) {
		made.Chunked = !made.Chunked
	}
	switch {
	case len(made.Body) == 0:
		made.Body = []byte(one(g, []string{"", "{}", `{"project":"fraud"}`, "null", "\x0a\x05fraud", "id.project=fraud"}))
	case bytes.HasPrefix(bytes.TrimLeft(made.Body, " \ufeff"), []byte("{")):
		made.Body = g.changedJSON(made.Body)
	default:
		made.Body = g.changedProtobuf(made.Body)
	}
}

func (g *generator) changedJSON(body []byte) []byte {
	members := key.FindAllSubmatchIndex(body, -1)
	if len(members) == 0 || g.chance(30) {
		return g.spliced(body, []byte(one(g, jsonPieces)))
	}
	member := one(g, members)
	name := string(body[member[2]:member[3]])
	before, whole, after := body[:member[0]], body[member[0]:member[1]], body[member[1]:]
	switch g.IntN(8) {
	case 0, 1:
		// The same member twice, perhaps by its other name.
		other := name
		if g.chance(50) {
			other = lowerCamel(name)
		}
		value := one(g, []string{`"fraud"`, "null", `"ml"`, "{}", `""`, `{"project":"fraud"}`, "1"})
		return join(before, []byte(fmt.Sprintf("%q:%s,", other, value)), whole, after)
	case 2:
		at := g.IntN(len(name))
		spelled := name[:at] + fmt.Sprintf(`\u%04x`, name[at]) + name[at+1:]
		return join(before, bytes.Replace(whole, []byte(name), []byte(spelled), 1), after)
	case 3:
		return join(before, bytes.Replace(whole, []byte(name), []byte(one(g, []string{lowerCamel(name), strings.ToUpper(name), name + " ", "project", "x"})), 1), after)
	case 4:
		if member[4] >= 0 {
			value := one(g, []string{`"fraud"`, "null", `""`, "1", "{}", `"f\u0072aud"`, `"\ud800"`, `["ml"]`, `"ML"`, "\"m\xffl\"", `"ml\u0000"`})
			return join(body[:member[4]], []byte(value), body[member[5]:])
		}
		return join(before, whole, []byte("null,"), after)
	case 5:
		return append(bytes.Clone(body), one(g, []string{` {"project":"fraud"}`, "x", "\n", "\x00", ",", "}", "null"})...)
	case 6:
		return append([]byte(one(g, []string{"\ufeff", " ", "\n\t", "[", "\x0b", "//\n", "0"})), body...)
	default:
		return body[:g.IntN(len(body)+1)]
	}
}

func join(parts ...[]byte) []byte {
	return bytes.Join(parts, nil)
}

// spliced puts a piece somewhere, in the place of some bytes or none.
func (g *generator) spliced(body, piece []byte) []byte {
	at := g.IntN(len(body) + 1)
	end := min(at+g.IntN(3), len(body))
	return join(body[:at], piece, body[end:])
}

func (g *generator) changedProtobuf(body []byte) []byte {
	switch g.IntN(7) {
	case 0:
		// Another message after it: fields are replaced, and messages merged.
		g.project = one(g, []string{"fraud", "ml"})
		other, err := proto.Marshal(g.message(one(g, g.bindings)))
		if err != nil {
			return body
		}
		return join(body, other[:g.IntN(len(other)+1)])
	case 1:
		return join(body, body)
	case 2:
		pieces := []string{
			"\x0a\x05fraud", "\x12\x0bdevelopment", "\x0a\x00", "\x0a\x07\x0a\x05fraud", "\x0a\x07\x12\x05fraud", "\x1a\x05fraud", "\x08\x01", "\x0b\x0c", "\x0c",
			"\x8a\x80\x00\x05fraud", "\x0a\x85\x00fraud", "\xfa\xff\xff\xff\x0f\x01x", "\x80\x80\x80\x80\x80\x80\x80\x80\x80\x01", "\x0a\xff\xff\xff\xff\x0f", "\x00", "\x0d\x01\x02\x03\x04", "\xff", "\x0f",
		}
		piece := []byte(one(g, pieces))
		if g.chance(60) {
			return join(piece, body)
		}
		return join(body, piece)
	case 3:
		return body[:g.IntN(len(body)+1)]
	case 4:
		changed := bytes.Clone(body)
		changed[g.IntN(len(changed))] = byte(g.IntN(256))
		return changed
	case 5:
		return bytes.Replace(body, []byte("ml"), []byte(one(g, []string{"xx", "ML", "m\xff", "fr"})), 1+g.IntN(3))
	default:
		return g.spliced(body, []byte{byte(g.IntN(256))})
	}
}
