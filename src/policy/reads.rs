//! What of its callers a policy looks at: as much as is needed to judge again what they did.

use super::grant::Plan;
use super::pattern::Variable;
use super::subject::{Attribute, Condition, Subject, claim_values};
use super::{Policy, Revocation, Rule};
use crate::model::principal::Principal;
use std::collections::BTreeSet;

/// What rules and revocations look at beside issuer, subject, e-mail address and client id.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub struct Reads {
    /// Whether the groups.
    pub groups: bool,
    /// The claims, each by its path.
    pub claims: BTreeSet<Vec<String>>,
}

impl Reads {
    pub(super) fn of(rules: &[Rule], revoked: &[Revocation]) -> Self {
        let mut reads = Self::default();
        for rule in rules {
            for subject in rule.subjects.iter().chain(&rule.unless) {
                reads.add(subject);
            }
            for plan in &rule.allow {
                if let Plan::Variable(template) = plan {
                    let paths = template.variables().into_iter().filter_map(|variable| match variable {
                        Variable::Claim(path) => Some(path.clone()),
                        Variable::Capture(_) => None,
                    });
                    reads.claims.extend(paths);
                }
            }
        }
        for revocation in revoked {
            reads.add(&revocation.subject);
        }
        reads
    }

    fn add(&mut self, subject: &Subject) {
        for condition in &subject.conditions {
            match condition {
                Condition::Attribute(attribute, _) => self.groups |= *attribute == Attribute::Groups,
                Condition::Claim(path, _) | Condition::Pattern(path, _) => _ = self.claims.insert(path.to_vec()),
                Condition::IssuedBefore(_) => _ = self.claims.insert(vec!["iat".to_owned()]),
                Condition::Anyone | Condition::Issuer(_) => {}
            }
        }
    }

    /// What both look at.
    #[must_use]
    pub fn and(mut self, other: &Self) -> Self {
        self.groups |= other.groups;
        self.claims.extend(other.claims.iter().cloned());
        self
    }

    /// The values of the claims as they are compared; none where the caller has no such claim.
    pub fn values_in(&self, principal: &Principal) -> impl Iterator<Item = (&[String], Vec<String>)> {
        self.claims.iter().map(|path| {
            let values = claim_values(principal, path);
            (path.as_slice(), values.into_iter().map(Into::into).collect())
        })
    }
}

impl Policy {
    /// What of its callers it looks at.
    #[must_use]
    pub fn reads(&self) -> &Reads {
        &self.reads
    }
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::tests::{caller, policy};
    use serde_json::json;
    use std::sync::Arc;

    #[test]
    fn everything_that_rules_and_revocations_look_at_is_told() {
        let reads = policy(
            r#"
version: 1
rules:
  - name: a
    subjects: [{ claim: a.b, values: [x] }, { email: [e] }]
    allow: [{ projects: ["${claims.c}"], domains: ["*"], role: viewer }]
  - name: b
    subjects: [{ claim: d, pattern: "(?<p>x)" }]
    allow: [{ projects: ["${p}"], domains: ["*"], role: viewer, tasks: ["${claims.e}"], launch_plans: [] }]
  - name: c
    subjects: [{ anyone: true }]
    deny: [{ actions: [view_data] }]
    unless: [{ claim: f, values: [x] }]
revoked: [{ claim: jti, values: [x], issued_before: 2026-11-20T08:00:00Z }]
"#,
        )
        .reads()
        .clone();
        let paths: Vec<String> = reads.claims.iter().map(|path| path.join(".")).collect();
        assert_eq!(paths, ["a.b", "c", "d", "e", "f", "iat", "jti"]);
        assert!(!reads.groups);
        let groups = policy("version: 1\nrevoked: [{ groups: [x] }]\n").reads().clone();
        assert!(groups.groups && groups.claims.is_empty());
        let both = reads.and(&groups);
        assert_eq!((both.groups, both.claims.len()), (true, 7));
    }

    #[test]
    fn the_values_of_the_claims_that_it_looks_at_are_told_as_they_are_compared() {
        let reads = Reads {
            groups: false,
            claims: [&["a", "b"][..], &["c"], &["d"]]
                .map(|path| path.iter().map(ToString::to_string).collect())
                .into(),
        };
        let claims = json!({"a": {"b": ["x", 7]}, "c": true, "e": "y"});
        let principal = Principal {
            claims: Arc::new(claims.as_object().unwrap().clone()),
            ..caller(&["z"])
        };
        let values = reads.values_in(&principal);
        let values: Vec<_> = values
            .map(|(path, values)| format!("{}: {}", path.join("."), values.join(" ")))
            .collect();
        assert_eq!(values, ["a.b: x 7", "c: true", "d: "]);
    }
}
