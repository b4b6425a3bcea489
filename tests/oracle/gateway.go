package main

import (
	"context"
	"encoding/json"
	"fmt"
	"net"
	"net/http"
	"net/textproto"
	"strings"

	"github.com/flyteorg/flyte/flyteidl/gen/pb-go/gateway/flyteidl/service"
	"github.com/gorilla/securecookie"
	"github.com/grpc-ecosystem/grpc-gateway/v2/runtime"
	"google.golang.org/grpc"
	"google.golang.org/grpc/credentials/insecure"
	"google.golang.org/grpc/metadata"
	"google.golang.org/protobuf/encoding/protojson"
)

// gateway is FlyteAdmin's REST port: the gateway that Flyte generates, with the options that FlyteAdmin gives it when
// `useAuth` is on.
type gateway struct {
	sessions *securecookie.SecureCookie
	handler  http.Handler
}

// header is FlyteAdmin's default for `auth.httpAuthorizationHeader`.
const header = "flyte-authorization"

// newGateway makes the gateway in front of the gRPC server at an address. `hashKey` and `blockKey` are those of sessions.
func newGateway(ctx context.Context, grpcAddress string, hashKey, blockKey []byte) (*gateway, error) {
	g := &gateway{sessions: securecookie.New(hashKey, blockKey)}
	mux := runtime.NewServeMux(
		runtime.WithMarshalerOption("application/octet-stream", &runtime.ProtoMarshaller{}),
		runtime.WithMarshalerOption("application/json", &runtime.JSONPb{
			MarshalOptions: protojson.MarshalOptions{UseProtoNames: true, EmitUnpopulated: true, EmitDefaultValues: true},
		}),
		runtime.WithIncomingHeaderMatcher(matchHeader),
		runtime.WithMetadata(g.credential),
		runtime.WithMetadata(func(context.Context, *http.Request) metadata.MD {
			return metadata.Pairs("from_http", "true")
		}),
	)
	// The default of both is 4 MiB; what FlyteAdmin sets beside that changes no request.
	options := []grpc.DialOption{
		grpc.WithTransportCredentials(insecure.NewCredentials()),
		grpc.WithMaxHeaderListSize(32 << 10),
	}
	for _, register := range []func(context.Context, *runtime.ServeMux, string, []grpc.DialOption) error{
		service.RegisterAdminServiceHandlerFromEndpoint,
		service.RegisterAuthMetadataServiceHandlerFromEndpoint,
		service.RegisterIdentityServiceHandlerFromEndpoint,
		service.RegisterDataProxyServiceHandlerFromEndpoint,
		service.RegisterSignalServiceHandlerFromEndpoint,
	} {
		if err := register(ctx, mux, grpcAddress, options); err != nil {
			return nil, err
		}
	}
	outer := http.NewServeMux()
	outer.HandleFunc("/healthcheck", func(http.ResponseWriter, *http.Request) {})
	outer.HandleFunc("/api/v1/openapi", func(http.ResponseWriter, *http.Request) {})
	// Who logs in, and where clients of FlyteAdmin's own authorization server do; nothing of it reaches the API.
	for _, page := range []string{
		"/login", "/callback", "/logout", "/.well-known/openid-configuration", "/oauth2/authorize",
		"/oauth2/authorize_callback", "/oauth2/token", "/oauth2/jwks",
	} {
		outer.HandleFunc(page, func(http.ResponseWriter, *http.Request) {})
	}
	outer.Handle("/", mux)
	g.handler = outer
	return g, nil
}

// serve answers on a free loopback port.
func (g *gateway) serve() (string, error) {
	listener, err := net.Listen("tcp", "127.0.0.1:0")
	if err != nil {
		return "", err
	}
	go func() { _ = http.Serve(listener, g.handler) }()
	return listener.Addr().String(), nil
}

// matchHeader lets the request's identifier through, beside what every gateway lets through.
func matchHeader(key string) (string, bool) {
	if textproto.CanonicalMIMEHeaderKey(key) == "X-Request-Id" {
		return "x-request-id", true
	}
	return runtime.DefaultHeaderMatcher(key)
}

// credential makes metadata of a session's cookies, or else of the extra header, even if that is empty.
func (g *gateway) credential(_ context.Context, request *http.Request) metadata.MD {
	idToken, found := g.idToken(request)
	if !found {
		return metadata.Pairs("authorization", request.Header.Get(header))
	}
	made := metadata.Pairs("authorization", "IDToken "+idToken)
	// Of a session without the cookie that tells who it is, FlyteAdmin makes `null`.
	userInfo := json.RawMessage("null")
	if text, err := g.cookie(request, "flyte_user_info"); err == nil && json.Valid([]byte(text)) {
		userInfo = json.RawMessage(text)
	}
	made.Set("userinfo-bin", string(userInfo))
	return made
}

// idToken gives the ID token of a session that also has an access token, whole or in two halves.
func (g *gateway) idToken(request *http.Request) (string, bool) {
	idToken, err := g.cookie(request, "flyte_idt")
	if err != nil || idToken == "" {
		return "", false
	}
	access, err := g.cookie(request, "flyte_at")
	if err == nil && access != "" {
		return idToken, true
	}
	for _, half := range []string{"flyte_at_1", "flyte_at_2"} {
		if _, err := g.cookie(request, half); err != nil {
			return "", false
		}
	}
	return idToken, true
}

func (g *gateway) cookie(request *http.Request, name string) (string, error) {
	found, err := request.Cookie(name)
	if err != nil {
		return "", err
	}
	var value string
	return value, g.sessions.Decode(name, found.Value, &value)
}

// session gives the Cookie header of somebody who has logged in at the console.
func (g *gateway) session(idToken, subject string) (string, error) {
	var cookies []string
	for _, cookie := range [][2]string{
		{"flyte_idt", idToken}, {"flyte_at_1", "left"}, {"flyte_at_2", "right"},
		{"flyte_user_info", fmt.Sprintf(`{"subject":%q}`, subject)},
	} {
		encoded, err := g.sessions.Encode(cookie[0], cookie[1])
		if err != nil {
			return "", err
		}
		cookies = append(cookies, fmt.Sprintf("%s=%s", cookie[0], encoded))
	}
	return strings.Join(cookies, "; "), nil
}
