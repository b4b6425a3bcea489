//! The listener that only leads browsers to `https://`, and everything that must not be led anywhere.

use crate::ingress::{ask_from, client, connect_from, listener, start};
use crate::proxy::Proxy;
use crate::raw::Http1;
use crate::sockets::{exchange, h2, soon};
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use http_body_util::Full;
use serde_json::json;
use std::net::SocketAddr;

const KEYS: &str = "redirect_to_https: { hosts: [flyte.example.com, Console.Example.com] }";

async fn proxy() -> Proxy {
    start(&listener("http", KEYS)).await
}

fn address(proxy: &Proxy) -> SocketAddr {
    proxy.app.addresses[3]
}

async fn ask(proxy: &Proxy, head: &str) -> Reply {
    ask_from(1, address(proxy), head).await
}

/// Where an answer leads; it must be the one status that keeps the method.
fn led_to(reply: &Reply) -> &str {
    assert_eq!(reply.status, 308, "{reply:?}");
    assert!(reply.body.is_empty());
    reply.headers["location"].to_str().unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_led_to_the_same_place_by_https_and_that_is_recorded() {
    let proxy = proxy().await;
    for (method, host, target, expected) in [
        ("GET", "flyte.example.com", "/", "https://flyte.example.com/"),
        (
            "GET",
            "flyte.example.com:80",
            "/console?x=1&y=//evil.example",
            "https://flyte.example.com/console?x=1&y=//evil.example",
        ),
        (
            "HEAD",
            "FLYTE.EXAMPLE.COM:8080",
            "/console/",
            "https://flyte.example.com/console/",
        ),
        ("GET", "console.example.com", "/a%20b", ""),
        (
            "GET",
            "console.example.com",
            "/login?redirect_url=https://evil.example",
            "https://console.example.com/login?redirect_url=https://evil.example",
        ),
    ] {
        let arrived = proxy.control_plane.count();
        let records = proxy.record_count();
        let reply = ask(&proxy, &format!("{method} {target} HTTP/1.1\r\nhost: {host}\r\n")).await;
        let record = proxy.records_after(records, 1).await.remove(0);
        assert_eq!(proxy.control_plane.count(), arrived);
        assert_eq!(record["listener"], "http");
        if expected.is_empty() {
            assert_eq!(record["reason"], "path_not_canonical", "{record:#}");
            continue;
        }
        assert_eq!(led_to(&reply), expected);
        assert_eq!(reply.headers["cache-control"], "no-store");
        assert_eq!(record["request_id"], reply.headers["x-request-id"].to_str().unwrap());
        assert_eq!(
            (&record["outcome"], &record["status"], &record["rpc"], &record["client"]),
            (
                &json!("answered"),
                &json!(308),
                &json!("redirect_to_https"),
                &json!("127.0.0.1")
            )
        );
    }
    let series = "requests_total{outcome=\"answered\",protocol=\"rest\",rpc=\"redirect_to_https\"}";
    assert!((proxy.metric(series) - 4.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn another_port_is_told() {
    let proxy = start(&listener(
        "http",
        "redirect_to_https: { hosts: [flyte.example.com], port: 8443 }",
    ))
    .await;
    let reply = ask(&proxy, "GET /console HTTP/1.1\r\nhost: flyte.example.com:8080\r\n").await;
    assert_eq!(led_to(&reply), "https://flyte.example.com:8443/console");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_is_led_to_a_host_that_is_not_listed() {
    let proxy = proxy().await;
    for (host, reason) in [
        ("evil.example", Reason::Misdirected),
        ("flyte.example.com.evil.example", Reason::Misdirected),
        ("evil.flyte.example.com", Reason::Misdirected),
        ("flyte.example.com.", Reason::Misdirected),
        ("xflyte.example.com", Reason::Misdirected),
        ("[::1]", Reason::Misdirected),
        (":80", Reason::Misdirected),
        ("127.0.0.1", Reason::Misdirected),
        ("flyte.example.com@evil.example", Reason::HostInvalid),
        ("flyte.example.com/evil", Reason::HostInvalid),
        ("evil.example?flyte.example.com", Reason::HostInvalid),
        ("flyte.example.com, evil.example", Reason::HostInvalid),
        ("", Reason::HostInvalid),
    ] {
        let before = proxy.before();
        let reply = ask(&proxy, &format!("GET /console HTTP/1.1\r\nhost: {host}\r\n")).await;
        proxy.refused(&before, &reply, reason).await;
        assert!(reply.headers.get("location").is_none(), "{host}");
    }
    // Nor by what anybody can write.
    for line in [
        "x-forwarded-host: flyte.example.com",
        "forwarded: host=flyte.example.com",
        "x-host: flyte.example.com",
    ] {
        let before = proxy.before();
        let reply = ask(&proxy, &format!("GET / HTTP/1.1\r\nhost: evil.example\r\n{line}\r\n")).await;
        proxy.refused(&before, &reply, Reason::Misdirected).await;
    }
    let reply = ask(
        &proxy,
        "GET / HTTP/1.1\r\nhost: flyte.example.com\r\nx-forwarded-host: evil.example\r\n",
    )
    .await;
    assert_eq!(led_to(&reply), "https://flyte.example.com/");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_that_is_not_a_browsers_first_step_is_refused() {
    let proxy = proxy().await;
    for (head, reason) in [
        (
            "POST /login HTTP/1.1\r\nhost: flyte.example.com\r\ncontent-length: 0\r\n",
            Reason::HttpsRequired,
        ),
        (
            "PUT /api/v1/projects HTTP/1.1\r\nhost: flyte.example.com\r\ncontent-length: 0\r\n",
            Reason::HttpsRequired,
        ),
        (
            "OPTIONS /api/v1/projects HTTP/1.1\r\nhost: flyte.example.com\r\n",
            Reason::HttpsRequired,
        ),
        (
            "GET /api/v1/projects HTTP/1.1\r\nhost: flyte.example.com\r\nauthorization: Bearer x\r\n",
            Reason::HttpsRequired,
        ),
        (
            "TRACE / HTTP/1.1\r\nhost: flyte.example.com\r\n",
            Reason::HttpMethodRefused,
        ),
        (
            "GET //evil.example HTTP/1.1\r\nhost: flyte.example.com\r\n",
            Reason::PathNotCanonical,
        ),
        (
            "GET /\\evil.example HTTP/1.1\r\nhost: flyte.example.com\r\n",
            Reason::PathNotCanonical,
        ),
        (
            "GET /%0d%0aset-cookie:x HTTP/1.1\r\nhost: flyte.example.com\r\n",
            Reason::PathNotCanonical,
        ),
        (
            "GET http://flyte.example.com/ HTTP/1.1\r\nhost: flyte.example.com\r\n",
            Reason::PathNotCanonical,
        ),
        (
            "GET / HTTP/1.1\r\nhost: flyte.example.com\r\nupgrade: h2c\r\nconnection: upgrade\r\n",
            Reason::UpgradeRefused,
        ),
        (
            "GET / HTTP/1.1\r\nhost: flyte.example.com\r\nx-http-method-override: POST\r\n",
            Reason::MethodOverride,
        ),
        (
            "GET / HTTP/1.1\r\nhost: flyte.example.com\r\nhost: evil.example\r\n",
            Reason::HeaderAmbiguous,
        ),
    ] {
        let before = proxy.before();
        let reply = ask(&proxy, head).await;
        let record = proxy.refused(&before, &reply, reason).await;
        assert_eq!(record["rpc"], "redirect_to_https");
        assert!(reply.headers.get("location").is_none(), "{head}");
    }
    // What is no HTTP at all: the connection just ends, nothing is recorded.
    let before = proxy.before();
    let answer = exchange(
        connect_from(1, address(&proxy)).await,
        "\x16\x03\x01\x02\0\x01\0\x01\r\n\r\n",
    )
    .await;
    assert!(!answer.contains("location"), "{answer}");
    proxy.untouched(&before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_grpc_client_in_plain_text_is_told_in_its_own_form_and_a_browsers_http_2_is_led_on() {
    let proxy = proxy().await;
    let grpc = client(address(&proxy));
    let before = proxy.before();
    let message = json!({"id": {"project": "ml", "domain": "development"}});
    let reply = grpc
        .call(Some(&proxy.ml()), "AdminService/ListExecutions", message)
        .await
        .unwrap();
    let record = proxy.refused(&before, &reply, Reason::HttpsRequired).await;
    assert_eq!((&record["protocol"], record.get("principal")), (&json!("grpc"), None));
    let mut requests = h2(connect_from(1, address(&proxy)).await).await;
    let request = http::Request::get("http://flyte.example.com/console");
    let request = request.body(crate::sockets::Undeclared(Full::default())).unwrap();
    let response = soon("an answer", requests.send_request(request)).await.unwrap();
    assert_eq!(response.status(), 308);
    assert_eq!(response.headers()["location"], "https://flyte.example.com/console");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn one_connection_is_led_on_again_and_again() {
    let proxy = proxy().await;
    let mut connection = Http1::over(connect_from(1, address(&proxy)).await);
    for path in ["/a", "/b"] {
        connection
            .send(format!("GET {path} HTTP/1.1\r\nhost: flyte.example.com\r\n\r\n"))
            .await;
        assert_eq!(
            led_to(&connection.reply().await.unwrap()),
            format!("https://flyte.example.com{path}")
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_a_trusted_hop_the_public_host_counts_and_nobody_goes_in_circles() {
    let proxy = start(&listener("http", &format!("{KEYS}\ntrusted_hops: [127.0.0.1/32]"))).await;
    let head = "GET /console HTTP/1.1\r\nhost: inside.example\r\nx-forwarded-for: 192.0.2.7\r\nx-forwarded-host: flyte.example.com\r\n";
    let records = proxy.record_count();
    let reply = ask(&proxy, &format!("{head}x-forwarded-proto: http\r\n")).await;
    assert_eq!(led_to(&reply), "https://flyte.example.com/console");
    assert_eq!(proxy.records_after(records, 1).await[0]["client"], "192.0.2.7");
    let before = proxy.before();
    let reply = ask(&proxy, &format!("{head}x-forwarded-proto: https\r\n")).await;
    proxy.refused(&before, &reply, Reason::Misdirected).await;
    let before = proxy.before();
    let reply = ask(&proxy, &head.replace("192.0.2.7", "junk")).await;
    proxy.refused(&before, &reply, Reason::ForwardedInvalid).await;
    let before = proxy.before();
    let reply = ask_from(2, address(&proxy), head).await;
    proxy.refused(&before, &reply, Reason::Misdirected).await;
}
