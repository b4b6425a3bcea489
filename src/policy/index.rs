//! Finds the rules that may concern a principal without looking at all of them.

use super::Rule;
use super::pattern::Glob;
use super::subject::{Attribute, Condition, Subject};
use crate::model::principal::Principal;
use ahash::AHashMap;

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
    exact: AHashMap<(Attribute, Box<str>), Vec<usize>>,
    // Rules with an item that asks for no exact value.
    rest: Vec<usize>,
}

impl Index {
    /// The index of these rules, by their position.
    pub(super) fn new(rules: &[Rule]) -> Self {
        let mut index = Self::default();
        for (position, rule) in rules.iter().enumerate() {
            match rule.subjects.iter().map(keys).collect::<Option<Vec<_>>>() {
                Some(keys) => {
                    for (attribute, value) in keys.into_iter().flatten() {
                        index.exact.entry((attribute, value.into())).or_default().push(position);
                    }
                }
                None => index.rest.push(position),
            }
        }
        index
    }

    /// The positions of the rules that may match, ascending: all that do match are among them.
    pub(super) fn candidates(&self, principal: &Principal) -> Vec<usize> {
        let mut found = self.rest.clone();
        for attribute in ATTRIBUTES {
            for value in attribute.values(principal) {
                found.extend(self.exact.get(&(attribute, Box::from(value))).into_iter().flatten());
            }
        }
        found.sort_unstable();
        found.dedup();
        found
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
