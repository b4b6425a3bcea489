//! How a decision differs from what a case expects.

use super::{CaseDocument, Expected};
use crate::policy::decide::{Decision, Permit};
use std::collections::BTreeMap;

/// Whether exactly those settings are written that the case expects, if it says which.
fn sets(case: &CaseDocument, permit: &Permit) -> bool {
    let written = permit.written().iter();
    let written: BTreeMap<&str, &str> = written.map(|one| (one.setting.label(), &*one.value)).collect();
    case.sets
        .as_ref()
        .is_none_or(|sets| sets.iter().map(|(label, value)| (&**label, &**value)).eq(written))
}

/// How a decision differs from what was expected, if it does.
pub(super) fn difference(case: &CaseDocument, expect: Expected, decision: Decision) -> Option<String> {
    let (rules, reason) = match (expect, decision.into_permit()) {
        (Expected::Allow, Ok(permit)) if permit.is_filtered() => {
            return Some(
                "expected allow, but the answer shows only names that rules allow; write `expect: filtered`".to_owned(),
            );
        }
        (Expected::Filtered, Ok(permit)) if !permit.is_filtered() => {
            return Some("expected filtered, but the whole answer is allowed; write `expect: allow`".to_owned());
        }
        (Expected::Allow | Expected::Filtered, Ok(permit)) if !sets(case, &permit) => {
            let written = permit.written().iter();
            let written: Vec<String> = written
                .map(|one| format!("{}: {}", one.setting.label(), one.value))
                .collect();
            return Some(format!(
                "expected other `sets`, but it is given {{ {} }}",
                written.join(", ")
            ));
        }
        (Expected::Allow | Expected::Filtered, Ok(permit)) => (permit.rules().to_vec(), None),
        (Expected::Deny, Err(refusal)) => (refusal.rule.into_iter().collect(), Some(refusal.denial.reason.label())),
        (Expected::Allow | Expected::Filtered, Err(refusal)) => {
            let rule = refusal.rule.map(|rule| format!(" by rule {rule}")).unwrap_or_default();
            let denial = refusal.denial;
            let wanted = if expect == Expected::Filtered {
                "filtered"
            } else {
                "allow"
            };
            return Some(format!(
                "expected {wanted}, but it is refused{rule}: {}: {}",
                denial.reason.label(),
                denial.message
            ));
        }
        (Expected::Deny, Ok(permit)) => {
            let rules: Vec<String> = permit.rules().iter().map(ToString::to_string).collect();
            return Some(format!(
                "expected deny, but it is allowed by rule {}",
                rules.join(" and ")
            ));
        }
    };
    if let Some(wanted) = &case.reason
        && reason != Some(wanted.value())
    {
        return Some(format!(
            "expected reason `{}`, but it is `{}`",
            wanted.value(),
            reason.unwrap_or("none")
        ));
    }
    if let Some(wanted) = &case.rule
        && !rules.iter().any(|rule| rule.name() == wanted.value())
    {
        let names: Vec<String> = rules.iter().map(ToString::to_string).collect();
        let names = if names.is_empty() {
            "none".to_owned()
        } else {
            names.join(" and ")
        };
        return Some(format!("expected rule `{}`, but it is {names}", wanted.value()));
    }
    None
}
