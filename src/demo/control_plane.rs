//! A stand-in for `FlyteAdmin`: the published gRPC services and their REST gateway over a store in memory, on loopback.
//!
//! It reads requests the way `FlyteAdmin` does, also where that is careless (an empty name matches anything, a query
//! parameter overrides the path), and records every request that reaches it, so that a test can tell what got past.

mod answer;
mod arrivals;
mod executions;
mod fault;
mod filters;
mod gateway;
mod grpc;
mod inventory;
mod login;
mod methods;
mod pages;
mod projects;
mod schema;
mod status;
#[cfg(test)]
mod tests;

pub use arrivals::{Arrival, Outcome};
pub use fault::{Fault, Script};
pub use login::Console;

use answer::Answer;
use arrivals::Arrivals;
use fault::Faults;
use http::{Request, Response};
use http_body_util::BodyExt;
use hyper::body::Incoming;
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo, TokioTimer};
use methods::Methods;
use schema::Schema;
use std::io;
use std::net::{Ipv4Addr, SocketAddr};
use std::sync::{Arc, Mutex, MutexGuard, PoisonError};
use tokio::net::{TcpListener, TcpStream};
use tokio::task::{JoinHandle, JoinSet};

/// How the control plane introduces itself and behaves. Read from JSON, what is left out has its default.
#[derive(Debug, Clone, serde::Deserialize)]
#[serde(default, deny_unknown_fields)]
pub struct Options {
    /// The projects that exist at the start.
    pub projects: Vec<String>,
    /// Whether executions stay RUNNING until they are terminated; otherwise they are SUCCEEDED at once.
    pub executions_keep_running: bool,
    /// `issuer` of the OAuth 2 metadata; the other endpoints are given in full below.
    pub issuer: String,
    /// Where clients fetch tokens.
    pub token_endpoint: String,
    /// Where browsers log in; `/login` redirects here.
    pub authorization_endpoint: String,
    /// Where the issuer publishes its keys.
    pub jwks_uri: String,
    /// The metadata key in which clients are told to send their token.
    pub authorization_metadata_key: String,
    /// The client id that clients without one of their own are told to use.
    pub client_id: String,
    /// Where the login sends the user's browser back to: the client's own port on loopback.
    pub redirect_uri: String,
    /// The scopes that clients are told to ask for.
    pub scopes: Vec<String>,
    /// The audience that clients are told to ask for.
    pub audience: String,
    /// How people log in at the console; without it nobody can.
    pub console: Option<Console>,
}

impl Default for Options {
    fn default() -> Self {
        Self {
            projects: ["flytesnacks", "ml", "fraud", "shared-lib"].map(String::from).to_vec(),
            executions_keep_running: false,
            issuer: String::new(),
            token_endpoint: String::new(),
            authorization_endpoint: String::new(),
            jwks_uri: String::new(),
            authorization_metadata_key: "flyte-authorization".to_owned(),
            client_id: "flytepropeller".to_owned(),
            redirect_uri: "http://localhost:53593/callback".to_owned(),
            scopes: vec!["all".to_owned()],
            audience: String::new(),
            console: None,
        }
    }
}

/// Why the control plane could not start.
#[derive(Debug, thiserror::Error)]
pub enum StartError {
    /// The descriptors are not a `FileDescriptorSet` with Flyte's services and their HTTP annotations.
    #[error("the descriptors cannot be used: {0}")]
    Descriptors(String),
    /// No loopback port could be bound.
    #[error("cannot listen on loopback")]
    Listen(#[from] io::Error),
}

/// A running control plane; it stops, with its connections, when dropped.
#[derive(Debug)]
pub struct ControlPlane {
    /// Where gRPC is served (HTTP/2 without TLS, prior knowledge).
    pub grpc: SocketAddr,
    /// Where the REST gateway and the pages are served (HTTP/1.1), and what a test asks: `/__arrivals`, `/__faults`.
    pub http: SocketAddr,
    shared: Arc<Shared>,
    listeners: [JoinHandle<()>; 2],
}

/// What all connections share.
#[derive(Debug)]
struct Shared {
    schema: Schema,
    arrivals: Arrivals,
    faults: Faults,
    methods: Mutex<Methods>,
}

impl Shared {
    fn methods(&self) -> MutexGuard<'_, Methods> {
        self.methods.lock().unwrap_or_else(PoisonError::into_inner)
    }
}

impl ControlPlane {
    /// Starts on two free loopback ports. `descriptors` is a serialized `FileDescriptorSet` with all imports.
    ///
    /// # Errors
    /// When the descriptors cannot be used or no port can be bound.
    pub async fn start(descriptors: &[u8], options: Options) -> Result<Self, StartError> {
        let schema = Schema::read(descriptors)?;
        let grpc_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let http_listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await?;
        let (grpc, http) = (grpc_listener.local_addr()?, http_listener.local_addr()?);
        let shared = Arc::new(Shared {
            schema,
            arrivals: Arrivals::default(),
            faults: Faults::default(),
            methods: Mutex::new(Methods::new(options, http)),
        });
        let listeners = [
            tokio::spawn(accept(grpc_listener, Arc::clone(&shared), Wire::Grpc)),
            tokio::spawn(accept(http_listener, Arc::clone(&shared), Wire::Http)),
        ];
        Ok(Self {
            grpc,
            http,
            shared,
            listeners,
        })
    }

    /// Every request that has arrived since the start or the last `clear`, in order.
    pub fn arrivals(&self) -> Vec<Arrival> {
        self.shared.arrivals.all()
    }

    /// How many have arrived.
    pub fn count(&self) -> usize {
        self.shared.arrivals.count()
    }

    /// The requests that have been answered or abandoned, which are then forgotten.
    pub fn take_ended(&self) -> Vec<Arrival> {
        self.shared.arrivals.take_ended()
    }

    /// Forgets all arrivals. What is stored stays.
    pub fn clear(&self) {
        self.shared.arrivals.clear();
    }

    /// Makes requests fail as told. The first script that fits a request is used.
    pub fn script(&self, script: Script) {
        self.shared.faults.add(script);
    }

    /// Forgets all scripts.
    pub fn clear_scripts(&self) {
        self.shared.faults.replace(Vec::new());
    }
}

impl Drop for ControlPlane {
    fn drop(&mut self) {
        for listener in &self.listeners {
            listener.abort();
        }
    }
}

#[derive(Debug, Clone, Copy)]
enum Wire {
    Grpc,
    Http,
}

async fn accept(listener: TcpListener, shared: Arc<Shared>, wire: Wire) {
    // The set owns the connections: they end with this task.
    let mut connections = JoinSet::new();
    loop {
        tokio::select! {
            accepted = listener.accept() => {
                if let Ok((stream, _)) = accepted {
                    connections.spawn(serve(stream, Arc::clone(&shared), wire));
                }
            }
            Some(_) = connections.join_next() => {}
        }
    }
}

async fn serve(stream: TcpStream, shared: Arc<Shared>, wire: Wire) {
    // Small answers must not wait for an acknowledgement; without it they are only slower.
    _ = stream.set_nodelay(true);
    let service = service_fn(move |request| handle(Arc::clone(&shared), wire, request));
    let io = TokioIo::new(stream);
    // A connection that a client or a scripted fault breaks is nothing to report.
    _ = match wire {
        Wire::Grpc => {
            let mut builder = http2::Builder::new(TokioExecutor::new());
            builder.timer(TokioTimer::new()).max_header_list_size(256 << 10);
            builder.serve_connection(io, service).await
        }
        Wire::Http => {
            let mut builder = http1::Builder::new();
            builder.timer(TokioTimer::new()).half_close(false);
            builder.serve_connection(io, service).await
        }
    };
}

async fn handle(shared: Arc<Shared>, wire: Wire, request: Request<Incoming>) -> io::Result<Response<Answer>> {
    let (head, body) = request.into_parts();
    if matches!(wire, Wire::Http) && head.uri.path().starts_with(pages::CONTROL_PREFIX) {
        let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
        return Ok(pages::control(&shared, &head, &body));
    }
    let protocol = match wire {
        Wire::Grpc => "grpc",
        Wire::Http => "http",
    };
    // Recorded before the body is read, so that a request that never completes counts too.
    let visit = shared.arrivals.record(protocol, &head);
    let body = body.collect().await.map_err(io::Error::other)?.to_bytes();
    visit.body(&body);
    match wire {
        Wire::Grpc => grpc::handle(&shared, &head, &body, visit).await,
        Wire::Http => gateway::handle(&shared, &head, &body, visit).await,
    }
}
