//! `test`: the decision tests that lie beside policies.

use super::{INVALID, OK, errors, listed, print};
use crate::catalog::Catalog;
use crate::files;
use crate::model::problem::Problem;
use crate::policy::{Policy, testfile};
use crate::reload::policy::PolicyInputs;
use std::path::{Path, PathBuf};

/// Which tests to run.
#[derive(Debug, clap::Args)]
pub struct Arguments {
    /// Policy files, each tested by `NAME.test.yaml` beside it, or directories. Every policy of a directory is tested by
    /// its own test file; with `--together`, the directory is one policy, as `serve` reads it.
    #[arg(required = true, value_name = "PATH")]
    paths: Vec<PathBuf>,
    /// Take each directory as one policy, tested by every test file in it.
    #[arg(long)]
    together: bool,
    /// The domains that exist.
    #[arg(long, value_delimiter = ',', default_value = "development,staging,production")]
    domains: Vec<String>,
}

/// What came of test files.
#[derive(Debug, Default)]
pub(super) struct Outcome {
    pub(super) passed: usize,
    pub(super) files: usize,
    pub(super) problems: Vec<Problem>,
}

impl Outcome {
    fn run(&mut self, policy: &Policy, catalog: &Catalog, file: &Path) {
        self.files += 1;
        match files::read(file) {
            Ok(text) => {
                let report = testfile::run(policy, file, &text, Some(catalog));
                self.passed += report.passed;
                self.problems.extend(report.failures);
            }
            Err(problem) => self.problems.push(problem),
        }
    }
}

/// Runs the tests and prints what failed.
pub(super) fn run(arguments: &Arguments) -> u8 {
    let domains: Vec<Box<str>> = arguments.domains.iter().map(|domain| domain.as_str().into()).collect();
    let mut outcome = Outcome::default();
    for path in &arguments.paths {
        for policy in policies(path, arguments.together) {
            run_one(&policy, &domains, &mut outcome);
        }
    }
    if outcome.files == 0 && errors(&outcome.problems) == 0 {
        outcome.problems.push(Problem::error(
            "tests",
            0,
            0,
            "no test file was found; a policy `NAME.yaml` is tested by `NAME.test.yaml` beside it",
        ));
    }
    print(&listed(&outcome.problems));
    let failed = errors(&outcome.problems);
    print(&format!("{} passed, {failed} failed\n", outcome.passed));
    if failed > 0 { INVALID } else { OK }
}

fn run_one(path: &Path, domains: &[Box<str>], outcome: &mut Outcome) {
    let sources = PolicyInputs::alone(path, domains.to_vec());
    match sources.load() {
        Ok((_, (policy, catalog, warnings))) => {
            outcome.problems.extend(warnings);
            let beside = run_beside(path, &policy, &catalog);
            outcome.passed += beside.passed;
            outcome.files += beside.files;
            outcome.problems.extend(beside.problems);
        }
        Err(problems) => outcome.problems.extend(problems),
    }
}

/// Runs the test files of a policy: `NAME.test.yaml` beside a file, every `*.test.yaml` in a directory.
pub(super) fn run_beside(path: &Path, policy: &Policy, catalog: &Catalog) -> Outcome {
    let mut outcome = Outcome::default();
    for file in test_files(path) {
        outcome.run(policy, catalog, &file);
    }
    outcome
}

fn test_files(path: &Path) -> Vec<PathBuf> {
    if path.is_dir() {
        return entries(path, |name| name.ends_with(".test.yaml"));
    }
    let beside = path.with_extension("test.yaml");
    if beside.is_file() { vec![beside] } else { Vec::new() }
}

fn policies(path: &Path, together: bool) -> Vec<PathBuf> {
    if together || !path.is_dir() {
        return vec![path.to_owned()];
    }
    entries(path, is_policy)
}

fn is_policy(name: &str) -> bool {
    let stem = name.strip_suffix(".yaml");
    stem.is_some_and(|stem| stem.strip_suffix(".test").is_none())
}

fn entries(directory: &Path, wanted: impl Fn(&str) -> bool) -> Vec<PathBuf> {
    let found = std::fs::read_dir(directory)
        .into_iter()
        .flatten()
        .filter_map(Result::ok);
    let is_wanted = |path: &PathBuf| {
        let name = path
            .file_name()
            .map(|name| name.to_string_lossy().into_owned())
            .unwrap_or_default();
        !name.starts_with('.') && wanted(&name)
    };
    let mut found: Vec<PathBuf> = found.map(|entry| entry.path()).filter(is_wanted).collect();
    found.sort();
    found
}
