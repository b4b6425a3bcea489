//! What the HTTP port serves beside the gateway: `FlyteAdmin`'s pages, an upload sink, and what a test asks.

use super::answer::{Answer, Step};
use super::arrivals::Visit;
use super::fault::Script;
use super::status::Status;
use super::{Options, Shared, gateway, login};
use bytes::Bytes;
use http::header::{CONTENT_TYPE, LOCATION};
use http::request::Parts;
use http::{HeaderName, HeaderValue, Method, Response, StatusCode};
use serde_json::{Value, json};

/// Paths that belong to the test, not to Flyte: they are no arrivals.
pub(super) const CONTROL_PREFIX: &str = "/__";
/// Where pre-signed upload addresses point.
pub(super) const UPLOADS: &str = "/__uploads/";

/// One of `FlyteAdmin`'s pages, or its answer for a path that it does not have.
pub(super) async fn page(shared: &Shared, head: &Parts, visit: Visit) -> Response<Answer> {
    if head.method == Method::OPTIONS {
        return preflight(visit);
    }
    let options = shared.methods().options.clone();
    match head.uri.path() {
        "/healthcheck" => text(StatusCode::OK, "text/plain", "", visit),
        "/login" | "/callback" | "/logout" => login::page(&options, head, visit).await,
        "/.well-known/openid-configuration" => {
            redirect(&format!("{}/.well-known/openid-configuration", options.issuer), visit)
        }
        "/api/v1/openapi" => {
            let document = json!({ "swagger": "2.0", "info": { "title": "flyteidl", "version": "demo" }, "paths": {} });
            text(StatusCode::OK, "application/json", &document.to_string(), visit)
        }
        path if path == "/console" || path.starts_with("/console/") => {
            text(StatusCode::OK, "text/html", include_str!("console.html"), visit)
        }
        _ => {
            let failure = Status::not_found("Not Found");
            let body = String::from_utf8_lossy(&gateway::describe(&failure, "application/json")).into_owned();
            text(StatusCode::NOT_FOUND, "application/json", &body, visit)
        }
    }
}

pub(super) fn text(
    status: StatusCode,
    content_type: &'static str,
    body: &str,
    visit: impl Into<Option<Visit>>,
) -> Response<Answer> {
    let steps = (!body.is_empty()).then(|| Step::Data(Bytes::copy_from_slice(body.as_bytes())));
    let mut response = Response::new(Answer::new(steps, visit.into()));
    *response.status_mut() = status;
    response
        .headers_mut()
        .insert(CONTENT_TYPE, HeaderValue::from_static(content_type));
    response
}

pub(super) fn redirect(to: &str, visit: Visit) -> Response<Answer> {
    let mut response = text(StatusCode::SEE_OTHER, "text/html", "", visit);
    let location = HeaderValue::from_str(to).unwrap_or(HeaderValue::from_static("/console"));
    response.headers_mut().insert(LOCATION, location);
    response
}

fn preflight(visit: Visit) -> Response<Answer> {
    let mut response = text(StatusCode::OK, "text/plain", "", visit);
    for (name, value) in [
        ("access-control-allow-origin", "*"),
        ("access-control-allow-methods", "GET,POST,PUT,DELETE,OPTIONS"),
        ("access-control-allow-headers", "Content-Type,flyte-authorization"),
    ] {
        response
            .headers_mut()
            .insert(HeaderName::from_static(name), HeaderValue::from_static(value));
    }
    response
}

/// What a test asks: `/__arrivals` (GET, DELETE), `/__faults` (PUT a list of scripts), `/__options` (PUT, for what it
/// tells clients), `/__uploads` (GET, DELETE), and the object store behind upload addresses (`PUT /__uploads/...`).
pub(super) fn control(shared: &Shared, head: &Parts, body: &Bytes) -> Response<Answer> {
    let path = head.uri.path();
    match (&head.method, path) {
        (&Method::GET, "/__arrivals") => show(&json!(shared.arrivals.all())),
        (&Method::DELETE, "/__arrivals") => {
            shared.arrivals.clear();
            text(StatusCode::NO_CONTENT, "text/plain", "", None)
        }
        (&Method::PUT, "/__faults") => match serde_json::from_slice::<Vec<Script>>(body) {
            Ok(scripts) => {
                shared.faults.replace(scripts);
                text(StatusCode::NO_CONTENT, "text/plain", "", None)
            }
            Err(error) => text(StatusCode::BAD_REQUEST, "text/plain", &error.to_string(), None),
        },
        (&Method::PUT, "/__options") => match serde_json::from_slice::<Options>(body) {
            Ok(options) => {
                shared.methods().options = options;
                text(StatusCode::NO_CONTENT, "text/plain", "", None)
            }
            Err(error) => text(StatusCode::BAD_REQUEST, "text/plain", &error.to_string(), None),
        },
        (&Method::GET, "/__uploads") => show(&json!(shared.methods().uploads)),
        (&Method::DELETE, "/__uploads") => {
            shared.methods().uploads.clear();
            text(StatusCode::NO_CONTENT, "text/plain", "", None)
        }
        (&Method::PUT, path) if path.starts_with(UPLOADS) => {
            let digest = head
                .headers
                .get("content-md5")
                .and_then(|digest| digest.to_str().ok())
                .unwrap_or_default();
            match shared.methods().upload(path, digest, body.len()) {
                Ok(()) => text(StatusCode::OK, "text/plain", "", None),
                Err(problem) => text(StatusCode::BAD_REQUEST, "text/plain", problem, None),
            }
        }
        _ => text(StatusCode::NOT_FOUND, "text/plain", "", None),
    }
}

fn show(value: &Value) -> Response<Answer> {
    text(StatusCode::OK, "application/json", &value.to_string(), None)
}
