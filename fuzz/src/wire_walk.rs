//! The wire walk: what it accepts means the same whatever the order of the fields, and however little it may read.

use crate::reference::walked;
use crate::routes::choose;
use flyte_authz_proxy::catalog::{Cardinality, Plan, Step};
use flyte_authz_proxy::extract::values::Values;
use flyte_authz_proxy::extract::{WalkLimits, protobuf};

/// The first byte chooses the route, the next how many fields may be read; the rest is the message.
pub fn check(input: &[u8]) {
    let Some((route, [most, message @ ..])) = choose(input) else {
        return;
    };
    let mut values = Values::default();
    let outcome = protobuf::walk(&route.plan, message, &WalkLimits::default(), &mut values);
    // Nothing is found more often than there are bytes in which it could be said.
    let most_found = (message.len() + 1) * route.plan.slots().len();
    assert!(values.occurrences.len() <= most_found, "{}", route.rpc);
    let mut few = Values::default();
    let limits = WalkLimits {
        max_fields: usize::from(*most),
    };
    let limited = protobuf::walk(&route.plan, message, &limits, &mut few);
    if outcome.is_err() {
        assert!(limited.is_err(), "{}: accepted, because less may be read", route.rpc);
        return;
    }
    if limited.is_ok() {
        assert_eq!(values, few, "{}", route.rpc);
    }
    let turned = reversed(&route.plan, Plan::START, message);
    let mut other = Values::default();
    protobuf::walk(&route.plan, &turned, &WalkLimits::default(), &mut other)
        .expect("the order of fields does not matter");
    assert_eq!(walked(&values), walked(&other), "{}", route.rpc);
}

/// The message with its fields in the reverse order, and so within every message that is looked into.
fn reversed(plan: &Plan, state: usize, message: &[u8]) -> Vec<u8> {
    let mut fields = Vec::new();
    let mut rest = message;
    while !rest.is_empty() {
        let start = rest;
        let tag = varint(&mut rest);
        let (number, wire_type) = (tag >> 3, tag & 7);
        let head = start.len() - rest.len();
        let length = match wire_type {
            0 => {
                let before = rest.len();
                varint(&mut rest);
                before - rest.len()
            }
            1 => 8,
            2 => usize::try_from(varint(&mut rest)).expect("it was read before"),
            5 => 4,
            other => panic!("wire type {other} was accepted"),
        };
        let content = if wire_type == 0 {
            &rest[..0]
        } else {
            take(&mut rest, length)
        };
        let whole = &start[..start.len() - rest.len()];
        let field = plan.states[state]
            .fields
            .iter()
            .find(|field| u64::from(field.number) == number);
        let deeper = field.and_then(|field| match field.step {
            Step::Descend(deeper) if field.cardinality != Cardinality::Map => Some(deeper),
            _ => None,
        });
        fields.push(match deeper {
            Some(deeper) => [&start[..head], &length_of(content), &reversed(plan, deeper, content)].concat(),
            None => whole.to_vec(),
        });
    }
    fields.reverse();
    fields.concat()
}

fn take<'a>(rest: &mut &'a [u8], length: usize) -> &'a [u8] {
    let (taken, tail) = rest.split_at(length);
    *rest = tail;
    taken
}

fn varint(rest: &mut &[u8]) -> u64 {
    let mut value = 0;
    for (index, byte) in rest.iter().enumerate() {
        value |= u64::from(byte & 0x7f) << (7 * index);
        if byte & 0x80 == 0 {
            *rest = &rest[index + 1..];
            return value;
        }
    }
    panic!("a varint without an end was accepted")
}

fn length_of(content: &[u8]) -> Vec<u8> {
    let mut length = Vec::new();
    prost::encoding::encode_varint(content.len() as u64, &mut length);
    length
}
