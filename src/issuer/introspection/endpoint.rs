//! One question to an issuer about one token (RFC 7662 section 2.1): no redirects, bounded in time and size.

use crate::issuer::fetch::{self, HttpsClient};
use crate::issuer::settings::checked_url;
use crate::issuer::{IntrospectionSettings, IssuerSettings};
use crate::model::problem::Problem;
use crate::named_secret::NamedSecret;
use crate::secret::Secret;
use base64::Engine;
use base64::engine::general_purpose::STANDARD;
use bytes::Bytes;
use http::header::{ACCEPT, AUTHORIZATION, CONTENT_TYPE, USER_AGENT};
use http::{HeaderValue, Request, StatusCode, Uri};
use http_body_util::{BodyExt, Full, Limited};
use percent_encoding::{AsciiSet, NON_ALPHANUMERIC, utf8_percent_encode};
use std::path::PathBuf;
use zeroize::Zeroizing;

/// The longest answer that is read, in bytes.
const LONGEST_ANSWER: usize = 64 << 10;

/// What `application/x-www-form-urlencoded` encodes.
const FORM: &AsciiSet = &NON_ALPHANUMERIC.remove(b'-').remove(b'.').remove(b'_').remove(b'*');

/// Why there is no answer. The texts are fit for logs: nothing that was sent is in them.
#[derive(Debug)]
pub(super) enum Failure {
    /// Whatever token one asks about, it would be the same.
    Endpoint(String),
    /// It may be due to this token: whoever sends such tokens must not be able to make others wait.
    Token(String),
}

/// Where to ask, and as whom.
#[derive(Debug)]
pub(super) struct Endpoint {
    url: Uri,
    /// Host and path, for errors.
    place: String,
    /// With the authorities as they were at the start.
    client: HttpsClient<Full<Bytes>>,
    ca_file: Option<PathBuf>,
    allow_http: bool,
    settings: IntrospectionSettings,
}

impl Endpoint {
    /// # Errors
    /// What cannot be used of the address, the CA file and the secrets.
    pub(super) fn new(issuer: &IssuerSettings, settings: &IntrospectionSettings) -> Result<Self, Vec<Problem>> {
        let general = |message: String| Problem::error(format!("issuer {}", issuer.rules.issuer), 0, 0, message);
        let url = checked_url(&settings.url, issuer.allow_http).map_err(general);
        let client = fetch::client(issuer.ca_file.as_deref(), issuer.allow_http).map_err(general);
        let secrets = [&settings.client_id, &settings.client_secret].map(|named| named.read(encoded).map(drop));
        let (url, client) = match (url, client, secrets) {
            (Ok(url), Ok(client), [Ok(()), Ok(())]) => (url, client),
            (url, client, [id, secret]) => {
                let all = [url.err(), client.err(), id.err(), secret.err()];
                return Err(all.into_iter().flatten().collect());
            }
        };
        Ok(Self {
            place: fetch::place(&url),
            url,
            client,
            ca_file: issuer.ca_file.clone(),
            allow_http: issuer.allow_http,
            settings: settings.clone(),
        })
    }

    /// The issuer's answer, not yet looked into.
    pub(super) async fn ask(&self, token: &str) -> Result<Bytes, Failure> {
        let patience = self.settings.timeout;
        let asked = tokio::time::timeout(patience, self.ask_patiently(token)).await;
        asked.unwrap_or_else(|_| {
            let message = format!("{}: no complete answer within {} ms", self.place, patience.as_millis());
            Err(Failure::Endpoint(message))
        })
    }

    async fn ask_patiently(&self, token: &str) -> Result<Bytes, Failure> {
        let request = self.request(token).map_err(Failure::Endpoint)?;
        // Read anew, as the secrets are: whoever replaces them need not restart anything.
        let client = match &self.ca_file {
            Some(_) => fetch::client(self.ca_file.as_deref(), self.allow_http).map_err(Failure::Endpoint)?,
            None => self.client.clone(),
        };
        let response = client.request(request).await.map_err(|error| {
            let message = format!("{}: {}", self.place, fetch::chain(&error));
            if error.is_connect() {
                Failure::Endpoint(message)
            } else {
                Failure::Token(message)
            }
        })?;
        if response.status() != StatusCode::OK {
            return Err(self.unexpected(response.status()));
        }
        if !fetch::is_json(&response) {
            let message = format!("{}: the content type of the answer is not JSON", self.place);
            return Err(Failure::Token(message));
        }
        let body = Limited::new(response.into_body(), LONGEST_ANSWER).collect().await;
        let body = body.map_err(|error| {
            Failure::Token(format!(
                "{}: the answer is cut off or larger than {} KiB: {error}",
                self.place,
                LONGEST_ANSWER >> 10
            ))
        })?;
        Ok(body.to_bytes())
    }

    fn request(&self, token: &str) -> Result<Request<Full<Bytes>>, String> {
        let body = format!(
            "token={}&token_type_hint=access_token",
            utf8_percent_encode(token, FORM)
        );
        let request = Request::post(&self.url)
            .header(ACCEPT, "application/json")
            .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
            .header(USER_AGENT, concat!("flyte-authz-proxy/", env!("CARGO_PKG_VERSION")))
            .header(AUTHORIZATION, self.authorization()?);
        request
            .body(Full::from(body))
            .map_err(|error| format!("{}: {error}", self.place))
    }

    /// `client_secret_basic`: both parts are form-encoded first (RFC 6749 section 2.3.1).
    fn authorization(&self) -> Result<HeaderValue, String> {
        let read =
            |name: &str, named: &NamedSecret| named.read(encoded).map_err(|problem| format!("`{name}`: {problem}"));
        let id = read("client_id", &self.settings.client_id)?;
        let secret = read("client_secret", &self.settings.client_secret)?;
        let pair = Zeroizing::new(format!("{}:{}", id.expose(), secret.expose()));
        let basic = Zeroizing::new(format!("Basic {}", STANDARD.encode(pair.as_bytes())));
        let mut value = HeaderValue::try_from(basic.as_str()).map_err(|_| "`client_secret` is too long".to_owned())?;
        value.set_sensitive(true);
        Ok(value)
    }

    fn unexpected(&self, status: StatusCode) -> Failure {
        let place = &self.place;
        match status.as_u16() {
            401 => Failure::Endpoint(format!(
                "{place}: answered {status}: the issuer does not accept `client_id` and `client_secret`"
            )),
            403 => Failure::Token(format!(
                "{place}: answered {status}: the issuer does not let this client ask about tokens"
            )),
            429 | 502..=504 => Failure::Endpoint(format!("{place}: answered {status}")),
            _ => Failure::Token(format!("{place}: answered {status}; redirects are not followed")),
        }
    }
}

/// A secret without the end of its line, form-encoded.
fn encoded(secret: &Secret) -> Result<Secret, String> {
    let text = secret.expose().trim_end_matches(['\r', '\n']);
    if text.is_empty() {
        return Err("is empty".to_owned());
    }
    Ok(Secret::new(utf8_percent_encode(text, FORM).to_string()))
}
