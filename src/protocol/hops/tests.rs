//! Which address, scheme and host are believed, and what is not read at all.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use http::HeaderValue;
use proptest::prelude::*;

/// The nearest hop.
const PEER: &str = "10.0.0.1";

fn hops(headers: HopHeaders) -> TrustedHops {
    let networks = ["10.0.0.0/8", "fd00::/8"].map(|network| network.parse().unwrap());
    TrustedHops {
        networks: networks.to_vec(),
        headers,
    }
}

fn map(lines: &[(&'static str, &str)]) -> HeaderMap {
    let mut map = HeaderMap::new();
    for (name, value) in lines {
        let value = HeaderValue::from_bytes(value.as_bytes()).unwrap();
        map.append(HeaderName::from_static(name), value);
    }
    map
}

fn x_forwarded(lines: &[(&'static str, &str)]) -> Result<Provenance, Denial> {
    hops(HopHeaders::XForwarded).provenance(&map(lines), PEER.parse().unwrap())
}

fn forwarded(values: &[&str]) -> Result<Provenance, Denial> {
    let lines: Vec<_> = values.iter().map(|value| ("forwarded", *value)).collect();
    hops(HopHeaders::Forwarded).provenance(&map(&lines), PEER.parse().unwrap())
}

fn client(values: &[&str]) -> String {
    let lines: Vec<_> = values.iter().map(|value| ("x-forwarded-for", *value)).collect();
    match x_forwarded(&lines) {
        Ok(provenance) => provenance.client.to_string(),
        Err(denial) => denial.reason.label().to_owned(),
    }
}

#[test]
fn the_client_is_the_first_address_from_the_right_that_is_no_trusted_hops() {
    for (values, expected) in [
        (&[][..], PEER),
        (&["192.0.2.7"], "192.0.2.7"),
        (&["192.0.2.7, 10.9.9.9"], "192.0.2.7"),
        (&["192.0.2.7", "10.9.9.9", "10.8.8.8,fd00::1"], "192.0.2.7"),
        // What the client itself wrote is further to the left.
        (&["127.0.0.1, 192.0.2.7"], "192.0.2.7"),
        (&["10.3.3.3,192.0.2.7,10.9.9.9"], "192.0.2.7"),
        (&["\"; drop, 192.0.2.7"], "192.0.2.7"),
        (&["garbage", ",,,", "192.0.2.7"], "192.0.2.7"),
        // A client that is in a trusted network.
        (&["10.3.3.3"], "10.3.3.3"),
        (&["10.3.3.3, 10.9.9.9"], "10.3.3.3"),
        // Every form of an address.
        (&["192.0.2.7:1234"], "192.0.2.7"),
        (&["2001:DB8:0::7"], "2001:db8::7"),
        (&["[2001:db8::7]"], "2001:db8::7"),
        (&["[2001:db8::7]:443"], "2001:db8::7"),
        (&["::ffff:192.0.2.7"], "192.0.2.7"),
        (&["192.0.2.7, ::ffff:10.1.1.1"], "192.0.2.7"),
        (&["192.0.2.7,\t10.1.1.1 "], "192.0.2.7"),
        // Who hides the client is the last that is known.
        (&["unknown"], PEER),
        (&["192.0.2.7, Unknown, 10.9.9.9"], "10.9.9.9"),
        (&["192.0.2.7, _hidden, 10.9.9.9"], "10.9.9.9"),
    ] {
        assert_eq!(client(values), expected, "{values:?}");
    }
}

#[test]
fn what_a_trusted_hop_wrote_must_be_readable() {
    for value in [
        "",
        ",",
        "192.0.2.7,",
        "192.0.2.7, ,10.9.9.9",
        "garbage",
        "garbage, 10.9.9.9",
        "192.0.2.256",
        "192.0.2",
        "192.0.2.07",
        "192.0.2.7:",
        "192.0.2.7:65536",
        "192.0.2.7:+1",
        "192.0.2.7:123456",
        "192.0.2.7:80:80",
        "[192.0.2.7]",
        "[::1",
        "[::1]443",
        "[::1]:",
        "::1]",
        "[fe80::1%eth0]",
        "fe80::1%1",
        "192.0.2.7 10.0.0.1",
        "for=192.0.2.7",
        "\"192.0.2.7\"",
        "192.0.2.7;10.0.0.1",
        "0x0a000001",
        "3232235527",
        "_",
        "_a b",
        "unknown:x",
        "ünknown",
        "192.0.2.7\u{a0}",
    ] {
        assert_eq!(client(&[value]), "forwarded_invalid", "{value:?}");
        // The same to the left of who is no trusted hop is nobody's word, but for bytes that hide where a list divides.
        if value.is_ascii() {
            assert_eq!(
                client(&[&format!("{value}, 198.51.100.1")]),
                "198.51.100.1",
                "{value:?}"
            );
        }
    }
}

#[test]
fn a_list_is_followed_for_a_bounded_number_of_hops() {
    let long = |hops: usize| format!("192.0.2.7{}", ",10.1.1.1".repeat(hops));
    assert_eq!(client(&[&long(MAX_HOPS)]), "192.0.2.7");
    assert_eq!(client(&[&long(MAX_HOPS + 1)]), "forwarded_invalid");
    let element = "for=10.1.1.1,".repeat(MAX_HOPS - 1);
    assert_eq!(
        forwarded(&[&format!("{element}for=10.1.1.2")])
            .unwrap()
            .client
            .to_string(),
        "10.1.1.1"
    );
    let denial = forwarded(&[&format!("{element}for=10.1.1.2,for=10.1.1.1")]).unwrap_err();
    assert_eq!(denial.reason, Reason::ForwardedInvalid);
}

#[test]
fn scheme_and_host_are_those_that_the_outermost_trusted_hop_saw() {
    let (name, proto, host) = ("x-forwarded-for", "x-forwarded-proto", "x-forwarded-host");
    for (lines, encrypted, expected) in [
        (&[(name, "192.0.2.7")][..], None, None),
        (
            &[(proto, "https"), (host, "flyte.example.com:8443")],
            Some(true),
            Some("flyte.example.com:8443"),
        ),
        (&[(proto, "HTTPS")], Some(true), None),
        (&[(proto, "http")], Some(false), None),
        // One hop that adds to what the client made up.
        (
            &[(name, "192.0.2.7"), (proto, "https, http"), (host, "evil.example, a")],
            Some(false),
            Some("a"),
        ),
        (
            &[(name, "192.0.2.7"), (proto, "junk"), (proto, "http")],
            Some(false),
            None,
        ),
        // Two hops that add.
        (
            &[
                (name, "192.0.2.7, 10.9.9.9"),
                (proto, "http, https, http"),
                (host, "x, a, b"),
            ],
            Some(true),
            Some("a"),
        ),
        // Two hops, of which the inner one leaves what the outer one set.
        (
            &[(name, "192.0.2.7, 10.9.9.9"), (proto, "https"), (host, "a")],
            Some(true),
            Some("a"),
        ),
    ] {
        let provenance = x_forwarded(lines).unwrap();
        assert_eq!(
            (provenance.encrypted, provenance.host.as_deref()),
            (encrypted, expected),
            "{lines:?}"
        );
    }
    for (header, value) in [
        (proto, ""),
        (proto, "wss"),
        (proto, "https;"),
        (proto, "https "),
        (proto, "on"),
        (proto, "http,,"),
        (proto, "https, https://"),
        (host, ""),
        (host, "a/b"),
        (host, "user@a"),
        (host, "a b"),
        (host, "a,"),
        (host, "\u{e4}.example"),
        (host, "a?b"),
    ] {
        let denied = x_forwarded(&[(header, value)]).map_err(|denial| denial.reason);
        // Spaces around an entry of a list mean nothing.
        let expected = if value == "https " {
            Ok(Some(true))
        } else {
            Err(Reason::ForwardedInvalid)
        };
        assert_eq!(
            denied.map(|provenance| provenance.encrypted),
            expected,
            "{header}: {value:?}"
        );
    }
}

#[test]
fn only_the_headers_that_hops_write_count() {
    let lines = [
        ("forwarded", "for=192.0.2.1;proto=https;host=evil.example"),
        ("x-real-ip", "192.0.2.2"),
        ("x-forwarded-for", "192.0.2.7"),
    ];
    let provenance = x_forwarded(&lines).unwrap();
    assert_eq!(provenance, Provenance::of("192.0.2.7".parse().unwrap()));
    let provenance = hops(HopHeaders::Forwarded)
        .provenance(
            &map(&[("x-forwarded-for", "192.0.2.1"), ("x-forwarded-host", "evil.example")]),
            PEER.parse().unwrap(),
        )
        .unwrap();
    assert_eq!(provenance, Provenance::of(PEER.parse().unwrap()));
}

#[test]
fn forwarded_is_read_as_its_rfc_has_it() {
    for (values, client, encrypted, host) in [
        (&["for=192.0.2.7"][..], "192.0.2.7", None, None),
        (&["For=\"[2001:db8:cafe::17]:4711\""], "2001:db8:cafe::17", None, None),
        (
            &["for=192.0.2.43, for=10.51.100.17;by=10.0.0.60;proto=http;host=example.com"],
            "192.0.2.43",
            Some(false),
            Some("example.com"),
        ),
        (
            &["for=192.0.2.43;proto=https", "for=10.2.2.2;proto=http;host=a"],
            "192.0.2.43",
            Some(true),
            Some("a"),
        ),
        (
            &["for=192.0.2.7; proto=https ; host=\"a.example:8443\""],
            "192.0.2.7",
            Some(true),
            Some("a.example:8443"),
        ),
        (&["for=\"192.0.2.\\7\""], "192.0.2.7", None, None),
        (
            &["for=192.0.2.1;host=evil.example, for=192.0.2.7;proto=https"],
            "192.0.2.7",
            Some(true),
            None,
        ),
        (
            &["for=192.0.2.1, for=unknown;proto=https, for=10.2.2.2"],
            "10.2.2.2",
            Some(true),
            None,
        ),
        (
            &["for=192.0.2.1, for=\"_gazonk:_port\", for=10.2.2.2"],
            "10.2.2.2",
            None,
            None,
        ),
        (
            &["for=192.0.2.1, proto=https;secret=x, for=10.2.2.2"],
            "10.2.2.2",
            Some(true),
            None,
        ),
        // A comma in quotes does not divide.
        (&["for=192.0.2.7;ext=\", for=192.0.2.1\""], "192.0.2.7", None, None),
    ] {
        let provenance = forwarded(values).unwrap();
        assert_eq!(
            (
                provenance.client.to_string().as_str(),
                provenance.encrypted,
                provenance.host.as_deref()
            ),
            (client, encrypted, host),
            "{values:?}"
        );
    }
    for value in [
        "",
        ",",
        "for",
        "for=",
        "=192.0.2.7",
        "for=192.0.2.7,",
        "for=192.0.2.7;",
        ";for=192.0.2.7",
        "for=192.0.2.7,,for=192.0.2.8",
        "for=192.0.2.7:80",
        "for=[::1]",
        "for=\"[::1]",
        "for=\"192.0.2.7\"x",
        "for=192.0.2.7;for=192.0.2.8",
        "for=192.0.2.7;FOR=192.0.2.8",
        "for=192.0.2.7;proto=ftp",
        "for=192.0.2.7;host=\"a/b\"",
        "for = 192.0.2.7",
        "for=\"\\",
        "for=192.0.2.7 for=192.0.2.8",
        "fo r=192.0.2.7",
        "a=1;b=1;c=1;d=1;e=1;f=1;g=1;h=1;for=192.0.2.7",
        "for=\u{e4}",
        // The client's open quote must not swallow what the hop adds.
        "for=\"192.0.2.1, for=192.0.2.7",
    ] {
        assert_eq!(
            forwarded(&[value]).map_err(|denial| denial.reason),
            Err(Reason::ForwardedInvalid),
            "{value:?}"
        );
    }
}

proptest! {
    #[test]
    fn no_client_is_believed_to_be_another_whatever_it_sends(made_up in "[ -~]{0,64}", more in "[ -~]{0,32}") {
        let lines = [
            ("x-forwarded-for", made_up.as_str()),
            ("x-forwarded-for", &format!("{more}, 192.0.2.7")),
        ];
        prop_assert_eq!(x_forwarded(&lines).unwrap().client.to_string(), "192.0.2.7");
    }

    #[test]
    fn no_client_is_believed_to_be_another_by_forwarded(made_up in "[ -~]{0,64}") {
        // Either a line of its own, or the same one: then it is read whole or refused.
        for values in [&[made_up.as_str(), "for=192.0.2.7"][..], &[&format!("{made_up}, for=192.0.2.7")]] {
            if let Ok(provenance) = forwarded(values) {
                prop_assert_eq!(provenance.client.to_string(), "192.0.2.7");
            }
        }
    }
}
