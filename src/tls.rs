//! A listener's certificates and the authorities of its clients: loaded from files, replaced as a whole when they change.

use crate::config::{ClientCertificates, KeyPair, ListenerTls, TlsVersion};
use crate::model::problem::Problem;
use crate::trust;
use arc_swap::ArcSwap;
use names::{ByName, Certified};
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls::sign::CertifiedKey;
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use tokio::sync::watch;

mod client;
mod names;

pub use client::ClientChain;
pub use names::Facts;

/// The certificates and authorities in force on a listener. Connections keep the certificate they began with, but not the
/// authorities: see [`ClientChain`].
#[derive(Debug)]
pub struct LiveTls {
    settings: ListenerTls,
    current: ArcSwap<InForce>,
    /// Tells that `current` is another.
    replaced: watch::Sender<()>,
}

/// What one loading of the files gave.
#[derive(Debug)]
pub struct InForce {
    server: Arc<ServerConfig>,
    verifier: Arc<dyn ClientCertVerifier>,
    /// The default certificate's first.
    certificates: Vec<Facts>,
}

impl InForce {
    /// The configuration for a connection.
    #[must_use]
    pub fn server(&self) -> Arc<ServerConfig> {
        Arc::clone(&self.server)
    }
}

impl LiveTls {
    /// Loads the certificates, the keys and the authorities.
    ///
    /// # Errors
    /// Every file that cannot be used, and why.
    pub fn load(settings: &ListenerTls) -> Result<Self, Vec<Problem>> {
        let current = ArcSwap::from_pointee(load(settings)?);
        Ok(Self {
            settings: settings.clone(),
            current,
            replaced: watch::Sender::new(()),
        })
    }

    /// Loads the files again. On failure what is in force stays.
    ///
    /// # Errors
    /// Every file that cannot be used, and why.
    pub fn reload(&self) -> Result<(), Vec<Problem>> {
        self.current.store(Arc::new(load(&self.settings)?));
        self.replaced.send_replace(());
        Ok(())
    }

    /// The files to watch.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let pairs = std::iter::once(&self.settings.default).chain(&self.settings.more);
        let mut files: Vec<_> = pairs
            .flat_map(|pair| [pair.certificate.clone(), pair.key.clone()])
            .collect();
        files.extend(self.settings.client_certificates.iter().map(|asked| asked.ca.clone()));
        files
    }

    /// What the next connection goes by.
    #[must_use]
    pub fn current(&self) -> Arc<InForce> {
        self.current.load_full()
    }

    /// What is known about the certificates in force, the default one's first.
    #[must_use]
    pub fn certificates(&self) -> Vec<Facts> {
        self.current.load().certificates.clone()
    }

    /// What is probably not meant, at this second since the Unix epoch: certificates out of their time, and names that
    /// several have.
    #[must_use]
    pub fn warnings(&self, now: u64) -> Vec<Problem> {
        names::warnings(&self.current.load().certificates, now)
    }
}

fn load(settings: &ListenerTls) -> Result<InForce, Vec<Problem>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let mut problems = Vec::new();
    let mut usable = |loaded: Result<Certified, Vec<Problem>>| loaded.map_err(|more| problems.extend(more)).ok();
    let default = usable(certified(&settings.default, &provider));
    let more: Vec<Certified> = settings
        .more
        .iter()
        .filter_map(|pair| usable(certified(pair, &provider).and_then(Certified::accept_as_more)))
        .collect();
    let verifier = client_verifier(settings.client_certificates.as_ref(), &provider)
        .map_err(|problem| problems.push(problem))
        .ok();
    let (Some(default), Some(verifier), []) = (default, verifier, problems.as_slice()) else {
        return Err(problems);
    };
    let shown = ByName::new(&default, &more);
    let server = server_config(settings, provider, Arc::clone(&verifier), shown).map_err(|error| {
        vec![Problem::error(
            &settings.default.certificate,
            0,
            0,
            format!("cannot be used: {error}"),
        )]
    })?;
    Ok(InForce {
        server: Arc::new(server),
        verifier,
        certificates: std::iter::once(default)
            .chain(more)
            .map(|certified| certified.facts)
            .collect(),
    })
}

fn server_config(
    settings: &ListenerTls,
    provider: Arc<CryptoProvider>,
    verifier: Arc<dyn ClientCertVerifier>,
    shown: ByName,
) -> Result<ServerConfig, rustls::Error> {
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.minimum_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)?
        .with_client_cert_verifier(verifier)
        .with_cert_resolver(Arc::new(shown));
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if settings.client_certificates.is_some() {
        // A resumed session carries the certificate of the first one, unverified since: each connection shows its own.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        // Tickets let a client resume with any number of others connected; the default keeps 256 sessions.
        config.ticketer = aws_lc_rs::Ticketer::new()?;
    }
    Ok(config)
}

/// Loads a certificate and its key, which must belong together.
fn certified(pair: &KeyPair, provider: &CryptoProvider) -> Result<Certified, Vec<Problem>> {
    let (chain, key) = match (certificates(&pair.certificate), private_key(&pair.key)) {
        (Ok(chain), Ok(key)) => (chain, key),
        (chain, key) => return Err([chain.err(), key.err()].into_iter().flatten().collect()),
    };
    let key = CertifiedKey::from_der(chain, key, provider).map_err(|error| {
        let message = format!("cannot be used with `{}`: {error}", pair.key.display());
        vec![Problem::error(&pair.certificate, 0, 0, message)]
    })?;
    Ok(Certified {
        facts: Facts::of(pair, &key).map_err(|problem| vec![problem])?,
        key: Arc::new(key),
    })
}

/// Verifies what clients show: the chain to one of the authorities, the times, and that it is meant for clients.
fn client_verifier(
    asked: Option<&ClientCertificates>,
    provider: &Arc<CryptoProvider>,
) -> Result<Arc<dyn ClientCertVerifier>, Problem> {
    let Some(asked) = asked else {
        return Ok(WebPkiClientVerifier::no_client_auth());
    };
    let roots = Arc::new(trust::file_roots(&asked.ca)?);
    let builder = WebPkiClientVerifier::builder_with_provider(roots, Arc::clone(provider));
    let builder = if asked.required {
        builder
    } else {
        builder.allow_unauthenticated()
    };
    builder
        .build()
        .map_err(|error| Problem::error(&asked.ca, 0, 0, format!("cannot be used: {error}")))
}

fn certificates(path: &Path) -> Result<Vec<CertificateDer<'static>>, Problem> {
    let problem = |error: &dyn std::fmt::Display| {
        Problem::error(path, 0, 0, format!("cannot be read as PEM certificates: {error}"))
    };
    let certificates: Vec<_> = CertificateDer::pem_file_iter(path)
        .map_err(|error| problem(&error))?
        .collect::<Result<_, _>>()
        .map_err(|error| problem(&error))?;
    if certificates.is_empty() {
        return Err(Problem::error(
            path,
            0,
            0,
            "holds no certificate; put the chain there in PEM form, the server's own first",
        ));
    }
    Ok(certificates)
}

fn private_key(path: &Path) -> Result<PrivateKeyDer<'static>, Problem> {
    // The cause is left out: a parser's words about a key file might quote from it.
    PrivateKeyDer::from_pem_file(path).map_err(|error| {
        let cause = match error {
            rustls_pki_types::pem::Error::Io(error) => error.to_string(),
            _ => "no private key in PEM form (PKCS#8, PKCS#1 or SEC1) is there".into(),
        };
        Problem::error(path, 0, 0, format!("cannot be read as a private key: {cause}"))
    })
}
