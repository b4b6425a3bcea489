//! Cookies that gorilla/securecookie v1.1.1 made (`tests/fixtures/securecookie-vectors.json`), and what is left of them when
//! anything is changed.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::demo::session::SessionKeys;
use serde_json::Value;
use std::fmt::Write;

const NOW: u64 = 1_795_301_903;

fn vectors() -> Value {
    serde_json::from_str(include_str!("../../../tests/fixtures/securecookie-vectors.json")).unwrap()
}

fn keys(hash: &str, block: &str) -> CookieKeys {
    CookieKeys {
        hash: HashKey::from_base64(&Secret::from(hash)).unwrap(),
        block: BlockKey::from_base64(&Secret::from(block)).unwrap(),
    }
}

fn keys_of(vectors: &Value) -> CookieKeys {
    let key = |name: &str| vectors[name].as_str().unwrap();
    keys(key("hash_key_b64_raw_std"), key("block_key_b64_raw_std"))
}

fn own_keys() -> (SessionKeys, CookieKeys) {
    let own = SessionKeys::generate().unwrap();
    let keys = keys(&own.hash_key(), &own.block_key());
    (own, keys)
}

/// Every cookie of the vectors with its name and text.
fn cookies(vectors: &Value) -> impl Iterator<Item = (&str, &str, &str)> {
    vectors["vectors"].as_array().unwrap().iter().filter_map(|vector| {
        let member = |name: &str| vector[name].as_str();
        Some((member("name")?, member("value")?, member("cookie")?))
    })
}

fn opened(keys: &CookieKeys, name: &str, cookie: &str, now: u64) -> Option<String> {
    keys.open(name, cookie, now).map(|text| text.expose().to_owned())
}

#[test]
fn every_cookie_that_gorilla_made_is_read() {
    let vectors = vectors();
    let keys = keys_of(&vectors);
    let mut lengths = Vec::new();
    for (name, text, cookie) in cookies(&vectors) {
        assert_eq!(opened(&keys, name, cookie, NOW).as_deref(), Some(text), "{name}");
        lengths.push(text.len());
    }
    // One, two and three bytes of length.
    assert_eq!(lengths, [1, 40, 200, 127, 300, 39]);
}

#[test]
fn every_changed_character_makes_a_cookie_unreadable() {
    let vectors = vectors();
    let keys = keys_of(&vectors);
    for (name, _, cookie) in cookies(&vectors) {
        for place in 0..cookie.len() {
            for other in b"Aa0-_=|\n \"" {
                let mut changed = cookie.as_bytes().to_vec();
                if changed[place] == *other {
                    continue;
                }
                changed[place] = *other;
                let changed = String::from_utf8(changed).unwrap();
                assert_eq!(opened(&keys, name, &changed, NOW), None, "{name}: {other} at {place}");
            }
        }
    }
}

#[test]
fn every_flipped_bit_of_what_is_signed_or_of_the_signature_makes_a_cookie_unreadable() {
    let vectors = vectors();
    let keys = keys_of(&vectors);
    let (name, _, cookie) = cookies(&vectors).nth(1).unwrap();
    let decoded = URL_SAFE.decode(cookie).unwrap();
    for place in 0..decoded.len() {
        for bit in 0..8 {
            let mut changed = decoded.clone();
            changed[place] ^= 1 << bit;
            assert_eq!(
                opened(&keys, name, &URL_SAFE.encode(changed), NOW),
                None,
                "{place}.{bit}"
            );
        }
    }
}

#[test]
fn every_truncation_and_extension_of_a_cookie_is_unreadable() {
    let vectors = vectors();
    let keys = keys_of(&vectors);
    for (name, _, cookie) in cookies(&vectors) {
        let decoded = URL_SAFE.decode(cookie).unwrap();
        for length in 0..cookie.len() {
            let (head, tail) = cookie.split_at(length);
            assert_eq!(opened(&keys, name, head, NOW), None, "{name}: {length}");
            assert_eq!(
                opened(&keys, name, tail, NOW).is_some(),
                length == 0,
                "{name}: {length}"
            );
        }
        for length in 0..decoded.len() {
            let shorter = URL_SAFE.encode(&decoded[..length]);
            assert_eq!(opened(&keys, name, &shorter, NOW), None, "{name}: {length}");
        }
        let longer = URL_SAFE.encode([&decoded[..], b"\0"].concat());
        assert_eq!(opened(&keys, name, &longer, NOW), None);
        for padded in [format!("{cookie}="), format!("{cookie} "), format!("\"{cookie}\"")] {
            assert_eq!(opened(&keys, name, &padded, NOW), None, "{padded}");
        }
    }
}

#[test]
fn a_cookie_under_another_name_is_unreadable() {
    let vectors = vectors();
    let keys = keys_of(&vectors);
    for (name, _, cookie) in cookies(&vectors) {
        for other in [
            "flyte_idt",
            "flyte_at",
            "flyte_at_1",
            "flyte_at_2",
            "flyte_rt",
            "",
            "FLYTE_IDT",
        ] {
            assert_eq!(
                opened(&keys, other, cookie, NOW).is_some(),
                other == name,
                "{name} as {other}"
            );
        }
    }
}

#[test]
fn a_cookie_is_read_until_it_is_thirty_days_old_and_from_a_clock_that_is_ahead() {
    let vectors = vectors();
    let keys = keys_of(&vectors);
    let (name, _, cookie) = cookies(&vectors).next().unwrap();
    for (now, readable) in [
        (NOW + 2_592_000, true),
        (NOW + 2_592_001, false),
        (NOW - 3600, true),
        (0, true),
        (u64::MAX, false),
    ] {
        assert_eq!(opened(&keys, name, cookie, now).is_some(), readable, "{now}");
    }
}

#[test]
fn a_cookie_made_with_another_hash_or_block_key_is_unreadable() {
    let vectors = vectors();
    let (hash, block) = (&vectors["hash_key_b64_raw_std"], &vectors["block_key_b64_raw_std"]);
    let (own, other) = own_keys();
    let other_block = keys(hash.as_str().unwrap(), &own.block_key());
    let other_hash = keys(&own.hash_key(), block.as_str().unwrap());
    for (name, _, cookie) in cookies(&vectors) {
        for keys in [&other, &other_block, &other_hash] {
            assert_eq!(opened(keys, name, cookie, NOW), None, "{name}");
        }
    }
}

#[test]
fn the_longest_cookie_has_4096_characters() {
    let (own, keys) = own_keys();
    let cookie = |length: usize| own.cookie("flyte_idt", &"z".repeat(length), NOW).unwrap();
    let longest = (2200..2300)
        .rev()
        .find(|length| cookie(*length).len() <= MAX_CHARS)
        .unwrap();
    assert!(opened(&keys, "flyte_idt", &cookie(longest), NOW).is_some());
    let longer = cookie(longest + 6);
    assert!(longer.len() > MAX_CHARS && longer.len() < MAX_CHARS + 20);
    assert_eq!(opened(&keys, "flyte_idt", &longer, NOW), None);
}

#[test]
fn only_one_gob_string_in_its_one_form_is_read() {
    let (own, keys) = own_keys();
    let read = |content: &[u8]| opened(&keys, "n", &own.seal("n", content, "1").unwrap(), 1);
    assert_eq!(read(b"\x04\x0c\x00\x01a").as_deref(), Some("a"));
    assert_eq!(read(b"\x03\x0c\x00\x00").as_deref(), Some(""));
    let contents: [&[u8]; 20] = [
        b"",
        b"\x00",
        b"\x03",
        b"\x04\x0c\x00\x01",
        b"\x04\x0c\x00\x01ab",
        b"\x04\x0c\x00\x01a\x00",
        b"\x05\x0c\x00\x01a",
        b"\x05\x0c\x00\x01ab",
        b"\x04\x0c\x00\x02a",
        b"\x04\x0a\x00\x01a",
        b"\x04\x0c\x01\x01a",
        b"\x04\x0c\x00\x01\xff",
        b"\xff\x04\x0c\x00\x01a",
        b"\xfe\x00\x04\x0c\x00\x01a",
        b"\x05\x0c\x00\xff\x01a",
        b"\xff\x0c\x00\x01a",
        b"\xf8\x00\x00\x00\x00\x00\x00\x00\x04\x0c\x00\x01a",
        b"\xf0\xff\xff\xff\xff",
        b"\x80\x0c\x00\x01a",
        b"\xf8\xff\xff\xff\xff\xff\xff\xff\xff",
    ];
    for content in contents {
        assert_eq!(read(content), None, "{content:x?}");
    }
    // The length 128 takes two bytes.
    let rest = [b"\x0c\x00\x7d", &[b'a'; 125][..]].concat();
    assert_eq!(read(&[b"\xff\x80", &rest[..]].concat()), Some("a".repeat(125)));
    assert_eq!(read(&[b"\x80", &rest[..]].concat()), None);
}

#[test]
fn a_signed_time_that_is_no_number_makes_a_cookie_unreadable() {
    let (own, keys) = own_keys();
    let read = |time: &str| opened(&keys, "n", &own.seal("n", b"\x04\x0c\x00\x01a", time).unwrap(), 1);
    assert!(read("1").is_some());
    for time in ["", "+1", "-1", " 1", "1.0", "0x1", "99999999999999999999999"] {
        assert_eq!(read(time), None, "{time}");
    }
}

#[test]
fn keys_that_cannot_be_used_are_told_without_showing_them() {
    let fault = |text: &str| {
        let secret = Secret::from(text);
        [
            HashKey::from_base64(&secret).err(),
            BlockKey::from_base64(&secret).err(),
        ]
    };
    let encoded = |bytes: usize| STANDARD_NO_PAD.encode(vec![b'k'; bytes]);
    assert_eq!(fault(&encoded(32)), [None, None]);
    assert_eq!(fault(&format!("{}\r\n", encoded(32))), [None, None]);
    for (text, hash, block) in [
        (String::new(), "has 0 bytes", "has 0 bytes"),
        (
            encoded(31),
            "has 31 bytes, but needs at least 32",
            "has 31 bytes, but needs 32",
        ),
        (encoded(64), "", "has 64 bytes, but needs 32"),
        (format!("{}=", encoded(32)), "is not base64", "is not base64"),
        (format!(" {}", encoded(32)), "is not base64", "is not base64"),
        ("not a key!".to_owned(), "is not base64", "is not base64"),
    ] {
        let faults = fault(&text);
        for (fault, expected) in faults.iter().zip([hash, block]) {
            assert_eq!(fault.is_none(), expected.is_empty(), "{fault:?}");
            let fault = fault.clone().unwrap_or_default();
            assert!(fault.starts_with(expected), "{fault}");
            assert!(text.is_empty() || !fault.contains(&text), "{fault}");
        }
    }
}

#[test]
fn debug_shows_no_key() {
    let (own, keys) = own_keys();
    let mut shown = String::new();
    write!(shown, "{own:?} {keys:?}").unwrap();
    let hash = STANDARD_NO_PAD.decode(own.hash_key()).unwrap();
    let listed = format!("{:?}", &hash[..4]);
    let listed = listed.trim_matches(['[', ']']);
    assert!(
        !shown.contains(listed) && !shown.contains(&own.hash_key()) && !shown.contains(&own.block_key()),
        "{shown}"
    );
}
