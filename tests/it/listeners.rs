//! Connections: TLS versions and protocols, plain text, the engine's listener, and what is cut off when.

use crate::descriptors;
use crate::proxy::Proxy;
use crate::sockets::{VERSIONS, eventually, exchange, get, h2, rpc, soon, status, tcp, tls, until_closed};
use flyte_authz_proxy::demo::client::Client;
use flyte_authz_proxy::demo::stack::{Entry, Setup};
use flyte_authz_proxy::model::reason::Reason;
use rustls::version::{TLS12, TLS13};
use serde_json::{Value, json};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};

const LIST: &str = "AdminService/ListExecutions";
const PREFACE: &[u8] = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n";

fn list(project: &str) -> Value {
    json!({"id": {"project": project, "domain": "development"}, "limit": 1})
}

/// Deadlines short enough to be waited for.
fn short(setup: &mut Setup) {
    setup.configuration = "workers: 1
limits: {tls_handshake: 300ms, preface: 300ms, headers_timeout: 300ms, idle: 1500ms}
"
    .into();
}

async fn failures(proxy: &Proxy, listener: &str, cause: &str, count: f64) {
    let series = format!("handshake_failures_total{{cause=\"{cause}\",listener=\"{listener}\"}}");
    eventually(&series, || proxy.metric(&series) >= count).await;
    assert!((proxy.metric(&series) - count).abs() < f64::EPSILON, "{series}");
    eventually("nothing stays open", || proxy.metric("connections_open") < 0.5).await;
}

/// Waits for the end of a connection, which must come in this span of time.
async fn closed_within(stream: &mut (impl AsyncReadExt + Unpin), least: u64, most: u64) -> Vec<u8> {
    let start = Instant::now();
    let all = until_closed(stream).await;
    let took = start.elapsed();
    assert!(took >= Duration::from_millis(least), "closed after {took:?} already");
    assert!(took <= Duration::from_millis(most), "closed after {took:?} only");
    all
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn tls_1_2_and_1_3_carry_http_2_and_1_1_as_negotiated() {
    let proxy = Proxy::start().await;
    for versions in [&[&TLS12], &[&TLS13]] {
        for alpn in [&[][..], &[&b"http/1.1"[..]], &[b"http/1.1", b"h2"], &[b"h2"]] {
            let stream = tls(&proxy, alpn, versions).await.unwrap();
            let session = stream.get_ref().1;
            assert_eq!(session.protocol_version(), Some(versions[0].version));
            let negotiated = session.alpn_protocol().map(<[u8]>::to_vec);
            if alpn.contains(&&b"h2"[..]) {
                assert_eq!(negotiated.as_deref(), Some(&b"h2"[..]), "the server prefers HTTP/2");
                let message = proxy.client.encode(LIST, list("ml")).unwrap();
                let answer = h2(stream).await.send_request(rpc(&proxy.ml(), LIST, &message)).await;
                assert_eq!(status(answer.unwrap()).await, Some(0));
            } else {
                assert_eq!(negotiated.as_deref(), alpn.first().copied());
                let answer = exchange(stream, get("/healthcheck")).await;
                assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
            }
        }
    }
    assert!(proxy.metric("handshake_failures_total") < 0.5);
}

/// A `ClientHello` of a version, as RFC 4346 has it: without extensions.
fn client_hello(minor: u8) -> Vec<u8> {
    let mut body = vec![3, minor];
    body.extend([7; 32]);
    body.extend([0, 0, 4, 0x00, 0x2f, 0xc0, 0x2f, 1, 0]);
    let length = u8::try_from(body.len()).unwrap();
    let mut record = vec![22, 3, 1, 0, length + 4, 1, 0, 0, length];
    record.extend(body);
    record
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn older_tls_and_other_protocols_are_refused() {
    let proxy = Proxy::start().await;
    for minor in [0, 1, 2] {
        let mut stream = tcp(&proxy, Entry::Tls).await;
        stream.write_all(&client_hello(minor)).await.unwrap();
        let answer = until_closed(&mut stream).await;
        // An alert record, fatal, and nothing else: no ServerHello.
        assert_eq!((answer[0], answer.len(), answer[5]), (21, 7, 2), "{answer:?}");
    }
    failures(&proxy, "public", "tls", 3.0).await;
    assert!(tls(&proxy, &[b"spdy/3"], VERSIONS).await.is_err());
    let answer = exchange(tcp(&proxy, Entry::Tls).await, get("/healthcheck")).await;
    assert!(!answer.contains("HTTP/"), "plain text on the TLS port: {answer}");
    failures(&proxy, "public", "tls", 5.0).await;
    // What was negotiated has to be spoken.
    for alpn in [&[][..], &[&b"http/1.1"[..]]] {
        let answer = exchange(tls(&proxy, alpn, VERSIONS).await.unwrap(), PREFACE).await;
        assert_eq!(answer, "");
    }
    let stream = tls(&proxy, &[b"h2"], VERSIONS).await.unwrap();
    assert_eq!(exchange(stream, get("/healthcheck")).await, "");
    failures(&proxy, "public", "preface", 3.0).await;
    assert_eq!(proxy.records().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_can_insist_on_tls_1_3() {
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| text.replace("key: tls.key", "key: tls.key, minimum_version: '1.3'"));
    })
    .await;
    assert!(tls(&proxy, &[b"h2"], &[&TLS12]).await.is_err());
    let stream = tls(&proxy, &[b"http/1.1"], &[&TLS13]).await.unwrap();
    assert!(exchange(stream, get("/healthcheck")).await.starts_with("HTTP/1.1 200"));
    failures(&proxy, "public", "tls", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn plain_text_listeners_speak_http_1_1_and_http_2_with_prior_knowledge() {
    let proxy = Proxy::start().await;
    let token = proxy.ml();
    let before = proxy.before();
    let reply = proxy.plain.call(Some(&token), LIST, list("ml")).await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(
        (&record["listener"], &record["protocol"]),
        (&json!("plain"), &json!("grpc"))
    );
    let before = proxy.before();
    let target = "/api/v1/executions/fraud/development?limit=1";
    let reply = proxy.plain.get(Some(&token), target).await.unwrap();
    let record = proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(
        (&record["listener"], &record["protocol"]),
        (&json!("plain"), &json!("rest"))
    );
}

fn engine(proxy: &Proxy) -> Client {
    Client::new(proxy.address(Entry::Engine).unwrap(), None, &descriptors::bytes()).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn on_the_engines_listener_everybody_is_the_engine_and_sends_no_credential_on() {
    let proxy = Proxy::start().await;
    let engine = engine(&proxy);
    let (rpc, message) = ("AdminService/CreateWorkflowEvent", event());
    for token in [None, Some(proxy.ml()), Some("no token at all".to_owned())] {
        let before = proxy.before();
        let reply = engine.call(token.as_deref(), rpc, message.clone()).await.unwrap();
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["listener"], "engine");
        assert_eq!(record["principal"]["kind"], "listener");
        assert_eq!(record["principal"]["subject"], "flytepropeller");
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert!(arrival.header("authorization").is_empty() && arrival.header("flyte-authorization").is_empty());
    }
    for client in [&proxy.client, &proxy.plain] {
        let before = proxy.before();
        let reply = client.call(Some(&proxy.ml()), rpc, message.clone()).await.unwrap();
        proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
        let before = proxy.before();
        let reply = client.call(None, rpc, message.clone()).await.unwrap();
        proxy.refused(&before, &reply, Reason::CredentialMissing).await;
    }
    // The engine is judged by the policy too: it may not administer.
    let before = proxy.before();
    let project = json!({"project": {"id": "new", "name": "new"}});
    let reply = engine
        .call(None, "AdminService/RegisterProject", project)
        .await
        .unwrap();
    proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
}

fn event() -> Value {
    let id = json!({"project": "ml", "domain": "development", "name": "e1"});
    json!({"requestId": "r1", "event": {"executionId": id, "phase": "RUNNING"}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_is_passed_on_unverified_only_where_the_listener_says_so() {
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| {
            text.replace(
                "groups: [flyte-engine]",
                "groups: [flyte-engine], pass_credential: true",
            )
        });
    })
    .await;
    let engine = engine(&proxy);
    let before = proxy.before();
    let reply = engine
        .call(Some("the-engine's-own"), "AdminService/CreateWorkflowEvent", event())
        .await
        .unwrap();
    proxy.forwarded(&before, &reply).await;
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    assert_eq!(arrival.header("authorization"), ["Bearer the-engine's-own"]);
    let before = proxy.before();
    let reply = proxy.client.call(Some("not.a.token"), LIST, list("ml")).await.unwrap();
    proxy.refused(&before, &reply, Reason::TokenMalformed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_more_connections_are_served_than_the_limit_and_none_is_lost() {
    let proxy = Proxy::start_with(|setup| {
        setup.configuration = "workers: 1\nlimits: {connections: 2, connections_per_address: 2}\n".into();
    })
    .await;
    let kept_open = get("/healthcheck").replace("connection: close\r\n", "");
    let mut open = Vec::new();
    for entry in [Entry::Plain, Entry::Engine] {
        let mut stream = tcp(&proxy, entry).await;
        stream.write_all(kept_open.as_bytes()).await.unwrap();
        assert!(stream.read(&mut [0; 1024]).await.unwrap() > 0);
        open.push(stream);
    }
    // Every listener is full, however it came to that.
    let mut waiting = Vec::new();
    for entry in [Entry::Plain, Entry::Engine] {
        let mut stream = tcp(&proxy, entry).await;
        stream.write_all(get("/healthcheck").as_bytes()).await.unwrap();
        let answer = tokio::time::timeout(Duration::from_millis(200), stream.read(&mut [0; 1024])).await;
        assert!(answer.is_err(), "it was served beyond the limit");
        waiting.push(stream);
    }
    assert!((proxy.metric("connections_open") - 2.0).abs() < f64::EPSILON);
    drop(open);
    for mut stream in waiting {
        let answer = until_closed(&mut stream).await;
        assert!(answer.starts_with(b"HTTP/1.1 200"), "it was served once there was room");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn silent_and_halting_connections_are_closed_at_their_deadline_and_counted() {
    let proxy = Proxy::start_with(short).await;
    let mut silent_tls = tcp(&proxy, Entry::Tls).await;
    closed_within(&mut silent_tls, 250, 1200).await;
    let mut half_hello = tcp(&proxy, Entry::Tls).await;
    half_hello.write_all(&client_hello(3)[..20]).await.unwrap();
    closed_within(&mut half_hello, 250, 1200).await;
    failures(&proxy, "public", "tls_timeout", 2.0).await;
    let mut greeted = tls(&proxy, &[b"h2"], VERSIONS).await.unwrap();
    closed_within(&mut greeted, 250, 1200).await;
    failures(&proxy, "public", "preface_timeout", 1.0).await;
    for sent in [&b""[..], b"P", &PREFACE[..20]] {
        let mut stream = tcp(&proxy, Entry::Plain).await;
        stream.write_all(sent).await.unwrap();
        closed_within(&mut stream, 250, 1200).await;
    }
    failures(&proxy, "plain", "preface_timeout", 3.0).await;
    let mut left = tcp(&proxy, Entry::Plain).await;
    left.shutdown().await.unwrap();
    assert!(until_closed(&mut left).await.is_empty());
    failures(&proxy, "plain", "preface", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_request_head_that_comes_too_slowly_is_cut_off() {
    let proxy = Proxy::start_with(short).await;
    let long = format!(
        "GET /healthcheck HTTP/1.1\r\nhost: localhost\r\nx-more: {}",
        "x".repeat(100)
    );
    for sent in ["G", "GET /healthcheck HTTP/1.1\r\n", &long] {
        let mut stream = tcp(&proxy, Entry::Plain).await;
        stream.write_all(sent.as_bytes()).await.unwrap();
        assert!(closed_within(&mut stream, 250, 1000).await.is_empty());
    }
    // Dripping does not help.
    let (mut reader, mut writer) = tcp(&proxy, Entry::Plain).await.into_split();
    let dripping = tokio::spawn(async move {
        while writer.write_all(b"G").await.is_ok() {
            tokio::time::sleep(Duration::from_millis(20)).await;
        }
    });
    closed_within(&mut reader, 250, 1000).await;
    dripping.abort();
    failures(&proxy, "plain", "head_timeout", 4.0).await;
    // What is no head at all, or too much of one, is answered and counted.
    for (sent, status) in [
        ("\x16\x03\x01 no HTTP\r\n\r\n", "400"),
        (&"x-y: z\r\n".repeat(200), "431"),
    ] {
        let sent = format!("{}{sent}\r\n", if status == "431" { "GET / HTTP/1.1\r\n" } else { "" });
        let answer = exchange(tcp(&proxy, Entry::Plain).await, sent).await;
        assert!(answer.starts_with(&format!("HTTP/1.1 {status}")), "{answer}");
    }
    failures(&proxy, "plain", "head", 2.0).await;
    assert_eq!(proxy.records().len(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_kept_connection_outlives_the_deadline_for_heads_but_not_the_idle_time() {
    let proxy = Proxy::start_with(short).await;
    let mut stream = tcp(&proxy, Entry::Plain).await;
    // The body comes by itself, so that bytes are read after the head.
    let head = "POST /callback HTTP/1.1\r\nhost: localhost\r\ncontent-length: 3\r\n\r\n";
    for _ in 0..2 {
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(50)).await;
        stream.write_all(b"a=b").await.unwrap();
        let mut answer = [0; 2048];
        let read = soon("the answer", stream.read(&mut answer)).await.unwrap();
        assert!(
            answer[..read].starts_with(b"HTTP/1.1 "),
            "{}",
            String::from_utf8_lossy(&answer[..read])
        );
        // Longer than a head may take, shorter than idle.
        let closing = tokio::time::timeout(Duration::from_millis(900), stream.read(&mut answer)).await;
        assert!(closing.is_err(), "closed before the idle time was over: {closing:?}");
    }
    closed_within(&mut stream, 0, 2500).await;
    let idle = h2(tcp(&proxy, Entry::Plain).await).await;
    let start = Instant::now();
    eventually("the idle HTTP/2 connection is closed", || idle.is_closed()).await;
    assert!(start.elapsed() >= Duration::from_millis(1200), "{:?}", start.elapsed());
    eventually("nothing stays open", || proxy.metric("connections_open") < 0.5).await;
    assert!(proxy.metric("handshake_failures_total") < 0.5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn pings_are_answered_while_no_stream_is_open() {
    let proxy = Proxy::start().await;
    let mut stream = tcp(&proxy, Entry::Plain).await;
    stream.write_all(PREFACE).await.unwrap();
    stream.write_all(&[0, 0, 0, 4, 0, 0, 0, 0, 0]).await.unwrap();
    let (mut seen, mut buffer) = (Vec::new(), [0; 1024]);
    for number in 0..20_u8 {
        let payload = [b'p', b'i', b'n', b'g', 0, 0, 0, number];
        stream.write_all(&[0, 0, 8, 6, 0, 0, 0, 0, 0]).await.unwrap();
        stream.write_all(&payload).await.unwrap();
        let answer = [&[0, 0, 8, 6, 1, 0, 0, 0, 0][..], &payload].concat();
        while !seen.windows(answer.len()).any(|part| part == answer) {
            let read = soon("the ping is answered", stream.read(&mut buffer)).await.unwrap();
            assert!(read > 0, "closed after {number} pings");
            seen.extend_from_slice(&buffer[..read]);
        }
    }
}
