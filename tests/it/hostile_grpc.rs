//! T-GRPC: envelopes, calls and answers that are not what a unary gRPC call is.

use crate::hostile::{Attack, RPC, show};
use crate::raw::{self, Fate, Pieces};
use flate2::Compression;
use flate2::write::GzEncoder;
use flyte_authz_proxy::demo::control_plane::{Fault, Script};
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use std::io::Write as _;

fn gzip(bytes: &[u8]) -> Vec<u8> {
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(bytes).unwrap();
    encoder.finish().unwrap()
}

/// A frame with any flag and any length.
fn frame(flag: u8, length: usize, bytes: &[u8]) -> Vec<u8> {
    let length = u32::try_from(length).unwrap().to_be_bytes();
    [&[flag], &length[..], bytes].concat()
}

fn whole(flag: u8, bytes: &[u8]) -> Vec<u8> {
    frame(flag, bytes.len(), bytes)
}

fn headers(attack: &Attack) -> [(&str, &str); 3] {
    [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", &attack.bearer),
    ]
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_01_02_anything_but_one_whole_frame_is_refused() {
    let attack = Attack::start().await;
    let ml = attack.message("ml");
    let fraud = attack.message("fraud");
    for body in [
        vec![],
        vec![0],
        vec![0, 0, 0, 0],
        frame(0, ml.len() + 1, &ml),
        frame(0, ml.len() - 1, &ml),
        frame(0, 0, &ml),
        [whole(0, &ml), vec![0]].concat(),
        [whole(0, &ml), whole(0, &fraud)].concat(),
        [whole(0, &ml), whole(0, &ml)].concat(),
        [whole(0, &[]), whole(0, &fraud)].concat(),
        [whole(0, &ml), whole(0x80, b"grpc-status: 0\r\n")].concat(),
    ] {
        attack.grpc(RPC, &[], body, Reason::FrameMalformed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_03_compression_is_what_the_headers_say_or_refused() {
    let attack = Attack::start().await;
    let ml = attack.message("ml");
    for flag in [1, 2, 3, 0x80, 0xff] {
        attack.grpc(RPC, &[], whole(flag, &ml), Reason::FrameMalformed).await;
    }
    attack
        .grpc(RPC, &[], whole(1, &gzip(&ml)), Reason::FrameMalformed)
        .await;
    let identity = [("grpc-encoding", "identity")];
    attack
        .grpc(RPC, &identity, whole(1, &gzip(&ml)), Reason::FrameMalformed)
        .await;
    for encoding in ["deflate", "snappy", "zstd", "GZIP", "gzip, identity", ""] {
        let headers = [("grpc-encoding", encoding)];
        attack
            .grpc(RPC, &headers, whole(1, &gzip(&ml)), Reason::EncodingUnsupported)
            .await;
        attack
            .grpc(RPC, &headers, whole(0, &ml), Reason::EncodingUnsupported)
            .await;
    }
    let twice = [("grpc-encoding", "gzip"), ("grpc-encoding", "identity")];
    attack
        .grpc(RPC, &twice, whole(1, &gzip(&ml)), Reason::HeaderAmbiguous)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_04_05_a_compressed_message_is_one_gzip_member_of_bounded_size() {
    let attack = Attack::start().await;
    let gzipped = [("grpc-encoding", "gzip")];
    let (ml, fraud) = (gzip(&attack.message("ml")), gzip(&attack.message("fraud")));
    let mut wrong = ml.clone();
    *wrong.iter_mut().rev().nth(5).unwrap() ^= 1;
    for body in [
        [&ml[..], &fraud].concat(),
        [&ml[..], b"x"].concat(),
        [&ml[..], &[0; 8]].concat(),
        ml.split_last().unwrap().1.to_vec(),
        ml.get(..ml.len() - 8).unwrap().to_vec(),
        wrong,
        b"not gzip".to_vec(),
        vec![],
    ] {
        attack
            .grpc(RPC, &gzipped, whole(1, &body), Reason::FrameMalformed)
            .await;
    }
    let bomb = gzip(&vec![0; 64 << 20]);
    assert!(bomb.len() < 128 << 10);
    attack
        .grpc(RPC, &gzipped, whole(1, &bomb), Reason::MessageTooLarge)
        .await;
    // Not compressed: announced, and sent.
    attack
        .grpc(RPC, &[], frame(0, 5 << 20, &[0; 64]), Reason::MessageTooLarge)
        .await;
    attack
        .grpc(RPC, &[], whole(0, &vec![0; 5 << 20]), Reason::MessageTooLarge)
        .await;

    // A whole one is judged by what is in it, and goes on as what was judged.
    let proxy = &attack.proxy;
    attack
        .grpc(RPC, &gzipped, whole(1, &fraud), Reason::NoMatchingRule)
        .await;
    let before = proxy.before();
    let all = [&headers(&attack)[..], &gzipped].concat();
    let reply = raw::pieces(proxy, RPC, &all, Pieces::of([&whole(1, &ml)[..]]))
        .await
        .unwrap();
    proxy.forwarded(&before, &reply).await;
    let arrival = proxy.control_plane.arrivals().pop().unwrap();
    assert_eq!(arrival.body, whole(0, &attack.message("ml")));
    assert!(arrival.header("grpc-encoding").is_empty());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_06_where_data_is_split_makes_no_difference() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    for (project, allowed) in [("ml", true), ("fraud", false)] {
        let body = attack.framed(project);
        let splits = (0..=body.len()).map(|at| {
            let (head, tail) = body.split_at(at);
            vec![head, tail]
        });
        let bytewise = body.chunks(1).collect();
        let with_empty = body.chunks(1).flat_map(|byte| [&[][..], byte]).collect();
        for pieces in splits.chain([bytewise, with_empty]) {
            show(&format!("{project} in {} pieces", pieces.len()));
            let before = proxy.before();
            let reply = raw::pieces(proxy, RPC, &headers(&attack), Pieces::of(pieces))
                .await
                .unwrap();
            if allowed {
                proxy.forwarded(&before, &reply).await;
                assert_eq!(proxy.control_plane.arrivals().pop().unwrap().body, body);
            } else {
                proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
            }
        }
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_07_a_request_without_a_body_is_refused() {
    let attack = Attack::start().await;
    let before = attack.proxy.before();
    let fate = raw::http2(&attack.proxy, &attack.fields(&[]), None).await;
    assert_eq!(fate, Fate::Answered { headers_only: true });
    attack.proxy.recorded(&before, Reason::FrameMalformed).await;
    // More comes than was announced: the library resets the stream while the gate reads.
    let before = attack.proxy.before();
    let length: [(&[u8], &[u8]); 1] = [(b"content-length", b"3")];
    let fate = raw::http2(&attack.proxy, &attack.fields(&length), Some(&attack.framed("ml"))).await;
    assert_eq!(fate, Fate::Reset);
    attack.proxy.recorded(&before, Reason::BodyAborted).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_09_10_methods_that_are_not_in_the_catalogue_are_refused() {
    let attack = Attack::start().await;
    for path in [
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "/grpc.reflection.v1alpha.ServerReflection/ServerReflectionInfo",
        "/grpc.health.v1.Health/Watch",
        "/grpc.health.v1.Health/List",
        "/grpc.channelz.v1.Channelz/GetTopChannels",
        "/flyteidl.service.AdminService/DeleteEverything",
        "/flyteidl.service.AdminService/",
        "/flyteidl.service.NewService/List",
        "/flyteidl2.workflow.RunService/CreateRun",
        "/datacatalog.DataCatalog/GetDataset",
        "/x",
        "/",
    ] {
        attack.grpc(path, &[], attack.framed("ml"), Reason::MethodUnknown).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_11_te_is_the_proxys_own() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let [content_type, _, authorization] = headers(&attack);
    let before = proxy.before();
    let body = Pieces::of([&*attack.framed("ml")]);
    let reply = raw::pieces(proxy, RPC, &[content_type, authorization], body)
        .await
        .unwrap();
    proxy.forwarded(&before, &reply).await;
    assert_eq!(proxy.control_plane.arrivals().pop().unwrap().header("te"), ["trailers"]);
    attack.http2_no_request(&[(b"te", b"gzip")], Fate::Reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_12_grpc_web_is_not_spoken() {
    let attack = Attack::start().await;
    for content_type in [
        "application/grpc-web",
        "application/grpc-web+proto",
        "application/grpc-web-text",
    ] {
        let headers = [("content-type", content_type)];
        attack
            .rest(
                (http::Method::POST, RPC),
                &headers,
                attack.framed("ml"),
                Reason::RouteUnknown,
            )
            .await;
        let before = attack.proxy.before();
        let all = [headers[0], ("authorization", attack.bearer.as_str())];
        let body = Pieces::of([&*attack.framed("ml")]);
        let reply = raw::pieces(&attack.proxy, RPC, &all, body).await.unwrap();
        attack.proxy.refused(&before, &reply, Reason::RouteUnknown).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_13_an_upstream_that_breaks_off_is_no_success() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    for fault in [Fault::Reset, Fault::ResetMidway] {
        show(&format!("{fault:?}"));
        let records = proxy.record_count();
        let refusals = proxy.metric("refusals_total");
        proxy.control_plane.clear_scripts();
        proxy.control_plane.script(Script::on("ListExecutions", fault));
        let body = Pieces::of([&*attack.framed("ml")]);
        let reply = raw::pieces(proxy, RPC, &headers(&attack), body).await;
        assert!(
            reply.as_ref().map_or(true, |reply| reply.grpc_status() == Some(14)),
            "{reply:?}"
        );
        let records = proxy.records_after(records, 1).await;
        assert_eq!(records.len(), 1);
        assert_eq!(
            (&records[0]["outcome"], &records[0]["reason"]),
            (&"failed".into(), &"upstream_failed".into())
        );
        assert!((proxy.metric("refusals_total") - refusals - 1.0).abs() < f64::EPSILON);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_13_an_answer_without_a_status_is_passed_on_and_recorded_as_it_is() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let unavailable = Fault::Http {
        status: 503,
        body: "down".to_owned(),
    };
    for (fault, status) in [(unavailable, 503), (Fault::NoTrailers, 200)] {
        show(&format!("{fault:?}"));
        proxy.control_plane.clear_scripts();
        proxy.control_plane.script(Script::on("ListExecutions", fault));
        let before = proxy.before();
        let body = Pieces::of([&*attack.framed("ml")]);
        let reply = raw::pieces(proxy, RPC, &headers(&attack), body).await.unwrap();
        let record = proxy.forwarded(&before, &reply).await;
        assert_eq!((reply.status.as_u16(), reply.grpc_status()), (status, None));
        assert_eq!(record["status"], status);
        assert!(record.get("grpc_status").is_none(), "no success is made up: {record:#}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_14_a_timeout_is_digits_and_a_unit() {
    let attack = Attack::start().await;
    for value in [
        "",
        "S",
        "1",
        "1s",
        "-1S",
        "+1S",
        "1.5S",
        "1 S",
        "123456789S",
        "1SS",
        "0x1S",
        "∞S",
    ] {
        let reason = if value.is_ascii() {
            Reason::TimeoutInvalid
        } else {
            Reason::HeaderAmbiguous
        };
        attack
            .grpc(RPC, &[("grpc-timeout", value)], attack.framed("ml"), reason)
            .await;
        // FlyteAdmin's gateway reads it, too.
        let list = (Method::GET, "/api/v1/executions/ml/development");
        attack.rest(list, &[("grpc-timeout", value)], "", reason).await;
    }
    let twice = [("grpc-timeout", "1S"), ("grpc-timeout", "2S")];
    attack
        .grpc(RPC, &twice, attack.framed("ml"), Reason::HeaderAmbiguous)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_grpc_06_a_body_that_does_not_come_is_not_waited_for() {
    let attack = Attack::start_with(|setup| {
        setup.configuration = "workers: 1\nlimits: { body_timeout: 300ms }\n".to_owned();
    })
    .await;
    let proxy = &attack.proxy;
    let body = attack.framed("ml");
    for cut in [0, 4, 5, body.len() - 1, body.len()] {
        show(&format!("stalled after {cut} bytes"));
        let before = proxy.before();
        let body = Pieces::of([body.get(..cut).unwrap()]).stalled();
        let reply = raw::pieces(proxy, RPC, &headers(&attack), body).await.unwrap();
        proxy.refused(&before, &reply, Reason::BodyTimeout).await;
    }
    for started in ["", "{\"project\": \"m"] {
        let json = "content-type: application/json\r\ncontent-length: 50\r\n";
        let head = attack.head("POST /api/v1/executions", json);
        attack.http1(format!("{head}{started}"), Reason::BodyTimeout).await;
    }
}
