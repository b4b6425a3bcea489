//! Floods of HTTP/2 frames: each is cut off, or costs no memory, and a well-behaved client beside it is served.

use crate::flood::{Hostile, LIST, Seen, Target, head, headers, stream};
use crate::raw::{frame, literal};

/// What the proxy may ever have in memory in these tests, in MiB. Idle, a build without optimization has about 30.
const MOST: u64 = 160;

/// Opens and resets streams.
pub(crate) async fn rapid_reset(target: &Target) -> Seen {
    let mut hostile = Hostile::connect(target, &[]).await;
    let block = head(LIST, &target.token);
    let reset = |number| {
        let id = stream(number);
        [headers(id, &block, true), frame(3, 0, id, &8_u32.to_be_bytes())].concat()
    };
    hostile
        .flood((0..200).map(|batch| (batch * 50..batch * 50 + 50).flat_map(reset).collect()))
        .await;
    finished(hostile, 0).await
}

/// Makes the proxy reset streams: a window beyond what there can be is an error of the stream (RFC 9113, section 6.9.1).
pub(crate) async fn made_you_reset(target: &Target) -> Seen {
    let mut hostile = Hostile::connect(target, &[]).await;
    let block = head(LIST, &target.token);
    let provoke = |number| {
        let id = stream(number);
        [headers(id, &block, false), frame(8, 0, id, &i32::MAX.to_be_bytes())].concat()
    };
    hostile
        .flood((0..200).map(|batch| (batch * 20..batch * 20 + 20).flat_map(provoke).collect()))
        .await;
    finished(hostile, 0).await
}

/// A header that never ends.
pub(crate) async fn continuation(target: &Target) -> Seen {
    let mut hostile = Hostile::connect(target, &[]).await;
    let begin = frame(1, 1, 1, &head(LIST, &target.token));
    let more = frame(9, 0, 1, &literal(b"x-more", &[b'x'; 1000]));
    hostile
        .flood(std::iter::once(begin).chain((0..5_000).map(|_| more.clone())))
        .await;
    finished(hostile, 0).await
}

/// Frames that have to be answered each.
pub(crate) async fn ping(target: &Target) -> Seen {
    repeated(target, &frame(6, 0, 0, &[7; 8]), 20_000, 20_000).await
}

pub(crate) async fn settings(target: &Target) -> Seen {
    repeated(target, &frame(4, 0, 0, &[0, 4, 0, 1, 0, 0]), 20_000, 0).await
}

/// Frames that have no answer.
pub(crate) async fn window_update(target: &Target) -> Seen {
    repeated(target, &frame(8, 0, 0, &1_u32.to_be_bytes()), 50_000, 0).await
}

pub(crate) async fn priority(target: &Target) -> Seen {
    repeated(target, &frame(2, 0, 1, &[0, 0, 0, 3, 16]), 50_000, 0).await
}

async fn repeated(target: &Target, one: &[u8], count: usize, pings: usize) -> Seen {
    let mut hostile = Hostile::connect(target, &[]).await;
    let batch = one.repeat(100);
    hostile.flood((0..count / 100).map(|_| batch.clone())).await;
    finished(hostile, pings).await
}

/// A body of frames with nothing, or almost nothing, in them.
pub(crate) async fn empty_data(target: &Target) -> Seen {
    small_data(target, &[], 20_000).await
}

pub(crate) async fn one_byte_data(target: &Target) -> Seen {
    small_data(target, &[0], 200_000).await
}

async fn small_data(target: &Target, data: &[u8], count: usize) -> Seen {
    let mut hostile = Hostile::connect(target, &[]).await;
    let begin = headers(1, &head(LIST, &target.token), false);
    let batch = frame(0, 0, 1, data).repeat(100);
    hostile
        .flood(std::iter::once(begin).chain((0..count / 100).map(|_| batch.clone())))
        .await;
    finished(hostile, 0).await
}

/// One long header in the table of the connection, and then requests that name it a thousand times with a byte each.
pub(crate) async fn indexed_header_bomb(target: &Target) -> Seen {
    let mut hostile = Hostile::connect(target, &[]).await;
    // A literal that is indexed (RFC 7541, section 6.2.1): it becomes entry 62.
    let mut block = literal(b"x-bomb", &[b'b'; 3_900]);
    block[0] = 0x40;
    let insert = headers(1, &[head(LIST, ""), block].concat(), true);
    let bomb = [head(LIST, ""), vec![0x80 | 0x3e; 12_000]].concat();
    let bombs = (1..400).map(|number| headers(stream(number), &bomb, true));
    hostile.flood(std::iter::once(insert).chain(bombs)).await;
    finished(hostile, 0).await
}

/// Requests with more headers than any client sends.
pub(crate) async fn many_headers(target: &Target) -> Seen {
    let mut hostile = Hostile::connect(target, &[]).await;
    let many: Vec<u8> = (0..1500)
        .flat_map(|number| literal(format!("x-{number}").as_bytes(), b""))
        .collect();
    let block = [head(LIST, ""), many].concat();
    let requests = (0..400).map(|number| headers(stream(number), &block, true));
    hostile.flood(requests).await;
    finished(hostile, 0).await
}

/// A table for the proxy's own headers as large as can be asked for, and answers to fill it with.
pub(crate) async fn huge_table(target: &Target) -> Seen {
    let mut hostile = Hostile::connect(target, &[(1, u32::MAX)]).await;
    let block = head(LIST, "");
    let batch = |batch: u32| (batch * 20..batch * 20 + 20).flat_map(|number| headers(stream(number), &block, true));
    for number in 0..150 {
        hostile.flood([batch(number).collect()]).await;
        // No more than the streams that are allowed at one time.
        let answered = (number as usize + 1) * 20;
        hostile
            .until("answers", |seen| {
                seen.ended || seen.frames[1] + seen.frames[3] >= answered
            })
            .await;
    }
    finished(hostile, 0).await
}

/// What has been seen once the proxy has answered a last PING, after so many others, or has ended the connection.
async fn finished(mut hostile: Hostile, pings: usize) -> Seen {
    hostile.flood([frame(6, 0, 0, &[9; 8])]).await;
    hostile
        .until("an answer or the end", |seen| seen.ended || seen.frames[6] > pings)
        .await
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h2_resets_by_either_side_are_cut_off() {
    let target = Target::start("").await;
    let attack = async || {
        rapid_reset(&target).await.was_cut_off();
        made_you_reset(&target).await.was_cut_off();
    };
    target.served_beside(attack).await;
    target.stayed_below(MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h2_headers_without_end_and_bodies_of_nothing_are_cut_off() {
    let target = Target::start("").await;
    let attack = async || {
        continuation(&target).await.was_cut_off();
        empty_data(&target).await.was_cut_off();
        one_byte_data(&target).await.was_cut_off();
    };
    target.served_beside(attack).await;
    target.stayed_below(MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h2_pings_settings_windows_and_priorities_cost_no_memory() {
    let target = Target::start("").await;
    let attack = async || {
        let seen = ping(&target).await;
        assert!(seen.ended || seen.frames[6] == 20_001, "{seen:?}");
        let seen = settings(&target).await;
        // Its own and one acknowledgement each.
        assert!(seen.ended || seen.frames[4] >= 20_000, "{seen:?}");
        window_update(&target).await;
        priority(&target).await;
    };
    target.served_beside(attack).await;
    target.stayed_below(MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h2_pings_and_settings_whose_answers_nobody_reads_cost_no_memory() {
    let target = Target::start("").await;
    let neighbour = target.neighbour();
    for one in [frame(6, 0, 0, &[7; 8]), frame(4, 0, 0, &[0, 4, 0, 1, 0, 0])] {
        use tokio::io::AsyncWriteExt;
        let mut stream = target.tls(true).await.unwrap();
        stream
            .write_all(&[crate::flood::PREFACE, &frame(4, 0, 0, &[])].concat())
            .await
            .unwrap();
        let batch = one.repeat(1000);
        // 100 MB and more, unless the proxy stops to read.
        let flood = async { while stream.write_all(&batch).await.is_ok() {} };
        _ = tokio::time::timeout(std::time::Duration::from_secs(3), flood).await;
    }
    neighbour.was_served().await;
    target.stayed_below(MOST);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_h2_header_bombs_are_refused_unread() {
    let target = Target::start("").await;
    let before = target.control_plane.count();
    indexed_header_bomb(&target).await;
    many_headers(&target).await;
    huge_table(&target).await;
    assert_eq!(target.control_plane.count(), before);
    let attack = async || _ = indexed_header_bomb(&target).await;
    target.served_beside(attack).await;
    target.stayed_below(MOST);
}
