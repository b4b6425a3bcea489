//! The requests recorded at FlyteAdmin's REST gateway, sent through the whole proxy by a caller who may do everything:
//! whatever is forwarded was judged in the very project and domain in which the gateway made the gRPC call.

use crate::descriptors;
use crate::proxy::Proxy;
use crate::raw::http1;
use base64::Engine as _;
use base64::engine::general_purpose::STANDARD;
use flyte_authz_proxy::catalog::Catalog;
use prost_reflect::DynamicMessage;
use serde_json::Value;
use std::collections::BTreeSet;

const POLICY: &str = "
version: 1
rules:
  - name: everything
    subjects: [{ groups: [everything] }]
    allow: [{ projects: ['*'], domains: ['*'], role: platform_admin }]
";

/// Every text in a message whose field is called `project` or `domain`, or that is a project's `id`, wherever it is.
fn names(message: &Value, found: &mut BTreeSet<String>) {
    match message {
        Value::Object(fields) => {
            for (name, value) in fields {
                match value.as_str().filter(|text| !text.is_empty()) {
                    Some(text) if ["project", "domain", "id"].contains(&name.as_str()) => {
                        found.insert(text.to_owned());
                    }
                    _ => names(value, found),
                }
            }
        }
        Value::Array(items) => items.iter().for_each(|item| names(item, found)),
        _ => {}
    }
}

/// The bytes of a recorded request, with a token unless it brings credentials of its own.
fn bytes(vector: &Value, token: &str) -> Vec<u8> {
    let body = STANDARD.decode(vector["body_b64"].as_str().unwrap()).unwrap();
    let (method, target) = (vector["method"].as_str().unwrap(), vector["target"].as_str().unwrap());
    let mut lines = vec![
        format!("{method} {target} HTTP/1.1"),
        "host: localhost\r\nconnection: close".to_owned(),
    ];
    if vector["group"] != "auth-headers" {
        lines.push(format!("authorization: Bearer {token}"));
    }
    for pair in vector["headers"].as_array().unwrap() {
        lines.push(format!("{}: {}", pair[0].as_str().unwrap(), pair[1].as_str().unwrap()));
    }
    if !body.is_empty() {
        lines.push(format!("content-length: {}", body.len()));
    }
    [format!("{}\r\n\r\n", lines.join("\r\n")).into_bytes(), body].concat()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn recorded_requests_are_refused_or_judged_where_the_gateway_made_the_call() {
    let proxy = Proxy::start_with(|setup| {
        POLICY.clone_into(&mut setup.policy);
        setup.configuration += "flyte: { domains: [dom1, dom2, dom5, dev, d] }\n";
    })
    .await;
    let catalog = Catalog::builtin().unwrap();
    let token = proxy.token("admin", "everything");
    let vectors: Vec<Value> = serde_json::from_str(include_str!("../fixtures/gateway-vectors.json")).unwrap();
    let (mut forwarded, mut plain) = (0, 0);
    for vector in &vectors {
        let before = proxy.control_plane.arrivals().len();
        let reply = http1(&proxy, bytes(vector, &token)).await;
        let arrived = proxy.control_plane.arrivals().len() - before;
        if arrived == 0 {
            let reply = reply.filter(|reply| !reply.message().contains("[scope_missing; "));
            assert!(vector["group"] != "plain" || reply.is_none(), "{vector}: {reply:?}");
            assert!(reply.is_none_or(|reply| reply.status.as_u16() >= 400), "{vector}");
            continue;
        }
        let reply = reply.unwrap();
        proxy.written(&reply).await;
        let id = reply.headers["x-request-id"].to_str().unwrap();
        let record = proxy
            .records()
            .into_iter()
            .find(|record| record["request_id"] == id)
            .unwrap();
        let rpc = record["rpc"].as_str().unwrap();
        assert_eq!(Some(rpc), vector["grpc_path"].as_str(), "{vector}\n{record:#}");
        let request = STANDARD.decode(vector["request_b64"].as_str().unwrap()).unwrap();
        let descriptor = descriptors::message(&catalog.lookup_rpc(rpc).unwrap().request);
        let request = DynamicMessage::decode(descriptor, &*request).unwrap();
        let mut made = BTreeSet::new();
        names(&serde_json::to_value(&request).unwrap(), &mut made);
        let targets = record["targets"].as_array().cloned().unwrap_or_default();
        for target in &targets {
            for part in ["project", "domain"] {
                let judged = target[part].as_str();
                assert!(
                    judged.is_none_or(|name| made.contains(name)),
                    "{part} of {record:#} is not in {made:?}"
                );
            }
        }
        let in_project = made
            .iter()
            .any(|name| name.starts_with("pro") || name.starts_with("id"));
        assert!(!in_project || !targets.is_empty(), "nothing was judged: {vector}");
        forwarded += 1;
        plain += usize::from(vector["group"] == "plain");
    }
    // Every plain request that says where, and beside them only other spellings of one meaning. Not a download without a URL.
    assert_eq!((forwarded, plain), (38, 36));
}
