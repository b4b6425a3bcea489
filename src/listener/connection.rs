//! Serves one connection: TLS, HTTP version, then requests; ends it when it is idle, too slow, or the process drains.

use super::preface::{self, HttpVersion};
use super::{HandshakeFailure, Listener};
use crate::config::Limits;
use crate::gate::{Body, ConnectionInfo};
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::convert::Infallible;
use std::future::Future;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, AtomicUsize, Ordering};
use std::time::Duration;
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::net::TcpStream;
use tokio::sync::watch;
use tokio::time::Instant;
use tokio_rustls::TlsAcceptor;

/// Serves a connection until it ends.
///
/// # Errors
/// Why it ended before a request could be read.
pub(super) async fn serve(
    listener: &Arc<Listener>,
    stream: TcpStream,
    peer: SocketAddr,
    drain: watch::Receiver<bool>,
) -> Result<(), HandshakeFailure> {
    let limits = &listener.limits;
    let info = ConnectionInfo { peer, encrypted: listener.tls.is_some() };
    let Some(tls) = &listener.tls else {
        let (version, stream) = preface::detect(stream, limits.preface).await?;
        http(listener, stream, version, info, drain).await;
        return Ok(());
    };
    let handshake = TlsAcceptor::from(tls.current()).accept(stream);
    let stream = match tokio::time::timeout(limits.tls_handshake, handshake).await {
        Ok(Ok(stream)) => stream,
        Ok(Err(_)) => return Err(HandshakeFailure::Tls),
        Err(_) => return Err(HandshakeFailure::TlsTimeout),
    };
    let negotiated = stream.get_ref().1.alpn_protocol() == Some(b"h2");
    let (version, stream) = preface::detect(stream, limits.preface).await?;
    // What was negotiated has to be spoken: anything else is no client of ours.
    if negotiated != (version == HttpVersion::Two) {
        return Err(HandshakeFailure::Preface);
    }
    http(listener, stream, version, info, drain).await;
    Ok(())
}

/// How busy a connection is, as its requests tell.
#[derive(Debug, Default)]
struct Activity {
    running: AtomicUsize,
    begun: AtomicU64,
}

async fn http<S>(listener: &Arc<Listener>, stream: S, version: HttpVersion, info: ConnectionInfo, drain: watch::Receiver<bool>)
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = Arc::new(Activity::default());
    let counted = Arc::clone(&activity);
    let gate = Arc::clone(&listener.gate);
    let service = service_fn(move |request: Request<Incoming>| {
        let gate = Arc::clone(&gate);
        let running = Running::begin(&counted);
        async move {
            let response: Response<Body> = gate.handle(request, &info).await;
            Ok::<_, Infallible>(response.map(|body| Tracked { body, _running: running }))
        }
    });
    let limits = &listener.limits;
    let io = TokioIo::new(stream);
    match version {
        HttpVersion::One => {
            let connection = http1_builder(limits).serve_connection(io, service);
            supervise(Connection::One(pin!(connection)), &activity, limits.idle, drain).await;
        }
        HttpVersion::Two => {
            let connection = http2_builder(limits).serve_connection(io, service);
            supervise(Connection::Two(pin!(connection)), &activity, limits.idle, drain).await;
        }
    }
}

/// HTTP/1.1: the time for a head also bounds how long a kept connection may wait for the next one.
fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.headers_timeout)
        .max_headers(limits.headers)
        .max_buf_size((limits.header_bytes as usize).max(8 << 10))
        .half_close(false)
        .ignore_invalid_headers(false);
    builder
}

fn http2_builder(limits: &Limits) -> http2::Builder<TokioExecutor> {
    let mut builder = http2::Builder::new(TokioExecutor::new());
    builder
        .timer(TokioTimer::new())
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.header_bytes)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(256 << 10)
        .keep_alive_interval(limits.idle)
        .keep_alive_timeout(Duration::from_secs(20));
    builder
}

/// A connection of either version, to be polled and to be asked to end.
enum Connection<'a, One, Two> {
    One(Pin<&'a mut One>),
    Two(Pin<&'a mut Two>),
}

/// Ends after the current requests: no new ones are taken.
trait Graceful: Future {
    fn end(self: Pin<&mut Self>);
}

impl<I, S> Graceful for http1::Connection<I, S>
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: hyper::body::Body + 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<I, S, E> Graceful for http2::Connection<I, S, E>
where
    S: hyper::service::HttpService<Incoming>,
    S::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    I: hyper::rt::Read + hyper::rt::Write + Unpin,
    S::ResBody: hyper::body::Body + 'static,
    <S::ResBody as hyper::body::Body>::Error: Into<Box<dyn std::error::Error + Send + Sync>>,
    E: hyper::rt::bounds::Http2ServerConnExec<S::Future, S::ResBody>,
{
    fn end(self: Pin<&mut Self>) {
        self.graceful_shutdown();
    }
}

impl<One: Graceful, Two: Graceful> Connection<'_, One, Two> {
    async fn run(&mut self) {
        match self {
            Self::One(connection) => {
                connection.as_mut().await;
            }
            Self::Two(connection) => {
                connection.as_mut().await;
            }
        }
    }

    fn end(&mut self) {
        match self {
            Self::One(connection) => connection.as_mut().end(),
            Self::Two(connection) => connection.as_mut().end(),
        }
    }
}

/// Drives a connection; ends it gracefully on drain or when it has had no request for `idle`.
async fn supervise<One: Graceful, Two: Graceful>(
    mut connection: Connection<'_, One, Two>,
    activity: &Activity,
    idle: Duration,
    mut drain: watch::Receiver<bool>,
) {
    let mut seen = 0;
    let mut ending = false;
    let mut check = Instant::now() + idle;
    loop {
        tokio::select! {
            () = connection.run() => return,
            _ = drain.wait_for(|draining| *draining), if !ending => {
                connection.end();
                ending = true;
            }
            () = tokio::time::sleep_until(check) => {
                let begun = activity.begun.load(Ordering::Relaxed);
                let quiet = activity.running.load(Ordering::Relaxed) == 0 && begun == seen;
                if quiet && ending {
                    return;
                }
                if quiet && !ending {
                    connection.end();
                    ending = true;
                }
                seen = begun;
                check = Instant::now() + idle;
            }
        }
    }
}

/// Counts a request as running until its answer's body is gone.
#[derive(Debug)]
struct Running(Arc<Activity>);

impl Running {
    fn begin(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        Self(Arc::clone(activity))
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

/// An answer's body that keeps its connection from counting as idle.
#[derive(Debug)]
struct Tracked {
    body: Body,
    _running: Running,
}

impl hyper::body::Body for Tracked {
    type Data = bytes::Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        Pin::new(&mut self.body).poll_frame(task)
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
