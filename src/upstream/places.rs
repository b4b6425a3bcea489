//! How many requests run on the control plane's HTTP port, where each needs a connection of its own. One caller leaves some
//! of the places to others, and strangers leave some to callers: what would need more is refused at once.

use crate::held::Holder;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use ahash::RandomState;
use std::collections::HashMap;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// The places of all workers together.
#[derive(Debug)]
pub struct Places {
    most: usize,
    taken: Mutex<Taken>,
}

#[derive(Debug, Default)]
struct Taken {
    all: usize,
    strangers: usize,
    /// Whoever has none is not in it.
    by: HashMap<Holder, usize, RandomState>,
}

/// One request's place, given back when it is dropped.
#[derive(Debug)]
pub struct Place {
    places: Arc<Places>,
    holder: Holder,
}

impl Places {
    /// None is taken yet, and never are more than so many: one caller has at most half of them, strangers together half, and
    /// one stranger's address a quarter.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            taken: Mutex::default(),
        }
    }

    /// Takes one.
    ///
    /// # Errors
    /// `requests_full`, `caller_requests_full`.
    pub fn take(self: &Arc<Self>, holder: Holder) -> Result<Place, Denial> {
        let mut taken = self.taken();
        let stranger = holder.is_stranger();
        let own = taken.by.get(&holder).copied().unwrap_or_default();
        if own >= self.most / if stranger { 4 } else { 2 } {
            return Err(Reason::CallerRequestsFull.into());
        }
        if taken.all >= self.most || (stranger && taken.strangers >= self.most / 2) {
            return Err(Reason::RequestsFull.into());
        }
        taken.all += 1;
        taken.strangers += usize::from(stranger);
        taken.by.insert(holder, own + 1);
        Ok(Place {
            places: Arc::clone(self),
            holder,
        })
    }

    fn taken(&self) -> MutexGuard<'_, Taken> {
        self.taken.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl Drop for Place {
    fn drop(&mut self) {
        let mut taken = self.places.taken();
        taken.all -= 1;
        taken.strangers -= usize::from(self.holder.is_stranger());
        if let Some(own) = taken.by.get_mut(&self.holder) {
            *own -= 1;
            if *own == 0 {
                taken.by.remove(&self.holder);
            }
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::held::HeldBytes;
    use crate::model::principal::{Principal, PrincipalKind};
    use std::net::IpAddr;

    struct Crowd {
        places: Arc<Places>,
        held: HeldBytes,
    }

    impl Crowd {
        fn caller(&self, subject: &str) -> Result<Place, Reason> {
            let caller = Principal {
                kind: PrincipalKind::Token,
                subject: subject.into(),
                ..Principal::anonymous()
            };
            self.take(&caller, 1)
        }

        fn stranger(&self, last: u8) -> Result<Place, Reason> {
            self.take(&Principal::anonymous(), last)
        }

        fn take(&self, caller: &Principal, last: u8) -> Result<Place, Reason> {
            let holder = self.held.holder(caller, IpAddr::from([192, 0, 2, last]));
            self.places.take(holder).map_err(|denial| denial.reason)
        }
    }

    #[test]
    fn strangers_leave_half_to_callers_and_each_of_both_leaves_some_to_others() {
        let crowd = Crowd {
            places: Arc::new(Places::new(16)),
            held: HeldBytes::new(1 << 20),
        };
        let mut taken: Vec<Place> = (0..4).map(|_| crowd.stranger(1).unwrap()).collect();
        assert_eq!(crowd.stranger(1).unwrap_err(), Reason::CallerRequestsFull);
        taken.extend((0..4).map(|_| crowd.stranger(2).unwrap()));
        assert_eq!(crowd.stranger(3).unwrap_err(), Reason::RequestsFull);
        taken.extend((0..8).map(|_| crowd.caller("one").unwrap()));
        assert_eq!(crowd.caller("one").unwrap_err(), Reason::CallerRequestsFull);
        assert_eq!(crowd.caller("other").unwrap_err(), Reason::RequestsFull);
        taken.remove(0);
        let other = crowd.caller("other").unwrap();
        assert_eq!(crowd.stranger(1).unwrap_err(), Reason::RequestsFull, "all are taken");
        drop(other);
        taken.push(crowd.stranger(1).unwrap());
        taken.clear();
        let left = crowd.places.taken();
        assert_eq!((left.all, left.strangers, left.by.len()), (0, 0, 0));
    }
}
