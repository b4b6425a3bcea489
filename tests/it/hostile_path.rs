//! T-PATH: targets that a second parser could read in another way.

use crate::hostile::{Attack, RPC, TARGET};
use crate::raw::{self, Fate};
use flyte_authz_proxy::model::reason::Reason;
use http::Method;

/// A target that HTTP/1.1 carries as it is.
async fn target(attack: &Attack, target: &str, reason: Reason) {
    let head = attack.head(&format!("GET {target}"), "");
    attack.http1(head, reason).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_01_a_target_without_a_slash_is_no_request() {
    let attack = Attack::start().await;
    let head = attack.head("GET api/v1/executions/ml/development", "");
    attack.http1_no_request(head, 400).await;
    attack
        .http2_no_request(&[(b":path", RPC.trim_start_matches('/').as_bytes())], Fate::Reset)
        .await;
    attack.http2_no_request(&[(b":path", b"")], Fate::Reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_02_an_asterisk_is_no_path() {
    let attack = Attack::start().await;
    target(&attack, "*", Reason::PathNotCanonical).await;
    let head = attack.head("OPTIONS *", "");
    attack.http1(head, Reason::PathNotCanonical).await;
    attack.http2(&[(b":path", b"*")], Reason::PathNotCanonical).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_03_04_05_empty_segments_are_refused() {
    let attack = Attack::start().await;
    for path in [
        "//api/v1/executions/ml/development",
        "/api/v1//executions/ml/development",
        "/api/v1/executions//development",
        "/api/v1/executions/ml/development//",
    ] {
        target(&attack, path, Reason::PathNotCanonical).await;
    }
    target(&attack, "/api/v1/executions/ml/development/", Reason::RouteUnknown).await;
    target(&attack, "/api/v1/executions/ml/", Reason::RouteUnknown).await;
    for path in [format!("/{RPC}"), RPC.replacen("/L", "//L", 1), format!("{RPC}/")] {
        attack
            .grpc(&path, &[], attack.framed("ml"), Reason::MethodUnknown)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_06_07_dot_segments_are_refused_plain_and_encoded() {
    let attack = Attack::start().await;
    for path in [
        "/api/v1/./executions/ml/development",
        "/api/v1/executions/fraud/../ml/development",
        "/api/v1/executions/ml/development/..",
        "/api/v1/executions/ml/%2e%2e/fraud",
        "/api/v1/executions/ml/%2E./fraud",
        "/api/v1/executions/ml/.%2e",
        "/console/../api/v1/executions/fraud/development",
        "/console/%2e%2e/api/v1/executions/fraud/development",
    ] {
        target(&attack, path, Reason::PathNotCanonical).await;
    }
    let climbing = "/flyteidl.service.AdminService/../flyteidl.service.AdminService/ListExecutions";
    attack
        .grpc(climbing, &[], attack.framed("ml"), Reason::MethodUnknown)
        .await;
    let encoded = "/flyteidl.service.AdminService/%2e%2e/ListExecutions";
    attack
        .grpc(encoded, &[], attack.framed("ml"), Reason::PathNotCanonical)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_08_an_encoded_slash_never_reaches_a_gateway_that_splits_at_it() {
    let attack = Attack::start().await;
    for path in [
        "/api/v1/executions/ml%2Fdevelopment",
        "/api/v1/executions/ml/development%2f..%2f..%2ffraud%2Fdevelopment",
        "/api/v1/executions/fraud%2Fdevelopment/x",
        "/api/v1%2Fexecutions/ml/development",
        "/console/%2Fapi/v1/executions/fraud/development",
    ] {
        target(&attack, path, Reason::PathNotCanonical).await;
    }
    let path = RPC.replacen("/L", "%2FL", 1);
    attack
        .grpc(&path, &[], attack.framed("ml"), Reason::PathNotCanonical)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_09_to_13_characters_with_a_second_meaning_are_refused() {
    let attack = Attack::start().await;
    for segment in [
        // 09 backslashes
        "ml%5C..%5Cfraud",
        "ml\\..\\fraud",
        // 10 path parameters
        "ml;a=b",
        "..;",
        "ml%3Ba=b",
        // 11 controls
        "ml%00",
        "ml%0a",
        "ml%7f",
        "ml%20",
        // 12 encoded twice
        "m%256c",
        "%252e%252e",
        // 13 invalid and overlong escapes
        "m%zz",
        "ml%",
        "ml%2",
        "%c0%ae%c0%ae",
        "%u002e",
    ] {
        let path = format!("/api/v1/executions/{segment}/development");
        target(&attack, &path, Reason::PathNotCanonical).await;
        target(&attack, &format!("/console/{segment}"), Reason::PathNotCanonical).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_11_raw_controls_and_spaces_are_no_request() {
    let attack = Attack::start().await;
    for byte in ["\0", "\t", " ", "\u{7f}"] {
        let head = attack.head(&format!("GET /api/v1/executions/ml{byte}/development"), "");
        attack.http1_no_request(head, 400).await;
    }
    attack.http2_no_request(&[(b":path", b"/a\0b")], Fate::Reset).await;
    attack.http2_no_request(&[(b":path", b"/a b")], Fate::Reset).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_14_text_that_is_not_ascii_is_refused() {
    let attack = Attack::start().await;
    for segment in [
        "ｍｌ",
        "caf\u{e9}",
        "cafe\u{301}",
        "a\u{ff0f}b",
        "%ef%bc%8f",
        "caf%C3%A9",
    ] {
        let path = format!("/api/v1/executions/{segment}/development");
        target(&attack, &path, Reason::PathNotCanonical).await;
    }
    let path = "/flyteidl.service.AdminService/Listé";
    attack
        .http2(&[(b":path", path.as_bytes())], Reason::PathNotCanonical)
        .await;
    let mut head = attack.head("GET /api/v1/executions/m#/development", "").into_bytes();
    let hash = head.iter().position(|byte| *byte == b'#').unwrap();
    *head.get_mut(hash).unwrap() = 0xff;
    attack.http1_no_request(head, 400).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_15_a_fragment_is_neither_judged_nor_forwarded() {
    // The HTTP library cuts it off before anything can see it, so judged and forwarded is the same without.
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let line = "GET /api/v1/executions/ml/development#/../../fraud/development";
    let before = proxy.before();
    let reply = raw::http1(proxy, attack.head(line, "")).await.unwrap();
    let record = proxy.forwarded(&before, &reply).await;
    assert_eq!(record["targets"][0]["project"], "ml");
    assert_eq!(
        proxy.control_plane.arrivals()[0].target,
        "/api/v1/executions/ml/development"
    );
    target(
        &attack,
        "/api/v1/executions/ml/development%23",
        Reason::PathNotCanonical,
    )
    .await;
    target(
        &attack,
        "/api/v1/executions/fraud/development#ml",
        Reason::NoMatchingRule,
    )
    .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_16_a_grpc_path_has_no_query() {
    let attack = Attack::start().await;
    for query in ["?", "?id.project=fraud", "?/GetVersion"] {
        let path = format!("{RPC}{query}");
        attack
            .grpc(&path, &[], attack.framed("ml"), Reason::PathNotCanonical)
            .await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_17_case_is_kept() {
    let attack = Attack::start().await;
    for path in [
        "/flyteidl.service.adminservice/ListExecutions",
        "/flyteidl.service.AdminService/listexecutions",
        "/FLYTEIDL.SERVICE.ADMINSERVICE/LISTEXECUTIONS",
    ] {
        attack.grpc(path, &[], attack.framed("ml"), Reason::MethodUnknown).await;
    }
    target(&attack, "/API/v1/executions/ml/development", Reason::RouteUnknown).await;
    target(&attack, "/api/v1/Executions/ml/development", Reason::RouteUnknown).await;
    target(&attack, "/api/v1/executions/ML/development", Reason::ScopeInvalid).await;
    target(&attack, "/api/v1/executions/ml/Development", Reason::DomainUnknown).await;
    target(&attack, "/Console", Reason::RouteUnknown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_18_an_absolute_target_is_refused() {
    let attack = Attack::start().await;
    for target in [
        "http://evil.example.com/api/v1/executions/ml/development",
        "http://localhost/api/v1/executions/ml/development",
        "HTTP://user@localhost/api/v1/executions/ml/development",
        "http://localhost",
    ] {
        let head = attack.head(&format!("GET {target}"), "");
        attack.http1(head, Reason::PathNotCanonical).await;
    }
    attack
        .http2_no_request(
            &[(
                b":path",
                b"http://localhost/flyteidl.service.AdminService/ListExecutions",
            )],
            Fate::Reset,
        )
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_19_a_verb_behind_a_colon_is_part_of_the_name() {
    let attack = Attack::start().await;
    target(
        &attack,
        "/api/v1/executions/ml/development:cancel",
        Reason::DomainUnknown,
    )
    .await;
    target(&attack, "/api/v1/executions/ml:x/development", Reason::ScopeInvalid).await;
    target(&attack, "/api/v1/projects:x", Reason::RouteUnknown).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_20_a_long_path_is_refused() {
    let attack = Attack::start().await;
    let long = |length| format!("/api/v1/executions/ml/{}", "a".repeat(length));
    target(&attack, &long(9_000), Reason::PathNotCanonical).await;
    attack
        .http1_no_request(attack.head(&format!("GET {}", long(65_536)), ""), 431)
        .await;
    let query = format!("{TARGET}&filters={}", "a".repeat(17_000));
    target(&attack, &query, Reason::QueryRefused).await;
    let path = format!("{RPC}{}", "a".repeat(9_000));
    attack
        .grpc(&path, &[], attack.framed("ml"), Reason::PathNotCanonical)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_path_21_a_path_of_one_protocol_in_another_is_unknown() {
    let attack = Attack::start().await;
    for content_type in ["application/json", "application/grpc", "application/grpc+proto"] {
        let headers = [("content-type", content_type)];
        attack
            .rest((Method::POST, RPC), &headers, attack.framed("ml"), Reason::RouteUnknown)
            .await;
    }
    let path = "/api/v1/executions/ml/development";
    attack.grpc(path, &[], attack.framed("ml"), Reason::MethodUnknown).await;
    attack
        .grpc("/console", &[], attack.framed("ml"), Reason::MethodUnknown)
        .await;
    attack
        .grpc("/healthcheck", &[], attack.framed("ml"), Reason::MethodUnknown)
        .await;
}
