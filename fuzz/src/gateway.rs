//! What FlyteAdmin's REST gateway makes of a request, by the published bindings and the rules that grpc-gateway is known to
//! follow (v2, legacy unescaping). `tests/gateway.rs` compares it with requests that were recorded there.

use crate::canonical::{decode, parse_query};
use crate::routes::pool;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, FieldDescriptor, Kind, MessageDescriptor, ReflectMessage as _,
    Value,
};
use std::sync::LazyLock;

/// What becomes of a request.
#[derive(Debug)]
pub enum Outcome {
    /// No call.
    Refused,
    /// This call.
    Call {
        /// Such as `/flyteidl.service.AdminService/GetTask`.
        rpc: String,
        /// Its request.
        message: DynamicMessage,
    },
    /// A call whose request depends on which fields of the path the gateway lets a query or a form replace.
    Overridden,
}

struct Binding {
    method: String,
    template: Vec<String>,
    body: bool,
    rpc: String,
    request: MessageDescriptor,
}

const SERVICES: [&str; 5] = [
    "flyteidl.service.AdminService",
    "flyteidl.service.AuthMetadataService",
    "flyteidl.service.DataProxyService",
    "flyteidl.service.IdentityService",
    "flyteidl.service.SignalService",
];

static BINDINGS: LazyLock<Vec<Binding>> = LazyLock::new(|| bindings(pool()));

fn bindings(pool: &DescriptorPool) -> Vec<Binding> {
    let extension = pool.get_extension_by_name("google.api.http").expect("it is published");
    let services = pool
        .services()
        .filter(|service| SERVICES.contains(&service.full_name()));
    let mut found = Vec::new();
    for method in services.flat_map(|service| service.methods().collect::<Vec<_>>()) {
        let options = method.options();
        if !options.has_extension(&extension) {
            continue;
        }
        let rule = options.get_extension(&extension).as_message().expect("a rule").clone();
        let more = rule
            .get_field_by_name("additional_bindings")
            .expect("a field")
            .into_owned();
        let more = more
            .as_list()
            .into_iter()
            .flatten()
            .filter_map(Value::as_message)
            .cloned();
        for rule in std::iter::once(rule).chain(more) {
            let text = |name: &str| {
                rule.get_field_by_name(name)
                    .and_then(|value| value.as_str().map(str::to_owned))
            };
            let verbs = ["get", "put", "post", "delete"]
                .into_iter()
                .filter(|verb| rule.has_field_by_name(verb));
            found.extend(verbs.filter_map(|verb| {
                Some(Binding {
                    method: verb.to_uppercase(),
                    template: text(verb)?.split('/').skip(1).map(str::to_owned).collect(),
                    body: text("body")? == "*",
                    rpc: format!("/{}/{}", method.parent_service().full_name(), method.name()),
                    request: method.input(),
                })
            }));
        }
    }
    found
}

/// Reads a request as the gateway does.
pub fn read(parts: &Parts, body: &[u8]) -> Outcome {
    read_or_refuse(parts, body).unwrap_or(Outcome::Refused)
}

fn read_or_refuse(parts: &Parts, body: &[u8]) -> Option<Outcome> {
    let path = decode(parts.uri.path())?;
    let segments: Vec<&str> = path.strip_prefix('/')?.split('/').collect();
    let content_type = parts
        .headers
        .get(CONTENT_TYPE)
        .map_or(&b""[..], |value| value.as_bytes());
    if parts.method == http::Method::POST && content_type == b"application/x-www-form-urlencoded" {
        return Some(Outcome::Overridden);
    }
    // No two templates overlap.
    let binding = BINDINGS
        .iter()
        .find(|binding| *binding.method == *parts.method.as_str() && fits(&binding.template, &segments))?;
    let mut message = if binding.body {
        decoded(binding, content_type, body)?
    } else {
        DynamicMessage::new(binding.request.clone())
    };
    let variables: Vec<(&str, &str)> = binding
        .template
        .iter()
        .zip(&segments)
        .filter_map(|(own, segment)| Some((own.strip_prefix('{')?.strip_suffix('}')?, *segment)))
        .collect();
    for (field, text) in &variables {
        set(&mut message, field, text)?;
    }
    if !binding.body {
        let mut seen: Vec<String> = Vec::new();
        for (key, value) in parse_query(parts.uri.query().unwrap_or_default())? {
            // Other keys are passed over.
            let Some((name, repeated)) = field_name(&binding.request, &key) else {
                continue;
            };
            if variables.iter().any(|(field, _)| *field == name) || seen.contains(&name) && !repeated {
                return Some(Outcome::Overridden);
            }
            set(&mut message, &name, &value)?;
            seen.push(name);
        }
    }
    Some(Outcome::Call {
        rpc: binding.rpc.clone(),
        message,
    })
}

fn fits(template: &[String], segments: &[&str]) -> bool {
    let fits = |(own, segment): (&String, &&str)| own == segment || own.starts_with('{');
    template.len() == segments.len() && template.iter().zip(segments).all(fits)
}

/// The body by the marshaler that the media type chooses. An empty one is an empty message.
fn decoded(binding: &Binding, content_type: &[u8], body: &[u8]) -> Option<DynamicMessage> {
    let content_type = String::from_utf8_lossy(content_type).to_ascii_lowercase();
    let (media_type, parameters) = content_type.split_once(';').unwrap_or((&content_type, "x=y"));
    // Parameters that cannot be parsed make it no media type at all.
    let media_type = if parameters.contains('=') {
        media_type.trim()
    } else {
        ""
    };
    let descriptor = binding.request.clone();
    if media_type == "application/octet-stream" {
        return DynamicMessage::decode(descriptor, body).ok();
    }
    if body.trim_ascii().is_empty() {
        return Some(DynamicMessage::new(descriptor));
    }
    let options = DeserializeOptions::new().deny_unknown_fields(media_type == "application/json");
    DynamicMessage::deserialize_with_options(descriptor, &mut serde_json::Deserializer::from_slice(body), &options).ok()
}

/// The dotted path of a query key by the names of the protobuf files, and whether the field is repeated.
fn field_name(message: &MessageDescriptor, key: &str) -> Option<(String, bool)> {
    let (first, rest) = key.split_once('.').unwrap_or((key, ""));
    let field = message
        .get_field_by_name(first)
        .or_else(|| message.get_field_by_json_name(first))?;
    match field.kind() {
        Kind::Message(inner) if !rest.is_empty() => {
            let (rest, repeated) = field_name(&inner, rest)?;
            Some((format!("{}.{rest}", field.name()), repeated))
        }
        _ => rest.is_empty().then(|| (field.name().to_owned(), field.is_list())),
    }
}

/// Sets the field at a dotted path to what a text says. `None` where the gateway has an error.
fn set(message: &mut DynamicMessage, path: &str, text: &str) -> Option<()> {
    let (first, rest) = path.split_once('.').unwrap_or((path, ""));
    let field = message.descriptor().get_field_by_name(first)?;
    if !rest.is_empty() {
        return set(message.get_field_mut(&field).as_message_mut()?, rest, text);
    }
    // Some messages have a text form, such as times. They are not judged.
    if let Kind::Message(inner) = field.kind() {
        return (inner.package_name() == "google.protobuf").then_some(());
    }
    let value = scalar(&field, text)?;
    match message.get_field_mut(&field) {
        Value::List(list) => list.push(value),
        single => *single = value,
    }
    Some(())
}

fn scalar(field: &FieldDescriptor, text: &str) -> Option<Value> {
    Some(match field.kind() {
        Kind::String => Value::String(text.to_owned()),
        Kind::Bool => Value::Bool(match text {
            "1" | "t" | "T" | "true" | "TRUE" | "True" => true,
            "0" | "f" | "F" | "false" | "FALSE" | "False" => false,
            _ => return None,
        }),
        Kind::Enum(shape) => Value::EnumNumber(match shape.get_value_by_name(text) {
            Some(value) => value.number(),
            None => text.parse().ok().filter(|number| shape.get_value(*number).is_some())?,
        }),
        Kind::Int32 | Kind::Sint32 | Kind::Sfixed32 => Value::I32(integer(text)?.try_into().ok()?),
        Kind::Uint32 | Kind::Fixed32 => Value::U32(integer(text)?.try_into().ok()?),
        Kind::Int64 | Kind::Sint64 | Kind::Sfixed64 => Value::I64(integer(text)?.try_into().ok()?),
        Kind::Uint64 | Kind::Fixed64 => Value::U64(integer(text)?.try_into().ok()?),
        Kind::Float => Value::F32(text.parse().ok()?),
        Kind::Double => Value::F64(text.parse().ok()?),
        Kind::Bytes | Kind::Message(_) => return None,
    })
}

/// An integer as Go's `strconv.ParseInt` with base 0 reads it: 0x10, 0b1, 0o7 and 010 are of other bases.
fn integer(text: &str) -> Option<i128> {
    let (sign, digits) = match text.strip_prefix('-') {
        Some(digits) => (-1, digits),
        None => (1, text.strip_prefix('+').unwrap_or(text)),
    };
    let lower = digits.to_ascii_lowercase();
    let (base, digits) = match lower.as_bytes() {
        [b'0', b'x', ..] => (16, &lower[2..]),
        [b'0', b'b', ..] => (2, &lower[2..]),
        [b'0', b'o', ..] => (8, &lower[2..]),
        [b'0', _, ..] => (8, &lower[1..]),
        _ => (10, &*lower),
    };
    let plain = digits.chars().all(|digit| digit.is_digit(base));
    i128::from_str_radix(digits, base)
        .ok()
        .filter(|_| plain)
        .map(|number| sign * number)
}
