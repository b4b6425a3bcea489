//! Private certificate authorities, a server certificate for loopback and client certificates, made anew for every run.

use rcgen::{
    BasicConstraints, CertificateParams, DnType, ExtendedKeyUsagePurpose, IsCa, Issuer, KeyPair, KeyUsagePurpose,
};

/// PEM texts of an authority and of a server certificate it signed.
#[derive(Clone, Debug)]
pub struct Certificates {
    /// The authority's certificate: what clients trust.
    pub authority: String,
    /// The server's certificate for `localhost` and `127.0.0.1`.
    pub certificate: String,
    /// The server's private key.
    pub key: String,
}

impl Certificates {
    /// Makes an authority and a certificate.
    ///
    /// # Errors
    /// When keys cannot be made.
    pub fn generate() -> Result<Self, rcgen::Error> {
        let authority = Authority::generate("demo certificate authority")?;
        let key = KeyPair::generate()?;
        let mut server = CertificateParams::new(vec!["localhost".to_owned(), "127.0.0.1".to_owned()])?;
        server.distinguished_name.push(DnType::CommonName, "demo proxy");
        let certificate = server.signed_by(&key, &authority.issuer)?;
        Ok(Self {
            authority: authority.certificate,
            certificate: certificate.pem(),
            key: key.serialize_pem(),
        })
    }
}

/// An authority that vouches for clients, or for another authority.
#[derive(Debug)]
pub struct Authority {
    /// Its certificate: what a listener trusts.
    pub certificate: String,
    issuer: Issuer<'static, KeyPair>,
}

/// A client's certificate and key, as PEM texts.
#[derive(Clone, Debug)]
pub struct ClientIdentity {
    /// The certificate; whoever signed it may follow.
    pub certificate: String,
    /// The private key.
    pub key: String,
}

impl Authority {
    /// An authority that nobody but itself vouches for.
    ///
    /// # Errors
    /// When its key cannot be made.
    pub fn generate(name: &str) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let parameters = authority(name);
        Ok(Self {
            certificate: parameters.self_signed(&key)?.pem(),
            issuer: Issuer::new(parameters, key),
        })
    }

    /// An authority that this one vouches for.
    ///
    /// # Errors
    /// When its key cannot be made.
    pub fn intermediate(&self, name: &str) -> Result<Self, rcgen::Error> {
        self.intermediate_with(name, |_| {})
    }

    /// The same with changes.
    ///
    /// # Errors
    /// When its key cannot be made.
    pub fn intermediate_with(
        &self,
        name: &str,
        change: impl FnOnce(&mut CertificateParams),
    ) -> Result<Self, rcgen::Error> {
        let key = KeyPair::generate()?;
        let mut parameters = authority(name);
        change(&mut parameters);
        Ok(Self {
            certificate: parameters.signed_by(&key, &self.issuer)?.pem(),
            issuer: Issuer::new(parameters, key),
        })
    }

    /// A client certificate without names, valid now, with changes.
    ///
    /// # Errors
    /// When its key cannot be made.
    pub fn client(&self, change: impl FnOnce(&mut CertificateParams)) -> Result<ClientIdentity, rcgen::Error> {
        let mut parameters = client();
        change(&mut parameters);
        let key = KeyPair::generate()?;
        Ok(ClientIdentity {
            certificate: parameters.signed_by(&key, &self.issuer)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

impl ClientIdentity {
    /// A client that vouches for itself.
    ///
    /// # Errors
    /// When its key cannot be made.
    pub fn self_signed(change: impl FnOnce(&mut CertificateParams)) -> Result<Self, rcgen::Error> {
        let mut parameters = client();
        change(&mut parameters);
        let key = KeyPair::generate()?;
        Ok(Self {
            certificate: parameters.self_signed(&key)?.pem(),
            key: key.serialize_pem(),
        })
    }
}

fn authority(name: &str) -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name.push(DnType::CommonName, name);
    parameters.is_ca = IsCa::Ca(BasicConstraints::Unconstrained);
    parameters.key_usages = vec![KeyUsagePurpose::KeyCertSign, KeyUsagePurpose::CrlSign];
    parameters
}

fn client() -> CertificateParams {
    let mut parameters = CertificateParams::default();
    parameters.distinguished_name = rcgen::DistinguishedName::new();
    parameters.extended_key_usages = vec![ExtendedKeyUsagePurpose::ClientAuth];
    parameters
}
