//! Behind load balancers and ingresses: whose word about a request's origin counts, and what becomes of it.

use crate::descriptors;
use crate::proxy::Proxy;
use crate::raw::Http1;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::control_plane::Arrival;
use flyte_authz_proxy::demo::stack::Setup;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::{Value, json};
use std::net::SocketAddr;
use tokio::net::{TcpSocket, TcpStream};

const LIST: &str = "AdminService/ListExecutions";
const TARGET: &str = "/api/v1/executions/ml/development?limit=1";

/// Adds listeners after those of the demonstration; they have the addresses from [3] on.
pub(crate) fn with_listeners(setup: &mut Setup, listeners: &str) {
    let listeners = format!("{listeners}admin:");
    setup.edit = Box::new(move |text| text.replace("admin:", &listeners));
}

/// The proxy with more listeners.
pub(crate) async fn start(listeners: &str) -> Proxy {
    Proxy::start_with(|setup| with_listeners(setup, listeners)).await
}

/// A listener in plain text with more keys, each on a line.
pub(crate) fn listener(name: &str, keys: &str) -> String {
    format!(
        "  - name: {name}\n    address: 127.0.0.1:0\n    {}\n",
        keys.replace('\n', "\n    ")
    )
}

/// A connection from an address of the loopback network.
pub(crate) async fn connect_from(last: u8, address: SocketAddr) -> TcpStream {
    let socket = TcpSocket::new_v4().unwrap();
    socket.bind(SocketAddr::from(([127, 0, 0, last], 0))).unwrap();
    socket.connect(address).await.unwrap()
}

/// What a request by HTTP/1.1 from such an address is answered.
pub(crate) async fn ask_from(last: u8, address: SocketAddr, head: &str) -> Reply {
    let mut connection = Http1::over(connect_from(last, address).await);
    connection.send(format!("{head}\r\n")).await;
    connection.reply().await.unwrap()
}

pub(crate) fn client(address: SocketAddr) -> Client {
    Client::new(address, None, &descriptors::bytes()).unwrap()
}

/// A request for executions of the ml team, with a host and more lines.
pub(crate) fn get(token: &str, more: &str) -> String {
    format!("GET {TARGET} HTTP/1.1\r\nhost: inside.example:8088\r\nauthorization: Bearer {token}\r\n{more}")
}

/// What FlyteAdmin is told of a request's origin: for, proto, host; nothing else may say it.
pub(crate) fn told(arrival: &Arrival) -> [String; 3] {
    for name in [
        "forwarded",
        "x-real-ip",
        "x-forwarded-port",
        "x-forwarded-server",
        "via",
    ] {
        assert!(arrival.header(name).is_empty(), "{name}: {arrival:?}");
    }
    ["for", "proto", "host"].map(|what| {
        let values = arrival.header(&format!("x-forwarded-{what}"));
        assert_eq!(values.len(), 1, "{what}: {values:?}");
        values[0].to_owned()
    })
}

fn trusting(proxy: &Proxy) -> SocketAddr {
    proxy.app.addresses[3]
}

const TRUSTS_ONE: &str = "trusted_hops: [127.0.0.1/32, 10.0.0.0/8]";

/// What a hop passes on, the client's own inventions first.
const PASSED_ON: &str = "x-forwarded-for: 203.0.113.66\r\nx-forwarded-for: 192.0.2.7, 10.1.1.1\r\nx-forwarded-proto: https\r\n\
     x-forwarded-host: flyte.example.com\r\nx-real-ip: 203.0.113.66\r\nforwarded: for=203.0.113.66;proto=http;host=evil.example\r\n\
     x-forwarded-port: 1\r\nx-forwarded-server: evil.example\r\nx-client-ip: 203.0.113.66\r\n\
     true-client-ip: 203.0.113.66\r\n";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_hop_is_believed_by_rest_and_pages_and_only_what_it_wrote_goes_on() {
    let proxy = start(&listener("behind", TRUSTS_ONE)).await;
    let page = "GET /console HTTP/1.1\r\nhost: inside.example\r\n".to_owned();
    for head in [get(&proxy.ml(), ""), page] {
        let before = proxy.before();
        let reply = ask_from(1, trusting(&proxy), &(head + PASSED_ON)).await;
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!(record["client"], "192.0.2.7");
        assert!(record["peer"].as_str().unwrap().starts_with("127.0.0.1:"), "{record:#}");
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(told(&arrival), ["192.0.2.7", "https", "flyte.example.com"]);
        // What FlyteAdmin makes its public address from.
        assert_eq!(arrival.authority, "flyte.example.com");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_trusted_hop_is_believed_by_grpc_in_plain_text_and_tls() {
    let tls = format!("tls: {{ certificate: tls.crt, key: tls.key }}\n{TRUSTS_ONE}");
    let proxy = start(&(listener("behind", TRUSTS_ONE) + &listener("behind-tls", &tls))).await;
    let authority = std::fs::read_to_string(&proxy.authority).unwrap();
    let secure = Client::new(proxy.app.addresses[4], Some(&authority), &descriptors::bytes()).unwrap();
    let bearer = format!("Bearer {}", proxy.ml());
    for (client, scheme) in [
        (client(trusting(&proxy)), Some("https")),
        (secure.clone(), Some("http")),
        (secure, None),
    ] {
        let message = client.encode(
            LIST,
            json!({"id": {"project": "ml", "domain": "development"}, "limit": 1}),
        );
        let frame = flyte_authz_proxy::protocol::envelope::frame(&message.unwrap());
        let mut headers = vec![
            ("authorization", bearer.as_str()),
            ("x-forwarded-for", "192.0.2.7"),
            ("x-forwarded-host", "flyte.example.com"),
        ];
        headers.extend(scheme.map(|scheme| ("x-forwarded-proto", scheme)));
        let before = proxy.before();
        let reply = client
            .grpc("/flyteidl.service.AdminService/ListExecutions", &headers, frame)
            .await
            .unwrap();
        assert_eq!(proxy.forwarded(&before, &reply).await["client"], "192.0.2.7");
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        // Where the hop says nothing, the connection to the proxy counts.
        assert_eq!(
            told(&arrival),
            ["192.0.2.7", scheme.unwrap_or("https"), "flyte.example.com"]
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_08_nobody_else_is_believed_whatever_is_sent() {
    let proxy = start(&listener("behind", TRUSTS_ONE)).await;
    let plain = proxy.app.addresses[1];
    // A stranger at the listener that trusts somebody, and everybody at one that trusts nobody.
    for (last, address, listener) in [(2, trusting(&proxy), "behind"), (1, plain, "plain")] {
        let before = proxy.before();
        let reply = ask_from(last, address, &get(&proxy.ml(), PASSED_ON)).await;
        let record = proxy.forwarded(&before, &reply).await;
        let own = format!("127.0.0.{last}");
        assert_eq!(
            (&record["client"], &record["listener"]),
            (&json!(own), &json!(listener))
        );
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(told(&arrival), [own.as_str(), "http", "inside.example:8088"]);
        // Not even looked at.
        let before = proxy.before();
        let reply = ask_from(
            last,
            address,
            &get(&proxy.ml(), "x-forwarded-for: junk\r\nx-forwarded-proto: junk\r\n"),
        )
        .await;
        assert_eq!(proxy.forwarded(&before, &reply).await["client"], own);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn what_a_trusted_hop_passes_on_unreadable_is_refused_by_rest_grpc_and_pages() {
    let proxy = start(&listener("behind", TRUSTS_ONE)).await;
    for (name, value) in [
        ("x-forwarded-for", "junk"),
        ("x-forwarded-for", "192.0.2.7, 10.1.1.1, "),
        ("x-forwarded-for", "192.0.2.7 192.0.2.8"),
        ("x-forwarded-proto", "ftp"),
        ("x-forwarded-host", "evil.example/path"),
        ("x-forwarded-host", "user@flyte.example.com"),
    ] {
        let line = format!("{name}: {value}\r\n");
        let page = format!("GET /console HTTP/1.1\r\nhost: inside.example\r\n{line}");
        for head in [get(&proxy.ml(), &line), page] {
            let before = proxy.before();
            let reply = ask_from(1, trusting(&proxy), &head).await;
            let record = proxy.refused(&before, &reply, Reason::ForwardedInvalid).await;
            assert_eq!(record["client"], "127.0.0.1", "{line}");
            assert!(record["message"].as_str().unwrap().contains(name), "{record:#}");
        }
        let bearer = format!("Bearer {}", proxy.ml());
        let headers = [("authorization", bearer.as_str()), (name, value)];
        let before = proxy.before();
        let frame = flyte_authz_proxy::protocol::envelope::frame(&[]);
        let path = "/flyteidl.service.AdminService/ListExecutions";
        let reply = client(trusting(&proxy)).grpc(path, &headers, frame).await.unwrap();
        proxy.refused(&before, &reply, Reason::ForwardedInvalid).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn hops_that_write_forwarded_are_believed_in_that_alone() {
    let keys = format!("{TRUSTS_ONE}\nhop_headers: forwarded");
    let proxy = start(&listener("behind", &keys)).await;
    let lines = "x-forwarded-for: 203.0.113.66\r\nx-forwarded-proto: http\r\nx-forwarded-host: evil.example\r\n\
                 forwarded: for=203.0.113.66;host=evil.example, for=\"192.0.2.7:4711\";proto=https;host=flyte.example.com\r\n\
                 forwarded: for=10.1.1.1;proto=http;host=inside.example\r\n";
    let before = proxy.before();
    let reply = ask_from(1, trusting(&proxy), &get(&proxy.ml(), lines)).await;
    assert_eq!(proxy.forwarded(&before, &reply).await["client"], "192.0.2.7");
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    assert_eq!(told(&arrival), ["192.0.2.7", "https", "flyte.example.com"]);
    let before = proxy.before();
    let reply = ask_from(1, trusting(&proxy), &get(&proxy.ml(), "forwarded: for=\"192.0.2.7\r\n")).await;
    proxy.refused(&before, &reply, Reason::ForwardedInvalid).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn refusals_tell_the_clients_address_too() {
    let proxy = start(&listener("behind", TRUSTS_ONE)).await;
    let before = proxy.before();
    let reply = ask_from(
        1,
        trusting(&proxy),
        &get(&proxy.fraud(), "x-forwarded-for: 2001:DB8::7\r\n"),
    )
    .await;
    let record = proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(record["client"], "2001:db8::7");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn redirects_of_login_stay_on_the_public_host_that_a_trusted_hop_tells() {
    let proxy = start(&listener("behind", TRUSTS_ONE)).await;
    let login = |target: &str| {
        format!(
            "GET /login?redirect_url={target} HTTP/1.1\r\nhost: inside.example\r\nx-forwarded-host: flyte.example.com\r\n"
        )
    };
    let before = proxy.before();
    let reply = ask_from(1, trusting(&proxy), &login("https://flyte.example.com/console")).await;
    proxy.forwarded(&before, &reply).await;
    for (last, target) in [
        (1, "https://inside.example/console"),
        (1, "https://evil.example/"),
        // For a stranger, the host is what it asked for.
        (2, "https://flyte.example.com/console"),
    ] {
        let before = proxy.before();
        let reply = ask_from(last, trusting(&proxy), &login(target)).await;
        proxy.refused(&before, &reply, Reason::RedirectRefused).await;
    }
}

/// The headers of an answer by which a browser decides whether a page of another origin may read it.
fn cors(reply: &Reply) -> Value {
    let headers = reply.headers.iter();
    let headers = headers.filter(|(name, _)| name.as_str().starts_with("access-control-") || *name == "vary");
    headers
        .map(|(name, value)| json!([name.as_str(), value.to_str().unwrap()]))
        .collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn cors_is_flyteadmins_own_and_refusals_grant_nothing() {
    let proxy = start(&listener("behind", TRUSTS_ONE)).await;
    let direct = client(proxy.control_plane.http);
    let through = client(trusting(&proxy));
    let origin = ("origin", "https://console.example.com");
    let preflight = [
        origin,
        ("access-control-request-method", "GET"),
        ("access-control-request-headers", "authorization"),
    ];
    let expected = direct.rest(Method::OPTIONS, TARGET, &preflight, "").await.unwrap();
    let before = proxy.before();
    let reply = through.rest(Method::OPTIONS, TARGET, &preflight, "").await.unwrap();
    proxy.forwarded(&before, &reply).await;
    assert_eq!((reply.status, cors(&reply)), (expected.status, cors(&expected)));
    assert_ne!(cors(&expected), json!([]), "the control plane grants something");
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    assert_eq!(arrival.header("origin"), ["https://console.example.com"]);
    let bearer = format!("Bearer {}", proxy.ml());
    let headers = [origin, ("authorization", bearer.as_str())];
    let expected = direct.rest(Method::GET, TARGET, &headers, "").await.unwrap();
    let reply = through.rest(Method::GET, TARGET, &headers, "").await.unwrap();
    assert_eq!((reply.status, cors(&reply)), (expected.status, cors(&expected)));
    proxy.written(&reply).await;
    let before = proxy.before();
    let reply = through.rest(Method::GET, TARGET, &[origin], "").await.unwrap();
    proxy.refused(&before, &reply, Reason::CredentialMissing).await;
    assert_eq!(cors(&reply), json!([]));
}
