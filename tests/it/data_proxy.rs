//! The data proxy: where a `flyte://` URL leads, whose deck a link is for, and that no upload leaves its place.

use crate::hostile::{Attack, show};
use crate::proxy::Proxy;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::{Value, json};

const UPLOAD: (&str, &str) = (
    "DataProxyService/CreateUploadLocation",
    "/api/v1/dataproxy/artifact_urn",
);
const LINK: (&str, &str) = ("DataProxyService/CreateDownloadLink", "/api/v1/dataproxy/artifact_link");

/// Sends a message by gRPC, and by its REST route in JSON and protobuf. Each is refused, and nothing arrives.
async fn refused(attack: &Attack, (rpc, target): (&str, &str), message: &Value, reason: Reason) {
    show(&message.to_string());
    let encoded = attack.proxy.client.encode(rpc, message.clone()).unwrap();
    let path = format!("/flyteidl.service.{rpc}");
    attack.grpc(&path, &[], envelope::frame(&encoded), reason).await;
    for (content_type, body) in [
        ("application/json", message.to_string().into_bytes()),
        ("application/octet-stream", encoded),
    ] {
        let headers = [("content-type", content_type)];
        attack.rest((Method::POST, target), &headers, body, reason).await;
    }
}

/// The same for a message that is forwarded, and arrives as it is each time.
async fn forwarded(attack: &Attack, (rpc, target): (&str, &str), message: &Value) {
    show(&message.to_string());
    let proxy = &attack.proxy;
    let encoded = proxy.client.encode(rpc, message.clone()).unwrap();
    let before = proxy.before();
    let reply = proxy
        .client
        .call(Some(&proxy.ml()), rpc, message.clone())
        .await
        .unwrap();
    arrived(proxy, &proxy.forwarded(&before, &reply).await, message);
    for (content_type, body) in [
        ("application/json", message.to_string().into_bytes()),
        ("application/octet-stream", encoded),
    ] {
        let headers = [
            ("content-type", content_type),
            ("authorization", attack.bearer.as_str()),
        ];
        let before = proxy.before();
        let reply = proxy.plain.rest(Method::POST, target, &headers, body).await.unwrap();
        arrived(proxy, &proxy.forwarded(&before, &reply).await, message);
    }
}

/// What arrived last is this message, and was judged where it says.
fn arrived(proxy: &Proxy, record: &Value, message: &Value) {
    assert_eq!(
        proxy.control_plane.arrivals().pop().unwrap().request.as_ref(),
        Some(message)
    );
    let target = &record["targets"][0];
    assert_eq!(
        (&target["project"], &target["domain"]),
        (&json!("ml"), &json!("development"))
    );
}

/// The query of a GET for the data of a URL.
fn query(url: &str) -> String {
    format!("/api/v1/data?flyte_url={}", utf8_percent_encode(url, NON_ALPHANUMERIC))
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_15_data_is_read_where_the_url_leads() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let bearer = [("authorization", attack.bearer.as_str())];
    for tail in ["i", "o", "d", "0/i", "1/o", "12/d", "i/x", "o/o0", "0/i/x", "3/o/my_df"] {
        let url = format!("flyte://v1/ml/development/e1/n0-0-dn1/{tail}");
        let message = json!({"flyte_url": url});
        let before = proxy.before();
        let rpc = "DataProxyService/GetData";
        let reply = proxy
            .client
            .call(Some(&proxy.ml()), rpc, message.clone())
            .await
            .unwrap();
        arrived(proxy, &proxy.forwarded(&before, &reply).await, &message);
        // Escaped, as it is, and in the other spelling of the key.
        for target in [
            query(&url),
            format!("/api/v1/data?flyte_url={url}"),
            format!("/api/v1/data?flyteUrl={url}"),
        ] {
            show(&target);
            let before = proxy.before();
            let reply = proxy.plain.rest(Method::GET, &target, &bearer, "").await.unwrap();
            arrived(proxy, &proxy.forwarded(&before, &reply).await, &message);
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_15_no_url_leads_to_another_place_or_to_two() {
    let attack = Attack::start().await;
    for (url, reason) in [
        ("flyte://v1/fraud/development/e/n0/i", Reason::NoMatchingRule),
        ("flyte://v1/fraud/development/e/n0/0/o/x", Reason::NoMatchingRule),
        ("flyte://v1/fraud/production/e/n0/d", Reason::NoMatchingRule),
        ("flyte://v1/ml/nowhere/e/n0/d", Reason::DomainUnknown),
        ("flyte://v1/ML/development/e/n0/i", Reason::ScopeInvalid),
        ("flyte://v1/org/acme/ml/development/e/n0/i", Reason::OrganizationRefused),
        (
            "flyte://v1/org/ml/fraud/development/e/n0/0/o/x",
            Reason::OrganizationRefused,
        ),
        ("flyte://v1/org/development/e/n0/i", Reason::NoMatchingRule),
        ("flyte://v1/org/development/e/n0/1/i/o", Reason::FieldInvalid),
        (
            "flyte://v1/ml/development/e/n0/x/flyte://v1/fraud/development/e/n0/i",
            Reason::FieldInvalid,
        ),
        (
            "flyte://v1/fraud/development/e/n0/i/flyte://v1/ml/development/e/n0/i",
            Reason::FieldInvalid,
        ),
        ("flyte://v1/ml/development/e/n0", Reason::FieldInvalid),
        ("flyte://v1/ml/development/e/n0/d/x", Reason::FieldInvalid),
        ("flyte://v1/ml/development/e/n0/4294967296/i", Reason::FieldInvalid),
        ("flyte://v1/ml/development/e/../i", Reason::FieldInvalid),
        ("flyte://v1/ml/development/e/n0/i#x", Reason::FieldInvalid),
        ("flyte://v1/ml/development/e/n0/i%2Fx", Reason::FieldInvalid),
        ("s3://bucket/fraud", Reason::FieldInvalid),
        ("", Reason::ScopeMissing),
    ] {
        let message = attack
            .proxy
            .client
            .encode("DataProxyService/GetData", json!({"flyte_url": url}));
        let path = "/flyteidl.service.DataProxyService/GetData";
        attack.grpc(path, &[], envelope::frame(&message.unwrap()), reason).await;
        attack.rest((Method::GET, &query(url)), &[], "", reason).await;
    }
    let own = "flyte://v1/ml/development/e/n0/i";
    let foreign = "flyte://v1/fraud/development/e/n0/i";
    for (query, reason) in [
        (format!("flyte_url={own}&flyte_url={foreign}"), Reason::QueryRefused),
        (format!("flyte_url={own}&flyteUrl={foreign}"), Reason::QueryRefused),
        (format!("flyte%5Furl={own}&flyte_url={foreign}"), Reason::QueryRefused),
        (format!("flyte_url={own}&native_url=s3://x"), Reason::QueryRefused),
        (String::new(), Reason::ScopeMissing),
    ] {
        let target = format!("/api/v1/data?{query}");
        attack.rest((Method::GET, &target), &[], "", reason).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_link_to_a_deck_is_judged_by_its_execution() {
    let attack = Attack::start().await;
    let link = |execution: Value, node: &str| json!({"artifact_type": "ARTIFACT_TYPE_DECK", "node_execution_id": {"node_id": node, "execution_id": execution}});
    let id = |project: &str, domain: &str, name: &str| json!({"project": project, "domain": domain, "name": name});
    forwarded(&attack, LINK, &link(id("ml", "development", "e1"), "n0")).await;
    for (execution, node, reason) in [
        (id("fraud", "development", "e1"), "n0", Reason::NoMatchingRule),
        (id("ml", "nowhere", "e1"), "n0", Reason::DomainUnknown),
        (id("", "development", "e1"), "n0", Reason::ScopeMissing),
        (id("ml", "", "e1"), "n0", Reason::ScopeMissing),
        (id("ml", "development", ""), "n0", Reason::ScopeMissing),
        (id("ml", "development", "e1"), "", Reason::ScopeMissing),
        (json!({}), "n0", Reason::ScopeMissing),
        (id("ml/../fraud", "development", "e1"), "n0", Reason::ScopeInvalid),
        (id("ml", "development", "../../fraud/e1"), "n0", Reason::FieldInvalid),
        (id("ml", "development", "e1"), "../n0", Reason::FieldInvalid),
        (
            json!({"project": "ml", "domain": "development", "name": "e1", "org": "other"}),
            "n0",
            Reason::OrganizationRefused,
        ),
    ] {
        refused(&attack, LINK, &link(execution, node), reason).await;
    }
    let no_source = json!({"artifact_type": "ARTIFACT_TYPE_DECK"});
    refused(&attack, LINK, &no_source, Reason::ScopeMissing).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn uploads_go_where_their_project_and_domain_say() {
    let attack = Attack::start().await;
    let upload = |field: &str, value: &str| {
        let mut message = json!({"project": "ml", "domain": "development", "filename": "f", "filename_root": "root"});
        message[field] = value.into();
        message
    };
    for (field, value) in [
        ("filename", "fast1234.tar.gz"),
        ("filename", "a/b c/d.pkl"),
        ("filename", "..a"),
        ("filename_root", "a..b/c"),
        ("filename_root", "\u{e4}"),
    ] {
        forwarded(&attack, UPLOAD, &upload(field, value)).await;
    }
    for value in [
        "..",
        ".",
        "../fraud/development/x",
        "a/../../../fraud/x",
        "a/..",
        "./a",
        "/a",
        "/",
        "//fraud",
        "a//b",
        "a/",
        "%2e%2e/fraud",
        "a%",
        "a?x-amz-acl=public-read",
        "a#b",
        "..\\fraud",
        "a\0b",
        "a\nb",
        "a\tb",
        "a\u{7f}",
        "a\u{85}b",
    ] {
        for field in ["filename", "filename_root"] {
            refused(&attack, UPLOAD, &upload(field, value), Reason::FieldInvalid).await;
        }
        refused(&attack, UPLOAD, &upload("project", value), Reason::ScopeInvalid).await;
        refused(&attack, UPLOAD, &upload("domain", value), Reason::DomainUnknown).await;
        refused(&attack, UPLOAD, &upload("org", value), Reason::OrganizationRefused).await;
    }
    for (field, value, reason) in [
        ("project", "", Reason::ScopeMissing),
        ("domain", "", Reason::ScopeMissing),
        ("project", "fraud", Reason::NoMatchingRule),
        ("project", "ml/development/../../fraud", Reason::ScopeInvalid),
        ("project", "ml\u{200b}", Reason::ScopeInvalid),
        ("domain", "development/x", Reason::DomainUnknown),
        ("domain", "production", Reason::NoMatchingRule),
        ("org", "acme", Reason::OrganizationRefused),
    ] {
        refused(&attack, UPLOAD, &upload(field, value), reason).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_place_in_the_store_is_not_signed_for_whom_no_rule_gives_it() {
    let attack = Attack::start().await;
    for (url, reason) in [
        ("s3://bucket/ml/development/x", Reason::NoMatchingRule),
        ("flyte://v1/ml/development/e/n0/i", Reason::NoMatchingRule),
        ("", Reason::ScopeMissing),
    ] {
        let rpc = "DataProxyService/CreateDownloadLocation";
        let message = attack.proxy.client.encode(rpc, json!({"native_url": url})).unwrap();
        let path = format!("/flyteidl.service.{rpc}");
        let frame = envelope::frame(&message);
        attack.grpc(&path, &[], frame, reason).await;
        let target = format!("{}?native_url={}", UPLOAD.1, utf8_percent_encode(url, NON_ALPHANUMERIC));
        attack.rest((Method::GET, &target), &[], "", reason).await;
    }
}
