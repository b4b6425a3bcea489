//! Names in certificates, by themselves and in whole ones; in handshakes in `tests/it/client_certificates.rs`.
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
fn every_kind_of_name_has_a_word_of_its_own() {
    let kinds = [NameKind::Spiffe, NameKind::Dns, NameKind::CommonName];
    assert_eq!(kinds.map(NameKind::label), ["spiffe", "dns", "common_name"]);
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

/// A value in DER (X.690, section 8.1).
fn der(tag: u8, content: &[u8]) -> Vec<u8> {
    let length = u16::try_from(content.len()).unwrap().to_be_bytes();
    let header = match length {
        [0, short] if short < 0x80 => vec![tag, short],
        [high, low] => vec![tag, 0x82, high, low],
    };
    [&header, content].concat()
}

fn sequence(parts: &[Vec<u8>]) -> Vec<u8> {
    der(0x30, &parts.concat())
}

/// A certificate until that time (`YYMMDDhhmmssZ`) with these common names and alternative names, each with its tag. Nobody
/// has signed it.
fn certificate(until: &str, common_names: &[&str], alternatives: &[(u8, &[u8])]) -> Vec<u8> {
    let algorithm = sequence(&[der(0x06, &[0x2b, 0x65, 0x70])]);
    let bits = || der(0x03, &[0; 33]);
    let name = |texts: &[&str]| {
        let one = |text: &&str| {
            let attribute = [der(0x06, &[0x55, 4, 3]), der(0x0c, text.as_bytes())];
            der(0x31, &sequence(&attribute))
        };
        sequence(&texts.iter().map(one).collect::<Vec<_>>())
    };
    let validity = sequence(&[der(0x17, b"600101000000Z"), der(0x17, until.as_bytes())]);
    let alternatives: Vec<Vec<u8>> = alternatives.iter().map(|(tag, name)| der(*tag, name)).collect();
    let extension = [der(0x06, &[0x55, 0x1d, 0x11]), der(0x04, &sequence(&alternatives))];
    let mut parts = vec![
        der(0xa0, &der(0x02, &[2])),
        der(0x02, &[1]),
        algorithm.clone(),
        name(&["authority"]),
        validity,
        name(common_names),
        sequence(&[algorithm.clone(), bits()]),
    ];
    if !alternatives.is_empty() {
        parts.push(der(0xa3, &sequence(&[sequence(&extension)])));
    }
    sequence(&[sequence(&parts), algorithm, bits()])
}

const UNTIL: &str = "270101000000Z";
const DNS: u8 = 0x82;
const URI: u8 = 0x86;

#[test]
fn a_certificate_is_read_as_a_whole_or_not_at_all_and_until_when_it_is_valid() {
    let valid = certificate(UNTIL, &["a"], &[]);
    assert_eq!(ClientCertificate::parse(&valid).unwrap().expires_at(), 1_798_761_600);
    let before_1970 = certificate("691231235959Z", &["a"], &[]);
    assert_eq!(ClientCertificate::parse(&before_1970).unwrap().expires_at(), 0);
    let (_, shorter) = valid.split_last().unwrap();
    for der in [shorter, &[&valid[..], b"\0"].concat(), &[&valid[..], &valid].concat()] {
        assert!(ClientCertificate::parse(der).is_err());
    }
}

#[test]
fn the_callers_name_is_of_the_first_kind_that_the_certificate_has_and_the_only_one_of_it() {
    use NameKind::{CommonName, Dns, Spiffe};
    let uri = (URI, WORKLOAD.as_bytes());
    let dns: (u8, &[u8]) = (DNS, b"A.svc");
    let no_text: (u8, &[u8]) = (URI, b"\xff");
    let all = [Spiffe, Dns, CommonName];
    for (common_names, alternatives, kinds, expected) in [
        (&["c"][..], &[uri, dns][..], &all[..], Ok(WORKLOAD)),
        (&["c"], &[dns], &all, Ok("a.svc")),
        (&["Flyte Scheduler"], &[], &all, Ok("Flyte Scheduler")),
        (&["c"], &[uri, dns], &[CommonName, Dns], Ok("c")),
        (&[], &[uri, dns], &[CommonName, Dns], Ok("a.svc")),
        (&["c"], &[dns], &[Spiffe], Err("it has no SPIFFE ID;")),
        (
            &[],
            &[],
            &all,
            Err("it has no SPIFFE ID and no DNS name and no common name;"),
        ),
        (&["a", "b"], &[], &all, Err("more than one common name")),
        (&["a", "b"], &[dns], &all, Ok("a.svc")),
        (&[" a"], &[], &all, Err("its common name is not well-formed")),
        (&["a\u{202E}b"], &[], &all, Err("its common name is not well-formed")),
        (&["c"], &[uri, uri], &all, Err("more than one URI")),
        (&["c"], &[dns, dns], &all, Err("more than one DNS name")),
        // Not even where another kind is asked for.
        (
            &["c"],
            &[no_text],
            &[CommonName],
            Err("its alternative names are not well-formed"),
        ),
        (
            &["c"],
            &[uri, no_text],
            &all,
            Err("its alternative names are not well-formed"),
        ),
    ] {
        let der = certificate(UNTIL, common_names, alternatives);
        let name = ClientCertificate::parse(&der).unwrap().name(kinds);
        match expected {
            Ok(expected) => assert_eq!(name.unwrap(), expected),
            Err(why) => {
                let message = name.unwrap_err().message;
                assert!(message.contains(why), "{why}: {message}");
            }
        }
    }
}
