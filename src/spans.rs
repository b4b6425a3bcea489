//! Traces of requests: W3C trace context in and out, one span for the request and one for each stage of it, exported over
//! OTLP by a task of its own. A collector that is slow or down costs spans, never requests.

use crate::config::Tracing;
use crate::metrics::Metrics;
use crate::model::ratio::Ratio;
use context::Parent;
use http::{HeaderMap, HeaderValue};
use std::hash::{BuildHasher, RandomState};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use std::time::{Duration, Instant};
use tokio::sync::mpsc;

mod context;
mod encode;
mod export;

pub use context::{TRACEPARENT, TRACESTATE};
pub use export::Exporter;

/// What a request goes through, in the order in which it usually does.
#[derive(Clone, Copy, Debug, PartialEq, Eq)]
pub enum Stage {
    /// Reading and decoding the message.
    Receive,
    /// Verifying who calls.
    Verify,
    /// Finding what the call touches, and whether that is allowed.
    Judge,
    /// Sending it to the control plane, until the head of the answer is there.
    Forward,
    /// Reading the answer and leaving out what the caller may not see.
    Filter,
}

impl Stage {
    const fn label(self) -> &'static str {
        match self {
            Self::Receive => "receive",
            Self::Verify => "verify",
            Self::Judge => "judge",
            Self::Forward => "forward",
            Self::Filter => "filter",
        }
    }
}

/// The value of an attribute.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Value {
    /// A text.
    Text(Box<str>),
    /// A whole number.
    Number(u16),
}

impl From<&str> for Value {
    fn from(text: &str) -> Self {
        Self::Text(text.into())
    }
}

/// Names and values, by the semantic conventions of OpenTelemetry where they have a name.
pub type Attributes = Vec<(&'static str, Value)>;

/// What is known of a request at its end.
#[derive(Debug)]
pub struct Summary {
    /// The span's name: one of few.
    pub name: String,
    /// What is said of it.
    pub attributes: Attributes,
    /// What of this the span of the forwarded call says, too.
    pub forwarded: Attributes,
    /// Whether it failed, by the proxy's or the control plane's fault.
    pub failed: bool,
}

/// Begins and ends traces. Shared by every request.
#[derive(Debug)]
pub struct Tracer {
    sample: Ratio,
    /// Whether callers decide what is traced, and not only trusted hops.
    callers_decide: bool,
    /// Whether spans name the caller.
    pub subject: bool,
    random: RandomState,
    count: AtomicU64,
    queue: mpsc::Sender<Finished>,
    metrics: Arc<Metrics>,
}

/// The trace of one request.
#[derive(Debug)]
pub struct Trace {
    trace_id: u128,
    /// What is recorded; nothing of requests that are not sampled.
    spans: Option<Box<Spans>>,
}

#[derive(Debug)]
struct Spans {
    server: u64,
    forward: u64,
    parent: Option<u64>,
    state: Box<str>,
    /// Since 1970.
    began: Duration,
    started: Instant,
    stages: Vec<StageSpan>,
}

#[derive(Debug)]
struct StageSpan {
    stage: Stage,
    id: u64,
    begin: Duration,
    end: Option<Duration>,
}

/// A trace that has ended.
#[derive(Debug)]
pub(crate) struct Finished {
    trace_id: u128,
    spans: Box<Spans>,
    took: Duration,
    summary: Summary,
}

/// A tracer and what exports its spans.
///
/// # Errors
/// What is wrong with the authorities.
pub fn start(settings: &Tracing, metrics: &Arc<Metrics>) -> Result<(Tracer, Exporter), crate::model::problem::Problem> {
    let (queue, finished) = mpsc::channel(settings.queue);
    let exporter = Exporter::new(settings, finished, Arc::clone(metrics))?;
    let tracer = Tracer {
        sample: settings.sample_ratio,
        callers_decide: settings.callers_decide,
        subject: settings.subject,
        random: RandomState::new(),
        count: AtomicU64::new(0),
        queue,
        metrics: Arc::clone(metrics),
    };
    Ok((tracer, exporter))
}

impl Tracer {
    /// Begins the trace of a request: as part of the caller's, or a new one. The headers are changed to what goes upstream.
    pub fn begin(&self, headers: &mut HeaderMap, by_hop: bool, now: Duration) -> Trace {
        let parent = Parent::of(headers);
        let trace_id = parent.as_ref().map_or_else(
            || (u128::from(self.next()) << 64) | u128::from(self.next()),
            |parent| parent.trace_id,
        );
        let sampled = match &parent {
            // Whoever is let decide does; that keeps traces whole.
            Some(parent) if by_hop || self.callers_decide => parent.sampled,
            // Not by the trace's identifier: whoever makes that up could have all of its requests traced.
            Some(_) => self.sample.takes(self.next()),
            None => self
                .sample
                .takes(u64::try_from(trace_id & u128::from(u64::MAX)).unwrap_or_default()),
        };
        let forward = self.next();
        let spans = sampled.then(|| {
            Box::new(Spans {
                server: self.next(),
                forward,
                parent: parent.as_ref().map(|parent| parent.span_id),
                state: parent.as_ref().map_or("", |_| context::state(headers)).into(),
                began: now,
                started: Instant::now(),
                stages: Vec::with_capacity(5),
            })
        });
        if parent.is_none() {
            headers.remove(&TRACESTATE);
        }
        let outgoing = context::traceparent(trace_id, forward, sampled);
        if let Ok(outgoing) = HeaderValue::try_from(outgoing) {
            headers.insert(&TRACEPARENT, outgoing);
        }
        Trace { trace_id, spans }
    }

    /// Ends a trace and hands it to the exporter, if there is room.
    pub fn finish(&self, trace: Trace, summary: impl FnOnce() -> Summary) {
        let Some(mut spans) = trace.spans else { return };
        let took = spans.started.elapsed();
        spans.end_stage(took);
        for span in &mut spans.stages {
            span.id = if span.stage == Stage::Forward {
                spans.forward
            } else {
                self.next()
            };
        }
        let finished = Finished {
            trace_id: trace.trace_id,
            spans,
            took,
            summary: summary(),
        };
        if self.queue.try_send(finished).is_err() {
            self.metrics.traces.with_label_values(&["dropped"]).inc();
        }
    }

    /// A number that nobody can foretell; not 0, which stands for none.
    fn next(&self) -> u64 {
        // A keyed hash of a count: as good as random, without asking the system.
        self.random.hash_one(self.count.fetch_add(1, Ordering::Relaxed)).max(1)
    }
}

impl Trace {
    /// Its identifier, in hex.
    #[must_use]
    pub fn id(&self) -> String {
        format!("{:032x}", self.trace_id)
    }

    /// The stage before has ended, and this one begins.
    pub fn stage(&mut self, stage: Stage) {
        if let Some(spans) = &mut self.spans {
            let begin = spans.started.elapsed();
            spans.end_stage(begin);
            spans.stages.push(StageSpan {
                stage,
                id: 0,
                begin,
                end: None,
            });
        }
    }

    /// The head of the control plane's answer is there, which ends [`Stage::Forward`].
    pub fn answered(&mut self) {
        if let Some(spans) = &mut self.spans
            && spans.stages.last().is_some_and(|last| last.stage == Stage::Forward)
        {
            let now = spans.started.elapsed();
            spans.end_stage(now);
        }
    }
}

impl Spans {
    fn end_stage(&mut self, now: Duration) {
        if let Some(last) = self.stages.last_mut() {
            last.end.get_or_insert(now);
        }
    }
}
