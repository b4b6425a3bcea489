//! T-JSON: JSON bodies and queries that two readers take for different requests.

use crate::hostile::{Attack, show};
use flate2::Compression;
use flate2::write::GzEncoder;
use flyte_authz_proxy::model::reason::Reason;
use http::Method;
use std::io::Write as _;

const CREATE: &str = "/api/v1/executions";
const PLAN: &str = r#""launchPlan": {"resourceType": "LAUNCH_PLAN", "project": "ml", "domain": "development", "name": "p", "version": "1"}"#;

async fn body(attack: &Attack, body: impl AsRef<[u8]>, reason: Reason) {
    let body = body.as_ref().to_vec();
    show(&String::from_utf8_lossy(&body));
    let headers = [("content-type", "application/json")];
    attack.rest((Method::POST, CREATE), &headers, body, reason).await;
}

/// A body that the caller may send, but for `more`.
fn create(more: &str) -> String {
    format!(r#"{{"project": "ml", "domain": "development", {more} "spec": {{{PLAN}}}}}"#)
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_plain_body_is_forwarded() {
    // Without this, every refusal below could have another reason than the attack.
    let attack = Attack::start().await;
    let headers = [
        ("content-type", "application/json"),
        ("authorization", attack.bearer.as_str()),
    ];
    let before = attack.proxy.before();
    let reply = attack
        .proxy
        .plain
        .rest(Method::POST, CREATE, &headers, create(""))
        .await
        .unwrap();
    attack.proxy.forwarded(&before, &reply).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_json_01_02_03_06_a_field_has_one_key_and_one_value() {
    let attack = Attack::start().await;
    for second in [
        // 01
        r#""project": "fraud","#,
        r#""project": "ml","#,
        r#""project": "","#,
        // 03
        r#""\u0070roject": "fraud","#,
        r#""pro\u006aect": "ml","#,
        // 06
        r#""project": null,"#,
    ] {
        body(&attack, create(second), Reason::ScopeAmbiguous).await;
    }
    // 02: the name and its JSON spelling
    for twice in [
        format!(
            "{{{PLAN}, {}}}",
            PLAN.replace("launchPlan", "launch_plan").replace("ml", "fraud")
        ),
        format!(r#"{{{PLAN}, "launch_plan": null}}"#),
        format!(
            "{{{}}}",
            PLAN.replace(r#""name""#, r#""resource_type": "TASK", "name""#)
        ),
    ] {
        let text = format!(r#"{{"project": "ml", "domain": "development", "spec": {twice}}}"#);
        body(&attack, text, Reason::ScopeAmbiguous).await;
    }
    let spec_twice = format!(r#"{{"project": "ml", "domain": "development", "spec": {{}}, "spec": {{{PLAN}}}}}"#);
    body(&attack, spec_twice, Reason::ScopeAmbiguous).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_json_04_07_09_only_one_json_object_in_utf8_is_read() {
    let attack = Attack::start().await;
    let good = create("");
    let with = |more: &str| create(more).into_bytes();
    let utf16: Vec<u8> = good.encode_utf16().flat_map(u16::to_le_bytes).collect();
    let mut latin = with(r#""name": "e","#);
    let name = latin.windows(3).position(|three| three == b"\"e\"").unwrap();
    *latin.get_mut(name + 1).unwrap() = 0xe9;
    for text in [
        format!("\u{feff}{good}").into_bytes(),
        utf16,
        latin,
        with(r#""name": "\ud800","#),
        with(r#""name": "\udc00\ud800","#),
        with(r#""name": NaN,"#),
        with(r#""name": 'e',"#),
        with(r#"name: "e","#),
        with(r#""name": "a	b","#),
        with("/* x */"),
        with("// x\n"),
        good.replace("}}}", "},}}").into_bytes(),
        good.replace("}}}", "}}").into_bytes(),
        format!("{good}{good}").into_bytes(),
        format!("{good} x").into_bytes(),
        format!("{good},").into_bytes(),
        format!("{good}\0").into_bytes(),
        format!("[{good}]").into_bytes(),
        format!("\"{}\"", good.replace('"', "\\\"")).into_bytes(),
        b"null".to_vec(),
        b"true".to_vec(),
        b"1".to_vec(),
        b" ".to_vec(),
        // 07
        format!("{}{}", "[".repeat(10_000), "]".repeat(10_000)).into_bytes(),
        with(&format!(
            r#""inputs": {}1{},"#,
            "{\"literals\":".repeat(10_000),
            "}".repeat(10_000)
        )),
        with(&format!(r#""inputs": {}{},"#, "[".repeat(10_000), "]".repeat(10_000))),
    ] {
        body(&attack, text, Reason::BodyMalformed).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_json_05_08_keys_and_types_are_exact() {
    let attack = Attack::start().await;
    for unknown in [
        r#""Project": "fraud","#,
        r#""PROJECT": "fraud","#,
        r#""project ": "fraud","#,
        r#""project\u0000": "fraud","#,
        r#""proj\u212Aect": "fraud","#,
        r#""1": "fraud","#,
        r#""launch_plan": {},"#,
        r#""@type": "x","#,
    ] {
        body(&attack, create(unknown), Reason::FieldUnknown).await;
    }
    let id = r#""project": "ml""#;
    for other in ["1", "true", r#"["ml"]"#, r#"{"value": "ml"}"#] {
        let text = create("").replacen(id, &format!(r#""project": {other}"#), 1);
        body(&attack, text, Reason::BodyMalformed).await;
    }
    for spec in ["\"spec\"", "[]", "1", "[{}]"] {
        let text = format!(r#"{{"project": "ml", "domain": "development", "spec": {spec}}}"#);
        body(&attack, text, Reason::BodyMalformed).await;
    }
    for missing in ["null", "\"\""] {
        let text = create("").replacen(id, &format!(r#""project": {missing}"#), 1);
        body(&attack, text, Reason::ScopeMissing).await;
    }
    body(&attack, "{}", Reason::ScopeMissing).await;
    body(&attack, "", Reason::ScopeMissing).await;
    for (kind, reason) in [
        ("\"task\"", Reason::BodyMalformed),
        ("\"DATASET\"", Reason::FieldInvalid),
        ("\"1\"", Reason::BodyMalformed),
        ("4", Reason::FieldInvalid),
        ("0", Reason::FieldInvalid),
        ("1.0", Reason::BodyMalformed),
        ("-1", Reason::FieldInvalid),
    ] {
        body(&attack, create("").replace("\"LAUNCH_PLAN\"", kind), reason).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_json_10_a_compressed_body_is_refused() {
    let attack = Attack::start().await;
    let mut encoder = GzEncoder::new(Vec::new(), Compression::best());
    encoder.write_all(create("").as_bytes()).unwrap();
    let compressed = encoder.finish().unwrap();
    for encoding in ["gzip", "deflate", "br", "zstd", "identity, gzip", "x", ""] {
        let headers = [("content-type", "application/json"), ("content-encoding", encoding)];
        let call = || (Method::POST, CREATE);
        attack
            .rest(call(), &headers, compressed.clone(), Reason::EncodingUnsupported)
            .await;
        attack
            .rest(call(), &headers, create(""), Reason::EncodingUnsupported)
            .await;
    }
    let twice = [
        ("content-type", "application/json"),
        ("content-encoding", "identity"),
        ("content-encoding", "gzip"),
    ];
    attack
        .rest(
            (Method::POST, CREATE),
            &twice,
            compressed.clone(),
            Reason::HeaderAmbiguous,
        )
        .await;
    body(&attack, compressed, Reason::BodyMalformed).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_json_11_path_query_and_body_never_name_two_scopes() {
    let attack = Attack::start().await;
    let json = [("content-type", "application/json")];
    let terminate = "/api/v1/executions/ml/development/e1";
    for id in [
        r#"{"project": "fraud", "domain": "development", "name": "e1"}"#,
        r#"{"project": "ml", "domain": "production", "name": "e1"}"#,
        r#"{"project": "ml", "domain": "development", "name": "e2"}"#,
        r#"{"project": "fraud"}"#,
    ] {
        let body = format!(r#"{{"id": {id}, "cause": "x"}}"#);
        attack
            .rest((Method::DELETE, terminate), &json, body, Reason::ScopeAmbiguous)
            .await;
    }
    for query in [
        "id.project=fraud",
        "id.project=ml",
        "id.project=",
        "id.domain=production",
        "id.name=x",
        "idProject=fraud",
        "id%2Eproject=fraud",
        "project=fraud",
        "id=fraud",
        "cause=x",
    ] {
        let target = format!("{terminate}?{query}");
        attack
            .rest((Method::DELETE, &target), &json, "{}", Reason::QueryRefused)
            .await;
        let target = format!("/api/v1/executions/ml/development?{query}");
        attack.rest((Method::GET, &target), &[], "", Reason::QueryRefused).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_json_12_14_a_query_has_each_key_once_in_one_spelling() {
    let attack = Attack::start().await;
    for query in [
        "limit=1&limit=2",
        "limit=1&limit=1",
        "sort_by.key=a&sortBy.key=b",
        "limit[0]=1",
        "limit[]=1",
        "id[project]=fraud",
        "limit=1;id.project=fraud",
        "limit=1&id.project=fraud",
        "limit=1%26id.project=fraud;",
        "Limit=1",
        "limit",
        "limit=1&",
        "&limit=1",
        "limit=1&&token=x",
        "limit=1?token=x",
        "limit=%zz",
        "limit=%",
        "limit=0x10",
        "limit=010",
        "limit=-1",
        "filters=%ff",
        "filters=a%00",
        "filters=a%0d%0ab",
        "limi%74=1&limit=2",
        "=1",
        "message=e30&encoding=json",
    ] {
        let target = format!("/api/v1/executions/ml/development?{query}");
        attack.rest((Method::GET, &target), &[], "", Reason::QueryRefused).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_json_13_the_content_type_says_how_a_body_is_read() {
    let attack = Attack::start().await;
    // What begins a JSON object is the tag of a field that no message has.
    let message = [b"\x0a\x02ml\x12\x0bdevelopment".as_slice(), b"{}"].concat();
    let octets = [("content-type", "application/octet-stream")];
    attack
        .rest((Method::POST, CREATE), &octets, create(""), Reason::FieldUnknown)
        .await;
    attack
        .rest((Method::POST, CREATE), &octets, message.clone(), Reason::FieldUnknown)
        .await;
    body(&attack, message, Reason::BodyMalformed).await;
}
