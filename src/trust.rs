//! Whom the proxy trusts in TLS: the authorities in a file, or those of the system.

use crate::model::problem::Problem;
use rustls::{ClientConfig, RootCertStore};
use rustls_pki_types::CertificateDer;
use rustls_pki_types::pem::PemObject;
use std::path::Path;

/// The client side of TLS. With a file, only its authorities are trusted; without, those of the system.
///
/// # Errors
/// When the file cannot be read or holds no usable certificate, or the system has none.
pub fn client_config(ca: Option<&Path>) -> Result<ClientConfig, Problem> {
    let roots = match ca {
        Some(path) => file_roots(path)?,
        None => system_roots(),
    };
    Ok(ClientConfig::builder()
        .with_root_certificates(roots)
        .with_no_client_auth())
}

/// The authorities in a PEM file.
///
/// # Errors
/// When the file cannot be read, or holds no certificate or one that is unusable.
pub fn file_roots(path: &Path) -> Result<RootCertStore, Problem> {
    let problem = |message: String| Problem::error(path, 0, 0, message);
    let certificates =
        CertificateDer::pem_file_iter(path).map_err(|error| problem(format!("cannot be read: {error}")))?;
    let mut roots = RootCertStore::empty();
    for certificate in certificates {
        let certificate = certificate.map_err(|error| problem(format!("is not well-formed PEM: {error}")))?;
        roots
            .add(certificate)
            .map_err(|error| problem(format!("holds a certificate that cannot be used: {error}")))?;
    }
    if roots.is_empty() {
        return Err(problem(
            "holds no certificate; put the authority's certificate there in PEM form".into(),
        ));
    }
    Ok(roots)
}

/// Machines come with certificates that cannot be parsed; what remains is what is trusted, possibly nothing.
fn system_roots() -> RootCertStore {
    let mut roots = RootCertStore::empty();
    let (added, ignored) = roots.add_parsable_certificates(rustls_native_certs::load_native_certs().certs);
    tracing::debug!(added, ignored, "loaded the system's certificate authorities");
    roots
}
