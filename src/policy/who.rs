//! Whom something is for, in words that can be compared: the conditions of one item of `subjects`.

use super::pattern::Glob;
use super::subject::{Condition, Subject};
use std::fmt;

/// How many alternatives the values of an item are taken apart into; with more, the item stays whole.
const MAX_ALTERNATIVES: usize = 1000;

/// One way to be among the callers of an item: every term holds.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) struct Who(Vec<Term>);

/// A condition, with the values of which one is asked for as they are written.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(in crate::policy) enum Term {
    Anyone,
    Attribute(&'static str, Vec<String>),
    Issuer(String),
    Claim(Vec<String>, Vec<String>),
    Pattern(Vec<String>, String),
    /// Seconds since the Unix epoch, and the time as it is shown.
    IssuedBefore(u64, String),
}

impl Who {
    /// Every way to be among the callers of an item: one for each value that is listed.
    pub(super) fn alternatives(subject: &Subject) -> Vec<Self> {
        let terms: Vec<Term> = subject.conditions.iter().map(Term::of).collect();
        let count = terms.iter().map(|term| term.values().len().max(1));
        if count.fold(1_usize, usize::saturating_mul) > MAX_ALTERNATIVES {
            return vec![Self::new(terms)];
        }
        let mut alternatives = vec![Vec::new()];
        for term in terms {
            let single = term.singly();
            let with = |before: &Vec<Term>| {
                let before = before.clone();
                single
                    .iter()
                    .map(move |term| [before.clone(), vec![term.clone()]].concat())
            };
            alternatives = alternatives.iter().flat_map(with).collect();
        }
        alternatives.into_iter().map(Self::new).collect()
    }

    /// The item as it is written, with all of its values.
    pub(super) fn whole(subject: &Subject) -> Self {
        Self::new(subject.conditions.iter().map(Term::of).collect())
    }

    fn new(mut terms: Vec<Term>) -> Self {
        terms.sort_unstable();
        Self(terms)
    }

    /// Whether it certainly includes whoever the other one includes.
    pub(super) fn includes(&self, other: &Self) -> bool {
        self.0
            .iter()
            .all(|term| other.0.iter().any(|given| term.follows_from(given)))
    }

    /// The terms.
    #[cfg(test)]
    pub(super) fn terms(&self) -> &[Term] {
        &self.0
    }
}

impl Term {
    fn of(condition: &Condition) -> Self {
        let words = |globs: &[Glob]| {
            let mut words: Vec<String> = globs.iter().map(ToString::to_string).collect();
            words.sort_unstable();
            words.dedup();
            words
        };
        match condition {
            Condition::Anyone => Self::Anyone,
            Condition::Attribute(attribute, globs) => Self::Attribute(attribute.label(), words(globs)),
            Condition::Issuer(issuer) => Self::Issuer((**issuer).into()),
            Condition::Claim(path, globs) => Self::Claim(path.to_vec(), words(globs)),
            Condition::Pattern(path, pattern) => Self::Pattern(path.to_vec(), pattern.text().to_owned()),
            Condition::IssuedBefore(time) => Self::IssuedBefore(time.seconds(), time.to_string()),
        }
    }

    fn values(&self) -> &[String] {
        match self {
            Self::Attribute(_, values) | Self::Claim(_, values) => values,
            Self::Anyone | Self::Issuer(_) | Self::Pattern(..) | Self::IssuedBefore(..) => &[],
        }
    }

    /// The same for each of its values by itself.
    fn singly(&self) -> Vec<Self> {
        match self {
            Self::Attribute(label, values) => values
                .iter()
                .map(|value| Self::Attribute(label, vec![value.clone()]))
                .collect(),
            Self::Claim(path, values) => values
                .iter()
                .map(|value| Self::Claim(path.clone(), vec![value.clone()]))
                .collect(),
            Self::Anyone | Self::Issuer(_) | Self::Pattern(..) | Self::IssuedBefore(..) => vec![self.clone()],
        }
    }

    fn follows_from(&self, given: &Self) -> bool {
        let wider = |values: &[String], given: &[String]| {
            let globs: Vec<Glob> = values.iter().map(|value| Glob::new(value)).collect();
            let covered = |value: &String| globs.iter().any(|glob| glob.covers(&Glob::new(value)));
            given.iter().all(covered)
        };
        match (self, given) {
            (Self::Anyone, _) => true,
            (Self::Attribute(label, values), Self::Attribute(other, given)) => label == other && wider(values, given),
            (Self::Claim(path, values), Self::Claim(other, given)) => path == other && wider(values, given),
            (Self::IssuedBefore(time, _), Self::IssuedBefore(given, _)) => given <= time,
            _ => self == given,
        }
    }
}

impl fmt::Display for Who {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let terms: Vec<String> = self.0.iter().map(ToString::to_string).collect();
        f.write_str(&terms.join(" and "))
    }
}

impl fmt::Display for Term {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Attribute(label, values) => write!(f, "{label}: {}", values.join(" or ")),
            Self::Issuer(issuer) => write!(f, "issuer: {issuer}"),
            Self::Claim(path, values) => write!(f, "claim {}: {}", path.join("."), values.join(" or ")),
            Self::Pattern(path, pattern) => write!(f, "claim {} like {pattern}", path.join(".")),
            Self::IssuedBefore(_, time) => write!(f, "issued before {time}"),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::policy::tests::policy;

    fn subject(conditions: &str) -> Subject {
        let rule = format!("{{ name: r, subjects: [{{ {conditions} }}], deny: [{{ actions: [view_data] }}] }}");
        let mut policy = policy(&format!("version: 1\nrules: [{rule}]\n"));
        let mut subjects = std::mem::take(&mut policy.rules.first_mut().unwrap().subjects).into_vec();
        subjects.remove(0)
    }

    #[test]
    fn an_item_is_taken_apart_into_one_alternative_for_each_value_unless_those_are_too_many() {
        let list = |count: usize| {
            (0..count)
                .map(|number| format!("v{number}"))
                .collect::<Vec<_>>()
                .join(", ")
        };
        let alternatives = |sizes: [usize; 3]| {
            let [groups, emails, values] = sizes.map(list);
            let text = format!("groups: [{groups}], email: [{emails}], claim: c, values: [{values}]");
            Who::alternatives(&subject(&text)).len()
        };
        assert_eq!(alternatives([1, 1, 1]), 1);
        assert_eq!(alternatives([2, 1, 3]), 6);
        assert_eq!(alternatives([10, 10, 10]), 1000);
        assert_eq!(alternatives([7, 11, 13]), 1);
        assert_eq!(alternatives([11, 11, 11]), 1);
    }

    #[test]
    fn an_item_includes_another_if_each_of_its_conditions_follows_from_one_of_the_other() {
        for (wide, narrow, expected) in [
            ("groups: [a]", "groups: [a]", true),
            ("groups: [\"a*\", b]", "groups: [ab, b]", true),
            ("groups: [a]", "groups: [a, b]", false),
            ("groups: [a]", "email: [a]", false),
            ("claim: c, values: [\"a*\", b]", "claim: c, values: [ab, b]", true),
            ("claim: c, values: [a]", "claim: c, values: [a, b]", false),
            ("claim: c, values: [\"a*\"]", "claim: d, values: [ab]", false),
            ("claim: c, values: [\"a*\"]", "claim: d, values: [\"a*\"]", false),
            ("claim: c, pattern: a", "claim: c, pattern: a", true),
            ("claim: c, pattern: a", "claim: c, pattern: b", false),
            ("claim: c, values: [\"*\"]", "claim: c, pattern: a", false),
            ("groups: [a]", "groups: [a], issuer: i", true),
            ("groups: [a], issuer: i", "groups: [a]", false),
            ("anyone: true", "issuer: i", true),
            ("issuer: i", "anyone: true", false),
        ] {
            let [wide_who, narrow_who] = [wide, narrow].map(|text| Who::whole(&subject(text)));
            assert_eq!(wide_who.includes(&narrow_who), expected, "{wide} of {narrow}");
        }
    }
}
