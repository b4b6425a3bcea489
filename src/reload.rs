//! Reloading: when files change, what is made of them is replaced as a whole, or kept as it is.
//!
//! One task watches the directories of every [`Reloadable`] and polls besides. A change counts only by content. What
//! cannot be read or used, and a file that has vanished, may be the middle of a change: it gets [`SETTLE`] to become
//! whole before it counts, and a policy that is only the beginning of the one in force gets [`CUT`].

use crate::model::problem::Problem;
use std::fmt;
use std::path::PathBuf;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::Notify;

pub mod candidate;
mod directories;
pub mod key_sets;
mod outline;
pub mod policy;
pub mod certificate;
mod source;

use directories::Directories;
pub use source::Fingerprint;
use source::Source;

/// Changes are looked at when there has been none for this long.
const QUIET: Duration = Duration::from_millis(100);
/// Or when they have been going on for this long.
const LONGEST_UNREST: Duration = Duration::from_secs(1);
/// How long files may be broken or missing before that counts as a failure.
pub const SETTLE: Duration = Duration::from_secs(1);
/// How long a file of a policy may be only the beginning of what is in force before that counts: writing it has stopped
/// half-way, or it was shortened on purpose.
pub const CUT: Duration = Duration::from_secs(5);

/// What can be reloaded.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum What {
    /// The policy and the catalogue overlays.
    Policy,
    /// The policy that is tried beside the one in force.
    Candidate,
    /// A listener's certificate and key, and the authorities of its clients.
    Certificate,
    /// An issuer's key set file.
    KeySet,
}

impl What {
    /// Every kind, for metrics.
    pub const ALL: [Self; 4] = [Self::Policy, Self::Candidate, Self::Certificate, Self::KeySet];

    /// The word used in logs and metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Policy => "policy",
            Self::Candidate => "candidate",
            Self::Certificate => "certificate",
            Self::KeySet => "key_set",
        }
    }
}

/// How a reload ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// The new content is in force.
    Replaced,
    /// The new content cannot be used; the last good one stays in force.
    Failed,
    /// After a failure the files are again what is in force.
    Restored,
}

impl Outcome {
    /// Every outcome, for metrics.
    pub const ALL: [Self; 3] = [Self::Replaced, Self::Failed, Self::Restored];

    /// The word used in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Replaced => "replaced",
            Self::Failed => "failed",
            Self::Restored => "restored",
        }
    }
}

/// Something made of files that can be made anew.
pub trait Reloadable: Send + Sync {
    /// What it is.
    fn what(&self) -> What;

    /// The files and directories it is read from.
    fn paths(&self) -> Vec<PathBuf>;

    /// Reads all of them.
    ///
    /// # Errors
    /// Every file that cannot be read.
    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>>;

    /// Frees what was in force before and is used no more: called at every look.
    fn free_unused(&self) {}

    /// Puts what was read in force as a whole and returns warnings.
    ///
    /// # Errors
    /// Every problem; what was in force then still is.
    fn apply(&self, files: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>>;
}

/// Learns how reloads end.
pub trait ReloadObserver: Send + Sync {
    /// A reload has ended. `all_good`: whether everything of this kind is now in force as it is in its files.
    fn reloaded(&self, what: What, outcome: Outcome, all_good: bool);
}

impl ReloadObserver for () {
    fn reloaded(&self, _: What, _: Outcome, _: bool) {}
}

/// Watches and reloads; [`Reloader::run`] is its task.
pub struct Reloader {
    state: State,
    poll: Duration,
    changed: Arc<Notify>,
    asked: Arc<Notify>,
}

/// Asks the task to look at every file now.
#[derive(Clone, Debug)]
pub struct ReloadNow(Arc<Notify>);

impl ReloadNow {
    /// Looks at every file now, without giving broken ones time to become whole: what SIGHUP does.
    pub fn reload_now(&self) {
        self.0.notify_one();
    }
}

impl Reloader {
    /// Prepares to watch. Each source comes with the fingerprint of what it was first loaded from, so that no change
    /// between loading and watching is missed.
    #[must_use]
    pub fn new(
        sources: Vec<(Arc<dyn Reloadable>, Fingerprint)>,
        poll: Duration,
        observer: Arc<dyn ReloadObserver>,
    ) -> Self {
        let changed = Arc::new(Notify::new());
        Self {
            state: State {
                directories: Directories::new(Arc::clone(&changed)),
                sources: sources
                    .into_iter()
                    .map(|(source, loaded)| Source::new(source, loaded))
                    .collect(),
                observer,
            },
            poll,
            changed,
            asked: Arc::default(),
        }
    }

    /// What asks the task to look at every file now.
    #[must_use]
    pub fn now(&self) -> ReloadNow {
        ReloadNow(Arc::clone(&self.asked))
    }

    /// Watches until dropped.
    pub async fn run(mut self) {
        let mut patient = true;
        loop {
            // Compiling a large policy takes long: it must not hold up requests.
            let checked = tokio::task::spawn_blocking(move || {
                self.state.check(patient);
                self
            });
            match checked.await {
                Ok(reloader) => self = reloader,
                Err(error) => {
                    tracing::error!(%error, "watching for changes has stopped; restart the proxy");
                    return;
                }
            }
            let wait = if self.state.is_settled() { self.poll } else { SETTLE };
            patient = tokio::select! {
                () = self.asked.notified() => false,
                () = self.changed.notified() => {
                    quiet(&self.changed).await;
                    true
                }
                () = tokio::time::sleep(wait) => true,
            };
        }
    }
}

impl fmt::Debug for Reloader {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Reloader")
            .field("poll", &self.poll)
            .finish_non_exhaustive()
    }
}

/// Waits until changes have come to rest.
async fn quiet(changed: &Notify) {
    let rest = async { while tokio::time::timeout(QUIET, changed.notified()).await.is_ok() {} };
    if tokio::time::timeout(LONGEST_UNREST, rest).await.is_err() {
        tracing::debug!("files keep changing; looking at them meanwhile");
    }
}

struct State {
    directories: Directories,
    sources: Vec<Source>,
    observer: Arc<dyn ReloadObserver>,
}

impl State {
    fn check(&mut self, patient: bool) {
        // Watched first, read then: what changes in between causes an event.
        self.directories.watch(self.sources.iter().flat_map(Source::paths));
        for index in 0..self.sources.len() {
            let source = self.sources.get_mut(index);
            let ended = source.and_then(|source| Some((source.what(), source.check(patient, Instant::now())?)));
            if let Some((what, outcome)) = ended {
                let mut alike = self.sources.iter().filter(|source| source.what() == what);
                self.observer.reloaded(what, outcome, !alike.any(Source::has_failed));
            }
        }
    }

    fn is_settled(&self) -> bool {
        self.sources.iter().all(Source::is_settled)
    }
}

#[cfg(test)]
mod tests;
