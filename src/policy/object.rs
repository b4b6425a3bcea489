//! Objects of the store that a grant gives links to, by the places in which their paths lie.

use super::decide::Rights;
use super::grant::{Grant, Place};
use super::guard::{completed, lies_below};
use super::pattern::{Glob, Template, Variable, is_label};
use crate::model::action::Action;
use crate::model::scope::Resource;
use std::sync::Arc;

impl Rights {
    /// The grant by which the caller may read an object of the store, if there is one: it gives `view_data` where the
    /// object lies below one of its prefixes, and nothing denies that there.
    pub(in crate::policy) fn grants_object(&self, url: &str) -> Option<&Arc<Grant>> {
        self.grants.iter().find(|grant| {
            let prefixes = &grant.guards.download_prefixes;
            grant.actions.contains(Action::ViewData)
                && grant.lists.are_absent()
                && prefixes.iter().any(|prefix| self.covers(grant, prefix, url))
        })
    }

    fn covers(&self, grant: &Grant, prefix: &Template, url: &str) -> bool {
        let names = |wanted: &str| prefix.variables().any(|variable| is_named(variable, wanted));
        let below = |project: &str, domain: &str| {
            let place = Place::Domain { project, domain };
            completed(prefix, place).is_some_and(|prefix| lies_below(&prefix, url))
        };
        let about = |domain: &&str| grant.domains.iter().any(|glob| glob.matches(domain));
        let mut domains = self.domains.iter().map(|domain| &**domain).filter(about).peekable();
        if domains.peek().is_none() {
            return false;
        }
        // Where the path does not tell the place, everything the grant is about has to be free.
        let free_in = |domain: &str| match project_in(prefix, url).filter(|_| names("project")) {
            Some(project) => {
                let place = Place::Domain { project, domain };
                grant.is_about(place) && below(project, domain) && !self.is_denied(place)
            }
            None => !names("project") && below("", domain) && !self.may_be_denied(grant, domain),
        };
        if names("domain") {
            domains.any(free_in)
        } else {
            domains.all(free_in)
        }
    }

    fn is_denied(&self, place: Place<'_>) -> bool {
        let denies = self
            .denies
            .iter()
            .filter(|deny| deny.actions.contains(Action::ViewData));
        denies
            .filter(|deny| deny.is_about(place))
            .any(|deny| deny.denies(place, Some(&Resource::Unnamed)))
    }

    /// Whether something is denied in a domain of any project that the grant could be about.
    fn may_be_denied(&self, grant: &Grant, domain: &str) -> bool {
        let exact = |globs: &[Glob]| globs.iter().all(|glob| matches!(glob, Glob::Exact(_)));
        self.denies.iter().any(|deny| {
            let apart = exact(&grant.projects)
                && !grant.projects.iter().any(|glob| match glob {
                    Glob::Exact(project) => deny.projects.iter().any(|other| other.matches(project)),
                    Glob::Any | Glob::Parts(_) => true,
                });
            deny.actions.contains(Action::ViewData) && deny.domains.iter().any(|glob| glob.matches(domain)) && !apart
        })
    }
}

fn is_named(variable: &Variable, wanted: &str) -> bool {
    matches!(variable, Variable::Capture(name) if **name == *wanted)
}

/// The project that a path names where the prefix has `${project}`, which is a whole part of it.
fn project_in<'u>(prefix: &Template, url: &'u str) -> Option<&'u str> {
    let text = prefix.to_string();
    let at = text.split('/').position(|part| part == "${project}")?;
    url.split('/').nth(at).filter(|project| is_label(project))
}

/// Whether `${project}` stands only where a path tells which one it is.
pub(in crate::policy) fn tells_its_project(prefix: &Template) -> bool {
    let names = prefix
        .variables()
        .filter(|variable| is_named(variable, "project"))
        .count();
    let text = prefix.to_string();
    let parts = text.split('/').filter(|part| *part == "${project}").count();
    names == parts
}

#[cfg(test)]
#[expect(clippy::unwrap_used, reason = "tests")]
mod tests {
    use super::*;
    use crate::policy::tests::{caller, policy};

    const POLICY: &str = r#"
version: 1
rules:
  - name: teams
    subjects: [{ groups: [ml, frozen, locked] }]
    allow:
      - projects: [ml, "x-*"]
        domains: [development, staging]
        role: viewer
        download_prefixes: ["s3://data/${project}/${domain}", "s3://runs/${project}/", "s3://${domain}-data/${project}"]
  - name: shared
    subjects: [{ groups: [shared, frozen, locked, stopped] }]
    allow: [{ projects: [ml], domains: ["*"], actions: [view_data], download_prefixes: ["s3://shared/ml"] }]
  - name: no-view
    subjects: [{ groups: [blind] }]
    allow: [{ projects: [ml], domains: ["*"], actions: [view_inventory], download_prefixes: ["s3://shared/ml"] }]
  - name: listing
    subjects: [{ groups: [listing] }]
    allow: [{ projects: [ml], domains: ["*"], role: viewer, tasks: [a], download_prefixes: ["s3://shared/ml"] }]
  - name: freeze
    subjects: [{ groups: [frozen] }]
    deny: [{ domains: [staging], actions: [view_data] }]
  - name: lock
    subjects: [{ groups: [locked] }]
    deny: [{ projects: [other], actions: [view_data] }]
  - name: stop
    subjects: [{ groups: [stopped] }]
    deny: [{ actions: [create_executions] }]
"#;

    #[test]
    fn an_object_is_read_by_who_may_view_data_where_its_path_lies() {
        let policy = policy(POLICY);
        for (group, url, expected) in [
            ("ml", "s3://data/ml/staging/x", true),
            ("ml", "s3://data/x-1/development/x", true),
            ("ml", "s3://data/x-1/development", true),
            ("ml", "s3://data/ml/production/x", false),
            ("ml", "s3://data/other/staging/x", false),
            ("ml", "s3://data/ml/stagingx/x", false),
            ("ml", "s3://data/ml/staging/../production/x", false),
            ("ml", "s3://data/ml/staging/%2e%2e/x", false),
            ("ml", "s3://data/x-*/staging/x", false),
            ("ml", "s3://data//staging/x", false),
            ("ml", "gs://data/ml/staging/x", false),
            ("ml", "s3://data/ml", false),
            ("ml", "", false),
            // In whatever domain the grant is about.
            ("ml", "s3://runs/ml/x", true),
            ("ml", "s3://runs/other/x", false),
            ("ml", "s3://staging-data/ml/x", true),
            ("ml", "s3://production-data/ml/x", false),
            ("shared", "s3://shared/ml/x", true),
            ("shared", "s3://shared/ml2/x", false),
            ("blind", "s3://shared/ml/x", false),
            ("listing", "s3://shared/ml/x", false),
            ("nobody", "s3://shared/ml/x", false),
            // A deny counts where the path lies, or where it could.
            ("frozen", "s3://data/ml/development/x", true),
            ("frozen", "s3://data/ml/staging/x", false),
            ("frozen", "s3://runs/ml/x", false),
            ("frozen", "s3://shared/ml/x", false),
            ("locked", "s3://shared/ml/x", true),
            ("locked", "s3://data/ml/staging/x", true),
            ("stopped", "s3://shared/ml/x", true),
        ] {
            let rights = policy.resolve(&caller(&[group]), &mut ());
            assert_eq!(rights.grants_object(url).is_some(), expected, "{group} {url}");
        }
    }

    #[test]
    fn a_prefix_tells_its_project_by_a_whole_part() {
        for (text, expected) in [
            ("s3://b/${project}", true),
            ("s3://b/${project}/${project}", true),
            ("s3://b", true),
            ("s3://b/${domain}-x", true),
            ("s3://b/x-${project}", false),
            ("s3://${project}-${domain}/x", false),
        ] {
            assert_eq!(tells_its_project(&Template::new(text).unwrap()), expected, "{text}");
        }
    }
}
