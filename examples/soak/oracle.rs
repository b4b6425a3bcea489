//! What is right: a table of grants for each version of the policy, read in the plainest way. The policy files are written
//! from it; the proxy's own code takes no part in saying what they mean.

use std::collections::BTreeSet;
use std::fmt::Write;

/// What a call does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub(crate) enum Ability {
    /// Looking at executions.
    ViewExecutions,
    /// Looking at tasks, workflows and launch plans.
    ViewInventory,
    /// Ending executions.
    Terminate,
}

use Ability::{Terminate, ViewExecutions, ViewInventory};

impl Ability {
    fn action(self) -> &'static str {
        match self {
            ViewExecutions => "view_executions",
            ViewInventory => "view_inventory",
            Terminate => "terminate_executions",
        }
    }
}

/// Every project of the control plane, in the order it lists them.
pub(crate) const PROJECTS: [&str; 4] = ["flytesnacks", "fraud", "ml", "shared-lib"];
/// Every domain.
pub(crate) const DOMAINS: [&str; 3] = ["development", "staging", "production"];
/// Callers by name, with their group.
pub(crate) const CALLERS: [(&str, &str); 4] = [
    ("alice", "ml-team"),
    ("bob", "fraud-team"),
    ("carol", "auditors"),
    ("dave", "guests"),
];

/// A group may do something in a place; `*` is any.
type Grant = (&'static str, &'static str, &'static str, &'static [Ability]);

/// One version of the policy.
#[derive(Debug)]
pub(crate) struct Version {
    grants: &'static [Grant],
    /// Groups and projects: nothing at all is allowed to them there, whatever is granted.
    denies: &'static [(&'static str, &'static str)],
}

const ALL: &[Ability] = &[ViewExecutions, ViewInventory, Terminate];
const VIEW: &[Ability] = &[ViewExecutions, ViewInventory];

/// The versions that follow each other in any order.
pub(crate) const VERSIONS: [Version; 6] = [
    Version {
        grants: &[
            ("ml-team", "ml", "*", ALL),
            ("fraud-team", "fraud", "*", ALL),
            ("auditors", "*", "*", VIEW),
        ],
        denies: &[],
    },
    Version {
        grants: &[
            ("ml-team", "ml", "development", ALL),
            ("ml-team", "ml", "production", VIEW),
            ("ml-team", "shared-lib", "production", &[ViewInventory]),
            ("fraud-team", "fraud", "staging", &[ViewExecutions]),
            ("auditors", "*", "production", VIEW),
        ],
        denies: &[],
    },
    Version {
        grants: &[
            ("ml-team", "*", "*", ALL),
            ("fraud-team", "*", "*", VIEW),
            ("guests", "flytesnacks", "*", VIEW),
        ],
        denies: &[("ml-team", "fraud"), ("fraud-team", "ml")],
    },
    // The teams have changed places.
    Version {
        grants: &[("ml-team", "fraud", "*", ALL), ("fraud-team", "ml", "*", ALL)],
        denies: &[],
    },
    // Next to nothing.
    Version {
        grants: &[("auditors", "shared-lib", "staging", &[ViewInventory])],
        denies: &[],
    },
    Version {
        grants: &[
            ("ml-team", "ml", "*", &[Terminate]),
            ("fraud-team", "fraud", "*", &[ViewInventory]),
            ("auditors", "*", "*", ALL),
            ("guests", "*", "development", VIEW),
        ],
        denies: &[("auditors", "ml"), ("guests", "fraud")],
    },
];

/// The index of somebody's group.
fn group(caller: usize) -> &'static str {
    CALLERS[caller].1
}

impl Version {
    fn denies(&self, caller: usize, project: &str) -> bool {
        self.denies
            .iter()
            .any(|(whom, place)| *whom == group(caller) && *place == project)
    }

    /// Whether a caller may do something somewhere.
    pub(crate) fn allows(&self, caller: usize, ability: Ability, project: &str, domain: &str) -> bool {
        let granted = self.grants.iter().any(|(whom, projects, domains, abilities)| {
            *whom == group(caller)
                && (*projects == "*" || *projects == project)
                && (*domains == "*" || *domains == domain)
                && abilities.contains(&ability)
        });
        granted && !self.denies(caller, project)
    }

    /// The projects in which a caller may look at something.
    pub(crate) fn visible(&self, caller: usize) -> BTreeSet<String> {
        let sees = |project: &&&str| {
            let mut views = VIEW
                .iter()
                .flat_map(|ability| DOMAINS.iter().map(move |domain| (ability, domain)));
            views.any(|(ability, domain)| self.allows(caller, *ability, project, domain))
        };
        PROJECTS
            .iter()
            .filter(sees)
            .map(|project| (*project).to_owned())
            .collect()
    }

    /// The policy file that says so.
    pub(crate) fn yaml(&self) -> String {
        let mut text = String::from("version: 1\nrules:\n");
        let any = |name: &str| {
            if name == "*" {
                "\"*\"".to_owned()
            } else {
                name.to_owned()
            }
        };
        for (number, (whom, project, domain, abilities)) in self.grants.iter().enumerate() {
            let actions: Vec<&str> = abilities.iter().map(|ability| ability.action()).collect();
            let rule = format!(
                "  - name: grant-{number}\n    subjects: [{{ groups: [{whom}] }}]\n    allow:\n      - projects: [{}]\n        domains: [{}]\n        actions: [{}]\n",
                any(project),
                any(domain),
                actions.join(", ")
            );
            _ = text.write_str(&rule);
        }
        for (number, (whom, project)) in self.denies.iter().enumerate() {
            let rule = format!(
                "  - name: deny-{number}\n    subjects: [{{ groups: [{whom}] }}]\n    deny:\n      - projects: [{project}]\n        domains: [\"*\"]\n        actions: [\"*\"]\n"
            );
            _ = text.write_str(&rule);
        }
        text
    }
}
