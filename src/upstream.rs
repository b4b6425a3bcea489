//! The control plane: pooled connections to its gRPC port (HTTP/2) and its HTTP port (HTTP/1.1), at one address or several.

use crate::config::{Endpoint, Upstream as Settings};
use crate::held::Holder;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use arc_swap::ArcSwap;
use bytes::Bytes;
use connection::Pooled;
use http::uri::{self, PathAndQuery};
use http::{Request, Response, Uri};
use http_body_util::Full;
use multiplexed::{Multiplexed, Unanswered};
use places::Places;
use received::{Received, Source};
use replica::{Replica, Replicas};
use std::error::Error;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;
use tokio::time::Instant;

mod connection;
pub mod headers;
mod multiplexed;
pub mod places;
pub mod received;
pub mod replica;
pub mod resolution;

/// How many addresses one request is tried at, if it cannot be sent.
const ATTEMPTS: usize = 3;

/// How often a call that runs is looked at, whether it may go on.
pub const LOOK: Duration = Duration::from_millis(500);

/// Which of the control plane's ports a request goes to.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Port {
    /// gRPC over HTTP/2.
    Grpc,
    /// REST and pages over HTTP/1.1.
    Http,
}

impl Port {
    /// The word used in metrics, logs and status.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Grpc => "grpc",
            Self::Http => "http",
        }
    }
}

/// The way to the control plane. Each worker has its own, with its own connections.
#[derive(Debug)]
pub struct Upstream {
    grpc: Pool,
    http: Pool,
    places: Arc<Places>,
    response_timeout: Duration,
    idle_timeout: Duration,
}

impl Upstream {
    /// Prepares clients of what is known of both ports; connects when the first request needs it. `places` are those of all
    /// workers on the HTTP port.
    #[must_use]
    pub fn new(
        settings: &Settings,
        tls: &Arc<rustls::ClientConfig>,
        [grpc, http]: [Arc<Replicas>; 2],
        places: Arc<Places>,
    ) -> Self {
        let pool = |port, replicas| Pool {
            port,
            replicas,
            clients: ArcSwap::default(),
            turn: AtomicUsize::new(0),
            settings: settings.clone(),
            tls: Arc::clone(tls),
        };
        Self {
            grpc: pool(Port::Grpc, grpc),
            http: pool(Port::Http, http),
            places,
            response_timeout: settings.response_timeout,
            idle_timeout: settings.idle_timeout,
        }
    }

    /// How long an answer that has begun may pause.
    #[must_use]
    pub fn idle_timeout(&self) -> Duration {
        self.idle_timeout
    }

    /// Sends a request and waits for the head of the answer, no longer than the configured time and the caller's own.
    /// The request's URI must be a path; it gets the scheme and authority of the port. One that was not sent is tried at
    /// another address; one that may have been is not. While it waits, `look` says whether it may go on. On the HTTP port
    /// it has one of the places, on the holder's account, until the body of the answer is dropped.
    ///
    /// # Errors
    /// `requests_full`, `caller_requests_full`, `upstream_unreachable`, `upstream_failed`, `upstream_timeout`, or what `look`
    /// says.
    pub async fn send(
        &self,
        port: Port,
        request: Request<Bytes>,
        holder: Holder,
        deadline: Option<Duration>,
        look: impl FnMut() -> Result<(), Denial>,
    ) -> Result<Response<Received>, Denial> {
        let (pool, place) = match port {
            Port::Grpc => (&self.grpc, None),
            Port::Http => (&self.http, Some(self.places.take(holder)?)),
        };
        let limit = deadline.map_or(self.response_timeout, |deadline| deadline.min(self.response_timeout));
        let response = watched(pin!(pool.send(request)), limit, look).await??;
        // No request goes out that asks for another protocol: an upgrade answers nothing (RFC 9110, section 15.2.2).
        if response.status().is_informational() {
            return Err(Reason::UpstreamFailed.into());
        }
        Ok(response.map(|source| Received::new(source, place)))
    }
}

/// Waits for something, no longer than `limit`, and looks now and then whether it may still be waited for. What comes
/// before the first look needs one timer, as a plain time limit does.
///
/// # Errors
/// `upstream_timeout`, or what `look` says.
pub async fn watched<T>(
    mut coming: Pin<&mut impl Future<Output = T>>,
    limit: Duration,
    mut look: impl FnMut() -> Result<(), Denial>,
) -> Result<T, Denial> {
    let end = Instant::now() + limit;
    loop {
        let next = (Instant::now() + LOOK).min(end);
        match tokio::time::timeout_at(next, coming.as_mut()).await {
            Ok(come) => return Ok(come),
            Err(_) if next == end => return Err(Reason::UpstreamTimeout.into()),
            Err(_) => look()?,
        }
    }
}

/// One worker's connections to one port.
#[derive(Debug)]
struct Pool {
    port: Port,
    replicas: Arc<Replicas>,
    clients: ArcSwap<Clients>,
    /// Counts requests, to take addresses in turn.
    turn: AtomicUsize,
    settings: Settings,
    tls: Arc<rustls::ClientConfig>,
}

/// The connections to one address.
#[derive(Clone, Debug)]
enum Client {
    Grpc(Arc<Multiplexed>),
    Http(Box<Pooled>),
}

/// A client for each address.
#[derive(Debug, Default)]
struct Clients {
    replicas: Arc<Vec<Arc<Replica>>>,
    clients: Vec<Client>,
}

impl Pool {
    async fn send(&self, mut request: Request<Bytes>) -> Result<Response<Source>, Denial> {
        let clients = self.clients().await?;
        let turn = match clients.clients.len() {
            1 => 0,
            _ => self.turn.fetch_add(1, Ordering::Relaxed),
        };
        let mut tried = 0;
        for left in (0..ATTEMPTS.min(clients.clients.len())).rev() {
            let (replica, client) = clients.choose(turn, &mut tried).ok_or(Reason::UpstreamUnreachable)?;
            let copy = (left > 0).then(|| request.clone());
            *request.uri_mut() = absolute(&replica.endpoint, request.uri().path_and_query())?;
            let failure = match client.request(request).await {
                Ok(response) => {
                    self.replicas.answered(replica);
                    return Ok(response);
                }
                Err(failure) => failure,
            };
            if failure == Failure::Unconnected {
                self.replicas.failed(replica);
            }
            match (copy, failure) {
                (Some(copy), Failure::Unconnected | Failure::NotSent) => {
                    self.replicas.repeated();
                    request = copy;
                }
                // Safe to call again, which this tells clients.
                (_, Failure::Unconnected | Failure::NotSent) => break,
                (_, Failure::Other) => return Err(Reason::UpstreamFailed.into()),
            }
        }
        Err(Reason::UpstreamUnreachable.into())
    }

    /// The clients of the addresses known now. Waits for the first ones, no longer than for a connection.
    async fn clients(&self) -> Result<Arc<Clients>, Denial> {
        let mut current = self.replicas.current();
        if current.is_empty() {
            tokio::time::timeout(self.settings.connect_timeout, self.replicas.known())
                .await
                .map_err(|_| Reason::UpstreamUnreachable)?;
            current = self.replicas.current();
        }
        let clients = self.clients.load();
        if Arc::ptr_eq(&clients.replicas, &current) {
            return Ok(Arc::clone(&clients));
        }
        // What is dropped here closes its connections once the requests on them have ended.
        let all = current.iter().map(|replica| {
            let mut known = clients.replicas.iter().zip(&clients.clients);
            match known.find(|(known, _)| Arc::ptr_eq(known, replica)) {
                Some((_, client)) => Ok(client.clone()),
                None => self.client(replica),
            }
        });
        let clients = Arc::new(Clients {
            clients: all.collect::<Result<_, Denial>>()?,
            replicas: Arc::clone(&current),
        });
        self.clients.store(Arc::clone(&clients));
        Ok(clients)
    }

    fn client(&self, replica: &Replica) -> Result<Client, Denial> {
        let connector = connection::connector(replica, &self.settings, &self.tls, self.port);
        Ok(match self.port {
            Port::Grpc => Client::Grpc(Arc::new(Multiplexed::new(
                connector,
                absolute(&replica.endpoint, None)?,
            ))),
            Port::Http => Client::Http(Box::new(connection::pooled(connector))),
        })
    }
}

impl Client {
    async fn request(&self, request: Request<Bytes>) -> Result<Response<Source>, Failure> {
        match self {
            Self::Grpc(client) => client.send(request).await.map_err(|error| Failure::of_grpc(&error)),
            Self::Http(client) => {
                let response = client.request(request.map(Full::new)).await;
                response
                    .map(|response| response.map(Source::Http))
                    .map_err(|error| Failure::of_http(&error))
            }
        }
    }
}

impl Clients {
    /// The next address in turn that has not been tried; one that is left out only if there is no other.
    fn choose(&self, turn: usize, tried: &mut u64) -> Option<(&Replica, &Client)> {
        let count = self.clients.len();
        let untried = |index: &usize| *tried & (1 << index) == 0;
        let mut in_turn = (0..count)
            .map(|offset| turn.wrapping_add(offset) % count)
            .filter(untried);
        let first = in_turn.next()?;
        let up = |index: &usize| self.replicas.get(*index).is_some_and(|replica| !replica.is_left_out());
        let chosen = std::iter::once(first).chain(in_turn).find(up).unwrap_or(first);
        *tried |= 1 << chosen;
        Some((self.replicas.get(chosen)?, self.clients.get(chosen)?))
    }
}

fn absolute(endpoint: &Endpoint, target: Option<&PathAndQuery>) -> Result<Uri, Denial> {
    let mut parts = uri::Parts::default();
    parts.scheme = Some(endpoint.scheme.clone());
    parts.authority = Some(endpoint.authority.clone());
    parts.path_and_query = Some(target.cloned().unwrap_or_else(|| PathAndQuery::from_static("/")));
    Uri::from_parts(parts).map_err(|_| Reason::PathNotCanonical.into())
}

/// Why a request has no answer.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
enum Failure {
    /// There was no connection.
    Unconnected,
    /// The control plane has certainly done nothing for it.
    NotSent,
    /// It may have been sent.
    Other,
}

impl Failure {
    fn of_grpc(error: &Unanswered) -> Self {
        match error {
            Unanswered::Unconnected(_) => Self::Unconnected,
            Unanswered::NotSent(_) => Self::NotSent,
            Unanswered::Failed(error) if was_refused(error) => Self::NotSent,
            Unanswered::Failed(_) => Self::Other,
        }
    }

    fn of_http(error: &hyper_util::client::legacy::Error) -> Self {
        if error.is_connect() {
            return Self::Unconnected;
        }
        // The connection ended before the request was written.
        let canceled = |cause: &(dyn Error + 'static)| {
            cause
                .downcast_ref::<hyper::Error>()
                .is_some_and(hyper::Error::is_canceled)
        };
        if causes(error).any(canceled) {
            Self::NotSent
        } else {
            Self::Other
        }
    }
}

/// Whether the other side says that it has done nothing (RFC 9113, section 8.7): by `REFUSED_STREAM`, or by a `GOAWAY`
/// whose last stream came before. Only streams after the last one get to see the other side's `GOAWAY`.
fn was_refused(error: &h2::Error) -> bool {
    error.is_remote() && (error.is_go_away() || error.is_reset() && error.reason() == Some(h2::Reason::REFUSED_STREAM))
}

fn causes<'e>(error: &'e (dyn Error + 'static)) -> impl Iterator<Item = &'e (dyn Error + 'static)> {
    std::iter::successors(error.source(), |cause: &&(dyn Error + 'static)| (**cause).source())
}
