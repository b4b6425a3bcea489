//! Writes audit records, one line each, from a thread of its own behind a bounded queue.
//!
//! A full queue makes requests wait rather than lose a record. A process that is killed loses at most what is queued.

use super::Record;
use crate::metrics::Metrics;
use std::io::{self, BufWriter, Write};
use std::path::Path;
use std::sync::mpsc::{Receiver, SyncSender, TrySendError, sync_channel};
use std::sync::{Arc, Mutex, PoisonError};
use std::thread::JoinHandle;
use std::time::Duration;

/// Room for a usual line, in bytes.
const LINE: usize = 1024;
/// How long lines gather after some were written. Waking this thread for each line would cost a busy worker more than
/// the rest of the record does.
const GATHER: Duration = Duration::from_millis(5);

/// The way into the queue. Cheap to clone.
#[derive(Clone, Debug)]
pub struct Sink {
    queue: Option<SyncSender<Vec<u8>>>,
    metrics: Arc<Metrics>,
}

/// The writing thread; ending it writes what is queued.
#[derive(Debug)]
pub struct Writer {
    thread: JoinHandle<()>,
}

impl Sink {
    /// A sink that writes to `output` from a new thread.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn start(output: Box<dyn Write + Send>, capacity: usize, metrics: Arc<Metrics>) -> io::Result<(Self, Writer)> {
        let (queue, lines) = sync_channel(capacity);
        metrics
            .audit_queue_capacity
            .set(i64::try_from(capacity).unwrap_or(i64::MAX));
        let counted = Arc::clone(&metrics);
        let thread = std::thread::Builder::new()
            .name("audit".into())
            .spawn(move || write_lines(&lines, BufWriter::with_capacity(64 << 10, output), &counted))?;
        Ok((
            Self {
                queue: Some(queue),
                metrics,
            },
            Writer { thread },
        ))
    }

    /// A sink that keeps lines in memory, for tests.
    ///
    /// # Errors
    /// When no thread can be started.
    pub fn memory(metrics: Arc<Metrics>) -> io::Result<(Self, Memory)> {
        let memory = Memory::default();
        let (sink, _writer) = Self::start(Box::new(memory.clone()), 1024, metrics)?;
        Ok((sink, memory))
    }

    /// Queues a record; waits while the queue is full.
    pub fn write(&self, record: &Record) {
        let mut line = Vec::with_capacity(LINE);
        let sent = serde_json::to_writer(&mut line, record).ok().and_then(|()| {
            line.push(b'\n');
            self.send(line)
        });
        if sent.is_none() {
            self.metrics.audit_failures.inc();
        }
    }

    fn send(&self, line: Vec<u8>) -> Option<()> {
        let queue = self.queue.as_ref()?;
        let metrics = &self.metrics;
        // Counted first: the writer may have taken it before `try_send` returns.
        metrics.audit_queue.inc();
        let sent = match queue.try_send(line) {
            Err(TrySendError::Full(line)) => {
                metrics.audit_queue_full.inc();
                queue.send(line).ok()
            }
            sent => sent.ok(),
        };
        if sent.is_none() {
            metrics.audit_queue.dec();
        }
        sent
    }
}

impl Writer {
    /// Waits until every sink is gone and everything is written.
    pub fn join(self) {
        if self.thread.join().is_err() {
            tracing::error!("the audit writer had failed");
        }
    }
}

/// Opens the configured output: a file to append to, or standard output.
///
/// # Errors
/// When the file cannot be opened.
pub fn open(path: Option<&Path>) -> io::Result<Box<dyn Write + Send>> {
    match path {
        None => Ok(Box::new(io::stdout())),
        Some(path) => Ok(Box::new(
            std::fs::OpenOptions::new().append(true).create(true).open(path)?,
        )),
    }
}

fn write_lines(lines: &Receiver<Vec<u8>>, mut output: BufWriter<Box<dyn Write + Send>>, metrics: &Metrics) {
    let write = |result: io::Result<()>| {
        if let Err(error) = result {
            metrics.audit_failures.inc();
            tracing::error!(%error, "an audit record could not be written");
        }
    };
    let taken = |line: Vec<u8>| {
        metrics.audit_queue.dec();
        line
    };
    while let Ok(line) = lines.recv().map(taken) {
        write(output.write_all(&line));
        while let Ok(line) = lines.try_recv().map(taken) {
            write(output.write_all(&line));
        }
        write(output.flush());
        std::thread::sleep(GATHER);
    }
}

/// Lines kept in memory.
#[derive(Clone, Debug, Default)]
pub struct Memory(Arc<Mutex<Vec<u8>>>);

impl Memory {
    /// Every record so far, as JSON.
    #[must_use]
    pub fn records(&self) -> Vec<serde_json::Value> {
        let bytes = self.0.lock().unwrap_or_else(PoisonError::into_inner);
        bytes
            .split(|byte| *byte == b'\n')
            .filter_map(|line| serde_json::from_slice(line).ok())
            .collect()
    }
}

impl Write for Memory {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0
            .lock()
            .unwrap_or_else(PoisonError::into_inner)
            .extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use std::time::Instant;

    /// An output that writes nothing until it is told to.
    struct Held(Receiver<()>);

    impl Write for Held {
        fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
            self.0.recv().unwrap();
            Ok(bytes.len())
        }

        fn flush(&mut self) -> io::Result<()> {
            Ok(())
        }
    }

    fn wait_until(what: &str, condition: impl Fn() -> bool) {
        let began = Instant::now();
        while !condition() {
            assert!(began.elapsed() < Duration::from_secs(20), "{what}");
            std::thread::sleep(Duration::from_millis(2));
        }
    }

    #[test]
    fn what_waits_is_shown_and_a_record_that_finds_the_queue_full_is_counted_and_written() {
        let metrics = Arc::new(Metrics::new().unwrap());
        let (go, held) = sync_channel(100);
        let (sink, writer) = Sink::start(Box::new(Held(held)), 2, Arc::clone(&metrics)).unwrap();
        assert_eq!(metrics.audit_queue_capacity.get(), 2);
        sink.send(b"first\n".to_vec()).unwrap();
        wait_until("the first is taken", || metrics.audit_queue.get() == 0);
        // Longer than lines gather: the writer now waits for the output.
        std::thread::sleep(GATHER * 4);
        for _ in 0..2 {
            sink.send(b"more\n".to_vec()).unwrap();
        }
        assert_eq!((metrics.audit_queue.get(), metrics.audit_queue_full.get()), (2, 0));
        let waiting = sink.clone();
        let fourth = std::thread::spawn(move || waiting.send(b"fourth\n".to_vec()));
        wait_until("the fourth finds no room", || metrics.audit_queue_full.get() == 1);
        assert_eq!(metrics.audit_queue.get(), 3);
        for _ in 0..4 {
            go.send(()).unwrap();
        }
        fourth.join().unwrap().unwrap();
        drop(sink);
        writer.join();
        assert_eq!((metrics.audit_queue.get(), metrics.audit_failures.get()), (0, 0));
    }
}
