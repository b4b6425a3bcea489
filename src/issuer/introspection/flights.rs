//! Questions under way: requests that bring the same token at the same time share one.

use super::Outcome;
use std::collections::HashMap;
use std::fmt;
use std::sync::{Arc, Mutex, PoisonError};
use tokio::sync::watch;

/// The most tokens that are asked about or wait for it at one time.
const MOST: usize = 1024;

/// What comes of a question; nothing while it is under way.
pub(super) type Coming = watch::Receiver<Option<Outcome>>;

/// The questions under way, by token.
#[derive(Default)]
pub(super) struct Flights(Mutex<HashMap<Box<str>, Coming>>);

impl fmt::Debug for Flights {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Flights").finish_non_exhaustive()
    }
}

/// The duty to find out about a token. Whoever drops it without landing lets those who wait go away empty-handed.
pub(super) struct Flight {
    token: Box<str>,
    flights: Arc<Flights>,
    outcome: watch::Sender<Option<Outcome>>,
}

impl Flights {
    /// Joins the question about a token, or begins it: then the duty comes along. `None` if there are too many others.
    pub(super) fn join(self: &Arc<Self>, token: &str) -> Option<(Coming, Option<Flight>)> {
        let mut flights = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if let Some(coming) = flights.get(token) {
            return Some((coming.clone(), None));
        }
        if flights.len() >= MOST {
            return None;
        }
        let (outcome, coming) = watch::channel(None);
        flights.insert(token.into(), coming.clone());
        let flight = Flight {
            token: token.into(),
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

    /// Tells everybody who waits.
    pub(super) fn land(self, outcome: Outcome) {
        self.outcome.send_replace(Some(outcome));
    }
}

impl Drop for Flight {
    fn drop(&mut self) {
        let mut flights = self.flights.0.lock().unwrap_or_else(PoisonError::into_inner);
        flights.remove(&self.token);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::model::reason::Reason;

    #[tokio::test]
    async fn one_leads_and_the_others_follow_until_it_lands_or_is_lost() {
        let flights = Arc::new(Flights::default());
        let (_, lead) = flights.join("token").unwrap();
        let (mut follower, none) = flights.join("token").unwrap();
        assert!(none.is_none());
        assert!(flights.join("other").unwrap().1.is_some());
        lead.unwrap().land(Err(Reason::TokenInactive.into()));
        let outcome = follower.wait_for(Option::is_some).await.unwrap().clone().unwrap();
        assert_eq!(outcome.unwrap_err().reason, Reason::TokenInactive);
        let (mut left, lead) = flights.join("token").unwrap();
        drop(lead.unwrap());
        assert!(left.wait_for(Option::is_some).await.is_err());
        assert!(flights.join("token").unwrap().1.is_some());
        assert!(!format!("{flights:?}").contains("token"));
    }

    #[test]
    fn only_so_many_tokens_are_asked_about_at_one_time() {
        let flights = Arc::new(Flights::default());
        let all: Vec<_> = (0..MOST)
            .map(|number| flights.join(&number.to_string()).unwrap())
            .collect();
        assert!(flights.join("one more").is_none());
        assert!(flights.join("7").unwrap().1.is_none(), "who joins takes no room");
        drop(all);
        assert!(flights.join("one more").is_some());
    }
}
