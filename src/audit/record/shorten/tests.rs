//! The longest records that there can be.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::audit::record::WouldRefuseRecord;
use crate::clock::SystemClock;
use crate::model::action::ActionSet;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::scope::ResourceKind::LaunchPlan;
use crate::model::scope::{Resource, Run, Scope, StoredExecution, Target, TargetRole};
use crate::model::setting::Setting;
use crate::policy::reads::Reads;
use crate::protocol::Protocol;
use crate::protocol::request_id::RequestId;
use serde_json::{Value, json};
use std::sync::Arc;

fn record() -> Record {
    let peer = "192.0.2.7:1".parse().unwrap();
    Record::begin(
        &SystemClock,
        Protocol::Grpc,
        RequestId::new(0, 0),
        "public".into(),
        peer,
    )
}

fn written(record: &Record) -> (usize, Value) {
    let line = record.line().unwrap();
    assert!(line.ends_with(b"\n"));
    (line.len(), serde_json::from_slice(&line).unwrap())
}

fn asked(value: &str, field: &str) -> Asked {
    Asked {
        setting: Setting::ServiceAccount,
        value: value.into(),
        field: field.into(),
    }
}

/// Something that names as much as a target can.
fn target(text: &str, resource: Resource) -> Target {
    Target {
        scope: Scope::ProjectDomain {
            project: text.into(),
            domain: text.into(),
        },
        needs: ActionSet::VIEWS,
        resource: Some(resource),
        field: text.into(),
        role: TargetRole::Refers,
    }
}

fn run_by(text: &str) -> Resource {
    Resource::RunBy(Box::new(StoredExecution {
        name: text.into(),
        organization: Box::default(),
        again: true,
        runs: Some(Run {
            kind: LaunchPlan,
            project: text.into(),
            domain: text.into(),
            name: text.into(),
        }),
    }))
}

#[test]
fn a_text_is_cut_between_characters_by_what_it_is_written_in() {
    for text in [
        "",
        "x",
        &"x".repeat(512),
        &"é".repeat(256),
        &"\"".repeat(256),
        &"\u{1}".repeat(85),
    ] {
        assert_eq!(within(text, MAX_TEXT), text);
    }
    for (character, kept) in [
        ("x", 448),
        ("é", 448),
        ("€", 447),
        ("\"", 224),
        ("\\", 224),
        ("\n", 224),
        ("\u{1}", 74),
    ] {
        let text = character.repeat(100_000);
        let short = within(&text, MAX_TEXT);
        let beginning = character.repeat(kept / character.len());
        let said = format!("… (the first {} of {} bytes)", beginning.len(), text.len());
        assert_eq!(*short, format!("{beginning}{said}"), "{character:?}");
        let json = serde_json::to_string(&*short).unwrap();
        assert!(json.len() <= MAX_TEXT + 2, "{character:?}: {}", json.len());
        let measured = within(&short, MAX_TEXT);
        assert!(matches!(measured, Cow::Borrowed(_)), "what is short stays as it is");
    }
    // Every character, since what JSON escapes is counted here by itself.
    for character in (0..0x300).filter_map(char::from_u32) {
        let text = character.to_string().repeat(4096);
        let json = serde_json::to_string(&*within(&text, MAX_MESSAGE)).unwrap();
        assert!(
            (MAX_MESSAGE - MARK - 8..=MAX_MESSAGE + 2).contains(&json.len()),
            "{character:?}: {}",
            json.len()
        );
    }
}

#[test]
fn an_ordinary_record_is_written_as_it_is() {
    let mut record = record();
    let target = target("core.hello_world", run_by("f0123456789abcdef012"));
    record.targets = vec![TargetRecord::of(&target); MAX_TARGETS];
    record.ask(&vec![
        asked("runner", "spec.security_context.run_as.k8s_service_account");
        MAX_TARGETS
    ]);
    record.message = Some("no rule allows it".to_owned());
    record.rules = vec!["team".into()];
    record.shorten();
    let (_, json) = written(&record);
    assert_eq!(json, serde_json::to_value(&record).unwrap());
    assert_eq!(json.get("shortened"), None);
}

#[test]
fn the_longest_record_stays_below_64_kib_and_says_what_it_lacks() {
    let long = "\u{1}".repeat(1 << 20);
    let arc = || Arc::<str>::from(&*long);
    let principal = Principal {
        kind: PrincipalKind::Token,
        issuer: arc(),
        subject: arc(),
        email: Some(arc()),
        client_id: Some(arc()),
        groups: vec!["x".repeat(8000).into()],
        ..Principal::anonymous()
    };
    let mut record = record();
    let mut caller = PrincipalRecord::of(&principal);
    caller.add_claims(&principal, &Reads::default());
    assert!(!caller.claims_omitted);
    record.principal = Some(caller);
    let targets = [target(&long, run_by(&long)), target(&long, Resource::Object(arc()))];
    record.targets = targets.iter().cycle().take(MAX_TARGETS).map(TargetRecord::of).collect();
    record.targets_omitted = 5;
    record.ask(&vec![asked(&long, &long); MAX_TARGETS]);
    record.set = Setting::ALL
        .iter()
        .take(5)
        .map(|setting| (setting.label(), long.as_str().into()))
        .collect();
    record.message = Some(long.clone());
    record.would_refuse = Some(WouldRefuseRecord {
        reason: "no_matching_rule",
        message: long.clone(),
    });
    record.rules = vec!["a rule".into(); 20_000];
    record.candidate = Some(CandidateRecord {
        decision: "allow",
        direction: "gained",
        reason: None,
        rules: vec!["a rule".into(); 20_000],
        version: "v".into(),
    });
    record.shorten();
    let (bytes, json) = written(&record);
    assert!(bytes <= MAX_LINE, "{bytes} bytes");
    assert!(bytes > 32 << 10, "{bytes} bytes: more could be kept");
    let fields = [
        "asks_for",
        "candidate",
        "message",
        "principal",
        "rules",
        "set",
        "targets",
        "would_refuse",
    ];
    assert_eq!(json["shortened"], json!(fields));
    let kept = json["targets"].as_array().unwrap().len();
    assert!(kept > 0);
    assert_eq!(json["targets_omitted"], 5 + MAX_TARGETS - kept);
    for list in [&json["asks_for"], &json["rules"], &json["candidate"]["rules"]] {
        assert!(!list.as_array().unwrap().is_empty());
    }
    for text in [
        &json["principal"]["subject"],
        &json["targets"][1]["name"],
        &json["asks_for"][0]["value"],
    ] {
        assert!(text.as_str().unwrap().ends_with("of 1048576 bytes)"), "{text}");
    }
}

#[test]
fn claims_count_as_they_are_written() {
    let omitted = |group: &str, count: usize| {
        let principal = Principal {
            groups: vec![group.into(); count],
            ..Principal::anonymous()
        };
        let mut record = PrincipalRecord::of(&principal);
        record.add_claims(&principal, &Reads::default());
        record.claims_omitted
    };
    assert!(!omitted("ml", 1000));
    assert!(omitted("", 4000), "quotation marks and commas");
    assert!(omitted(&"\u{1}".repeat(2000), 1), "escapes");
}

#[test]
fn settings_beyond_the_first_hundred_are_said_to_be_missing() {
    for (count, is_short) in [(MAX_TARGETS, true), (MAX_TARGETS + 1, false)] {
        let mut record = record();
        record.ask(&vec![asked("v", "f"); count]);
        assert_eq!(record.asks_for.len(), MAX_TARGETS);
        assert_eq!(record.shortened.is_empty(), is_short);
    }
}
