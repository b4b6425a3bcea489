//! What a decision says: why a call is refused, what allowed it, what would have to be added.

use super::decide::{Conflict, Lack};
use super::grant::Place;
use super::{Revocation, RuleName};
use crate::model::action::{Action, ActionSet};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::model::scope::{Resource, Scope, Target, TargetRole};
use crate::model::setting::{Asked, Setting};
use std::collections::BTreeSet;

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
        Some(Resource::Object(url)) => format!(" for the object {}", quoted(url)),
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

/// What is referred to, by its name where it has one: a call can refer to many things by one field.
fn referred(target: &Target) -> String {
    match target.role {
        TargetRole::Acts => String::new(),
        TargetRole::Refers => thing(target),
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
        "a rule denies {}{} {}{}",
        words(target.needs),
        referred(target),
        located(&target.scope),
        because_of(target)
    );
    Denial::new(Reason::DeniedByRule, message)
}

/// `may_ask`: the values that could be asked for instead.
pub(super) fn not_allowed(target: &Target, lack: Lack, asked: Option<&Asked>, may_ask: &BTreeSet<String>) -> Denial {
    let (needs, scope) = (words(target.needs), located(&target.scope));
    let field = because_of(target);
    let nothing = match target.role {
        TargetRole::Acts => Reason::NoMatchingRule,
        TargetRole::Refers => Reason::ReferenceRefused,
    };
    let (reason, message) = match (lack, asked) {
        (Lack::Listed, _) => (
            Reason::ResourceNotListed,
            format!(
                "no rule allows {needs}{} {scope}{field}: only the names that rules list",
                thing(target)
            ),
        ),
        (Lack::Apart, _) => (
            Reason::ResourceNotListed,
            format!(
                "no rule by itself allows {needs}{} {scope} together with all that the call refers to: only the names that \
                 rules list, and how an execution runs is for a rule that covers all of them",
                thing(target)
            ),
        ),
        (Lack::Stored, _) => (
            Reason::SettingRefused,
            format!(
                "no rule allows {needs} {scope} as the execution was started: rules set how executions run there; start it \
                 anew from its launch plan"
            ),
        ),
        (Lack::Setting(_), Some(asked)) => (
            Reason::SettingRefused,
            format!(
                "no rule allows {needs} {scope} with {} {}, asked for in the field `{}`; {}",
                asked.setting,
                quoted(&asked.value),
                asked.field,
                instead(asked, may_ask)
            ),
        ),
        (Lack::Nothing | Lack::Setting(_), _) => {
            let thing = referred(target);
            (nothing, format!("no rule allows {needs}{thing} {scope}{field}"))
        }
    };
    Denial::new(reason, message)
}

/// How many values are offered.
const MAX_OFFERED: usize = 10;

fn instead(asked: &Asked, may_ask: &BTreeSet<String>) -> String {
    // An annotation counts by being there.
    let leave = if asked.is_keyed() {
        "leave it out"
    } else {
        "leave it empty"
    };
    if may_ask.is_empty() {
        return leave.to_owned();
    }
    let offered: Vec<String> = may_ask
        .iter()
        .take(MAX_OFFERED)
        .map(|value| format!("`{value}`"))
        .collect();
    let more = if may_ask.len() > MAX_OFFERED { " and others" } else { "" };
    let below = match asked.setting {
        Setting::RawOutputPrefix | Setting::Secret => ", or below",
        Setting::ServiceAccount
        | Setting::IamRole
        | Setting::ClusterPool
        | Setting::ClusterLabel
        | Setting::QueueTag
        | Setting::ClusterResource
        | Setting::Identity => "",
    };
    format!("{leave}, or write one of {}{more}{below}", offered.join(", "))
}

/// A value of the caller's, safe to show.
fn quoted(value: &str) -> String {
    let shown: String = value.chars().take(200).flat_map(char::escape_default).collect();
    format!("`{}`", shown.replace('`', "'"))
}

/// The refusal of a call into which rules would write different things.
pub(super) fn set_differently(target: &Target, conflict: &Conflict) -> Denial {
    let values: Vec<String> = conflict.values.iter().map(|value| format!("`{value}`")).collect();
    let message = format!(
        "rules set different values of the {} {}: {}; ask for one of them, or have the policy changed",
        conflict.setting,
        located(&target.scope),
        values.join(" and ")
    );
    Denial::new(Reason::SettingConflict, message)
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
pub(super) fn advice(target: &Target, lack: Lack, asked: Option<&Asked>) -> String {
    if let Some(asked) = asked {
        return if asked.setting == Setting::Identity {
            "`impersonate: true` in the grant, if this caller acts for others".to_owned()
        } else {
            format!(
                "add {} to `{}` of the grant",
                quoted(&asked.value),
                asked.setting.guard()
            )
        };
    }
    if lack == Lack::Apart {
        return "one grant that covers everything that the call names, since it asks for settings, or rules set them"
            .to_owned();
    }
    if lack == Lack::Stored {
        return "a grant without `set`, if what was started before may be started again as it was".to_owned();
    }
    if lack == Lack::Listed {
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

#[cfg(test)]
mod tests {
    use super::*;
    use crate::model::scope::ResourceKind;
    use std::path::Path;
    use std::sync::Arc;

    fn asked(field: &str) -> Asked {
        Asked {
            setting: Setting::ServiceAccount,
            value: "x".into(),
            field: field.into(),
        }
    }

    #[test]
    fn at_most_ten_values_are_offered_and_more_are_only_mentioned() {
        let message = |count: usize| {
            let values = (0..count).map(|number| format!("v{number:02}")).collect();
            instead(&asked("spec.auth_role"), &values)
        };
        assert_eq!(
            instead(&asked("spec.annotations.values `a/b`"), &BTreeSet::new()),
            "leave it out"
        );
        assert_eq!(message(0), "leave it empty");
        assert_eq!(message(2), "leave it empty, or write one of `v00`, `v01`");
        assert!(message(10).ends_with("`v08`, `v09`"), "{}", message(10));
        for count in [11, 12, 100] {
            assert!(
                message(count).ends_with("`v08`, `v09` and others"),
                "{}",
                message(count)
            );
        }
    }

    #[test]
    fn the_rules_that_count_are_named() {
        let file = Arc::from(Path::new("p.yaml"));
        let [one, other] = ["one", "other"].map(|name| RuleName::new(name, &file, 3));
        assert_eq!(named(&[], false), "the call needs no rule");
        assert_eq!(named(&[&one], false), "rule one (p.yaml:3)");
        assert_eq!(
            named(&[&one, &other], true),
            "rule one (p.yaml:3) and rule other (p.yaml:3); the answer shows only the names that rules allow"
        );
    }

    #[test]
    fn what_is_not_listed_is_advised_to_be_added_where_the_call_names_it() {
        let advised = |resource| {
            let target = Target {
                scope: Scope::Global,
                needs: Action::CreateExecutions.into(),
                resource: Some(resource),
                field: "f".into(),
                role: TargetRole::Acts,
            };
            advice(&target, Lack::Listed, None)
        };
        let plan = Resource::Named {
            kind: ResourceKind::LaunchPlan,
            name: "nightly".into(),
        };
        assert_eq!(
            advised(plan),
            "add `nightly` to `launch_plans` of the grant that lists other names"
        );
        assert!(advised(Resource::Unnamed).starts_with("a grant without `tasks`"));
    }
}
