//! Checks of `tracing`.

use super::Tracing;
use super::check::Check;
use super::document::TracingDocument;
use super::upstream;
use http::uri::Scheme;

pub(super) fn check(check: &mut Check<'_>, written: &TracingDocument) -> Tracing {
    if !cfg!(feature = "otlp") {
        check.error(
            written.otlp_endpoint.place(),
            "this build cannot export traces; leave out `tracing`, or build with `--features otlp`",
        );
    }
    let endpoint = upstream::single(check, &written.otlp_endpoint);
    let ca = written.ca.as_ref().map(|ca| {
        if endpoint.scheme != Scheme::HTTPS {
            check.warning(
                ca.place(),
                "nothing uses these authorities; `otlp_endpoint` is `http://`",
            );
        }
        check.path(ca)
    });
    Tracing {
        endpoint,
        ca,
        sample_ratio: check.ratio(&written.sample_ratio),
        callers_decide: written.callers_decide,
        queue: check.count(&written.queue, 1..=1_000_000),
        subject: written.subject,
    }
}
