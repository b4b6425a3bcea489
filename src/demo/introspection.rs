//! The introspection endpoint (RFC 7662) of an issuer of opaque tokens, on loopback, with faults on demand.

use super::issuer::{basic_credentials, form_fields, json_response, set};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::{Request, Response, StatusCode};
use http_body_util::{BodyExt, Full, Limited};
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use serde_json::{Value, json};
use std::collections::HashMap;
use std::convert::Infallible;
use std::io;
use std::net::Ipv4Addr;
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use std::time::Duration;
use tokio::net::TcpListener;
use tokio::task::JoinHandle;

/// How it fails.
#[derive(Clone, Debug, Default, PartialEq, Eq)]
pub enum Fault {
    /// Not at all.
    #[default]
    None,
    /// It answers late.
    Slow(Duration),
    /// It answers with this status and no body.
    Status(u16),
    /// It sends the client elsewhere.
    Redirect(String),
    /// It answers with another content type.
    ContentType(&'static str),
}

/// A question it was asked.
#[derive(Clone, Debug, PartialEq, Eq)]
pub struct Question {
    /// The token.
    pub token: String,
    /// The whole form.
    pub form: HashMap<String, String>,
    /// The client's id and secret, decoded.
    pub client: Option<(String, String)>,
}

/// A running endpoint. Stops when dropped.
#[derive(Debug)]
pub struct DemoIntrospection {
    url: String,
    state: Arc<Mutex<State>>,
    accepting: JoinHandle<()>,
}

#[derive(Debug, Default)]
struct State {
    client: (String, String),
    answers: HashMap<String, String>,
    fault: Fault,
    questions: Vec<Question>,
    running: usize,
    most: usize,
}

impl DemoIntrospection {
    /// Starts an endpoint on a free port of the loopback interface, for one client.
    ///
    /// # Errors
    /// No port.
    pub async fn start(client_id: &str, client_secret: &str) -> io::Result<Self> {
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let url = format!("http://{}/introspect", listener.local_addr()?);
        let state = Arc::new(Mutex::new(State {
            client: (client_id.to_owned(), client_secret.to_owned()),
            ..State::default()
        }));
        let shared = Arc::clone(&state);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let shared = Arc::clone(&shared);
                tokio::spawn(async move {
                    let service = service_fn(|request| {
                        let shared = Arc::clone(&shared);
                        async move { Ok::<_, Infallible>(answer(&shared, request).await) }
                    });
                    // A client that breaks off is nothing to report.
                    _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Ok(Self { url, state, accepting })
    }

    /// Where it is asked.
    #[must_use]
    pub fn url(&self) -> &str {
        &self.url
    }

    /// What it says about a token; about any other it says that it is not active.
    pub fn say(&self, token: &str, answer: &Value) {
        self.say_text(token, &answer.to_string());
    }

    /// The same with a text that need not be JSON.
    pub fn say_text(&self, token: &str, answer: &str) {
        lock(&self.state).answers.insert(token.to_owned(), answer.to_owned());
    }

    /// Makes it fail from now on.
    pub fn fail(&self, fault: Fault) {
        lock(&self.state).fault = fault;
    }

    /// Accepts another secret of its client.
    pub fn replace_secret(&self, secret: &str) {
        secret.clone_into(&mut lock(&self.state).client.1);
    }

    /// Every question so far.
    #[must_use]
    pub fn questions(&self) -> Vec<Question> {
        lock(&self.state).questions.clone()
    }

    /// How many questions there were at one time, at most.
    #[must_use]
    pub fn most_at_one_time(&self) -> usize {
        lock(&self.state).most
    }
}

impl Drop for DemoIntrospection {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

fn lock(state: &Mutex<State>) -> MutexGuard<'_, State> {
    state.lock().unwrap_or_else(PoisonError::into_inner)
}

async fn answer(state: &Mutex<State>, request: Request<Incoming>) -> Response<Full<Bytes>> {
    let (head, body) = request.into_parts();
    let Ok(body) = Limited::new(body, 64 << 10).collect().await else {
        return json_response(StatusCode::BAD_REQUEST, &json!({"error": "invalid_request"}));
    };
    let form = form_fields(&String::from_utf8_lossy(&body.to_bytes()));
    let client = basic_credentials(&head.headers);
    let token = form.get("token").cloned().unwrap_or_default();
    let (fault, known, text) = {
        let mut state = lock(state);
        let known = client.as_ref() == Some(&state.client);
        let text = state.answers.get(&token).cloned();
        state.questions.push(Question { token, form, client });
        state.running += 1;
        state.most = state.most.max(state.running);
        (state.fault.clone(), known, text)
    };
    if let Fault::Slow(delay) = fault {
        tokio::time::sleep(delay).await;
    }
    lock(state).running -= 1;
    let mut response = json_response(StatusCode::OK, &json!({"active": false}));
    if let Some(text) = text {
        *response.body_mut() = Full::from(text);
    }
    match fault {
        Fault::Status(code) => {
            *response.status_mut() = StatusCode::from_u16(code).unwrap_or_default();
            *response.body_mut() = Full::default();
        }
        Fault::Redirect(location) => {
            *response.status_mut() = StatusCode::TEMPORARY_REDIRECT;
            set(response.headers_mut(), LOCATION, &location);
        }
        Fault::ContentType(name) => set(response.headers_mut(), CONTENT_TYPE, name),
        Fault::None | Fault::Slow(_) if !known => {
            response = json_response(StatusCode::UNAUTHORIZED, &json!({"error": "invalid_client"}));
        }
        Fault::None | Fault::Slow(_) => {}
    }
    response
}
