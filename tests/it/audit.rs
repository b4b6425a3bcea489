//! The audit trail: one record and one count for every request, with the documented fields and nothing secret.

use crate::proxy::Proxy;
use crate::sockets::{eventually, h2, rpc, tcp};
use flyte_authz_proxy::demo::client::Client;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::stack::Entry;
use serde_json::{Value, json};
use std::collections::{BTreeMap, BTreeSet};

const LIST: &str = "AdminService/ListExecutions";
const GET: &str = "AdminService/GetExecution";

/// Every field that a record may have, and whether it always has it.
const FIELDS: &[(&str, bool)] = &[
    ("version", true),
    ("kind", true),
    ("time", true),
    ("request_id", true),
    ("client_request_id", false),
    ("trace_id", false),
    ("outcome", true),
    ("reason", false),
    ("message", false),
    ("protocol", true),
    ("listener", true),
    ("peer", true),
    ("client", true),
    ("rpc", false),
    ("action", false),
    ("targets", false),
    ("principal", false),
    ("credential", false),
    ("rules", false),
    ("policy", false),
    ("status", false),
    ("grpc_status", false),
    ("request_bytes", true),
    ("response_bytes", true),
    ("judge_us", true),
    ("duration_us", true),
];

fn keys(value: &Value) -> BTreeSet<&str> {
    value
        .as_object()
        .into_iter()
        .flatten()
        .map(|(name, _)| name.as_str())
        .collect()
}

/// One of ten kinds of request. Returns the outcome that must be recorded for it.
async fn make(proxy: &Proxy, client: &Client, number: usize) -> &'static str {
    let (ml, list) = (
        proxy.ml(),
        |project: &str| json!({"id": {"project": project, "domain": "development"}, "limit": 1}),
    );
    let call = async |token: Option<&str>, project: &str| client.call(token, LIST, list(project)).await.map(drop);
    let get = async |path: &str| client.get(Some(&ml), path).await.map(drop);
    let (expected, made) = match number % 10 {
        0 => ("forwarded", call(Some(&ml), "ml").await),
        1 => ("denied", call(Some(&ml), "fraud").await),
        2 => ("denied", call(None, "ml").await),
        3 => (
            "denied",
            call(Some("eyJhbGciOiJub25lIn0.secret-payload.secret-signature"), "ml").await,
        ),
        4 => ("forwarded", get("/api/v1/executions/ml/development?limit=1").await),
        5 => ("denied", get("/api/v1/secret-path?code=secret-code").await),
        6 => {
            let headers = [
                ("cookie", "flyte_idt=secret-cookie"),
                ("traceparent", "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"),
            ];
            let reply = client
                .rest(http::Method::GET, "/console?x=secret-query", &headers, "")
                .await;
            ("forwarded", reply.map(drop))
        }
        7 => {
            let path = "/grpc.health.v1.Health/Check";
            let reply = client
                .grpc(path, &[("x-request-id", "mine-1")], bytes::Bytes::from_static(&[0; 5]))
                .await;
            ("answered", reply.map(drop))
        }
        // Scripted: this RPC is reset, `GetWorkflow` hangs.
        8 => {
            let id = json!({"id": {"project": "ml", "domain": "development", "name": "e1"}});
            ("failed", client.call(Some(&ml), GET, id).await.map(drop))
        }
        _ => {
            leave(proxy, &ml).await;
            ("aborted", Ok(()))
        }
    };
    made.unwrap();
    expected
}

/// Leaves while the control plane is at work.
async fn leave(proxy: &Proxy, token: &str) {
    let rpc_name = "AdminService/GetWorkflow";
    let id = json!({"resourceType": "WORKFLOW", "project": "ml", "domain": "development", "name": "w", "version": "1"});
    let message = proxy.client.encode(rpc_name, json!({"id": id})).unwrap();
    let mut requests = h2(tcp(proxy, Entry::Plain).await).await;
    let arrivals = proxy.control_plane.count();
    let answer = tokio::spawn(requests.send_request(rpc(token, rpc_name, &message)));
    eventually("the request arrives", || proxy.control_plane.count() > arrivals).await;
    answer.abort();
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_request_leaves_one_record_with_the_documented_fields_and_one_count() {
    let proxy = Proxy::start().await;
    proxy.control_plane.script(Script::on("GetExecution", Fault::Reset));
    proxy.control_plane.script(Script::on("GetWorkflow", Fault::Hang));
    let mut expected: BTreeMap<String, usize> = BTreeMap::new();
    for number in 0..300 {
        let client = if number % 3 == 0 { &proxy.client } else { &proxy.plain };
        let outcome = make(&proxy, client, number).await;
        *expected.entry(outcome.to_owned()).or_default() += 1;
    }
    let records = proxy.records_after(0, 300).await;
    assert_eq!(records.len(), 300);
    let mut found: BTreeMap<String, usize> = BTreeMap::new();
    let mut series: BTreeMap<String, u32> = BTreeMap::new();
    let mut seen = BTreeSet::new();
    for record in &records {
        check(record);
        seen.extend(keys(record));
        let text = |name: &str| record[name].as_str().unwrap();
        *found.entry(text("outcome").to_owned()).or_default() += 1;
        let rpc = record["rpc"].as_str().unwrap_or("unknown");
        let labels = format!(
            "outcome=\"{}\",protocol=\"{}\",rpc=\"{rpc}\"",
            text("outcome"),
            text("protocol")
        );
        *series.entry(labels).or_default() += 1;
    }
    assert_eq!(found, expected);
    assert_eq!(seen.len(), FIELDS.len(), "the run shows every field");
    let ids: BTreeSet<&str> = records
        .iter()
        .map(|record| record["request_id"].as_str().unwrap())
        .collect();
    assert_eq!(ids.len(), 300, "request ids are unique");
    // The metrics are counted from the same values.
    for (labels, count) in series {
        let counted = proxy.metric(&format!("requests_total{{{labels}}}"));
        assert!(
            (counted - f64::from(count)).abs() < f64::EPSILON,
            "{labels}: {counted}, not {count}"
        );
    }
    for (name, count) in [
        ("requests_total", 300.0),
        ("request_seconds_count", 300.0),
        ("audit_records_total", 300.0),
    ] {
        assert!((proxy.metric(name) - count).abs() < f64::EPSILON, "{name}");
    }
    assert!((proxy.metric("audit_failures_total")).abs() < f64::EPSILON);
    let everything = format!(
        "{records:?} {}",
        String::from_utf8(proxy.app.metrics.render().unwrap()).unwrap()
    );
    for secret in ["eyJ", "secret", "Bearer"] {
        assert!(!everything.contains(secret), "{secret} was written down");
    }
}

/// Checks one record's fields against the documented ones and each other.
fn check(record: &Value) {
    let names = keys(record);
    for (name, always) in FIELDS {
        assert!(!always || names.contains(name), "{name} is missing: {record:#}");
    }
    let known: BTreeSet<&str> = FIELDS.iter().map(|(name, _)| *name).collect();
    assert!(names.is_subset(&known), "{:?}", names.difference(&known));
    assert_eq!((&record["version"], &record["kind"]), (&json!(1), &json!("request")));
    let time = record["time"].as_str().unwrap();
    assert!(
        time.len() == "2026-01-01T00:00:00.000000Z".len() && time.ends_with('Z'),
        "{time}"
    );
    assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
    assert_eq!(record["client"], "127.0.0.1");
    let outcome = record["outcome"].as_str().unwrap();
    let reasoned = ["denied", "failed"].contains(&outcome);
    assert_eq!(
        (names.contains("reason"), names.contains("message")),
        (reasoned, reasoned),
        "{record:#}"
    );
    assert_eq!(
        names.contains("status"),
        !["aborted", "answered"].contains(&outcome),
        "{record:#}"
    );
    assert!(record["duration_us"].as_u64().unwrap() >= record["judge_us"].as_u64().unwrap());
    assert!(keys(&record["principal"]).is_subset(&["kind", "issuer", "subject", "email", "client_id"].into()));
    assert!(keys(&record["policy"]).is_subset(&["version", "generation"].into()));
    for target in record["targets"].as_array().into_iter().flatten() {
        let fields = [
            "project",
            "domain",
            "domains",
            "needs",
            "resource",
            "name",
            "execution",
            "things",
            "reference",
        ];
        assert!(keys(target).is_subset(&fields.into()), "{target}");
    }
}
