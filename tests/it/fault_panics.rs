//! A defect that panics within a request: that request fails, with an answer, a record and a count, and no other.

use crate::proxy::Proxy;
use crate::sockets::{eventually, soon};
use crate::upstream::{grpc, rest};
use flyte_authz_proxy::clock::{Clock, SystemClock};
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::model::reason::Reason;
use serde_json::json;
use std::sync::Arc;
use std::sync::atomic::{AtomicUsize, Ordering};
use std::time::Duration;

/// A clock that panics once, when a worker looks at it for the given time.
#[derive(Clone, Debug, Default)]
struct Fragile(Arc<AtomicUsize>);

impl Fragile {
    /// The first look of a request is that of its record; the next ones are within its own work.
    fn panics_at_look(&self, number: usize) {
        self.0.store(number, Ordering::SeqCst);
    }

    fn has_panicked(&self) -> bool {
        self.0.load(Ordering::SeqCst) == 0
    }
}

impl Clock for Fragile {
    fn now(&self) -> Duration {
        if std::thread::current().name() == Some("worker") {
            let counted = |left: usize| left.checked_sub(1);
            let last = self.0.fetch_update(Ordering::SeqCst, Ordering::SeqCst, counted);
            assert_ne!(last, Ok(1), "as the test wants it");
        }
        SystemClock.now()
    }
}

async fn start() -> (Proxy, Fragile) {
    let clock = Fragile::default();
    let own = clock.clone();
    let proxy = Proxy::start_with(|setup| setup.clock = Arc::new(own)).await;
    (proxy, clock)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_is_answered_and_recorded_and_befalls_no_other_request_of_the_connection() {
    let (proxy, clock) = start().await;
    for by_grpc in [true, false] {
        // Another call of the same connection, on its way meanwhile.
        proxy
            .control_plane
            .script(Script::on("ListTasks", Fault::Delay { milliseconds: 3000 }));
        let arrived = proxy.control_plane.count();
        let (client, token) = (proxy.client.clone(), proxy.ml());
        let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
        let other = tokio::spawn(async move { client.call(Some(&token), "AdminService/ListTasks", message).await });
        eventually("it is on its way", || proxy.control_plane.count() > arrived).await;

        let before = proxy.before();
        clock.panics_at_look(2);
        let reply = if by_grpc {
            grpc(&proxy).await
        } else {
            rest(&proxy).await
        };
        let reply = reply.unwrap();
        assert!(clock.has_panicked());
        let record = proxy.refused(&before, &reply, Reason::Internal).await;
        assert_eq!(record["outcome"], "failed");
        let other = soon("the other call", other).await.unwrap().unwrap();
        assert_eq!(other.grpc_status(), Some(0));
        proxy.written(&other).await;
        proxy.control_plane.clear_scripts();

        let before = proxy.before();
        proxy.forwarded(&before, &grpc(&proxy).await.unwrap()).await;
    }
    assert!((proxy.metric("refusals_total{fault=\"proxy\"") - 2.0).abs() < f64::EPSILON);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_panic_while_an_answer_is_passed_on_breaks_it_off_and_is_recorded() {
    let (proxy, clock) = start().await;
    for by_grpc in [true, false] {
        let slow = Fault::Slow {
            piece: 1,
            milliseconds: 120,
        };
        proxy.control_plane.script(Script::on("ListExecutions", slow));
        let records = proxy.record_count();
        // The look at the answer comes after half a second; whichever number it has, it is the next one from then on.
        let fuse = clock.clone();
        let plane = proxy.control_plane.count();
        let lit = async {
            eventually("it has arrived", || proxy.control_plane.count() > plane).await;
            fuse.panics_at_look(1);
        };
        let call = async {
            if by_grpc {
                grpc(&proxy).await
            } else {
                rest(&proxy).await
            }
        };
        let (reply, ()) = soon("the end", async { tokio::join!(call, lit) }).await;
        assert!(reply.is_err(), "{reply:?}");
        let all = proxy.records_after(records, 1).await;
        assert_eq!(all.len(), 1, "{all:#?}");
        assert_eq!(
            (&all[0]["outcome"], &all[0]["reason"]),
            (&json!("failed"), &json!("internal"))
        );
        proxy.control_plane.clear_scripts();
        let before = proxy.before();
        proxy.forwarded(&before, &grpc(&proxy).await.unwrap()).await;
        let before = proxy.before();
        proxy.forwarded(&before, &rest(&proxy).await.unwrap()).await;
    }
    let open = || proxy.metric("connections_open");
    eventually("only the client's gRPC connection is open", || open() <= 1.0).await;
}
