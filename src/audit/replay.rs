//! Reads records back, as far as a policy needs it to judge them again.

use crate::catalog::{Access, WritePlace};
use crate::model::action::{Action, ActionSet};
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::scope::{Resource, ResourceKind, Run, Scope, StoredExecution, Target, TargetRole};
use crate::model::setting::{Asked, Setting};
use crate::policy::decide::Call;
use crate::policy::decide::enforcement::BY_RULES;
use crate::policy::extent::Extent;
use crate::policy::reads::Reads;
use serde::Deserialize;
use serde_json::{Map, Value};
use std::sync::Arc;

/// Fields that tell what came of a call: they can be shortened in a record that is judged again.
const NOT_JUDGED: [&str; 5] = ["message", "rules", "set", "would_refuse", "candidate"];

/// A call that was judged by rules, as its record tells.
#[derive(Clone, Debug)]
pub struct Judged {
    /// The RPC.
    pub rpc: String,
    /// Who called.
    pub principal: Principal,
    /// The action in the call's own scope.
    pub action: Action,
    /// Everything it touched.
    pub targets: Vec<Target>,
    /// The settings of executions that it asked for.
    pub asked: Vec<Asked>,
    /// How much of it the policy of the time allowed.
    pub decided: Extent,
}

impl Judged {
    /// The call as a policy judges it, if settings can be written in these places.
    #[must_use]
    pub fn call<'a>(&'a self, writes: &'a [WritePlace]) -> Call<'a> {
        Call {
            access: Access::Scoped,
            action: self.action,
            targets: &self.targets,
            asked: &self.asked,
            writes,
        }
    }
}

#[derive(Deserialize)]
struct Recorded {
    version: u8,
    outcome: String,
    reason: Option<String>,
    #[serde(default)]
    filtered: bool,
    rpc: Option<String>,
    action: Option<String>,
    #[serde(default)]
    targets: Vec<RecordedTarget>,
    #[serde(default)]
    targets_omitted: usize,
    #[serde(default)]
    asks_for: Vec<RecordedSetting>,
    principal: Option<RecordedPrincipal>,
    policy: Option<Value>,
    would_refuse: Option<Value>,
    #[serde(default)]
    shortened: Vec<String>,
}

#[derive(Deserialize)]
struct RecordedPrincipal {
    kind: String,
    #[serde(default)]
    issuer: String,
    #[serde(default)]
    subject: String,
    email: Option<String>,
    client_id: Option<String>,
    groups: Option<Vec<String>>,
    #[serde(default)]
    claims: Vec<RecordedClaim>,
}

#[derive(Deserialize)]
struct RecordedClaim {
    path: Vec<String>,
    values: Vec<String>,
}

#[derive(Deserialize)]
struct RecordedSetting {
    setting: String,
    value: String,
    field: String,
}

#[derive(Deserialize)]
struct RecordedRun {
    resource: String,
    project: String,
    domain: String,
    name: String,
}

#[derive(Deserialize)]
struct RecordedTarget {
    project: Option<String>,
    domain: Option<String>,
    needs: Vec<String>,
    resource: Option<String>,
    name: Option<String>,
    execution: Option<String>,
    #[serde(default)]
    again: bool,
    runs: Option<RecordedRun>,
    things: Option<String>,
    domains: Option<String>,
    reference: Option<String>,
}

/// Reads a line of an audit log, for a policy that looks at so much of a caller.
///
/// # Errors
/// Why it cannot be judged again, or need not be.
pub fn read(line: &str, reads: &Reads) -> Result<Judged, String> {
    let record: Recorded = serde_json::from_str(line).map_err(|_| "it is no audit record".to_owned())?;
    if record.version != 1 {
        return Err(format!(
            "records of version {} are not known to this program",
            record.version
        ));
    }
    let by_rules = |reason: &String| BY_RULES.iter().any(|known| known.label() == reason);
    if let Some(reason) = record
        .reason
        .as_ref()
        .filter(|reason| !by_rules(reason) && record.outcome == "denied")
    {
        return Err(format!("it was refused before rules were looked at ({reason})"));
    }
    if record.policy.is_none() || record.targets.is_empty() {
        return Err("it needed no rule, or did not come to one".to_owned());
    }
    if record.targets_omitted > 0 {
        return Err("the record does not hold everything that the call touched".to_owned());
    }
    let missing = |field: &&String| !NOT_JUDGED.contains(&field.as_str());
    if let Some(field) = record.shortened.iter().find(missing) {
        return Err(format!("the record was shortened: it does not hold all of `{field}`"));
    }
    let unreadable = || "the record holds something that this program does not know".to_owned();
    let recorded = record.principal.ok_or_else(unreadable)?;
    let action = record
        .action
        .as_deref()
        .and_then(|action| action.parse().ok())
        .ok_or_else(unreadable)?;
    let targets: Option<Vec<Target>> = record.targets.iter().map(RecordedTarget::target).collect();
    let decided = match (
        record.outcome == "denied" || record.would_refuse.is_some(),
        record.filtered,
    ) {
        (true, _) => Extent::Refuse,
        (false, true) => Extent::Filter,
        (false, false) => Extent::Allow,
    };
    let asked: Option<Vec<Asked>> = record.asks_for.iter().map(RecordedSetting::asked).collect();
    Ok(Judged {
        rpc: record.rpc.unwrap_or_default(),
        principal: recorded.principal(reads)?,
        action,
        targets: targets.ok_or_else(unreadable)?,
        asked: asked.ok_or_else(unreadable)?,
        decided,
    })
}

impl RecordedPrincipal {
    fn principal(self, reads: &Reads) -> Result<Principal, String> {
        let kinds = [
            PrincipalKind::Token,
            PrincipalKind::Listener,
            PrincipalKind::Certificate,
        ];
        let kind = kinds.into_iter().find(|kind| kind.label() == self.kind);
        let kind = kind.ok_or_else(|| format!("its caller is `{}`", self.kind))?;
        if reads.groups && self.groups.is_none() {
            return Err("the record does not hold the caller's groups (`audit.claims`)".to_owned());
        }
        let is_recorded = |path: &Vec<String>| self.claims.iter().any(|claim| claim.path == *path);
        // Only tokens have claims.
        let missing = reads
            .claims
            .iter()
            .find(|path| kind == PrincipalKind::Token && !is_recorded(path));
        if let Some(path) = missing {
            return Err(format!(
                "the record does not hold the claim `{}` (`audit.claims`)",
                path.join(".")
            ));
        }
        let mut claims = Map::new();
        for claim in self.claims {
            let value = match (claim.path.as_slice(), claim.values.as_slice()) {
                (_, []) => continue,
                ([iat], [time]) if iat == "iat" => time.parse::<u64>().map_or(Value::Null, Value::from),
                _ => claim.values.into(),
            };
            put(&mut claims, &claim.path, value).ok_or("the claims in the record contradict each other")?;
        }
        Ok(Principal {
            kind,
            issuer: self.issuer.into(),
            subject: self.subject.into(),
            email: self.email.map(Arc::from),
            client_id: self.client_id.map(Arc::from),
            groups: self.groups.unwrap_or_default().into_iter().map(Arc::from).collect(),
            claims: Arc::new(claims),
            expires_at: None,
        })
    }
}

fn put(claims: &mut Map<String, Value>, path: &[String], value: Value) -> Option<()> {
    let (last, parents) = path.split_last()?;
    let mut place = claims;
    for parent in parents {
        let inner = place.entry(parent).or_insert_with(|| Map::new().into());
        place = inner.as_object_mut()?;
    }
    place.insert(last.clone(), value).is_none().then_some(())
}

impl RecordedSetting {
    fn asked(&self) -> Option<Asked> {
        Some(Asked {
            setting: Setting::of_label(&self.setting)?,
            value: self.value.as_str().into(),
            field: self.field.as_str().into(),
        })
    }
}

fn kind_of(word: &str) -> Option<ResourceKind> {
    let kinds = [ResourceKind::Task, ResourceKind::Workflow, ResourceKind::LaunchPlan];
    kinds.into_iter().find(|kind| kind.label() == word)
}

impl RecordedTarget {
    /// The stored execution that it is about.
    fn stored(&self, name: &str) -> Option<Resource> {
        let run = |runs: &RecordedRun| {
            Some(Run {
                kind: kind_of(&runs.resource)?,
                project: runs.project.as_str().into(),
                domain: runs.domain.as_str().into(),
                name: runs.name.as_str().into(),
            })
        };
        let runs = match &self.runs {
            None => None,
            Some(runs) => Some(run(runs)?),
        };
        Some(Resource::RunBy(Box::new(StoredExecution {
            name: name.into(),
            organization: Box::default(),
            again: self.again,
            runs,
        })))
    }

    fn target(&self) -> Option<Target> {
        let scope = match (&self.project, &self.domain, self.domains.as_deref()) {
            (None, None, None) => Scope::Global,
            (Some(project), Some(domain), None) => Scope::ProjectDomain {
                project: project.as_str().into(),
                domain: domain.as_str().into(),
            },
            (Some(project), None, Some("every")) => Scope::Project(project.as_str().into()),
            (Some(project), None, Some("some")) => Scope::ProjectInSomeDomain(project.as_str().into()),
            _ => return None,
        };
        let object = self
            .name
            .as_deref()
            .filter(|_| self.resource.as_deref() == Some("object"));
        let kind = match &self.resource {
            Some(word) if object.is_none() => Some(kind_of(word)?),
            Some(_) | None => None,
        };
        let resource = match (kind, &self.name, self.things.as_deref()) {
            (None, None, None) => match &self.execution {
                Some(name) => Some(self.stored(name)?),
                None => None,
            },
            (None, Some(url), None) if object.is_some() => Some(Resource::Object(url.as_str().into())),
            (Some(kind), Some(name), None) => Some(Resource::Named {
                kind,
                name: name.as_str().into(),
            }),
            (Some(kind), None, Some("every")) => Some(Resource::Every(kind)),
            (kind, None, Some("listed")) => Some(Resource::Listed(kind)),
            (None, None, Some("unnamed")) => Some(Resource::Unnamed),
            _ => return None,
        };
        let needs: Option<ActionSet> = self.needs.iter().map(|word| word.parse::<Action>().ok()).collect();
        Some(Target {
            scope,
            needs: needs?,
            resource,
            field: self.reference.as_deref().unwrap_or_default().into(),
            role: if self.reference.is_some() {
                TargetRole::Refers
            } else {
                TargetRole::Acts
            },
        })
    }
}

#[cfg(test)]
mod tests;
