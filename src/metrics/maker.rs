//! Registers metrics under the common prefix and keeps what is to be known about them.

use super::Description;
use prometheus::{
    Gauge, GaugeVec, Histogram, HistogramOpts, IntCounter, IntCounterVec, IntGauge, IntGaugeVec, Opts, Registry,
};
use std::cell::RefCell;

/// Bounds of the duration histograms, in seconds: from a cached decision to a slow list.
const SECONDS: &[f64] = &[
    0.000_05, 0.000_1, 0.000_25, 0.000_5, 0.001, 0.002_5, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1.0, 2.5, 5.0,
    10.0, 30.0,
];

/// Registers metrics under the common prefix.
pub(super) struct Maker<'a> {
    registry: &'a Registry,
    descriptions: RefCell<Vec<Description>>,
}

impl<'a> Maker<'a> {
    pub(super) fn new(registry: &'a Registry) -> Self {
        Self {
            registry,
            descriptions: RefCell::default(),
        }
    }

    /// What was registered, in order.
    pub(super) fn descriptions(&self) -> Vec<Description> {
        self.descriptions.take()
    }

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

    pub(super) fn counters(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntCounterVec, prometheus::Error> {
        self.register("counter", IntCounterVec::new(Self::options(name, help), labels)?)
    }

    pub(super) fn counter(&self, name: &str, help: &str) -> Result<IntCounter, prometheus::Error> {
        self.register("counter", IntCounter::with_opts(Self::options(name, help))?)
    }

    pub(super) fn gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<IntGaugeVec, prometheus::Error> {
        self.register("gauge", IntGaugeVec::new(Self::options(name, help), labels)?)
    }

    pub(super) fn gauge(&self, name: &str, help: &str) -> Result<IntGauge, prometheus::Error> {
        self.register("gauge", IntGauge::with_opts(Self::options(name, help))?)
    }

    pub(super) fn float_gauges(&self, name: &str, help: &str, labels: &[&str]) -> Result<GaugeVec, prometheus::Error> {
        self.register("gauge", GaugeVec::new(Self::options(name, help), labels)?)
    }

    pub(super) fn float_gauge(&self, name: &str, help: &str) -> Result<Gauge, prometheus::Error> {
        self.register("gauge", Gauge::with_opts(Self::options(name, help))?)
    }

    pub(super) fn histogram(&self, name: &str, help: &str) -> Result<Histogram, prometheus::Error> {
        let options = HistogramOpts::new(name, help)
            .namespace("flyte_authz")
            .buckets(SECONDS.to_vec());
        self.register("histogram", Histogram::with_opts(options)?)
    }
}
