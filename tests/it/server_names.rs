//! Several certificates on one listener: which one a client is shown, how each is replaced, and what `check` says of them.

use crate::ingress::{listener, with_listeners};
use crate::proxy::Proxy;
use crate::sockets::{eventually, exchange, get};
use flyte_authz_proxy::config::{KeyPair, ListenerTls, TlsVersion};
use flyte_authz_proxy::demo::stack::replace;
use flyte_authz_proxy::tls::LiveTls;
use rcgen::CertificateParams;
use rustls::pki_types::pem::PemObject;
use rustls::pki_types::{CertificateDer, ServerName};
use std::path::Path;
use std::sync::Arc;
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const KEYS: &str = "tls:
  certificate: tls.crt
  key: tls.key
  certificates:
    - { certificate: one.crt, key: one.key }
    - { certificate: two.crt, key: two.key }";

/// Writes a self-signed certificate `NAME.crt` and its key, with changes, and returns it.
pub(crate) fn write(
    directory: &Path,
    file: &str,
    names: &[&str],
    change: impl FnOnce(&mut CertificateParams),
) -> CertificateDer<'static> {
    let names: Vec<String> = names.iter().map(ToString::to_string).collect();
    let mut parameters = CertificateParams::new(names).unwrap();
    change(&mut parameters);
    let key = rcgen::KeyPair::generate().unwrap();
    let certificate = parameters.self_signed(&key).unwrap();
    // The key first: what does not fit is not taken over.
    replace(&directory.join(format!("{file}.key")), &key.serialize_pem()).unwrap();
    replace(&directory.join(format!("{file}.crt")), &certificate.pem()).unwrap();
    certificate.der().clone()
}

struct Named {
    proxy: Proxy,
    one: CertificateDer<'static>,
    two: CertificateDer<'static>,
}

async fn start() -> Named {
    let mut certificates = Vec::new();
    let proxy = Proxy::start_with(|setup| {
        with_listeners(setup, &listener("named", KEYS));
        certificates.push(write(
            &setup.directory,
            "one",
            &["one.example.com", "*.Apps.example.com"],
            |_| {},
        ));
        certificates.push(write(
            &setup.directory,
            "two",
            &["two.example.com", "special.apps.example.com"],
            |_| {},
        ));
    })
    .await;
    let [one, two] = certificates.try_into().unwrap();
    Named { proxy, one, two }
}

impl Named {
    fn default(&self) -> CertificateDer<'static> {
        CertificateDer::from_pem_file(self.proxy.directory().join("tls.crt")).unwrap()
    }

    /// The certificate that is shown to who asks for a name, or for none.
    async fn shown(&self, name: &str) -> CertificateDer<'static> {
        let mut config = crate::client_certificates_tls::trusting_any_server();
        config.enable_sni = !name.is_empty();
        let name = if name.is_empty() { "localhost" } else { name };
        let stream = TcpStream::connect(self.proxy.app.addresses[3]).await.unwrap();
        let name = ServerName::try_from(name.to_owned()).unwrap();
        let stream = TlsConnector::from(Arc::new(config))
            .connect(name, stream)
            .await
            .unwrap();
        let shown = stream.get_ref().1.peer_certificates().unwrap()[0].clone();
        assert!(exchange(stream, get("/healthcheck")).await.starts_with("HTTP/1.1 200"));
        shown
    }

    fn expiry(&self, file: &str) -> f64 {
        let file = self.proxy.directory().join(file);
        let series = format!(
            "certificate_expiry_timestamp_seconds{{certificate=\"{}\",listener=\"named\"}}",
            file.display()
        );
        self.proxy.metric(&series)
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_client_is_shown_the_certificate_that_has_its_name_and_else_the_first() {
    let named = start().await;
    let (one, two, default) = (named.one.clone(), named.two.clone(), named.default());
    for (name, expected) in [
        ("one.example.com", &one),
        ("ONE.Example.COM", &one),
        ("two.example.com", &two),
        // By a wildcard, for one label exactly; a certificate with the name itself goes first.
        ("a.apps.example.com", &one),
        ("special.apps.example.com", &two),
        ("a.b.apps.example.com", &default),
        ("apps.example.com", &default),
        ("other.example.com", &default),
        ("localhost", &default),
        ("127.0.0.1", &default),
        ("", &default),
    ] {
        assert_eq!(named.shown(name).await, *expected, "{name}");
    }
    assert!(named.proxy.metric("handshake_failures_total") < 0.5);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn each_certificate_is_replaced_while_running_and_a_broken_one_never() {
    let named = start().await;
    let directory = named.proxy.directory();
    let of_year =
        |year: i32| move |parameters: &mut CertificateParams| parameters.not_after = rcgen::date_time_ymd(year, 1, 1);
    // 2100-01-01 and 2101-01-01.
    let (first, second) = (4_102_444_800.0, 4_133_980_800.0);
    let two = write(directory, "two", &["two.example.com"], of_year(2100));
    eventually("the second is in force", || {
        (named.expiry("two.crt") - first).abs() < 0.5
    })
    .await;
    assert_eq!(named.shown("two.example.com").await, two);
    assert_eq!(
        named.shown("special.apps.example.com").await,
        named.one,
        "a name that is gone"
    );
    assert_eq!(named.shown("one.example.com").await, named.one);
    assert!(named.expiry("one.crt") > 1.0 && named.expiry("tls.crt") > 1.0);
    // One broken file keeps all as they are.
    let failures = "reloads_total{result=\"failed\",what=\"certificate\"}";
    std::fs::write(directory.join("one.key"), "no key").unwrap();
    eventually("the fault is noticed", || named.proxy.metric(failures) >= 1.0).await;
    assert_eq!(named.shown("one.example.com").await, named.one);
    assert_eq!(named.shown("two.example.com").await, two);
    let one = write(directory, "one", &["one.example.com"], of_year(2101));
    eventually("the first is in force", || {
        (named.expiry("one.crt") - second).abs() < 0.5
    })
    .await;
    assert_eq!(named.shown("one.example.com").await, one);
}

fn settings(directory: &Path, more: &[&str]) -> ListenerTls {
    let pair = |file: &str| KeyPair {
        certificate: directory.join(format!("{file}.crt")),
        key: directory.join(format!("{file}.key")),
    };
    ListenerTls {
        default: pair("default"),
        more: more.iter().map(|file| pair(file)).collect(),
        minimum_version: TlsVersion::Tls12,
        client_certificates: None,
    }
}

#[test]
fn every_certificate_that_cannot_be_used_is_reported_at_once() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    for (file, names) in [
        ("default", &["a.example.com"][..]),
        ("nameless", &["127.0.0.1"]),
        ("swapped", &["b.example.com"]),
    ] {
        write(path, file, names, |_| {});
    }
    std::fs::copy(path.join("nameless.key"), path.join("swapped.key")).unwrap();
    std::fs::write(path.join("empty.crt"), "").unwrap();
    std::fs::write(path.join("empty.key"), "").unwrap();
    let problems = LiveTls::load(&settings(path, &["nameless", "swapped", "empty", "absent"])).unwrap_err();
    let problems: Vec<String> = problems
        .iter()
        .map(|problem| problem.to_string().replace(&format!("{}/", path.display()), ""))
        .collect();
    let begins = [
        "nameless.crt: error: names no host",
        "swapped.crt: error: cannot be used with `swapped.key`: keys may not be consistent: KeyMismatch",
        "empty.crt: error: holds no certificate",
        "empty.key: error: cannot be read as a private key",
        "absent.crt: error: cannot be read",
        "absent.key: error: cannot be read as a private key",
    ];
    assert_eq!(problems.len(), begins.len(), "{problems:#?}");
    for (problem, begin) in problems.iter().zip(begins) {
        assert!(problem.starts_with(begin), "{problem}");
    }
}

#[test]
fn certificates_out_of_their_time_and_names_that_several_have_are_warned_about() {
    let directory = tempfile::tempdir().unwrap();
    let path = directory.path();
    write(
        path,
        "default",
        &["a.example.com", "*.example.com", "a.example.com"],
        |_| {},
    );
    write(path, "old", &["b.example.com", "A.example.com"], |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2020, 1, 1);
        parameters.not_after = rcgen::date_time_ymd(2021, 1, 1);
    });
    write(path, "new", &["*.example.com"], |parameters| {
        parameters.not_before = rcgen::date_time_ymd(2900, 1, 1);
    });
    let tls = LiveTls::load(&settings(path, &["old", "new"])).unwrap();
    let shown = |now: u64| -> Vec<String> {
        let shown = tls.warnings(now).into_iter();
        shown
            .map(|problem| problem.to_string().replace(&format!("{}/", path.display()), ""))
            .collect()
    };
    // 2026-01-01.
    assert_eq!(
        shown(1_767_225_600),
        [
            "old.crt: warning: has expired (2021-01-01T00:00:00Z), so that clients refuse it; put a new one there",
            "old.crt: warning: has the name `a.example.com`, for which `default.crt` is shown; leave one of them out",
            "new.crt: warning: is not valid yet (from 2900-01-01T00:00:00Z), so that clients refuse it; check the clocks",
            "new.crt: warning: has the name `*.example.com`, for which `default.crt` is shown; leave one of them out",
        ]
    );
    // In the last second it is valid, and one later it is not.
    assert_eq!(
        shown(1_609_459_200)
            .iter()
            .filter(|warning| warning.contains("expired"))
            .count(),
        0
    );
    assert_eq!(
        shown(1_609_459_201)
            .iter()
            .filter(|warning| warning.contains("expired"))
            .count(),
        1
    );
}
