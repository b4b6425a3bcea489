//! Callers known by their client certificates: who they are, and what becomes of credentials beside a certificate.

use crate::mesh::{LIST, Mesh, PROPELLER, list, with_uris};
use crate::proxy::Proxy;
use crate::sockets::{eventually, h2, rpc, status};
use flyte_authz_proxy::clock::{Clock, ManualClock, SystemClock};
use flyte_authz_proxy::demo::certificates::ClientIdentity;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::session::SessionKeys;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http::Method;
use rcgen::string::BmpString;
use rcgen::{CertificateParams, CustomExtension, DnType, DnValue, SanType};
use serde_json::Value;
use std::sync::Arc;
use std::time::{Duration, Instant};

const BY_CERTIFICATE: &str = "identity: { client_certificate: {} }";
const BY_ANY_NAME: &str = "identity: { client_certificate: { name: [spiffe, dns, common_name] } }";
const OWN: &str = "/api/v1/executions/ml/development?limit=1";
const FOREIGN: &str = "/api/v1/executions/fraud/development?limit=1";

/// The headers by which FlyteAdmin, or something before it, could learn of an identity, as they last arrived.
fn identities(proxy: &Proxy) -> Vec<(String, String)> {
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    let telling = |name: &str| {
        ["authorization", "cookie", "cert", "ssl", "spiffe"]
            .iter()
            .any(|part| name.contains(part))
    };
    let headers = arrival.headers.iter().filter(|(name, _)| telling(name));
    headers.cloned().collect()
}

async fn ask(client: &Client, headers: &[(&str, &str)]) -> Reply {
    client.rest(Method::GET, OWN, headers, "").await.unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_workload_is_known_by_its_spiffe_id_and_judged_by_the_policy() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    let client = mesh.client(Some(&mesh.propeller()));
    let is_propeller = |record: &Value| {
        assert_eq!(record["listener"], "mesh");
        let principal = &record["principal"];
        assert_eq!(principal["kind"], "certificate");
        assert_eq!(principal["issuer"], "listener:mesh");
        assert_eq!(principal["subject"], PROPELLER);
    };
    let before = mesh.before();
    let reply = client.call(None, LIST, list("ml")).await.unwrap();
    let record = mesh.forwarded(&before, &reply).await;
    is_propeller(&record);
    assert_eq!(record["rules"], serde_json::json!(["workloads"]));
    let before = mesh.before();
    let reply = client.get(None, OWN).await.unwrap();
    is_propeller(&mesh.forwarded(&before, &reply).await);
    let before = mesh.before();
    let reply = client.call(None, LIST, list("fraud")).await.unwrap();
    is_propeller(&mesh.refused(&before, &reply, Reason::NoMatchingRule).await);
    let before = mesh.before();
    let reply = client.get(None, FOREIGN).await.unwrap();
    is_propeller(&mesh.refused(&before, &reply, Reason::NoMatchingRule).await);
    // Another workload of the same authority.
    let other = mesh.client(Some(&mesh.uris(&["spiffe://cluster.local/ns/other/sa/flytepropeller"])));
    let before = mesh.before();
    let reply = other.call(None, LIST, list("ml")).await.unwrap();
    mesh.refused(&before, &reply, Reason::NoMatchingRule).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn no_header_tells_flyteadmin_of_a_certificate() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    let client = mesh.client(Some(&mesh.propeller()));
    let claimed = [
        (
            "x-forwarded-client-cert",
            "URI=spiffe://cluster.local/ns/flyte/sa/admin",
        ),
        ("x-ssl-client-cert", "claimed"),
        ("x-ssl-client-verify", "SUCCESS"),
        ("ssl-client-subject-dn", "CN=admin"),
        ("x-client-cert", "claimed"),
        ("client-cert", ":Y2xhaW1lZA==:"),
        ("client-cert-chain", ":Y2xhaW1lZA==:"),
        ("x-amzn-mtls-clientcert-subject", "CN=admin"),
    ];
    let before = mesh.before();
    let reply = ask(&client, &claimed).await;
    mesh.forwarded(&before, &reply).await;
    assert_eq!(identities(&mesh), []);
    let framed = envelope::frame(&client.encode(LIST, list("ml")).unwrap());
    let before = mesh.before();
    let path = format!("/flyteidl.service.{LIST}");
    let reply = client.grpc(&path, &claimed, framed).await.unwrap();
    mesh.forwarded(&before, &reply).await;
    assert_eq!(identities(&mesh), []);
    let before = mesh.before();
    let reply = client.rest(Method::GET, "/healthcheck", &claimed, "").await.unwrap();
    mesh.forwarded(&before, &reply).await;
    assert_eq!(identities(&mesh), []);
}

fn dns(names: &'static [&'static str]) -> impl Fn(&mut CertificateParams) {
    move |certificate| {
        let names = names.iter().map(|name| SanType::DnsName((*name).try_into().unwrap()));
        certificate.subject_alt_names.extend(names);
    }
}

fn uris(names: &'static [&'static str]) -> impl Fn(&mut CertificateParams) {
    move |certificate| with_uris(certificate, names)
}

fn common_names(names: &'static [&'static str]) -> impl Fn(&mut CertificateParams) {
    move |certificate| {
        // Once by name and once by number: the library keeps one of each kind.
        let kinds = [DnType::CommonName, DnType::CustomDnType(vec![2, 5, 4, 3])];
        for (kind, name) in kinds.into_iter().zip(names) {
            certificate.distinguished_name.push(kind, *name);
        }
    }
}

fn both(
    one: impl Fn(&mut CertificateParams),
    other: impl Fn(&mut CertificateParams),
) -> impl Fn(&mut CertificateParams) {
    move |certificate| {
        one(certificate);
        other(certificate);
    }
}

/// Alternative names as they are given.
fn alternatives(content: &'static [u8]) -> impl Fn(&mut CertificateParams) {
    move |certificate| {
        let extension = CustomExtension::from_oid_content(&[2, 5, 29, 17], content.to_vec());
        certificate.custom_extensions.push(extension);
    }
}

/// The subject that a certificate gives, which no rule knows.
async fn subject(mesh: &Mesh, change: impl Fn(&mut CertificateParams)) -> String {
    let client = mesh.client(Some(&mesh.identity(change)));
    let before = mesh.before();
    let reply = client.get(None, OWN).await.unwrap();
    let record = mesh.refused(&before, &reply, Reason::NoMatchingRule).await;
    record["principal"]["subject"].as_str().unwrap().to_owned()
}

/// Checks that a certificate gives none, by gRPC and REST, and that the caller is told why.
async fn nobody(mesh: &Mesh, change: impl Fn(&mut CertificateParams), why: &str) {
    let client = mesh.client(Some(&mesh.identity(change)));
    for rest in [false, true] {
        let before = mesh.before();
        let reply = if rest {
            client.get(None, OWN).await.unwrap()
        } else {
            client.call(None, LIST, list("ml")).await.unwrap()
        };
        assert!(reply.message().contains(why), "{}", reply.message());
        let record = mesh.refused(&before, &reply, Reason::CertificateRefused).await;
        assert!(record["principal"].is_null(), "{record:#}");
    }
    let reply = client.get(None, "/healthcheck").await.unwrap();
    assert_eq!(reply.status, 200);
    mesh.written(&reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_first_kind_of_name_that_a_certificate_has_is_its_subject() {
    let mesh = Mesh::start("", BY_ANY_NAME).await;
    let everything = || both(uris(&["spiffe://d/w"]), both(dns(&["a.svc"]), common_names(&["c"])));
    assert_eq!(subject(&mesh, everything()).await, "spiffe://d/w");
    assert_eq!(
        subject(&mesh, both(dns(&["A.svc"]), common_names(&["c"]))).await,
        "a.svc"
    );
    assert_eq!(
        subject(&mesh, common_names(&["Flyte Scheduler"])).await,
        "Flyte Scheduler"
    );
    // Another URI is no SPIFFE ID.
    assert_eq!(
        subject(&mesh, both(uris(&["https://d/w"]), dns(&["a.svc"]))).await,
        "a.svc"
    );
    for (change, why) in [
        (uris(&["spiffe://d/w", "spiffe://d/v"]), "more than one URI"),
        (uris(&["spiffe://d/w", "https://d/w"]), "more than one URI"),
        (uris(&["spiffe://d"]), "SPIFFE ID is not well-formed"),
    ] {
        nobody(&mesh, both(change, dns(&["a.svc"])), why).await;
    }
    nobody(
        &mesh,
        both(dns(&["a.svc", "b.svc"]), common_names(&["c"])),
        "more than one DNS name",
    )
    .await;
    nobody(&mesh, dns(&["*.svc"]), "DNS name is not well-formed").await;
    nobody(&mesh, common_names(&["a", "b"]), "more than one common name").await;
    for name in [&["a\u{202E}b"], &["a\u{0}b"], &[" a"]] {
        nobody(&mesh, common_names(name), "common name is not well-formed").await;
    }
    let other_encoding = |certificate: &mut CertificateParams| {
        let name = DnValue::BmpString(BmpString::try_from("abc").unwrap());
        certificate.distinguished_name.push(DnType::CommonName, name);
    };
    nobody(&mesh, other_encoding, "common name is not well-formed").await;
    // A URI that is no text, beside one that is a SPIFFE ID.
    let broken = alternatives(b"\x30\x11\x86\x0cspiffe://d/w\x86\x01\xff");
    nobody(&mesh, broken, "alternative names are not well-formed").await;
    nobody(&mesh, |_| {}, "has no SPIFFE ID and no DNS name and no common name").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn only_the_kinds_of_name_that_are_configured_count() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    nobody(
        &mesh,
        both(dns(&["a.svc"]), common_names(&[PROPELLER])),
        "has no SPIFFE ID;",
    )
    .await;
    let mesh = Mesh::start("", "identity: { client_certificate: { name: [common_name, dns] } }").await;
    let names = both(uris(&[PROPELLER]), both(dns(&["a.svc"]), common_names(&["c"])));
    assert_eq!(subject(&mesh, names).await, "c");
    nobody(&mesh, uris(&[PROPELLER]), "has no common name and no DNS name").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_credential_beside_a_certificate_is_refused_and_none_goes_on() {
    let keys = SessionKeys::generate().unwrap();
    let mesh = Mesh::start_with("", BY_CERTIFICATE, |setup| setup.session_keys = Some(keys.clone())).await;
    let client = mesh.client(Some(&mesh.propeller()));
    // Even one of the same name: who vouches for it is another.
    let same = format!("Bearer {}", mesh.token(PROPELLER, "flyte-engine"));
    let cookies = keys
        .cookies(&mesh.token("alice", "ml-team"), "opaque", SystemClock.unix_seconds())
        .unwrap();
    for header in [
        ("authorization", same.as_str()),
        ("authorization", "Bearer a.b.c"),
        ("authorization", ""),
        ("flyte-authorization", same.as_str()),
        ("cookie", cookies.as_str()),
    ] {
        let before = mesh.before();
        let reply = ask(&client, &[header]).await;
        assert!(reply.message().contains("known by its client certificate"));
        mesh.refused(&before, &reply, Reason::CredentialConflict).await;
    }
    let before = mesh.before();
    let reply = client.call(Some(&mesh.ml()), LIST, list("ml")).await.unwrap();
    mesh.refused(&before, &reply, Reason::CredentialConflict).await;
    // What counts as no credential does here, too.
    let before = mesh.before();
    let reply = ask(
        &client,
        &[("cookie", "flyte_idt=made-up"), ("proxy-authorization", &same)],
    )
    .await;
    mesh.forwarded(&before, &reply).await;
    assert_eq!(identities(&mesh), []);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_issuers_a_credential_beside_a_certificate_is_refused_too() {
    let mesh = Mesh::start_with("", BY_CERTIFICATE, |setup| {
        let edit = std::mem::replace(&mut setup.edit, Box::new(|text| text));
        setup.edit = Box::new(move |text| {
            let text = edit(text);
            let (before, rest) = text.split_once("issuers:").unwrap();
            let (_, after) = rest.split_once("policy:").unwrap();
            let fixed = "identity: { principal: { subject: x } }";
            format!("{}policy:{after}", before.replace("identity: tokens", fixed))
        });
    })
    .await;
    let client = mesh.client(Some(&mesh.propeller()));
    let before = mesh.before();
    let reply = client.call(Some("a.b.c"), LIST, list("ml")).await.unwrap();
    mesh.refused(&before, &reply, Reason::CredentialConflict).await;
    let before = mesh.before();
    let reply = client.call(None, LIST, list("ml")).await.unwrap();
    mesh.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_can_pass_on_the_credential_beside_a_certificate() {
    let rest = "identity: { client_certificate: { pass_credential: true, groups: [flyte-engine] } }";
    let mesh = Mesh::start("", rest).await;
    let client = mesh.client(Some(&mesh.uris(&["spiffe://d/w"])));
    let sent = [
        ("authorization", "Bearer the-engine's-own"),
        ("flyte-authorization", "Bearer x"),
        ("cookie", "flyte_idt=y"),
    ];
    let before = mesh.before();
    let reply = ask(&client, &sent).await;
    let record = mesh.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["subject"], "spiffe://d/w");
    assert_eq!(
        record["rules"],
        serde_json::json!(["engine"]),
        "it has the listener's groups"
    );
    let passed = ("authorization".to_owned(), "Bearer the-engine's-own".to_owned());
    assert_eq!(identities(&mesh), [passed]);
    let before = mesh.before();
    let reply = ask(&client, &[sent[0], sent[0]]).await;
    mesh.refused(&before, &reply, Reason::CredentialConflict).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn where_certificates_are_optional_tokens_identify_those_who_have_none() {
    let mesh = Mesh::start(", required: false", BY_CERTIFICATE).await;
    let certified = mesh.client(Some(&mesh.propeller()));
    let before = mesh.before();
    let reply = certified.call(None, LIST, list("ml")).await.unwrap();
    let record = mesh.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["kind"], "certificate");
    let before = mesh.before();
    let reply = certified.call(Some(&mesh.ml()), LIST, list("ml")).await.unwrap();
    mesh.refused(&before, &reply, Reason::CredentialConflict).await;
    let plain = mesh.client(None);
    let before = mesh.before();
    let reply = plain.call(Some(&mesh.ml()), LIST, list("ml")).await.unwrap();
    let record = mesh.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["kind"], "token");
    assert_eq!(record["principal"]["issuer"], mesh.issuer.url());
    let before = mesh.before();
    let reply = plain.call(None, LIST, list("ml")).await.unwrap();
    mesh.refused(&before, &reply, Reason::CredentialMissing).await;
    // A certificate that names nobody is not the same as none.
    nobody(&mesh, |_| {}, "has no SPIFFE ID").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_certificate_can_guard_a_listener_whose_callers_are_identified_by_tokens() {
    let mesh = Mesh::start("", "identity: tokens").await;
    // Of this certificate nothing matters but who signed it.
    let client = mesh.client(Some(&mesh.identity(|_| {})));
    let before = mesh.before();
    let reply = client.call(Some(&mesh.ml()), LIST, list("ml")).await.unwrap();
    let record = mesh.forwarded(&before, &reply).await;
    assert_eq!(record["principal"]["subject"], "alice");
    let before = mesh.before();
    let reply = client.call(None, LIST, list("ml")).await.unwrap();
    mesh.refused(&before, &reply, Reason::CredentialMissing).await;
    let before = mesh.before();
    assert!(
        mesh.client(None)
            .call(Some(&mesh.ml()), LIST, list("ml"))
            .await
            .is_err()
    );
    mesh.untouched(&before).await;
}

/// A certificate that expires at a second.
fn until(mesh: &Mesh, unix_seconds: u64) -> ClientIdentity {
    mesh.identity(|certificate| {
        with_uris(certificate, &[PROPELLER]);
        certificate.not_after = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(unix_seconds);
    })
}

/// A certificate that outlives what vouches for it, with another beside it that has expired long ago and vouches for nothing.
fn vouched_until(mesh: &Mesh, unix_seconds: u64) -> ClientIdentity {
    let authority = |name: &str, seconds| {
        let end = rcgen::date_time_ymd(1970, 1, 1) + Duration::from_secs(seconds);
        let made = mesh.authority.intermediate_with(name, |it| it.not_after = end);
        made.unwrap()
    };
    let (vouching, old) = (authority("intermediate", unix_seconds), authority("old", 1_600_000_000));
    let client = vouching.client(|certificate| with_uris(certificate, &[PROPELLER]));
    let client = client.unwrap();
    ClientIdentity {
        certificate: client.certificate + &vouching.certificate + &old.certificate,
        ..client
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_after_a_certificate_has_expired_are_refused_on_a_connection_of_before() {
    for (rest, chained) in [
        (BY_CERTIFICATE, false),
        (BY_CERTIFICATE, true),
        ("identity: tokens", false),
        ("identity: { principal: { subject: x } }", false),
    ] {
        let now = SystemClock.unix_seconds();
        let clock = ManualClock::at(now);
        let shown = clock.clone();
        let mesh = Mesh::start_with("", rest, |setup| setup.clock = Arc::new(shown)).await;
        let end = now + 1000;
        let identity = if chained {
            vouched_until(&mesh, end)
        } else {
            until(&mesh, end)
        };
        let client = mesh.client(Some(&identity));
        let token = (rest == "identity: tokens").then(|| mesh.ml());
        let call = async || client.call(token.as_deref(), LIST, list("ml")).await.unwrap();
        // Made now: a connection is ended early if little of its certificate's time is left.
        for time in [now, now + 1000] {
            clock.set(time);
            let reply = call().await;
            assert!(!reply.message().contains("certificate_expired"));
            mesh.written(&reply).await;
        }
        clock.set(now + 1001);
        let before = mesh.before();
        let reply = call().await;
        mesh.refused(&before, &reply, Reason::CertificateExpired).await;
        let public = envelope::frame(&[]);
        let path = "/flyteidl.service.AuthMetadataService/GetOAuth2Metadata";
        let reply = client.grpc(path, &[], public).await.unwrap();
        assert_eq!(reply.grpc_status(), Some(0), "public calls stay open");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_is_ended_before_its_certificate_so_that_clients_come_back_with_the_next() {
    let mesh = Mesh::start("", BY_CERTIFICATE).await;
    let short = until(&mesh, SystemClock.unix_seconds() + 4);
    let mut config = mesh.tls(Some(&short));
    config.alpn_protocols = vec![b"h2".to_vec()];
    let start = Instant::now();
    let mut requests = h2(mesh.connect(&Arc::new(config)).await.unwrap()).await;
    let message = mesh.proxy.client.encode(LIST, list("ml")).unwrap();
    let mut request = rpc("", LIST, &message);
    request.headers_mut().remove("authorization");
    assert_eq!(status(requests.send_request(request).await.unwrap()).await, Some(0));
    eventually("the connection is ended", || requests.is_closed()).await;
    assert!(start.elapsed() > Duration::from_secs(2), "{:?}", start.elapsed());
    assert!(start.elapsed() < Duration::from_secs(6), "{:?}", start.elapsed());
    let refused = mesh.metric("refusals_total");
    assert!(refused < 0.5, "no request was refused");
}
