//! How many connections one address may have: whoever opens as many as it can leaves room for others.

use crate::ingress::{connect_from, get, listener, with_listeners};
use crate::proxy::Proxy;
use crate::sockets::{eventually, until_closed};
use flyte_authz_proxy::demo::stack::Entry;
use std::net::SocketAddr;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;

const PROXY_PROTOCOL: &str = "proxy_protocol: true\ntrusted_hops: [127.0.0.1/32]";

/// Three for an address, on a listener without hops, one that has one, and one behind the PROXY protocol.
async fn start() -> (Proxy, [SocketAddr; 3]) {
    let proxy = Proxy::start_with(|setup| {
        let hop = listener("behind", "trusted_hops: [127.0.0.1/32]");
        with_listeners(setup, &(hop + &listener("balanced", PROXY_PROTOCOL)));
        setup.configuration = "workers: 2\nlimits: {connections: 100, connections_per_address: 3}\n".into();
    })
    .await;
    let addresses = [
        proxy.address(Entry::Plain).unwrap(),
        proxy.app.addresses[3],
        proxy.app.addresses[4],
    ];
    (proxy, addresses)
}

/// Makes a request behind `header`; tells whether it is answered, and the connection then stays open.
async fn served(stream: &mut TcpStream, header: &[u8], request: &str) -> bool {
    stream.write_all(header).await.unwrap();
    // A connection that is closed meanwhile is found out by what is read.
    _ = stream.write_all(request.as_bytes()).await;
    let mut answer = [0; 8];
    stream.read_exact(&mut answer).await.is_ok() && &answer == b"HTTP/1.1"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_with_all_its_connections_gets_no_more_and_others_are_served() {
    let (proxy, [plain, ..]) = start().await;
    let request = format!("{}\r\n", get(&proxy.ml(), ""));
    let full = "handshake_failures_total{cause=\"address_full\"";
    let mut open = Vec::new();
    for address in [plain, plain, plain] {
        let mut stream = connect_from(2, address).await;
        assert!(served(&mut stream, b"", &request).await);
        open.push(stream);
    }
    proxy.records_after(0, 3).await;
    for address in [plain, proxy.address(Entry::Tls).unwrap()] {
        let mut stream = connect_from(2, address).await;
        assert_eq!(until_closed(&mut stream).await, b"", "closed without a word");
    }
    eventually("both are counted", || proxy.metric(full) > 1.5).await;
    eventually("they are closed", || proxy.metric("connections_open") < 3.5).await;
    assert_eq!(proxy.record_count(), 3);
    assert!(served(&mut connect_from(1, plain).await, b"", &request).await);
    // Nor are those kept out that need no credential.
    let engine = proxy.address(Entry::Engine).unwrap();
    assert!(served(&mut connect_from(2, engine).await, b"", &request).await);
    // One that ends makes room.
    drop(open.pop());
    eventually("one has ended", || proxy.metric("connections_open") < 2.5).await;
    assert!(served(&mut connect_from(2, plain).await, b"", &request).await);
    assert!((proxy.metric(full) - 2.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_tenth_of_all_connections_is_kept_for_callers_that_need_no_credential() {
    let proxy = Proxy::start_with(|setup| {
        setup.configuration = "workers: 1\nlimits: {connections: 10, connections_per_address: 9}\n".into();
    })
    .await;
    let request = format!("{}\r\n", get(&proxy.ml(), ""));
    let (plain, engine) = (
        proxy.address(Entry::Plain).unwrap(),
        proxy.address(Entry::Engine).unwrap(),
    );
    let mut open = Vec::new();
    for _ in 0..9 {
        let mut stream = connect_from(2, plain).await;
        assert!(served(&mut stream, b"", &request).await);
        open.push(stream);
    }
    let mut waiting = connect_from(2, plain).await;
    waiting.write_all(request.as_bytes()).await.unwrap();
    let answer = tokio::time::timeout(Duration::from_millis(200), waiting.read(&mut [0; 8])).await;
    assert!(answer.is_err(), "it was served beyond its share");
    assert!(served(&mut connect_from(1, engine).await, b"", &request).await);
    // From the address that has filled its own share of the others, too.
    assert!(served(&mut connect_from(2, engine).await, b"", &request).await);
    drop(open.pop());
    assert!(
        waiting.read(&mut [0; 8]).await.unwrap() > 0,
        "it is served once there is room"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn connections_of_trusted_hops_count_for_the_clients_that_they_tell_of() {
    let (proxy, [_, behind, balanced]) = start().await;
    let request = format!("{}\r\n", get(&proxy.ml(), ""));
    let mut open = Vec::new();
    for _ in 0..4 {
        let mut stream = connect_from(1, behind).await;
        assert!(served(&mut stream, b"", &request).await, "a hop makes those of many");
        open.push(stream);
    }
    let one = b"PROXY TCP4 192.0.2.7 203.0.113.1 56789 443\r\n";
    let other = b"PROXY TCP4 192.0.2.8 203.0.113.1 56789 443\r\n";
    for (header, expected) in [(one, true), (one, true), (one, true), (one, false), (other, true)] {
        let mut stream = connect_from(1, balanced).await;
        assert_eq!(served(&mut stream, header, &request).await, expected);
        open.push(stream);
    }
    let full = "handshake_failures_total{cause=\"address_full\",listener=\"balanced\"}";
    eventually("it is counted", || proxy.metric(full) > 0.5).await;
}
