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

/// gRPC statuses by which the server is at fault (the conventions' table for servers).
fn is_server_error(grpc_status: u16) -> bool {
    matches!(grpc_status, 2 | 4 | 12 | 13 | 14 | 15)
}

fn summary(
    record: &Record,
    http_method: &'static str,
    protocol: Protocol,
    outcome: Outcome,
    with_subject: bool,
) -> Summary {
    let rpc = record.rpc.as_deref().unwrap_or(UNKNOWN_RPC);
    let name = rpc.strip_prefix('/').filter(|name| name.contains('/'));
    let mut attributes: Attributes = Vec::with_capacity(20);
    let mut say = |name, value: Value| attributes.push((name, value));
    if protocol == Protocol::Grpc {
        say("rpc.system", "grpc".into());
    } else {
        say("http.request.method", http_method.into());
        if name.is_none() && record.rpc.is_some() && rpc.starts_with('/') {
            say("http.route", rpc.into());
        }
    }
    if let Some((service, method)) = name.and_then(|name| name.split_once('/')).filter(|_| is_rpc(rpc)) {
        say("rpc.service", service.into());
        say("rpc.method", method.into());
    }
    let forwarded = attributes.clone();
    let mut say = |name, value: Value| attributes.push((name, value));
    if protocol == Protocol::Grpc {
        if let Some(status) = record.grpc_status {
            say("rpc.grpc.status_code", Value::Number(status));
        }
    } else if let Some(status) = record.status {
        say("http.response.status_code", Value::Number(status));
    }
    say("network.peer.address", record.peer.ip().to_string().as_str().into());
    say("network.peer.port", Value::Number(record.peer.port()));
    say("flyte_authz.request_id", (&*record.request_id).into());
    say("flyte_authz.listener", (&*record.listener).into());
    say("flyte_authz.protocol", record.protocol.into());
    say("flyte_authz.decision", outcome.label().into());
    if let Some(reason) = record.reason {
        say("flyte_authz.reason", reason.into());
    }
    if let Some(action) = record.action {
        say("flyte_authz.action", action.into());
    }
    let subject = record.principal.as_ref().map(|principal| &*principal.subject);
    if let Some(subject) = subject.filter(|subject| with_subject && !subject.is_empty()) {
        say("enduser.id", subject.into());
    }
    let failed = match protocol {
        Protocol::Grpc => record.grpc_status.is_some_and(is_server_error),
        Protocol::Rest | Protocol::RestProto => record.status.is_some_and(|status| status >= 500),
    };
    let failed = failed || outcome == Outcome::Failed;
    if failed {
        say("error.type", record.reason.unwrap_or("upstream_status").into());
    }
    let rpc = rpc.strip_prefix('/').unwrap_or(rpc);
    Summary {
        name: if protocol == Protocol::Grpc {
            rpc.to_owned()
        } else {
            format!("{http_method} {rpc}")
        },
        attributes,
        forwarded,
        failed,
    }
}

/// Whether it is an RPC's path and no page's: `/package.Service/Method`.
fn is_rpc(path: &str) -> bool {
    path.trim_start_matches('/')
        .split('/')
        .next()
        .is_some_and(|service| service.contains('.'))
}
