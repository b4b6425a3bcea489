//! Policy files that are broken, deceptive or replaced in odd ways: none of them widens what was allowed, while running and
//! while being read.

use crate::proxy::Proxy;
use crate::sockets::eventually;
use flyte_authz_proxy::demo::stack::replace;
use flyte_authz_proxy::model::principal::{Principal, PrincipalKind};
use flyte_authz_proxy::model::problem::Problem;
use flyte_authz_proxy::model::reason::Reason;
use flyte_authz_proxy::policy::Policy;
use flyte_authz_proxy::policy::compile::compile;
use std::fs;
use std::os::unix::fs::{PermissionsExt, symlink};
use std::path::{Path, PathBuf};
use std::sync::Arc;

/// What is in force: the ml team may view what is its own.
const GOOD: &str = "version: 1
roles: { reader: [view_inventory] }
rules:
  - name: ml
    subjects: [{ groups: [ml-team] }]
    allow: [{ projects: [ml], domains: ['*'], role: viewer }]
";

/// One rule more, by which it might view what is the fraud team's. Nothing that ends in it may come into force.
const WIDER: &str = "  - name: wider
    subjects: [{ groups: [ml-team] }]
    allow: [{ projects: [fraud], domains: ['*'], role: viewer }]
";

fn read(files: &[(&str, &str)]) -> Result<Policy, Vec<Problem>> {
    let domains = ["development", "staging", "production"].map(Box::from);
    let files: Vec<(PathBuf, String)> = files
        .iter()
        .map(|(name, text)| (PathBuf::from(name), (*text).to_owned()))
        .collect();
    compile(&files, &domains).map(|(policy, _)| policy)
}

fn sees(policy: &Policy, group: &str, project: &str) -> bool {
    let caller = Principal {
        kind: PrincipalKind::Token,
        groups: [Arc::from(group)].into(),
        ..Principal::anonymous()
    };
    policy.resolve(&caller, &mut ()).visible_project(project)
}

/// A proxy with [`GOOD`] in force, whose policy is replaced by what must not come into force.
struct Bench {
    proxy: Proxy,
}

impl Bench {
    async fn start() -> Self {
        let proxy = Proxy::start_with(|setup| GOOD.clone_into(&mut setup.policy)).await;
        let bench = Self { proxy };
        bench.unchanged("as it is").await;
        bench
    }

    fn path(&self) -> &Path {
        &self.proxy.policy
    }

    /// The ml team reaches its own project and no other, and no other policy was in force since the start.
    async fn unchanged(&self, what: &str) {
        let proxy = &self.proxy;
        assert_eq!(proxy.app.live.load().generation, 1, "{what}");
        let before = proxy.before();
        let target = "/api/v1/executions/fraud/development?limit=1";
        let reply = proxy.client.get(Some(&proxy.ml()), target).await.unwrap();
        proxy.refused(&before, &reply, Reason::NoMatchingRule).await;
        let before = proxy.before();
        let target = "/api/v1/executions/ml/development?limit=1";
        let reply = proxy.client.get(Some(&proxy.ml()), target).await.unwrap();
        proxy.forwarded(&before, &reply).await;
    }

    /// What was just done to the file is noticed as a failure, which is told, and changes nothing.
    async fn fails(&self, what: &str) {
        let failed = || self.proxy.metric("reloads_total{result=\"failed\",what=\"policy\"}");
        let before = failed();
        self.proxy.app.reload.reload_now();
        eventually(what, || failed() > before).await;
        let good = self.proxy.metric("reload_success{what=\"policy\"}");
        assert!(good < 0.5, "{what}: it is told that the last reload failed");
        self.unchanged(what).await;
    }

    /// The text, in place of the policy, is refused.
    async fn refuses(&self, text: impl AsRef<[u8]>, what: &str) {
        let beside = self.path().with_extension("new");
        fs::write(&beside, text).unwrap();
        fs::rename(beside, self.path()).unwrap();
        self.fails(what).await;
    }

    /// The policy with something before the rules, and with one more rule: refused, for a reason that says this.
    async fn refuses_with(&self, before: &str, more: &str, told: &str) {
        let text = format!("{before}{GOOD}{more}{WIDER}");
        let problems = read(&[("policy.yaml", &text)]).map(|_| ()).unwrap_err();
        assert!(
            problems
                .iter()
                .any(|problem| problem.message.contains(told) && problem.line > 0),
            "{text}\n{problems:#?}"
        );
        self.refuses(text, told).await;
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_01_a_role_a_rule_or_a_key_that_is_there_twice_is_refused() {
    let bench = Bench::start().await;
    let twice = GOOD.replace("[view_inventory] }", "[view_inventory], reader: [view_data] }");
    bench.refuses(format!("{twice}{WIDER}"), "a role twice").await;
    bench.refuses_with("", WIDER, "wider").await;
    bench
        .refuses_with("", "    deny: []\n  - name: x\n    name: y\n", "duplicate")
        .await;
    bench.refuses_with("", "rules:\n", "duplicate").await;
    let files = [("a.yaml", GOOD), ("b.yaml", GOOD)];
    let problems = read(&files).map(|_| ()).unwrap_err();
    let second = |what: &str| problems.iter().any(|problem| problem.message.contains(what));
    assert!(second("`ml`") && second("`reader`"), "{problems:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_02_03_unknown_keys_and_empty_lists_are_refused() {
    let bench = Bench::start().await;
    let rule = |line: &str| format!("  - name: x\n    subjects: [{{ anyone: true }}]\n    {line}\n");
    for (line, told) in [
        ("alow: []", "unknown field `alow`"),
        (
            "allow: [{ project: [ml], domains: ['*'], role: viewer }]",
            "unknown field `project`",
        ),
        (
            "allow: [{ projects: [], domains: ['*'], role: viewer }]",
            "`projects: []`",
        ),
        (
            "allow: [{ projects: [ml], domains: [], role: viewer }]",
            "`domains: []`",
        ),
        (
            "allow: [{ projects: [ml], domains: ['*'], actions: [] }]",
            "`actions: []`",
        ),
        (
            "allow: [{ projects: , domains: ['*'], role: viewer }]",
            "expected sequence",
        ),
        ("allow: []", "`allow: []`"),
        ("deny:", "deny"),
    ] {
        let text = format!("{GOOD}{}{WIDER}", rule(line));
        let problems = read(&[("policy.yaml", &text)]).map(|_| ()).unwrap_err();
        let shown: Vec<String> = problems.iter().map(ToString::to_string).collect();
        assert!(shown.iter().any(|problem| problem.contains(told)), "{line}: {shown:#?}");
    }
    bench.refuses_with("", &rule("alow: []"), "unknown field `alow`").await;
    bench.refuses_with("", &rule("allow: []"), "`allow: []`").await;
    bench.refuses("", "an empty file").await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_04_words_that_older_yaml_reads_as_truth_values_are_not_read_so() {
    let bench = Bench::start().await;
    for word in ["yes", "on", "y", "Yes", "ON", "1"] {
        let rule = format!(
            "  - name: x\n    subjects: [{{ anyone: {word} }}]\n    allow: [{{ projects: [ml], domains: ['*'], role: viewer }}]\n"
        );
        let text = format!("{GOOD}{rule}");
        assert!(read(&[("policy.yaml", &text)]).is_err(), "{word}");
    }
    bench
        .refuses_with("", "  - name: x\n    subjects: [{ anyone: yes }]\n    allow: []\n", "")
        .await;
    // As names they stay what they are.
    let names = GOOD.replace("[ml-team]", "[no, on, yes, 0123, 12:30, 1e3, ~x]");
    let policy = read(&[("policy.yaml", &names)]).unwrap();
    for group in ["no", "on", "yes", "0123", "12:30", "1e3"] {
        assert!(sees(&policy, group, "ml"), "{group}");
    }
    for group in ["false", "true", "83", "1000", "750", "45000"] {
        assert!(!sees(&policy, group, "ml"), "{group}");
    }
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_05_merge_keys_and_aliases_that_multiply_are_refused() {
    let bench = Bench::start().await;
    let merged = GOOD.replace("  - name: ml\n", "  - &ml\n    name: ml\n");
    bench
        .refuses(
            format!("{merged}  - <<: *ml\n    name: wider\n    subjects: [{{ anyone: true }}]\n"),
            "a merge key",
        )
        .await;
    let mut laughs = String::from("version: 1\nrules: []\nroles:\n  a0: &a0 [view_data, view_data]\n");
    for level in 1..40 {
        use std::fmt::Write;
        let before = level - 1;
        writeln!(laughs, "  a{level}: &a{level} [*a{before}, *a{before}, *a{before}]").unwrap();
    }
    // Multiplied out, it would take years.
    assert!(read(&[("policy.yaml", &laughs)]).is_err());
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_06_07_08_two_documents_tabs_and_other_encodings_are_refused() {
    let bench = Bench::start().await;
    bench
        .refuses(format!("{GOOD}---\n{GOOD}{WIDER}"), "two documents")
        .await;
    bench
        .refuses(
            format!("{GOOD}...\n---\nversion: 1\n"),
            "a second document after an end",
        )
        .await;
    bench.refuses(format!("{GOOD}\t{WIDER}"), "a tab").await;
    bench
        .refuses(format!("\u{FEFF}{GOOD}{WIDER}"), "a byte order mark")
        .await;
    let utf16: Vec<u8> = format!("\u{FEFF}{GOOD}{WIDER}")
        .encode_utf16()
        .flat_map(u16::to_le_bytes)
        .collect();
    bench.refuses(utf16, "UTF-16").await;
    bench
        .refuses(format!("{GOOD}# \u{202E}{WIDER}"), "text turned around")
        .await;
    bench
        .refuses([GOOD.as_bytes(), b"\xff", WIDER.as_bytes()].concat(), "no UTF-8")
        .await;
}

#[test]
fn t_conf_09_no_part_of_a_policy_in_braces_allows_what_the_whole_of_it_does_not() {
    let whole = format!(
        "version: 1
rules:
  - name: ml
    subjects: [{{ groups: [ml-team] }}]
    allow:
      - {{ projects: [ml, ml-more], domains: ['*'], role: viewer }}
  - name: fraud
    subjects: [{{ groups: [fraud-team], claim: level, values: [high] }}]
    allow: [{{ projects: [fraud], domains: [development], role: viewer }}]
{WIDER}"
    );
    let all = read(&[("policy.yaml", &whole)]).unwrap();
    let mut readable = 0;
    for end in 0..whole.len() {
        let Ok(policy) = read(&[("policy.yaml", whole.get(..end).unwrap())]) else {
            continue;
        };
        readable += 1;
        for group in ["ml-team", "fraud-team", "ml", "m", ""] {
            for project in ["ml", "ml-more", "ml-mor", "m", "fraud", "f"] {
                let allowed = sees(&policy, group, project);
                assert!(
                    !allowed || sees(&all, group, project),
                    "{group} sees {project} after {end} bytes"
                );
            }
        }
    }
    assert!(readable > 0, "some parts are policies too: they are whole rules");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_09_to_12_a_file_that_is_cut_off_gone_or_closed_to_the_proxy_changes_nothing() {
    let bench = Bench::start().await;
    let path = bench.path().to_owned();
    bench.refuses(GOOD.get(..GOOD.len() / 2).unwrap(), "half a file").await;
    bench.refuses("version: 1\nrules: [", "a list that is not closed").await;
    fs::remove_file(&path).unwrap();
    bench.fails("deleted").await;
    symlink("nowhere", &path).unwrap();
    bench.fails("a link to nothing").await;
    fs::remove_file(&path).unwrap();
    symlink("/dev/zero", &path).unwrap();
    bench.fails("a link to a device without an end").await;
    fs::remove_file(&path).unwrap();
    replace(&path, &format!("{GOOD}{WIDER}")).unwrap();
    fs::set_permissions(&path, fs::Permissions::from_mode(0o0)).unwrap();
    // Whom permissions do not hold, as who runs the tests as root, has the policy of its owner.
    if fs::read(&path).is_err() {
        bench.fails("without permission to read it").await;
    }
    fs::remove_file(&path).unwrap();
    fs::create_dir(&path).unwrap();
    bench.fails("an empty directory in its place").await;
    fs::remove_dir(&path).unwrap();
    // Back again, with a rule more: in force.
    replace(&path, &format!("{GOOD}{WIDER}")).unwrap();
    eventually("it is read again", || bench.proxy.app.live.load().generation > 1).await;
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_13_a_file_of_fifty_megabytes_is_refused_and_not_read_to_its_end() {
    let bench = Bench::start().await;
    let text = format!("{GOOD}{WIDER}");
    let huge = fs::File::create(bench.path().with_extension("new")).unwrap();
    std::io::Write::write_all(&mut &huge, text.as_bytes()).unwrap();
    huge.set_len(50 << 20).unwrap();
    fs::rename(bench.path().with_extension("new"), bench.path()).unwrap();
    bench.fails("50 MB").await;
    let padded = format!("{text}{}", "# nothing\n".repeat(5 << 20));
    let problems = read(&[("policy.yaml", &padded)]).map(|_| ()).unwrap_err();
    assert!(problems[0].message.contains("bytes; at most"), "{problems:#?}");
}

#[tokio::test(flavor = "multi_thread", worker_threads = 2)]
async fn t_conf_14_patterns_that_do_not_compile_or_mean_too_much_are_refused() {
    let bench = Bench::start().await;
    for (subject, project) in [
        ("capture: '('", "ml"),
        ("capture: '(?<team>a{1000}{1000}{1000})'", "'${team}'"),
        ("capture: '(?<team>.*'", "'${team}'"),
        ("capture: '(?=x)(?<team>x)'", "'${team}'"),
        ("capture: '(?<team>x)\\1'", "'${team}'"),
        ("groups: [ml-team]", "'${team}'"),
        ("groups: [ml-team]", "'ml['"),
        ("groups: [ml-team]", "'ML'"),
        ("groups: [ml-team]", "'../fraud'"),
    ] {
        let subject = match subject.strip_prefix("capture: ") {
            Some(pattern) => format!("claim: groups, pattern: {pattern}"),
            None => subject.to_owned(),
        };
        let text = format!(
            "{GOOD}  - name: x\n    subjects: [{{ {subject} }}]\n    allow: [{{ projects: [{project}], domains: ['*'], role: viewer }}]\n"
        );
        assert!(read(&[("policy.yaml", &text)]).is_err(), "accepted:\n{text}");
    }
    bench
        .refuses(
            format!("{GOOD}  - name: x\n    subjects: [{{ anyone: true }}]\n    allow: [{{ projects: ['fraud['], domains: ['*'], role: viewer }}]\n{WIDER}"),
            "a pattern with a bracket",
        )
        .await;
}
