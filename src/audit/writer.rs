//! The thread that writes audit lines. What cannot be written is tried again until it can be, or the proxy ends.

use super::output::Output;
use super::room::Room;
use super::sink::Queued;
use crate::metrics::Metrics;
use std::io;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use std::sync::mpsc::Receiver;
use std::time::{Duration, Instant};

/// How long lines gather after some were written. Waking this thread for each line would cost a busy worker more than
/// the rest of the record does.
const GATHER: Duration = Duration::from_millis(5);
/// How many bytes are gathered before they are written.
const BATCH: usize = 64 << 10;
/// How long to wait before a failed write is tried again.
const RETRY: Duration = Duration::from_millis(250);
/// How often a failure that lasts is logged.
const REMIND: Duration = Duration::from_mins(1);
/// How long a proxy that ends tries to write what cannot be written.
const LAST_TRIES: Duration = Duration::from_secs(5);

/// What is told to the writer besides lines, and by it.
#[derive(Debug)]
pub(super) struct Orders {
    /// Open the file again.
    pub(super) reopen: AtomicBool,
    /// The proxy ends.
    pub(super) ending: AtomicBool,
    /// Lines that are queued or being written.
    pub(super) unwritten: AtomicUsize,
    /// Their bytes.
    pub(super) room: Room,
}

impl Orders {
    pub(super) fn new(room: Room) -> Self {
        Self {
            reopen: AtomicBool::default(),
            ending: AtomicBool::default(),
            unwritten: AtomicUsize::default(),
            room,
        }
    }
}

/// The state of the writing thread.
pub(super) struct Lines {
    output: Output,
    orders: Arc<Orders>,
    metrics: Arc<Metrics>,
    /// Whole lines.
    batch: Vec<u8>,
    /// How many bytes of the batch are written.
    written: usize,
    trouble: Option<Trouble>,
}

/// A failure that lasts.
struct Trouble {
    logged: Instant,
    /// When the proxy began to end.
    ending: Option<Instant>,
}

impl Lines {
    pub(super) fn new(output: Output, orders: Arc<Orders>, metrics: Arc<Metrics>) -> Self {
        Self {
            output,
            orders,
            metrics,
            batch: Vec::with_capacity(BATCH),
            written: 0,
            trouble: None,
        }
    }

    /// Writes until every sender is gone.
    pub(super) fn run(mut self, queue: &Receiver<Queued>) {
        while let Ok(first) = queue.recv() {
            let mut lines = 0;
            let mut next = Some(first);
            while let Some(queued) = next {
                if let Queued::Line(line) = queued {
                    self.batch.extend_from_slice(&line);
                    lines += 1;
                }
                let has_room = self.batch.len() < BATCH;
                next = if has_room { queue.try_recv().ok() } else { None };
            }
            let bytes = self.batch.len();
            let is_full = bytes >= BATCH;
            self.write_batch();
            self.orders.room.give_back(bytes);
            self.orders.unwritten.fetch_sub(lines, Ordering::Relaxed);
            self.metrics.audit_queue.sub(i64::try_from(lines).unwrap_or_default());
            if !is_full {
                std::thread::sleep(GATHER);
            }
        }
    }

    /// Writes the batch to its end, however long that takes, and opens the file again when told to.
    fn write_batch(&mut self) {
        loop {
            let result = self.write_rest();
            if let Err(error) = &result {
                if self.gives_up(error) {
                    break;
                }
                std::thread::sleep(RETRY);
            } else if self.trouble.take().is_some() {
                tracing::info!("audit records can be written again");
            }
            if self.orders.reopen.swap(false, Ordering::Relaxed) {
                self.reopen();
            }
            if result.is_ok() {
                break;
            }
        }
        self.batch.clear();
        self.written = 0;
    }

    fn write_rest(&mut self) -> io::Result<()> {
        while let Some(rest) = self.batch.get(self.written..).filter(|rest| !rest.is_empty()) {
            match self.output.write(rest) {
                Ok(bytes) => self.written += bytes,
                Err(error) if error.kind() == io::ErrorKind::Interrupted => {}
                Err(error) => return Err(error),
            }
        }
        self.output.flush()
    }

    /// Counts and now and then logs a failure. Says whether the proxy ends and has tried long enough.
    fn gives_up(&mut self, error: &io::Error) -> bool {
        self.metrics.audit_failures.inc();
        let now = Instant::now();
        let is_due = |trouble: &Trouble| now.duration_since(trouble.logged) >= REMIND;
        if self.trouble.as_ref().is_none_or(is_due) {
            tracing::error!(%error, "audit records cannot be written; they are kept and tried again");
        }
        let trouble = self.trouble.get_or_insert(Trouble {
            logged: now,
            ending: None,
        });
        if is_due(trouble) {
            trouble.logged = now;
        }
        if !self.orders.ending.load(Ordering::Relaxed) {
            return false;
        }
        let gives_up = now.duration_since(*trouble.ending.get_or_insert(now)) >= LAST_TRIES;
        if gives_up {
            let rest = self.batch.get(self.written..).unwrap_or_default();
            let lost = rest.split_inclusive(|byte| *byte == b'\n').count();
            self.metrics.audit_dropped.inc_by(lost as u64);
            tracing::error!(%error, lost, "audit records are lost: they could not be written before the end");
        }
        gives_up
    }

    fn reopen(&mut self) {
        match self.output.reopen() {
            Ok(()) => {
                // A line of which only the beginning was written is written whole into the new file.
                let written = self.batch.get(..self.written).unwrap_or_default();
                self.written = written.iter().rposition(|byte| *byte == b'\n').map_or(0, |end| end + 1);
                tracing::info!("the audit output was opened again");
            }
            Err(error) => {
                self.metrics.audit_failures.inc();
                tracing::error!(%error, "the audit output cannot be opened again; the one that is open stays in use");
            }
        }
    }
}

impl Drop for Lines {
    fn drop(&mut self) {
        // Should this thread fail, nobody is to wait for it.
        self.orders.room.close();
    }
}
