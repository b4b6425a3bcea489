//! How busy a connection is, told by its stream and its requests, asked by who ends it when it is idle or too slow.

use super::stall::Taken;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicU64, AtomicUsize, Ordering};

/// How busy a connection is: what its stream and its requests tell.
#[derive(Debug)]
pub(super) struct Activity {
    running: AtomicUsize,
    begun: AtomicU64,
    /// Bytes have been read that belong to no request yet.
    partial: AtomicBool,
    /// How far the answer over HTTP/1.1 has been taken, which is one at a time.
    taken: Arc<Taken>,
}

impl Activity {
    /// A connection of which the first bytes have been read.
    pub(super) fn begin() -> Arc<Self> {
        Arc::new(Self {
            running: AtomicUsize::new(0),
            begun: AtomicU64::new(0),
            partial: AtomicBool::new(true),
            taken: Arc::default(),
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

    /// Whether an answer runs over HTTP/1.1 of which nothing has been taken since a look that found `before`.
    pub(super) fn stalls(&self, before: &mut u64) -> bool {
        self.taken.stalls(before) && self.is_busy()
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
