//! What becomes of each setting, and what lies below a prefix.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use proptest::prelude::*;

const PLACE: Place<'static> = Place::Domain {
    project: "ml",
    domain: "staging",
};

fn template(text: &str) -> Template {
    Template::new(text).unwrap()
}

fn guards(lists: &[(&'static str, &[&str])], set: &[(Setting, &str)]) -> Guards {
    let list = |words: &[&str]| words.iter().map(|word| template(word)).collect();
    Guards {
        lists: lists.iter().map(|(key, words)| (*key, list(words))).collect(),
        impersonate: false,
        download_prefixes: Vec::new(),
        set: set.iter().map(|(setting, text)| (*setting, template(text))).collect(),
    }
}

fn asked(setting: Setting, value: &str) -> Asked {
    Asked {
        setting,
        value: value.into(),
        field: "f".into(),
    }
}

/// The guard, what is set beside it, what is asked for, whether it can be written, and what becomes of it.
type Row<'a> = (Option<&'a [&'a str]>, Option<&'a str>, &'a str, bool, Choice);

#[test]
fn a_setting_is_kept_replaced_or_refused() {
    use Choice::{Kept, Refused, Replaced};
    let account = Setting::ServiceAccount;
    let own: OwnNames = [None, None];
    let table: &[Row<'_>] = &[
        // No guard: any.
        (None, None, "x", true, Kept),
        (None, None, "x", false, Kept),
        // `[]`: none.
        (Some(&[]), None, "x", true, Refused),
        // A list: exactly these.
        (Some(&["a", "b"]), None, "b", true, Kept),
        (Some(&["a", "b"]), None, "c", true, Refused),
        (Some(&["a"]), None, "A", true, Refused),
        (Some(&["a"]), None, "a ", true, Refused),
        (Some(&["a"]), None, "ab", true, Refused),
        // The project and domain are those of the call.
        (Some(&["${project}-${domain}"]), None, "ml-staging", true, Kept),
        (Some(&["${project}-${domain}"]), None, "ml-production", true, Refused),
        (
            Some(&["${project}-${domain}"]),
            None,
            "${project}-${domain}",
            true,
            Refused,
        ),
        // What is set replaces what is asked for, where it can be written.
        (None, Some("a"), "x", true, Replaced),
        (None, Some("a"), "x", false, Refused),
        (None, Some("${project}"), "ml", false, Kept),
        // A guard beside it lets the caller choose, or refuses.
        (Some(&["b"]), Some("a"), "b", true, Kept),
        (Some(&["b"]), Some("a"), "a", true, Kept),
        (Some(&["b"]), Some("a"), "c", true, Refused),
        (Some(&[]), Some("a"), "c", true, Refused),
    ];
    for (list, set, value, writable, expected) in table {
        let lists: Vec<(&'static str, &[&str])> = list.iter().map(|list| (account.guard(), *list)).collect();
        let sets: Vec<(Setting, &str)> = set.iter().map(|set| (account, *set)).collect();
        let guards = guards(&lists, &sets);
        let choice = guards.choice(&asked(account, value), PLACE, *writable, &own);
        assert_eq!(choice, *expected, "{list:?} {set:?} {value} {writable}");
    }
}

#[test]
fn each_setting_has_its_own_guard() {
    let own: OwnNames = [None, None];
    for guarded in Setting::ALL {
        let lists: &[(&'static str, &[&str])] = &[(guarded.guard(), &[])];
        let guards = guards(lists, &[]);
        for setting in Setting::ALL {
            let refused = guards.choice(&asked(setting, "x"), PLACE, true, &own) == Choice::Refused;
            let same = guarded.guard() == setting.guard();
            // Others are not free beside any guard.
            let other = matches!(setting, Setting::Identity | Setting::ClusterResource);
            assert_eq!(refused, same || other, "{guarded:?} {setting:?}");
        }
    }
}

#[test]
fn cluster_resources_are_free_only_where_nothing_else_is_guarded_or_set() {
    let own: OwnNames = [None, None];
    let choice = |lists: &[(&'static str, &[&str])], set: &[(Setting, &str)]| {
        let resource = asked(Setting::ClusterResource, "projectQuotaCpu");
        guards(lists, set).choice(&resource, PLACE, false, &own)
    };
    assert_eq!(choice(&[], &[]), Choice::Kept);
    for guard in [
        "service_accounts",
        "iam_roles",
        "raw_output_prefixes",
        "clusters",
        "secrets",
    ] {
        assert_eq!(
            choice(&[(guard, &["projectQuotaCpu"])], &[]),
            Choice::Refused,
            "{guard}"
        );
        let listed: &[(&'static str, &[&str])] = &[(guard, &[]), ("cluster_resources", &["projectQuotaCpu"])];
        assert_eq!(choice(listed, &[]), Choice::Kept, "{guard}");
    }
    assert_eq!(choice(&[], &[(Setting::IamRole, "r")]), Choice::Refused);
    assert_eq!(
        choice(&[("cluster_resources", &["projectQuotaMemory"])], &[]),
        Choice::Refused
    );
    assert_eq!(
        choice(
            &[("cluster_resources", &["projectQuotaCpu"])],
            &[(Setting::IamRole, "r")]
        ),
        Choice::Kept
    );
}

#[test]
fn only_who_may_impersonate_names_others() {
    let own: OwnNames = [Some("alice".into()), Some("alice@example.com".into())];
    let mut guards = guards(&[], &[]);
    for (name, kept) in [
        ("alice", true),
        ("alice@example.com", true),
        ("bob", false),
        ("Alice", false),
    ] {
        let choice = guards.choice(&asked(Setting::Identity, name), PLACE, true, &own);
        assert_eq!(choice == Choice::Kept, kept, "{name}");
    }
    guards.impersonate = true;
    let choice = guards.choice(&asked(Setting::Identity, "bob"), PLACE, true, &own);
    assert_eq!(choice, Choice::Kept);
}

#[test]
fn without_a_project_and_domain_nothing_with_variables_fits() {
    let own: OwnNames = [None, None];
    let guards = guards(
        &[("service_accounts", &["${project}", "fixed"])],
        &[(Setting::IamRole, "${domain}")],
    );
    let choice = |setting, value| guards.choice(&asked(setting, value), Place::Platform, true, &own);
    assert_eq!(choice(Setting::ServiceAccount, "ml"), Choice::Refused);
    assert_eq!(choice(Setting::ServiceAccount, "fixed"), Choice::Kept);
    assert_eq!(choice(Setting::IamRole, "x"), Choice::Refused);
    assert_eq!(guards.set(Setting::IamRole, Place::Platform), None);
}

#[test]
fn a_prefix_covers_itself_and_what_lies_below_it() {
    for (prefix, path, expected) in [
        ("s3://b/ml", "s3://b/ml", true),
        ("s3://b/ml", "s3://b/ml/", true),
        ("s3://b/ml", "s3://b/ml/x/y", true),
        ("s3://b/ml/", "s3://b/ml/x", true),
        ("s3://b/ml/", "s3://b/ml", true),
        ("s3://b", "s3://b/ml", true),
        ("s3://b/ml", "s3://b/ml2", false),
        ("s3://b/ml", "s3://b/m", false),
        ("s3://b", "s3://b2/x", false),
        ("s3://b/ml", "S3://b/ml", false),
        ("s3://b/ml", "gs://b/ml", false),
        ("s3://b/ml", "s3://b/ml/../other", false),
        ("s3://b/ml", "s3://b/ml/./x", false),
        ("s3://b/ml", "s3://b/ml/..", false),
        ("s3://b/ml", "s3://b/ml/%2e%2e/other", false),
        ("s3://b/ml", "s3://b/ml\\..\\other", false),
        ("s3://b/ml", "s3://b/ml/x?y", false),
        ("s3://b/ml", "s3://b/ml/x#y", false),
        ("s3://b/ml", "s3://b/ml/x\n", false),
        ("s3://b/ml", " s3://b/ml", false),
        ("group", "group/key", true),
        ("group/key", "group/key", true),
        ("group/key", "group/key2", false),
        ("group", "/group", false),
        ("/", "anything", false),
        ("", "/x", false),
    ] {
        assert_eq!(lies_below(prefix, path), expected, "{prefix} {path}");
    }
}

proptest! {
    #[test]
    fn what_lies_below_begins_with_the_prefix_and_never_leads_up(prefix in "[ab/.]{1,6}", path in "[ab/.%]{1,12}") {
        if lies_below(&prefix, &path) {
            prop_assert!(path.starts_with(prefix.trim_end_matches('/')));
            prop_assert!(!path.contains("..") || path.split('/').all(|part| part != ".."));
            prop_assert!(!path.contains('%'));
        }
        let inside = format!("{}/x", prefix.trim_end_matches('/'));
        let plain = !prefix.trim_end_matches('/').is_empty() && prefix.split('/').all(|part| part != "." && part != "..");
        prop_assert_eq!(lies_below(&prefix, &inside), plain);
    }
}

#[test]
fn what_is_guarded_and_set_is_told_as_it_is_written() {
    let mut guards = guards(
        &[("service_accounts", &["a", "${project}-b"]), ("secrets", &[])],
        &[(Setting::IamRole, "${domain}")],
    );
    let words = |guards: &Guards| guards.texts().into_iter().collect::<Vec<_>>();
    let listed = [
        "secrets []",
        "service_accounts [a, ${project}-b]",
        "set iam_role ${domain}",
    ];
    assert_eq!(words(&guards), listed);
    guards.impersonate = true;
    guards.download_prefixes = vec![template("s3://b/${project}")];
    let more = ["download_prefixes [s3://b/${project}]", "impersonate"];
    assert_eq!(words(&guards), [&more[..], &listed].concat());
    assert!(words(&Guards::default()).is_empty());
}
