//! Every metric in one place. Labels come from closed sets only: enums, catalogue names, configured names.

use crate::model::reason::Reason;
use crate::protocol::Protocol;
use prometheus::{
    Encoder, Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts,
    Registry, TextEncoder,
};
use std::cell::RefCell;

/// Bounds of the duration histograms, in seconds: from a cached decision to a slow list.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

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
    /// Refused and failed requests by protocol and reason.
    pub refusals: IntCounterVec,
    /// From the head of a request to the end of its answer.
    pub request_seconds: Histogram,
    /// From the head of a request to the decision, reading the body included.
    pub judge_seconds: Histogram,
    /// From forwarding to the head of the upstream's answer.
    pub upstream_seconds: Histogram,
    /// Connections now open, by listener.
    pub connections_open: IntGaugeVec,
    /// Connections that ended before a request, or the next one, could be read, by listener and cause.
    pub handshake_failures: IntCounterVec,
    /// When the certificates in force expire, by listener and file.
    pub certificate_expiry: GaugeVec,
    /// Attempts to load a changed document, by what it is and result.
    pub reloads: IntCounterVec,
    /// Whether the last attempt succeeded, by what it is.
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
    /// Questions about opaque tokens, by issuer and result.
    pub introspections: IntCounterVec,
    /// Tokens found in the cache of verified tokens, or not.
    pub token_cache: IntCounterVec,
    /// Audit records written.
    pub audit_records: IntCounter,
    /// Audit records that could not be written.
    pub audit_failures: IntCounter,
    /// When the process started.
    pub start_timestamp: Gauge,
}

impl Metrics {
    /// Registers every metric, with every refusal's series at zero so that alerts see the first one.
    ///
    /// # Errors
    /// A name registered twice, or one Prometheus refuses: a fault of this file.
    pub fn new() -> Result<Self, prometheus::Error> {
        let registry = Registry::new();
        let make = Maker {
            registry: &registry,
            descriptions: RefCell::default(),
        };
        let metrics = Self {
            requests: make.counters(
                "requests_total",
                "Requests by protocol, RPC and outcome.",
                &["protocol", "rpc", "outcome"],
            )?,
            refusals: make.counters(
                "refusals_total",
                "Refused and failed requests by protocol and reason.",
                &["protocol", "reason"],
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
                "Whether the last attempt to load the document succeeded (1) or the last good one is kept (0).",
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
            audit_records: make.counter("audit_records_total", "Audit records handed to the writer.")?,
            audit_failures: make.counter("audit_failures_total", "Audit records that could not be written.")?,
            start_timestamp: make.float_gauge(
                "process_start_timestamp_seconds",
                "When the process started, in seconds since 1970.",
            )?,
            descriptions: make.descriptions.take(),
            registry,
        };
        for protocol in Protocol::ALL {
            for reason in Reason::ALL {
                metrics.refusals.with_label_values(&[protocol.label(), reason.label()]);
            }
        }
        for result in ["hit", "miss"] {
            metrics.token_cache.with_label_values(&[result]);
        }
        Ok(metrics)
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

/// Registers metrics under the common prefix.
struct Maker<'a> {
    registry: &'a Registry,
    descriptions: RefCell<Vec<Description>>,
}

impl Maker<'_> {
    fn register<C: prometheus::core::Collector + Clone + 'static>(
        &self,
        kind: &'static str,
        metric: C,
    ) -> Result<C, prometheus::Error> {
        self.registry.register(Box::new(metric.clone()))?;
        let described = metric.desc().into_iter().map(|metric| Description {
            name: metric.fq_name.clone(),
            kind,
            labels: metric.variable_labels.clone(),
            help: metric.help.clone(),
        });
        self.descriptions.borrow_mut().extend(described);
        Ok(metric)
    }

    fn options(name: &str, help: &str) -> Opts {
        Opts::new(name, help).namespace("flyte_authz")
    }

    fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register("counter", IntCounterVec::new(Self::options(name, help), labels)?)
    }

    fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register("counter", IntCounter::with_opts(Self::options(name, help))?)
    }

    fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register("gauge", IntGaugeVec::new(Self::options(name, help), labels)?)
    }

    fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register("gauge", IntGauge::with_opts(Self::options(name, help))?)
    }

    fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register("gauge", GaugeVec::new(Self::options(name, help), labels)?)
    }

    fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register("gauge", Gauge::with_opts(Self::options(name, help))?)
    }

    fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(name, help)
            .namespace("flyte_authz")
            .buckets(SECONDS.to_vec());
        self.register("histogram", Histogram::with_opts(options)?)
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
                let (protocol, reason) = (protocol.label(), reason.label());
                let series = format!("flyte_authz_refusals_total{{protocol=\"{protocol}\",reason=\"{reason}\"}} 0\n");
                assert!(text.contains(&series), "{series}");
            }
        }
    }
}
