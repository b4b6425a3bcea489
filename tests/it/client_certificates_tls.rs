//! Which client certificates get through the handshake, and what replaces the authorities that vouch for them.

use crate::mesh::{LIST, Mesh, PROPELLER, list, with_uris};
use crate::sockets::{eventually, exchange, get, h2, rpc, soon, status, until_closed};
use flyte_authz_proxy::config::{ClientCertificates, KeyPair, ListenerTls, TlsVersion};
use flyte_authz_proxy::demo::certificates::{Authority, ClientIdentity};
use flyte_authz_proxy::demo::client;
use flyte_authz_proxy::demo::control_plane::{Fault, Outcome, Script};
use flyte_authz_proxy::demo::stack::replace;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::tls::LiveTls;
use rcgen::{CertificateParams, CustomExtension, ExtendedKeyUsagePurpose};
use rustls::version::{TLS12, TLS13};
use rustls::{ClientConfig, HandshakeKind};
use std::fs;
use std::sync::Arc;
use tokio::io::AsyncWriteExt;

const BY_CERTIFICATE: &str = "identity: { client_certificate: {} }";

fn propeller(certificate: &mut CertificateParams) {
    with_uris(certificate, &[PROPELLER]);
}

async fn failures(mesh: &Mesh, count: f64) {
    let series = "handshake_failures_total{cause=\"client_certificate\",listener=\"mesh\"}";
    eventually(series, || mesh.metric(series) >= count).await;
    assert!((mesh.metric("handshake_failures_total") - count).abs() < f64::EPSILON);
}

/// The client side of one version of TLS.
fn version(
    mesh: &Mesh,
    identity: Option<&ClientIdentity>,
    version: &'static rustls::SupportedProtocolVersion,
) -> ClientConfig {
    let any = mesh.tls(identity);
    let builder = ClientConfig::builder_with_protocol_versions(&[version]);
    let mut config = builder
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth();
    config.client_auth_cert_resolver = any.client_auth_cert_resolver;
    config
}

/// Trusts every server: these tests are about clients.
#[derive(Debug)]
struct AnyServer;

impl rustls::client::danger::ServerCertVerifier for AnyServer {
    fn verify_server_cert(
        &self,
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &[rustls::pki_types::CertificateDer<'_>],
        _: &rustls::pki_types::ServerName<'_>,
        _: &[u8],
        _: rustls::pki_types::UnixTime,
    ) -> Result<rustls::client::danger::ServerCertVerified, rustls::Error> {
        Ok(rustls::client::danger::ServerCertVerified::assertion())
    }

    fn verify_tls12_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn verify_tls13_signature(
        &self,
        _: &[u8],
        _: &rustls::pki_types::CertificateDer<'_>,
        _: &rustls::DigitallySignedStruct,
    ) -> Result<rustls::client::danger::HandshakeSignatureValid, rustls::Error> {
        Ok(rustls::client::danger::HandshakeSignatureValid::assertion())
    }

    fn supported_verify_schemes(&self) -> Vec<rustls::SignatureScheme> {
        rustls::crypto::aws_lc_rs::default_provider()
            .signature_verification_algorithms
            .supported_schemes()
    }
}

/// A client that trusts every server and has no certificate.
pub(crate) fn trusting_any_server() -> ClientConfig {
    ClientConfig::builder()
        .dangerous()
        .with_custom_certificate_verifier(Arc::new(AnyServer))
        .with_no_client_auth()
}

/// Certificates that must not get through, each for another reason.
fn bad(mesh: &Mesh) -> Vec<(&'static str, ClientIdentity)> {
    let stranger = Authority::generate("the clients' authority").unwrap();
    let intermediate = mesh.authority.intermediate("intermediate").unwrap();
    let strange = stranger.intermediate("intermediate").unwrap();
    let day = |certificate: &mut CertificateParams, first: i32, last: i32| {
        propeller(certificate);
        certificate.not_before = rcgen::date_time_ymd(first, 1, 1);
        certificate.not_after = rcgen::date_time_ymd(last, 1, 1);
    };
    let of_stranger = stranger.client(propeller).unwrap();
    let wrong_chain = intermediate.client(propeller).unwrap();
    let wrong_chain = ClientIdentity {
        certificate: wrong_chain.certificate + &strange.certificate,
        ..wrong_chain
    };
    let whole_strange_chain = ClientIdentity {
        certificate: of_stranger.certificate.clone() + &stranger.certificate,
        ..of_stranger.clone()
    };
    vec![
        ("another authority of the same name", of_stranger),
        ("another authority that comes along", whole_strange_chain),
        ("self-signed", ClientIdentity::self_signed(propeller).unwrap()),
        ("expired", mesh.identity(|certificate| day(certificate, 2020, 2021))),
        (
            "not yet valid",
            mesh.identity(|certificate| day(certificate, 2900, 2901)),
        ),
        (
            "for servers",
            mesh.identity(|certificate| {
                propeller(certificate);
                certificate.extended_key_usages = vec![ExtendedKeyUsagePurpose::ServerAuth];
            }),
        ),
        (
            "the intermediate does not come along",
            intermediate.client(propeller).unwrap(),
        ),
        ("another intermediate comes along", wrong_chain),
        (
            "names twice",
            mesh.identity(|certificate| {
                propeller(certificate);
                let second = b"\x30\x0e\x86\x0cspiffe://d/w".to_vec();
                let second = CustomExtension::from_oid_content(&[2, 5, 29, 17], second);
                certificate.custom_extensions.push(second);
            }),
        ),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_certificates_of_the_authority_for_clients_and_of_this_time_get_through() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    let bad = bad(&mesh);
    let before = mesh.before();
    let mut count = 0.0;
    for protocol in [&TLS12, &TLS13] {
        assert!(!mesh.answers(version(&mesh, None, protocol)).await, "no certificate");
        count += 1.0;
        for (why, identity) in &bad {
            assert!(!mesh.answers(version(&mesh, Some(identity), protocol)).await, "{why}");
            count += 1.0;
        }
        failures(&mesh, count).await;
    }
    mesh.untouched(&before).await;
    let intermediate = mesh.authority.intermediate("intermediate").unwrap();
    let chained = intermediate.client(propeller).unwrap();
    let chained = ClientIdentity {
        certificate: chained.certificate + &intermediate.certificate,
        ..chained
    };
    let any_use = mesh.identity(|certificate| {
        propeller(certificate);
        certificate.extended_key_usages = Vec::new();
    });
    for protocol in [&TLS12, &TLS13] {
        for identity in [&mesh.propeller(), &chained, &any_use] {
            assert!(mesh.answers(version(&mesh, Some(identity), protocol)).await);
        }
    }
    failures(&mesh, count).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_certificates_are_optional_a_bad_one_is_still_refused() {
    let mesh = Mesh::start(", required: false", BY_CERTIFICATE).await;
    let before = mesh.before();
    let bad = bad(&mesh);
    for (why, identity) in &bad {
        assert!(!mesh.answers(mesh.tls(Some(identity))).await, "{why}");
    }
    failures(&mesh, f64::from(u32::try_from(bad.len()).unwrap())).await;
    mesh.untouched(&before).await;
    assert!(mesh.answers(mesh.tls(None)).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_are_replaced_while_running_and_broken_ones_never() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    let path = mesh.directory().join("clients.pem");
    let reloads = |result: &str| mesh.metric(&format!("reloads_total{{result=\"{result}\",what=\"certificate\"}}"));
    let (old, next) = (mesh.propeller(), Authority::generate("the next").unwrap());
    let new = next.client(propeller).unwrap();
    let open = mesh.client(Some(&old));
    let remembered = Arc::new(mesh.tls(Some(&old)));
    assert!(mesh.answers_to(&remembered).await && !mesh.answers(mesh.tls(Some(&new))).await);
    assert_eq!(open.call(None, LIST, list("ml")).await.unwrap().grpc_status(), Some(0));
    replace(&path, &format!("{}{}", mesh.authority.certificate, next.certificate)).unwrap();
    eventually("both authorities are in force", || reloads("replaced") > 0.5).await;
    assert!(mesh.answers_to(&remembered).await && mesh.answers(mesh.tls(Some(&new))).await);
    replace(&path, &next.certificate).unwrap();
    eventually("the new authority alone is in force", || reloads("replaced") > 1.5).await;
    assert!(!mesh.answers_to(&remembered).await, "not by resuming, either");
    assert!(mesh.answers(mesh.tls(Some(&new))).await);
    let arrived = mesh.control_plane.count();
    // Its connection has ended, or is about to.
    let late = open.call(None, LIST, list("ml")).await;
    assert!(late.is_err() || late.unwrap().message().contains("[certificate_refused; request "));
    assert_eq!(mesh.control_plane.count(), arrived);
    let mut failed = 0.0;
    for garbage in [
        "no certificate",
        "",
        "-----BEGIN CERTIFICATE-----\nAAAA\n-----END CERTIFICATE-----\n",
    ] {
        replace(&path, garbage).unwrap();
        mesh.app.reload.reload_now();
        failed += 1.0;
        eventually("the garbage is noticed", || reloads("failed") > failed - 0.5).await;
        assert!(mesh.metric("reload_success{what=\"certificate\"}") < 0.5);
        assert!(
            mesh.answers(mesh.tls(Some(&new))).await,
            "the last good one stays in force"
        );
        assert!(!mesh.answers_to(&remembered).await && !mesh.answers(mesh.tls(None)).await);
    }
    fs::remove_file(&path).unwrap();
    mesh.app.reload.reload_now();
    eventually("the absence is noticed", || reloads("failed") > failed + 0.5).await;
    assert!(mesh.answers(mesh.tls(Some(&new))).await && !mesh.answers(mesh.tls(None)).await);
    replace(&path, &next.certificate).unwrap();
    eventually("the good one is back", || reloads("restored") > 0.5).await;
    assert!(mesh.metric("reload_success{what=\"certificate\"}") > 0.5);
}

/// Puts other authorities in force.
async fn trust(mesh: &Mesh, certificates: &str) {
    let replaced = "reloads_total{result=\"replaced\",what=\"certificate\"}";
    let before = mesh.metric(replaced);
    replace(&mesh.directory().join("clients.pem"), certificates).unwrap();
    mesh.app.reload.reload_now();
    eventually("the authorities are in force", || mesh.metric(replaced) > before + 0.5).await;
}

/// A certificate of the mesh that an authority between vouches for.
fn chained(mesh: &Mesh) -> ClientIdentity {
    let intermediate = mesh.authority.intermediate("intermediate").unwrap();
    let client = intermediate.client(propeller).unwrap();
    ClientIdentity {
        certificate: client.certificate + &intermediate.certificate,
        ..client
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_ends_when_the_authority_of_its_certificate_is_withdrawn_and_answers_nothing_more() {
    for rest in [
        BY_CERTIFICATE,
        "identity: tokens",
        "identity: { principal: { subject: x } }",
    ] {
        let mesh = Mesh::start("", rest).await;
        let next = Authority::generate("the next").unwrap();
        let (own, next) = (&mesh.authority.certificate, &next.certificate);
        let target = "/api/v1/executions/ml/development?limit=1";
        let message = mesh.proxy.client.encode(LIST, list("ml")).unwrap();
        for identity in [mesh.propeller(), chained(&mesh)] {
            trust(&mesh, &format!("{own}{next}")).await;
            let mut config = mesh.tls(Some(&identity));
            let begun = Arc::new(config.clone());
            config.alpn_protocols = vec![b"h2".to_vec()];
            let mut idle = h2(mesh.connect(&Arc::new(config)).await.unwrap()).await;
            let mut ask = async || {
                let mut request = rpc(&mesh.ml(), LIST, &message);
                if rest != "identity: tokens" {
                    request.headers_mut().remove("authorization");
                }
                status(idle.send_request(request).await.unwrap()).await.unwrap()
            };
            let answer = ask().await;
            assert!([0, 7].contains(&answer), "{rest}: {answer}");
            let mut begun = mesh.connect(&begun).await.unwrap();
            begun
                .write_all(format!("GET {target} HTTP/1.1\r\n").as_bytes())
                .await
                .unwrap();
            begun.flush().await.unwrap();
            // Other authorities, of which one still vouches for it.
            trust(&mesh, &format!("{next}{own}")).await;
            assert_eq!(ask().await, answer, "{rest}");

            trust(&mesh, next).await;
            eventually("the idle connection is closed", || idle.is_closed()).await;
            let before = mesh.before();
            let more = format!("host: localhost\r\nauthorization: Bearer {}\r\n\r\n", mesh.ml());
            begun.write_all(more.as_bytes()).await.unwrap();
            let refused = String::from_utf8(until_closed(&mut begun).await).unwrap();
            assert!(refused.starts_with("HTTP/1.1 401"), "{rest}: {refused}");
            assert!(refused.contains("[certificate_refused; request "), "{rest}: {refused}");
            mesh.recorded(&before, Reason::CertificateRefused).await;
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_under_way_ends_when_the_authority_of_its_certificate_is_withdrawn() {
    for rest in [BY_CERTIFICATE, "identity: tokens"] {
        let mesh = Mesh::start("", rest).await;
        let next = Authority::generate("the next").unwrap();
        let client = mesh.client(Some(&mesh.propeller()));
        let token = (rest == "identity: tokens").then(|| mesh.ml());
        mesh.control_plane.script(Script::on("*", Fault::Hang));
        let (records, arrived) = (mesh.record_count(), mesh.control_plane.count());
        let call = async { client.call(token.as_deref(), LIST, list("ml")).await.unwrap() };
        let change = async {
            eventually("it arrives", || mesh.control_plane.count() > arrived).await;
            trust(&mesh, &next.certificate).await;
        };
        let (reply, ()) = soon("it ends", async { tokio::join!(call, change) }).await;
        assert_eq!(reply.grpc_status(), Some(16));
        assert!(reply.message().contains("[certificate_refused; request "), "{reply:?}");
        let record = mesh.records_after(records, 1).await.pop().unwrap();
        assert_eq!(record["outcome"], "denied", "{record:#}");
        assert_eq!(record["reason"], "certificate_refused");
        eventually("the control plane hears of it", || {
            let all = mesh.control_plane.arrivals();
            all.last().is_some_and(|arrival| arrival.outcome == Outcome::Abandoned)
        })
        .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn authorities_with_comments_in_an_old_encoding_are_replaced_too() {
    let commented = |certificates: &str| [b"# Autorit\xe9\n", certificates.as_bytes()].concat();
    let mesh = Mesh::start_with("", BY_CERTIFICATE, |setup| {
        let path = setup.directory.join("clients.pem");
        let first = fs::read_to_string(&path).unwrap();
        fs::write(path, commented(&first)).unwrap();
    })
    .await;
    let next = Authority::generate("the next").unwrap();
    let (old, new) = (mesh.propeller(), next.client(propeller).unwrap());
    assert!(mesh.answers(mesh.tls(Some(&old))).await && !mesh.answers(mesh.tls(Some(&new))).await);
    let path = mesh.directory().join("clients.pem");
    fs::write(path.with_extension("new"), commented(&next.certificate)).unwrap();
    fs::rename(path.with_extension("new"), &path).unwrap();
    let replaced = "reloads_total{result=\"replaced\",what=\"certificate\"}";
    eventually("the new authority is in force", || mesh.metric(replaced) > 0.5).await;
    assert!(!mesh.answers(mesh.tls(Some(&old))).await && mesh.answers(mesh.tls(Some(&new))).await);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_session_with_a_client_certificate_is_never_resumed_and_takes_no_early_data() {
    for certificates in ["", ", required: false"] {
        let mesh = Mesh::start(certificates, BY_CERTIFICATE).await;
        let identity = mesh.propeller();
        for protocol in [&TLS12, &TLS13] {
            let config = Arc::new(version(&mesh, Some(&identity), protocol));
            for _ in 0..3 {
                let stream = mesh.connect(&config).await.unwrap();
                assert_eq!(stream.get_ref().1.handshake_kind(), Some(HandshakeKind::Full));
                // Tickets come behind the handshake.
                assert!(exchange(stream, get("/healthcheck")).await.starts_with("HTTP/1.1 200"));
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn sessions_of_other_listeners_are_resumed() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    let authority = fs::read_to_string(&mesh.proxy.authority).unwrap();
    let config = Arc::new(client::tls(Some(&authority), None).unwrap());
    let mut kinds = Vec::new();
    for _ in 0..2 {
        let stream = tokio::net::TcpStream::connect(mesh.app.addresses[0]).await.unwrap();
        let name = rustls::pki_types::ServerName::try_from("localhost").unwrap();
        let stream = tokio_rustls::TlsConnector::from(Arc::clone(&config))
            .connect(name, stream)
            .await
            .unwrap();
        kinds.push(stream.get_ref().1.handshake_kind());
        exchange(stream, get("/healthcheck")).await;
    }
    assert_eq!(kinds, [Some(HandshakeKind::Full), Some(HandshakeKind::Resumed)]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn early_data_is_off_and_every_file_is_named_that_cannot_be_used() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    let path = |name: &str| mesh.directory().join(name);
    let settings = |required: Option<bool>| ListenerTls {
        default: KeyPair {
            certificate: path("tls.crt"),
            key: path("tls.key"),
        },
        more: Vec::new(),
        minimum_version: TlsVersion::Tls12,
        client_certificates: required.map(|required| ClientCertificates {
            ca: path("clients.pem"),
            required,
        }),
    };
    for required in [None, Some(true), Some(false)] {
        assert_eq!(
            LiveTls::load(&settings(required))
                .unwrap()
                .current()
                .server()
                .max_early_data_size,
            0
        );
    }
    fs::write(path("clients.pem"), "nothing").unwrap();
    fs::write(path("tls.key"), "nothing").unwrap();
    let problems = LiveTls::load(&settings(Some(true))).unwrap_err();
    let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
    assert_eq!(shown.len(), 2, "{shown:?}");
    assert!(
        shown[0].contains("tls.key") && shown[1].contains("clients.pem"),
        "{shown:?}"
    );
}
