//! The built-in catalogue compiles to the plans it describes; what is wrong with a document is told at its line.

#![expect(clippy::unwrap_used, clippy::indexing_slicing, clippy::panic, reason = "tests")]

use crate::catalog::answer::{Answer, ItemStep, Show};
use crate::catalog::document::FLYTE1;
use crate::catalog::{Cardinality, Catalog, Part, Plan, ScalarKind, SlotRole, Step};
use crate::model::scope::{Resource, ResourceKind};

fn builtin_and(overlay: &str) -> Result<Catalog, Vec<String>> {
    let (file, text) = FLYTE1;
    let documents = [(file.into(), text.into()), ("overlay.yaml".into(), overlay.into())];
    Catalog::load(&documents).map_err(|problems| {
        let line = |problem: &crate::model::problem::Problem| {
            format!("{}:{}: {}", problem.file.display(), problem.line, problem.message)
        };
        problems.iter().map(line).collect()
    })
}

/// Follows field names from the request message. Gives the labels or fields of the slots the message opens.
fn opened(plan: &Plan, path: &str) -> Vec<String> {
    let mut state = &plan.states[Plan::START];
    for name in path.split('.').filter(|name| !name.is_empty()) {
        let field = state.fields.iter().find(|field| &*field.name == name).unwrap();
        match field.step {
            Step::Descend(next) => state = &plan.states[next],
            Step::Skip | Step::Keep(_) | Step::Search(_) => return vec![format!("nothing: {name} is passed over")],
        }
    }
    state
        .opens
        .iter()
        .map(|slot| plan.slots()[*slot].at.to_string())
        .collect()
}

#[test]
fn the_built_in_catalogue_compiles() {
    let catalog = Catalog::builtin().unwrap();
    assert_eq!(catalog.generation.as_ref(), "flyte1");
    assert_eq!(catalog.routes.len(), 66);
    let templates: usize = catalog.routes.iter().map(|route| route.bindings.len()).sum();
    assert_eq!(templates, 69);
    for (index, route) in catalog.routes.iter().enumerate() {
        assert_eq!(route.index, index);
    }
}

#[test]
fn references_of_a_workflow_are_found_at_any_depth() {
    let catalog = Catalog::builtin().unwrap();
    let route = catalog
        .lookup_rpc("/flyteidl.service.AdminService/CreateWorkflow")
        .unwrap();
    let task = "spec.template.nodes[].**.task_node";
    for nesting in [
        "",
        ".branch_node.if_else.case.then_node",
        ".branch_node.if_else.other.then_node",
        ".branch_node.if_else.else_node",
        ".array_node.node",
        ".array_node.node.branch_node.if_else.other.then_node.branch_node.if_else.else_node.array_node.node",
    ] {
        assert_eq!(
            opened(&route.plan, &format!("spec.template.nodes{nesting}.task_node")),
            [task]
        );
        let launch_plan = format!("spec.sub_workflows.failure_node{nesting}.workflow_node.launchplan_ref");
        let expected = "spec.sub_workflows[].failure_node.**.workflow_node.launchplan_ref";
        assert_eq!(opened(&route.plan, &launch_plan), [expected]);
    }
    assert!(opened(&route.plan, "spec.template.nodes.branch_node.if_else.case").is_empty());
    assert_eq!(
        opened(&route.plan, "spec.template.nodes.workflow_node.sub_workflow_ref"),
        ["nothing: sub_workflow_ref is passed over"]
    );
}

#[test]
fn every_scoped_route_has_one_scope_whose_parts_must_not_be_empty() {
    for route in Catalog::builtin().unwrap().routes {
        let scopes: Vec<_> = route
            .plan
            .slots()
            .iter()
            .filter(|slot| matches!(slot.role, SlotRole::Scope { .. } | SlotRole::FlyteUrl))
            .collect();
        if route.access != crate::catalog::Access::Scoped {
            assert!(route.plan.states.is_empty(), "{}", route.rpc);
            continue;
        }
        let [scope] = scopes.as_slice() else {
            panic!("{} has {} scopes", route.rpc, scopes.len());
        };
        assert!(scope.required, "{}", route.rpc);
        for (path, part) in &scope.parts {
            if matches!(part, Part::Project | Part::Domain | Part::Value) {
                assert!(scope.filled.contains(part), "{} {path}", route.rpc);
            }
        }
    }
}

#[test]
fn only_single_texts_and_enums_are_kept() {
    for route in Catalog::builtin().unwrap().routes {
        let fields = route.plan.states.iter().flat_map(|state| &state.fields);
        for field in fields.filter(|field| matches!(field.step, Step::Keep(_))) {
            assert!(
                matches!(field.kind, ScalarKind::String | ScalarKind::Enum(_)),
                "{} {}",
                route.rpc,
                field.name
            );
            assert_eq!(field.cardinality, Cardinality::Single, "{} {}", route.rpc, field.name);
        }
    }
}

const RPC: &str =
    "version: 1\ngeneration: flyte1\nrpcs:\n  - rpc: acme.Service/Call\n    request: flyteidl.admin.ObjectGetRequest\n";

#[test]
fn an_overlay_adds_rpcs_messages_and_pages() {
    let overlay = "version: 1
generation: flyte1
rpcs:
  - rpc: acme.Service/Call
    request: acme.Request
    action: view_data
    http: [{get: \"/api/v1/acme/{where.project}/{where.domain}\"}]
    scope: {project: where.project, domain: where.domain}
messages:
  acme.Request: {where: 1 acme.Where}
  acme.Where: {project: 1 string, domain: 2 string}
pages:
  - {path: /docs, methods: [GET], below: true}
";
    let catalog = builtin_and(overlay).unwrap();
    let route = catalog.lookup_rpc("/acme.Service/Call").unwrap();
    assert_eq!(route.plan.states[0].message.as_ref(), "acme.Request");
    let matched = catalog.lookup_rest(&http::Method::GET, "/api/v1/acme/a/b").unwrap();
    assert_eq!(matched.segments(), ["a", "b"]);
    assert_eq!(matched.binding.variables[0].sets, [(0, Part::Project)]);
    assert!(catalog.lookup_page("/docs/x").is_some());
}

#[test]
fn faults_of_an_rpc_are_told_at_their_line() {
    let scope = "    action: view_data\n    scope: {project: id.project, domain: id.domain}\n";
    let table = [
        (
            "",
            "overlay.yaml:4: `acme.Service/Call` needs exactly one of `action` and `access`",
        ),
        (
            "    action: view_data\n",
            "overlay.yaml:4: `acme.Service/Call` needs exactly one of `scope` and `flyte_url`",
        ),
        (
            "    action: look\n    scope: {extent: platform}\n",
            "overlay.yaml:6: unknown action `look`: write one of view_inventory",
        ),
        (
            "    action: view_data\n    scope: {project: id.project}\n",
            "overlay.yaml:7: give `project` and `domain`",
        ),
        (
            "    action: view_data\n    scope: {project: id.projekt, domain: id.domain}\n",
            "overlay.yaml:7: unknown field `projekt` of message `flyteidl.core.Identifier`",
        ),
        (
            "    action: view_data\n    scope:\n      project: id.project\n      domain: id.resource_type\n",
            "overlay.yaml:9: `id.resource_type` must be a string",
        ),
        (
            "    access: public\n    required: [id.name]\n",
            "overlay.yaml:4: an RPC with `access` is not judged by scope",
        ),
        (
            &format!("{scope}    http: [{{get: \"/x/{{id.nam}}\"}}]\n"),
            "overlay.yaml:8: unknown field `nam` of message `flyteidl.core.Identifier`",
        ),
        (
            &format!("{scope}    http: [{{get: \"/x/{{id}}\"}}]\n"),
            "overlay.yaml:8: `id` must be a single field that is no message",
        ),
        (
            &format!("{scope}    http: [{{get: \"/api/v1/tasks/{{id.project}}/{{id.domain}}\"}}]\n"),
            "overlay.yaml:4: GET `/api/v1/tasks/{id.project}/{id.domain}` can match the same paths as",
        ),
        (
            &format!("{scope}    http: [{{get: \"/api/v1/tasks/{{id.project}}/fixed\"}}]\n"),
            "overlay.yaml:4: GET `/api/v1/tasks/{id.project}/fixed` can match the same paths as",
        ),
        (
            &format!("{scope}    http: [{{get: /x, put: /x}}]\n"),
            "overlay.yaml:8: write exactly one of `get`",
        ),
        (
            &format!("{scope}    http: [{{get: /x, body: \"*\"}}]\n"),
            "overlay.yaml:8: a GET has no body",
        ),
        (
            &format!("{scope}    http: [{{get: \"/x/a{{id.name}}\"}}]\n"),
            "overlay.yaml:8: segment `a{id.name}`",
        ),
        (
            &format!("{scope}    http: [{{get: \"/x/{{id.name}}\"}}]\n    query: [id.name]\n"),
            "overlay.yaml:8: `id.name` is set by the path and the query both",
        ),
        (
            &format!("{scope}    query: [id.name]\n"),
            "overlay.yaml:8: `query` has no meaning without a GET binding",
        ),
        (
            &format!("{scope}    http: [{{get: /x}}]\n    query: [id]\n"),
            "overlay.yaml:9: `id` can not be a query key",
        ),
        (
            &format!("{scope}    references: [{{at: [id.name], label: x, foreign: [view_data]}}]\n"),
            "overlay.yaml:8: field `name` of `flyteidl.core.Identifier` is no message",
        ),
        (
            &format!("{scope}    references: [{{at: [id], label: x}}]\n"),
            "overlay.yaml:8: a reference without `foreign` or `always` would not be judged",
        ),
        (
            "    action: view_data\n    scope: {extent: platform}\n    chosen_name: id.name\n",
            "overlay.yaml:8: `chosen_name` needs a `scope` with `project` and `domain`",
        ),
        (
            &format!("{scope}    references: [{{at: [\"id.**\"], label: x, foreign: [view_data]}}]\n"),
            "overlay.yaml:8: `flyteidl.core.Identifier` is not listed under `recursion`",
        ),
        (
            &format!("{scope}    references: [{{at: [\"id[]\"], label: x, foreign: [view_data]}}]\n"),
            "overlay.yaml:8: write `id` for this field",
        ),
        (
            &format!("{scope}    choices: [{{action: view_data, field: id.resource_type, among: [NONSENSE]}}]\n"),
            "overlay.yaml:8: unknown value `NONSENSE` of enum `flyteidl.core.ResourceType`",
        ),
        (
            &format!("{scope}    choices: [{{action: view_data, field: id.name, among: [TASK]}}]\n"),
            "overlay.yaml:8: `TASK` needs a field that is an enum",
        ),
        (
            &format!("{scope}    settings: [{{setting: iam_role, at: [id.resource_type]}}]\n"),
            "overlay.yaml:8: `id.resource_type` must be a string",
        ),
        (
            &format!("{scope}    choices: [{{action: view_data}}]\n"),
            "overlay.yaml:8: write either `present`",
        ),
        (
            &format!("{scope}    colour: red\n"),
            "overlay.yaml:8: unknown field `colour`",
        ),
    ];
    for (lines, expected) in table {
        let problems = builtin_and(&format!("{RPC}{lines}")).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.starts_with(expected)),
            "{lines}{problems:#?}\n{expected}"
        );
    }
}

#[test]
fn faults_outside_of_rpcs_are_told_at_their_line() {
    let table = [
        (
            "version: 2\ngeneration: flyte1\n",
            "overlay.yaml:1: version 2 is not known; write `version: 1`",
        ),
        (
            "version: 1\ngeneration: flyte2\n",
            "overlay.yaml:2: generation `flyte2` can not be added to `flyte1`",
        ),
        (
            "version: 1\ngeneration: flyte1\nrpcs:\n  - rpc: flyteidl.service.AdminService/GetVersion\n    request: flyteidl.admin.GetVersionRequest\n    access: public\n",
            "overlay.yaml:4: RPC `flyteidl.service.AdminService/GetVersion` is defined at catalog/flyte1.yaml:",
        ),
        (
            "version: 1\ngeneration: flyte1\nrpcs:\n  - {rpc: acme.Service/Call, request: acme.Request, access: public}\n",
            "overlay.yaml:4: unknown message `acme.Request`: describe it under `messages`",
        ),
        (
            "version: 1\ngeneration: flyte1\nmessages:\n  flyteidl.core.Identifier: {a: 1 string}\n",
            "overlay.yaml:4: message `flyteidl.core.Identifier` is defined at catalog/flyte1.yaml:",
        ),
        (
            "version: 1\ngeneration: flyte1\nenums:\n  flyteidl.core.ResourceType: {A: 0}\n",
            "overlay.yaml:4: enum `flyteidl.core.ResourceType` is defined at catalog/flyte1.yaml:",
        ),
        (
            "version: 1\ngeneration: flyte1\nmessages:\n  acme.A:\n    a: 1 string\n    b: 1 string\n",
            "overlay.yaml:6: number 1 is taken by another field",
        ),
        (
            "version: 1\ngeneration: flyte1\nmessages:\n  acme.A:\n    a: 1 enum acme.B\n",
            "overlay.yaml:5: unknown enum `acme.B`: describe it under `enums`",
        ),
        (
            "version: 1\ngeneration: flyte1\nmessages:\n  acme.A:\n    a: 1 strnig\n",
            "overlay.yaml:5: unknown type `strnig`",
        ),
        (
            "version: 1\ngeneration: flyte1\nmessages:\n  acme.A:\n    a: string 1\n",
            "overlay.yaml:5: `string 1` is no field",
        ),
        (
            "version: 1\ngeneration: flyte1\nrecursion:\n  flyteidl.core.Node:\n    - branch_node\n",
            "overlay.yaml:5: `branch_node` leads from `flyteidl.core.Node` to `flyteidl.core.BranchNode`",
        ),
        (
            "version: 1\ngeneration: flyte1\npages:\n  - {path: /api, methods: [GET], below: true}\n",
            "overlay.yaml:4: page `/api` would open `/flyteidl.service.AdminService/CreateTask` to everybody",
        ),
        (
            "version: 1\ngeneration: flyte1\npages:\n  - {path: /flyteidl.service.AdminService, methods: [GET], below: true}\n",
            "overlay.yaml:4: page `/flyteidl.service.AdminService` would open",
        ),
        (
            "version: 1\ngeneration: flyte1\npages:\n  - {path: /console/x, methods: [GET]}\n",
            "overlay.yaml:4: page `/console/x` is covered at catalog/flyte1.yaml:",
        ),
        (
            "version: 1\ngeneration: flyte1\npages:\n  - {path: /x, methods: [CONNECT]}\n",
            "overlay.yaml:4: unknown method `CONNECT`",
        ),
    ];
    for (overlay, expected) in table {
        let problems = builtin_and(overlay).unwrap_err();
        assert!(
            problems.iter().any(|problem| problem.starts_with(expected)),
            "{problems:#?}\n{expected}"
        );
    }
}

#[test]
fn the_group_and_key_of_a_secret_are_texts() {
    let overlay = |key: &str| {
        format!(
            "version: 1
generation: flyte1
rpcs:
  - rpc: acme.Service/Call
    request: acme.Request
    action: view_data
    scope: {{project: project, domain: domain}}
    settings: [{{setting: secret, at: [secret]}}]
messages:
  acme.Request: {{project: 1 string, domain: 2 string, secret: 3 acme.Secret}}
  acme.Secret: {{group: 1 string, key: 2 {key}}}
"
        )
    };
    assert!(builtin_and(&overlay("string")).is_ok());
    assert_eq!(
        builtin_and(&overlay("int64")).unwrap_err(),
        ["overlay.yaml:8: `secret.key` must be a string"]
    );
}

#[test]
fn a_message_collected_inside_itself_is_refused() {
    let overlay = "version: 1
generation: flyte1
rpcs:
  - rpc: acme.Service/Call
    request: acme.Request
    action: view_data
    scope: {project: project, domain: domain}
    references: [{at: [\"tree.**\"], label: tree, foreign: [view_data]}]
messages:
  acme.Request: {project: 1 string, domain: 2 string, tree: 3 acme.Tree}
  acme.Tree: {project: 1 string, domain: 2 string, left: 3 acme.Tree}
recursion:
  acme.Tree: [left]
";
    let problems = builtin_and(overlay).unwrap_err();
    assert_eq!(
        problems,
        ["overlay.yaml:4: the message at `tree.**` can lie in itself: give the path to the field that is meant"]
    );
}

#[test]
fn all_faults_are_told_at_once() {
    let overlay = "version: 3\ngeneration: x\nmessages:\n  acme.A: {a: nothing, b: 0 string}\n";
    assert_eq!(builtin_and(overlay).unwrap_err().len(), 4);
}

const LIST: &str = "    action: view_inventory
    scope: {project: id.project, domain: id.domain, name: id.name, resource: task}
    answer:
";

#[test]
fn an_overlay_says_what_its_answers_show() {
    let items = "      items: {response: flyteidl.admin.TaskList, at: \"tasks[]\", project: id.project, domain: id.domain, name: id.name, show: listed}\n";
    let catalog = builtin_and(&format!("{RPC}{LIST}{items}")).unwrap();
    let route = catalog.lookup_rpc("/acme.Service/Call").unwrap();
    let items = route.items().unwrap();
    assert_eq!((items.list.number, items.show), (1, Show::Listed));
    let [id] = items.shape.fields.as_slice() else {
        panic!("{:?}", items.shape);
    };
    let ItemStep::Descend(id) = &id.step else {
        panic!("{id:?}");
    };
    let numbers: Vec<u32> = id.fields.iter().map(|field| field.label.number).collect();
    assert_eq!(numbers, [2, 3, 4]);
    let plain = format!("{RPC}    access: authenticated\n    answer: {{unfiltered: everybody may know it}}\n");
    let catalog = builtin_and(&plain).unwrap();
    let answer = &catalog.lookup_rpc("/acme.Service/Call").unwrap().answer;
    assert!(matches!(answer, Some(Answer::Unfiltered(why)) if &**why == "everybody may know it"));
}

#[test]
fn only_where_the_answer_is_filtered_by_name_a_list_may_be_asked_for_by_who_has_names_listed() {
    let every = || Some(Resource::Every(ResourceKind::Task));
    let (action, _) = LIST.split_once("    answer:").unwrap();
    let tasks = "response: flyteidl.admin.TaskList, at: \"tasks[]\", project: id.project, domain: id.domain";
    for (answer, expected) in [
        (String::new(), every()),
        ("    answer: own_scope\n".to_owned(), every()),
        (
            format!("    answer: {{items: {{{tasks}, show: {{allowed: view_data}}}}}}\n"),
            every(),
        ),
        (
            format!("    answer: {{items: {{{tasks}, name: id.name, show: listed}}}}\n"),
            Some(Resource::Listed(Some(ResourceKind::Task))),
        ),
    ] {
        let catalog = builtin_and(&format!("{RPC}{action}{answer}")).unwrap();
        let route = catalog.lookup_rpc("/acme.Service/Call").unwrap();
        assert_eq!(route.as_listed(every()), expected, "{answer}");
    }
}

#[test]
fn an_answer_that_could_not_be_filtered_as_told_is_refused() {
    let open = "    access: authenticated\n    answer:\n";
    let tasks = "response: flyteidl.admin.TaskList, at: \"tasks[]\"";
    for (rest, expected) in [
        (
            format!("{open}      own_scope\n"),
            "`own_scope` has no meaning where no scope is judged",
        ),
        (format!("{open}      unfiltered: \"\"\n"), "say why in `unfiltered`"),
        (
            format!(
                "{open}      items: {{{tasks}, project: id.project, domain: id.domain, name: id.name, show: listed}}\n"
            ),
            "`show: listed` needs `action`",
        ),
        (
            format!("{open}      items: {{{tasks}, project: id.project, domain: id.domain, show: viewable}}\n"),
            "an item needs for `show: viewable` only `project`",
        ),
        (
            format!("{open}      items: {{{tasks}, project: id.project, show: {{allowed: view_data}}}}\n"),
            "an item needs for",
        ),
        (
            format!(
                "{open}      items: {{{tasks}, project: id.project, domain: id.domain, show: {{allowed: look}}}}\n"
            ),
            "unknown action `look`",
        ),
        (
            format!("{open}      items: {{{tasks}, project: id.nothing, show: viewable}}\n"),
            "unknown field `nothing`",
        ),
        (
            format!("{open}      items: {{{tasks}, project: id, show: viewable}}\n"),
            "must be a single string",
        ),
        (
            format!("{open}      items: {{{tasks}, project: id.resource_type, show: viewable}}\n"),
            "must be a single string",
        ),
        (
            format!(
                "{open}      items: {{response: flyteidl.admin.TaskList, at: token, project: id.project, show: viewable}}\n"
            ),
            "must be a repeated field",
        ),
        (
            format!(
                "{open}      items: {{response: flyteidl.admin.Nothing, at: \"tasks[]\", project: id.project, show: viewable}}\n"
            ),
            "unknown message `flyteidl.admin.Nothing`",
        ),
        (
            format!(
                "{LIST}      items: {{{tasks}, project: id.name, domain: id.domain, name: id.name, show: listed}}\n"
            ),
            "is read for two purposes",
        ),
        (
            format!("{LIST}      items: {{{tasks}, project: id.project, domain: id.domain, show: listed}}\n"),
            "one of `name` and `runs`",
        ),
        (
            format!(
                "{LIST}      items: {{{tasks}, project: id.project, domain: id.domain, name: id.name, show: listed, narrow: {{filters: id, column: name}}}}\n"
            ),
            "must be a single string of the request",
        ),
        (
            format!(
                "{open}      items: {{{tasks}, project: id.project, domain: id.domain, show: {{allowed: view_data}}, narrow: {{filters: id, column: name}}}}\n"
            ),
            "must be a single string of the request",
        ),
        (format!("{open}      elsewhere: 1\n"), "elsewhere"),
    ] {
        let faults = builtin_and(&format!("{RPC}{rest}")).unwrap_err();
        assert!(
            faults.iter().any(|fault| fault.contains(expected)),
            "{expected}: {faults:?}"
        );
    }
}
