//! The gRPC port at one address: HTTP/2 connections for all requests of a worker, made when requests need them. One is
//! enough unless the other side limits how many requests run on it.
//!
//! It speaks to the `h2` library itself: a general HTTP client puts a pool, a channel and a task of its own between a
//! request and its connection, which costs a call several microseconds.

use super::connection::{Connector, Fault};
use super::received::{GrpcBody, Source};
use bytes::Bytes;
use h2::client::{self, SendRequest};
use http::{Request, Response, Uri};
use hyper_util::rt::TokioIo;
use std::sync::Arc;
use std::task::Poll;
use tokio::sync::Mutex;
use tokio::task::JoinHandle;
use tower_service::Service as _;

/// HTTP/2 windows: large enough that one stream is not held up by acknowledgements, small enough to bound memory. That of
/// the connection is the largest there is: it is shared by the answers to all clients, and must never be full of those
/// that some of them do not take.
pub(crate) const STREAM_WINDOW: u32 = 256 << 10;
const CONNECTION_WINDOW: u32 = (1 << 31) - 1;
/// The largest head or trailers of an answer, in bytes: errors travel in them, and those about workflows can be long.
const MAX_HEADERS: u32 = 256 << 10;
/// How many requests may run before the other side has said how many it takes.
const FIRST_STREAMS: usize = 100;
/// The most connections, where the other side limits the requests on each: answers that somebody does not take hold up
/// those of others only when all of them are full.
const MOST: usize = 8;

/// The connections to one address.
#[derive(Debug)]
pub(super) struct Multiplexed {
    connector: Connector,
    /// The scheme and authority of the address.
    origin: Uri,
    /// Held while a request is handed to a connection, or waits for one that has room: those behind it wait their turn, and
    /// are gone when their callers leave.
    connections: Mutex<Connections>,
}

#[derive(Debug, Default)]
struct Connections {
    open: Vec<Connection>,
    /// One that is being made, for whoever waits for it first; it goes on when that one leaves.
    coming: Option<JoinHandle<Result<Connection, Unanswered>>>,
}

/// A connection and the task that drives it.
#[derive(Debug)]
struct Connection {
    requests: SendRequest<Bytes>,
    driver: JoinHandle<()>,
    /// As many clones as requests run, and one.
    running: Arc<()>,
}

/// Why a request has no answer.
#[derive(Debug, thiserror::Error)]
pub(super) enum Unanswered {
    /// There is no connection.
    #[error("no connection: {0}")]
    Unconnected(Fault),
    /// The connection failed before anything of the request was handed to it.
    #[error("not sent: {0}")]
    NotSent(h2::Error),
    /// The connection or the stream failed.
    #[error(transparent)]
    Failed(#[from] h2::Error),
}

impl Multiplexed {
    pub(super) fn new(connector: Connector, origin: Uri) -> Self {
        Self {
            connector,
            origin,
            connections: Mutex::default(),
        }
    }

    /// Sends a request with its one message. Its URI has a scheme and an authority.
    pub(super) async fn send(&self, request: Request<Bytes>) -> Result<Response<Source>, Unanswered> {
        let (head, message) = request.into_parts();
        let head = Request::from_parts(head, ());
        let is_empty = message.is_empty();
        let mut connections = self.connections.lock().await;
        let connection = self.with_room(&mut connections).await?;
        let sending = connection.requests.send_request(head, is_empty);
        let (response, mut stream) = sending.map_err(Unanswered::NotSent)?;
        if !is_empty {
            // It is in memory anyway, so that nothing is gained by waiting for the stream's window here.
            stream.send_data(message, true)?;
        }
        let running = Arc::clone(&connection.running);
        drop(connections);
        let response = response.await?;
        Ok(response.map(|stream| Source::Grpc(GrpcBody::new(stream, running))))
    }

    /// A connection on which the next request is sent at once, or else the one to wait for. If that fails meanwhile, one other.
    async fn with_room<'c>(&self, connections: &'c mut Connections) -> Result<&'c mut Connection, Unanswered> {
        let mut failure = None;
        for _ in 0..2 {
            let index = self.choose(connections).await?;
            let Some(connection) = connections.open.get_mut(index) else {
                break;
            };
            // Waits while the request before this one waits for the other side to take it.
            match std::future::poll_fn(|task| connection.requests.poll_ready(task)).await {
                Ok(()) => return connections.open.get_mut(index).ok_or_else(gone),
                Err(error) => failure = Some(error),
            }
        }
        Err(failure.map_or_else(gone, Unanswered::NotSent))
    }

    /// Which connection is the next request's: one that has room, a new one, or the one with the fewest requests.
    async fn choose(&self, connections: &mut Connections) -> Result<usize, Unanswered> {
        // One that failed, or on which the other side wants no more requests, ends when those on it have.
        connections.open.retain_mut(Connection::is_usable);
        if let Some(index) = connections.open.iter().position(Connection::has_room) {
            return Ok(index);
        }
        if connections.open.len() < MOST {
            let new = connections.next(&self.connector, &self.origin).await?;
            connections.open.push(new);
            return Ok(connections.open.len() - 1);
        }
        let least = connections.open.iter().enumerate();
        let least = least.min_by_key(|(_, open)| open.running());
        Ok(least.map_or(0, |(index, _)| index))
    }
}

fn gone() -> Unanswered {
    Unanswered::Unconnected("it is gone".into())
}

impl Connections {
    /// The next connection. Whoever waits may leave: it is made all the same, for the next one who waits.
    async fn next(&mut self, connector: &Connector, origin: &Uri) -> Result<Connection, Unanswered> {
        // One that nobody waited for may be old.
        if let Some(made) = self.coming.take_if(|coming| coming.is_finished())
            && let Ok(Ok(mut connection)) = made.await
            && connection.is_usable()
        {
            return Ok(connection);
        }
        let coming = self
            .coming
            .get_or_insert_with(|| tokio::spawn(Connection::open(connector.clone(), origin.clone())));
        let come = coming.await;
        self.coming = None;
        come.unwrap_or_else(|error| Err(Unanswered::Unconnected(error.into())))
    }
}

impl Connection {
    async fn open(mut connector: Connector, origin: Uri) -> Result<Self, Unanswered> {
        let stream = connector.call(origin).await;
        let stream = TokioIo::new(stream.map_err(Unanswered::Unconnected)?);
        let opened = client::Builder::new()
            .initial_window_size(STREAM_WINDOW)
            .initial_connection_window_size(CONNECTION_WINDOW)
            .initial_max_send_streams(FIRST_STREAMS)
            .max_header_list_size(MAX_HEADERS)
            // A single answer that breaks the rules is reset; they must not add up to the end of everybody's.
            .max_local_error_reset_streams(None)
            .enable_push(false)
            .handshake(stream)
            .await;
        let (requests, connection) = opened.map_err(|error| Unanswered::Unconnected(error.into()))?;
        let driver = tokio::spawn(async move {
            // Requests learn of it by their streams.
            if let Err(error) = connection.await {
                tracing::debug!(%error, "a connection to the control plane failed");
            }
        });
        Ok(Self {
            requests,
            driver,
            running: Arc::default(),
        })
    }

    /// Whether it takes requests. Also false if its task panicked, after which the library cannot even be asked.
    fn is_usable(&mut self) -> bool {
        if self.driver.is_finished() {
            return false;
        }
        let mut task = std::task::Context::from_waker(std::task::Waker::noop());
        !matches!(self.requests.poll_ready(&mut task), Poll::Ready(Err(_)))
    }

    /// How many requests run.
    fn running(&self) -> usize {
        Arc::strong_count(&self.running) - 1
    }

    fn has_room(&self) -> bool {
        self.running() < self.requests.current_max_send_streams()
    }
}
