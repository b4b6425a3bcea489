//! Every metric in one place. Labels come from closed sets only: enums, catalogue names, configured names.

use crate::model::reason::{Blame, Reason};
use crate::protocol::Protocol;
use maker::Maker;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Registry, TextEncoder,
};

mod maker;
mod zeros;

/// How a request ended.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    /// It went upstream and was answered.
    Forwarded,
    /// It was answered by the proxy itself, as a health check is.
    Answered,
    /// It was refused.
    Denied,
    /// It was permitted but could not be completed.
    Failed,
    /// The client left before the answer was complete.
    Aborted,
}

impl Outcome {
    /// Every outcome.
    pub const ALL: &'static [Self] = &[
        Self::Forwarded,
        Self::Answered,
        Self::Denied,
        Self::Failed,
        Self::Aborted,
    ];

    /// The word used in metrics and audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Forwarded => "forwarded",
            Self::Answered => "answered",
            Self::Denied => "denied",
            Self::Failed => "failed",
            Self::Aborted => "aborted",
        }
    }
}

/// What the control plane's own answer says, in a word.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum AnswerClass {
    /// It did what it was asked.
    Ok,
    /// It found fault with the request: HTTP 4xx, or the gRPC status that becomes one.
    ClientError,
    /// It failed: HTTP 5xx, the gRPC status that becomes one, or no gRPC status at all.
    ServerError,
}

impl AnswerClass {
    /// Every class.
    pub const ALL: &'static [Self] = &[Self::Ok, Self::ClientError, Self::ServerError];

    /// The word used in metrics.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Ok => "ok",
            Self::ClientError => "client_error",
            Self::ServerError => "server_error",
        }
    }

    /// The class of an answer, by its gRPC status where it is one of gRPC. Codes become HTTP statuses as they do in
    /// FlyteAdmin's gateway, so that both protocols count alike.
    #[must_use]
    pub const fn of(protocol: Protocol, status: u16, grpc_status: Option<u16>) -> Self {
        match (protocol, status, grpc_status) {
            (Protocol::Grpc, 200, Some(0)) => Self::Ok,
            (Protocol::Grpc, 200, Some(1 | 3 | 5..=11 | 16)) | (_, 400..500, _) => Self::ClientError,
            (Protocol::Grpc, 200, _) | (_, 500.., _) => Self::ServerError,
            _ => Self::Ok,
        }
    }
}

/// What is to be known about a metric before it has a value.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Description {
    /// Its full name.
    pub name: String,
    /// `counter`, `gauge` or `histogram`.
    pub kind: &'static str,
    /// The names of its labels.
    pub labels: Vec<String>,
    /// What it tells, in one sentence.
    pub help: String,
}

/// The label of requests that match no RPC and no page.
pub const UNKNOWN_RPC: &str = "unknown";

/// Every metric of the process, in a registry of its own.
#[derive(Debug)]
pub struct Metrics {
    registry: Registry,
    descriptions: Vec<Description>,
    /// Requests by protocol, RPC and outcome.
    pub requests: IntCounterVec,
    /// Refused and failed requests by protocol, reason and whose fault the reason is.
    refusals: IntCounterVec,
    /// Requests that were forwarded although the policy refuses them, by protocol and reason.
    pub shadow_refusals: IntCounterVec,
    /// Whether the policy's refusals are acted on.
    pub enforcing: IntGauge,
    /// Decisions that were compared with the candidate policy's.
    pub candidate_decisions: IntCounterVec,
    /// Decisions in which the candidate policy differs, by RPC and direction.
    pub candidate_differences: IntCounterVec,
    /// Answers of the control plane that were passed on, by protocol and class.
    pub upstream_answers: IntCounterVec,
    /// From the head of a request to the end of its answer.
    pub request_seconds: Histogram,
    /// From the head of a request to the decision, reading the body included.
    pub judge_seconds: Histogram,
    /// From forwarding to the head of the upstream's answer.
    pub upstream_seconds: Histogram,
    /// Whether requests go to an address of the control plane, by port and address.
    pub upstream_address_up: IntGaugeVec,
    /// Connections to the control plane that could not be made, by port.
    pub upstream_connect_failures: IntCounterVec,
    /// Requests that were not sent and went to another address, by port.
    pub upstream_repeats: IntCounterVec,
    /// Connections now open, by listener.
    pub connections_open: IntGaugeVec,
    /// Connections that ended before a request, or the next one, could be read, by listener and cause.
    pub handshake_failures: IntCounterVec,
    /// When the certificates in force expire, by listener and file.
    pub certificate_expiry: GaugeVec,
    /// Attempts to load a changed document, by what it is and result.
    pub reloads: IntCounterVec,
    /// Whether everything is as in its files, by what it is.
    pub reload_success: IntGaugeVec,
    /// When the version in force was loaded, by what it is.
    pub reload_timestamp: GaugeVec,
    /// Which policy generation is in force.
    pub policy_generation: IntGauge,
    /// How many rules the policy has.
    pub policy_rules: IntGauge,
    /// Fetches of key sets, by issuer and result.
    pub key_set_refreshes: IntCounterVec,
    /// When the key set in force was fetched, by issuer.
    pub key_set_timestamp: GaugeVec,
    /// Whether the last attempt to fetch or read a key set succeeded, by issuer.
    pub key_set_refresh_success: IntGaugeVec,
    /// Until when a fetched key set counts, by issuer.
    pub key_set_expiry: GaugeVec,
    /// Questions about opaque tokens, by issuer and result.
    pub introspections: IntCounterVec,
    /// Tokens found in the cache of verified tokens, or not.
    pub token_cache: IntCounterVec,
    /// Stored executions looked up.
    pub lookups: IntCounter,
    /// Audit records written.
    pub audit_records: IntCounter,
    /// Attempts to write audit records that failed.
    pub audit_failures: IntCounter,
    /// Audit records that were lost.
    pub audit_dropped: IntCounter,
    /// Traces by what became of them.
    pub traces: IntCounterVec,
    /// Bytes that requests hold.
    pub held_bytes: IntGauge,
    /// How many they may.
    pub held_bytes_limit: IntGauge,
    /// Audit records that wait to be written.
    pub audit_queue: IntGauge,
    /// How many audit records can wait.
    pub audit_queue_capacity: IntGauge,
    /// Audit records that found the queue full.
    pub audit_queue_full: IntCounter,
    /// When the process started.
    pub start_timestamp: Gauge,
    /// Whether the proxy is ready.
    pub ready: IntGauge,
}

impl Metrics {
    /// Registers every metric, with every refusal's series at zero so that alerts see the first one.
    ///
    /// # Errors
    /// A name registered twice, or one Prometheus refuses: a fault of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker::new(&registry);
        make.gauges("build_info", "1, with the version of the program.", &["version"])?
            .with_label_values(&[env!("CARGO_PKG_VERSION")])
            .set(1);
        let metrics = Self {
            requests: make.counters(
                "requests_total",
                "Requests by protocol, RPC and outcome.",
                &["protocol", "rpc", "outcome"],
            )?,
            refusals: make.counters(
                "refusals_total",
                "Refused and failed requests by protocol, reason, and whose fault that is.",
                &["protocol", "reason", "fault"],
            )?,
            upstream_answers: make.counters(
                "upstream_answers_total",
                "Answers of the control plane that were passed on whole, by protocol and class: `ok`, `client_error`, `server_error`.",
                &["protocol", "class"],
            )?,
            shadow_refusals: make.counters(
                "shadow_refusals_total",
                "Requests that the policy refuses and that were forwarded because of `enforcement: shadow`, by protocol and reason.",
                &["protocol", "reason"],
            )?,
            enforcing: make.gauge(
                "enforcing",
                "Whether the policy's refusals are acted on (1) or only recorded (0): the setting `enforcement`.",
            )?,
            candidate_decisions: make.counters(
                "candidate_decisions_total",
                "Decisions that were compared with those of the candidate policy: `same` or `different`.",
                &["result"],
            )?,
            candidate_differences: make.counters(
                "candidate_differences_total",
                "Decisions that the candidate policy would change, by RPC and direction: `gained` if it allows more, `lost` if less.",
                &["rpc", "direction"],
            )?,
            request_seconds: make.histogram(
                "request_seconds",
                "From the head of a request to the end of its answer, in seconds.",
            )?,
            judge_seconds: make.histogram(
                "judge_seconds",
                "From the head of a request to the decision, in seconds; includes waiting for its body.",
            )?,
            upstream_seconds: make.histogram(
                "upstream_seconds",
                "From forwarding a request to the head of the answer, in seconds.",
            )?,
            upstream_address_up: make.gauges(
                "upstream_address_up",
                "Whether requests go to this address of the control plane (1) or it is left out for a while because it could not be reached (0), by port; at most 64 addresses a port.",
                &["port", "address"],
            )?,
            upstream_connect_failures: make.counters(
                "upstream_connect_failures_total",
                "Connections to the control plane that could not be made, by port.",
                &["port"],
            )?,
            upstream_repeats: make.counters(
                "upstream_repeats_total",
                "Requests that could not be sent to one address of the control plane and went to another, by port.",
                &["port"],
            )?,
            connections_open: make.gauges("connections_open", "Connections now open, by listener.", &["listener"])?,
            handshake_failures: make.counters(
                "handshake_failures_total",
                "Connections that ended before a request, or the next one, could be read, by listener and cause.",
                &["listener", "cause"],
            )?,
            certificate_expiry: make.float_gauges(
                "certificate_expiry_timestamp_seconds",
                "When the certificate in force expires, by listener and file, in seconds since 1970.",
                &["listener", "certificate"],
            )?,
            reloads: make.counters(
                "reloads_total",
                "Attempts to load a changed document, by what it is and result.",
                &["what", "result"],
            )?,
            reload_success: make.gauges(
                "reload_success",
                "Whether all documents of the kind are in force as they are in their files (1), or of one the last good version is kept (0).",
                &["what"],
            )?,
            reload_timestamp: make.float_gauges(
                "reload_timestamp_seconds",
                "When the document in force was loaded, in seconds since 1970.",
                &["what"],
            )?,
            policy_generation: make.gauge(
                "policy_generation",
                "The generation of the policy in force; grows by one with every change.",
            )?,
            policy_rules: make.gauge("policy_rules", "How many rules the policy in force has.")?,
            key_set_refreshes: make.counters(
                "key_set_refreshes_total",
                "Fetches of key sets, by issuer and result.",
                &["issuer", "result"],
            )?,
            key_set_timestamp: make.float_gauges(
                "key_set_timestamp_seconds",
                "When the key set in force was fetched, in seconds since 1970.",
                &["issuer"],
            )?,
            key_set_refresh_success: make.gauges(
                "key_set_refresh_success",
                "Whether the last attempt to fetch or read the issuer's key set succeeded (1) or the last good one is kept (0).",
                &["issuer"],
            )?,
            key_set_expiry: make.float_gauges(
                "key_set_expiry_timestamp_seconds",
                "When the issuer's key set stops counting unless it is fetched again, in seconds since 1970; not for one from a file.",
                &["issuer"],
            )?,
            introspections: make.counters(
                "introspections_total",
                "Questions to an issuer about opaque tokens, by issuer and result: `active`, `refused`, `failed`, or `held_back` when it was not asked.",
                &["issuer", "result"],
            )?,
            token_cache: make.counters(
                "token_cache_total",
                "Look-ups in the cache of verified tokens, by result.",
                &["result"],
            )?,
            lookups: make.counter(
                "lookups_total",
                "Stored executions that the control plane was asked about, for callers whose rules list names.",
            )?,
            audit_records: make.counter("audit_records_total", "Audit records handed to the writer.")?,
            audit_failures: make.counter(
                "audit_failures_total",
                "Attempts to write audit records, or to open their file again, that failed; they are made again.",
            )?,
            audit_dropped: make.counter(
                "audit_dropped_total",
                "Audit records that were dropped because the queue was full, or could not be written before the end.",
            )?,
            traces: make.counters(
                "traces_total",
                "Traces of requests by result: `exported`, `failed` when the collector did not take them, or `dropped` when too many were waiting.",
                &["result"],
            )?,
            held_bytes: make.gauge(
                "held_bytes",
                "Bytes of messages and of answers to be filtered that requests hold in memory now.",
            )?,
            held_bytes_limit: make.gauge(
                "held_bytes_limit",
                "How many bytes requests may hold: the setting `limits.held_bytes`.",
            )?,
            audit_queue: make.gauge("audit_queue_records", "Audit records that wait to be written.")?,
            audit_queue_capacity: make.gauge("audit_queue_capacity", "How many audit records can wait to be written.")?,
            audit_queue_full: make.counter(
                "audit_queue_full_total",
                "Audit records that found the queue full, so that their requests had to wait.",
            )?,
            start_timestamp: make.float_gauge(
                "process_start_timestamp_seconds",
                "When the process started, in seconds since 1970.",
            )?,
            ready: make.gauge("ready", "Whether the proxy is ready (1), as `/readyz` says, or not (0).")?,
            descriptions: make.descriptions(),
            registry,
        };
        zeros::show(&metrics);
        Ok(metrics)
    }

    /// The series of a reason: refused and failed requests.
    pub fn refusal(&self, protocol: Protocol, reason: Reason) -> IntCounter {
        let fault = match reason.blame() {
            Blame::Client => "client",
            Blame::Proxy => "proxy",
            Blame::Upstream => "upstream",
        };
        self.refusals
            .with_label_values(&[protocol.label(), reason.label(), fault])
    }

    /// Every metric, in the order in which they are registered.
    #[must_use]
    pub fn descriptions(&self) -> &[Description] {
        &self.descriptions
    }

    /// Everything in Prometheus' text format.
    ///
    /// # Errors
    /// None that is known: writing to memory does not fail.
    pub fn render(&self) -> Result<Vec<u8>, prometheus::Error> {
        let mut text = Vec::new();
        TextEncoder::new().encode(&self.registry.gather(), &mut text)?;
        Ok(text)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;

    #[test]
    fn every_refusal_is_there_from_the_start() {
        let text = String::from_utf8(Metrics::new().unwrap().render().unwrap()).unwrap();
        for protocol in Protocol::ALL {
            for reason in Reason::ALL {
                let fault = format!("{:?}", reason.blame()).to_lowercase();
                let (protocol, reason) = (protocol.label(), reason.label());
                let series = format!(
                    "flyte_authz_refusals_total{{fault=\"{fault}\",protocol=\"{protocol}\",reason=\"{reason}\"}} 0\n"
                );
                assert!(text.contains(&series), "{series}");
            }
        }
    }

    #[test]
    fn an_answer_counts_alike_in_every_protocol() {
        // HTTP statuses that FlyteAdmin's gateway gives to gRPC's (grpc-gateway, HTTPStatusFromCode).
        let gateway = [
            200, 408, 500, 400, 504, 404, 409, 403, 429, 400, 409, 400, 501, 500, 503, 500, 401,
        ];
        for (grpc, http) in (0..).zip(gateway) {
            let by_rest = AnswerClass::of(Protocol::Rest, http, None);
            assert_eq!(AnswerClass::of(Protocol::Grpc, 200, Some(grpc)), by_rest, "{grpc}");
        }
        for (protocol, status, grpc, class) in [
            (Protocol::Grpc, 200, None, AnswerClass::ServerError),
            (Protocol::Grpc, 200, Some(99), AnswerClass::ServerError),
            (Protocol::Grpc, 503, None, AnswerClass::ServerError),
            (Protocol::Grpc, 404, None, AnswerClass::ClientError),
            (Protocol::Rest, 304, None, AnswerClass::Ok),
            (Protocol::RestProto, 599, None, AnswerClass::ServerError),
        ] {
            assert_eq!(
                AnswerClass::of(protocol, status, grpc),
                class,
                "{protocol:?} {status} {grpc:?}"
            );
        }
    }
}
