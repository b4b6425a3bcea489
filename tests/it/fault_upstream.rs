//! A control plane whose bytes make no sense, or that breaks off at any point: by both protocols, what the caller is told,
//! one record and one count, and the proxy goes on.

use crate::proxy::Proxy;
use crate::raw::{frame, literal};
use crate::sockets::soon;
use crate::upstream_links::{listen, relay, upstream};
use flyte_authz_proxy::demo::client::{Failure, Reply};
use flyte_authz_proxy::model::reason::Reason;
use serde_json::json;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

const LIST: &str = "AdminService/ListExecutions";
const TARGET: &str = "/api/v1/executions/ml/development?limit=1";

/// What follows the bytes.
#[derive(Clone, Copy, Debug)]
enum End {
    /// The connection is closed in both directions.
    Close,
    /// Only the sending direction is closed.
    HalfClose,
    /// The connection is reset.
    Reset,
}

/// What the caller is to see.
#[derive(Clone, Copy, Debug)]
enum Seen {
    /// A refusal with the reason `upstream_failed`.
    Told,
    /// The same, or `upstream_unreachable`: whether anything of the request has been sent by then is a matter of time.
    ToldUnsent,
    /// An answer that breaks off; the record has the reason `upstream_failed`.
    BrokenOff,
    /// One or the other: whether the head has been passed on by then is a matter of time.
    Failed,
    /// This status and body.
    Passed(u16, &'static [u8]),
}

/// One way to misbehave.
#[derive(Clone, Debug)]
struct Misbehaviour {
    name: &'static str,
    /// Sent as soon as there is a connection.
    greeting: Vec<u8>,
    /// Sent once a request is there.
    answer: Vec<u8>,
    end: End,
    seen: Seen,
}

/// A port of a control plane that misbehaves as told.
struct Wayward {
    port: u16,
    acts: Arc<Mutex<Option<Misbehaviour>>>,
    task: JoinHandle<()>,
}

impl Wayward {
    /// Listens; a request is there once `enough` bytes have come.
    async fn start(enough: usize) -> Self {
        let (listener, port) = listen(0).await;
        let acts = Arc::<Mutex<Option<Misbehaviour>>>::default();
        let task = tokio::spawn(serve(listener, Arc::clone(&acts), enough));
        Self { port, acts, task }
    }
}

async fn serve(listener: TcpListener, acts: Arc<Mutex<Option<Misbehaviour>>>, enough: usize) {
    while let Ok((stream, _)) = listener.accept().await {
        let act = acts.lock().unwrap().clone().unwrap();
        tokio::spawn(misbehave(stream, act, enough));
    }
}

async fn misbehave(mut stream: TcpStream, act: Misbehaviour, enough: usize) {
    // The proxy may have given the connection up already: that is for the test to see.
    _ = stream.write_all(&act.greeting).await;
    let (mut length, mut bytes) = (0, [0; 4096]);
    while length < enough {
        match stream.read(&mut bytes).await {
            Ok(0) | Err(_) => return,
            Ok(more) => length += more,
        }
    }
    _ = stream.write_all(&act.answer).await;
    // What was sent before is to arrive: a reset discards what has not left.
    tokio::time::sleep(Duration::from_millis(50)).await;
    match act.end {
        End::Close => {}
        End::HalfClose => {
            _ = stream.shutdown().await;
            while stream.read(&mut bytes).await.is_ok_and(|more| more > 0) {}
        }
        End::Reset => stream.set_zero_linger().unwrap(),
    }
}

fn act(name: &'static str, answer: impl Into<Vec<u8>>, end: End, seen: Seen) -> Misbehaviour {
    Misbehaviour {
        name,
        greeting: Vec::new(),
        answer: answer.into(),
        end,
        seen,
    }
}

/// Checks one call of whatever protocol.
async fn check(proxy: &Proxy, act: &Misbehaviour, by_grpc: bool) {
    let name = act.name;
    let records = proxy.record_count();
    let (requests, refusals) = (proxy.metric("requests_total"), proxy.metric("refusals_total"));
    let reply = soon(name, call(proxy, by_grpc)).await;
    let record = proxy.records_after(records, 1).await.pop().unwrap();
    assert_eq!(proxy.record_count(), records + 1, "{name}");
    assert!(
        (proxy.metric("requests_total") - requests - 1.0).abs() < f64::EPSILON,
        "{name}"
    );
    let failed = proxy.metric("refusals_total") - refusals;
    let outcome = (record["outcome"].as_str().unwrap(), record["reason"].as_str());
    match act.seen {
        Seen::Told | Seen::ToldUnsent => {
            let reply = reply.unwrap_or_else(|error| panic!("{name}: {error}"));
            let unsent = matches!(act.seen, Seen::ToldUnsent) && outcome.1 == Some("upstream_unreachable");
            let reason = if unsent {
                Reason::UpstreamUnreachable
            } else {
                Reason::UpstreamFailed
            };
            let told = format!("[{}; request ", reason.label());
            assert!(reply.message().contains(&told), "{name}: {reply:?}");
            let status = reason.status();
            match reply.grpc_status() {
                Some(code) => assert_eq!(code, u16::from(status.grpc), "{name}"),
                None => assert_eq!(reply.status, status.http, "{name}"),
            }
        }
        Seen::BrokenOff => assert!(reply.is_err(), "{name}: {reply:?}"),
        Seen::Failed => {
            let told = |reply: Reply| reply.message().contains("[upstream_failed; ");
            assert!(reply.is_err() || reply.is_ok_and(told), "{name}");
        }
        Seen::Passed(status, body) => {
            let reply = reply.unwrap_or_else(|error| panic!("{name}: {error}"));
            assert_eq!(
                (reply.status.as_u16(), &*reply.body),
                (status, body),
                "{name}: {reply:?}"
            );
            assert_eq!((outcome, failed), (("forwarded", None), 0.0), "{name}");
            return;
        }
    }
    let reason = match act.seen {
        Seen::ToldUnsent if outcome.1 == Some("upstream_unreachable") => "upstream_unreachable",
        _ => "upstream_failed",
    };
    assert_eq!(outcome, ("failed", Some(reason)), "{name}: {record:#}");
    assert!((failed - 1.0).abs() < f64::EPSILON, "{name}");
}

async fn call(proxy: &Proxy, by_grpc: bool) -> Result<Reply, Failure> {
    if by_grpc {
        let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
        proxy.client.call(Some(&proxy.ml()), LIST, message).await
    } else {
        proxy.client.get(Some(&proxy.ml()), TARGET).await
    }
}

/// A proxy of which one port misbehaves and the other is the control plane's.
async fn with(wayward: &Wayward, grpc: bool) -> Proxy {
    let good = listen(0).await;
    let (grpc_port, http_port) = if grpc {
        (wayward.port, good.1)
    } else {
        (good.1, wayward.port)
    };
    let line = format!("upstream: {{ grpc: 'http://127.0.0.1:{grpc_port}', http: 'http://127.0.0.1:{http_port}' }}");
    let proxy = Proxy::start_with(|setup| upstream(setup, line)).await;
    let target = if grpc {
        proxy.control_plane.http
    } else {
        proxy.control_plane.grpc
    };
    relay(good.0, target, None);
    proxy
}

/// Plays every misbehaviour on one port. The other goes on meanwhile, and this one afterwards.
async fn play(mut wayward: Wayward, grpc: bool, all: Vec<Misbehaviour>) {
    let proxy = with(&wayward, grpc).await;
    for act in all {
        *wayward.acts.lock().unwrap() = Some(act.clone());
        check(&proxy, &act, grpc).await;
        let before = proxy.before();
        proxy.forwarded(&before, &call(&proxy, !grpc).await.unwrap()).await;
    }
    wayward.task.abort();
    assert!((&mut wayward.task).await.unwrap_err().is_cancelled());
    let target = if grpc {
        proxy.control_plane.grpc
    } else {
        proxy.control_plane.http
    };
    relay(listen(wayward.port).await.0, target, None);
    let before = proxy.before();
    proxy.forwarded(&before, &call(&proxy, grpc).await.unwrap()).await;
    assert!(proxy.metric("connections_open{listener=\"plain\"") < 0.5);
}

fn headers(flags: u8, fields: &[(&str, &str)]) -> Vec<u8> {
    let block: Vec<u8> = fields
        .iter()
        .flat_map(|(name, value)| literal(name.as_bytes(), value.as_bytes()))
        .collect();
    frame(1, flags, 1, &block)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http2_that_makes_no_sense_is_told_or_breaks_off_and_is_recorded_once() {
    let head = || headers(4, &[(":status", "200"), ("content-type", "application/grpc")]);
    let data = |flags, bytes: &[u8]| frame(0, flags, 1, bytes);
    let piece = || data(0, &[0, 0, 0, 0, 9, 1, 2]);
    let settings = || frame(4, 0, 0, &[]);
    let go_away = |last: u8, code: u8| frame(7, 0, 0, &[0, 0, 0, last, 0, 0, 0, code]);
    let big = "v".repeat(100_000);
    let early = || headers(4, &[(":status", "103"), ("link", "</style.css>")]);
    let good = || {
        let end = headers(5, &[("grpc-status", "0")]);
        [head(), data(0, &[0, 0, 0, 0, 0]), end].concat()
    };
    let mut all = vec![
        act("nothing", [], End::Close, Seen::Told),
        act("nothing, half closed", [], End::HalfClose, Seen::Told),
        act("nothing, reset", [], End::Reset, Seen::Told),
        act("a GOAWAY for the stream itself", go_away(1, 0), End::Close, Seen::Told),
        act("a RST_STREAM", frame(3, 0, 1, &[0, 0, 0, 2]), End::Close, Seen::Told),
        act("data before a head", piece(), End::Close, Seen::Told),
        act(
            "a head that cannot be decoded",
            frame(1, 4, 1, &[0xff; 40]),
            End::Close,
            Seen::Told,
        ),
        act(
            "a head without a status",
            headers(4, &[("content-type", "a")]),
            End::Close,
            Seen::Told,
        ),
        act(
            "a head of 100 kB",
            headers(4, &[(":status", "200"), ("x", &big)]),
            End::Close,
            Seen::Told,
        ),
        act("a frame on no stream", frame(1, 4, 0, &[]), End::Close, Seen::Told),
        act("a push", frame(5, 4, 1, &[0, 0, 0, 2]), End::Close, Seen::Told),
        act(
            "an early hint and then a good answer",
            [early(), good()].concat(),
            End::Close,
            Seen::Passed(200, &[0; 5]),
        ),
        act("early hints only", early(), End::Close, Seen::Told),
        act("a head and nothing more", head(), End::Close, Seen::BrokenOff),
        act(
            "a part, half closed",
            [head(), piece()].concat(),
            End::HalfClose,
            Seen::BrokenOff,
        ),
        act("a part, reset", [head(), piece()].concat(), End::Reset, Seen::BrokenOff),
        act(
            "a part and a RST_STREAM",
            [head(), piece(), frame(3, 0, 1, &[0, 0, 0, 2])].concat(),
            End::Close,
            Seen::BrokenOff,
        ),
        act(
            "a part and a GOAWAY with an error",
            [head(), piece(), go_away(1, 2)].concat(),
            End::Close,
            Seen::Failed,
        ),
        act(
            "a part and a GOAWAY in good order",
            [head(), piece(), go_away(1, 0)].concat(),
            End::Close,
            Seen::BrokenOff,
        ),
        act(
            "less than announced",
            [
                headers(
                    4,
                    &[
                        (":status", "200"),
                        ("content-type", "application/grpc"),
                        ("content-length", "50"),
                    ],
                ),
                data(1, &[0; 5]),
            ]
            .concat(),
            End::Close,
            Seen::Failed,
        ),
        act(
            "more than announced",
            [
                headers(
                    4,
                    &[
                        (":status", "200"),
                        ("content-type", "application/grpc"),
                        ("content-length", "2"),
                    ],
                ),
                data(1, &[0; 5]),
            ]
            .concat(),
            End::Close,
            Seen::Failed,
        ),
    ];
    for act in &mut all {
        act.greeting = settings();
    }
    for (name, greeting) in [
        (
            "HTTP/1.1",
            &b"HTTP/1.1 400 Bad Request\r\ncontent-length: 0\r\n\r\n"[..],
        ),
        ("noise", &[0xff; 64]),
        ("a frame of 16 MB", &[0xff, 0xff, 0xff, 0, 0, 0, 0, 0, 1]),
    ] {
        let mut act = act(name, [], End::Close, Seen::ToldUnsent);
        act.greeting = greeting.to_vec();
        all.push(act);
    }
    play(Wayward::start(400).await, true, all).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn http1_that_makes_no_sense_is_told_or_breaks_off_and_is_recorded_once() {
    let many = format!("HTTP/1.1 200 OK\r\n{}\r\n", "x: y\r\n".repeat(500));
    let big = format!("HTTP/1.1 200 OK\r\nx: {}\r\n\r\n", "v".repeat(1 << 20));
    let all = vec![
        act("nothing", [], End::Close, Seen::Told),
        act("nothing, half closed", [], End::HalfClose, Seen::Told),
        act("nothing, reset", [], End::Reset, Seen::Told),
        act("no HTTP", "SSH-2.0-OpenSSH_9.2\r\n", End::Close, Seen::Told),
        act("HTTP/0.9", "<html></html>", End::Close, Seen::Told),
        act("half a head", "HTTP/1.1 200 OK\r\ncontent-", End::Close, Seen::Told),
        act("500 headers", many, End::Close, Seen::Told),
        act("a head of 1 MB", big, End::Close, Seen::Told),
        act(
            "a NUL in a header",
            "HTTP/1.1 200 OK\r\nx: \0\r\n\r\n",
            End::Close,
            Seen::Told,
        ),
        act(
            "two lengths",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\ncontent-length: 3\r\n\r\n{} ",
            End::Close,
            Seen::Told,
        ),
        act(
            "a length below zero",
            "HTTP/1.1 200 OK\r\ncontent-length: -2\r\n\r\n{}",
            End::Close,
            Seen::Told,
        ),
        act(
            "early hints only",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\n",
            End::Close,
            Seen::Told,
        ),
        act(
            "early hints and then an answer",
            "HTTP/1.1 103 Early Hints\r\nlink: </a>\r\n\r\nHTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n{}",
            End::Close,
            Seen::Passed(200, b"{}"),
        ),
        act(
            "a protocol that nobody asked for",
            "HTTP/1.1 101 Switching Protocols\r\nconnection: upgrade\r\nupgrade: websocket\r\n\r\nSECRET",
            End::Close,
            Seen::Told,
        ),
        act(
            "less than announced",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
            End::Close,
            Seen::BrokenOff,
        ),
        act(
            "less than announced, reset",
            "HTTP/1.1 200 OK\r\ncontent-length: 9\r\n\r\n{}",
            End::Reset,
            Seen::BrokenOff,
        ),
        act(
            "chunks that end midway",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\n",
            End::Close,
            Seen::BrokenOff,
        ),
        act(
            "chunks of no size",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n2\r\n{}\r\nmore\r\n",
            End::Close,
            Seen::BrokenOff,
        ),
        act(
            "more than announced: another answer that nobody asked for",
            "HTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\n{}HTTP/1.1 200 OK\r\ncontent-length: 6\r\n\r\nPOISON",
            End::HalfClose,
            Seen::Passed(200, b"{}"),
        ),
        act(
            "the next request",
            "HTTP/1.1 200 OK\r\nconnection: close\r\ncontent-length: 2\r\n\r\n[]",
            End::Close,
            Seen::Passed(200, b"[]"),
        ),
        act(
            "an answer without an end",
            "HTTP/1.0 200 OK\r\n\r\n{}",
            End::Close,
            Seen::Passed(200, b"{}"),
        ),
    ];
    play(Wayward::start(400).await, false, all).await;
}
