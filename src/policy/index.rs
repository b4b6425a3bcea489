//! Finds the rules that may concern a principal without looking at all of them.

use super::Rule;
use super::pattern::Glob;
use super::subject::{Attribute, Condition, Subject};
use crate::model::principal::Principal;
use ahash::RandomState;

// From the one that selects most to the one that selects least.
const ATTRIBUTES: [Attribute; 4] = [
    Attribute::ClientId,
    Attribute::Subject,
    Attribute::Email,
    Attribute::Groups,
];

/// Rules by the exact values they ask for.
#[derive(Debug, Default)]
pub(in crate::policy) struct Index {
    state: RandomState,
    // The hash of an attribute with a value, and the position of a rule that asks for it; in order. Two values with one
    // hash make one rule more be looked at, and nothing else: it is kept instead of the text.
    exact: Box<[(u64, usize)]>,
    // Rules with an item that asks for no exact value.
    rest: Box<[usize]>,
}

impl Index {
    /// The index of these rules, by their position.
    pub(super) fn new(rules: &[Rule]) -> Self {
        let state = RandomState::new();
        let (mut exact, mut rest) = (Vec::with_capacity(rules.len()), Vec::new());
        for (position, rule) in rules.iter().enumerate() {
            match rule.subjects.iter().map(keys).collect::<Option<Vec<_>>>() {
                Some(keys) => exact.extend(keys.iter().flatten().map(|key| (state.hash_one(key), position))),
                None => rest.push(position),
            }
        }
        exact.sort_unstable();
        exact.dedup();
        Self {
            state,
            exact: exact.into(),
            rest: rest.into(),
        }
    }

    /// The positions of the rules that may match, ascending: all that do match are among them.
    pub(super) fn candidates(&self, principal: &Principal) -> Vec<usize> {
        let mut found = self.rest.to_vec();
        for attribute in ATTRIBUTES {
            for value in attribute.values(principal) {
                found.extend(self.asking_for((attribute, value)));
            }
        }
        found.sort_unstable();
        found.dedup();
        found
    }

    fn asking_for(&self, key: (Attribute, &str)) -> impl Iterator<Item = usize> {
        let hash = self.state.hash_one(key);
        let first = self.exact.partition_point(|(other, _)| *other < hash);
        let from = self.exact.get(first..).unwrap_or_default().iter();
        from.take_while(move |(other, _)| *other == hash)
            .map(|(_, position)| *position)
    }
}

/// The values of which a principal must have one to match the item, or `None` if no condition says so exactly.
fn keys(subject: &Subject) -> Option<Vec<(Attribute, &str)>> {
    ATTRIBUTES.iter().find_map(|wanted| {
        subject.conditions.iter().find_map(|condition| {
            let Condition::Attribute(attribute, globs) = condition else {
                return None;
            };
            let keys = globs.iter().map(|glob| exact(glob).map(|value| (*attribute, value)));
            if attribute == wanted { keys.collect() } else { None }
        })
    })
}

fn exact(glob: &Glob) -> Option<&str> {
    match glob {
        Glob::Exact(value) => Some(value),
        Glob::Any | Glob::Parts(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::{caller, policy};
    use std::sync::Arc;

    #[test]
    fn rules_that_ask_for_other_exact_values_are_not_looked_at() {
        let policy = policy(
            r#"
version: 1
rules:
  - { name: r0, subjects: [{ groups: [a, b] }], deny: [{ actions: [view_data] }] }
  - { name: r1, subjects: [{ groups: [a], client_id: [ci] }], deny: [{ actions: [view_data] }] }
  - { name: r2, subjects: [{ groups: ["a*"] }], deny: [{ actions: [view_data] }] }
  - { name: r3, subjects: [{ groups: [b] }, { groups: ["*"] }], deny: [{ actions: [view_data] }] }
  - { name: r4, subjects: [{ groups: ["*"], email: [e] }], deny: [{ actions: [view_data] }] }
  - { name: r5, subjects: [{ groups: [c, "c*"] }], deny: [{ actions: [view_data] }] }
"#,
        );
        let principal = |groups: &[&str], client: Option<&str>, email: Option<&str>| Principal {
            client_id: client.map(Arc::from),
            email: email.map(Arc::from),
            ..caller(groups)
        };
        for (principal, expected) in [
            (principal(&[], None, None), &[2, 3, 5][..]),
            (principal(&["a"], None, None), &[0, 2, 3, 5]),
            (principal(&["b", "a"], None, None), &[0, 2, 3, 5]),
            (principal(&[], Some("ci"), None), &[1, 2, 3, 5]),
            (principal(&["a*"], None, Some("e")), &[2, 3, 4, 5]),
        ] {
            assert_eq!(policy.index.candidates(&principal), expected, "{principal:?}");
        }
    }
}
