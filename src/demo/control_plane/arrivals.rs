//! The record of what arrived: every request as it was received, and whether it was answered.

use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::request::Parts;
use serde::{Serialize, Serializer};
use serde_json::Value;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};

/// What became of a request.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Serialize)]
#[serde(rename_all = "snake_case")]
pub enum Outcome {
    /// It is being worked on.
    Pending,
    /// The whole answer was handed to the connection.
    Answered,
    /// The caller left, or a scripted fault broke it off, before the answer was complete.
    Abandoned,
}

/// One request as it arrived. It holds credentials as sent: it is meant for tests, never for a log.
#[derive(Debug, Clone, Serialize)]
pub struct Arrival {
    /// Counts up over the life of the control plane, also across `clear`.
    pub sequence: u64,
    /// `grpc` or `http`.
    pub protocol: &'static str,
    /// The HTTP method.
    pub method: String,
    /// Path and query as received.
    pub target: String,
    /// `:authority` or `Host`; empty if there was none.
    pub authority: String,
    /// The RPC that was called, such as `GetTask`, once it is known; `None` for pages.
    pub rpc: Option<String>,
    /// All headers in the order received within a name.
    pub headers: Vec<(String, String)>,
    /// The decoded request with the field names of the protobuf files, once it is known.
    pub request: Option<Value>,
    /// The body as received (base64 in JSON); empty until it is complete.
    #[serde(serialize_with = "as_base64")]
    pub body: Bytes,
    /// What became of it.
    pub outcome: Outcome,
}

impl Arrival {
    /// All values of a header; the name in lower case.
    pub fn header(&self, name: &str) -> Vec<&str> {
        let named = self.headers.iter().filter(|(key, _)| key == name);
        named.map(|(_, value)| value.as_str()).collect()
    }
}

fn as_base64<S: Serializer>(bytes: &Bytes, serializer: S) -> Result<S::Ok, S::Error> {
    serializer.serialize_str(&STANDARD.encode(bytes))
}

#[derive(Debug, Default)]
struct Log {
    arrivals: Vec<Arrival>,
    next: u64,
}

/// The shared record.
#[derive(Debug, Default, Clone)]
pub(super) struct Arrivals(Arc<Mutex<Log>>);

impl Arrivals {
    fn log(&self) -> MutexGuard<'_, Log> {
        self.0.lock().unwrap_or_else(PoisonError::into_inner)
    }

    pub(super) fn all(&self) -> Vec<Arrival> {
        self.log().arrivals.clone()
    }

    pub(super) fn count(&self) -> usize {
        self.log().arrivals.len()
    }

    pub(super) fn take_ended(&self) -> Vec<Arrival> {
        let mut log = self.log();
        let ended = |arrival: &mut Arrival| arrival.outcome != Outcome::Pending;
        log.arrivals.extract_if(.., ended).collect()
    }

    pub(super) fn clear(&self) {
        self.log().arrivals.clear();
    }

    pub(super) fn record(&self, protocol: &'static str, head: &Parts) -> Visit {
        let header_text = |value: &http::HeaderValue| String::from_utf8_lossy(value.as_bytes()).into_owned();
        let authority = head.uri.authority().map(ToString::to_string);
        let host = || head.headers.get(http::header::HOST).map(header_text);
        let target = head.uri.path_and_query().map_or("", http::uri::PathAndQuery::as_str);
        let headers = head.headers.iter();
        let mut log = self.log();
        let sequence = log.next;
        log.next += 1;
        log.arrivals.push(Arrival {
            sequence,
            protocol,
            method: head.method.to_string(),
            target: target.to_owned(),
            authority: authority.or_else(host).unwrap_or_default(),
            rpc: None,
            headers: headers
                .map(|(name, value)| (name.to_string(), header_text(value)))
                .collect(),
            request: None,
            body: Bytes::new(),
            outcome: Outcome::Pending,
        });
        Visit {
            arrivals: self.clone(),
            sequence,
            answered: false,
        }
    }
}

/// The recording of one request; dropped unanswered, it records that the request was abandoned.
#[derive(Debug)]
pub(super) struct Visit {
    arrivals: Arrivals,
    sequence: u64,
    answered: bool,
}

impl Visit {
    fn update(&self, change: impl FnOnce(&mut Arrival)) {
        let mut log = self.arrivals.log();
        // A `clear` in between has removed it.
        if let Some(arrival) = log
            .arrivals
            .iter_mut()
            .find(|arrival| arrival.sequence == self.sequence)
        {
            change(arrival);
        }
    }

    pub(super) fn body(&self, body: &Bytes) {
        self.update(|arrival| arrival.body = body.clone());
    }

    pub(super) fn call(&self, rpc: &str, request: &Value) {
        self.update(|arrival| {
            arrival.rpc = Some(rpc.to_owned());
            arrival.request = Some(request.clone());
        });
    }

    pub(super) fn answered(&mut self) {
        self.answered = true;
        self.update(|arrival| arrival.outcome = Outcome::Answered);
    }
}

impl Drop for Visit {
    fn drop(&mut self) {
        if !self.answered {
            self.update(|arrival| arrival.outcome = Outcome::Abandoned);
        }
    }
}
