//! Takes audit records to a thread that writes them, one line each, behind a queue that is bounded in lines and in bytes.
//!
//! What happens when the queue is full is configured. A process that is killed loses at most what is queued and the batch
//! that is being written.

use super::Record;
use super::output::Output;
use super::room::Room;
use super::writer::{Lines, Orders};
use crate::config::{Audit, WhenFull};
use crate::metrics::Metrics;
use std::io;
use std::sync::Arc;
use std::sync::atomic::Ordering;
use std::sync::mpsc::{SyncSender, TrySendError, sync_channel};
use std::thread::JoinHandle;

/// How many bytes there is room for with each line that the queue takes. Usual lines are less than half as long.
const LINE: usize = 2 << 10;

/// What is queued for the writer.
pub(super) enum Queued {
    /// A record, with its line feed.
    Line(Vec<u8>),
    /// There is an order.
    Order,
}

/// The way into the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: SyncSender<Queued>,
    orders: Arc<Orders>,
    metrics: Arc<Metrics>,
    on_full: WhenFull,
    capacity: usize,
}

/// The writing thread; ending it writes what is queued.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
    sink: Sink,
}

impl Sink {
    /// A sink that writes to `output` from a new thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(output: Output, settings: &Audit, metrics: Arc<Metrics>) -> io::Result<(Self, Writer)> {
        // What is refused because the queue is full, and what was forwarded before, has room beyond.
        let room = match settings.on_full {
            WhenFull::Block | WhenFull::DropAndCount => settings.queue,
            WhenFull::Refuse => settings.queue * 2,
        };
        let (queue, queued) = sync_channel(room);
        let orders = Arc::new(Orders::new(Room::new(room.saturating_mul(LINE))));
        let lines = Lines::new(output, Arc::clone(&orders), Arc::clone(&metrics));
        metrics
            .audit_queue_capacity
            .set(i64::try_from(settings.queue).unwrap_or(i64::MAX));
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || lines.run(&queued))?;
        let sink = Self {
            queue,
            orders,
            metrics,
            on_full: settings.on_full,
            capacity: settings.queue,
        };
        let writer = Writer {
            thread,
            sink: sink.clone(),
        };
        Ok((sink, writer))
    }

    /// Whether nothing may be forwarded because its record might have to wait.
    #[must_use]
    pub fn refuses(&self) -> bool {
        self.on_full == WhenFull::Refuse
            && (self.orders.unwritten.load(Ordering::Relaxed) >= self.capacity
                || self.orders.room.taken() >= self.capacity.saturating_mul(LINE))
    }

    /// Queues a record. While the queue is full it waits, or drops and counts what may be dropped.
    pub(super) fn write(&self, record: &Record, ended: Ended) {
        let Ok(line) = record.line() else {
            self.metrics.audit_dropped.inc();
            return;
        };
        let may_drop = match self.on_full {
            WhenFull::Block => false,
            WhenFull::DropAndCount => ended == Ended::Allowed,
            WhenFull::Refuse => ended == Ended::RefusedByAudit,
        };
        self.orders.unwritten.fetch_add(1, Ordering::Relaxed);
        self.metrics.audit_queue.inc();
        if !self.queue(line, may_drop) {
            self.orders.unwritten.fetch_sub(1, Ordering::Relaxed);
            self.metrics.audit_queue.dec();
            self.metrics.audit_dropped.inc();
        }
    }

    /// Queues a line, and says whether that was possible. Waits while the queue is full, unless the line may be dropped.
    fn queue(&self, line: Vec<u8>, may_drop: bool) -> bool {
        let (room, bytes) = (&self.orders.room, line.len());
        if !room.try_take(bytes) {
            self.metrics.audit_queue_full.inc();
            if may_drop {
                return false;
            }
            room.take(bytes);
        }
        let is_queued = match self.queue.try_send(Queued::Line(line)) {
            Ok(()) => true,
            Err(TrySendError::Full(line)) => {
                self.metrics.audit_queue_full.inc();
                !may_drop && self.queue.send(line).is_ok()
            }
            Err(TrySendError::Disconnected(_)) => false,
        };
        if !is_queued {
            room.give_back(bytes);
        }
        is_queued
    }

    fn wake(&self) {
        // A full queue has the writer awake already.
        _ = self.queue.try_send(Queued::Order);
    }
}

/// How a request ended, as far as it matters for what may be dropped.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(super) enum Ended {
    /// It was allowed and answered.
    Allowed,
    /// It was refused because the queue was full.
    RefusedByAudit,
    /// It was refused, failed or broke off.
    Otherwise,
}

impl Writer {
    /// Writes what is queued and opens the file again: by then it may be another one.
    pub fn reopen(&self) {
        self.sink.orders.reopen.store(true, Ordering::Relaxed);
        self.sink.wake();
    }

    /// Says that the proxy ends: from now on, what cannot be written is tried again for some seconds only.
    pub fn end_soon(&self) {
        self.sink.orders.ending.store(true, Ordering::Relaxed);
    }

    /// Waits until every other sink is gone and everything is written.
    pub fn join(self) {
        self.end_soon();
        drop(self.sink);
        if self.thread.join().is_err() {
            tracing::error!("the audit writer had failed");
        }
    }
}

#[cfg(test)]
mod tests;
