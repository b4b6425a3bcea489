//! What a plan should find, by a full decode: evaluates the paths of slots on a decoded message, without the plan's
//! states.

use flyte_authz_proxy::catalog::{Part, Plan, Slot};
use flyte_authz_proxy::extract::values::Values;
use prost_reflect::{DynamicMessage, MessageDescriptor, ReflectMessage, Value};

/// A slot with the values of its parts, those that are set and not the default.
pub(crate) type Found = (usize, Vec<(Part, String)>);

const PARTS: [Part; Part::COUNT] = [
    Part::Project,
    Part::Domain,
    Part::Name,
    Part::Org,
    Part::Kind,
    Part::Value,
];

/// What the walkers found, in a form that can be compared.
pub(crate) fn walked(values: &Values<'_>) -> Vec<Found> {
    let found = values.occurrences.iter().map(|occurrence| {
        let parts = PARTS.iter().map(|part| (*part, occurrence.part(*part).to_owned()));
        (occurrence.slot, parts.filter(is_set).collect())
    });
    sorted(found.collect())
}

/// What a decoded message holds.
pub(crate) fn decoded(plan: &Plan, message: &DynamicMessage) -> Vec<Found> {
    let mut found = Vec::new();
    for (index, slot) in plan.slots.iter().enumerate() {
        for place in places(vec![message.clone()], &slot.at) {
            let parts = slot
                .parts
                .iter()
                .map(|(path, part)| (*part, part_of(slot, path, &place)));
            found.push((index, parts.filter(is_set).collect()));
        }
    }
    sorted(found)
}

fn is_set((part, value): &(Part, String)) -> bool {
    !value.is_empty() && (*part != Part::Kind || value != "0")
}

fn sorted(mut found: Vec<Found>) -> Vec<Found> {
    for (_, parts) in &mut found {
        parts.sort_by_key(|(part, _)| *part as u8);
    }
    found.sort_by_key(|found| format!("{found:?}"));
    found
}

/// The messages at a path, from each of the given ones.
fn places(from: Vec<DynamicMessage>, path: &str) -> Vec<DynamicMessage> {
    path.split('.')
        .filter(|segment| !segment.is_empty())
        .fold(from, |from, segment| {
            let step = |message: &DynamicMessage| match segment {
                "**" => nested(message, &message.descriptor()),
                name => inside(message, name.trim_end_matches(['[', ']', '{', '}'])),
            };
            from.iter().flat_map(step).collect()
        })
}

/// The message itself and every message of its type below it, however it is reached.
fn nested(message: &DynamicMessage, wanted: &MessageDescriptor) -> Vec<DynamicMessage> {
    let mut found = Vec::new();
    if message.descriptor() == *wanted {
        found.push(message.clone());
    }
    for (_, value) in message.fields() {
        for inner in messages(value) {
            found.extend(nested(&inner, wanted));
        }
    }
    found
}

fn inside(message: &DynamicMessage, field: &str) -> Vec<DynamicMessage> {
    assert!(
        message.descriptor().get_field_by_name(field).is_some(),
        "no field {field}"
    );
    if message.has_field_by_name(field) {
        messages(&message.get_field_by_name(field).unwrap())
    } else {
        Vec::new()
    }
}

fn messages(value: &Value) -> Vec<DynamicMessage> {
    match value {
        Value::Message(message) => vec![message.clone()],
        Value::List(list) => list.iter().flat_map(messages).collect(),
        Value::Map(map) => map.values().flat_map(messages).collect(),
        _ => Vec::new(),
    }
}

fn part_of(slot: &Slot, path: &str, place: &DynamicMessage) -> String {
    let below = path.strip_prefix(&*slot.at).unwrap().trim_start_matches('.');
    let (parents, field) = below.rsplit_once('.').unwrap_or(("", below));
    let holders = places(vec![place.clone()], parents);
    let [holder] = holders.as_slice() else {
        assert!(holders.is_empty(), "{path} lies in several messages");
        return String::new();
    };
    match &*holder.get_field_by_name(field).unwrap() {
        Value::String(text) => text.clone(),
        Value::EnumNumber(number) => number.to_string(),
        other => panic!("{path} is {other:?}"),
    }
}
