//! How principals and targets are put into a record.

use super::shorten::json_len;
use super::{ClaimRecord, PrincipalRecord, RunRecord, TargetRecord};
use crate::model::principal::Principal;
use crate::model::scope::{Resource, Run, Scope, Target, TargetRole};
use crate::policy::reads::Reads;

/// The most that is recorded of a caller's groups and claims, in bytes as they are written.
const MAX_CLAIMS: usize = 8 << 10;

impl PrincipalRecord {
    pub(in crate::audit) fn of(principal: &Principal) -> Self {
        Self {
            kind: principal.kind.label(),
            issuer: principal.issuer.clone(),
            subject: principal.subject.clone(),
            email: principal.email.clone(),
            client_id: principal.client_id.clone(),
            groups: None,
            claims: Vec::new(),
            claims_omitted: false,
        }
    }

    pub(in crate::audit) fn add_claims(&mut self, principal: &Principal, reads: &Reads) {
        let claims: Vec<ClaimRecord> = reads
            .values_in(principal)
            .map(|(path, values)| ClaimRecord {
                path: path.to_vec(),
                values,
            })
            .collect();
        if json_len(&(&principal.groups, &claims)) > MAX_CLAIMS {
            self.claims_omitted = true;
        } else {
            self.groups = Some(principal.groups.clone());
            self.claims = claims;
        }
    }
}

impl TargetRecord {
    /// What is recorded of a target.
    #[must_use]
    pub fn of(target: &Target) -> Self {
        let (project, domain) = match &target.scope {
            Scope::Global => (None, None),
            Scope::Project(project) | Scope::ProjectInSomeDomain(project) => (Some(project.clone()), None),
            Scope::ProjectDomain { project, domain } => (Some(project.clone()), Some(domain.clone())),
        };
        let (resource, name) = match &target.resource {
            Some(Resource::Named { kind, name }) => (Some(kind.label()), Some(name.clone())),
            Some(Resource::Every(kind) | Resource::Listed(Some(kind))) => (Some(kind.label()), None),
            Some(Resource::Object(url)) => (Some("object"), Some(url.clone())),
            Some(Resource::Unnamed | Resource::Listed(None) | Resource::RunBy(_)) | None => (None, None),
        };
        let execution = match &target.resource {
            Some(Resource::RunBy(execution)) => Some(&**execution),
            _ => None,
        };
        let things = match &target.resource {
            Some(Resource::Every(_)) => Some("every"),
            Some(Resource::Listed(_)) => Some("listed"),
            Some(Resource::Unnamed) => Some("unnamed"),
            Some(Resource::Named { .. } | Resource::Object(_) | Resource::RunBy(_)) | None => None,
        };
        let domains = match &target.scope {
            Scope::Project(_) => Some("every"),
            Scope::ProjectInSomeDomain(_) => Some("some"),
            Scope::Global | Scope::ProjectDomain { .. } => None,
        };
        Self {
            project,
            domain,
            things,
            domains,
            needs: target.needs,
            resource,
            name,
            execution: execution.map(|execution| execution.name.clone()),
            again: execution.is_some_and(|execution| execution.again),
            runs: execution
                .and_then(|execution| execution.runs.as_ref())
                .map(RunRecord::of),
            reference: (target.role == TargetRole::Refers).then(|| target.field.clone()),
        }
    }
}

impl RunRecord {
    fn of(run: &Run) -> Self {
        Self {
            resource: run.kind.label(),
            project: run.project.clone(),
            domain: run.domain.clone(),
            name: run.name.clone(),
        }
    }
}
