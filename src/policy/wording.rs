//! What a decision says: why a call is refused, what allowed it, what would have to be added.

use super::grant::Place;
use super::{Revocation, RuleName};
use crate::model::action::{Action, ActionSet};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, Scope, Target, TargetRole};

pub(super) fn named(rules: &[&RuleName], filtered: bool) -> String {
    if rules.is_empty() {
        return "the call needs no rule".to_owned();
    }
    let names: Vec<String> = rules.iter().map(|rule| format!("rule {rule}")).collect();
    let names = names.join(" and ");
    if filtered {
        format!("{names}; the answer shows only the names that rules allow")
    } else {
        names
    }
}

fn words(needs: ActionSet) -> String {
    needs.iter().map(Action::label).collect::<Vec<_>>().join(" or ")
}

/// The resource in words, with a leading space; empty where there is none.
fn thing(target: &Target) -> String {
    match &target.resource {
        None => String::new(),
        Some(Resource::Named { kind, name }) => format!(" for {} `{name}`", kind.label()),
        Some(Resource::Every(kind)) => format!(" for every {}", kind.label()),
        Some(Resource::Listed(Some(kind))) => format!(" for every {} that is listed", kind.label()),
        Some(Resource::Listed(None)) => " for what is listed".to_owned(),
        Some(Resource::Unnamed) => " for something the request does not name".to_owned(),
        // Never what it runs: whoever may not see the execution learns nothing of it.
        Some(Resource::RunBy(_)) => " for what the execution runs".to_owned(),
    }
}

pub(super) fn described(place: Place<'_>, target: &Target) -> String {
    let needs = words(target.needs);
    let thing = thing(target);
    match place {
        Place::Platform => format!("{needs}{thing} on the platform"),
        Place::Domain { project, domain } => format!("{needs}{thing} in project {project}, domain {domain}"),
    }
}

fn located(scope: &Scope) -> String {
    match scope {
        Scope::Global => format!("on {scope}"),
        Scope::Project(_) | Scope::ProjectInSomeDomain(_) | Scope::ProjectDomain { .. } => format!("in {scope}"),
    }
}

fn because_of(target: &Target) -> String {
    match target.role {
        TargetRole::Acts => String::new(),
        TargetRole::Refers => format!(", to which the field `{}` refers", target.field),
    }
}

pub(super) fn denied(target: &Target) -> Denial {
    let message = format!(
        "a rule denies {} {}{}",
        words(target.needs),
        located(&target.scope),
        because_of(target)
    );
    Denial::new(Reason::DeniedByRule, message)
}

pub(super) fn not_allowed(target: &Target, listed: bool) -> Denial {
    let (needs, scope) = (words(target.needs), located(&target.scope));
    let field = because_of(target);
    if listed {
        let thing = thing(target);
        let message = format!("no rule allows {needs}{thing} {scope}{field}: only the names that rules list");
        return Denial::new(Reason::ResourceNotListed, message);
    }
    let reason = match target.role {
        TargetRole::Acts => Reason::NoMatchingRule,
        TargetRole::Refers => Reason::ReferenceRefused,
    };
    Denial::new(reason, format!("no rule allows {needs} {scope}{field}"))
}

/// Which token would not be revoked.
pub(super) fn new_token(revocation: &Revocation) -> String {
    match revocation.subject.issued_before() {
        Some(time) => format!("a token issued at or after {time}: log in again"),
        None => format!(
            "a token that {} is not about, or a policy without that item",
            revocation.name
        ),
    }
}

/// What would have to be added.
pub(super) fn advice(target: &Target, listed: bool) -> String {
    if listed {
        return match &target.resource {
            Some(Resource::Named { kind, name }) => {
                format!(
                    "add `{name}` to `{}s` of the grant that lists other names",
                    kind.label()
                )
            }
            _ => "a grant without `tasks`, `workflows` and `launch_plans`, since the call names none".to_owned(),
        };
    }
    let action = target.needs.iter().next().map_or("*", Action::label);
    let (projects, domains) = match &target.scope {
        Scope::Global => ("\"*\"", "\"*\"".to_owned()),
        Scope::ProjectDomain { project, domain } => (&**project, domain.to_string()),
        Scope::Project(project) => (&**project, "\"*\"".to_owned()),
        Scope::ProjectInSomeDomain(project) => (&**project, "one of the configured domains".to_owned()),
    };
    format!("a rule for this caller with projects: [{projects}], domains: [{domains}], actions: [{action}]")
}
