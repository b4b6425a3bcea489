//! What two policies allow differently, without asking anybody in particular: each is taken apart into the smallest
//! pieces that count by themselves (one kind of caller, one project pattern, one domain, some actions), and a piece is
//! told unless some piece of the other policy covers it.
//!
//! That finds everything: where a call of some caller is decided otherwise, a piece that is about this caller and a place
//! of the call is told, in the direction of the change. It can tell too much, where only several pieces together cover
//! one, such as an allow-list that was split in two.

use super::{Policy, RuleName};
use crate::model::action::{Action, ActionSet};
use piece::{Piece, Pieces};
use serde::Serialize;
use std::collections::{BTreeMap, BTreeSet};
use std::fmt;

mod piece;

/// The actions of the calls into which settings are written.
const SETTING: [Action; 2] = [Action::RegisterInventory, Action::CreateExecutions];

/// In which direction rights change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Change {
    /// Something is allowed that was not.
    Gained,
    /// Something is not allowed any more.
    Lost,
}

/// By what they change.
#[derive(Clone, Copy, Debug, PartialEq, Eq, PartialOrd, Ord, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum By {
    /// An entry of `allow` that is new, or gone.
    Allow,
    /// An entry of `deny` that is gone, or new.
    Deny,
    /// An entry of `allow` with `set` that is gone, or new: what other entries set is refused beside it where it is
    /// something else.
    Set,
    /// An item of `revoked` that is gone, or new.
    Revoked,
}

/// Rights that one policy gives and the other does not.
#[derive(Clone, Debug, PartialEq, Eq, Serialize)]
pub struct Difference {
    /// Whether they are gained or lost.
    pub change: Change,
    /// By what.
    pub by: By,
    /// Whose they are.
    pub subject: String,
    /// Who is spared by the deny.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub unless: Vec<String>,
    /// What the caller's claims have to hold besides: the texts of the rule that are completed from them.
    #[serde(skip_serializing_if = "Vec::is_empty")]
    pub given: Vec<String>,
    /// The project as the rule writes it: with `*`, or completed from claims.
    pub project: String,
    /// The domains.
    pub domains: Vec<String>,
    /// Whether it is the platform as a whole, too.
    pub platform: bool,
    /// The actions; for a revocation all.
    pub actions: Vec<&'static str>,
    /// The only tasks it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub tasks: Option<BTreeSet<String>>,
    /// The only workflows it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub workflows: Option<BTreeSet<String>>,
    /// The only launch plans it is about.
    #[serde(skip_serializing_if = "Option::is_none")]
    pub launch_plans: Option<BTreeSet<String>>,
    /// What it says of settings of executions.
    #[serde(skip_serializing_if = "BTreeSet::is_empty")]
    pub guards: BTreeSet<String>,
    /// The rule, in the policy that has it.
    pub rule: RuleName,
}

/// Everything that is allowed differently, in a fixed order: gained first, then lost.
#[must_use]
pub fn diff(old: &Policy, new: &Policy) -> Vec<Difference> {
    let (before, after) = (Pieces::of(old), Pieces::of(new));
    let mut merged: BTreeMap<Merged<'_>, BTreeSet<Option<&str>>> = BTreeMap::new();
    for found in found(&before, &after) {
        let piece = found.piece;
        let key = Merged {
            change: found.change,
            by: found.by,
            elsewhere: piece.without_domain(),
            actions: found.actions.iter().collect(),
            rule: found.rule,
        };
        merged.entry(key).or_default().insert(piece.domain.as_deref());
    }
    merged.iter().map(|(key, domains)| key.difference(domains)).collect()
}

/// A piece that the other policy does not cover, or not for all of its actions.
struct Found<'p> {
    change: Change,
    by: By,
    piece: &'p Piece,
    actions: ActionSet,
    rule: &'p RuleName,
}

fn found<'p>(before: &'p Pieces, after: &'p Pieces) -> Vec<Found<'p>> {
    let mut all = Vec::new();
    for (change, by, own, other) in [
        (Change::Gained, By::Allow, &after.allowed, &before.allowed),
        (Change::Lost, By::Allow, &before.allowed, &after.allowed),
        (Change::Gained, By::Deny, &before.denied, &after.denied),
        (Change::Lost, By::Deny, &after.denied, &before.denied),
        (Change::Gained, By::Revoked, &before.revoked, &after.revoked),
        (Change::Lost, By::Revoked, &after.revoked, &before.revoked),
    ] {
        let uncovered = own.not_covered_by(other, by == By::Allow);
        all.extend(uncovered.into_iter().map(|(piece, actions, rule)| Found {
            change,
            by,
            piece,
            actions,
            rule,
        }));
    }
    let told = Told::of(&all);
    let mut more: Vec<Found<'p>> = conflicts(&all, &told);
    for (change, own, other) in [
        (Change::Gained, &after.impersonated, &before.impersonated),
        (Change::Lost, &before.impersonated, &after.impersonated),
    ] {
        let uncovered = own.not_covered_by(other, true).into_iter();
        let untold = uncovered.filter(|(piece, ..)| !told.has(change, piece, Action::CreateExecutions));
        more.extend(untold.map(|(piece, actions, rule)| Found {
            change,
            by: By::Allow,
            piece,
            actions,
            rule,
        }));
    }
    all.extend(more);
    all
}

/// The actions that entries of `allow` are told with, by their places and callers.
struct Told<'p>(BTreeMap<(Change, Option<&'p str>, piece::Elsewhere<'p>), ActionSet>);

impl<'p> Told<'p> {
    fn of(all: &[Found<'p>]) -> Self {
        let mut told = Self(BTreeMap::new());
        for found in all.iter().filter(|found| found.by == By::Allow) {
            let (domain, elsewhere) = found.piece.without_guards();
            let actions = told.0.entry((found.change, domain, elsewhere)).or_default();
            *actions = actions.union(found.actions);
        }
        told
    }

    /// Whether an action of such a piece is told in this direction, with whatever guards.
    fn has(&self, change: Change, piece: &Piece, action: Action) -> bool {
        let (domain, elsewhere) = piece.without_guards();
        let told = self.0.get(&(change, domain, elsewhere));
        told.is_some_and(|actions| actions.contains(action))
    }
}

/// Where different values are set, a call is refused: an entry that sets one takes away and gives back, unless another one
/// comes or goes in its place, which is told.
fn conflicts<'p>(all: &[Found<'p>], told: &Told<'p>) -> Vec<Found<'p>> {
    let other_way = |found: &Found<'p>| {
        let change = match found.change {
            Change::Gained => Change::Lost,
            Change::Lost => Change::Gained,
        };
        let actions: ActionSet = SETTING
            .into_iter()
            .filter(|action| found.actions.contains(*action) && !told.has(change, found.piece, *action))
            .collect();
        (!actions.is_empty()).then_some(Found {
            change,
            by: By::Set,
            piece: found.piece,
            actions,
            rule: found.rule,
        })
    };
    let sets = |found: &&Found<'p>| found.by == By::Allow && found.piece.sets();
    all.iter().filter(sets).filter_map(other_way).collect()
}

/// What is told in one line: pieces that differ in their domain only.
#[derive(PartialEq, Eq, PartialOrd, Ord)]
struct Merged<'p> {
    change: Change,
    by: By,
    elsewhere: piece::Elsewhere<'p>,
    actions: Vec<Action>,
    rule: &'p RuleName,
}

impl Merged<'_> {
    fn difference(&self, domains: &BTreeSet<Option<&str>>) -> Difference {
        let piece::Elsewhere {
            project,
            who,
            unless,
            given,
            lists: [tasks, workflows, launch_plans],
            guards,
        } = self.elsewhere;
        Difference {
            change: self.change,
            by: self.by,
            subject: who.to_string(),
            unless: unless.iter().map(ToString::to_string).collect(),
            given: given.iter().cloned().collect(),
            project: project.clone(),
            domains: domains.iter().flatten().map(|domain| (*domain).to_owned()).collect(),
            platform: domains.contains(&None),
            actions: self.actions.iter().map(|action| action.label()).collect(),
            tasks: tasks.clone(),
            workflows: workflows.clone(),
            launch_plans: launch_plans.clone(),
            guards: guards.clone(),
            rule: self.rule.clone(),
        }
    }
}

/// One line for people.
impl fmt::Display for Difference {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        let change = match self.change {
            Change::Gained => "gained",
            Change::Lost => "lost",
        };
        write!(f, "{change}: {}", self.subject)?;
        if !self.unless.is_empty() {
            write!(f, " (but not {})", self.unless.join(", nor "))?;
        }
        if !self.given.is_empty() {
            write!(f, " with {}", self.given.join(", "))?;
        }
        if self.by == By::Revoked {
            write!(f, ": every call")?;
        } else {
            let all = self.actions.len() == Action::ALL.len();
            let actions = if all {
                "every action".to_owned()
            } else {
                self.actions.join(", ")
            };
            write!(f, ": {actions} in project {}", self.project)?;
            if !self.domains.is_empty() {
                write!(f, ", domain {}", self.domains.join(", "))?;
            }
            if self.platform {
                write!(
                    f,
                    "{}",
                    if self.domains.is_empty() {
                        ", on the platform"
                    } else {
                        " and on the platform"
                    }
                )?;
            }
        }
        let lists = [
            ("task", &self.tasks),
            ("workflow", &self.workflows),
            ("launch plan", &self.launch_plans),
        ];
        for (kind, names) in lists
            .iter()
            .filter_map(|(kind, names)| names.as_ref().map(|names| (kind, names)))
        {
            let names: Vec<&str> = names.iter().map(String::as_str).collect();
            if names.is_empty() {
                write!(f, "; no {kind}")?;
            } else {
                write!(f, "; only {kind} {}", names.join(", "))?;
            }
        }
        for guard in &self.guards {
            write!(f, "; {guard}")?;
        }
        let why = match (self.by, self.change) {
            (By::Allow, Change::Gained) => "allowed by rule",
            (By::Allow, Change::Lost) => "was allowed by rule",
            (By::Deny, Change::Gained) => "was denied by rule",
            (By::Deny, Change::Lost) => "denied by rule",
            (By::Set, Change::Gained) => "where others set something else, no longer refused for rule",
            (By::Set, Change::Lost) => "where others set something else, refused for rule",
            (By::Revoked, Change::Gained) => "was revoked by",
            (By::Revoked, Change::Lost) => "revoked by",
        };
        write!(f, " ({why} {})", self.rule)
    }
}

#[cfg(test)]
mod tests;
