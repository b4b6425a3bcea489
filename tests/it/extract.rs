//! The walkers against a full decode, on random messages of every request type and on broken ones.

use crate::descriptors::message;
use crate::reference::{decoded, walked};
use flyte_authz_proxy::catalog::{Cardinality, Catalog, Plan, Route, Step};
use flyte_authz_proxy::extract::values::Values;
use flyte_authz_proxy::extract::{WalkLimits, json, protobuf};
use proptest::collection::vec;
use proptest::prelude::any;
use proptest::test_runner::{Config, TestRunner};
use prost::Message as _;
use prost_reflect::{
    DynamicMessage, FieldDescriptor, Kind, MapKey, MessageDescriptor, ReflectMessage as _, SerializeOptions, Value,
};
use std::collections::{HashMap, HashSet};

const CASES: u32 = 64;
const MUTATIONS: usize = 12;
const MAX_DEPTH: usize = 14;
const TEXTS: &[&str] = &[
    "",
    "ml",
    "development",
    "a.b.c",
    "päper",
    "x/../y",
    "0123456789012345678901234567890123456789",
];

/// Keys of maps and objects: among them some that stand for settings.
const KEYS: &[&str] = &[
    "team",
    "serviceAccountName",
    "ServiceAccount",
    "iam.amazonaws.com/role",
    "flyte.secrets/s0",
    "flyte.org/user-email",
    "secretKeyRef",
    "name",
];

/// Random choices, from bytes that proptest shrinks.
struct Entropy<'b>(std::iter::Cycle<std::slice::Iter<'b, u8>>, u64);

impl<'b> Entropy<'b> {
    fn new(bytes: &'b [u8]) -> Self {
        Self(bytes.iter().cycle(), 0x9e37_79b9_7f4a_7c15)
    }

    fn below(&mut self, bound: usize) -> usize {
        let byte = u64::from(*self.0.next().unwrap());
        self.1 = (self.1 ^ byte).wrapping_mul(0x5851_f42d_4c95_7f2d).rotate_left(29);
        usize::try_from(self.1 >> 33).unwrap() % bound
    }

    fn chance(&mut self, in_eight: usize) -> bool {
        self.below(8) < in_eight
    }
}

/// Makes messages in which the fields that slots lie in are mostly set.
struct Generator<'b> {
    interesting: HashSet<String>,
    entropy: Entropy<'b>,
    budget: usize,
}

impl<'b> Generator<'b> {
    fn new(plan: &Plan, bytes: &'b [u8]) -> Self {
        let paths = plan.slots().iter().flat_map(|slot| {
            let parts = slot.parts.iter().map(|(path, _)| &**path);
            parts.chain(std::iter::once(&*slot.at))
        });
        let names = paths.flat_map(|path| path.split('.'));
        let mut interesting: HashSet<String> = names
            .map(|name| name.trim_end_matches(['[', ']', '{', '}']).to_owned())
            .collect();
        interesting.extend(
            [
                "branch_node",
                "array_node",
                "if_else",
                "case",
                "then_node",
                "node",
                "else_node",
                "other",
            ]
            .map(String::from),
        );
        Self {
            interesting,
            entropy: Entropy::new(bytes),
            budget: 1500,
        }
    }

    fn message(&mut self, descriptor: &MessageDescriptor, depth: usize) -> DynamicMessage {
        let mut message = DynamicMessage::new(descriptor.clone());
        match descriptor.full_name() {
            "google.protobuf.Struct" => return self.object(message, depth),
            "google.protobuf.Value" => return self.json_value(message, depth),
            _ => {}
        }
        // Their JSON forms are texts with rules of their own.
        if descriptor.package_name() == "google.protobuf" {
            return message;
        }
        let mut fields: Vec<FieldDescriptor> = descriptor.fields().collect();
        let start = self.entropy.below(fields.len().max(1));
        fields.rotate_left(start);
        for field in fields {
            let likely = if self.interesting.contains(field.name()) { 7 } else { 1 };
            // An empty one has no JSON form.
            if matches!(field.kind(), Kind::Message(inner) if inner.full_name() == "google.protobuf.Any") {
                continue;
            }
            let too_deep = depth >= MAX_DEPTH && matches!(field.kind(), Kind::Message(_));
            if too_deep || self.budget == 0 || !self.entropy.chance(likely) {
                continue;
            }
            let value = self.field(&field, depth);
            message.set_field(&field, value);
        }
        message
    }

    /// A `google.protobuf.Struct`.
    fn object(&mut self, mut object: DynamicMessage, depth: usize) -> DynamicMessage {
        let fields = object.descriptor().get_field_by_name("fields").unwrap();
        let entries = self.field(&fields, depth);
        object.set_field(&fields, entries);
        object
    }

    /// A `google.protobuf.Value`: a text, a number, an object or a list.
    fn json_value(&mut self, mut value: DynamicMessage, depth: usize) -> DynamicMessage {
        let kinds = if depth >= MAX_DEPTH { 2 } else { 4 };
        let kind = ["string_value", "bool_value", "struct_value", "list_value"]
            .get(self.entropy.below(kinds))
            .unwrap();
        let field = value.descriptor().get_field_by_name(kind).unwrap();
        let content = if *kind == "list_value" {
            let Kind::Message(list) = field.kind() else {
                panic!("a list is a message")
            };
            let mut list = DynamicMessage::new(list);
            let values = list.descriptor().get_field_by_name("values").unwrap();
            let elements = self.field(&values, depth + 1);
            list.set_field(&values, elements);
            Value::Message(list)
        } else {
            self.field(&field, depth + 1)
        };
        value.set_field(&field, content);
        value
    }

    fn field(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        self.budget = self.budget.saturating_sub(1);
        let count = 1 + self.entropy.below(5);
        if field.is_map() {
            let Kind::Message(entry) = field.kind() else {
                panic!("a map without entries")
            };
            let (key, value) = (entry.map_entry_key_field(), entry.map_entry_value_field());
            let entries = (0..count).map(|_| (self.key(&key), self.one(&value, depth)));
            return Value::Map(entries.collect::<HashMap<_, _>>());
        }
        if field.is_list() {
            return Value::List((0..count).map(|_| self.one(field, depth)).collect());
        }
        self.one(field, depth)
    }

    fn key(&mut self, field: &FieldDescriptor) -> MapKey {
        match field.kind() {
            Kind::String if self.entropy.chance(6) => {
                MapKey::String(KEYS.get(self.entropy.below(KEYS.len())).copied().unwrap().to_owned())
            }
            Kind::String => MapKey::String(self.text()),
            Kind::Int32 => MapKey::I32(i32::try_from(self.entropy.below(100)).unwrap()),
            kind => panic!("no maps by {kind:?} are known"),
        }
    }

    fn text(&mut self) -> String {
        TEXTS.get(self.entropy.below(TEXTS.len())).copied().unwrap().to_owned()
    }

    fn one(&mut self, field: &FieldDescriptor, depth: usize) -> Value {
        let number = self.entropy.below(300);
        match field.kind() {
            Kind::Message(inner) => Value::Message(self.message(&inner, depth + 1)),
            Kind::Enum(shape) => {
                let values: Vec<i32> = shape.values().map(|value| value.number()).collect();
                Value::EnumNumber(values.get(number % values.len()).copied().unwrap())
            }
            Kind::String => Value::String(self.text()),
            Kind::Bytes => Value::Bytes(self.text().into_bytes().into()),
            Kind::Bool => Value::Bool(number.is_multiple_of(2)),
            Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(i32::try_from(number).unwrap() - 100),
            Kind::Uint32 | Kind::Fixed32 => Value::U32(u32::try_from(number).unwrap()),
            Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(i64::try_from(number).unwrap() - 100),
            Kind::Uint64 | Kind::Fixed64 => Value::U64(u64::try_from(number).unwrap()),
            Kind::Float => Value::F32(1.5),
            Kind::Double => Value::F64(-2.5),
        }
    }
}

fn each_route(mut check: impl FnMut(&Route, &[u8])) {
    let catalog = Catalog::builtin().unwrap();
    let routes = catalog.routes.iter().filter(|route| !route.plan.states.is_empty());
    let mut count = 0;
    for route in routes {
        count += 1;
        let config = Config {
            cases: CASES,
            failure_persistence: None,
            ..Config::default()
        };
        let checked = std::cell::RefCell::new(&mut check);
        let outcome = TestRunner::new(config).run(&vec(any::<u8>(), 1..200), |bytes| {
            (*checked.borrow_mut())(route, &bytes);
            Ok(())
        });
        outcome.unwrap_or_else(|fault| panic!("{}: {fault}", route.rpc));
    }
    assert!(count > 50, "only {count} routes have a plan");
}

fn wire<'a>(route: &Route, bytes: &'a [u8]) -> Result<Values<'a>, flyte_authz_proxy::model::denial::Denial> {
    let mut values = Values::default();
    protobuf::walk(&route.plan, bytes, &WalkLimits::default(), &mut values).map(|()| values)
}

#[test]
fn the_wire_walk_finds_what_a_full_decode_finds() {
    let mut most = 0;
    each_route(|route, bytes| {
        let message = Generator::new(&route.plan, bytes).message(&message(&route.request), 0);
        let encoded = message.encode_to_vec();
        let expected = decoded(&route.plan, &message);
        most = most.max(expected.len());
        assert_eq!(walked(&wire(route, &encoded).unwrap()), expected, "{message}");
    });
    assert!(most > 6, "the messages hold at most {most} occurrences");
}

#[test]
fn the_json_walk_finds_what_a_full_decode_finds_in_every_spelling() {
    each_route(|route, bytes| {
        let message = Generator::new(&route.plan, bytes).message(&message(&route.request), 0);
        let expected = decoded(&route.plan, &message);
        for (proto_names, enum_numbers, defaults) in [
            (true, false, false),
            (false, false, true),
            (false, true, false),
            (true, true, true),
        ] {
            let options = SerializeOptions::new()
                .use_proto_field_name(proto_names)
                .use_enum_numbers(enum_numbers)
                .skip_default_fields(!defaults);
            let mut body = Vec::new();
            message
                .serialize_with_options(&mut serde_json::Serializer::new(&mut body), &options)
                .unwrap();
            let mut values = Values::default();
            let outcome = json::walk(&route.plan, &body, &WalkLimits::default(), &mut values);
            assert_eq!(outcome, Ok(()), "{}", String::from_utf8_lossy(&body));
            assert_eq!(walked(&values), expected, "{}", String::from_utf8_lossy(&body));
        }
    });
}

#[test]
fn a_broken_message_is_refused_or_read_as_a_full_decode_reads_it() {
    let (mut refused, mut read) = (0_u32, 0_u32);
    each_route(|route, bytes| {
        let descriptor = message(&route.request);
        let mut generator = Generator::new(&route.plan, bytes);
        let first = generator.message(&descriptor, 0).encode_to_vec();
        generator.budget = 20;
        let second = generator.message(&descriptor, 6).encode_to_vec();
        for _ in 0..MUTATIONS {
            let broken = mutate(&first, &second, &mut generator.entropy);
            let Ok(values) = wire(route, &broken) else {
                refused += 1;
                continue;
            };
            // What the decoder refuses, the control plane refuses or reads as unknown outside of what is judged.
            let Ok(message) = DynamicMessage::decode(descriptor.clone(), &*broken) else {
                continue;
            };
            read += 1;
            let (found, mut expected) = (walked(&values), decoded(&route.plan, &message));
            if has_map(&route.plan) {
                // Of two entries with one key the decoder keeps the last; all are judged.
                expected.retain(|one| !found.contains(one));
                assert!(expected.is_empty(), "{expected:?} was not found in {broken:?}");
            } else {
                assert_eq!(found, expected, "{broken:?}");
            }
        }
    });
    assert!(refused > 1000 && read > 1000, "{refused} refused, {read} read");
}

fn has_map(plan: &Plan) -> bool {
    let mut fields = plan.states.iter().flat_map(|state| &state.fields);
    fields.any(|field| match field.step {
        Step::Descend(_) => field.cardinality == Cardinality::Map,
        Step::Search(_) => true,
        Step::Skip | Step::Keep(_) => false,
    })
}

fn mutate(first: &[u8], second: &[u8], entropy: &mut Entropy<'_>) -> Vec<u8> {
    let mut bytes = first.to_vec();
    let place = entropy.below(bytes.len() + 1);
    match entropy.below(6) {
        0 => {
            if let Some(byte) = bytes.get_mut(place) {
                *byte ^= 1 << entropy.below(8);
            }
        }
        1 => bytes.truncate(place),
        2 => {
            let end = place + entropy.below(bytes.len() - place + 1);
            let slice = bytes.get(place..end).unwrap().to_vec();
            bytes.splice(place..place, slice);
        }
        3 => bytes.extend_from_slice(second),
        4 => bytes.extend_from_slice(&[0x0a, 0x02, b'm', b'l', 0x12, 0x00]),
        _ => bytes.extend([(entropy.below(256)), entropy.below(16), 1].map(|byte| u8::try_from(byte).unwrap())),
    }
    bytes
}
