//! References that name something, and those that name nothing.

use super::{OWN_SCOPE, call, judge_by, place, reason, refers};
use crate::catalog::{Part, Plan, ResourceSource, SlotRole};
use crate::extract::example;
use crate::model::action::Action;
use crate::model::reason::Reason;
use crate::model::scope::{Scope, Target};

/// A launch plan with an input that is read from an artifact.
fn launch_plan(artifact_key: &str) -> String {
    with_input(&format!(r#""artifactId": {{"artifactKey": {artifact_key}}}"#))
}

/// A launch plan with an input that is given like this.
fn with_input(given: &str) -> String {
    let id = |kind: &str| {
        format!(
            r#"{{"resourceType": "{kind}", "project": "ml", "domain": "development", "name": "n", "version": "1"}}"#
        )
    };
    format!(
        r#"{{"id": {}, "spec": {{"workflowId": {},
            "defaultInputs": {{"parameters": {{"x": {{{given}}}, "y": {{{given}}}}}}}}}}}"#,
        id("LAUNCH_PLAN"),
        id("WORKFLOW")
    )
}

#[test]
fn a_reference_that_need_not_be_there_names_nothing_without_project_and_domain() {
    let judged = |key: &str| -> Vec<Target> { call("CreateLaunchPlan", &launch_plan(key)).unwrap().targets };
    let without = judged("null");
    for nothing in ["{}", r#"{"name": "a"}"#, r#"{"project": "", "domain": ""}"#] {
        assert_eq!(judged(nothing), without, "{nothing}");
    }
    let field = "spec.default_inputs.parameters{}.artifact_id.artifact_key";
    let abroad = refers(place("shared", "production"), Action::ViewData, None, field);
    assert_eq!(
        judged(r#"{"project": "shared", "domain": "production", "name": "a"}"#)[without.len()..],
        [abroad]
    );
    for partial in [r#"{"project": "shared"}"#, r#"{"domain": "production"}"#] {
        assert_eq!(
            reason("CreateLaunchPlan", &launch_plan(partial)),
            Reason::ScopeMissing,
            "{partial}"
        );
    }
}

#[test]
fn an_artifact_by_its_uri_can_be_of_any_project() {
    let judged = |given: &str| -> Vec<Target> { call("CreateLaunchPlan", &with_input(given)).unwrap().targets };
    let without = judged("");
    for nothing in [
        r#""artifactQuery": {}"#,
        r#""artifactQuery": {"uri": ""}"#,
        r#""required": true"#,
    ] {
        assert_eq!(judged(nothing), without, "{nothing}");
    }
    let field = "spec.default_inputs.parameters{}.artifact_query.uri";
    let anywhere = refers(Scope::Global, Action::AdministerPlatform, None, field);
    for uri in [
        "flyte://av0.1/ml/development/a@1",
        "flyte://av0.1/fraud/development/a",
        " ",
        "x",
    ] {
        let targets = judged(&format!(r#""artifactQuery": {{"uri": "{uri}"}}"#));
        assert_eq!(targets[without.len()..], *std::slice::from_ref(&anywhere), "{uri}");
    }
}

#[test]
fn a_reference_that_must_be_there_or_be_filled_in_names_something() {
    let judged = |required: bool, filled: &[Part]| {
        let plan = example::plan();
        let mut slots = plan.slots().to_vec();
        slots[example::OWN].role = OWN_SCOPE;
        let slot = &mut slots[example::REFERENCE];
        slot.required = required;
        slot.filled = filled.into();
        slot.role = SlotRole::Reference {
            label: "thing".into(),
            foreign: vec![Action::UseInventory],
            foreign_task: Vec::new(),
            always: Vec::new(),
            resource: ResourceSource::None,
        };
        let named = example::bytes(5, example::bytes(4, "n"));
        let message = [example::bytes(1, "ml"), example::bytes(2, "dev"), named].concat();
        judge_by(Plan::new(plan.states, slots), &message)
    };
    assert_eq!(judged(false, &[]).unwrap().targets.len(), 1);
    for (required, filled) in [(true, &[][..]), (false, &[Part::Name]), (true, &[Part::Name])] {
        let denial = judged(required, filled).unwrap_err();
        assert_eq!(denial.reason, Reason::ScopeMissing, "{required} {filled:?}");
    }
}
