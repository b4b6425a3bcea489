//! T-HDR 03, 04, 05, 08: headers by which a client could claim to be somebody else, or to come from elsewhere.

use crate::hostile::{Attack, RPC, TARGET, show};
use crate::proxy::Proxy;
use crate::raw;
use flyte_authz_proxy::demo::control_plane::Arrival;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;

/// What a claimed identity is here; it must never arrive.
const CLAIM: &str = "mallory-claims-this";

/// T-HDR-03 and 04: headers that FlyteAdmin or something before it takes for an identity.
const IDENTITIES: &[&str] = &[
    "Grpc-Metadata-Authorization",
    "Grpc-Metadata-Flyte-Authorization",
    "Grpc-Metadata-Userinfo-Bin",
    "Grpc-Metadata-From_http",
    "grpcgateway-authorization",
    "grpcgateway-cookie",
    "userinfo-bin",
    "from_http",
    "X-User-Subject",
    "X-User-Claim-Groups",
    "X-Amzn-Oidc-Data",
    "X-Amzn-Oidc-Identity",
    "X-Amzn-Oidc-Accesstoken",
    "X-Auth-Request-User",
    "X-Auth-Request-Groups",
    "X-Auth-Request-Access-Token",
    "X-Actions-Role",
    "X-Remote-User",
    "X-Remote-Group",
    "X-Remote-Extra-Scopes",
    "X-Request-Id",
    "Proxy-Authorization",
    // T-HDR-08: where it comes from.
    "X-Forwarded-User",
    "X-Forwarded-Email",
    "X-Forwarded-Groups",
    "X-Forwarded-Access-Token",
    "X-Forwarded-For",
    "X-Forwarded-Host",
    "X-Forwarded-Proto",
    "X-Forwarded-Prefix",
    "X-Forwarded-Client-Cert",
    "X-Original-Url",
    "X-Rewrite-Url",
    "X-Real-Ip",
    "Forwarded",
];

/// The same in other spellings of one name: case, and the underscore that a server may read as a dash.
fn spellings(name: &str) -> Vec<String> {
    let mut spellings = vec![
        name.to_owned(),
        name.to_lowercase(),
        name.to_uppercase(),
        name.replace('-', "_"),
        name.replacen('-', "_", 1),
    ];
    // `Forwarded` has none to replace.
    spellings.dedup();
    spellings
}

/// What arrived is what the proxy says of the request, and nothing that the client claims.
fn nothing_claimed(arrival: &Arrival) {
    let claimed: Vec<_> = arrival
        .headers
        .iter()
        .filter(|(_, value)| value.contains(CLAIM))
        .collect();
    assert!(claimed.is_empty(), "{claimed:?} arrived");
    assert_eq!(arrival.header("x-forwarded-for"), ["127.0.0.1"]);
    assert_eq!(arrival.header("x-forwarded-proto"), ["http"]);
    assert_eq!(arrival.header("x-forwarded-host").len(), 1);
    assert_eq!(arrival.header("x-request-id").len(), 1);
}

fn last(proxy: &Proxy) -> Arrival {
    proxy.control_plane.arrivals().pop().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_03_04_08_no_claimed_identity_arrives_and_the_verified_credential_does() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    for name in IDENTITIES.iter().flat_map(|name| spellings(name)) {
        show(&name);
        let line = format!("{name}: {CLAIM}\r\n");
        for target in [TARGET, "/console", "/login"] {
            let before = proxy.before();
            let head = attack.head(&format!("GET {target}"), &line);
            let reply = raw::http1(proxy, head).await.unwrap();
            proxy.forwarded(&before, &reply).await;
            nothing_claimed(&last(proxy));
            // No page needs a token.
            let expected = (target == TARGET).then_some(attack.bearer.as_str());
            assert_eq!(
                last(proxy).header("authorization"),
                Vec::from_iter(expected),
                "{target}"
            );
        }
        let before = proxy.before();
        let headers = [("authorization", attack.bearer.as_str()), (&name.to_lowercase(), CLAIM)];
        let reply = proxy.plain.grpc(RPC, &headers, attack.framed("ml")).await.unwrap();
        proxy.forwarded(&before, &reply).await;
        nothing_claimed(&last(proxy));
        assert_eq!(last(proxy).header("authorization"), [attack.bearer.as_str()]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_04_a_name_with_a_space_behind_it_is_no_request() {
    let attack = Attack::start().await;
    for name in ["X-User-Subject", "Authorization", "X_Forwarded_User"] {
        let head = attack.head(&format!("GET {TARGET}"), &format!("{name} : {CLAIM}\r\n"));
        attack.http1_no_request(head, 400).await;
    }
    let folded = attack.head(
        &format!("GET {TARGET}"),
        &format!("x-a: b\r\n X-User-Subject: {CLAIM}\r\n"),
    );
    attack.http1_no_request(folded, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_02_one_credential_arrives_whichever_header_it_came_in() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let sources = [
        ["authorization", "flyte-authorization", "authorization"],
        ["flyte-authorization", "x-unused", "flyte-authorization"],
    ];
    for [first, second, kept] in sources {
        let headers = [
            (first, attack.bearer.as_str()),
            (second, attack.bearer.as_str()),
            ("cookie", "flyte_at=secret; flyte_idt=secret"),
            ("proxy-authorization", "Basic eDp5"),
        ];
        for grpc in [true, false] {
            let before = proxy.before();
            let reply = if grpc {
                proxy.plain.grpc(RPC, &headers, attack.framed("ml")).await.unwrap()
            } else {
                proxy.plain.rest(Method::GET, TARGET, &headers, "").await.unwrap()
            };
            proxy.forwarded(&before, &reply).await;
            let arrival = last(proxy);
            let with_token: Vec<_> = arrival
                .headers
                .iter()
                .filter(|(_, value)| *value == attack.bearer)
                .collect();
            assert_eq!(with_token, [&(kept.to_owned(), attack.bearer.clone())]);
            assert!(arrival.header("cookie").is_empty() && arrival.header("proxy-authorization").is_empty());
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_05_connection_names_no_header_to_be_dropped() {
    let attack = Attack::start().await;
    for connection in [
        "authorization",
        "close, Authorization",
        "keep-alive, x-request-id",
        "x-forwarded-for",
        "cookie",
        "content-type, close",
    ] {
        let line = format!("connection: {connection}\r\n");
        for target in [TARGET, "/console"] {
            let head = attack.head(&format!("GET {target}"), &line);
            attack.http1(head, Reason::HeaderAmbiguous).await;
        }
    }
    let split = "connection: close\r\nconnection: authorization\r\n";
    attack
        .http1(attack.head(&format!("GET {TARGET}"), split), Reason::HeaderAmbiguous)
        .await;
    attack
        .http2_no_request(&[(b"connection", b"authorization")], raw::Fate::Reset)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_04_what_the_client_calls_its_request_is_noted_apart() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let before = proxy.before();
    let headers = [("authorization", attack.bearer.as_str()), ("x-request-id", "client-1")];
    let reply = proxy.plain.rest(Method::GET, TARGET, &headers, "").await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["client_request_id"], "client-1");
    assert_ne!(record["request_id"], "client-1");
    assert_eq!(
        last(proxy).header("x-request-id"),
        [record["request_id"].as_str().unwrap()]
    );
    assert_eq!(reply.headers["x-request-id"], record["request_id"].as_str().unwrap());
    // What is no plain identifier is not noted: it could break a line of a log.
    let before = proxy.before();
    let headers = [("authorization", attack.bearer.as_str()), ("x-request-id", "a\"b c")];
    let reply = proxy.plain.rest(Method::GET, TARGET, &headers, "").await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert!(record.get("client_request_id").is_none());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_10_no_part_of_a_credential_is_written_or_answered() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let token = attack.bearer.trim_start_matches("Bearer ");
    let other = proxy.fraud();
    let twice = format!("authorization: {}\r\nauthorization: Bearer {other}\r\n", attack.bearer);
    let mut answers = Vec::new();
    for (target, headers) in [
        (
            "/api/v1/executions/fraud/development".to_owned(),
            format!("authorization: {}\r\n", attack.bearer),
        ),
        (TARGET.to_owned(), twice),
        (TARGET.to_owned(), format!("authorization: {}x\r\n", attack.bearer)),
        (TARGET.to_owned(), format!("authorization: {token}\r\n")),
        (TARGET.to_owned(), format!("authorization: Basic {token}\r\n")),
        (
            TARGET.to_owned(),
            format!("cookie: flyte_at={token}; flyte_idt={other}\r\n"),
        ),
        (
            format!("{TARGET}&access_token={token}"),
            format!("authorization: {}\r\n", attack.bearer),
        ),
        (
            format!("{TARGET}&{token}=x"),
            format!("authorization: {}\r\n", attack.bearer),
        ),
        (
            format!("/api/v1/executions/{token}/development"),
            format!("authorization: {}\r\n", attack.bearer),
        ),
        (
            format!("/api/v1/{token}"),
            format!("authorization: {}\r\n", attack.bearer),
        ),
        (
            TARGET.to_owned(),
            format!("authorization: {}\r\nx-request-id: {token}\r\n", attack.bearer),
        ),
        (
            TARGET.to_owned(),
            format!("authorization: {}\r\nconnection: {token}\r\n", attack.bearer),
        ),
    ] {
        let head = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
        let reply = raw::http1(proxy, head).await.unwrap();
        answers.push(format!("{:?} {}", reply.headers, String::from_utf8_lossy(&reply.body)));
    }
    let records = format!("{:?}", proxy.records_after(0, 12).await);
    let metrics = String::from_utf8(proxy.app.metrics.render().unwrap()).unwrap();
    for (what, text) in [("answer", answers.concat()), ("record", records), ("metric", metrics)] {
        for part in token.split('.').chain(other.split('.')) {
            assert!(!text.contains(part), "an {what} has a part of a token");
        }
    }
}
