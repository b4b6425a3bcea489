//! `flyte://` URLs: every form that is published, and whatever could be taken for one, against FlyteAdmin's own patterns.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::{UrlExecution, parse};
use crate::model::reason::Reason;
use proptest::prelude::*;
use regex::Regex;
use std::cell::Cell;
use std::sync::LazyLock;

fn found<'a>(organization: &'a str, project: &'a str, domain: &'a str, execution: &'a str) -> UrlExecution<'a> {
    UrlExecution {
        organization,
        project,
        domain,
        execution,
    }
}

#[test]
fn t_pb_15_every_published_form_is_read() {
    let ml = found("", "ml", "development", "e1");
    let acme = found("acme", "ml", "development", "e1");
    for (url, expected) in [
        // As FlyteAdmin writes them for nodes and for attempts of tasks.
        ("flyte://v1/ml/development/e1/n0/i", ml),
        ("flyte://v1/ml/development/e1/n0/o", ml),
        ("flyte://v1/ml/development/e1/n0/d", ml),
        ("flyte://v1/ml/development/e1/n0/0/i", ml),
        ("flyte://v1/ml/development/e1/n0/12/o", ml),
        ("flyte://v1/ml/development/e1/n0/999999999/d", ml),
        // One value, as users write them.
        ("flyte://v1/ml/development/e1/n0/i/x", ml),
        ("flyte://v1/ml/development/e1/n0/o/my_df", ml),
        ("flyte://v1/ml/development/e1/n0/0/i/x-1", ml),
        ("flyte://v1/ml/development/e1/n0/12/o/o0", ml),
        ("flyte://v1/ml/development/e1/n0/o/o", ml),
        ("flyte://v1/ml/development/e1/n0/i/7", ml),
        // Nodes and executions of any name.
        ("flyte://v1/ml/development/e1/start-node/i", ml),
        ("flyte://v1/ml/development/e1/n0-0-dn1_2/0/o", ml),
        ("flyte://v1/ml/development/f0123456789/1/2/o", ml),
        ("flyte://v1/ml/development/i/o/d", ml),
        ("flyte://v1/ml/development/i/o/i/o", ml),
        // With an organization.
        ("flyte://v1/org/acme/ml/development/e1/n0/i", acme),
        ("flyte://v1/org/acme/ml/development/e1/n0/o", acme),
        ("flyte://v1/org/acme/ml/development/e1/n0/d", acme),
        ("flyte://v1/org/acme/ml/development/e1/n0/0/i", acme),
        ("flyte://v1/org/acme/ml/development/e1/n0/3/d", acme),
        ("flyte://v1/org/acme/ml/development/e1/n0/o/o0", acme),
        ("flyte://v1/org/acme/ml/development/e1/n0/3/o/o0", acme),
        ("flyte://v1/org/org/org/org/org/org/i", found("org", "org", "org", "e1")),
        // In a project that is called like that.
        (
            "flyte://v1/org/development/e1/n0/i",
            found("", "org", "development", "e1"),
        ),
        (
            "flyte://v1/org/development/e1/n0/1/d",
            found("", "org", "development", "e1"),
        ),
        (
            "flyte://v1/org/development/e1/n0/1/o/x",
            found("", "org", "development", "e1"),
        ),
    ] {
        let read = parse("flyte_url", url).unwrap();
        assert_eq!(
            UrlExecution {
                execution: "e1",
                ..read
            },
            expected,
            "{url}"
        );
        assert_eq!(readings(url), [read], "{url}: FlyteAdmin");
    }
}

#[test]
fn t_pb_15_whatever_else_is_refused_and_named() {
    for url in [
        // Two URLs in one text: FlyteAdmin would take either.
        "flyte://v1/ml/development/e/n/x/flyte://v1/other/development/e/n/i",
        "flyte://v1/ml/development/e/n/i/flyte://v1/other/development/e/n/i",
        "flyte://v1/ml/development/e/n/i?flyte://v1/other/development/e/n/i",
        "flyte://v1/flyte://v1/ml/development/e/n/i",
        "x flyte://v1/ml/development/e/n/i",
        " flyte://v1/ml/development/e/n/i",
        // With an organization `development`, or one value in a project `org`.
        "flyte://v1/org/development/e/n/1/i/o",
        "flyte://v1/org/development/e/n/1/o/d",
        "flyte://v1/org/development/e/n/12345678901/i/i",
        // Other versions, schemes and spellings.
        "flyte://av1/ml/development/e",
        "flyte://v2/ml/development/e/n/i",
        "flyte://v1",
        "flyte://v1/",
        "FLYTE://v1/ml/development/e/n/i",
        "flyte:/v1/ml/development/e/n/i",
        "s3://bucket/ml",
        "",
        // Too few and too many segments.
        "flyte://v1/ml/development/e/i",
        "flyte://v1/ml/development/e/n",
        "flyte://v1/ml/development/e/n/",
        "flyte://v1/ml/development/e/n/1",
        "flyte://v1/ml/development/e/n/1/2/i",
        "flyte://v1/ml/development/e/n/i/x/y",
        "flyte://v1/org/acme/ml/development/e/n/i/x/y",
        // No such artifact, or no value of that name.
        "flyte://v1/ml/development/e/n/x",
        "flyte://v1/ml/development/e/n/I",
        "flyte://v1/ml/development/e/n/io",
        "flyte://v1/ml/development/e/n/d/x",
        "flyte://v1/ml/development/e/n/1/d/x",
        "flyte://v1/ml/development/e/n/i/",
        "flyte://v1/ml/development/e/n/i/x.y",
        // Attempts that FlyteAdmin would cut to 32 bits, or that are no numbers.
        "flyte://v1/ml/development/e/n/1234567890/i",
        "flyte://v1/ml/development/e/n/4294967296/i",
        "flyte://v1/ml/development/e/n/-1/i",
        "flyte://v1/ml/development/e/n/1e1/i",
        // Segments that are no identifiers.
        "flyte://v1//development/e/n/i",
        "flyte://v1/ml//e/n/i",
        "flyte://v1/ml/development//n/i",
        "flyte://v1/ml/development/e//i",
        "flyte://v1/org//ml/development/e/n/i",
        "flyte://v1/ml/development/../n/i",
        "flyte://v1/ml/development/e/n%2Fi/i",
        "flyte://v1/m.l/development/e/n/i",
        "flyte://v1/ml\\development/e/n/i",
        "flyte://v1/m\u{e9}l/development/e/n/i",
        "flyte://v1/ml\0/development/e/n/i",
        // What follows the end.
        "flyte://v1/ml/development/e/n/i?x",
        "flyte://v1/ml/development/e/n/i#x",
        "flyte://v1/ml/development/e/n/i\n",
        "flyte://v1/ml/development/e/n/i ",
    ] {
        let denial = parse("flyte_url", url).unwrap_err();
        assert_eq!(denial.reason, Reason::FieldInvalid, "{url}");
        assert!(
            denial.message.starts_with("field `flyte_url` is `"),
            "{}",
            denial.message
        );
    }
}

/// FlyteAdmin's patterns (`flyteadmin/pkg/common/flyte_url.go` of v1.16), in the order in which it tries them.
static PATTERNS: LazyLock<[Regex; 4]> = LazyLock::new(|| {
    let identifiers = ["project", "domain", "exec", "node"].map(|name| format!("(?P<{name}>[a-zA-Z0-9_-]+)/"));
    let tail = "(?P<ioType>[iod])$";
    let value = "(?P<ioType>[io])/(?P<literalName>[a-zA-Z0-9_-]+)$";
    let org = "org/(?P<org>[a-zA-Z0-9_-]+)/";
    [(org, tail), (org, value), ("", tail), ("", value)].map(|(org, tail)| {
        let [project, domain, exec, node] = &identifiers;
        let node = node.trim_end_matches('/');
        let pattern = format!("flyte://v1/{org}{project}{domain}{exec}{node}(?:/(?P<attempt>[0-9]+))?/{tail}");
        Regex::new(&pattern).unwrap()
    })
});

/// What each of the patterns finds: the first match anywhere in the text.
fn readings(url: &str) -> Vec<UrlExecution<'_>> {
    let found = PATTERNS.iter().filter_map(|pattern| pattern.captures(url));
    let read = |found: regex::Captures<'_>| {
        let text = |name| {
            found
                .name(name)
                .and_then(|text| url.get(text.range()))
                .unwrap_or_default()
        };
        self::found(text("org"), text("project"), text("domain"), text("exec"))
    };
    found.map(read).collect()
}

/// Pieces of URLs that have, or look as if they had, a meaning.
fn piece() -> impl Strategy<Value = String> {
    let plain = prop::sample::select(vec![
        "org",
        "ml",
        "other",
        "development",
        "e1",
        "n0",
        "x",
        "i",
        "o",
        "d",
    ]);
    let odd = prop::sample::select(vec![
        "",
        "0",
        "12",
        "1234567890",
        "flyte://v1",
        "flyte:",
        "v1",
        "..",
        "a.b",
        "%2F",
        "i?",
        "o\n",
        " ",
        "\u{e9}",
    ]);
    prop_oneof![8 => plain.prop_map(str::to_owned), 2 => odd.prop_map(str::to_owned), 1 => "[a-z0-9_/-]{0,6}"]
}

#[test]
fn t_pb_15_what_is_accepted_has_one_reading_for_flyteadmin_and_it_is_this() {
    let (accepted, refused) = (Cell::new(0), Cell::new(0));
    let urls = (
        prop::sample::select(vec!["flyte://v1/", "flyte://v1/org/", "x", ""]),
        prop::collection::vec(piece(), 4..9),
        prop::sample::select(vec!["", "/i", "/o", "/d", "/o/x", "/i/o", "/0/i", "/1/o/x"]),
    );
    let config = ProptestConfig {
        cases: 20_000,
        failure_persistence: None,
        ..ProptestConfig::default()
    };
    let mut runner = proptest::test_runner::TestRunner::new(config);
    let outcome = runner.run(&urls, |(start, pieces, end)| {
        let url = format!("{start}{}{end}", pieces.join("/"));
        let readings = readings(&url);
        if let Ok(scope) = parse("flyte_url", &url) {
            accepted.set(accepted.get() + 1);
            prop_assert_eq!(readings, [scope], "{}", url);
        } else {
            refused.set(refused.get() + 1);
            // Refused although FlyteAdmin reads it in one way: more than the URL, or an attempt it would cut.
            let whole = url.starts_with("flyte://v1/") && url.matches("flyte://").count() == 1;
            let cut = url.split('/').any(|part| part.len() > 9 && super::is_number(part));
            prop_assert!(readings.len() != 1 || !whole || cut, "{}", url);
        }
        Ok(())
    });
    outcome.unwrap();
    assert!(
        accepted.get() > 1_000 && refused.get() > 1_000,
        "{accepted:?} {refused:?}"
    );
}
