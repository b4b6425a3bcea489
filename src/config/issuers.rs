//! Checks the issuers.

use super::check::Check;
use super::document::{ClaimValue, ClaimsDocument, IssuerDocument, JwksDocument, Paths, Placed, RequiredClaimDocument};
use super::{ClaimPaths, Issuer, KeySource, RequiredClaim};
use jsonwebtoken::Algorithm;
use serde_saphyr::Location;
use std::str::FromStr;
use std::time::Duration;

const LONGEST_LEEWAY: Duration = Duration::from_mins(5);
const SHORTEST_REFRESH: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn check(check: &mut Check<'_>, written: &[IssuerDocument]) -> Vec<Issuer> {
    let mut issuers: Vec<Issuer> = Vec::new();
    for document in written {
        let issuer = issuer(check, document);
        if issuers.iter().any(|other| other.issuer == issuer.issuer) {
            let message = format!(
                "the issuer `{}` is listed twice; put what differs into one entry",
                issuer.issuer
            );
            check.error(document.issuer.place(), message);
        }
        issuers.push(issuer);
    }
    issuers
}

fn issuer(check: &mut Check<'_>, written: &IssuerDocument) -> Issuer {
    let issuer = check.word(&written.issuer, "an issuer");
    let refresh = check.duration(&written.refresh, SHORTEST_REFRESH..=DAY);
    let max_stale = check.duration(&written.max_stale, SHORTEST_REFRESH..=30 * DAY);
    if max_stale < refresh && !max_stale.is_zero() {
        check.error(
            written.max_stale.place(),
            "`max_stale` is less than `refresh`, so that keys would lapse between fetches; write more",
        );
    }
    if written.token_types.value().is_empty() {
        check.error(
            written.token_types.place(),
            "no kind of token is accepted; write `access_token`, `id_token` or both",
        );
    }
    Issuer {
        issuer,
        audiences: audiences(check, &written.audiences),
        keys: keys(check, written),
        algorithms: algorithms(check, &written.algorithms),
        token_types: written.token_types.value().clone(),
        required_claims: required_claims(check, written),
        required_scopes: written
            .required_scopes
            .iter()
            .map(|scope| check.word(scope, "a scope"))
            .collect(),
        leeway: check.duration(&written.leeway, Duration::ZERO..=LONGEST_LEEWAY),
        claims: claims(check, &written.claims),
        refresh,
        max_stale,
        ca: written.ca.as_ref().map(|ca| check.path(ca)),
    }
}

fn audiences(check: &mut Check<'_>, written: &Placed<Vec<Placed<String>>>) -> Vec<Box<str>> {
    if written.value().is_empty() {
        let message = "there is no audience, so that tokens for other services would be accepted; write the client id or resource that tokens for Flyte name in `aud`";
        check.error(written.place(), message);
    }
    written
        .value()
        .iter()
        .map(|audience| check.word(audience, "an audience"))
        .collect()
}

fn algorithms(check: &mut Check<'_>, written: &Placed<Vec<Placed<String>>>) -> Vec<Algorithm> {
    if written.value().is_empty() {
        check.error(
            written.place(),
            "no algorithm is accepted; leave `algorithms` out for RS256, ES256 and EdDSA",
        );
    }
    let mut algorithms = Vec::new();
    for name in written.value() {
        match Algorithm::from_str(name.value()) {
            Ok(Algorithm::HS256 | Algorithm::HS384 | Algorithm::HS512) | Err(_) => {
                let message = format!(
                    "`{}` is not accepted: tokens must be signed with a key pair; write RS256, RS384, RS512, PS256, PS384, PS512, ES256, ES384 or EdDSA",
                    name.value()
                );
                check.error(name.place(), message);
            }
            Ok(algorithm) => algorithms.push(algorithm),
        }
    }
    algorithms
}

fn keys(check: &mut Check<'_>, written: &IssuerDocument) -> KeySource {
    let plain_text = written.allow_http;
    match &written.jwks {
        JwksDocument::Discovery => {
            url(check, written.issuer.value(), written.issuer.place(), plain_text);
            KeySource::Discovery
        }
        JwksDocument::DiscoveryUrl(address) => {
            KeySource::DiscoveryUrl(url(check, address.value(), address.place(), plain_text))
        }
        JwksDocument::Url(address) => KeySource::Url(url(check, address.value(), address.place(), plain_text)),
        JwksDocument::File(file) => KeySource::File(check.path(file)),
    }
}

/// An address that keys can be fetched from.
fn url(check: &mut Check<'_>, text: &str, place: Location, plain_text: bool) -> Box<str> {
    let uri = text.parse::<http::Uri>().unwrap_or_default();
    let authority = uri
        .authority()
        .is_some_and(|authority| !authority.as_str().contains('@'));
    match uri.scheme_str() {
        Some("https") if authority => {}
        Some("http") if authority && plain_text => {}
        Some("http") if authority => {
            let message = format!(
                "keys would be fetched from `{text}` in plain text, so that whoever is on the way could forge tokens; write `https://`, or `allow_http: true` where the way is trusted"
            );
            check.error(place, message);
        }
        _ => {
            let message = format!(
                "`{text}` is no address that keys can be fetched from; write `https://HOST/PATH`, or name a key set under `jwks`"
            );
            check.error(place, message);
        }
    }
    text.into()
}

fn required_claims(check: &mut Check<'_>, written: &IssuerDocument) -> Vec<RequiredClaim> {
    let mut required = Vec::new();
    for (path, document) in &written.required_claims {
        let values = match document.value() {
            RequiredClaimDocument::One(ClaimValue::Text(text)) if text == "present" => None,
            RequiredClaimDocument::One(value) => Some(vec![value.clone()]),
            RequiredClaimDocument::OneOf(values) => Some(values.clone()),
        };
        if values.as_ref().is_some_and(Vec::is_empty) {
            let message = format!("no value of the claim `{path}` is accepted; list one, or write `present` for any");
            check.error(document.place(), message);
        }
        required.push(RequiredClaim {
            path: claim_path(check, path, document.place()),
            values,
        });
    }
    required
}

fn claims(check: &mut Check<'_>, written: &ClaimsDocument) -> ClaimPaths {
    let place = written.groups.place();
    let groups = match written.groups.value() {
        Paths::One(path) => std::slice::from_ref(path),
        Paths::Several(paths) => paths.as_slice(),
    };
    ClaimPaths {
        subject: claim_path(check, written.subject.value(), written.subject.place()),
        email: claim_path(check, written.email.value(), written.email.place()),
        groups: groups.iter().map(|path| claim_path(check, path, place)).collect(),
        client_id: written
            .client_id
            .as_ref()
            .map(|path| claim_path(check, path.value(), path.place())),
    }
}

fn claim_path(check: &mut Check<'_>, path: &str, place: Location) -> Box<str> {
    if !is_claim_path(path) {
        check.error(
            place,
            format!("`{path}` is no claim path; write names joined by dots, such as `realm_access.roles`"),
        );
    }
    path.into()
}

/// Names joined by dots. A name may hold anything else, such as the URLs that Auth0 uses, unless one has a dot.
fn is_claim_path(path: &str) -> bool {
    path.split('.').all(|name| !name.is_empty() && name.trim() == name)
}
