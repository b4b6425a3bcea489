//! What a rule allows or denies: places, actions and listed names; fixed, or to be completed from claims.

use super::RuleName;
use super::guard::{Choice, Guards, OwnNames, is_of_the_call};
use super::pattern::{Captures, Glob, Template, Variable, is_label};
use super::role::Roles;
use super::subject::claim_values;
use crate::model::action::{Action, ActionSet};
use crate::model::principal::Principal;
use crate::model::scope::{Resource, ResourceKind, Run};
use crate::model::setting::{Asked, Setting};
use std::borrow::Cow;
use std::collections::{BTreeMap, BTreeSet};
use std::sync::Arc;

/// How many grants one entry of `allow` may become for one principal. More grant nothing.
pub(in crate::policy) const MAX_EXPANSIONS: usize = 20_000;

/// One domain of a project, or with neither the platform as a whole.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(in crate::policy) enum Place<'a> {
    Platform,
    Domain { project: &'a str, domain: &'a str },
}

impl<'a> Place<'a> {
    fn domain(self) -> Option<&'a str> {
        match self {
            Self::Platform => None,
            Self::Domain { domain, .. } => Some(domain),
        }
    }
}

/// Something a rule allows, or denies.
#[derive(Debug)]
pub(in crate::policy) struct Grant {
    pub rule: RuleName,
    pub projects: Box<[Glob]>,
    pub domains: Arc<[Glob]>,
    pub actions: ActionSet,
    pub lists: Lists,
    pub guards: Arc<Guards>,
}

impl Grant {
    /// Whether it is about this place. Only `*` for both is about the platform.
    pub(super) fn is_about(&self, place: Place<'_>) -> bool {
        match place {
            Place::Platform => self.projects.contains(&Glob::Any) && self.domains.contains(&Glob::Any),
            Place::Domain { project, domain } => {
                self.projects.iter().any(|glob| glob.matches(project))
                    && self.domains.iter().any(|glob| glob.matches(domain))
            }
        }
    }

    /// Whether, as something allowed in a place, it covers a resource that lies in a place: what is not named is not covered
    /// by a list.
    pub(super) fn allows(&self, place: Place<'_>, lies_in: Place<'_>, resource: Option<&Resource>) -> bool {
        let listed = |kind, lies_in, name| {
            let list = self.lists.of(kind);
            list.is_none_or(|list| is_listed(list, place, lies_in, name))
        };
        match resource {
            // Of what is listed, the answer shows only what is covered by name.
            None | Some(Resource::Listed(_) | Resource::Object(_)) => true,
            Some(Resource::Named { kind, name }) => listed(*kind, lies_in, name),
            Some(Resource::Every(kind)) => self.lists.of(*kind).is_none(),
            Some(Resource::Unnamed) => self.lists.are_absent(),
            Some(Resource::RunBy(execution)) => match &execution.runs {
                None => self.lists.are_absent(),
                Some(run) => listed(run.kind, place_of(run), &run.name),
            },
        }
    }

    /// What becomes of a setting that is asked for. The engine starts executions in the name of those it works for.
    pub(super) fn choice(&self, asked: &Asked, place: Place<'_>, writable: bool, own: &OwnNames) -> Choice {
        if asked.setting == Setting::Identity && self.actions.contains(Action::ReportEvents) {
            return Choice::Kept;
        }
        self.guards.choice(asked, place, writable, own)
    }

    /// Whether, as something denied, it covers the resource: not naming a thing is no way around a list.
    pub(super) fn denies(&self, place: Place<'_>, resource: Option<&Resource>) -> bool {
        if self.lists.are_absent() {
            return true;
        }
        match resource {
            // The answer does not show what is covered by name.
            None | Some(Resource::Listed(_)) => false,
            Some(Resource::Named { kind, name }) => self.lists.deny(*kind, place, name),
            // Among the workflows and launch plans are those that were generated for tasks.
            Some(Resource::Every(kind)) => self.lists.of(*kind).is_some() || self.lists.tasks.is_some(),
            Some(Resource::Unnamed | Resource::Object(_)) => true,
            Some(Resource::RunBy(execution)) => match &execution.runs {
                None => true,
                Some(run) => self.lists.deny(run.kind, place_of(run), &run.name),
            },
        }
    }
}

/// Names to which something is restricted, by kind; absent: not restricted.
#[derive(Debug, Default)]
pub(in crate::policy) struct Lists {
    pub tasks: Option<Box<[Box<str>]>>,
    pub workflows: Option<Box<[Box<str>]>>,
    pub launch_plans: Option<Box<[Box<str>]>>,
}

impl Lists {
    pub(super) fn of(&self, kind: ResourceKind) -> Option<&[Box<str>]> {
        match kind {
            ResourceKind::Task => self.tasks.as_deref(),
            ResourceKind::Workflow => self.workflows.as_deref(),
            ResourceKind::LaunchPlan => self.launch_plans.as_deref(),
        }
    }

    /// Whether, as those of a deny, they name it, or the task for which it was generated.
    fn deny(&self, kind: ResourceKind, place: Place<'_>, name: &str) -> bool {
        let named = |kind, name: &str| {
            let list = self.of(kind);
            list.is_some_and(|list| is_listed_loosely(list, place, name))
        };
        named(kind, name) || generated_for(kind, name).is_some_and(|task| named(ResourceKind::Task, task))
    }

    pub(super) fn are_absent(&self) -> bool {
        self.tasks.is_none() && self.workflows.is_none() && self.launch_plans.is_none()
    }
}

/// The task for which `FlyteAdmin` has generated a workflow or launch plan of this name, in the task's place: when a task is
/// run by itself for the first time (`systemNamePrefix` of its `single_task_execution.go`).
fn generated_for(kind: ResourceKind, name: &str) -> Option<&str> {
    const PREFIX: &str = ".flytegen.";
    let (prefix, task) = name.split_at_checked(PREFIX.len())?;
    (kind != ResourceKind::Task && prefix.eq_ignore_ascii_case(PREFIX)).then_some(task)
}

fn place_of(run: &Run) -> Place<'_> {
    Place::Domain {
        project: &run.project,
        domain: &run.domain,
    }
}

/// Whether an entry is `name`, `project/name` or `domain/project/name`, told apart by the number of slashes: one or two
/// in front of a name are never part of it, so that a thing whose name holds slashes is listed by all three.
///
/// What an entry leaves out is that of the place in which something is allowed: a thing of the same name in another
/// project, which others may have put there, is not meant.
fn is_listed(list: &[Box<str>], place: Place<'_>, lies_in: Place<'_>, name: &str) -> bool {
    list.iter().any(|entry| {
        let mut parts = entry.splitn(3, '/');
        match (parts.next(), parts.next(), parts.next(), lies_in) {
            (Some(entry), None, None, _) => entry == name && lies_in == place,
            (Some(first), Some(second), None, Place::Domain { project, .. }) => {
                first == project && second == name && lies_in.domain() == place.domain()
            }
            (Some(first), Some(second), Some(third), Place::Domain { project, domain }) => {
                first == domain && second == project && third == name
            }
            _ => false,
        }
    })
}

/// The same for denying, where spelling must be no way around: databases that compare without regard to case and
/// trailing spaces, as `MySQL` does, find the thing under those names too. An entry that can be read in two ways, because
/// the name holds slashes, denies both.
fn is_listed_loosely(list: &[Box<str>], place: Place<'_>, name: &str) -> bool {
    let name = name.trim_end().to_lowercase();
    list.iter().any(|entry| {
        let entry = entry.trim_end().to_lowercase();
        let Some(before) = entry.strip_suffix(&name) else {
            return false;
        };
        let Some(before) = before.strip_suffix('/') else {
            return before.is_empty();
        };
        match place {
            Place::Platform => false,
            Place::Domain { project, domain } => before
                .strip_suffix(project)
                .is_some_and(|before| before.is_empty() || before.strip_suffix('/') == Some(domain)),
        }
    })
}

/// An entry of `allow`: ready, or to be completed for each principal.
#[derive(Debug)]
pub(in crate::policy) enum Plan {
    Fixed(Arc<Grant>),
    Variable(Box<GrantTemplate>),
}

/// A grant with variables in it.
#[derive(Debug)]
pub(in crate::policy) struct GrantTemplate {
    pub rule: RuleName,
    pub projects: Vec<Template>,
    pub domains: Vec<Template>,
    pub actions: ActionsTemplate,
    pub tasks: Option<Vec<Template>>,
    pub workflows: Option<Vec<Template>>,
    pub launch_plans: Option<Vec<Template>>,
    /// With every variable, those of the call too.
    pub guards: Guards,
}

/// Actions, or a role whose name has variables in it.
#[derive(Debug)]
pub(in crate::policy) enum ActionsTemplate {
    Fixed(ActionSet),
    Role(Template),
}

/// A value for each variable.
pub(in crate::policy) type Assignment = BTreeMap<Variable, Box<str>>;

impl GrantTemplate {
    /// Every variable in it.
    pub(super) fn variables(&self) -> BTreeSet<&Variable> {
        let role = match &self.actions {
            ActionsTemplate::Fixed(_) => None,
            ActionsTemplate::Role(role) => Some(role),
        };
        let lists = [&self.tasks, &self.workflows, &self.launch_plans];
        let listed = lists.into_iter().flatten().flatten();
        let guarded = self.guards.templates().flat_map(Template::variables);
        let guarded = guarded.filter(|variable| !is_of_the_call(variable));
        self.projects
            .iter()
            .chain(&self.domains)
            .chain(role)
            .chain(listed)
            .flat_map(Template::variables)
            .chain(guarded)
            .collect()
    }

    /// The grants it makes for a principal: one for each combination of values, first those captured together. What was
    /// left out is told to `dropped`.
    pub(super) fn expand(
        &self,
        principal: &Principal,
        captures: &[Captures],
        roles: &Roles,
        dropped: &mut dyn FnMut(String),
    ) -> Vec<Grant> {
        let variables = self.variables();
        let seeds = captures.iter().filter_map(|set| restricted(set, &variables));
        let mut assignments: BTreeSet<Assignment> = seeds.collect();
        for variable in variables {
            let Variable::Claim(path) = variable else { continue };
            let values: BTreeSet<Cow<'_, str>> = claim_values(principal, path).into_iter().collect();
            if assignments.len().saturating_mul(values.len()) > MAX_EXPANSIONS {
                dropped(format!(
                    "its variables have more than {MAX_EXPANSIONS} combinations of values"
                ));
                return Vec::new();
            }
            let with = |assignment: &Assignment, value: &str| {
                let mut assignment = assignment.clone();
                assignment.insert(variable.clone(), value.into());
                assignment
            };
            let extended = |assignment| values.iter().map(move |value| with(assignment, value));
            assignments = assignments.iter().flat_map(extended).collect();
        }
        if assignments.is_empty() {
            dropped("a variable in it has no value".to_owned());
        }
        let complete = |assignment: &Assignment| self.complete(assignment, roles).map_err(&mut *dropped).ok();
        assignments.iter().filter_map(complete).collect()
    }

    /// The grant with these values, or why there is none.
    pub(super) fn complete(&self, assignment: &Assignment, roles: &Roles) -> Result<Grant, String> {
        let text = |template: &Template| {
            template
                .expand(&|variable| assignment.get(variable).cloned())
                .ok_or_else(|| "a value put into it is no plain name".to_owned())
        };
        let places = |templates: &[Template]| -> Result<Vec<Glob>, String> {
            templates.iter().map(|template| place_glob(&text(template)?)).collect()
        };
        let listed = |templates: &Option<Vec<Template>>| {
            templates
                .as_ref()
                .map(|list| list.iter().map(|template| text(template).map(Box::from)).collect())
                .transpose()
        };
        let guarded = |template: &Template| {
            template
                .expand_partly(&|variable| assignment.get(variable).cloned(), &is_of_the_call)
                .ok_or_else(|| "a value put into it is no plain name".to_owned())
        };
        let lists = self.guards.lists.iter().map(|(key, list)| {
            let list: Result<Vec<Template>, String> = list.iter().map(guarded).collect();
            Ok((*key, list?))
        });
        let set = self
            .guards
            .set
            .iter()
            .map(|(setting, template)| Ok((*setting, guarded(template)?)));
        let prefixes: Result<Vec<Template>, String> = self.guards.download_prefixes.iter().map(guarded).collect();
        let actions = match &self.actions {
            ActionsTemplate::Fixed(actions) => *actions,
            ActionsTemplate::Role(role) => {
                let name = text(role)?;
                roles
                    .actions(&name)
                    .ok_or_else(|| format!("there is no role `{name}`"))?
            }
        };
        Ok(Grant {
            rule: self.rule.clone(),
            projects: places(&self.projects)?.into(),
            domains: places(&self.domains)?.into(),
            actions,
            lists: Lists {
                tasks: listed(&self.tasks)?,
                workflows: listed(&self.workflows)?,
                launch_plans: listed(&self.launch_plans)?,
            },
            guards: Guards {
                lists: lists.collect::<Result<_, String>>()?,
                impersonate: self.guards.impersonate,
                set: set.collect::<Result<_, String>>()?,
                download_prefixes: prefixes?,
            }
            .shared(),
        })
    }
}

/// The captured values of those variables that are captures, if each has one.
fn restricted(captures: &Captures, variables: &BTreeSet<&Variable>) -> Option<Assignment> {
    let mut assignment = Assignment::new();
    for variable in variables {
        if let Variable::Capture(name) = variable {
            assignment.insert((*variable).clone(), captures.get(name)?.clone());
        }
    }
    Some(assignment)
}

/// A project or domain as policies write it: a plain name, or one with `*`.
pub(in crate::policy) fn place_glob(text: &str) -> Result<Glob, String> {
    let fits = if text.contains('*') {
        text.bytes()
            .all(|byte| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'-' | b'*'))
    } else {
        is_label(text)
    };
    if !fits {
        return Err(format!(
            "`{text}` is no name of a project or domain: lower-case letters, digits and `-`, at most 63 of them, and \
             `*` for any run of characters"
        ));
    }
    Ok(Glob::new(text))
}

#[cfg(test)]
mod tests {
    use super::*;
    use proptest::prelude::*;

    /// Domain `d`, project `p`: as `FlyteWebhookAppEnvironment` matches `task_allowlist` (None, empty and not), for things
    /// that lie where they are used.
    #[test]
    fn an_allow_list_is_read_as_the_webhook_of_the_sdk_reads_it() {
        let place = Place::Domain {
            project: "p",
            domain: "d",
        };
        let table: &[(Option<&[&str]>, &str, bool)] = &[
            // Absent: all. Empty: none.
            (None, "n", true),
            (Some(&[]), "n", false),
            // One part is the name.
            (Some(&["n"]), "n", true),
            (Some(&["other", "n"]), "n", true),
            (Some(&["N"]), "n", false),
            (Some(&["n"]), "N", false),
            (Some(&[" n"]), "n", false),
            (Some(&["*"]), "n", false),
            (Some(&[""]), "n", false),
            // Two parts are project and name.
            (Some(&["p/n"]), "n", true),
            (Some(&["q/n"]), "n", false),
            (Some(&["d/n"]), "n", false),
            (Some(&["P/n"]), "n", false),
            (Some(&["/n"]), "n", false),
            (Some(&["p/"]), "n", false),
            // Three parts are domain, project and name, in this order.
            (Some(&["d/p/n"]), "n", true),
            (Some(&["p/d/n"]), "n", false),
            (Some(&["d/q/n"]), "n", false),
            (Some(&["e/p/n"]), "n", false),
            (Some(&["//n"]), "n", false),
            // More: the name holds slashes itself, and only all three say so.
            (Some(&["d/p/x/y"]), "x/y", true),
            (Some(&["d/p/x/y"]), "y", false),
            (Some(&["d/p/x/y"]), "x", false),
            (Some(&["x/y"]), "x/y", false),
            (Some(&["p/x/y"]), "x/y", false),
            (Some(&["p/n"]), "p/n", false),
            (Some(&["d/p/n"]), "d/p/n", false),
            // A version is no part of a name.
            (Some(&["d/p/n/v1"]), "n", false),
            (Some(&["n@v1"]), "n", false),
        ];
        for (list, name, expected) in table {
            let lists = Lists {
                tasks: list.map(|list| list.iter().copied().map(Box::from).collect()),
                workflows: None,
                launch_plans: None,
            };
            let listed = lists
                .of(ResourceKind::Task)
                .is_none_or(|list| is_listed(list, place, place, name));
            assert_eq!(listed, *expected, "{list:?} {name}");
        }
    }

    #[test]
    fn what_an_entry_leaves_out_is_where_the_thing_is_used() {
        let at = |project, domain| Place::Domain { project, domain };
        let listed = |entry: &str, place, lies_in| is_listed(&[entry.into()], place, lies_in, "n");
        let here = at("p", "d");
        for (lies_in, entries) in [
            (here, ["n", "p/n", "d/p/n"].as_slice()),
            (at("q", "d"), &["q/n", "d/q/n"]),
            (at("p", "e"), &["e/p/n"]),
            (at("q", "e"), &["e/q/n"]),
        ] {
            for entry in ["n", "p/n", "q/n", "d/p/n", "d/q/n", "e/p/n", "e/q/n"] {
                assert_eq!(
                    listed(entry, here, lies_in),
                    entries.contains(&entry),
                    "{entry} {lies_in:?}"
                );
            }
        }
    }

    #[test]
    fn what_is_denied_is_found_without_regard_to_case_and_trailing_spaces_of_either() {
        let place = Place::Domain {
            project: "p",
            domain: "d",
        };
        for entry in ["x", "x ", "X\u{a0} ", "p/x ", "d/p/X "] {
            for name in ["x", "X", "x ", "X\t"] {
                assert!(is_listed_loosely(&[entry.into()], place, name), "{entry:?} {name:?}");
            }
            for name in ["", " ", " x", "y"] {
                assert!(!is_listed_loosely(&[entry.into()], place, name), "{entry:?} {name:?}");
            }
        }
    }

    proptest! {
        #[test]
        fn an_entry_is_a_name_alone_or_with_its_project_or_with_both(
            entry in "[ab/]{1,6}",
            name in "[ab/]{1,4}",
            project in "[ab]{1,2}",
            domain in "[ab]{1,2}",
        ) {
            let whole = format!("{domain}/{project}/{name}");
            let short = [name.clone(), format!("{project}/{name}")];
            let place = Place::Domain { project: &project, domain: &domain };
            let list = [entry.as_str().into()];
            let plain = !name.contains('/');
            prop_assert_eq!(is_listed(&list, place, place, &name), entry == whole || plain && short.contains(&entry));
            prop_assert_eq!(is_listed(&list, Place::Platform, Place::Platform, &name), plain && entry == name);
            // What is denied loosely is at least what is listed, and every reading of an entry.
            let every = short.contains(&entry) || entry == whole;
            prop_assert_eq!(is_listed_loosely(&list, place, &name), every);
        }
    }
}
