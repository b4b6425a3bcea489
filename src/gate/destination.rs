//! What a request is for: an RPC, a page, a preflight or the health check.

use super::HEALTH_CHECK;
use crate::catalog::lookup::{Matched, Unmatched};
use crate::catalog::{Catalog, Page, Route};
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use crate::protocol::{Protocol, RequestHead};
use http::Method;

/// What a request is for.
#[expect(clippy::large_enum_variant, reason = "it lives on the stack, for one look-up")]
pub(super) enum Destination<'c> {
    Rpc {
        route: &'c Route,
        rest: Option<Matched<'c>>,
    },
    Page(&'c Page),
    Preflight,
    HealthCheck,
}

/// Finds what a request is for, or refuses what nothing is known about.
pub(super) fn destination<'c>(catalog: &'c Catalog, head: &'c RequestHead) -> Result<Destination<'c>, Denial> {
    if head.protocol() == Protocol::Grpc {
        if head.path() == HEALTH_CHECK {
            return Ok(Destination::HealthCheck);
        }
        return catalog
            .lookup_rpc(head.path())
            .map(|route| Destination::Rpc { route, rest: None })
            .ok_or_else(|| {
                let message = format!(
                    "the method {} is not in the catalogue of {} and is refused",
                    head.path(),
                    catalog.generation
                );
                Denial::new(Reason::MethodUnknown, message)
            });
    }
    if head.method() == Method::OPTIONS {
        return Ok(Destination::Preflight);
    }
    if let Some(page) = catalog.lookup_page(head.path()) {
        return if page.methods.contains(head.method()) {
            Ok(Destination::Page(page))
        } else {
            Err(Reason::HttpMethodRefused.into())
        };
    }
    // FlyteAdmin runs no RPC for it, and its answer could not carry why it is refused.
    match catalog.lookup_rest(head.method(), head.path()) {
        Ok(matched) => Ok(Destination::Rpc {
            route: matched.route,
            rest: Some(matched),
        }),
        Err(Unmatched::Path) => Err(Reason::RouteUnknown.into()),
        Err(Unmatched::Method) => Err(Denial::new(
            Reason::RouteUnknown,
            "the route is in the catalogue, but not with this HTTP method",
        )),
    }
}
