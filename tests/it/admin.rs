//! The admin listener: what it shows, and that it shows nothing else.

use crate::proxy::Proxy;
use crate::sockets::{admin, exchange};
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
            format!("{method} /status HTTP/1.1\r\nhost: admin\r\nconnection: close\r\ncontent-length: 0\r\n\r\n");
        let answer = exchange(stream, sent).await;
        assert!(
            answer.starts_with("HTTP/1.1 405") && answer.contains("allow: GET, HEAD"),
            "{answer}"
        );
    }
    let stream = TcpStream::connect(proxy.app.admin).await.unwrap();
    let answer = exchange(
        stream,
        "HEAD /status HTTP/1.1\r\nhost: admin\r\nconnection: close\r\n\r\n",
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
            let (protocol, reason) = (protocol.label(), reason.label());
            let series = format!("\nflyte_authz_refusals_total{{protocol=\"{protocol}\",reason=\"{reason}\"}} 0\n");
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
