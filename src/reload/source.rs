//! One thing that is reloaded: what is in force, what was seen since, and what becomes of it.

use super::outline::Outline;
use super::{CUT, Outcome, Reloadable, SETTLE, What};
use crate::model::problem::{Problem, Severity};
use aws_lc_rs::digest::{Context, SHA256};
use std::fmt::Write;
use std::panic::{AssertUnwindSafe, catch_unwind};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

/// The SHA-256 of files' names and contents, or of why they cannot be read; with the names.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Fingerprint {
    digest: [u8; 32],
    files: Vec<PathBuf>,
}

impl Fingerprint {
    /// The fingerprint of files.
    #[must_use]
    pub fn of(files: &[(PathBuf, String)]) -> Self {
        let names = files.iter().map(|(path, _)| path.clone()).collect();
        let parts = files
            .iter()
            .flat_map(|(path, text)| [path.as_os_str().as_encoded_bytes(), text.as_bytes()]);
        Self::of_parts(names, parts)
    }

    fn of_read(read: &Result<Vec<(PathBuf, String)>, Vec<Problem>>) -> Self {
        match read {
            Ok(files) => Self::of(files),
            Err(problems) => {
                let problems: Vec<String> = problems.iter().map(ToString::to_string).collect();
                Self::of_parts(Vec::new(), problems.iter().map(String::as_bytes))
            }
        }
    }

    fn of_parts<'a>(files: Vec<PathBuf>, parts: impl Iterator<Item = &'a [u8]>) -> Self {
        let mut context = Context::new(&SHA256);
        for part in parts {
            // The length keeps parts apart.
            context.update(&part.len().to_le_bytes());
            context.update(part);
        }
        let mut digest = [0; 32];
        digest.copy_from_slice(context.finish().as_ref());
        Self { digest, files }
    }

    /// The first 16 hexadecimal digits: tells versions apart in logs and in `/status`.
    #[must_use]
    pub fn short(&self) -> String {
        self.digest.iter().take(8).fold(String::new(), |mut text, byte| {
            // Writing to a String cannot fail.
            _ = write!(text, "{byte:02x}");
            text
        })
    }

    /// The files of the other that are not among these.
    fn lacks<'o>(&self, other: &'o Self) -> impl Iterator<Item = &'o Path> {
        let files = other.files.iter().filter(|file| !self.files.contains(file));
        files.map(PathBuf::as_path)
    }
}

/// One source and where it stands.
pub(super) struct Source {
    reloadable: Arc<dyn Reloadable>,
    in_force: Fingerprint,
    /// Tells whether a file of it was cut off; of policies only, since others are secret.
    outline: Outline,
    /// Seen and not used yet, since when: perhaps the middle of a change.
    unsettled: Option<(Fingerprint, Instant)>,
    /// Seen, unusable and reported: not tried again.
    failed: Option<Fingerprint>,
}

impl Source {
    pub(super) fn new(reloadable: Arc<dyn Reloadable>, in_force: Fingerprint) -> Self {
        Self {
            reloadable,
            in_force,
            outline: Outline::default(),
            unsettled: None,
            failed: None,
        }
    }

    pub(super) fn what(&self) -> What {
        self.reloadable.what()
    }

    pub(super) fn paths(&self) -> Vec<PathBuf> {
        self.reloadable.paths()
    }

    pub(super) fn is_settled(&self) -> bool {
        self.unsettled.is_none()
    }

    /// Whether the last good version is in force in place of what was last seen whole.
    pub(super) fn has_failed(&self) -> bool {
        self.failed.is_some()
    }

    /// Looks at the files and replaces what is in force if they have changed. When not `patient`, what is broken now
    /// counts now.
    pub(super) fn check(&mut self, patient: bool, now: Instant) -> Option<Outcome> {
        self.reloadable.free_unused();
        let read = self.reloadable.read();
        let seen = Fingerprint::of_read(&read);
        if seen == self.in_force && self.failed.is_none() && self.unsettled.is_none() {
            if self.outline.is_empty() {
                self.outline = self.outlined(&read.unwrap_or_default());
            }
            return None;
        }
        // Read across a directory swap, old and new files would be mixed: only what reads the same twice is used.
        if seen != Fingerprint::of_read(&self.reloadable.read()) {
            self.unsettled = Some((seen, now));
            return None;
        }
        if seen == self.in_force {
            self.unsettled = None;
            let failed = self.failed.take()?;
            tracing::info!(
                what = self.what().label(),
                failed = failed.short(),
                "files are again what is in force"
            );
            return Some(Outcome::Restored);
        }
        if patient && self.failed.as_ref() == Some(&seen) {
            self.unsettled = None;
            return None;
        }
        let cut = read.as_ref().is_ok_and(|files| self.outline.has_a_longer_one(files));
        let whole = !patient || self.has_settled(&seen, now, if cut { CUT } else { SETTLE });
        // A rule that vanishes may be one that denies: a file that is only being replaced must not lift it. Nor may one
        // that is cut off, of which an entry can lack what narrows it.
        if !whole && (cut || seen.lacks(&self.in_force).next().is_some()) {
            self.wait(seen, now);
            return None;
        }
        let applied = read.and_then(|files| self.apply(&files).map(|warnings| (files, warnings)));
        match applied {
            Ok((files, warnings)) => {
                self.outline = self.outlined(&files);
                Some(self.replaced(seen, &warnings))
            }
            Err(problems) if whole => Some(self.failed(seen, &problems)),
            Err(_) => {
                self.wait(seen, now);
                None
            }
        }
    }

    fn has_settled(&self, seen: &Fingerprint, now: Instant, time: Duration) -> bool {
        let unsettled = self.unsettled.as_ref();
        unsettled.is_some_and(|(earlier, since)| earlier == seen && now.duration_since(*since) >= time)
    }

    fn outlined(&self, files: &[(PathBuf, String)]) -> Outline {
        match self.what() {
            What::Policy | What::Candidate => Outline::of(files),
            What::Certificate | What::KeySet => Outline::default(),
        }
    }

    fn wait(&mut self, seen: Fingerprint, now: Instant) {
        if self.unsettled.as_ref().is_none_or(|(earlier, _)| *earlier != seen) {
            self.unsettled = Some((seen, now));
        }
    }

    /// A fault in compiling must not end the watching: it fails this reload only.
    fn apply(&self, files: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>> {
        let applied = catch_unwind(AssertUnwindSafe(|| self.reloadable.apply(files)));
        applied.unwrap_or_else(|_| {
            let file = self.paths().into_iter().next().unwrap_or_default();
            Err(vec![Problem::error(
                file,
                0,
                0,
                "the proxy failed on this content; please report it",
            )])
        })
    }

    fn replaced(&mut self, seen: Fingerprint, warnings: &[Problem]) -> Outcome {
        let what = self.what().label();
        log(what, warnings);
        for file in seen.lacks(&self.in_force) {
            tracing::warn!(what, file = %file.display(), "is no longer there; what it said is no longer in force");
        }
        tracing::info!(what, from = self.in_force.short(), to = seen.short(), "reloaded");
        self.in_force = seen;
        self.unsettled = None;
        self.failed = None;
        Outcome::Replaced
    }

    fn failed(&mut self, seen: Fingerprint, problems: &[Problem]) -> Outcome {
        let what = self.what().label();
        log(what, problems);
        tracing::error!(
            what,
            in_force = self.in_force.short(),
            "not reloaded; the last good one stays in force"
        );
        self.unsettled = None;
        self.failed = Some(seen);
        Outcome::Failed
    }
}

fn log(what: &str, problems: &[Problem]) {
    for problem in problems {
        match problem.severity {
            Severity::Error => tracing::error!(what, "{problem}"),
            Severity::Warning => tracing::warn!(what, "{problem}"),
        }
    }
}
