//! What is known of addresses: kept while they stay, forgotten when they go, left out for longer and longer.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;

fn endpoint(written: &str) -> Endpoint {
    let parts = written.parse::<http::Uri>().unwrap().into_parts();
    Endpoint {
        scheme: parts.scheme.unwrap(),
        authority: parts.authority.unwrap(),
    }
}

fn replicas(hosts: &[&str]) -> Replicas {
    let hosts: Vec<Endpoint> = hosts.iter().map(|host| endpoint(host)).collect();
    Replicas::new(Port::Grpc, &hosts, Arc::default(), Arc::new(Metrics::new().unwrap()))
}

fn address(last: u8) -> SocketAddr {
    SocketAddr::from(([127, 0, 0, last], 8089))
}

/// The value of each series of an address, in order.
fn shown(replicas: &Replicas) -> Vec<(String, bool)> {
    let text = String::from_utf8(replicas.metrics.render().unwrap()).unwrap();
    let series = text
        .lines()
        .filter_map(|line| line.strip_prefix("flyte_authz_upstream_address_up{address=\""));
    series
        .map(|series| {
            let (address, rest) = series.split_once('"').unwrap();
            (address.to_owned(), rest.ends_with(" 1"))
        })
        .collect()
}

#[test]
fn an_address_that_is_written_down_is_known_at_once_and_a_name_is_not() {
    let known = replicas(&[
        "http://127.0.0.1:8089",
        "http://[::1]:8089",
        "https://10.0.0.1",
        "http://name.test:8089",
    ]);
    let current = known.current();
    let addresses: Vec<String> = current.iter().map(|replica| replica.address.to_string()).collect();
    assert_eq!(addresses, ["127.0.0.1:8089", "[::1]:8089", "10.0.0.1:443"]);
    assert!(!replicas(&["http://name.test:8089"]).is_known());
}

#[tokio::test]
async fn what_is_known_of_an_address_stays_while_it_does() {
    let replicas = replicas(&["http://name.test:8089"]);
    assert!(replicas.replace(&[vec![address(1), address(2)]]));
    let before = replicas.current.load_full();
    replicas.failed(&before[0]);
    assert!(
        !replicas.replace(&[vec![address(1), address(2)]]),
        "nothing has changed"
    );
    assert!(replicas.replace(&[vec![address(1), address(3)]]));
    let after = replicas.current.load_full();
    assert!(Arc::ptr_eq(&before[0], &after[0]) && after[0].is_left_out());
    assert_eq!(
        shown(&replicas),
        [
            ("127.0.0.1:8089".to_owned(), false),
            ("127.0.0.3:8089".to_owned(), true)
        ],
        "what has gone has no series"
    );
    replicas.answered(&after[0]);
    assert_eq!(shown(&replicas)[0], ("127.0.0.1:8089".to_owned(), true));
}

#[test]
fn however_many_addresses_there_are_a_bounded_number_is_used_and_each_once() {
    let replicas = replicas(&["http://one.test:8089", "http://two.test:8089"]);
    let many: Vec<SocketAddr> = (0..200).map(address).collect();
    replicas.replace(&[vec![address(7), address(8)], many]);
    let current = replicas.current.load_full();
    assert_eq!((current.len(), shown(&replicas).len()), (MAX_ADDRESSES, MAX_ADDRESSES));
    let seventh = current.iter().filter(|replica| replica.address == address(7));
    assert_eq!(seventh.count(), 1);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_left_out_for_longer_and_longer_until_it_answers() {
    let replicas = replicas(&["http://127.0.0.1:8089"]);
    let replica = Arc::clone(&replicas.current()[0]);
    let pauses = |count: usize| {
        let mut pauses = Vec::new();
        for _ in 0..count {
            replicas.tried(&replica, true);
            replicas.failed(&replica);
            replicas.failed(&replica);
            pauses.push((replicas.next_trial().unwrap() - Instant::now()).as_secs());
        }
        pauses
    };
    assert_eq!(
        pauses(7),
        [1, 2, 4, 8, 16, 30, 30],
        "being reached is not yet an answer"
    );
    replicas.tried(&replica, true);
    replicas.answered(&replica);
    assert!(replicas.next_trial().is_none() && !replica.is_left_out());
    assert_eq!(pauses(2), [1, 2]);
}

#[tokio::test(start_paused = true)]
async fn an_address_is_due_once_its_pause_is_over_and_not_again_while_it_is_tried() {
    let replicas = replicas(&["http://127.0.0.1:8089"]);
    let replica = Arc::clone(&replicas.current()[0]);
    let patience = Duration::from_secs(3);
    replicas.failed(&replica);
    assert!(replicas.due(patience).is_empty());
    tokio::time::advance(FIRST_PAUSE).await;
    assert_eq!(replicas.due(patience).len(), 1);
    assert!(replicas.due(patience).is_empty());
    replicas.tried(&replica, false);
    tokio::time::advance(2 * FIRST_PAUSE).await;
    assert_eq!(replicas.due(patience).len(), 1, "the second pause is twice as long");
}
