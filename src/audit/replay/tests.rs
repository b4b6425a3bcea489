//! Records are read back as they were written.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::audit::record::{PrincipalRecord, TargetRecord};
use serde_json::json;

fn token() -> Principal {
    let claims = json!({"realm": {"roles": ["a", "b"]}, "team": 7, "iat": 1_700_000_000, "secret": "s"});
    Principal {
        kind: PrincipalKind::Token,
        issuer: "https://idp.example.com".into(),
        subject: "alice".into(),
        email: Some("a@example.com".into()),
        groups: vec!["ml".into()],
        claims: Arc::new(claims.as_object().unwrap().clone()),
        ..Principal::anonymous()
    }
}

fn reads(paths: &[&[&str]]) -> Reads {
    Reads {
        groups: true,
        claims: paths
            .iter()
            .map(|path| path.iter().map(ToString::to_string).collect())
            .collect(),
    }
}

fn line(principal: &PrincipalRecord, targets: &[Target], more: &Value) -> String {
    let targets: Vec<TargetRecord> = targets.iter().map(TargetRecord::of).collect();
    let mut record = json!({"version": 1, "outcome": "forwarded", "rpc": "/x", "action": "view_data",
        "targets": targets, "principal": principal, "policy": {"version": "v", "generation": 1}});
    record
        .as_object_mut()
        .unwrap()
        .extend(more.as_object().unwrap().clone());
    record.to_string()
}

fn targets() -> Vec<Target> {
    let scopes = [
        Scope::Global,
        Scope::Project("p".into()),
        Scope::ProjectInSomeDomain("p".into()),
        Scope::ProjectDomain {
            project: "p".into(),
            domain: "d".into(),
        },
    ];
    let resources = [
        None,
        Some(Resource::Named {
            kind: ResourceKind::LaunchPlan,
            name: "n".into(),
        }),
        Some(Resource::Every(ResourceKind::Task)),
        Some(Resource::Listed(Some(ResourceKind::Workflow))),
        Some(Resource::Listed(None)),
        Some(Resource::Unnamed),
    ];
    let each = scopes.iter().flat_map(|scope| {
        resources.iter().flat_map(|resource| {
            [("", TargetRole::Acts), ("spec.launch_plan", TargetRole::Refers)].map(|(field, role)| Target {
                scope: scope.clone(),
                needs: ActionSet::VIEWS,
                resource: resource.clone(),
                field: field.into(),
                role,
            })
        })
    });
    each.collect()
}

#[test]
fn targets_and_the_claims_that_were_looked_at_come_back_and_nothing_else_is_recorded() {
    let reads = reads(&[&["realm", "roles"], &["team"], &["iat"], &["absent"]]);
    let mut record = PrincipalRecord::of(&token());
    record.add_claims(&token(), &reads);
    let line = line(&record, &targets(), &json!({}));
    assert!(!line.contains("secret"));
    let judged = read(&line, &reads).unwrap();
    assert_eq!(judged.targets, targets());
    assert!(judged.decided == Extent::Allow && judged.rpc == "/x" && judged.action == Action::ViewData);
    let back = Principal {
        claims: token().claims,
        ..judged.principal.clone()
    };
    assert_eq!(back, token());
    let values = |principal: &Principal| reads.values_in(principal).map(|(_, values)| values).collect::<Vec<_>>();
    assert_eq!(values(&judged.principal), values(&token()));
    assert_eq!(judged.principal.claims.get("iat"), Some(&json!(1_700_000_000)));
}

#[test]
fn what_cannot_be_judged_again_is_told_with_the_reason() {
    let fine = reads(&[&["team"]]);
    let mut record = PrincipalRecord::of(&token());
    record.add_claims(&token(), &fine);
    let why =
        |record: &PrincipalRecord, reads: &Reads, more: Value| read(&line(record, &targets(), &more), reads).err();
    assert_eq!(why(&record, &fine, json!({})), None);
    for (more, told) in [
        (json!({"version": 2}), "version 2"),
        (
            json!({"outcome": "denied", "reason": "token_expired"}),
            "(token_expired)",
        ),
        (
            json!({"outcome": "denied", "reason": "token_revoked"}),
            "(token_revoked)",
        ),
        (json!({"policy": null}), "needed no rule"),
        (json!({"targets": []}), "needed no rule"),
        (json!({"targets_omitted": 3}), "everything that the call touched"),
        (json!({"shortened": ["asks_for", "message"]}), "all of `asks_for`"),
        (json!({"shortened": ["message", "targets"]}), "all of `targets`"),
        (json!({"shortened": ["principal"]}), "all of `principal`"),
        (json!({"shortened": ["a later field"]}), "all of `a later field`"),
        (json!({"action": "fly"}), "does not know"),
        (json!({"principal": {"kind": "anonymous"}}), "`anonymous`"),
        (
            json!({"targets": [{"project": "p", "needs": ["view_data"]}]}),
            "does not know",
        ),
    ] {
        assert!(why(&record, &fine, more.clone()).unwrap().contains(told), "{more}");
    }
    let of_no_consequence = json!({"shortened": ["candidate", "message", "rules", "set", "would_refuse"]});
    assert_eq!(why(&record, &fine, of_no_consequence), None);
    assert!(read("no json", &fine).is_err());
    assert!(
        why(&record, &reads(&[&["other"]]), json!({}))
            .unwrap()
            .contains("the claim `other`")
    );
    let bare = PrincipalRecord::of(&token());
    assert!(why(&bare, &fine, json!({})).unwrap().contains("groups"));
    assert_eq!(
        why(&bare, &Reads::default(), json!({})),
        None,
        "what is not looked at is not missed"
    );
    // More than is recorded of one caller.
    let long = Principal {
        groups: vec!["x".repeat(9000).into()],
        ..token()
    };
    let mut record = PrincipalRecord::of(&long);
    record.add_claims(&long, &fine);
    assert!(record.claims_omitted && record.groups.is_none() && record.claims.is_empty());
}

#[test]
fn a_refusal_that_was_not_acted_on_counts_as_one() {
    let record = PrincipalRecord::of(&token());
    for (more, decided) in [
        (
            json!({"outcome": "denied", "reason": "no_matching_rule"}),
            Extent::Refuse,
        ),
        (
            json!({"would_refuse": {"reason": "no_matching_rule", "message": "m"}}),
            Extent::Refuse,
        ),
        (
            json!({"outcome": "failed", "reason": "upstream_unreachable"}),
            Extent::Allow,
        ),
        (json!({"outcome": "aborted"}), Extent::Allow),
        (json!({"filtered": true}), Extent::Filter),
        (
            json!({"filtered": true, "outcome": "denied", "reason": "no_matching_rule"}),
            Extent::Refuse,
        ),
    ] {
        let judged = read(&line(&record, &targets(), &more), &Reads::default()).unwrap();
        assert_eq!(judged.decided, decided, "{more}");
    }
}
