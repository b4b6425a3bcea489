//! `healthcheck`: it tells what the admin listener tells, and never hangs.

use crate::cli::{Ran, run, text};
use crate::proxy::Proxy;
use flyte_authz_proxy::demo::issuer::Fault;
use std::io::{Read, Write};
use std::net::{SocketAddr, TcpListener};
use std::time::{Duration, Instant};
use tempfile::TempDir;

/// Runs it with a configuration whose admin listener is there.
fn healthcheck(admin: SocketAddr, more: &[&str]) -> Ran {
    let directory = TempDir::new().unwrap();
    let path = directory.path().join("config.yaml");
    let config = format!(
        "version: 1
listeners: [{{name: public, address: \"127.0.0.1:2\"}}]
admin: {{address: \"{admin}\"}}
upstream: {{grpc: \"http://127.0.0.1:8089\", http: \"http://127.0.0.1:8088\"}}
issuers: [{{issuer: \"https://idp.example.com\", audiences: [flyte]}}]
policy: {{path: policy.yaml}}
"
    );
    std::fs::write(&path, config).unwrap();
    run(&[&["healthcheck", "--config", text(&path)], more].concat())
}

async fn blocking(admin: SocketAddr, more: &'static [&'static str]) -> Ran {
    tokio::task::spawn_blocking(move || healthcheck(admin, more))
        .await
        .unwrap()
}

/// A listener that answers one connection with these bytes and then keeps it open.
fn answering(answer: &'static [u8]) -> SocketAddr {
    let listener = TcpListener::bind("127.0.0.1:0").unwrap();
    let address = listener.local_addr().unwrap();
    std::thread::spawn(move || {
        let (mut stream, _) = listener.accept().unwrap();
        _ = stream.read(&mut [0; 1024]);
        _ = stream.write_all(answer);
        _ = stream.shutdown(std::net::Shutdown::Write);
        if answer.is_empty() {
            std::thread::sleep(Duration::from_secs(20));
        }
    });
    address
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_running_proxy_is_healthy_and_ready_and_one_without_keys_is_healthy_only() {
    let proxy = Proxy::start().await;
    assert_eq!(blocking(proxy.app.admin, &[]).await.exited(0).stdout, "ok\n");
    let ready = blocking(proxy.app.admin, &["--ready"]).await.exited(0).json();
    assert_eq!(ready["ready"], true);
    // The issuer of this one does not exist.
    let proxy = Proxy::start_with(|setup| setup.issuer_fault = Fault::Down).await;
    assert_eq!(blocking(proxy.app.admin, &[]).await.exited(0).stdout, "ok\n");
    let unready = blocking(proxy.app.admin, &["--ready"]).await.exited(1).stderr;
    assert!(unready.contains("/readyz answers 503 "), "{unready}");
    assert!(unready.contains("\"ready\": false"), "{unready}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_admin_listener_on_every_address_is_asked_on_loopback() {
    let proxy = Proxy::start().await;
    let everywhere = SocketAddr::from(([0, 0, 0, 0], proxy.app.admin.port()));
    assert_eq!(blocking(everywhere, &[]).await.exited(0).stdout, "ok\n");
    let nobody = SocketAddr::from((std::net::Ipv6Addr::UNSPECIFIED, 1));
    let refused = blocking(nobody, &[]).await.exited(1).stderr;
    assert!(refused.starts_with("http://[::1]:1/healthz: "), "{refused}");
}

#[test]
fn whoever_is_not_there_not_http_or_silent_is_not_healthy() {
    let free = TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap();
    let refused = healthcheck(free, &[]).exited(1).stderr;
    assert!(refused.contains("Connection refused"), "{refused}");
    let other = healthcheck(answering(b"220 mail.example.com\r\n"), &[])
        .exited(1)
        .stderr;
    assert!(other.contains("is this the admin listener?"), "{other}");
    let failing = healthcheck(answering(b"HTTP/1.1 500 Internal Server Error\r\n\r\nbroken\n"), &[]);
    let failing = failing.exited(1).stderr;
    assert!(
        failing.ends_with("answers 500 Internal Server Error\nbroken\n"),
        "{failing}"
    );
    let begun = Instant::now();
    healthcheck(answering(b""), &["--timeout", "300ms"]).exited(1);
    assert!(begun.elapsed() < Duration::from_secs(10));
}

#[test]
fn a_configuration_or_a_timeout_that_cannot_be_read_is_told() {
    let missing = run(&["healthcheck", "--config", "/nonexistent/config.yaml"])
        .exited(3)
        .stderr;
    assert!(missing.contains("/nonexistent/config.yaml"), "{missing}");
    let admin = SocketAddr::from(([127, 0, 0, 1], 1));
    let timeout = healthcheck(admin, &["--timeout", "soon"]).exited(64).stderr;
    assert!(timeout.contains("`soon` is no duration"), "{timeout}");
}
