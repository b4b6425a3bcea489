//! The published services, read from descriptors: methods, REST bindings, and messages as JSON and back.

use super::StartError;
use prost::Message;
use prost_reflect::{
    DescriptorPool, DeserializeOptions, DynamicMessage, MessageDescriptor, MethodDescriptor, SerializeOptions,
    Value as Field,
};
use serde_json::Value;
use std::collections::HashMap;

/// One `google.api.http` binding.
#[derive(Debug)]
pub(super) struct Binding {
    pub(super) verb: &'static str,
    /// The template split at `/`.
    pub(super) segments: Vec<Segment>,
    /// Whether the body is the message (`body: "*"`); otherwise the query sets fields.
    pub(super) takes_body: bool,
    pub(super) method: MethodDescriptor,
}

/// A part of a path template.
#[derive(Debug)]
pub(super) enum Segment {
    Literal(String),
    /// A dotted field path.
    Variable(String),
}

/// The services that are served; the published descriptors have more, with methods of the same names.
const SERVED: [&str; 5] = [
    "AdminService",
    "SignalService",
    "DataProxyService",
    "AuthMetadataService",
    "IdentityService",
];

/// The methods that the control plane serves.
#[derive(Debug)]
pub(super) struct Schema {
    methods: HashMap<String, MethodDescriptor>,
    pub(super) bindings: Vec<Binding>,
}

impl Schema {
    pub(super) fn read(descriptors: &[u8]) -> Result<Self, StartError> {
        let pool = DescriptorPool::decode(descriptors).map_err(|error| StartError::Descriptors(error.to_string()))?;
        let http = pool
            .get_extension_by_name("google.api.http")
            .ok_or_else(|| StartError::Descriptors("google/api/annotations.proto is missing".to_owned()))?;
        let mut methods = HashMap::new();
        let mut bindings = Vec::new();
        let served = pool.services().filter(|service| SERVED.contains(&service.name()));
        for method in served.flat_map(|service| service.methods().collect::<Vec<_>>()) {
            let path = format!("/{}/{}", method.parent_service().full_name(), method.name());
            let options = method.options();
            if options.has_extension(&http)
                && let Some(rule) = options.get_extension(&http).as_message()
            {
                bind(&method, rule, &mut bindings);
            }
            methods.insert(path, method);
        }
        if !methods.contains_key("/flyteidl.service.AdminService/GetTask") {
            return Err(StartError::Descriptors(
                "flyteidl.service.AdminService is missing".to_owned(),
            ));
        }
        Ok(Self { methods, bindings })
    }

    pub(super) fn method(&self, path: &str) -> Option<&MethodDescriptor> {
        self.methods.get(path)
    }
}

fn bind(method: &MethodDescriptor, rule: &DynamicMessage, bindings: &mut Vec<Binding>) {
    for (name, verb) in [("get", "GET"), ("put", "PUT"), ("post", "POST"), ("delete", "DELETE")] {
        if rule.has_field_by_name(name)
            && let Some(template) = rule.get_field_by_name(name)
            && let Some(template) = template.as_str()
        {
            let segments = template.split('/').map(|segment| {
                let variable = segment.strip_prefix('{').and_then(|rest| rest.strip_suffix('}'));
                variable.map_or_else(
                    || Segment::Literal(segment.to_owned()),
                    |path| Segment::Variable(path.to_owned()),
                )
            });
            bindings.push(Binding {
                verb,
                segments: segments.collect(),
                takes_body: rule
                    .get_field_by_name("body")
                    .is_some_and(|body| body.as_str() == Some("*")),
                method: method.clone(),
            });
        }
    }
    if let Some(more) = rule.get_field_by_name("additional_bindings") {
        for rule in more.as_list().unwrap_or_default().iter().filter_map(Field::as_message) {
            bind(method, rule, bindings);
        }
    }
}

/// How a message is written as JSON.
#[derive(Debug, Clone, Copy)]
pub(super) enum Spelling {
    /// Names of the protobuf files, without fields that are not set: the form in which the store keeps messages.
    Stored,
    /// Names of the protobuf files, with every field: the gateway's `application/json`.
    Snake,
    /// lowerCamelCase, with every field: the gateway's default.
    Camel,
}

/// Writes a message as JSON; the error says which value has no JSON form.
pub(super) fn to_json(message: &DynamicMessage, spelling: Spelling) -> Result<Value, String> {
    let options = SerializeOptions::new()
        .use_proto_field_name(!matches!(spelling, Spelling::Camel))
        .skip_default_fields(matches!(spelling, Spelling::Stored));
    let written = message.serialize_with_options(serde_json::value::Serializer, &options);
    written.map_err(|error| error.to_string())
}

/// Reads a message from JSON in either spelling.
pub(super) fn from_json(
    shape: MessageDescriptor,
    json: &Value,
    refuse_unknown: bool,
) -> Result<DynamicMessage, String> {
    let options = DeserializeOptions::new().deny_unknown_fields(refuse_unknown);
    DynamicMessage::deserialize_with_options(shape, json, &options).map_err(|error| error.to_string())
}

/// Reads a message from protobuf.
pub(super) fn from_protobuf(shape: MessageDescriptor, bytes: &[u8]) -> Result<DynamicMessage, String> {
    DynamicMessage::decode(shape, bytes).map_err(|error| error.to_string())
}

/// Writes a message as protobuf.
pub(super) fn to_protobuf(message: &DynamicMessage) -> Vec<u8> {
    message.encode_to_vec()
}
