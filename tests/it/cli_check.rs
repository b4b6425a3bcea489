//! `check` on the sample configurations, on everything that is broken at once, and on files that are not there.

use crate::cli::{Ran, run, text};
use crate::server_names;
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::issuer::{DemoIssuer, Fetches};
use std::fs;
use std::net::TcpListener;
use tempfile::TempDir;

const POLICY: &str = include_str!("../../policies/demo.yaml");
const TESTS: &str = include_str!("../../policies/demo.test.yaml");

/// A directory with a policy, its tests and a certificate.
fn directory() -> TempDir {
    let directory = tempfile::tempdir().unwrap();
    let certificates = Certificates::generate().unwrap();
    fs::create_dir(directory.path().join("policy")).unwrap();
    for (name, content) in [
        ("policy/demo.yaml", POLICY),
        ("policy/demo.test.yaml", TESTS),
        ("ca.pem", &certificates.authority),
        ("tls.crt", &certificates.certificate),
        ("tls.key", &certificates.key),
    ] {
        write(&directory, name, content);
    }
    directory
}

fn write(directory: &TempDir, name: &str, content: &str) {
    fs::write(directory.path().join(name), content).unwrap();
}

fn check(directory: &TempDir, configuration: &str) -> Ran {
    write(directory, "config.yaml", configuration);
    run(&["check", "--config", text(&directory.path().join("config.yaml"))])
}

fn configuration(more: &str) -> String {
    format!(
        "version: 1
listeners: [{{name: public, address: 127.0.0.1:8443, tls: {{certificate: tls.crt, key: tls.key}}}}]
upstream: {{grpc: https://127.0.0.1:8089, http: https://127.0.0.1:8088, ca: ca.pem}}
policy: {{path: policy}}
{more}"
    )
}

const ISSUER: &str = "issuers: [{issuer: https://idp.example.com, audiences: [flyte]}]\n";

#[test]
fn every_sample_configuration_is_right() {
    let directory = directory();
    for file in [
        "config/mesh.yaml",
        "kustomize/overlays/gateway/config.yaml",
        "kustomize/overlays/sidecar/config.yaml",
    ] {
        let sample = fs::read_to_string(format!("deploy/{file}")).unwrap();
        let rendered = sample
            .replace("/etc/flyte-authz-tls/", "")
            .replace("/etc/flyte-authz-clients/", "")
            .replace("/etc/flyte-authz-policy", "policy");
        let ran = check(&directory, &rendered).exited(0);
        let last = ran.stdout.lines().last().unwrap();
        let listeners = sample.matches("  - name: ").count();
        let plural = if listeners == 1 { "" } else { "s" };
        let expected = format!("ok: {listeners} listener{plural}, 1 issuer, 4 rules, ");
        assert!(last.starts_with(&expected), "{last}");
        assert!(
            last.ends_with("decision tests passed, 66 RPCs in the catalogue"),
            "{last}"
        );
        assert!(!ran.stdout.contains(": error: ") && ran.stderr.is_empty(), "{ran:?}");
    }
}

#[test]
fn every_problem_of_a_configuration_is_told_with_its_place_and_lines() {
    let mut broken = 0;
    for entry in fs::read_dir("tests/fixtures/config").unwrap() {
        let path = entry.unwrap().path();
        if path.extension().is_none_or(|extension| extension != "problems") {
            continue;
        }
        let problems = fs::read_to_string(&path).unwrap();
        // Nothing that these configurations name exists, so that none of them is right.
        let ran = run(&["check", "--config", text(&path.with_extension("yaml"))]).exited(3);
        for problem in problems.lines().filter(|line| line.contains(".yaml:")) {
            // Lines that may hold a secret by mistake are not shown.
            let name = path.file_stem().unwrap().to_str().unwrap();
            let secret = ["session_keys", "bearer_token", "introspection"].contains(&name);
            let shown = if secret { "" } else { "  " };
            let line = format!("{}/{problem}\n{shown}", path.parent().unwrap().display());
            assert!(ran.stdout.contains(&line), "{line}is not in\n{}", ran.stdout);
        }
        let last = ran.stdout.lines().last().unwrap();
        assert!(last.starts_with("not ok"), "{last}");
        broken += usize::from(problems.contains(": error: "));
    }
    assert!(broken > 8);
}

#[test]
fn a_warning_alone_is_shown_and_is_no_failure() {
    let directory = directory();
    let open = configuration(ISSUER) + "admin: {address: 0.0.0.0:9090}\n";
    let ran = check(&directory, &open).exited(0);
    assert!(
        ran.stdout
            .contains("config.yaml:6:18: warning: metrics and status are open"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("\n1 warning\nok: "), "{}", ran.stdout);
}

#[test]
fn each_of_several_certificates_is_looked_at() {
    let directory = directory();
    let path = directory.path();
    server_names::write(path, "old", &["a.example.com"], |parameters| {
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    server_names::write(path, "new", &["a.example.com"], |_| {});
    let more =
        "key: tls.key, certificates: [{certificate: old.crt, key: old.key}, {certificate: new.crt, key: new.key}]";
    let several = configuration(ISSUER).replace("key: tls.key", more);
    let ran = check(&directory, &several).exited(0);
    for warning in [
        "old.crt: warning: has expired (2021-01-01T00:00:00Z)",
        "new.crt: warning: has the name `a.example.com`, for which `",
        "\n2 warnings\nok: 1 listener, ",
    ] {
        assert!(ran.stdout.contains(warning), "{warning} is not in\n{}", ran.stdout);
    }
    // The key of another.
    let ran = check(&directory, &several.replace("key: new.key", "key: old.key")).exited(3);
    assert!(
        ran.stdout.contains("new.crt: error: cannot be used with `"),
        "{}",
        ran.stdout
    );
}

#[test]
fn everything_that_is_broken_at_once_is_told_at_once() {
    let directory = directory();
    let more = "issuers:
  - {issuer: https://idp.example.com, audiences: [flyte], jwks: {file: keys.json}}
  - {issuer: https://other.example.com, audiences: [flyte], jwks: {file: no-keys.json}}
catalog: {overlays: [overlay.yaml, gone.yaml]}
";
    write(&directory, "keys.json", "{\"keys\": 1}");
    write(
        &directory,
        "overlay.yaml",
        "version: 1\ngeneration: flyte1\nrpcs: [{rpc: acme.S/M}]\n",
    );
    write(&directory, "ca.pem", "no certificate");
    fs::remove_file(directory.path().join("tls.key")).unwrap();
    write(
        &directory,
        "policy/demo.test.yaml",
        "cases:\n  - {name: wrong, principal: {groups: [ml-team]}, project: fraud, domain: production, action: view_data, expect: allow}\n",
    );
    let ran = check(&directory, &configuration(more)).exited(3);
    for (place, fault) in [
        ("tls.key", "No such file"),
        ("ca.pem", "certificate"),
        ("keys.json", ""),
        ("no-keys.json", "No such file"),
        ("gone.yaml", "No such file"),
        (
            "policy/demo.test.yaml:2:12: error: case `wrong`",
            "no rule allows view_data",
        ),
    ] {
        let told = ran
            .stdout
            .lines()
            .any(|line| line.contains(place) && line.contains(fault));
        assert!(told, "{place}: {fault} is not in\n{}", ran.stdout);
    }
    assert!(ran.stdout.ends_with(" errors\nnot ok\n"), "{}", ran.stdout);

    // A policy that cannot be used hides nothing else, and it is told that its tests did not run.
    write(
        &directory,
        "policy/demo.yaml",
        &POLICY.replace("role: viewer", "role: looker"),
    );
    fs::remove_file(directory.path().join("ca.pem")).unwrap();
    let one_overlay = more.replace(", gone.yaml", "");
    let ran = check(&directory, &configuration(&one_overlay)).exited(3);
    for place in [
        "tls.key",
        "ca.pem",
        "issuers[0]",
        "issuers[1]",
        "overlay.yaml:3:9",
        "policy/demo.yaml:14:15",
        "policy/demo.yaml:24:15",
    ] {
        assert!(
            ran.stdout.contains(&format!("{place}: error: ")),
            "{place} is not in\n{}",
            ran.stdout
        );
    }
    assert!(ran.stdout.contains("14 |         role: looker\n"), "{}", ran.stdout);
    assert!(ran.stdout.contains("decision tests were not run"), "{}", ran.stdout);
}

#[test]
fn what_cannot_be_read_is_told_by_name() {
    let directory = directory();
    let path = |name: &str| directory.path().join(name);
    write(&directory, "latin1.yaml", "");
    fs::write(path("latin1.yaml"), b"version: 1 # \xE9\n").unwrap();
    std::os::unix::fs::symlink("nowhere", path("link.yaml")).unwrap();
    for (name, fault) in [
        ("none.yaml", "cannot be read: No such file or directory"),
        ("policy", "is no regular file"),
        ("latin1.yaml", "is not UTF-8 text"),
        ("link.yaml", "cannot be read: No such file or directory"),
    ] {
        let ran = run(&["check", "--config", text(&path(name))]).exited(3);
        let expected = format!("{}: error: {fault}", path(name).display());
        assert!(ran.stdout.starts_with(&expected), "{expected} is not\n{}", ran.stdout);
    }
    fs::create_dir(path("empty")).unwrap();
    let ran = check(
        &directory,
        &configuration(ISSUER).replace("path: policy", "path: empty"),
    )
    .exited(3);
    assert!(
        ran.stdout
            .contains("empty: error: there is no policy in this directory"),
        "{}",
        ran.stdout
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nothing_is_listened_on_and_nothing_fetched() {
    let directory = directory();
    let issuer = DemoIssuer::start().await.unwrap();
    let taken = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = taken.local_addr().unwrap().to_string();
    let more = format!(
        "issuers: [{{issuer: \"{}\", audiences: [flyte], allow_http: true}}]\n",
        issuer.url()
    );
    let ran = check(&directory, &configuration(&more).replace("127.0.0.1:8443", &address)).exited(0);
    assert!(ran.stdout.contains("ok: "), "{}", ran.stdout);
    assert_eq!(issuer.fetches(), Fetches::default());
}
