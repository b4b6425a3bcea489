//! An OpenID Connect issuer on loopback: discovery, key set, client-credentials logins, and faults on demand.

use super::signing::{SigningKey, jwks, replace};
use crate::clock::{Clock, SystemClock};
use crate::credential::key_set::Algorithm;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, LOCATION};
use http::{HeaderMap, Method, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Map, Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::{TcpListener, TcpStream};
use tokio::task::JoinHandle;

/// How the issuer fails, for discovery and key set alike.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// It closes every connection.
    Down,
    /// It answers late.
    Slow(Duration),
    /// It answers with something that is no JSON.
    Garbage,
    /// It answers with 5 MB.
    Big,
    /// It answers with another content type.
    ContentType(&'static str),
    /// It answers with this status and no body.
    Status(u16),
    /// It sends the client elsewhere.
    Redirect(String),
    /// Its discovery document has these members instead.
    Discovery(Value),
    /// Its key set is this.
    KeySet(Value),
}

/// How often each endpoint was asked.
#[derive(Clone, Copy, Debug, Default, PartialEq, Eq)]
pub struct Fetches {
    /// The discovery document.
    pub discovery: usize,
    /// The key set.
    pub key_set: usize,
    /// Logins.
    pub token: usize,
}

/// A running issuer. Stops when dropped.
#[derive(Debug)]
pub struct DemoIssuer {
    shared: Arc<Shared>,
    accepting: JoinHandle<()>,
}

#[derive(Debug)]
struct Shared {
    url: String,
    clock: Arc<dyn Clock>,
    state: Mutex<State>,
}

#[derive(Debug, Default)]
struct State {
    keys: Vec<SigningKey>,
    rotations: usize,
    clients: HashMap<String, (String, Value)>,
    fault: Fault,
    fetches: Fetches,
}

impl DemoIssuer {
    /// Starts an issuer on a free port of the loopback interface.
    ///
    /// # Errors
    /// No port, or no randomness.
    pub async fn start() -> io::Result<Self> {
        Self::start_with(SocketAddr::from((Ipv4Addr::LOCALHOST, 0)), Arc::new(SystemClock)).await
    }

    /// Starts an issuer at an address, with its own idea of the time.
    ///
    /// # Errors
    /// The address is not free, or no randomness.
    pub async fn start_with(address: SocketAddr, clock: Arc<dyn Clock>) -> io::Result<Self> {
        let listener = TcpListener::bind(address).await?;
        let url = format!("http://{}", listener.local_addr()?);
        let state = Mutex::new(State {
            keys: new_keys(1)?,
            rotations: 1,
            ..State::default()
        });
        let shared = Arc::new(Shared { url, clock, state });
        let accepting = tokio::spawn(accept(listener, Arc::clone(&shared)));
        Ok(Self { shared, accepting })
    }

    /// The `iss` of its tokens.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.shared.url
    }

    /// A token signed with RS256. `claims` are added to `iss`, `aud: flyte`, `iat` and `exp` (an hour), or replace
    /// them; `null` removes one.
    #[must_use]
    pub fn mint(&self, claims: &Value) -> String {
        self.mint_with(claims, Algorithm::Rs256, &Value::Null)
    }

    /// The same with another algorithm of those it has keys for (RS256, ES256, EdDSA) and with changes to the header;
    /// see [`SigningKey::token`]. Empty if no key is left for the algorithm.
    #[must_use]
    pub fn mint_with(&self, claims: &Value, algorithm: Algorithm, header: &Value) -> String {
        self.shared.mint(claims, algorithm, header)
    }

    /// Adds new keys, published at once, and signs with them from now on. The older keys stay published.
    ///
    /// # Errors
    /// No randomness.
    pub fn rotate(&self) -> io::Result<()> {
        let number = {
            let mut state = self.shared.state();
            state.rotations += 1;
            state.rotations
        };
        let keys = new_keys(number)?;
        self.shared.state().keys.splice(0..0, keys);
        Ok(())
    }

    /// Takes a key out of the key set.
    pub fn remove_key(&self, id: &str) {
        self.shared.state().keys.retain(|key| key.id() != id);
    }

    /// The ids of the published keys, newest first.
    #[must_use]
    pub fn key_ids(&self) -> Vec<String> {
        self.shared.state().keys.iter().map(|key| key.id().to_owned()).collect()
    }

    /// Lets a client log in at `/token`; its tokens have these claims.
    pub fn add_client(&self, id: &str, secret: &str, claims: Value) {
        self.shared
            .state()
            .clients
            .insert(id.to_owned(), (secret.to_owned(), claims));
    }

    /// Makes it fail from now on.
    pub fn fail(&self, fault: Fault) {
        self.shared.state().fault = fault;
    }

    /// How often each endpoint was asked.
    #[must_use]
    pub fn fetches(&self) -> Fetches {
        self.shared.state().fetches
    }
}

impl Drop for DemoIssuer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn new_keys(number: usize) -> io::Result<Vec<SigningKey>> {
    [
        ("rsa", Algorithm::Rs256),
        ("ec", Algorithm::Es256),
        ("ed", Algorithm::EdDsa),
    ]
    .into_iter()
    .map(|(word, algorithm)| SigningKey::generate(&format!("{word}-{number}"), algorithm).map_err(io::Error::other))
    .collect()
}

async fn accept(listener: TcpListener, shared: Arc<Shared>) {
    while let Ok((stream, _)) = listener.accept().await {
        if shared.state().fault == Fault::Down {
            continue;
        }
        tokio::spawn(serve(stream, Arc::clone(&shared)));
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>) {
    let service = service_fn(|request| {
        let shared = Arc::clone(&shared);
        async move { Ok::<_, Infallible>(shared.answer(request).await) }
    });
    // A client that breaks off is nothing to report.
    _ = hyper::server::conn::http1::Builder::new()
        .serve_connection(TokioIo::new(stream), service)
        .await;
}

impl Shared {
    fn state(&self) -> MutexGuard<'_, State> {
        self.state.lock().unwrap_or_else(PoisonError::into_inner)
    }

    async fn answer(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        let path = request.uri().path().to_owned();
        match (request.method(), path.as_str()) {
            (&Method::GET, "/.well-known/openid-configuration" | "/.well-known/oauth-authorization-server") => {
                self.state().fetches.discovery += 1;
                let document = self.discovery();
                self.with_fault(document).await
            }
            (&Method::GET, "/jwks") => {
                self.state().fetches.key_set += 1;
                let document = self.key_set();
                self.with_fault(document).await
            }
            (&Method::POST, "/token") => self.log_in(request).await,
            (&Method::GET, "/__counters") => {
                let Fetches {
                    discovery,
                    key_set,
                    token,
                } = self.state().fetches;
                json_response(
                    StatusCode::OK,
                    &json!({"discovery": discovery, "jwks": key_set, "token": token}),
                )
            }
            _ => json_response(StatusCode::NOT_FOUND, &json!({"error": "not_found"})),
        }
    }

    fn discovery(&self) -> Value {
        let url = &self.url;
        let mut document = json!({
            "issuer": url,
            "jwks_uri": format!("{url}/jwks"),
            "token_endpoint": format!("{url}/token"),
            "authorization_endpoint": format!("{url}/authorize"),
            "grant_types_supported": ["client_credentials"],
            "response_types_supported": ["code"],
            "subject_types_supported": ["public"],
            "token_endpoint_auth_methods_supported": ["client_secret_basic", "client_secret_post"],
            "id_token_signing_alg_values_supported": ["RS256", "ES256", "EdDSA"],
        });
        if let (Fault::Discovery(changes), Value::Object(members)) = (&self.state().fault, &mut document) {
            replace(members, changes);
        }
        document
    }

    fn key_set(&self) -> Value {
        let state = self.state();
        match &state.fault {
            Fault::KeySet(document) => document.clone(),
            _ => jwks(&state.keys),
        }
    }

    async fn with_fault(&self, document: Value) -> Response<Full<Bytes>> {
        let fault = self.state().fault.clone();
        let mut response = json_response(StatusCode::OK, &document);
        match fault {
            Fault::Slow(delay) => tokio::time::sleep(delay).await,
            Fault::Garbage => *response.body_mut() = Full::from("<html>"),
            Fault::Big => {
                let padded = format!("{}{}", " ".repeat(5 << 20), document);
                *response.body_mut() = Full::from(padded);
            }
            Fault::ContentType(name) => set(response.headers_mut(), CONTENT_TYPE, name),
            Fault::Status(code) => {
                *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
                *response.body_mut() = Full::default();
            }
            Fault::Redirect(location) => {
                *response.status_mut() = StatusCode::FOUND;
                set(response.headers_mut(), LOCATION, &location);
            }
            Fault::None | Fault::Down | Fault::Discovery(_) | Fault::KeySet(_) => {}
        }
        response
    }

    /// RFC 6749 section 4.4, with the client's credentials in the header or in the form.
    async fn log_in(&self, request: Request<Incoming>) -> Response<Full<Bytes>> {
        self.state().fetches.token += 1;
        let (head, body) = request.into_parts();
        let Ok(body) = Limited::new(body, 64 << 10).collect().await else {
            return json_response(StatusCode::BAD_REQUEST, &json!({"error": "invalid_request"}));
        };
        let form = form_fields(&String::from_utf8_lossy(&body.to_bytes()));
        if form.get("grant_type").map(String::as_str) != Some("client_credentials") {
            return json_response(StatusCode::BAD_REQUEST, &json!({"error": "unsupported_grant_type"}));
        }
        let credentials = basic_credentials(&head.headers)
            .or_else(|| Some((form.get("client_id")?.clone(), form.get("client_secret")?.clone())));
        let claims = credentials.and_then(|(id, secret)| {
            let state = self.state();
            let (expected, claims) = state.clients.get(&id)?;
            (*expected == secret).then(|| with_client(&id, claims))
        });
        match claims {
            Some(claims) => {
                let token = self.mint(&claims, Algorithm::Rs256, &json!({"typ": "at+jwt"}));
                json_response(
                    StatusCode::OK,
                    &json!({"access_token": token, "token_type": "Bearer", "expires_in": 3600}),
                )
            }
            None => json_response(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_client"})),
        }
    }

    fn mint(&self, claims: &Value, algorithm: Algorithm, header: &Value) -> String {
        let now = self.clock.unix_seconds();
        let mut all = Map::new();
        all.insert("iss".to_owned(), self.url.clone().into());
        all.insert("aud".to_owned(), "flyte".into());
        all.insert("iat".to_owned(), now.into());
        all.insert("exp".to_owned(), (now + 3600).into());
        replace(&mut all, claims);
        let state = self.state();
        let key = state.keys.iter().find(|key| key.algorithm() == algorithm);
        key.map(|key| key.token(&Value::Object(all), header))
            .unwrap_or_default()
    }
}

fn with_client(id: &str, claims: &Value) -> Value {
    let mut all = Map::new();
    all.insert("sub".to_owned(), id.into());
    all.insert("client_id".to_owned(), id.into());
    replace(&mut all, claims);
    Value::Object(all)
}

pub(super) fn basic_credentials(headers: &HeaderMap) -> Option<(String, String)> {
    let encoded = headers.get(AUTHORIZATION)?.to_str().ok()?.strip_prefix("Basic ")?;
    let text = String::from_utf8(STANDARD.decode(encoded).ok()?).ok()?;
    let (id, secret) = text.split_once(':')?;
    // RFC 6749 section 2.3.1: both are form-encoded first.
    Some((form_text(id), form_text(secret)))
}

pub(super) fn form_fields(body: &str) -> HashMap<String, String> {
    body.split('&')
        .filter_map(|pair| pair.split_once('='))
        .map(|(name, value)| (form_text(name), form_text(value)))
        .collect()
}

fn form_text(encoded: &str) -> String {
    let spaced = encoded.replace('+', " ");
    percent_encoding::percent_decode_str(&spaced)
        .decode_utf8_lossy()
        .into_owned()
}

pub(super) fn json_response(status: StatusCode, document: &Value) -> Response<Full<Bytes>> {
    let mut response = Response::new(Full::from(document.to_string()));
    *response.status_mut() = status;
    set(response.headers_mut(), CONTENT_TYPE, "application/json");
    response
}

pub(super) fn set(headers: &mut HeaderMap, name: http::HeaderName, value: &str) {
    if let Ok(value) = value.parse() {
        headers.insert(name, value);
    }
}

#[cfg(test)]
mod tests;
