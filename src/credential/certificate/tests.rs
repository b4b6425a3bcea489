//! Names in certificates: by value here, in whole certificates in `tests/it/client_certificates.rs`.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

const WORKLOAD: &str = "spiffe://cluster.local/ns/flyte/sa/flytepropeller";

fn uris<'a>(names: &[&'a str]) -> Vec<GeneralName<'a>> {
    names.iter().map(|name| GeneralName::URI(name)).collect()
}

fn dns_names<'a>(names: &[&'a str]) -> Vec<GeneralName<'a>> {
    names.iter().map(|name| GeneralName::DNSName(name)).collect()
}

#[test]
fn a_spiffe_id_is_taken_in_its_one_spelling() {
    for id in [
        WORKLOAD,
        "spiffe://example.com/w",
        "spiffe://a-b_c.9/Some.Path/_-./...x",
        "spiffe://1.2.3.4/w",
    ] {
        assert_eq!(spiffe(&uris(&[id])).unwrap().as_deref(), Some(id));
    }
    let long = format!("spiffe://d/{}", "x".repeat(MAX_NAME));
    let domain = format!("spiffe://{}/x", "d".repeat(256));
    for id in [
        "spiffe://cluster.local",
        "spiffe://cluster.local/",
        "spiffe:///ns/flyte",
        "spiffe://cluster.local/ns//flyte",
        "spiffe://cluster.local/ns/flyte/",
        "spiffe://cluster.local/ns/./flyte",
        "spiffe://cluster.local/ns/../flyte",
        "spiffe://cluster.local/ns/%66lyte",
        "spiffe://cluster.local/ns/flyte?x",
        "spiffe://cluster.local/ns/flyte#x",
        "spiffe://cluster.local:443/ns/flyte",
        "spiffe://somebody@cluster.local/ns/flyte",
        "spiffe://Cluster.local/ns/flyte",
        "SPIFFE://cluster.local/ns/flyte",
        "spiffe:cluster.local/ns/flyte",
        "spiffe://cluster.local/ns/fl\u{0}yte",
        "spiffe://cluster.local/ns/*",
        "spiffe://cluster.local/ns/flÿte",
        "spiffe",
        &long,
        &domain,
    ] {
        let denial = spiffe(&uris(&[id])).unwrap_err();
        assert_eq!(denial.reason, Reason::CertificateRefused, "{id}");
        assert!(
            denial.message.contains("SPIFFE ID is not well-formed"),
            "{}",
            denial.message
        );
    }
}

#[test]
fn a_second_uri_is_refused_whatever_it_is_and_a_single_other_uri_is_no_spiffe_id() {
    for names in [
        [WORKLOAD, WORKLOAD],
        [WORKLOAD, "https://example.com"],
        ["a:b", WORKLOAD],
        ["a:b", "c:d"],
    ] {
        assert!(spiffe(&uris(&names)).unwrap_err().message.contains("more than one URI"));
    }
    for names in [&[][..], &["https://example.com/spiffe://x/y"], &["spiffes://x/y"]] {
        assert_eq!(spiffe(&uris(names)).unwrap(), None);
    }
    assert_eq!(spiffe(&dns_names(&[WORKLOAD])).unwrap(), None);
}

#[test]
fn one_dns_name_is_taken_in_lower_case_and_wildcards_are_nobodys_name() {
    for (written, name) in [
        ("scheduler", "scheduler"),
        ("Scheduler.Flyte.SVC", "scheduler.flyte.svc"),
    ] {
        assert_eq!(dns(&dns_names(&[written])).unwrap().as_deref(), Some(name));
    }
    for name in [
        "*.flyte.svc",
        "*",
        "",
        "a..b",
        "a.",
        "-a",
        "10.0.0.1",
        "a b",
        "a\u{0}.b",
        "ä.example.com",
    ] {
        let denial = dns(&dns_names(&[name])).unwrap_err();
        assert!(
            denial.message.contains("DNS name is not well-formed"),
            "{name}: {}",
            denial.message
        );
    }
    let denial = dns(&dns_names(&["a", "b"])).unwrap_err();
    assert!(denial.message.contains("more than one DNS name"), "{}", denial.message);
    assert_eq!(dns(&uris(&[WORKLOAD])).unwrap(), None);
}

#[test]
fn a_name_that_is_not_what_it_looks_like_is_not_plain() {
    for name in ["flytepropeller", "Flyte Propeller", "Größe"] {
        assert!(is_plain(name), "{name}");
    }
    let long = "x".repeat(MAX_NAME + 1);
    for name in ["", " a", "a\n", "a\u{0}b", "a\u{202E}b", "a\u{200B}", &long] {
        assert!(!is_plain(name), "{name:?}");
    }
}

#[test]
fn what_is_no_certificate_is_refused() {
    for der in [&b""[..], b"\x30\x00", b"no certificate"] {
        assert_eq!(
            ClientCertificate::parse(der).unwrap_err().reason,
            Reason::CertificateRefused
        );
    }
}
