//! Checks how an issuer is asked about opaque tokens.

use super::check::Check;
use super::document::{IntrospectionDocument, IssuerDocument, Placed, TokenTypeWord};
use super::secrets;
use crate::issuer::IntrospectionSettings;
use serde_saphyr::Location;
use std::time::Duration;

const LONGEST_CACHE: Duration = Duration::from_hours(1);
const SHORTEST_TIMEOUT: Duration = Duration::from_millis(50);
const LONGEST_TIMEOUT: Duration = Duration::from_secs(30);

/// Problems are told without the line: a secret may stand there by mistake.
pub(super) fn check(
    check: &mut Check<'_>,
    issuer: &IssuerDocument,
    written: &IntrospectionDocument,
) -> IntrospectionSettings {
    excluded(check, issuer);
    url(check, issuer, &written.url);
    IntrospectionSettings {
        url: written.url.value().clone(),
        client_id: secrets::named(check, &written.client_id),
        client_secret: secrets::named(check, &written.client_secret),
        cache: check.duration(&written.cache, Duration::ZERO..=LONGEST_CACHE),
        timeout: check.duration(&written.timeout, SHORTEST_TIMEOUT..=LONGEST_TIMEOUT),
    }
}

/// An opaque token does not say whose it is: with two issuers, one of them would get to see the tokens of the other.
pub(super) fn only_one(check: &mut Check<'_>, issuers: &[IssuerDocument]) {
    let asked = issuers.iter().filter_map(|issuer| issuer.introspection.as_ref());
    for another in asked.skip(1) {
        let message = "an opaque token does not say whose it is, so that it would have to be shown to both issuers; only one issuer can have `introspection`";
        check.error_unseen(another.place(), message);
    }
}

/// What has a meaning only for tokens that are signed.
fn excluded(check: &mut Check<'_>, issuer: &IssuerDocument) {
    let is_written = |place: Location| place.line() > 0;
    for (name, place) in [
        ("jwks", issuer.jwks.place()),
        ("algorithms", issuer.algorithms.place()),
        ("refresh", issuer.refresh.place()),
        ("max_stale", issuer.max_stale.place()),
    ] {
        if is_written(place) {
            let message = format!(
                "`{name}` is about signed tokens, and this issuer is asked about opaque ones; leave out `{name}` or `introspection`"
            );
            check.error_unseen(place, message);
        }
    }
    if let Some(id_tokens) = &issuer.id_tokens {
        check.error_unseen(
            id_tokens.audiences.place(),
            "an opaque token is never an ID token; leave `id_tokens` out",
        );
    }
    let types = &issuer.token_types;
    let id_tokens = types.value().iter().any(|kind| matches!(kind, TokenTypeWord::IdToken));
    if is_written(types.place()) && id_tokens {
        check.error_unseen(
            types.place(),
            "an opaque token is never an ID token; leave `token_types` out",
        );
    }
}

fn url(check: &mut Check<'_>, issuer: &IssuerDocument, written: &Placed<String>) {
    let uri = written.value().parse::<http::Uri>().unwrap_or_default();
    let plain = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if plain => {}
        Some("http") if plain && issuer.allow_http => {}
        Some("http") if plain => check.error_unseen(
            written.place(),
            "tokens and the client's secret would be sent in plain text; write `https://`, or `allow_http: true` where the way is trusted",
        ),
        _ => check.error_unseen(
            written.place(),
            "this is no address that can be asked; write the introspection endpoint, such as `https://HOST/PATH`",
        ),
    }
}
