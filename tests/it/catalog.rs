//! The catalogue agrees with the descriptors Flyte publishes, field by field, and leaves no RPC and no identity out.

use crate::descriptors::pool;
use flyte_authz_proxy::catalog::document::{CatalogDocument, FLYTE1};
use flyte_authz_proxy::catalog::{Cardinality, Catalog, Route, ScalarKind, State};
use flyte_authz_proxy::document::parse;
use prost_reflect::{
    DescriptorPool, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, MethodDescriptor, Value,
};
use std::collections::{BTreeMap, BTreeSet};
use std::path::Path;

mod answers;
mod identity;

/// The services of the descriptors that `FlyteAdmin` serves.
const SERVED: [&str; 5] = [
    "flyteidl.service.AdminService",
    "flyteidl.service.AuthMetadataService",
    "flyteidl.service.DataProxyService",
    "flyteidl.service.IdentityService",
    "flyteidl.service.SignalService",
];

fn document() -> CatalogDocument {
    parse(Path::new(FLYTE1.0), FLYTE1.1).unwrap()
}

fn served(pool: &DescriptorPool) -> Vec<MethodDescriptor> {
    let services = pool.services().filter(|service| SERVED.contains(&service.full_name()));
    services
        .flat_map(|service| service.methods().collect::<Vec<_>>())
        .collect()
}

fn path_of(method: &MethodDescriptor) -> String {
    format!("/{}/{}", method.parent_service().full_name(), method.name())
}

fn route<'a>(catalog: &'a Catalog, method: &MethodDescriptor) -> &'a Route {
    catalog.lookup_rpc(&path_of(method)).unwrap()
}

/// RPCs that are served and not in the catalogue, and the reverse.
fn differences(pool: &DescriptorPool, catalog: &Catalog) -> Vec<String> {
    let served: BTreeSet<String> = served(pool).iter().map(path_of).collect();
    let known: BTreeSet<String> = catalog.routes.iter().map(|route| route.rpc.to_string()).collect();
    served.symmetric_difference(&known).cloned().collect()
}

#[test]
fn every_served_rpc_is_classified_and_no_other() {
    let pool = pool();
    let catalog = Catalog::builtin().unwrap();
    assert_eq!(served(pool).len(), 66);
    assert_eq!(differences(pool, &catalog), [""; 0]);
    for method in served(pool) {
        assert_eq!(&*route(&catalog, &method).request, method.input().full_name());
    }
}

/// With one message a call there is no second one that could name another project; `protocol::envelope` refuses what follows.
#[test]
fn t_grpc_08_no_served_rpc_is_a_stream() {
    for method in served(pool()) {
        assert!(
            !method.is_client_streaming() && !method.is_server_streaming(),
            "{}",
            method.full_name()
        );
    }
}

#[test]
fn an_rpc_that_is_not_classified_is_noticed() {
    let name = "flyteidl.service.AdminService/TerminateExecution";
    let (before, entry) = FLYTE1.1.split_once(&format!("  - rpc: {name}\n")).unwrap();
    let (_, after) = entry.split_once("\n  - rpc: ").unwrap();
    let without = format!("{before}  - rpc: {after}");
    let catalog = Catalog::load(&[("without.yaml".into(), without)]).unwrap();
    assert_eq!(differences(pool(), &catalog), [format!("/{name}")]);
}

/// The type of a field as the catalogue spells it.
fn type_text(kind: &Kind) -> String {
    match kind {
        Kind::Message(message) => message.full_name().to_owned(),
        Kind::Enum(shape) => format!("enum {}", shape.full_name()),
        Kind::Double => "double".to_owned(),
        Kind::Float => "float".to_owned(),
        Kind::Int32 => "int32".to_owned(),
        Kind::Int64 => "int64".to_owned(),
        Kind::Uint32 => "uint32".to_owned(),
        Kind::Uint64 => "uint64".to_owned(),
        Kind::Sint32 => "sint32".to_owned(),
        Kind::Sint64 => "sint64".to_owned(),
        Kind::Fixed32 => "fixed32".to_owned(),
        Kind::Fixed64 => "fixed64".to_owned(),
        Kind::Sfixed32 => "sfixed32".to_owned(),
        Kind::Sfixed64 => "sfixed64".to_owned(),
        Kind::Bool => "bool".to_owned(),
        Kind::String => "string".to_owned(),
        Kind::Bytes => "bytes".to_owned(),
    }
}

/// The message in a field: of a map in its values.
fn message_in(field: &FieldDescriptor) -> Option<MessageDescriptor> {
    match field.kind() {
        Kind::Message(entry) if entry.is_map_entry() => message_in(&entry.map_entry_value_field()),
        Kind::Message(message) => Some(message),
        _ => None,
    }
}

fn oneof_of(field: &FieldDescriptor) -> Option<String> {
    let oneof = field.containing_oneof().filter(|oneof| !oneof.is_synthetic())?;
    Some(oneof.name().to_owned())
}

/// A field as the catalogue spells it.
fn field_text(field: &FieldDescriptor) -> String {
    let type_text = match field.kind() {
        Kind::Message(entry) if field.is_map() => {
            let key = type_text(&entry.map_entry_key_field().kind());
            format!("map {key} {}", type_text(&entry.map_entry_value_field().kind()))
        }
        kind if field.is_list() => format!("repeated {}", type_text(&kind)),
        kind => type_text(&kind),
    };
    let oneof = oneof_of(field).map_or_else(String::new, |oneof| format!(" in {oneof}"));
    format!("{} {type_text}{oneof}", field.number())
}

#[test]
fn every_message_and_enum_is_complete_and_as_published() {
    let pool = pool();
    let document = document();
    for (name, fields) in &document.messages {
        let published = pool.get_message_by_name(name).unwrap();
        let published: BTreeMap<String, String> = published
            .fields()
            .map(|field| (field.name().to_owned(), field_text(&field)))
            .collect();
        let ours: BTreeMap<String, String> = fields
            .value
            .iter()
            .map(|(name, text)| (name.clone(), text.value.clone()))
            .collect();
        assert_eq!(ours, published, "{name}");
    }
    for (name, values) in &document.enums {
        let published = pool.get_enum_by_name(name).unwrap();
        let published: BTreeMap<String, i32> = published
            .values()
            .map(|value| (value.name().to_owned(), value.number()))
            .collect();
        assert_eq!(values.value, published, "{name}");
    }
}

/// What a compiled field must be able to hold.
fn holds(kind: &ScalarKind, published: &Kind) -> bool {
    match (kind, published) {
        (ScalarKind::Enum(ours), Kind::Enum(published)) => {
            let values: BTreeSet<(&str, i32)> = ours.values.iter().map(|(name, number)| (&**name, *number)).collect();
            let expected: Vec<(String, i32)> = published
                .values()
                .map(|value| (value.name().to_owned(), value.number()))
                .collect();
            *ours.name == *published.full_name()
                && values == expected.iter().map(|(name, number)| (name.as_str(), *number)).collect()
        }
        (kind, published) => {
            let wire = match kind {
                ScalarKind::String => return matches!(published, Kind::String),
                ScalarKind::Bytes => return matches!(published, Kind::Bytes),
                ScalarKind::Bool => return matches!(published, Kind::Bool),
                ScalarKind::Message => return matches!(published, Kind::Message(_)),
                ScalarKind::Enum(_) => return false,
                ScalarKind::Varint => prost_reflect::prost::encoding::WireType::Varint,
                ScalarKind::Fixed32 => prost_reflect::prost::encoding::WireType::ThirtyTwoBit,
                ScalarKind::Fixed64 => prost_reflect::prost::encoding::WireType::SixtyFourBit,
            };
            !matches!(published, Kind::Enum(_) | Kind::Bool) && published.wire_type() == wire
        }
    }
}

fn check_state(state: &State, published: &MessageDescriptor) {
    assert_eq!(&*state.message, published.full_name());
    let numbers: Vec<u32> = state.fields.iter().map(|field| field.number).collect();
    let mut expected: Vec<u32> = published.fields().map(|field| field.number()).collect();
    expected.sort_unstable();
    assert_eq!(numbers, expected, "{}", state.message);
    let mut oneofs: BTreeMap<u8, String> = BTreeMap::new();
    for field in &state.fields {
        let other = published.get_field(field.number).unwrap();
        let name = format!("{}.{}", state.message, field.name);
        assert_eq!(
            (&*field.name, &*field.json),
            (other.name(), other.json_name()),
            "{name}"
        );
        assert!(holds(&field.kind, &other.kind()), "{name}");
        let cardinality = match (other.is_list(), other.is_map()) {
            (true, _) => Cardinality::Repeated,
            (_, true) => Cardinality::Map,
            _ => Cardinality::Single,
        };
        assert_eq!(field.cardinality, cardinality, "{name}");
        let oneof = oneof_of(&other);
        assert_eq!(field.oneof.is_some(), oneof.is_some(), "{name}");
        if let (Some(number), Some(oneof)) = (field.oneof, oneof) {
            assert_eq!(oneofs.entry(number).or_insert_with(|| oneof.clone()), &oneof, "{name}");
        }
    }
    let distinct: BTreeSet<&String> = oneofs.values().collect();
    assert_eq!(distinct.len(), oneofs.len(), "{}", state.message);
}

#[test]
fn every_compiled_state_is_as_published() {
    let pool = pool();
    for route in Catalog::builtin().unwrap().routes {
        for state in &route.plan.states {
            check_state(state, &pool.get_message_by_name(&state.message).unwrap());
        }
    }
}

/// Method, template and body of a `google.api.http` rule and its additional bindings.
fn rules(rule: &DynamicMessage) -> Vec<(String, String, bool)> {
    let mut rules = Vec::new();
    for method in ["get", "put", "post", "delete", "patch"] {
        if rule.has_field_by_name(method) {
            let template = rule.get_field_by_name(method).unwrap().as_str().unwrap().to_owned();
            let body = rule.get_field_by_name("body").unwrap().as_str().unwrap().to_owned();
            assert!(body.is_empty() || body == "*", "{body}");
            rules.push((method.to_uppercase(), template, body == "*"));
        }
    }
    assert!(!rule.has_field_by_name("custom"));
    let more = rule.get_field_by_name("additional_bindings").unwrap();
    let more = more.as_list().unwrap().iter().filter_map(Value::as_message);
    rules.extend(more.flat_map(crate::catalog::rules));
    rules
}

#[test]
fn rest_bindings_are_those_published_and_no_others() {
    let pool = pool();
    let catalog = Catalog::builtin().unwrap();
    let extension = pool.get_extension_by_name("google.api.http").unwrap();
    let mut count = 0;
    for method in served(pool) {
        let options = method.options();
        let published: BTreeSet<(String, String, bool)> = if options.has_extension(&extension) {
            let rule = options.get_extension(&extension);
            rules(rule.as_message().unwrap()).into_iter().collect()
        } else {
            BTreeSet::new()
        };
        let ours: BTreeSet<(String, String, bool)> = route(&catalog, &method)
            .bindings
            .iter()
            .map(|binding| (binding.method.to_string(), binding.template.to_string(), binding.body))
            .collect();
        assert_eq!(ours, published, "{}", method.full_name());
        count += published.len();
    }
    assert_eq!(count, 69);
}

/// The field a dotted path leads to.
fn field_at(message: &MessageDescriptor, path: &str) -> FieldDescriptor {
    match path.split_once('.') {
        None => message.get_field_by_name(path).unwrap(),
        Some((name, rest)) => field_at(&message_in(&message.get_field_by_name(name).unwrap()).unwrap(), rest),
    }
}

/// The JSON spelling of a dotted path.
fn json_at(message: &MessageDescriptor, path: &str) -> String {
    match path.split_once('.') {
        None => field_at(message, path).json_name().to_owned(),
        Some((name, rest)) => {
            let field = field_at(message, name);
            format!("{}.{}", field.json_name(), json_at(&message_in(&field).unwrap(), rest))
        }
    }
}

#[test]
fn variables_and_query_keys_are_fields_of_the_request() {
    let pool = pool();
    for route in Catalog::builtin().unwrap().routes {
        let request = pool.get_message_by_name(&route.request).unwrap();
        for binding in &route.bindings {
            for variable in &binding.variables {
                assert!(
                    holds(&variable.kind, &field_at(&request, &variable.field).kind()),
                    "{}",
                    variable.field
                );
                assert!(
                    binding.template.contains(&format!("/{{{}}}", variable.field)),
                    "{}",
                    binding.template
                );
            }
            assert_eq!(
                binding.template.matches('{').count(),
                binding.variables.len(),
                "{}",
                binding.template
            );
            for key in &binding.query {
                let field = field_at(&request, &key.field);
                let duration =
                    matches!(field.kind(), Kind::Message(message) if message.full_name() == "google.protobuf.Duration");
                assert!(
                    holds(&key.kind, &field.kind()) || duration && key.kind == ScalarKind::String,
                    "{}",
                    key.field
                );
                assert_eq!(key.repeated, field.is_list(), "{}", key.field);
                assert_eq!(*key.json, json_at(&request, &key.field));
            }
        }
    }
}

#[test]
fn no_query_names_a_project_domain_or_resource() {
    for route in Catalog::builtin().unwrap().routes {
        for key in route.bindings.iter().flat_map(|binding| &binding.query) {
            let last = key.field.rsplit('.').next().unwrap();
            let names = [
                "project", "domain", "org", "name", "version", "id", "node_id", "workflow",
            ];
            assert!(!names.contains(&last), "{} {}", route.rpc, key.field);
        }
    }
}
