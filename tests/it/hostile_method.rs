//! T-METHOD: methods and upgrades that would make the control plane do something else than what was judged.

use crate::hostile::{Attack, RPC, TARGET, show};
use crate::raw::{self, Fate, Http1};
use flyte_authz_proxy::catalog::Catalog;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_01_headers_that_override_the_method_are_refused() {
    let attack = Attack::start().await;
    for name in [
        "X-HTTP-Method-Override",
        "x-http-method-override",
        "X-Method-Override",
        "X-HTTP-Method",
    ] {
        for (method, target) in [(Method::GET, TARGET), (Method::POST, TARGET), (Method::GET, "/console")] {
            let headers = [(name, "DELETE")];
            attack
                .rest((method, target), &headers, "", Reason::MethodOverride)
                .await;
        }
        let headers = [(name, "")];
        attack
            .grpc(RPC, &headers, attack.framed("ml"), Reason::MethodOverride)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_02_a_posted_form_is_never_a_get() {
    let attack = Attack::start().await;
    let form = [("content-type", "application/x-www-form-urlencoded")];
    let fields = "id.project=fraud&id.domain=development";
    attack
        .rest((Method::POST, TARGET), &form, fields, Reason::RouteUnknown)
        .await;
    attack
        .rest((Method::POST, TARGET), &form, "", Reason::RouteUnknown)
        .await;
    // A route with a POST of its own.
    let create = (Method::POST, "/api/v1/executions");
    attack
        .rest(create.clone(), &form, fields, Reason::ContentTypeUnsupported)
        .await;
    attack.rest(create, &form, "", Reason::ContentTypeUnsupported).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_03_head_is_refused_on_every_route_and_accepted_on_pages() {
    let attack = Attack::start().await;
    let catalog = Catalog::builtin().unwrap();
    let bindings = catalog.routes.iter().flat_map(|route| &route.bindings);
    let mut count = 0;
    for binding in bindings.filter(|binding| binding.method == Method::GET) {
        let segments = binding.template.split('/').map(|segment| match segment {
            variable if variable.ends_with("project}") => "ml",
            variable if variable.ends_with("domain}") => "development",
            variable if variable.starts_with('{') => "1",
            literal => literal,
        });
        let target = segments.collect::<Vec<_>>().join("/");
        let request = attack.head(&format!("HEAD {target}"), "");
        show(&request);
        let before = attack.proxy.before();
        let mut connection = Http1::connect(&attack.proxy).await;
        connection.send(request).await;
        attack.proxy.recorded(&before, Reason::RouteUnknown).await;
        count += 1;
    }
    assert!(count > 40, "only {count} routes");
    let before = attack.proxy.before();
    let reply = attack
        .proxy
        .plain
        .rest(Method::HEAD, "/console", &[], "")
        .await
        .unwrap();
    attack.proxy.forwarded(&before, &reply).await;
    assert_eq!((reply.status.as_u16(), reply.body.len()), (200, 0));
    attack.http2(&[(b":method", b"HEAD")], Reason::HttpMethodRefused).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_04_a_preflight_carries_nothing_by_which_somebody_could_be_known() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    for target in [TARGET, "/api/v1/executions/fraud/development", "/login", "/console"] {
        let before = proxy.before();
        let headers = [
            ("authorization", attack.bearer.as_str()),
            ("flyte-authorization", &attack.bearer),
            ("proxy-authorization", &attack.bearer),
            ("grpc-metadata-authorization", &attack.bearer),
            ("cookie", "flyte_at=secret; flyte_idt=secret"),
            ("origin", "https://console.example.com"),
            ("access-control-request-method", "GET"),
            ("access-control-request-headers", "authorization"),
        ];
        let reply = proxy.plain.rest(Method::OPTIONS, target, &headers, "").await.unwrap();
        proxy.forwarded(&before, &reply).await;
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!((arrival.method.as_str(), arrival.target.as_str()), ("OPTIONS", target));
        for name in ["authorization", "flyte-authorization", "proxy-authorization", "cookie"] {
            assert!(arrival.header(name).is_empty(), "{name} arrived");
        }
        assert!(!format!("{arrival:?}").contains("secret"));
        assert!(!format!("{arrival:?}").contains(&attack.bearer));
        assert_eq!(arrival.header("access-control-request-method"), ["GET"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_05_a_body_where_none_is_read_is_refused() {
    let attack = Attack::start().await;
    let json = [("content-type", "application/json")];
    let body = r#"{"id": {"project": "fraud", "domain": "development"}}"#;
    attack
        .rest((Method::GET, TARGET), &json, body, Reason::BodyUnexpected)
        .await;
    attack
        .rest((Method::GET, TARGET), &[], "x", Reason::BodyUnexpected)
        .await;
    let chunked = attack.head(&format!("GET {TARGET}"), "transfer-encoding: chunked\r\n");
    attack
        .http1(format!("{chunked}1\r\nx\r\n0\r\n\r\n"), Reason::BodyUnexpected)
        .await;
    // Every route with DELETE reads a body; one that names another project is refused for it.
    let terminate = (Method::DELETE, "/api/v1/executions/ml/development/e1");
    let record = attack.rest(terminate, &json, body, Reason::ScopeAmbiguous).await;
    assert_eq!(record["rpc"], "/flyteidl.service.AdminService/TerminateExecution");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_06_other_methods_are_refused() {
    let attack = Attack::start().await;
    for method in ["TRACE", "PATCH", "PROPFIND", "get", "Get", "post", "OPTIONSX"] {
        let head = attack.head(&format!("{method} {TARGET}"), "");
        attack.http1(head, Reason::HttpMethodRefused).await;
    }
    for target in ["evil.example.com:443", "localhost:80"] {
        let head = attack.head(&format!("CONNECT {target}"), "");
        attack.http1(head, Reason::HttpMethodRefused).await;
    }
    for method in ["GET", "PUT", "post", "TRACE"] {
        attack
            .http2(&[(b":method", method.as_bytes())], Reason::HttpMethodRefused)
            .await;
    }
    let connect: [(&[u8], &[u8]); 3] = [(b":method", b"CONNECT"), (b":path", b""), (b":scheme", b"")];
    attack.http2(&connect, Reason::HttpMethodRefused).await;
    // With status 200, which refusals by gRPC have, a tunnel would be there.
    for content_type in ["application/grpc", "application/grpc+proto", "application/json"] {
        let with_type = [&connect[..], &[(b"content-type", content_type.as_bytes())]].concat();
        for data in [None, Some(&attack.framed("ml")[..])] {
            let before = attack.proxy.before();
            let (block, body) = raw::http2_answer(&attack.proxy, &attack.fields(&with_type), data).await;
            // `:status: 400` is the twelfth of the static table (RFC 7541, appendix A).
            assert_eq!(block.first(), Some(&0x8c), "{block:?}");
            assert!(
                String::from_utf8_lossy(&body).contains("[http_method_refused; "),
                "{body:?}"
            );
            attack.proxy.recorded(&before, Reason::HttpMethodRefused).await;
        }
    }
    let extended: [(&[u8], &[u8]); 2] = [(b":method", b"CONNECT"), (b":protocol", b"websocket")];
    attack.http2_no_request(&extended, Fate::Reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_07_what_follows_a_refused_upgrade_is_a_request_of_its_own() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    for (upgrade, target) in [
        ("connection: Upgrade\r\nupgrade: websocket\r\n", TARGET),
        (
            "connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n",
            TARGET,
        ),
        ("upgrade: h2c\r\n", "/console"),
        ("connection: keep-alive, upgrade\r\n", "/login"),
    ] {
        let before = proxy.before();
        let first = attack.head(&format!("GET {target}"), upgrade);
        let second = "GET /api/v1/executions/fraud/development HTTP/1.1\r\nhost: localhost\r\n\r\n";
        let mut connection = Http1::connect(proxy).await;
        connection.send(format!("{first}{second}")).await;
        let reply = connection.reply().await.unwrap();
        assert!(reply.message().contains("[upgrade_refused; "), "{}", reply.message());
        let reply = connection.reply().await.unwrap();
        assert!(reply.message().contains("[credential_missing; "), "{}", reply.message());
        let reasons: Vec<_> = proxy.recorded_two(&before).await;
        assert_eq!(reasons, ["upgrade_refused", "credential_missing"]);
    }
    let headers: [(&[u8], &[u8]); 1] = [(b"upgrade", b"h2c")];
    attack.http2_no_request(&headers, Fate::Reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_method_08_a_get_of_an_rpc_is_unknown() {
    let attack = Attack::start().await;
    for query in [
        "",
        "?connect=v1&encoding=json&message=%7B%7D",
        "?message=e30&base64=1&message=e30",
    ] {
        let target = format!("/flyteidl.service.AdminService/TerminateExecution{query}");
        attack.rest((Method::GET, &target), &[], "", Reason::RouteUnknown).await;
    }
    let before = attack.proxy.before();
    let fate = raw::http2(&attack.proxy, &attack.fields(&[(b":method", b"GET")]), None).await;
    assert_eq!(fate, Fate::Answered { headers_only: true });
    attack.proxy.recorded(&before, Reason::HttpMethodRefused).await;
}
