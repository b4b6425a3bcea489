//! One record a request, by construction: the guard made when a request arrives writes it when the request ends, however
//! it ends, and counts the metric from the same values.

use crate::clock::Clock;
use crate::metrics::{AnswerClass, Metrics, Outcome, UNKNOWN_RPC};
use crate::model::action::Action;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::ratio::Ratio;
use crate::model::reason::{Blame, Reason};
use crate::model::scope::Target;
use crate::model::setting::{Asked, Written};
use crate::policy::reads::Reads;
use crate::protocol::Protocol;
use crate::protocol::request_id::RequestId;
use crate::spans::{Stage, Tracer};
use http::{HeaderMap, Method};
use serde::Serialize;
use sink::{Ended, Sink};
use span::Traced;
use std::net::{IpAddr, SocketAddr};
use std::sync::Arc;
use std::time::{Duration, Instant};

pub mod output;
pub mod record;
pub mod replay;
mod room;
pub mod sink;
mod span;
mod writer;

pub use record::Record;
use record::{CandidateRecord, PolicyRecord, PrincipalRecord, TargetRecord, WouldRefuseRecord};

/// The most targets a record lists: one request can refer to tens of thousands, and records must stay short.
const MAX_TARGETS: usize = 100;

/// Where records go and what is counted with them. Shared by every request.
#[derive(Debug)]
pub struct Recorder {
    /// The metrics to count in.
    pub metrics: Arc<Metrics>,
    /// The clock that dates records.
    pub clock: Arc<dyn Clock>,
    sink: Sink,
    /// The share of allowed requests that are recorded.
    sample: Ratio,
    tracer: Option<Tracer>,
}

impl Recorder {
    /// A recorder that writes to the sink, of allowed requests that share, and traces if there is a tracer.
    #[must_use]
    pub fn new(
        metrics: Arc<Metrics>,
        clock: Arc<dyn Clock>,
        sink: Sink,
        sample: Ratio,
        tracer: Option<Tracer>,
    ) -> Self {
        Self {
            metrics,
            clock,
            sink,
            sample,
            tracer,
        }
    }
}

/// Follows one request. Dropping it unfinished records that the client left, or that the proxy failed.
#[derive(Debug)]
pub struct AuditGuard {
    recorder: Arc<Recorder>,
    protocol: Protocol,
    started: Instant,
    forwarded: Option<Instant>,
    /// By itself, since the guard is handed on several times.
    record: Box<Record>,
    traced: Option<Traced>,
    finished: bool,
}

impl AuditGuard {
    /// Begins a record.
    #[must_use]
    pub fn start(
        recorder: Arc<Recorder>,
        protocol: Protocol,
        request_id: RequestId,
        listener: Arc<str>,
        peer: SocketAddr,
    ) -> Self {
        let record = Box::new(Record::begin(&*recorder.clock, protocol, request_id, listener, peer));
        Self {
            recorder,
            protocol,
            started: Instant::now(),
            forwarded: None,
            record,
            traced: None,
            finished: false,
        }
    }

    /// The identifiers the client sent along, for correlation only.
    pub fn correlation(&mut self, client_request_id: Option<&str>, trace_id: Option<&str>) {
        self.record.client_request_id = client_request_id.map(Into::into);
        self.record.trace_id = trace_id.map(Into::into);
    }

    /// Begins the trace, if there are traces; the headers are then changed to what goes upstream.
    /// `by_hop`: whether they come from a trusted hop.
    pub fn trace(&mut self, headers: &mut HeaderMap, by_hop: bool, method: &Method) {
        if let Some(tracer) = &self.recorder.tracer {
            let trace = tracer.begin(headers, by_hop, self.recorder.clock.now());
            self.record.trace_id = Some(trace.id().into());
            self.traced = Some(Traced::new(trace, method));
        }
    }

    /// A stage begins, and the one before has ended.
    pub fn stage(&mut self, stage: Stage) {
        if let Some(traced) = &mut self.traced {
            traced.trace.stage(stage);
        }
    }

    /// Where the request came from.
    pub fn client(&mut self, address: IpAddr) {
        self.record.client = address.to_canonical();
    }

    /// The RPC or page that was found, by its catalogue name, and the action it needs by default.
    pub fn route(&mut self, rpc: Arc<str>, action: Option<Action>) {
        self.record.rpc = Some(rpc);
        self.record.action = action.map(Action::label);
    }

    /// The verified caller, and which of the request's credentials names it, if one does.
    pub fn principal(&mut self, principal: &Principal, credential: Option<&'static str>) {
        self.record.principal = Some(PrincipalRecord::of(principal));
        self.record.credential = credential;
    }

    /// What the policy looks at in the caller's token; nothing of it if it is too much.
    pub fn claims(&mut self, principal: &Principal, reads: &Reads) {
        if let Some(record) = &mut self.record.principal {
            record.add_claims(principal, reads);
        }
    }

    /// What the call touches and the action it needs.
    pub fn targets(&mut self, action: Action, targets: &[Target]) {
        self.record.action = Some(action.label());
        self.record.targets = targets.iter().take(MAX_TARGETS).map(TargetRecord::of).collect();
        self.record.targets_omitted = targets.len().saturating_sub(MAX_TARGETS);
    }

    /// The control plane is asked what one more stored execution runs.
    pub fn looks_up(&mut self) {
        self.record.lookups += 1;
        self.recorder.metrics.lookups.inc();
    }

    /// The version that judged it.
    pub fn policy(&mut self, version: &Arc<str>, generation: u64) {
        self.record.policy = Some(PolicyRecord {
            version: Arc::clone(version),
            generation,
        });
    }

    /// The rules that decided.
    pub fn rules(&mut self, rules: impl IntoIterator<Item = Arc<str>>) {
        self.record.rules = rules.into_iter().collect();
    }

    /// Whether rules allow the call only with an answer that is filtered.
    pub fn filtered(&mut self, filtered: bool) {
        self.record.filtered = filtered;
    }

    /// How long the message was.
    pub fn request_bytes(&mut self, bytes: usize) {
        self.record.request_bytes = bytes as u64;
    }

    /// The decision has fallen; the request goes upstream now.
    ///
    /// # Errors
    /// `audit_full` when what is forwarded could not be recorded at once, and is not to be forwarded then.
    pub fn judged(&mut self) -> Result<(), Denial> {
        self.decided();
        if self.recorder.sink.refuses() {
            return Err(Reason::AuditFull.into());
        }
        self.stage(Stage::Forward);
        Ok(())
    }

    fn decided(&mut self) {
        let elapsed = self.started.elapsed();
        self.record.judge_us = micros(elapsed);
        self.recorder.metrics.judge_seconds.observe(elapsed.as_secs_f64());
        self.forwarded = Some(Instant::now());
    }

    /// How long ago the head of the request arrived.
    #[must_use]
    pub fn elapsed(&self) -> Duration {
        self.started.elapsed()
    }

    /// The head of the upstream's answer.
    pub fn response_head(&mut self, status: u16) {
        if let Some(traced) = &mut self.traced {
            traced.trace.answered();
        }
        self.record.status = Some(status);
        if let Some(forwarded) = self.forwarded {
            self.recorder
                .metrics
                .upstream_seconds
                .observe(forwarded.elapsed().as_secs_f64());
        }
    }

    /// The upstream's gRPC status, from headers or trailers.
    pub fn grpc_status(&mut self, status: Option<u16>) {
        self.record.grpc_status = status.or(self.record.grpc_status);
    }

    /// More bytes of the answer have been passed on.
    pub fn response_bytes(&mut self, bytes: usize) {
        self.record.response_bytes += bytes as u64;
    }

    /// This many items of the answer were left out.
    pub fn withheld(&mut self, items: usize) {
        self.record.withheld = items;
    }

    /// The request asks for these settings.
    pub fn asks_for(&mut self, asked: &[Asked]) {
        self.record.ask(asked);
    }

    /// These settings were written into the request.
    pub fn set(&mut self, written: &[Written]) {
        let settings = written
            .iter()
            .map(|written| (written.setting.label(), written.value.clone()));
        self.record.set.extend(settings);
    }

    /// This many items of the answer would have been left out, were it not for shadow mode.
    pub fn would_withhold(&mut self, items: usize) {
        self.record.would_withhold = items;
    }

    /// The policy refuses the request, which goes on all the same: shadow mode.
    pub fn would_refuse(&mut self, denial: &Denial) {
        self.record.would_refuse = Some(WouldRefuseRecord {
            reason: denial.reason.label(),
            message: denial.message.to_string(),
        });
        self.recorder
            .metrics
            .shadow_refusals
            .with_label_values(&[self.protocol.label(), denial.reason.label()])
            .inc();
    }

    /// The candidate policy was asked, too: how it differs, if it does.
    pub fn candidate(&mut self, different: Option<CandidateRecord>) {
        let metrics = &self.recorder.metrics;
        let result = if different.is_some() { "different" } else { "same" };
        metrics.candidate_decisions.with_label_values(&[result]).inc();
        if let Some(different) = &different {
            let rpc = self.record.rpc.as_deref().unwrap_or(UNKNOWN_RPC);
            let labels = [rpc, different.direction];
            metrics.candidate_differences.with_label_values(&labels).inc();
        }
        self.record.candidate = different;
    }

    /// The request ended with an answer of the upstream or of the proxy.
    pub fn finish(mut self, outcome: Outcome) {
        self.complete(outcome, None);
    }

    /// The request was refused, or failed with a reason.
    pub fn refuse(mut self, denial: &Denial) {
        let status = denial.reason.status();
        self.record.status = Some(if self.protocol == Protocol::Grpc {
            200
        } else {
            status.http
        });
        self.record.grpc_status = (self.protocol == Protocol::Grpc).then_some(u16::from(status.grpc));
        self.fail(denial);
    }

    /// The answer broke off after its head had been passed on.
    pub fn fail(&mut self, denial: &Denial) {
        let outcome = match denial.reason.blame() {
            Blame::Client => Outcome::Denied,
            Blame::Proxy | Blame::Upstream => Outcome::Failed,
        };
        self.record.message = Some(denial.message.to_string());
        self.complete(outcome, Some(denial.reason));
    }

    fn complete(&mut self, outcome: Outcome, reason: Option<Reason>) {
        if std::mem::replace(&mut self.finished, true) {
            return;
        }
        if self.forwarded.is_none() {
            self.decided();
        }
        let elapsed = self.started.elapsed();
        self.record.outcome = outcome.label();
        self.record.reason = reason.map(Reason::label);
        self.record.duration_us = micros(elapsed);
        self.record.shorten();
        let metrics = &self.recorder.metrics;
        let rpc = self.record.rpc.as_deref().unwrap_or(UNKNOWN_RPC);
        metrics
            .requests
            .with_label_values(&[self.protocol.label(), rpc, outcome.label()])
            .inc();
        if let Some(reason) = reason {
            metrics.refusal(self.protocol, reason).inc();
        }
        if let (Outcome::Forwarded, Some(status)) = (outcome, self.record.status) {
            let class = AnswerClass::of(self.protocol, status, self.record.grpc_status);
            metrics
                .upstream_answers
                .with_label_values(&[self.protocol.label(), class.label()])
                .inc();
        }
        metrics.request_seconds.observe(elapsed.as_secs_f64());
        if let (Some(traced), Some(tracer)) = (self.traced.take(), &self.recorder.tracer) {
            traced.finish(tracer, &self.record, self.protocol, outcome);
        }
        let ended = match outcome {
            Outcome::Forwarded | Outcome::Answered => Ended::Allowed,
            _ if reason == Some(Reason::AuditFull) => Ended::RefusedByAudit,
            Outcome::Denied | Outcome::Failed | Outcome::Aborted => Ended::Otherwise,
        };
        let sample = self.recorder.sample;
        if ended == Ended::Allowed && sample.is_partial() {
            if !sample.takes_name(self.record.request_id.as_str()) {
                return;
            }
            self.record.sample_rate = Some(sample.get());
        }
        metrics.audit_records.inc();
        self.recorder.sink.write(&self.record, ended);
    }
}

impl Drop for AuditGuard {
    fn drop(&mut self) {
        if self.finished {
            return;
        }
        if std::thread::panicking() {
            self.complete(Outcome::Failed, Some(Reason::Internal));
        } else {
            self.complete(Outcome::Aborted, None);
        }
    }
}

fn micros(elapsed: std::time::Duration) -> u64 {
    u64::try_from(elapsed.as_micros()).unwrap_or(u64::MAX)
}
