//! Keys that tokens name and the issuer does not publish: not asked for again for a while. Without this, one client with
//! an outdated token would bring about a fetch as often as fetches are allowed.

use std::collections::HashMap;
use std::sync::{Mutex, PoisonError};
use std::time::Duration;
use tokio::time::Instant;

/// How long a key counts as missing, unless the issuer's keys change before.
pub(super) const MISSING_FOR: Duration = Duration::from_mins(1);
/// The most keys remembered. Whoever makes up more of them is held off by the pause between fetches.
const MOST: usize = 1024;
/// The longest name of a key that is asked for, in bytes.
const LONGEST: usize = 256;

/// Which keys are missing from which generation of the issuer's keys.
#[derive(Debug, Default)]
pub(super) struct MissingKeys(Mutex<HashMap<Box<str>, Missing>>);

#[derive(Clone, Copy, Debug)]
struct Missing {
    generation: u64,
    since: Instant,
}

impl Missing {
    fn holds(self, generation: u64) -> bool {
        self.generation == generation && self.since.elapsed() < MISSING_FOR
    }
}

impl MissingKeys {
    /// Whether fetching for the key is useless for now.
    pub(super) fn has(&self, key: &str, generation: u64) -> bool {
        let missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        key.len() > LONGEST || missing.get(key).is_some_and(|missing| missing.holds(generation))
    }

    /// A fetch has not brought the key.
    pub(super) fn note(&self, key: &str, generation: u64) {
        let mut missing = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        if missing.len() >= MOST {
            missing.retain(|_, entry| entry.holds(generation));
        }
        if missing.len() < MOST {
            let since = Instant::now();
            missing.insert(key.into(), Missing { generation, since });
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[tokio::test(start_paused = true)]
    async fn a_key_is_missing_for_a_while_from_one_generation() {
        let missing = MissingKeys::default();
        assert!(!missing.has("a", 1));
        missing.note("a", 1);
        assert!(missing.has("a", 1) && !missing.has("a", 2) && !missing.has("b", 1));
        tokio::time::advance(MISSING_FOR).await;
        assert!(!missing.has("a", 1));
    }

    #[tokio::test(start_paused = true)]
    async fn only_so_many_keys_are_remembered_and_none_with_an_endless_name() {
        let missing = MissingKeys::default();
        for number in 0..2 * MOST {
            missing.note(&number.to_string(), 1);
        }
        assert!(missing.has("0", 1) && !missing.has(&MOST.to_string(), 1));
        tokio::time::advance(MISSING_FOR).await;
        missing.note("late", 1);
        assert!(missing.has("late", 1));
        assert!(missing.has(&"x".repeat(LONGEST + 1), 1));
    }
}
