//! Alerts, dashboard and their page fit each other and the metrics. That they work is for `tests/it/prometheus.rs`.

use flyte_authz_proxy::metrics::Metrics;
use serde_json::Value;
use std::collections::BTreeSet;
use std::fs;
use std::path::Path;

fn read(name: &str) -> String {
    let path = Path::new(env!("CARGO_MANIFEST_DIR")).join(name);
    fs::read_to_string(&path).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// The text of the alert rules.
pub(crate) fn alerts() -> String {
    read("deploy/prometheus/alerts.yaml")
}

/// What a dashboard asks Prometheus.
pub(crate) struct Dashboard {
    /// The queries of panels and annotations.
    pub(crate) queries: Vec<String>,
    /// The queries that fill variables.
    pub(crate) variables: Vec<String>,
}

/// The queries of the dashboard that ships.
pub(crate) fn dashboard() -> Dashboard {
    let dashboard: Value = serde_json::from_str(&read("deploy/grafana/flyte-authz-proxy.json")).unwrap();
    let items = |value: &Value| value.as_array().cloned().unwrap_or_default();
    let text = |value: &Value| value.as_str().unwrap().to_owned();
    let targets = items(&dashboard["panels"]).into_iter().flat_map(|panel| {
        let targets = items(&panel["targets"]);
        assert!(panel["type"] == "row" || !targets.is_empty(), "{panel}");
        targets
    });
    let annotations = items(&dashboard["annotations"]["list"]);
    let queries: Vec<String> = targets.chain(annotations).map(|target| text(&target["expr"])).collect();
    let variables = items(&dashboard["templating"]["list"]).into_iter();
    let variables = variables.filter(|variable| variable["type"] == "query");
    let variables: Vec<String> = variables.map(|variable| text(&variable["definition"])).collect();
    assert!(queries.len() > 30 && variables.len() == 2);
    Dashboard { queries, variables }
}

/// The metrics that a text names.
fn named(text: &str) -> BTreeSet<String> {
    let words = text.split(|c: char| !(c.is_ascii_alphanumeric() || c == '_'));
    words
        .filter(|word| word.starts_with("flyte_authz_"))
        .map(str::to_owned)
        .collect()
}

/// Every series' name, and the labels that it has.
fn exposed() -> BTreeSet<String> {
    let metrics = Metrics::new().unwrap();
    let names = metrics.descriptions().iter().flat_map(|metric| {
        let suffixes: &[&str] = match metric.kind {
            "histogram" => &["_bucket", "_count", "_sum"],
            _ => &[""],
        };
        suffixes.iter().map(|suffix| format!("{}{suffix}", metric.name))
    });
    names.collect()
}

#[test]
fn alerts_and_dashboard_ask_for_metrics_that_there_are() {
    let exposed = exposed();
    let dashboard = dashboard();
    let asked = [alerts(), read("deploy/prometheus/alerts.test.yaml")];
    let asked = asked.into_iter().chain(dashboard.queries).chain(dashboard.variables);
    let asked: BTreeSet<String> = asked.flat_map(|text| named(&text)).collect();
    assert!(asked.len() > 20);
    let unknown: Vec<&String> = asked.difference(&exposed).collect();
    assert!(unknown.is_empty(), "{unknown:?}");
}

#[test]
fn every_alert_is_tested_both_ways_and_has_its_place_in_the_page() {
    let rules: Value = serde_saphyr::from_str(&alerts()).unwrap();
    let tests: Value = serde_saphyr::from_str(&read("deploy/prometheus/alerts.test.yaml")).unwrap();
    let page = read("docs/monitoring.md");
    let headings: BTreeSet<&str> = page.lines().filter_map(|line| line.strip_prefix("### ")).collect();
    let tests: Vec<&Value> = tests["tests"]
        .as_array()
        .unwrap()
        .iter()
        .flat_map(|test| test["alert_rule_test"].as_array().unwrap())
        .collect();
    let rules = rules["groups"][0]["rules"].as_array().unwrap();
    let names: BTreeSet<&str> = rules.iter().map(|rule| rule["alert"].as_str().unwrap()).collect();
    for rule in rules {
        let name = rule["alert"].as_str().unwrap();
        let severity = rule["labels"]["severity"].as_str().unwrap();
        assert!(
            ["critical", "warning", "info"].contains(&severity),
            "{name}: {severity}"
        );
        let runbook = format!("docs/monitoring.md#{}", name.to_lowercase());
        assert_eq!(rule["annotations"]["runbook_url"], runbook);
        for expected in [true, false] {
            let raises = |test: &&&Value| test["alertname"] == name && test["exp_alerts"].is_array() == expected;
            assert!(
                tests.iter().any(|test| raises(&test)),
                "{name}: no test with {expected}"
            );
        }
    }
    assert_eq!(headings, names, "the headings of docs/monitoring.md are the alerts");
}
