//! No request leaves a long record, and no refusal a long answer, however long what the caller sends is.

use crate::proxy::{Before, Proxy};
use flyte_authz_proxy::audit::replay;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::policy::reads::Reads;
use serde_json::{Value, json};

const POLICY: &str = r#"
version: 1
rules:
  - name: team
    subjects: [{ groups: [team] }]
    allow:
      - projects: [ml]
        domains: [development]
        role: contributor
        service_accounts: [runner]
        download_prefixes: ["s3://data/${project}"]
  - name: admin
    subjects: [{ groups: [admin] }]
    allow: [{ projects: ["*"], domains: ["*"], role: platform_admin }]
"#;

const MIB: usize = 1 << 20;

/// Checks that a record is short and says that it lacks something, and that it is therefore not judged again.
fn is_short(record: &Value, field: &str, text: &Value, end: &str) {
    let bytes = record.to_string().len();
    assert!(bytes < 8 << 10, "{bytes} bytes");
    assert_eq!(record["shortened"], json!([field]), "{record:#}");
    assert!(text.as_str().unwrap().ends_with(end), "{text}");
    let why = replay::read(&record.to_string(), &Reads::default()).unwrap_err();
    assert_eq!(
        why,
        format!("the record was shortened: it does not hold all of `{field}`")
    );
}

async fn refused(proxy: &Proxy, before: &Before, reply: &Reply, reason: Reason) -> Value {
    let message = reply.headers["grpc-message"].to_str().unwrap();
    assert!(message.len() < 4 << 10, "{} bytes", message.len());
    proxy.refused(before, reply, reason).await
}

#[tokio::test(flavor = "multi_thread")]
async fn a_setting_and_a_url_of_a_mebibyte_leave_short_records() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    let (team, admin) = (proxy.token("alice", "team"), proxy.token("root", "admin"));
    // Controls are written in six bytes each.
    for character in ["x", "\u{1}", "é"] {
        let long = character.repeat(MIB / character.len());
        let launch_plan = json!({"resource_type": "LAUNCH_PLAN", "project": "ml", "domain": "development", "name": "n", "version": "v"});
        let execution = json!({"project": "ml", "domain": "development", "name": "e", "spec": {"launch_plan": launch_plan,
            "security_context": {"run_as": {"k8s_service_account": long}}}});
        let before = proxy.before();
        let rpc = "AdminService/CreateExecution";
        let reply = proxy.client.call(Some(&team), rpc, execution).await.unwrap();
        let record = refused(&proxy, &before, &reply, Reason::SettingRefused).await;
        assert_eq!(record["asks_for"][0]["setting"], "service_account");
        is_short(
            &record,
            "asks_for",
            &record["asks_for"][0]["value"],
            "of 1048576 bytes)",
        );

        let url = json!({"native_url": format!("s3://other/{long}")});
        let rpc = "DataProxyService/CreateDownloadLocation";
        let before = proxy.before();
        let reply = proxy.client.call(Some(&team), rpc, url.clone()).await.unwrap();
        let record = refused(&proxy, &before, &reply, Reason::NoMatchingRule).await;
        is_short(&record, "targets", &record["targets"][0]["name"], "of 1048587 bytes)");
        // What is allowed is recorded as shortly.
        let before = proxy.before();
        let reply = proxy.client.call(Some(&admin), rpc, url).await.unwrap();
        let record = proxy.forwarded(&before, &reply).await;
        is_short(&record, "targets", &record["targets"][0]["name"], "of 1048587 bytes)");
    }
}

#[tokio::test(flavor = "multi_thread")]
async fn a_subject_of_twenty_thousand_bytes_is_refused_in_a_short_text() {
    let proxy = Proxy::start_with(|setup| {
        setup
            .configuration
            .push_str("credentials: { max_token_bytes: 48KiB }\n");
        setup.edit = Box::new(|text| text.replace("name: plain", "name: plain\n    accept: [{ groups: [nobody] }]"));
    })
    .await;
    let token = proxy
        .issuer
        .mint(&json!({"sub": "ж".repeat(10_000), "groups": ["ml-team"]}));
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let before = proxy.before();
    let reply = proxy
        .plain
        .call(Some(&token), "AdminService/ListExecutions", message)
        .await
        .unwrap();
    let shown = format!("does not accept the subject `{}…` of `", "ж".repeat(300));
    assert!(reply.message().contains(&shown), "{}", reply.message());
    let record = refused(&proxy, &before, &reply, Reason::PrincipalRefused).await;
    assert_eq!(record["shortened"], json!(["principal"]));
    assert!(
        record["principal"]["subject"]
            .as_str()
            .unwrap()
            .ends_with("(the first 448 of 20000 bytes)")
    );
    // In the body of a REST refusal, too.
    let before = proxy.before();
    let target = "/api/v1/executions/ml/development?limit=1";
    let reply = proxy.plain.get(Some(&token), target).await.unwrap();
    assert!(
        reply.message().contains(&shown) && reply.body.len() < 4 << 10,
        "{reply:?}"
    );
    proxy.refused(&before, &reply, Reason::PrincipalRefused).await;
}
