//! Listeners that demand the header of the PROXY protocol: whose connection it is, and what is turned away unread.

use crate::ingress::{ask_from, connect_from, get, listener, start, told, with_listeners};
use crate::proxy::Proxy;
use crate::raw::Http1;
use crate::sockets::{eventually, soon, until_closed};
use flyte_authz_proxy::demo::client;
use flyte_authz_proxy::demo::client::Reply;
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use rustls::pki_types::ServerName;
use std::net::SocketAddr;
use std::sync::Arc;
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio_rustls::TlsConnector;

const KEYS: &str = "proxy_protocol: true\ntrusted_hops: [127.0.0.1/32, 10.0.0.0/8]";

const SIGNATURE: &[u8] = b"\r\n\r\n\0\r\nQUIT\n";

/// A header of version 2.
fn version_2(command: u8, family: u8, rest: &[u8]) -> Vec<u8> {
    let length = u16::try_from(rest.len()).unwrap().to_be_bytes();
    [SIGNATURE, &[command, family], &length, rest].concat()
}

/// The addresses of a connection from one to 203.0.113.1.
fn from(client: [u8; 4]) -> Vec<u8> {
    [&client[..], &[203, 0, 113, 1], &[0xdd, 0xd5, 0x01, 0xbb]].concat()
}

fn address(proxy: &Proxy) -> SocketAddr {
    proxy.app.addresses[3]
}

/// What a request is answered behind a header.
async fn ask_behind(proxy: &Proxy, header: &[u8], more: &str) -> Reply {
    let mut stream = connect_from(1, address(proxy)).await;
    stream.write_all(header).await.unwrap();
    let mut connection = Http1::over(stream);
    connection.send(format!("{}\r\n", get(&proxy.ml(), more))).await;
    connection.reply().await.unwrap()
}

async fn failures(proxy: &Proxy, cause: &str, count: f64) {
    let series = format!("handshake_failures_total{{cause=\"{cause}\",listener=\"balanced\"}}");
    eventually(&series, || proxy.metric(&series) >= count).await;
    assert!(
        (proxy.metric("handshake_failures_total") - count).abs() < f64::EPSILON,
        "{cause}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_client_is_whom_the_header_names_in_either_version() {
    let proxy = start(&listener("balanced", KEYS)).await;
    let six = "2001:db8::7".parse::<std::net::Ipv6Addr>().unwrap().octets();
    let six = [&six[..], &six, &[0, 1, 0, 2]].concat();
    // An AWS Network Load Balancer tells the endpoint of a VPC besides.
    let amazon = [
        &from([192, 0, 2, 7])[..],
        &[0xea, 0, 5, 1, b'v', b'p', b'c', b'e'],
        &[0x04, 0, 2, 0, 0],
    ]
    .concat();
    for (header, expected) in [
        (b"PROXY TCP4 192.0.2.7 203.0.113.1 56789 443\r\n".to_vec(), "192.0.2.7"),
        (
            b"PROXY TCP6 2001:db8::7 2001:db8::1 56789 443\r\n".to_vec(),
            "2001:db8::7",
        ),
        (version_2(0x21, 0x11, &from([192, 0, 2, 7])), "192.0.2.7"),
        (version_2(0x21, 0x21, &six), "2001:db8::7"),
        (version_2(0x21, 0x11, &amazon), "192.0.2.7"),
        // Nothing told: the hop itself.
        (b"PROXY UNKNOWN\r\n".to_vec(), "127.0.0.1"),
        (version_2(0x20, 0x00, &[]), "127.0.0.1"),
        (version_2(0x20, 0x11, &from([192, 0, 2, 7])), "127.0.0.1"),
        (version_2(0x21, 0x00, &[]), "127.0.0.1"),
    ] {
        let before = proxy.before();
        // A client may write what it likes behind the header: it is no hop.
        let made_up = "x-forwarded-for: 203.0.113.66\r\nx-forwarded-proto: https\r\nx-forwarded-host: evil.example\r\n";
        let reply = ask_behind(&proxy, &header, made_up).await;
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(
            (&record["client"], &record["listener"]),
            (&expected.into(), &"balanced".into()),
            "{header:?}"
        );
        assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"));
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(told(&arrival), [expected, "http", "inside.example:8088"], "{header:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_hop_behind_the_balancer_is_believed_if_it_is_trusted() {
    let proxy = start(&listener("balanced", KEYS)).await;
    let before = proxy.before();
    let lines = "x-forwarded-for: 203.0.113.66, 192.0.2.7\r\nx-forwarded-proto: https\r\nx-forwarded-host: flyte.example.com\r\n";
    let reply = ask_behind(&proxy, &version_2(0x21, 0x11, &from([10, 2, 2, 2])), lines).await;
    assert_eq!(proxy.forwarded(&before, &reply).await["client"], "192.0.2.7");
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    assert_eq!(told(&arrival), ["192.0.2.7", "https", "flyte.example.com"]);
    let before = proxy.before();
    let reply = ask_behind(
        &proxy,
        &version_2(0x21, 0x11, &from([10, 2, 2, 2])),
        "x-forwarded-for: junk\r\n",
    )
    .await;
    proxy.refused(&before, &reply, Reason::ForwardedInvalid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn the_header_comes_before_tls() {
    let keys = format!("tls: {{ certificate: tls.crt, key: tls.key }}\n{KEYS}");
    let proxy = start(&listener("balanced", &keys)).await;
    let authority = std::fs::read_to_string(&proxy.authority).unwrap();
    let config = Arc::new(client::tls(Some(&authority), None).unwrap());
    let connect = async |stream: TcpStream| {
        let name = ServerName::try_from("localhost").unwrap();
        TlsConnector::from(Arc::clone(&config)).connect(name, stream).await
    };
    let mut stream = connect_from(1, address(&proxy)).await;
    stream
        .write_all(b"PROXY TCP4 192.0.2.7 203.0.113.1 56789 443\r\n")
        .await
        .unwrap();
    let mut stream = connect(stream).await.unwrap();
    let head = get(&proxy.ml(), "connection: close\r\n");
    stream.write_all(format!("{head}\r\n").as_bytes()).await.unwrap();
    let answer = String::from_utf8(until_closed(&mut stream).await).unwrap();
    assert!(answer.starts_with("HTTP/1.1 200"), "{answer}");
    let record = proxy.records_after(0, 1).await.remove(0);
    assert_eq!(
        (&record["client"], &record["outcome"]),
        (&"192.0.2.7".into(), &"forwarded".into())
    );
    // Without the header, or with it inside, there is no handshake.
    assert!(connect(connect_from(1, address(&proxy)).await).await.is_err());
    failures(&proxy, "proxy_header", 1.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn nobody_but_a_trusted_hop_may_connect() {
    let proxy = start(&listener("balanced", KEYS)).await;
    let before = proxy.before();
    for header in [
        &b"PROXY TCP4 127.0.0.1 203.0.113.1 56789 443\r\n"[..],
        b"",
        &version_2(0x20, 0, &[]),
    ] {
        let mut stream = connect_from(2, address(&proxy)).await;
        let sent = [header, get(&proxy.ml(), "").as_bytes(), b"\r\n"].concat();
        // It may be closed before all is sent.
        _ = stream.write_all(&sent).await;
        assert_eq!(until_closed(&mut stream).await, b"");
    }
    proxy.untouched(&before).await;
    failures(&proxy, "untrusted_hop", 3.0).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn bytes_that_are_no_header_end_the_connection_unanswered() {
    let proxy = start(&listener("balanced", KEYS)).await;
    let good = version_2(0x21, 0x11, &from([192, 0, 2, 7]));
    let mut wrong_checksum = from([192, 0, 2, 7]);
    wrong_checksum.extend([3, 0, 4, 1, 2, 3, 4]);
    let request = get(&proxy.ml(), "");
    let attacks: Vec<Vec<u8>> = vec![
        // No header at all, in every protocol.
        request.as_bytes().to_vec(),
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n\0\0\0\x04\0\0\0\0\0".to_vec(),
        b"\x16\x03\x01\x02\0\x01\0\x01\xfc\x03\x03".to_vec(),
        // Version 1: other ends, fields, families, addresses; too long.
        b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 203.0.113.1 1 2 3\r\n".to_vec(),
        b"PROXY TCP4 192.0.2.7 203.0.113.1 1\r\n".to_vec(),
        b"PROXY TCP4 2001:db8::7 2001:db8::1 1 2\r\n".to_vec(),
        b"PROXY TCP4 999.0.2.7 203.0.113.1 1 2\r\n".to_vec(),
        b"PROXY UDP4 192.0.2.7 203.0.113.1 1 2\r\n".to_vec(),
        [&b"PROXY UNKNOWN "[..], &[b'x'; 200], b"\r\n"].concat(),
        b"PROXY UNKNOWN\rGET / HTTP/1.1\r\n".to_vec(),
        // Version 2: another version, command, family; too short, too long, wrong checksum.
        version_2(0x11, 0x11, &from([192, 0, 2, 7])),
        version_2(0x22, 0x11, &from([192, 0, 2, 7])),
        version_2(0x21, 0x12, &from([192, 0, 2, 7])),
        version_2(0x21, 0x31, &[b'/'; 216]),
        version_2(0x21, 0x32, &[b'/'; 216]),
        version_2(0x21, 0x11, &from([192, 0, 2, 7])[..11]),
        version_2(0x21, 0x21, &from([192, 0, 2, 7])),
        version_2(0x21, 0x11, &wrong_checksum),
        version_2(0x21, 0x11, &[&from([192, 0, 2, 7])[..], &[4, 0, 9, 1]].concat()),
        version_2(0x20, 0x00, &vec![0; 4097]),
        [SIGNATURE, &[0x21, 0x11, 0xff, 0xff]].concat(),
        [&good[..11], b"\r", &good[12..]].concat(),
    ];
    let before = proxy.before();
    let count = attacks.len();
    for attack in attacks {
        let mut stream = connect_from(1, address(&proxy)).await;
        _ = stream.write_all(&[&attack, request.as_bytes(), b"\r\n"].concat()).await;
        assert_eq!(until_closed(&mut stream).await, b"", "{}", attack.escape_ascii());
    }
    proxy.untouched(&before).await;
    failures(&proxy, "proxy_header", f64::from(u32::try_from(count).unwrap())).await;
    // A second header is the client's, and no HTTP.
    let mut stream = connect_from(1, address(&proxy)).await;
    let second = b"PROXY TCP4 127.0.0.1 203.0.113.1 1 2\r\n";
    stream
        .write_all(&[&good[..], second, request.as_bytes(), b"\r\n"].concat())
        .await
        .unwrap();
    let answer = until_closed(&mut stream).await;
    assert!(answer.starts_with(b"HTTP/1.1 400"), "{}", answer.escape_ascii());
    assert_eq!(proxy.record_count(), 1, "only the health check from above");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_is_sent_byte_by_byte_is_read_and_the_request_behind_it_too() {
    let proxy = start(&listener("balanced", KEYS)).await;
    let line = b"PROXY TCP4 192.0.2.7 203.0.113.1 56789 443\r\n".to_vec();
    for header in [line, version_2(0x21, 0x11, &from([192, 0, 2, 7]))] {
        let mut stream = connect_from(1, address(&proxy)).await;
        stream.set_nodelay(true).unwrap();
        for byte in &header {
            stream.write_all(&[*byte]).await.unwrap();
            tokio::time::sleep(Duration::from_millis(2)).await;
        }
        let before = proxy.before();
        let mut connection = Http1::over(stream);
        connection.send(format!("{}\r\n", get(&proxy.ml(), ""))).await;
        let reply = connection.reply().await.unwrap();
        assert_eq!(proxy.forwarded(&before, &reply).await["client"], "192.0.2.7");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_does_not_come_is_waited_for_until_its_deadline() {
    let proxy = Proxy::start_with(|setup| {
        with_listeners(setup, &listener("balanced", KEYS));
        setup.configuration = "workers: 1\nlimits: {preface: 300ms}\n".into();
    })
    .await;
    let good = version_2(0x21, 0x11, &from([192, 0, 2, 7]));
    for part in [
        &b""[..],
        b"PROXY ",
        b"PROXY TCP4 192.0.2.7 203",
        &good[..15],
        &good[..27],
    ] {
        let mut stream = connect_from(1, address(&proxy)).await;
        stream.write_all(part).await.unwrap();
        let start = Instant::now();
        assert_eq!(until_closed(&mut stream).await, b"");
        assert!(
            (250..5000).contains(&start.elapsed().as_millis()),
            "{:?}",
            start.elapsed()
        );
    }
    failures(&proxy, "proxy_header_timeout", 5.0).await;
    assert_eq!(proxy.record_count(), 0);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_listener_that_demands_no_header_accepts_none() {
    let proxy = start(&listener("behind", "trusted_hops: [127.0.0.1/32]")).await;
    for address in [address(&proxy), proxy.address(Entry::Plain).unwrap()] {
        for header in [
            b"PROXY TCP4 192.0.2.7 203.0.113.1 56789 443\r\n".to_vec(),
            version_2(0x21, 0x11, &from([192, 0, 2, 7])),
        ] {
            let before = proxy.before();
            let mut stream = connect_from(1, address).await;
            stream
                .write_all(&[&header, get(&proxy.ml(), "").as_bytes(), b"\r\n"].concat())
                .await
                .unwrap();
            let answer = until_closed(&mut stream).await;
            assert!(
                answer.is_empty() || answer.starts_with(b"HTTP/1.1 400"),
                "{}",
                answer.escape_ascii()
            );
            proxy.untouched(&before).await;
        }
    }
    let before = proxy.before();
    let reply = ask_from(1, address(&proxy), &get(&proxy.ml(), "")).await;
    proxy.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_browser_is_led_to_https_behind_a_balancer_too() {
    let keys = format!("{KEYS}\nredirect_to_https: {{ hosts: [flyte.example.com] }}");
    let proxy = start(&listener("http", &keys)).await;
    let mut stream = connect_from(1, address(&proxy)).await;
    stream
        .write_all(&version_2(0x21, 0x11, &from([192, 0, 2, 7])))
        .await
        .unwrap();
    let records = proxy.record_count();
    let mut connection = Http1::over(stream);
    connection
        .send("GET /console HTTP/1.1\r\nhost: flyte.example.com\r\n\r\n")
        .await;
    let reply = connection.reply().await.unwrap();
    assert_eq!(reply.headers["location"], "https://flyte.example.com/console");
    assert_eq!(proxy.records_after(records, 1).await[0]["client"], "192.0.2.7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_connection_that_has_sent_no_header_does_not_hold_up_the_end() {
    let proxy = start(&listener("balanced", KEYS)).await;
    let mut stream = connect_from(1, address(&proxy)).await;
    eventually("it is accepted", || proxy.metric("connections_open") > 0.5).await;
    let (stack, _) = proxy.take();
    let start = Instant::now();
    soon("the end", tokio::task::spawn_blocking(move || stack.app.shut_down()))
        .await
        .unwrap();
    assert!(start.elapsed() < Duration::from_secs(5), "{:?}", start.elapsed());
    assert!(!matches!(stream.read(&mut [0]).await, Ok(1)));
}
