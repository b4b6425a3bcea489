//! What those without a credential may use up of the control plane's HTTP port: bodies that do not come, answers that do
//! not come, and how much room they leave to callers.

use crate::ingress::{client, listener};
use crate::proxy::Proxy;
use crate::raw::{frame, literal};
use crate::sockets::{eventually, exchange, soon, tcp};
use flyte_authz_proxy::demo::client::Client;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::demo::stack::Entry;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use serde_json::json;
use std::time::Duration;
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::task::JoinSet;

const TARGET: &str = "/api/v1/executions/ml/development?limit=1";
const PAGE: &str = "/healthcheck";

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_a_form_that_does_not_come_is_refused_in_time_and_opens_no_connection() {
    let proxy =
        Proxy::start_with(|setup| setup.configuration = "workers: 1\nlimits: {body_timeout: 300ms}\n".into()).await;
    for sent in ["", "grant_"] {
        let request = format!(
            "POST /oauth2/token HTTP/1.1\r\nhost: localhost\r\nconnection: close\r\ncontent-length: 10\r\n\r\n{sent}"
        );
        let before = proxy.before();
        let answer = exchange(tcp(&proxy, Entry::Plain).await, request).await;
        assert!(answer.starts_with("HTTP/1.1 408"), "{answer}");
        assert!(answer.contains("[body_timeout; request "), "{answer}");
        let record = proxy.recorded(&before, Reason::BodyTimeout).await;
        assert_eq!(
            (&record["outcome"], &record["status"], &record["rpc"]),
            (&json!("denied"), &json!(408), &json!("/oauth2/token"))
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_a_hundred_streams_of_forms_that_do_not_come_open_no_connection_and_hold_up_nobody() {
    let proxy = Proxy::start_with(|setup| {
        setup.configuration = "workers: 1\nlimits: {body_timeout: 2s}\n".into();
        setup.edit = Box::new(|text| text.replace("upstream: {", "upstream: { http_connections: 8,"));
    })
    .await;
    let records = proxy.record_count();
    let mut bytes = b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n".to_vec();
    bytes.extend(frame(4, 0, 0, &[]));
    let head = |method: &[u8], path: &[u8]| {
        let fields: [(&[u8], &[u8]); 4] = [
            (b":method", method),
            (b":scheme", b"http"),
            (b":authority", b"localhost"),
            (b":path", path),
        ];
        fields.map(|(name, value)| literal(name, value)).concat()
    };
    for number in 0..99 {
        bytes.extend(frame(1, 0x4, 2 * number + 1, &head(b"POST", b"/oauth2/token")));
    }
    bytes.extend(frame(1, 0x5, 199, &head(b"GET", PAGE.as_bytes())));
    let mut stream = tcp(&proxy, Entry::Plain).await;
    stream.write_all(&bytes).await.unwrap();
    // The last stream is answered, so that all are running.
    let answered = async {
        loop {
            let mut head = [0; 9];
            stream.read_exact(&mut head).await.unwrap();
            let [a, b, c, kind, _, _, _, _, id] = head;
            let mut payload = vec![0; u32::from_be_bytes([0, a, b, c]) as usize];
            stream.read_exact(&mut payload).await.unwrap();
            if (kind, id) == (1, 199) {
                return;
            }
        }
    };
    soon("the page is answered", answered).await;
    let reply = proxy.client.get(Some(&proxy.ml()), TARGET).await.unwrap();
    assert_eq!(reply.status, 200, "{}", reply.message());
    assert_eq!(proxy.control_plane.count(), 2, "only the page and the call arrived");
    let all = proxy.records_after(records, 101).await;
    let late = all.iter().filter(|record| record["reason"] == "body_timeout");
    assert_eq!(late.count(), 99);
    assert_eq!(proxy.control_plane.count(), 2);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn forms_of_64_kib_pass_and_larger_ones_are_refused() {
    let proxy = Proxy::start().await;
    for bytes in [64 << 10, (64 << 10) + 1] {
        let form = "a".repeat(bytes);
        let before = proxy.before();
        let headers = [("content-type", "application/x-www-form-urlencoded")];
        let reply = proxy.plain.rest(Method::POST, "/oauth2/token", &headers, form.clone());
        let reply = reply.await.unwrap();
        if bytes > 64 << 10 {
            proxy.refused(&before, &reply, Reason::MessageTooLarge).await;
        } else {
            proxy.forwarded(&before, &reply).await;
            let arrival = proxy.control_plane.arrivals().pop().unwrap();
            assert_eq!(arrival.body, form);
            assert_eq!(arrival.header("content-length"), ["65536"]);
        }
    }
}

/// Requests that are given up together.
struct Hanging(JoinSet<()>);

impl Hanging {
    /// Makes so many more requests hang at the control plane.
    async fn more(&mut self, proxy: &Proxy, client: &Client, times: usize, target: &'static str, header: (&str, &str)) {
        let there = proxy.control_plane.count() + times;
        for _ in 0..times {
            let (client, name, value) = (client.clone(), header.0.to_owned(), header.1.to_owned());
            self.0
                .spawn(async move { _ = client.rest(Method::GET, target, &[(&name, &value)], "").await });
        }
        eventually("all arrive", || proxy.control_plane.count() >= there).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_time_pages_and_calls_that_hang_leave_connections_for_others() {
    let proxy = Proxy::start_with(|setup| {
        let hop = listener("behind", "trusted_hops: [127.0.0.1/32]");
        setup.edit = Box::new(move |text| {
            text.replace("upstream: {", "upstream: { http_connections: 16,")
                .replace("admin:", &format!("{hop}admin:"))
        });
    })
    .await;
    let hop = client(proxy.app.addresses[3]);
    let of = |last: u8| format!("192.0.2.{last}");
    let page = async |last| {
        let reply = hop.rest(Method::GET, PAGE, &[("x-forwarded-for", &of(last))], "").await;
        reply.unwrap()
    };
    let call = async |subject| {
        proxy
            .client
            .get(Some(&proxy.token(subject, "ml-team")), TARGET)
            .await
            .unwrap()
    };

    proxy.control_plane.script(Script::on(PAGE, Fault::Hang));
    let mut hanging = Hanging(JoinSet::new());
    hanging.more(&proxy, &hop, 4, PAGE, ("x-forwarded-for", &of(1))).await;
    let before = proxy.before();
    proxy.refused(&before, &page(1).await, Reason::CallerRequestsFull).await;
    hanging.more(&proxy, &hop, 4, PAGE, ("x-forwarded-for", &of(2))).await;
    let before = proxy.before();
    proxy.refused(&before, &page(3).await, Reason::RequestsFull).await;
    let before = proxy.before();
    let from = of(3);
    let headers = [("x-forwarded-for", from.as_str())];
    let preflight = hop.rest(Method::OPTIONS, TARGET, &headers, "").await.unwrap();
    proxy.refused(&before, &preflight, Reason::RequestsFull).await;
    let before = proxy.before();
    proxy.forwarded(&before, &call("dave").await).await;

    // Answers that have begun count until they end.
    for fault in [Fault::Hang, Fault::StallMidway] {
        proxy.control_plane.script(Script::on("ListExecutions", fault).times(4));
    }
    let carol = format!("Bearer {}", proxy.token("carol", "ml-team"));
    hanging
        .more(&proxy, &proxy.client, 8, TARGET, ("authorization", &carol))
        .await;
    let before = proxy.before();
    proxy
        .refused(&before, &call("carol").await, Reason::CallerRequestsFull)
        .await;
    let before = proxy.before();
    proxy.refused(&before, &call("dave").await, Reason::RequestsFull).await;
    // gRPC has no need of them.
    let before = proxy.before();
    let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
    let token = proxy.ml();
    let reply = proxy.client.call(Some(&token), "AdminService/ListExecutions", message);
    proxy.forwarded(&before, &reply.await.unwrap()).await;

    proxy.control_plane.clear_scripts();
    let records = proxy.record_count();
    hanging.0.shutdown().await;
    proxy.records_after(records, 16).await;
    for subject in ["carol", "dave"] {
        let before = proxy.before();
        proxy.forwarded(&before, &call(subject).await).await;
    }
    for last in [1, 3] {
        tokio::time::sleep(Duration::from_millis(10)).await;
        let before = proxy.before();
        proxy.forwarded(&before, &page(last).await).await;
    }
}
