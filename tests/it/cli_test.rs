//! `test`: the sample policies with their decision tests, and what a failing one looks like.

use crate::cli::{run, text};
use std::fs;

const POLICY: &str = include_str!("../../policies/demo.yaml");

/// How many passed and failed, as the last line says.
fn counts(stdout: &str) -> (usize, usize) {
    let last = stdout.lines().last().unwrap();
    let numbers: Vec<usize> = last.split(' ').filter_map(|word| word.parse().ok()).collect();
    assert_eq!(last, format!("{} passed, {} failed", numbers[0], numbers[1]));
    (numbers[0], numbers[1])
}

#[test]
fn every_sample_policy_passes_its_own_tests_alone_and_as_a_directory() {
    let mut together = 0;
    for entry in fs::read_dir("policies").unwrap() {
        let path = entry.unwrap().path();
        let name = path.file_name().unwrap().to_str().unwrap();
        let stem = name.strip_suffix(".yaml");
        if stem.is_none_or(|stem| stem.rsplit_once('.').is_some_and(|(_, last)| last == "test")) {
            continue;
        }
        let ran = run(&["test", text(&path)]).exited(0);
        let (passed, failed) = counts(&ran.stdout);
        assert!(passed > 0 && failed == 0, "{name}: {}", ran.stdout);
        together += passed;
    }
    assert_eq!(counts(&run(&["test", "policies"]).exited(0).stdout), (together, 0));
    assert_eq!(
        counts(&run(&["test", "policies", "policies/demo.yaml"]).exited(0).stdout).1,
        0
    );
}

#[test]
fn a_directory_taken_together_is_one_policy_for_every_test_in_it() {
    let directory = tempfile::tempdir().unwrap();
    let rule = |team: &str| {
        format!(
            "version: 1\nrules:\n  - name: {team}\n    subjects: [{{groups: [{team}]}}]\n    allow: [{{projects: [{team}], domains: [development], actions: [view_data]}}]\n"
        )
    };
    let case = |team: &str| {
        format!(
            "  - {{name: {team}, principal: {{groups: [{team}]}}, project: {team}, domain: development, action: view_data, expect: allow}}\n"
        )
    };
    fs::write(directory.path().join("a.yaml"), rule("a")).unwrap();
    fs::write(directory.path().join("b.yaml"), rule("b")).unwrap();
    fs::write(
        directory.path().join("a.test.yaml"),
        format!("cases:\n{}{}", case("a"), case("b")),
    )
    .unwrap();
    let path = text(directory.path());
    assert_eq!(counts(&run(&["test", path, "--together"]).exited(0).stdout), (2, 0));
    // By itself, the policy of the first team does not know the second.
    let alone = run(&["test", path]).exited(3);
    assert_eq!(counts(&alone.stdout), (1, 1));
    assert!(
        alone.stdout.contains("a.test.yaml:3:12: error: case `b`"),
        "{}",
        alone.stdout
    );
}

#[test]
fn a_failing_case_is_told_with_its_place_and_what_was_decided() {
    let directory = tempfile::tempdir().unwrap();
    let file = directory.path().join("p.test.yaml");
    fs::write(directory.path().join("p.yaml"), POLICY).unwrap();
    fs::write(
        &file,
        "cases:
  - name: closed
    principal: {groups: [ml-team]}
    project: fraud
    domain: production
    action: view_data
    expect: allow
  - name: open
    principal: {groups: [ml-team]}
    project: ml
    domain: production
    action: view_data
    expect: deny
  - {name: right, principal: {}, project: ml, domain: production, action: view_data, expect: deny, reason: no_matching_rule}
",
    )
    .unwrap();
    let policy = directory.path().join("p.yaml");
    let ran = run(&["test", text(&policy)]).exited(3);
    assert_eq!(counts(&ran.stdout), (1, 2));
    let closed = format!("{}:2:11: error: case `closed`", file.display());
    let line = ran.stdout.lines().find(|line| line.starts_with(&closed)).unwrap();
    assert!(
        line.contains("no rule allows view_data in project fraud, domain production"),
        "{line}"
    );
    let open = format!("{}:8:11: error: case `open`", file.display());
    let line = ran.stdout.lines().find(|line| line.starts_with(&open)).unwrap();
    assert!(line.contains("rule ml-team") && line.contains("p.yaml:5"), "{line}");
    // A domain that the command is not told of does not exist.
    let ran = run(&["test", text(&policy), "--domains", "development,staging"]).exited(3);
    assert_eq!(counts(&ran.stdout), (2, 1), "{}", ran.stdout);
}

#[test]
fn without_a_test_file_nothing_is_proven_and_that_is_a_failure() {
    let directory = tempfile::tempdir().unwrap();
    let policy = directory.path().join("p.yaml");
    fs::write(&policy, POLICY).unwrap();
    for path in [policy.as_path(), directory.path()] {
        let ran = run(&["test", text(path)]).exited(3);
        assert!(ran.stdout.contains("no test file was found"), "{}", ran.stdout);
        assert!(ran.stdout.contains("NAME.test.yaml"), "{}", ran.stdout);
    }
    for path in ["none.yaml", "none"] {
        let ran = run(&["test", path]).exited(3);
        assert!(
            ran.stdout
                .starts_with(&format!("{path}: error: cannot be read: No such file")),
            "{}",
            ran.stdout
        );
    }
    fs::write(&policy, "version: 1\nrules: 7\n").unwrap();
    let ran = run(&["test", text(&policy)]).exited(3);
    assert!(ran.stdout.contains("p.yaml:2:8: error: "), "{}", ran.stdout);
}
