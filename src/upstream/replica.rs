//! The addresses at which one port of the control plane is served: which there are, and which are left out for a while
//! because no connection could be made. Shared by all workers; requests only read.

use super::Port;
use crate::config::Endpoint;
use crate::metrics::Metrics;
use arc_swap::{ArcSwap, Guard};
use serde_json::{Value, json};
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU32, AtomicU64, Ordering};
use std::time::Duration;
use tokio::sync::Notify;
use tokio::time::Instant;

/// The most addresses of one port that are used: bounds connections and metrics, whatever DNS says.
pub const MAX_ADDRESSES: usize = 64;

/// How long an address is left out after its first failure; twice as long after each further one.
const FIRST_PAUSE: Duration = Duration::from_secs(1);
const LONGEST_PAUSE: Duration = Duration::from_secs(30);

/// One address of one port.
#[derive(Debug)]
pub struct Replica {
    /// The host it was found for: the name in requests and in its certificate.
    pub endpoint: Arc<Endpoint>,
    /// Where it is.
    pub address: SocketAddr,
    /// Failed connections in a row, those of trials included.
    failures: AtomicU32,
    left_out: AtomicBool,
    /// When it is tried again, in milliseconds since the table was made.
    trial: AtomicU64,
}

impl Replica {
    fn new(endpoint: Arc<Endpoint>, address: SocketAddr) -> Arc<Self> {
        Arc::new(Self {
            endpoint,
            address,
            failures: AtomicU32::new(0),
            left_out: AtomicBool::new(false),
            trial: AtomicU64::new(0),
        })
    }

    /// Whether requests go elsewhere, if there is an elsewhere.
    #[must_use]
    pub fn is_left_out(&self) -> bool {
        self.left_out.load(Ordering::Relaxed)
    }
}

/// The addresses of one port.
#[derive(Debug)]
pub struct Replicas {
    port: Port,
    endpoints: Box<[Arc<Endpoint>]>,
    current: ArcSwap<Vec<Arc<Replica>>>,
    changed: Notify,
    asked: Arc<Notify>,
    metrics: Arc<Metrics>,
    made: Instant,
}

impl Replicas {
    /// The addresses of these hosts; those that are names have none until they are resolved. `asked` is notified when a
    /// connection fails.
    #[must_use]
    pub fn new(port: Port, endpoints: &[Endpoint], asked: Arc<Notify>, metrics: Arc<Metrics>) -> Self {
        let replicas = Self {
            port,
            endpoints: endpoints.iter().cloned().map(Arc::new).collect(),
            current: ArcSwap::default(),
            changed: Notify::new(),
            asked,
            metrics,
            made: Instant::now(),
        };
        let literals: Vec<Vec<SocketAddr>> = replicas
            .endpoints
            .iter()
            .map(|endpoint| literal(endpoint).into_iter().collect())
            .collect();
        replicas.replace(&literals);
        replicas
    }

    /// The hosts, in the order of the configuration.
    pub(super) fn endpoints(&self) -> &[Arc<Endpoint>] {
        &self.endpoints
    }

    /// Those known now.
    pub(super) fn current(&self) -> Guard<Arc<Vec<Arc<Replica>>>> {
        self.current.load()
    }

    /// Whether there is an address; before a name has been resolved for the first time there is none.
    #[must_use]
    pub fn is_known(&self) -> bool {
        !self.current.load().is_empty()
    }

    /// Waits until there is an address, and asks for it.
    pub(super) async fn known(&self) {
        loop {
            let mut changed = std::pin::pin!(self.changed.notified());
            changed.as_mut().enable();
            if self.is_known() {
                return;
            }
            self.asked.notify_one();
            changed.await;
        }
    }

    /// Uses exactly these addresses, a list for each host, and returns whether that changes anything. What is known of an
    /// address that stays is kept; requests that run at one that goes may finish.
    pub(super) fn replace(&self, found: &[Vec<SocketAddr>]) -> bool {
        let old = self.current.load_full();
        let mut new: Vec<Arc<Replica>> = Vec::new();
        for (endpoint, addresses) in self.endpoints.iter().zip(found) {
            for address in addresses {
                if new.len() < MAX_ADDRESSES && new.iter().all(|known| known.address != *address) {
                    let same = |known: &&Arc<Replica>| known.address == *address && known.endpoint == *endpoint;
                    let kept = old.iter().find(same).cloned();
                    new.push(kept.unwrap_or_else(|| Replica::new(Arc::clone(endpoint), *address)));
                }
            }
        }
        let same = old.len() == new.len() && old.iter().zip(&new).all(|(old, new)| Arc::ptr_eq(old, new));
        if same {
            return false;
        }
        for gone in old
            .iter()
            .filter(|old| new.iter().all(|new| new.address != old.address))
        {
            // Its series may be gone already.
            _ = self
                .metrics
                .upstream_address_up
                .remove_label_values(&[self.port.label(), &gone.address.to_string()]);
        }
        for replica in &new {
            self.show(replica);
        }
        self.current.store(Arc::new(new));
        self.changed.notify_waiters();
        true
    }

    /// A connection could not be made: the address is left out for a while, and names are resolved anew.
    pub(super) fn failed(&self, replica: &Replica) {
        self.metrics
            .upstream_connect_failures
            .with_label_values(&[self.port.label()])
            .inc();
        // Many requests can fail at once; that is one failure.
        if !replica.left_out.swap(true, Ordering::Relaxed) {
            self.postpone(replica);
            self.show(replica);
            tracing::warn!(port = self.port.label(), address = %replica.address, "the control plane cannot be reached at this address");
        }
        self.asked.notify_one();
    }

    /// A request was answered.
    pub(super) fn answered(&self, replica: &Replica) {
        if replica.failures.load(Ordering::Relaxed) != 0 {
            replica.failures.store(0, Ordering::Relaxed);
            self.readmit(replica);
        }
    }

    /// Those to be tried again by now. None of them is due again before `patience` is over.
    pub(super) fn due(&self, patience: Duration) -> Vec<Arc<Replica>> {
        let now = self.elapsed();
        let current = self.current.load();
        let due = current
            .iter()
            .filter(|replica| replica.is_left_out() && replica.trial.load(Ordering::Relaxed) <= now);
        due.map(|replica| {
            replica.trial.store(now + milliseconds(patience), Ordering::Relaxed);
            Arc::clone(replica)
        })
        .collect()
    }

    /// When the next is to be tried again, if one is left out.
    pub(super) fn next_trial(&self) -> Option<Instant> {
        let current = self.current.load();
        let left_out = current.iter().filter(|replica| replica.is_left_out());
        let next = left_out.map(|replica| replica.trial.load(Ordering::Relaxed)).min()?;
        Some(self.made + Duration::from_millis(next))
    }

    /// A trial has ended. One that succeeds does not make earlier failures forgotten: only an answer does.
    pub(super) fn tried(&self, replica: &Replica, reached: bool) {
        if reached {
            self.readmit(replica);
        } else {
            self.postpone(replica);
        }
    }

    /// A request that was not sent goes to another address.
    pub(super) fn repeated(&self) {
        self.metrics
            .upstream_repeats
            .with_label_values(&[self.port.label()])
            .inc();
    }

    /// What the admin listener tells.
    #[must_use]
    pub fn status(&self) -> Value {
        let current = self.current.load();
        let all = current.iter().map(|replica| {
            json!({"address": replica.address.to_string(), "host": replica.endpoint.authority.as_str(), "up": !replica.is_left_out()})
        });
        all.collect()
    }

    fn postpone(&self, replica: &Replica) {
        let failures = replica.failures.fetch_add(1, Ordering::Relaxed).min(16);
        let pause = (FIRST_PAUSE * (1 << failures)).min(LONGEST_PAUSE);
        replica
            .trial
            .store(self.elapsed() + milliseconds(pause), Ordering::Relaxed);
    }

    fn readmit(&self, replica: &Replica) {
        if replica.left_out.swap(false, Ordering::Relaxed) {
            self.show(replica);
            tracing::info!(port = self.port.label(), address = %replica.address, "the control plane can be reached at this address again");
        }
    }

    fn show(&self, replica: &Replica) {
        self.metrics
            .upstream_address_up
            .with_label_values(&[self.port.label(), &replica.address.to_string()])
            .set((!replica.is_left_out()).into());
    }

    fn elapsed(&self) -> u64 {
        milliseconds(self.made.elapsed())
    }
}

/// The address that a host is, if it is one and not a name.
pub(super) fn literal(endpoint: &Endpoint) -> Option<SocketAddr> {
    let (host, port) = host_and_port(endpoint);
    Some(SocketAddr::new(host.parse::<IpAddr>().ok()?, port))
}

/// The host without the brackets of IPv6, and the port or that of the scheme.
pub(super) fn host_and_port(endpoint: &Endpoint) -> (&str, u16) {
    let host = endpoint.authority.host();
    let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
    let default = if endpoint.scheme == http::uri::Scheme::HTTPS {
        443
    } else {
        80
    };
    (bare.unwrap_or(host), endpoint.authority.port_u16().unwrap_or(default))
}

fn milliseconds(duration: Duration) -> u64 {
    u64::try_from(duration.as_millis()).unwrap_or(u64::MAX)
}

#[cfg(test)]
mod tests;
