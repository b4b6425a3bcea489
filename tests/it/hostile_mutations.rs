//! Random changes of requests that are allowed: whatever is forwarded arrives with the scope that was judged. The
//! control plane here is as gullible as FlyteAdmin: it splits at encoded slashes, lets a query override the path and
//! takes what is empty for everything.

use crate::hostile::{Attack, RPC, show};
use crate::raw::{self, Pieces};
use flyte_authz_proxy::protocol::envelope;
use serde_json::{Value, json};

const CASES: usize = 1_000;

/// Pieces of requests that have, or once had, a meaning.
const PIECES: &[&str] = &[
    "/",
    "//",
    "%2F",
    "%2f",
    "..",
    ".",
    "%2e",
    "%2E%2e",
    ";",
    "?",
    "&",
    "=",
    "#",
    ":",
    "\\",
    "%5C",
    "%00",
    "%",
    "%25",
    "%252F",
    "+",
    "%20",
    "*",
    ",",
    "fraud",
    "ml",
    "development",
    "production",
    "id.project=fraud",
    "id.domain=",
    "id.project=",
    "project=fraud",
    "&limit=2",
    "?limit=1",
    "idProject",
    "limit",
    "executions",
    "api/v1",
    "fraud/",
    "\u{e9}",
];

/// Random choices that are the same in every run (xorshift64).
struct Random(u64);

impl Random {
    fn below(&mut self, bound: usize) -> usize {
        self.0 ^= self.0 << 13;
        self.0 ^= self.0 >> 7;
        self.0 ^= self.0 << 17;
        usize::try_from(self.0 >> 1).unwrap() % bound
    }

    fn range(&mut self, length: usize) -> std::ops::Range<usize> {
        let start = self.below(length + 1);
        start..(start + self.below(4)).min(length)
    }

    /// One or two changes: a piece put in, bytes removed, repeated or replaced.
    fn change(&mut self, original: &[u8], other: &[u8], pieces: &[Vec<u8>]) -> Vec<u8> {
        let mut changed = original.to_vec();
        for _ in 0..=self.below(2) {
            let range = self.range(changed.len());
            let piece = pieces.get(self.below(pieces.len())).unwrap().clone();
            let replacement = match self.below(6) {
                0 => Vec::new(),
                1 => changed.get(range.clone()).unwrap().repeat(2),
                2 => vec![u8::try_from(self.below(256)).unwrap(); range.len()],
                3 => other.get(self.range(other.len())).unwrap().to_vec(),
                _ => piece,
            };
            changed.splice(range, replacement);
        }
        changed
    }
}

/// What a run came to.
#[derive(Debug, Default)]
struct Tally {
    forwarded: usize,
    refused: usize,
    no_request: usize,
}

/// The project and domain of the request that arrived last, which the record of it must have named as its target. The
/// control plane may find that it cannot read the rest.
fn agrees(attack: &Attack, record: &Value) {
    let arrival = attack.proxy.control_plane.arrivals().pop().unwrap();
    let Some(request) = &arrival.request else {
        assert!(
            record["status"] == 400 || record["grpc_status"] == 13,
            "{record:#} {arrival:?}"
        );
        return;
    };
    let rpc = arrival.rpc.as_deref().unwrap();
    assert!(
        record["rpc"].as_str().unwrap().ends_with(&format!("/{rpc}")),
        "{record:#} {arrival:?}"
    );
    let target = &record["targets"][0];
    let arrived = |part: &str| request["id"][part].as_str().unwrap_or_default().to_owned();
    assert_eq!(target["project"], arrived("project").as_str(), "{arrival:?}");
    assert_eq!(target["domain"], arrived("domain").as_str(), "{arrival:?}");
    assert_eq!(target["project"], "ml", "{arrival:?}");
}

impl Tally {
    /// Counts what became of the one request since then, and checks what has to agree.
    async fn count(&mut self, attack: &Attack, (records, arrivals): (usize, usize)) {
        let proxy = &attack.proxy;
        let written = proxy.records_after(records, 1).await;
        assert_eq!(written.len(), 1, "{written:#?}");
        if written[0]["outcome"] == "forwarded" {
            assert_eq!(proxy.control_plane.count(), arrivals + 1);
            agrees(attack, &written[0]);
            self.forwarded += 1;
        } else {
            assert_eq!(proxy.control_plane.count(), arrivals, "{:#}", written[0]);
            assert!(written[0]["reason"].is_string());
            self.refused += 1;
        }
    }
}

/// How many records and arrivals there are.
fn now(attack: &Attack) -> (usize, usize) {
    (attack.proxy.record_count(), attack.proxy.control_plane.count())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_t_json_11_a_changed_target_is_refused_or_arrives_as_it_was_judged() {
    let attack = Attack::start().await;
    let mut random = Random(0x5eed_0001);
    let mut tally = Tally::default();
    let pieces: Vec<Vec<u8>> = PIECES.iter().map(|piece| piece.as_bytes().to_vec()).collect();
    let originals = [
        "/api/v1/executions/ml/development?limit=1&filters=eq(a,b)",
        "/api/v1/executions/ml/development/e1",
        "/api/v1/tasks/ml/staging/t/1?",
        "/api/v1/launch_plans/ml/production/p?limit=5&token=1",
    ];
    for case in 0..CASES {
        let original = originals.get(case % originals.len()).unwrap().as_bytes();
        let target = random.change(original, b"/api/v1/executions/fraud/development?limit=1", &pieces);
        if target.iter().any(|byte| matches!(byte, b'\r' | b'\n')) {
            continue;
        }
        show(&target.escape_ascii().to_string());
        attack.proxy.control_plane.clear();
        let since = now(&attack);
        let head = attack.head("GET @", "connection: close\r\n");
        let (before, after) = head.split_once('@').unwrap();
        let request = [before.as_bytes(), &target, after.as_bytes()].concat();
        let reply = raw::http1(&attack.proxy, request).await.unwrap();
        if reply.headers.contains_key("x-request-id") {
            tally.count(&attack, since).await;
        } else {
            // The HTTP library's own refusal: nothing is recorded, nothing arrives.
            assert_eq!(reply.status, 400);
            assert_eq!(now(&attack), since);
            tally.no_request += 1;
        }
    }
    show(&format!("{tally:?}"));
    assert!(tally.forwarded > 100 && tally.refused > 300, "{tally:?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_pb_a_changed_message_is_refused_or_arrives_as_it_was_judged() {
    let attack = Attack::start().await;
    let mut random = Random(0x5eed_0002);
    let mut tally = Tally::default();
    let fraud = attack.message("fraud");
    let mut pieces = vec![fraud.clone(), attack.message("ml"), attack.message("")];
    // Tags, lengths and whole fields.
    pieces.extend((0..32).map(|byte| vec![byte]));
    pieces.extend(
        [
            &b"\x0a\x05fraud"[..],
            b"\x12\x0bdevelopment",
            b"\x0a\x00",
            b"\x12\x00",
            b"\x1a\x05fraud",
            b"\x22\x01x",
        ]
        .map(<[u8]>::to_vec),
    );
    pieces.extend([&b"\x80"[..], b"\xff", b"ml", b"fraud", b"\x0b\x0c"].map(<[u8]>::to_vec));
    // Much of it is not judged, so that not every change ends in a refusal.
    let request = json!({
        "id": {"project": "ml", "domain": "development"},
        "limit": 300,
        "token": "0123456789",
        "filters": "eq(execution.name,fraud)+eq(project,fraud)",
        "sort_by": {"key": "created_at", "direction": "ASCENDING"},
    });
    let original = attack
        .proxy
        .client
        .encode("AdminService/ListExecutions", request)
        .unwrap();
    let headers = [
        ("content-type", "application/grpc"),
        ("authorization", attack.bearer.as_str()),
    ];
    for case in 0..CASES {
        let message = random.change(&original, &fraud, &pieces);
        show(&message.escape_ascii().to_string());
        attack.proxy.control_plane.clear();
        let since = now(&attack);
        // Every fifth has its frame changed too.
        let mut body = envelope::frame(&message).to_vec();
        if case % 5 == 0 {
            body = random.change(&body, &attack.framed("fraud"), &pieces);
        }
        raw::pieces(&attack.proxy, RPC, &headers, Pieces::of([&body[..]]))
            .await
            .unwrap();
        tally.count(&attack, since).await;
    }
    show(&format!("{tally:?}"));
    assert!(tally.forwarded > 100 && tally.refused > 300, "{tally:?}");
}
