//! Listeners that accept only certain principals, however they are identified.

use crate::mesh::{LIST, Mesh, PROPELLER, list};
use crate::proxy::Proxy;
use flyte_authz_proxy::demo::client::Client;
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use serde_json::json;

const OWN: &str = "/api/v1/executions/ml/development?limit=1";

/// Checks that a caller is refused by gRPC and REST before its body is looked at, and public calls are not.
async fn turned_away(proxy: &Proxy, client: &Client, token: Option<&str>, listener: &str, subject: &str) {
    let told = format!("the listener `{listener}` does not accept the subject `{subject}` of");
    for (rest, body) in [(false, "no frame"), (true, "")] {
        let before = proxy.before();
        let bearer = token.map(|token| format!("Bearer {token}"));
        let headers: Vec<(&str, &str)> = bearer.iter().map(|value| ("authorization", value.as_str())).collect();
        let reply = if rest {
            client.rest(http::Method::GET, OWN, &headers, body).await.unwrap()
        } else {
            let path = format!("/flyteidl.service.{LIST}");
            client.grpc(&path, &headers, body.into()).await.unwrap()
        };
        assert!(reply.message().contains(&told), "{}", reply.message());
        let record = proxy.refused(&before, &reply, Reason::PrincipalRefused).await;
        assert_eq!(record["principal"]["subject"], subject);
        assert_eq!(record["credential"], json!(token.map(|_| "authorization")));
        assert_eq!(record["listener"], listener);
    }
    let reply = client.get(token, "/healthcheck").await.unwrap();
    assert_eq!(reply.status, 200);
    proxy.written(&reply).await;
    let metadata = "/flyteidl.service.AuthMetadataService/GetOAuth2Metadata";
    let public = flyte_authz_proxy::protocol::envelope::frame(&[]);
    let reply = client.grpc(metadata, &[], public).await.unwrap();
    assert_eq!(reply.grpc_status(), Some(0));
    proxy.written(&reply).await;
    let preflight = [("origin", "https://x"), ("access-control-request-method", "GET")];
    let reply = client.rest(http::Method::OPTIONS, OWN, &preflight, "").await.unwrap();
    assert!(!reply.message().contains("; request "), "{}", reply.message());
    proxy.written(&reply).await;
}

async fn let_in(proxy: &Proxy, client: &Client, token: Option<&str>) {
    let before = proxy.before();
    let reply = client.call(token, LIST, list("ml")).await.unwrap();
    proxy.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_for_tokens_accepts_only_the_principals_it_names() {
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| {
            let issuer = text.split("  - issuer: ").nth(1).unwrap().lines().next().unwrap().to_owned();
            let accept = format!(
                "name: plain\n    accept:\n      - {{ issuer: {issuer}, groups: [ml-*], subject: [alice] }}\n      - {{ claim: team, pattern: \"(?<t>x+)\" }}"
            );
            text.replace("name: plain", &accept)
        });
    })
    .await;
    let_in(&proxy, &proxy.plain, Some(&proxy.ml())).await;
    let by_claim = proxy
        .issuer
        .mint(&json!({"sub": "carol", "groups": ["ml-team"], "team": "xx"}));
    let_in(&proxy, &proxy.plain, Some(&by_claim)).await;
    let other = proxy
        .issuer
        .mint(&json!({"sub": "dave", "groups": ["ml-team"], "team": "y"}));
    turned_away(&proxy, &proxy.plain, Some(&other), "plain", "dave").await;
    turned_away(&proxy, &proxy.plain, Some(&proxy.fraud()), "plain", "bob").await;
    // Without a verified caller there is nobody to accept; other listeners accept all.
    let before = proxy.before();
    let reply = proxy.plain.call(None, LIST, list("ml")).await.unwrap();
    proxy.refused(&before, &reply, Reason::CredentialMissing).await;
    let_in(&proxy, &proxy.client, Some(&other)).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_with_a_fixed_principal_accepts_it_or_nobody() {
    for (accept, accepted) in [("flyte*", true), ("flytescheduler", false)] {
        let proxy = Proxy::start_with(|setup| {
            let accept = format!("name: engine\n    accept: [{{ subject: [{accept}], issuer: \"listener:engine\" }}]");
            setup.edit = Box::new(move |text| text.replace("name: engine", &accept));
        })
        .await;
        let address = proxy.address(Entry::Engine).unwrap();
        let client = Client::new(address, None, &crate::descriptors::bytes()).unwrap();
        if accepted {
            let_in(&proxy, &client, None).await;
        } else {
            turned_away(&proxy, &client, None, "engine", "flytepropeller").await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_for_certificates_accepts_only_the_workloads_and_tokens_it_names() {
    let rest = "identity: { client_certificate: {} }
    accept:
      - subject: [\"spiffe://cluster.local/ns/flyte/sa/*\"]
      - groups: [ml-team]";
    let mesh = Mesh::start(", required: false", rest).await;
    let_in(&mesh, &mesh.client(Some(&mesh.propeller())), None).await;
    let stranger = PROPELLER.replace("flyte/", "other/");
    let client = mesh.client(Some(&mesh.uris(&[&stranger])));
    turned_away(&mesh, &client, None, "mesh", &stranger).await;
    let plain = mesh.client(None);
    let_in(&mesh, &plain, Some(&mesh.ml())).await;
    turned_away(&mesh, &plain, Some(&mesh.fraud()), "mesh", "bob").await;
}
