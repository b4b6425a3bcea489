//! Messages put together from an input: most of what libFuzzer changes in encoded bytes breaks them, and here it does not.

use flyte_authz_proxy::catalog::{Cardinality, Field, Plan, ScalarKind, Step};
use prost::encoding::encode_varint;
use std::slice::Iter;

const TEXTS: [&str; 16] = [
    "",
    "ml",
    "development",
    "production",
    "fraud",
    "a.b.c",
    "p\u{e4}per",
    "team",
    "serviceAccountName",
    "iam.amazonaws.com/role",
    "flyte.secrets/s0",
    "secretKeyRef",
    "name",
    "flyte://v1/ml/development/e/n/i",
    "s3://bucket/key",
    "0",
];

const MAX_DEPTH: usize = 24;

/// A message of the type that the plan begins with; wrong in places, where the input says so.
pub fn message(plan: &Plan, input: &[u8]) -> Vec<u8> {
    fields(plan, Plan::START, 24, &mut input.iter(), 0)
}

fn fields(plan: &Plan, state: usize, most: usize, choices: &mut Iter<'_, u8>, depth: usize) -> Vec<u8> {
    let mut message = Vec::new();
    let known = &plan.states[state].fields;
    let mut used: Vec<&Field> = Vec::new();
    for _ in 0..most {
        let choice = next(choices);
        if known.is_empty() || choices.len() == 0 || depth > MAX_DEPTH {
            break;
        }
        if choice == 0xff {
            put_bytes(200, text(choices).as_bytes(), &mut message);
            continue;
        }
        let field = &known[usize::from(choice) % known.len()];
        let excludes = |other: &&Field| {
            let same = other.number == field.number && field.cardinality == Cardinality::Single;
            same || other.number != field.number && other.oneof.is_some() && other.oneof == field.oneof
        };
        // A second value is mostly refused, whatever else the message has.
        if used.iter().any(excludes) && next(choices) % 32 != 1 {
            continue;
        }
        used.push(field);
        put(plan, field, choices, depth, &mut message);
    }
    message
}

fn put(plan: &Plan, field: &Field, choices: &mut Iter<'_, u8>, depth: usize, message: &mut Vec<u8>) {
    let number = field.number;
    match (&field.step, &field.kind) {
        (Step::Descend(state), _) => {
            let most = usize::from(next(choices) % 6) + 1;
            let inner = fields(plan, *state, most, choices, depth + 1);
            put_bytes(number, &entry(field, text(choices), inner), message);
        }
        (Step::Search(_), _) => {
            let value = text(choices).as_bytes().to_vec();
            let content = if field.cardinality == Cardinality::Map {
                entry(field, text(choices), value)
            } else {
                object(text(choices), value)
            };
            put_bytes(number, &content, message);
        }
        (_, ScalarKind::String | ScalarKind::Bytes) => put_bytes(number, text(choices).as_bytes(), message),
        (_, ScalarKind::Message) => put_bytes(number, &[], message),
        (_, ScalarKind::Bool | ScalarKind::Varint | ScalarKind::Enum(_)) => {
            encode_varint(u64::from(number) << 3, message);
            encode_varint(u64::from(next(choices) % 8), message);
        }
        (_, ScalarKind::Fixed32) => {
            encode_varint(u64::from(number) << 3 | 5, message);
            message.extend([next(choices); 4]);
        }
        (_, ScalarKind::Fixed64) => {
            encode_varint(u64::from(number) << 3 | 1, message);
            message.extend([next(choices); 8]);
        }
    }
}

/// The content of a field: of a map, an entry with a key.
fn entry(field: &Field, key: &str, value: Vec<u8>) -> Vec<u8> {
    if field.cardinality != Cardinality::Map {
        return value;
    }
    let mut entry = Vec::new();
    put_bytes(1, key.as_bytes(), &mut entry);
    put_bytes(2, &value, &mut entry);
    entry
}

/// A `google.protobuf.Struct` with one text.
fn object(key: &str, text: Vec<u8>) -> Vec<u8> {
    let (mut value, mut member, mut object) = (Vec::new(), Vec::new(), Vec::new());
    put_bytes(3, &text, &mut value);
    put_bytes(1, key.as_bytes(), &mut member);
    put_bytes(2, &value, &mut member);
    put_bytes(1, &member, &mut object);
    object
}

fn put_bytes(number: u32, content: &[u8], message: &mut Vec<u8>) {
    encode_varint(u64::from(number) << 3 | 2, message);
    encode_varint(content.len() as u64, message);
    message.extend_from_slice(content);
}

fn text(choices: &mut Iter<'_, u8>) -> &'static str {
    TEXTS[usize::from(next(choices)) % TEXTS.len()]
}

fn next(choices: &mut Iter<'_, u8>) -> u8 {
    choices.next().copied().unwrap_or_default()
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::reference::walked;
    use crate::routes::planned;
    use flyte_authz_proxy::extract::values::Values;
    use flyte_authz_proxy::extract::{WalkLimits, protobuf};

    #[test]
    fn many_messages_are_accepted_and_hold_what_is_judged() {
        let (mut accepted, mut found, mut all) = (0, 0, 0);
        for (index, route) in planned().iter().enumerate() {
            for seed in 0..40_usize {
                let choices: Vec<u8> = (0..40_usize)
                    .map(|place| (((index + 7) * (seed + 3) * (place + 11) * 0x9e37) >> 7) as u8)
                    .collect();
                let message = message(&route.plan, &choices);
                let mut values = Values::default();
                all += 1;
                if protobuf::walk(&route.plan, &message, &WalkLimits::default(), &mut values).is_ok() {
                    accepted += 1;
                    found += usize::from(walked(&values).iter().any(|(_, parts)| !parts.is_empty()));
                }
            }
        }
        assert!(
            accepted * 4 > all && found * 8 > all,
            "of {all} {accepted} are accepted, and {found} hold something"
        );
    }
}
