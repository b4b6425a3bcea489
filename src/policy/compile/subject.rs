//! Subjects of rules: from the document to conditions.

use super::Report;
use crate::document::LineColumn;
use crate::policy::document::{At, Items, SubjectDocument, Words};
use crate::policy::instant::Instant;
use crate::policy::pattern::{CapturePattern, Glob};
use crate::policy::subject::{Attribute, Condition, Subject};
use std::collections::BTreeSet;

/// The list that an item stands in.
#[derive(Clone, Copy, PartialEq, Eq)]
pub(super) enum List {
    /// `subjects` of a rule that allows something.
    Allowed,
    /// `subjects` of a rule that only denies.
    Denied,
    /// `unless`.
    Unless,
    /// `revoked`.
    Revoked,
    /// `accept` of a listener.
    Accepted,
}

impl List {
    const fn key(self) -> &'static str {
        match self {
            Self::Allowed | Self::Denied => "subjects",
            Self::Unless => "unless",
            Self::Revoked => "revoked",
            Self::Accepted => "accept",
        }
    }

    /// Whether the callers it names may do less for it.
    const fn narrows(self) -> bool {
        matches!(self, Self::Denied | Self::Revoked)
    }
}

/// The subjects, and the names that the patterns of all of them capture.
pub(super) fn compile(
    list: List,
    documents: &Items<SubjectDocument>,
    report: &mut Report<'_>,
) -> (Box<[Subject]>, BTreeSet<String>) {
    if documents.value().is_empty() {
        report.error(
            documents.place(),
            format!(
                "`{}: []` matches nobody; add an item, such as `{{ groups: [NAME] }}`",
                list.key()
            ),
        );
    }
    let mut captures: Option<BTreeSet<String>> = None;
    let mut subjects = Vec::with_capacity(documents.value().len());
    for document in &**documents.value() {
        let subject = compile_one(list, document, report);
        let mut named = BTreeSet::new();
        for condition in &subject.conditions {
            if let Condition::Pattern(_, pattern) = condition {
                named.extend(pattern.names().map(str::to_owned));
            }
        }
        captures = Some(match captures {
            None => named,
            Some(before) => before.intersection(&named).cloned().collect(),
        });
        subjects.push(subject);
    }
    (subjects.into(), captures.unwrap_or_default())
}

pub(super) fn compile_one(list: List, document: &At<SubjectDocument>, report: &mut Report<'_>) -> Subject {
    let place = document.place();
    let document = document.value();
    let mut conditions = Vec::new();
    let attributes = [
        (Attribute::Groups, &document.groups),
        (Attribute::Email, &document.email),
        (Attribute::ClientId, &document.client_id),
        (Attribute::Subject, &document.subject),
    ];
    for (attribute, words) in attributes {
        if let Some(words) = words {
            conditions.push(Condition::Attribute(attribute, globs(attribute.label(), words, report)));
        }
    }
    if let Some(issuer) = &document.issuer {
        if issuer.value().is_empty() || issuer.value().contains('*') {
            report.error(
                issuer.place(),
                "`issuer` is compared exactly; write the whole `iss` without `*`",
            );
        }
        conditions.push(Condition::Issuer(issuer.value().clone()));
    }
    claim_condition(document, place, &mut conditions, report);
    let claims = document.claim.is_some() || document.values.is_some() || document.pattern.is_some();
    let others = !conditions.is_empty() || claims;
    let dated = issued_before(list, document, &mut conditions, report);
    match &document.anyone {
        Some(anyone) if !anyone.value() => {
            report.error(
                anyone.place(),
                "`anyone: false` matches nobody; write `anyone: true` or leave it out",
            );
        }
        Some(anyone) if others => {
            report.error(
                anyone.place(),
                "`anyone: true` stands alone; remove it or the other conditions of the item",
            );
        }
        Some(anyone) if list == List::Revoked && !dated => {
            report.error(
                anyone.place(),
                "every caller would be refused for good; add `issued_before`, so that they can log in again",
            );
        }
        Some(_) => conditions.push(Condition::Anyone),
        None if !others && dated => {
            report.error(
                place,
                "`issued_before` does not say whose tokens; add another condition, or `anyone: true` for every caller",
            );
        }
        None if !others => {
            let key = list.key();
            report.error(
                place,
                format!("an item of `{key}` without conditions matches nobody; for every caller write `anyone: true`"),
            );
        }
        None => {}
    }
    Subject {
        conditions: conditions.into(),
    }
}

fn globs(key: &str, words: &Words, report: &mut Report<'_>) -> Box<[Glob]> {
    let words = report.filled(key, words, "matches nobody; name at least one or leave the key out");
    words.iter().map(|word| Glob::new(word.value())).collect()
}

/// Adds the condition on the time of issue. Returns whether one is written.
fn issued_before(
    list: List,
    document: &SubjectDocument,
    conditions: &mut Vec<Condition>,
    report: &mut Report<'_>,
) -> bool {
    let Some(written) = &document.issued_before else {
        return false;
    };
    if !list.narrows() {
        report.error(
            written.place(),
            "here `issued_before` would let old tokens do more than new ones; use it in `revoked`, or in the `subjects` of a \
             rule that only denies",
        );
    }
    match Instant::parse(written.value()) {
        Ok(time) => conditions.push(Condition::IssuedBefore(time)),
        Err(fault) => report.error(written.place(), fault),
    }
    true
}

fn claim_condition(
    document: &SubjectDocument,
    place: LineColumn,
    conditions: &mut Vec<Condition>,
    report: &mut Report<'_>,
) {
    let Some(claim) = &document.claim else {
        if document.values.is_some() || document.pattern.is_some() {
            report.error(place, "`values` and `pattern` need a `claim`; add it");
        }
        return;
    };
    let path = &claim.value().0;
    if path.is_empty() || path.iter().any(String::is_empty) {
        report.error(
            claim.place(),
            "`claim` has an empty part; write a path such as `realm_access.roles`, or a list of names",
        );
    }
    match (&document.values, &document.pattern) {
        (Some(values), None) => conditions.push(Condition::Claim(
            path.as_slice().into(),
            globs("values", values, report),
        )),
        (None, Some(pattern)) => match CapturePattern::new(pattern.value()) {
            Ok(compiled) => {
                if compiled.names().any(|name| name == "claims") {
                    report.error(
                        pattern.place(),
                        "a group cannot be called `claims`; choose another name",
                    );
                }
                conditions.push(Condition::Pattern(path.as_slice().into(), Box::new(compiled)));
            }
            Err(fault) => report.error(pattern.place(), format!("`{}` is no pattern: {fault}", pattern.value())),
        },
        (Some(_), Some(pattern)) => {
            report.error(
                pattern.place(),
                "an item has either `values` or `pattern`; make two items or remove one",
            );
        }
        (None, None) => {
            report.error(
                claim.place(),
                "`claim` needs `values` or a `pattern`; `values: [\"*\"]` for any value",
            );
        }
    }
}
