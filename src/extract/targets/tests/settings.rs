//! The settings of executions that requests ask for.

use super::{OWN_PLAN, call, refusal};
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

/// A change of the attributes of a project, with this member of `matching_attributes`.
fn attributes(member: &str) -> String {
    format!(r#"{{"attributes": {{"project": "ml", "domain": "development", "matching_attributes": {{{member}}}}}}}"#)
}

#[test]
fn what_goes_into_manifests_and_queues_is_asked_for() {
    let asked = |member: &str| {
        let asked = call("UpdateProjectDomainAttributes", &attributes(member))
            .unwrap()
            .asked;
        let one =
            |asked: &crate::model::setting::Asked| (asked.setting, asked.value.to_string(), asked.field.to_string());
        asked.iter().map(one).collect::<Vec<_>>()
    };
    let resource = |name: &str| {
        let field = format!("attributes.matching_attributes.cluster_resource_attributes.attributes `{name}`");
        (Setting::ClusterResource, name.to_owned(), field)
    };
    let many = r#""cluster_resource_attributes": {"attributes": {"projectQuotaCpu": "4", "serviceAccountName": "a b", "defaultIamRole": ""}}"#;
    let names = ["projectQuotaCpu", "serviceAccountName", "defaultIamRole"];
    assert_eq!(asked(many), names.map(resource));
    let null = r#""clusterResourceAttributes": {"attributes": {"defaultIamRole": null}}"#;
    assert_eq!(asked(null), [resource("defaultIamRole")]);
    for nothing in [r#""attributes": {}"#, r#""attributes": null"#, ""] {
        assert_eq!(asked(&format!(r#""cluster_resource_attributes": {{{nothing}}}"#)), []);
    }
    let tag = |value: &str| {
        let field = "attributes.matching_attributes.execution_queue_attributes.tags".to_owned();
        (Setting::QueueTag, value.to_owned(), field)
    };
    let tags = r#""execution_queue_attributes": {"tags": ["gpu", "", "critical"]}"#;
    assert_eq!(asked(tags), [tag("gpu"), tag("critical")]);
    assert_eq!(asked(r#""execution_queue_attributes": {"tags": []}"#), []);
}

#[test]
fn nothing_adds_lines_to_manifests() {
    for broken in [
        "a\\nb", "\\r", "\\u0000", "\\t", "\\u0085", "a\\u2028", "\\u2029b", "\\u007f",
    ] {
        for member in [
            format!(r#""{broken}": "v""#),
            format!(r#""k": "{broken}""#),
            format!(r#""{broken}": null"#),
        ] {
            let member = format!(r#""cluster_resource_attributes": {{"attributes": {{{member}}}}}"#);
            let denial = refusal("UpdateProjectDomainAttributes", &attributes(&member));
            assert_eq!(denial.reason, Reason::FieldInvalid, "{member}");
            assert!(
                denial.message.contains("would add lines to Kubernetes manifests"),
                "{denial:?}"
            );
        }
    }
    let fine = r#""cluster_resource_attributes": {"attributes": {"k": "arn:aws:iam::1:role/x y: {z} \u00e9"}}"#;
    call("UpdateProjectDomainAttributes", &attributes(fine)).unwrap();
}
