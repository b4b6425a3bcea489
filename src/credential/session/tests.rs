//! Which cookies make a session.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::credential::cookie::{BlockKey, HashKey, MAX_AGE};
use crate::demo::session::SessionKeys;
use http::HeaderValue;

const NOW: u64 = 1_795_301_903;

fn headers(values: &[&str]) -> HeaderMap {
    let mut headers = HeaderMap::new();
    for value in values {
        headers.append(COOKIE, HeaderValue::from_bytes(value.as_bytes()).unwrap());
    }
    headers
}

fn pair(keys: &SessionKeys) -> CookieKeys {
    CookieKeys {
        hash: HashKey::from_base64(&Secret::new(keys.hash_key())).unwrap(),
        block: BlockKey::from_base64(&Secret::new(keys.block_key())).unwrap(),
    }
}

struct Sample {
    own: SessionKeys,
    keys: [CookieKeys; 1],
}

impl Sample {
    fn new() -> Self {
        let own = SessionKeys::generate().unwrap();
        let keys = [pair(&own)];
        Self { own, keys }
    }

    /// `NAME=VALUE` of a cookie with this text.
    fn cookie(&self, name: &str, text: &str) -> String {
        format!("{name}={}", self.own.cookie(name, text, NOW).unwrap())
    }

    fn find(&self, values: &[&str]) -> SessionCookies {
        find(&headers(values), &self.keys, NOW).unwrap()
    }

    /// ID token and forwarded cookies.
    fn session(&self, values: &[&str]) -> Option<(String, String)> {
        match self.find(values) {
            SessionCookies::Session(session) => Some((session.id_token().to_owned(), session.cookies().to_owned())),
            SessionCookies::Absent | SessionCookies::Unreadable => None,
        }
    }
}

#[test]
fn an_id_token_and_an_access_token_whole_or_in_halves_are_a_session() {
    let sample = Sample::new();
    let [id, whole, first, second] = COOKIES.map(|name| sample.cookie(name, &format!("text of {name}")));
    for cookies in [
        vec![&id, &whole],
        vec![&first, &second, &id],
        vec![&second, &id, &first],
        vec![&id, &whole, &first],
        vec![&id, &whole, &first, &second],
    ] {
        let cookies: Vec<&str> = cookies.into_iter().map(String::as_str).collect();
        let joined = cookies.join("; ");
        let expected = Some(("text of flyte_idt".to_owned(), joined.clone()));
        assert_eq!(sample.session(&[&joined]), expected);
        assert_eq!(sample.session(&cookies), expected, "one header each");
    }
    for cookies in [
        vec![&id],
        vec![&whole],
        vec![&first, &second],
        vec![&id, &first],
        vec![&id, &second],
        vec![&whole, &first, &second],
    ] {
        let cookies: Vec<&str> = cookies.into_iter().map(String::as_str).collect();
        assert!(matches!(
            sample.find(&[&cookies.join("; ")]),
            SessionCookies::Unreadable
        ));
    }
}

#[test]
fn other_cookies_are_neither_needed_nor_forwarded() {
    let sample = Sample::new();
    let session = sample.own.cookies("id", "access", NOW).unwrap();
    let refresh = sample.cookie("flyte_rt", "refresh");
    let user = sample.cookie("flyte_user_info", "{}");
    let line = format!("theme=dark;{refresh}; {session};;{user}; =; x; FLYTE_IDT=y; flyte_idt2=z; caf\u{e9}=\u{e9}");
    assert_eq!(sample.session(&[&line]), Some(("id".to_owned(), session)));
    assert!(matches!(
        sample.find(&["theme=dark", &refresh, &user]),
        SessionCookies::Absent
    ));
    assert!(matches!(sample.find(&[]), SessionCookies::Absent));
}

#[test]
fn an_unreadable_old_access_token_is_left_out_when_the_halves_are_good() {
    let sample = Sample::new();
    let session = sample.own.cookies("id", "access", NOW).unwrap();
    for old in [
        "flyte_at=",
        "flyte_at",
        "flyte_at=garbage",
        "flyte_at=\"x\"",
        "flyte_at=\u{e9}",
    ] {
        let line = format!("{old}; {session}");
        assert_eq!(
            sample.session(&[&line]),
            Some(("id".to_owned(), session.clone())),
            "{old}"
        );
    }
}

#[test]
fn an_empty_token_is_none() {
    let sample = Sample::new();
    let [id, whole, first, second] = COOKIES.map(|name| sample.cookie(name, ""));
    let good = COOKIES.map(|name| sample.cookie(name, "x"));
    let [good_id, good_whole, good_first, good_second] = &good;
    for cookies in [
        [&id, good_whole, good_whole],
        [good_id, &whole, good_first],
        [good_id, &first, good_second],
        [good_id, good_first, &second],
    ] {
        let [one, two, three] = cookies;
        let line = if two == three {
            format!("{one}; {two}")
        } else {
            format!("{one}; {two}; {three}")
        };
        assert!(matches!(sample.find(&[&line]), SessionCookies::Unreadable), "{line}");
    }
}

#[test]
fn a_cookie_of_a_session_that_comes_twice_is_refused_wherever_and_whatever_it_is() {
    let sample = Sample::new();
    let session = sample.own.cookies("id", "access", NOW).unwrap();
    for name in COOKIES {
        for second in ["", "=", "=garbage", " =x", "\t=x"] {
            let twice = format!("{name}=1; {name}{second}");
            let refused = |values: &[&str]| find(&headers(values), &sample.keys, NOW).unwrap_err();
            for denial in [
                refused(&[&twice]),
                refused(&[&format!("{session}; {twice}")]),
                refused(&[&format!("{name}=1"), &session, &format!("{name}{second}")]),
            ] {
                assert_eq!(denial.reason, Reason::CredentialConflict);
                assert!(denial.message.contains(name), "{}", denial.message);
            }
        }
    }
    let same = sample.cookie("flyte_idt", "id");
    let twice = headers(&[&same, &same]);
    assert_eq!(
        find(&twice, &sample.keys, NOW).unwrap_err().reason,
        Reason::CredentialConflict
    );
}

#[test]
fn without_keys_nothing_is_looked_at() {
    let sample = Sample::new();
    let session = sample.own.cookies("id", "access", NOW).unwrap();
    for values in [vec![session.as_str()], vec!["flyte_idt=1; flyte_idt=2"]] {
        assert!(matches!(
            find(&headers(&values), &[], NOW).unwrap(),
            SessionCookies::Absent
        ));
    }
}

#[test]
fn earlier_keys_are_accepted_but_never_two_pairs_in_one_session() {
    let (before, after) = (SessionKeys::generate().unwrap(), SessionKeys::generate().unwrap());
    let keys = [pair(&after), pair(&before)];
    let is_session = |line: &str, keys: &[CookieKeys]| {
        matches!(find(&headers(&[line]), keys, NOW).unwrap(), SessionCookies::Session(_))
    };
    let [old, new] = [&before, &after].map(|own| own.cookies("id", "access", NOW).unwrap());
    assert!(is_session(&old, &keys) && is_session(&new, &keys));
    let [now, earlier] = &keys;
    assert!(is_session(&new, std::slice::from_ref(now)) && !is_session(&old, std::slice::from_ref(now)));
    assert!(is_session(&old, std::slice::from_ref(earlier)));
    let mixed = format!(
        "flyte_idt={}; flyte_at={}",
        before.cookie("flyte_idt", "id", NOW).unwrap(),
        after.cookie("flyte_at", "access", NOW).unwrap()
    );
    assert!(!is_session(&mixed, &keys));
}

#[test]
fn a_session_lasts_thirty_days() {
    let sample = Sample::new();
    let headers = headers(&[&sample.own.cookies("id", "access", NOW).unwrap()]);
    let at = |now| find(&headers, &sample.keys, now).unwrap();
    assert!(matches!(at(NOW + MAX_AGE), SessionCookies::Session(_)));
    assert!(matches!(at(NOW + MAX_AGE + 1), SessionCookies::Unreadable));
}

#[test]
fn debug_shows_neither_token_nor_cookies() {
    let sample = Sample::new();
    let line = sample.own.cookies("very-secret", "access", NOW).unwrap();
    let shown = format!("{:?}", sample.find(&[&line]));
    let cookie = line.split('=').nth(1).unwrap().split(';').next().unwrap();
    assert!(
        shown.contains("Session") && !shown.contains("very-secret") && !shown.contains(cookie),
        "{shown}"
    );
}

proptest::proptest! {
    #[test]
    fn whatever_the_cookies_are_only_sealed_ones_are_a_session(
        values in proptest::collection::vec("(flyte_idt|flyte_at|flyte_at_1|x)? ?=?[ -~\u{e9}]{0,40}(; ?flyte_(idt|at)=[A-Za-z0-9_=-]{0,80})?", 0..4),
    ) {
        let sample = Sample::new();
        let values: Vec<&str> = values.iter().map(String::as_str).collect();
        let found = find(&headers(&values), &sample.keys, NOW);
        proptest::prop_assert!(!matches!(found, Ok(SessionCookies::Session(_))));
    }
}
