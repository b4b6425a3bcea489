//! Sends spans to a collector: OTLP over HTTP in protobuf, in batches, each of them once. What a collector does not take is
//! counted and forgotten.

use super::{Finished, encode};
use crate::config::Tracing;
use crate::metrics::Metrics;
use crate::model::problem::Problem;
use crate::trust;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Method, Request, Uri};
use http_body_util::{BodyExt, Full, Limited};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::sync::mpsc::Receiver;

/// The most traces in one request.
const BATCH: usize = 256;
/// How long traces gather.
const GATHER: Duration = Duration::from_secs(1);
/// How long a collector may take.
const DEADLINE: Duration = Duration::from_secs(5);
/// How long the last spans may take when the proxy ends.
const FAREWELL: Duration = Duration::from_secs(2);
/// How often a failure that lasts is logged.
const REMIND: Duration = Duration::from_mins(1);
/// The largest answer that is read, in bytes, so that the connection can be used again.
const MAX_ANSWER: usize = 64 << 10;

/// Exports what a tracer ends. [`Exporter::run`] is its task.
#[derive(Debug)]
pub struct Exporter {
    finished: Receiver<Finished>,
    client: Client<HttpsConnector<HttpConnector>, Full<Bytes>>,
    url: Uri,
    metrics: Arc<Metrics>,
    logged: Option<Instant>,
}

impl Exporter {
    pub(super) fn new(
        settings: &Tracing,
        finished: Receiver<Finished>,
        metrics: Arc<Metrics>,
    ) -> Result<Self, Problem> {
        let mut tcp = HttpConnector::new();
        tcp.enforce_http(false);
        tcp.set_connect_timeout(Some(DEADLINE));
        let connector = HttpsConnectorBuilder::new()
            .with_tls_config(trust::client_config(settings.ca.as_deref())?)
            .https_or_http()
            .enable_http1()
            .wrap_connector(tcp);
        let url = Uri::builder()
            .scheme(settings.endpoint.scheme.clone())
            .authority(settings.endpoint.authority.clone())
            .path_and_query("/v1/traces")
            .build()
            .map_err(|error| Problem::error("tracing.otlp_endpoint", 0, 0, error.to_string()))?;
        Ok(Self {
            finished,
            client: Client::builder(TokioExecutor::new()).build(connector),
            url,
            metrics,
            logged: None,
        })
    }

    /// Exports until dropped.
    pub async fn run(&mut self) {
        let mut batch = Vec::with_capacity(BATCH);
        while self.finished.recv_many(&mut batch, BATCH).await > 0 {
            self.export(&mut batch).await;
            tokio::time::sleep(GATHER).await;
        }
    }

    /// Exports what is left, for no longer than two seconds.
    pub async fn end(mut self) {
        let rest = async {
            let mut batch = Vec::new();
            while let Ok(finished) = self.finished.try_recv() {
                batch.push(finished);
            }
            while !batch.is_empty() {
                let mut some = batch.split_off(batch.len().saturating_sub(BATCH));
                self.export(&mut some).await;
            }
        };
        if tokio::time::timeout(FAREWELL, rest).await.is_err() {
            tracing::warn!("spans are lost: the collector did not take them before the end");
        }
    }

    async fn export(&mut self, batch: &mut Vec<Finished>) {
        let count = batch.len() as u64;
        let body = encode::request(batch);
        batch.clear();
        let result = match tokio::time::timeout(DEADLINE, self.post(body.into())).await {
            Ok(result) => result,
            Err(_) => Err(format!("no answer within {} s", DEADLINE.as_secs())),
        };
        let counted = |result: &str| self.metrics.traces.with_label_values(&[result]).inc_by(count);
        match result {
            Ok(()) => counted("exported"),
            Err(error) => {
                counted("failed");
                if self.logged.is_none_or(|logged| logged.elapsed() >= REMIND) {
                    self.logged = Some(Instant::now());
                    tracing::warn!(%error, "spans cannot be exported and are dropped");
                }
            }
        }
    }

    async fn post(&self, body: Bytes) -> Result<(), String> {
        let mut request = Request::new(Full::new(body));
        *request.method_mut() = Method::POST;
        *request.uri_mut() = self.url.clone();
        let headers = request.headers_mut();
        headers.insert(CONTENT_TYPE, HeaderValue::from_static("application/x-protobuf"));
        headers.insert(USER_AGENT, HeaderValue::from_static(env!("CARGO_PKG_NAME")));
        let response = self.client.request(request).await.map_err(|error| {
            let cause = std::error::Error::source(&error).map(ToString::to_string);
            cause.unwrap_or_else(|| error.to_string())
        })?;
        let status = response.status();
        // Read to its end, or the connection cannot be used again.
        let answer = Limited::new(response.into_body(), MAX_ANSWER).collect().await;
        if status.is_success() {
            answer.map(drop).map_err(|error| error.to_string())
        } else {
            Err(format!("the collector answered with status {status}"))
        }
    }
}
