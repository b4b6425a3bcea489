//! Serves one connection: PROXY header, TLS, HTTP version, then requests; ends it when it is idle, too slow, or the process drains.

use super::activity::{Activity, Looked, Running};
use super::preface::{self, HttpVersion, Rewound};
use super::stall::{Streams, Taken};
use super::{HandshakeFailure, Listener, proxy_protocol};
use crate::clock::Clock;
use crate::config::Limits;
use crate::gate::certificate::PeerCertificate;
use crate::gate::{Body, ConnectionInfo, Service};
use crate::protocol::proxy_header::Source;
use crate::tls::ClientChain;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper::{Request, Response};
use hyper_util::rt::{TokioIo, TokioTimer};
use hyper_util::server::graceful::GracefulConnection;
use std::convert::Infallible;
use std::net::SocketAddr;
use std::pin::{Pin, pin};
use std::sync::Arc;
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
    mut stream: TcpStream,
    peer: SocketAddr,
    mut drain: watch::Receiver<bool>,
) -> Result<(), HandshakeFailure> {
    let limits = &listener.limits;
    let Some(mut info) = unless(&mut drain, origin(listener, &mut stream, peer)).await? else {
        return Ok(());
    };
    // A trusted hop makes the connections of many clients.
    let entered = info.hops.is_none().then(|| listener.room.addresses.enter(info.source));
    if matches!(entered, Some(None)) {
        return Err(HandshakeFailure::AddressFull);
    }
    let Some(tls) = &listener.tls else {
        if let Some((version, stream)) = unless(&mut drain, preface::detect(stream, limits.preface)).await? {
            http(listener, stream, version, info, drain).await?;
        }
        return Ok(());
    };
    let opening = async {
        let in_force = tls.current();
        let handshake = TlsAcceptor::from(in_force.server()).accept(stream);
        let stream = match tokio::time::timeout(limits.tls_handshake, handshake).await {
            Ok(Ok(stream)) => stream,
            Ok(Err(error)) => return Err(failure(&error)),
            Err(_) => return Err(HandshakeFailure::TlsTimeout),
        };
        let shown = stream.get_ref().1.peer_certificates();
        let certificate = shown.map(|shown| certificate(ClientChain::new(tls, in_force, shown), listener));
        let certificate = certificate.transpose()?.flatten();
        let negotiated = stream.get_ref().1.alpn_protocol() == Some(b"h2");
        let (version, stream) = preface::detect(stream, limits.preface).await?;
        // What was negotiated has to be spoken: anything else is no client of ours.
        if negotiated != (version == HttpVersion::Two) {
            return Err(HandshakeFailure::Preface);
        }
        Ok((version, stream, certificate))
    };
    if let Some((version, stream, certificate)) = unless(&mut drain, opening).await? {
        info.certificate = certificate;
        http(listener, stream, version, info, drain).await?;
    }
    Ok(())
}

/// Where the connection is from: its peer, or whom a trusted hop says.
async fn origin(
    listener: &Listener,
    stream: &mut TcpStream,
    peer: SocketAddr,
) -> Result<ConnectionInfo, HandshakeFailure> {
    let hop = |address| listener.hops.as_ref().filter(|hops| hops.trusts(address));
    let (source, hops) = if listener.proxy_protocol {
        hop(peer.ip()).ok_or(HandshakeFailure::UntrustedHop)?;
        match proxy_protocol::read(stream, listener.limits.preface).await? {
            Source::Client(address) => (address, hop(address)),
            // Whoever it is of whom the hop does not tell, is none.
            Source::Untold => (peer.ip(), None),
        }
    } else {
        (peer.ip(), hop(peer.ip()))
    };
    Ok(ConnectionInfo {
        peer,
        source,
        hops: hops.cloned(),
        encrypted: listener.tls.is_some(),
        certificate: None,
    })
}

/// Why a TLS handshake failed.
fn failure(error: &std::io::Error) -> HandshakeFailure {
    tracing::debug!(%error, "a TLS handshake failed");
    match error.get_ref().and_then(|cause| cause.downcast_ref()) {
        Some(rustls::Error::NoCertificatesPresented | rustls::Error::InvalidCertificate(_)) => {
            HandshakeFailure::ClientCertificate
        }
        _ => HandshakeFailure::Tls,
    }
}

/// The certificate that the client was verified with, read once for all requests of the connection.
fn certificate(chain: ClientChain, listener: &Listener) -> Result<Option<Arc<PeerCertificate>>, HandshakeFailure> {
    let Service::Gate(gate) = &listener.service else {
        return Ok(None);
    };
    let read = PeerCertificate::read(chain, &gate.identity, gate.recorder.clock.unix_seconds());
    read.map(|certificate| Some(Arc::new(certificate)))
        .map_err(|_| HandshakeFailure::ClientCertificate)
}

/// A connection that is still being opened when the process drains has no request to lose, and is not waited for.
async fn unless<T>(
    drain: &mut watch::Receiver<bool>,
    opening: impl Future<Output = Result<T, HandshakeFailure>>,
) -> Result<Option<T>, HandshakeFailure> {
    tokio::select! {
        opened = opening => opened.map(Some),
        _ = drain.wait_for(|draining| *draining) => Ok(None),
    }
}

async fn http<S>(
    listener: &Arc<Listener>,
    stream: Rewound<S>,
    version: HttpVersion,
    info: ConnectionInfo,
    drain: watch::Receiver<bool>,
) -> Result<(), HandshakeFailure>
where
    S: AsyncRead + AsyncWrite + Unpin + Send + 'static,
{
    let activity = stream.activity();
    let counted = Arc::clone(&activity);
    let answers = listener.service.clone();
    let kept = pin!(kept(info.certificate.clone(), Arc::clone(&answers.recorder().clock)));
    let info = Arc::new(info);
    let service = service_fn(move |request: Request<Incoming>| {
        let answers = answers.clone();
        let info = Arc::clone(&info);
        let running = Running::begin(&counted);
        async move {
            let response: Response<Body> = answers.handle(request, &info).await;
            let taken = match version {
                HttpVersion::One => running.taken(),
                HttpVersion::Two => Taken::of_stream(),
            };
            taken.taken();
            taken.handed();
            Ok::<_, Infallible>(response.map(|body| Tracked {
                body,
                taken,
                _running: running,
            }))
        }
    });
    let limits = &listener.limits;
    let io = TokioIo::new(stream);
    match version {
        HttpVersion::One => {
            let connection = http1_builder(limits).serve_connection(io, service);
            let head = Some(limits.headers_timeout);
            supervise(pin!(connection), &activity, limits, head, kept, drain).await
        }
        HttpVersion::Two => {
            let connection = http2_builder(limits).serve_connection(io, service);
            supervise(pin!(connection), &activity, limits, None, kept, drain).await
        }
    }
}

/// HTTP/1.1. The library's own timer runs while a kept connection waits for the next request too, so it is set to the
/// idle time; a head that comes too slowly is noticed by [`supervise`].
fn http1_builder(limits: &Limits) -> http1::Builder {
    let mut builder = http1::Builder::new();
    builder
        .timer(TokioTimer::new())
        .header_read_timeout(limits.idle)
        .max_headers(limits.headers)
        .max_buf_size((limits.header_bytes as usize).max(8 << 10))
        .half_close(false);
    builder
}

/// What the library keeps of an answer over HTTP/2 until the client takes it, in bytes. It keeps it when the answer has ended and
/// nobody counts it any more, as often as there may be streams.
const SEND_BUFFER: usize = 32 << 10;

/// HTTP/2, without pings of the library's: each frame would be reckoned with them, and a client that is gone is noticed by its
/// answers, which stall, and by [`supervise`], once it takes or makes nothing more.
fn http2_builder(limits: &Limits) -> http2::Builder<Streams> {
    let mut builder = http2::Builder::new(Streams(limits.stall_timeout));
    builder
        .max_concurrent_streams(limits.streams_per_connection)
        .max_header_list_size(limits.header_bytes)
        .initial_stream_window_size(256 << 10)
        .initial_connection_window_size(1 << 20)
        .max_send_buf_size(SEND_BUFFER);
    builder
}

/// Drives a connection. Ends it gracefully on drain, when `kept` is over, or after `idle` without a request; cuts it off when a request head
/// takes longer than `head` (a later one is given at most twice that), when the client takes nothing of what is written or of an
/// answer over HTTP/1.1, or when it does not end.
async fn supervise<C: GracefulConnection<Error = hyper::Error>>(
    mut connection: Pin<&mut C>,
    activity: &Activity,
    limits: &Limits,
    head: Option<Duration>,
    mut kept: Pin<&mut impl Future<Output = ()>>,
    mut drain: watch::Receiver<bool>,
) -> Result<(), HandshakeFailure> {
    let tick = head.unwrap_or(limits.idle).min(limits.idle);
    let mut seen = 0;
    let mut looked = Looked::default();
    let mut look = Instant::now() + limits.stall_timeout;
    // Whether part of a head was there at the last look; then it has had `head` since.
    let mut waited = true;
    let mut quiet_since = Instant::now();
    let mut ending = false;
    let mut check = Instant::now() + tick;
    loop {
        tokio::select! {
            ended = connection.as_mut() => return match ended {
                Err(error) if error.is_parse() => Err(HandshakeFailure::Head),
                // Whatever else went wrong is in the records of the requests it befell.
                _ => Ok(()),
            },
            _ = drain.wait_for(|draining| *draining), if !ending => {
                connection.as_mut().graceful_shutdown();
                ending = true;
            }
            () = kept.as_mut(), if !ending => {
                connection.as_mut().graceful_shutdown();
                ending = true;
            }
            () = tokio::time::sleep_until(look) => {
                look = Instant::now() + limits.stall_timeout;
                if activity.stalls(&mut looked) {
                    return Ok(());
                }
            }
            () = tokio::time::sleep_until(check) => {
                check = Instant::now() + tick;
                let begun = activity.begun();
                if activity.is_busy() || begun != seen {
                    seen = begun;
                    quiet_since = Instant::now();
                    waited = false;
                    continue;
                }
                let partial = head.is_some() && activity.has_partial_head();
                if partial && waited {
                    return Err(HandshakeFailure::HeadTimeout);
                }
                if ending {
                    return Ok(());
                }
                waited = partial;
                if quiet_since.elapsed() + tick >= limits.idle {
                    connection.as_mut().graceful_shutdown();
                    ending = true;
                }
            }
        }
    }
}

/// The time for which a connection with this certificate is kept; without one that has no end.
async fn kept(certificate: Option<Arc<PeerCertificate>>, clock: Arc<dyn Clock>) {
    match certificate {
        Some(certificate) => certificate.kept(&*clock).await,
        None => std::future::pending().await,
    }
}

/// An answer's body that keeps its connection from counting as idle, and tells whether it is taken.
#[derive(Debug)]
struct Tracked {
    body: Body,
    taken: Arc<Taken>,
    _running: Running,
}

impl hyper::body::Body for Tracked {
    type Data = bytes::Bytes;
    type Error = <Body as hyper::body::Body>::Error;

    fn poll_frame(
        mut self: Pin<&mut Self>,
        task: &mut std::task::Context<'_>,
    ) -> std::task::Poll<Option<Result<hyper::body::Frame<Self::Data>, Self::Error>>> {
        self.taken.taken();
        let polled = Pin::new(&mut self.body).poll_frame(task);
        if matches!(polled, std::task::Poll::Ready(Some(Ok(_)))) {
            self.taken.handed();
        }
        polled
    }

    fn is_end_stream(&self) -> bool {
        self.body.is_end_stream()
    }

    fn size_hint(&self) -> hyper::body::SizeHint {
        self.body.size_hint()
    }
}
