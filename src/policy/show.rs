//! What of an answer a principal is shown: the same judgement, item by item, and the names it can come to.

use super::decide::Rights;
use super::grant::{Grant, Place};
use super::pattern::Glob;
use crate::model::action::ActionSet;
use crate::model::scope::{Resource, ResourceKind, Scope, Target, TargetRole};
use std::collections::BTreeSet;
use std::sync::Arc;

/// Something in an answer.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Shown<'a> {
    /// Where it lies.
    pub scope: Scope,
    /// One of these actions is needed there.
    pub needs: ActionSet,
    /// Which thing it is, or runs.
    pub resource: Option<Resource>,
    /// The project and domain of that thing, if others than its own.
    pub named_in: Option<(&'a str, &'a str)>,
}

impl Rights {
    /// Whether the principal is shown it: exactly when a call for it would be allowed.
    #[must_use]
    pub fn shows(&self, shown: Shown<'_>) -> bool {
        let target = Target {
            scope: shown.scope,
            needs: shown.needs,
            resource: shown.resource,
            field: Arc::default(),
            role: TargetRole::Acts,
        };
        let named_in = shown
            .named_in
            .map(|(project, domain)| Place::Domain { project, domain });
        self.allows(&target, named_in)
    }

    /// Whether the principal may view something in some domain of the project.
    #[must_use]
    pub fn visible_project(&self, project: &str) -> bool {
        // Of a long list most is of no concern to anyone: told without judging each domain.
        let is_named = |grant: &Arc<Grant>| grant.projects.iter().any(|glob| glob.matches(project));
        self.grants.iter().any(is_named) && self.allows_in_some_domain(project, ActionSet::VIEWS)
    }

    /// Whether it is plain that there is no project in which the principal may not view something.
    #[must_use]
    pub fn sees_every_project(&self) -> bool {
        let views = |grant: &&Arc<Grant>| grant.actions.intersects(ActionSet::VIEWS);
        let exists = |domain: &Glob| self.domains.iter().any(|known| domain.matches(known));
        let everywhere = |grant: &Arc<Grant>| grant.projects.contains(&Glob::Any) && grant.domains.iter().any(exists);
        // A deny of names hides no project.
        let mut denies = self.denies.iter().filter(views);
        denies.all(|deny| !deny.lists.are_absent()) && self.grants.iter().filter(views).any(everywhere)
    }

    /// Every project in which the principal may view something, in order; `None` if rules allow projects by pattern, or
    /// name more than `most`: each has to be judged.
    #[must_use]
    pub fn visible_projects(&self, most: usize) -> Option<Vec<Box<str>>> {
        let mut names: BTreeSet<&Box<str>> = BTreeSet::new();
        for grant in self
            .grants
            .iter()
            .filter(|grant| grant.actions.intersects(ActionSet::VIEWS))
        {
            for project in &grant.projects {
                match project {
                    Glob::Exact(name) => names.insert(name),
                    Glob::Any | Glob::Parts(_) => return None,
                };
            }
            if names.len() > most {
                return None;
            }
        }
        let visible = names.into_iter().filter(|name| self.visible_project(name));
        Some(visible.cloned().collect())
    }

    /// Every name of this kind for which the principal may do one of these in a domain of a project, in order; `None` if
    /// a rule allows names that it does not list, or rules list more than `most`. A list can mean more than the names of
    /// things that exist.
    #[must_use]
    pub fn listed_names(
        &self,
        project: &str,
        domain: &str,
        needs: ActionSet,
        kind: ResourceKind,
        most: usize,
    ) -> Option<Vec<Box<str>>> {
        let place = Place::Domain { project, domain };
        let covers = |grant: &&Arc<Grant>| grant.is_about(place) && grant.actions.intersects(needs);
        let mut names: BTreeSet<&str> = BTreeSet::new();
        for grant in self.grants.iter().filter(covers) {
            for entry in grant.lists.of(kind)? {
                // Whatever stands in front: what is shown decides.
                names.extend(entry.splitn(3, '/').last());
            }
            if names.len() > most {
                return None;
            }
        }
        let shown = |name: &&str| {
            self.shows(Shown {
                scope: Scope::ProjectDomain {
                    project: project.into(),
                    domain: domain.into(),
                },
                needs,
                resource: Some(Resource::Named {
                    kind,
                    name: (*name).into(),
                }),
                named_in: None,
            })
        };
        Some(names.into_iter().filter(shown).map(Box::from).collect())
    }
}

#[cfg(test)]
mod tests;
