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
    let mut choices = input.iter();
    let mut message = Vec::new();
    while choices.len() > 0 {
        message.extend(fields(plan, Plan::START, &mut choices, 0));
    }
    message
}

fn fields(plan: &Plan, state: usize, choices: &mut Iter<'_, u8>, depth: usize) -> Vec<u8> {
    let mut message = Vec::new();
    let known = &plan.states[state].fields;
    for _ in 0..=next(choices) % 6 {
        let choice = usize::from(next(choices));
        if known.is_empty() || choices.len() == 0 || depth > MAX_DEPTH {
            break;
        }
        // The numbers past the last field are of fields that nobody knows.
        match known.get(choice % (known.len() + known.len() / 16 + 1)) {
            Some(field) => put(plan, field, choices, depth, &mut message),
            None => put_bytes(200 + u32::from(next(choices)), text(choices).as_bytes(), &mut message),
        }
    }
    message
}

fn put(plan: &Plan, field: &Field, choices: &mut Iter<'_, u8>, depth: usize, message: &mut Vec<u8>) {
    let number = field.number;
    match (&field.step, &field.kind) {
        (Step::Descend(state), _) => {
            let inner = fields(plan, *state, choices, depth + 1);
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
