//! Where the policy and its candidate are.

use super::PolicySource;
use super::check::Check;
use super::document::PolicyDocument;
use std::time::Duration;

/// Checks `policy`.
pub(super) fn check(check: &mut Check<'_>, written: &PolicyDocument) -> PolicySource {
    let path = check.path(&written.path);
    let candidate = written.candidate.as_ref().map(|written| {
        let candidate = check.path(written);
        if candidate == path || candidate.parent() == Some(&path) {
            let message =
                "this is part of the policy in force and no candidate; write a file elsewhere, or another directory";
            check.error(written.place(), message);
        }
        candidate
    });
    PolicySource {
        path,
        candidate,
        poll: check.duration(&written.poll, Duration::from_secs(1)..=Duration::from_hours(1)),
    }
}
