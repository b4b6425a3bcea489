//! What is made of the files of a policy, one file after the other.

use super::subject::{self, List};
use super::{Report, grant};
use crate::policy::document::{PolicyDocument, RuleDocument, Word, Words};
use crate::policy::pattern::Glob;
use crate::policy::role::{BUILT_IN, Roles};
use crate::policy::{Revocation, Rule, RuleName};
use ahash::AHashSet;
use std::borrow::Borrow;
use std::collections::BTreeMap;
use std::hash::{Hash, Hasher};
use std::sync::Arc;

const MAX_RULE_NAME: usize = 100;

/// What has been made of the files so far.
pub(super) struct Draft<'a> {
    domains: &'a [Box<str>],
    roles: Roles,
    /// Where each role is defined.
    defined: BTreeMap<String, String>,
    names: AHashSet<ByName>,
    /// Without those that wait.
    rules: Vec<Option<Rule>>,
    revoked: Vec<Revocation>,
    shared: AHashSet<Arc<[Glob]>>,
}

/// A rule that names a role which another file may define.
pub(super) struct Waiting {
    position: usize,
    name: RuleName,
    rule: RuleDocument,
}

/// A rule's name, found by its text.
struct ByName(RuleName);

impl Borrow<str> for ByName {
    fn borrow(&self) -> &str {
        self.0.name()
    }
}

impl PartialEq for ByName {
    fn eq(&self, other: &Self) -> bool {
        self.0.name() == other.0.name()
    }
}

impl Eq for ByName {}

impl Hash for ByName {
    fn hash<H: Hasher>(&self, state: &mut H) {
        self.0.name().hash(state);
    }
}

impl<'a> Draft<'a> {
    pub(super) fn new(domains: &'a [Box<str>]) -> Self {
        Self {
            domains,
            roles: Roles::default(),
            defined: BTreeMap::new(),
            names: AHashSet::new(),
            rules: Vec::new(),
            revoked: Vec::new(),
            shared: AHashSet::new(),
        }
    }

    /// Compiles a file. Returns the rules that wait for the roles of the other files.
    pub(super) fn add(&mut self, document: PolicyDocument, report: &mut Report<'_>) -> Vec<Waiting> {
        for (name, actions) in &document.roles {
            define_role(name, actions, &mut self.roles, &mut self.defined, report);
        }
        for item in &document.revoked {
            let name = format!("revoked[{}]", self.revoked.len());
            let name = RuleName::new(&name, &report.name, item.place().line());
            let subject = subject::compile_one(List::Revoked, item, report);
            self.revoked.push(Revocation { name, subject });
        }
        let mut waiting = Vec::new();
        for rule in document.rules {
            let name = rule_name(&rule.name, &mut self.names, report);
            let position = self.rules.len();
            self.rules.push(None);
            let rule = Waiting { position, name, rule };
            if rule.rule.roles().all(|role| self.roles.actions(role).is_some()) {
                self.complete(rule, report);
            } else {
                waiting.push(rule);
            }
        }
        waiting
    }

    /// Compiles a rule, once every file has been added.
    pub(super) fn complete(&mut self, waiting: Waiting, report: &mut Report<'_>) {
        let Waiting { position, name, rule } = waiting;
        let compiled = self.compile_rule(&rule, name, report);
        if let Some(place) = self.rules.get_mut(position) {
            *place = Some(compiled);
        }
    }

    /// The rules, in the order of the files, the revocations and the roles.
    pub(super) fn finish(self) -> (Box<[Rule]>, Vec<Revocation>, Roles) {
        (self.rules.into_iter().flatten().collect(), self.revoked, self.roles)
    }

    fn compile_rule(&mut self, document: &RuleDocument, name: RuleName, report: &mut Report<'_>) -> Rule {
        let list = if document.allow.is_some() {
            List::Allowed
        } else {
            List::Denied
        };
        let (subjects, captures) = subject::compile(list, &document.subjects, report);
        if document.allow.is_none() && document.deny.is_none() {
            report.error(
                document.name.place(),
                "the rule has neither `allow` nor `deny` and would do nothing; add one",
            );
        }
        let mut surroundings = grant::Surroundings {
            rule: &name,
            roles: &self.roles,
            captures: &captures,
            domains: self.domains,
            shared: &mut self.shared,
            report,
        };
        let allow = document.allow.as_ref().map(|list| surroundings.allow(list));
        let deny = document.deny.as_ref().map(|list| surroundings.deny(list));
        let unless = document.unless.as_ref().map(|list| {
            if document.deny.is_none() {
                report.error(
                    list.place(),
                    "`unless` is about `deny`, and the rule has none; remove it",
                );
            }
            subject::compile(List::Unless, list, report).0
        });
        Rule {
            name,
            subjects,
            unless: unless.unwrap_or_default(),
            allow: allow.unwrap_or_default(),
            deny: deny.unwrap_or_default(),
        }
    }
}

fn define_role(
    name: &str,
    actions: &Words,
    roles: &mut Roles,
    defined: &mut BTreeMap<String, String>,
    report: &mut Report<'_>,
) {
    if name.is_empty()
        || !name
            .bytes()
            .all(|byte| byte.is_ascii_alphanumeric() || matches!(byte, b'_' | b'-'))
    {
        report.error(
            actions.place(),
            format!("`{name}` is no name for a role; use letters, digits, `_` and `-`"),
        );
    }
    if BUILT_IN.iter().any(|(built_in, _)| *built_in == name) {
        report.error(
            actions.place(),
            format!("the role `{name}` is built in and cannot be redefined; choose another name"),
        );
        return;
    }
    let place = format!("{}:{}", report.file.display(), actions.place().line());
    if let Some(earlier) = defined.insert(name.to_owned(), place) {
        report.error(
            actions.place(),
            format!("the role `{name}` is already defined at {earlier}"),
        );
    }
    let actions = report.actions(actions);
    roles.define(name, actions);
}

fn rule_name(name: &Word, names: &mut AHashSet<ByName>, report: &mut Report<'_>) -> RuleName {
    let text = name.value();
    let plain = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'_' | b'-');
    if text.len() > MAX_RULE_NAME
        || !text.bytes().all(plain)
        || !text.bytes().next().is_some_and(|first| first.is_ascii_alphanumeric())
    {
        let message = format!(
            "`{text}` is no name for a rule; use letters, digits, `.`, `_` and `-`, at most {MAX_RULE_NAME}, the first a letter or digit"
        );
        report.error(name.place(), message);
    }
    let rule = RuleName::new(text, &report.name, name.place().line());
    if let Some(ByName(earlier)) = names.get(&**text) {
        let place = format!("{}:{}", earlier.file().display(), earlier.line());
        report.error(
            name.place(),
            format!("the rule `{text}` is already defined at {place}; names are unique in the whole policy"),
        );
    } else {
        names.insert(ByName(rule.clone()));
    }
    rule
}
