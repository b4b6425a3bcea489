//! The smallest pieces of a policy that count by themselves, and when one covers another.

use super::super::grant::{ActionsTemplate, Grant, GrantTemplate, Plan};
use super::super::guard::{Guards, is_of_the_call};
use super::super::pattern::{Glob, Template, Variable};
use super::super::subject::Subject;
use super::super::who::Who;
use super::super::{Policy, RuleName};
use crate::model::action::{Action, ActionSet};
use crate::model::setting::Setting;
use std::collections::{BTreeMap, BTreeSet};

/// Names of tasks, workflows and launch plans; absent: all.
pub(super) type Lists = [Option<BTreeSet<String>>; 3];

/// Whom and what an entry is about, at one place.
#[derive(Clone, Debug, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Piece {
    pub(super) project: String,
    /// None: the platform.
    pub(super) domain: Option<String>,
    pub(super) who: Who,
    pub(super) unless: BTreeSet<Who>,
    /// The texts that must be completed from claims, and what they must become where that matters.
    pub(super) given: BTreeSet<String>,
    pub(super) lists: Lists,
    /// What is written of settings.
    pub(super) guards: BTreeSet<String>,
}

/// All of a piece but the domain.
#[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord)]
pub(super) struct Elsewhere<'p> {
    pub(super) project: &'p String,
    pub(super) who: &'p Who,
    pub(super) unless: &'p BTreeSet<Who>,
    pub(super) given: &'p BTreeSet<String>,
    pub(super) lists: &'p Lists,
    pub(super) guards: &'p BTreeSet<String>,
}

/// A policy, taken apart.
#[derive(Debug, Default)]
pub(super) struct Pieces {
    pub(super) allowed: Part,
    /// What is allowed in the name of others.
    pub(super) impersonated: Part,
    pub(super) denied: Part,
    pub(super) revoked: Part,
}

/// Pieces with their actions and the first rule that has them.
#[derive(Debug, Default)]
pub(super) struct Part(BTreeMap<Piece, (ActionSet, RuleName)>);

/// An entry before it is set into its places.
struct Entry<'a> {
    rule: &'a RuleName,
    projects: Vec<Template>,
    domains: Vec<Template>,
    actions: Vec<(Option<String>, ActionSet)>,
    given: BTreeSet<String>,
    lists: Lists,
    guards: BTreeSet<String>,
}

impl Pieces {
    pub(super) fn of(policy: &Policy) -> Self {
        let mut pieces = Self::default();
        for rule in &policy.rules {
            let callers: Vec<Who> = alternatives(&rule.subjects);
            for plan in &rule.allow {
                let entry = match plan {
                    Plan::Fixed(grant) => Entry::fixed(grant),
                    Plan::Variable(template) => Entry::variable(template, policy),
                };
                pieces.allowed.add(&entry, &callers, &BTreeSet::new(), policy);
                let entry = entry.impersonating();
                pieces.impersonated.add(&entry, &callers, &BTreeSet::new(), policy);
            }
            let unless = alternatives(&rule.unless).into_iter().collect();
            for deny in &rule.deny {
                pieces.denied.add(&Entry::fixed(deny), &callers, &unless, policy);
            }
        }
        for revocation in &policy.revoked {
            for who in Who::alternatives(&revocation.subject) {
                let everywhere = Piece {
                    project: "*".to_owned(),
                    domain: None,
                    who,
                    unless: BTreeSet::new(),
                    given: BTreeSet::new(),
                    lists: Lists::default(),
                    guards: BTreeSet::new(),
                };
                pieces.revoked.insert(everywhere, ActionSet::all(), &revocation.name);
            }
        }
        pieces
    }
}

fn alternatives(subjects: &[Subject]) -> Vec<Who> {
    subjects.iter().flat_map(Who::alternatives).collect()
}

impl<'a> Entry<'a> {
    fn fixed(grant: &'a Grant) -> Self {
        let templates = |globs: &[Glob]| -> Vec<Template> {
            globs
                .iter()
                .filter_map(|glob| Template::new(&glob.to_string()).ok())
                .collect()
        };
        let names = |list: &Option<Box<[Box<str>]>>| {
            let names = list.as_ref()?;
            Some(names.iter().map(|name| (**name).into()).collect())
        };
        let (projects, domains) = (templates(&grant.projects), templates(&grant.domains));
        Self {
            rule: &grant.rule,
            guards: guards(&grant.guards, &projects, &domains),
            projects,
            domains,
            actions: vec![(None, grant.actions)],
            given: BTreeSet::new(),
            lists: [&grant.lists.tasks, &grant.lists.workflows, &grant.lists.launch_plans].map(names),
        }
    }

    fn variable(template: &'a GrantTemplate, policy: &Policy) -> Self {
        let lists = [&template.tasks, &template.workflows, &template.launch_plans];
        let names = |list: &Option<Vec<Template>>| {
            let names = list.as_ref()?;
            Some(names.iter().map(ToString::to_string).collect())
        };
        let actions = match &template.actions {
            ActionsTemplate::Fixed(actions) => vec![(None, *actions)],
            ActionsTemplate::Role(role) => {
                let widened = role.widened();
                let possible = policy.roles.names().filter(|name| widened.matches(name));
                let with_actions = possible.filter_map(|name| Some((name, policy.roles.actions(name)?)));
                with_actions
                    .map(|(name, actions)| (Some(format!("role {role} = {name}")), actions))
                    .collect()
            }
        };
        // The entry counts only if all of its texts can be completed, each to what its place takes.
        let mut given = BTreeSet::new();
        for (kind, templates) in [("project", &template.projects), ("domain", &template.domains)] {
            given.extend(
                templates
                    .iter()
                    .filter(|one| varies(one))
                    .map(|one| format!("{kind} {one}")),
            );
        }
        let listed = lists.into_iter().flatten().flatten();
        given.extend(listed.filter(|one| varies(one)).map(|one| format!("name {one}")));
        let of_claims = |one: &&Template| one.variables().any(|variable| !is_of_the_call(variable));
        let guarded = template.guards.templates().filter(of_claims);
        given.extend(guarded.map(|one| format!("setting {one}")));
        let guards = guards(&template.guards, &template.projects, &template.domains);
        Self {
            rule: &template.rule,
            projects: template.projects.clone(),
            domains: template.domains.clone(),
            actions,
            given,
            lists: lists.map(names),
            guards,
        }
    }
}

impl Entry<'_> {
    /// As far as executions are started in the name of others, which two actions of one entry allow together.
    fn impersonating(mut self) -> Self {
        let create = ActionSet::from(Action::CreateExecutions);
        let is_written = !self.guards.insert(Setting::Identity.guard().to_owned());
        self.actions.retain_mut(|(_, actions)| {
            let all = std::mem::replace(actions, create);
            all.intersects(create) && (is_written || all.contains(Action::ReportEvents))
        });
        self
    }
}

/// What is written of settings. Where the prefix of a link does not tell the project or the domain, all of the entry's
/// count together: a deny in one of them is in the way of every link.
fn guards(guards: &Guards, projects: &[Template], domains: &[Template]) -> BTreeSet<String> {
    let mut texts = guards.texts();
    for (name, places) in [("project", projects), ("domain", domains)] {
        let is_it = |variable: &Variable| matches!(variable, Variable::Capture(other) if **other == *name);
        if guards
            .download_prefixes
            .iter()
            .any(|prefix| !prefix.variables().any(is_it))
        {
            let places: BTreeSet<String> = places.iter().map(ToString::to_string).collect();
            let places: Vec<String> = places.into_iter().collect();
            texts.insert(format!("download_prefixes for each {name} of {}", places.join(", ")));
        }
    }
    texts
}

fn varies(template: &Template) -> bool {
    template.variables().next().is_some()
}

impl Part {
    fn insert(&mut self, piece: Piece, actions: ActionSet, rule: &RuleName) {
        let entry = self.0.entry(piece).or_insert_with(|| (ActionSet::EMPTY, rule.clone()));
        entry.0 = entry.0.union(actions);
    }

    fn add(&mut self, entry: &Entry<'_>, callers: &[Who], unless: &BTreeSet<Who>, policy: &Policy) {
        let any = |templates: &[Template]| templates.iter().any(|one| !varies(one) && one.widened() == Glob::Any);
        let mut places: BTreeSet<(String, Option<String>, Option<String>)> = BTreeSet::new();
        if any(&entry.projects) && any(&entry.domains) {
            places.insert(("*".to_owned(), None, None));
        }
        for domain in &entry.domains {
            let widened = domain.widened();
            for known in policy.domains.iter().filter(|known| widened.matches(known)) {
                let given = varies(domain).then(|| format!("domain {domain} = {known}"));
                let there = |project: &Template| (project.to_string(), Some((**known).into()), given.clone());
                places.extend(entry.projects.iter().map(there));
            }
        }
        for (project, domain, in_domain) in &places {
            for (role, actions) in &entry.actions {
                let given = entry
                    .given
                    .iter()
                    .chain(in_domain)
                    .chain(role)
                    .cloned()
                    .collect::<BTreeSet<_>>();
                for who in callers {
                    let piece = Piece {
                        project: project.clone(),
                        domain: domain.clone(),
                        who: who.clone(),
                        unless: unless.clone(),
                        given: given.clone(),
                        lists: entry.lists.clone(),
                        guards: entry.guards.clone(),
                    };
                    self.insert(piece, *actions, entry.rule);
                }
            }
        }
    }

    /// The pieces of which nothing of the other covers some action, with those actions.
    pub(super) fn not_covered_by(&self, other: &Self, allows: bool) -> Vec<(&Piece, ActionSet, &RuleName)> {
        let index = Index::of(other);
        let mut uncovered = Vec::new();
        for (piece, (actions, rule)) in &self.0 {
            let mut left = *actions;
            if let Some((same, _)) = other.0.get(piece) {
                left = without(left, *same);
            }
            for (wider, actions) in index.near(piece) {
                if left.is_empty() {
                    break;
                }
                if actions.intersects(left) && wider.covers(piece, allows) {
                    left = without(left, actions);
                }
            }
            if !left.is_empty() {
                uncovered.push((piece, left, rule));
            }
        }
        uncovered
    }
}

fn without(actions: ActionSet, others: ActionSet) -> ActionSet {
    actions.iter().filter(|action| !others.contains(*action)).collect()
}

type Several<'p> = Vec<(&'p Piece, ActionSet)>;

/// Finds the pieces that may cover one: those of its project, and those with a pattern.
struct Index<'p> {
    // By domain and project.
    exact: BTreeMap<(Option<&'p str>, &'p str), Several<'p>>,
    // By domain.
    patterns: BTreeMap<Option<&'p str>, Several<'p>>,
}

impl<'p> Index<'p> {
    fn of(part: &'p Part) -> Self {
        let mut index = Self {
            exact: BTreeMap::new(),
            patterns: BTreeMap::new(),
        };
        for (piece, (actions, _)) in &part.0 {
            let domain = piece.domain.as_deref();
            let place = if piece.project.contains('*') {
                index.patterns.entry(domain).or_default()
            } else {
                index.exact.entry((domain, &piece.project)).or_default()
            };
            place.push((piece, *actions));
        }
        index
    }

    fn near(&self, piece: &'p Piece) -> impl Iterator<Item = (&'p Piece, ActionSet)> {
        let domain = piece.domain.as_deref();
        let exact = self.exact.get(&(domain, piece.project.as_str())).into_iter().flatten();
        exact.chain(self.patterns.get(&domain).into_iter().flatten()).copied()
    }
}

impl Piece {
    pub(super) fn without_domain(&self) -> Elsewhere<'_> {
        Elsewhere {
            project: &self.project,
            who: &self.who,
            unless: &self.unless,
            given: &self.given,
            lists: &self.lists,
            guards: &self.guards,
        }
    }

    /// All of it but what is written of settings.
    pub(super) fn without_guards(&self) -> (Option<&str>, Elsewhere<'_>) {
        static NONE: BTreeSet<String> = BTreeSet::new();
        let elsewhere = Elsewhere {
            guards: &NONE,
            ..self.without_domain()
        };
        (self.domain.as_deref(), elsewhere)
    }

    /// Whether it sets how executions run.
    pub(super) fn sets(&self) -> bool {
        self.guards.iter().any(|text| text.starts_with("set "))
    }

    /// Whether it certainly counts wherever the other one does.
    fn covers(&self, other: &Self, allows: bool) -> bool {
        let spared = |who: &Who| other.unless.iter().any(|other| other.includes(who));
        self.domain == other.domain
            && covers_project(&self.project, &other.project)
            && self.given.is_subset(&other.given)
            && self.who.includes(&other.who)
            && self.unless.iter().all(spared)
            // Another guard may be wider or narrower, and what is set decides what a call becomes.
            && self.guards == other.guards
            && if allows {
                allows_all(&self.lists, &other.lists)
            } else {
                denies_all(&self.lists, &other.lists)
            }
    }
}

/// Whether one project as it is written certainly means all that another one means. What holds variables means the same
/// only as what is written alike.
fn covers_project(wide: &str, narrow: &str) -> bool {
    if wide == narrow {
        return true;
    }
    let templates = (Template::new(wide), Template::new(narrow));
    matches!(templates, (Ok(wide), Ok(narrow)) if !varies(&wide) && wide.widened().covers(&narrow.widened()))
}

/// Whether an entry of `allow` with one set of lists allows all that it would allow with the other.
fn allows_all(wide: &Lists, narrow: &Lists) -> bool {
    wide.iter().zip(narrow).all(|lists| match lists {
        (None, _) => true,
        (Some(_), None) => false,
        (Some(wide), Some(narrow)) => narrow.is_subset(wide),
    })
}

/// The same of `deny`, where a kind that is not listed beside one that is means none.
fn denies_all(wide: &Lists, narrow: &Lists) -> bool {
    if wide.iter().all(Option::is_none) {
        return true;
    }
    let lists_some = narrow.iter().any(Option::is_some);
    lists_some
        && wide.iter().zip(narrow).all(|lists| match lists {
            (_, None) => true,
            (None, Some(_)) => false,
            (Some(wide), Some(narrow)) => narrow.is_subset(wide),
        })
}
