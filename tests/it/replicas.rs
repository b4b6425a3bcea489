//! A control plane at several addresses: they share the requests, and those that go or cannot be reached are done without.

use crate::proxy::Proxy;
use crate::sockets::{admin, eventually, soon};
use crate::upstream::{grpc, rest};
use crate::upstream_links::{acceptor, listen, relay, upstream};
use bytes::Bytes;
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use flyte_authz_proxy::upstream::resolution::Resolver;
use http::{HeaderMap, HeaderValue, Request, Response, Version};
use http_body_util::{BodyExt, Full};
use hyper::body::{Body, Incoming};
use hyper::server::conn::{http1, http2};
use hyper::service::service_fn;
use hyper_util::rt::{TokioExecutor, TokioIo};
use std::collections::HashMap;
use std::io;
use std::net::{IpAddr, Ipv4Addr, SocketAddr};
use std::sync::atomic::{AtomicUsize, Ordering};
use std::sync::{Arc, Mutex};
use std::time::{Duration, Instant};
use tokio::net::TcpListener;
use tokio::task::{JoinHandle, JoinSet};

/// Names as a test gives them.
#[derive(Clone, Debug, Default)]
pub(crate) struct Names(Arc<Mutex<HashMap<String, Vec<u8>>>>);

impl Names {
    /// A name for loopback addresses `127.0.0.…`; none for one that cannot be resolved.
    pub(crate) fn set(&self, name: &str, addresses: &[u8]) {
        self.0.lock().unwrap().insert(name.to_owned(), addresses.to_vec());
    }
}

impl Resolver for Names {
    fn resolve(&self, host: &str, port: u16) -> io::Result<Vec<SocketAddr>> {
        let names = self.0.lock().unwrap();
        let found = names.get(host).filter(|found| !found.is_empty());
        let found = found.ok_or(io::ErrorKind::NotFound)?;
        Ok(found
            .iter()
            .map(|last| SocketAddr::new(loopback(*last), port))
            .collect())
    }
}

pub(crate) fn loopback(last: u8) -> IpAddr {
    Ipv4Addr::new(127, 0, 0, last).into()
}

/// One replica of the control plane, at one address, on both ports. It stops, with its connections, when dropped.
pub(crate) struct StandIn {
    pub(crate) requests: Arc<AtomicUsize>,
    pub(crate) connections: Arc<AtomicUsize>,
    open: Arc<AtomicUsize>,
    tasks: [JoinHandle<()>; 2],
}

/// The ports of all stand-ins of a test: gRPC and HTTP.
#[derive(Clone, Copy)]
pub(crate) struct Ports(pub(crate) u16, pub(crate) u16);

impl Ports {
    /// Two ports that are free at every address of the test, as far as can be told.
    pub(crate) async fn free() -> Self {
        let ((_one, grpc), (_other, http)) = (listen(0).await, listen(0).await);
        Self(grpc, http)
    }

    /// The `upstream` of a configuration for a name or address at these ports.
    pub(crate) fn line(self, host: &str) -> String {
        format!(
            "upstream: {{ grpc: 'http://{host}:{}', http: 'http://{host}:{}', resolve: 1s }}",
            self.0, self.1
        )
    }
}

impl StandIn {
    /// Answers every request after a while.
    pub(crate) async fn start(last: u8, ports: Ports, delay: Duration) -> Self {
        let requests = Arc::<AtomicUsize>::default();
        let connections = Arc::<AtomicUsize>::default();
        let open = Arc::<AtomicUsize>::default();
        let mut tasks = Vec::new();
        for port in [ports.0, ports.1] {
            let listener = TcpListener::bind((loopback(last), port)).await.unwrap();
            let counts = (Arc::clone(&requests), Arc::clone(&connections), Arc::clone(&open));
            tasks.push(tokio::spawn(serve(listener, counts, delay)));
        }
        Self {
            requests,
            connections,
            open,
            tasks: tasks.try_into().unwrap(),
        }
    }

    pub(crate) fn count(&self) -> usize {
        self.requests.load(Ordering::SeqCst)
    }
}

impl Drop for StandIn {
    fn drop(&mut self) {
        self.tasks.iter().for_each(JoinHandle::abort);
    }
}

type Counts = (Arc<AtomicUsize>, Arc<AtomicUsize>, Arc<AtomicUsize>);

async fn serve(listener: TcpListener, (requests, connections, open): Counts, delay: Duration) {
    let mut running = JoinSet::new();
    while let Ok((stream, _)) = listener.accept().await {
        connections.fetch_add(1, Ordering::SeqCst);
        open.fetch_add(1, Ordering::SeqCst);
        let (requests, open) = (Arc::clone(&requests), Arc::clone(&open));
        running.spawn(async move {
            let service = service_fn(|request: Request<Incoming>| {
                requests.fetch_add(1, Ordering::SeqCst);
                async move {
                    tokio::time::sleep(delay).await;
                    answer(request).await
                }
            });
            let mut first = [0; 3];
            stream.peek(&mut first).await.unwrap();
            _ = if first == *b"PRI" {
                let builder = http2::Builder::new(TokioExecutor::new());
                builder.serve_connection(TokioIo::new(stream), service).await
            } else {
                http1::Builder::new()
                    .serve_connection(TokioIo::new(stream), service)
                    .await
            };
            open.fetch_sub(1, Ordering::SeqCst);
        });
    }
}

/// An empty list.
pub(crate) async fn answer(
    request: Request<Incoming>,
) -> hyper::Result<Response<impl Body<Data = Bytes, Error = std::convert::Infallible>>> {
    let by_grpc = request.version() == Version::HTTP_2;
    request.into_body().collect().await?;
    let mut trailers = HeaderMap::new();
    trailers.insert("grpc-status", HeaderValue::from_static("0"));
    let (content_type, body) = if by_grpc {
        ("application/grpc", envelope::frame(&[]))
    } else {
        ("application/json", Bytes::from_static(b"{}"))
    };
    let body = Full::new(body).with_trailers(async move { by_grpc.then_some(Ok(trailers)) });
    Ok(Response::builder()
        .header("content-type", content_type)
        .body(body)
        .unwrap())
}

/// A proxy whose control plane has this name.
pub(crate) async fn behind(names: &Names, ports: Ports) -> Proxy {
    let resolver = Arc::new(names.clone());
    Proxy::start_with(|setup| {
        upstream(setup, ports.line("admin.test"));
        setup.resolver = resolver;
    })
    .await
}

/// What a metric shows, as [`Proxy::metric`].
pub(crate) fn count(proxy: &Proxy, series: &str) -> String {
    proxy.metric(series).to_string()
}

/// Makes calls, of which each has to be answered.
pub(crate) async fn answered(proxy: &Proxy, by_grpc: bool, times: usize) {
    for _ in 0..times {
        let reply = if by_grpc { grpc(proxy).await } else { rest(proxy).await }.unwrap();
        assert_eq!(reply.status, 200, "{reply:?}");
        assert!(!by_grpc || reply.grpc_status() == Some(0), "{reply:?}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn all_addresses_of_a_name_take_requests_in_turn_over_one_grpc_connection_each() {
    let (names, ports) = (Names::default(), Ports::free().await);
    names.set("admin.test", &[11, 12, 13]);
    let mut stand_ins = Vec::new();
    for last in [11, 12, 13] {
        stand_ins.push(StandIn::start(last, ports, Duration::ZERO).await);
    }
    let proxy = behind(&names, ports).await;
    answered(&proxy, true, 30).await;
    for stand_in in &stand_ins {
        assert_eq!((stand_in.count(), stand_in.connections.load(Ordering::SeqCst)), (10, 1));
    }
    answered(&proxy, false, 30).await;
    assert!(stand_ins.iter().all(|stand_in| stand_in.count() == 20));
    let status = admin(proxy.app.admin, "/readyz").await;
    assert!(status.contains(&format!("127.0.0.12:{}", ports.0)), "{status}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_cannot_be_reached_is_left_out_and_comes_back_by_itself() {
    let (names, ports) = (Names::default(), Ports::free().await);
    names.set("admin.test", &[21, 22]);
    let there = StandIn::start(21, ports, Duration::ZERO).await;
    let proxy = behind(&names, ports).await;
    answered(&proxy, true, 10).await;
    answered(&proxy, false, 10).await;
    assert_eq!(there.count(), 20);
    for port in ["grpc", "http"] {
        let number = if port == "grpc" { ports.0 } else { ports.1 };
        let up = |last| {
            count(
                &proxy,
                &format!("upstream_address_up{{address=\"127.0.0.{last}:{number}\",port=\"{port}\""),
            )
        };
        assert_eq!((&*up(21), &*up(22)), ("1", "0"), "{port}");
        assert_eq!(
            count(&proxy, &format!("upstream_connect_failures_total{{port=\"{port}\"")),
            "1"
        );
        assert_eq!(count(&proxy, &format!("upstream_repeats_total{{port=\"{port}\"")), "1");
    }
    let status = admin(proxy.app.admin, "/readyz").await;
    assert!(
        status.starts_with("HTTP/1.1 200") && status.contains("\"up\": false"),
        "{status}"
    );
    let back = StandIn::start(22, ports, Duration::ZERO).await;
    eventually("it is used again", || count(&proxy, "upstream_address_up") == "4").await;
    assert_eq!(back.count(), 0, "no request was needed to find out");
    answered(&proxy, true, 4).await;
    assert_eq!(back.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_address_that_goes_gets_no_new_requests_and_finishes_those_it_has() {
    let (names, ports) = (Names::default(), Ports::free().await);
    names.set("admin.test", &[31]);
    let old = StandIn::start(31, ports, Duration::from_secs(3)).await;
    let new = StandIn::start(32, ports, Duration::ZERO).await;
    let proxy = behind(&names, ports).await;
    let running = async { tokio::join!(answered(&proxy, true, 1), answered(&proxy, false, 1)) };
    let meanwhile = async {
        eventually("both run", || old.count() == 2).await;
        names.set("admin.test", &[32]);
        eventually("the new address is known", || {
            count(&proxy, "upstream_address_up") == "2" && new_is_up(&proxy)
        })
        .await;
        answered(&proxy, true, 5).await;
        answered(&proxy, false, 5).await;
        assert_eq!(
            old.open.load(Ordering::SeqCst),
            2,
            "the running requests keep their connections"
        );
    };
    tokio::join!(running, meanwhile);
    assert_eq!((old.count(), new.count()), (2, 10));
    eventually("the old connections end", || old.open.load(Ordering::SeqCst) == 0).await;
}

fn new_is_up(proxy: &Proxy) -> bool {
    count(proxy, "upstream_address_up{address=\"127.0.0.32") == "2"
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn without_an_address_the_proxy_is_not_ready_and_says_so_until_the_name_is_there() {
    let (names, ports) = (Names::default(), Ports::free().await);
    let stand_in = StandIn::start(41, ports, Duration::ZERO).await;
    let resolver = Arc::new(names.clone());
    let proxy = Proxy::start_with(|setup| {
        upstream(
            setup,
            ports.line("admin.test").replace("1s", "1h, connect_timeout: 200ms"),
        );
        setup.resolver = resolver;
        setup.wait = false;
    })
    .await;
    assert!(admin(proxy.app.admin, "/readyz").await.starts_with("HTTP/1.1 503"));
    eventually("the keys are there", || {
        count(&proxy, "key_set_timestamp_seconds") != "0"
    })
    .await;
    let before = proxy.before();
    proxy
        .refused(&before, &grpc(&proxy).await.unwrap(), Reason::UpstreamUnreachable)
        .await;
    // The next request asks for the name again, although the timer is an hour.
    names.set("admin.test", &[41]);
    let start = Instant::now();
    while rest(&proxy).await.unwrap().status != 200 {
        assert!(start.elapsed() < Duration::from_secs(10));
    }
    assert!(admin(proxy.app.admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    // A name that is gone again changes nothing.
    names.set("admin.test", &[]);
    drop(stand_in);
    let before = proxy.before();
    proxy
        .refused(&before, &rest(&proxy).await.unwrap(), Reason::UpstreamUnreachable)
        .await;
    tokio::time::sleep(Duration::from_millis(1300)).await;
    let _again = StandIn::start(41, ports, Duration::ZERO).await;
    answered(&proxy, true, 1).await;
    answered(&proxy, false, 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn several_hosts_can_be_written_down_and_localhost_is_a_name_like_any_other() {
    let ports = Ports::free().await;
    let here = StandIn::start(1, ports, Duration::ZERO).await;
    let there = StandIn::start(51, ports, Duration::ZERO).await;
    let list = |port| format!("['http://localhost:{port}', 'http://127.0.0.51:{port}']");
    let line = format!("upstream: {{ grpc: {}, http: {} }}", list(ports.0), list(ports.1));
    let proxy = Proxy::start_with(|setup| upstream(setup, line)).await;
    answered(&proxy, true, 10).await;
    answered(&proxy, false, 10).await;
    assert!(
        here.count() >= 5 && there.count() >= 5,
        "{} {}",
        here.count(),
        there.count()
    );
    assert_eq!(here.count() + there.count(), 20);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn requests_that_wait_for_an_address_that_is_silent_all_go_elsewhere_after_one_wait() {
    let (names, ports) = (Names::default(), Ports::free().await);
    names.set("localhost", &[61, 62]);
    let certificates = Certificates::generate().unwrap();
    let authority = certificates.authority.clone();
    let resolver = Arc::new(names.clone());
    let proxy = Proxy::start_with(|setup| {
        std::fs::write(setup.directory.join("upstream-ca.pem"), authority).unwrap();
        let line = ports.line("localhost").replace("http://", "https://");
        upstream(
            setup,
            line.replace("1s", "1s, connect_timeout: 700ms, ca: upstream-ca.pem"),
        );
        setup.resolver = resolver;
    })
    .await;
    // Accepts connections and says nothing.
    let silent = TcpListener::bind((loopback(61), ports.0)).await.unwrap();
    let listener = TcpListener::bind((loopback(62), ports.0)).await.unwrap();
    let _relay = relay(listener, proxy.control_plane.grpc, Some(acceptor(&certificates, b"h2")));
    let start = Instant::now();
    let all = (0..20).map(|_| grpc(&proxy));
    let replies = soon("all are answered", futures(all)).await;
    assert!(replies.iter().all(|status| *status == Some(0)), "{replies:?}");
    assert!(start.elapsed() < Duration::from_millis(1400), "{:?}", start.elapsed());
    assert_eq!(proxy.control_plane.count(), 20);
    drop(silent);
}

/// Runs calls at the same time.
async fn futures<F>(all: impl Iterator<Item = F>) -> Vec<Option<u16>>
where
    F: Future<Output = Result<flyte_authz_proxy::demo::client::Reply, flyte_authz_proxy::demo::client::Failure>>,
{
    let mut pending: Vec<_> = all.map(Box::pin).collect();
    let mut statuses = Vec::new();
    std::future::poll_fn(|task| {
        pending.retain_mut(|call| match call.as_mut().poll(task) {
            std::task::Poll::Ready(reply) => {
                statuses.push(reply.unwrap().grpc_status());
                false
            }
            std::task::Poll::Pending => true,
        });
        if pending.is_empty() {
            std::task::Poll::Ready(())
        } else {
            std::task::Poll::Pending
        }
    })
    .await;
    statuses
}
