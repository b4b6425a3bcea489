//! Keeps the addresses of the control plane up to date: resolves names on a timer and after failed connections, and tries
//! addresses that are left out.

use super::Port;
use super::replica::{self, Replicas};
use crate::config::{Endpoint, Upstream};
use crate::metrics::Metrics;
use std::fmt::Debug;
use std::io;
use std::net::{SocketAddr, ToSocketAddrs};
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpStream;
use tokio::sync::Notify;
use tokio::time::Instant;

/// Failed connections make names be resolved at most this often.
const LEAST_INTERVAL: Duration = Duration::from_secs(1);

/// Finds the addresses of a name.
pub trait Resolver: Debug + Send + Sync {
    /// Every address of the name, with the port. May block.
    ///
    /// # Errors
    /// When the name cannot be resolved now.
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>>;
}

/// The operating system's resolver.
#[derive(Clone, Copy, Debug, Default)]
pub struct SystemResolver;

impl Resolver for SystemResolver {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        Ok((host, port).to_socket_addrs()?.collect())
    }
}

/// The task that keeps addresses up to date.
#[derive(Debug)]
pub struct Resolution {
    ports: [Resolved; 2],
    resolver: Arc<dyn Resolver>,
    every: Duration,
    connect_timeout: Duration,
    asked: Arc<Notify>,
}

/// One port and what its hosts were last resolved to.
#[derive(Debug)]
struct Resolved {
    replicas: Arc<Replicas>,
    addresses: Vec<Vec<SocketAddr>>,
    /// Whether each host could be resolved the last time: what stays as it is, is logged once.
    good: Vec<bool>,
}

impl Resolution {
    /// The addresses of both ports, gRPC first, and the task that keeps them up to date.
    #[must_use]
    pub fn of(settings: &Upstream, resolver: Arc<dyn Resolver>, metrics: &Arc<Metrics>) -> ([Arc<Replicas>; 2], Self) {
        let asked = Arc::new(Notify::new());
        let replicas = [(Port::Grpc, &settings.grpc), (Port::Http, &settings.http)]
            .map(|(port, hosts)| Arc::new(Replicas::new(port, hosts, Arc::clone(&asked), Arc::clone(metrics))));
        let ports = replicas.clone().map(|replicas| {
            let hosts = replicas.endpoints();
            Resolved {
                addresses: hosts
                    .iter()
                    .map(|host| replica::literal(host).into_iter().collect())
                    .collect(),
                good: vec![true; hosts.len()],
                replicas,
            }
        });
        let resolution = Self {
            ports,
            resolver,
            every: settings.resolve,
            connect_timeout: settings.connect_timeout,
            asked,
        };
        (replicas, resolution)
    }

    /// Runs until dropped.
    pub async fn run(mut self) {
        let mut last = Instant::now();
        let mut next = last;
        loop {
            if Instant::now() >= next {
                for port in &mut self.ports {
                    port.resolve(&self.resolver).await;
                }
                last = Instant::now();
                next = last + self.every;
            }
            self.try_again();
            let trial = self.ports.iter().filter_map(|port| port.replicas.next_trial()).min();
            tokio::select! {
                () = tokio::time::sleep_until(trial.map_or(next, |trial| trial.min(next))) => {}
                () = self.asked.notified() => next = next.min(last + LEAST_INTERVAL),
            }
        }
    }

    /// Tries to connect to what is left out and due, so that no request has to.
    fn try_again(&self) {
        for port in &self.ports {
            for replica in port.replicas.due(self.connect_timeout + LEAST_INTERVAL) {
                let (replicas, patience) = (Arc::clone(&port.replicas), self.connect_timeout);
                tokio::spawn(async move {
                    let connected = tokio::time::timeout(patience, TcpStream::connect(replica.address)).await;
                    replicas.tried(&replica, matches!(connected, Ok(Ok(_))));
                });
            }
        }
    }
}

impl Resolved {
    /// Resolves every name of the port. One that cannot be resolved keeps the addresses it had.
    async fn resolve(&mut self, resolver: &Arc<dyn Resolver>) {
        let hosts = self
            .replicas
            .endpoints()
            .iter()
            .zip(&mut self.addresses)
            .zip(&mut self.good);
        for ((host, addresses), good) in hosts.filter(|((host, _), _)| replica::literal(host).is_none()) {
            match look_up(resolver, host).await {
                Ok(found) => {
                    *addresses = found;
                    *good = true;
                }
                Err(error) => {
                    if std::mem::replace(good, false) {
                        tracing::warn!(host = %host.authority, %error, "the control plane's name cannot be resolved; its last addresses stay in use");
                    }
                }
            }
        }
        if self.replicas.replace(&self.addresses) {
            tracing::info!(addresses = %self.replicas.status(), "the addresses of the control plane are now these");
        }
    }
}

/// The addresses of a host, each once, in an order that depends on nothing else.
async fn look_up(resolver: &Arc<dyn Resolver>, host: &Arc<Endpoint>) -> io::Result<Vec<SocketAddr>> {
    let (resolver, host) = (Arc::clone(resolver), Arc::clone(host));
    let looking = tokio::task::spawn_blocking(move || {
        let (host, port) = replica::host_and_port(&host);
        resolver.resolve(host, port)
    });
    let mut found = looking.await.map_err(io::Error::other)??;
    found.sort_unstable();
    found.dedup();
    if found.is_empty() {
        return Err(io::Error::other("it has no address"));
    }
    Ok(found)
}
