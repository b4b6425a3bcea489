//! A stand-in for an AWS Application Load Balancer that logs people in: it signs what it says of them, and publishes its
//! keys on loopback, with faults on demand.

use super::signing::{SigningKey, padded, replace};
use crate::credential::key_set::Algorithm;
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// Its ARN.
pub const SIGNER: &str = "arn:aws:elasticloadbalancing:eu-west-1:123456789012:loadbalancer/app/flyte/0123456789abcdef";
/// The client as which it logs people in.
pub const CLIENT: &str = "alb-client";
/// Where it logs people in.
pub const ISSUER: &str = "https://idp.example.com";
/// The id of the key that it signs with.
pub const KEY_ID: &str = "12345678-1234-1234-1234-123456789012";

/// How the place of its keys fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum KeyFault {
    /// Not at all.
    #[default]
    None,
    /// It closes every connection.
    Down,
    /// It answers late.
    Slow(Duration),
    /// It answers with this status and no body.
    Status(u16),
    /// It sends the client elsewhere.
    Redirect(String),
    /// It answers with this instead of a key.
    Document(String),
}

/// A running load balancer. Stops when dropped.
#[derive(Debug)]
pub struct DemoLoadBalancer {
    url: String,
    key: SigningKey,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    published: HashMap<String, String>,
    fault: KeyFault,
    /// The paths asked for.
    fetches: Vec<String>,
}

impl DemoLoadBalancer {
    /// Starts one with a published key, on a free port of the loopback interface.
    ///
    /// # Errors
    /// No port, or no randomness.
    pub async fn start() -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let key = SigningKey::generate(KEY_ID, Algorithm::Es256).map_err(io::Error::other)?;
        let state = Arc::new(Mutex::new(State::default()));
        let started = Self {
            url: format!("http://{}/", listener.local_addr()?),
            accepting: tokio::spawn(accept(listener, Arc::clone(&state))),
            state,
            key,
        };
        started.publish(KEY_ID, &started.key.public_pem());
        Ok(started)
    }

    /// Where its keys are.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// The key that it signs with.
    #[must_use]
    pub fn key(&self) -> &SigningKey {
        &self.key
    }

    /// The header `x-amzn-oidc-data` for these claims, signed now and good for two minutes; see [`signed`].
    #[must_use]
    pub fn header(&self, claims: &Value, changes: &Value, now: u64) -> String {
        signed(&self.key, claims, changes, now)
    }

    /// Publishes a document under the id of a key.
    pub fn publish(&self, id: &str, document: &str) {
        locked(&self.state).published.insert(id.to_owned(), document.to_owned());
    }

    /// Takes a key away.
    pub fn withdraw(&self, id: &str) {
        locked(&self.state).published.remove(id);
    }

    /// Makes the place of its keys fail from now on.
    pub fn fail(&self, fault: KeyFault) {
        locked(&self.state).fault = fault;
    }

    /// The paths asked for so far.
    #[must_use]
    pub fn fetches(&self) -> Vec<String> {
        locked(&self.state).fetches.clone()
    }
}

impl Drop for DemoLoadBalancer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// What a load balancer sends for these claims: `iss` and `exp` (two minutes from `now`, in seconds since the Unix epoch)
/// are added to them and to the JOSE header. `changes` replaces members of the JOSE header; `null` removes one.
#[must_use]
pub fn signed(key: &SigningKey, claims: &Value, changes: &Value, now: u64) -> String {
    let mut header = Map::new();
    for (name, value) in [
        ("typ", "JWT"),
        ("kid", key.id()),
        ("alg", "ES256"),
        ("iss", ISSUER),
        ("client", CLIENT),
        ("signer", SIGNER),
    ] {
        header.insert(name.to_owned(), value.into());
    }
    header.insert("exp".to_owned(), (now + 120).into());
    replace(&mut header, changes);
    let mut all = Map::new();
    all.insert("exp".to_owned(), (now + 120).into());
    all.insert("iss".to_owned(), ISSUER.into());
    replace(&mut all, claims);
    signed_text(key, &Value::Object(header).to_string(), &Value::Object(all).to_string())
}

/// The same for a JOSE header and claims that are exactly these texts.
#[must_use]
pub fn signed_text(key: &SigningKey, header: &str, claims: &str) -> String {
    let message = format!("{}.{}", padded(header.as_bytes()), padded(claims.as_bytes()));
    let signature = padded(&key.sign(message.as_bytes()));
    format!("{message}.{signature}")
}

fn locked(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn accept(listener: TcpListener, state: Arc<Mutex<State>>) {
    while let Ok((stream, _)) = listener.accept().await {
        if locked(&state).fault == KeyFault::Down {
            continue;
        }
        let state = Arc::clone(&state);
        tokio::spawn(async move {
            let service = service_fn(|request| {
                let state = Arc::clone(&state);
                async move { Ok::<_, Infallible>(answer(&request, &state).await) }
            });
            // A client that breaks off is nothing to report.
            _ = hyper::server::conn::http1::Builder::new()
                .serve_connection(TokioIo::new(stream), service)
                .await;
        });
    }
}

async fn answer(request: &Request<Incoming>, state: &Mutex<State>) -> Response<Full<Bytes>> {
    let path = request.uri().path();
    let (fault, document) = {
        let mut state = locked(state);
        state.fetches.push(path.to_owned());
        let published = state.published.get(path.trim_start_matches('/')).cloned();
        (state.fault.clone(), published)
    };
    let found = |document: String| response(StatusCode::OK, document);
    match (fault, document) {
        (KeyFault::Status(code), _) => response(StatusCode::from_u16(code).unwrap_or_default(), String::new()),
        (KeyFault::Document(other), _) => found(other),
        (KeyFault::Redirect(place), _) => {
            let mut redirect = response(StatusCode::FOUND, String::new());
            if let Ok(place) = place.parse() {
                redirect.headers_mut().insert(LOCATION, place);
            }
            redirect
        }
        (KeyFault::Slow(delay), document) => {
            tokio::time::sleep(delay).await;
            document.map_or_else(|| response(StatusCode::FORBIDDEN, String::new()), found)
        }
        (KeyFault::None | KeyFault::Down, Some(document)) => found(document),
        (KeyFault::None | KeyFault::Down, None) => response(StatusCode::FORBIDDEN, String::new()),
    }
}

fn response(status: StatusCode, body: String) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(body));
    *response.status_mut() = status;
    // As AWS's store says of whatever it has.
    let kind = http::HeaderValue::from_static("binary/octet-stream");
    response.headers_mut().insert(CONTENT_TYPE, kind);
    response
}
