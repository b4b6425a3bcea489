//! Cookies: what opens was sealed with the keys, in the one form that FlyteAdmin writes.

use aws_lc_rs::cipher::{AES_256, EncryptingKey, EncryptionContext, UnboundCipherKey};
use aws_lc_rs::hmac;
use aws_lc_rs::iv::FixedLength;
use base64::Engine as _;
use base64::engine::general_purpose::{STANDARD_NO_PAD, URL_SAFE};
use flyte_authz_proxy::credential::cookie::{BlockKey, CookieKeys, HashKey, MAX_AGE, MAX_CHARS};
use flyte_authz_proxy::credential::session::{self, SessionCookies};
use flyte_authz_proxy::secret::Secret;
use http::header::{COOKIE, HeaderMap, HeaderValue};
use std::sync::LazyLock;

const HASH_KEY: [u8; 64] = [b'h'; 64];
const BLOCK_KEY: [u8; 32] = [b'b'; 32];
/// When the cookies of `tests/fixtures/securecookie-vectors.json` were made, and a little later.
const NOW: u64 = 1_795_301_963;

static KEYS: LazyLock<[CookieKeys; 1]> = LazyLock::new(|| {
    let text = |key: &[u8]| Secret::new(STANDARD_NO_PAD.encode(key));
    [CookieKeys {
        hash: HashKey::from_base64(&text(&HASH_KEY)).expect("a key"),
        block: BlockKey::from_base64(&text(&BLOCK_KEY)).expect("a key"),
    }]
});

/// If the first byte is `=`, the rest are `cookie` headers, one a line. Otherwise it chooses a cookie's name, up to a bar the time
/// follows, and the rest is what is sealed.
pub fn check(input: &[u8]) {
    match input {
        [] => {}
        [b'=', headers @ ..] => header(headers),
        [name, rest @ ..] => sealed(session::COOKIES[usize::from(*name) % session::COOKIES.len()], rest),
    }
}

fn header(lines: &[u8]) {
    let mut headers = HeaderMap::new();
    for line in lines.split(|byte| *byte == b'\n') {
        let Ok(value) = HeaderValue::from_bytes(line) else {
            return;
        };
        headers.append(COOKIE, value);
    }
    let Ok(SessionCookies::Session(session)) = session::find(&headers, &*KEYS, NOW) else {
        return;
    };
    let mut names = Vec::new();
    for cookie in session.cookies().split("; ") {
        let (name, value) = cookie.split_once('=').expect("a cookie has a name");
        assert!(session::COOKIES.contains(&name) && !names.contains(&name), "{name}");
        names.push(name);
        let text = KEYS[0].open(name, value, NOW).expect("what is forwarded opens");
        assert!(!text.expose().is_empty(), "{name}");
        assert!(name != "flyte_idt" || text.expose() == session.id_token());
    }
    assert!(names.contains(&"flyte_idt"));
    assert!(names.contains(&"flyte_at") || ["flyte_at_1", "flyte_at_2"].iter().all(|half| names.contains(half)));
    // Read again from what is forwarded, it is the same.
    let mut forwarded = HeaderMap::new();
    forwarded.append(COOKIE, HeaderValue::from_str(session.cookies()).expect("a header"));
    match session::find(&forwarded, &*KEYS, NOW) {
        Ok(SessionCookies::Session(again)) => assert!(again == session),
        other => panic!("{other:?}"),
    }
}

fn sealed(name: &str, rest: &[u8]) {
    let bar = rest.iter().position(|byte| *byte == b'|').unwrap_or(0);
    let (time, content) = rest.split_at(bar);
    let content = content.strip_prefix(b"|").unwrap_or(content);
    let cookie = seal(name, time, content);
    let opened = KEYS[0].open(name, &cookie, NOW);
    let in_time = std::str::from_utf8(time)
        .ok()
        .filter(|time| time.bytes().all(|byte| byte.is_ascii_digit()))
        .and_then(|time| {
            let made_at: u64 = time.parse().ok()?;
            (NOW <= made_at.saturating_add(MAX_AGE)).then_some(())
        });
    match &opened {
        Some(text) => {
            assert!(in_time.is_some() && cookie.len() <= MAX_CHARS);
            assert_eq!(gob(text.expose()), content, "it is not what Go writes");
        }
        None => {
            let is_text = |length: usize| {
                let text = std::str::from_utf8(&content[content.len() - length..]);
                text.is_ok_and(|text| gob(text) == content)
            };
            let well_made = in_time.is_some() && cookie.len() <= MAX_CHARS;
            assert!(
                !well_made || !(0..=content.len()).any(is_text),
                "FlyteAdmin would open it"
            );
        }
    }
    // Under another name or with anything changed it is nothing.
    for other in session::COOKIES.into_iter().filter(|other| *other != name) {
        assert!(KEYS[0].open(other, &cookie, NOW).is_none());
    }
    let place = content.first().map_or(0, |byte| usize::from(*byte)) % cookie.len();
    let mut changed = cookie.into_bytes();
    changed[place] = if changed[place] == b'A' { b'B' } else { b'A' };
    let changed = String::from_utf8(changed).expect("base64");
    assert!(
        KEYS[0].open(name, &changed, NOW).is_none(),
        "a changed cookie was opened"
    );
}

/// A cookie as gorilla/securecookie makes it, with a counter that begins with zeros.
fn seal(name: &str, time: &[u8], content: &[u8]) -> String {
    let counter = [0; 16];
    let mut encrypted = content.to_vec();
    EncryptingKey::ctr(UnboundCipherKey::new(&AES_256, &BLOCK_KEY).expect("a key"))
        .and_then(|key| key.less_safe_encrypt(&mut encrypted, EncryptionContext::Iv128(FixedLength::from(counter))))
        .expect("it can be encrypted");
    let sealed = URL_SAFE.encode([&counter[..], &encrypted].concat());
    let signed = [name.as_bytes(), time, sealed.as_bytes()].join(&b'|');
    let signature = hmac::sign(&hmac::Key::new(hmac::HMAC_SHA256, &HASH_KEY), &signed);
    URL_SAFE.encode([time, sealed.as_bytes(), signature.as_ref()].join(&b'|'))
}

/// A string as Go's gob encodes it.
fn gob(text: &str) -> Vec<u8> {
    let value = [&[0x0c, 0x00][..], &number(text.len()), text.as_bytes()].concat();
    [number(value.len()), value].concat()
}

fn number(value: usize) -> Vec<u8> {
    if value < 128 {
        return vec![u8::try_from(value).expect("below 128")];
    }
    let bytes: Vec<u8> = value.to_be_bytes().into_iter().skip_while(|byte| *byte == 0).collect();
    let count = u8::try_from(bytes.len()).expect("at most 8").wrapping_neg();
    [vec![count], bytes].concat()
}
