//! How many connections each client's address has open: one alone must not use up what all may have.

use crate::model::network::counted;
use std::collections::HashMap;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How often it is logged that an address has too many.
const REMIND: Duration = Duration::from_mins(1);

/// The open connections by address, over all workers and several listeners.
#[derive(Debug)]
pub struct Addresses {
    most: usize,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    /// Addresses without a connection are not in it.
    open: HashMap<IpAddr, usize>,
    told: Option<Instant>,
}

/// One connection, which counts until this is dropped.
#[derive(Debug)]
pub struct Entered {
    all: Arc<Addresses>,
    address: IpAddr,
}

impl Addresses {
    /// None yet, and never more than so many for one address.
    pub(super) fn new(most: usize) -> Arc<Self> {
        Arc::new(Self {
            most,
            state: Mutex::default(),
        })
    }

    /// Counts one more connection, unless the address has as many as it may. That is logged once a minute.
    pub(super) fn enter(self: &Arc<Self>, address: IpAddr) -> Option<Entered> {
        let address = counted(address);
        let mut state = self.state.lock().unwrap_or_else(PoisonError::into_inner);
        let open = state.open.get(&address).copied().unwrap_or_default();
        if open >= self.most {
            if state.told.is_none_or(|at| at.elapsed() >= REMIND) {
                state.told = Some(Instant::now());
                tracing::warn!(
                    %address,
                    most = self.most,
                    "connections were refused because their address has as many as `limits.connections_per_address` allows; \
                     if it is a proxy or load balancer, make it a trusted hop or allow more"
                );
            }
            return None;
        }
        state.open.insert(address, open + 1);
        Some(Entered {
            all: Arc::clone(self),
            address,
        })
    }
}

impl Drop for Entered {
    fn drop(&mut self) {
        let mut state = self.all.state.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(open) = state.open.get_mut(&self.address) {
            *open -= 1;
            if *open == 0 {
                state.open.remove(&self.address);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn an_address_has_no_more_connections_than_it_may() {
        let all = Addresses::new(2);
        let enter = |address: &str| all.enter(address.parse().unwrap());
        let first = enter("192.0.2.1").unwrap();
        let second = enter("::ffff:192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        let other = enter("192.0.2.2").unwrap();
        drop(first);
        let third = enter("192.0.2.1").unwrap();
        assert!(enter("192.0.2.1").is_none());
        drop((second, third, other));
        assert!(
            all.state.lock().unwrap().open.is_empty(),
            "nothing is kept of who has left"
        );
    }

    #[test]
    fn addresses_of_ipv6_count_by_their_network() {
        let all = Addresses::new(1);
        let enter = |address: &str| all.enter(address.parse().unwrap());
        let first = enter("2001:db8::1");
        assert!(first.is_some());
        assert!(enter("2001:db8::ffff:ffff:ffff:ffff").is_none());
        assert!(enter("2001:db8:0:1::1").is_some());
    }
}
