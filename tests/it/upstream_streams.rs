//! A control plane that limits how many requests run on one connection, by HTTP/2 of the `h2` library itself.

use crate::proxy::Proxy;
use crate::sockets::eventually;
use crate::upstream_links::upstream;
use bytes::Bytes;
use flyte_authz_proxy::demo::client::Reply;
use h2::server::{self, SendResponse};
use http::{HeaderMap, Response};
use serde_json::json;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// The most connections that the proxy opens to one address.
const MOST: usize = 8;

/// What came in.
#[derive(Default)]
struct Came {
    connections: AtomicUsize,
    requests: AtomicUsize,
    /// Whether requests are answered; otherwise they wait for ever.
    answers: AtomicBool,
    waiting: Mutex<Vec<SendResponse<Bytes>>>,
    /// The tasks of the connections.
    open: Mutex<Vec<JoinHandle<()>>>,
}

/// A control plane that takes one request at a time on each connection.
async fn one_at_a_time() -> (Arc<Came>, u16) {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    let came = Arc::<Came>::default();
    let all = Arc::clone(&came);
    tokio::spawn(async move {
        loop {
            let (stream, _) = listener.accept().await.unwrap();
            all.connections.fetch_add(1, Ordering::SeqCst);
            let came = Arc::clone(&all);
            let connection = tokio::spawn(async move {
                let mut builder = server::Builder::new();
                let mut connection = builder.max_concurrent_streams(1).handshake(stream).await.unwrap();
                while let Some(Ok((_, respond))) = connection.accept().await {
                    came.requests.fetch_add(1, Ordering::SeqCst);
                    if came.answers.load(Ordering::SeqCst) {
                        answer(respond);
                    } else {
                        came.waiting.lock().unwrap().push(respond);
                    }
                }
            });
            all.open.lock().unwrap().push(connection);
        }
    });
    (came, port)
}

fn answer(mut respond: SendResponse<Bytes>) {
    let response = Response::builder().header("content-type", "application/grpc");
    let mut body = respond.send_response(response.body(()).unwrap(), false).unwrap();
    body.send_data(Bytes::from_static(&[0; 5]), false).unwrap();
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", "0".parse().unwrap());
    body.send_trailers(trailers).unwrap();
}

async fn start() -> (Proxy, Arc<Came>) {
    let (came, port) = one_at_a_time().await;
    let proxy = Proxy::start_with(|setup| {
        let line = format!("upstream: {{ grpc: 'http://127.0.0.1:{port}', http: 'http://127.0.0.1:{port}' }}");
        upstream(setup, line);
    })
    .await;
    (proxy, came)
}

async fn call(proxy: &Proxy) -> Reply {
    let (token, message) = (proxy.ml(), json!({"id": {"project": "ml", "domain": "development"}}));
    let call = proxy.client.call(Some(&token), "AdminService/ListExecutions", message);
    call.await.unwrap()
}

/// Callers whose requests wait, as soon as all of them have arrived.
async fn waiting(proxy: &Arc<Proxy>, came: &Came, callers: usize) -> Vec<JoinHandle<Reply>> {
    let mut calls = Vec::new();
    for number in 1..=callers {
        let own = Arc::clone(proxy);
        calls.push(tokio::spawn(async move { call(&own).await }));
        eventually("the request has arrived", || {
            came.requests.load(Ordering::SeqCst) == number
        })
        .await;
    }
    calls
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_wait_for_their_answers_hold_up_no_other_where_streams_are_limited() {
    let (proxy, came) = start().await;
    let proxy = Arc::new(proxy);
    let calls = waiting(&proxy, &came, MOST - 1).await;
    came.answers.store(true, Ordering::SeqCst);
    assert_eq!(call(&proxy).await.grpc_status(), Some(0));
    assert_eq!(
        call(&proxy).await.grpc_status(),
        Some(0),
        "its connection is used again"
    );
    assert_eq!(came.connections.load(Ordering::SeqCst), MOST);
    for respond in came.waiting.lock().unwrap().drain(..) {
        answer(respond);
    }
    for call in calls {
        assert_eq!(call.await.unwrap().grpc_status(), Some(0));
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_find_no_room_wait_and_those_who_leave_meanwhile_are_never_sent() {
    let (proxy, came) = start().await;
    let proxy = Arc::new(proxy);
    let calls = waiting(&proxy, &came, MOST).await;
    let records = proxy.record_count();
    // One waits for a stream on each connection, those behind them for their turn.
    let more: Vec<_> = (0..40)
        .map(|_| {
            let own = Arc::clone(&proxy);
            tokio::spawn(async move { call(&own).await })
        })
        .collect();
    tokio::time::sleep(Duration::from_millis(300)).await;
    assert_eq!(came.connections.load(Ordering::SeqCst), MOST);
    for call in more {
        call.abort();
    }
    let gone = proxy.records_after(records, 40).await;
    assert!(gone.iter().all(|record| record["outcome"] == "aborted"), "{gone:?}");
    came.answers.store(true, Ordering::SeqCst);
    for respond in came.waiting.lock().unwrap().drain(..) {
        answer(respond);
    }
    for call in calls {
        assert_eq!(call.await.unwrap().grpc_status(), Some(0));
    }
    assert_eq!(call(&proxy).await.grpc_status(), Some(0));
    // Of those who left, the ones that waited for a stream may have been sent; the others never were.
    let sent = came.requests.load(Ordering::SeqCst);
    assert!(sent <= 2 * MOST + 1, "{sent}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_that_waits_for_a_connection_which_fails_goes_on_by_another() {
    let (proxy, came) = start().await;
    let proxy = Arc::new(proxy);
    let mut sent = waiting(&proxy, &came, MOST).await;
    // One more on each connection is handed to the library, which sends it when there is a stream for it.
    for _ in 0..MOST {
        let own = Arc::clone(&proxy);
        sent.push(tokio::spawn(async move { call(&own).await }));
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
    let own = Arc::clone(&proxy);
    let last = tokio::spawn(async move { call(&own).await });
    tokio::time::sleep(Duration::from_millis(300)).await;
    came.answers.store(true, Ordering::SeqCst);
    for connection in came.open.lock().unwrap().drain(..) {
        connection.abort();
    }
    let reply = last.await.unwrap();
    assert_eq!(reply.grpc_status(), Some(0), "{}", reply.message());
    // Of these nobody can know whether the control plane has begun with them.
    for call in sent {
        let reply = call.await.unwrap();
        assert!(reply.message().contains("upstream_failed"), "{}", reply.message());
    }
    assert_eq!(call(&proxy).await.grpc_status(), Some(0));
}
