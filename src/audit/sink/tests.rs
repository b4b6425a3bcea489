//! A full queue, a broken disk, and files that are renamed, without a proxy around.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::clock::SystemClock;
use crate::config::{AuditClaims, AuditOutput};
use crate::model::ratio::Ratio;
use crate::protocol::Protocol;
use crate::protocol::request_id::RequestId;
use std::fs;
use std::io::Write;
use std::path::Path;
use std::sync::atomic::AtomicBool;
use std::sync::{Condvar, Mutex};
use std::time::{Duration, Instant};

fn settings(queue: usize, on_full: WhenFull) -> Audit {
    Audit {
        output: AuditOutput::Stdout,
        queue,
        on_full,
        claims: AuditClaims::None,
        sample_allowed: Ratio::ALL,
    }
}

fn record(name: &str) -> Record {
    let peer = "192.0.2.7:1".parse().unwrap();
    let id = RequestId::new(0, 0);
    Record {
        client_request_id: Some(name.into()),
        ..Record::begin(&SystemClock, Protocol::Grpc, id, "public".into(), peer)
    }
}

fn ids(path: &Path) -> Vec<String> {
    let text = fs::read_to_string(path).unwrap();
    assert!(text.is_empty() || text.ends_with('\n'), "{text}");
    let parsed = text
        .lines()
        .map(|line| serde_json::from_str::<serde_json::Value>(line).unwrap());
    parsed
        .map(|line| line["client_request_id"].as_str().unwrap().to_owned())
        .collect()
}

fn until(what: &str, mut done: impl FnMut() -> bool) {
    let start = Instant::now();
    while !done() {
        assert!(start.elapsed() < Duration::from_secs(10), "not within 10 s: {what}");
        std::thread::sleep(Duration::from_millis(2));
    }
}

/// Takes bytes only while it is open.
#[derive(Clone, Default)]
struct Gated {
    is_open: Arc<(Mutex<bool>, Condvar)>,
    is_broken: Arc<AtomicBool>,
    /// Whether the writer has come to it.
    is_reached: Arc<AtomicBool>,
    bytes: Arc<Mutex<Vec<u8>>>,
}

impl Gated {
    fn open(&self) {
        *self.is_open.0.lock().unwrap() = true;
        self.is_open.1.notify_all();
    }

    /// Has the writer's thread fail.
    fn break_down(&self) {
        self.is_broken.store(true, Ordering::Relaxed);
        self.open();
    }

    fn lines(&self) -> usize {
        let bytes = self.bytes.lock().unwrap();
        bytes.split_inclusive(|byte| *byte == b'\n').count()
    }
}

impl Write for Gated {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.is_reached.store(true, Ordering::Relaxed);
        let is_open = self.is_open.0.lock().unwrap();
        drop(self.is_open.1.wait_while(is_open, |is_open| !*is_open).unwrap());
        assert!(!self.is_broken.load(Ordering::Relaxed), "broken on purpose");
        self.bytes.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

fn start(output: Output, settings: &Audit) -> (Sink, Writer, Arc<Metrics>) {
    let metrics = Arc::new(Metrics::new().unwrap());
    let (sink, writer) = Sink::start(output, settings, Arc::clone(&metrics)).unwrap();
    (sink, writer, metrics)
}

fn gated(settings: &Audit) -> (Gated, Sink, Writer, Arc<Metrics>) {
    let gated = Gated::default();
    let (sink, writer, metrics) = start(Output::from(Box::new(gated.clone()) as Box<dyn Write + Send>), settings);
    // One record is with the writer; the queue behind it is empty.
    sink.write(&record("first"), Ended::Otherwise);
    until("the writer has it", || gated.is_reached.load(Ordering::Relaxed));
    (gated, sink, writer, metrics)
}

#[test]
fn a_full_queue_drops_and_counts_what_was_allowed_and_lets_refusals_wait() {
    let (gated, sink, writer, metrics) = gated(&settings(3, WhenFull::DropAndCount));
    for _ in 0..10 {
        sink.write(&record("allowed"), Ended::Allowed);
    }
    assert_eq!(metrics.audit_dropped.get(), 7);
    let refusal = std::thread::spawn(move || sink.write(&record("refused"), Ended::Otherwise));
    std::thread::sleep(Duration::from_millis(100));
    assert!(!refusal.is_finished(), "a refusal waits");
    gated.open();
    refusal.join().unwrap();
    writer.join();
    assert_eq!((gated.lines(), metrics.audit_dropped.get()), (1 + 3 + 1, 7));
}

#[test]
fn a_full_queue_makes_everything_wait_unless_told_otherwise() {
    let (gated, sink, writer, metrics) = gated(&settings(2, WhenFull::Block));
    let waiting = std::thread::spawn(move || {
        for _ in 0..5 {
            sink.write(&record("allowed"), Ended::Allowed);
        }
    });
    std::thread::sleep(Duration::from_millis(100));
    assert!(!waiting.is_finished());
    gated.open();
    waiting.join().unwrap();
    writer.join();
    assert_eq!((gated.lines(), metrics.audit_dropped.get()), (6, 0));
}

#[test]
fn nothing_is_to_be_forwarded_while_the_queue_is_full_and_what_was_has_room() {
    let (gated, sink, writer, metrics) = gated(&settings(3, WhenFull::Refuse));
    assert!(!sink.refuses());
    sink.write(&record("second"), Ended::Allowed);
    sink.write(&record("third"), Ended::Allowed);
    assert!(sink.refuses());
    sink.write(&record("in flight"), Ended::Allowed);
    for _ in 0..10 {
        sink.write(&record("refused"), Ended::RefusedByAudit);
    }
    // Six fit, of which three are taken.
    assert_eq!(metrics.audit_dropped.get(), 7);
    gated.open();
    until("there is room again", || !sink.refuses());
    drop(sink);
    writer.join();
    assert_eq!(gated.lines(), 1 + 3 + 3);
}

/// As long as three of the queue's lines are to be.
fn long(name: char) -> Record {
    record(&name.to_string().repeat(3 * LINE))
}

#[test]
fn a_queue_whose_writer_stands_still_never_holds_more_than_its_bytes_and_one_line() {
    let line = long('x').line().unwrap().len();
    for on_full in [WhenFull::Block, WhenFull::DropAndCount, WhenFull::Refuse] {
        let (gated, sink, writer, metrics) = gated(&settings(30, on_full));
        let queues = if on_full == WhenFull::Refuse { 2 } else { 1 };
        let bound = queues * 30 * LINE + line;
        let fits = (queues * 30 * LINE - sink.orders.room.taken()).div_ceil(line);
        for _ in 0..fits {
            assert_eq!(metrics.audit_queue_full.get(), 0, "{on_full:?}");
            assert_eq!(
                sink.refuses(),
                on_full == WhenFull::Refuse && sink.orders.room.taken() >= 30 * LINE
            );
            sink.write(&long('x'), Ended::Allowed);
        }
        assert_eq!(sink.refuses(), on_full == WhenFull::Refuse);
        for _ in 0..100 {
            match on_full {
                WhenFull::Block => {}
                WhenFull::DropAndCount => sink.write(&long('x'), Ended::Allowed),
                WhenFull::Refuse => sink.write(&long('x'), Ended::RefusedByAudit),
            }
        }
        let dropped = if on_full == WhenFull::Block { 0 } else { 100 };
        assert_eq!(metrics.audit_dropped.get(), dropped, "{on_full:?}");
        let waiting: Vec<_> = (0..3)
            .map(|_| {
                let sink = sink.clone();
                std::thread::spawn(move || sink.write(&long('y'), Ended::Otherwise))
            })
            .collect();
        std::thread::sleep(Duration::from_millis(100));
        assert!(
            waiting.iter().all(|waiting| !waiting.is_finished()),
            "{on_full:?}: they wait"
        );
        let taken = sink.orders.room.taken();
        assert!(
            (bound - line..=bound).contains(&taken),
            "{on_full:?}: {taken} of {bound}"
        );
        gated.open();
        for waiting in waiting {
            waiting.join().unwrap();
        }
        until("all is given back", || sink.orders.room.taken() == 0);
        assert!(!sink.refuses());
        drop(sink);
        writer.join();
        assert_eq!(
            (gated.lines(), metrics.audit_dropped.get()),
            (1 + fits + 3, dropped),
            "{on_full:?}"
        );
    }
}

#[test]
fn nobody_waits_for_a_writer_that_has_failed() {
    let (gated, sink, writer, metrics) = gated(&settings(1, WhenFull::Block));
    let waiting = std::thread::spawn({
        let sink = sink.clone();
        move || {
            for _ in 0..3 {
                sink.write(&long('x'), Ended::Otherwise);
            }
        }
    });
    std::thread::sleep(Duration::from_millis(50));
    assert!(!waiting.is_finished());
    gated.break_down();
    waiting.join().unwrap();
    assert!(metrics.audit_dropped.get() > 0);
    drop(sink);
    writer.join();
}

#[test]
fn a_disk_that_is_full_loses_nothing_once_there_is_another() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    std::os::unix::fs::symlink("/dev/full", &path).unwrap();
    let (sink, writer, metrics) = start(
        Output::open(&AuditOutput::File(path.clone())).unwrap(),
        &settings(100, WhenFull::Block),
    );
    for number in 0..50 {
        sink.write(&record(&format!("r{number}")), Ended::Allowed);
    }
    until("failures are counted", || metrics.audit_failures.get() >= 2);
    fs::remove_file(&path).unwrap();
    writer.reopen();
    until("all are written", || path.exists() && ids(&path).len() == 50);
    drop(sink);
    writer.join();
    assert_eq!(
        ids(&path),
        (0..50).map(|number| format!("r{number}")).collect::<Vec<_>>()
    );
    assert_eq!(metrics.audit_dropped.get(), 0);
}

/// Takes so many bytes, then fails.
struct Filling(usize);

impl Write for Filling {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        let taken = bytes.len().min(self.0);
        self.0 -= taken;
        if taken == 0 {
            Err(io::ErrorKind::StorageFull.into())
        } else {
            Ok(taken)
        }
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

#[test]
fn a_line_that_was_cut_off_is_whole_in_the_next_file() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path().join("audit.jsonl");
    let line = serde_json::to_vec(&record("r0")).unwrap().len() + 1;
    let output = Output::of(Box::new(Filling(line + line / 2)), path.clone());
    let (sink, writer, metrics) = start(output, &settings(100, WhenFull::Block));
    for number in 0..3 {
        sink.write(&record(&format!("r{number}")), Ended::Allowed);
    }
    until("a write fails", || metrics.audit_failures.get() >= 1);
    writer.reopen();
    drop(sink);
    writer.join();
    // The first was written whole before; of the second only half was.
    assert_eq!(ids(&path), ["r1", "r2"]);
}

#[test]
fn an_end_on_a_broken_disk_comes_after_some_seconds_and_counts_what_is_lost() {
    let full = Output::open(&AuditOutput::File("/dev/full".into())).unwrap();
    let (sink, writer, metrics) = start(full, &settings(100, WhenFull::Block));
    for _ in 0..50 {
        sink.write(&record("lost"), Ended::Otherwise);
    }
    drop(sink);
    let start = Instant::now();
    writer.join();
    assert!((5..15).contains(&start.elapsed().as_secs()), "{:?}", start.elapsed());
    assert_eq!(metrics.audit_dropped.get(), 50);
}

#[test]
fn a_file_that_cannot_be_opened_again_stays_in_use_under_its_new_name() {
    let directory = tempfile::tempdir().unwrap();
    let (path, moved) = (
        directory.path().join("logs/audit.jsonl"),
        directory.path().join("moved"),
    );
    fs::create_dir(directory.path().join("logs")).unwrap();
    let (sink, writer, metrics) = start(
        Output::open(&AuditOutput::File(path)).unwrap(),
        &settings(100, WhenFull::Block),
    );
    sink.write(&record("before"), Ended::Allowed);
    fs::rename(directory.path().join("logs"), &moved).unwrap();
    writer.reopen();
    until("the failure is counted", || metrics.audit_failures.get() == 1);
    sink.write(&record("after"), Ended::Allowed);
    drop(sink);
    writer.join();
    assert_eq!(ids(&moved.join("audit.jsonl")), ["before", "after"]);
}
