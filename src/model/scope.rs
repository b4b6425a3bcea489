//! Where an action happens: scopes, targets, and the names that make them up.

use super::action::ActionSet;
use std::fmt;
use std::sync::Arc;

/// How much of Flyte a call touches.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Scope {
    /// No project: the platform as a whole.
    Global,
    /// A whole project: the right is needed in every domain that exists.
    Project(Arc<str>),
    /// A project of which something is visible: the right is needed in some domain.
    ProjectInSomeDomain(Arc<str>),
    /// One domain of a project.
    ProjectDomain {
        /// The project's identifier.
        project: Arc<str>,
        /// The domain's identifier.
        domain: Arc<str>,
    },
}

impl Scope {
    /// The project, where there is one.
    #[must_use]
    pub fn project(&self) -> Option<&str> {
        match self {
            Self::Global => None,
            Self::Project(project) | Self::ProjectInSomeDomain(project) | Self::ProjectDomain { project, .. } => {
                Some(project)
            }
        }
    }

    /// The domain, where there is one.
    #[must_use]
    pub fn domain(&self) -> Option<&str> {
        match self {
            Self::ProjectDomain { domain, .. } => Some(domain),
            Self::Global | Self::Project(_) | Self::ProjectInSomeDomain(_) => None,
        }
    }
}

impl fmt::Display for Scope {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Global => f.write_str("the platform"),
            Self::Project(project) => write!(f, "project {project} (every domain)"),
            Self::ProjectInSomeDomain(project) => write!(f, "project {project}"),
            Self::ProjectDomain { project, domain } => write!(f, "project {project}, domain {domain}"),
        }
    }
}

/// Kinds of named things for which a grant can hold an allow-list.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum ResourceKind {
    /// A task.
    Task,
    /// A workflow.
    Workflow,
    /// A launch plan.
    LaunchPlan,
}

impl ResourceKind {
    /// Every kind.
    pub const ALL: [Self; 3] = [Self::Task, Self::Workflow, Self::LaunchPlan];

    /// The word used in messages and audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Task => "task",
            Self::Workflow => "workflow",
            Self::LaunchPlan => "launch_plan",
        }
    }
}

/// Which named thing a call touches within its scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub enum Resource {
    /// One thing, named by the request.
    Named {
        /// What it is.
        kind: ResourceKind,
        /// Its name, without version.
        name: Arc<str>,
    },
    /// All things of a kind (a list without a name): not covered by a grant that lists names of that kind.
    Every(ResourceKind),
    /// All things of a kind, or of any kind, in an answer that shows only those that are allowed by name: also covered by
    /// a grant that lists names.
    Listed(Option<ResourceKind>),
    /// An object of the store, by its URL.
    Object(Arc<str>),
    /// Something the request does not name: not covered by a grant that lists names of any kind.
    Unnamed,
    /// What a stored execution of the target's scope runs: by itself unnamed, and named once it was looked up.
    RunBy(Box<StoredExecution>),
}

/// An execution that the control plane has, as a request names it within a scope.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct StoredExecution {
    /// Its name.
    pub name: Arc<str>,
    /// The organization the request gives; mostly empty.
    pub organization: Box<str>,
    /// Whether the call starts it again, as it was stored.
    pub again: bool,
    /// What it runs, if that was looked up.
    pub runs: Option<Run>,
}

/// A name that a call chooses for a new execution, which `FlyteAdmin` finds out late to be another's: it has written the
/// inputs of the new one over those of the other by then.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct ChosenName {
    /// The name, never empty.
    pub name: Arc<str>,
    /// The organization the request gives; mostly empty.
    pub organization: Box<str>,
    /// The request field it was read from.
    pub field: Arc<str>,
}

/// What an execution runs, which may lie in another project or domain than the execution.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Run {
    /// A task or a launch plan.
    pub kind: ResourceKind,
    /// The project it lies in.
    pub project: Arc<str>,
    /// The domain it lies in.
    pub domain: Arc<str>,
    /// Its name, without version.
    pub name: Arc<str>,
}

/// One thing a call touches and what is needed there. A call is permitted only if every target is.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Target {
    /// Where.
    pub scope: Scope,
    /// One of these actions is needed there; mostly exactly one.
    pub needs: ActionSet,
    /// Which named thing, where the request says.
    pub resource: Option<Resource>,
    /// The request field it was read from, such as `spec.launch_plan`; empty for the message itself.
    pub field: Arc<str>,
    /// Whether this is the scope the call acts in or something it refers to.
    pub role: TargetRole,
}

impl Target {
    /// The same under each of the other kinds; none where no kind is said.
    pub fn under_other_kinds(&self) -> impl Iterator<Item = Self> {
        let resource = self.resource.as_ref();
        let under = move |kind| match resource? {
            Resource::Named { kind: own, name } if *own != kind => Some(Resource::Named {
                kind,
                name: Arc::clone(name),
            }),
            Resource::Every(own) if *own != kind => Some(Resource::Every(kind)),
            Resource::Listed(Some(own)) if *own != kind => Some(Resource::Listed(Some(kind))),
            _ => None,
        };
        ResourceKind::ALL.into_iter().filter_map(under).map(|resource| Self {
            resource: Some(resource),
            ..self.clone()
        })
    }
}

/// Why a target has to be judged.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum TargetRole {
    /// The scope the call acts in.
    Acts,
    /// Something the call refers to.
    Refers,
}
