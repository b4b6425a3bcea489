//! The examples of docs/ingress.md with real load balancers, which `scripts/balancers.sh` installs.

use crate::descriptors;
use crate::ingress::{listener, start, told};
use crate::proxy::Proxy;
use crate::sockets::{eventually, exchange, get, soon};
use flyte_authz_proxy::demo::client::Client;
use flyte_authz_proxy::model::reason::Reason;
use serde_json::json;
use std::fs;
use std::net::{SocketAddr, TcpListener};
use std::path::{Path, PathBuf};
use std::process::{Child, Command, Stdio};
use tokio::net::TcpStream;

const LIST: &str = "AdminService/ListExecutions";
const TARGET: &str = "/api/v1/executions/ml/development?limit=1";

/// Where the load balancers connect from, so that they can be told from their clients.
const HOP: &str = "127.0.0.9";

/// A balancer that runs until it is dropped.
struct Running {
    child: Child,
    address: SocketAddr,
}

impl Drop for Running {
    fn drop(&mut self) {
        _ = self.child.kill();
        _ = self.child.wait();
    }
}

/// The example in a language below a heading of the page.
fn example(heading: &str, language: &str) -> String {
    let page = fs::read_to_string(Path::new(env!("CARGO_MANIFEST_DIR")).join("docs/ingress.md")).unwrap();
    let (_, section) = page.split_once(&format!("\n{heading}\n")).unwrap();
    let (_, block) = section.split_once(&format!("```{language}\n")).unwrap();
    block.split_once("```").unwrap().0.to_owned()
}

/// Replaces texts, each of which must be there.
fn with(text: String, replacements: &[(&str, String)]) -> String {
    replacements.iter().fold(text, |text, (old, new)| {
        assert!(text.contains(old), "{old} is not in {text}");
        text.replace(old, new)
    })
}

fn program(name: &str) -> Option<PathBuf> {
    let places = ["/usr/local/sbin", "/usr/local/bin", "/usr/sbin", "/usr/bin"];
    let mut files = places.map(|place| Path::new(place).join(name)).into_iter();
    files.find(|file| file.is_file())
}

/// Whether a load balancer is there; otherwise its test tells that it was skipped, like that of a browser.
#[expect(clippy::print_stderr, reason = "whoever runs the tests must see it")]
fn installed(name: &str) -> bool {
    let found = program(name).is_some();
    if !found {
        eprintln!("SKIPPED: {name} is not installed; scripts/balancers.sh installs it on Debian");
    }
    found
}

/// A port that is free now.
fn free() -> SocketAddr {
    TcpListener::bind("127.0.0.1:0").unwrap().local_addr().unwrap()
}

async fn run(name: &str, arguments: &[&str], directory: &Path, address: SocketAddr) -> Running {
    let log = fs::File::create(directory.join(format!("{name}.log"))).unwrap();
    let child = Command::new(program(name).unwrap())
        .args(arguments)
        .current_dir(directory)
        .stdin(Stdio::null())
        .stdout(log.try_clone().unwrap())
        .stderr(log)
        .spawn()
        .unwrap();
    let running = Running { child, address };
    let listening = async {
        while TcpStream::connect(address).await.is_err() {
            tokio::time::sleep(std::time::Duration::from_millis(20)).await;
        }
    };
    soon(name, listening).await;
    running
}

async fn haproxy(proxy: &Proxy, heading: &str, change: impl FnOnce(String) -> String) -> Running {
    let directory = proxy.directory();
    let address = free();
    let text = with(
        example(heading, "haproxy"),
        &[
            ("bind :443", format!("bind {address}")),
            (
                "flyte-authz.flyte.svc:8443",
                format!("{} source {HOP}", proxy.app.addresses[3]),
            ),
        ],
    );
    fs::write(directory.join("haproxy.cfg"), change(text)).unwrap();
    run("haproxy", &["-db", "-f", "haproxy.cfg"], directory, address).await
}

fn client(proxy: &Proxy, address: SocketAddr) -> Client {
    let authority = fs::read_to_string(&proxy.authority).unwrap();
    Client::new(address, Some(&authority), &descriptors::bytes()).unwrap()
}

/// gRPC, REST and a page through a balancer: allowed and refused as ever, and the origin is the client's, whatever it makes
/// up itself.
async fn serves(proxy: &Proxy, balancer: &Running) {
    let client = client(proxy, balancer.address);
    let host = format!("localhost:{}", balancer.address.port());
    let bearer = format!("Bearer {}", proxy.ml());
    let made_up = [
        ("authorization", bearer.as_str()),
        ("x-forwarded-for", "203.0.113.66"),
        ("x-forwarded-proto", "http"),
        ("x-forwarded-host", "evil.example"),
        ("forwarded", "for=203.0.113.66;host=evil.example"),
    ];
    let message = client
        .encode(
            LIST,
            json!({"id": {"project": "ml", "domain": "development"}, "limit": 1}),
        )
        .unwrap();
    let frame = flyte_authz_proxy::protocol::envelope::frame(&message);
    for protocol in ["grpc", "rest", "page"] {
        let before = proxy.before();
        let reply = match protocol {
            "grpc" => {
                client
                    .grpc(&format!("/flyteidl.service.{LIST}"), &made_up, frame.clone())
                    .await
            }
            "rest" => client.rest(http::Method::GET, TARGET, &made_up, "").await,
            _ => client.rest(http::Method::GET, "/console", &made_up[1..], "").await,
        };
        let record = proxy.forwarded(&before, &reply.unwrap()).await;
        assert_eq!(record["client"], "127.0.0.1", "{protocol}: {record:#}");
        assert!(
            record["peer"].as_str().unwrap().starts_with(&format!("{HOP}:")),
            "{record:#}"
        );
        let arrival = proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(told(&arrival), ["127.0.0.1", "https", host.as_str()], "{protocol}");
    }
    let before = proxy.before();
    let message = json!({"id": {"project": "fraud", "domain": "development"}, "limit": 1});
    let reply = client.call(Some(&proxy.ml()), LIST, message).await.unwrap();
    let record = proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
    assert_eq!(record["client"], "127.0.0.1");
}

const TLS: &str = "tls: { certificate: tls.crt, key: tls.key }";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_nginx_as_documented() {
    if !installed("nginx") {
        return;
    }
    let proxy = start(&listener("behind", &format!("{TLS}\ntrusted_hops: [{HOP}/32]"))).await;
    let (directory, address) = (proxy.directory(), free());
    let place = |name: &str| directory.join(name).display().to_string();
    let server = with(
        example("### NGINX", "nginx"),
        &[
            ("listen 443 ", format!("listen {address} ")),
            (
                "server flyte-authz.flyte.svc:8443",
                format!("server {}", proxy.app.addresses[3]),
            ),
            ("ssl_name flyte-authz.flyte.svc", "ssl_name localhost".to_owned()),
            ("server_name flyte.example.com", "server_name localhost".to_owned()),
            ("/etc/nginx/tls/tls.crt", place("tls.crt")),
            ("/etc/nginx/tls/tls.key", place("tls.key")),
            ("/etc/nginx/tls/ca.crt", place("ca.pem")),
        ],
    );
    let temporary: String = ["client_body", "proxy", "fastcgi", "uwsgi", "scgi"]
        .map(|kind| format!("    {kind}_temp_path {};\n", place(kind)))
        .concat();
    let whole = format!(
        "daemon off;\nmaster_process off;\npid nginx.pid;\nerror_log nginx-error.log;\nevents {{}}\nhttp {{\n    access_log off;\n{temporary}    \
         proxy_bind {HOP};\n    grpc_bind {HOP};\n{server}}}\n"
    );
    fs::write(directory.join("nginx.conf"), whole).unwrap();
    let configuration = place("nginx.conf");
    let prefix = format!("{}/", directory.display());
    let nginx = run(
        "nginx",
        &["-p", &prefix, "-e", "nginx-error.log", "-c", &configuration],
        directory,
        address,
    )
    .await;
    serves(&proxy, &nginx).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_as_documented() {
    if !installed("haproxy") {
        return;
    }
    let proxy = start(&listener("behind", &format!("{TLS}\ntrusted_hops: [{HOP}/32]"))).await;
    let directory = proxy.directory();
    let pem = ["tls.crt", "tls.key"].map(|name| fs::read_to_string(directory.join(name)).unwrap());
    fs::write(directory.join("both.pem"), pem.concat()).unwrap();
    let haproxy = haproxy(&proxy, "### HAProxy", |text| {
        let place = |name: &str| directory.join(name).display().to_string();
        let replacements = [
            ("/etc/haproxy/flyte.pem", place("both.pem")),
            ("/etc/haproxy/ca.pem", place("ca.pem")),
            ("verifyhost flyte-authz.flyte.svc", "verifyhost localhost".to_owned()),
        ];
        with(text, &replacements)
    })
    .await;
    serves(&proxy, &haproxy).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn behind_haproxy_with_the_proxy_protocol_as_documented_and_in_every_version() {
    if !installed("haproxy") {
        return;
    }
    let keys = format!("{TLS}\nproxy_protocol: true\ntrusted_hops: [{HOP}/32]");
    let proxy = start(&listener("balanced", &keys)).await;
    let heading = "### HAProxy, passing TLS through";
    for variant in [
        "send-proxy-v2",
        "send-proxy",
        "send-proxy-v2 proxy-v2-options crc32c,ssl,unique-id",
    ] {
        let change = |text: String| with(text, &[("send-proxy-v2", variant.to_owned())]);
        let haproxy = haproxy(&proxy, heading, change).await;
        serves(&proxy, &haproxy).await;
    }
    // The balancer's own checks begin with a header, too.
    assert!(proxy.metric("handshake_failures_total{cause=\"proxy_header\"") < 0.5);
    assert!(proxy.metric("handshake_failures_total{cause=\"untrusted_hop\"") < 0.5);
    // Without the header nobody gets through, with or without a balancer.
    let bare = haproxy(&proxy, heading, |text| {
        with(text, &[(" send-proxy-v2 check check-send-proxy", String::new())])
    })
    .await;
    let before = proxy.before();
    assert!(client(&proxy, bare.address).get(None, "/healthcheck").await.is_err());
    let cause = "handshake_failures_total{cause=\"proxy_header\",listener=\"balanced\"}";
    eventually(cause, || proxy.metric(cause) > 0.5).await;
    let direct = TcpStream::connect(proxy.app.addresses[3]).await.unwrap();
    assert_eq!(exchange(direct, get("/healthcheck")).await, "");
    proxy.untouched(&before).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_header_that_haproxy_sends_to_a_listener_that_demands_none_is_no_request() {
    if !installed("haproxy") {
        return;
    }
    let proxy = start(&listener("behind", &format!("{TLS}\ntrusted_hops: [{HOP}/32]"))).await;
    let haproxy = haproxy(&proxy, "### HAProxy, passing TLS through", |text| text).await;
    let before = proxy.before();
    assert!(client(&proxy, haproxy.address).get(None, "/healthcheck").await.is_err());
    proxy.untouched(&before).await;
}
