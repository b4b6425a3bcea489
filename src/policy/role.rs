//! Roles: the built-in bundles of actions and those a policy defines.

use crate::model::action::{Action, ActionSet};
use std::collections::BTreeMap;

const VIEWER: ActionSet = ActionSet::VIEWS;
const OPERATOR: ActionSet = VIEWER.union(ActionSet::of(&[
    Action::UseInventory,
    Action::CreateExecutions,
    Action::TerminateExecutions,
    Action::UploadData,
]));
const CONTRIBUTOR: ActionSet = OPERATOR.union(ActionSet::of(&[
    Action::RegisterInventory,
    Action::ManageApps,
    Action::ManageTriggers,
]));
const PROJECT_ADMIN: ActionSet = CONTRIBUTOR.union(ActionSet::of(&[
    Action::AdministerProject,
    Action::EditExecutionAttributes,
    Action::EditClusterAttributes,
    Action::ManageSecrets,
]));
// What propeller, the scheduler and task pods call.
const ENGINE: ActionSet = ActionSet::of(&[
    Action::ViewInventory,
    Action::UseInventory,
    Action::ViewExecutions,
    Action::ViewData,
    Action::CreateExecutions,
    Action::TerminateExecutions,
    Action::UploadData,
    Action::ReportEvents,
]);

/// The roles every policy has, smallest first. A policy cannot redefine them.
pub const BUILT_IN: &[(&str, ActionSet)] = &[
    ("viewer", VIEWER),
    ("operator", OPERATOR),
    ("contributor", CONTRIBUTOR),
    ("project_admin", PROJECT_ADMIN),
    ("engine", ENGINE),
    ("platform_admin", ActionSet::all()),
];

/// The roles that a policy can name.
#[derive(Clone, Debug)]
pub struct Roles(BTreeMap<Box<str>, ActionSet>);

impl Default for Roles {
    fn default() -> Self {
        Self(
            BUILT_IN
                .iter()
                .map(|(name, actions)| (Box::from(*name), *actions))
                .collect(),
        )
    }
}

impl Roles {
    /// The actions of a role.
    #[must_use]
    pub fn actions(&self, name: &str) -> Option<ActionSet> {
        self.0.get(name).copied()
    }

    /// The name of a role with exactly these actions: a built-in one first.
    pub(in crate::policy) fn with_actions(&self, actions: ActionSet) -> Option<&str> {
        let built_in = BUILT_IN.iter().copied();
        let defined = self.0.iter().map(|(name, actions)| (&**name, *actions));
        let mut all = built_in.chain(defined);
        all.find(|(_, own)| *own == actions).map(|(name, _)| name)
    }

    /// Every name.
    pub fn names(&self) -> impl Iterator<Item = &str> {
        self.0.keys().map(|name| &**name)
    }

    pub(in crate::policy) fn define(&mut self, name: &str, actions: ActionSet) {
        self.0.insert(name.into(), actions);
    }
}

/// The word that was probably meant: the nearest one, if it is near.
pub(in crate::policy) fn nearest<'a>(word: &str, known: impl IntoIterator<Item = &'a str>) -> Option<&'a str> {
    let limit = (word.chars().count() / 3).max(2);
    known
        .into_iter()
        .map(|candidate| (distance(word, candidate), candidate))
        .filter(|(distance, _)| *distance <= limit)
        .min_by_key(|(distance, _)| *distance)
        .map(|(_, candidate)| candidate)
}

/// How many characters must be inserted, removed or replaced to turn one word into the other (Levenshtein).
fn distance(from: &str, to: &str) -> usize {
    let mut row: Vec<usize> = (0..=to.chars().count()).collect();
    for (line, left) in (1..).zip(from.chars()) {
        let mut diagonal = line - 1;
        let mut before = line;
        for (cell, right) in row.iter_mut().skip(1).zip(to.chars()) {
            let replaced = diagonal + usize::from(left != right);
            diagonal = *cell;
            before = replaced.min(before + 1).min(*cell + 1);
            *cell = before;
        }
    }
    row.last().copied().unwrap_or_default()
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;

    #[test]
    fn built_in_roles_have_exactly_the_documented_actions() {
        let words = |name: &str| {
            let actions = Roles::default().actions(name).unwrap();
            actions.iter().map(Action::label).collect::<Vec<_>>().join(" ")
        };
        assert_eq!(words("viewer"), "view_inventory view_executions view_data");
        assert_eq!(
            words("operator"),
            "view_inventory use_inventory view_executions view_data create_executions terminate_executions upload_data"
        );
        assert_eq!(
            words("contributor"),
            "view_inventory use_inventory register_inventory view_executions view_data create_executions \
             terminate_executions upload_data manage_apps manage_triggers"
        );
        assert_eq!(
            words("project_admin"),
            "view_inventory use_inventory register_inventory view_executions view_data create_executions \
             terminate_executions upload_data administer_project edit_execution_attributes edit_cluster_attributes \
             manage_apps manage_triggers manage_secrets"
        );
        assert_eq!(
            words("engine"),
            "view_inventory use_inventory view_executions view_data create_executions terminate_executions \
             upload_data report_events"
        );
        assert_eq!(Roles::default().actions("platform_admin"), Some(ActionSet::all()));
        assert_eq!(Roles::default().names().count(), 6);
    }

    #[test]
    fn the_nearest_word_is_suggested_only_when_it_is_near() {
        let known = ["viewer", "operator", "contributor"];
        assert_eq!(nearest("viewr", known), Some("viewer"));
        assert_eq!(nearest("contributer", known), Some("contributor"));
        assert_eq!(nearest("banana", known), None);
        // A third of a long word may be wrong.
        assert_eq!(nearest("contxyzutor", known), Some("contributor"));
        assert_eq!(nearest("wxyzributor", known), None);
        assert_eq!(distance("kitten", "sitting"), 3);
        assert_eq!(distance("aab", "ab"), 1);
        assert_eq!(distance("", "abc"), 3);
    }
}
