//! What a caller may be permitted to do. One action a call; the words follow `flyteidl2/common/authorization.proto`.

use serde::{Serialize, Serializer};
use std::fmt;
use std::str::FromStr;

macro_rules! actions {
    ($($variant:ident $label:literal $help:literal,)*) => {
        /// One kind of right. Every RPC of the catalogue needs exactly one.
        #[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, PartialOrd, Ord)]
        #[repr(u8)]
        pub enum Action {
            $(#[doc = $help] $variant,)*
        }

        impl Action {
            /// Every action, in the order of the documentation.
            pub const ALL: &'static [Self] = &[$(Self::$variant,)*];

            /// The word used in policy files, logs and messages.
            #[must_use]
            pub const fn label(self) -> &'static str {
                match self { $(Self::$variant => $label,)* }
            }

            /// One sentence on what the action lets a caller do.
            #[must_use]
            pub const fn help(self) -> &'static str {
                match self { $(Self::$variant => $help,)* }
            }
        }
    };
}

actions! {
    ViewInventory "view_inventory" "See tasks, workflows, launch plans, named entities, descriptions and attributes.",
    UseInventory "use_inventory" "Refer to tasks, workflows and launch plans from another project or domain.",
    RegisterInventory "register_inventory" "Register, activate and archive tasks, workflows and launch plans.",
    ViewExecutions "view_executions" "See executions, their nodes, tasks, signals and metrics.",
    ViewData "view_data" "Read inputs, outputs, decks and links to them.",
    CreateExecutions "create_executions" "Start, relaunch, recover, archive and signal executions.",
    TerminateExecutions "terminate_executions" "Stop executions.",
    UploadData "upload_data" "Obtain locations to upload code and data to.",
    AdministerProject "administer_project" "Change a project's description, labels and state.",
    EditExecutionAttributes "edit_execution_attributes" "Change task resources, quality of service, plugin and execution settings.",
    EditClusterAttributes "edit_cluster_attributes" "Change cluster resources, queues, cluster labels and assignments.",
    ManageApps "manage_apps" "Deploy and stop apps (Flyte 2).",
    ManageTriggers "manage_triggers" "Deploy and activate triggers (Flyte 2).",
    ManageSecrets "manage_secrets" "Write secrets (Flyte 2).",
    ReportEvents "report_events" "Report progress of executions, as the engine does.",
    AdministerPlatform "administer_platform" "Do what concerns every project, such as creating one.",
}

impl fmt::Display for Action {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(self.label())
    }
}

/// A word that is no action.
#[derive(Debug, thiserror::Error, PartialEq, Eq)]
#[error("unknown action `{0}`")]
pub struct UnknownAction(String);

impl FromStr for Action {
    type Err = UnknownAction;

    fn from_str(word: &str) -> Result<Self, Self::Err> {
        Self::ALL
            .iter()
            .copied()
            .find(|action| action.label() == word)
            .ok_or_else(|| UnknownAction(word.to_owned()))
    }
}

/// A set of actions.
#[derive(Clone, Copy, Default, PartialEq, Eq, Hash)]
pub struct ActionSet(u32);

impl ActionSet {
    /// No action.
    pub const EMPTY: Self = Self(0);
    /// The three actions that only look: a project is visible to whoever holds one of them in some domain.
    pub const VIEWS: Self = Self::of(&[Action::ViewInventory, Action::ViewExecutions, Action::ViewData]);

    /// The set of the given actions.
    #[must_use]
    pub const fn of(actions: &[Action]) -> Self {
        let mut bits = 0;
        let mut rest = actions;
        while let [first, tail @ ..] = rest {
            bits |= 1 << (*first as u8);
            rest = tail;
        }
        Self(bits)
    }

    /// Every action there is: what `"*"` in a policy means.
    #[must_use]
    pub const fn all() -> Self {
        Self::of(Action::ALL)
    }

    /// Whether the action is in the set.
    #[must_use]
    pub const fn contains(self, action: Action) -> bool {
        self.0 & (1 << (action as u8)) != 0
    }

    /// Both sets together.
    #[must_use]
    pub const fn union(self, other: Self) -> Self {
        Self(self.0 | other.0)
    }

    /// Whether the sets share an action.
    #[must_use]
    pub const fn intersects(self, other: Self) -> bool {
        self.0 & other.0 != 0
    }

    /// Whether the set has no action.
    #[must_use]
    pub const fn is_empty(self) -> bool {
        self.0 == 0
    }

    /// The actions of the set, in the order of [`Action::ALL`].
    pub fn iter(self) -> impl Iterator<Item = Action> {
        Action::ALL.iter().copied().filter(move |action| self.contains(*action))
    }
}

/// As the list of its actions' labels.
impl Serialize for ActionSet {
    fn serialize<S: Serializer>(&self, serializer: S) -> Result<S::Ok, S::Error> {
        serializer.collect_seq(self.iter().map(Action::label))
    }
}

impl From<Action> for ActionSet {
    fn from(action: Action) -> Self {
        Self::of(&[action])
    }
}

impl FromIterator<Action> for ActionSet {
    fn from_iter<I: IntoIterator<Item = Action>>(actions: I) -> Self {
        actions
            .into_iter()
            .fold(Self::EMPTY, |set, action| set.union(action.into()))
    }
}

impl fmt::Debug for ActionSet {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_set().entries(self.iter().map(Action::label)).finish()
    }
}
