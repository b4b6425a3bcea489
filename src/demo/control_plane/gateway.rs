//! The REST gateway: requests bound to RPCs by their HTTP annotations, as `FlyteAdmin`'s grpc-gateway does it.
//!
//! The path is decoded before it is split, and a query parameter overrides a path parameter: `FlyteAdmin` does the
//! same for most of its routes, here it is so for all. A `POST` of a form is never taken for a `GET`.

use super::answer::Answer;
use super::arrivals::Visit;
use super::fault::{self, Fault};
use super::schema::{self, Binding, Segment, Spelling};
use super::status::Status;
use super::{Shared, methods, pages};
use bytes::Bytes;
use http::header::{ACCEPT, CONTENT_TYPE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use percent_encoding::percent_decode_str;
use prost_reflect::{FieldDescriptor, Kind, MessageDescriptor};
use serde_json::{Map, Value, json};
use std::io;

const PROTOBUF: &str = "application/octet-stream";
const JSON: &str = "application/json";

pub(super) async fn handle(shared: &Shared, head: &Parts, body: &Bytes, visit: Visit) -> io::Result<Response<Answer>> {
    let bound = if head.method == http::Method::OPTIONS {
        None
    } else {
        find(shared, head)
    };
    let called = bound
        .as_ref()
        .map(|(binding, variables)| read_call(head, body, binding, variables));
    if let (Some((binding, _)), Some(Ok(request))) = (&bound, &called) {
        visit.call(binding.method.name(), request);
    }
    let name = bound
        .as_ref()
        .map_or(head.uri.path(), |(binding, _)| binding.method.name());
    let fault = shared.faults.take(name);
    let fault = fault.as_ref();
    fault::before_answer(fault).await?;
    let visit = match fault::plain(fault, visit) {
        Ok(response) => return Ok(response),
        Err(visit) => visit,
    };
    let (Some((binding, _)), Some(called)) = (bound, called) else {
        return Ok(pages::page(shared, head, visit).await);
    };
    let scripted = match fault {
        Some(Fault::Status { code, message, .. }) => Err(Status {
            code: *code,
            message: message.clone(),
        }),
        _ => called,
    };
    let answered = scripted.and_then(|request| answer(shared, head, binding, &request));
    let (status, content_type, mut content) = match answered {
        Ok((content_type, content)) => (StatusCode::OK, content_type, content),
        Err(failure) => (failure.http(), outbound(head), describe(&failure, outbound(head))),
    };
    if let Some(Fault::Huge { bytes }) = fault {
        content.resize(content.len() + bytes, b' ');
    }
    let (steps, _) = fault::play(fault, Bytes::from(content));
    let mut response = Response::new(Answer::new(steps, Some(visit)));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    if binding.method.name() == "UserInfo" {
        response
            .headers_mut()
            .insert("x-user-subject", HeaderValue::from_static("demo"));
    }
    Ok(response)
}

/// The first binding that fits, with the values of its variables.
fn find<'schema>(shared: &'schema Shared, head: &Parts) -> Option<(&'schema Binding, Vec<(&'schema str, String)>)> {
    let path = percent_decode_str(head.uri.path()).decode_utf8_lossy().into_owned();
    let parts: Vec<&str> = path.split('/').collect();
    shared.schema.bindings.iter().find_map(|binding| {
        if head.method != binding.verb || parts.len() != binding.segments.len() {
            return None;
        }
        let mut variables = Vec::new();
        for (segment, part) in binding.segments.iter().zip(&parts) {
            match segment {
                Segment::Literal(literal) if literal == part => {}
                Segment::Literal(_) => return None,
                Segment::Variable(field) => variables.push((field.as_str(), (*part).to_owned())),
            }
        }
        Some((binding, variables))
    })
}

fn read_call(head: &Parts, body: &Bytes, binding: &Binding, variables: &[(&str, String)]) -> Result<Value, Status> {
    let shape = binding.method.input();
    let mut request = if binding.takes_body {
        read_body(&head.headers, body, &shape)?
    } else {
        json!({})
    };
    for (field, text) in variables {
        set(&shape, &mut request, field, text).map_err(Status::invalid)?;
    }
    if !binding.takes_body {
        for pair in head
            .uri
            .query()
            .unwrap_or_default()
            .split('&')
            .filter(|pair| !pair.is_empty())
        {
            let (key, text) = pair.split_once('=').unwrap_or((pair, ""));
            let decode = |part: &str| {
                percent_decode_str(&part.replace('+', " "))
                    .decode_utf8_lossy()
                    .into_owned()
            };
            // A key that names no field is ignored, as grpc-gateway does.
            _ = set(&shape, &mut request, &decode(key), &decode(text));
        }
    }
    let read = schema::from_json(shape, &request, true);
    read.and_then(|message| schema::to_json(&message, Spelling::Stored))
        .map_err(Status::invalid)
}

fn read_body(headers: &HeaderMap, body: &Bytes, shape: &MessageDescriptor) -> Result<Value, Status> {
    let content_type = media_type(headers);
    let message = if content_type == PROTOBUF {
        schema::from_protobuf(shape.clone(), body)
    } else {
        // Only the first value counts, and no value is an empty message: FlyteAdmin's decoder does the same.
        let mut values = serde_json::Deserializer::from_slice(body).into_iter::<Value>();
        match values.next() {
            None => Ok(prost_reflect::DynamicMessage::new(shape.clone())),
            Some(Err(error)) => Err(error.to_string()),
            Some(Ok(value)) => schema::from_json(shape.clone(), &value, content_type == JSON),
        }
    };
    message
        .and_then(|message| schema::to_json(&message, Spelling::Stored))
        .map_err(Status::invalid)
}

fn media_type(headers: &HeaderMap) -> String {
    let line = headers
        .get(CONTENT_TYPE)
        .and_then(|value| value.to_str().ok())
        .unwrap_or_default();
    line.split(';').next().unwrap_or_default().trim().to_ascii_lowercase()
}

/// Sets the field at a dotted path (either spelling) from text.
fn set(shape: &MessageDescriptor, message: &mut Value, path: &str, text: &str) -> Result<(), String> {
    let (name, rest) = path
        .split_once('.')
        .map_or((path, None), |(name, rest)| (name, Some(rest)));
    let field = shape
        .get_field_by_name(name)
        .or_else(|| shape.get_field_by_json_name(name));
    let field = field.ok_or_else(|| format!("no field {name} in {}", shape.full_name()))?;
    if message.is_null() {
        *message = Value::Object(Map::new());
    }
    let object = message
        .as_object_mut()
        .ok_or_else(|| format!("{name} is not inside a message"))?;
    match (rest, field.kind()) {
        (Some(rest), Kind::Message(inner)) => {
            set(&inner, object.entry(field.name()).or_insert(Value::Null), rest, text)
        }
        (Some(_), _) => Err(format!("{name} is not a message")),
        (None, _) if field.is_list() => {
            let list = object.entry(field.name()).or_insert_with(|| json!([]));
            list.as_array_mut().ok_or("not a list")?.push(scalar(&field, text));
            Ok(())
        }
        (None, _) => {
            object.insert(field.name().to_owned(), scalar(&field, text));
            Ok(())
        }
    }
}

fn scalar(field: &FieldDescriptor, text: &str) -> Value {
    match field.kind() {
        Kind::Bool => text.parse().map_or_else(|_| json!(text), Value::Bool),
        Kind::Enum(_) => text.parse::<i32>().map_or_else(|_| json!(text), Value::from),
        _ => json!(text),
    }
}

fn answer(
    shared: &Shared,
    head: &Parts,
    binding: &Binding,
    request: &Value,
) -> Result<(&'static str, Vec<u8>), Status> {
    let credential = methods::credential(&head.headers);
    let response = shared.methods().call(binding.method.name(), request, credential)?;
    let message = schema::from_json(binding.method.output(), &response, true).map_err(Status::internal)?;
    let content_type = outbound(head);
    if content_type == PROTOBUF {
        return Ok((content_type, schema::to_protobuf(&message)));
    }
    let snake = accepted(head) == Some(JSON);
    let spelling = if snake { Spelling::Snake } else { Spelling::Camel };
    let shown = schema::to_json(&message, spelling).map_err(Status::internal)?;
    Ok((content_type, shown.to_string().into_bytes()))
}

fn accepted(head: &Parts) -> Option<&str> {
    let lines = head
        .headers
        .get_all(ACCEPT)
        .iter()
        .filter_map(|line| line.to_str().ok());
    let from_accept = lines.into_iter().find(|line| [PROTOBUF, JSON].contains(line));
    from_accept.or_else(|| {
        [PROTOBUF, JSON]
            .into_iter()
            .find(|known| *known == media_type(&head.headers))
    })
}

/// The content type of the answer: what an `Accept` line names exactly, else what the request was sent in.
fn outbound(head: &Parts) -> &'static str {
    if accepted(head) == Some(PROTOBUF) {
        PROTOBUF
    } else {
        JSON
    }
}

/// `google.rpc.Status` in the content type of the answer.
pub(super) fn describe(failure: &Status, content_type: &str) -> Vec<u8> {
    if content_type == PROTOBUF {
        let mut bytes = Vec::new();
        prost::encoding::int32::encode(1, &i32::from(failure.code), &mut bytes);
        prost::encoding::string::encode(2, &failure.message, &mut bytes);
        bytes
    } else {
        let status = json!({ "code": failure.code, "message": failure.message, "details": [] });
        status.to_string().into_bytes()
    }
}
