//! How people log in at the console: the authorization-code flow at an identity provider, and cookies made with
//! `FlyteAdmin`'s names, encoding and answers.

use super::Options;
use super::answer::Answer;
use super::arrivals::Visit;
use super::pages::{redirect, text};
use crate::clock::{Clock, SystemClock};
use crate::demo::client::Failure;
use crate::demo::session::SessionKeys;
use aws_lc_rs::{digest, rand};
use base64::Engine;
use base64::engine::general_purpose::{STANDARD, URL_SAFE_NO_PAD};
use bytes::Bytes;
use http::header::{AUTHORIZATION, CONTENT_TYPE, COOKIE, SET_COOKIE};
use http::request::Parts;
use http::{HeaderMap, HeaderValue, Request, Response, StatusCode};
use http_body_util::{BodyExt, Full};
use hyper_util::rt::TokioExecutor;
use percent_encoding::{NON_ALPHANUMERIC, percent_decode_str, utf8_percent_encode};
use serde::Deserialize;
use std::time::Duration;

const CSRF: &str = "flyte_csrf_state";
const AFTERWARDS: &str = "flyte_redirect_location";
const SESSION: [&str; 3] = ["flyte_at_1", "flyte_at_2", "flyte_idt"];
/// How long the identity provider may take.
const PATIENCE: Duration = Duration::from_secs(10);

/// `FlyteAdmin`'s own registration at the identity provider, and the keys of its cookies.
#[derive(Clone, Deserialize)]
#[serde(deny_unknown_fields)]
pub struct Console {
    client_id: String,
    client_secret: String,
    /// The address of `/callback` as browsers see it.
    redirect_uri: String,
    scopes: Vec<String>,
    cookie_hash_key: String,
    cookie_block_key: String,
}

impl std::fmt::Debug for Console {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        f.debug_struct("Console")
            .field("client_id", &self.client_id)
            .finish_non_exhaustive()
    }
}

/// What the identity provider gives for a code.
#[derive(Deserialize)]
struct Tokens {
    id_token: String,
    access_token: String,
}

/// `/login`, `/callback` or `/logout`.
pub(super) async fn page(options: &Options, head: &Parts, visit: Visit) -> Response<Answer> {
    let Some(console) = &options.console else {
        let to = match head.uri.path() {
            "/login" => &options.authorization_endpoint,
            _ => "/console",
        };
        return redirect(to, visit);
    };
    match head.uri.path() {
        "/login" => begin(options, console, head, visit),
        "/callback" => finish(options, console, head, visit).await,
        _ => {
            let ended = SESSION.map(|name| format!("{name}=; Path=/; Max-Age=0"));
            let to = query(head, "redirect_url").unwrap_or_else(|| "/console".to_owned());
            with_cookies(redirect(&to, visit), &ended)
        }
    }
}

fn begin(options: &Options, console: &Console, head: &Parts, visit: Visit) -> Response<Answer> {
    let mut bytes = [0; 16];
    if rand::fill(&mut bytes).is_err() {
        return text(StatusCode::INTERNAL_SERVER_ERROR, "text/plain", "no randomness", visit);
    }
    let csrf = URL_SAFE_NO_PAD.encode(bytes);
    let fields = [
        ("response_type", "code"),
        ("client_id", &console.client_id),
        ("redirect_uri", &console.redirect_uri),
        ("scope", &console.scopes.join(" ")),
        ("state", &hashed(&csrf)),
    ];
    let to = format!("{}?{}", options.authorization_endpoint, form(&fields));
    let mut cookies = vec![format!("{CSRF}={csrf}; Path=/; HttpOnly")];
    cookies.extend(query(head, "redirect_url").map(|to| format!("{AFTERWARDS}={}; Path=/; HttpOnly", encoded(&to))));
    with_cookies(redirect(&to, visit), &cookies)
}

async fn finish(options: &Options, console: &Console, head: &Parts, visit: Visit) -> Response<Answer> {
    let state = query(head, "state").unwrap_or_default();
    if cookie(&head.headers, CSRF).is_none_or(|csrf| hashed(csrf) != state) {
        return text(StatusCode::UNAUTHORIZED, "text/plain", "", visit);
    }
    let code = query(head, "code").unwrap_or_default();
    let exchanged = tokio::time::timeout(PATIENCE, exchange(options, console, &code)).await;
    let made = exchanged
        .map_err(Failure::from)
        .flatten()
        .and_then(|tokens| session(console, &tokens));
    match made {
        Ok(cookies) => {
            let to = cookie(&head.headers, AFTERWARDS).map(decoded);
            with_cookies(redirect(&to.unwrap_or_else(|| "/console".to_owned()), visit), &cookies)
        }
        Err(failure) => text(StatusCode::FORBIDDEN, "text/plain", &failure.to_string(), visit),
    }
}

async fn exchange(options: &Options, console: &Console, code: &str) -> Result<Tokens, Failure> {
    let credential = format!("{}:{}", encoded(&console.client_id), encoded(&console.client_secret));
    let fields = [
        ("grant_type", "authorization_code"),
        ("code", code),
        ("redirect_uri", &console.redirect_uri),
    ];
    let request = Request::post(&options.token_endpoint)
        .header(AUTHORIZATION, format!("Basic {}", STANDARD.encode(credential)))
        .header(CONTENT_TYPE, "application/x-www-form-urlencoded")
        .body(Full::new(Bytes::from(form(&fields))))?;
    let client = hyper_util::client::legacy::Client::builder(TokioExecutor::new()).build_http();
    let answer = client.request(request).await?;
    let status = answer.status();
    let body = answer.into_body().collect().await?.to_bytes();
    if !status.is_success() {
        return Err(format!("the identity provider answered {status}").into());
    }
    Ok(serde_json::from_slice(&body)?)
}

/// The `set-cookie` values of somebody who has just logged in.
fn session(console: &Console, tokens: &Tokens) -> Result<[String; 3], Failure> {
    let keys = SessionKeys::read(&console.cookie_hash_key, &console.cookie_block_key).ok_or("no keys of cookies")?;
    let cookies = keys
        .session(&tokens.id_token, &tokens.access_token, SystemClock.unix_seconds())
        .map_err(|_| "no randomness")?;
    // securecookie makes none that browsers might not keep.
    if cookies.iter().any(|(_, value)| value.len() > 4096) {
        return Err("the value is too long".into());
    }
    Ok(cookies.map(|(name, value)| format!("{name}={value}; Path=/; HttpOnly; Secure")))
}

fn with_cookies(mut response: Response<Answer>, cookies: &[String]) -> Response<Answer> {
    for value in cookies.iter().filter_map(|cookie| HeaderValue::from_str(cookie).ok()) {
        response.headers_mut().append(SET_COOKIE, value);
    }
    response
}

fn cookie<'a>(headers: &'a HeaderMap, name: &str) -> Option<&'a str> {
    let values = headers.get_all(COOKIE).iter().filter_map(|value| value.to_str().ok());
    let mut pairs = values
        .flat_map(|value| value.split(';'))
        .filter_map(|pair| pair.trim().split_once('='));
    pairs.find_map(|(known, value)| (known == name).then_some(value))
}

fn query(head: &Parts, name: &str) -> Option<String> {
    let pairs = head.uri.query()?.split('&').filter_map(|pair| pair.split_once('='));
    let mut values = pairs.filter(|(known, _)| *known == name).map(|(_, value)| value);
    values.next().map(decoded)
}

fn form(fields: &[(&str, &str)]) -> String {
    let pairs: Vec<_> = fields
        .iter()
        .map(|(name, value)| format!("{name}={}", encoded(value)))
        .collect();
    pairs.join("&")
}

fn encoded(text: &str) -> String {
    utf8_percent_encode(text, NON_ALPHANUMERIC).to_string()
}

fn decoded(text: &str) -> String {
    let text = text.replace('+', " ");
    percent_decode_str(&text).decode_utf8_lossy().into_owned()
}

fn hashed(csrf: &str) -> String {
    let hash = digest::digest(&digest::SHA256, csrf.as_bytes());
    URL_SAFE_NO_PAD.encode(hash)
}
