//! Every mistake is found, with its place and what to write instead.
#![expect(clippy::unwrap_used, clippy::indexing_slicing, reason = "tests")]

use super::*;
use crate::policy::RuleName;

fn domains() -> Vec<Box<str>> {
    ["development", "staging", "production"].map(Box::from).to_vec()
}

fn problems(text: &str) -> Vec<Problem> {
    match compile(&[(PathBuf::from("p.yaml"), text.to_owned())], &domains()) {
        Ok((_, warnings)) => warnings,
        Err(problems) => problems,
    }
}

/// A document whose only rule has these lines after its name, from line 4 on.
fn rule(lines: &[&str]) -> String {
    format!("version: 1\nrules:\n  - name: r\n    {}\n", lines.join("\n    "))
}

const ANYONE: &str = "subjects: [{ anyone: true }]";
const ALLOW: &str = "allow: [{ projects: [ml], domains: [staging], role: viewer }]";

#[test]
fn every_mistake_is_reported_at_its_place_with_what_to_write_instead() {
    let table: &[(String, u64, u64, &str)] = &[
        ("rules: []\n".into(), 1, 1, "missing field `version`"),
        (
            "version: 2\nnewer: x\n".into(),
            1,
            10,
            "version 2 of the format is not known",
        ),
        ("version: 2\n".into(), 1, 10, "write `version: 1`"),
        ("version: 1\nrule: []\n".into(), 2, 1, "unknown field `rule`"),
        (
            "version: 1\nroles: { viewer: [view_data] }\n".into(),
            2,
            18,
            "built in and cannot be redefined",
        ),
        (
            "version: 1\nroles: { a: [] }\n".into(),
            2,
            13,
            "`actions: []` covers no action",
        ),
        (
            "version: 1\nroles: { a: [view_dato] }\n".into(),
            2,
            14,
            "did you mean `view_data`?",
        ),
        (
            "version: 1\nroles: { \"a b\": [view_data] }\n".into(),
            2,
            17,
            "is no name for a role",
        ),
        (
            "version: 1\nrules: [{ name: r, subjects: [{ anyone: true }] }]\n".into(),
            2,
            17,
            "neither `allow` nor `deny`",
        ),
        (rule(&["subjects: []", ALLOW]), 4, 15, "`subjects: []` matches nobody"),
        (
            rule(&["subjects: [{}]", ALLOW]),
            4,
            16,
            "an item of `subjects` without conditions matches nobody",
        ),
        (
            rule(&["subjects: [{ groups: [] }]", ALLOW]),
            4,
            26,
            "`groups: []` matches nobody",
        ),
        (rule(&["subjects: [{ groups: }]", ALLOW]), 4, 24, "expected sequence"),
        (
            rule(&["subjects: [{ groups: null }]", ALLOW]),
            4,
            26,
            "expected sequence",
        ),
        (
            rule(&["subjects: [{ groups: [\"\"] }]", ALLOW]),
            4,
            27,
            "an empty text in `groups`",
        ),
        (rule(&["subjects: [{ email: [] }]", ALLOW]), 4, 25, "`email: []`"),
        (
            rule(&["subjects: [{ client_id: [] }]", ALLOW]),
            4,
            29,
            "`client_id: []`",
        ),
        (rule(&["subjects: [{ subject: [] }]", ALLOW]), 4, 27, "`subject: []`"),
        (
            rule(&["subjects: [{ claim: a, values: [] }]", ALLOW]),
            4,
            36,
            "`values: []`",
        ),
        (
            rule(&["subjects: [{ issuer: \"https://*\" }]", ALLOW]),
            4,
            26,
            "compared exactly",
        ),
        (
            rule(&["subjects: [{ anyone: false }]", ALLOW]),
            4,
            26,
            "`anyone: false` matches nobody",
        ),
        (
            rule(&["subjects: [{ anyone: true, groups: [a] }]", ALLOW]),
            4,
            26,
            "`anyone: true` stands alone",
        ),
        (
            rule(&["subjects: [{ claim: a }]", ALLOW]),
            4,
            25,
            "`claim` needs `values` or a `pattern`",
        ),
        (rule(&["subjects: [{ values: [a] }]", ALLOW]), 4, 16, "need a `claim`"),
        (
            rule(&["subjects: [{ claim: a..b, values: [x] }]", ALLOW]),
            4,
            25,
            "`claim` has an empty part",
        ),
        (
            rule(&["subjects: [{ claim: a, values: [x], pattern: y }]", ALLOW]),
            4,
            50,
            "either `values` or `pattern`",
        ),
        (
            rule(&["subjects: [{ claim: a, pattern: \"(\" }]", ALLOW]),
            4,
            37,
            "`(` is no pattern",
        ),
        (
            rule(&["subjects: [{ claim: a, pattern: \"a)|(b\" }]", ALLOW]),
            4,
            37,
            "is no pattern",
        ),
        (
            rule(&["subjects: [{ service_accounts: [a] }]", ALLOW]),
            4,
            18,
            "unknown field `service_accounts`",
        ),
        (rule(&[ANYONE, "allow: []"]), 5, 12, "`allow: []` allows nothing"),
        (rule(&[ANYONE, "deny: []"]), 5, 11, "`deny: []` denies nothing"),
        (
            rule(&[ANYONE, ALLOW, "unless: [{ groups: [a] }]"]),
            6,
            13,
            "`unless` is about `deny`",
        ),
        (
            rule(&[ANYONE, "deny: [{ actions: [view_data] }]", "unless: []"]),
            6,
            13,
            "`unless: []` matches nobody",
        ),
        (
            rule(&[ANYONE, "allow: [{ domains: [staging], role: viewer }]"]),
            5,
            35,
            "missing field `projects`",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ml], role: viewer }]"]),
            5,
            31,
            "missing field `domains`",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [], domains: [staging], role: viewer }]"]),
            5,
            25,
            "`projects: []` covers nothing",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ml], domains: [], role: viewer }]"]),
            5,
            40,
            "`domains: []` covers nothing",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [\"\"], domains: [staging], role: viewer }]",
            ]),
            5,
            26,
            "an empty text in `projects`",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ML], domains: [staging], role: viewer }]"]),
            5,
            26,
            "`ML` is no name of a project",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [\"a/*\"], domains: [staging], role: viewer }]",
            ]),
            5,
            26,
            "`a/*` is no name of a project",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ml], domains: [a.b], role: viewer }]"]),
            5,
            41,
            "`a.b` is no name",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ml], domains: [staging] }]"]),
            5,
            13,
            "an entry needs a `role` or `actions`",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: viewer, actions: [view_data] }]",
            ]),
            5,
            57,
            "either `role` or `actions`",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ml], domains: [staging], actions: [] }]"]),
            5,
            60,
            "`actions: []`",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], actions: [create_execution] }]",
            ]),
            5,
            61,
            "unknown action `create_execution`; did you mean `create_executions`?",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ml], domains: [staging], role: vewer }]"]),
            5,
            57,
            "unknown role `vewer`; did you mean `viewer`?",
        ),
        (
            rule(&[ANYONE, "allow: [{ projects: [ml], domains: [staging], role: banana }]"]),
            5,
            57,
            "write one of `contributor`",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [\"${team}\"], domains: [staging], role: viewer }]",
            ]),
            5,
            26,
            "`${team}` is not a named group",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [\"${\"], domains: [staging], role: viewer }]",
            ]),
            5,
            26,
            "without `}`",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [\"A-${claims.x}\"], domains: [staging], role: viewer }]",
            ]),
            5,
            26,
            "`A-${claims.x}`",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: \"${r}\" }]",
            ]),
            5,
            57,
            "`${r}` is not a named group",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: viewer, tasks: [\"*\"] }]",
            ]),
            5,
            73,
            "holds exact names",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: viewer, tasks: [a/] }]",
            ]),
            5,
            73,
            "is no name",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: viewer, apps: [\"\"] }]",
            ]),
            5,
            72,
            "is no name",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: viewer, identities: [a] }]",
            ]),
            5,
            65,
            "unknown field `identities`",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, impersonate: yes }]",
            ]),
            5,
            80,
            "invalid boolean",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, service_accounts: [\"a*\"] }]",
            ]),
            5,
            86,
            "`a*`: `service_accounts` holds exact values",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, iam_roles: [\"a b\"] }]",
            ]),
            5,
            79,
            "`a b` in `iam_roles` is no value",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, clusters: [\"\"] }]",
            ]),
            5,
            78,
            "`` in `clusters` is no value",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, raw_output_prefixes: [bucket/ml] }]",
            ]),
            5,
            89,
            "`bucket/ml` in `raw_output_prefixes` is no place in an object store",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, raw_output_prefixes: [\"s3://b/../c\"] }]",
            ]),
            5,
            89,
            "is no place in an object store",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, secrets: [\"${team}\"] }]",
            ]),
            5,
            77,
            "`${team}` is not a named group",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, set: {} }]",
            ]),
            5,
            72,
            "`set: {}` sets nothing",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, set: { secret: a } }]",
            ]),
            5,
            74,
            "unknown field `secret`",
        ),
        (
            rule(&[
                ANYONE,
                "allow: [{ projects: [ml], domains: [staging], role: operator, set: { raw_output_prefix: \"${project}\" } }]",
            ]),
            5,
            93,
            "is no place in an object store",
        ),
        (
            rule(&[
                ANYONE,
                "deny: [{ actions: [create_executions], service_accounts: [a] }]",
            ]),
            5,
            44,
            "unknown field `service_accounts`",
        ),
        (
            rule(&[ANYONE, "deny: [{ domains: [production] }]"]),
            5,
            12,
            "an entry needs a `role` or `actions`",
        ),
        (
            rule(&[ANYONE, "deny: [{ projects: [], actions: [view_data] }]"]),
            5,
            24,
            "`projects: []`",
        ),
        (
            rule(&[ANYONE, "deny: [{ tasks: [], actions: [view_data] }]"]),
            5,
            21,
            "`tasks: []` denies nothing",
        ),
        (
            rule(&[ANYONE, "deny: [{ launch_plans: [], tasks: [], actions: [view_data] }]"]),
            5,
            28,
            "`launch_plans: []` denies nothing",
        ),
        (
            rule(&[
                "subjects: [{ claim: a, pattern: \"(?<p>x)\" }]",
                "deny: [{ projects: [\"${p}\"], actions: [view_data] }]",
            ]),
            5,
            25,
            "a deny cannot use",
        ),
        (
            rule(&[ANYONE, "deny: [{ role: \"${claims.r}\" }]"]),
            5,
            20,
            "a deny cannot use",
        ),
        (
            rule(&[ANYONE, ALLOW]).replace("name: r", "name: \"a b\""),
            3,
            11,
            "`a b` is no name for a rule",
        ),
    ];
    let mut wrong = Vec::new();
    for (text, line, column, message) in table {
        let found = problems(text);
        let hit = found.iter().any(|problem| {
            problem.severity == Severity::Error
                && problem.message.contains(message)
                && (problem.line, problem.column) == (*line, *column)
                && problem.snippet.contains('^')
        });
        if !hit {
            let shown: Vec<String> = found.iter().map(ToString::to_string).collect();
            wrong.push(format!("wanted {line}:{column} {message}\nfound {}", shown.join("\n")));
        }
    }
    assert!(wrong.is_empty(), "{}", wrong.join("\n\n"));
}

#[test]
fn all_mistakes_of_all_files_are_reported_at_once_in_order() {
    let first = "version: 1\nroles:\n  a: [nope]\nrules:\n  - name: r\n    subjects: []\n    allow: []\n";
    let second = "version: 1\nroles:\n  a: [view_data]\nrules:\n  - name: r\n    subjects: [{ anyone: true }]\n    deny: [{ role: nope }]\n";
    let files = [
        (PathBuf::from("a.yaml"), first.to_owned()),
        (PathBuf::from("b.yaml"), second.to_owned()),
    ];
    let problems = compile(&files, &domains()).unwrap_err();
    let places: Vec<String> = problems
        .iter()
        .map(|problem| format!("{}:{}:{}", problem.file.display(), problem.line, problem.column))
        .collect();
    assert_eq!(
        places,
        [
            "a.yaml:3:7",
            "a.yaml:6:15",
            "a.yaml:7:12",
            "b.yaml:3:6",
            "b.yaml:5:11",
            "b.yaml:7:20"
        ],
        "{problems:#?}"
    );
    assert!(
        problems[3]
            .message
            .contains("the role `a` is already defined at a.yaml:3")
    );
    assert!(
        problems[4]
            .message
            .contains("the rule `r` is already defined at a.yaml:5")
    );
}

#[test]
fn what_is_probably_not_meant_is_warned_about() {
    let unknown_domain = rule(&[
        ANYONE,
        "allow: [{ projects: [ml], domains: [prod, \"dev*\"], role: viewer }]",
    ]);
    let found = problems(&unknown_domain);
    assert_eq!(found.len(), 1, "{found:#?}");
    assert_eq!(
        (found[0].severity, found[0].line, found[0].column),
        (Severity::Warning, 5, 41)
    );
    assert!(
        found[0]
            .message
            .contains("`prod` is none of the configured domains: `development`")
    );

    let platform = rule(&[
        ANYONE,
        "allow: [{ projects: [ml], domains: [\"*\"], actions: [administer_platform] }]",
    ]);
    assert!(
        problems(&platform)[0]
            .message
            .contains("`administer_platform` counts only with")
    );
    assert_eq!(problems(&platform.replace("[ml]", "[\"*\"]")), []);

    for actions in [
        "role: engine",
        "role: platform_admin",
        "actions: [report_events]",
        "actions: [\"*\"]",
    ] {
        let engine = |project| {
            rule(&[
                ANYONE,
                &format!("allow: [{{ projects: {project}, domains: [\"*\"], {actions} }}]"),
            ])
        };
        let some = problems(&engine("[ml, \"team-*\"]"));
        assert_eq!((some.len(), some[0].severity), (1, Severity::Warning), "{some:#?}");
        assert!(
            some[0].message.contains("`report_events` is among these actions"),
            "{some:#?}"
        );
        assert_eq!(problems(&engine("[\"*\"]")), [], "{actions}");
    }
    let admin = rule(&[
        ANYONE,
        "allow: [{ projects: [ml], domains: [\"*\"], role: project_admin }]",
    ]);
    assert_eq!(problems(&admin), []);

    let denied = |lists: &str, actions: &str| {
        problems(&rule(&[
            ANYONE,
            &format!("deny: [{{ {lists}, actions: [{actions}] }}]"),
        ]))
    };
    for lists in ["tasks: [a]", "workflows: [a]", "tasks: [a], workflows: []"] {
        for actions in ["create_executions", "\"*\""] {
            let open = denied(lists, actions);
            assert_eq!((open.len(), open[0].severity), (1, Severity::Warning), "{open:#?}");
            assert!(
                open[0]
                    .message
                    .contains("launch plans that run one of these can still be started")
            );
        }
        assert_eq!(denied(lists, "register_inventory"), []);
        let whole = format!("{lists}, launch_plans: []");
        assert_eq!(denied(&whole, "\"*\""), []);
    }
    assert_eq!(denied("launch_plans: [a]", "\"*\""), []);

    for guarded in [
        "service_accounts: []",
        "secrets: [a]",
        "impersonate: true",
        "set: { cluster_pool: a }",
    ] {
        let grant = |role| format!("allow: [{{ projects: [ml], domains: [staging], role: {role}, {guarded} }}]");
        let idle = problems(&rule(&[ANYONE, &grant("viewer")]));
        assert_eq!((idle.len(), idle[0].severity), (1, Severity::Warning), "{idle:#?}");
        assert!(idle[0].message.contains("it guards and sets nothing here"));
        assert_eq!(problems(&rule(&[ANYONE, &grant("operator")])), []);
    }

    let open = rule(&[
        ANYONE,
        "allow: [{ projects: [ml], domains: [staging], role: operator, tasks: [a] }]",
    ]);
    assert!(
        problems(&open)[0]
            .message
            .contains("a launch plan can still run any task")
    );
    let directly = open.replace("tasks: [a]", "launch_plans: [a]");
    assert!(
        problems(&directly)[0]
            .message
            .contains("any task can still be run by itself")
    );
    let closed = open.replace("tasks: [a]", "tasks: [a], launch_plans: []");
    assert_eq!(problems(&closed), []);
    assert_eq!(problems(&open.replace("operator", "viewer")), []);
}

#[test]
fn a_rule_may_name_roles_of_files_that_come_later_and_stays_in_its_place() {
    let rule = |name: &str, role: &str| {
        format!(
            "  - name: {name}\n    subjects: [{{ anyone: true }}]\n    deny: [{{ domains: [staging], role: viewer }}, {{ projects: [ml], role: {role} }}]\n"
        )
    };
    let first = [
        "version: 1\nrules:\n",
        &rule("a", "late"),
        &rule("b", "viewer"),
        &rule("c", "late"),
    ]
    .concat();
    let second = [
        "version: 1\nroles: { late: [upload_data] }\nrules:\n",
        &rule("d", "operator"),
    ]
    .concat();
    let files = [("a.yaml".into(), first.clone()), ("b.yaml".into(), second)];
    let (policy, warnings) = compile(&files, &domains()).unwrap();
    assert!(warnings.is_empty());
    let names: Vec<&str> = policy.rules().map(RuleName::name).collect();
    assert_eq!(names, ["a", "b", "c", "d"]);
    let denied: Vec<ActionSet> = policy.rules.iter().map(|rule| rule.deny[1].actions).collect();
    let known = |role: &str| policy.roles.actions(role).unwrap();
    assert_eq!(denied, ["late", "viewer", "late", "operator"].map(known));
    assert_eq!(known("late"), ActionSet::of(&[Action::UploadData]));
    // Without the other file, each place of the role is told.
    let faults = compile(&[("a.yaml".into(), first)], &domains()).unwrap_err();
    let lines: Vec<u64> = faults.iter().map(|fault| fault.line).collect();
    assert_eq!(lines, [5, 11]);
    assert!(faults.iter().all(|fault| fault.message.contains("unknown role `late`")));
}

#[test]
fn many_mistakes_do_not_hide_that_there_is_an_error() {
    use std::fmt::Write;
    let mut text = String::from("version: 1\nrules:\n");
    for number in 0..300 {
        writeln!(
            text,
            "  - {{ name: r{number}, {ANYONE}, allow: [{{ projects: [a], domains: [nowhere], role: viewer }}] }}"
        )
        .unwrap();
    }
    assert_eq!(problems(&text).len(), MAX_PROBLEMS);
    assert_eq!(problems(&text.replace("[nowhere]", "[]")).len(), MAX_PROBLEMS);
    writeln!(text, "  - {{ name: last, {ANYONE}, allow: [] }}").unwrap();
    let found = problems(&text);
    assert_eq!(
        found
            .iter()
            .filter(|problem| problem.severity == Severity::Error)
            .count(),
        1
    );
}

#[test]
fn the_version_is_the_content_and_not_the_order_of_the_files() {
    let a = (PathBuf::from("a.yaml"), "version: 1\n".to_owned());
    let b = (
        PathBuf::from("b.yaml"),
        "version: 1\nroles: { x: [view_data] }\n".to_owned(),
    );
    let version = |files: &[(PathBuf, String)]| compile(files, &domains()).unwrap().0.version().to_owned();
    assert_eq!(version(&[a.clone(), b.clone()]), version(&[b.clone(), a.clone()]));
    assert_ne!(version(&[a.clone(), b]), version(std::slice::from_ref(&a)));
    assert_eq!(version(&[a]).len(), 64);
}

#[test]
fn the_contract_example_compiles_with_every_rule_in_its_place() {
    let text = include_str!("../../../policies/teams.yaml");
    let (policy, _) = compile(&[(PathBuf::from("teams.yaml"), text.to_owned())], &domains()).unwrap();
    for rule in policy.rules() {
        let line = text.lines().nth(usize::try_from(rule.line()).unwrap() - 1).unwrap();
        assert!(line.contains(&format!("name: {}", rule.name())), "{rule}: {line}");
    }
    assert!(policy.rules().len() > 1);
}

#[test]
fn one_mistake_is_told_once() {
    let allow =
        |domains: &str, rest: &str| format!("allow: [{{ projects: [ml], domains: {domains}, role: operator{rest} }}]");
    for (lines, message) in [
        (["subjects: [{ claim: a }]", ALLOW], "`claim` needs `values`"),
        (["subjects: [{ values: [a] }]", ALLOW], "need a `claim`"),
        (["subjects: [{ pattern: a }]", ALLOW], "need a `claim`"),
        (
            ["subjects: [{ claim: 5, values: [a] }]", ALLOW],
            "a dotted path such as `realm_access.roles`",
        ),
        ([ANYONE, &allow("[Staging]", "")], "`Staging` is no name"),
        (
            [ANYONE, &allow("[staging]", ", raw_output_prefixes: [\"s3+x://b\"]")],
            "is no place in an object store",
        ),
        (
            [ANYONE, &allow("[staging]", ", raw_output_prefixes: [\"://b\"]")],
            "is no place in an object store",
        ),
    ] {
        let found = problems(&rule(&lines));
        assert_eq!(found.len(), 1, "{found:#?}");
        assert!(found[0].message.contains(message), "{found:#?}");
    }
    let of_the_claim = rule(&[ANYONE, &allow("[\"${claims.stage}\"]", "")]);
    assert_eq!(problems(&of_the_claim), [], "it may become one that is configured");
}

#[test]
fn a_rule_has_a_name_of_up_to_a_hundred_characters() {
    for (length, found) in [(1, 0), (100, 0), (101, 1), (200, 1)] {
        let text = rule(&[ANYONE, ALLOW]).replace("name: r", &format!("name: {}", "r".repeat(length)));
        assert_eq!(problems(&text).len(), found, "{length}");
    }
}
