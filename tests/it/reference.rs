//! What a plan should find, by a full decode: evaluates the paths of slots on a decoded message, without the plan's
//! states.

use flyte_authz_proxy::catalog::{Part, Plan, Slot, SlotRole};
use flyte_authz_proxy::extract::values::{Occurrence, Values};
use flyte_authz_proxy::model::setting::{Meaning, Setting};
use prost_reflect::{DynamicMessage, MapKey, MessageDescriptor, ReflectMessage, Value};

/// A slot with the values of its parts, those that are set and not the default.
pub(crate) type Found = (usize, Vec<(Part, String)>);

const PARTS: [Part; Part::COUNT] = [
    Part::Project,
    Part::Domain,
    Part::Name,
    Part::Org,
    Part::Kind,
    Part::Value,
    Part::Key,
];

/// What the walkers found, in a form that can be compared.
pub(crate) fn walked(values: &Values<'_>) -> Vec<Found> {
    // A setting without a value asks for nothing.
    let empty = |occurrence: &&Occurrence<'_>| {
        Setting::of_label(occurrence.part(Part::Kind)).is_some() && occurrence.part(Part::Value).is_empty()
    };
    let found = values
        .occurrences
        .iter()
        .filter(|occurrence| !empty(occurrence))
        .map(|occurrence| {
            let parts = PARTS.iter().map(|part| (*part, occurrence.part(*part).to_owned()));
            let mut parts: Vec<(Part, String)> = parts.filter(is_set).collect();
            // Of settings found by their keys, the key is for messages only.
            if Setting::of_label(occurrence.part(Part::Kind)).is_some() {
                parts.retain(|(part, _)| *part != Part::Key);
            }
            (occurrence.slot, parts)
        });
    sorted(found.collect())
}

/// What a decoded message holds.
pub(crate) fn decoded(plan: &Plan, message: &DynamicMessage) -> Vec<Found> {
    let mut found = Vec::new();
    for (index, slot) in plan.slots().iter().enumerate() {
        let searched = match slot.role {
            SlotRole::KeyedSetting => Some(Meaning::default()),
            SlotRole::Setting(setting @ (Setting::ClusterResource | Setting::QueueTag)) => {
                Some(Meaning::whole(setting))
            }
            _ => None,
        };
        if let Some(meaning) = searched {
            let (parent, field) = slot.at.rsplit_once('.').unwrap_or(("", &slot.at));
            for holder in places(vec![message.clone()], parent) {
                let settings = keyed(meaning, &holder, field).into_iter();
                found.extend(settings.map(|(setting, value)| {
                    let parts = [(Part::Kind, setting.label().to_owned()), (Part::Value, value)];
                    (index, parts.into_iter().filter(is_set).collect())
                }));
            }
            continue;
        }
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

/// The settings in a map or list of texts, or a `google.protobuf.Struct`.
fn keyed(around: Meaning, holder: &DynamicMessage, field: &str) -> Vec<(Setting, String)> {
    let mut found = Vec::new();
    match &*holder.get_field_by_name(field).unwrap() {
        Value::Map(map) =>
        {
            #[expect(clippy::iter_over_hash_type, reason = "what is found is sorted")]
            for (key, value) in map {
                Key::new(around, key).text(value.as_str().unwrap(), &mut found);
            }
        }
        Value::List(list) => {
            let none = MapKey::String(String::new());
            for text in list {
                Key::new(around, &none).text(text.as_str().unwrap(), &mut found);
            }
        }
        Value::Message(object) if holder.has_field_by_name(field) => {
            keyed_object(around, object, &mut found);
        }
        _ => {}
    }
    found
}

/// A key, and whether the secret that it names by itself was found.
struct Key<'k> {
    text: &'k str,
    meaning: Meaning,
    found: bool,
}

impl<'k> Key<'k> {
    fn new(around: Meaning, key: &'k MapKey) -> Self {
        let text = key.as_str().unwrap();
        Self {
            text,
            meaning: Meaning::of(around, text),
            found: false,
        }
    }

    fn text(&mut self, text: &str, found: &mut Vec<(Setting, String)>) {
        let Some(setting) = self.meaning.setting else {
            return;
        };
        if setting == Setting::Secret && self.text.contains(['/', '.']) {
            if !std::mem::replace(&mut self.found, true) {
                found.push((setting, self.text.to_owned()));
            }
        } else if !text.is_empty() {
            found.push((setting, text.to_owned()));
        }
    }
}

fn keyed_object(around: Meaning, object: &DynamicMessage, found: &mut Vec<(Setting, String)>) {
    #[expect(clippy::iter_over_hash_type, reason = "what is found is sorted")]
    for (key, value) in object.get_field_by_name("fields").unwrap().as_map().unwrap() {
        keyed_value(&mut Key::new(around, key), value.as_message().unwrap(), found);
    }
}

fn keyed_value(key: &mut Key<'_>, value: &DynamicMessage, found: &mut Vec<(Setting, String)>) {
    let field = |name: &str| value.get_field_by_name(name).unwrap().into_owned();
    if value.has_field_by_name("string_value") {
        key.text(field("string_value").as_str().unwrap(), found);
    } else if value.has_field_by_name("struct_value") {
        keyed_object(key.meaning, field("struct_value").as_message().unwrap(), found);
    } else if value.has_field_by_name("list_value") {
        let list = field("list_value");
        let list = list
            .as_message()
            .unwrap()
            .get_field_by_name("values")
            .unwrap()
            .into_owned();
        for element in list.as_list().unwrap() {
            keyed_value(key, element.as_message().unwrap(), found);
        }
    }
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
