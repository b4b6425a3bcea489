//! Which of a listener's certificates a client is shown: the one that has the name it asks for (SNI, RFC 6066 section 3).

use crate::config::KeyPair;
use crate::model::problem::{Problem, Severity};
use rustls::server::{ClientHello, ResolvesServerCert};
use rustls::sign::CertifiedKey;
use std::collections::HashMap;
use std::collections::hash_map::Entry;
use std::path::PathBuf;
use std::sync::Arc;
use x509_parser::certificate::X509Certificate;
use x509_parser::extensions::GeneralName;
use x509_parser::prelude::FromDer;

/// What is known about a certificate in force.
#[derive(Clone, Debug)]
pub struct Facts {
    /// The file of its chain.
    pub file: PathBuf,
    /// Its DNS names, in lower case.
    names: Vec<String>,
    /// The second in which its validity begins, since the Unix epoch.
    begins_at: u64,
    /// The last second in which it is valid, since the Unix epoch.
    pub expires_at: u64,
}

impl Facts {
    /// Reads the first certificate of a chain.
    pub(super) fn of(pair: &KeyPair, chain: &CertifiedKey) -> Result<Self, Problem> {
        let unreadable = || Problem::error(&pair.certificate, 0, 0, "its first certificate is not well-formed");
        let own = chain.end_entity_cert().map_err(|_| unreadable())?;
        let (_, certificate) = X509Certificate::from_der(own).map_err(|_| unreadable())?;
        let alternatives = certificate.subject_alternative_name().map_err(|_| unreadable())?;
        let alternatives = alternatives.map_or(&[][..], |extension| &extension.value.general_names);
        let names = alternatives.iter().filter_map(|name| match name {
            GeneralName::DNSName(name) => Some(name.to_ascii_lowercase()),
            _ => None,
        });
        let seconds = |time: i64| u64::try_from(time).unwrap_or(0);
        Ok(Self {
            file: pair.certificate.clone(),
            names: names.collect(),
            begins_at: seconds(certificate.validity().not_before.timestamp()),
            expires_at: seconds(certificate.validity().not_after.timestamp()),
        })
    }
}

/// What is probably not meant: certificates out of their time, and names that several have.
pub(super) fn warnings(certificates: &[Facts], now: u64) -> Vec<Problem> {
    let mut warnings = Vec::new();
    let mut owners: HashMap<&str, &Facts> = HashMap::new();
    let date = |second: u64| {
        let second = i64::try_from(second).unwrap_or(i64::MAX);
        jiff::Timestamp::from_second(second).map_or_else(|_| second.to_string(), |time| time.to_string())
    };
    for facts in certificates {
        let mut warn = |message: String| {
            warnings.push(Problem {
                severity: Severity::Warning,
                ..Problem::error(&facts.file, 0, 0, message)
            });
        };
        if facts.expires_at < now {
            let since = date(facts.expires_at);
            warn(format!(
                "has expired ({since}), so that clients refuse it; put a new one there"
            ));
        }
        if facts.begins_at > now {
            let from = date(facts.begins_at);
            warn(format!(
                "is not valid yet (from {from}), so that clients refuse it; check the clocks"
            ));
        }
        for name in &facts.names {
            match owners.entry(name) {
                Entry::Vacant(free) => {
                    free.insert(facts);
                }
                // One certificate may well say a name twice.
                Entry::Occupied(taken) if !std::ptr::eq(*taken.get(), facts) => warn(format!(
                    "has the name `{name}`, for which `{}` is shown; leave one of them out",
                    taken.get().file.display()
                )),
                Entry::Occupied(_) => {}
            }
        }
    }
    warnings
}

/// A certificate with its key.
#[derive(Debug)]
pub(super) struct Certified {
    pub(super) facts: Facts,
    pub(super) key: Arc<CertifiedKey>,
}

impl Certified {
    /// A certificate that is shown only for its names must have one.
    pub(super) fn accept_as_more(self) -> Result<Self, Vec<Problem>> {
        if self.facts.names.is_empty() {
            let message = "names no host (it has no DNS name among its alternative names), so that it would never be shown; leave \
                           it out, or write it as the listener's first";
            return Err(vec![Problem::error(&self.facts.file, 0, 0, message)]);
        }
        Ok(self)
    }
}

/// The certificates by their names.
#[derive(Debug)]
pub(super) struct ByName {
    default: Arc<CertifiedKey>,
    exact: HashMap<Box<str>, Arc<CertifiedKey>>,
    /// By what follows `*.` in a name.
    wildcards: HashMap<Box<str>, Arc<CertifiedKey>>,
}

impl ByName {
    /// The first certificate is for clients for which no other is. Where several have a name, the first of them counts.
    pub(super) fn new(default: &Certified, more: &[Certified]) -> Self {
        let mut shown = Self {
            default: Arc::clone(&default.key),
            exact: HashMap::new(),
            wildcards: HashMap::new(),
        };
        for certified in std::iter::once(default).chain(more) {
            for name in &certified.facts.names {
                let (names, name) = match name.strip_prefix("*.") {
                    Some(parent) => (&mut shown.wildcards, parent),
                    None => (&mut shown.exact, name.as_str()),
                };
                names.entry(name.into()).or_insert_with(|| Arc::clone(&certified.key));
            }
        }
        shown
    }

    /// The certificate for a name in lower case. A wildcard stands for one label (RFC 9525, section 6.3).
    fn find(&self, name: &str) -> Option<&Arc<CertifiedKey>> {
        let by_wildcard = || self.wildcards.get(name.split_once('.')?.1);
        self.exact.get(name).or_else(by_wildcard)
    }
}

impl ResolvesServerCert for ByName {
    fn resolve(&self, hello: ClientHello<'_>) -> Option<Arc<CertifiedKey>> {
        // The library gives the name in lower case.
        let named = hello.server_name().and_then(|name| self.find(name));
        Some(Arc::clone(named.unwrap_or(&self.default)))
    }
}
