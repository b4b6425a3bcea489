//! The settings of executions that requests ask for.

use super::{OWN_PLAN, call};
use crate::extract::search::MOST;
use crate::model::reason::Reason;
use crate::model::setting::Setting;

/// The settings that an execution asks for with these members of its specification, their values and fields.
fn asked(spec: &str) -> Vec<(Setting, String, String)> {
    let body = format!(
        r#"{{"project": "ml", "domain": "development", "name": "e", "spec": {{"launchPlan": {{{OWN_PLAN}}}, {spec}}}}}"#
    );
    let asked = call("CreateExecution", &body).unwrap().asked;
    asked
        .into_iter()
        .map(|asked| (asked.setting, asked.value.into(), asked.field.into()))
        .collect()
}

#[test]
fn what_is_asked_for_is_listed_with_its_field() {
    let table = [
        (
            r#""securityContext": {"runAs": {"k8sServiceAccount": "a"}}"#,
            (
                Setting::ServiceAccount,
                "a",
                "spec.security_context.run_as.k8s_service_account",
            ),
        ),
        (
            r#""authRole": {"kubernetesServiceAccount": "a"}"#,
            (
                Setting::ServiceAccount,
                "a",
                "spec.auth_role.kubernetes_service_account",
            ),
        ),
        (
            r#""authRole": {"assumableIamRole": "r"}"#,
            (Setting::IamRole, "r", "spec.auth_role.assumable_iam_role"),
        ),
        (
            r#""rawOutputDataConfig": {"outputLocationPrefix": "s3://b/x"}"#,
            (
                Setting::RawOutputPrefix,
                "s3://b/x",
                "spec.raw_output_data_config.output_location_prefix",
            ),
        ),
        (
            r#""clusterAssignment": {"clusterPoolName": "p"}"#,
            (Setting::ClusterPool, "p", "spec.cluster_assignment.cluster_pool_name"),
        ),
        (
            r#""executionClusterLabel": {"value": "l"}"#,
            (Setting::ClusterLabel, "l", "spec.execution_cluster_label.value"),
        ),
        (
            r#""securityContext": {"runAs": {"executionIdentity": "bob"}}"#,
            (
                Setting::Identity,
                "bob",
                "spec.security_context.run_as.execution_identity",
            ),
        ),
        (
            r#""securityContext": {"secrets": [{"group": "g", "key": "k"}]}"#,
            (Setting::Secret, "g/k", "spec.security_context.secrets[]"),
        ),
        (
            r#""securityContext": {"secrets": [{"group": "g"}]}"#,
            (Setting::Secret, "g/", "spec.security_context.secrets[]"),
        ),
        (
            r#""securityContext": {"secrets": [{"key": "k"}]}"#,
            (Setting::Secret, "/k", "spec.security_context.secrets[]"),
        ),
        (
            r#""annotations": {"values": {"team": "t", "iam.amazonaws.com/role": "r"}}"#,
            (
                Setting::IamRole,
                "r",
                "spec.annotations.values `iam.amazonaws.com/role`",
            ),
        ),
        (
            r#""annotations": {"values": {"flyte.secrets/s0": "xyz"}}"#,
            (
                Setting::Secret,
                "flyte.secrets/s0",
                "spec.annotations.values `flyte.secrets/s0`",
            ),
        ),
    ];
    for (spec, (setting, value, field)) in table {
        assert_eq!(asked(spec), [(setting, value.to_owned(), field.to_owned())], "{spec}");
    }
}

#[test]
fn an_empty_value_asks_for_nothing() {
    for spec in [
        r#""securityContext": {"runAs": {"k8sServiceAccount": "", "iamRole": ""}, "secrets": [{}, {"group": "", "key": ""}]}"#,
        r#""rawOutputDataConfig": {}"#,
        r#""annotations": {"values": {"iam.amazonaws.com/role": ""}}"#,
    ] {
        assert_eq!(asked(spec), [], "{spec}");
    }
}

#[test]
fn an_annotation_that_says_for_nobody_is_one_that_says_for_whom() {
    for spec in [
        r#""annotations": {"values": {"flyte.org/user-email": ""}}"#,
        r#""annotations": {"values": {"flyte.org/user-email": null}}"#,
    ] {
        let field = "spec.annotations.values `flyte.org/user-email`".to_owned();
        assert_eq!(asked(spec), [(Setting::Identity, String::new(), field)], "{spec}");
    }
    // `FlyteAdmin` fills the field in.
    assert_eq!(asked(r#""securityContext": {"runAs": {"executionIdentity": ""}}"#), []);
}

#[test]
fn more_settings_than_are_looked_at_are_refused() {
    let secrets = |count: usize| {
        format!(
            r#""securityContext": {{"secrets": [{}]}}"#,
            vec![r#"{"key": "k"}"#; count].join(",")
        )
    };
    let accounts = |count: usize| {
        let accounts: Vec<String> = (0..count)
            .map(|number| format!(r#""{number}/serviceAccountName": "a""#))
            .collect();
        format!(r#""annotations": {{"values": {{{}}}}}"#, accounts.join(","))
    };
    for many in [secrets, accounts] as [fn(usize) -> String; 2] {
        assert_eq!(asked(&many(MOST)).len(), MOST);
        let body = format!(
            r#"{{"project": "ml", "domain": "development", "name": "e", "spec": {{"launchPlan": {{{OWN_PLAN}}}, {}}}}}"#,
            many(MOST + 1)
        );
        let denial = call("CreateExecution", &body).unwrap_err();
        assert_eq!(denial.reason, Reason::MessageTooLarge);
        assert!(denial.message.contains("more than 10000"), "{denial:?}");
    }
}

#[test]
fn all_that_is_asked_for_is_listed_in_the_order_of_the_message() {
    let spec = r#""labels": {"values": {"aadpodidbinding": "b"}}, "authRole": {"assumableIamRole": "r"},
        "securityContext": {"secrets": [{"key": "1"}, {}, {"key": "2"}], "runAs": {"iamRole": "s"}}"#;
    let values: Vec<String> = asked(spec).into_iter().map(|(_, value, _)| value).collect();
    assert_eq!(values, ["b", "r", "/1", "/2", "s"]);
}
