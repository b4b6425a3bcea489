//! Tokens verified before: bounded, cheap to read, safe against collisions.

use super::VerifiedToken;
use crate::credential::locate::Scheme;
use crate::secret::Secret;
use ahash::RandomState;
use std::collections::HashMap;
use std::mem;
use std::sync::{Arc, PoisonError, RwLock};

const SHARDS: usize = 16;

/// A token that was verified, with all that the verdict depended on.
#[derive(Debug)]
pub(super) struct Entry {
    pub(super) scheme: Scheme,
    token: Secret,
    /// The position of its issuer; 0 for what a load balancer has signed.
    pub(super) issuer: usize,
    /// The generation of the keys it was verified with.
    pub(super) generation: u64,
    /// The second from which on it is expired.
    pub(super) valid_until: u64,
    pub(super) verified: Arc<VerifiedToken>,
}

impl Entry {
    pub(super) fn new(
        scheme: Scheme,
        token: &str,
        issuer: usize,
        generation: u64,
        valid_until: u64,
        verified: Arc<VerifiedToken>,
    ) -> Self {
        Self {
            scheme,
            token: Secret::from(token),
            issuer,
            generation,
            valid_until,
            verified,
        }
    }
}

/// Entries by hash of scheme and token. Only tokens that were verified get in, and a hit compares the whole token, so
/// neither a collision nor a flood of bad tokens matters.
#[derive(Debug)]
pub(super) struct TokenCache {
    hasher: RandomState,
    shards: [RwLock<Shard>; SHARDS],
    /// Entries a half of a shard holds at most.
    half: usize,
}

/// Two halves: when the young one is full it becomes the old one, and what was in the old one is forgotten. So entries
/// live for at least `half` insertions, and making room costs no search.
#[derive(Debug, Default)]
struct Shard {
    young: HashMap<u64, Arc<Entry>, RandomState>,
    old: HashMap<u64, Arc<Entry>, RandomState>,
}

impl TokenCache {
    /// A cache for about `capacity` entries, never more. Less than 32 means none.
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            hasher: RandomState::new(),
            shards: Default::default(),
            half: capacity / (2 * SHARDS),
        }
    }

    pub(super) fn get(&self, scheme: Scheme, token: &str) -> Option<Arc<Entry>> {
        let hash = self.hasher.hash_one((scheme, token));
        let shard = self.shard(hash).read().unwrap_or_else(PoisonError::into_inner);
        let entry = shard.young.get(&hash).or_else(|| shard.old.get(&hash))?;
        let same = entry.scheme == scheme && entry.token.expose() == token;
        same.then(|| Arc::clone(entry))
    }

    pub(super) fn insert(&self, entry: Entry) {
        if self.half == 0 {
            return;
        }
        let hash = self.hasher.hash_one((entry.scheme, entry.token.expose()));
        let mut shard = self.shard(hash).write().unwrap_or_else(PoisonError::into_inner);
        if shard.young.len() >= self.half && !shard.young.contains_key(&hash) {
            shard.old = mem::take(&mut shard.young);
        }
        // An older verdict on the same token must not come back when the halves change.
        shard.old.remove(&hash);
        shard.young.insert(hash, Arc::new(entry));
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "the remainder is below SHARDS"
    )]
    fn shard(&self, hash: u64) -> &RwLock<Shard> {
        &self.shards[(hash % SHARDS as u64) as usize]
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::model::principal::Principal;

    fn entry(scheme: Scheme, token: &str) -> Entry {
        let verified = VerifiedToken {
            principal: Arc::new(Principal::anonymous()),
            rights: crate::live::RightsCell::default(),
            expired_from: 100,
        };
        Entry::new(scheme, token, 0, 1, 100, Arc::new(verified))
    }

    fn size(cache: &TokenCache) -> usize {
        let count = |shard: &RwLock<Shard>| shard.read().map(|shard| shard.young.len() + shard.old.len()).unwrap();
        cache.shards.iter().map(count).sum()
    }

    #[test]
    fn an_entry_is_found_only_by_the_same_scheme_and_token() {
        let cache = TokenCache::new(1000);
        cache.insert(entry(Scheme::Bearer, "token"));
        assert!(cache.get(Scheme::Bearer, "token").is_some());
        assert!(cache.get(Scheme::IdToken, "token").is_none());
        assert!(cache.get(Scheme::Bearer, "tokem").is_none());
        assert!(cache.get(Scheme::Bearer, "").is_none());
    }

    #[test]
    fn a_collision_of_hashes_is_a_miss() {
        let cache = TokenCache::new(1000);
        let hash = cache.hasher.hash_one((Scheme::Bearer, "asked"));
        cache
            .shard(hash)
            .write()
            .unwrap()
            .young
            .insert(hash, Arc::new(entry(Scheme::Bearer, "other")));
        assert!(cache.get(Scheme::Bearer, "asked").is_none());
    }

    #[test]
    fn the_cache_never_grows_beyond_its_capacity() {
        let cache = TokenCache::new(320);
        for number in 0..5000 {
            cache.insert(entry(Scheme::Bearer, &format!("token-{number}")));
            assert!(size(&cache) <= 320);
        }
        assert!(cache.get(Scheme::Bearer, "token-4999").is_some());
        assert!(cache.get(Scheme::Bearer, "token-0").is_none());
        let none = TokenCache::new(0);
        none.insert(entry(Scheme::Bearer, "token"));
        assert!(none.get(Scheme::Bearer, "token").is_none());
    }

    #[test]
    fn debug_does_not_print_the_token() {
        let cache = TokenCache::new(1000);
        cache.insert(entry(Scheme::Bearer, "very-secret"));
        assert!(!format!("{cache:?}").contains("very-secret"));
    }
}
