//! Questions under way: requests that bring the same token at the same time share one, and no client brings about all.

use super::Outcome;
use crate::model::network::counted;
use std::collections::HashMap;
use std::fmt;
use std::net::IpAddr;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::{Semaphore, watch};

/// The most tokens that are asked about or wait for it at one time.
const MOST: usize = 1024;
/// The most of these that one client has brought.
const MOST_OF_ONE: usize = MOST / 2;
/// The most questions at one time about tokens that one client has brought: half of those that are asked at all.
const AT_ONE_TIME: usize = super::AT_ONE_TIME / 2;

/// What comes of a question; nothing while it is under way.
pub(super) type Coming = watch::Receiver<Option<Outcome>>;

/// The questions under way.
#[derive(Default)]
pub(super) struct Flights(Mutex<State>);

#[derive(Default)]
struct State {
    by_token: HashMap<Box<str>, Coming>,
    by_client: HashMap<IpAddr, Client>,
}

/// What one client has brought about.
struct Client {
    flights: usize,
    room: Arc<Semaphore>,
}

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

/// The duty to find out about a token. Whoever drops it without landing lets those who wait go away empty-handed.
pub(super) struct Flight {
    token: Box<str>,
    client: IpAddr,
    room: Arc<Semaphore>,
    flights: Arc<Flights>,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// Joins the question about a token, or begins it: then the duty comes along. `None` if there are too many others, or
    /// too many of this client.
    pub(super) fn join(self: &Arc<Self>, token: &str, client: IpAddr) -> Option<(Coming, Option<Flight>)> {
        let mut state = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(coming) = state.by_token.get(token) {
            return Some((coming.clone(), None));
        }
        if state.by_token.len() >= MOST {
            return None;
        }
        let client = counted(client);
        let of_client = state.by_client.entry(client).or_insert_with(|| Client {
            flights: 0,
            room: Arc::new(Semaphore::new(AT_ONE_TIME)),
        });
        if of_client.flights >= MOST_OF_ONE {
            return None;
        }
        of_client.flights += 1;
        let room = Arc::clone(&of_client.room);
        let (outcome, coming) = watch::channel(None);
        state.by_token.insert(token.into(), coming.clone());
        let flight = Flight {
            token: token.into(),
            client,
            room,
            flights: Arc::clone(self),
            outcome,
        };
        Some((coming, Some(flight)))
    }
}

impl Flight {
    pub(super) fn token(&self) -> &str {
        &self.token
    }

    /// Room for the questions of this client.
    pub(super) fn room(&self) -> &Semaphore {
        &self.room
    }

    /// Tells everybody who waits.
    pub(super) fn land(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut state = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        state.by_token.remove(&self.token);
        if let Some(client) = state.by_client.get_mut(&self.client) {
            client.flights -= 1;
            if client.flights == 0 {
                state.by_client.remove(&self.client);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::model::reason::Reason;
    use std::net::Ipv6Addr;

    const HERE: IpAddr = IpAddr::V6(Ipv6Addr::LOCALHOST);

    fn client(number: u16) -> IpAddr {
        Ipv6Addr::new(0x2001, 0xdb8, 0, number, 0, 0, 0, 1).into()
    }

    #[tokio::test]
    async fn one_leads_and_the_others_follow_until_it_lands_or_is_lost() {
        let flights = Arc::new(Flights::default());
        let (_, lead) = flights.join("token", HERE).unwrap();
        let (mut follower, none) = flights.join("token", client(1)).unwrap();
        assert!(none.is_none());
        assert!(flights.join("other", HERE).unwrap().1.is_some());
        lead.unwrap().land(Err(Reason::TokenInactive.into()));
        let outcome = follower.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(outcome.unwrap_err().reason, Reason::TokenInactive);
        let (mut left, lead) = flights.join("token", HERE).unwrap();
        drop(lead.unwrap());
        assert!(left.wait_for(Option::is_some).await.is_err());
        assert!(flights.join("token", HERE).unwrap().1.is_some());
        assert!(!format!("{flights:?}").contains("token"));
    }

    #[test]
    fn only_so_many_tokens_are_asked_about_at_one_time_and_of_one_client_fewer() {
        let flights = Arc::new(Flights::default());
        let join = |token: usize, by: IpAddr| flights.join(&token.to_string(), by);
        let mut all: Vec<_> = (0..MOST_OF_ONE).map(|token| join(token, client(0)).unwrap()).collect();
        let neighbour = Ipv6Addr::new(0x2001, 0xdb8, 0, 0, 9, 9, 9, 9).into();
        assert!(join(MOST, neighbour).is_none(), "it is the same client");
        for number in 1..2_u16 {
            let first = usize::from(number) * MOST_OF_ONE;
            all.extend((first..first + MOST_OF_ONE).map(|token| join(token, client(number)).unwrap()));
        }
        assert!(join(MOST, client(2)).is_none());
        assert!(join(7, client(2)).unwrap().1.is_none(), "who joins takes no room");
        drop(all);
        assert!(join(MOST, client(0)).is_some());
        assert!(flights.0.lock().unwrap().by_client.len() <= 1);
    }
}
