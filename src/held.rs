//! How many bytes all requests together may hold in memory. What would hold more is refused.

use crate::model::denial::Denial;
use crate::model::reason::Reason;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};

/// What one request may hold without being counted, in bytes: most requests touch nothing that is shared.
pub const UNCOUNTED: usize = 4 << 10;
/// What holds more, in bytes, is large: the last quarter is kept for what is not, so that whoever sends large messages
/// does not stop everybody else's ordinary calls.
pub const LARGE: usize = 64 << 10;

/// The bytes that requests hold, over all listeners and workers.
#[derive(Debug)]
pub struct HeldBytes {
    most: usize,
    now: AtomicUsize,
}

impl HeldBytes {
    /// None yet, and never more than so many.
    #[must_use]
    pub fn new(most: usize) -> Self {
        Self {
            most,
            now: AtomicUsize::new(0),
        }
    }

    /// How many are held now.
    #[must_use]
    pub fn now(&self) -> usize {
        self.now.load(Ordering::Relaxed)
    }

    /// A share of nothing yet, for one request.
    #[must_use]
    pub fn hold(self: &Arc<Self>) -> Hold {
        Hold {
            all: Arc::clone(self),
            bytes: 0,
        }
    }

    fn take(&self, more: usize, most: usize) -> Result<(), Denial> {
        let before = self.now.fetch_add(more, Ordering::Relaxed);
        if before.saturating_add(more) <= most {
            return Ok(());
        }
        self.now.fetch_sub(more, Ordering::Relaxed);
        Err(Reason::MemoryFull.into())
    }
}

/// One request's share, given back when it is dropped.
#[derive(Debug)]
pub struct Hold {
    all: Arc<HeldBytes>,
    /// Counted ones: 0, or more than [`UNCOUNTED`].
    bytes: usize,
}

impl Hold {
    /// Holds so many bytes from now on, unless it holds more.
    ///
    /// # Errors
    /// `memory_full`; then the share is as before.
    pub fn at_least(&mut self, bytes: usize) -> Result<(), Denial> {
        if bytes > self.bytes { self.set(bytes) } else { Ok(()) }
    }

    /// Holds so many bytes from now on, more or less than before.
    ///
    /// # Errors
    /// `memory_full`; then the share is as before.
    pub fn set(&mut self, bytes: usize) -> Result<(), Denial> {
        let bytes = if bytes > UNCOUNTED { bytes } else { 0 };
        if bytes > self.bytes {
            let most = if bytes > LARGE {
                self.all.most / 4 * 3
            } else {
                self.all.most
            };
            self.all.take(bytes - self.bytes, most)?;
        } else {
            self.all.now.fetch_sub(self.bytes - bytes, Ordering::Relaxed);
        }
        self.bytes = bytes;
        Ok(())
    }
}

impl Drop for Hold {
    fn drop(&mut self) {
        if self.bytes > 0 {
            self.all.now.fetch_sub(self.bytes, Ordering::Relaxed);
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn what_is_held_is_counted_and_given_back() {
        let all = Arc::new(HeldBytes::new(1_000_000));
        let mut one = all.hold();
        one.set(UNCOUNTED).unwrap();
        assert_eq!(all.now(), 0, "little is not counted");
        one.set(600_000).unwrap();
        let mut other = all.hold();
        assert_eq!(other.set(150_001).unwrap_err().reason, Reason::MemoryFull);
        assert_eq!(all.now(), 600_000, "what is refused is not held");
        other.set(150_000).unwrap();
        one.set(500_000).unwrap();
        assert_eq!(all.now(), 650_000);
        drop(one);
        assert_eq!(all.now(), 150_000);
        other.set(1).unwrap();
        assert_eq!(all.now(), 0);
    }

    #[test]
    fn large_messages_leave_room_for_others() {
        let all = Arc::new(HeldBytes::new(1_000_000));
        let mut large = all.hold();
        large.set(750_000).unwrap();
        assert!(all.hold().set(LARGE + 1).is_err());
        let mut others: Vec<Hold> = (0..4).map(|_| all.hold()).collect();
        let held = others.iter_mut().filter_map(|hold| hold.set(LARGE).ok()).count();
        assert_eq!(held, 3, "the rest has room for three");
    }

    #[test]
    fn threads_give_back_exactly_what_they_held() {
        let all = Arc::new(HeldBytes::new(100_000));
        let refused: usize = std::thread::scope(|scope| {
            let workers = [10_000, 30_000, 50_000, 70_000].map(|bytes| {
                let all = &all;
                scope.spawn(move || {
                    let tries = (0..20_000).filter(|_| {
                        let mut hold = all.hold();
                        let refused = hold.set(bytes).is_err();
                        std::thread::yield_now();
                        refused
                    });
                    tries.count()
                })
            });
            workers.into_iter().map(|worker| worker.join().unwrap()).sum()
        });
        assert_eq!(all.now(), 0, "{refused} were refused");
    }
}
