//! The wire walk against a full decode: whatever the walk accepts, the decode reads as the same judged values, and the same call
//! is judged when the decoded message is encoded anew.

use crate::assembled;
use crate::reference::{decoded, walked};
use crate::routes::{choose, message};
use flyte_authz_proxy::catalog::{Cardinality, Plan, Route, Step};
use flyte_authz_proxy::extract::WalkLimits;
use flyte_authz_proxy::extract::targets::{Extracted, Input, Payload, RestInput, ScopeRules, read, targets};
use prost::Message as _;
use prost_reflect::DynamicMessage;
use std::sync::LazyLock;

/// The first byte chooses the route; of the next, an even one says that the rest is the message, an odd one that it is put
/// together from the rest.
pub fn check(input: &[u8]) {
    let Some((route, [mode, rest @ ..])) = choose(input) else {
        return;
    };
    let bytes = if mode % 2 == 0 {
        rest.to_vec()
    } else {
        assembled::message(&route.plan, rest)
    };
    // What the decoder refuses, the control plane refuses or reads as unknown outside of what is judged.
    if let Ok(full) = DynamicMessage::decode(message(&route.request), &*bytes) {
        agrees(route, Payload::Protobuf(&bytes), None, &full);
    }
}

/// Checks that what is read from a request, if it is accepted, is what the message holds that the control plane gets.
pub(crate) fn agrees(route: &Route, payload: Payload<'_>, rest: Option<RestInput<'_>>, full: &DynamicMessage) {
    let input = Input { payload, rest };
    let limits = WalkLimits::default();
    let Ok(values) = read(route, &input, &limits) else {
        return;
    };
    // Of more settings than a request may ask for not all are collected; it is refused.
    if values.noted > 10_000 {
        return;
    }
    let (found, mut expected) = (walked(&values), decoded(&route.plan, full));
    if has_map(&route.plan) {
        // Of two entries with one key a decoder keeps the last; all are judged.
        expected.retain(|one| !found.contains(one));
        assert!(expected.is_empty(), "{}: {expected:?} was not found", route.rpc);
        return;
    }
    assert_eq!(found, expected, "{}: {full}", route.rpc);
    let Ok(one) = targets(route, &input, &RULES, &limits) else {
        return;
    };
    let encoded = full.encode_to_vec();
    let plain = Input {
        payload: Payload::Protobuf(&encoded),
        rest: None,
    };
    let other = targets(route, &plain, &RULES, &limits).expect("what was accepted is accepted when it is encoded anew");
    assert_eq!(sorted(one), sorted(other), "{}: {full}", route.rpc);
}

static RULES: LazyLock<ScopeRules> = LazyLock::new(|| ScopeRules {
    domains: ["development", "staging", "production"].map(Into::into).into(),
    organizations: vec!["acme".into()],
});

/// What has to be permitted, in an order that does not depend on that of the fields.
fn sorted(extracted: Extracted) -> (String, Vec<String>, Vec<String>) {
    let mut targets: Vec<String> = extracted.targets.iter().map(|target| format!("{target:?}")).collect();
    let mut asked: Vec<String> = extracted.asked.iter().map(|asked| format!("{asked:?}")).collect();
    targets.sort();
    asked.sort();
    (format!("{:?} {:?}", extracted.action, extracted.chosen), targets, asked)
}

fn has_map(plan: &Plan) -> bool {
    let mut fields = plan.states.iter().flat_map(|state| &state.fields);
    fields.any(|field| match field.step {
        Step::Descend(_) => field.cardinality == Cardinality::Map,
        Step::Search(_) => true,
        Step::Skip | Step::Keep(_) => false,
    })
}
