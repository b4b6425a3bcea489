//! The whole proxy on loopback with its surroundings, and the checks every refusal has to pass.

use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::stack::{Setup, Stack};
use flyte_authz_proxy::model::reason::Reason;
use serde_json::Value;
use std::io::{self, Write};
use std::ops::Deref;
use std::sync::{Arc, Mutex};
use std::time::Duration;
use tempfile::TempDir;

/// Audit lines kept in memory.
#[derive(Clone, Debug, Default)]
pub(crate) struct AuditLines(Arc<Mutex<Vec<u8>>>);

impl AuditLines {
    /// Every record so far.
    pub(crate) fn records(&self) -> Vec<Value> {
        let bytes = self.0.lock().unwrap().clone();
        let lines = bytes.split(|byte| *byte == b'\n').filter(|line| !line.is_empty());
        lines.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }
}

impl Write for AuditLines {
    fn write(&mut self, bytes: &[u8]) -> io::Result<usize> {
        self.0.lock().unwrap().extend_from_slice(bytes);
        Ok(bytes.len())
    }

    fn flush(&mut self) -> io::Result<()> {
        Ok(())
    }
}

/// A running proxy with its surroundings.
pub(crate) struct Proxy {
    stack: Option<Stack>,
    audit: AuditLines,
    directory: TempDir,
}

impl Deref for Proxy {
    type Target = Stack;

    fn deref(&self) -> &Stack {
        self.stack.as_ref().unwrap()
    }
}

/// What is known before a request, to be compared with afterwards.
pub(crate) struct Before {
    arrivals: usize,
    records: usize,
    refusals: f64,
}

impl Proxy {
    /// The proxy of the demonstration.
    pub(crate) async fn start() -> Self {
        Self::start_with(|_| {}).await
    }

    /// The same with another policy or more configuration.
    pub(crate) async fn start_with(change: impl FnOnce(&mut Setup)) -> Self {
        let directory = tempfile::tempdir().unwrap();
        let audit = AuditLines::default();
        let mut setup = Setup::new(directory.path().to_owned(), crate::descriptors::bytes());
        setup.audit = Box::new(audit.clone());
        change(&mut setup);
        Self {
            stack: Some(Stack::start(setup).await.unwrap()),
            audit,
            directory,
        }
    }

    /// The directory with configuration, policy and certificates.
    pub(crate) fn directory(&self) -> &std::path::Path {
        self.directory.path()
    }

    /// A token of the ml team.
    pub(crate) fn ml(&self) -> String {
        self.token("alice", "ml-team")
    }

    /// A token of the fraud team.
    pub(crate) fn fraud(&self) -> String {
        self.token("bob", "fraud-team")
    }

    /// Every audit record so far.
    pub(crate) fn records(&self) -> Vec<Value> {
        self.audit.records()
    }

    /// The parts of it, for a test that shuts the proxy down itself.
    pub(crate) fn take(mut self) -> (Stack, AuditLines) {
        (self.stack.take().unwrap(), self.audit.clone())
    }

    /// How many audit records there are.
    pub(crate) fn record_count(&self) -> usize {
        let bytes = self.audit.0.lock().unwrap();
        bytes.split(|byte| *byte == b'\n').count() - 1
    }

    fn records_from(&self, first: usize) -> Vec<Value> {
        let bytes = self.audit.0.lock().unwrap();
        let lines = bytes.split_inclusive(|byte| *byte == b'\n').skip(first);
        let whole = lines.filter(|line| line.ends_with(b"\n"));
        whole.map(|line| serde_json::from_slice(line).unwrap()).collect()
    }

    /// Waits until there are this many audit records more than before; they are written behind the answers.
    pub(crate) async fn records_after(&self, before: usize, more: usize) -> Vec<Value> {
        for _ in 0..2500 {
            if self.record_count() >= before + more {
                return self.records_from(before);
            }
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        panic!(
            "only {} of {more} audit records were written within 5 s",
            self.record_count() - before
        );
    }

    /// Waits until the record of an answered request is written, so that a later [`Self::before`] counts it.
    pub(crate) async fn written(&self, reply: &Reply) {
        let id = reply.headers["x-request-id"].to_str().unwrap();
        crate::sockets::eventually("the record is written", || {
            let bytes = self.audit.0.lock().unwrap();
            String::from_utf8_lossy(&bytes).contains(id)
        })
        .await;
    }

    /// The value of a metric series summed over what the text matches, such as `refusals_total{protocol="grpc"`.
    pub(crate) fn metric(&self, series: &str) -> f64 {
        let text = String::from_utf8(self.app.metrics.render().unwrap()).unwrap();
        let lines = text
            .lines()
            .filter(|line| line.starts_with(&format!("flyte_authz_{series}")));
        lines
            .filter_map(|line| line.rsplit_once(' ')?.1.parse::<f64>().ok())
            .sum()
    }

    /// Notes what is known before a request.
    pub(crate) fn before(&self) -> Before {
        Before {
            arrivals: self.control_plane.count(),
            records: self.record_count(),
            refusals: self.metric("refusals_total"),
        }
    }

    /// Checks that the one request since `before` was refused for this reason: the answer the client sees, nothing
    /// reached the control plane, one audit record and one count. Returns the record.
    pub(crate) async fn refused(&self, before: &Before, reply: &Reply, reason: Reason) -> Value {
        let message = reply.message();
        assert!(
            message.contains(&format!("[{}; request ", reason.label())),
            "{reply:?}: {message}"
        );
        match reply.grpc_status() {
            Some(status) => {
                assert_eq!(status, u16::from(reason.status().grpc), "{message}");
                assert!(
                    reply.body.is_empty() && reply.trailers.is_none(),
                    "a gRPC refusal has headers only"
                );
            }
            None => assert_eq!(reply.status.as_u16(), reason.status().http, "{message}"),
        }
        let record = self.recorded(before, reason).await;
        assert_eq!(
            reply.headers.get("x-request-id").unwrap(),
            record["request_id"].as_str().unwrap()
        );
        record
    }

    /// The same for a request whose answer is not looked at: nothing arrived but look-ups, one record, one count.
    pub(crate) async fn recorded(&self, before: &Before, reason: Reason) -> Value {
        let records = self.records_after(before.records, 1).await;
        assert_eq!(records.len(), 1, "{records:#?}");
        let record = records.into_iter().next().unwrap();
        assert_eq!(record["reason"], reason.label(), "{record:#}");
        let lookups = usize::try_from(record["lookups"].as_u64().unwrap_or_default()).unwrap();
        assert_eq!(
            self.control_plane.count(),
            before.arrivals + lookups,
            "the request reached the control plane"
        );
        let counted = self.metric("refusals_total") - before.refusals;
        assert!((counted - 1.0).abs() < f64::EPSILON, "{counted} refusals were counted");
        record
    }

    /// The reasons of the two refusals since `before`, of which nothing may have arrived.
    pub(crate) async fn recorded_two(&self, before: &Before) -> Vec<String> {
        let records = self.records_after(before.records, 2).await;
        assert_eq!(
            self.control_plane.count(),
            before.arrivals,
            "a request reached the control plane"
        );
        assert!((self.metric("refusals_total") - before.refusals - 2.0).abs() < f64::EPSILON);
        records
            .iter()
            .map(|record| record["reason"].as_str().unwrap().to_owned())
            .collect()
    }

    /// Checks that nothing since `before` came as far as the gate: what the HTTP library answers itself is neither recorded
    /// nor counted as a refusal, and does not reach the control plane.
    pub(crate) async fn untouched(&self, before: &Before) {
        let health = "/grpc.health.v1.Health/Check";
        let frame = flyte_authz_proxy::protocol::envelope::frame(&[]);
        let reply = self.plain.grpc(health, &[], frame).await.unwrap();
        assert_eq!(reply.grpc_status(), Some(0));
        let records = self.records_after(before.records, 1).await;
        assert_eq!(records.len(), 1, "only the health check is recorded: {records:#?}");
        assert_eq!(records[0]["rpc"], health, "{:#}", records[0]);
        assert_eq!(
            self.control_plane.count(),
            before.arrivals,
            "a request reached the control plane"
        );
        assert!((self.metric("refusals_total") - before.refusals).abs() < f64::EPSILON);
    }

    /// Checks that the one request since `before` was forwarded, and returns its audit record.
    pub(crate) async fn forwarded(&self, before: &Before, reply: &Reply) -> Value {
        assert!(!reply.message().contains("; request "), "refused: {}", reply.message());
        let records = self.records_after(before.records, 1).await;
        assert_eq!(records.len(), 1, "{records:#?}");
        assert_eq!(records[0]["outcome"], "forwarded", "{:#}", records[0]);
        // Look-ups arrive besides.
        let lookups = usize::try_from(records[0]["lookups"].as_u64().unwrap_or_default()).unwrap();
        assert_eq!(self.control_plane.count(), before.arrivals + lookups + 1);
        records.into_iter().next().unwrap()
    }
}

impl Drop for Proxy {
    fn drop(&mut self) {
        if let Some(stack) = self.stack.take() {
            // Shutting down waits for threads, which must not happen on a runtime's own.
            _ = std::thread::spawn(move || stack.app.shut_down()).join();
        }
    }
}
