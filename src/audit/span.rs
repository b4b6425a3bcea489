//! What a request's span says: the same as its record, by the semantic conventions of OpenTelemetry for HTTP and RPC, and
//! no more of the caller than its subject, if that is wanted.

use super::Record;
use crate::metrics::{Outcome, UNKNOWN_RPC};
use crate::protocol::Protocol;
use crate::spans::{Attributes, Summary, Trace, Tracer, Value};
use http::Method;

/// A request's trace, and what its record does not say.
#[derive(Debug)]
pub(super) struct Traced {
    pub(super) trace: Trace,
    method: &'static str,
}

impl Traced {
    pub(super) fn new(trace: Trace, method: &Method) -> Self {
        Self {
            trace,
            method: known(method),
        }
    }

    /// Ends the trace with what the record says.
    pub(super) fn finish(self, tracer: &Tracer, record: &Record, protocol: Protocol, outcome: Outcome) {
        let method = self.method;
        tracer.finish(self.trace, || {
            summary(record, method, protocol, outcome, tracer.subject)
        });
    }
}

/// Methods by their names; callers can make up others.
fn known(method: &Method) -> &'static str {
    const KNOWN: [&str; 7] = ["GET", "POST", "PUT", "DELETE", "OPTIONS", "HEAD", "PATCH"];
    KNOWN
        .into_iter()
        .find(|name| *name == method.as_str())
        .unwrap_or("_OTHER")
}

fn summary(
    record: &Record,
    http_method: &'static str,
    protocol: Protocol,
    outcome: Outcome,
    with_subject: bool,
) -> Summary {
    let rpc = record.rpc.as_deref().unwrap_or(UNKNOWN_RPC);
    let forwarded = call(rpc, http_method, protocol);
    let failed = outcome == Outcome::Failed || is_server_error(record, protocol);
    let mut attributes = forwarded.clone();
    attributes.extend(own(record, protocol));
    attributes.push(("flyte_authz.decision", outcome.label().into()));
    if failed {
        // Without a reason of the proxy's, the control plane has answered so.
        attributes.push(("error.type", record.reason.unwrap_or("upstream_status").into()));
    }
    let subject = record.principal.as_ref().map(|principal| &*principal.subject);
    if let Some(subject) = subject.filter(|subject| with_subject && !subject.is_empty()) {
        attributes.push(("enduser.id", subject.into()));
    }
    let rpc = rpc.strip_prefix('/').unwrap_or(rpc);
    Summary {
        name: match protocol {
            Protocol::Grpc => rpc.to_owned(),
            Protocol::Rest | Protocol::RestProto => format!("{http_method} {rpc}"),
        },
        attributes,
        forwarded,
        failed,
    }
}

/// Which call it is.
fn call(rpc: &str, http_method: &'static str, protocol: Protocol) -> Attributes {
    let mut attributes: Attributes = vec![match protocol {
        Protocol::Grpc => ("rpc.system", "grpc".into()),
        Protocol::Rest | Protocol::RestProto => ("http.request.method", http_method.into()),
    }];
    let path = rpc.strip_prefix('/');
    // RPCs are `package.Service/Method`; the rest are pages.
    let names = path.and_then(|path| path.split_once('/'));
    match names.filter(|(service, _)| service.contains('.')) {
        Some((service, method)) => {
            attributes.push(("rpc.service", service.into()));
            attributes.push(("rpc.method", method.into()));
        }
        None if path.is_some() => attributes.push(("http.route", rpc.into())),
        None => {}
    }
    attributes
}

/// What the record says besides.
fn own(record: &Record, protocol: Protocol) -> Attributes {
    let status = match protocol {
        Protocol::Grpc => record.grpc_status.map(|status| ("rpc.grpc.status_code", status)),
        Protocol::Rest | Protocol::RestProto => record.status.map(|status| ("http.response.status_code", status)),
    };
    let mut attributes: Attributes = vec![
        ("network.peer.address", record.peer.ip().to_string().as_str().into()),
        ("network.peer.port", Value::Number(record.peer.port())),
        ("flyte_authz.request_id", record.request_id.as_str().into()),
        ("flyte_authz.listener", (&*record.listener).into()),
        ("flyte_authz.protocol", record.protocol.into()),
    ];
    attributes.extend(status.map(|(name, status)| (name, Value::Number(status))));
    attributes.extend(record.reason.map(|reason| ("flyte_authz.reason", reason.into())));
    attributes.extend(record.action.map(|action| ("flyte_authz.action", action.into())));
    attributes
}

/// Whether the answer's status means a fault of the server (the conventions' tables for servers).
fn is_server_error(record: &Record, protocol: Protocol) -> bool {
    match protocol {
        Protocol::Grpc => matches!(record.grpc_status, Some(2 | 4 | 12..=15)),
        Protocol::Rest | Protocol::RestProto => record.status.is_some_and(|status| status >= 500),
    }
}
