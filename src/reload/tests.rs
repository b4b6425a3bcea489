//! Reloading from real directories: every way in which files are replaced, and broken ones in between.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::policy_files;
use std::fs;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Mutex;
use std::sync::atomic::{AtomicUsize, Ordering};
use tempfile::TempDir;

/// Keeps what was applied; refuses what contains `broken`, and fails on what contains `panic`.
struct Kept {
    path: PathBuf,
    applied: Mutex<Vec<String>>,
    reads: AtomicUsize,
}

impl Reloadable for Kept {
    fn what(&self) -> What {
        What::Policy
    }

    fn paths(&self) -> Vec<PathBuf> {
        vec![self.path.clone()]
    }

    fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
        self.reads.fetch_add(1, Ordering::Relaxed);
        policy_files::read(&self.path)
    }

    fn apply(&self, files: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>> {
        let text: String = files.iter().map(|(_, text)| text.as_str()).collect();
        assert!(!text.contains("panic"));
        if text.contains("broken") || text.is_empty() {
            return Err(vec![Problem::error(&self.path, 1, 1, "broken")]);
        }
        self.applied.lock().unwrap().push(text);
        Ok(Vec::new())
    }
}

#[derive(Default)]
struct Outcomes(Mutex<Vec<Outcome>>);

impl ReloadObserver for Outcomes {
    fn reloaded(&self, what: What, outcome: Outcome, all_good: bool) {
        assert_eq!((what, all_good), (What::Policy, outcome != Outcome::Failed));
        self.0.lock().unwrap().push(outcome);
    }
}

/// A policy at a path below its own directory, being watched.
struct Watched {
    directory: TempDir,
    kept: Arc<Kept>,
    outcomes: Arc<Outcomes>,
    now: ReloadNow,
    task: tokio::task::JoinHandle<()>,
}

impl Drop for Watched {
    fn drop(&mut self) {
        self.task.abort();
    }
}

const LONG: Duration = Duration::from_hours(1);

impl Watched {
    fn start(directory: TempDir, name: &str, poll: Duration, blind: bool) -> Self {
        let path = directory.path().join(name);
        let kept = Arc::new(Kept {
            path,
            applied: Mutex::default(),
            reads: AtomicUsize::new(0),
        });
        let loaded = Fingerprint::of(&kept.read().unwrap());
        let outcomes = Arc::new(Outcomes::default());
        let source: Arc<dyn Reloadable> = Arc::<Kept>::clone(&kept);
        let observer: Arc<dyn ReloadObserver> = Arc::<Outcomes>::clone(&outcomes);
        let mut reloader = Reloader::new(vec![(source, loaded)], poll, observer);
        if blind {
            reloader.state.directories = Directories::blind();
        }
        let now = reloader.now();
        let task = tokio::spawn(reloader.run());
        Self {
            directory,
            kept,
            outcomes,
            now,
            task,
        }
    }

    /// A single file `policy.yaml` with the text `first`.
    fn file() -> Self {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("policy.yaml"), "first").unwrap();
        Self::start(directory, "policy.yaml", LONG, false)
    }

    fn path(&self) -> &Path {
        &self.kept.path
    }

    fn applied(&self) -> Vec<String> {
        self.kept.applied.lock().unwrap().clone()
    }

    fn outcomes(&self) -> Vec<Outcome> {
        self.outcomes.0.lock().unwrap().clone()
    }

    async fn until(&self, what: &str, condition: impl Fn(&Self) -> bool) {
        let deadline = Instant::now() + Duration::from_secs(20);
        while !condition(self) {
            assert!(
                Instant::now() < deadline,
                "{what}: {:?}, {:?}",
                self.applied(),
                self.outcomes()
            );
            tokio::time::sleep(Duration::from_millis(5)).await;
        }
    }

    async fn until_applied(&self, texts: &[&str]) {
        self.until("applied", |watched| watched.applied().len() >= texts.len())
            .await;
        assert_eq!(self.applied(), texts);
    }

    async fn until_outcomes(&self, outcomes: &[Outcome]) {
        self.until("outcomes", |watched| watched.outcomes().len() >= outcomes.len())
            .await;
        assert_eq!(self.outcomes(), outcomes);
    }
}

#[tokio::test]
async fn a_file_is_reloaded_however_it_is_replaced() {
    let watched = Watched::file();
    let path = watched.path();
    fs::write(path, "written over").unwrap();
    watched.until_applied(&["written over"]).await;

    let beside = watched.directory.path().join("policy.yaml.tmp");
    fs::write(&beside, "renamed over").unwrap();
    fs::rename(&beside, path).unwrap();
    watched.until_applied(&["written over", "renamed over"]).await;

    fs::remove_file(path).unwrap();
    tokio::task::yield_now().await;
    fs::write(path, "made anew").unwrap();
    watched
        .until_applied(&["written over", "renamed over", "made anew"])
        .await;

    // The watch is on the name, not on the file: it has survived all of that.
    fs::write(path, "written again").unwrap();
    watched
        .until_applied(&["written over", "renamed over", "made anew", "written again"])
        .await;
    assert_eq!(watched.outcomes(), [Outcome::Replaced; 4]);
}

#[tokio::test]
async fn a_broken_file_is_reported_once_and_a_good_one_replaces_it() {
    let watched = Watched::file();
    fs::write(watched.path(), "broken").unwrap();
    watched.until_outcomes(&[Outcome::Failed]).await;
    fs::write(watched.path(), "panic").unwrap();
    watched.until_outcomes(&[Outcome::Failed; 2]).await;
    assert_eq!(watched.applied(), [""; 0]);
    fs::write(watched.path(), "good").unwrap();
    watched
        .until_outcomes(&[Outcome::Failed, Outcome::Failed, Outcome::Replaced])
        .await;
    assert_eq!(watched.applied(), ["good"]);
}

#[tokio::test]
async fn a_deleted_file_is_a_failure_until_it_is_back() {
    let watched = Watched::file();
    fs::remove_file(watched.path()).unwrap();
    watched.until_outcomes(&[Outcome::Failed]).await;
    fs::create_dir(watched.path()).unwrap();
    watched.until_outcomes(&[Outcome::Failed; 2]).await;
    fs::remove_dir(watched.path()).unwrap();
    fs::write(watched.path(), "first").unwrap();
    watched
        .until_outcomes(&[Outcome::Failed, Outcome::Failed, Outcome::Restored])
        .await;
    assert_eq!(watched.applied(), [""; 0]);
}

/// What was told of all sources together.
#[derive(Default)]
struct AllGood(Mutex<Vec<bool>>);

impl ReloadObserver for AllGood {
    fn reloaded(&self, _: What, _: Outcome, all_good: bool) {
        self.0.lock().unwrap().push(all_good);
    }
}

#[test]
fn one_good_source_does_not_hide_that_another_of_its_kind_is_broken() {
    let directory = tempfile::tempdir().unwrap();
    let [first, second] = ["first.yaml", "second.yaml"].map(|name| directory.path().join(name));
    let sources = [&first, &second].map(|path| {
        fs::write(path, "good").unwrap();
        let kept: Arc<dyn Reloadable> = Arc::new(Kept {
            path: path.clone(),
            applied: Mutex::default(),
            reads: AtomicUsize::new(0),
        });
        let loaded = Fingerprint::of(&kept.read().unwrap());
        (kept, loaded)
    });
    let told = Arc::new(AllGood::default());
    let observer: Arc<dyn ReloadObserver> = Arc::<AllGood>::clone(&told);
    let mut reloader = Reloader::new(sources.into(), LONG, observer);
    for (path, text) in [(&first, "broken"), (&second, "better"), (&first, "good")] {
        fs::write(path, text).unwrap();
        reloader.state.check(text != "broken");
    }
    assert_eq!(*told.0.lock().unwrap(), [false, false, true]);
}

/// A volume as the kubelet writes it: `policy.yaml -> ..data/policy.yaml`, `..data -> ..VERSION`, replaced by a rename.
fn publish(volume: &Path, version: &str, text: &str) {
    let target = format!("..{version}");
    fs::create_dir(volume.join(&target)).unwrap();
    fs::write(volume.join(&target).join("policy.yaml"), text).unwrap();
    symlink(&target, volume.join("..data_tmp")).unwrap();
    fs::rename(volume.join("..data_tmp"), volume.join("..data")).unwrap();
    if !volume.join("policy.yaml").exists() {
        symlink("..data/policy.yaml", volume.join("policy.yaml")).unwrap();
    }
}

#[tokio::test]
async fn a_kubernetes_volume_is_reloaded_when_its_link_is_swapped() {
    for name in ["volume", "volume/policy.yaml"] {
        let directory = tempfile::tempdir().unwrap();
        let volume = directory.path().join("volume");
        fs::create_dir(&volume).unwrap();
        publish(&volume, "1", "first");
        let watched = Watched::start(directory, name, LONG, false);
        publish(&volume, "2", "second");
        fs::remove_dir_all(volume.join("..1")).unwrap();
        watched.until_applied(&["second"]).await;
        publish(&volume, "3", "third");
        fs::remove_dir_all(volume.join("..2")).unwrap();
        watched.until_applied(&["second", "third"]).await;
        assert_eq!(watched.outcomes(), [Outcome::Replaced; 2]);
    }
}

#[tokio::test]
async fn a_directory_that_is_removed_and_made_again_is_still_watched() {
    for name in ["policy", "policy/a.yaml"] {
        let directory = tempfile::tempdir().unwrap();
        let policy = directory.path().join("policy");
        fs::create_dir(&policy).unwrap();
        fs::write(policy.join("a.yaml"), "first").unwrap();
        let watched = Watched::start(directory, name, LONG, false);
        fs::write(policy.join("a.yaml"), "second").unwrap();
        watched.until_applied(&["second"]).await;
        fs::remove_dir_all(&policy).unwrap();
        watched.until_outcomes(&[Outcome::Replaced, Outcome::Failed]).await;
        fs::create_dir(&policy).unwrap();
        fs::write(policy.join("a.yaml"), "third").unwrap();
        watched.until_applied(&["second", "third"]).await;
        fs::write(policy.join("a.yaml"), "fourth").unwrap();
        watched.until_applied(&["second", "third", "fourth"]).await;
    }
}

#[tokio::test]
async fn a_storm_of_changes_is_taken_together() {
    let watched = Watched::file();
    for number in 0..100 {
        fs::write(watched.path(), format!("number {number}")).unwrap();
        tokio::time::sleep(Duration::from_millis(10)).await;
    }
    watched
        .until("the last", |watched| {
            watched.applied().last().is_some_and(|text| text == "number 99")
        })
        .await;
    assert!(watched.applied().len() <= 10, "{:?}", watched.applied());
    assert!(watched.outcomes().iter().all(|outcome| *outcome == Outcome::Replaced));
}

#[tokio::test]
async fn a_touch_without_a_change_reloads_nothing() {
    let watched = Watched::file();
    fs::write(watched.path(), "second").unwrap();
    watched.until_applied(&["second"]).await;
    for _ in 0..3 {
        fs::write(watched.path(), "second").unwrap();
        fs::File::open(watched.path())
            .unwrap()
            .set_modified(std::time::UNIX_EPOCH)
            .unwrap();
        fs::write(watched.directory.path().join("another"), "").unwrap();
        tokio::time::sleep(QUIET * 2).await;
    }
    fs::write(watched.path(), "third").unwrap();
    watched.until_applied(&["second", "third"]).await;
    assert_eq!(watched.outcomes(), [Outcome::Replaced; 2]);
}

#[tokio::test]
async fn reading_the_files_causes_no_further_reading() {
    let watched = Watched::file();
    fs::write(watched.path(), "second").unwrap();
    watched.until_applied(&["second"]).await;
    tokio::time::sleep(QUIET * 3).await;
    let reads = watched.kept.reads.load(Ordering::Relaxed);
    tokio::time::sleep(QUIET * 5).await;
    assert_eq!(watched.kept.reads.load(Ordering::Relaxed), reads);
}

#[tokio::test]
async fn changes_without_events_are_found_by_polling_and_on_request() {
    for poll in [Duration::from_millis(50), LONG] {
        let directory = tempfile::tempdir().unwrap();
        fs::write(directory.path().join("policy.yaml"), "first").unwrap();
        let watched = Watched::start(directory, "policy.yaml", poll, true);
        // The first look, at the start, comes before this change or after it.
        fs::write(watched.path(), "second").unwrap();
        watched.now.reload_now();
        watched.until_applied(&["second"]).await;
        fs::write(watched.path(), "third").unwrap();
        if poll == LONG {
            watched.now.reload_now();
        }
        watched.until_applied(&["second", "third"]).await;
    }
}

#[tokio::test]
async fn a_change_between_loading_and_watching_is_not_missed() {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("policy.yaml"), "first").unwrap();
    let watched = Watched::start(directory, "policy.yaml", LONG, false);
    // The task has not run yet: this test has one thread.
    fs::write(watched.path(), "second").unwrap();
    watched.until_applied(&["second"]).await;
}

/// A directory with two files, looked at by hand.
fn two_files() -> (TempDir, Arc<Kept>, Source) {
    let directory = tempfile::tempdir().unwrap();
    fs::write(directory.path().join("allow.yaml"), "allow").unwrap();
    fs::write(directory.path().join("deny.yaml"), " deny").unwrap();
    let path = directory.path().to_owned();
    let kept = Arc::new(Kept {
        path,
        applied: Mutex::default(),
        reads: AtomicUsize::new(0),
    });
    let loaded = Fingerprint::of(&kept.read().unwrap());
    let source = Source::new(Arc::<Kept>::clone(&kept), loaded);
    (directory, kept, source)
}

#[test]
fn a_file_that_is_away_for_a_moment_lifts_nothing() {
    let (directory, kept, mut source) = two_files();
    let start = Instant::now();
    fs::remove_file(directory.path().join("deny.yaml")).unwrap();
    assert_eq!(source.check(true, start), None);
    assert!(!source.is_settled());
    assert_eq!(source.check(true, start + SETTLE / 2), None);
    fs::write(directory.path().join("deny.yaml"), " deny more").unwrap();
    assert_eq!(source.check(true, start + SETTLE / 2), Some(Outcome::Replaced));
    assert_eq!(*kept.applied.lock().unwrap(), ["allow deny more"]);
    assert!(source.is_settled());
}

#[test]
fn a_file_that_stays_away_counts_after_a_while_or_on_request() {
    let (directory, kept, mut source) = two_files();
    let start = Instant::now();
    fs::remove_file(directory.path().join("deny.yaml")).unwrap();
    assert_eq!(source.check(true, start), None);
    assert_eq!(source.check(true, start + SETTLE), Some(Outcome::Replaced));
    assert_eq!(*kept.applied.lock().unwrap(), ["allow"]);

    let (directory, kept, mut source) = two_files();
    fs::remove_file(directory.path().join("deny.yaml")).unwrap();
    assert_eq!(source.check(false, start), Some(Outcome::Replaced));
    assert_eq!(*kept.applied.lock().unwrap(), ["allow"]);
}

#[test]
fn a_half_written_file_is_no_failure() {
    let (directory, kept, mut source) = two_files();
    let start = Instant::now();
    for (after, half) in [(0, ""), (1, " broken"), (1, " broken, still")] {
        fs::write(directory.path().join("allow.yaml"), half).unwrap();
        fs::write(directory.path().join("deny.yaml"), half).unwrap();
        assert_eq!(source.check(true, start + after * SETTLE), None);
        assert!(!source.is_settled());
    }
    fs::write(directory.path().join("allow.yaml"), "whole").unwrap();
    fs::write(directory.path().join("deny.yaml"), "").unwrap();
    assert_eq!(source.check(true, start + 2 * SETTLE), Some(Outcome::Replaced));
    assert_eq!(*kept.applied.lock().unwrap(), ["whole"]);
}

#[test]
fn a_policy_that_is_only_the_beginning_of_the_one_in_force_counts_late_or_on_request() {
    let (directory, kept, mut source) = two_files();
    let start = Instant::now();
    let mut check = |text: &str, patient: bool, after: Duration| {
        fs::write(directory.path().join("deny.yaml"), text).unwrap();
        let outcome = source.check(patient, start + after);
        assert_eq!(source.is_settled(), outcome.is_some() || text == " deny", "{text}");
        outcome
    };
    assert_eq!(check(" deny", true, Duration::ZERO), None);
    for (text, after) in [(" de", Duration::ZERO), (" de", SETTLE), (" den", CUT), ("", 2 * CUT)] {
        assert_eq!(check(text, true, after), None, "{text}");
    }
    // The rest has come.
    assert_eq!(check(" deny", true, 2 * CUT), None);
    assert_eq!(*kept.applied.lock().unwrap(), [""; 0]);
    assert_eq!(check(" de", true, 2 * CUT), None);
    assert_eq!(check(" de", true, 3 * CUT), Some(Outcome::Replaced));
    // More, or something else, counts at once, and the next is compared with it.
    assert_eq!(check(" dent", true, 3 * CUT), Some(Outcome::Replaced));
    assert_eq!(check(" dxyz", true, 3 * CUT), Some(Outcome::Replaced));
    assert_eq!(check(" d", true, 3 * CUT), None);
    assert_eq!(check(" d", false, 3 * CUT), Some(Outcome::Replaced));
    assert_eq!(
        *kept.applied.lock().unwrap(),
        ["allow de", "allow dent", "allow dxyz", "allow d"]
    );
}

#[test]
fn other_files_than_policies_count_at_once_when_they_are_cut_off() {
    struct Keys(PathBuf);
    impl Reloadable for Keys {
        fn what(&self) -> What {
            What::Certificate
        }
        fn paths(&self) -> Vec<PathBuf> {
            vec![self.0.clone()]
        }
        fn read(&self) -> Result<Vec<(PathBuf, String)>, Vec<Problem>> {
            policy_files::read(&self.0)
        }
        fn apply(&self, _: &[(PathBuf, String)]) -> Result<Vec<Problem>, Vec<Problem>> {
            Ok(Vec::new())
        }
    }
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("tls.key");
    fs::write(&file, "key").unwrap();
    let keys = Keys(file.clone());
    let loaded = Fingerprint::of(&keys.read().unwrap());
    let mut source = Source::new(Arc::new(keys), loaded);
    for text in ["key", "ke"] {
        fs::write(&file, text).unwrap();
        let outcome = source.check(true, Instant::now());
        assert_eq!(outcome, (text == "ke").then_some(Outcome::Replaced));
    }
}

#[test]
fn it_is_told_which_files_are_no_longer_there() {
    let (directory, _, mut source) = two_files();
    let log = directory.path().join("log");
    let writer = Arc::new(fs::File::create(&log).unwrap());
    let subscriber = tracing_subscriber::fmt().with_ansi(false).with_writer(writer).finish();
    let start = Instant::now();
    tracing::subscriber::with_default(subscriber, || {
        fs::remove_file(directory.path().join("deny.yaml")).unwrap();
        assert_eq!(source.check(true, start), None);
        assert_eq!(fs::read_to_string(&log).unwrap(), "");
        assert_eq!(source.check(true, start + SETTLE), Some(Outcome::Replaced));
    });
    let told = fs::read_to_string(&log).unwrap();
    let warnings: Vec<&str> = told.lines().filter(|line| line.contains("WARN")).collect();
    assert!(
        matches!(warnings.as_slice(), [one] if one.contains("deny.yaml") && one.contains("no longer in force")),
        "{told}"
    );
}

#[test]
fn what_was_reported_is_tried_again_only_on_request() {
    let (directory, _, mut source) = two_files();
    let start = Instant::now();
    fs::write(directory.path().join("deny.yaml"), "broken").unwrap();
    assert_eq!(source.check(true, start), None);
    assert_eq!(source.check(true, start + SETTLE), Some(Outcome::Failed));
    assert_eq!(source.check(true, start + 9 * SETTLE), None);
    assert!(source.is_settled());
    assert_eq!(source.check(false, start + 9 * SETTLE), Some(Outcome::Failed));
}

#[test]
fn fingerprints_tell_names_and_borders_apart() {
    let of = |files: &[(&str, &str)]| {
        let files: Vec<_> = files
            .iter()
            .map(|(name, text)| (PathBuf::from(name), (*text).to_owned()))
            .collect();
        Fingerprint::of(&files)
    };
    assert_eq!(of(&[("a", "x")]), of(&[("a", "x")]));
    assert_ne!(of(&[("a", "x")]), of(&[("b", "x")]));
    assert_ne!(of(&[("a", "x"), ("b", "y")]), of(&[("a", "xb"), ("", "y")]));
    assert_eq!(of(&[]).short().len(), 16);
}
