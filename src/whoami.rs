//! What the proxy makes of a token: verified as for a request, with what the policy says about its owner.

use crate::credential::locate::{self, LoadBalancerHeader, Scheme};
use crate::credential::session::SessionCookies;
use crate::issuer::Issuers;
use crate::model::denial::Denial;
use crate::model::principal::Principal;
use crate::model::reason::Reason;
use crate::policy::Policy;
use crate::policy::summary::Summary;
use http::HeaderMap;
use http::header::AUTHORIZATION;
use serde_json::{Map, Value, json};
use std::sync::Arc;

/// A caller as the proxy sees it.
#[derive(Clone, Debug)]
pub struct Whoami {
    /// How the token was sent.
    pub scheme: Scheme,
    /// Whom it names.
    pub principal: Arc<Principal>,
    /// What the policy says about that principal.
    pub summary: Summary,
    /// The version of that policy.
    pub policy: Box<str>,
}

/// Verifies the token in the header `authorization`, and in no other, as for a request.
///
/// # Errors
/// The refusal that a request with this header gets before it is looked at any further.
pub async fn whoami(headers: &HeaderMap, issuers: &Issuers, policy: &Policy) -> Result<Whoami, Denial> {
    let found = locate::locate(
        headers,
        &SessionCookies::Absent,
        &AUTHORIZATION,
        LoadBalancerHeader::Ignored,
    )?;
    let credential = found.first().ok_or(Reason::CredentialMissing)?;
    let verified = issuers.verify(credential.scheme, credential.token).await?;
    let principal = Arc::clone(&verified.principal);
    Ok(Whoami {
        scheme: credential.scheme,
        summary: policy.summary(&principal),
        principal,
        policy: (&**policy.version()).into(),
    })
}

impl Whoami {
    /// For programs. Of the claims, only what names the principal.
    #[must_use]
    pub fn json(&self) -> Map<String, Value> {
        let principal = &self.principal;
        let principal = json!({
            "kind": principal.kind.label(),
            "issuer": principal.issuer,
            "subject": principal.subject,
            "email": principal.email,
            "client_id": principal.client_id,
            "groups": principal.groups,
            "expires_at": principal.expires_at,
        });
        object([
            ("principal", principal),
            ("scheme", json!(self.scheme.label())),
            ("revoked", json!(self.summary.revoked.is_some())),
            ("revocation", json!(self.summary.revoked)),
            ("rules", json!(self.summary.rules)),
            ("policy", json!({"version": self.policy})),
        ])
    }
}

/// A token that is refused, for programs.
#[must_use]
pub fn refusal(denial: &Denial) -> Map<String, Value> {
    object([
        ("reason", json!(denial.reason.label())),
        ("message", json!(denial.message)),
    ])
}

fn object<const N: usize>(members: [(&str, Value); N]) -> Map<String, Value> {
    members
        .map(|(name, value)| (name.to_owned(), value))
        .into_iter()
        .collect()
}
