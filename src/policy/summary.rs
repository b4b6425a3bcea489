//! What a policy gives one principal, in short: which rules are for it, and what each allows and denies.

use super::grant::Grant;
use super::pattern::Glob;
use super::trace::{Step, Trace};
use super::{Policy, RuleName};
use crate::model::action::Action;
use crate::model::principal::Principal;
use ahash::AHashMap;
use serde::Serialize;
use std::collections::BTreeMap;

/// How many entries of a rule are listed: one with names from claims may become thousands.
const MAX_ENTRIES: usize = 100;

/// What a policy says about a principal.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Summary {
    /// The item of `revoked` that is about it: it may do nothing.
    pub revoked: Option<RuleName>,
    /// What would help, if it is revoked.
    pub advice: Option<String>,
    /// The rules that are for it, in the order of the files; none if it is revoked.
    pub rules: Vec<RuleSummary>,
}

/// A rule that is for a principal.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct RuleSummary {
    /// Its name and place.
    #[serde(flatten)]
    pub rule: RuleName,
    /// What it allows, with this principal's names from claims put in; at most 100 entries.
    pub allows: Vec<EntrySummary>,
    /// What it denies; at most 100 entries.
    pub denies: Vec<EntrySummary>,
    /// How many entries more there are.
    pub omitted: usize,
    /// What else to know: entries left out, denies that do not apply.
    pub notes: Vec<String>,
}

/// An entry of a rule: all of it must fit a call.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct EntrySummary {
    /// The projects, with `*`.
    pub projects: Vec<String>,
    /// The domains, with `*`.
    pub domains: Vec<String>,
    /// A role with exactly these actions, if there is one.
    pub role: Option<String>,
    /// The actions.
    pub actions: Vec<&'static str>,
    /// The tasks it is restricted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<Vec<String>>,
    /// The workflows it is restricted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflows: Option<Vec<String>>,
    /// The launch plans it is restricted to.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_plans: Option<Vec<String>>,
    /// The values of settings that may be asked for, by the key of the guard.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub guards: BTreeMap<&'static str, Vec<String>>,
    /// Whether executions may run in the name of others.
    #[serde(skip_serializing_if = "std::ops::Not::not")]
    pub impersonate: bool,
    /// The settings that are written into executions.
    #[serde(skip_serializing_if = "BTreeMap::is_empty")]
    pub set: BTreeMap<&'static str, String>,
    /// The prefixes of the object store below which links to objects are given.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub download_prefixes: Vec<String>,
}

/// Keeps what the rights themselves do not tell. Rules are found by the index, as when serving.
#[derive(Default)]
struct Notes {
    advice: Option<String>,
    of_rules: Vec<(RuleName, String)>,
}

impl Trace for Notes {
    const EXPLAINS: bool = false;

    fn record(&mut self, step: impl FnOnce() -> Step) {
        match step() {
            Step::DenyExempted { rule } => {
                let note = "denies nothing here: `unless` names this caller";
                self.of_rules.push((rule, note.to_owned()));
            }
            Step::ExpansionDropped { rule, why } => {
                self.of_rules
                    .push((rule, format!("has an entry of `allow` that is left out: {why}")));
            }
            Step::Advice { text } => self.advice = Some(text),
            Step::Revoked { .. }
            | Step::RuleSkipped { .. }
            | Step::RuleApplies { .. }
            | Step::GrantPassed { .. }
            | Step::GrantAllows { .. }
            | Step::DenyHits { .. }
            | Step::Written { .. }
            | Step::Decided { .. } => {}
        }
    }
}

impl Policy {
    /// What this policy says about a principal: by the code that serves.
    #[must_use]
    pub fn summary(&self, principal: &Principal) -> Summary {
        let mut notes = Notes::default();
        let rights = self.resolve(principal, &mut notes);
        let empty = |rule: &RuleName| RuleSummary {
            rule: rule.clone(),
            allows: Vec::new(),
            denies: Vec::new(),
            omitted: 0,
            notes: Vec::new(),
        };
        let mut rules: Vec<RuleSummary> = rights.rules.iter().map(empty).collect();
        let places: AHashMap<&RuleName, usize> = rights.rules.iter().zip(0..).collect();
        let mut at = |rule: &RuleName, change: &mut dyn FnMut(&mut RuleSummary)| {
            if let Some(summary) = places.get(rule).and_then(|place| rules.get_mut(*place)) {
                change(summary);
            }
        };
        for grant in &rights.grants {
            at(&grant.rule, &mut |rule| {
                self.list(grant, &mut rule.allows, &mut rule.omitted);
            });
        }
        for deny in &rights.denies {
            at(&deny.rule, &mut |rule| {
                self.list(deny, &mut rule.denies, &mut rule.omitted);
            });
        }
        for (rule, note) in &notes.of_rules {
            at(rule, &mut |rule| {
                if !rule.notes.contains(note) {
                    rule.notes.push(note.clone());
                }
            });
        }
        Summary {
            revoked: rights.revoked,
            advice: notes.advice,
            rules,
        }
    }

    fn list(&self, grant: &Grant, entries: &mut Vec<EntrySummary>, omitted: &mut usize) {
        if entries.len() < MAX_ENTRIES {
            entries.push(self.entry(grant));
        } else {
            *omitted += 1;
        }
    }

    fn entry(&self, grant: &Grant) -> EntrySummary {
        let texts = |globs: &[Glob]| globs.iter().map(ToString::to_string).collect();
        let names = |list: &Option<Box<[Box<str>]>>| {
            list.as_ref()
                .map(|names| names.iter().map(|name| (**name).into()).collect())
        };
        let guards = &grant.guards;
        EntrySummary {
            projects: texts(&grant.projects),
            domains: texts(&grant.domains),
            role: self.roles.with_actions(grant.actions).map(str::to_owned),
            actions: grant.actions.iter().map(Action::label).collect(),
            tasks: names(&grant.lists.tasks),
            workflows: names(&grant.lists.workflows),
            launch_plans: names(&grant.lists.launch_plans),
            guards: guards
                .lists
                .iter()
                .map(|(key, list)| (*key, list.iter().map(ToString::to_string).collect()))
                .collect(),
            download_prefixes: guards.download_prefixes.iter().map(ToString::to_string).collect(),
            impersonate: guards.impersonate,
            set: guards
                .set
                .iter()
                .map(|(setting, value)| (setting.label(), value.to_string()))
                .collect(),
        }
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

    use super::*;
    use crate::policy::tests::{caller, policy};
    use serde_json::json;
    use std::sync::Arc;

    const POLICY: &str = r#"
version: 1
roles: { publisher: [view_inventory, upload_data] }
rules:
  - name: team
    subjects: [{ groups: [team] }]
    allow:
      - { projects: ["ml-*", data], domains: [staging], role: contributor }
      - { projects: [shop], domains: ["*"], actions: [upload_data, view_inventory], tasks: [], launch_plans: [nightly] }
      - { projects: [shop], domains: ["*"], actions: [view_data] }
  - name: owners
    subjects: [{ claim: owned, values: ["*"] }]
    allow: [{ projects: ["${claims.owned}"], domains: ["*"], role: viewer }]
  - name: freeze
    subjects: [{ anyone: true }]
    deny: [{ domains: [production], actions: [register_inventory] }]
  - name: spared
    subjects: [{ groups: [team] }]
    deny: [{ actions: [view_data] }]
    unless: [{ groups: [team] }]
  - name: others
    subjects: [{ groups: [others] }]
    deny: [{ actions: ["*"] }]
"#;

    fn owner(projects: &[String]) -> Principal {
        let claims = json!({"owned": projects});
        Principal {
            claims: Arc::new(claims.as_object().cloned().unwrap()),
            ..caller(&["team"])
        }
    }

    #[test]
    fn each_rule_for_the_caller_is_told_with_what_it_allows_and_denies() {
        let summary = policy(POLICY).summary(&owner(&["mine".to_owned(), "*".to_owned()]));
        assert_eq!((&summary.revoked, &summary.advice), (&None, &None));
        let told: Vec<_> = summary
            .rules
            .iter()
            .map(|rule| serde_json::to_value(rule).unwrap())
            .collect();
        let nothing: [&str; 0] = [];
        let place = |name: &str, line: u64| (json!(name), json!(line));
        let places: Vec<_> = told
            .iter()
            .map(|rule| (rule["name"].clone(), rule["line"].clone()))
            .collect();
        assert_eq!(
            places,
            [
                place("team", 5),
                place("owners", 11),
                place("freeze", 14),
                place("spared", 17)
            ]
        );
        let team = &told[0]["allows"];
        assert_eq!(team[0]["projects"], json!(["ml-*", "data"]));
        assert_eq!(
            (&team[0]["role"], &team[0]["domains"]),
            (&json!("contributor"), &json!(["staging"]))
        );
        assert_eq!(team[0].get("tasks"), None);
        assert_eq!(
            (&team[1]["role"], &team[1]["tasks"]),
            (&json!("publisher"), &json!(nothing))
        );
        assert_eq!(team[1]["launch_plans"], json!(["nightly"]));
        assert_eq!(
            (&team[2]["role"], &team[2]["actions"]),
            (&json!(null), &json!(["view_data"]))
        );
        // The name from the claim is put in, and what is no plain name is left out.
        assert_eq!(told[1]["allows"][0]["projects"], json!(["mine"]));
        assert_eq!(told[1]["allows"].as_array().unwrap().len(), 1);
        let note = "has an entry of `allow` that is left out: a value put into it is no plain name";
        assert_eq!(told[1]["notes"], json!([note]));
        assert_eq!(told[2]["denies"][0]["projects"], json!(["*"]));
        assert_eq!((&told[2]["allows"], &told[2]["omitted"]), (&json!(nothing), &json!(0)));
        assert_eq!(
            (&told[3]["denies"], &told[3]["notes"]),
            (
                &json!(nothing),
                &json!(["denies nothing here: `unless` names this caller"])
            )
        );
    }

    #[test]
    fn very_many_entries_are_counted_and_not_listed() {
        let projects: Vec<String> = (0..5000).map(|number| format!("p{number}")).collect();
        let summary = policy(POLICY).summary(&owner(&projects));
        assert_eq!((summary.rules[1].allows.len(), summary.rules[1].omitted), (100, 4900));
    }

    #[test]
    fn a_revoked_caller_has_no_rules_and_is_told_what_would_help() {
        let text = format!("{POLICY}revoked: [{{ groups: [team], issued_before: 2026-11-20T08:00:00Z }}]\n");
        let summary = policy(&text).summary(&caller(&["team"]));
        assert_eq!(summary.revoked.unwrap().name(), "revoked[0]");
        assert_eq!(summary.rules, []);
        assert_eq!(
            summary.advice.as_deref(),
            Some("a token issued at or after 2026-11-20T08:00:00Z: log in again")
        );
    }
}
