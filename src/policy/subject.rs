//! Whom a rule is for: conditions on a principal, and what its patterns capture.

use super::instant::Instant;
use super::pattern::{CapturePattern, Captures, Glob};
use crate::credential::rules::seconds;
use crate::model::principal::Principal;
use serde_json::Value;
use std::borrow::Cow;
use std::fmt;

/// Some callers: those that one of the items describes. None, without items.
#[derive(Debug)]
pub struct Subjects(pub(in crate::policy) Box<[Subject]>);

impl Subjects {
    /// Whether the principal is one of them.
    #[must_use]
    pub fn include(&self, principal: &Principal) -> bool {
        self.0.iter().any(|subject| subject.includes(principal))
    }
}

/// One item of `subjects` or `unless`: every condition must hold. One without conditions matches nobody.
#[derive(Debug)]
pub(in crate::policy) struct Subject {
    pub conditions: Box<[Condition]>,
}

/// A condition on a principal.
#[derive(Debug)]
pub(in crate::policy) enum Condition {
    Anyone,
    Attribute(Attribute, Box<[Glob]>),
    Issuer(Box<str>),
    Claim(Box<[String]>, Box<[Glob]>),
    Pattern(Box<[String]>, Box<CapturePattern>),
    IssuedBefore(Instant),
}

/// What the claim mapping of an issuer finds.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub(in crate::policy) enum Attribute {
    ClientId,
    Subject,
    Email,
    Groups,
}

impl Attribute {
    pub(super) const fn label(self) -> &'static str {
        match self {
            Self::ClientId => "client_id",
            Self::Subject => "subject",
            Self::Email => "email",
            Self::Groups => "groups",
        }
    }

    /// The principal's values: several for groups, else at most one.
    pub(super) fn values(self, principal: &Principal) -> impl Iterator<Item = &str> {
        let (single, several) = match self {
            Self::ClientId => (principal.client_id.as_ref(), None),
            Self::Subject => (Some(&principal.subject), None),
            Self::Email => (principal.email.as_ref(), None),
            Self::Groups => (None, Some(&principal.groups)),
        };
        single
            .into_iter()
            .chain(several.into_iter().flatten())
            .map(|value| &**value)
    }
}

impl Subject {
    /// Whether every condition holds, without what a pattern captures.
    fn includes(&self, principal: &Principal) -> bool {
        !self.conditions.is_empty() && self.conditions.iter().all(|condition| condition.holds(principal))
    }

    /// What the item's pattern captures from the principal, once for each value that matches; one empty set without a
    /// pattern. If the item does not match, the condition that fails.
    pub(super) fn matches(&self, principal: &Principal) -> Result<Vec<Captures>, &Condition> {
        let mut captured = Vec::new();
        if !self.conditions.is_empty() {
            captured.push(Captures::new());
        }
        for condition in &self.conditions {
            if let Condition::Pattern(path, pattern) = condition {
                captured = claim_values(principal, path)
                    .iter()
                    .filter_map(|value| pattern.captures(value))
                    .collect();
                if captured.is_empty() {
                    return Err(condition);
                }
            } else if !condition.holds(principal) {
                return Err(condition);
            }
        }
        Ok(captured)
    }

    /// The time before which the tokens it is about were issued, if it says one.
    pub(super) fn issued_before(&self) -> Option<Instant> {
        self.conditions.iter().find_map(|condition| match condition {
            Condition::IssuedBefore(time) => Some(*time),
            Condition::Anyone
            | Condition::Attribute(..)
            | Condition::Issuer(_)
            | Condition::Claim(..)
            | Condition::Pattern(..) => None,
        })
    }
}

impl Condition {
    fn holds(&self, principal: &Principal) -> bool {
        let any = |globs: &[Glob], value: &str| globs.iter().any(|glob| glob.matches(value));
        match self {
            Self::Anyone => true,
            Self::Attribute(attribute, globs) => attribute.values(principal).any(|value| any(globs, value)),
            Self::Issuer(issuer) => **issuer == *principal.issuer,
            Self::Claim(path, globs) => claim_values(principal, path).iter().any(|value| any(globs, value)),
            Self::Pattern(path, pattern) => claim_values(principal, path)
                .iter()
                .any(|value| pattern.captures(value).is_some()),
            // Whoever does not say when is taken for old: the condition serves to refuse only.
            Self::IssuedBefore(time) => issued_at(principal).is_none_or(|issued| issued < time.seconds()),
        }
    }
}

/// Says why a principal does not meet the condition.
impl fmt::Display for Condition {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Anyone => f.write_str("anyone"),
            Self::Attribute(attribute, _) => write!(f, "no value of `{}` is among those listed", attribute.label()),
            Self::Issuer(issuer) => write!(f, "the issuer is not `{issuer}`"),
            Self::Claim(path, _) => write!(f, "no value of the claim `{}` is among those listed", path.join(".")),
            Self::Pattern(path, _) => write!(f, "no value of the claim `{}` matches the pattern", path.join(".")),
            Self::IssuedBefore(time) => write!(f, "the token was issued at or after {time}"),
        }
    }
}

/// When the principal's token was issued, in whole seconds since the Unix epoch, if it says so.
pub(super) fn issued_at(principal: &Principal) -> Option<u64> {
    principal.claims.get("iat").and_then(seconds)
}

/// The values of a claim as texts: a text, whole number or truth value, or each such value of a list. Anything else
/// has none: an object or a fraction is never compared by how it happens to be spelled.
pub(in crate::policy) fn claim_values<'a>(principal: &'a Principal, path: &[String]) -> Vec<Cow<'a, str>> {
    let Some((first, rest)) = path.split_first() else {
        return Vec::new();
    };
    let mut found = principal.claims.get(first);
    for name in rest {
        found = found.and_then(|value| value.as_object()?.get(name));
    }
    match found {
        Some(Value::Array(values)) => values.iter().filter_map(scalar).collect(),
        Some(value) => scalar(value).into_iter().collect(),
        None => Vec::new(),
    }
}

fn scalar(value: &Value) -> Option<Cow<'_, str>> {
    match value {
        Value::String(text) => Some(Cow::Borrowed(text)),
        Value::Bool(truth) => Some(Cow::Owned(truth.to_string())),
        Value::Number(number) if !number.is_f64() => Some(Cow::Owned(number.to_string())),
        Value::Null | Value::Number(_) | Value::Array(_) | Value::Object(_) => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::policy::tests::caller;
    use std::sync::Arc;

    #[test]
    fn a_caller_is_included_by_an_item_of_which_every_condition_holds() {
        let group = |name| Condition::Attribute(Attribute::Groups, [Glob::new(name)].into());
        let client = || Condition::Attribute(Attribute::ClientId, [Glob::new("ci")].into());
        let principal = Principal {
            client_id: Some(Arc::from("ci")),
            ..caller(&["a"])
        };
        for (items, included) in [
            (vec![], false),
            (vec![vec![]], false),
            (vec![vec![Condition::Anyone]], true),
            (vec![vec![group("a")]], true),
            (vec![vec![group("b")]], false),
            (vec![vec![group("a"), client()]], true),
            (vec![vec![group("b"), client()]], false),
            (vec![vec![client(), group("b")]], false),
            (vec![vec![group("b")], vec![client()]], true),
            (vec![vec![group("b")], vec![]], false),
        ] {
            let items = items.into_iter().map(|conditions| Subject {
                conditions: conditions.into(),
            });
            let subjects = Subjects(items.collect());
            assert_eq!(subjects.include(&principal), included, "{subjects:?}");
        }
    }
}
