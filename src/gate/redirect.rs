//! A listener that only leads browsers to `https://`: a host of its list, the path and query as they came, and nothing else.

use super::request_id::{self, RequestIds};
use super::{Body, ConnectionInfo, answer, body, provenance};
use crate::audit::{AuditGuard, Recorder};
use crate::config::{Limits, RedirectToHttps};
use crate::metrics::Outcome;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::protocol::{Protocol, canonical, classify, deny};
use http::header::{AUTHORIZATION, CACHE_CONTROL, LOCATION};
use http::request::Parts;
use http::{HeaderValue, Method, Request, Response, StatusCode};
use hyper::body::Incoming;
use std::sync::Arc;

/// What a request that is led elsewhere is recorded as, in place of an RPC.
const ROUTE: &str = "redirect_to_https";

/// Answers the requests of one listener.
#[derive(Debug)]
pub struct Redirect {
    /// The listener's name.
    pub listener: Arc<str>,
    /// Where it leads.
    pub target: RedirectToHttps,
    /// Records every request.
    pub recorder: Arc<Recorder>,
    /// Bounds on requests.
    pub limits: Limits,
    /// Names requests.
    pub request_ids: Arc<RequestIds>,
}

impl Redirect {
    /// Answers a request. Leaves exactly one audit record.
    pub(super) fn handle(&self, request: Request<Incoming>, info: &ConnectionInfo) -> Response<Body> {
        let (parts, incoming) = request.into_parts();
        let protocol = classify::classify(&parts.method, parts.version, &parts.headers);
        let request_id = self.request_ids.next();
        let recorder = Arc::clone(&self.recorder);
        let mut audit = AuditGuard::start(recorder, protocol, request_id.clone(), self.listener.clone(), info.peer);
        request_id::correlate(&parts.headers, &mut audit);
        audit.route(ROUTE.into(), None);
        match self.location(parts, protocol, info, &mut audit) {
            Ok(location) => {
                audit.response_head(StatusCode::PERMANENT_REDIRECT.as_u16());
                audit.finish(Outcome::Answered);
                let mut response = Response::new(Body::Full(http_body_util::Full::default()));
                *response.status_mut() = StatusCode::PERMANENT_REDIRECT;
                response.headers_mut().insert(LOCATION, location);
                // Browsers would remember it past a change of the host's ways.
                response
                    .headers_mut()
                    .insert(CACHE_CONTROL, HeaderValue::from_static("no-store"));
                answer::identified(response, &request_id)
            }
            Err(denial) => {
                audit.refuse(&denial);
                body::discard(Some(incoming));
                deny::respond(protocol, &denial, &request_id).map(Body::Full)
            }
        }
    }

    /// The address that the request should have gone to.
    fn location(
        &self,
        parts: Parts,
        protocol: Protocol,
        info: &ConnectionInfo,
        audit: &mut AuditGuard,
    ) -> Result<HeaderValue, Denial> {
        let provenance = provenance(info, &parts.headers, audit)?;
        let head = canonical::accept(parts, protocol, self.limits.headers)?;
        if provenance.encrypted == Some(true) {
            let message = "the request came by https already; the load balancer must send it to a listener that serves";
            return Err(Denial::new(Reason::Misdirected, message));
        }
        let is_read = head.method() == Method::GET || head.method() == Method::HEAD;
        if protocol == Protocol::Grpc || !is_read {
            return Err(Reason::HttpsRequired.into());
        }
        if head.headers().contains_key(AUTHORIZATION) {
            let message = "the credential has crossed the network in plain text; revoke it, and use the https address";
            return Err(Denial::new(Reason::HttpsRequired, message));
        }
        let asked = provenance.host.as_deref().unwrap_or(head.host());
        let name = asked.split_once(':').map_or(asked, |(name, _)| name);
        let hosts = &self.target.hosts;
        let host = hosts
            .iter()
            .find(|host| host.eq_ignore_ascii_case(name))
            .ok_or_else(|| {
                Denial::new(
                    Reason::Misdirected,
                    "the host is not one for which this listener answers",
                )
            })?;
        let port = match self.target.port {
            443 => String::new(),
            port => format!(":{port}"),
        };
        let query = head.query().map(|query| format!("?{query}")).unwrap_or_default();
        HeaderValue::try_from(format!("https://{host}{port}{}{query}", head.path()))
            .map_err(|_| Reason::PathNotCanonical.into())
    }
}
