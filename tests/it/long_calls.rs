//! Calls that take long end when the token expires or the policy no longer allows them, and only then.

use crate::proxy::Proxy;
use crate::sockets::{eventually, h2, rpc, soon, status, tcp};
use crate::upstream::{grpc, rest};
use bytes::Bytes;
use flyte_authz_proxy::clock::{Clock, ManualClock, SystemClock};
use flyte_authz_proxy::demo::client::{Failure, Reply};
use flyte_authz_proxy::demo::control_plane::{Fault, Outcome, Script};
use flyte_authz_proxy::demo::stack::{Entry, POLICY};
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::protocol::envelope;
use http_body_util::BodyExt;
use hyper::body::{Body, Frame};
use hyper::client::conn::http2::handshake;
use hyper_util::rt::{TokioExecutor, TokioIo};
use serde_json::{Value, json};
use std::convert::Infallible;
use std::pin::Pin;
use std::sync::Arc;
use std::task::{Context, Poll};
use std::time::{Duration, Instant};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::sync::mpsc::{Receiver, channel};

const LIST: &str = "AdminService/ListExecutions";
const TARGET: &str = "/api/v1/executions/ml/development?limit=1";
/// How soon a call ends: a reload takes a part of it.
const SOON: Duration = Duration::from_millis(1500);

/// The policy without a right of the ml team in development.
fn without() -> String {
    POLICY.replacen("domains: [development, staging]", "domains: [staging]", 1)
}

/// Puts another policy in force.
async fn reload(proxy: &Proxy, policy: &str) {
    let generation = proxy.app.live.load().generation;
    proxy.write_policy(policy).unwrap();
    proxy.app.reload.reload_now();
    eventually("the policy is in force", || {
        proxy.app.live.load().generation > generation
    })
    .await;
}

fn script(proxy: &Proxy, fault: Fault) {
    proxy.control_plane.clear_scripts();
    proxy.control_plane.clear();
    proxy.control_plane.script(Script::on("*", fault));
}

async fn abandoned(proxy: &Proxy) {
    eventually("the control plane hears of it", || {
        let all = proxy.control_plane.arrivals();
        all.last().is_some_and(|arrival| arrival.outcome == Outcome::Abandoned)
    })
    .await;
}

/// Checks that a call that was forwarded was ended for a reason: its record, its metric, and that the control plane knows.
async fn ended(proxy: &Proxy, records: usize, reason: Reason) -> Value {
    abandoned(proxy).await;
    let record = proxy.records_after(records, 1).await.pop().unwrap();
    assert_eq!(
        (&record["outcome"], &record["reason"]),
        (&json!("denied"), &json!(reason.label())),
        "{record:#}"
    );
    let refusals = |fault: &str| {
        let protocol = record["protocol"].as_str().unwrap();
        proxy.metric(&format!(
            "refusals_total{{fault=\"{fault}\",protocol=\"{protocol}\",reason=\"{}\"",
            reason.label()
        ))
    };
    assert!(["client", "proxy", "upstream"].map(refusals).iter().sum::<f64>() >= 1.0);
    record
}

fn told(reply: Result<Reply, Failure>, reason: Reason) {
    let reply = reply.unwrap();
    assert!(
        reply.message().contains(&format!("[{}; request ", reason.label())),
        "{reply:?}"
    );
    match reply.grpc_status() {
        Some(status) => assert_eq!(status, u16::from(reason.status().grpc)),
        None => assert_eq!(reply.status, reason.status().http),
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_without_an_answer_ends_when_the_right_is_taken_away() {
    let proxy = Proxy::start().await;
    for by_grpc in [true, false] {
        script(&proxy, Fault::Hang);
        let records = proxy.record_count();
        let call = async {
            if by_grpc {
                told(
                    proxy.client.call(Some(&proxy.ml()), LIST, list()).await,
                    Reason::RightWithdrawn,
                );
            } else {
                told(
                    proxy.client.get(Some(&proxy.ml()), TARGET).await,
                    Reason::RightWithdrawn,
                );
            }
        };
        let change = async {
            eventually("it arrives", || proxy.control_plane.count() == 1).await;
            // Another change first: one that takes nothing away.
            reload(&proxy, &POLICY.replace("version: 1", "# again\nversion: 1")).await;
            tokio::time::sleep(SOON).await;
            assert_eq!(proxy.record_count(), records, "the call goes on");
            reload(&proxy, &without()).await;
            Instant::now()
        };
        let ((), changed) = soon("it ends", async { tokio::join!(call, change) }).await;
        assert!(changed.elapsed() < SOON, "{:?}", changed.elapsed());
        let record = ended(&proxy, records, Reason::RightWithdrawn).await;
        assert_eq!(record["policy"]["generation"], proxy.app.live.load().generation);
        assert!(
            record["message"]
                .as_str()
                .unwrap()
                .starts_with("the policy was changed while the call was running: ")
        );
        reload(&proxy, POLICY).await;
    }
}

fn list() -> Value {
    json!({"id": {"project": "ml", "domain": "development"}, "limit": 1})
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_call_ends_when_the_token_expires_and_not_before_the_leeway_is_over() {
    let clock = ManualClock::at(SystemClock.unix_seconds());
    let told_by = clock.clone();
    let proxy = Proxy::start_with(|setup| setup.clock = Arc::new(told_by)).await;
    for by_grpc in [true, false] {
        let now = SystemClock.unix_seconds();
        clock.set(now);
        let token = proxy
            .issuer
            .mint(&json!({"sub": "alice", "groups": ["ml-team"], "exp": now + 100}));
        script(&proxy, Fault::Hang);
        let records = proxy.record_count();
        let call = async {
            if by_grpc {
                told(
                    proxy.client.call(Some(&token), LIST, list()).await,
                    Reason::TokenExpiredInFlight,
                );
            } else {
                told(
                    proxy.client.get(Some(&token), TARGET).await,
                    Reason::TokenExpiredInFlight,
                );
            }
        };
        let pass = async {
            eventually("it arrives", || proxy.control_plane.count() == 1).await;
            clock.set(now + 159);
            tokio::time::sleep(SOON).await;
            assert_eq!(proxy.record_count(), records, "the leeway is not over");
            clock.set(now + 160);
            Instant::now()
        };
        let ((), expired) = soon("it ends", async { tokio::join!(call, pass) }).await;
        assert!(expired.elapsed() < SOON, "{:?}", expired.elapsed());
        ended(&proxy, records, Reason::TokenExpiredInFlight).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_on_its_way_ends_with_a_status_by_grpc() {
    let proxy = Proxy::start().await;
    let revoked = format!("{POLICY}\nrevoked:\n  - {{ claim: sub, values: [alice] }}\n");
    for (policy, reason) in [(without(), Reason::RightWithdrawn), (revoked, Reason::TokenRevoked)] {
        script(&proxy, slow());
        let records = proxy.record_count();
        let message = proxy.client.encode(LIST, list()).unwrap();
        let mut requests = h2(tcp(&proxy, Entry::Plain).await).await;
        let answer = requests.send_request(rpc(&proxy.ml(), LIST, &message)).await.unwrap();
        assert!(!answer.headers().contains_key("grpc-status"));
        let mut body = answer.into_body();
        let first = soon("the first piece", body.frame()).await.unwrap().unwrap();
        assert_eq!(first.into_data().unwrap().len(), 1);
        reload(&proxy, &policy).await;
        let changed = Instant::now();
        let rest = soon("the end", body.collect()).await.unwrap();
        assert!(changed.elapsed() < SOON, "{:?}", changed.elapsed());
        let trailers = rest.trailers().unwrap();
        assert_eq!(trailers["grpc-status"], reason.status().grpc.to_string().as_str());
        let text = trailers["grpc-message"].to_str().unwrap().to_owned();
        let record = ended(&proxy, records, reason).await;
        assert_eq!(
            (&record["status"], &record["grpc_status"]),
            (&json!(200), &json!(reason.status().grpc))
        );
        let id = record["request_id"].as_str().unwrap();
        assert!(text.ends_with(&format!("[{}; request {id}]", reason.label())), "{text}");
        reload(&proxy, POLICY).await;
    }
}

/// Slow enough to be looked at before the second piece.
fn slow() -> Fault {
    Fault::Slow {
        piece: 1,
        milliseconds: 700,
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_on_its_way_breaks_off_by_rest_and_is_never_taken_for_whole() {
    let proxy = Proxy::start().await;
    for by_http2 in [false, true] {
        script(&proxy, slow());
        let records = proxy.record_count();
        let head = format!(
            "GET {TARGET} HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\n\r\n",
            proxy.ml()
        );
        if by_http2 {
            let mut requests = h2(tcp(&proxy, Entry::Plain).await).await;
            let request = http::Request::get(format!("http://localhost{TARGET}"))
                .header("authorization", format!("Bearer {}", proxy.ml()))
                .body(crate::sockets::Undeclared(http_body_util::Full::<Bytes>::default()))
                .unwrap();
            let mut body = requests.send_request(request).await.unwrap().into_body();
            assert!(soon("the first piece", body.frame()).await.unwrap().is_ok());
            reload(&proxy, &without()).await;
            let rest = tokio::time::timeout(SOON, body.collect()).await.unwrap();
            assert!(rest.is_err(), "{rest:?}");
        } else {
            let mut stream = tcp(&proxy, Entry::Plain).await;
            stream.write_all(head.as_bytes()).await.unwrap();
            let mut answer = Vec::new();
            while !answer.ends_with(b"{") && !answer.windows(4).any(|end| end == b"\r\n\r\n") {
                assert!(stream.read_buf(&mut answer).await.unwrap() > 0);
            }
            reload(&proxy, &without()).await;
            let rest = tokio::time::timeout(SOON, stream.read_to_end(&mut answer)).await;
            assert!(rest.is_ok(), "the connection stays open");
            let text = String::from_utf8_lossy(&answer).to_lowercase();
            let (headers, body) = text.split_once("\r\n\r\n").unwrap();
            match headers.split("content-length: ").nth(1) {
                Some(length) => assert!(body.len() < length.lines().next().unwrap().parse().unwrap(), "{text}"),
                None => assert!(!body.ends_with("0\r\n\r\n"), "{text}"),
            }
        }
        let record = ended(&proxy, records, Reason::RightWithdrawn).await;
        assert_eq!(record["status"], 200);
        reload(&proxy, POLICY).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn calls_that_are_still_allowed_or_have_ended_are_not_touched() {
    let proxy = Proxy::start().await;
    let records = proxy.record_count();
    grpc(&proxy).await.unwrap();
    script(
        &proxy,
        Fault::Slow {
            piece: 8,
            milliseconds: 150,
        },
    );
    // Whoever is not concerned goes on to the end, by all that changes.
    let other = POLICY.replace("projects: [fraud]", "projects: [moved]");
    let calls = async { tokio::join!(grpc(&proxy), rest(&proxy)) };
    let changes = async {
        for policy in [&other, POLICY, &other] {
            tokio::time::sleep(Duration::from_millis(300)).await;
            reload(&proxy, policy).await;
        }
    };
    let ((by_grpc, by_rest), ()) = soon("they end", async { tokio::join!(calls, changes) }).await;
    assert_eq!(by_grpc.unwrap().grpc_status(), Some(0));
    assert_eq!(by_rest.unwrap().status, 200);
    reload(&proxy, &without()).await;
    let records = proxy.records_after(records, 3).await;
    assert!(
        records.iter().all(|record| record["outcome"] == "forwarded"),
        "{records:#?}"
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_arrives_slowly_shows_what_may_be_seen_when_it_has_come() {
    let proxy = Proxy::start().await;
    let shown = |reply: &Reply| {
        let text = String::from_utf8_lossy(&reply.body).into_owned();
        ["\"id\":\"ml\"", "\"id\":\"shared-lib\""].map(|id| text.replace(' ', "").contains(id))
    };
    let whole = proxy.client.get(Some(&proxy.ml()), "/api/v1/projects").await.unwrap();
    assert_eq!(shown(&whole), [true, true], "{whole:?}");
    script(
        &proxy,
        Fault::Slow {
            piece: whole.body.len() / 3,
            milliseconds: 500,
        },
    );
    let narrower = POLICY.replace(
        "subjects: [{ groups: [ml-team, fraud-team] }]",
        "subjects: [{ groups: [fraud-team] }]",
    );
    let change = async {
        eventually("it arrives", || proxy.control_plane.count() == 1).await;
        reload(&proxy, &narrower).await;
    };
    let token = proxy.ml();
    let (reply, ()) = tokio::join!(proxy.client.get(Some(&token), "/api/v1/projects"), change);
    assert_eq!(shown(&reply.unwrap()), [true, false]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_list_that_is_no_longer_allowed_as_a_whole_ends() {
    let proxy = Proxy::start().await;
    script(&proxy, Fault::Hang);
    let records = proxy.record_count();
    let names = POLICY.replacen(
        "domains: [development, staging]\n        role: contributor",
        "domains: [development, staging]\n        role: contributor\n        launch_plans: [one]",
        1,
    );
    assert_ne!(names, POLICY);
    let change = async {
        eventually("it arrives", || proxy.control_plane.count() == 1).await;
        reload(&proxy, &names).await;
    };
    let token = proxy.ml();
    let (reply, ()) = soon("it ends", async {
        tokio::join!(proxy.client.call(Some(&token), LIST, list()), change)
    })
    .await;
    told(reply, Reason::RightWithdrawn);
    ended(&proxy, records, Reason::RightWithdrawn).await;
}

const ATTRIBUTES: &str = "AdminService/ListMatchableAttributes";
const ADMIN: &str = r#"
version: 1
rules:
  - name: root
    subjects: [{ groups: [root] }]
    allow: [{ projects: ["*"], domains: ["*"], role: platform_admin }]
"#;

/// A message that is sent piece by piece.
struct Pieces(Receiver<Bytes>);

impl Body for Pieces {
    type Data = Bytes;
    type Error = Infallible;

    fn poll_frame(mut self: Pin<&mut Self>, task: &mut Context<'_>) -> Poll<Option<Result<Frame<Bytes>, Infallible>>> {
        self.0
            .poll_recv(task)
            .map(|piece| piece.map(|piece| Ok(Frame::data(piece))))
    }
}

/// Whoever administers the platform is shown all matchable attributes, without a filter.
#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn an_answer_that_only_administrators_are_shown_whole_ends_with_that_right() {
    let viewer = ADMIN.replace("platform_admin", "viewer");
    let proxy = Proxy::start_with(|setup| ADMIN.clone_into(&mut setup.policy)).await;
    let (token, target) = (proxy.token("root", "root"), "/api/v1/matchable_attributes");
    for by_grpc in [true, false] {
        // Before the answer comes.
        script(&proxy, Fault::Hang);
        let records = proxy.record_count();
        let change = async {
            eventually("it arrives", || proxy.control_plane.count() == 1).await;
            // Another change first: one that takes nothing away.
            reload(&proxy, &format!("# again\n{ADMIN}")).await;
            tokio::time::sleep(SOON).await;
            assert_eq!(proxy.record_count(), records, "the call goes on");
            reload(&proxy, &viewer).await;
        };
        let call = async {
            if by_grpc {
                proxy.client.call(Some(&token), ATTRIBUTES, json!({})).await
            } else {
                proxy.client.get(Some(&token), target).await
            }
        };
        let (reply, ()) = soon("it ends", async { tokio::join!(call, change) }).await;
        told(reply, Reason::RightWithdrawn);
        ended(&proxy, records, Reason::RightWithdrawn).await;
        reload(&proxy, ADMIN).await;
    }
    // While the answer is on its way.
    script(&proxy, slow());
    let records = proxy.record_count();
    let message = proxy.client.encode(ATTRIBUTES, json!({})).unwrap();
    let mut requests = h2(tcp(&proxy, Entry::Plain).await).await;
    let answer = requests.send_request(rpc(&token, ATTRIBUTES, &message)).await.unwrap();
    let mut body = answer.into_body();
    soon("the first piece", body.frame()).await.unwrap().unwrap();
    reload(&proxy, &viewer).await;
    let rest = soon("the end", body.collect()).await.unwrap();
    let status = Reason::RightWithdrawn.status().grpc.to_string();
    assert_eq!(rest.trailers().unwrap()["grpc-status"], status.as_str());
    ended(&proxy, records, Reason::RightWithdrawn).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_slow_message_of_an_administrator_who_is_none_any_more_is_not_answered_whole() {
    let proxy = Proxy::start_with(|setup| ADMIN.clone_into(&mut setup.policy)).await;
    let before = proxy.before();
    let (pieces, body) = channel(2);
    let stream = TokioIo::new(tcp(&proxy, Entry::Plain).await);
    let (mut requests, connection) = handshake(TokioExecutor::new(), stream).await.unwrap();
    tokio::spawn(async move { _ = connection.await });
    let request = rpc(&proxy.token("root", "root"), ATTRIBUTES, &[]).map(|_| Pieces(body));
    let answer = tokio::spawn(requests.send_request(request));
    let framed = envelope::frame(&[]);
    pieces.send(framed.slice(..2)).await.unwrap();
    tokio::time::sleep(Duration::from_millis(600)).await;
    reload(&proxy, &ADMIN.replace("platform_admin", "viewer")).await;
    pieces.send(framed.slice(2..)).await.unwrap();
    drop(pieces);
    let answer = soon("the answer", answer).await.unwrap().unwrap();
    assert_eq!(
        status(answer).await,
        Some(u16::from(Reason::RightWithdrawn.status().grpc))
    );
    proxy.recorded(&before, Reason::RightWithdrawn).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_message_that_arrives_slowly_is_judged_by_the_policy_in_force_when_it_has_come() {
    let proxy = Proxy::start().await;
    let set = POLICY.replacen(
        "domains: [development, staging]\n        role: contributor",
        "domains: [development, staging]\n        role: contributor\n        set: { service_account: ml }",
        1,
    );
    assert_ne!(set, POLICY);
    for policy in [without(), set] {
        let before = proxy.before();
        let body = json!({"project": "ml", "domain": "development", "name": "e1", "spec": {"launch_plan": {"resource_type": "LAUNCH_PLAN", "project": "ml", "domain": "development", "name": "one", "version": "v1"}}}).to_string();
        let (first, second) = body.split_at(20);
        let mut stream = tcp(&proxy, Entry::Plain).await;
        let head = format!(
            "POST /api/v1/executions HTTP/1.1\r\nhost: localhost\r\nauthorization: Bearer {}\r\ncontent-type: application/json\r\nconnection: close\r\ncontent-length: {}\r\n\r\n{first}",
            proxy.ml(),
            body.len()
        );
        stream.write_all(head.as_bytes()).await.unwrap();
        tokio::time::sleep(Duration::from_millis(600)).await;
        reload(&proxy, &policy).await;
        stream.write_all(second.as_bytes()).await.unwrap();
        let mut answer = String::new();
        soon("the answer", stream.read_to_string(&mut answer)).await.unwrap();
        assert!(
            answer.starts_with("HTTP/1.1 403") && answer.contains("[right_withdrawn; request "),
            "{answer}"
        );
        proxy.recorded(&before, Reason::RightWithdrawn).await;
        reload(&proxy, POLICY).await;
    }
}
