//! Policies and certificates replaced under load: every request is judged by exactly one version.

use crate::descriptors;
use crate::proxy::Proxy;
use crate::sockets::{VERSIONS, admin, eventually, tls};
use flyte_authz_proxy::demo::certificates::Certificates;
use flyte_authz_proxy::demo::client::{Client, Reply};
use flyte_authz_proxy::demo::stack::{Stack, replace};
use serde_json::{Value, json};
use std::collections::{BTreeMap, HashMap};
use std::fs;
use std::io::Write;
use std::os::unix::fs::symlink;
use std::path::Path;
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, AtomicUsize, Ordering};
use tokio::task::JoinSet;

const SWAPS: u64 = 50;
const REQUESTS: usize = 10_000;
const BROKEN: &[&str] = &[
    "version: 1\nrules: [",
    "version: 1\nrules:\n  - name: x\n    subjects: [{ groups: [ml-team] }]\n    alow: []\n",
    "",
    "version: 2\nrules: []\n",
];

/// A policy that allows one project and denies another.
fn policy(allowed: &str, denied: &str) -> String {
    format!(
        "version: 1
rules:
  - name: allows-{allowed}
    subjects: [{{ groups: [ml-team] }}]
    allow: [{{ projects: [{allowed}], domains: [development], role: viewer }}]
  - name: denies-{denied}
    subjects: [{{ anyone: true }}]
    deny: [{{ projects: [{denied}], actions: ['*'] }}]
"
    )
}

/// The ways in which files come to be replaced.
#[derive(Clone, Copy)]
enum Way {
    Rename,
    Truncate,
    Kubernetes,
    Recreate,
}

/// Replaces `policy.yaml` of the directory.
fn write(directory: &Path, way: Way, number: u64, text: &str) {
    let file = directory.join("policy.yaml");
    match way {
        Way::Rename => replace(&file, text).unwrap(),
        Way::Truncate => {
            let mut opened = fs::File::create(&file).unwrap();
            let (first, second) = text.as_bytes().split_at(text.len() / 2);
            opened.write_all(first).unwrap();
            opened.flush().unwrap();
            opened.write_all(second).unwrap();
        }
        Way::Kubernetes => {
            let version = format!("..version-{number}");
            fs::create_dir(directory.join(&version)).unwrap();
            fs::write(directory.join(&version).join("policy.yaml"), text).unwrap();
            symlink(&version, directory.join("..data_tmp")).unwrap();
            fs::rename(directory.join("..data_tmp"), directory.join("..data")).unwrap();
            if !file.is_symlink() {
                symlink("..data/policy.yaml", directory.join(".link")).unwrap();
                fs::rename(directory.join(".link"), &file).unwrap();
            }
        }
        Way::Recreate => {
            fs::remove_file(&file).unwrap();
            fs::write(&file, text).unwrap();
        }
    }
}

/// A request that was answered: its identifier, the project asked about, and whether it was allowed.
struct Answered {
    id: String,
    project: &'static str,
    allowed: bool,
}

fn answered(project: &'static str, reply: &Reply) -> Answered {
    let refused = reply.message().contains("[denied_by_rule; request ");
    let allowed = reply.status == 200 && reply.grpc_status().is_none_or(|status| status == 0);
    assert_ne!(
        refused, allowed,
        "neither the expected answer nor the expected refusal: {reply:?}"
    );
    Answered {
        id: reply.headers["x-request-id"].to_str().unwrap().to_owned(),
        project,
        allowed,
    }
}

async fn ask(stack: &Stack, token: &str, rest: bool, project: &'static str) -> Answered {
    let reply = if rest {
        let path = format!("/api/v1/executions/{project}/development?limit=1");
        stack.plain.get(Some(token), &path).await
    } else {
        let message = json!({"id": {"project": project, "domain": "development"}, "limit": 1});
        stack
            .client
            .call(Some(token), "AdminService/ListExecutions", message)
            .await
    };
    answered(project, &reply.unwrap())
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn ten_thousand_requests_during_fifty_policy_swaps_are_each_judged_by_one_version() {
    let policies = [policy("ml", "fraud"), policy("fraud", "ml")];
    let first = policies[0].clone();
    let proxy = Proxy::start_with(move |setup| {
        let directory = setup.directory.join("policy");
        fs::create_dir(&directory).unwrap();
        write(&directory, Way::Kubernetes, 0, &first);
        setup.edit = Box::new(|text| text.replace("path: policy.yaml", "path: policy"));
    })
    .await;
    let proxy = Arc::new(proxy);
    let (stop, count) = (Arc::new(AtomicBool::new(false)), Arc::new(AtomicUsize::new(0)));
    let mut clients = JoinSet::new();
    for client in 0..6 {
        let (proxy, stop, count) = (Arc::clone(&proxy), Arc::clone(&stop), Arc::clone(&count));
        clients.spawn(async move {
            let token = proxy.token(&format!("subject-{client}"), "ml-team");
            let mut all = Vec::new();
            while !stop.load(Ordering::Relaxed) || count.load(Ordering::Relaxed) < REQUESTS {
                for project in ["ml", "fraud"] {
                    all.push(ask(&proxy, &token, client % 3 == 0, project).await);
                    count.fetch_add(1, Ordering::Relaxed);
                }
            }
            all
        });
    }
    let broken = swap_all(&proxy, &policies).await;
    stop.store(true, Ordering::Relaxed);
    let per_client = clients.join_all().await;
    assert!(count.load(Ordering::Relaxed) >= REQUESTS);
    judge(&proxy, &per_client).await;
    let reloads = |result: &str| proxy.metric(&format!("reloads_total{{result=\"{result}\",what=\"policy\"}}"));
    assert_eq!(
        [reloads("replaced"), reloads("failed"), reloads("restored")].map(whole),
        [SWAPS, broken, 0]
    );
    assert_eq!(whole(proxy.metric("policy_generation")), SWAPS + 1);
    assert_eq!(whole(proxy.metric("reload_success{what=\"policy\"}")), 1);
}

/// Alternates the policies in all the ways, with broken files in between, and returns how many those were.
async fn swap_all(proxy: &Proxy, policies: &[String; 2]) -> u64 {
    let directory = proxy.directory().join("policy");
    let mut broken = 0;
    for swap in 1..=SWAPS {
        let way = |number: u64| match number % 4 {
            0 => Way::Rename,
            1 => Way::Truncate,
            2 => Way::Kubernetes,
            _ => Way::Recreate,
        };
        if swap % 5 == 0 {
            let text = BROKEN[usize::try_from(broken).unwrap() % BROKEN.len()];
            broken += 1;
            write(&directory, way(broken), 1000 + swap, text);
            proxy.app.reload.reload_now();
            eventually("the broken policy is noticed", || {
                whole(proxy.metric("reload_success{what=\"policy\"}")) == 0
            })
            .await;
            assert_eq!(
                proxy.app.live.load().generation,
                swap,
                "the last good one stays in force"
            );
        }
        let text = &policies[usize::try_from(swap % 2).unwrap()];
        write(&directory, way(swap), swap, text);
        eventually("the policy is replaced", || {
            proxy.app.live.load().generation == swap + 1
        })
        .await;
    }
    broken
}

#[expect(
    clippy::cast_possible_truncation,
    clippy::cast_sign_loss,
    reason = "counts are small whole numbers"
)]
fn whole(count: f64) -> u64 {
    count as u64
}

/// Compares every answer with its audit record, and the records with the policies.
async fn judge(proxy: &Proxy, per_client: &[Vec<Answered>]) {
    let total: usize = per_client.iter().map(Vec::len).sum();
    eventually("every record is written", || {
        whole(proxy.metric("audit_records_total")) >= total as u64
    })
    .await;
    let records = proxy.records_after(0, total).await;
    assert_eq!(records.len(), total, "one record a request");
    let by_id: HashMap<&str, &Value> = records
        .iter()
        .map(|record| (record["request_id"].as_str().unwrap(), record))
        .collect();
    assert_eq!(by_id.len(), total, "request ids are unique");
    // Odd generations have the first policy, which allows `ml`; even ones the second.
    let mut versions: BTreeMap<u64, &str> = BTreeMap::new();
    for answers in per_client {
        let mut last = 0;
        for answer in answers {
            let record = by_id[answer.id.as_str()];
            let generation = record["policy"]["generation"].as_u64().unwrap();
            let version = record["policy"]["version"].as_str().unwrap();
            assert!(generation >= last, "a client saw an older policy again");
            last = generation;
            let known = versions.entry(generation).or_insert(version);
            assert_eq!(*known, version, "generation {generation} has two versions");
            let allows = if generation % 2 == 1 { "ml" } else { "fraud" };
            assert_eq!(answer.allowed, answer.project == allows, "{record:#}");
            let (outcome, rule) = if answer.allowed {
                ("forwarded", format!("allows-{allows}"))
            } else {
                ("denied", format!("denies-{}", answer.project))
            };
            assert_eq!(
                (&record["outcome"], &record["rules"]),
                (&json!(outcome), &json!([rule]))
            );
            assert_eq!(record["targets"][0]["project"], answer.project);
        }
    }
    let of = |remainder: u64| {
        let mut all: Vec<_> = versions
            .iter()
            .filter(|(number, _)| **number % 2 == remainder)
            .map(|(_, version)| *version)
            .collect();
        all.dedup();
        all
    };
    assert_eq!((of(0).len(), of(1).len()), (1, 1), "the same text has the same version");
    assert_ne!(of(0), of(1));
    assert!(
        versions.len() as u64 > SWAPS / 2,
        "requests met only {} versions",
        versions.len()
    );
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn with_a_broken_policy_the_last_good_one_stays_in_force_and_that_is_visible() {
    let proxy = Proxy::start().await;
    let good = fs::read_to_string(&proxy.policy).unwrap();
    let ask = async |project: &str| {
        let path = format!("/api/v1/executions/{project}/development?limit=1");
        proxy
            .client
            .get(Some(&proxy.ml()), &path)
            .await
            .unwrap()
            .status
            .as_u16()
    };
    let version = || proxy.app.live.load().policy.version().to_owned();
    let before = version();
    proxy.write_policy(BROKEN[1]).unwrap();
    // Nobody asks for it: watching finds it, once the file has had time to become whole.
    eventually("the broken policy is noticed", || {
        whole(proxy.metric("reloads_total{result=\"failed\",what=\"policy\"}")) == 1
    })
    .await;
    assert_eq!((ask("ml").await, ask("fraud").await), (200, 403));
    assert_eq!(version(), before);
    assert_eq!(whole(proxy.metric("reload_success{what=\"policy\"}")), 0);
    assert!(admin(proxy.app.admin, "/readyz").await.starts_with("HTTP/1.1 200"));
    assert!(admin(proxy.app.admin, "/status").await.contains(&*before));
    proxy.write_policy(&good).unwrap();
    eventually("the good one is back", || {
        whole(proxy.metric("reloads_total{result=\"restored\",what=\"policy\"}")) == 1
    })
    .await;
    assert_eq!(whole(proxy.metric("reload_success{what=\"policy\"}")), 1);
    assert_eq!((version(), proxy.app.live.load().generation), (before, 1));
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn certificates_are_replaced_while_connections_go_on() {
    let proxy = Proxy::start().await;
    let list = async |client: &Client| {
        let message = json!({"id": {"project": "ml", "domain": "development"}, "limit": 1});
        let reply = client
            .call(Some(&proxy.ml()), "AdminService/ListExecutions", message)
            .await;
        reply.map(|reply| reply.grpc_status())
    };
    let shown = async || {
        let stream = tls(&proxy, &[b"h2"], VERSIONS).await.unwrap();
        stream.get_ref().1.peer_certificates().unwrap()[0].as_ref().to_vec()
    };
    let path = |name: &str| proxy.directory().join(name);
    assert_eq!(list(&proxy.client).await.unwrap(), Some(0));
    let old = shown().await;
    let fresh = Certificates::generate().unwrap();
    fs::write(path("ca.pem"), &fresh.authority).unwrap();
    // For a moment the certificate and the key do not belong together.
    replace(&path("tls.crt"), &fresh.certificate).unwrap();
    replace(&path("tls.key"), &fresh.key).unwrap();
    let reloads =
        |result: &str| whole(proxy.metric(&format!("reloads_total{{result=\"{result}\",what=\"certificate\"}}")));
    eventually("the certificate is replaced", || reloads("replaced") == 1).await;
    assert_eq!(
        list(&proxy.client).await.unwrap(),
        Some(0),
        "the connection of before goes on"
    );
    let new = shown().await;
    assert_ne!(new, old);
    let address = proxy.address(flyte_authz_proxy::demo::stack::Entry::Tls).unwrap();
    let client = Client::new(address, Some(&fresh.authority), &descriptors::bytes()).unwrap();
    assert_eq!(list(&client).await.unwrap(), Some(0));
    for (number, garbage) in ["no certificate", ""].into_iter().enumerate() {
        replace(&path("tls.crt"), garbage).unwrap();
        proxy.app.reload.reload_now();
        eventually("the garbage is noticed", || reloads("failed") == number as u64 + 1).await;
        assert_eq!(whole(proxy.metric("reload_success{what=\"certificate\"}")), 0);
        assert_eq!(shown().await, new, "the last good one stays in force");
    }
    assert_eq!(list(&proxy.client).await.unwrap(), Some(0));
    assert_eq!(reloads("replaced"), 1);
}
