//! Entries of `allow` and `deny`: from the document to grants.

use super::{Report, unknown};
use crate::document::LineColumn;
use crate::model::action::{Action, ActionSet};
use crate::policy::RuleName;
use crate::policy::document::{AllowDocument, At, DenyDocument, Items, Word, Words};
use crate::policy::grant::{ActionsTemplate, Assignment, Grant, GrantTemplate, Lists, Plan, place_glob};
use crate::policy::guard::Guards;
use crate::policy::pattern::{Glob, Template, Variable};
use crate::policy::role::Roles;
use ahash::AHashSet;
use std::collections::BTreeSet;
use std::sync::Arc;

/// What surrounds the entries of one rule.
pub(super) struct Surroundings<'a, 'r> {
    pub rule: &'a RuleName,
    pub roles: &'a Roles,
    pub captures: &'a BTreeSet<String>,
    pub domains: &'a [Box<str>],
    /// Lists of domains that are kept once for all grants that have them.
    pub shared: &'a mut AHashSet<Arc<[Glob]>>,
    pub report: &'a mut Report<'r>,
}

const NO_PLACE: &str = "covers nothing; name at least one, or `\"*\"` for all";

impl Surroundings<'_, '_> {
    pub(super) fn allow(&mut self, entries: &Items<AllowDocument>) -> Box<[Plan]> {
        if entries.value().is_empty() {
            self.report.error(
                entries.place(),
                "`allow: []` allows nothing; add an entry or leave the key out",
            );
        }
        entries
            .value()
            .iter()
            .filter_map(|entry| self.allow_one(entry.value(), entry.place()))
            .collect()
    }

    pub(super) fn deny(&mut self, entries: &Items<DenyDocument>) -> Box<[Arc<Grant>]> {
        if entries.value().is_empty() {
            self.report.error(
                entries.place(),
                "`deny: []` denies nothing; add an entry or leave the key out",
            );
        }
        entries
            .value()
            .iter()
            .map(|entry| Arc::new(self.deny_one(entry.value(), entry.place())))
            .collect()
    }

    fn allow_one(&mut self, entry: &AllowDocument, place: LineColumn) -> Option<Plan> {
        let projects = self.templates("projects", &entry.projects);
        let domains = self.templates("domains", &entry.domains);
        self.check_domains(&entry.domains);
        let everywhere = covers_all(&projects) && covers_all(&domains);
        let actions = match (&entry.role, &entry.actions) {
            (Some(role), None) if role.value().contains("${") => self.template(role).map(ActionsTemplate::Role),
            (role, actions) => Some(ActionsTemplate::Fixed(self.actions(
                role.as_ref(),
                actions.as_ref(),
                place,
            ))),
        };
        let tasks = self.names("tasks", entry.tasks.as_ref());
        let workflows = self.names("workflows", entry.workflows.as_ref());
        let launch_plans = self.names("launch_plans", entry.launch_plans.as_ref());
        // Kept in the document only: no call of Flyte 1 concerns an app or a trigger.
        self.names("apps", entry.apps.as_ref());
        self.names("triggers", entry.triggers.as_ref());
        let guards = self.guards(entry);
        let actions = actions?;
        let runs = match &actions {
            ActionsTemplate::Fixed(actions) => actions.contains(Action::CreateExecutions),
            ActionsTemplate::Role(_) => true,
        };
        if runs {
            self.check_lists(entry);
        }
        if let ActionsTemplate::Fixed(actions) = &actions {
            self.check_guards(entry, *actions);
            if !everywhere {
                self.check_rights_on_all(entry, *actions);
            }
        }
        let template = GrantTemplate {
            rule: self.rule.clone(),
            projects,
            domains,
            actions,
            tasks,
            workflows,
            launch_plans,
            guards,
        };
        if !template.variables().is_empty() {
            return Some(Plan::Variable(Box::new(template)));
        }
        // A template without variables has no value to be wrong: what fails here has been reported above.
        let mut grant = template.complete(&Assignment::new(), self.roles).ok()?;
        grant.domains = self.shared(grant.domains);
        Some(Plan::Fixed(Arc::new(grant)))
    }

    fn shared(&mut self, domains: Arc<[Glob]>) -> Arc<[Glob]> {
        if let Some(known) = self.shared.get(&domains) {
            return Arc::clone(known);
        }
        self.shared.insert(Arc::clone(&domains));
        domains
    }

    /// Executions are started of launch plans and of single tasks: a list of one says nothing about the other.
    fn check_lists(&mut self, entry: &AllowDocument) {
        let others = entry.tasks.as_ref().or(entry.workflows.as_ref());
        let (listed, warning) = match (others, &entry.launch_plans) {
            (Some(listed), None) => (
                listed,
                "a launch plan can still run any task and workflow; add `launch_plans: []` or list those that may be started",
            ),
            (_, Some(listed)) if entry.tasks.is_none() => (
                listed,
                "any task can still be run by itself; add `tasks: []` or list those that may be run",
            ),
            _ => return,
        };
        self.report.warning(listed.place(), warning);
    }

    /// What an execution runs is a launch plan or a single task; what a launch plan comes to is not looked at.
    fn check_denied_lists(&mut self, entry: &DenyDocument, actions: ActionSet) {
        if entry.launch_plans.is_none()
            && actions.contains(Action::CreateExecutions)
            && let Some(listed) = entry.tasks.as_ref().or(entry.workflows.as_ref())
        {
            self.report.warning(
                listed.place(),
                "launch plans that run one of these can still be started; list those in `launch_plans`, or add `launch_plans: []` if \
                 there are none",
            );
        }
    }

    fn deny_one(&mut self, entry: &DenyDocument, place: LineColumn) -> Grant {
        let actions = self.actions(entry.role.as_ref(), entry.actions.as_ref(), place);
        self.check_denied_lists(entry, actions);
        Grant {
            rule: self.rule.clone(),
            projects: self.denied_places("projects", entry.projects.as_ref()).into(),
            domains: {
                if let Some(domains) = &entry.domains {
                    self.check_domains(domains);
                }
                let domains = self.denied_places("domains", entry.domains.as_ref());
                self.shared(domains.into())
            },
            actions,
            lists: self.denied_lists(entry),
            guards: Guards::default().shared(),
        }
    }

    fn actions(&mut self, role: Option<&Word>, actions: Option<&Words>, place: LineColumn) -> ActionSet {
        match (role, actions) {
            (None, Some(actions)) => self.report.actions(actions),
            (Some(role), None) => {
                let name = role.value();
                self.fixed(role);
                self.roles.actions(name).unwrap_or_else(|| {
                    if !name.contains("${") {
                        let known: Vec<&str> = self.roles.names().collect();
                        self.report
                            .error(role.place(), unknown("role", name, known.into_iter()));
                    }
                    ActionSet::EMPTY
                })
            }
            (Some(role), Some(actions)) => {
                self.report
                    .error(role.place(), "an entry has either `role` or `actions`; remove one");
                self.report.actions(actions)
            }
            (None, None) => {
                self.report
                    .error(place, "an entry needs a `role` or `actions`; add one");
                ActionSet::EMPTY
            }
        }
    }

    /// The places of an entry of `allow`.
    fn templates(&mut self, key: &str, words: &Words) -> Vec<Template> {
        let mut templates = Vec::new();
        for word in self.report.filled(key, words, NO_PLACE) {
            let Some(template) = self.template(word) else { continue };
            // Whatever the variables hold will be a plain name: a letter stands for it.
            if let Some(text) = template.expand(&|_| Some("x".into()))
                && !text.is_empty()
                && let Err(fault) = place_glob(&text)
            {
                let fault = if *text == **word.value() {
                    fault
                } else {
                    format!("`{}`: {fault}", word.value())
                };
                self.report.error(word.place(), fault);
            }
            templates.push(template);
        }
        templates
    }

    fn template(&mut self, word: &Word) -> Option<Template> {
        self.template_with(word, |_| false)
    }

    /// A template in which some variables are known beside those of the rule.
    pub(super) fn template_with(&mut self, word: &Word, known: impl Fn(&Variable) -> bool) -> Option<Template> {
        let template = match Template::new(word.value()) {
            Ok(template) => template,
            Err(fault) => {
                self.report.error(word.place(), fault);
                return None;
            }
        };
        for variable in template.variables() {
            if let Variable::Capture(name) = variable
                && !known(variable)
                && !self.captures.contains(&**name)
            {
                self.report.error(
                    word.place(),
                    format!(
                        "`${{{name}}}` is not a named group in the pattern of every item of `subjects`; add `(?<{name}>...)`, \
                         or for a claim write `${{claims.{name}}}`"
                    ),
                );
            }
        }
        Some(template)
    }

    /// The names of an allow-list; an empty one is legal: none.
    fn names(&mut self, key: &str, words: Option<&Words>) -> Option<Vec<Template>> {
        let mut templates = Vec::new();
        for word in &**words?.value() {
            self.check_name(key, word);
            templates.extend(self.template(word));
        }
        Some(templates)
    }

    /// The names that a deny is about. An empty list is legal beside one with names.
    fn denied_lists(&mut self, entry: &DenyDocument) -> Lists {
        let lists = [
            ("tasks", entry.tasks.as_ref()),
            ("workflows", entry.workflows.as_ref()),
            ("launch_plans", entry.launch_plans.as_ref()),
        ];
        let given = || lists.iter().filter_map(|(key, list)| Some((*key, (*list)?)));
        if given().all(|(_, list)| list.value().is_empty()) {
            for (key, list) in given() {
                let message = format!("`{key}: []` denies nothing; leave the key out to deny all");
                self.report.error(list.place(), message);
            }
        }
        let [tasks, workflows, launch_plans] = lists.map(|(key, list)| list.map(|list| self.denied_names(key, list)));
        Lists {
            tasks,
            workflows,
            launch_plans,
        }
    }

    fn denied_names(&mut self, key: &str, words: &Words) -> Box<[Box<str>]> {
        for word in &**words.value() {
            self.check_name(key, word);
            self.fixed(word);
        }
        words.value().iter().map(|word| word.value().clone()).collect()
    }

    fn denied_places(&mut self, key: &str, words: Option<&Words>) -> Vec<Glob> {
        let Some(words) = words else {
            return vec![Glob::Any];
        };
        let mut globs = Vec::new();
        for word in self.report.filled(key, words, NO_PLACE) {
            if word.value().is_empty() || !self.fixed(word) {
                continue;
            }
            match place_glob(word.value()) {
                Ok(glob) => globs.push(glob),
                Err(fault) => self.report.error(word.place(), fault),
            }
        }
        globs
    }

    /// Whether a word of a deny has no variables. A value that is no plain name would be a way around the deny.
    fn fixed(&mut self, word: &Word) -> bool {
        let fixed = !word.value().contains("${");
        if !fixed {
            self.report.error(
                word.place(),
                "a deny cannot use `${...}`: a value that does not fit would escape it; use `*`",
            );
        }
        fixed
    }

    fn check_name(&mut self, key: &str, word: &Word) {
        let name = word.value();
        if name.is_empty() || name.starts_with('/') || name.ends_with('/') {
            let message =
                format!("`{name}` in `{key}` is no name; write `name`, `project/name` or `domain/project/name`");
            self.report.error(word.place(), message);
        } else if name.contains('*') {
            self.report.error(
                word.place(),
                format!("`{name}`: `{key}` holds exact names, and `*` stands for nothing in it"),
            );
        }
    }

    /// Rights that are for everything or nothing, in an entry that does not cover everything.
    fn check_rights_on_all(&mut self, entry: &AllowDocument, actions: ActionSet) {
        let platform = Action::AdministerPlatform.label();
        let words = entry.actions.iter().flat_map(|words| &**words.value());
        for word in words.filter(|word| **word.value() == *platform) {
            let message = format!("`{platform}` counts only with `projects: [\"*\"]` and `domains: [\"*\"]`");
            self.report.warning(word.place(), message);
        }
        if actions.contains(Action::ReportEvents)
            && let Some(place) = entry
                .role
                .as_ref()
                .map(At::place)
                .or(entry.actions.as_ref().map(At::place))
        {
            self.report.warning(
                place,
                "`report_events` is among these actions, and it cannot be kept to some projects: whoever reports an execution says where \
                 its outputs lie, and so reads whatever FlyteAdmin can read of the object store; take a role without it, or list the \
                 actions, and leave it to engines",
            );
        }
    }

    fn check_domains(&mut self, words: &Words) {
        for word in &**words.value() {
            let name = word.value();
            // With variables it may become any of them.
            let Ok(glob) = place_glob(name) else { continue };
            if !self.domains.iter().any(|domain| glob.matches(domain)) {
                let known: Vec<String> = self.domains.iter().map(|domain| format!("`{domain}`")).collect();
                let message = format!("`{name}` is none of the configured domains: {}", known.join(", "));
                self.report.warning(word.place(), message);
            }
        }
    }
}

/// Whether one of these is `*`.
fn covers_all(templates: &[Template]) -> bool {
    let all = Template::new("*").ok();
    templates.iter().any(|one| Some(one) == all.as_ref())
}
