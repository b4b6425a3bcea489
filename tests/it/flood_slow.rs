//! Slow and silent clients, and those that take nothing of what they asked for: each is given up in time, and a
//! well-behaved client beside them is served.

use crate::flood::{Hostile, LIST, PATIENCE, PREFACE, Target, head, headers, stream};
use crate::raw::frame;
use crate::sockets::{eventually, soon, until_closed};
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::protocol::envelope;
use std::time::{Duration, Instant};
use tokio::io::AsyncWriteExt;
use tokio::net::{TcpSocket, TcpStream};
use tokio::task::JoinSet;
use tokio_rustls::client::TlsStream;

/// Every deadline short enough to be waited for.
const SHORT: &str =
    "tls_handshake: 1s, preface: 1s, headers_timeout: 1s, body_timeout: 1s, stall_timeout: 1s, idle: 2s";
/// How many hostile connections of each kind there are.
const MANY: usize = 100;

/// The beginning of a `ClientHello` that says it is longer.
const HALF_HELLO: &[u8] = b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03halfway";

async fn all_closed<S: tokio::io::AsyncRead + Unpin>(streams: Vec<S>) {
    for mut stream in streams {
        until_closed(&mut stream).await;
    }
}

/// Connections that have sent these bytes, in plain text or within TLS.
pub(crate) async fn silent(target: &Target, count: usize, sent: &[u8]) -> Vec<TcpStream> {
    let mut streams = Vec::with_capacity(count);
    for _ in 0..count {
        let mut stream = target.tcp().await;
        stream.write_all(sent).await.unwrap();
        streams.push(stream);
    }
    streams
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_slow_handshakes_are_given_up() {
    let target = Target::start(SHORT).await;
    let neighbour = target.neighbour();
    for sent in [&b""[..], HALF_HELLO] {
        all_closed(silent(&target, MANY, sent).await).await;
    }
    // Byte by byte makes no difference: the time is for all of it.
    let mut stream = target.tcp().await;
    let begun = Instant::now();
    while begun.elapsed() < PATIENCE && stream.write_all(&[0x16]).await.is_ok() {
        tokio::time::sleep(Duration::from_millis(100)).await;
    }
    assert!(begun.elapsed() < PATIENCE);
    neighbour.was_served().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_slow_prefaces_heads_and_bodies_are_given_up() {
    let target = Target::start(SHORT).await;
    let neighbour = target.neighbour();
    let bearer = &target.token;
    let body = format!(
        "POST /api/v1/executions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {bearer}\r\n\
         content-type: application/json\r\ncontent-length: 1000\r\n\r\n{{"
    );
    let request = headers(1, &head(LIST, bearer), false);
    let half_headers = [PREFACE, &frame(4, 0, 0, &[]), &frame(1, 0, 1, &head(LIST, bearer))].concat();
    let half_body = [PREFACE, &frame(4, 0, 0, &[]), &request, &frame(0, 0, 1, &[0, 0])].concat();
    for (http2, sent) in [
        (true, &PREFACE[..10]),
        (true, PREFACE),
        (true, &half_headers),
        (true, &half_body),
        (false, b"G"),
        (false, b"GET / HTTP/1.1\r\nhost: local"),
        (false, body.as_bytes()),
    ] {
        let mut opened = JoinSet::new();
        for _ in 0..8 {
            let mut stream = target.tls(http2).await.unwrap();
            stream.write_all(sent).await.unwrap();
            opened.spawn(async move {
                until_closed(&mut stream).await;
            });
        }
        while let Some(closed) = opened.join_next().await {
            closed.unwrap();
        }
    }
    neighbour.was_served().await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_a_thousand_idle_connections_are_ended_and_disturb_nobody() {
    let target = Target::start(SHORT).await;
    let neighbour = target.neighbour();
    // Half of them within TLS and HTTP/2, where they count as idle; the others as handshakes.
    let silent = silent(&target, 500, b"").await;
    let mut idle = JoinSet::new();
    for _ in 0..500 {
        let mut stream = target.tls(true).await.unwrap();
        stream
            .write_all(&[PREFACE, &frame(4, 0, 0, &[])].concat())
            .await
            .unwrap();
        idle.spawn(async move {
            until_closed(&mut stream).await;
        });
    }
    all_closed(silent).await;
    while let Some(closed) = idle.join_next().await {
        closed.unwrap();
    }
    neighbour.was_served().await;
    target.stayed_below(300);
}

/// Asks for large answers, with a window of so many bytes for each. They are never taken.
pub(crate) async fn untaken(target: &Target, window: u32, count: u32) -> Hostile {
    let mut hostile = Hostile::connect(target, &[(4, window)]).await;
    let message = target.list_message();
    let block = head(LIST, &target.token);
    let requests = (0..count).map(|number| {
        let id = stream(number);
        [headers(id, &block, false), frame(0, 1, id, &envelope::frame(&message))].concat()
    });
    hostile.flood(requests).await;
    hostile
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h2_answers_that_nobody_takes_hold_up_no_other_and_are_broken_off() {
    let target = Target::start("stall_timeout: 3s").await;
    let large = Fault::Huge { bytes: 2 << 20 };
    target
        .control_plane
        .script(Script::on("ListExecutions", large).times(40));
    let first = target.control_plane.count();
    let mut stalled = Vec::new();
    for window in [0, 1, 1000, 65_535] {
        stalled.push(untaken(&target, window, 10).await);
    }
    eventually("all are asked for", || target.control_plane.count() >= first + 40).await;
    // They hold nobody up: neither their own connection's window nor that of the control plane's is used up by them.
    let neighbour = target.neighbour();
    tokio::time::sleep(Duration::from_secs(1)).await;
    neighbour.was_served().await;
    // In the end each is reset, and so is the call to the control plane.
    for hostile in &stalled {
        hostile
            .until("every stream is reset", |seen| seen.frames[3] >= 10)
            .await;
        assert!(!hostile.seen().ended, "the connection lasts");
    }
    eventually("each is recorded", || target.recorded("aborted") >= 40).await;
    target.stayed_below(200);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_an_answer_over_http_1_that_nobody_takes_is_broken_off() {
    let target = Target::start("stall_timeout: 1s").await;
    let large = Fault::Huge { bytes: 16 << 20 };
    target
        .control_plane
        .script(Script::on("ListExecutions", large).times(1));
    let mut stream = target.tls(false).await.unwrap();
    let bearer = &target.token;
    let request = format!(
        "GET /api/v1/executions/ml/development?limit=1 HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {bearer}\r\n\
         accept: application/octet-stream\r\n\r\n"
    );
    stream.write_all(request.as_bytes()).await.unwrap();
    eventually("it is given up", || target.recorded("aborted") == 1).await;
    let taken = until_closed(&mut stream).await;
    assert!(
        taken.starts_with(b"HTTP/1.1 200") && taken.len() < 16 << 20,
        "{} bytes",
        taken.len()
    );
    let neighbour = target.neighbour();
    tokio::time::sleep(Duration::from_millis(300)).await;
    neighbour.was_served().await;
}

/// Connects with windows as large as there are, and reads nothing.
async fn unread(target: &Target) -> TlsStream<TcpStream> {
    let socket = TcpSocket::new_v4().unwrap();
    socket.set_recv_buffer_size(4 << 10).unwrap();
    let connecting = target.tls_over(socket.connect(target.address).await.unwrap(), true);
    let mut stream = connecting.await.unwrap();
    let most = i32::MAX.unsigned_abs();
    let settings = [&[0, 4][..], &most.to_be_bytes()].concat();
    let window = frame(8, 0, 0, &(most - 65_535).to_be_bytes());
    let begin = [PREFACE, &frame(4, 0, 0, &settings), &window].concat();
    stream.write_all(&begin).await.unwrap();
    stream
}

/// Asks for answers again and again, until the proxy has ended the connection.
async fn ask_until_ended(target: &Target, mut connection: TlsStream<TcpStream>) {
    let message = envelope::frame(&target.list_message());
    let block = head(LIST, &target.token);
    let asking = async {
        for batch in 0.. {
            let asked = (batch * 20..(batch + 1) * 20).flat_map(|number| {
                let id = stream(number);
                [headers(id, &block, false), frame(0, 1, id, &message)].concat()
            });
            let asked: Vec<u8> = asked.collect();
            if connection.write_all(&asked).await.is_err() || connection.flush().await.is_err() {
                return;
            }
            tokio::time::sleep(Duration::from_millis(100)).await;
        }
    };
    soon("the connection is ended", asking).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h2_a_connection_that_is_not_read_holds_little_and_is_ended_though_its_answers_have_ended() {
    let target = Target::start("stall_timeout: 1s, held_bytes: 8MiB, body_bytes: 2MiB, decompressed_bytes: 2MiB").await;
    let (before, _) = target.memory();
    for bytes in [24 << 10, 200 << 10] {
        target.control_plane.clear_scripts();
        let answer = Fault::Huge { bytes };
        target.control_plane.script(Script::on("ListExecutions", answer));
        // The kernel takes the first answers, and what the library takes of the next ones is counted no more.
        let (one, two, three) = (unread(&target).await, unread(&target).await, unread(&target).await);
        tokio::join!(
            ask_until_ended(&target, one),
            ask_until_ended(&target, two),
            ask_until_ended(&target, three),
        );
    }
    assert!(target.recorded("forwarded") > 300);
    target.stayed_below((before >> 10) + 20);
    target.control_plane.clear_scripts();
    let neighbour = target.neighbour();
    tokio::time::sleep(Duration::from_millis(300)).await;
    neighbour.was_served().await;
}
