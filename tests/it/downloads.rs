//! Links to objects of the store: by who may administer the platform, or may view data where a rule says they lie.

use crate::proxy::Proxy;
use flyte_authz_proxy::model::reason::Reason;
use percent_encoding::{NON_ALPHANUMERIC, utf8_percent_encode};
use serde_json::json;

const POLICY: &str = r#"
version: 1
rules:
  - name: team
    subjects: [{ groups: [team] }]
    allow:
      - projects: [ml]
        domains: [development]
        role: viewer
        download_prefixes: ["s3://data/${project}/${domain}"]
  - name: admin
    subjects: [{ groups: [admin] }]
    allow: [{ projects: ["*"], domains: ["*"], role: platform_admin }]
"#;

#[tokio::test(flavor = "multi_thread")]
async fn a_link_is_given_to_who_may_view_data_where_the_object_lies() {
    let proxy = Proxy::start_with(|setup| POLICY.clone_into(&mut setup.policy)).await;
    let rpc = "DataProxyService/CreateDownloadLocation";
    for (group, url, expected) in [
        ("team", "s3://data/ml/development/x", None),
        ("admin", "s3://anything/at/all", None),
        ("team", "s3://data/ml/production/x", Some(Reason::NoMatchingRule)),
        ("team", "s3://data/other/development/x", Some(Reason::NoMatchingRule)),
        (
            "team",
            "s3://data/ml/development/../production/x",
            Some(Reason::NoMatchingRule),
        ),
        (
            "team",
            "s3://data/ml/development/%2e%2e/x",
            Some(Reason::NoMatchingRule),
        ),
        (
            "team",
            "s3://data/ml/development/x?versionId=1",
            Some(Reason::NoMatchingRule),
        ),
        ("team", "", Some(Reason::ScopeMissing)),
        ("admin", "", Some(Reason::ScopeMissing)),
    ] {
        let token = proxy.token("alice", group);
        let before = proxy.before();
        let grpc = proxy
            .client
            .call(Some(&token), rpc, json!({"native_url": url}))
            .await
            .unwrap();
        check(&proxy, &before, &grpc, expected, url).await;
        let before = proxy.before();
        let query = utf8_percent_encode(url, NON_ALPHANUMERIC);
        let target = format!("/api/v1/dataproxy/artifact_urn?native_url={query}");
        let rest = proxy.client.get(Some(&token), &target).await.unwrap();
        check(&proxy, &before, &rest, expected, url).await;
    }
}

async fn check(
    proxy: &Proxy,
    before: &crate::proxy::Before,
    reply: &flyte_authz_proxy::demo::client::Reply,
    expected: Option<Reason>,
    url: &str,
) {
    if let Some(reason) = expected {
        proxy.refused(before, reply, reason).await;
        return;
    }
    let record = proxy.forwarded(before, reply).await;
    assert_eq!(record["targets"][0]["resource"], "object");
    assert_eq!(record["targets"][0]["name"], url);
}
