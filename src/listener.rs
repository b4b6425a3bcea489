//! Accepts connections: bounded in number, each with deadlines of its own, drained on shutdown.

use crate::config::Limits;
use crate::gate::Service;
use crate::metrics::Metrics;
use crate::protocol::hops::TrustedHops;
use crate::tls::LiveTls;
use addresses::Addresses;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::{OwnedSemaphorePermit, Semaphore, watch};
use tokio::task::JoinSet;
use tokio::time::Instant;

mod activity;
pub mod addresses;
pub mod connection;
pub mod preface;
pub mod proxy_protocol;
pub mod socket;
mod stall;

/// One configured address, as every worker serves it.
#[derive(Debug)]
pub struct Listener {
    /// The name in logs, metrics and audit records.
    pub name: Arc<str>,
    /// The certificates in force; `None` for plain text.
    pub tls: Option<Arc<LiveTls>>,
    /// The hops before it that are believed; without it, none.
    pub hops: Option<Arc<TrustedHops>>,
    /// Whether every connection is a trusted hop's and begins with a header of the PROXY protocol.
    pub proxy_protocol: bool,
    /// Answers what arrives.
    pub service: Service,
    /// Bounds and deadlines.
    pub limits: Limits,
    /// How many more connections may be served, over all listeners and workers, and how many each address has of them. One
    /// more for each listener waits accepted.
    pub room: Room,
    /// Where connections are counted.
    pub metrics: Arc<Metrics>,
}

/// Room for connections. Some of all is kept for listeners whose callers need no credential: they are the platform's own, and
/// whoever can reach the others must not keep them out.
#[derive(Clone, Debug)]
pub struct Room {
    all: Arc<Semaphore>,
    /// What all listeners of one kind have together; without it, as much as there is.
    share: Option<Arc<Semaphore>>,
    /// Where many have one address, as behind the sidecar of a mesh, whoever uses it up must not keep the platform out either.
    addresses: Arc<Addresses>,
}

impl Room {
    /// For as many connections as the limits say: that of listeners with a fixed principal, and that of the others.
    #[must_use]
    pub fn of(limits: &Limits) -> (Self, Self) {
        let connections = limits.connections;
        let addresses = || Addresses::new(limits.connections_per_address);
        let all = Arc::new(Semaphore::new(connections));
        let share = Arc::new(Semaphore::new(connections - connections / RESERVED));
        let own = Self {
            all: Arc::clone(&all),
            share: None,
            addresses: addresses(),
        };
        let others = Self {
            all,
            share: Some(share),
            addresses: addresses(),
        };
        (own, others)
    }

    /// Waits for room for one connection, which is given back with what this returns.
    async fn enter(&self) -> Vec<OwnedSemaphorePermit> {
        let mut permits = Vec::with_capacity(2);
        // The share first: who waits for it must not take what others may have.
        for semaphore in self.share.iter().chain([&self.all]) {
            permits.extend(Arc::clone(semaphore).acquire_owned().await);
        }
        permits
    }
}

/// One in so many connections is kept for listeners with a fixed principal.
const RESERVED: usize = 10;

/// Why a connection ended before a request, or the next one, could be read: a metric label.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum HandshakeFailure {
    /// The peer is no trusted hop, where only those may connect.
    UntrustedHop,
    /// The header of the PROXY protocol took too long.
    ProxyHeaderTimeout,
    /// The client's address has as many connections as it may.
    AddressFull,
    /// There was no header of the PROXY protocol, or one that cannot be read.
    ProxyHeader,
    /// The TLS handshake took too long.
    TlsTimeout,
    /// The TLS handshake failed.
    Tls,
    /// The client had no certificate where one is required, or one that is not accepted.
    ClientCertificate,
    /// Nothing, or not enough to tell the HTTP version, was sent in time.
    PrefaceTimeout,
    /// The client left or sent something that is no HTTP.
    Preface,
    /// The head of an HTTP/1.1 request took too long.
    HeadTimeout,
    /// The head of an HTTP/1.1 request was malformed or too large, and answered as such.
    Head,
}

impl HandshakeFailure {
    /// The metric label.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::UntrustedHop => "untrusted_hop",
            Self::ProxyHeaderTimeout => "proxy_header_timeout",
            Self::AddressFull => "address_full",
            Self::ProxyHeader => "proxy_header",
            Self::TlsTimeout => "tls_timeout",
            Self::Tls => "tls",
            Self::ClientCertificate => "client_certificate",
            Self::PrefaceTimeout => "preface_timeout",
            Self::Preface => "preface",
            Self::HeadTimeout => "head_timeout",
            Self::Head => "head",
        }
    }
}

/// How often it is logged that connections cannot be accepted.
const REMIND: Duration = Duration::from_mins(1);

/// Accepts until the drain begins, then waits for the connections that are open, no longer than `grace`.
pub async fn run(listener: Arc<Listener>, socket: TcpListener, mut drain: watch::Receiver<bool>, grace: Duration) {
    let mut connections = JoinSet::new();
    let mut told = None;
    loop {
        let accepted = tokio::select! {
            biased;
            _ = drain.wait_for(|draining| *draining) => break,
            Some(_) = connections.join_next(), if !connections.is_empty() => continue,
            accepted = accept(&listener, &socket, &mut told) => accepted,
        };
        let (stream, peer) = accepted;
        // Taken once there is a connection: a listener that only waits for one must not use up what others may serve.
        let permits = tokio::select! {
            biased;
            _ = drain.wait_for(|draining| *draining) => break,
            permits = listener.room.enter() => permits,
        };
        let listener = Arc::clone(&listener);
        let drain = drain.clone();
        connections.spawn(async move {
            let open = listener.metrics.connections_open.with_label_values(&[&listener.name]);
            open.inc();
            let _closed = scopeguard(|| open.dec());
            if let Err(cause) = connection::serve(&listener, stream, peer, drain).await {
                listener
                    .metrics
                    .handshake_failures
                    .with_label_values(&[&listener.name, cause.label()])
                    .inc();
            }
            drop(permits);
        });
    }
    drop(socket);
    let finished = async { while connections.join_next().await.is_some() {} };
    if tokio::time::timeout(grace, finished).await.is_err() {
        tracing::warn!(listener = %listener.name, "requests were still running at the end of the drain time and were cut off");
    }
}

/// The next connection. Errors of `accept` (no more file descriptors, say) pass; they are logged once a minute.
async fn accept(listener: &Listener, socket: &TcpListener, told: &mut Option<Instant>) -> (TcpStream, SocketAddr) {
    loop {
        match socket.accept().await {
            Ok((stream, peer)) => {
                if socket::prepare(&stream).is_ok() {
                    return (stream, peer);
                }
            }
            Err(error) => {
                if told.is_none_or(|at| at.elapsed() >= REMIND) {
                    *told = Some(Instant::now());
                    tracing::warn!(listener = %listener.name, %error, "a connection could not be accepted");
                }
                tokio::time::sleep(Duration::from_millis(50)).await;
            }
        }
    }
}

/// Runs a closure when dropped, so that a count goes down also when a task panics.
fn scopeguard<F: FnMut()>(run: F) -> impl Drop {
    struct Guard<F: FnMut()>(F);
    impl<F: FnMut()> Drop for Guard<F> {
        fn drop(&mut self) {
            (self.0)();
        }
    }
    Guard(run)
}
