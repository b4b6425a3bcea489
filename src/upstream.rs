//! The control plane: pooled connections to its gRPC port (HTTP/2) and its HTTP port (HTTP/1.1), plain or TLS.

use crate::config::{Endpoint, Upstream as Settings};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use bytes::Bytes;
use http::uri::PathAndQuery;
use http::{Request, Response, Uri};
use http_body_util::{Either, Full, Limited};
use hyper::body::Incoming;
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::{TokioExecutor, TokioTimer};
use std::sync::Arc;
use std::time::Duration;

pub mod headers;

/// What is sent upstream: a judged message held in memory, or the bounded body of a page request.
pub type Body = Either<Full<Bytes>, Limited<Incoming>>;

/// HTTP/2 windows: large enough that one stream is not held up by acknowledgements, small enough to bound memory.
const STREAM_WINDOW: u32 = 1 << 20;
const CONNECTION_WINDOW: u32 = 4 << 20;

/// How long a peer may acknowledge nothing before its connection is given up.
const DEAD_PEER: Duration = Duration::from_secs(20);

/// Which of the control plane's ports a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// gRPC over HTTP/2.
    Grpc,
    /// REST and pages over HTTP/1.1.
    Http,
}

/// The way to the control plane. Each worker has its own, with its own connections.
#[derive(Debug)]
pub struct Upstream {
    grpc: Client<HttpsConnector<HttpConnector>, Body>,
    http: Client<HttpsConnector<HttpConnector>, Body>,
    grpc_endpoint: Endpoint,
    http_endpoint: Endpoint,
    response_timeout: Duration,
}

impl Upstream {
    /// Prepares clients; connects when the first request needs it.
    #[must_use]
    pub fn new(settings: &Settings, tls: Arc<rustls::ClientConfig>) -> Self {
        Self {
            grpc: client(settings, Arc::clone(&tls), Port::Grpc),
            http: client(settings, tls, Port::Http),
            grpc_endpoint: settings.grpc.clone(),
            http_endpoint: settings.http.clone(),
            response_timeout: settings.response_timeout,
        }
    }

    /// Sends a request and waits for the head of the answer, no longer than the configured time and the caller's own.
    /// The request's URI must be a path; it gets the scheme and authority of the port.
    ///
    /// # Errors
    /// `upstream_unreachable`, `upstream_failed`, `upstream_timeout`, or what is wrong with a streamed body.
    pub async fn send(
        &self,
        port: Port,
        mut request: Request<Body>,
        deadline: Option<Duration>,
    ) -> Result<Response<Incoming>, Denial> {
        let (client, endpoint) = match port {
            Port::Grpc => (&self.grpc, &self.grpc_endpoint),
            Port::Http => (&self.http, &self.http_endpoint),
        };
        *request.uri_mut() = absolute(endpoint, request.uri().path_and_query())?;
        let limit = deadline.map_or(self.response_timeout, |deadline| deadline.min(self.response_timeout));
        match tokio::time::timeout(limit, client.request(request)).await {
            Ok(Ok(response)) => Ok(response),
            Ok(Err(error)) if error.is_connect() => Err(Reason::UpstreamUnreachable.into()),
            Ok(Err(error)) => Err(refusal(&error)),
            Err(_) => Err(Reason::UpstreamTimeout.into()),
        }
    }
}

fn client(
    settings: &Settings,
    tls: Arc<rustls::ClientConfig>,
    port: Port,
) -> Client<HttpsConnector<HttpConnector>, Body> {
    let mut tcp = HttpConnector::new();
    tcp.enforce_http(false);
    tcp.set_nodelay(true);
    tcp.set_connect_timeout(Some(settings.connect_timeout));
    // A host that is gone without a word would otherwise hold the connection, and every request on it, for a quarter of
    // an hour. Not by HTTP/2 pings: gRPC servers close connections that ping more often than every five minutes.
    tcp.set_keepalive(Some(DEAD_PEER / 2));
    tcp.set_keepalive_interval(Some(DEAD_PEER / 4));
    tcp.set_keepalive_retries(Some(2));
    #[cfg(target_os = "linux")]
    tcp.set_tcp_user_timeout(Some(DEAD_PEER));
    let connector = HttpsConnectorBuilder::new()
        .with_tls_config(Arc::unwrap_or_clone(tls))
        .https_or_http();
    let connector = match port {
        Port::Grpc => connector.enable_http2().wrap_connector(tcp),
        Port::Http => connector.enable_http1().wrap_connector(tcp),
    };
    let mut builder = Client::builder(TokioExecutor::new());
    builder.timer(TokioTimer::new()).pool_timer(TokioTimer::new());
    if port == Port::Grpc {
        builder
            .http2_only(true)
            .http2_initial_stream_window_size(STREAM_WINDOW)
            .http2_initial_connection_window_size(CONNECTION_WINDOW);
    }
    builder.build(connector)
}

fn absolute(endpoint: &Endpoint, target: Option<&PathAndQuery>) -> Result<Uri, Denial> {
    Uri::builder()
        .scheme(endpoint.scheme.clone())
        .authority(endpoint.authority.clone())
        .path_and_query(target.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")))
        .build()
        .map_err(|_| Denial::from(Reason::PathNotCanonical))
}

/// A page request's body can end a request too, which is the client's fault; everything else is the upstream's.
fn refusal(error: &hyper_util::client::legacy::Error) -> Denial {
    let mut reason = Reason::UpstreamFailed;
    let mut cause = std::error::Error::source(error);
    while let Some(inner) = cause {
        if inner.is::<http_body_util::LengthLimitError>() {
            return Reason::MessageTooLarge.into();
        }
        // The library's word for a body that could not be read.
        if inner.downcast_ref().is_some_and(hyper::Error::is_user) {
            reason = Reason::BodyAborted;
        }
        cause = inner.source();
    }
    reason.into()
}
