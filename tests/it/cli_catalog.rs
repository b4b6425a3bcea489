//! `catalog` and `schema`, and what an overlay does to a running proxy.

use crate::cli::{run, text};
use crate::proxy::Proxy;
use bytes::Bytes;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use serde_json::Value;
use std::fs;
use std::path::Path;

const OVERLAY: &str = "tests/fixtures/overlay.yaml";
const REPORT: &str = "/acme.reports.ReportService/GetReport";

#[test]
fn the_catalogue_is_printed_for_people_and_for_programs() {
    let catalog = run(&["catalog", "--format", "json"]).exited(0).json();
    let table = run(&["catalog"]).exited(0).stdout;
    assert!(table.starts_with("RPC "), "{table}");
    let rpcs = catalog["rpcs"].as_array().unwrap();
    assert_eq!(rpcs.len(), 66);
    for rpc in rpcs {
        let name = rpc["rpc"].as_str().unwrap().strip_prefix("/flyteidl.service.").unwrap();
        assert!(table.lines().any(|line| line.split(' ').next() == Some(name)), "{name}");
    }
    assert!(!table.contains("acme"));
}

#[test]
fn an_overlay_is_printed_with_the_rest_and_a_broken_one_is_told() {
    let table = run(&["catalog", "--overlay", OVERLAY]).exited(0).stdout;
    for line in ["ReportService/GetReport", "ReportService/ListFormats", "/reports/**"] {
        assert!(table.contains(line), "{table}");
    }
    let catalog = run(&["catalog", "--overlay", OVERLAY, "--format", "json"])
        .exited(0)
        .json();
    let rpcs = catalog["rpcs"].as_array().unwrap();
    let added = rpcs.iter().find(|rpc| rpc["rpc"] == REPORT).unwrap();
    assert_eq!((rpcs.len(), &added["action"]), (68, &Value::from("view_data")));

    let twice = run(&[
        "catalog",
        "--overlay",
        OVERLAY,
        "--overlay",
        OVERLAY,
        "--overlay",
        "none.yaml",
    ])
    .exited(3);
    assert!(
        twice.stderr.contains("none.yaml: error: cannot be read"),
        "{}",
        twice.stderr
    );
    let twice = run(&["catalog", "--overlay", OVERLAY, "--overlay", OVERLAY]).exited(3);
    assert!(
        twice.stderr.contains("is defined at tests/fixtures/overlay.yaml:"),
        "{}",
        twice.stderr
    );
    assert_eq!(twice.stdout, "");
}

#[test]
fn the_document_about_overlays_shows_the_sample() {
    let document = fs::read_to_string("docs/overlay.md").unwrap();
    assert!(document.contains(&fs::read_to_string(OVERLAY).unwrap()));
}

/// A request message of the overlay's RPC.
fn report(project: &str, domain: &str, name: &str) -> Bytes {
    let text = |number: u8, value: &[u8]| [&[number << 3 | 2, u8::try_from(value.len()).unwrap()], value].concat();
    let place = [text(1, project.as_bytes()), text(2, domain.as_bytes())].concat();
    envelope::frame(&[text(1, &place), text(2, name.as_bytes())].concat())
}

async fn ask(proxy: &Proxy, token: &str, message: Bytes) -> Reply {
    let bearer = format!("Bearer {token}");
    proxy
        .client
        .grpc(REPORT, &[("authorization", &bearer)], message)
        .await
        .unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_rpc_of_an_overlay_is_judged_like_any_other() {
    let overlay = fs::canonicalize(OVERLAY).unwrap();
    let proxy = Proxy::start_with(|setup| {
        setup.configuration = format!("workers: 1\ncatalog: {{overlays: [{}]}}\n", overlay.display());
    })
    .await;
    let before = proxy.before();
    let reply = ask(&proxy, &proxy.ml(), report("ml", "production", "r1")).await;
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(
        (&record["targets"][0]["project"], &record["rules"][0]),
        (&"ml".into(), &"ml-team".into())
    );

    for (message, reason) in [
        (report("fraud", "production", "r1"), Reason::NoMatchingRule),
        (report("ml", "production", ""), Reason::ScopeMissing),
        (report("ml", "", "r1"), Reason::ScopeMissing),
        (report("ml", "moon", "r1"), Reason::DomainUnknown),
        (envelope::frame(&[0x22, 0]), Reason::FieldUnknown),
    ] {
        let before = proxy.before();
        let reply = ask(&proxy, &proxy.ml(), message).await;
        proxy.refused(&before, &reply, reason).await;
    }
    let before = proxy.before();
    let reply = proxy
        .client
        .get(Some(&proxy.fraud()), "/api/v1/reports/ml/production/r1?format=PDF")
        .await
        .unwrap();
    proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    let before = proxy.before();
    let reply = proxy
        .client
        .get(Some(&proxy.ml()), "/api/v1/reports/ml/production/r1?format=PDF")
        .await
        .unwrap();
    proxy.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_the_overlay_the_rpc_is_refused_by_name() {
    let proxy = Proxy::start().await;
    let before = proxy.before();
    let reply = ask(&proxy, &proxy.ml(), report("ml", "production", "r1")).await;
    proxy.refused(&before, &reply, Reason::MethodUnknown).await;
    assert!(reply.message().contains(REPORT), "{}", reply.message());
}

/// The documents of a directory that end so, as JSON.
fn documents(directory: &str, wanted: impl Fn(&str) -> bool) -> Vec<(String, Value)> {
    let mut documents = Vec::new();
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if wanted(text(&path)) {
            let document =
                flyte_authz_proxy::document::parse(Path::new(&path), &fs::read_to_string(&path).unwrap()).unwrap();
            documents.push((text(&path).to_owned(), document));
        }
    }
    assert!(!documents.is_empty());
    documents
}

#[test]
fn the_schemas_accept_every_sample_and_refuse_what_is_not_known() {
    let schema = |document: &str| {
        let schema = run(&["schema", document]).exited(0).json();
        assert!(jsonschema::meta::is_valid(&schema));
        jsonschema::validator_for(&schema).unwrap()
    };
    let configurations = documents("deploy/config", |name| name.strip_suffix(".yaml").is_some());
    let policies = documents("policies", |name| {
        name.strip_suffix(".yaml")
            .is_some_and(|stem| stem.rsplit_once('.').is_none_or(|(_, last)| last != "test"))
    });
    for (validator, samples) in [(schema("config"), configurations), (schema("policy"), policies)] {
        for (name, mut sample) in samples {
            let faults: Vec<String> = validator.iter_errors(&sample).map(|fault| fault.to_string()).collect();
            assert!(faults.is_empty(), "{name}: {faults:?}");
            sample["nonsense"] = 1.into();
            assert!(!validator.is_valid(&sample), "{name}");
        }
    }
}
