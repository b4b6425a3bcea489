//! `explain`: for every RPC it says what the running proxy does, and says it so that people understand.

use crate::cli::{Ran, run, text};
use crate::proxy::Proxy;
use flyte_authz_proxy::credential::key_set::Algorithm;
use flyte_authz_proxy::demo::signing::SigningKey;
use flyte_authz_proxy::model::reason::Reason;
use serde_json::{Value, json};
use std::fs;
use std::path::{Path, PathBuf};
use tempfile::TempDir;

const SAMPLE: [&str; 5] = [
    "explain",
    "--policy",
    "policies/demo.yaml",
    "--claims",
    "policies/demo.claims.json",
];

fn sample(more: &[&str]) -> Ran {
    run(&[&SAMPLE, more].concat())
}

fn file(directory: &Path, name: &str, content: &str) -> PathBuf {
    let path = directory.join(name);
    fs::write(&path, content).unwrap();
    path
}

fn rpcs() -> Vec<String> {
    let catalog = run(&["catalog", "--format", "json"]).exited(0).json();
    let rpcs = catalog["rpcs"].as_array().unwrap();
    rpcs.iter().map(|rpc| rpc["rpc"].as_str().unwrap().to_owned()).collect()
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn for_every_rpc_and_several_callers_it_says_what_the_proxy_does() {
    let proxy = Proxy::start().await;
    let directory = tempfile::tempdir().unwrap();
    let places = [
        ("ml", "development"),
        ("fraud", "production"),
        ("shared-lib", "production"),
    ];
    let (mut allowed, mut refused) = (0, 0);
    for (turn, group) in ["ml-team", "fraud-team", "flyte-engine", "nobody"]
        .into_iter()
        .enumerate()
    {
        let claims = json!({"iss": proxy.issuer.url(), "sub": "somebody", "groups": [group]});
        let claims = file(directory.path(), "claims.json", &claims.to_string());
        let token = proxy.token("somebody", group);
        for (index, rpc) in rpcs().iter().enumerate() {
            let (project, domain) = places[(index + turn) % places.len()];
            let configuration = [
                "explain",
                "--config",
                text(&proxy.configuration),
                "--claims",
                text(&claims),
                "--format",
                "json",
            ];
            let ran = run(&[
                &configuration[..],
                &["--rpc", rpc, "--project", project, "--domain", domain],
            ]
            .concat());
            let told = ran.json();
            assert_eq!(ran.code, Some(if told["allowed"] == true { 0 } else { 2 }), "{told:#}");
            let name = rpc.strip_prefix("/flyteidl.service.").unwrap();
            let before = proxy.before();
            let reply = proxy
                .plain
                .call(Some(&token), name, told["request"].clone())
                .await
                .unwrap();
            let again = ["/RelaunchExecution", "/RecoverExecution"];
            if told["allowed"] == true && again.iter().any(|method| rpc.ends_with(method)) {
                // The proxy asks what it runs, and there is none; a rule would be told before that.
                proxy.recorded(&before, Reason::ExecutionUnknown).await;
                continue;
            }
            let record = if told["allowed"] == true {
                allowed += 1;
                proxy.forwarded(&before, &reply).await
            } else {
                refused += 1;
                let reason = told["reason"].as_str().unwrap();
                let message = reply.message();
                assert!(
                    message.contains(&format!("[{reason}; request ")),
                    "{rpc}: {message}\n{told:#}"
                );
                assert!(
                    message.contains(told["message"].as_str().unwrap()),
                    "{rpc}: {message}\n{told:#}"
                );
                proxy.records().pop().unwrap()
            };
            let rules = told["rules"].as_array().unwrap().iter();
            let rules: Vec<&str> = rules
                .map(|rule| rule.as_str().unwrap().split(' ').next().unwrap())
                .collect();
            if told["allowed"] == true {
                // A record leaves out what is empty.
                let recorded = |key: &str| record.get(key).cloned().unwrap_or(json!([]));
                assert_eq!(recorded("rules"), json!(rules), "{rpc}: {told:#}");
                assert_eq!(recorded("targets"), told["targets"], "{rpc}");
            }
        }
    }
    assert!(allowed > 60 && refused > 60, "{allowed} allowed, {refused} refused");
}

#[test]
fn every_rpc_is_explained_to_people_with_the_verdict_first() {
    for rpc in rpcs() {
        let ran = sample(&["--rpc", &rpc, "--project", "ml", "--domain", "production"]);
        let first = ran.stdout.lines().next().unwrap();
        match ran.code {
            Some(0) => assert!(first.starts_with("ALLOWED  "), "{}", ran.stdout),
            Some(2) => {
                assert!(first.starts_with("REFUSED  "), "{}", ran.stdout);
                assert!(ran.stdout.contains("\n         reason: "), "{}", ran.stdout);
            }
            code => panic!("{code:?} {ran:?}"),
        }
        assert!(ran.stdout.contains(&format!("\ncall     {rpc}\n")), "{}", ran.stdout);
        assert_eq!(ran.stderr, "");
    }
}

#[test]
fn a_refusal_reads_from_the_verdict_to_what_would_have_to_be_added() {
    let ran = sample(&[
        "--rpc",
        "CreateExecution",
        "--project",
        "fraud",
        "--domain",
        "production",
    ])
    .exited(2);
    let expected = "\
REFUSED  no rule allows create_executions in project fraud, domain production
         reason: no_matching_rule

caller   alice, vouched for by `https://idp.example.com`
         groups: ml-team
         the claims are not verified; without --config they are read by the default names: sub, email, groups, and client_id, azp, cid or appid
call     /flyteidl.service.AdminService/CreateExecution
         {\"domain\":\"production\",\"project\":\"fraud\",\"spec\":{\"launch_plan\":{\"domain\":\"production\",\"name\":\"any\",\"project\":\"fraud\",\"resource_type\":\"LAUNCH_PLAN\",\"version\":\"any\"}}}
touches  project fraud, domain production: needs create_executions
         project fraud, domain production, launch_plan `any`: needs create_executions (field spec.launch_plan)

Rules for this caller
  ml-team (policies/demo.yaml:5)
      does not allow create_executions in project fraud, domain production: it is about other projects or domains (2 times)
      does not allow create_executions for launch_plan `any` in project fraud, domain production: it is about other projects or domains (2 times)
  shared-library (policies/demo.yaml:26)
      does not allow create_executions in project fraud, domain production: it is about other projects or domains
      does not allow create_executions for launch_plan `any` in project fraud, domain production: it is about other projects or domains

Rules for others
  2 rules: no value of `groups` is among those listed
    fraud-team, engine

To allow it
  a rule for this caller with projects: [fraud], domains: [production], actions: [create_executions]
";
    assert_eq!(ran.stdout, expected);
}

#[test]
fn an_answer_that_is_filtered_is_told_beside_the_verdict() {
    let directory = tempfile::tempdir().unwrap();
    let claims = r#"{"iss": "https://idp.example.com/", "sub": "hook", "client_id": "nightly-webhook"}"#;
    let claims = file(directory.path(), "claims.json", claims);
    let explain = |rpc: &str, format: &str| {
        let claims = claims.to_str().unwrap();
        let place = [
            "--project",
            "flyte-examples",
            "--domain",
            "production",
            "--format",
            format,
        ];
        let call = [
            "explain",
            "--policy",
            "policies/webhook.yaml",
            "--claims",
            claims,
            "--rpc",
            rpc,
        ];
        run(&[&call[..], &place].concat()).exited(0)
    };
    let told = explain("ListTasks", "text").stdout;
    assert!(
        told.starts_with(
            "ALLOWED  by rule nightly-webhook (policies/webhook.yaml:5)\n         filtered: the answer shows tasks whose names are allowed\n"
        ),
        "{told}"
    );
    let told = explain("ListProjects", "text").stdout;
    assert!(
        told.contains("\n         filtered: the answer shows projects in which the caller may view something\n"),
        "{told}"
    );
    assert_eq!(
        explain("ListExecutions", "json").json()["answer"],
        "filtered: the answer shows executions of things whose names are allowed"
    );
    assert_eq!(explain("GetDomains", "json").json()["answer"], Value::Null);
    let whole = sample(&["--rpc", "ListTasks", "--project", "ml", "--domain", "production"]).exited(0);
    assert!(!whole.stdout.contains("filtered"), "{}", whole.stdout);
}

#[test]
fn what_a_stored_execution_runs_can_be_told_and_otherwise_the_verdict_depends_on_it() {
    let directory = tempfile::tempdir().unwrap();
    let claims = r#"{"iss": "https://idp.example.com/", "sub": "hook", "client_id": "nightly-webhook"}"#;
    let claims = file(directory.path(), "claims.json", claims);
    let explain = |rpc: &str, more: &[&str]| {
        let policy = [
            "explain",
            "--policy",
            "policies/webhook.yaml",
            "--claims",
            text(&claims),
            "--rpc",
            rpc,
        ];
        let place = ["--project", "flyte-examples", "--domain", "production"];
        run(&[&policy[..], &place, more].concat())
    };
    let told = explain("GetExecution", &[]).exited(2).stdout;
    assert!(
        told.starts_with(
            "REFUSED  no rule allows view_executions for what the execution runs in project flyte-examples, domain production: \
             only the names that rules list\n         reason: resource_not_listed\n         allowed if the execution runs \
             something that rules allow by name: "
        ),
        "{told}"
    );
    assert!(
        told.contains("what execution `any` runs: needs view_executions"),
        "{told}"
    );
    for (runs, code) in [
        ("task=core-task", 0),
        ("task=development/flyte-examples/core-task", 2),
        ("task=global-cleanup-task", 0),
        ("task=development/other/global-cleanup-task", 2),
        ("task=other", 2),
        ("launch_plan=nightly", 0),
        ("launch_plan=core-task", 2),
    ] {
        for rpc in ["GetExecution", "RelaunchExecution", "GetNodeExecution"] {
            let told = explain(rpc, &["--runs", runs, "--format", "json"]).exited(code).json();
            assert_eq!(told["depends_on_runs"], false, "{runs}");
            assert_eq!(
                told["targets"][0]["runs"]["name"],
                runs.rsplit(['/', '=']).next().unwrap()
            );
        }
    }
    let told = explain("GetExecution", &["--format", "json"]).exited(2).json();
    assert_eq!(told["depends_on_runs"], true);
    // Without rights there it does not depend on anything.
    let told = explain("GetExecutionData", &["--format", "json"]).exited(2).json();
    assert_eq!(
        (&told["depends_on_runs"], &told["reason"]),
        (&json!(false), &json!("no_matching_rule"))
    );
    for wrong in ["core-task", "workflow=w", "task=", "task=p/n", "task=d/p/"] {
        let ran = explain("GetExecution", &["--runs", wrong]).exited(64);
        assert!(
            ran.stderr
                .contains("write task=NAME, launch_plan=NAME or launch_plan=DOMAIN/PROJECT/NAME"),
            "{}",
            ran.stderr
        );
    }
}

#[test]
fn a_name_for_a_new_execution_counts_as_free_and_where_names_are_listed_that_is_said() {
    let directory = tempfile::tempdir().unwrap();
    let claims =
        |client: &str| format!(r#"{{"iss": "https://idp.example.com/", "sub": "h", "client_id": "{client}"}}"#);
    let policy = file(
        directory.path(),
        "policy.yaml",
        "version: 1
rules:
  - name: hook
    subjects: [{ client_id: [hook] }]
    allow: [{ projects: [ml], domains: [development], actions: [create_executions], launch_plans: [nightly] }]
  - name: open
    subjects: [{ client_id: [open] }]
    allow: [{ projects: [ml], domains: [development], actions: [create_executions] }]
",
    );
    let explain = |client: &str, more: &[&str]| {
        let claims = file(directory.path(), "claims.json", &claims(client));
        let call = ["--rpc", "CreateExecution", "--project", "ml", "--domain", "development"];
        let plan = ["--set", "spec.launch_plan.name=nightly"];
        let who = ["explain", "--policy", text(&policy), "--claims", text(&claims)];
        run(&[&who[..], &call, &plan, more].concat()).exited(0)
    };
    let named = ["--set", "name=e1"];
    let told = explain("hook", &named).stdout;
    assert!(
        told.starts_with("ALLOWED  by rule hook") && told.contains("as long as no execution is called `e1` already"),
        "{told}"
    );
    let json = |client, more: &[&str]| explain(client, &[more, &["--format", "json"]].concat()).json();
    assert_eq!(json("hook", &named)["depends_on_runs"], true);
    for (client, more) in [("hook", &[][..]), ("open", &named)] {
        assert_eq!(json(client, more)["depends_on_runs"], false);
        assert!(!explain(client, more).stdout.contains("as long as"));
    }
}

#[test]
fn five_hundred_rules_for_others_take_two_lines() {
    let directory = tempfile::tempdir().unwrap();
    let rule = |team: usize| {
        format!(
            "  - name: team-{team}\n    subjects: [{{groups: [team-{team}]}}]\n    allow: [{{projects: [p{team}], domains: [development], role: viewer}}]\n"
        )
    };
    let rules: String = (0..500).map(rule).collect();
    let policy = file(directory.path(), "policy.yaml", &format!("version: 1\nrules:\n{rules}"));
    let arguments = [
        "explain",
        "--policy",
        text(&policy),
        "--claims",
        "policies/demo.claims.json",
        "--rpc",
        "GetTask",
    ];
    let ran = run(&[&arguments[..], &["--project", "p7", "--domain", "development"]].concat()).exited(2);
    assert!(
        ran.stdout
            .contains("\n  500 rules: no value of `groups` is among those listed\n    team-0, team-1, "),
        "{}",
        ran.stdout
    );
    assert!(
        ran.stdout
            .contains(", team-19, and 480 more (--format json shows all)\n"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.lines().count() < 20, "{}", ran.stdout);
}

#[test]
fn fields_and_whole_messages_can_be_given() {
    let place = ["--rpc", "CreateExecution", "--project", "ml", "--domain", "development"];
    let elsewhere = [
        &place[..],
        &["--set", "spec.launch_plan.project=fraud", "--format", "json"],
    ]
    .concat();
    let told = sample(&elsewhere).exited(2).json();
    assert_eq!(told["reason"], "reference_refused");
    assert_eq!(told["request"]["spec"]["launch_plan"]["project"], "fraud");
    assert_eq!(told["claims"]["names"], "default");

    let directory = tempfile::tempdir().unwrap();
    let message = json!({"id": {"project": "ml", "domain": "production", "name": "e1"}});
    let body = file(directory.path(), "body.json", &message.to_string());
    let told = sample(&[
        "--rpc",
        "AdminService/GetExecution",
        "--body",
        text(&body),
        "--format",
        "json",
    ])
    .exited(0)
    .json();
    assert_eq!(
        (&told["request"], &told["targets"][0]["domain"]),
        (&message, &json!("production"))
    );
    let unknown = file(directory.path(), "body.json", "{\"nonsense\": 1}");
    let told = sample(&["--rpc", "GetExecution", "--body", text(&unknown), "--format", "json"])
        .exited(2)
        .json();
    assert_eq!(told["reason"], "field_unknown");

    for (more, fault) in [
        (["--set", "spec"], "`--set spec` is not of the form FIELD=VALUE"),
        (
            ["--set", "project.name=x"],
            "is not of the form FIELD=VALUE with a field that can be set",
        ),
    ] {
        let twice = [&place[..], &["--set", "project=ml"], &more].concat();
        let ran = sample(&twice).exited(1);
        assert!(ran.stderr.contains(fault), "{}", ran.stderr);
    }
    let ran = sample(&["--rpc", "GetExecution", "--body", "none.json"]).exited(1);
    assert!(
        ran.stderr.starts_with("error: none.json: No such file"),
        "{}",
        ran.stderr
    );
}

#[test]
fn an_rpc_that_is_not_known_is_met_with_those_that_are_similar() {
    for (wrong, right) in [
        ("CreatExecution", "AdminService/CreateExecution,"),
        ("createexecution", "AdminService/CreateExecution"),
        ("ListExecution", "AdminService/ListExecutions,"),
        ("/flyteidl.service.AdminServise/GetTask", "AdminService/GetTask"),
        ("Upload", "CreateUploadLocation"),
    ] {
        let ran = sample(&["--rpc", wrong]).exited(1);
        let start = format!("error: the catalogue has no RPC `{wrong}`; did you mean flyteidl.service.");
        assert!(
            ran.stderr.starts_with(&start) && ran.stderr.contains(right),
            "{}",
            ran.stderr
        );
        assert_eq!(ran.stdout, "");
    }
    let ran = sample(&["--rpc", "Zzzzzz"]).exited(1);
    assert_eq!(
        ran.stderr,
        "error: the catalogue has no RPC `Zzzzzz`; `flyte-authz-proxy catalog` lists them\n"
    );
}

fn with_configuration(more: &str) -> (TempDir, PathBuf) {
    let directory = tempfile::tempdir().unwrap();
    file(
        directory.path(),
        "policy.yaml",
        include_str!("../../policies/demo.yaml"),
    );
    let configuration = format!(
        "version: 1
listeners: [{{name: public, address: 127.0.0.1:8443}}]
upstream: {{grpc: http://127.0.0.1:8089, http: http://127.0.0.1:8088}}
policy: {{path: policy.yaml}}
{more}"
    );
    let path = file(directory.path(), "config.yaml", &configuration);
    (directory, path)
}

#[test]
fn a_short_name_of_several_rpcs_must_be_completed() {
    let overlay = "version: 1\ngeneration: flyte1\nrpcs:\n  - {rpc: acme.Service/GetTask, request: acme.Request, access: authenticated}\nmessages: {acme.Request: {}}\n";
    let (directory, path) = with_configuration(
        "issuers: [{issuer: https://idp.example.com, audiences: [flyte]}]\ncatalog: {overlays: [overlay.yaml]}\n",
    );
    file(directory.path(), "overlay.yaml", overlay);
    let explain = [
        "explain",
        "--config",
        text(&path),
        "--claims",
        "policies/demo.claims.json",
        "--rpc",
    ];
    let ran = run(&[&explain[..], &["GetTask"]].concat()).exited(1);
    let expected = "error: `GetTask` is the name of several RPCs; write one of flyteidl.service.AdminService/GetTask, acme.Service/GetTask\n";
    assert_eq!(ran.stderr, expected);
    run(&[&explain[..], &["acme.Service/GetTask"]].concat()).exited(0);
}

#[test]
fn it_is_told_by_which_names_claims_are_read() {
    let (directory, path) = with_configuration(
        "issuers: [{issuer: https://idp.example.com, audiences: [flyte], claims: {groups: realm_access.roles}}]\n",
    );
    let explain = |claims: &Value, format: &str| {
        let claims = file(directory.path(), "claims.json", &claims.to_string());
        let place = [
            "--rpc",
            "ListExecutions",
            "--project",
            "ml",
            "--domain",
            "development",
            "--format",
            format,
        ];
        run(&[
            &["explain", "--config", text(&path), "--claims", text(&claims)],
            &place[..],
        ]
        .concat())
    };
    let mapped = json!({"iss": "https://idp.example.com", "sub": "alice", "realm_access": {"roles": ["ml-team"]}});
    let ran = explain(&mapped, "text").exited(0);
    assert!(
        ran.stdout
            .contains("they are read as configured for https://idp.example.com\n"),
        "{}",
        ran.stdout
    );
    assert_eq!(explain(&mapped, "json").json()["claims"]["names"], "configured");

    let unnamed = json!({"sub": "alice", "realm_access": {"roles": ["ml-team"]}});
    let ran = explain(&unnamed, "text").exited(0);
    assert!(
        ran.stdout
            .contains("the only one configured, https://idp.example.com\n"),
        "{}",
        ran.stdout
    );

    let foreign = json!({"iss": "https://other.example.com", "sub": "alice", "groups": ["ml-team"]});
    let ran = explain(&foreign, "text").exited(0);
    assert!(
        ran.stdout
            .contains("CAUTION: the issuer `https://other.example.com` is not configured"),
        "{}",
        ran.stdout
    );
    assert!(ran.stdout.contains("read by the default names"), "{}", ran.stdout);
    assert_eq!(explain(&foreign, "json").json()["claims"]["names"], "default");

    let nobody = json!({"iss": "https://idp.example.com"});
    let ran = explain(&nobody, "text").exited(2);
    assert!(
        ran.stdout.starts_with("REFUSED  ") && ran.stdout.contains("reason: claim_missing"),
        "{}",
        ran.stdout
    );
    for (content, fault) in [("[]", "claims are a JSON object"), ("{", "EOF while parsing")] {
        let claims = file(directory.path(), "odd.json", content);
        let ran = run(&[
            "explain",
            "--config",
            text(&path),
            "--claims",
            text(&claims),
            "--rpc",
            "GetTask",
        ])
        .exited(1);
        assert!(
            ran.stderr.contains("odd.json: ") && ran.stderr.contains(fault),
            "{}",
            ran.stderr
        );
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn a_token_is_verified_as_when_serving_and_never_shown() {
    let proxy = Proxy::start().await;
    let claims = json!({"iss": proxy.issuer.url(), "aud": "flyte", "sub": "alice", "groups": ["ml-team"], "exp": 4_000_000_000_u64});
    let published = proxy.issuer.key_ids();
    let rsa = published.iter().find(|id| id.starts_with("rsa")).unwrap();
    let forged = SigningKey::generate(rsa, Algorithm::Rs256)
        .unwrap()
        .token(&claims, &Value::Null);
    let expired = proxy
        .issuer
        .mint(&json!({"sub": "alice", "groups": ["ml-team"], "exp": 1_000_000_000}));
    let foreign = proxy
        .issuer
        .mint(&json!({"sub": "alice", "iss": "https://other.example.com"}));
    for (token, code, reason) in [
        (proxy.ml(), 0, None),
        (proxy.fraud(), 2, Some("no_matching_rule")),
        (expired, 2, Some("token_expired")),
        (forged, 2, Some("token_signature_invalid")),
        (foreign, 2, Some("issuer_unknown")),
        ("nonsense".to_owned(), 2, Some("token_malformed")),
    ] {
        let path = file(proxy.directory(), "token", &format!("{token}\n"));
        let explain = [
            "explain",
            "--config",
            text(&proxy.configuration),
            "--token",
            text(&path),
            "--rpc",
            "ListExecutions",
        ];
        let place = ["--project", "ml", "--domain", "development"];
        let told = run(&[&explain[..], &place, &["--format", "json"]].concat())
            .exited(code)
            .json();
        assert_eq!(told["reason"].as_str(), reason, "{told:#}");
        let reply = proxy
            .plain
            .call(Some(&token), "AdminService/ListExecutions", told["request"].clone())
            .await
            .unwrap();
        assert!(
            reply.message().contains(reason.unwrap_or_default()),
            "{}",
            reply.message()
        );
        let ran = run(&[&explain[..], &place].concat()).exited(code);
        assert!(!ran.stdout.contains(&token) && !ran.stderr.contains(&token));
        assert!(
            ran.stdout.contains("the token was checked as when serving"),
            "{}",
            ran.stdout
        );
    }
    let explain = [
        "explain",
        "--config",
        text(&proxy.configuration),
        "--token",
        "none",
        "--rpc",
        "GetTask",
    ];
    assert!(run(&explain).exited(1).stderr.starts_with("error: none: No such file"));
}

#[test]
fn a_broken_policy_is_told_and_nothing_explained() {
    let directory = tempfile::tempdir().unwrap();
    let policy = file(directory.path(), "policy.yaml", "version: 1\nrules: 7\n");
    let ran = run(&[
        "explain",
        "--policy",
        text(&policy),
        "--claims",
        "policies/demo.claims.json",
        "--rpc",
        "GetTask",
    ])
    .exited(3);
    assert!(
        ran.stderr.contains("policy.yaml:2:8: error: ") && ran.stdout.is_empty(),
        "{ran:?}"
    );
}
