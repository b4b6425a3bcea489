//! The admin listener: what it shows, and that it shows nothing else.

use crate::proxy::Proxy;
use crate::sockets::{admin, exchange};
use crate::upstream::{grpc, rest};
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::demo::certificates::ClientIdentity;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::stack::replace;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::Protocol;
use serde_json::{Value, json};
use std::collections::BTreeSet;
use tokio::net::TcpStream;

fn document(answer: &str) -> Value {
    let (head, body) = answer.split_once("\r\n\r\n").unwrap();
    assert!(
        head.contains("content-type: application/json") && head.contains("cache-control: no-store"),
        "{head}"
    );
    serde_json::from_str(body).unwrap()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn health_readiness_and_status_say_what_is_in_force() {
    let proxy = Proxy::start().await;
    let get = |path| admin(proxy.app.admin, path);
    let health = get("/healthz").await;
    assert!(
        health.starts_with("HTTP/1.1 200") && health.ends_with("\r\n\r\nok\n"),
        "{health}"
    );
    let ready = document(&get("/readyz").await);
    assert_eq!((&ready["ready"], &ready["draining"]), (&json!(true), &json!(false)));
    assert_eq!(ready["enforcement"], "enforce");
    let status = document(&get("/status").await);
    let snapshot = proxy.app.live.load();
    assert_eq!(status["version"], env!("CARGO_PKG_VERSION"));
    assert_eq!(
        status["policy"],
        json!({"version": snapshot.policy.version(), "generation": 1, "rules": 4})
    );
    assert_eq!(
        (&status["enforcement"], &status["candidate"]),
        (&json!("enforce"), &Value::Null)
    );
    assert_eq!(status["catalog"]["generation"], "flyte1");
    assert_eq!(status["catalog"]["rpcs"], snapshot.catalog.routes.len());
    for issuers in [&status["issuers"], &ready["issuers"]] {
        assert_eq!(issuers[0]["issuer"], proxy.issuer.url());
        assert_eq!((&issuers[0]["keys"], &issuers[0]["stale"]), (&json!(3), &json!(false)));
        assert_eq!(
            (&issuers[0]["last_error"], &issuers[0]["problems"]),
            (&Value::Null, &json!([]))
        );
        assert!(issuers[0]["last_success"].as_u64().unwrap() > 1_700_000_000);
    }
    // The rules change: so does all that tells of them.
    let policy = std::fs::read_to_string(&proxy.policy).unwrap();
    proxy
        .write_policy(policy.split("  - name: engine").next().unwrap())
        .unwrap();
    crate::sockets::eventually("the policy is replaced", || proxy.app.live.load().generation == 2).await;
    let next = document(&get("/status").await);
    assert_eq!(
        (&next["policy"]["generation"], &next["policy"]["rules"]),
        (&json!(2), &json!(3))
    );
    assert_ne!(next["policy"]["version"], status["policy"]["version"]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn everything_else_is_refused_and_nothing_reaches_the_control_plane() {
    let proxy = Proxy::start().await;
    for path in [
        "/",
        "/metrics/",
        "/debug",
        "/api/v1/executions/ml/development",
        "/login",
        "/healthz/../status",
    ] {
        assert!(admin(proxy.app.admin, path).await.starts_with("HTTP/1.1 404"), "{path}");
    }
    for method in ["POST", "DELETE", "PUT", "OPTIONS"] {
        let stream = TcpStream::connect(proxy.app.admin).await.unwrap();
        let sent =
            format!("{method} /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let answer = exchange(stream, sent).await;
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD"),
            "{answer}"
        );
    }
    let stream = TcpStream::connect(proxy.app.admin).await.unwrap();
    let answer = exchange(
        stream,
        "HEAD /status HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\n\r\n",
    )
    .await;
    assert!(
        answer.starts_with("HTTP/1.1 200") && answer.ends_with("\r\n\r\n"),
        "{answer}"
    );
    assert_eq!((proxy.control_plane.count(), proxy.records().len()), (0, 0));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn every_refusals_series_is_there_from_the_start_and_labels_come_from_closed_sets() {
    let proxy = Proxy::start().await;
    let metrics = admin(proxy.app.admin, "/metrics").await;
    assert!(metrics.contains("content-type: text/plain; version=0.0.4"), "{metrics}");
    for protocol in Protocol::ALL {
        for reason in Reason::ALL {
            let fault = format!("{:?}", reason.blame()).to_lowercase();
            let (protocol, reason) = (protocol.label(), reason.label());
            let series = format!(
                "\nflyte_authz_refusals_total{{fault=\"{fault}\",protocol=\"{protocol}\",reason=\"{reason}\"}} 0\n"
            );
            assert!(metrics.contains(&series), "{series}");
        }
    }
    for what in ["policy", "certificate", "key_set"] {
        assert!(
            metrics.contains(&format!("\nflyte_authz_reload_success{{what=\"{what}\"}} 1\n")),
            "{what}"
        );
        for result in ["replaced", "failed", "restored"] {
            let series = format!("\nflyte_authz_reloads_total{{result=\"{result}\",what=\"{what}\"}} 0\n");
            assert!(metrics.contains(&series), "{series}");
        }
    }
    for line in [
        "policy_generation 1",
        "policy_rules 4",
        "audit_records_total 0",
        "audit_failures_total 0",
        "audit_queue_records 0",
        "audit_queue_capacity 8192",
        "audit_queue_full_total 0",
        "build_info{version=\"0.1.0\"} 1",
        "ready 1",
    ] {
        assert!(metrics.contains(&format!("\nflyte_authz_{line}\n")), "{line}");
    }
    // Whatever a caller writes into paths, methods and headers makes no new series.
    let series = |text: &str| -> BTreeSet<String> {
        let lines = text.lines().filter(|line| line.starts_with("flyte_authz_"));
        lines.map(|line| line.rsplit_once(' ').unwrap().0.to_owned()).collect()
    };
    let attack = async |number: usize| {
        for path in [format!("/evil-{number}"), format!("/api/v1/projects/evil-{number}/x")] {
            proxy.client.get(None, &path).await.unwrap();
        }
        let path = format!("/flyteidl.service.AdminService/Evil{number}");
        proxy.client.grpc(&path, &[], bytes::Bytes::new()).await.unwrap();
        let method = http::Method::from_bytes(format!("EVIL{number}").as_bytes()).unwrap();
        proxy.client.rest(method, "/", &[], "").await.unwrap();
    };
    attack(0).await;
    proxy.records_after(0, 4).await;
    let before = series(&admin(proxy.app.admin, "/metrics").await);
    attack(1).await;
    proxy.records_after(0, 8).await;
    assert_eq!(series(&admin(proxy.app.admin, "/metrics").await), before);
    assert!(!before.iter().any(|name| name.to_lowercase().contains("evil")));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_expires_is_shown_and_anew_when_it_is_replaced() {
    let proxy = Proxy::start().await;
    let now = SystemClock.now();
    let issuer = format!("{{issuer=\"{}\"}}", proxy.issuer.url());
    assert!((proxy.metric(&format!("key_set_refresh_success{issuer}")) - 1.0).abs() < f64::EPSILON);
    let left = proxy.metric(&format!("key_set_expiry_timestamp_seconds{issuer}")) - now.as_secs_f64();
    assert!((left - 86400.0).abs() < 60.0, "{left}");
    let expiry = || proxy.metric("certificate_expiry_timestamp_seconds{");
    // What the library takes for the end of time.
    let end = (rcgen::date_time_ymd(4096, 1, 1) - rcgen::date_time_ymd(1970, 1, 1)).as_seconds_f64();
    assert!((expiry() - end).abs() < f64::EPSILON, "{}", expiry());
    let identity = ClientIdentity::self_signed(|certificate| {
        certificate.not_after = rcgen::date_time_ymd(2100, 1, 1);
    });
    let ClientIdentity { certificate, key } = identity.unwrap();
    replace(&proxy.directory().join("tls.crt"), &certificate).unwrap();
    replace(&proxy.directory().join("tls.key"), &key).unwrap();
    let then = (rcgen::date_time_ymd(2100, 1, 1) - rcgen::date_time_ymd(1970, 1, 1)).as_seconds_f64();
    crate::sockets::eventually("the certificate is replaced", || (expiry() - then).abs() < f64::EPSILON).await;
    let text = String::from_utf8(proxy.app.metrics.render().unwrap()).unwrap();
    assert!(
        !text.contains("certificate_expiry_timestamp_seconds{listener=\"plain\"}"),
        "it has no certificate"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn answers_of_the_control_plane_are_counted_by_what_they_say() {
    let proxy = Proxy::start().await;
    let counted = |class: &str| proxy.metric(&format!("upstream_answers_total{{class=\"{class}\""));
    let status = |code| Fault::Status {
        code,
        message: "no".to_owned(),
        details: None,
    };
    for (fault, class) in [
        (None, "ok"),
        (Some(status(5)), "client_error"),
        (Some(status(13)), "server_error"),
    ] {
        proxy.control_plane.clear_scripts();
        proxy.control_plane.script(Script::on(
            "ListExecutions",
            fault.unwrap_or(Fault::Delay { milliseconds: 0 }),
        ));
        for reply in [grpc(&proxy).await, rest(&proxy).await] {
            reply.unwrap();
        }
        assert!((counted(class) - 2.0).abs() < f64::EPSILON, "{class}");
    }
    // What is refused was not asked.
    proxy.client.get(None, "/api/v1/projects").await.unwrap();
    let all: f64 = ["ok", "client_error", "server_error"].map(counted).iter().sum();
    assert!((all - 6.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_page_that_reaches_the_admin_listener_by_a_name_of_its_own_is_told_nothing() {
    let proxy = Proxy::start_with(|setup| {
        setup.edit = Box::new(|text| {
            text.replace(
                "admin: { address: 127.0.0.1:0 }",
                "admin: { address: 127.0.0.1:0, hosts: [Proxy.flyte.svc] }",
            )
        });
    })
    .await;
    let ask = async |path: &str, host: &str| {
        let stream = TcpStream::connect(proxy.app.admin).await.unwrap();
        exchange(
            stream,
            format!("GET {path} HTTP/1.1\r\n{host}connection: close\r\n\r\n"),
        )
        .await
    };
    for path in ["/healthz", "/readyz", "/status", "/metrics", "/whoami"] {
        for host in [
            "host: evil.example.com\r\n",
            "host: evil.example.com:9090\r\n",
            "host: 127.0.0.1.evil.example.com\r\n",
            "host: localhost.\r\n",
            "host: \r\n",
            "host: 127.0.0.1\r\nhost: evil.example.com\r\n",
            "host: evil.example.com\r\nhost: 127.0.0.1\r\n",
            "host: localhost@evil.example.com\r\n",
            "host: svc\r\n",
        ] {
            let answer = ask(path, host).await;
            let refused = answer.starts_with("HTTP/1.1 421") || answer.starts_with("HTTP/1.1 400");
            let is_probe = path.ends_with('z') && answer.starts_with("HTTP/1.1 200");
            assert!(refused || is_probe, "{path} {host}: {answer}");
            assert!(!answer.contains("idp.") && !answer.contains('{'), "{answer}");
            assert!(
                !answer.contains("flyte_authz_") && !answer.contains("\"policy\""),
                "{answer}"
            );
        }
    }
    for host in [
        "",
        "host: 127.0.0.1\r\n",
        "host: 10.1.2.3:9090\r\n",
        "host: [::1]:9090\r\n",
        "host: LOCALHOST:9090\r\n",
        "host: proxy.flyte.SVC:9090\r\n",
    ] {
        let answer = ask("/readyz", host).await;
        assert!(answer.starts_with("HTTP/1.1 200"), "{host}: {answer}");
    }
}
