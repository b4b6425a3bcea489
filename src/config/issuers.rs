//! Checks the issuers.

use super::check::Check;
use super::document::{
    ClaimPathDocument, ClaimValue, ClaimsDocument, IdTokensDocument, IssuerDocument, JwksDocument, Placed,
    RequiredClaimDocument, TokenTypeWord,
};
use super::introspection;
use crate::credential::claims::{ClaimMapping, ClaimPath};
use crate::credential::key_set::Algorithm;
use crate::credential::rules::{IdTokenRules, IssuerRules, RequiredClaim, TokenType};
use crate::issuer::{IssuerSettings, KeySource, bearer};
use serde_saphyr::Location;
use std::sync::Arc;
use std::time::Duration;

pub(super) const LONGEST_LEEWAY: Duration = Duration::from_mins(5);
const SHORTEST_REFRESH: Duration = Duration::from_secs(10);
const DAY: Duration = Duration::from_hours(24);

pub(super) fn check(check: &mut Check<'_>, written: &[IssuerDocument]) -> Vec<IssuerSettings> {
    let mut issuers: Vec<IssuerSettings> = Vec::new();
    for document in written {
        let issuer = issuer(check, document);
        if issuers.iter().any(|other| other.rules.issuer == issuer.rules.issuer) {
            let message = format!(
                "the issuer `{}` is listed twice; put what differs into one entry",
                issuer.rules.issuer
            );
            check.error(document.issuer.place(), message);
        }
        issuers.push(issuer);
    }
    introspection::only_one(check, written);
    issuers
}

fn issuer(check: &mut Check<'_>, written: &IssuerDocument) -> IssuerSettings {
    let refresh_interval = check.duration(&written.refresh, SHORTEST_REFRESH..=DAY);
    let max_stale = check.duration(&written.max_stale, SHORTEST_REFRESH..=30 * DAY);
    if max_stale < refresh_interval && !max_stale.is_zero() {
        check.error(
            written.max_stale.place(),
            "`max_stale` is less than `refresh`, so that keys would lapse between fetches; write more",
        );
    }
    let settings = IssuerSettings {
        rules: rules(check, written),
        keys: keys(check, written),
        refresh_interval,
        max_stale,
        ca_file: written.ca.as_ref().map(|ca| check.path(ca)),
        bearer_token: written.bearer_token.as_ref().map(|file| check.path(file)),
        allow_http: written.allow_http,
    };
    if let (Some(file), Some(fault)) = (&written.bearer_token, bearer::fault(&settings)) {
        check.error_unseen(file.place(), fault);
    }
    settings
}

fn rules(check: &mut Check<'_>, written: &IssuerDocument) -> IssuerRules {
    if written.token_types.value().is_empty() {
        check.error(
            written.token_types.place(),
            "no kind of token is accepted; write `access_token`, `id_token` or both",
        );
    }
    let token_types = written.token_types.value().iter().map(|kind| match kind {
        TokenTypeWord::AccessToken => TokenType::AccessToken,
        TokenTypeWord::IdToken => TokenType::IdToken,
    });
    let token_types = token_types.filter(|kind| written.introspection.is_none() || *kind == TokenType::AccessToken);
    let mapping = mapping(check, &written.claims);
    IssuerRules {
        issuer: Arc::from(issuer_name(check, &written.issuer)),
        audiences: audiences(check, &written.audiences),
        id_tokens: written
            .id_tokens
            .as_ref()
            .map(|different| id_tokens(check, written, different, &mapping)),
        algorithms: algorithms(check, &written.algorithms),
        token_types: token_types.collect(),
        required_claims: required_claims(check, written),
        required_scopes: written
            .required_scopes
            .iter()
            .map(|scope| check.word(scope, "a scope").into())
            .collect(),
        leeway: check
            .duration(&written.leeway, Duration::ZERO..=LONGEST_LEEWAY)
            .as_secs(),
        mapping,
    }
}

/// The issuer, unless no token may or can name it: Microsoft Entra's tokens name their tenant.
pub(super) fn issuer_name(check: &mut Check<'_>, written: &Placed<String>) -> Box<str> {
    const NOT_A_TENANT: [&str; 5] = ["common", "organizations", "consumers", "{tenantid}", "{tenant}"];
    let mut parts = written.value().split('/').skip(2);
    if parts.next() == Some("login.microsoftonline.com")
        && parts.next().is_some_and(|name| NOT_A_TENANT.contains(&name))
    {
        let message = format!(
            "no token names the issuer `{}`: write the id of your tenant, as in `https://login.microsoftonline.com/TENANT-ID/v2.0`",
            written.value()
        );
        check.error(written.place(), message);
    }
    if written.value().starts_with("listener:") {
        check.error(
            written.place(),
            "`listener:` begins the names by which policies know principals that listeners give, and tokens must not be taken for those; write the `iss` of the tokens",
        );
    }
    check.word(written, "an issuer")
}

fn id_tokens(
    check: &mut Check<'_>,
    written: &IssuerDocument,
    different: &IdTokensDocument,
    mapping: &ClaimMapping,
) -> IdTokenRules {
    if !written.token_types.value().contains(&TokenTypeWord::IdToken) {
        check.error(
            different.audiences.place(),
            "`id_tokens` says how to read ID tokens, but none are accepted; add `id_token` to `token_types`, or leave `id_tokens` out",
        );
    }
    for audience in different.audiences.value() {
        if written
            .audiences
            .value()
            .iter()
            .any(|other| other.value() == audience.value())
        {
            let message = format!(
                "`{}` is also in the issuer's `audiences`, so that a token could be read as either kind; list it once, or leave `id_tokens` out",
                audience.value()
            );
            check.error(audience.place(), message);
        }
    }
    let claims = &different.claims;
    let mut elsewhere = |path: &Option<Placed<ClaimPathDocument>>| {
        let path = path.as_ref()?;
        claim_path(check, path.value(), path.place())
    };
    let subject = elsewhere(&claims.subject).unwrap_or_else(|| mapping.subject.clone());
    let email = elsewhere(&claims.email).or_else(|| mapping.email.clone());
    let groups = elsewhere(&claims.groups).or_else(|| mapping.groups.clone());
    let client_id = elsewhere(&claims.client_id).map_or_else(|| mapping.client_id.clone(), |path| vec![path]);
    IdTokenRules {
        audiences: audiences(check, &different.audiences),
        mapping: ClaimMapping {
            subject,
            email,
            groups,
            client_id,
            split_groups: mapping.split_groups,
        },
    }
}

fn audiences(check: &mut Check<'_>, written: &Placed<Vec<Placed<String>>>) -> Vec<String> {
    if written.value().is_empty() {
        let message = "there is no audience, so that tokens for other services would be accepted; write the client id or resource that tokens for Flyte name in `aud`";
        check.error(written.place(), message);
    }
    written
        .value()
        .iter()
        .map(|audience| check.word(audience, "an audience").into())
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
        if let Some(algorithm) = Algorithm::from_label(name.value()) {
            algorithms.push(algorithm);
        } else {
            let accepted = Algorithm::ALL.map(Algorithm::label).join(", ");
            let message = format!(
                "`{}` is not accepted: tokens must be signed with a key pair; write one of {accepted}",
                name.value()
            );
            check.error(name.place(), message);
        }
    }
    algorithms
}

fn keys(check: &mut Check<'_>, written: &IssuerDocument) -> KeySource {
    if let Some(asked) = &written.introspection {
        return KeySource::Introspection(introspection::check(check, written, asked.value()));
    }
    let plain_text = written.allow_http;
    match written.jwks.value() {
        JwksDocument::Discovery => {
            url(check, written.issuer.value(), written.issuer.place(), plain_text);
            KeySource::Discovery { url: None }
        }
        JwksDocument::DiscoveryUrl(address) => KeySource::Discovery {
            url: Some(url(check, address.value(), address.place(), plain_text)),
        },
        JwksDocument::Url(address) => KeySource::Url(url(check, address.value(), address.place(), plain_text)),
        JwksDocument::File(file) => KeySource::File(check.path(file)),
    }
}

/// An address that keys can be fetched from.
pub(super) fn url(check: &mut Check<'_>, text: &str, place: Location, plain_text: bool) -> String {
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
            RequiredClaimDocument::One(ClaimValue::Text(text)) if text == "present" => Vec::new(),
            RequiredClaimDocument::One(value) => vec![value.to_string()],
            RequiredClaimDocument::OneOf(values) => {
                if values.is_empty() {
                    let message =
                        format!("no value of the claim `{path}` is accepted; list one, or write `present` for any");
                    check.error(document.place(), message);
                }
                values.iter().map(ToString::to_string).collect()
            }
        };
        let path = claim_path(check, &ClaimPathDocument::Dotted(path.clone()), document.place());
        required.extend(path.map(|path| RequiredClaim { path, values }));
    }
    required
}

/// The claims that name a caller.
pub(super) fn mapping(check: &mut Check<'_>, written: &ClaimsDocument) -> ClaimMapping {
    let mut mapping = ClaimMapping::default();
    if let Some(subject) = claim_path(check, written.subject.value(), written.subject.place()) {
        mapping.subject = subject;
    }
    mapping.email = written
        .email
        .as_ref()
        .and_then(|email| claim_path(check, email.value(), email.place()));
    mapping.groups = claim_path(check, written.groups.value(), written.groups.place());
    mapping.split_groups = written.split_groups;
    if let Some(path) = &written.client_id {
        mapping.client_id = claim_path(check, path.value(), path.place()).into_iter().collect();
    }
    mapping
}

fn claim_path(check: &mut Check<'_>, path: &ClaimPathDocument, place: Location) -> Option<ClaimPath> {
    let found = match path {
        ClaimPathDocument::Dotted(path) => ClaimPath::dotted(path),
        ClaimPathDocument::Names(names) => ClaimPath::from_names(names.clone()),
    };
    if found.is_none() {
        check.error(place, "a name in the claim path is empty; write names joined by dots, such as `realm_access.roles`, or a list of names");
    }
    found
}
