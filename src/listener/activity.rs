//! How busy a connection is, told by its stream and its requests, asked by who ends it when it is idle or too slow.

use super::stall::Taken;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// What the socket takes in the stall time at least, in bytes, while there is more: as much as is handed on of an answer at one
/// time. Whoever takes less counts as one who takes nothing.
const LEAST: u64 = 16 << 10;

/// How busy a connection is: what its stream and its requests tell.
#[derive(Debug)]
pub(super) struct Activity {
    running: AtomicUsize,
    begun: AtomicU64,
    /// Bytes have been read that belong to no request yet.
    partial: AtomicBool,
    /// How far the answer over HTTP/1.1 has been taken, which is one at a time.
    taken: Arc<Taken>,
    /// Bytes that the socket has taken. Only the connection's own task writes it.
    written: AtomicU64,
    /// There is more that the socket does not take for now.
    blocked: AtomicBool,
}

/// What a look has found, for the next one.
#[derive(Debug, Default)]
pub(super) struct Looked {
    taken: u64,
    /// How much the socket had taken, if it took no more.
    blocked: Option<u64>,
}

impl Activity {
    /// A connection of which the first bytes have been read.
    pub(super) fn begin() -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            partial: AtomicBool::new(true),
            taken: Arc::default(),
            written: AtomicU64::new(0),
            blocked: AtomicBool::new(false),
        })
    }

    /// Bytes have arrived.
    pub(super) fn arrived(&self) {
        self.partial.store(true, Ordering::Relaxed);
    }

    /// Whether a request is running.
    pub(super) fn is_busy(&self) -> bool {
        self.running.load(Ordering::Relaxed) > 0
    }

    /// How many requests have begun.
    pub(super) fn begun(&self) -> u64 {
        self.begun.load(Ordering::Relaxed)
    }

    /// The socket has taken so many bytes. That the library has more is known only when it tries.
    pub(super) fn wrote(&self, bytes: usize) {
        self.written
            .store(self.written.load(Ordering::Relaxed) + bytes as u64, Ordering::Relaxed);
        self.blocked.store(false, Ordering::Relaxed);
    }

    /// The socket takes no more for now.
    pub(super) fn blocks(&self) {
        self.blocked.store(true, Ordering::Relaxed);
    }

    /// Whether the client takes nothing, since the look that found `before`: nothing of the answer that runs over HTTP/1.1; or
    /// hardly anything of what waits to be written, with which HTTP/2 can go on when the answers it is of have long ended.
    pub(super) fn stalls(&self, before: &mut Looked) -> bool {
        let blocked = self.blocked.load(Ordering::Relaxed);
        let blocked = blocked.then(|| self.written.load(Ordering::Relaxed));
        let hardly_any = match (std::mem::replace(&mut before.blocked, blocked), blocked) {
            (Some(before), Some(now)) => now.saturating_sub(before) < LEAST,
            (None, _) | (_, None) => false,
        };
        self.taken.stalls(&mut before.taken) && self.is_busy() || hardly_any
    }

    /// Whether bytes have arrived that belong to no request yet.
    pub(super) fn has_partial_head(&self) -> bool {
        self.partial.load(Ordering::Relaxed)
    }
}

/// Counts a request as running until its answer's body is gone.
#[derive(Debug)]
pub(super) struct Running(Arc<Activity>);

impl Running {
    /// A request begins.
    pub(super) fn begin(activity: &Arc<Activity>) -> Self {
        activity.running.fetch_add(1, Ordering::Relaxed);
        activity.begun.fetch_add(1, Ordering::Relaxed);
        activity.partial.store(false, Ordering::Relaxed);
        activity.taken.taken();
        Self(Arc::clone(activity))
    }
}

impl Running {
    /// How far its answer over HTTP/1.1 has been taken.
    pub(super) fn taken(&self) -> Arc<Taken> {
        Arc::clone(&self.0.taken)
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        // What arrived meanwhile was its body.
        self.0.partial.store(false, Ordering::Relaxed);
        self.0.running.fetch_sub(1, Ordering::Relaxed);
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::cast_possible_truncation, reason = "tests")]

    use super::*;

    #[test]
    fn a_socket_that_takes_hardly_anything_between_two_looks_stalls() {
        let (activity, mut looked) = (Activity::begin(), Looked::default());
        let mut stalls = || activity.stalls(&mut looked);
        assert!(!stalls() && !stalls(), "there is nothing to write");
        activity.blocks();
        assert!(!stalls(), "it may have been for a moment");
        activity.wrote(LEAST as usize);
        activity.blocks();
        assert!(!stalls(), "it takes some");
        activity.wrote(LEAST as usize - 1);
        activity.blocks();
        assert!(stalls(), "it takes too little");
        activity.wrote(1);
        assert!(!stalls(), "it takes all that there is");
        activity.blocks();
        assert!(!stalls() && stalls(), "it takes nothing");
    }
}
