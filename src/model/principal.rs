//! Who is calling, as verified.

use std::sync::Arc;

/// A verified caller. Made only from a verified credential or from a listener's configuration.
#[derive(Clone, Debug, PartialEq)]
pub struct Principal {
    /// How the caller was identified.
    pub kind: PrincipalKind,
    /// Who vouches for it: the `iss` claim, or `listener:NAME` for a fixed principal or a client certificate.
    pub issuer: Arc<str>,
    /// The subject the claim mapping selects.
    pub subject: Arc<str>,
    /// The mapped e-mail address, if any.
    pub email: Option<Arc<str>>,
    /// The mapped client id, if any.
    pub client_id: Option<Arc<str>>,
    /// The mapped groups, exactly as the issuer spells them.
    pub groups: Vec<Arc<str>>,
    /// Every claim of the token; an empty object without a token.
    pub claims: Arc<serde_json::Map<String, serde_json::Value>>,
    /// When the credential stops being valid, in seconds since the Unix epoch.
    pub expires_at: Option<u64>,
}

/// How a caller was identified.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum PrincipalKind {
    /// By a verified token.
    Token,
    /// By the listener it came in through.
    Listener,
    /// By the client certificate of its connection.
    Certificate,
    /// Not at all: a public call.
    Anonymous,
}

impl PrincipalKind {
    /// The word used in audit records.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Token => "token",
            Self::Listener => "listener",
            Self::Certificate => "certificate",
            Self::Anonymous => "anonymous",
        }
    }
}

impl Principal {
    /// The caller of a public call: nobody in particular, with no rights of its own.
    #[must_use]
    pub fn anonymous() -> Self {
        Self {
            kind: PrincipalKind::Anonymous,
            issuer: Arc::from(""),
            subject: Arc::from(""),
            email: None,
            client_id: None,
            groups: Vec::new(),
            claims: Arc::default(),
            expires_at: None,
        }
    }
}
