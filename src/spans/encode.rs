//! Spans as OTLP writes them: `opentelemetry.proto.collector.trace.v1.ExportTraceServiceRequest`, version 1 of the
//! protocol. Field numbers are those of <https://github.com/open-telemetry/opentelemetry-proto>.

use super::{Attributes, Finished, Stage, Value};
use std::time::Duration;

const NAME: &str = env!("CARGO_PKG_NAME");
const VERSION: &str = env!("CARGO_PKG_VERSION");

/// Values of `Span.SpanKind`.
const INTERNAL: u64 = 1;
const SERVER: u64 = 2;
const CLIENT: u64 = 3;
/// `Status.STATUS_CODE_ERROR`.
const ERROR: u64 = 2;

/// The request that exports these traces.
pub(super) fn request(traces: &[Finished]) -> Vec<u8> {
    let mut request = Message::default();
    request.message(1, |resource_spans| {
        resource_spans.message(1, |resource| {
            attribute(resource, 1, "service.name", &NAME.into());
            attribute(resource, 1, "service.version", &VERSION.into());
        });
        resource_spans.message(2, |scope_spans| {
            scope_spans.message(1, |scope| {
                scope.text(1, NAME);
                scope.text(2, VERSION);
            });
            for trace in traces {
                scope_spans.message(2, |span| server(span, trace));
                for index in 0..trace.spans.stages.len() {
                    scope_spans.message(2, |span| stage(span, trace, index));
                }
            }
        });
    });
    request.0
}

fn server(span: &mut Message, trace: &Finished) {
    let spans = &trace.spans;
    identity(span, trace, spans.server, spans.parent);
    span.text(5, &trace.summary.name);
    span.number(6, SERVER);
    span.time(7, spans.began);
    span.time(8, spans.began + trace.took);
    attributes(span, &trace.summary.attributes);
    status(span, trace.summary.failed);
}

fn stage(span: &mut Message, trace: &Finished, index: usize) {
    let spans = &trace.spans;
    let Some(part) = spans.stages.get(index) else { return };
    let is_last = index + 1 == spans.stages.len();
    identity(span, trace, part.id, Some(spans.server));
    span.text(5, part.stage.label());
    span.number(6, if part.stage == Stage::Forward { CLIENT } else { INTERNAL });
    span.time(7, spans.began + part.begin);
    span.time(8, spans.began + part.end.unwrap_or(trace.took));
    if part.stage == Stage::Forward {
        attributes(span, &trace.summary.forwarded);
    }
    // What fails ends with the stage in which it fails.
    status(span, trace.summary.failed && is_last);
}

fn identity(span: &mut Message, trace: &Finished, id: u64, parent: Option<u64>) {
    span.bytes(1, &trace.trace_id.to_be_bytes());
    span.bytes(2, &id.to_be_bytes());
    if !trace.spans.state.is_empty() {
        span.text(3, &trace.spans.state);
    }
    if let Some(parent) = parent {
        span.bytes(4, &parent.to_be_bytes());
    }
}

fn attributes(span: &mut Message, attributes: &Attributes) {
    for (name, value) in attributes {
        attribute(span, 9, name, value);
    }
}

fn attribute(parent: &mut Message, field: u32, name: &str, value: &Value) {
    parent.message(field, |pair| {
        pair.text(1, name);
        pair.message(2, |any| match value {
            Value::Text(text) => any.text(1, text),
            Value::Number(number) => any.number(3, u64::from(*number)),
        });
    });
}

fn status(span: &mut Message, failed: bool) {
    if failed {
        span.message(15, |status| status.number(3, ERROR));
    }
}

/// A protobuf message that is being written.
#[derive(Default)]
struct Message(Vec<u8>);

impl Message {
    fn varint(&mut self, mut number: u64) {
        while let Some(low) = u8::try_from(number & 0x7f).ok().filter(|_| number > 0x7f) {
            self.0.push(low | 0x80);
            number >>= 7;
        }
        self.0.push(u8::try_from(number).unwrap_or_default());
    }

    fn key(&mut self, field: u32, wire_type: u32) {
        self.varint(u64::from(field << 3 | wire_type));
    }

    fn number(&mut self, field: u32, number: u64) {
        self.key(field, 0);
        self.varint(number);
    }

    /// Nanoseconds since 1970, `fixed64`.
    fn time(&mut self, field: u32, since_epoch: Duration) {
        self.key(field, 1);
        let nanoseconds = u64::try_from(since_epoch.as_nanos()).unwrap_or(u64::MAX);
        self.0.extend_from_slice(&nanoseconds.to_le_bytes());
    }

    fn bytes(&mut self, field: u32, bytes: &[u8]) {
        self.key(field, 2);
        self.varint(bytes.len() as u64);
        self.0.extend_from_slice(bytes);
    }

    fn text(&mut self, field: u32, text: &str) {
        self.bytes(field, text.as_bytes());
    }

    fn message(&mut self, field: u32, write: impl FnOnce(&mut Self)) {
        let mut inner = Self::default();
        write(&mut inner);
        self.bytes(field, &inner.0);
    }
}
