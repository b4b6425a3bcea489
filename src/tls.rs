//! A listener's certificate and the authorities of its clients: loaded from files, replaced as a whole when they change.

use crate::config::{ClientCertificates, ListenerTls, TlsVersion};
use crate::model::problem::Problem;
use crate::trust;
use arc_swap::ArcSwap;
use rustls::ServerConfig;
use rustls::crypto::{CryptoProvider, aws_lc_rs};
use rustls::server::danger::ClientCertVerifier;
use rustls::server::{NoServerSessionStorage, WebPkiClientVerifier};
use rustls_pki_types::pem::PemObject;
use rustls_pki_types::{CertificateDer, PrivateKeyDer};
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::sync::atomic::{AtomicU64, Ordering};
use x509_parser::certificate::X509Certificate;
use x509_parser::prelude::FromDer;

/// The certificate in force on a listener. Connections keep the one they began with.
#[derive(Debug)]
pub struct LiveTls {
    settings: ListenerTls,
    current: ArcSwap<ServerConfig>,
    /// In seconds since the Unix epoch; 0 if it cannot be told.
    expires_at: AtomicU64,
}

impl LiveTls {
    /// Loads the certificate, the key and the authorities.
    ///
    /// # Errors
    /// Every file that cannot be used, and why.
    pub fn load(settings: &ListenerTls) -> Result<Self, Vec<Problem>> {
        let (current, expires_at) = server_config(settings)?;
        Ok(Self {
            settings: settings.clone(),
            current: ArcSwap::from_pointee(current),
            expires_at: expires_at.into(),
        })
    }

    /// Loads the files again. On failure what is in force stays.
    ///
    /// # Errors
    /// Every file that cannot be used, and why.
    pub fn reload(&self) -> Result<(), Vec<Problem>> {
        let (current, expires_at) = server_config(&self.settings)?;
        self.current.store(Arc::new(current));
        self.expires_at.store(expires_at, Ordering::Relaxed);
        Ok(())
    }

    /// The files to watch.
    #[must_use]
    pub fn files(&self) -> Vec<PathBuf> {
        let mut files = vec![self.settings.certificate.clone(), self.settings.key.clone()];
        files.extend(self.settings.client_certificates.iter().map(|asked| asked.ca.clone()));
        files
    }

    /// The last second in which the listener's own certificate is valid, since the Unix epoch, if that can be told.
    #[must_use]
    pub fn expires_at(&self) -> Option<u64> {
        Some(self.expires_at.load(Ordering::Relaxed)).filter(|seconds| *seconds > 0)
    }

    /// The configuration for the next connection.
    #[must_use]
    pub fn current(&self) -> Arc<ServerConfig> {
        self.current.load_full()
    }
}

/// What the listener serves with, and when its own certificate expires.
fn server_config(settings: &ListenerTls) -> Result<(ServerConfig, u64), Vec<Problem>> {
    let provider = Arc::new(aws_lc_rs::default_provider());
    let loaded = (
        certificates(&settings.certificate),
        private_key(&settings.key),
        client_verifier(settings.client_certificates.as_ref(), &provider),
    );
    let (certificates, key, verifier) = match loaded {
        (Ok(certificates), Ok(key), Ok(verifier)) => (certificates, key, verifier),
        (certificates, key, verifier) => {
            let problems = [certificates.err(), key.err(), verifier.err()];
            return Err(problems.into_iter().flatten().collect());
        }
    };
    let expires_at = certificates.first().and_then(expires_at).unwrap_or(0);
    let versions: &[&rustls::SupportedProtocolVersion] = match settings.minimum_version {
        TlsVersion::Tls12 => &[&rustls::version::TLS13, &rustls::version::TLS12],
        TlsVersion::Tls13 => &[&rustls::version::TLS13],
    };
    let unusable = |error: rustls::Error| {
        let message = format!("cannot be used with `{}`: {error}", settings.key.display());
        vec![Problem::error(&settings.certificate, 0, 0, message)]
    };
    let mut config = ServerConfig::builder_with_provider(provider)
        .with_protocol_versions(versions)
        .map_err(unusable)?
        .with_client_cert_verifier(verifier)
        .with_single_cert(certificates, key)
        .map_err(unusable)?;
    config.alpn_protocols = vec![b"h2".to_vec(), b"http/1.1".to_vec()];
    if settings.client_certificates.is_some() {
        // A resumed session carries the certificate of the first one, unverified since: each connection shows its own.
        config.session_storage = Arc::new(NoServerSessionStorage {});
        config.send_tls13_tickets = 0;
    } else {
        // Tickets let a client resume with any number of others connected; the default keeps 256 sessions.
        config.ticketer = aws_lc_rs::Ticketer::new().map_err(unusable)?;
    }
    Ok((config, expires_at))
}

/// Only for metrics: what cannot be read here may serve well.
fn expires_at(certificate: &CertificateDer<'_>) -> Option<u64> {
    let (_, certificate) = X509Certificate::from_der(certificate).ok()?;
    u64::try_from(certificate.validity().not_after.timestamp()).ok()
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
