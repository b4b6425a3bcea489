//! `diff`, `replay` and `who-can`: what they print, their exit codes, and that `replay` agrees with the running proxy.

use crate::cli::{run, text};
use crate::proxy::Proxy;
use flyte_authz_proxy::demo::stack::POLICY;
use serde_json::{Value, json};
use std::fmt::Write;
use std::fs;
use std::path::PathBuf;
use tempfile::TempDir;

/// The teams of the demonstration have changed places.
fn exchanged() -> String {
    POLICY
        .replace("[ml-team]", "[x]")
        .replace("[fraud-team]", "[ml-team]")
        .replace("[x]", "[fraud-team]")
}

fn written(directory: &TempDir, name: &str, content: &str) -> PathBuf {
    let path = directory.path().join(name);
    fs::write(&path, content).unwrap();
    path
}

#[test]
fn diff_lists_rights_gained_and_lost_and_exits_as_asked() {
    let directory = tempfile::tempdir().unwrap();
    let next = POLICY.replace("domains: [development, staging]", "domains: [staging]");
    let next = written(&directory, "next.yaml", &next);
    let arguments = ["diff", "policies/demo.yaml", text(&next)];
    let ran = run(&arguments).exited(0);
    assert!(
        ran.stdout.contains("lost: groups: ml-team: ") && ran.stdout.contains(" in project ml, domain development "),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.ends_with("0 lines gained, 2 lines lost\n"), "{}", ran.stdout);
    let told = run(&[&arguments[..], &["--format", "json", "--exit-code"]].concat())
        .exited(1)
        .json();
    let subjects: Vec<&Value> = told["differences"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| &one["subject"])
        .collect();
    assert_eq!(subjects, [&json!("groups: fraud-team"), &json!("groups: ml-team")]);
    assert_eq!(told["differences"][0]["domains"], json!(["development"]));
    // A directory is compared like a file, and the same rights are no difference, whatever the rules are called.
    let whole = directory.path().join("policy");
    fs::create_dir(&whole).unwrap();
    fs::write(whole.join("a.yaml"), POLICY.replace("name: ml-team", "name: others")).unwrap();
    let same = run(&["diff", "policies/demo.yaml", text(&whole), "--exit-code"]).exited(0);
    assert_eq!(same.stdout, "no difference\n");
    // Domains that do not exist make no difference.
    let only = run(&[
        "diff",
        "policies/demo.yaml",
        text(&next),
        "--domains",
        "staging,production",
        "--exit-code",
    ]);
    only.exited(0);
    let broken = written(&directory, "broken.yaml", "version: 1\nrules: 7\n");
    let ran = run(&["diff", text(&broken), text(&broken)]).exited(3);
    assert_eq!(
        ran.stderr.matches("broken.yaml:2:8: error").count(),
        2,
        "{}",
        ran.stderr
    );
}

#[test]
fn who_can_tells_whom_rules_allow_and_deny_something() {
    let place = ["--project", "shop", "--domain", "production"];
    let of_sample = ["--policy", "policies/release-freeze.yaml"];
    let ran = run(&[&["who-can", "create_executions"][..], &place, &of_sample].concat()).exited(0);
    assert_eq!(
        ran.stdout,
        "create_executions in project shop, domain production\n\nmay:\n  \
         groups: developers, by rule developers (policies/release-freeze.yaml:5)\n\nmay not, whatever allows it:\n  \
         anyone, but not groups: on-duty, by rule production-freeze (policies/release-freeze.yaml:13)\n  \
         anyone; only launch plan reindex-everything, by rule broken-launch-plan (policies/release-freeze.yaml:24)\n"
    );
    let one = ["--launch-plan", "nightly", "--format", "json"];
    let told = run(&[&["who-can", "create_executions"][..], &place, &of_sample, &one].concat())
        .exited(0)
        .json();
    assert_eq!(told["denied"].as_array().unwrap().len(), 1, "{told:#}");
    let ran = run(&[
        "who-can",
        "administer_platform",
        "--policy",
        "policies/release-freeze.yaml",
    ])
    .exited(0);
    assert!(ran.stdout.contains("nobody may"), "{}", ran.stdout);
    let named = [
        "--project",
        "ml",
        "--domain",
        "staging",
        "--policy",
        "policies/naming-convention.yaml",
    ];
    let ran = run(&[&["who-can", "register_inventory"][..], &named].concat()).exited(0);
    assert!(
        ran.stdout
            .contains("    such as `flyte-ml-contributor`: project = ml, role = contributor\n"),
        "{}",
        ran.stdout
    );
    assert!(!ran.stdout.contains("flyte-ml-viewer"), "{}", ran.stdout);
    let guarded = [
        "--project",
        "ml",
        "--domain",
        "production",
        "--policy",
        "policies/data-plane.yaml",
    ];
    let ran = run(&[&["who-can", "create_executions"][..], &guarded].concat()).exited(0);
    assert!(
        ran.stdout.contains(
            "  client_id: flyte-ci; clusters []; iam_roles []; raw_output_prefixes [s3://flyte-data/${project}/production]; \
             secrets [${project}, shared]; service_accounts [${project}-production, ${project}-nightly], by rule ci-with-account ("
        ),
        "{}",
        ran.stdout
    );
    // Where `serve` refuses every call, nobody may do anything.
    let nowhere = [
        "--project",
        "ml",
        "--domain",
        "nosuch",
        "--policy",
        "policies/demo.yaml",
    ];
    let ran = run(&[&["who-can", "view_data"][..], &nowhere].concat()).exited(1);
    assert_eq!(
        (ran.stdout.as_str(), ran.stderr.as_str()),
        (
            "",
            "error: `nosuch` is none of the configured domains: development, staging, production\n"
        )
    );
    run(&["who-can", "fly", "--policy", "policies/demo.yaml"]).exited(64);
    run(&[
        "who-can",
        "view_data",
        "--project",
        "ml",
        "--policy",
        "policies/demo.yaml",
    ])
    .exited(64);
}

/// Makes all kinds of calls through a proxy with a candidate; returns its audit records.
async fn recorded(claims: &str) -> Vec<Value> {
    let claims = claims.to_owned();
    let proxy = Proxy::start_with(move |setup| {
        fs::write(setup.directory.join("next.yaml"), exchanged()).unwrap();
        writeln!(setup.configuration, "audit: {{claims: {claims}}}").unwrap();
        setup.edit = Box::new(|text| text.replace("path: policy.yaml", "path: policy.yaml, candidate: next.yaml"));
    })
    .await;
    for token in [
        Some(proxy.ml()),
        Some(proxy.fraud()),
        Some(proxy.token("nobody", "none")),
        None,
    ] {
        for project in ["ml", "fraud", "shared-lib"] {
            let id = json!({"project": project, "domain": "production"});
            for (rpc, message) in [
                ("ListTasks", json!({"id": id, "limit": 1})),
                ("ListExecutions", json!({"id": id, "limit": 1})),
                (
                    "GetProjectAttributes",
                    json!({"project": project, "resourceType": "TASK_RESOURCE"}),
                ),
                ("ListProjects", json!({})),
            ] {
                proxy
                    .client
                    .call(token.as_deref(), &format!("AdminService/{rpc}"), message)
                    .await
                    .unwrap();
            }
            let plan = json!({"resource_type": "LAUNCH_PLAN", "project": "shared-lib", "domain": "production", "name": "l", "version": "v1"});
            let execution =
                json!({"project": project, "domain": "development", "name": "e", "spec": {"launch_plan": plan}});
            proxy
                .client
                .call(token.as_deref(), "AdminService/CreateExecution", execution)
                .await
                .unwrap();
        }
    }
    proxy.records_after(0, 60).await
}

fn lines(records: &[Value]) -> String {
    records.iter().map(|record| record.to_string() + "\n").collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn replay_decides_as_the_candidate_did_while_the_calls_were_made() {
    let records = recorded("policy").await;
    assert_eq!(records.len(), 60);
    let direction = |wanted: &str| {
        records
            .iter()
            .filter(|record| record["candidate"]["direction"] == wanted)
            .count()
    };
    let (gained, lost) = (direction("gained"), direction("lost"));
    assert!(gained > 3 && lost > 3, "{gained} {lost}");
    let directory = tempfile::tempdir().unwrap();
    let file = written(&directory, "audit.jsonl", &lines(&records));
    let next = written(&directory, "next.yaml", &exchanged());
    let replay = ["replay", text(&file), "--policy", text(&next), "--format", "json"];
    let told = run(&replay).exited(0).json();
    assert_eq!(
        (&told["gained"], &told["lost"]),
        (&json!(gained), &json!(lost)),
        "{told:#}"
    );
    // Those without a credential never came to a rule, and neither did ListProjects, which needs none.
    let not_judged: u64 = told["not_judged"]
        .as_array()
        .unwrap()
        .iter()
        .map(|one| one["count"].as_u64().unwrap())
        .sum();
    assert_eq!(told["same"].as_u64().unwrap() + not_judged + (gained + lost) as u64, 60);
    let counted = |why: &str| {
        let all = told["not_judged"].as_array().unwrap().iter();
        all.filter(|one| one["why"].as_str().unwrap().contains(why))
            .map(|one| one["count"].as_u64().unwrap())
            .sum::<u64>()
    };
    assert_eq!(counted("(credential_missing)"), 15, "{told:#}");
    let alice = told["differences"]
        .as_array()
        .unwrap()
        .iter()
        .filter(|one| one["subject"] == "alice");
    assert!(
        alice
            .clone()
            .any(|one| one["change"] == "lost" && one["why"].as_str().unwrap().contains("no_matching_rule"))
    );
    assert!(
        alice
            .clone()
            .any(|one| one["change"] == "gained" && one["why"].as_str().unwrap().contains("rule fraud-team"))
    );
    // By the policy that was in force, everything is decided as it was.
    let ran = run(&["replay", text(&file), "--policy", "policies/demo.yaml", "--exit-code"]).exited(0);
    assert!(
        ran.stdout.contains("60 records: ") && ran.stdout.contains(" 0 gained, 0 lost, "),
        "{}",
        ran.stdout
    );
    run(&["replay", text(&file), "--policy", text(&next), "--exit-code"]).exited(1);
    // No token is recorded, and of the claims only what the policies look at.
    assert!(records.iter().all(|record| record["principal"].get("claims").is_none()));
    assert!(
        records
            .iter()
            .any(|record| record["principal"]["groups"] == json!(["ml-team"]))
    );
}

/// A record of a call of alice in ml/development that the policy of the time judged.
fn record(rpc: &str, action: &str, target: &Value, more: &Value) -> Value {
    let mut target = target.clone();
    let mut record = json!({"version": 1, "outcome": "forwarded", "rpc": format!("/flyteidl.service.AdminService/{rpc}"),
        "action": action, "policy": {"version": "v", "generation": 1},
        "principal": {"kind": "token", "issuer": "https://idp.example.com", "subject": "alice"}});
    let place = json!({"project": "ml", "domain": "development", "needs": [action]});
    target
        .as_object_mut()
        .unwrap()
        .extend(place.as_object().unwrap().clone());
    let record_fields = record.as_object_mut().unwrap();
    record_fields.insert("targets".to_owned(), json!([target]));
    record_fields.extend(more.as_object().unwrap().clone());
    record
}

#[test]
fn replay_does_not_guess_what_executions_run_and_tells_lists_that_are_filtered() {
    let directory = tempfile::tempdir().unwrap();
    let stored = json!({"execution": "e"});
    let runs = |name: &str| {
        let run = json!({"resource": "launch_plan", "project": "ml", "domain": "development", "name": name});
        json!({"execution": "e", "runs": run})
    };
    let tasks = json!({"resource": "task", "things": "listed"});
    let denied = json!({"outcome": "denied", "reason": "no_matching_rule"});
    let (get, view) = ("GetExecution", "view_executions");
    let records = [
        record(get, view, &stored, &denied),
        record(get, view, &stored, &json!({})),
        record(get, view, &runs("l"), &denied),
        record(get, view, &runs("x"), &json!({})),
        record(get, "terminate_executions", &stored, &denied),
        record("ListTasks", "view_inventory", &tasks, &json!({})),
        record("ListTasks", "view_inventory", &tasks, &json!({"filtered": true})),
    ];
    let file = written(&directory, "audit.jsonl", &lines(&records));
    let policy = |lists: &str| {
        let entry = format!("{{ projects: [ml], domains: [development], role: viewer{lists} }}");
        format!("version: 1\nrules: [{{ name: r, subjects: [{{ subject: [alice] }}], allow: [{entry}] }}]\n")
    };
    let replayed = |lists: &str| {
        let next = written(&directory, "next.yaml", &policy(lists));
        let ran = run(&["replay", text(&file), "--policy", text(&next)]).exited(0);
        ran.stdout
            .lines()
            .filter(|line| !line.starts_with("    no"))
            .map(str::to_owned)
            .collect::<Vec<_>>()
    };
    let at = format!("({}:2)", directory.path().join("next.yaml").display());
    let one = |change: &str, rpc: &str| {
        format!("{change}: 1 call: alice (https://idp.example.com) AdminService/{rpc} in ml/development")
    };
    let filters = format!("    allowed by rule r {at}, which shows only the names that are allowed");
    let lists = replayed(", tasks: [t], launch_plans: [l]");
    let expected = [
        one("gained", get),
        format!("    allowed by rule r {at}"),
        one("lost", get),
        "    resource_not_listed: no rule allows view_executions for what the execution runs in project ml, domain development: \
         only the names that rules list".to_owned(),
        one("lost", "ListTasks"),
        filters,
        "7 records: 2 decided the same, 1 gained, 2 lost, 2 not judged".to_owned(),
        "    2 not judged: what the execution runs is not recorded".to_owned(),
    ];
    assert_eq!(lists, expected);
    let whole = replayed("");
    let expected = [
        "gained: 2 calls: alice (https://idp.example.com) AdminService/GetExecution in ml/development".to_owned(),
        format!("    allowed by rule r {at}"),
        one("gained", "ListTasks"),
        format!("    allowed by rule r {at}"),
        "7 records: 4 decided the same, 3 gained, 0 lost, 0 not judged".to_owned(),
    ];
    assert_eq!(whole, expected);
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn records_without_claims_are_judged_only_by_a_policy_that_looks_at_none() {
    let records = recorded("none").await;
    assert!(records.iter().all(|record| record["principal"].get("groups").is_none()));
    let directory = tempfile::tempdir().unwrap();
    let file = written(&directory, "audit.jsonl", &format!("not a record\n{}", lines(&records)));
    let ran = run(&["replay", text(&file), "--policy", "policies/demo.yaml"]).exited(0);
    assert!(
        ran.stdout
            .contains("61 records: 0 decided the same, 0 gained, 0 lost, 61 not judged"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains("not judged: the record does not hold the caller's groups (`audit.claims`)"),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout.contains("    1 not judged: it is no audit record"),
        "{}",
        ran.stdout
    );
    let by_subject = "version: 1\nrules: [{ name: alice, subjects: [{ subject: [alice] }], allow: [{ projects: [\"*\"], domains: [\"*\"], role: viewer }] }]\n";
    let next = written(&directory, "next.yaml", by_subject);
    let ran = run(&["replay", text(&file), "--policy", text(&next)]).exited(0);
    assert!(ran.stdout.contains("gained: 1 call: alice ("), "{}", ran.stdout);
    assert!(ran.stdout.contains("allowed by rule alice ("), "{}", ran.stdout);
    let missing = run(&["replay", "nowhere.jsonl", "--policy", "policies/demo.yaml"]).exited(1);
    assert!(missing.stderr.contains("nowhere.jsonl"), "{}", missing.stderr);
}
