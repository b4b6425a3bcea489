//! HTTP/1.1 messages of which two readers could disagree where they end, and odd HTTP/2 heads: the base of smuggling.

use crate::hostile::{Attack, TARGET, show};
use crate::raw::{self, Fate, Http1};
use flyte_authz_proxy::model::reason::Reason;

/// A call with a body that the caller may make.
const LINE: &str = "DELETE /api/v1/executions/ml/development/e1";

fn request(attack: &Attack, headers: &str, body: &str) -> String {
    let headers = format!("content-type: application/json\r\n{headers}");
    format!("{}{body}", attack.head(LINE, &headers))
}

/// Sends a request that must go on as judged: with this body and nothing behind it.
async fn forwarded(attack: &Attack, request: String, body: &str) {
    show(&request);
    let proxy = &attack.proxy;
    let before = proxy.before();
    let reply = raw::http1(proxy, request).await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["request_bytes"], body.len());
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    assert_eq!(arrival.body, body);
    assert_eq!(arrival.header("content-length"), [body.len().to_string()]);
    assert!(arrival.header("transfer-encoding").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn lengths_that_can_be_read_in_two_ways_are_refused() {
    let attack = Attack::start().await;
    for length in [
        "content-length: 2, 2\r\n",
        "content-length: +2\r\n",
        "content-length: -2\r\n",
        "content-length: 0x2\r\n",
        "content-length: 2 2\r\n",
        "content-length: 2\r\ncontent-length: 3\r\n",
        "content-length: 99999999999999999999\r\n",
        "transfer-encoding: xchunked\r\n",
        "transfer-encoding: chunked, identity\r\n",
        "transfer-encoding : chunked\r\n",
        "transfer-encoding:\u{b}chunked\r\n",
    ] {
        attack.http1_no_request(request(&attack, length, "{}"), 400).await;
    }
    let old = request(&attack, "transfer-encoding: chunked\r\n", "2\r\n{}\r\n0\r\n\r\n").replace("/1.1", "/1.0");
    attack.http1_no_request(old, 400).await;
    for encoding in [
        "transfer-encoding: gzip, chunked\r\n",
        "transfer-encoding: chunked, chunked\r\n",
        "transfer-encoding: chunked\r\ntransfer-encoding: chunked\r\n",
        "transfer-encoding: gzip\r\ntransfer-encoding: chunked\r\n",
    ] {
        let request = request(&attack, encoding, "2\r\n{}\r\n0\r\n\r\n");
        attack.http1(request, Reason::HeaderAmbiguous).await;
    }
    let huge = request(&attack, "content-length: 5000000\r\n", "{}");
    attack.http1(huge, Reason::MessageTooLarge).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_the_library_accepts_goes_on_in_one_framing() {
    let attack = Attack::start().await;
    forwarded(&attack, request(&attack, "content-length: 2\r\n", "{}"), "{}").await;
    // A length beside chunks does not count (RFC 9112, section 6.3), and is not passed on.
    let both = "content-length: 1\r\ntransfer-encoding: chunked\r\n";
    forwarded(&attack, request(&attack, both, "2\r\n{}\r\n0\r\n\r\n"), "{}").await;
    let extended = "transfer-encoding: Chunked\r\n";
    forwarded(
        &attack,
        request(&attack, extended, "1;a=b\r\n{\r\n1\r\n}\r\n0\r\n\r\n"),
        "{}",
    )
    .await;
    let bare = request(&attack, "content-length: 2\r\n", "{}").replace("\r\n", "\n");
    forwarded(&attack, bare, "{}").await;
    forwarded(
        &attack,
        format!("\r\n\r\n{}", request(&attack, "content-length: 2\r\n", "{}")),
        "{}",
    )
    .await;
    let equal = "content-length: 2\r\ncontent-length: 2\r\n";
    forwarded(&attack, request(&attack, equal, "{}"), "{}").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_follows_a_body_is_a_request_of_its_own() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let smuggled = "GET /api/v1/executions/fraud/development HTTP/1.1\r\nhost: localhost\r\n\r\n";
    let both = "content-length: 100\r\ntransfer-encoding: chunked\r\n";
    for first in [
        request(&attack, "content-length: 2\r\n", "{}"),
        request(&attack, both, "2\r\n{}\r\n0\r\n\r\n"),
        request(
            &attack,
            "transfer-encoding: chunked\r\n",
            "2\r\n{}\r\n0\r\nauthorization: x\r\n\r\n",
        ),
    ] {
        show(&first);
        let (records, arrivals) = (proxy.record_count(), proxy.control_plane.count());
        let mut connection = Http1::connect(proxy).await;
        connection.send(format!("{first}{smuggled}")).await;
        connection.reply().await.unwrap();
        let second = connection.reply().await;
        let records = proxy.records_after(records, 1 + usize::from(second.is_some())).await;
        assert_eq!(records[0]["outcome"], "forwarded");
        // With both framings the library closes the connection behind the first answer.
        if let Some(second) = second {
            assert_eq!(second.status, 401);
            assert_eq!(records[1]["reason"], "credential_missing");
        }
        assert_eq!(proxy.control_plane.count(), arrivals + 1);
        assert!(
            proxy
                .control_plane
                .arrivals()
                .iter()
                .all(|arrival| !arrival.target.contains("fraud"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_body_that_breaks_off_is_not_forwarded() {
    let attack = Attack::start().await;
    for body in [
        "zz\r\n{}\r\n0\r\n\r\n",
        "-2\r\n{}\r\n0\r\n\r\n",
        "0x2\r\n{}\r\n0\r\n\r\n",
        "ffffffffffffffff0\r\n{}\r\n0\r\n\r\n",
        "2\r\n{}x\r\n0\r\n\r\n",
    ] {
        let request = request(&attack, "transfer-encoding: chunked\r\n", body);
        show(&request);
        let before = attack.proxy.before();
        let mut connection = Http1::connect(&attack.proxy).await;
        connection.send(request).await;
        attack.proxy.recorded(&before, Reason::BodyAborted).await;
    }
    // The client leaves in the middle.
    let before = attack.proxy.before();
    let mut connection = Http1::connect(&attack.proxy).await;
    connection.send(request(&attack, "content-length: 20\r\n", "{}")).await;
    drop(connection);
    attack.proxy.recorded(&before, Reason::BodyAborted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn header_lines_that_are_none_are_no_request() {
    let attack = Attack::start().await;
    for line in [
        "x-a\r\n",
        ": y\r\n",
        "x a: b\r\n",
        "x-a: \0\r\n",
        "x-a: b\rc\r\n",
        "x-a: b\r\n c\r\n",
        "\u{e9}: x\r\n",
        "x(a): b\r\n",
    ] {
        let head = attack.head(&format!("GET {TARGET}"), line);
        attack.http1_no_request(head, 400).await;
    }
    for line in ["GET", "GET /", "GET / HTTP/9.9", "GET /  HTTP/1.1", "GET\t/ HTTP/1.1"] {
        let request = format!("{line}\r\nhost: localhost\r\n\r\n");
        attack.http1_no_request(request, 400).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_heads_that_are_malformed_are_no_request() {
    let attack = Attack::start().await;
    for changes in [
        &[(&b"X-Upper"[..], &b"x"[..])][..],
        &[(b"x-a", b"b\r\nc: d")],
        &[(b"x-a", b"b\0")],
        &[(b":path", b"/a"), (b":path", b"/b")],
        &[(b":method", b"GET"), (b":method", b"POST")],
        &[(b":unknown", b"x")],
        &[(b":status", b"200")],
        &[(b":method", b"")],
        &[(b"transfer-encoding", b"chunked")],
        &[(b"keep-alive", b"x")],
        &[(b"proxy-connection", b"x")],
    ] {
        let before = attack.proxy.before();
        let fate = raw::http2(&attack.proxy, &attack.fields(changes), Some(&attack.framed("ml"))).await;
        assert!(matches!(fate, Fate::Reset | Fate::Ended), "{fate:?}");
        attack.proxy.untouched(&before).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_scheme_and_authority_a_client_claims_do_not_go_upstream() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    for scheme in ["https", "ftp", "HTTP"] {
        let records = proxy.record_count();
        let fields = attack.fields(&[(b":scheme", scheme.as_bytes()), (b":authority", b"flyte.example.com")]);
        let fate = raw::http2(proxy, &fields, Some(&attack.framed("ml"))).await;
        assert_eq!(fate, Fate::Answered { headers_only: false }, "{scheme}");
        assert_eq!(proxy.records_after(records, 1).await[0]["outcome"], "forwarded");
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(arrival.header("x-forwarded-proto"), ["http"]);
        assert_eq!(arrival.header("x-forwarded-host"), ["flyte.example.com"]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_body_that_breaks_off_or_is_too_large_is_the_clients_fault() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let post =
        |length: usize| format!("POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\ncontent-length: {length}\r\n\r\n");
    let refusals = proxy.metric("refusals_total");
    let mut connection = Http1::connect(proxy).await;
    connection.send(format!("{}grant", post(50))).await;
    drop(connection);
    let records = proxy.records_after(0, 1).await;
    assert_eq!(records[0]["reason"], "body_aborted", "{:#}", records[0]);
    let mut connection = Http1::connect(proxy).await;
    connection.send(post(5 << 20)).await;
    connection.send(vec![b'a'; 5 << 20]).await;
    let records = proxy.records_after(1, 1).await;
    assert_eq!(records[0]["reason"], "message_too_large", "{:#}", records[0]);
    assert!((proxy.metric("refusals_total") - refusals - 2.0).abs() < f64::EPSILON);
    assert_eq!(proxy.control_plane.count(), 0, "nothing went upstream");
}
