//! What is no API call: pages such as login and console, CORS preflights, and the health check.

use super::answer::Body;
use super::whole::Whole;
use super::{Answer, Gate, Surroundings, body, forward};
use crate::audit::AuditGuard;
use crate::catalog::{Access, Page};
use crate::held::Holder;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::protocol::{RequestHead, envelope};
use crate::upstream::Port;
use crate::upstream::headers::{self, Origin};
use bytes::Bytes;
use http::header::COOKIE;
use http::{HeaderMap, HeaderValue, Response};
use hyper::body::Incoming;
use percent_encoding::percent_decode_str;
use std::borrow::Cow;

/// `grpc.health.v1.HealthCheckResponse` with status SERVING.
const SERVING: &[u8] = &[0x08, 0x01];

impl Gate {
    /// Forwards a page request with its body as it came: login forms and the console are the control plane's own.
    pub(super) async fn forward_page(
        &self,
        page: &Page,
        head: &RequestHead,
        body: &mut Option<Incoming>,
        around: Surroundings<'_>,
        audit: &mut AuditGuard,
    ) -> Result<Answer, Denial> {
        audit.route((&*page.path).into(), None);
        let origin = origin(head, around);
        if page.redirects {
            accept_redirect(head.query(), origin.host)?;
        }
        let mut headers = headers::for_page(head.headers(), &self.credential_header, origin);
        if let Some(used) = page.session
            && !self.session_may_go_on(used, head, around.snapshot).await
        {
            headers.remove(COOKIE);
        }
        let holder = self.stranger(around);
        let mut hold = self.held.hold(holder);
        let form = body::form(body, &self.limits, &mut hold).await?;
        audit.judged()?;
        let request = forward::request(head, headers, form)?;
        let response = self.upstream.send(Port::Http, request, holder, None, || Ok(()));
        Ok(Answer::Forwarded(response.await?, None, None, hold))
    }

    /// Forwards a CORS preflight without credentials; the control plane answers every one itself.
    pub(super) async fn forward_preflight(
        &self,
        head: &RequestHead,
        around: Surroundings<'_>,
        audit: &mut AuditGuard,
    ) -> Result<Answer, Denial> {
        audit.route("OPTIONS".into(), None);
        audit.judged()?;
        let headers = headers::for_api(head.headers(), origin(head, around), Port::Http);
        let request = forward::request(head, headers, Bytes::new())?;
        let holder = self.stranger(around);
        let response = self.upstream.send(Port::Http, request, holder, None, || Ok(()));
        Ok(Answer::Forwarded(response.await?, None, None, self.held.hold(holder)))
    }

    /// Answers the gRPC health check: whoever gets this answer can reach the proxy.
    pub(super) async fn answer_health(
        &self,
        head: &RequestHead,
        body: &mut Option<Incoming>,
        around: Surroundings<'_>,
        audit: &mut AuditGuard,
    ) -> Result<Answer, Denial> {
        audit.route(super::HEALTH_CHECK.into(), None);
        let hold = self.held.hold(self.stranger(around));
        body::judged(head, Access::Public, None, body, &self.limits, hold).await?;
        let mut trailers = HeaderMap::new();
        trailers.insert("grpc-status", HeaderValue::from_static("0"));
        let whole = Whole::short(envelope::frame(SERVING), trailers);
        let mut response = Response::new(Body::Whole(Box::new(whole)));
        response
            .headers_mut()
            .insert(http::header::CONTENT_TYPE, HeaderValue::from_static("application/grpc"));
        Ok(Answer::Local(Box::new(response)))
    }

    /// On whose account a request is of which nobody knows whose it is: its client's address's.
    fn stranger(&self, around: Surroundings<'_>) -> Holder {
        self.held.holder(self.anonymous.principal(), around.provenance.client)
    }
}

/// Where a request came from, for the headers that say so.
pub(super) fn origin<'a>(head: &'a RequestHead, around: Surroundings<'a>) -> Origin<'a> {
    Origin {
        client: around.provenance.client,
        encrypted: around.provenance.encrypted.unwrap_or(around.info.encrypted),
        host: around.provenance.host.as_deref().unwrap_or(head.host()),
        request_id: around.request_id,
    }
}

/// The control plane redirects to wherever `redirect_url` says once login or logout is done: only this host is accepted.
fn accept_redirect(query: Option<&str>, host: &str) -> Result<(), Denial> {
    for pair in query.unwrap_or("").split('&') {
        let (key, value) = pair.split_once('=').unwrap_or((pair, ""));
        let decode = |text: &str| {
            percent_decode_str(&text.replace('+', " "))
                .decode_utf8()
                .map(Cow::into_owned)
        };
        let (Ok(key), Ok(value)) = (decode(key), decode(value)) else {
            return Err(Reason::RedirectRefused.into());
        };
        // A semicolon once separated pairs too: with one in the query, who reads it decides what the keys are.
        if pair.contains(';') || (key == "redirect_url" && !stays_here(&value, host)) {
            return Err(Denial::new(
                Reason::RedirectRefused,
                "redirect_url must be a path on this host, such as /console",
            ));
        }
    }
    Ok(())
}

/// Whether a redirect target stays on the host: a path, or an http(s) URL of exactly this host and port.
fn stays_here(target: &str, host: &str) -> bool {
    if target.is_empty() {
        return true;
    }
    if target
        .chars()
        .any(|character| character == '\\' || character.is_control() || character.is_whitespace())
    {
        return false;
    }
    if let Some(path) = target.strip_prefix('/') {
        return !path.starts_with('/');
    }
    let rest = target
        .strip_prefix("https://")
        .or_else(|| target.strip_prefix("http://"));
    let authority = rest.and_then(|rest| rest.split(['/', '?', '#']).next());
    authority.is_some_and(|authority| authority.eq_ignore_ascii_case(host))
}

#[cfg(test)]
mod tests {
    use super::stays_here;

    #[test]
    fn redirects_that_leave_the_host_are_told_apart() {
        for target in [
            "",
            "/",
            "/console",
            "/console?x=//y",
            "https://flyte.example.com/console",
            "http://FLYTE.example.com",
        ] {
            assert!(stays_here(target, "flyte.example.com"), "{target}");
        }
        for target in [
            "//evil.example.com",
            "/\\evil.example.com",
            "/\t/evil.example.com",
            "\\\\evil.example.com",
            "https://evil.example.com",
            "https://flyte.example.com@evil.example.com/",
            "https://flyte.example.com:8443/",
            "https:flyte.example.com",
            "javascript:alert(1)",
            "console",
            " /console",
        ] {
            assert!(!stays_here(target, "flyte.example.com"), "{target}");
        }
    }
}
