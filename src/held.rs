//! How many bytes all requests together may hold in memory, and how many those of one caller. What would hold more is refused.

use crate::model::denial::Denial;
use crate::model::network::counted;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::reason::Reason;
use ahash::RandomState;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::net::IpAddr;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What one request may hold without being counted, in bytes: most requests touch nothing that is shared.
pub const UNCOUNTED: usize = 4 << 10;
/// What holds more, in bytes, is large: the last quarter is kept for what is not and is a known caller's, so that neither
/// large messages nor strangers stop everybody else's ordinary calls.
pub const LARGE: usize = 64 << 10;
/// How many parts the callers' counts are in, so that workers seldom wait for each other.
const SHARDS: usize = 16;

/// The bytes that requests hold, over all listeners and workers.
#[derive(Debug)]
pub struct HeldBytes {
    most: usize,
    now: AtomicUsize,
    hasher: RandomState,
    /// Whoever holds nothing is not in it.
    callers: [Mutex<HashMap<Holder, usize, RandomState>>; SHARDS],
}

/// On whose account a request holds bytes: its caller's, or its client's address if the caller is nobody in particular.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Holder {
    /// A hash that nobody can foresee.
    hash: u64,
    stranger: bool,
}

impl Holder {
    /// Whether it is an address, of whose callers nothing is known.
    #[must_use]
    pub fn is_stranger(self) -> bool {
        self.stranger
    }
}

impl HeldBytes {
    /// None yet, and never more than so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            now: AtomicUsize::new(0),
            hasher: RandomState::new(),
            callers: Default::default(),
        }
    }

    /// On whose account the requests of a caller hold bytes, at a client's address.
    #[must_use]
    pub fn holder(&self, caller: &Principal, client: IpAddr) -> Holder {
        let stranger = caller.kind == PrincipalKind::Anonymous;
        let hash = if stranger {
            self.hasher.hash_one(counted(client))
        } else {
            self.hasher.hash_one((&*caller.issuer, &*caller.subject))
        };
        Holder { hash, stranger }
    }

    /// How many are held now.
    #[must_use]
    pub fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// A share of nothing yet, for one request.
    #[must_use]
    pub fn hold(self: &Arc<Self>, holder: Holder) -> Hold {
        Hold {
            all: Arc::clone(self),
            holder,
            bytes: 0,
        }
    }

    /// Takes more, of which the holder may have half and all together `most`.
    fn take(&self, holder: Holder, more: usize, most: usize) -> Result<(), Denial> {
        let mut callers = self.shard(holder);
        let own = callers.get(&holder).map_or(more, |own| own.saturating_add(more));
        if own > self.most / 2 {
            return Err(Reason::CallerMemoryFull.into());
        }
        let before = self.now.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) > most {
            self.now.fetch_sub(more, Ordering::Relaxed);
            return Err(Reason::MemoryFull.into());
        }
        callers.insert(holder, own);
        Ok(())
    }

    fn give_back(&self, holder: Holder, bytes: usize) {
        if bytes > 0 {
            self.now.fetch_sub(bytes, Ordering::Relaxed);
            if let Entry::Occupied(mut own) = self.shard(holder).entry(holder) {
                *own.get_mut() -= bytes;
                if *own.get() == 0 {
                    own.remove();
                }
            }
        }
    }

    #[expect(
        clippy::indexing_slicing,
        clippy::cast_possible_truncation,
        reason = "the remainder is below SHARDS"
    )]
    fn shard(&self, holder: Holder) -> MutexGuard<'_, HashMap<Holder, usize, RandomState>> {
        let shard = &self.callers[(holder.hash % SHARDS as u64) as usize];
        shard.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

/// One request's share, given back when it is dropped.
#[derive(Debug)]
pub struct Hold {
    all: Arc<HeldBytes>,
    holder: Holder,
    /// Counted ones: 0, or more than [`UNCOUNTED`].
    bytes: usize,
}

impl Hold {
    /// Holds so many bytes from now on, unless it holds more.
    ///
    /// # Errors
    /// `caller_memory_full`, `memory_full`; then the share is as before.
    pub fn at_least(&mut self, bytes: usize) -> Result<(), Denial> {
        if bytes > self.bytes { self.set(bytes) } else { Ok(()) }
    }

    /// Holds so many bytes from now on, more or less than before.
    ///
    /// # Errors
    /// `caller_memory_full`, `memory_full`; then the share is as before.
    pub fn set(&mut self, bytes: usize) -> Result<(), Denial> {
        let bytes = if bytes > UNCOUNTED { bytes } else { 0 };
        if bytes > self.bytes {
            let most = if bytes > LARGE || self.holder.stranger {
                self.all.most / 4 * 3
            } else {
                self.all.most
            };
            self.all.take(self.holder, bytes - self.bytes, most)?;
        } else {
            self.all.give_back(self.holder, self.bytes - bytes);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        self.all.give_back(self.holder, self.bytes);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    const HOME: IpAddr = IpAddr::V4(std::net::Ipv4Addr::LOCALHOST);

    fn holders(all: &HeldBytes, number: usize) -> Vec<Holder> {
        let names = (0..number).map(|name| named(&format!("caller-{name}")));
        names.map(|caller| all.holder(&caller, HOME)).collect()
    }

    fn named(subject: &str) -> Principal {
        Principal {
            kind: PrincipalKind::Token,
            issuer: "https://issuer.example".into(),
            subject: subject.into(),
            ..Principal::anonymous()
        }
    }

    fn held_by(all: &HeldBytes) -> usize {
        let shards = all.callers.iter().map(|shard| shard.lock().unwrap());
        shards.map(|shard| shard.values().sum::<usize>()).sum()
    }

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let all = Arc::new(HeldBytes::new(1_000_000));
        let [first, second] = holders(&all, 2).try_into().unwrap();
        let mut one = all.hold(first);
        one.set(UNCOUNTED).unwrap();
        assert_eq!(all.now(), 0, "little is not counted");
        one.set(500_000).unwrap();
        let mut other = all.hold(second);
        assert_eq!(other.set(250_001).unwrap_err().reason, Reason::MemoryFull);
        assert_eq!(
            (all.now(), held_by(&all)),
            (500_000, 500_000),
            "what is refused is not held"
        );
        other.set(250_000).unwrap();
        one.set(400_000).unwrap();
        assert_eq!((all.now(), held_by(&all)), (650_000, 650_000));
        drop(one);
        assert_eq!((all.now(), held_by(&all)), (250_000, 250_000));
        other.set(1).unwrap();
        assert_eq!((all.now(), held_by(&all)), (0, 0));
        assert!(
            all.callers.iter().all(|shard| shard.lock().unwrap().is_empty()),
            "nothing is kept"
        );
    }

    #[test]
    fn large_messages_leave_room_for_others() {
        let all = Arc::new(HeldBytes::new(1_000_000));
        let holders = holders(&all, 7);
        let mut large: Vec<Hold> = holders.iter().take(3).map(|holder| all.hold(*holder)).collect();
        for hold in &mut large {
            hold.set(250_000).unwrap();
        }
        let mut holds: Vec<Hold> = holders.iter().skip(3).map(|holder| all.hold(*holder)).collect();
        let refused = holds.first_mut().unwrap().set(LARGE + 1).unwrap_err();
        assert_eq!(refused.reason, Reason::MemoryFull);
        let held = holds.iter_mut().filter_map(|hold| hold.set(LARGE).ok()).count();
        assert_eq!(held, 3, "the rest has room for three");
    }

    #[test]
    fn strangers_leave_room_for_callers_however_little_each_holds() {
        let all = Arc::new(HeldBytes::new(1_000_000));
        let stranger = Principal::anonymous();
        let mut kept = Vec::new();
        for last in 0..4 {
            let holder = all.holder(&stranger, IpAddr::from([192, 0, 2, last]));
            assert!(holder.is_stranger());
            for _ in 0..100 {
                let mut hold = all.hold(holder);
                if hold.set(5_000).is_ok() {
                    kept.push(hold);
                }
            }
        }
        assert_eq!(all.now(), 750_000);
        let caller = all.holder(&named("one"), HOME);
        assert!(!caller.is_stranger());
        all.hold(caller).set(LARGE).unwrap();
    }

    #[test]
    fn one_caller_leaves_half_for_others() {
        let all = Arc::new(HeldBytes::new(1_000_000));
        let [first, second] = holders(&all, 2).try_into().unwrap();
        let mut small: Vec<Hold> = (0..100).map(|_| all.hold(first)).collect();
        for hold in &mut small {
            hold.set(5_000).unwrap();
        }
        let refused = all.hold(first).set(UNCOUNTED + 1).unwrap_err();
        assert_eq!(refused.reason, Reason::CallerMemoryFull);
        assert_eq!(
            (all.now(), held_by(&all)),
            (500_000, 500_000),
            "what is refused is not held"
        );
        all.hold(second).set(250_000).unwrap();
        small.pop();
        all.hold(first).set(5_000).unwrap();
    }

    #[test]
    fn callers_are_told_apart_by_issuer_and_subject_and_strangers_by_address() {
        let all = HeldBytes::new(1_000_000);
        let elsewhere = IpAddr::V4(std::net::Ipv4Addr::new(192, 0, 2, 1));
        let one = named("one");
        assert_eq!(all.holder(&one, HOME), all.holder(&one, elsewhere));
        let of_other_issuer = Principal {
            issuer: "https://other.example".into(),
            ..one.clone()
        };
        let stranger = Principal::anonymous();
        for (left, right) in [
            ((&one, HOME), (&named("other"), HOME)),
            ((&one, HOME), (&of_other_issuer, HOME)),
            ((&stranger, HOME), (&stranger, elsewhere)),
            ((&stranger, HOME), (&one, HOME)),
        ] {
            assert_ne!(
                all.holder(left.0, left.1),
                all.holder(right.0, right.1),
                "{left:?} {right:?}"
            );
        }
    }

    #[test]
    fn threads_give_back_exactly_what_they_held() {
        let all = Arc::new(HeldBytes::new(100_000));
        let holders = holders(&all, 2);
        let refused: usize = std::thread::scope(|scope| {
            let workers = [10_000, 20_000, 30_000, 50_000].map(|bytes| {
                let (all, holders) = (&all, &holders);
                scope.spawn(move || {
                    let tries = (0..20_000).zip(holders.iter().cycle()).filter(|(_, holder)| {
                        let mut hold = all.hold(**holder);
                        let refused = hold.set(bytes).is_err();
                        std::thread::yield_now();
                        refused
                    });
                    tries.count()
                })
            });
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!((all.now(), held_by(&all)), (0, 0), "{refused} were refused");
    }
}
