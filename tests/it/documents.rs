//! The documents say what the code does: reference pages are generated from it, and names in the others exist.
#![expect(clippy::indexing_slicing, reason = "tests")]

use flyte_authz_proxy::catalog::Catalog;
use flyte_authz_proxy::cli;
use flyte_authz_proxy::config::Config;
use flyte_authz_proxy::issuer::IssuerSettings;
use flyte_authz_proxy::metrics::Metrics;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::policy::{Policy, compile::compile, testfile};
use serde_json::{Value, json};
use std::collections::BTreeSet;
use std::fmt::Write;
use std::fs;
use std::path::{Path, PathBuf};

fn path(name: &str) -> PathBuf {
    Path::new(env!("CARGO_MANIFEST_DIR")).join(name)
}

fn read(name: &str) -> String {
    fs::read_to_string(path(name)).unwrap_or_else(|error| panic!("{name}: {error}"))
}

/// Compares a document with what the code says it must be; `UPDATE=1` writes it.
pub(crate) fn is_generated(name: &str, text: &str) {
    if std::env::var_os("UPDATE").is_some() {
        fs::write(path(name), text).unwrap();
    }
    assert!(
        read(name) == text,
        "{name} is not what the code says; run UPDATE=1 cargo test --features demo --test it documents"
    );
}

/// The names of gRPC status codes, from <https://grpc.io/docs/guides/status-codes/>.
fn grpc_name(code: u8) -> &'static str {
    match code {
        3 => "INVALID_ARGUMENT",
        4 => "DEADLINE_EXCEEDED",
        5 => "NOT_FOUND",
        7 => "PERMISSION_DENIED",
        8 => "RESOURCE_EXHAUSTED",
        12 => "UNIMPLEMENTED",
        13 => "INTERNAL",
        14 => "UNAVAILABLE",
        16 => "UNAUTHENTICATED",
        other => panic!("name the gRPC status {other} here"),
    }
}

#[test]
fn the_page_of_reasons_is_generated() {
    let mut page = "# Reasons\n\n\
        Why a request was refused or failed. The label is in the answer (`[no_matching_rule; request 5f…]`), in the metric\n\
        `flyte_authz_refusals_total{reason}` and in the audit record's `reason`. Labels are never renamed. `gRPC` is the status of\n\
        a gRPC answer; `HTTP` and `code` are the status and the JSON `code` of a REST answer. `fault` says who has to act: the\n\
        client, the proxy's operator, or the operator of the control plane.\n\n\
        This page is generated from the code.\n\n\
        | reason | meaning | gRPC | HTTP | code | fault |\n|---|---|---|---|---|---|\n"
        .to_owned();
    for reason in Reason::ALL {
        let status = reason.status();
        let blame = format!("{:?}", reason.blame()).to_lowercase();
        writeln!(
            page,
            "| `{}` | {} | {} {} | {} | {} | {blame} |",
            reason.label(),
            reason.help(),
            status.grpc,
            grpc_name(status.grpc),
            status.http,
            status.body,
        )
        .unwrap();
    }
    is_generated("docs/reasons.md", &page);
}

#[test]
fn the_page_of_metrics_is_generated() {
    let mut page = "# Metrics\n\n\
        In Prometheus' text format at `/metrics` of the admin listener. Labels take values from closed sets only: `protocol` is\n\
        `grpc`, `rest` or `rest_proto`; `rpc` the name in the [catalogue](catalog.md), or `unknown`; `outcome` is `forwarded`,\n\
        `answered` (by the proxy itself), `denied`, `failed` or `aborted` (the client left); `reason` is one of\n\
        [reasons.md](reasons.md) and `fault` who has to act on it, with every series at 0 from the start; `listener` and `issuer` are\n\
        configured names. Times are in seconds, and moments in seconds since 1970. What to watch, alerts and a dashboard:\n\
        [monitoring.md](monitoring.md).\n\n\
        This page is generated from the code.\n\n\
        | metric | type | labels | meaning |\n|---|---|---|---|\n"
        .to_owned();
    for metric in Metrics::new().unwrap().descriptions() {
        let labels: Vec<String> = metric.labels.iter().map(|label| format!("`{label}`")).collect();
        let (name, kind, help) = (&metric.name, metric.kind, &metric.help);
        writeln!(page, "| `{name}` | {kind} | {} | {help} |", labels.join(", ")).unwrap();
    }
    is_generated("docs/metrics.md", &page);
}

#[test]
fn the_page_of_the_command_line_is_generated() {
    let mut page = format!(
        "# Command line\n\n\
        Exit codes: {} done, {} could not be done, {} `explain`: the call would be refused, `whoami`: the token is refused, {} a\n\
        configuration, policy or test file is not right, {} the command line is not right. `demo` is there when built with `--features demo`.\n\n\
        This page is generated from the code.\n",
        cli::OK,
        cli::FAILED,
        cli::DENIED,
        cli::INVALID,
        cli::USAGE
    );
    let mut command = cli::command();
    command.build();
    for subcommand in command.get_subcommands_mut() {
        let help = subcommand.render_long_help().to_string();
        let lines: Vec<&str> = help.lines().map(str::trim_end).collect();
        writeln!(
            page,
            "\n## {}\n\n```text\n{}\n```",
            subcommand.get_name(),
            lines.join("\n")
        )
        .unwrap();
    }
    is_generated("docs/cli.md", &page);
}

#[test]
fn the_page_of_the_catalogue_is_generated() {
    let catalog = Catalog::builtin().unwrap().json();
    let rpcs = items(&catalog["rpcs"]);
    let mut page = format!(
        "# API catalogue\n\n\
        What the proxy knows about the API of FlyteAdmin 1.16: {} RPCs. `flyte-authz-proxy catalog` prints the same, with overlays\n\
        and as JSON too. What is not listed here is refused.\n\n\
        `needs` is the action a caller must be allowed in the place that `scope` tells; `public` needs no credential,\n\
        `authenticated` any verified one. With several actions the content of the message decides. `every domain`: a whole\n\
        project; `some domain`: whoever may view something in one of its domains. Fields of the scope must not be empty.\n\
        `a stored execution`: where rules list names, FlyteAdmin is asked [what it runs](policy.md#stored-executions).\n\
        `of any kind`: found by name whatever kind is asked for, so that the name has to be allowed as a task, as a workflow and as a\n\
        launch plan.\n\n\
        This page is generated from the code.\n\n## RPCs\n\n\
        | RPC | needs | scope | REST |\n|---|---|---|---|\n",
        rpcs.len()
    );
    let mut answers = String::new();
    let mut references = String::new();
    let mut ignored = String::new();
    for rpc in rpcs {
        let name = short(text(&rpc["rpc"]));
        writeln!(page, "| {name} | {} | {} | {} |", needs(rpc), scope(rpc), rest(rpc)).unwrap();
        if let Some(shows) = rpc["answer"]["shows"].as_str() {
            let narrowed = rpc["answer"]["narrow"].as_str();
            let narrowed = narrowed.map_or_else(String::new, |column| format!("`value_in({column},...)`"));
            writeln!(answers, "| {name} | {shows} | {narrowed} |").unwrap();
        }
        for field in items(&rpc["fields"])
            .iter()
            .filter(|field| field["role"] == "reference" || field["role"] == "artifact_uri")
        {
            let at = if field["role"] == "reference" {
                &field["at"]
            } else {
                &field["parts"][0]
            };
            let (label, at) = (text(&field["label"]), text(at));
            writeln!(references, "| {name} | {label} | `{at}` | {} |", needed_there(field)).unwrap();
        }
        for field in items(&rpc["fields"])
            .iter()
            .filter(|field| field["role"] == "chosen_name")
        {
            let (at, action) = (text(&field["parts"][0]), text(&rpc["action"]));
            writeln!(
                references,
                "| {name} | what has the name already | `{at}` | `{action}` |"
            )
            .unwrap();
        }
        for field in items(&rpc["ignored"]) {
            writeln!(
                ignored,
                "| {name} | `{}` | {} |",
                text(&field["field"]),
                text(&field["why"])
            )
            .unwrap();
        }
    }
    write!(
        page,
        "\n## Answers\n\nWhat the answer of each RPC shows whose answer names a project or domain. Those that hold what the scope holds\npass \
        as they are; of the others each item is shown or left out. Where FlyteAdmin's own filters can do it, it is asked\n\
        for only those items, so that pages are full. An RPC that is not here names no project or domain in its answer.\n\n\
        | RPC | shows | asks for |\n|---|---|---|\n{answers}\n\
        ## References\n\nWhat a call refers to is judged too, where it lies. `elsewhere`: in another project or domain than the call's \
        own.\n`what has the name already`: what the execution runs, if there is one, that has the name that the caller chooses \
        for a new one;\n[only where rules list names](policy.md#names-of-new-executions).\n\n| RPC | what | field | needs there |\n|---|---|---|---|\n{references}\n\
        ## Fields that are not judged\n\nFields that name a project, domain, organization, URL or URI and do not matter to the decision. A test \
        compares this\nlist with the published descriptors.\n\n| RPC | field | why |\n|---|---|---|\n{ignored}\n\
        ## Pages\n\nPaths that are no RPC, forwarded for everybody, without a token. Of the console's session, what makes a new \
        login or token of it gets no cookies\nunless it is good (see [identity.md](identity.md#console-sessions)).\n\n| path | methods | session |\n|---|---|---|\n"
    )
    .unwrap();
    for known in items(&catalog["pages"]) {
        let below = if known["below"] == true { " and all below" } else { "" };
        writeln!(
            page,
            "| `{}`{below} | {} | {} |",
            text(&known["path"]),
            words(&known["methods"], ", "),
            known["session"].as_str().unwrap_or_default()
        )
        .unwrap();
    }
    is_generated("docs/catalog.md", &page);
}

fn items(value: &Value) -> &[Value] {
    value.as_array().unwrap()
}

fn text(value: &Value) -> &str {
    value.as_str().unwrap()
}

fn words(list: &Value, between: &str) -> String {
    items(list).iter().map(text).collect::<Vec<_>>().join(between)
}

/// The service and method without the package.
fn short(rpc: &str) -> &str {
    rpc.rsplit_once('.').unwrap().1
}

fn needs(rpc: &Value) -> String {
    let Some(action) = rpc["action"].as_str() else {
        return text(&rpc["access"]).to_owned();
    };
    let mut actions = vec![action];
    for choice in items(&rpc["choices"]) {
        if !actions.contains(&text(&choice["action"])) {
            actions.push(text(&choice["action"]));
        }
    }
    let quoted: Vec<String> = actions.iter().map(|action| format!("`{action}`")).collect();
    quoted.join(" or ")
}

fn scope(rpc: &Value) -> String {
    let found = items(&rpc["fields"])
        .iter()
        .find(|field| field["role"] == "scope" || field["role"] == "flyte_url");
    let Some(field) = found.filter(|_| rpc["access"] == "scoped") else {
        return String::new();
    };
    let parts: Vec<String> = items(&field["not_empty"])
        .iter()
        .map(|part| format!("`{}`", text(part)))
        .collect();
    match field["extent"].as_str() {
        Some("platform") => "the platform".to_owned(),
        Some("project") => format!("{}, every domain", parts.join(", ")),
        Some("some_domain") => format!("{}, some domain", parts.join(", ")),
        _ if parts.is_empty() => format!("`{}`", words(&field["parts"], "`, `")),
        _ if field["role"] == "flyte_url" || text(&field["resource"]).starts_with("stored") => {
            format!("{}, a stored execution", parts.join(", "))
        }
        _ if text(&field["resource"]).starts_with("of any kind") => format!("{}, of any kind", parts.join(", ")),
        _ => parts.join(", "),
    }
}

fn rest(rpc: &Value) -> String {
    let bindings = items(&rpc["http"]).iter();
    let lines: Vec<String> = bindings
        .map(|binding| format!("`{} {}`", text(&binding["method"]), text(&binding["template"])))
        .collect();
    lines.join("<br>")
}

fn needed_there(field: &Value) -> String {
    let mut needed = Vec::new();
    for (key, place) in [
        ("always", ""),
        ("foreign", " elsewhere"),
        ("foreign_task", " for a task elsewhere"),
    ] {
        if !items(&field[key]).is_empty() {
            needed.push(format!("`{}`{place}", words(&field[key], "` and `")));
        }
    }
    needed.join(", ")
}

/// The fields of the audit record, with the path at which each appears in the JSON.
#[test]
fn every_field_of_the_audit_record_is_documented_and_no_other() {
    let source = read("src/audit/record.rs");
    let mut fields = BTreeSet::new();
    for (name, prefix) in [
        ("Record", ""),
        ("PolicyRecord", "policy."),
        ("WouldRefuseRecord", "would_refuse."),
        ("CandidateRecord", "candidate."),
        ("PrincipalRecord", "principal."),
        ("ClaimRecord", "principal.claims[]."),
        ("TargetRecord", "targets[]."),
        ("AskedRecord", "asks_for[]."),
        ("RunRecord", "targets[].runs."),
    ] {
        let body = source.split(&format!("pub struct {name} {{\n")).nth(1).unwrap();
        let lines = body.split("\n}").next().unwrap().lines();
        let names = lines.filter_map(|line| line.trim().strip_prefix("pub ")?.split_once(':'));
        fields.extend(names.map(|(field, _)| format!("{prefix}{field}")));
    }
    let page = read("docs/audit.md");
    let rows = page
        .lines()
        .filter_map(|line| line.strip_prefix("| `")?.split_once('`'));
    let documented: BTreeSet<String> = rows.map(|(field, _)| field.to_owned()).collect();
    assert_eq!(documented, fields);
}

const PAGES: [&str; 30] = [
    "README.md",
    "ARCHITECTURE.md",
    "CONTRIBUTING.md",
    "SECURITY.md",
    "CHANGELOG.md",
    "benches/README.md",
    "docs/audit.md",
    "docs/config.md",
    "docs/conformance.md",
    "docs/metrics.md",
    "docs/monitoring.md",
    "docs/hostile.md",
    "docs/operations.md",
    "docs/testing.md",
    "docs/performance/README.md",
    "docs/ingress.md",
    "docs/policy.md",
    "docs/reasons.md",
    "docs/rollout.md",
    "docs/threat-model.md",
    "docs/threats.md",
    "docs/mutants.md",
    "docs/tracing.md",
    "docs/decisions/0001-rules-as-data.md",
    "docs/decisions/0002-own-wire-walk.md",
    "docs/decisions/0003-unknown-is-refused.md",
    "docs/decisions/0004-one-runtime-a-worker.md",
    "docs/decisions/0005-stored-executions-are-looked-up.md",
    "docs/decisions/0006-h2-itself-upstream.md",
    "docs/performance/log.md",
];

/// What a page puts between backticks outside of its blocks of code.
fn quoted(page: &str) -> Vec<String> {
    let prose: String = page.split("```").step_by(2).collect();
    prose.split('`').skip(1).step_by(2).map(str::to_owned).collect()
}

fn rust_files(directory: &Path, found: &mut Vec<(PathBuf, String)>) {
    for entry in fs::read_dir(directory).unwrap() {
        let path = entry.unwrap().path();
        if path.is_dir() {
            rust_files(&path, found);
        } else if path.extension().is_some_and(|extension| extension == "rs") {
            let text = fs::read_to_string(&path).unwrap();
            found.push((path, text));
        }
    }
}

pub(crate) fn program() -> Vec<(PathBuf, String)> {
    let mut files = Vec::new();
    rust_files(&path("src"), &mut files);
    rust_files(&path("tests"), &mut files);
    files
}

#[test]
fn every_test_that_a_page_names_exists() {
    let files = program();
    let is_test = |word: &str| {
        // Names of tests are sentences; of what else is spelled with underscores, only these have as many.
        let other = word.starts_with("flyte_authz_") || Reason::ALL.iter().any(|reason| reason.label() == word);
        let sentence = word.matches('_').count() > 2;
        sentence
            && !other
            && word
                .chars()
                .all(|c| c.is_ascii_lowercase() || c.is_ascii_digit() || c == '_')
    };
    let mut named = 0;
    for page in ["SECURITY.md", "ARCHITECTURE.md", "CONTRIBUTING.md"] {
        for word in quoted(&read(page)).iter().filter(|word| is_test(word)) {
            named += 1;
            let definition = format!("fn {word}(");
            assert!(
                files.iter().any(|(_, text)| text.contains(&definition)),
                "{page} names the test {word}, which does not exist"
            );
        }
    }
    assert!(named > 40, "only {named} tests are named");
}

#[test]
fn every_function_that_the_architecture_names_exists() {
    let files = program();
    let page = read("ARCHITECTURE.md");
    let names = |text: &str| text.replace(|c: char| !(c.is_alphanumeric() || c == '_' || c == ':'), " ");
    let mut checked = 0;
    for path in names(&page).split(' ').filter(|word| word.contains("::")) {
        let segments: Vec<&str> = path.split("::").collect();
        let (Some(last), Some(owner)) = (
            segments.last(),
            segments.len().checked_sub(2).and_then(|i| segments.get(i)),
        ) else {
            continue;
        };
        if !last.starts_with(|c: char| c.is_ascii_lowercase()) || ["std", "tokio", "crate"].contains(&segments[0]) {
            continue;
        }
        checked += 1;
        let defines = |(file, text): &(PathBuf, String)| {
            let fits = file.to_str().unwrap().contains(owner) || text.contains(&format!("impl {owner}"));
            fits && (text.contains(&format!("fn {last}(")) || text.contains(&format!("fn {last}<")))
        };
        assert!(
            files.iter().any(defines),
            "ARCHITECTURE.md names {path}, which does not exist"
        );
    }
    assert!(checked > 15, "only {checked} functions are named");
}

#[test]
fn every_module_is_in_the_table_of_layers() {
    let page = read("ARCHITECTURE.md");
    for name in read("src/lib.rs")
        .lines()
        .filter_map(|line| line.strip_prefix("pub mod "))
    {
        let quoted = format!("`{}`", name.trim_end_matches(';'));
        let in_table = |line: &str| line.starts_with("| ") && line.contains(&quoted);
        assert!(page.lines().any(in_table), "ARCHITECTURE.md lists no module {quoted}");
    }
}

#[test]
fn every_make_target_that_a_page_names_exists() {
    let makefile = read("Makefile");
    let mut named = 0;
    for page in PAGES {
        let text = read(page);
        // A command begins a line or follows a backtick; "make" is a verb too.
        let commands = text.split(['\n', '`']).filter_map(|part| part.strip_prefix("make "));
        for target in commands.filter_map(|words| words.split_whitespace().next()) {
            named += 1;
            let rule = format!("\n{target}:");
            assert!(
                makefile.contains(&rule),
                "{page} names `make {target}`, which the Makefile lacks"
            );
        }
    }
    assert!(named > 5, "only {named} targets are named");
}

#[test]
fn every_link_leads_somewhere() {
    for page in PAGES {
        let text = read(page);
        let directory = path(page).parent().unwrap().to_owned();
        for target in text.split("](").skip(1).filter_map(|rest| rest.split(')').next()) {
            let file = target.split('#').next().unwrap();
            if !target.starts_with("https://") && !file.is_empty() {
                assert!(
                    directory.join(file).exists(),
                    "{page} links to {target}, which does not exist"
                );
            }
        }
    }
}

#[test]
fn every_command_in_the_pages_is_one_that_is_understood() {
    let mut commands = 0;
    for page in PAGES {
        for block in read(page)
            .split("```")
            .skip(1)
            .step_by(2)
            .filter(|block| block.starts_with("sh\n"))
        {
            for line in block.lines().map(|line| line.trim_start_matches("target/debug/")) {
                if line.starts_with("flyte-authz-proxy ") {
                    commands += 1;
                    let words = line.split('#').next().unwrap().split_whitespace();
                    let parsed = cli::command().try_get_matches_from(words);
                    assert!(parsed.is_ok(), "{page}: {line}\n{}", parsed.unwrap_err());
                }
            }
        }
    }
    assert!(commands > 5, "only {commands} commands were found");
}

/// Examples are of single top-level keys, of listeners, or of what is in one; the rest is filled up.
#[test]
fn every_configuration_in_the_pages_is_accepted() {
    let mut examples = 0;
    for page in ["docs/identity.md", "docs/identity-providers.md", "docs/ingress.md"] {
        let text = read(page);
        for block in text
            .split("```yaml\n")
            .skip(1)
            .filter_map(|rest| rest.split("```").next())
        {
            let example: Value = serde_saphyr::from_str(block).unwrap();
            let of_something_else = ["rules", "subjects", "volumes"];
            if of_something_else.iter().any(|key| example[key].is_array()) || example["kind"].is_string() {
                continue;
            }
            examples += 1;
            let mut config = json!({
                "version": 1,
                "listeners": [{"name": "public", "address": "127.0.0.1:8443"}],
                "upstream": {"grpc": "http://127.0.0.1:8089", "http": "http://127.0.0.1:8088"},
                "issuers": [{"issuer": "https://idp.example.com", "audiences": ["flyte"]}],
                "policy": {"path": "policy.yaml"},
            });
            match example {
                Value::Array(listeners) => config["listeners"] = Value::Array(listeners),
                Value::Object(mut keys) => {
                    if let Some(accept) = keys.remove("accept") {
                        config["listeners"][0]["accept"] = accept;
                    }
                    config.as_object_mut().unwrap().extend(keys);
                }
                other => panic!("{page}: {other}"),
            }
            let outcome = Config::parse(Path::new(page), &config.to_string());
            let (_, warnings) = outcome.unwrap_or_else(|problems| panic!("{page}:\n{block}{problems:#?}"));
            assert_eq!(warnings, [], "{page}:\n{block}");
        }
    }
    assert!(examples > 6, "only {examples} examples were found");
}

fn compiled(name: &str, text: &str) -> Policy {
    let domains = ["development", "staging", "production"].map(Box::from);
    let (policy, warnings) = compile(&[(PathBuf::from(name), text.to_owned())], &domains)
        .unwrap_or_else(|problems| panic!("{name}: {problems:#?}"));
    assert_eq!(warnings, [], "{name}");
    policy
}

#[test]
fn the_policy_in_the_readme_passes_the_tests_beside_it() {
    let page = read("README.md");
    let mut blocks = page
        .split("```yaml\n")
        .skip(1)
        .filter_map(|rest| rest.split("```").next());
    let policy = compiled("README.md", blocks.find(|block| block.contains("rules:")).unwrap());
    let tests = blocks.find(|block| block.contains("cases:")).unwrap();
    let report = testfile::run(
        &policy,
        Path::new("README.md"),
        tests,
        Some(&Catalog::builtin().unwrap()),
    );
    assert_eq!(report.failures, []);
    assert!(report.passed > 0);
}

#[test]
fn every_policy_that_ships_passes_its_tests() {
    let catalog = Catalog::builtin().unwrap();
    let mut policies = 0;
    for entry in fs::read_dir(path("policies")).unwrap() {
        let name = entry.unwrap().file_name().into_string().unwrap();
        let Some(stem) = name.strip_suffix(".yaml").filter(|stem| !stem.contains('.')) else {
            continue;
        };
        policies += 1;
        let policy = compiled(&name, &read(&format!("policies/{name}")));
        let tests = format!("policies/{stem}.test.yaml");
        let report = testfile::run(&policy, Path::new(&tests), &read(&tests), Some(&catalog));
        let shown: Vec<String> = report.failures.iter().map(ToString::to_string).collect();
        assert!(shown.is_empty() && report.passed > 0, "{tests}: {}", shown.join("\n"));
    }
    assert!(policies > 6);
}

/// Checks that the block with `issuers` in a section of a page is good configuration, and returns the issuer.
pub(crate) fn issuer_of(page: &str, section: &str) -> IssuerSettings {
    let text = read(page);
    let section = text.split(&format!("## {section}\n")).nth(1).unwrap();
    let mut blocks = section.split("```yaml\n").skip(1);
    let written = blocks.find_map(|block| block.strip_prefix("issuers:")).unwrap();
    let written = written.split("```").next().unwrap();
    let configuration = format!(
        "version: 1\nlisteners: [{{name: public, address: 127.0.0.1:8443}}]\n\
         upstream: {{grpc: http://127.0.0.1:8089, http: http://127.0.0.1:8088}}\npolicy: {{path: policy.yaml}}\n\
         issuers:{written}"
    );
    let (config, warnings) = Config::parse(Path::new("config.yaml"), &configuration)
        .unwrap_or_else(|problems| panic!("{page}: {problems:#?}"));
    assert_eq!(warnings, [], "{page}");
    config.issuers.into_iter().next().unwrap()
}
