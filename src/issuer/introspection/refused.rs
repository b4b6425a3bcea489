//! Tokens that were refused a moment ago: not asked about again at once, so that a client that repeats a dead token is no
//! burden to its issuer.

use crate::model::denial::Denial;
use aws_lc_rs::digest::{SHA256, digest};
use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// The most tokens remembered.
const MOST: usize = 4096;

/// Refusals by the hash of the token.
#[derive(Debug, Default)]
pub(super) struct RefusedTokens(Mutex<HashMap<Box<[u8]>, Refused>>);

#[derive(Debug)]
struct Refused {
    denial: Denial,
    /// When it is forgotten.
    until: Instant,
}

impl RefusedTokens {
    /// Why the token was refused, if that is remembered.
    pub(super) fn get(&self, token: &str) -> Option<Denial> {
        let hash = hash(token);
        let refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        let found = refused.get(&*hash)?;
        (Instant::now() < found.until).then(|| found.denial.clone())
    }

    /// Remembers a refusal for a while, unless there are too many others.
    pub(super) fn note(&self, token: &str, denial: Denial, lasting: Duration) {
        let (hash, now) = (hash(token), Instant::now());
        let mut refused = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if refused.len() >= MOST {
            refused.retain(|_, kept| now < kept.until);
        }
        if refused.len() < MOST {
            let until = now + lasting;
            refused.insert(hash, Refused { denial, until });
        }
    }
}

fn hash(token: &str) -> Box<[u8]> {
    digest(&SHA256, token.as_bytes()).as_ref().into()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::reason::Reason;

    const WHILE: Duration = Duration::from_secs(5);

    #[tokio::test(start_paused = true)]
    async fn a_refusal_is_remembered_for_a_while_and_only_of_that_token() {
        let refused = RefusedTokens::default();
        refused.note("dead", Reason::TokenInactive.into(), WHILE);
        assert_eq!(refused.get("dead"), Some(Reason::TokenInactive.into()));
        assert_eq!(refused.get("alive"), None);
        assert!(!format!("{refused:?}").contains("dead"));
        tokio::time::advance(WHILE).await;
        assert_eq!(refused.get("dead"), None);
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_are_remembered() {
        let refused = RefusedTokens::default();
        for number in 0..2 * MOST {
            refused.note(&number.to_string(), Reason::TokenInactive.into(), WHILE);
        }
        assert!(refused.get("0").is_some() && refused.get(&MOST.to_string()).is_none());
        tokio::time::advance(WHILE).await;
        refused.note("late", Reason::TokenInactive.into(), WHILE);
        assert!(refused.get("late").is_some());
    }
}
