//! Finds out who is calling, and which one credential goes upstream.

use super::certificate::CertificateIdentity;
use super::{ConnectionInfo, Gate, Surroundings};
use crate::catalog::{Access, SessionUse};
use crate::config::{self, FixedPrincipal};
use crate::credential::load_balancer;
use crate::credential::locate::{self, Credential, CredentialSource, LoadBalancerHeader, Scheme};
use crate::credential::same_principal;
use crate::credential::session::{self, SessionCookies};
use crate::issuer::VerifiedToken;
use crate::live::{Candidate, RightsCell, Snapshot};
use crate::model::denial::Denial;
use crate::model::principal::{Principal, PrincipalKind};
use crate::model::reason::Reason;
use crate::policy::decide::Rights;
use crate::protocol::{Protocol, RequestHead};
use http::HeaderValue;
use http::header::{AUTHORIZATION, COOKIE, HeaderName};
use std::sync::Arc;

/// How much of a subject a refusal shows, in characters.
const MAX_SHOWN: usize = 300;

/// How the callers of a listener are identified.
#[derive(Clone, Debug)]
pub enum Identity {
    /// By the token or session each request carries.
    Tokens,
    /// They are all this one.
    Fixed(Arc<FixedCaller>),
    /// By the certificate of the connection, or like [`Identity::Tokens`] without one.
    Certificate(Arc<CertificateIdentity>),
}

impl Identity {
    /// That of a listener.
    #[must_use]
    pub fn of_listener(listener: &config::Listener) -> Self {
        let name = &listener.name;
        match &listener.identity {
            config::Identity::Tokens => Self::Tokens,
            config::Identity::Principal(principal) => Self::Fixed(Arc::new(FixedCaller::of_listener(name, principal))),
            config::Identity::ClientCertificate(certificate) => {
                Self::Certificate(Arc::new(CertificateIdentity::of_listener(name, certificate)))
            }
        }
    }
}

/// A caller known without a credential.
#[derive(Debug)]
pub struct FixedCaller {
    principal: Principal,
    rights: RightsCell,
    /// Whether an `authorization` header is passed on unverified; otherwise it is removed.
    pass_credential: bool,
}

impl FixedCaller {
    pub(super) fn new(principal: Principal, pass_credential: bool) -> Self {
        Self {
            principal,
            rights: RightsCell::default(),
            pass_credential,
        }
    }

    /// Whoever makes a public call.
    #[must_use]
    pub fn anonymous() -> Self {
        Self::new(Principal::anonymous(), false)
    }

    /// Whoever reaches a listener with a fixed principal.
    #[must_use]
    pub fn of_listener(name: &str, settings: &FixedPrincipal) -> Self {
        let principal = Principal {
            kind: PrincipalKind::Listener,
            issuer: format!("listener:{name}").into(),
            subject: Arc::from(&*settings.subject),
            groups: settings.groups.iter().map(|group| Arc::from(&**group)).collect(),
            ..Principal::anonymous()
        };
        Self::new(principal, settings.pass_credential)
    }

    /// Who it is.
    #[must_use]
    pub fn principal(&self) -> &Principal {
        &self.principal
    }
}

/// A caller and the header that says so upstream.
#[derive(Debug)]
pub(super) struct Authenticated {
    pub(super) caller: Caller,
    /// The word for the credential that was judged; none for a caller known without.
    pub(super) source: Option<&'static str>,
    pub(super) credential: Option<(HeaderName, HeaderValue)>,
    /// The ID token of a session, for `authorization`: FlyteAdmin reads no cookies on its gRPC port.
    session_token: Option<HeaderValue>,
}

impl Authenticated {
    /// The credential for a question by gRPC, whatever the caller speaks.
    pub(super) fn by_grpc(&self) -> Option<(HeaderName, HeaderValue)> {
        let token = self.session_token.clone().map(|token| (AUTHORIZATION, token));
        token.or_else(|| self.credential.clone())
    }
}

/// Who is calling.
#[derive(Debug)]
pub(super) enum Caller {
    Token(Arc<VerifiedToken>),
    Fixed(Arc<FixedCaller>),
}

impl Caller {
    pub(super) fn principal(&self) -> &Principal {
        match self {
            Self::Token(token) => &token.principal,
            Self::Fixed(caller) => &caller.principal,
        }
    }

    /// Whether what the caller is known by still holds.
    ///
    /// # Errors
    /// `token_expired_in_flight`, `certificate_expired`.
    pub(super) fn unexpired(&self, now: u64) -> Result<(), Denial> {
        match self {
            Self::Token(token) if now >= token.expired_from => Err(Reason::TokenExpiredInFlight.into()),
            Self::Fixed(caller) if caller.principal.expires_at.is_some_and(|end| now > end) => {
                Err(Reason::CertificateExpired.into())
            }
            Self::Token(_) | Self::Fixed(_) => Ok(()),
        }
    }

    /// The caller's rights under the policy of the snapshot; resolved once a policy.
    pub(super) fn rights(&self, snapshot: &Snapshot) -> Arc<Rights> {
        match self {
            Self::Token(token) => token.rights.under(snapshot, &token.principal),
            Self::Fixed(caller) => caller.rights.under(snapshot, &caller.principal),
        }
    }

    /// The same under a policy that is only tried.
    pub(super) fn rights_under(&self, candidate: &Candidate) -> Arc<Rights> {
        match self {
            Self::Token(token) => token.rights.under_candidate(candidate, &token.principal),
            Self::Fixed(caller) => caller.rights.under_candidate(candidate, &caller.principal),
        }
    }
}

impl Gate {
    /// Verifies every credential the request carries; they must name one principal, and the first goes upstream.
    /// Where the caller is known without, at most an unverified one does.
    pub(super) async fn authenticate(
        &self,
        head: &RequestHead,
        access: Access,
        around: Surroundings<'_>,
    ) -> Result<Authenticated, Denial> {
        if access == Access::Public {
            return Ok(Authenticated {
                caller: Caller::Fixed(Arc::clone(&self.anonymous)),
                source: None,
                credential: None,
                session_token: None,
            });
        }
        let certified = self.certified(head, around.info)?;
        if let Some(caller) = certified.or(match &self.identity {
            Identity::Fixed(caller) => Some(caller),
            Identity::Tokens | Identity::Certificate(_) => None,
        }) {
            let credential = if caller.pass_credential {
                single_authorization(head)?
            } else {
                None
            };
            return Ok(Authenticated {
                caller: Caller::Fixed(Arc::clone(caller)),
                source: None,
                credential,
                session_token: None,
            });
        }
        let session = self.session(head)?;
        let load_balancer = self.load_balancer_header(head);
        let credentials = locate::locate(head.headers(), &session, &self.credential_header, load_balancer)?;
        let client = around.provenance.client;
        let mut verified: Option<(Arc<VerifiedToken>, &Credential<'_>)> = None;
        for credential in &credentials {
            let token = self
                .issuers
                .verify_from(client, credential.scheme, credential.token)
                .await?;
            match &verified {
                None => verified = Some((token, credential)),
                Some((first, _)) if same_principal(&first.principal, &token.principal) => {}
                Some(_) => {
                    return Err(Denial::new(
                        Reason::CredentialConflict,
                        "the request carries credentials of different subjects; send exactly one",
                    ));
                }
            }
        }
        let (token, credential) = verified.ok_or(Reason::CredentialMissing)?;
        Ok(Authenticated {
            caller: Caller::Token(token),
            source: Some(credential.source.label()),
            credential: Some(self.forwarded(head, credential)?),
            session_token: match credential.source {
                CredentialSource::Session(_) => Some(in_words(credential)?),
                _ => None,
            },
        })
    }

    /// The caller that the connection's certificate names. A token beside it names somebody else, since no issuer is
    /// called like a listener, and is therefore refused without a look unless the listener passes it on.
    fn certified<'i>(
        &self,
        head: &RequestHead,
        info: &'i ConnectionInfo,
    ) -> Result<Option<&'i Arc<FixedCaller>>, Denial> {
        let Some(certificate) = &info.certificate else {
            return Ok(None);
        };
        let caller = certificate.caller(self.recorder.clock.unix_seconds())?;
        if caller.is_some_and(|caller| !caller.pass_credential)
            && (head.headers().contains_key(AUTHORIZATION)
                || head.headers().contains_key(&self.credential_header)
                || self.load_balancer_header(head) == LoadBalancerHeader::Credential
                    && head.headers().contains_key(&load_balancer::HEADER)
                || matches!(self.session(head)?, SessionCookies::Session(_)))
        {
            return Err(Denial::new(
                Reason::CredentialConflict,
                "the caller is known by its client certificate, and the token or session beside it is another subject's; \
                 send none",
            ));
        }
        Ok(caller)
    }

    /// Refuses a caller that the listener does not accept. Public calls have none.
    pub(super) fn accept(&self, principal: &Principal, access: Access) -> Result<(), Denial> {
        let Some(accepted) = self.accept.as_ref().filter(|_| access != Access::Public) else {
            return Ok(());
        };
        if accepted.include(principal) {
            return Ok(());
        }
        let mut subject: String = principal.subject.chars().take(MAX_SHOWN).collect();
        if subject.len() < principal.subject.len() {
            subject.push('…');
        }
        let message = format!(
            "the listener `{}` does not accept the subject `{subject}` of `{}`",
            self.listener, principal.issuer
        );
        Err(Denial::new(Reason::PrincipalRefused, message))
    }

    /// Whether the session in the cookies may reach a page that does this with it. One of somebody who is revoked may not:
    /// FlyteAdmin would send the browser back with it, or give a token of now for it. Nor may one that is there twice or
    /// cannot be read, since FlyteAdmin may read it otherwise. Without the keys of cookies all may.
    pub(super) async fn session_may_go_on(&self, used: SessionUse, head: &RequestHead, snapshot: &Snapshot) -> bool {
        let session = match self.session(head) {
            Ok(SessionCookies::Absent) => return true,
            Ok(SessionCookies::Session(session)) => session,
            Ok(SessionCookies::Unreadable) | Err(_) => return false,
        };
        match self.issuers.verify(Scheme::IdToken, session.id_token()).await {
            Ok(token) => token.rights.under(snapshot, &token.principal).revoked().is_none(),
            // It may be one that has expired, which is renewed.
            Err(_) => used == SessionUse::Renewed,
        }
    }

    /// The session in the cookies. FlyteAdmin reads cookies on its HTTP port only.
    fn session(&self, head: &RequestHead) -> Result<SessionCookies, Denial> {
        match head.protocol() {
            Protocol::Grpc => Ok(SessionCookies::Absent),
            Protocol::Rest | Protocol::RestProto => {
                session::find(head.headers(), &self.cookie_keys, self.recorder.clock.unix_seconds())
            }
        }
    }

    /// What `x-amzn-oidc-data` means. AWS's load balancers log people in on HTTP only.
    fn load_balancer_header(&self, head: &RequestHead) -> LoadBalancerHeader {
        match head.protocol() {
            Protocol::Rest | Protocol::RestProto if self.issuers.trusts_load_balancers() => {
                LoadBalancerHeader::Credential
            }
            _ => LoadBalancerHeader::Ignored,
        }
    }

    /// The verified credential in the header it came in, in the one spelling of its scheme; a session in the cookies it
    /// was read from, and what a load balancer signed as it is.
    fn forwarded(&self, head: &RequestHead, credential: &Credential<'_>) -> Result<(HeaderName, HeaderValue), Denial> {
        let name = match credential.source {
            CredentialSource::AuthorizationHeader => AUTHORIZATION,
            CredentialSource::Session(session) => return Ok((COOKIE, sensitive(session.cookies())?)),
            CredentialSource::FlyteAuthorizationHeader => self.credential_header.clone(),
            CredentialSource::LoadBalancer => {
                return Ok((load_balancer::HEADER.clone(), sensitive(credential.token)?));
            }
        };
        let scheme = credential.scheme.label();
        // Most clients spell it so already: then the value itself goes on, without a copy.
        let spelled = |value: &&HeaderValue| {
            let token = value
                .as_bytes()
                .strip_prefix(scheme.as_bytes())
                .and_then(|rest| rest.strip_prefix(b" "));
            token == Some(credential.token.as_bytes())
        };
        let value = match head.headers().get(&name).filter(spelled) {
            Some(value) => marked_sensitive(value.clone()),
            None => in_words(credential)?,
        };
        Ok((name, value))
    }
}

/// The scheme and the token.
fn in_words(credential: &Credential<'_>) -> Result<HeaderValue, Denial> {
    sensitive(&format!("{} {}", credential.scheme.label(), credential.token))
}

fn sensitive(credential: &str) -> Result<HeaderValue, Denial> {
    Ok(marked_sensitive(
        HeaderValue::try_from(credential).map_err(|_| Reason::CredentialMalformed)?,
    ))
}

/// A value that no log prints and no compression table keeps.
fn marked_sensitive(mut value: HeaderValue) -> HeaderValue {
    value.set_sensitive(true);
    value
}

/// The one `authorization` header, for a listener that passes it on.
fn single_authorization(head: &RequestHead) -> Result<Option<(HeaderName, HeaderValue)>, Denial> {
    let mut values = head.headers().get_all(AUTHORIZATION).iter();
    let first = values.next();
    if values.next().is_some() {
        return Err(Reason::CredentialConflict.into());
    }
    Ok(first.map(|value| (AUTHORIZATION, marked_sensitive(value.clone()))))
}
