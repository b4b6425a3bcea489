//! Client certificates: which of their names is the caller's. That a certificate is genuine, of its time and meant for
//! clients is checked in the TLS handshake; here it is only read.

use crate::document::is_deceptive;
use crate::model::denial::Denial;
use crate::model::reason::Reason;
use rustls_pki_types::DnsName;
use std::fmt;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// The longest name accepted, in bytes: that of SPIFFE IDs (SPIFFE-ID, section 2.3).
const MAX_NAME: usize = 2048;

/// A kind of name that a certificate can carry.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum NameKind {
    /// A SPIFFE ID in the subject alternative names (X509-SVID, section 2).
    Spiffe,
    /// A DNS name in the subject alternative names.
    Dns,
    /// The common name of the subject.
    CommonName,
}

impl NameKind {
    /// The word used in configurations.
    #[must_use]
    pub const fn label(self) -> &'static str {
        match self {
            Self::Spiffe => "spiffe",
            Self::Dns => "dns",
            Self::CommonName => "common_name",
        }
    }
}

/// What a name is called in messages.
impl fmt::Display for NameKind {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.write_str(match self {
            Self::Spiffe => "SPIFFE ID",
            Self::Dns => "DNS name",
            Self::CommonName => "common name",
        })
    }
}

/// A certificate that has been verified.
#[derive(Debug)]
pub struct ClientCertificate<'d>(X509Certificate<'d>);

impl<'d> ClientCertificate<'d> {
    /// Reads a certificate in DER form.
    ///
    /// # Errors
    /// `certificate_refused` if it is not well-formed, or anything follows it.
    pub fn parse(der: &'d [u8]) -> Result<Self, Denial> {
        match X509Certificate::from_der(der) {
            Ok(([], certificate)) => Ok(Self(certificate)),
            _ => Err(refused("it is not well-formed")),
        }
    }

    /// The last second in which it is valid, since the Unix epoch.
    #[must_use]
    pub fn expires_at(&self) -> u64 {
        u64::try_from(self.0.validity().not_after.timestamp()).unwrap_or(0)
    }

    /// The caller's name: of the first of these kinds that the certificate has.
    ///
    /// # Errors
    /// `certificate_refused` if it has none of them, or if the first it has is not exactly one well-formed name.
    pub fn name(&self, kinds: &[NameKind]) -> Result<String, Denial> {
        let alternatives = self.alternatives()?;
        for kind in kinds {
            let name = match kind {
                NameKind::Spiffe => spiffe(alternatives)?,
                NameKind::Dns => dns(alternatives)?,
                NameKind::CommonName => self.common_name()?,
            };
            if let Some(name) = name {
                return Ok(name);
            }
        }
        let looked_for: Vec<String> = kinds.iter().map(ToString::to_string).collect();
        Err(refused(&format!("it has no {}", looked_for.join(" and no "))))
    }

    /// The subject alternative names, of which every one must be well-formed: one that is not might be a second name.
    fn alternatives(&self) -> Result<&[GeneralName<'d>], Denial> {
        let unreadable = "its alternative names are not well-formed";
        let extension = self.0.subject_alternative_name().map_err(|_| refused(unreadable))?;
        let names = extension.map_or(&[][..], |extension| &extension.value.general_names);
        if names.iter().any(|name| matches!(name, GeneralName::Invalid(..))) {
            return Err(refused(unreadable));
        }
        Ok(names)
    }

    fn common_name(&self) -> Result<Option<String>, Denial> {
        let mut names = self.0.subject().iter_common_name();
        let Some(name) = names.next() else { return Ok(None) };
        if names.next().is_some() {
            return Err(several(NameKind::CommonName));
        }
        match name.as_str() {
            Ok(name) if is_plain(name) => Ok(Some(name.to_owned())),
            _ => Err(malformed(NameKind::CommonName)),
        }
    }
}

/// The one URI, if it is a SPIFFE ID: an SVID has no other beside it.
fn spiffe(alternatives: &[GeneralName<'_>]) -> Result<Option<String>, Denial> {
    let mut uris = alternatives.iter().filter_map(|name| match name {
        GeneralName::URI(uri) => Some(*uri),
        _ => None,
    });
    let Some(uri) = uris.next() else { return Ok(None) };
    if uris.next().is_some() {
        return Err(refused("it has more than one URI, and a SPIFFE ID stands alone"));
    }
    let scheme = uri.split_once(':').map_or(uri, |(scheme, _)| scheme);
    if !scheme.eq_ignore_ascii_case("spiffe") {
        return Ok(None);
    }
    if is_spiffe_id(uri) {
        Ok(Some(uri.to_owned()))
    } else {
        Err(malformed(NameKind::Spiffe))
    }
}

/// Whether it is a SPIFFE ID of a workload, in its one spelling (SPIFFE-ID, section 2): so that no two spellings of one
/// workload are two subjects.
fn is_spiffe_id(uri: &str) -> bool {
    let Some((domain, path)) = uri.strip_prefix("spiffe://").and_then(|rest| rest.split_once('/')) else {
        return false;
    };
    let in_domain = |byte: u8| byte.is_ascii_lowercase() || byte.is_ascii_digit() || matches!(byte, b'.' | b'-' | b'_');
    let in_path = |byte: u8| byte.is_ascii_alphanumeric() || matches!(byte, b'.' | b'-' | b'_');
    let is_segment = |segment: &str| !matches!(segment, "" | "." | "..") && segment.bytes().all(in_path);
    uri.len() <= MAX_NAME
        && (1..=255).contains(&domain.len())
        && domain.bytes().all(in_domain)
        && path.split('/').all(is_segment)
}

/// The one DNS name, in lower case: DNS does not tell the two apart, policies do.
fn dns(alternatives: &[GeneralName<'_>]) -> Result<Option<String>, Denial> {
    let mut names = alternatives.iter().filter_map(|name| match name {
        GeneralName::DNSName(name) => Some(*name),
        _ => None,
    });
    let Some(name) = names.next() else { return Ok(None) };
    if names.next().is_some() {
        return Err(several(NameKind::Dns));
    }
    // A wildcard is no name of anybody, and is no `DnsName`.
    if DnsName::try_from(name).is_err() || name.ends_with('.') {
        return Err(malformed(NameKind::Dns));
    }
    Ok(Some(name.to_ascii_lowercase()))
}

/// Whether a name is what it looks like.
fn is_plain(name: &str) -> bool {
    !name.is_empty() && name.len() <= MAX_NAME && name.trim() == name && !name.chars().any(is_deceptive)
}

fn several(kind: NameKind) -> Denial {
    refused(&format!(
        "it has more than one {kind}, and which one is the caller's is not known"
    ))
}

fn malformed(kind: NameKind) -> Denial {
    refused(&format!("its {kind} is not well-formed"))
}

fn refused(why: &str) -> Denial {
    let message = format!("the client certificate names no caller: {why}; connect with another");
    Denial::new(Reason::CertificateRefused, message)
}

#[cfg(test)]
mod tests;
