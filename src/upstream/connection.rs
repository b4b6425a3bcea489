//! Pooled connections to one address of the control plane, plain or TLS.

use super::Port;
use super::replica::Replica;
use crate::config::Upstream as Settings;
use bytes::Bytes;
use http::Uri;
use http_body_util::Full;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder, MaybeHttpsStream};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::client::legacy::connect::dns::Name;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use std::error::Error;
use std::future::{Ready, ready};
use std::io;
use std::net::SocketAddr;
use std::pin::Pin;
use std::sync::{Arc, Mutex, PoisonError};
use std::task::{Context, Poll};
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::time::Instant;
use tower_service::Service;

/// How long a peer may acknowledge nothing before its connection is given up.
const DEAD_PEER: Duration = Duration::from_secs(20);

/// A connection that takes this long and then fails stands for those that other requests would try at the same time.
const SLOW: Duration = Duration::from_millis(100);

/// How many connections of one worker to one address may wait for requests: more than come and go in a moment.
const MOST_IDLE: usize = 64;
/// The most that is read at one time of what comes over HTTP/1.1, in bytes, and so the longest part of an answer; the longest
/// head, too.
const READ: usize = 64 << 10;

/// Connections to the HTTP port at one address, as many as requests run at a time.
pub(super) type Pooled = Client<Connector, Full<Bytes>>;

/// Prepares connections over HTTP/1.1; they are made when requests need them.
pub(super) fn pooled(connector: Connector) -> Pooled {
    let mut builder = Client::builder(TokioExecutor::new());
    builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
    builder.pool_max_idle_per_host(MOST_IDLE);
    // Each read is one part of an answer, which the client's connection keeps as a whole.
    builder.http1_max_buf_size(READ);
    builder.build(connector)
}

/// Prepares the way to one address.
pub(super) fn connector(replica: &Replica, settings: &Settings, tls: &rustls::ClientConfig, port: Port) -> Connector {
    let mut tcp = HttpConnector::new_with_resolver(Here(replica.address));
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    // A host that is gone without a word would otherwise hold the connection, and every request on it, for a quarter of
    // an hour. Not by HTTP/2 pings: gRPC servers close connections that ping more often than every five minutes.
    tcp.set_keepalive(Some(DEAD_PEER / 2));
    tcp.set_keepalive_interval(Some(DEAD_PEER / 4));
    tcp.set_keepalive_retries(Some(2));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(DEAD_PEER));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(tls.clone())
        .https_or_http();
    Connector {
        inner: match port {
            Port::Grpc => connector.enable_http2().wrap_connector(tcp),
            Port::Http => connector.enable_http1().wrap_connector(tcp),
        },
        patience: settings.connect_timeout,
        gave_up: Arc::default(),
    }
}

/// Resolves every name to one address, which has been found already.
#[derive(Clone, Copy, Debug)]
pub(super) struct Here(SocketAddr);

impl Service<Name> for Here {
    type Response = std::iter::Once<SocketAddr>;
    type Error = io::Error;
    type Future = Ready<io::Result<Self::Response>>;

    fn poll_ready(&mut self, _: &mut Context<'_>) -> Poll<io::Result<()>> {
        Poll::Ready(Ok(()))
    }

    fn call(&mut self, _: Name) -> Self::Future {
        ready(Ok(std::iter::once(self.0)))
    }
}

/// Connects to one address within a time that includes the TLS handshake.
#[derive(Clone, Debug)]
pub(super) struct Connector {
    inner: HttpsConnector<HttpConnector<Here>>,
    patience: Duration,
    /// When a slow connection last failed. Requests that wait for one shared HTTP/2 connection would otherwise try to make
    /// it one after the other, each in its full time.
    gave_up: Arc<Mutex<Option<Instant>>>,
}

/// Why there is no connection.
pub(super) type Fault = Box<dyn Error + Send + Sync>;

impl Service<Uri> for Connector {
    type Response = MaybeHttpsStream<TokioIo<TcpStream>>;
    type Error = Fault;
    type Future = Pin<Box<dyn Future<Output = Result<Self::Response, Fault>> + Send>>;

    fn poll_ready(&mut self, task: &mut Context<'_>) -> Poll<Result<(), Fault>> {
        self.inner.poll_ready(task)
    }

    fn call(&mut self, uri: Uri) -> Self::Future {
        let connecting = self.inner.call(uri);
        let (patience, gave_up) = (self.patience, Arc::clone(&self.gave_up));
        Box::pin(async move {
            let last = *gave_up.lock().unwrap_or_else(PoisonError::into_inner);
            if last.is_some_and(|last| last.elapsed() < SLOW) {
                return Err("another attempt has just failed".into());
            }
            let begun = Instant::now();
            let connected = tokio::time::timeout(patience, connecting).await;
            let connected = connected.unwrap_or_else(|_| Err(io::Error::from(io::ErrorKind::TimedOut).into()));
            if connected.is_err() && begun.elapsed() >= SLOW.min(patience) {
                *gave_up.lock().unwrap_or_else(PoisonError::into_inner) = Some(Instant::now());
            }
            connected
        })
    }
}
