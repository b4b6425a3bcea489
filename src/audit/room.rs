//! How many bytes of records may wait to be written: their number alone would not bound them.

use std::sync::{Condvar, Mutex, MutexGuard, PoisonError};

/// Room for records, in bytes.
#[derive(Debug)]
pub(super) struct Room {
    capacity: usize,
    state: Mutex<State>,
    freed: Condvar,
}

#[derive(Debug, Default)]
struct State {
    taken: usize,
    /// Nobody gives anything back any more.
    is_closed: bool,
}

impl Room {
    pub(super) fn new(capacity: usize) -> Self {
        Self {
            capacity,
            state: Mutex::default(),
            freed: Condvar::new(),
        }
    }

    /// Takes room for a record if not all is taken. The last one may be longer than what is left, so that no long record
    /// waits for ever while short ones pass.
    pub(super) fn try_take(&self, bytes: usize) -> bool {
        let mut state = self.state();
        let has_room = state.taken < self.capacity;
        if has_room {
            state.taken += bytes;
        }
        has_room
    }

    /// The same, but waits until there is room, or until it is closed.
    pub(super) fn take(&self, bytes: usize) {
        let is_full = |state: &mut State| state.taken >= self.capacity && !state.is_closed;
        let state = self.freed.wait_while(self.state(), is_full);
        state.unwrap_or_else(PoisonError::into_inner).taken += bytes;
    }

    /// Gives room back.
    pub(super) fn give_back(&self, bytes: usize) {
        let mut state = self.state();
        state.taken = state.taken.saturating_sub(bytes);
        drop(state);
        self.freed.notify_all();
    }

    /// How many bytes are taken.
    pub(super) fn taken(&self) -> usize {
        self.state().taken
    }

    /// Nobody is to wait any longer.
    pub(super) fn close(&self) {
        self.state().is_closed = true;
        self.freed.notify_all();
    }

    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }
}
