//! Claims, as issuers write them and as attackers would.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use serde_json::json;

fn map(mapping: &ClaimMapping, claims: Value) -> Result<Principal, Denial> {
    let Value::Object(claims) = claims else {
        return Err(Reason::Internal.into());
    };
    mapping.principal(&Arc::from("https://idp"), &Arc::new(claims), None)
}

fn groups_of(mapping: &ClaimMapping, groups: &Value) -> Result<Vec<String>, Reason> {
    let principal = map(mapping, json!({"sub": "s", "groups": groups})).map_err(|denial| denial.reason)?;
    Ok(principal.groups.iter().map(ToString::to_string).collect())
}

#[test]
fn the_default_mapping_reads_the_usual_claims() {
    let claims = json!({"sub": "s", "email": "a@b.c", "groups": ["g"], "azp": "app", "email_verified": true});
    let principal = map(&ClaimMapping::default(), claims).unwrap();
    assert_eq!(&*principal.subject, "s");
    assert_eq!(principal.email.as_deref(), Some("a@b.c"));
    assert_eq!(principal.client_id.as_deref(), Some("app"));
    assert_eq!(principal.groups, [Arc::from("g")]);
    assert_eq!(principal.claims["azp"], "app");
}

#[test]
fn t_jwt_09_groups_are_taken_as_spelled_and_only_strings_are_split() {
    let mapping = ClaimMapping::default();
    let whole = ClaimMapping {
        split_groups: false,
        ..ClaimMapping::default()
    };
    for (groups, expected) in [
        (json!(["a", "b c", "d,e", "A"]), vec!["a", "b c", "d,e", "A"]),
        (json!("a b,c, d"), vec!["a", "b", "c", "d"]),
        (json!(""), vec![]),
        (json!(["", "a", ""]), vec!["a"]),
        (json!([]), vec![]),
        (json!(null), vec![]),
        // Look-alikes are other names: Cyrillic a, full-width a, decomposed e with acute.
        (
            json!(["\u{430}", "\u{FF41}", "e\u{301}"]),
            vec!["\u{430}", "\u{FF41}", "e\u{301}"],
        ),
    ] {
        assert_eq!(groups_of(&mapping, &groups).unwrap(), expected, "{groups}");
    }
    assert_eq!(groups_of(&whole, &json!("a b,c")).unwrap(), ["a b,c"]);
}

#[test]
fn t_jwt_09_groups_of_any_other_form_are_invalid() {
    let mapping = ClaimMapping::default();
    for groups in [
        json!(1),
        json!(true),
        json!({"a": true}),
        json!(["a", 1]),
        json!(["a", ["b"]]),
        json!(["a", null]),
        json!([{"name": "a"}]),
        json!(["a\u{202E}b"]),
        json!(["a\nb"]),
        json!("a\u{200B}b"),
        json!(["a\u{0}"]),
        json!(vec!["g"; MAX_GROUPS + 1]),
    ] {
        assert_eq!(groups_of(&mapping, &groups), Err(Reason::ClaimInvalid), "{groups}");
    }
    assert_eq!(
        groups_of(&mapping, &json!(vec!["g"; MAX_GROUPS])).unwrap().len(),
        MAX_GROUPS
    );
}

#[test]
fn t_jwt_09_groups_that_the_issuer_keeps_elsewhere_are_refused_with_advice() {
    let nested = ClaimMapping {
        groups: ClaimPath::dotted("info.teams"),
        ..ClaimMapping::default()
    };
    let none = ClaimMapping {
        groups: None,
        ..ClaimMapping::default()
    };
    for (mapping, claims) in [
        (
            &ClaimMapping::default(),
            json!({"sub": "s", "_claim_names": {"groups": "src1"}, "_claim_sources": {"src1": {"endpoint": "https://x"}}}),
        ),
        (&ClaimMapping::default(), json!({"sub": "s", "hasgroups": true})),
        (
            &ClaimMapping::default(),
            json!({"sub": "s", "hasgroups": "true", "groups": ["one"]}),
        ),
        (
            &ClaimMapping::default(),
            json!({"sub": "s", "_claim_names": "{\"groups\":\"src1\"}"}),
        ),
        // A rule can name the claim `groups` itself, whatever the mapping says.
        (
            &nested,
            json!({"sub": "s", "hasgroups": true, "info": {"teams": ["one"]}}),
        ),
        (&none, json!({"sub": "s", "_claim_names": {"groups": "src1"}})),
        // The marks are where the groups would be.
        (
            &nested,
            json!({"sub": "s", "info": {"_claim_names": {"teams": "src1"}}}),
        ),
        (
            &nested,
            json!({"sub": "s", "info": {"_claim_names": {"groups": "src1"}}}),
        ),
        (&nested, json!({"sub": "s", "info": {"hasgroups": true}})),
        // The whole object around them is elsewhere.
        (&nested, json!({"sub": "s", "_claim_names": {"info": "src1"}})),
    ] {
        let denial = map(mapping, claims.clone()).unwrap_err();
        assert_eq!(denial.reason, Reason::GroupsOverage, "{claims}");
        assert!(denial.message.contains("too many"), "{}", denial.message);
    }
    for claims in [
        json!({"sub": "s", "_claim_names": {"address": "src1"}}),
        json!({"sub": "s", "_claim_names": null, "hasgroups": false}),
    ] {
        assert!(map(&ClaimMapping::default(), claims.clone()).is_ok(), "{claims}");
    }
}

#[test]
fn an_email_inside_an_object_counts_only_if_no_flag_beside_it_or_at_the_top_says_otherwise() {
    let mapping = ClaimMapping {
        email: ClaimPath::dotted("user_info.email"),
        ..ClaimMapping::default()
    };
    let email = |beside: Value, top: Value| {
        let user_info = json!({"email": "a@b", "email_verified": beside});
        map(
            &mapping,
            json!({"sub": "s", "user_info": user_info, "email_verified": top}),
        )
        .map(|principal| principal.email.is_some())
        .map_err(|denial| denial.reason)
    };
    assert_eq!(email(Value::Null, Value::Null), Ok(true));
    assert_eq!(email(json!(true), Value::Null), Ok(true));
    assert_eq!(email(json!(false), json!(true)), Ok(false));
    assert_eq!(email(json!(true), json!(false)), Ok(false));
    assert_eq!(email(json!(1), Value::Null), Err(Reason::ClaimInvalid));
}

#[test]
fn t_jwt_10_an_email_counts_only_if_it_is_one_verified_address() {
    let email = |claims: Value| {
        map(&ClaimMapping::default(), claims)
            .map(|principal| principal.email.as_deref().map(str::to_owned))
            .map_err(|denial| denial.reason)
    };
    assert_eq!(email(json!({"sub": "s", "email": "a@b"})), Ok(Some("a@b".to_owned())));
    assert_eq!(
        email(json!({"sub": "s", "email": "a@b", "email_verified": "true"})),
        Ok(Some("a@b".to_owned()))
    );
    for absent in [
        json!({"sub": "s"}),
        json!({"sub": "s", "email": null}),
        json!({"sub": "s", "email": "service-account"}),
        json!({"sub": "s", "email": "a@b", "email_verified": false}),
        json!({"sub": "s", "email": "a@b", "email_verified": "false"}),
    ] {
        assert_eq!(email(absent.clone()), Ok(None), "{absent}");
    }
    for invalid in [
        json!({"sub": "s", "email": "a@evil@good"}),
        json!({"sub": "s", "email": "a@evil@good", "email_verified": false}),
        json!({"sub": "s", "email": "@b"}),
        json!({"sub": "s", "email": "a@"}),
        json!({"sub": "s", "email": "a@b c@d"}),
        json!({"sub": "s", "email": "a\u{200B}@b"}),
        json!({"sub": "s", "email": ["a@b"]}),
        json!({"sub": "s", "email": "a@b", "email_verified": 1}),
        json!({"sub": "s", "email": "a@b", "email_verified": "no"}),
        json!({"sub": "s", "email": "a@b", "email_verified": "True"}),
    ] {
        assert_eq!(email(invalid.clone()), Err(Reason::ClaimInvalid), "{invalid}");
    }
}

#[test]
fn the_subject_must_be_a_plain_non_empty_string() {
    let reason = |claims: Value| map(&ClaimMapping::default(), claims).unwrap_err().reason;
    assert_eq!(reason(json!({})), Reason::ClaimMissing);
    assert_eq!(reason(json!({"sub": null})), Reason::ClaimMissing);
    for subject in [
        json!(""),
        json!(1),
        json!(["s"]),
        json!({}),
        json!("a\u{202E}"),
        json!("a\tb"),
    ] {
        assert_eq!(reason(json!({"sub": subject})), Reason::ClaimInvalid, "{subject}");
    }
}

#[test]
fn the_client_is_the_first_that_is_named_and_a_wrong_type_is_never_absent() {
    let client = |claims: Value| map(&ClaimMapping::default(), claims).map(|found| found.client_id);
    assert_eq!(
        client(json!({"sub": "s", "client_id": "", "cid": "c"}))
            .unwrap()
            .as_deref(),
        Some("c")
    );
    assert_eq!(
        client(json!({"sub": "s", "client_id": "a", "azp": "b"}))
            .unwrap()
            .as_deref(),
        Some("a")
    );
    assert_eq!(client(json!({"sub": "s"})).unwrap(), None);
    assert_eq!(
        client(json!({"sub": "s", "client_id": 1, "azp": "b"}))
            .unwrap_err()
            .reason,
        Reason::ClaimInvalid
    );
}

#[test]
fn paths_lead_through_objects_only() {
    let roles = ClaimPath::dotted("realm_access.roles").unwrap();
    let mapping = ClaimMapping {
        groups: Some(roles),
        ..ClaimMapping::default()
    };
    let nested = json!({"sub": "s", "realm_access": {"roles": ["r"]}, "groups": ["not-mapped"]});
    assert_eq!(map(&mapping, nested).unwrap().groups, [Arc::from("r")]);
    assert!(
        map(&mapping, json!({"sub": "s", "realm_access.roles": ["r"]}))
            .unwrap()
            .groups
            .is_empty()
    );
    let through_list = json!({"sub": "s", "realm_access": [{"roles": ["r"]}]});
    assert_eq!(map(&mapping, through_list).unwrap_err().reason, Reason::ClaimInvalid);

    let url = ClaimPath::from_names(vec!["https://example.com/groups".to_owned()]).unwrap();
    let mapping = ClaimMapping {
        groups: Some(url),
        ..ClaimMapping::default()
    };
    let claims = json!({"sub": "s", "https://example.com/groups": ["g"]});
    assert_eq!(map(&mapping, claims).unwrap().groups, [Arc::from("g")]);

    assert_eq!(ClaimPath::dotted("a..b"), None);
    assert_eq!(ClaimPath::dotted(""), None);
    assert_eq!(ClaimPath::from_names(vec![]), None);
}

#[test]
fn callers_are_the_same_only_by_issuer_and_subject() {
    let one = map(&ClaimMapping::default(), json!({"sub": "s", "groups": ["a"]})).unwrap();
    let same = map(&ClaimMapping::default(), json!({"sub": "s"})).unwrap();
    let other = map(&ClaimMapping::default(), json!({"sub": "S"})).unwrap();
    let elsewhere = Principal {
        issuer: Arc::from("https://other"),
        ..same.clone()
    };
    assert!(crate::credential::same_principal(&one, &same));
    assert!(!crate::credential::same_principal(&one, &other));
    assert!(!crate::credential::same_principal(&one, &elsewhere));
}
