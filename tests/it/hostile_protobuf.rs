//! T-PB: protobuf messages that two decoders read differently, or that name more than one scope.

use crate::hostile::{Attack, RPC, show};
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use serde_json::{Value, json};

const PATH: &str = "/flyteidl.service.";

fn varint(mut value: u64) -> Vec<u8> {
    let mut bytes = Vec::new();
    while value >= 128 {
        bytes.push(u8::try_from(value & 127).unwrap() | 128);
        value >>= 7;
    }
    bytes.push(u8::try_from(value).unwrap());
    bytes
}

/// A field with a length: a text, bytes or a message.
fn field(number: u64, content: impl AsRef<[u8]>) -> Vec<u8> {
    let content = content.as_ref();
    [&varint(number << 3 | 2), &varint(content.len() as u64), content].concat()
}

fn number(number: u64, value: u64) -> Vec<u8> {
    [varint(number << 3), varint(value)].concat()
}

/// A `NamedEntityIdentifier` of ml, in its field of the request.
fn ml() -> Vec<u8> {
    field(1, [field(1, "ml"), field(2, "development")].concat())
}

/// An `Identifier`.
fn identifier(kind: u64, project: &str) -> Vec<u8> {
    let parts = [
        number(1, kind),
        field(2, project),
        field(3, "development"),
        field(4, "n"),
    ];
    [&parts.concat()[..], &field(5, "1")].concat()
}

/// Sends a message of [`RPC`]. It is refused.
async fn refused(attack: &Attack, message: impl AsRef<[u8]>, reason: Reason) {
    show(&message.as_ref().escape_ascii().to_string());
    attack.grpc(RPC, &[], envelope::frame(message.as_ref()), reason).await;
}

/// Sends a message by gRPC and by its REST route, in protobuf. Both are refused.
async fn refused_twice(attack: &Attack, rpc: &str, target: &str, message: &[u8], reason: Reason) {
    attack
        .grpc(&format!("{PATH}{rpc}"), &[], envelope::frame(message), reason)
        .await;
    let headers = [("content-type", "application/octet-stream")];
    attack
        .rest((Method::POST, target), &headers, message.to_vec(), reason)
        .await;
}

async fn call(attack: &Attack, rpc: &str, message: Value, reason: Reason) -> Value {
    show(&message.to_string());
    let message = attack.proxy.client.encode(rpc, message).unwrap();
    attack
        .grpc(&format!("{PATH}{rpc}"), &[], envelope::frame(&message), reason)
        .await
}

fn create_execution(launch_plan: &Value) -> Value {
    json!({"project": "ml", "domain": "development", "spec": {"launch_plan": launch_plan}})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_01_02_a_field_that_selects_the_scope_comes_once() {
    let attack = Attack::start().await;
    for second in ["fraud", "ml", ""] {
        let id = field(1, [field(1, second), field(1, "ml"), field(2, "development")].concat());
        refused(&attack, id, Reason::ScopeAmbiguous).await;
        let id = field(1, [field(1, "ml"), field(2, "development"), field(1, second)].concat());
        refused(&attack, id, Reason::ScopeAmbiguous).await;
        refused(
            &attack,
            [ml(), field(1, field(1, second))].concat(),
            Reason::ScopeAmbiguous,
        )
        .await;
    }
    refused(&attack, [ml(), field(1, [])].concat(), Reason::ScopeAmbiguous).await;
    let create = [field(1, "ml"), field(2, "development"), field(1, "fraud")].concat();
    let reason = Reason::ScopeAmbiguous;
    refused_twice(
        &attack,
        "AdminService/CreateExecution",
        "/api/v1/executions",
        &create,
        reason,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_03_an_empty_scope_never_means_every_scope() {
    let attack = Attack::start().await;
    for id in [
        vec![],
        field(1, []),
        field(1, field(1, "ml")),
        field(1, field(2, "development")),
        field(1, [field(1, ""), field(2, "development")].concat()),
        field(1, [field(1, "ml"), field(2, "")].concat()),
    ] {
        refused(&attack, id, Reason::ScopeMissing).await;
    }
    let nameless = json!({"id": {"project": "ml", "domain": "development"}});
    call(&attack, "AdminService/GetExecution", nameless, Reason::ScopeMissing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_04_to_07_and_12_bytes_with_a_second_reading_are_refused() {
    let attack = Attack::start().await;
    for message in [
        // 04 another wire type than the field's, which some decoders skip
        [ml(), number(1, 7)].concat(),
        number(1, 7),
        [ml(), field(2, "5")].concat(),
        [ml(), vec![0x0d, 1, 2, 3, 4]].concat(),
        [ml(), vec![0x09, 1, 2, 3, 4, 5, 6, 7, 8]].concat(),
        field(1, [number(1, 7), field(1, "ml"), field(2, "development")].concat()),
        // 05 text that is not UTF-8
        field(1, [field(1, b"ml\xff"), field(2, "development")].concat()),
        field(1, [field(1, b"\xc0\xafml"), field(2, "development")].concat()),
        // 06 numbers longer than they have to be, and beyond 64 bits
        [vec![0x8a, 0x00], ml().split_off(1)].concat(),
        [vec![0x8a, 0x80, 0x80, 0x80, 0x80, 0x80, 0x00], ml().split_off(1)].concat(),
        [ml(), vec![0x10], vec![0xff; 10]].concat(),
        [ml(), vec![0x10], vec![0x80; 10], vec![0x01]].concat(),
        [ml(), vec![0xff; 11]].concat(),
        // 07 a length beyond the end, and a message cut short
        vec![0x0a, 0x7f, 0x0a],
        [ml(), vec![0x1a, 0xff, 0xff, 0xff, 0xff, 0x7f]].concat(),
        [
            ml(),
            vec![0x1a, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0xff, 0x01],
        ]
        .concat(),
        [ml(), vec![0x1a]].concat(),
        field(1, [field(1, "ml"), vec![0x12, 0x0c, b'd']].concat()),
        // 12 field numbers that there are not
        [ml(), vec![0x02, 0x00]].concat(),
        [ml(), field(1 << 29, "x")].concat(),
        [ml(), field((1 << 32) + 1, "x")].concat(),
    ] {
        refused(&attack, message, Reason::BodyMalformed).await;
    }
    for end in 1..ml().len() {
        refused(&attack, ml().get(..end).unwrap(), Reason::BodyMalformed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_08_deep_messages_are_refused() {
    let attack = Attack::start().await;
    for depth in [101, 5_000] {
        // A node that is an array of a node, and so on.
        let node = (0..depth).fold(field(1, "n0"), |node, _| field(10, field(1, node)));
        let template = field(1, field(4, node));
        let id = identifier(2, "ml");
        let message = [field(1, id), field(2, template)].concat();
        let reason = Reason::BodyMalformed;
        refused_twice(
            &attack,
            "AdminService/CreateWorkflow",
            "/api/v1/workflows",
            &message,
            reason,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_09_groups_are_refused() {
    let attack = Attack::start().await;
    let group = [vec![0x0b], field(1, "fraud"), vec![0x0c]].concat();
    refused(&attack, [ml(), group.clone()].concat(), Reason::BodyMalformed).await;
    refused(&attack, group, Reason::BodyMalformed).await;
    refused(&attack, [ml(), vec![0x0c]].concat(), Reason::BodyMalformed).await;
    refused(
        &attack,
        field(1, [vec![0x0b, 0x0c], field(2, "development")].concat()),
        Reason::BodyMalformed,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_10_a_field_that_is_not_in_the_catalogue_is_refused() {
    let attack = Attack::start().await;
    for unknown in [field(6, "x"), number(99, 1), field((1 << 29) - 1, "x")] {
        refused(&attack, [ml(), unknown.clone()].concat(), Reason::FieldUnknown).await;
        let id = field(1, [field(1, "ml"), field(2, "development"), unknown].concat());
        refused(&attack, id, Reason::FieldUnknown).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_13_two_members_of_a_oneof_are_refused() {
    let attack = Attack::start().await;
    let id = identifier(2, "ml");
    // task_node is 6, workflow_node 7; in a workflow node launchplan_ref is 1, sub_workflow_ref 2.
    for node in [
        [
            field(6, field(1, identifier(1, "ml"))),
            field(7, field(1, identifier(1, "fraud"))),
        ]
        .concat(),
        field(
            7,
            [field(1, identifier(1, "ml")), field(2, identifier(1, "fraud"))].concat(),
        ),
        [
            field(6, field(1, identifier(1, "ml"))),
            field(6, field(1, identifier(1, "fraud"))),
        ]
        .concat(),
    ] {
        let message = [field(1, &id), field(2, field(1, field(4, node)))].concat();
        let reason = Reason::ScopeAmbiguous;
        refused_twice(
            &attack,
            "AdminService/CreateWorkflow",
            "/api/v1/workflows",
            &message,
            reason,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_14_what_a_message_refers_to_elsewhere_needs_its_own_permission() {
    let attack = Attack::start().await;
    let plan = |project: &str| json!({"resource_type": "LAUNCH_PLAN", "project": project, "domain": "development", "name": "p", "version": "1"});
    let record = call(
        &attack,
        "AdminService/CreateExecution",
        create_execution(&plan("fraud")),
        Reason::ReferenceRefused,
    )
    .await;
    assert_eq!(record["targets"][1]["project"], "fraud");
    let mut reference = create_execution(&plan("ml"));
    reference["spec"]["metadata"] =
        json!({"reference_execution": {"project": "fraud", "domain": "development", "name": "e"}});
    call(
        &attack,
        "AdminService/CreateExecution",
        reference,
        Reason::ReferenceRefused,
    )
    .await;
    let task = json!({"task_node": {"reference_id": {"resource_type": "TASK", "project": "fraud", "domain": "development", "name": "t", "version": "1"}}});
    let nested = json!({"branch_node": {"if_else": {"case": {"then_node": {"array_node": {"node": task}}}}}});
    let workflow = json!({
        "id": {"resource_type": "WORKFLOW", "project": "ml", "domain": "development", "name": "w", "version": "1"},
        "spec": {"sub_workflows": [{"failure_node": nested}]},
    });
    call(
        &attack,
        "AdminService/CreateWorkflow",
        workflow,
        Reason::ReferenceRefused,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_15_urls_are_judged_by_what_they_name() {
    let attack = Attack::start().await;
    for (url, reason) in [
        ("flyte://v1/fraud/development/e/n0/i", Reason::NoMatchingRule),
        (
            "flyte://v1/ml/development/e/n0/i?flyte://v1/fraud/development/e/n0/i",
            Reason::FieldInvalid,
        ),
        (
            "flyte://v1/fraud/development/e/n0/i/flyte://v1/ml/development/e/n0/i",
            Reason::FieldInvalid,
        ),
        (
            "flyte://v1/ml/development/../../fraud/development/e/n0/i",
            Reason::FieldInvalid,
        ),
        ("flyte://v1/ml%2Fdevelopment/e/n0/i", Reason::FieldInvalid),
        ("FLYTE://v1/ml/development/e/n0/i", Reason::FieldInvalid),
        ("s3://bucket/fraud", Reason::FieldInvalid),
        ("", Reason::ScopeMissing),
    ] {
        call(&attack, "DataProxyService/GetData", json!({"flyte_url": url}), reason).await;
    }
    let native = json!({"native_url": "s3://bucket/ml/development/x"});
    call(
        &attack,
        "DataProxyService/CreateDownloadLocation",
        native,
        Reason::NoMatchingRule,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_16_17_scopes_are_named_by_plain_names_of_no_other_organization() {
    let attack = Attack::start().await;
    let list = |project: &str, domain: &str| json!({"id": {"project": project, "domain": domain}});
    let organization = json!({"id": {"project": "ml", "domain": "development", "org": "other"}});
    call(
        &attack,
        "AdminService/ListExecutions",
        organization,
        Reason::OrganizationRefused,
    )
    .await;
    let huge = "m".repeat(1 << 20);
    for project in [
        "ML", "m l", "ml ", " ml", "ml/fraud", "ml\0", "ml\n", "*", "%", "m%6c", "mｌ", "ml,fraud", "-ml", "_ml", &huge,
    ] {
        call(
            &attack,
            "AdminService/ListExecutions",
            list(project, "development"),
            Reason::ScopeInvalid,
        )
        .await;
    }
    for domain in [
        "Development",
        "development ",
        "dev",
        "*",
        "development\0",
        "development,production",
    ] {
        call(
            &attack,
            "AdminService/ListExecutions",
            list("ml", domain),
            Reason::DomainUnknown,
        )
        .await;
    }
    let name = json!({"id": {"project": "ml", "domain": "development", "name": "../../fraud"}});
    call(&attack, "AdminService/GetExecution", name, Reason::FieldInvalid).await;
    let huge = list(&"m".repeat(10 << 20), "development");
    call(&attack, "AdminService/ListExecutions", huge, Reason::MessageTooLarge).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_18_a_kind_that_there_is_not_is_refused() {
    let attack = Attack::start().await;
    for (kind, reason) in [
        (0, Reason::FieldInvalid),
        (2, Reason::FieldInvalid),
        (4, Reason::FieldInvalid),
        (99, Reason::FieldInvalid),
        (u64::MAX, Reason::FieldInvalid),
        (1 << 32 | 3, Reason::BodyMalformed),
    ] {
        show(&kind.to_string());
        let plan = identifier(kind, "ml");
        let message = [field(1, "ml"), field(2, "development"), field(4, field(1, plan))].concat();
        refused_twice(
            &attack,
            "AdminService/CreateExecution",
            "/api/v1/executions",
            &message,
            reason,
        )
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_request_costs_does_not_grow_with_keys_times_values() {
    let attack = Attack::start().await;
    // One annotation of 3400 keys and 3400 values would be eleven million settings.
    let keys = field(1, "aadpodidbinding").repeat(3400);
    let values = field(2, "x").repeat(3400);
    let spec = |annotations: &[u8]| field(4, [field(1, identifier(3, "ml")), field(8, annotations)].concat());
    let scope = [field(1, "ml"), field(2, "development"), field(3, "e")].concat();
    let entry = field(1, [keys, values].concat());
    let message = [scope.clone(), spec(&entry)].concat();
    let create = ("AdminService/CreateExecution", "/api/v1/executions");
    refused_twice(&attack, create.0, create.1, &message, Reason::ScopeAmbiguous).await;
    // More settings than anybody means.
    let accounts: Vec<u8> = (0..10_001)
        .flat_map(|index| field(1, [field(1, format!("{index}/serviceAccount")), field(2, "x")].concat()))
        .collect();
    let message = [scope, spec(&accounts)].concat();
    refused_twice(&attack, create.0, create.1, &message, Reason::MessageTooLarge).await;
}
