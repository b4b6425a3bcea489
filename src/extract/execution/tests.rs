//! Tests of reading stored executions.
#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;
use crate::extract::wire::put_bytes;
use proptest::prelude::*;

const ID: ExecutionId<'_> = ExecutionId {
    project: "ml",
    domain: "production",
    name: "f1",
    organization: "",
};

fn texts(fields: &[(u32, &str)]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, text) in fields {
        put_text(*number, text, &mut message);
    }
    message
}

fn parts(fields: &[(u32, &[u8])]) -> Vec<u8> {
    let mut message = Vec::new();
    for (number, bytes) in fields {
        put_bytes(*number, bytes, &mut message);
    }
    message
}

fn id() -> Vec<u8> {
    texts(&[(1, "ml"), (2, "production"), (4, "f1")])
}

/// An identifier: the kind as it is encoded, and the texts.
fn runs(kind: &[u8], fields: &[(u32, &str)]) -> Vec<u8> {
    [kind, &texts(fields)].concat()
}

fn execution(launch_plan: &[u8]) -> Vec<u8> {
    let spec = parts(&[(1, launch_plan), (2, b"inputs"), (3, b"metadata")]);
    parts(&[(1, &id()), (2, &spec), (3, b"closure")])
}

fn run(kind: ResourceKind, project: &str, domain: &str, name: &str) -> Run {
    Run {
        kind,
        project: project.into(),
        domain: domain.into(),
        name: name.into(),
    }
}

#[test]
fn an_execution_says_which_it_is_and_what_it_runs() {
    let place = [(2, "lib"), (3, "staging"), (4, "daily"), (5, "v1")];
    let table: &[(&[u8], ResourceKind)] = &[
        // No kind is UNSPECIFIED, which older clients send for launch plans.
        (&[], ResourceKind::LaunchPlan),
        (&[8, 0], ResourceKind::LaunchPlan),
        (&[8, 1], ResourceKind::Task),
        (&[8, 2], ResourceKind::LaunchPlan),
        (&[8, 3], ResourceKind::LaunchPlan),
        (&[8, 99], ResourceKind::LaunchPlan),
    ];
    for (kind, expected) in table {
        let message = execution(&runs(kind, &place));
        let found = read(&message).unwrap();
        assert_eq!(found.id, ID);
        assert_eq!(found.runs, run(*expected, "lib", "staging", "daily"), "{kind:?}");
    }
}

#[test]
fn what_does_not_say_where_it_lies_lies_where_the_execution_does() {
    let message = execution(&runs(&[8, 1], &[(4, "train")]));
    assert_eq!(
        read(&message).unwrap().runs,
        run(ResourceKind::Task, "ml", "production", "train")
    );
    // Half a place is not completed by guessing.
    let message = execution(&runs(&[8, 1], &[(2, "lib"), (4, "train")]));
    assert_eq!(
        read(&message).unwrap().runs,
        run(ResourceKind::Task, "lib", "", "train")
    );
}

#[test]
fn an_answer_with_no_reading_or_with_two_is_not_read() {
    let launch_plan = runs(&[8, 3], &[(2, "lib"), (3, "staging"), (4, "daily")]);
    let spec = parts(&[(1, &launch_plan)]);
    let whole = parts(&[(1, &id()), (2, &spec)]);
    assert!(read(&whole).is_some());
    let table: &[(&str, Vec<u8>)] = &[
        ("nothing", Vec::new()),
        ("no id", parts(&[(2, &spec)])),
        ("no spec", parts(&[(1, &id())])),
        ("no launch plan", parts(&[(1, &id()), (2, b"")])),
        ("no name", execution(&runs(&[8, 3], &[(2, "lib"), (3, "staging")]))),
        ("two ids", parts(&[(1, &id()), (1, &id()), (2, &spec)])),
        ("two specs", parts(&[(1, &id()), (2, &spec), (2, &spec)])),
        ("two launch plans", {
            parts(&[(1, &id()), (2, &parts(&[(1, &launch_plan), (1, &launch_plan)]))])
        }),
        ("two names", execution(&runs(&[], &[(4, "a"), (4, "a")]))),
        ("two kinds", execution(&runs(&[8, 3, 8, 1], &[(4, "a")]))),
        ("a kind of 64 bits", {
            execution(&runs(&[8, 0x81, 0x80, 0x80, 0x80, 0x80, 1], &[(4, "a")]))
        }),
        ("a kind that is a text", execution(&runs(&[], &[(1, "3"), (4, "a")]))),
        ("a name that is a number", execution(&[32, 7])),
        ("a name that is no text", execution(&parts(&[(4, b"\xff")]))),
        ("an id that is a number", [&[8, 1][..], &parts(&[(2, &spec)])].concat()),
        ("a group", [&whole[..], &[35, 36]].concat()),
    ];
    for (what, message) in table {
        assert_eq!(read(message), None, "{what}");
    }
    for cut in 1..whole.len() {
        assert_eq!(read(whole.get(..cut).unwrap()), None, "cut at {cut}");
    }
}

#[test]
fn the_question_names_the_execution_and_nothing_else() {
    let asked = ExecutionId {
        organization: "acme",
        ..ID
    };
    let request = asked.request();
    let [message] = singles(&request, [1]).unwrap();
    let message = bytes(message.unwrap()).unwrap();
    assert_eq!(identifier(message), Some(asked));
    assert_eq!(request, parts(&[(1, message)]));
    // What is empty is not sent.
    assert_eq!(ID.request(), parts(&[(1, &id())]));
}

#[test]
fn another_execution_is_not_the_same() {
    let with = |project, domain, name, organization| ExecutionId {
        project,
        domain,
        name,
        organization,
    };
    let same = |other: ExecutionId<'_>| ID.is_same(&other) && other.is_same(&ID);
    assert!(same(ID));
    assert!(same(with("ml", "production", "f1", "acme")));
    assert!(!same(with("Ml", "production", "f1", "")));
    assert!(!same(with("ml", "staging", "f1", "")));
    assert!(!same(with("ml", "production", "F1", "")));
    assert!(!same(with("ml", "production", "f1 ", "")));
    let acme = with("ml", "production", "f1", "acme");
    assert!(!acme.is_same(&with("ml", "production", "f1", "other")));
}

proptest! {
    #[test]
    fn no_answer_makes_the_reader_fail(message in proptest::collection::vec(any::<u8>(), 0..200)) {
        // It has no panic to find; what it reads is a name.
        if let Some(found) = read(&message) {
            prop_assert!(!found.runs.name.is_empty());
        }
    }
}
