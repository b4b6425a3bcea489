//! Message and enum shapes, and paths through them.

use super::fault::{Faults, Place};
use crate::catalog::document::CatalogDocument;
use crate::catalog::{Cardinality, EnumShape, ScalarKind};
use std::collections::BTreeMap;
use std::sync::Arc;

/// The largest field number protobuf allows.
const MAX_FIELD_NUMBER: u32 = (1 << 29) - 1;

/// Every message and enum the documents describe.
#[derive(Default)]
pub(super) struct Shapes {
    messages: BTreeMap<Box<str>, (Place, Vec<FieldShape>)>,
    enums: BTreeMap<Box<str>, (Place, Arc<EnumShape>)>,
    recursion: BTreeMap<Box<str>, Vec<Box<str>>>,
}

/// One field of a message.
pub(super) struct FieldShape {
    pub(super) number: u32,
    pub(super) name: Box<str>,
    pub(super) json: Box<str>,
    pub(super) kind: ScalarKind,
    pub(super) cardinality: Cardinality,
    pub(super) oneof: Option<u8>,
    /// The message type: of a map field its values'.
    pub(super) message: Option<Box<str>>,
}

/// One step of a path.
#[derive(Clone, Debug, PartialEq, Eq)]
pub(super) enum Segment<'a> {
    /// A field, marked as single, repeated (`[]`) or map (`{}`).
    Field(&'a str, Cardinality),
    /// Any depth of nesting (`**`).
    Nested,
}

/// Splits a path: `spec.nodes[].**.task_node`. The empty path has no segments.
pub(super) fn segments(path: &str) -> impl Iterator<Item = Segment<'_>> {
    path.split('.').filter(|segment| !segment.is_empty()).map(|segment| {
        if segment == "**" {
            Segment::Nested
        } else if let Some(name) = segment.strip_suffix("[]") {
            Segment::Field(name, Cardinality::Repeated)
        } else if let Some(name) = segment.strip_suffix("{}") {
            Segment::Field(name, Cardinality::Map)
        } else {
            Segment::Field(segment, Cardinality::Single)
        }
    })
}

impl Shapes {
    /// Reads the enums, messages and recursion of all documents.
    pub(super) fn read(documents: &[(usize, CatalogDocument)], faults: &mut Faults<'_>) -> Self {
        let mut shapes = Self::default();
        for (index, document) in documents {
            shapes.read_enums(*index, document, faults);
        }
        for (index, document) in documents {
            shapes.read_messages(*index, document, faults);
        }
        for (index, document) in documents {
            shapes.read_recursion(*index, document, faults);
        }
        shapes
    }

    /// The fields of a message in ascending order of number.
    pub(super) fn fields(&self, message: &str) -> Result<&[FieldShape], String> {
        let found = self.messages.get(message);
        found
            .map(|(_, fields)| fields.as_slice())
            .ok_or_else(|| format!("unknown message `{message}`: describe it under `messages`"))
    }

    /// The paths by which a message can lie in itself.
    pub(super) fn recursion(&self, message: &str) -> &[Box<str>] {
        self.recursion.get(message).map_or(&[], Vec::as_slice)
    }

    /// The field of that name.
    pub(super) fn field(&self, message: &str, name: &str) -> Result<&FieldShape, String> {
        let fields = self.fields(message)?;
        let found = fields.iter().find(|field| &*field.name == name);
        found.ok_or_else(|| format!("unknown field `{name}` of message `{message}`"))
    }

    /// The message type a path leads to.
    pub(super) fn message_at<'a>(&'a self, start: &'a str, path: &str) -> Result<&'a str, String> {
        let mut message = start;
        for segment in segments(path) {
            match segment {
                Segment::Nested if self.recursion(message).is_empty() => {
                    return Err(format!(
                        "`{message}` is not listed under `recursion`: `**` has no meaning there"
                    ));
                }
                Segment::Nested => {}
                Segment::Field(name, cardinality) => {
                    let field = self.field(message, name)?;
                    if field.cardinality != cardinality {
                        let mark = mark(field.cardinality);
                        return Err(format!(
                            "write `{name}{mark}` for this field of `{message}` in `{path}`"
                        ));
                    }
                    let Some(next) = field.message.as_deref() else {
                        return Err(format!(
                            "field `{name}` of `{message}` is no message, so `{path}` leads nowhere"
                        ));
                    };
                    message = next;
                }
            }
        }
        self.fields(message)?;
        Ok(message)
    }

    /// The single, scalar field a path leads to through single messages.
    pub(super) fn scalar_at(&self, start: &str, path: &str) -> Result<&FieldShape, String> {
        if segments(path).any(|segment| !matches!(segment, Segment::Field(_, Cardinality::Single))) {
            return Err(format!("`{path}` must go through single fields only"));
        }
        let (parent, name) = split_last(path);
        let field = self.field(self.message_at(start, parent)?, name)?;
        if field.kind == ScalarKind::Message || field.cardinality != Cardinality::Single {
            return Err(format!("`{path}` must be a single field that is no message"));
        }
        Ok(field)
    }

    fn read_enums(&mut self, document: usize, source: &CatalogDocument, faults: &mut Faults<'_>) {
        for (name, values) in &source.enums {
            let place = Place::of(document, values);
            if let Some((first, _)) = self.enums.get(name.as_str()) {
                let first = faults.describe(*first);
                faults.add(
                    place,
                    format!("enum `{name}` is defined at {first} already; a document may add, not redefine"),
                );
                continue;
            }
            let mut list: Vec<(Box<str>, i32)> = values
                .value
                .iter()
                .map(|(name, number)| (name.as_str().into(), *number))
                .collect();
            list.sort_by_key(|(_, number)| *number);
            let shape = EnumShape {
                name: name.as_str().into(),
                values: list,
            };
            self.enums.insert(name.as_str().into(), (place, Arc::new(shape)));
        }
    }

    fn read_messages(&mut self, document: usize, source: &CatalogDocument, faults: &mut Faults<'_>) {
        for (name, fields) in &source.messages {
            let place = Place::of(document, fields);
            if let Some((first, _)) = self.messages.get(name.as_str()) {
                let first = faults.describe(*first);
                faults.add(
                    place,
                    format!("message `{name}` is defined at {first} already; a document may add, not redefine"),
                );
                continue;
            }
            let mut oneofs = Vec::new();
            let mut shape: Vec<FieldShape> = Vec::new();
            for (field, text) in &fields.value {
                let result = self.read_field(field, &text.value, &mut oneofs);
                let Some(field) = faults.check(Place::of(document, text), result) else {
                    continue;
                };
                if shape.iter().any(|other| other.number == field.number) {
                    faults.add(
                        Place::of(document, text),
                        format!("number {} is taken by another field", field.number),
                    );
                }
                shape.push(field);
            }
            shape.sort_by_key(|field| field.number);
            self.messages.insert(name.as_str().into(), (place, shape));
        }
    }

    /// Reads `NUMBER [repeated | map KEY] [enum] TYPE [in ONEOF]`.
    fn read_field(&self, name: &str, text: &str, oneofs: &mut Vec<Box<str>>) -> Result<FieldShape, String> {
        let malformed = || format!("`{text}` is no field: write `NUMBER [repeated | map KEY] [enum] TYPE [in ONEOF]`");
        let mut words = text.split(' ').peekable();
        let number: u32 = words.next().and_then(|word| word.parse().ok()).ok_or_else(malformed)?;
        if !(1..=MAX_FIELD_NUMBER).contains(&number) {
            return Err(format!("{number} is no field number"));
        }
        let cardinality = if words.next_if_eq(&"repeated").is_some() {
            Cardinality::Repeated
        } else if words.next_if_eq(&"map").is_some() {
            let key = words.next().ok_or_else(malformed)?;
            scalar_kind(key).ok_or_else(|| format!("`{key}` can not be the key of a map"))?;
            Cardinality::Map
        } else {
            Cardinality::Single
        };
        let is_enum = words.next_if_eq(&"enum").is_some();
        let type_name = words.next().ok_or_else(malformed)?;
        let (kind, message) = self.read_type(type_name, is_enum)?;
        let oneof = match (words.next(), words.next(), words.next()) {
            (None, _, _) => None,
            (Some("in"), Some(oneof), None) if cardinality == Cardinality::Single => Some(number_of(oneof, oneofs)?),
            _ => return Err(malformed()),
        };
        Ok(FieldShape {
            number,
            name: name.into(),
            json: json_name(name).into(),
            // The entries of a map are messages on the wire, whatever its values are.
            kind: if cardinality == Cardinality::Map {
                ScalarKind::Message
            } else {
                kind
            },
            cardinality,
            oneof,
            message,
        })
    }

    fn read_type(&self, name: &str, is_enum: bool) -> Result<(ScalarKind, Option<Box<str>>), String> {
        if is_enum {
            let found = self.enums.get(name);
            let (_, shape) = found.ok_or_else(|| format!("unknown enum `{name}`: describe it under `enums`"))?;
            return Ok((ScalarKind::Enum(Arc::clone(shape)), None));
        }
        if let Some(kind) = scalar_kind(name) {
            return Ok((kind, None));
        }
        if !name.contains('.') {
            return Err(format!(
                "unknown type `{name}`: write a protobuf type or the full name of a message"
            ));
        }
        Ok((ScalarKind::Message, Some(name.into())))
    }

    fn read_recursion(&mut self, document: usize, source: &CatalogDocument, faults: &mut Faults<'_>) {
        for (message, paths) in &source.recursion {
            for path in paths {
                let place = Place::of(document, path);
                match self.message_at(message, &path.value) {
                    Ok(end) if end == message => {
                        let known = self.recursion.entry(message.as_str().into()).or_default();
                        known.push(path.value.as_str().into());
                    }
                    Ok(end) => faults.add(place, format!("`{}` leads from `{message}` to `{end}`", path.value)),
                    Err(fault) => faults.add(place, fault),
                }
            }
        }
    }
}

/// Splits the last segment off a path.
pub(super) fn split_last(path: &str) -> (&str, &str) {
    path.rsplit_once('.').unwrap_or(("", path))
}

/// Joins two paths, either of which may be empty.
pub(super) fn join(parent: &str, child: &str) -> String {
    match (parent, child) {
        ("", path) | (path, "") => path.to_owned(),
        _ => format!("{parent}.{child}"),
    }
}

/// The JSON spelling of a path or field, as protoc derives it.
pub(super) fn json_name(name: &str) -> String {
    let mut json = String::with_capacity(name.len());
    let mut upper = false;
    for character in name.chars() {
        if character == '_' {
            upper = true;
        } else if std::mem::take(&mut upper) {
            json.push(character.to_ascii_uppercase());
        } else {
            json.push(character);
        }
    }
    json
}

fn mark(cardinality: Cardinality) -> &'static str {
    match cardinality {
        Cardinality::Single => "",
        Cardinality::Repeated => "[]",
        Cardinality::Map => "{}",
    }
}

fn number_of(oneof: &str, oneofs: &mut Vec<Box<str>>) -> Result<u8, String> {
    let position = oneofs
        .iter()
        .position(|known| &**known == oneof)
        .unwrap_or(oneofs.len());
    if position == oneofs.len() {
        oneofs.push(oneof.into());
    }
    u8::try_from(position).map_err(|_| "more than 256 oneofs in one message".to_owned())
}

fn scalar_kind(name: &str) -> Option<ScalarKind> {
    Some(match name {
        "string" => ScalarKind::String,
        "bytes" => ScalarKind::Bytes,
        "bool" => ScalarKind::Bool,
        "int32" | "int64" | "uint32" | "uint64" | "sint32" | "sint64" => ScalarKind::Varint,
        "fixed32" | "sfixed32" | "float" => ScalarKind::Fixed32,
        "fixed64" | "sfixed64" | "double" => ScalarKind::Fixed64,
        _ => return None,
    })
}
