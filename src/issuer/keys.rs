//! One issuer's keys: in force, being fetched, or missing.

use super::fetch::Fetcher;
use super::missing::MissingKeys;
use super::{IssuerObserver, IssuerSettings, IssuerStatus, KeySource, RefreshOutcome};
use crate::clock::Clock;
use crate::credential::key_set::KeySet;
use crate::credential::rules::IssuerRules;
use crate::model::problem::Problem;
use ahash::RandomState;
use arc_swap::ArcSwapOption;
use std::fs::File;
use std::io::Read;
use std::path::Path;
use std::sync::atomic::{AtomicU64, Ordering};
use std::sync::{Arc, Mutex, PoisonError};
use std::time::Duration;
use tokio::sync::{Notify, watch};
use tokio::time::Instant;

/// The least time from the end of a fetch that an unknown key has brought about to the next such fetch. Fetches by the
/// timer do not count: a key may be new right after one.
const BETWEEN_WANTED: Duration = Duration::from_secs(10);
/// How long a request waits for such a fetch.
const PATIENCE: Duration = Duration::from_secs(2);
/// The longest pause after a failure.
const LONGEST_BACK_OFF: Duration = Duration::from_mins(1);

/// Keys in force, with the document they come from.
#[derive(Debug)]
pub(super) struct Keys {
    pub(super) set: KeySet,
    /// Counts changes; the first keys have 1.
    pub(super) generation: u64,
    document: Box<[u8]>,
}

/// How far fetching has come.
#[derive(Clone, Copy, Debug, Default)]
struct Progress {
    /// Attempts that have ended.
    attempts: u64,
    running: bool,
    /// Whether an unknown key brings about the next one, or the one that is running.
    wanted: bool,
    /// When the last one ended that an unknown key had brought about.
    wanted_ended: Option<Instant>,
}

/// One issuer. Keys are replaced whole; a reader never waits for a writer.
#[derive(Debug)]
pub(super) struct Issuer {
    rules: IssuerRules,
    origin: Origin,
    refresh_interval: Duration,
    max_stale: u64,
    between_wanted: Duration,
    keys: ArcSwapOption<Keys>,
    /// Second of the last success; 0 before the first.
    last_success: AtomicU64,
    last_error: Mutex<Option<String>>,
    progress: watch::Sender<Progress>,
    wanted: Notify,
    missing: MissingKeys,
    clock: Arc<dyn Clock>,
    observer: Arc<dyn IssuerObserver>,
}

#[derive(Debug)]
enum Origin {
    Network(Box<Fetcher>),
    File(Box<Path>),
}

impl Issuer {
    pub(super) fn new(
        settings: IssuerSettings,
        clock: Arc<dyn Clock>,
        observer: Arc<dyn IssuerObserver>,
    ) -> Result<Self, String> {
        let origin = match &settings.keys {
            KeySource::File(file) => Origin::File(file.clone().into_boxed_path()),
            KeySource::Discovery { .. } | KeySource::Url(_) | KeySource::Introspection(_) => {
                Origin::Network(Box::new(Fetcher::new(&settings)?))
            }
        };
        let issuer = Self {
            origin,
            refresh_interval: settings.refresh_interval,
            max_stale: settings.max_stale.as_secs(),
            between_wanted: BETWEEN_WANTED,
            rules: settings.rules,
            keys: ArcSwapOption::empty(),
            last_success: AtomicU64::new(0),
            last_error: Mutex::default(),
            progress: watch::Sender::default(),
            wanted: Notify::new(),
            missing: MissingKeys::default(),
            clock,
            observer,
        };
        issuer
            .reload_file()
            .map_err(|problem| format!("key file `{}`: {}", problem.file.display(), problem.message))?;
        Ok(issuer)
    }

    pub(super) fn rules(&self) -> &IssuerRules {
        &self.rules
    }

    pub(super) fn file(&self) -> Option<&Path> {
        match &self.origin {
            Origin::File(file) => Some(file),
            Origin::Network(_) => None,
        }
    }

    /// The keys to verify with at the second `now`: none before the first success, and none when the last one is too
    /// long ago. Keys from a file do not age.
    pub(super) fn usable(&self, now: u64) -> Option<Arc<Keys>> {
        let too_old = now.saturating_sub(self.last_success.load(Ordering::Acquire)) > self.max_stale;
        if too_old && self.file().is_none() {
            return None;
        }
        self.keys.load_full()
    }

    /// The last second in which the keys are usable, if there are any and they age.
    fn usable_until(&self) -> Option<u64> {
        let fetched = self.keys.load().is_some() && self.file().is_none();
        fetched.then(|| self.last_success.load(Ordering::Acquire).saturating_add(self.max_stale))
    }

    /// Newer keys than those of that generation, which lack a key, if an attempt to fetch them is under way or due and
    /// brings some in time. A key that a fetch has not brought is not asked for again for a while.
    pub(super) async fn newer_than(&self, generation: u64, lacking: &str) -> Option<Arc<Keys>> {
        let mut progress = self.progress.subscribe();
        let before = *progress.borrow_and_update();
        let worth_it = self.file().is_none() && !self.missing.has(lacking, generation);
        if worth_it && (before.running || self.is_due(before)) {
            if !before.running {
                self.wanted.notify_one();
            }
            let ended = progress.wait_for(|now| now.attempts > before.attempts);
            let ended = tokio::time::timeout(PATIENCE, ended)
                .await
                .is_ok_and(|ended| ended.is_ok());
            let succeeded = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).is_none();
            let newer = self.keys.load_full().filter(|keys| keys.generation > generation);
            // One that was under way before may have been answered before the key was published.
            if ended && succeeded && newer.is_none() && !before.running {
                self.missing.note(lacking, generation);
            }
            return newer;
        }
        self.keys.load_full().filter(|keys| keys.generation > generation)
    }

    fn is_due(&self, progress: Progress) -> bool {
        progress
            .wanted_ended
            .is_none_or(|ended| ended.elapsed() >= self.between_wanted)
    }

    /// Fetches at once, then on a timer, after failures with growing pauses, and when a key is wanted. Never ends.
    pub(super) async fn keep_fresh(&self) {
        let mut failures = 0;
        loop {
            let pause = if self.refresh().await == RefreshOutcome::Failed {
                failures += 1;
                spread(back_off(failures).min(self.refresh_interval))
            } else {
                failures = 0;
                spread(self.refresh_interval)
            };
            let next = Instant::now() + pause;
            loop {
                tokio::select! {
                    () = tokio::time::sleep_until(next) => break,
                    () = self.wanted.notified() => {
                        // Many requests may want the same fetch, and some of them only after it has ended.
                        if self.is_due(*self.progress.borrow()) {
                            self.progress.send_modify(|progress| progress.wanted = true);
                            break;
                        }
                    }
                }
            }
        }
    }

    /// Fetches or reads the keys once.
    pub(super) async fn refresh(&self) -> RefreshOutcome {
        let Origin::Network(fetcher) = &self.origin else {
            return if self.reload_file().is_ok() {
                RefreshOutcome::Unchanged
            } else {
                RefreshOutcome::Failed
            };
        };
        self.progress.send_modify(|progress| progress.running = true);
        let outcome = fetcher.fetch().await.and_then(|document| self.install(&document));
        let outcome = self.record(outcome).unwrap_or(RefreshOutcome::Failed);
        self.progress.send_modify(|progress| {
            progress.attempts += 1;
            progress.running = false;
            if std::mem::take(&mut progress.wanted) {
                progress.wanted_ended = Some(Instant::now());
            }
        });
        outcome
    }

    /// Reads the key file again, if there is one.
    pub(super) fn reload_file(&self) -> Result<(), Problem> {
        let Origin::File(file) = &self.origin else {
            return Ok(());
        };
        let outcome = read(file).and_then(|document| self.install(&document));
        self.record(outcome)
            .map(drop)
            .map_err(|fault| Problem::error(&**file, 0, 0, fault))
    }

    /// Puts a document's keys in force, unless they are already.
    fn install(&self, document: &[u8]) -> Result<RefreshOutcome, String> {
        let current = self.keys.load_full();
        if current.as_ref().is_some_and(|keys| *keys.document == *document) {
            return Ok(RefreshOutcome::Unchanged);
        }
        let set = KeySet::parse(document).map_err(|error| error.to_string())?;
        let generation = current.map_or(0, |keys| keys.generation) + 1;
        self.keys.store(Some(Arc::new(Keys {
            set,
            generation,
            document: document.into(),
        })));
        Ok(RefreshOutcome::Changed)
    }

    /// Notes how an attempt ended, for status, log and metrics.
    fn record(&self, outcome: Result<RefreshOutcome, String>) -> Result<RefreshOutcome, String> {
        let issuer = &*self.rules.issuer;
        match &outcome {
            Ok(RefreshOutcome::Changed) => tracing::info!(issuer, "the issuer's keys have changed"),
            Ok(_) => {}
            Err(error) => tracing::warn!(
                issuer,
                error,
                "the issuer's keys cannot be renewed; the last ones stay in force"
            ),
        }
        if outcome.is_ok() {
            self.last_success.store(self.clock.unix_seconds(), Ordering::Release);
        }
        let error = outcome.as_ref().err().cloned();
        *self.last_error.lock().unwrap_or_else(PoisonError::into_inner) = error;
        self.observer
            .refreshed(issuer, *outcome.as_ref().unwrap_or(&RefreshOutcome::Failed));
        self.observer.key_set(issuer, outcome.is_ok(), self.usable_until());
        outcome
    }

    pub(super) fn status(&self, now: u64) -> IssuerStatus {
        let last_error = self.last_error.lock().unwrap_or_else(PoisonError::into_inner).clone();
        let known = self.keys.load_full();
        let usable = self.usable(now).is_some();
        IssuerStatus {
            issuer: Arc::clone(&self.rules.issuer),
            kind: "keys",
            keys: known.as_ref().filter(|_| usable).map_or(0, |keys| keys.set.usable()),
            generation: known.as_ref().map_or(0, |keys| keys.generation),
            last_success: known.as_ref().map(|_| self.last_success.load(Ordering::Acquire)),
            stale: usable && last_error.is_some(),
            last_error,
            problems: known.map(|keys| keys.set.problems().to_vec()).unwrap_or_default(),
        }
    }

    #[cfg(test)]
    pub(super) fn set_between_wanted(&mut self, pause: Duration) {
        self.between_wanted = pause;
    }
}

/// A small file, whole. One byte more than accepted is read, so that the key set can refuse it.
fn read(file: &Path) -> Result<Vec<u8>, String> {
    let limit = u64::try_from(KeySet::MAX_BYTES).unwrap_or(u64::MAX).saturating_add(1);
    let mut document = Vec::new();
    File::open(file)
        .and_then(|opened| opened.take(limit).read_to_end(&mut document))
        .map_err(|error| format!("cannot be read: {error}"))?;
    Ok(document)
}

fn back_off(failures: u32) -> Duration {
    let doubled = 1u64.checked_shl(failures.saturating_sub(1)).unwrap_or(u64::MAX);
    Duration::from_secs(doubled).min(LONGEST_BACK_OFF)
}

/// Nine to eleven tenths of a pause, so that replicas do not all ask at the same time.
fn spread(pause: Duration) -> Duration {
    let chance = u32::try_from(RandomState::new().hash_one(()) % 201).unwrap_or(100);
    pause / 1000 * (900 + chance)
}
