//! T-HDR 01, 02, 06, 07, 09 to 14: headers that two readers take for different things.

use crate::hostile::{Attack, RPC, TARGET, show};
use crate::raw::{self, Fate, Pieces};
use flyte_authz_proxy::model::reason::Reason;
use http::Method;

/// Sends the headers with GET over HTTP/1.1, as written and without a credential of their own.
async fn anonymous(attack: &Attack, headers: &str, reason: Reason) {
    let head = format!("GET {TARGET} HTTP/1.1\r\nhost: localhost\r\n{headers}\r\n");
    attack.http1(head, reason).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_01_a_credential_sent_twice_is_refused() {
    let attack = Attack::start().await;
    let (ml, fraud) = (&attack.bearer, format!("Bearer {}", attack.proxy.fraud()));
    for second in [ml, &fraud, "", "Basic eDp5"] {
        let headers = [("authorization", second)];
        attack
            .rest((Method::GET, TARGET), &headers, "", Reason::CredentialConflict)
            .await;
        attack
            .grpc(RPC, &headers, attack.framed("ml"), Reason::CredentialConflict)
            .await;
        let twice = format!("flyte-authorization: {ml}\r\nFlyte-Authorization: {second}\r\n");
        anonymous(&attack, &twice, Reason::CredentialConflict).await;
    }
    let listed = format!("authorization: {ml}, {fraud}\r\n");
    anonymous(&attack, &listed, Reason::CredentialMalformed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_02_credentials_of_two_callers_are_refused_and_unused_ones_do_not_count() {
    let attack = Attack::start().await;
    let fraud = format!("Bearer {}", attack.proxy.fraud());
    let other = [("flyte-authorization", fraud.as_str())];
    attack
        .rest((Method::GET, TARGET), &other, "", Reason::CredentialConflict)
        .await;
    attack
        .grpc(RPC, &other, attack.framed("ml"), Reason::CredentialConflict)
        .await;
    let invalid = [("flyte-authorization", "Bearer a.b.c")];
    attack
        .rest((Method::GET, TARGET), &invalid, "", Reason::TokenMalformed)
        .await;
    // Neither a cookie nor what is meant for a proxy in front is a credential.
    let cookie = format!("cookie: flyte_at={fraud}\r\nproxy-authorization: {fraud}\r\n");
    anonymous(&attack, &cookie, Reason::CredentialMissing).await;
    let wrong = format!("authorization: {fraud}\r\nproxy-authorization: {}\r\n", attack.bearer);
    anonymous(&attack, &wrong, Reason::NoMatchingRule).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_06_content_types_with_two_readings_are_refused() {
    let attack = Attack::start().await;
    let body = r#"{"project": "ml", "domain": "development"}"#;
    let create = || (Method::POST, "/api/v1/executions");
    for content_type in [
        "application/json, application/octet-stream",
        "application/octet-stream;charset=utf-8",
        "application/json;charset=utf-7",
        "application/json; charset=utf-16",
        "application/json; charset=utf-8; charset=utf-16",
        "text/json",
        "text/plain",
        "multipart/form-data; boundary=x",
        "application/x-www-form-urlencoded",
        "application/grpc",
        "",
    ] {
        let headers = [("content-type", content_type)];
        attack
            .rest(create(), &headers, body, Reason::ContentTypeUnsupported)
            .await;
    }
    attack.rest(create(), &[], body, Reason::ContentTypeUnsupported).await;
    let twice = [
        ("content-type", "application/json"),
        ("content-type", "application/octet-stream"),
    ];
    attack.rest(create(), &twice, body, Reason::HeaderAmbiguous).await;
    for content_type in [
        "application/grpc+json",
        "application/grpc;x",
        "application/grpc; charset=utf-8",
        "APPLICATION/GRPC",
        "application/grpc ,x",
    ] {
        let headers = [("content-type", content_type)];
        attack
            .grpc(RPC, &headers, attack.framed("ml"), Reason::ContentTypeUnsupported)
            .await;
    }
    let twice = [
        ("content-type", "application/grpc"),
        ("content-type", "application/json"),
    ];
    attack
        .grpc(RPC, &twice, attack.framed("ml"), Reason::HeaderAmbiguous)
        .await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_07_bytes_that_are_no_text_are_never_taken_for_absence() {
    let attack = Attack::start().await;
    for (name, reason) in [
        ("authorization", Reason::CredentialMalformed),
        ("flyte-authorization", Reason::CredentialMalformed),
        ("grpc-encoding", Reason::HeaderAmbiguous),
        ("grpc-timeout", Reason::HeaderAmbiguous),
        ("te", Reason::HeaderAmbiguous),
    ] {
        let value: &[u8] = if name.ends_with("authorization") {
            b"Bearer \xff"
        } else {
            b"1S\xff"
        };
        if name == "te" {
            // The library knows only one value of it.
            attack.http2_no_request(&[(b"te", value)], Fate::Reset).await;
            continue;
        }
        attack.http2(&[(name.as_bytes(), value)], reason).await;
    }
    let token = attack.bearer.trim_start_matches("Bearer ");
    anonymous(
        &attack,
        &format!("authorization: Bearer  {token}\r\n"),
        Reason::CredentialMalformed,
    )
    .await;
    anonymous(
        &attack,
        &format!("authorization: Bearer\t{token}\r\n"),
        Reason::CredentialMalformed,
    )
    .await;
    // Spaces around a whole value are no part of it (RFC 9110, section 5.5).
    let before = attack.proxy.before();
    let head = format!("GET {TARGET} HTTP/1.1\r\nhost: localhost\r\nauthorization: \t Bearer {token} \t\r\n\r\n");
    let reply = raw::http1(&attack.proxy, head).await.unwrap();
    attack.proxy.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_09_exactly_one_plain_host_is_named() {
    let attack = Attack::start().await;
    for (hosts, reason) in [
        ("", Reason::HostInvalid),
        ("host:\r\n", Reason::HostInvalid),
        ("host: localhost\r\nhost: evil.example.com\r\n", Reason::HeaderAmbiguous),
        ("host: localhost\r\nhost: localhost\r\n", Reason::HeaderAmbiguous),
        ("host: user@localhost\r\n", Reason::HostInvalid),
        ("host: localhost, evil.example.com\r\n", Reason::HostInvalid),
        ("host: localhost/x\r\n", Reason::HostInvalid),
    ] {
        let head = format!(
            "GET {TARGET} HTTP/1.1\r\n{hosts}authorization: {}\r\n\r\n",
            attack.bearer
        );
        attack.http1(head, reason).await;
    }
    for (authority, host, reason) in [
        (&b""[..], &b""[..], Reason::HostInvalid),
        (b"localhost", b"evil.example.com", Reason::HostInvalid),
        (b"user@localhost", b"", Reason::HostInvalid),
    ] {
        attack
            .http2(&[(b":authority", authority), (b"host", host)], reason)
            .await;
    }
    let twice: [(&[u8], &[u8]); 2] = [(b"host", b"localhost"), (b"host", b"localhost")];
    attack.http2(&twice, Reason::HeaderAmbiguous).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_10_a_token_in_the_query_is_refused_and_never_repeated() {
    let attack = Attack::start().await;
    let token = attack.bearer.trim_start_matches("Bearer ").to_owned();
    for key in ["access_token", "token", "Authorization", "id_token"] {
        let target = format!("/api/v1/executions/ml/development?{key}={token}");
        // `token` is a page of the list: a known key, so that a caller without credential is asked for one.
        let head = format!("GET {target} HTTP/1.1\r\nhost: localhost\r\n\r\n");
        attack.http1(head, Reason::CredentialMissing).await;
        if key != "token" {
            attack.rest((Method::GET, &target), &[], "", Reason::QueryRefused).await;
        }
    }
    let written = format!("{:?}", attack.proxy.records());
    for part in token.split('.') {
        assert!(!written.contains(part), "a record repeats the token");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_11_12_a_credential_has_one_form_and_goes_upstream_in_one_spelling() {
    let attack = Attack::start().await;
    let token = attack.bearer.trim_start_matches("Bearer ");
    for value in [
        "",
        "Bearer",
        "Bearer ",
        "Bearer a b",
        "Bearer,x",
        "Basic eDp5",
        "Bearer: x",
        &format!("Token {token}"),
        &format!("{token} Bearer"),
        token,
        &format!("Bearer {token} {token}"),
        &format!("Bearer {token},"),
        &format!("Bearer \"{token}\""),
    ] {
        anonymous(
            &attack,
            &format!("authorization: {value}\r\n"),
            Reason::CredentialMalformed,
        )
        .await;
    }
    for (scheme, sent) in [
        ("bearer", "Bearer"),
        ("BEARER", "Bearer"),
        ("IDToken", "IDToken"),
        ("idtoken", "IDToken"),
    ] {
        show(scheme);
        let before = attack.proxy.before();
        let value = format!("{scheme} {token}");
        let headers = [("authorization", value.as_str())];
        let reply = attack
            .proxy
            .plain
            .rest(Method::GET, TARGET, &headers, "")
            .await
            .unwrap();
        attack.proxy.forwarded(&before, &reply).await;
        let arrival = attack.proxy.control_plane.arrivals().pop().unwrap();
        assert_eq!(arrival.header("authorization"), [format!("{sent} {token}")]);
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_13_trailers_of_a_request_are_dropped() {
    let attack = Attack::start().await;
    let proxy = &attack.proxy;
    let fraud = format!("Bearer {}", proxy.fraud());
    let headers = [
        ("content-type", "application/grpc"),
        ("te", "trailers"),
        ("authorization", attack.bearer.as_str()),
    ];
    let before = proxy.before();
    let body = Pieces::of([&*attack.framed("ml")]).with_trailer("authorization", &fraud);
    let reply = raw::pieces(proxy, RPC, &headers, body).await.unwrap();
    proxy.forwarded(&before, &reply).await;
    // Alone they are no credential.
    let before = proxy.before();
    let body = Pieces::of([&*attack.framed("ml")]).with_trailer("authorization", &fraud);
    let unsigned: Vec<_> = headers.into_iter().take(2).collect();
    let reply = raw::pieces(proxy, RPC, &unsigned, body).await.unwrap();
    proxy.refused(&before, &reply, Reason::CredentialMissing).await;
    let arrivals = proxy.control_plane.arrivals();
    assert_eq!(arrivals.len(), 1);
    assert_eq!(arrivals[0].header("authorization"), [attack.bearer.as_str()]);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_hdr_14_too_many_or_too_large_headers_are_refused() {
    let attack = Attack::start().await;
    let many = "x: y\r\n".repeat(101);
    attack
        .http1_no_request(attack.head(&format!("GET {TARGET}"), &many), 431)
        .await;
    let cookie = format!("cookie: {}\r\n", "a".repeat(128 << 10));
    attack
        .http1_no_request(attack.head(&format!("GET {TARGET}"), &cookie), 431)
        .await;
    let names: Vec<String> = (0..101).map(|index| format!("x-{index}")).collect();
    let many: Vec<(&[u8], &[u8])> = names.iter().map(|name| (name.as_bytes(), &b"y"[..])).collect();
    attack.http2(&many, Reason::HeadersTooLarge).await;
    // More than the header bytes allowed, over HTTP/2.
    let cookie = "a".repeat(20 << 10);
    let mut large = vec![("content-type", "application/grpc"), ("authorization", &attack.bearer)];
    large.extend([("cookie", cookie.as_str()); 4]);
    let before = attack.proxy.before();
    let body = Pieces::of([&*attack.framed("ml")]);
    match raw::pieces(&attack.proxy, RPC, &large, body).await {
        Ok(reply) => assert_eq!(reply.status, 431),
        Err(error) => panic!("{error:?}"),
    }
    attack.proxy.untouched(&before).await;
}
