//! The operator's own listener: metrics, health, readiness, what is in force and, if wanted, what a token is taken for.
//! Plain HTTP/1.1, open to whoever reaches it: keep it off public networks.

use crate::config::Enforcement;
use crate::held::HeldBytes;
use crate::issuer::Issuers;
use crate::live::Live;
use crate::metrics::Metrics;
use crate::upstream::replica::Replicas;
use crate::whoami;
use bytes::Bytes;
use http::header::{ALLOW, CACHE_CONTROL, CONTENT_TYPE, HOST, WWW_AUTHENTICATE};
use http::uri::Authority;
use http::{HeaderMap, HeaderValue, Method, Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::server::conn::http1;
use hyper::service::service_fn;
use hyper_util::rt::{TokioIo, TokioTimer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::IpAddr;
use std::sync::Arc;
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::sync::{Semaphore, watch};

/// A scrape or probe is one short request: slower peers and crowds are cut off.
const HEAD_TIMEOUT: Duration = Duration::from_secs(10);
const MAX_CONNECTIONS: usize = 64;

/// What the admin listener tells about.
#[derive(Debug)]
pub struct Admin {
    /// The metrics.
    pub metrics: Arc<Metrics>,
    /// The policy and catalogue in force.
    pub live: Arc<Live>,
    /// The issuers and their key sets.
    pub issuers: Arc<Issuers>,
    /// The addresses of the control plane's ports, gRPC first.
    pub replicas: [Arc<Replicas>; 2],
    /// The host names it answers for, in lower case; IP addresses and `localhost` it answers for always.
    pub hosts: Vec<Box<str>>,
    /// The bytes that all requests hold.
    pub held: Arc<HeldBytes>,
    /// Whether it tells what a token is taken for.
    pub whoami: bool,
    /// Whether the policy's refusals are acted on.
    pub enforcement: Enforcement,
    /// Whether the process is about to end.
    pub leaving: watch::Receiver<bool>,
}

impl Admin {
    /// Serves until the task is dropped.
    pub async fn run(self: Arc<Self>, socket: TcpListener) {
        let room = Arc::new(Semaphore::new(MAX_CONNECTIONS));
        while let Ok(permit) = Arc::clone(&room).acquire_owned().await {
            let stream = match socket.accept().await {
                Ok((stream, _)) => stream,
                Err(error) => {
                    tracing::warn!(%error, "an admin connection could not be accepted");
                    tokio::time::sleep(Duration::from_millis(50)).await;
                    continue;
                }
            };
            let admin = Arc::clone(&self);
            tokio::spawn(async move {
                let service = service_fn(async |request| Ok::<_, Infallible>(admin.answer(&request).await));
                let mut builder = http1::Builder::new();
                builder.timer(TokioTimer::new()).header_read_timeout(HEAD_TIMEOUT);
                if let Err(error) = builder.serve_connection(TokioIo::new(stream), service).await {
                    tracing::debug!(%error, "an admin connection ended");
                }
                drop(permit);
            });
        }
    }

    async fn answer(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        if request.method() != Method::GET && request.method() != Method::HEAD {
            let mut response = text(StatusCode::METHOD_NOT_ALLOWED, "use GET\n");
            response
                .headers_mut()
                .insert(ALLOW, HeaderValue::from_static("GET, HEAD"));
            return response;
        }
        if !self.answers_for(request.headers()) {
            let advice = "ask by IP address or localhost, or add the host name to admin.hosts\n";
            // Probes of load balancers come under many names; a status tells nobody anything.
            let status = match request.uri().path() {
                "/healthz" => StatusCode::OK,
                "/readyz" => self.ready().status(),
                _ => StatusCode::MISDIRECTED_REQUEST,
            };
            return text(status, advice);
        }
        match request.uri().path() {
            "/healthz" => text(StatusCode::OK, "ok\n"),
            "/readyz" => self.ready(),
            "/status" => document(StatusCode::OK, &self.status()),
            "/metrics" => self.metrics(),
            "/whoami" if self.whoami => self.who_am_i(request).await,
            _ => text(
                StatusCode::NOT_FOUND,
                "known are /healthz, /readyz, /status and /metrics\n",
            ),
        }
    }

    /// Whether the request asks for a host that can only be meant as this listener. A page in a browser reaches loopback and
    /// private addresses by a name of its own that resolves to them, and then reads the answer: its name is in `host`.
    fn answers_for(&self, headers: &HeaderMap) -> bool {
        let mut hosts = headers.get_all(HOST).iter();
        let Some(host) = hosts.next() else {
            // HTTP/1.0, which load balancers check health with and no browser speaks.
            return true;
        };
        let authority = host.to_str().ok().and_then(|host| host.parse::<Authority>().ok());
        let Some(authority) = authority.filter(|_| hosts.next().is_none()) else {
            return false;
        };
        let host = authority.host();
        let bare = host.strip_prefix('[').and_then(|host| host.strip_suffix(']'));
        bare.unwrap_or(host).parse::<IpAddr>().is_ok()
            || host.eq_ignore_ascii_case("localhost")
            || self.hosts.iter().any(|known| known.eq_ignore_ascii_case(host))
    }

    /// Ready means: not about to end, every issuer has keys, and the control plane's names have been resolved. A policy is always
    /// in force. A control plane that cannot be reached makes no difference: it would be so for every replica of the
    /// proxy, and callers are better told by the proxy than by nobody.
    fn ready(&self) -> Response<Full<Bytes>> {
        let draining = *self.leaving.borrow();
        let ready = self.is_ready();
        let status = if ready {
            StatusCode::OK
        } else {
            StatusCode::SERVICE_UNAVAILABLE
        };
        document(
            status,
            &json!({
                "ready": ready,
                "draining": draining,
                "enforcement": self.enforcement.label(),
                "issuers": self.issuers.status(),
                "upstream": self.upstream(),
            }),
        )
    }

    fn is_ready(&self) -> bool {
        !*self.leaving.borrow() && self.issuers.ready() && self.replicas.iter().all(|port| port.is_known())
    }

    fn status(&self) -> Value {
        let snapshot = self.live.load();
        json!({
            "version": env!("CARGO_PKG_VERSION"),
            "policy": {
                "version": snapshot.policy.version(),
                "generation": snapshot.generation,
                "rules": snapshot.policy.rules().len(),
            },
            "enforcement": self.enforcement.label(),
            "candidate": snapshot.candidate.as_ref().map(|candidate| json!({
                "version": candidate.policy.version(),
                "generation": candidate.generation,
                "rules": candidate.policy.rules().len(),
            })),
            "catalog": {"generation": snapshot.catalog.generation, "rpcs": snapshot.catalog.routes.len()},
            "issuers": self.issuers.status(),
            "load_balancer": self.issuers.load_balancer_status(),
            "upstream": self.upstream(),
        })
    }

    fn upstream(&self) -> Value {
        let [grpc, http] = &self.replicas;
        json!({"grpc": grpc.status(), "http": http.status()})
    }

    /// What the token in `authorization` is taken for. The token itself is never answered.
    async fn who_am_i(&self, request: &Request<Incoming>) -> Response<Full<Bytes>> {
        let snapshot = self.live.load();
        match whoami::whoami(request.headers(), &self.issuers, &snapshot.policy).await {
            Ok(whoami) => document(StatusCode::OK, &whoami.json().into()),
            Err(denial) => {
                let status = StatusCode::from_u16(denial.reason.status().http);
                let mut response = document(
                    status.unwrap_or(StatusCode::INTERNAL_SERVER_ERROR),
                    &whoami::refusal(&denial).into(),
                );
                if response.status() == StatusCode::UNAUTHORIZED {
                    let challenge = HeaderValue::from_static("Bearer realm=\"flyte\"");
                    response.headers_mut().insert(WWW_AUTHENTICATE, challenge);
                }
                response
            }
        }
    }

    fn metrics(&self) -> Response<Full<Bytes>> {
        self.metrics.ready.set(self.is_ready().into());
        self.metrics
            .held_bytes
            .set(i64::try_from(self.held.now()).unwrap_or(i64::MAX));
        match self.metrics.render() {
            Ok(body) => answer(StatusCode::OK, prometheus::TEXT_FORMAT, body.into()),
            Err(error) => {
                tracing::error!(%error, "metrics could not be rendered");
                text(StatusCode::INTERNAL_SERVER_ERROR, "metrics could not be rendered\n")
            }
        }
    }
}

fn text(status: StatusCode, text: &'static str) -> Response<Full<Bytes>> {
    answer(status, "text/plain; charset=utf-8", Bytes::from_static(text.as_bytes()))
}

fn document(status: StatusCode, value: &Value) -> Response<Full<Bytes>> {
    answer(status, "application/json", format!("{value:#}\n").into())
}

fn answer(status: StatusCode, content_type: &'static str, body: Bytes) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::new(body));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
        .headers_mut()
        .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
    response
}
