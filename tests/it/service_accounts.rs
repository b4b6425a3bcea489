//! Tokens of Kubernetes service accounts: keys fetched from an API server that wants to see a token first, and what
//! the tokens are good for.

use crate::proxy::Proxy;
use crate::sockets::eventually;
use bytes::Bytes;
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::credential::locate::Scheme;
use flyte_authz_proxy::credential::rules::IssuerRules;
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::signing::{SigningKey, jwks};
use flyte_authz_proxy::issuer::{IssuerSettings, IssuerStatus, Issuers, KeySource, TokenLimits};
use flyte_authz_proxy::model::reason::Reason;
use http::header::{AUTHORIZATION, CONTENT_TYPE};
use http::{Request, Response};
use http_body_util::Full;
use hyper::body::Incoming;
use hyper::service::service_fn;
use hyper_util::rt::TokioIo;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, PrivateKeyDer};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::net::Ipv4Addr;
use std::path::Path;
use std::sync::{Arc, Mutex};
use tokio::net::TcpListener;
use tokio_rustls::TlsAcceptor;

const ISSUER: &str = "https://kubernetes.default.svc.cluster.local";
const SUBJECT: &str = "system:serviceaccount:ml-development:default";
const LIST: &str = "AdminService/ListExecutions";
const POLICY: &str = include_str!("../../policies/service-accounts.yaml");

/// What the API server does, and what it was asked.
#[derive(Debug, Default)]
struct State {
    /// The token it wants to see; anybody may ask if there is none.
    wanted: Option<String>,
    /// Where its discovery document says that the keys are.
    jwks_uri: String,
    /// Each path that was asked for, with the `authorization` header.
    asked: Vec<(String, Option<String>)>,
}

/// An API server on loopback, by TLS, that shows its keys to those with a token.
struct ApiServer {
    origin: String,
    certificates: Certificates,
    key: Arc<SigningKey>,
    state: Arc<Mutex<State>>,
}

impl ApiServer {
    async fn start() -> Self {
        let certificates = Certificates::generate().unwrap();
        let chain = vec![CertificateDer::from_pem_slice(certificates.certificate.as_bytes()).unwrap()];
        let private = PrivateKeyDer::from_pem_slice(certificates.key.as_bytes()).unwrap();
        let tls = rustls::ServerConfig::builder()
            .with_no_client_auth()
            .with_single_cert(chain, private)
            .unwrap();
        let acceptor = TlsAcceptor::from(Arc::new(tls));
        let listener = TcpListener::bind((Ipv4Addr::LOCALHOST, 0)).await.unwrap();
        let origin = format!("https://localhost:{}", listener.local_addr().unwrap().port());
        let key = Arc::new(SigningKey::generate("cluster", Algorithm::Rs256).unwrap());
        let state = Arc::new(Mutex::new(State {
            jwks_uri: format!("{origin}/openid/v1/jwks"),
            ..State::default()
        }));
        let (keys, shared) = (jwks([&*key]), Arc::clone(&state));
        tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let (acceptor, keys, shared) = (acceptor.clone(), keys.clone(), Arc::clone(&shared));
                tokio::spawn(async move {
                    let Ok(stream) = acceptor.accept(stream).await else {
                        return;
                    };
                    let service = service_fn(|request| {
                        let response = answer(&shared, &keys, &request);
                        async { Ok::<_, Infallible>(response) }
                    });
                    _ = hyper::server::conn::http1::Builder::new()
                        .serve_connection(TokioIo::new(stream), service)
                        .await;
                });
            }
        });
        Self {
            origin,
            certificates,
            key,
            state,
        }
    }

    fn keys_url(&self) -> String {
        format!("{}/openid/v1/jwks", self.origin)
    }

    /// Lets only those ask who show this token.
    fn want(&self, token: &str) {
        self.state.lock().unwrap().wanted = Some(token.to_owned());
    }

    /// What was asked since the last call of this.
    fn asked(&self) -> Vec<(String, Option<String>)> {
        std::mem::take(&mut self.state.lock().unwrap().asked)
    }

    /// A token of a service account for an audience.
    fn token(&self, subject: &str, audience: &str) -> String {
        let now = SystemClock.unix_seconds();
        let mut parts = subject.rsplit(':');
        let (account, namespace) = (parts.next().unwrap(), parts.next().unwrap());
        let claims = json!({
            "iss": ISSUER, "aud": [audience], "sub": subject, "jti": "b3c1", "iat": now, "nbf": now, "exp": now + 3600,
            "kubernetes.io": {
                "namespace": namespace,
                "pod": {"name": "task-0", "uid": "1b6d"},
                "serviceaccount": {"name": account, "uid": "9f2e"},
            },
        });
        self.key.token(&claims, &json!({"typ": null}))
    }

    /// Settings of an issuer whose keys are there, with everything else in the directory.
    fn settings(&self, directory: &Path, keys: KeySource) -> IssuerSettings {
        let ca_file = directory.join("cluster-ca.pem");
        std::fs::write(&ca_file, &self.certificates.authority).unwrap();
        IssuerSettings {
            keys,
            ca_file: Some(ca_file),
            bearer_token: Some(directory.join("token")),
            ..IssuerSettings::new(IssuerRules::new(ISSUER, vec!["flyte".to_owned()]))
        }
    }
}

fn answer(state: &Mutex<State>, keys: &Value, request: &Request<Incoming>) -> Response<Full<Bytes>> {
    let mut state = state.lock().unwrap();
    let shown = request.headers().get(AUTHORIZATION);
    let shown = shown.map(|value| value.to_str().unwrap().to_owned());
    state.asked.push((request.uri().path().to_owned(), shown.clone()));
    let wanted = state.wanted.as_ref().map(|token| format!("Bearer {token}"));
    if wanted.is_some() && wanted != shown {
        return Response::builder().status(401).body(Full::default()).unwrap();
    }
    let (content_type, document) = match request.uri().path() {
        "/openid/v1/jwks" => ("application/jwk-set+json", keys.clone()),
        _ => (
            "application/json",
            json!({"issuer": ISSUER, "jwks_uri": state.jwks_uri, "response_types_supported": ["id_token"]}),
        ),
    };
    let response = Response::builder().header(CONTENT_TYPE, content_type);
    response.body(Full::from(document.to_string())).unwrap()
}

fn issuers(settings: IssuerSettings) -> Issuers {
    Issuers::new(
        vec![settings],
        TokenLimits::default(),
        Arc::new(SystemClock),
        Arc::new(()),
    )
    .unwrap()
}

/// Fetches once and tells how that went.
async fn fetched(issuers: &Issuers) -> IssuerStatus {
    issuers.refresh_all().await;
    issuers.status().remove(0)
}

#[tokio::test]
async fn keys_are_fetched_with_the_token_that_is_in_the_file_at_that_time() {
    let server = ApiServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    let write = |token: &str| std::fs::write(folder.path().join("token"), format!("{token}\n")).unwrap();
    let issuers = issuers(server.settings(folder.path(), KeySource::Url(server.keys_url())));
    server.want("first");
    let error = fetched(&issuers).await.last_error.unwrap();
    assert!(
        error.starts_with("the file that `bearer_token` names cannot be read"),
        "{error}"
    );
    assert_eq!(server.asked(), []);
    write("wrong-token");
    let error = fetched(&issuers).await.last_error.unwrap();
    assert!(error.contains("401") && !error.contains("wrong-token"), "{error}");
    write("first");
    assert_eq!(fetched(&issuers).await.last_error, None);
    assert!(
        issuers
            .verify(Scheme::Bearer, &server.token(SUBJECT, "flyte"))
            .await
            .is_ok()
    );
    // The kubelet replaces the token; the keys are the same.
    server.want("second");
    let status = fetched(&issuers).await;
    assert!(status.stale && status.keys == 1, "{status:?}");
    write("second");
    let status = fetched(&issuers).await;
    assert!(!status.stale && status.last_error.is_none(), "{status:?}");
    assert!(!format!("{issuers:?}").contains("second"));
}

#[tokio::test]
async fn the_authority_of_the_cluster_may_be_replaced_while_running() {
    let server = ApiServer::start().await;
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "token").unwrap();
    let issuers = issuers(server.settings(folder.path(), KeySource::Url(server.keys_url())));
    let other = Certificates::generate().unwrap().authority;
    let ca_file = folder.path().join("cluster-ca.pem");
    std::fs::write(&ca_file, other).unwrap();
    let error = fetched(&issuers).await.last_error.unwrap();
    assert!(error.contains("certificate"), "{error}");
    assert_eq!(server.asked(), [], "the token is shown to a stranger");
    std::fs::write(&ca_file, &server.certificates.authority).unwrap();
    assert_eq!(fetched(&issuers).await.last_error, None);
}

#[tokio::test]
async fn keys_at_another_origin_are_asked_for_without_the_token() {
    let (server, other) = (ApiServer::start().await, ApiServer::start().await);
    let folder = tempfile::tempdir().unwrap();
    std::fs::write(folder.path().join("token"), "for-the-api-server").unwrap();
    let url = Some(format!("{}/.well-known/openid-configuration", server.origin));
    let mut settings = server.settings(folder.path(), KeySource::Discovery { url });
    let both = format!("{}{}", server.certificates.authority, other.certificates.authority);
    settings.ca_file = Some(folder.path().join("both.pem"));
    std::fs::write(folder.path().join("both.pem"), both).unwrap();
    let issuers = issuers(settings);
    server.want("for-the-api-server");
    // Where discovery and keys are at one place, both are asked with the token.
    assert_eq!(fetched(&issuers).await.last_error, None);
    let shown = Some("Bearer for-the-api-server".to_owned());
    let discovery = ("/.well-known/openid-configuration".to_owned(), shown.clone());
    assert_eq!(
        server.asked(),
        [discovery.clone(), ("/openid/v1/jwks".to_owned(), shown)]
    );
    server.state.lock().unwrap().jwks_uri = other.keys_url();
    other.want("for-the-api-server");
    let error = fetched(&issuers).await.last_error.unwrap();
    assert!(
        error.contains("401") && error.contains("`jwks: {url: https://kubernetes.default.svc/openid/v1/jwks}`"),
        "{error}"
    );
    assert_eq!(server.asked(), [discovery]);
    assert_eq!(other.asked(), [("/openid/v1/jwks".to_owned(), None)]);
}

/// The whole proxy in a cluster: its own issuer and the cluster's.
async fn in_cluster(source: &str, server: &ApiServer) -> Proxy {
    let keys = jwks([&*server.key]).to_string();
    let issuer = format!("  - issuer: {ISSUER}\n    audiences: [flyte]\n{source}policy:");
    let proxy = Proxy::start_with(|setup| {
        POLICY.clone_into(&mut setup.policy);
        for (name, text) in [
            ("cluster-ca.pem", server.certificates.authority.clone()),
            ("token", "shown\n".to_owned()),
            ("cluster-keys.json", keys),
        ] {
            std::fs::write(setup.directory.join(name), text).unwrap();
        }
        setup.edit = Box::new(move |text| text.replace("policy:", &issuer));
    })
    .await;
    eventually("the cluster's keys are fetched", || {
        proxy.metric(&format!("key_set_timestamp_seconds{{issuer=\"{ISSUER}\"")) > 0.0
    })
    .await;
    proxy
}

async fn list(proxy: &Proxy, token: &str, project: &str, domain: &str) -> Reply {
    let message = json!({"id": {"project": project, "domain": domain}, "limit": 1});
    proxy.client.call(Some(token), LIST, message).await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_service_account_acts_where_its_namespace_says() {
    let server = ApiServer::start().await;
    server.want("shown");
    let fetched = format!(
        "    jwks: {{url: {}}}\n    ca: cluster-ca.pem\n    bearer_token: token\n",
        server.keys_url()
    );
    for source in [fetched.as_str(), "    jwks: {file: cluster-keys.json}\n"] {
        let proxy = in_cluster(source, &server).await;
        let token = server.token(SUBJECT, "flyte");
        let before = proxy.before();
        let reply = list(&proxy, &token, "ml", "development").await;
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["principal"]["subject"], SUBJECT);
        assert_eq!(
            proxy.control_plane.arrivals().pop().unwrap().header("authorization"),
            [format!("Bearer {token}")]
        );
        for (project, domain) in [("ml", "production"), ("fraud", "development")] {
            let before = proxy.before();
            let reply = list(&proxy, &token, project, domain).await;
            proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
        }
        // The same pod's token for somebody else: another service, or the API server itself.
        for audience in ["vault", ISSUER, "https://kubernetes.default.svc"] {
            let before = proxy.before();
            let reply = list(&proxy, &server.token(SUBJECT, audience), "ml", "development").await;
            proxy.refused(&before, &reply, Reason::AudienceMismatch).await;
        }
        // The claim `kubernetes.io` by a list path.
        let before = proxy.before();
        let monitoring = server.token("system:serviceaccount:monitoring:grafana", "flyte");
        let reply = list(&proxy, &monitoring, "fraud", "production").await;
        proxy.forwarded(&before, &reply).await;
        // A key of its own does not make anybody the cluster.
        let stranger = ApiServer::start().await;
        let before = proxy.before();
        let reply = list(&proxy, &stranger.token(SUBJECT, "flyte"), "ml", "development").await;
        proxy.refused(&before, &reply, Reason::TokenSignatureInvalid).await;
    }
    assert!(
        server
            .asked()
            .iter()
            .all(|(_, shown)| shown.as_deref() == Some("Bearer shown"))
    );
}

#[test]
fn the_issuer_in_the_documentation_loads() {
    let issuer = crate::documents::issuer_of("docs/identity.md", "Kubernetes workloads");
    let token = Path::new("/var/run/secrets/kubernetes.io/serviceaccount/token");
    assert_eq!(issuer.bearer_token.as_deref(), Some(token));
}
