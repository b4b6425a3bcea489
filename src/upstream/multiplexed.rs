//! The gRPC port at one address: one HTTP/2 connection for all requests of a worker, made when the first one needs it.
//!
//! It speaks to the `h2` library itself: a general HTTP client puts a pool, a channel and a task of its own between a
//! request and its connection, which costs a call several microseconds.

use super::connection::{Connector, Fault};
use super::received::{GrpcBody, Received};
use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::sync::{Mutex, PoisonError};
use tower_service::Service as _;

/// HTTP/2 windows: large enough that one stream is not held up by acknowledgements, small enough to bound memory. That of
/// the connection is the largest there is: it is shared by the answers to all clients, and must never be full of those
/// that some of them do not take.
const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The largest head or trailers of an answer, in bytes.
const MAX_HEADERS: u32 = 16 << 10;
/// How many requests may run before the other side has said how many it takes.
const FIRST_STREAMS: usize = 100;

/// The connection to one address.
#[derive(Debug)]
pub(super) struct Multiplexed {
    connector: Connector,
    /// The scheme and authority of the address.
    origin: Uri,
    open: Mutex<Option<SendRequest<Bytes>>>,
    /// Held while a connection is made, so that only one is.
    opening: tokio::sync::Mutex<()>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// There is no connection.
    #[error("no connection: {0}")]
    Unconnected(Fault),
    /// The connection or the stream failed.
    #[error(transparent)]
    Failed(#[from] h2::Error),
}

impl Multiplexed {
    pub(super) fn new(connector: Connector, origin: Uri) -> Self {
        Self {
            connector,
            origin,
            open: Mutex::default(),
            opening: tokio::sync::Mutex::default(),
        }
    }

    /// Sends a request with its one message. Its URI has a scheme and an authority.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Received>, Unanswered> {
        let (head, message) = request.into_parts();
        let mut connection = self.connection().await?;
        let is_empty = message.is_empty();
        let (response, mut stream) = connection.send_request(Request::from_parts(head, ()), is_empty)?;
        if !is_empty {
            // It is in memory anyway, so that nothing is gained by waiting for the stream's window here.
            stream.send_data(message, true)?;
        }
        Ok(response.await?.map(|stream| Received::Grpc(GrpcBody::from(stream))))
    }

    /// A connection that takes requests: the one that is open, or a new one.
    async fn connection(&self) -> Result<SendRequest<Bytes>, Unanswered> {
        if let Some(open) = self.usable().await {
            return Ok(open);
        }
        let _opening = self.opening.lock().await;
        // Whoever was here before may have made it.
        if let Some(open) = self.usable().await {
            return Ok(open);
        }
        let new = self.connect().await?;
        self.set(Some(new.clone()));
        Ok(new)
    }

    /// The open connection, unless it has failed or the other side wants no more requests on it.
    async fn usable(&self) -> Option<SendRequest<Bytes>> {
        let open = self.open.lock().unwrap_or_else(PoisonError::into_inner).clone()?;
        let usable = open.ready().await.ok();
        if usable.is_none() {
            self.set(None);
        }
        usable
    }

    fn set(&self, connection: Option<SendRequest<Bytes>>) {
        *self.open.lock().unwrap_or_else(PoisonError::into_inner) = connection;
    }

    async fn connect(&self) -> Result<SendRequest<Bytes>, Unanswered> {
        let stream = self.connector.clone().call(self.origin.clone()).await;
        let stream = TokioIo::new(stream.map_err(Unanswered::Unconnected)?);
        let opened = client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(FIRST_STREAMS)
            .max_header_list_size(MAX_HEADERS)
            .enable_push(false)
            .handshake(stream)
            .await;
        let (requests, connection) = opened.map_err(|error| Unanswered::Unconnected(error.into()))?;
        tokio::spawn(async move {
            // Requests learn of it by their streams.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the control plane failed");
            }
        });
        Ok(requests)
    }
}
