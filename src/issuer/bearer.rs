//! The token that some issuers want to see before they show their keys, as the API server of Kubernetes does.

use super::{IssuerSettings, KeySource};
use crate::files;
use http::{HeaderValue, Uri};
use std::path::PathBuf;

/// What is wrong with naming a bearer token in these settings: it would be sent to nobody, or could be read on the way.
pub(crate) fn fault(settings: &IssuerSettings) -> Option<&'static str> {
    settings.bearer_token.as_ref()?;
    match configured_url(settings) {
        None => Some("nothing is fetched, so that `bearer_token` is sent nowhere; leave it out"),
        Some(url) if url.get(..5).is_some_and(|scheme| scheme.eq_ignore_ascii_case("http:")) => {
            Some("`bearer_token` would be sent in plain text; write `https://` where the keys are, or leave it out")
        }
        Some(_) => None,
    }
}

/// The address that the configuration names for fetching; the issuer's own if none is named.
fn configured_url(settings: &IssuerSettings) -> Option<&str> {
    match &settings.keys {
        KeySource::Url(url) | KeySource::Discovery { url: Some(url) } => Some(url),
        KeySource::Discovery { url: None } => Some(&settings.rules.issuer),
        KeySource::File(_) | KeySource::Introspection(_) => None,
    }
}

/// A file with a token, and the only origin that gets to see it: that of the configured address. What a discovery
/// document names is no reason to send it anywhere else.
#[derive(Debug)]
pub(super) struct BearerFile {
    file: PathBuf,
    configured: Uri,
}

impl BearerFile {
    pub(super) fn of(settings: &IssuerSettings) -> Option<Self> {
        let file = settings.bearer_token.clone()?;
        let configured = configured_url(settings)?.parse().ok()?;
        Some(Self { file, configured })
    }

    /// Whether the token may be sent there: by TLS, and same host and port.
    pub(super) fn is_for(&self, url: &Uri) -> bool {
        let port = |uri: &Uri| uri.port_u16().unwrap_or(443);
        let https = [url, &self.configured]
            .iter()
            .all(|uri| uri.scheme_str() == Some("https"));
        let hosts = url.host().zip(self.configured.host());
        https
            && hosts.is_some_and(|(one, other)| one.eq_ignore_ascii_case(other))
            && port(url) == port(&self.configured)
    }

    /// The header with the token as it is in the file now: the kubelet replaces it about every hour. Errors show neither
    /// what is in the file nor what is written in place of its name.
    pub(super) fn header(&self) -> Result<HeaderValue, String> {
        let refused = |what: &str| format!("the file that `bearer_token` names {what}");
        let text = files::read(&self.file).map_err(|problem| refused(&problem.message))?;
        let token = text.trim_end();
        if token.is_empty() {
            return Err(refused("is empty"));
        }
        let mut header = HeaderValue::try_from(format!("Bearer {token}"))
            .map_err(|_| refused("does not hold one line of text, the token"))?;
        header.set_sensitive(true);
        Ok(header)
    }
}

#[cfg(test)]
mod tests {
    #![expect(clippy::unwrap_used, reason = "tests")]

    use super::*;
    use crate::credential::rules::IssuerRules;

    fn settings(keys: KeySource) -> IssuerSettings {
        let rules = IssuerRules::new("https://cluster.example.com", vec!["flyte".to_owned()]);
        IssuerSettings {
            keys,
            bearer_token: Some(PathBuf::from("token")),
            ..IssuerSettings::new(rules)
        }
    }

    #[test]
    fn the_token_is_for_the_origin_of_the_configured_address_only() {
        let for_url = |configured: KeySource, url: &str| {
            BearerFile::of(&settings(configured))
                .unwrap()
                .is_for(&url.parse().unwrap())
        };
        let keys = KeySource::Url("https://Kubernetes.default.svc/openid/v1/jwks".to_owned());
        for (url, sent) in [
            ("https://kubernetes.default.svc/openid/v1/jwks", true),
            ("https://kubernetes.default.svc:443/other", true),
            ("https://kubernetes.default.svc:6443/openid/v1/jwks", false),
            ("http://kubernetes.default.svc/openid/v1/jwks", false),
            ("http://kubernetes.default.svc:443/openid/v1/jwks", false),
            ("https://kubernetes.default.svc.example.com/openid/v1/jwks", false),
            ("https://10.0.0.1/openid/v1/jwks", false),
        ] {
            assert_eq!(for_url(keys.clone(), url), sent, "{url}");
        }
        let discovery = KeySource::Discovery { url: None };
        assert!(for_url(discovery.clone(), "https://cluster.example.com/openid/v1/jwks"));
        assert!(!for_url(discovery, "https://kubernetes.default.svc/openid/v1/jwks"));
        // Not even where both are plain text on one host.
        let plain = KeySource::Url("http://127.0.0.1:8080/jwks".to_owned());
        assert!(!for_url(plain, "http://127.0.0.1:8080/jwks"));
    }

    #[test]
    fn a_token_that_would_be_sent_in_plain_text_or_nowhere_is_a_fault() {
        let told = |keys| fault(&settings(keys)).unwrap_or_default();
        assert!(told(KeySource::File(PathBuf::from("keys.json"))).starts_with("nothing is fetched"));
        for url in ["http://127.0.0.1/jwks", "HTTP://cluster.example.com/jwks"] {
            assert!(told(KeySource::Url(url.to_owned())).contains("plain text"), "{url}");
            let url = Some(url.to_owned());
            assert!(told(KeySource::Discovery { url }).contains("plain text"));
        }
        assert_eq!(told(KeySource::Discovery { url: None }), "");
    }

    #[test]
    fn a_file_without_a_usable_token_is_told_without_its_content() {
        let folder = tempfile::tempdir().unwrap();
        let file = folder.path().join("secret-name");
        let mut settings = settings(KeySource::Discovery { url: None });
        settings.bearer_token = Some(file.clone());
        let bearer = BearerFile::of(&settings).unwrap();
        assert!(
            bearer
                .header()
                .unwrap_err()
                .contains("`bearer_token` names cannot be read")
        );
        for (text, fault) in [("\n", "is empty"), ("s3cret\ns3cret", "one line")] {
            std::fs::write(&file, text).unwrap();
            let told = bearer.header().unwrap_err();
            assert!(
                told.contains(fault) && !told.contains("secret") && !told.contains("s3cret"),
                "{told}"
            );
        }
        std::fs::write(&file, "s3cret\n").unwrap();
        let header = bearer.header().unwrap();
        assert!(header.is_sensitive() && header == "Bearer s3cret");
    }
}
