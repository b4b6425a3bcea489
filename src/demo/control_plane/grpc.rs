//! The gRPC side: one frame in, one frame and trailers out (<https://github.com/grpc/grpc/blob/master/doc/PROTOCOL-HTTP2.md>).

use super::answer::{Answer, Step};
use super::arrivals::Visit;
use super::fault::{self, Fault};
use super::schema::{self, Spelling};
use super::status::{self, Status};
use super::{Shared, methods};
use bytes::{BufMut, Bytes, BytesMut};
use flate2::Compression;
use flate2::read::GzDecoder;
use flate2::write::GzEncoder;
use http::header::CONTENT_TYPE;
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Response, StatusCode};
use prost_reflect::MethodDescriptor;
use serde_json::Value;
use std::io::{self, Read, Write};

/// The largest message accepted, in bytes, before and after decompression: `FlyteAdmin`'s default.
const MAX_MESSAGE: usize = 4 << 20;
/// The field that carries the padding of [`Fault::Huge`]; no message has it.
const PADDING_FIELD: u64 = 536_870_000;

pub(super) async fn handle(shared: &Shared, head: &Parts, body: &Bytes, visit: Visit) -> io::Result<Response<Answer>> {
    let content_type = head.headers.get(CONTENT_TYPE).map_or(&b""[..], HeaderValue::as_bytes);
    if !content_type.starts_with(b"application/grpc") {
        let mut response = Response::new(Answer::new([], Some(visit)));
        *response.status_mut() = StatusCode::UNSUPPORTED_MEDIA_TYPE;
        return Ok(response);
    }
    let gzip = head
        .headers
        .get("grpc-encoding")
        .is_some_and(|encoding| encoding.as_bytes() == b"gzip");
    let called = read_call(shared, head, body, &visit);
    let name = head.uri.path().rsplit('/').next().unwrap_or_default();
    let fault = shared.faults.take(name);
    let fault = fault.as_ref();
    fault::before_answer(fault).await?;
    let visit = match fault::plain(fault, visit) {
        Ok(response) => return Ok(response),
        Err(visit) => visit,
    };
    if let Some(Fault::Status { code, message, details }) = fault {
        let failure = Status {
            code: *code,
            message: message.clone(),
        };
        return Ok(refuse(&failure, details.as_deref(), visit));
    }
    let answered = called.and_then(|(method, request)| answer(shared, head, &method, &request));
    Ok(match answered {
        Err(failure) => refuse(&failure, None, visit),
        Ok(mut message) => {
            match fault {
                Some(Fault::Huge { bytes }) => pad(&mut message, *bytes),
                Some(Fault::Instead { message: other }) => message.clone_from(other),
                _ => {}
            }
            respond(fault, &frame(&message, gzip)?, gzip, visit)
        }
    })
}

fn read_call(shared: &Shared, head: &Parts, body: &Bytes, visit: &Visit) -> Result<(MethodDescriptor, Value), Status> {
    let path = head.uri.path();
    let method = shared.schema.method(path);
    let method = method.ok_or_else(|| Status::unimplemented(format!("unknown method {path}")))?;
    let message = unframe(body)?;
    let request = schema::from_protobuf(method.input(), &message)
        .and_then(|request| schema::to_json(&request, Spelling::Stored))
        .map_err(|error| Status::internal(format!("grpc: error unmarshalling request: {error}")))?;
    visit.call(method.name(), &request);
    Ok((method.clone(), request))
}

fn unframe(body: &Bytes) -> Result<Vec<u8>, Status> {
    let Some((&[flag, a, b, c, d], rest)) = body.split_first_chunk::<5>() else {
        return Err(Status::internal("the body is not a gRPC frame"));
    };
    let length = usize::try_from(u32::from_be_bytes([a, b, c, d])).unwrap_or(usize::MAX);
    let message = rest
        .get(..length)
        .ok_or_else(|| Status::internal("the gRPC frame is cut short"))?;
    let mut plain = Vec::new();
    if flag == 1 {
        let limit = u64::try_from(MAX_MESSAGE).unwrap_or(u64::MAX) + 1;
        let read = GzDecoder::new(message).take(limit).read_to_end(&mut plain);
        read.map_err(|error| Status::internal(format!("grpc: failed to decompress the message: {error}")))?;
    } else {
        plain.extend_from_slice(message);
    }
    if plain.len() > MAX_MESSAGE {
        return Err(Status::too_large(format!(
            "grpc: received message larger than max ({} vs. {MAX_MESSAGE})",
            plain.len()
        )));
    }
    Ok(plain)
}

fn answer(shared: &Shared, head: &Parts, method: &MethodDescriptor, request: &Value) -> Result<Vec<u8>, Status> {
    let credential = methods::credential(&head.headers);
    let response = shared.methods().call(method.name(), request, credential)?;
    let message = schema::from_json(method.output(), &response, true).map_err(Status::internal)?;
    Ok(schema::to_protobuf(&message))
}

fn pad(message: &mut Vec<u8>, bytes: usize) {
    let length = u64::try_from(bytes).unwrap_or(u64::MAX);
    prost::encoding::encode_varint((PADDING_FIELD << 3) | 2, message);
    prost::encoding::encode_varint(length, message);
    message.resize(message.len() + bytes, b' ');
}

fn frame(message: &[u8], gzip: bool) -> io::Result<Bytes> {
    let compressed;
    let content = if gzip {
        let mut encoder = GzEncoder::new(Vec::new(), Compression::fast());
        encoder.write_all(message)?;
        compressed = encoder.finish()?;
        &compressed
    } else {
        message
    };
    let mut frame = BytesMut::with_capacity(content.len() + 5);
    frame.put_u8(u8::from(gzip));
    frame.put_u32(u32::try_from(content.len()).map_err(io::Error::other)?);
    frame.put_slice(content);
    Ok(frame.freeze())
}

fn respond(fault: Option<&Fault>, frame: &Bytes, gzip: bool, visit: Visit) -> Response<Answer> {
    let (mut steps, trailers) = fault::play(fault, frame.clone());
    if trailers {
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        trailers.insert("grpc-message", HeaderValue::from_static(""));
        steps.push(Step::Trailers(trailers));
    }
    let mut response = Response::new(Answer::new(steps, Some(visit)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    if gzip {
        headers.insert("grpc-encoding", HeaderValue::from_static("gzip"));
    }
    response
}

/// Trailers-Only: the status in the headers, and no body.
fn refuse(failure: &Status, details: Option<&str>, visit: Visit) -> Response<Answer> {
    let mut response = Response::new(Answer::new([], Some(visit)));
    let headers = response.headers_mut();
    headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
    headers.insert("grpc-status", HeaderValue::from(u16::from(failure.code)));
    let message = HeaderValue::from_str(&status::encode_message(&failure.message));
    headers.insert("grpc-message", message.unwrap_or(HeaderValue::from_static("")));
    if let Some(Ok(details)) = details.map(HeaderValue::from_str) {
        headers.insert("grpc-status-details-bin", details);
    }
    response
}
