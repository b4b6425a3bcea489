//! Which directories are watched. Watching a file itself would lose it when another is renamed over it.

use notify::event::{AccessKind, AccessMode, EventKind};
use notify::{RecommendedWatcher, RecursiveMode, Watcher};
use std::collections::BTreeMap;
use std::os::unix::fs::MetadataExt;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::Notify;

/// The watched directories with their identity, so that one which was removed and made again is noticed.
pub(super) struct Directories {
    watcher: Option<RecommendedWatcher>,
    watched: BTreeMap<PathBuf, (u64, u64)>,
}

impl Directories {
    pub(super) fn new(changed: Arc<Notify>) -> Self {
        let handler = move |event: notify::Result<notify::Event>| {
            // An error can mean that events were lost. Reading causes events too: they must not cause reading.
            if event.map_or(true, |event| is_change(event.kind)) {
                changed.notify_one();
            }
        };
        let watcher = notify::recommended_watcher(handler)
            .inspect_err(|error| tracing::warn!(%error, "cannot watch files; changes are found by polling"))
            .ok();
        Self {
            watcher,
            watched: BTreeMap::new(),
        }
    }

    /// Sees nothing, like a network file system.
    #[cfg(test)]
    pub(super) fn blind() -> Self {
        Self {
            watcher: None,
            watched: BTreeMap::new(),
        }
    }

    /// Watches what the given files and directories depend on, and nothing else.
    pub(super) fn watch(&mut self, paths: impl Iterator<Item = PathBuf>) {
        let Some(watcher) = &mut self.watcher else { return };
        let mut wanted = BTreeMap::new();
        for path in paths {
            // The directory that holds the name, the one that holds what a link there leads to, and a directory itself.
            let target = path.canonicalize().unwrap_or_else(|_| path.clone());
            let parents = [path.parent(), target.parent(), Some(target.as_path())];
            for directory in parents.into_iter().flatten() {
                let existing = existing(directory);
                if let Ok(metadata) = existing.metadata()
                    && metadata.is_dir()
                {
                    wanted.insert(existing.to_owned(), (metadata.dev(), metadata.ino()));
                }
            }
        }
        for (directory, identity) in &self.watched {
            if wanted.get(directory) != Some(identity)
                && let Err(error) = watcher.unwatch(directory)
            {
                // A removed directory is no longer watched anyway.
                tracing::debug!(directory = %directory.display(), %error, "no longer watched");
            }
        }
        wanted.retain(|directory, identity| {
            self.watched.get(directory) == Some(identity)
                || watcher
                    .watch(directory, RecursiveMode::NonRecursive)
                    .inspect_err(|error| {
                        tracing::warn!(directory = %directory.display(), %error, "cannot watch; changes are found by polling");
                    })
                    .is_ok()
        });
        self.watched = wanted;
    }
}

/// The directory, or the nearest one above it that exists: it shows when the directory is made.
fn existing(directory: &Path) -> &Path {
    let existing = directory.ancestors().find(|ancestor| ancestor.exists());
    // What is left of a relative path in the end is the empty path.
    existing.unwrap_or(Path::new("."))
}

fn is_change(kind: EventKind) -> bool {
    !matches!(kind, EventKind::Access(access) if access != AccessKind::Close(AccessMode::Write))
}
