//! Fetching key sets and keys: one host at a time, no redirects, bounded in time and size.

use super::bearer::BearerFile;
use super::settings::checked_url;
use super::{IssuerSettings, KeySource};
use crate::credential::json;
use crate::credential::key_set::KeySet;
use crate::trust;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, Response, StatusCode, Uri};
use http_body_util::{BodyExt, Empty, Limited};
use hyper::body::{Body, Incoming};
use hyper_rustls::{HttpsConnector, HttpsConnectorBuilder};
use hyper_util::client::legacy::Client;
use hyper_util::client::legacy::connect::HttpConnector;
use hyper_util::rt::TokioExecutor;
use serde_json::Value;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::Duration;

/// How long discovery and key set may take together, or one key.
pub(super) const DEADLINE: Duration = Duration::from_secs(10);

/// A client for the hosts of issuers.
pub(super) type HttpsClient<B> = Client<HttpsConnector<HttpConnector>, B>;

/// Fetches one issuer's key set. Its errors are fit for logs: they hold URLs of the configuration and of discovery,
/// and nothing that was sent.
#[derive(Debug)]
pub(super) struct Fetcher {
    /// With the authorities as they were at the start.
    client: HttpsClient<Empty<Bytes>>,
    ca_file: Option<PathBuf>,
    bearer: Option<BearerFile>,
    issuer: Arc<str>,
    source: KeySource,
    allow_http: bool,
}

impl Fetcher {
    pub(super) fn new(settings: &IssuerSettings) -> Result<Self, String> {
        Ok(Self {
            client: client(settings.ca_file.as_deref(), settings.allow_http)?,
            ca_file: settings.ca_file.clone(),
            bearer: BearerFile::of(settings),
            issuer: Arc::clone(&settings.rules.issuer),
            source: settings.keys.clone(),
            allow_http: settings.allow_http,
        })
    }

    /// The JWKS document, not yet looked into.
    pub(super) async fn fetch(&self) -> Result<Bytes, String> {
        tokio::time::timeout(DEADLINE, self.fetch_patiently())
            .await
            .unwrap_or_else(|_| Err(format!("no complete answer within {} s", DEADLINE.as_secs())))
    }

    async fn fetch_patiently(&self) -> Result<Bytes, String> {
        let url = match &self.source {
            KeySource::Url(url) => checked_url(url, self.allow_http)?,
            KeySource::Discovery { url: Some(url) } => self.discover(url).await?,
            KeySource::Discovery { url: None } => {
                let base = self.issuer.trim_end_matches('/');
                self.discover(&format!("{base}/.well-known/openid-configuration"))
                    .await?
            }
            KeySource::File(_) | KeySource::Introspection(_) => return Err("there are no keys to fetch".to_owned()),
        };
        let elsewhere = self.bearer.as_ref().is_some_and(|bearer| !bearer.is_for(&url));
        self.get(url).await.map_err(|fault| {
            if elsewhere {
                format!(
                    "{fault}; `bearer_token` is not sent there, because the discovery document names another origin than the configured one: name the key set itself, for Kubernetes `jwks: {{url: https://kubernetes.default.svc/openid/v1/jwks}}`"
                )
            } else {
                fault
            }
        })
    }

    /// Where the key set is, according to the discovery document. One for another issuer is not believed (OpenID
    /// Connect Discovery section 4.3, RFC 8414 section 3.3).
    async fn discover(&self, url: &str) -> Result<Uri, String> {
        let url = checked_url(url, self.allow_http)?;
        let place = place(&url);
        let document = self.get(url).await?;
        let document = json::object(&document).map_err(|error| format!("{place}: not a JSON object: {error}"))?;
        match document.get("issuer").and_then(Value::as_str) {
            Some(issuer) if *issuer == *self.issuer => {}
            Some(issuer) => {
                let issuer: String = issuer.chars().take(200).flat_map(char::escape_debug).collect();
                return Err(format!(
                    "{place} is about the issuer `{issuer}`, not `{}`, letter for letter",
                    self.issuer
                ));
            }
            None => return Err(format!("{place} does not say its `issuer`")),
        }
        let key_set = document.get("jwks_uri").and_then(Value::as_str);
        let key_set = key_set.ok_or_else(|| format!("{place} has no `jwks_uri`"))?;
        checked_url(key_set, self.allow_http).map_err(|fault| format!("{place}: `jwks_uri`: {fault}"))
    }

    async fn get(&self, url: Uri) -> Result<Bytes, String> {
        let bearer = self.bearer.as_ref().filter(|bearer| bearer.is_for(&url));
        let authorization = bearer.map(BearerFile::header).transpose()?;
        let client = match &self.ca_file {
            Some(_) => client(self.ca_file.as_deref(), self.allow_http)?,
            None => self.client.clone(),
        };
        let accept = "application/json, application/jwk-set+json";
        let (place, response) = request(&client, &url, accept, authorization).await?;
        if response.status() != StatusCode::OK {
            return Err(refused(&place, response.status()));
        }
        if !is_json(&response) {
            return Err(format!("{place}: the content type of the answer is not JSON"));
        }
        body(&place, response, KeySet::MAX_BYTES).await
    }
}

/// A client that trusts the authorities in the file as it is now, or those of the system.
pub(super) fn client<B>(ca_file: Option<&Path>, allow_http: bool) -> Result<HttpsClient<B>, String>
where
    B: Body<Data: Send> + Send,
{
    let tls = trust::client_config(ca_file)
        .map_err(|problem| format!("CA file `{}` {}", problem.file.display(), problem.message))?;
    let builder = HttpsConnectorBuilder::new().with_tls_config(tls);
    let builder = if allow_http {
        builder.https_or_http()
    } else {
        builder.https_only()
    };
    // One connection a request: minutes may lie between them, and a kept one would be dead by then.
    Ok(Client::builder(TokioExecutor::new())
        .pool_max_idle_per_host(0)
        .build(builder.enable_http1().build()))
}

/// An address as errors show it: without the query, which may hold an access key.
pub(super) fn place(url: &Uri) -> String {
    let host = url.authority().map(http::uri::Authority::as_str).unwrap_or_default();
    format!("{host}{}", url.path())
}

/// Asks for a document. Returns its place, to show in errors, and the answer, of whatever status.
pub(super) async fn request(
    client: &HttpsClient<Empty<Bytes>>,
    url: &Uri,
    accept: &'static str,
    authorization: Option<HeaderValue>,
) -> Result<(String, Response<Incoming>), String> {
    let place = place(url);
    let mut request = Request::get(url)
        .header(ACCEPT, accept)
        .header(USER_AGENT, concat!("flyte-authz-proxy/", env!("CARGO_PKG_VERSION")))
        .body(Empty::new())
        .map_err(|error| format!("{place}: {error}"))?;
    if let Some(authorization) = authorization {
        request.headers_mut().insert(AUTHORIZATION, authorization);
    }
    let response = client.request(request).await;
    let response = response.map_err(|error| format!("{place}: {}", chain(&error)))?;
    Ok((place, response))
}

/// What to say of an answer that is not 200.
pub(super) fn refused(place: &str, status: StatusCode) -> String {
    format!("{place}: answered {status}; redirects are not followed")
}

/// The body of an answer, of at most `limit` bytes.
pub(super) async fn body(place: &str, response: Response<Incoming>, limit: usize) -> Result<Bytes, String> {
    let body = Limited::new(response.into_body(), limit).collect().await;
    let body = body.map_err(|error| format!("{place}: the answer is cut off or larger than {limit} bytes: {error}"))?;
    Ok(body.to_bytes())
}

pub(super) fn is_json(response: &Response<Incoming>) -> bool {
    let Some(Ok(value)) = response.headers().get(CONTENT_TYPE).map(http::HeaderValue::to_str) else {
        return false;
    };
    let media_type = value.split(';').next().unwrap_or_default().trim().to_ascii_lowercase();
    media_type == "application/json" || (media_type.starts_with("application/") && media_type.ends_with("+json"))
}

/// An error with its causes: hyper's own text says only "client error".
pub(super) fn chain(error: &dyn std::error::Error) -> String {
    let mut text = error.to_string();
    let mut cause = error.source();
    while let Some(inner) = cause {
        text = format!("{text}: {inner}");
        cause = inner.source();
    }
    text
}
