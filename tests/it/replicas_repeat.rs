//! Which requests go to another address: those that the control plane has certainly not begun, and no other.

use crate::proxy::Proxy;
use crate::replicas::{Names, Ports, StandIn, behind, count, loopback};
use crate::sockets::soon;
use crate::upstream::{grpc, rest};
use flyte_authz_proxy::model::reason::Reason;
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http2;
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// SETTINGS without any, and GOAWAY with a last stream and an error code (RFC 9113, sections 6.5 and 6.8).
const SETTINGS: &[u8] = &[0, 0, 0, 4, 0, 0, 0, 0, 0];
const fn go_away(last: u8, code: u8) -> [u8; 17] {
    [0, 0, 8, 7, 0, 0, 0, 0, 0, 0, 0, 0, last, 0, 0, 0, code]
}

/// Does something to every connection once a request has arrived on it, and counts them.
async fn bad<F>(
    last: u8,
    port: u16,
    act: impl Fn(TcpStream) -> F + Send + 'static,
) -> (Arc<AtomicUsize>, JoinHandle<()>)
where
    F: Future<Output = ()> + Send + 'static,
{
    let listener = TcpListener::bind((loopback(last), port)).await.unwrap();
    let arrived = Arc::<AtomicUsize>::default();
    let counted = Arc::clone(&arrived);
    let task = tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            counted.fetch_add(1, Ordering::SeqCst);
            tokio::spawn(act(stream));
        }
    });
    (arrived, task)
}

/// Reads what is there of an HTTP/2 request: preface, settings, headers and message.
async fn arrived(stream: &mut TcpStream) {
    stream.write_all(SETTINGS).await.unwrap();
    let mut all = vec![0; 4096];
    let mut length = 0;
    // The token alone is longer than this.
    while length < 400 {
        let more = stream.read(&mut all[length..]).await.unwrap();
        assert_ne!(more, 0, "the proxy has closed the connection");
        length += more;
    }
}

/// A proxy with a bad replica and a good one; calls go to the bad one first.
async fn with_good(last: u8, ports: Ports) -> (Proxy, StandIn) {
    let names = Names::default();
    names.set("admin.test", &[last, last + 1]);
    let good = StandIn::start(last + 1, ports, Duration::ZERO).await;
    (behind(&names, ports).await, good)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_stream_above_the_last_one_of_a_goaway_goes_to_the_next_address() {
    let ports = Ports::free().await;
    let (bad, task) = bad(71, ports.0, |mut stream| async move {
        arrived(&mut stream).await;
        stream.write_all(&go_away(0, 0)).await.unwrap();
        _ = stream.read(&mut [0; 1024]).await;
    })
    .await;
    let (proxy, good) = with_good(71, ports).await;
    for _ in 0..4 {
        assert_eq!(soon("the answer", grpc(&proxy)).await.unwrap().grpc_status(), Some(0));
    }
    assert_eq!((bad.load(Ordering::SeqCst), good.count()), (2, 4));
    assert_eq!(count(&proxy, "upstream_repeats_total{port=\"grpc\""), "2");
    assert_eq!(count(&proxy, "upstream_connect_failures_total"), "0");
    task.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_refused_stream_goes_to_the_next_address_and_any_other_reset_does_not() {
    for (last, reason) in [
        (73, h2::Reason::REFUSED_STREAM),
        (75, h2::Reason::CANCEL),
        (77, h2::Reason::INTERNAL_ERROR),
    ] {
        let ports = Ports::free().await;
        let (bad, task) = bad(last, ports.0, move |stream| async move {
            let service = service_fn(move |_: Request<Incoming>| async move {
                Err::<Response<Full<bytes::Bytes>>, _>(h2::Error::from(reason))
            });
            let builder = http2::Builder::new(TokioExecutor::new());
            _ = builder.serve_connection(TokioIo::new(stream), service).await;
        })
        .await;
        let (proxy, good) = with_good(last, ports).await;
        let reply = soon("the answer", grpc(&proxy)).await.unwrap();
        if reason == h2::Reason::REFUSED_STREAM {
            assert_eq!((reply.grpc_status(), good.count()), (Some(0), 1));
        } else {
            assert!(reply.message().contains(Reason::UpstreamFailed.label()), "{reply:?}");
            assert_eq!(good.count(), 0, "it may have been processed");
        }
        assert_eq!(bad.load(Ordering::SeqCst), 1);
        task.abort();
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_may_have_been_sent_is_never_sent_again() {
    let ports = Ports::free().await;
    let breaks = |mut stream: TcpStream| async move {
        arrived(&mut stream).await;
        drop(stream);
    };
    // The GOAWAY includes the stream, which is then not finished.
    let processed = |mut stream: TcpStream| async move {
        arrived(&mut stream).await;
        stream.write_all(&go_away(1, 0)).await.unwrap();
    };
    let http = |mut stream: TcpStream| async move {
        assert!(stream.read(&mut [0; 4096]).await.unwrap() > 0);
    };
    let (by_grpc, one) = bad(81, ports.0, breaks).await;
    let (by_http, other) = bad(81, ports.1, http).await;
    let (proxy, good) = with_good(81, ports).await;
    for reply in [
        soon("an answer", grpc(&proxy)).await.unwrap(),
        soon("an answer", rest(&proxy)).await.unwrap(),
    ] {
        assert!(reply.message().contains(Reason::UpstreamFailed.label()), "{reply:?}");
    }
    assert_eq!(
        (
            by_grpc.load(Ordering::SeqCst),
            by_http.load(Ordering::SeqCst),
            good.count()
        ),
        (1, 1, 0)
    );
    assert_eq!(count(&proxy, "upstream_repeats_total"), "0");
    one.abort();
    other.abort();

    let ports = Ports::free().await;
    let (by_grpc, one) = bad(83, ports.0, processed).await;
    let (proxy, good) = with_good(83, ports).await;
    let reply = soon("an answer", grpc(&proxy)).await.unwrap();
    assert!(reply.message().contains(Reason::UpstreamFailed.label()), "{reply:?}");
    assert_eq!((by_grpc.load(Ordering::SeqCst), good.count()), (1, 0));
    one.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_request_without_a_body_goes_to_the_next_address() {
    let ports = Ports::free().await;
    let (proxy, good) = with_good(91, ports).await;
    assert_eq!(proxy.client.get(None, "/login").await.unwrap().status, 200);
    assert_eq!(good.count(), 1);
    assert_eq!(count(&proxy, "upstream_repeats_total{port=\"http\""), "1");
}
