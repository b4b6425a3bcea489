//! One issuer as it is written.

use super::{IntrospectionDocument, Placed, one_minute};
use crate::policy::document::present;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};
use std::collections::BTreeMap;
use std::fmt;

/// One token issuer.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IssuerDocument {
    /// The exact value of the `iss` claim, compared byte by byte.
    pub issuer: Placed<String>,
    /// The audiences of which a token must name one; at least one.
    pub audiences: Placed<Vec<Placed<String>>>,
    /// Where its keys come from.
    #[serde(default = "discovery")]
    pub jwks: Placed<JwksDocument>,
    /// In place of keys: asking the issuer about each token, because its tokens are opaque (RFC 7662). One issuer can have this.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Placed<IntrospectionDocument>")]
    pub introspection: Option<Placed<IntrospectionDocument>>,
    /// The signature algorithms accepted: RS256, PS256, ES256, ES384, EdDSA.
    #[serde(default = "default_algorithms")]
    pub algorithms: Placed<Vec<Placed<String>>>,
    /// The kinds of token accepted.
    #[serde(default = "default_token_types")]
    pub token_types: Placed<Vec<TokenTypeWord>>,
    /// Claims that a token must have, by dotted path: a value, a list of which one is enough, or `present` for any value.
    #[serde(default)]
    pub required_claims: BTreeMap<String, Placed<RequiredClaimDocument>>,
    /// Scopes that a token must have, all of them; with `id_tokens`, only an access token. FlyteAdmin's own authorization server needs `[all]`.
    #[serde(default)]
    pub required_scopes: Vec<Placed<String>>,
    /// How far the clocks may differ.
    #[serde(default = "one_minute")]
    pub leeway: Placed<String>,
    /// Which claims say who the caller is: paths such as `realm_access.roles`, or lists of names where one has a dot itself.
    #[serde(default)]
    pub claims: ClaimsDocument,
    /// What is different in its ID tokens; without it, they are read like its access tokens.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "IdTokensDocument")]
    pub id_tokens: Option<IdTokensDocument>,
    /// How often its keys are fetched.
    #[serde(default = "five_minutes")]
    pub refresh: Placed<String>,
    /// How old its keys may become while they cannot be fetched.
    #[serde(default = "one_day")]
    pub max_stale: Placed<String>,
    /// PEM file with the authorities trusted for fetching; without it those of the system. It is read anew each time.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Placed<String>")]
    pub ca: Option<Placed<String>>,
    /// File with a token that is sent when keys are fetched, to the host and port named here only; read anew each time. For the API server of Kubernetes.
    #[serde(default, deserialize_with = "present")]
    #[schemars(with = "Placed<String>")]
    pub bearer_token: Option<Placed<String>>,
    /// Whether its keys may be fetched in plain text: whoever is on the way can then forge tokens.
    #[serde(default)]
    pub allow_http: bool,
}

fn discovery() -> Placed<JwksDocument> {
    Placed::default_of(JwksDocument::Discovery)
}

fn default_algorithms() -> Placed<Vec<Placed<String>>> {
    Placed::default_of(["RS256", "ES256", "EdDSA"].map(Placed::default_of))
}

fn default_token_types() -> Placed<Vec<TokenTypeWord>> {
    Placed::default_of([TokenTypeWord::AccessToken, TokenTypeWord::IdToken])
}

fn five_minutes() -> Placed<String> {
    Placed::default_of("5m")
}

fn one_day() -> Placed<String> {
    Placed::default_of("24h")
}

/// Where an issuer's keys come from.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum JwksDocument {
    /// From the discovery document below the issuer's own URL.
    Discovery,
    /// From the discovery document at this URL.
    DiscoveryUrl(Placed<String>),
    /// From a key set at this URL.
    Url(Placed<String>),
    /// From a key set in this file, which is watched.
    File(Placed<String>),
}

/// A kind of token.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Serialize, Deserialize, JsonSchema)]
#[serde(rename_all = "snake_case")]
pub enum TokenTypeWord {
    /// An OAuth 2 access token.
    AccessToken,
    /// An ID token of OpenID Connect.
    IdToken,
}

impl fmt::Display for ClaimValue {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        match self {
            Self::Bool(value) => value.fmt(f),
            Self::Integer(value) => value.fmt(f),
            Self::Text(value) => value.fmt(f),
        }
    }
}

/// What a claim must be: one value, or one of several.
#[derive(Clone, Debug, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a text, whole number or truth value, or a list of them"
)]
pub enum RequiredClaimDocument {
    /// Exactly this; `present` for any value.
    One(ClaimValue),
    /// One of these.
    OneOf(Vec<ClaimValue>),
}

/// A value that a claim can be compared with.
#[derive(Clone, Debug, PartialEq, Eq, Deserialize, JsonSchema)]
#[serde(untagged)]
pub enum ClaimValue {
    /// A truth value.
    Bool(bool),
    /// A whole number.
    Integer(i64),
    /// A text.
    Text(String),
}

/// Which claims say who the caller is.
#[derive(Debug, Serialize, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct ClaimsDocument {
    /// The subject.
    pub subject: Placed<ClaimPathDocument>,
    /// The e-mail address; left out when `email_verified` is false. Write `null` where the issuer does not verify addresses.
    pub email: Option<Placed<ClaimPathDocument>>,
    /// The groups: a list of names, or one text.
    pub groups: Placed<ClaimPathDocument>,
    /// Whether groups in one text are split at spaces and commas. Write `false` where names of groups have spaces.
    pub split_groups: bool,
    /// The client id; without it the first of `client_id`, `azp`, `cid`, `appid` that the token has.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Placed<ClaimPathDocument>")]
    pub client_id: Option<Placed<ClaimPathDocument>>,
}

impl Default for ClaimsDocument {
    fn default() -> Self {
        let top = |name: &str| Placed::default_of(ClaimPathDocument::Dotted(name.to_owned()));
        Self {
            subject: top("sub"),
            email: Some(top("email")),
            groups: top("groups"),
            split_groups: true,
            client_id: None,
        }
    }
}

/// What is different in ID tokens.
#[derive(Debug, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields)]
pub struct IdTokensDocument {
    /// The audiences of which an ID token must name one, usually the console's client id. `audiences` is then for access
    /// tokens, and none may be in both lists.
    pub audiences: Placed<Vec<Placed<String>>>,
    /// The claims that are elsewhere in ID tokens. Those left out are where `claims` says.
    #[serde(default)]
    pub claims: IdTokenClaimsDocument,
}

/// The claims that are elsewhere in ID tokens.
#[derive(Debug, Default, Deserialize, JsonSchema)]
#[serde(deny_unknown_fields, default)]
pub struct IdTokenClaimsDocument {
    /// The subject.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Placed<ClaimPathDocument>")]
    pub subject: Option<Placed<ClaimPathDocument>>,
    /// The e-mail address.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Placed<ClaimPathDocument>")]
    pub email: Option<Placed<ClaimPathDocument>>,
    /// The groups.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Placed<ClaimPathDocument>")]
    pub groups: Option<Placed<ClaimPathDocument>>,
    /// The client id.
    #[serde(deserialize_with = "present")]
    #[schemars(with = "Placed<ClaimPathDocument>")]
    pub client_id: Option<Placed<ClaimPathDocument>>,
}

/// Where a claim is.
#[derive(Clone, Debug, Serialize, Deserialize, JsonSchema)]
#[serde(
    untagged,
    expecting = "expected a claim path such as `realm_access.roles`, or the list of its names"
)]
pub enum ClaimPathDocument {
    /// The names joined by dots, such as `realm_access.roles`.
    Dotted(String),
    /// The names one by one, where one has a dot itself: `["https://example.com/groups"]`.
    Names(Vec<String>),
}
