//! The examples of the specification, and everything that is only almost a header.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use proptest::prelude::*;

fn told(source: Option<Source>) -> String {
    match source {
        Some(Source::Client(address)) => address.to_string(),
        Some(Source::Untold) => "untold".to_owned(),
        None => "refused".to_owned(),
    }
}

/// A header of version 2.
fn header(command: u8, family: u8, rest: &[u8]) -> ([u8; FIXED], Vec<u8>) {
    let mut fixed = [0; FIXED];
    fixed[..12].copy_from_slice(&SIGNATURE);
    fixed[12] = command;
    fixed[13] = family;
    fixed[14..].copy_from_slice(&u16::try_from(rest.len()).unwrap().to_be_bytes());
    (fixed, rest.to_vec())
}

fn binary_of(command: u8, family: u8, rest: &[u8]) -> String {
    let (fixed, rest) = header(command, family, rest);
    told(binary(&fixed, &rest))
}

/// From 192.0.2.7 to 203.0.113.1.
const ADDRESSES_4: [u8; 12] = [192, 0, 2, 7, 203, 0, 113, 1, 0xdd, 0xd5, 0x01, 0xbb];

fn addresses_6() -> Vec<u8> {
    let addresses = ["2001:db8::7", "2001:db8::1"].map(|text| text.parse::<Ipv6Addr>().unwrap().octets());
    [&addresses[0][..], &addresses[1], &[0xdd, 0xd5, 0x01, 0xbb]].concat()
}

#[test]
fn lines_of_version_1_say_who_the_client_is() {
    for (text, expected) in [
        ("PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\n", "192.0.2.7"),
        (
            "PROXY TCP4 255.255.255.254 192.0.2.1 65535 65535\r\n",
            "255.255.255.254",
        ),
        ("PROXY TCP6 2001:db8::7 2001:db8::1 56324 443\r\n", "2001:db8::7"),
        ("PROXY TCP6 2001:DB8:0:0:0:0:0:7 ::1 0 1\r\n", "2001:db8::7"),
        (
            "PROXY TCP6 ::ffff:192.0.2.7 ::ffff:203.0.113.1 56324 443\r\n",
            "192.0.2.7",
        ),
        (
            "PROXY TCP6 ffff:ffff:ffff:ffff:ffff:ffff:ffff:fffe 2001:db8:ffff:ffff:ffff:ffff:ffff:fff1 65535 65535\r\n",
            "refused",
        ),
        ("PROXY UNKNOWN\r\n", "untold"),
        (
            "PROXY UNKNOWN ffff:f...f:ffff ffff:f...f:ffff 65535 65535\r\n",
            "untold",
        ),
    ] {
        assert_eq!(told(line(text.as_bytes())), expected, "{text:?}");
    }
}

#[test]
fn what_is_only_almost_a_line_is_refused() {
    for text in [
        "",
        "\r\n",
        "PROXY\r\n",
        "PROXY \r\n",
        "PROXY TCP4\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443",
        "GET / HTTP/1.1\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\n\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443 \r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 443 x\r\n",
        "PROXY  TCP4 192.0.2.7 203.0.113.1 56324 443\r\n",
        "PROXY TCP4  192.0.2.7 203.0.113.1 56324 443\r\n",
        "PROXY\tTCP4 192.0.2.7 203.0.113.1 56324 443\r\n",
        " PROXY TCP4 192.0.2.7 203.0.113.1 56324 443\r\n",
        "proxy TCP4 192.0.2.7 203.0.113.1 56324 443\r\n",
        "PROXY tcp4 192.0.2.7 203.0.113.1 56324 443\r\n",
        "PROXY TCP 192.0.2.7 203.0.113.1 56324 443\r\n",
        "PROXY UDP4 192.0.2.7 203.0.113.1 56324 443\r\n",
        "PROXY TCP4 2001:db8::7 2001:db8::1 56324 443\r\n",
        "PROXY TCP6 192.0.2.7 203.0.113.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 2001:db8::1 56324 443\r\n",
        "PROXY TCP4 192.0.2.256 203.0.113.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.07 203.0.113.1 56324 443\r\n",
        "PROXY TCP4 192.0.2 203.0.113.1 56324 443\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 65536 443\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 056324 443\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 +1 443\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 -1 443\r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1 56324 \r\n",
        "PROXY TCP4 192.0.2.7 203.0.113.1  443\r\n",
        "PROXY TCP6 [2001:db8::7] 2001:db8::1 56324 443\r\n",
        "PROXY TCP6 fe80::1%eth0 2001:db8::1 56324 443\r\n",
        "PROXY TCP4 0.0.0.0 203.0.113.1 56324 443\r\n",
        "PROXY TCP4 224.0.0.1 203.0.113.1 56324 443\r\n",
        "PROXY UNKNOWNX\r\n",
        "PROXY UNKNOWN\r\nx\r\n",
        "PROXY TCP4 192.0.2.7\0 203.0.113.1 56324 443\r\n",
        "PROXY TCP4 localhost 203.0.113.1 56324 443\r\n",
    ] {
        assert_eq!(told(line(text.as_bytes())), "refused", "{text:?}");
    }
    let of_length = |length: usize| format!("PROXY UNKNOWN {}\r\n", "x".repeat(length - 16));
    assert_eq!(told(line(of_length(MAX_LINE).as_bytes())), "untold");
    assert_eq!(told(line(of_length(MAX_LINE + 1).as_bytes())), "refused");
    assert_eq!(told(line(b"PROXY UNKNOWN \xff\r\n")), "refused");
}

#[test]
fn headers_of_version_2_say_who_the_client_is() {
    assert_eq!(binary_of(0x21, 0x11, &ADDRESSES_4), "192.0.2.7");
    assert_eq!(binary_of(0x21, 0x21, &addresses_6()), "2001:db8::7");
    let mapped = [
        &Ipv4Addr::new(192, 0, 2, 7).to_ipv6_mapped().octets()[..],
        &addresses_6()[16..],
    ]
    .concat();
    assert_eq!(binary_of(0x21, 0x21, &mapped), "192.0.2.7");
    // Its own connection, whatever it says of it, and a client of whom nothing is told.
    for (command, family, rest) in [
        (0x20, 0x00, &[][..]),
        (0x20, 0x11, &ADDRESSES_4[..]),
        (0x20, 0xff, &[1, 2, 3]),
        (0x21, 0x00, &[]),
        (0x21, 0x00, &[9, 9]),
    ] {
        assert_eq!(binary_of(command, family, rest), "untold", "{command:x} {family:x}");
    }
    // Values of any type are skipped.
    let values = [
        &ADDRESSES_4[..],
        &[0x04, 0, 3, 1, 2, 3],
        &[0xea, 0, 2, 1, b'v'],
        &[0x02, 0, 0],
    ]
    .concat();
    assert_eq!(binary_of(0x21, 0x11, &values), "192.0.2.7");
}

#[test]
fn what_is_only_almost_a_header_is_refused() {
    for command in (0..=255).filter(|command| ![0x20, 0x21].contains(command)) {
        assert_eq!(binary_of(command, 0x11, &ADDRESSES_4), "refused", "{command:x}");
    }
    let long = [0; 216];
    for family in (0..=255).filter(|family| ![0x00, 0x11, 0x21].contains(family)) {
        assert_eq!(binary_of(0x21, family, &long), "refused", "{family:x}");
    }
    for length in 0..12 {
        assert_eq!(binary_of(0x21, 0x11, &ADDRESSES_4[..length]), "refused", "{length}");
    }
    for length in 0..36 {
        assert_eq!(binary_of(0x21, 0x21, &addresses_6()[..length]), "refused", "{length}");
    }
    // Values that end too early or too late.
    for values in [
        &[0x04][..],
        &[0x04, 0],
        &[0x04, 0, 1],
        &[0x04, 0xff, 0xff, 1],
        &[0x04, 0, 1, 1, 0],
    ] {
        let rest = [&ADDRESSES_4[..], values].concat();
        assert_eq!(binary_of(0x21, 0x11, &rest), "refused", "{values:?}");
    }
    for position in 0..12 {
        let (mut fixed, rest) = header(0x21, 0x11, &ADDRESSES_4);
        fixed[position] ^= 1;
        assert_eq!((rest_length(&fixed), binary(&fixed, &rest)), (None, None), "{position}");
    }
    let (fixed, _) = header(0x21, 0x00, &[0; MAX_REST]);
    assert_eq!(rest_length(&fixed), Some(MAX_REST));
    let (fixed, rest) = header(0x21, 0x00, &[0; MAX_REST + 1]);
    assert_eq!((rest_length(&fixed), binary(&fixed, &rest)), (None, None));
    let (fixed, _) = header(0x21, 0x11, &ADDRESSES_4);
    assert_eq!(binary(&fixed, &[&ADDRESSES_4[..], &[0]].concat()), None);
    let multicast = [&[224, 0, 0, 1][..], &ADDRESSES_4[4..]].concat();
    assert_eq!(binary_of(0x21, 0x11, &multicast), "refused");
}

/// A header with a checksum between two other values.
fn with_checksum() -> ([u8; FIXED], Vec<u8>) {
    let values = [&[0x04, 0, 1, 7][..], &[CHECKSUM, 0, 4, 0, 0, 0, 0], &[0xe0, 0, 2, 8, 9]].concat();
    let (fixed, mut rest) = header(0x21, 0x11, &[&ADDRESSES_4[..], &values].concat());
    let sum = crc32c(fixed.iter().chain(&rest));
    rest[19..23].copy_from_slice(&sum.to_be_bytes());
    (fixed, rest)
}

#[test]
fn a_checksum_must_be_right_and_the_only_one() {
    // RFC 3720, appendix B.4.
    assert_eq!(crc32c([0; 32].iter()), 0x8a91_36aa);
    assert_eq!(crc32c([0xff; 32].iter()), 0x62a8_ab43);
    assert_eq!(crc32c(b"123456789".iter()), 0xe306_9283);
    let (fixed, rest) = with_checksum();
    assert_eq!(told(binary(&fixed, &rest)), "192.0.2.7");
    for position in 0..rest.len() {
        for bit in 0..8 {
            let mut changed = rest.clone();
            changed[position] ^= 1 << bit;
            // A value that is no longer a checksum is not one that is wrong.
            if position == 16 {
                continue;
            }
            assert_eq!(
                told(binary(&fixed, &changed)),
                "refused",
                "bit {bit} of byte {position}"
            );
        }
    }
    for length in [0, 3, 5] {
        let value = [&[CHECKSUM, 0, length][..], &vec![0; usize::from(length)]].concat();
        assert_eq!(binary_of(0x21, 0x11, &[&ADDRESSES_4[..], &value].concat()), "refused");
    }
}

proptest! {
    #[test]
    fn bytes_are_read_or_refused_and_nothing_else(bytes in prop::collection::vec(any::<u8>(), 0..200)) {
        if let Some(Source::Client(address)) = line(&bytes) {
            prop_assert!(String::from_utf8(bytes.clone()).unwrap().starts_with("PROXY TCP"));
            prop_assert!(!address.is_unspecified());
        }
        let (fixed, rest) = header(0x21, 0x21, &bytes);
        if binary(&fixed, &rest).is_some() {
            prop_assert!(rest.len() >= 36);
        }
    }
}
