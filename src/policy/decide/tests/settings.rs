//! How executions run: what of several rules is allowed, and what they set.

use super::{named, scope};
use crate::catalog::{Access, Catalog, Route, WritePlace};
use crate::model::action::{Action, ActionSet};
use crate::model::principal::Principal;
use crate::model::scope::{Resource, ResourceKind, StoredExecution, Target, TargetRole};
use crate::model::setting::{Asked, Setting};
use crate::policy::decide::{Call, Refusal};
use crate::policy::tests::{caller, policy};
use crate::policy::trace::{Steps, render_steps};
use std::sync::Arc;

const POLICY: &str = r#"
version: 1
rules:
  - name: open
    subjects: [{ groups: [open] }]
    allow: [{ projects: [ml], domains: ["*"], role: contributor }]
  - name: closed
    subjects: [{ groups: [closed] }]
    allow:
      - projects: [ml]
        domains: ["*"]
        role: contributor
        service_accounts: []
        iam_roles: ["arn:aws:iam::1:role/${project}-${domain}"]
        raw_output_prefixes: ["s3://data/${project}/${domain}"]
        clusters: [pool-a]
        secrets: ["${project}", shared/token]
  - name: setting
    subjects: [{ groups: [setting] }]
    allow:
      - projects: [ml]
        domains: ["*"]
        role: contributor
        set: { service_account: "${project}-${domain}", raw_output_prefix: "s3://data/${project}/${domain}" }
  - name: other
    subjects: [{ groups: [other] }]
    allow:
      - { projects: [ml], domains: ["*"], role: contributor, set: { service_account: other } }
  - name: choosing
    subjects: [{ groups: [choosing] }]
    allow:
      - { projects: [ml], domains: ["*"], role: contributor, service_accounts: [chosen], set: { service_account: default } }
  - name: team
    subjects: [{ claim: groups, pattern: "team-(?<team>[a-z]+)" }]
    allow:
      - { projects: ["*"], domains: ["*"], role: contributor, service_accounts: ["${team}-${project}"] }
  - name: engine
    subjects: [{ groups: [engine] }]
    allow: [{ projects: ["*"], domains: ["*"], role: engine }]
  - name: deputy
    subjects: [{ groups: [deputy] }]
    allow: [{ projects: ["*"], domains: ["*"], role: operator, impersonate: true }]
  - name: elsewhere
    subjects: [{ groups: [elsewhere] }]
    allow:
      - { projects: [other], domains: ["*"], role: contributor, iam_roles: [of-another-project] }
      - { projects: [ml], domains: ["*"], role: viewer, iam_roles: [for-another-action] }
"#;

struct Question<'a> {
    principal: Principal,
    rpc: &'a str,
    action: Action,
    resource: Option<Resource>,
    asked: Vec<Asked>,
}

fn catalog() -> Catalog {
    Catalog::builtin().unwrap()
}

fn route<'a>(catalog: &'a Catalog, rpc: &str) -> &'a Route {
    let path = format!("/flyteidl.service.AdminService/{rpc}");
    catalog.lookup_rpc(&path).unwrap()
}

/// The settings written, or the refusal, and the steps.
fn decide(question: &Question<'_>) -> (Result<Vec<String>, Refusal>, String) {
    decide_writing(question, &route(&catalog(), question.rpc).writes)
}

/// The same for a call in which these places can be written.
fn decide_writing(question: &Question<'_>, writes: &[WritePlace]) -> (Result<Vec<String>, Refusal>, String) {
    let rights = policy(POLICY).resolve(&question.principal, &mut ());
    let targets = [Target {
        scope: scope("ml/staging"),
        needs: ActionSet::from(question.action),
        resource: question.resource.clone(),
        field: Arc::default(),
        role: TargetRole::Acts,
    }];
    let call = Call {
        access: Access::Scoped,
        action: question.action,
        targets: &targets,
        asked: &question.asked,
        writes,
    };
    let mut steps = Steps::default();
    let outcome = rights.decide(&call, &mut steps).into_permit().map(|permit| {
        let written = permit.written().iter();
        written
            .map(|one| format!("{}={}", one.setting.label(), one.value))
            .collect()
    });
    (outcome, render_steps(&steps))
}

fn execution(groups: &[&str], asked: &[(Setting, &str)]) -> String {
    let claims = serde_json::json!({"groups": groups});
    let question = Question {
        principal: Principal {
            claims: Arc::new(claims.as_object().cloned().unwrap()),
            ..caller(groups)
        },
        rpc: "CreateExecution",
        action: Action::CreateExecutions,
        resource: None,
        asked: asks(asked),
    };
    match decide(&question).0 {
        Ok(written) => written.join(" "),
        Err(refusal) => refusal.denial.reason.label().to_owned(),
    }
}

fn asks(asked: &[(Setting, &str)]) -> Vec<Asked> {
    let one = |(setting, value): &(Setting, &str)| Asked {
        setting: *setting,
        value: (*value).into(),
        field: "spec.auth_role".into(),
    };
    asked.iter().map(one).collect()
}

/// The caller's groups, what is asked for, and what is written or why it is refused.
type Row<'a> = (&'a [&'a str], &'a [(Setting, &'a str)], &'a str);

#[test]
fn rules_add_up_and_what_one_of_them_lets_choose_stays() {
    use Setting::{ClusterLabel, ClusterPool, IamRole, RawOutputPrefix, Secret, ServiceAccount};
    let refused = "setting_refused";
    let both = "service_account=ml-staging raw_output_prefix=s3://data/ml/staging";
    let table: &[Row<'_>] = &[
        (&["open"], &[(ServiceAccount, "x")], ""),
        (&["closed"], &[], ""),
        (&["closed"], &[(ServiceAccount, "x")], refused),
        (&["closed"], &[(IamRole, "arn:aws:iam::1:role/ml-staging")], ""),
        (&["closed"], &[(IamRole, "arn:aws:iam::1:role/ml-production")], refused),
        (&["closed"], &[(RawOutputPrefix, "s3://data/ml/staging/x")], ""),
        (&["closed"], &[(RawOutputPrefix, "s3://data/ml/staging2")], refused),
        (&["closed"], &[(ClusterPool, "pool-a"), (ClusterLabel, "pool-a")], ""),
        (
            &["closed"],
            &[(ClusterPool, "pool-a"), (ClusterLabel, "pool-b")],
            refused,
        ),
        (&["closed"], &[(Secret, "ml/key")], ""),
        (&["closed"], &[(Secret, "shared/token")], ""),
        (&["closed"], &[(Secret, "shared/other")], refused),
        (&["closed"], &[(Secret, "ml/payroll/key")], refused),
        (&["closed"], &[(Secret, "/ml")], refused),
        // One rule that allows it is enough.
        (&["closed", "open"], &[(ServiceAccount, "x")], ""),
        // But each rule has to allow all by itself.
        (&["closed", "team-a"], &[(ServiceAccount, "a-ml")], ""),
        (&["closed", "team-a"], &[(ServiceAccount, "b-ml")], refused),
        (
            &["closed", "choosing"],
            &[(ServiceAccount, "chosen"), (IamRole, "x")],
            "service_account=chosen iam_role=x",
        ),
        (&["setting"], &[], both),
        (&["setting"], &[(ServiceAccount, "x")], both),
        // What stays of what an older field asks for goes where it counts before the others.
        (&["setting"], &[(ServiceAccount, "ml-staging")], both),
        // Somebody may choose: what is asked for stays, and what is not is set.
        (
            &["setting", "open"],
            &[(ServiceAccount, "x")],
            "service_account=x raw_output_prefix=s3://data/ml/staging",
        ),
        (&["setting", "open"], &[], both),
        (&["setting", "closed"], &[(ServiceAccount, "x")], both),
        (&["choosing"], &[], "service_account=default"),
        (&["choosing"], &[(ServiceAccount, "chosen")], "service_account=chosen"),
        (&["choosing"], &[(ServiceAccount, "default")], "service_account=default"),
        (&["choosing"], &[(ServiceAccount, "x")], refused),
        // Two rules that set different things.
        (&["setting", "other"], &[], "setting_conflict"),
        (&["setting", "other"], &[(ServiceAccount, "x")], "setting_conflict"),
        (
            &["setting", "other"],
            &[(ServiceAccount, "other")],
            "service_account=other raw_output_prefix=s3://data/ml/staging",
        ),
        // The older fields count no more once the security context is written.
        (&["other"], &[(IamRole, "r")], "service_account=other iam_role=r"),
    ];
    for (groups, asked, expected) in table {
        let mut found: Vec<String> = execution(groups, asked).split_whitespace().map(str::to_owned).collect();
        let mut wanted: Vec<&str> = expected.split_whitespace().collect();
        found.sort_unstable();
        wanted.sort_unstable();
        assert_eq!(found, wanted, "{groups:?} {asked:?}");
    }
}

#[test]
fn only_the_engine_and_deputies_act_in_the_name_of_others() {
    let asked: &[(Setting, &str)] = &[(Setting::Identity, "bob")];
    for (group, expected) in [("open", "setting_refused"), ("engine", ""), ("deputy", "")] {
        assert_eq!(execution(&[group], asked), expected, "{group}");
    }
    let principal = Principal {
        subject: Arc::from("bob"),
        ..caller(&["open"])
    };
    let question = Question {
        principal,
        rpc: "CreateExecution",
        action: Action::CreateExecutions,
        resource: None,
        asked: asks(asked),
    };
    assert!(decide(&question).0.is_ok(), "oneself");
}

#[test]
fn what_cannot_be_replaced_must_be_as_it_is_set() {
    let ask = |value: &str| {
        let question = Question {
            principal: caller(&["setting"]),
            rpc: "CreateTask",
            action: Action::RegisterInventory,
            resource: Some(named(ResourceKind::Task, "t")),
            asked: asks(&[(Setting::ServiceAccount, value)]),
        };
        decide(&question).0.map_err(|refusal| refusal.denial.reason.label())
    };
    assert_eq!(ask("ml-staging"), Ok(Vec::new()));
    assert_eq!(ask("x"), Err("setting_refused"));
}

#[test]
fn what_is_asked_for_in_an_older_field_comes_along_with_what_is_written() {
    let written = execution(&["setting"], &[(Setting::IamRole, "mine")]);
    let mut written: Vec<&str> = written.split(' ').collect();
    written.sort_unstable();
    assert_eq!(
        written,
        [
            "iam_role=mine",
            "raw_output_prefix=s3://data/ml/staging",
            "service_account=ml-staging"
        ]
    );
    // What is where it counts stays there.
    let catalog = catalog();
    let writes = &route(&catalog, "CreateExecution").writes;
    let place = writes.iter().find(|place| place.setting == Setting::IamRole).unwrap();
    let question = Question {
        principal: caller(&["setting"]),
        rpc: "CreateExecution",
        action: Action::CreateExecutions,
        resource: None,
        asked: vec![Asked {
            setting: Setting::IamRole,
            value: "mine".into(),
            field: place.field.clone(),
        }],
    };
    let written = decide(&question).0.unwrap();
    assert!(!written.contains(&"iam_role=mine".to_owned()), "{written:?}");
    assert_eq!(written.len(), 2);
}

#[test]
fn only_the_place_of_the_very_setting_makes_it_replaceable() {
    let catalog = catalog();
    let places = &route(&catalog, "CreateExecution").writes;
    let ask = |replaceable: Setting| {
        let question = Question {
            principal: caller(&["setting"]),
            rpc: "CreateExecution",
            action: Action::CreateExecutions,
            resource: None,
            asked: asks(&[(Setting::ServiceAccount, "x")]),
        };
        let of_it = |place: &&WritePlace| place.setting == replaceable;
        let writes: Vec<WritePlace> = places.iter().filter(of_it).cloned().collect();
        assert_eq!(writes.len(), 1, "{replaceable:?}");
        decide_writing(&question, &writes)
            .0
            .map_err(|refusal| refusal.denial.reason.label())
    };
    assert_eq!(
        ask(Setting::ServiceAccount),
        Ok(vec!["service_account=ml-staging".to_owned()])
    );
    assert_eq!(ask(Setting::RawOutputPrefix), Err("setting_refused"));
}

#[test]
fn a_stored_execution_is_not_started_again_where_rules_set_how_executions_run() {
    let stored = |again| {
        Resource::RunBy(Box::new(StoredExecution {
            name: "e".into(),
            organization: "".into(),
            again,
            runs: None,
        }))
    };
    let explained = |group: &str, rpc, resource| {
        let question = Question {
            principal: caller(&[group]),
            rpc,
            action: Action::CreateExecutions,
            resource: Some(resource),
            asked: Vec::new(),
        };
        decide(&question)
    };
    let call = |group: &str, rpc, resource| {
        let (outcome, _) = explained(group, rpc, resource);
        outcome.map_err(|refusal| refusal.denial.message.into_owned())
    };
    let again = |group: &str| call(group, "RelaunchExecution", stored(true));
    assert_eq!(again("open"), Ok(Vec::new()));
    assert_eq!(
        again("closed"),
        Ok(Vec::new()),
        "guards are about what the caller asks for"
    );
    let message = again("setting").unwrap_err();
    assert!(message.ends_with("start it anew from its launch plan"), "{message}");
    let (_, steps) = explained("setting", "RelaunchExecution", stored(true));
    let why = "it sets how executions run, which a stored one does not take up";
    assert!(steps.contains(why), "{steps}");
    // What it runs is not looked up where that does not matter.
    let depends = |group: &str, again: &[bool]| {
        let target = |again: &bool| Target {
            scope: scope("ml/staging"),
            needs: ActionSet::from(Action::CreateExecutions),
            resource: Some(stored(*again)),
            field: Arc::default(),
            role: TargetRole::Acts,
        };
        let call = Call {
            access: Access::Scoped,
            action: Action::CreateExecutions,
            targets: &again.iter().map(target).collect::<Vec<_>>(),
            asked: &[],
            writes: &[],
        };
        policy(POLICY)
            .resolve(&caller(&[group]), &mut ())
            .depends_on_runs(&call)
    };
    assert!(depends("open", &[true]) && depends("setting", &[false]));
    assert!(!depends("setting", &[true]) && !depends("setting", &[true, false]));
    // Which starts nothing.
    assert_eq!(call("setting", "UpdateExecution", stored(false)), Ok(Vec::new()));
    // It may be any.
    assert!(call("setting", "RelaunchExecution", Resource::Unnamed).is_err());
}

#[test]
fn a_refusal_names_the_value_its_field_and_what_to_write_instead() {
    let question = |asked| Question {
        principal: caller(&["closed", "elsewhere"]),
        rpc: "CreateExecution",
        action: Action::CreateExecutions,
        resource: None,
        asked: asks(asked),
    };
    let (outcome, steps) = decide(&question(&[(Setting::IamRole, "admin`\n")]));
    assert_eq!(
        outcome.unwrap_err().denial.message,
        "no rule allows create_executions in project ml, domain staging with cloud role `admin'\\n`, asked for in the \
         field `spec.auth_role`; leave it empty, or write one of `arn:aws:iam::1:role/ml-staging`"
    );
    for step in [
        "rule closed (policy.yaml:7) does not allow create_executions in project ml, domain staging: it does not allow a \
         setting that is asked for\n",
        "To allow it: add `admin'\\n` to `iam_roles` of the grant\n",
        "rule elsewhere (policy.yaml:43) does not allow create_executions in project ml, domain staging: it is about other actions\n",
    ] {
        assert!(steps.contains(step), "{steps}");
    }
    let (outcome, steps) = decide(&question(&[(Setting::ServiceAccount, "x")]));
    let message = outcome.unwrap_err().denial.message;
    assert!(message.ends_with("leave it empty"), "{message}");
    assert!(
        steps.contains("To allow it: add `x` to `service_accounts` of the grant"),
        "{steps}"
    );
}

#[test]
fn an_explanation_tells_what_is_written() {
    let question = Question {
        principal: caller(&["other"]),
        rpc: "CreateExecution",
        action: Action::CreateExecutions,
        resource: None,
        asked: Vec::new(),
    };
    let (_, steps) = decide(&question);
    assert!(
        steps.contains("= the request is given service_account `other`\n"),
        "{steps}"
    );
}
