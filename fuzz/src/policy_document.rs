//! Policies: a document that loads means the same every time it is loaded, serving and explaining decide alike, and nobody has a
//! right that no rule gives.

use flyte_authz_proxy::catalog::Access;
use flyte_authz_proxy::model::action::{Action, ActionSet};
use flyte_authz_proxy::model::principal::{Principal, PrincipalKind};
use flyte_authz_proxy::model::problem::Severity;
use flyte_authz_proxy::model::scope::{Resource, ResourceKind, Scope, Target, TargetRole};
use flyte_authz_proxy::policy::Policy;
use flyte_authz_proxy::policy::compile::compile;
use flyte_authz_proxy::policy::decide::{Call, Decision};
use flyte_authz_proxy::policy::diff::diff;
use flyte_authz_proxy::policy::trace::Steps;
use serde_json::json;
use std::path::PathBuf;
use std::sync::{Arc, LazyLock};

/// The input is a policy file.
pub fn check(input: &[u8]) {
    let Ok(text) = std::str::from_utf8(input) else {
        return;
    };
    let policy = match load(text) {
        Ok(policy) => policy,
        Err(said) => {
            assert!(said > 0, "a policy that is refused without a reason");
            return;
        }
    };
    let again = load(text).unwrap_or_else(|_| panic!("it was loaded before"));
    assert_eq!(policy.version(), again.version());
    assert_eq!(diff(&policy, &again), []);
    // A remark changes nothing, but for the version.
    if let Ok(remarked) = load(&format!("# a remark\n{text}")) {
        assert_eq!(diff(&policy, &remarked), []);
        assert_ne!(policy.version(), remarked.version());
    }
    for principal in &*PRINCIPALS {
        decides(&policy, principal);
    }
}

/// The policy, or how many errors it has.
fn load(text: &str) -> Result<Policy, usize> {
    let domains = ["development", "staging", "production"].map(Box::from);
    compile(&[(PathBuf::from("policy.yaml"), text.to_owned())], &domains)
        .map(|(policy, _)| policy)
        .map_err(|problems| {
            problems
                .iter()
                .filter(|problem| problem.severity == Severity::Error)
                .count()
        })
}

fn decides(policy: &Policy, principal: &Principal) {
    let rights = policy.resolve(principal, &mut ());
    let explained = policy.resolve(principal, &mut Steps::default());
    assert_eq!(rights.revoked(), explained.revoked());
    assert_eq!(rights.admit(Access::Scoped), explained.admit(Access::Scoped));
    let _shown = policy.summary(principal);
    for action in [
        Action::ViewExecutions,
        Action::CreateExecutions,
        Action::AdministerProject,
        Action::AdministerPlatform,
    ] {
        for (scope, resource) in &*PLACES {
            let targets = [Target {
                scope: scope.clone(),
                needs: ActionSet::from(action),
                resource: resource.clone(),
                field: "".into(),
                role: TargetRole::Acts,
            }];
            let call = Call {
                access: Access::Scoped,
                action,
                targets: &targets,
                asked: &[],
                writes: &[],
            };
            let (one, other) = (
                rights.decide(&call, &mut ()),
                explained.decide(&call, &mut Steps::default()),
            );
            let (one, other) = (one.into_permit(), other.into_permit());
            match (&one, &other) {
                (Ok(one), Ok(other)) => assert_eq!(one.rules(), other.rules(), "explaining and serving differ"),
                (Err(one), Err(other)) => {
                    assert_eq!(one.denial.reason, other.denial.reason, "explaining and serving differ")
                }
                (one, other) => panic!("explaining and serving differ: {one:?} {other:?}"),
            }
            if let Ok(permit) = one {
                assert!(!permit.rules().is_empty(), "{action} without a rule");
                assert!(
                    rights.revoked().is_none() && principal.kind != PrincipalKind::Anonymous,
                    "{action} for nobody"
                );
                assert!(permit.rules().iter().all(|rule| policy.rules().any(|own| own == rule)));
            }
        }
    }
    let refused = |call: &Call<'_>| matches!(rights.decide(call, &mut ()), Decision::Allow(_));
    let nothing = Call {
        access: Access::Scoped,
        action: Action::ViewExecutions,
        targets: &[],
        asked: &[],
        writes: &[],
    };
    assert!(!refused(&nothing), "a call without a target was allowed");
}

static PLACES: LazyLock<Vec<(Scope, Option<Resource>)>> = LazyLock::new(|| {
    let domain = |project: &str, domain: &str| Scope::ProjectDomain {
        project: project.into(),
        domain: domain.into(),
    };
    let named = |kind| Some(Resource::Named { kind, name: "n".into() });
    vec![
        (Scope::Global, None),
        (Scope::Project("ml".into()), None),
        (Scope::ProjectInSomeDomain("ml".into()), None),
        (domain("ml", "development"), None),
        (domain("ml", "production"), named(ResourceKind::Task)),
        (domain("fraud", "staging"), named(ResourceKind::LaunchPlan)),
        (
            domain("fraud", "development"),
            Some(Resource::Every(ResourceKind::Workflow)),
        ),
    ]
});

static PRINCIPALS: LazyLock<Vec<Principal>> = LazyLock::new(|| {
    let claims = json!({
        "sub": "alice", "email": "alice@example.com", "client_id": "ci", "roles": ["ml:admin", "*"], "team": "ml",
        "groups": ["ml-team", "flyte-ml-contributor", "a*b", "${project}", "fraud/.*"], "iat": 1_800_000_000,
    });
    let claims = claims.as_object().expect("an object").clone();
    let groups = claims["groups"]
        .as_array()
        .expect("a list")
        .iter()
        .filter_map(|group| group.as_str().map(Arc::from))
        .collect();
    let person = Principal {
        kind: PrincipalKind::Token,
        issuer: "https://issuer.example.com".into(),
        subject: "alice".into(),
        email: Some("alice@example.com".into()),
        client_id: Some("ci".into()),
        groups,
        claims: Arc::new(claims),
        expires_at: Some(1_900_000_000),
    };
    let stranger = Principal {
        kind: PrincipalKind::Certificate,
        subject: "eve".into(),
        ..Principal::anonymous()
    };
    vec![person, stranger, Principal::anonymous()]
});
