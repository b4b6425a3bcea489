//! Paths are found in one spelling only.

#![expect(clippy::unwrap_used, reason = "tests")]

use super::*;

fn rest(catalog: &Catalog, method: &Method, path: &str) -> Result<(String, Vec<String>), Unmatched> {
    let matched = catalog.lookup_rest(method, path)?;
    let segments = matched.segments().iter().map(ToString::to_string).collect();
    Ok((matched.route.rpc.rsplit('/').next().unwrap().to_owned(), segments))
}

#[test]
fn an_rpc_is_found_by_its_exact_path_only() {
    let catalog = Catalog::builtin().unwrap();
    let found = catalog.lookup_rpc("/flyteidl.service.AdminService/GetTask").unwrap();
    assert_eq!(&*found.request, "flyteidl.admin.ObjectGetRequest");
    for path in [
        "flyteidl.service.AdminService/GetTask",
        "/flyteidl.service.AdminService/GetTask/",
        "/flyteidl.service.AdminService/gettask",
        "/flyteidl.service.AdminService/GetTask?x",
        "//flyteidl.service.AdminService/GetTask",
        "/flyteidl.service.AdminService/",
        "/flyteidl.service.AsyncAgentService/GetTask",
        "/grpc.reflection.v1.ServerReflection/ServerReflectionInfo",
        "",
    ] {
        assert!(catalog.lookup_rpc(path).is_none(), "{path}");
    }
}

#[test]
fn a_template_is_found_by_method_and_path() {
    let catalog = Catalog::builtin().unwrap();
    let table = [
        (Method::GET, "/api/v1/tasks/a/b", "ListTasks", &["a", "b"][..]),
        (Method::GET, "/api/v1/tasks/a/b/c", "ListTasks", &["a", "b", "c"]),
        (Method::GET, "/api/v1/tasks/a/b/c/d", "GetTask", &["a", "b", "c", "d"]),
        (Method::POST, "/api/v1/tasks", "CreateTask", &[]),
        (Method::POST, "/api/v1/executions/relaunch", "RelaunchExecution", &[]),
        (
            Method::GET,
            "/api/v1/executions/relaunch/b",
            "ListExecutions",
            &["relaunch", "b"],
        ),
        (
            Method::GET,
            "/api/v1/node_executions/a/b/c/d/dynamic_workflow",
            "GetDynamicNodeWorkflow",
            &["a", "b", "c", "d"],
        ),
        (
            Method::GET,
            "/api/v1/data/task_executions/1/2/3/4/5/6/7/8/9",
            "GetTaskExecutionData",
            &["1", "2", "3", "4", "5", "6", "7", "8", "9"],
        ),
        (
            Method::DELETE,
            "/api/v1/project_attributes/p",
            "DeleteProjectAttributes",
            &["p"],
        ),
        (Method::GET, "/me", "UserInfo", &[]),
    ];
    for (method, path, rpc, segments) in table {
        let found = rest(&catalog, &method, path).unwrap();
        assert_eq!(
            (found.0.as_str(), found.1.as_slice()),
            (
                rpc,
                segments.iter().map(ToString::to_string).collect::<Vec<_>>().as_slice()
            )
        );
    }
}

#[test]
fn a_template_may_have_sixteen_segments() {
    let path = format!("/acme{}", "/x".repeat(MAX_SEGMENTS - 1));
    let overlay = format!(
        "version: 1
generation: flyte1
rpcs:
  - {{rpc: acme.Service/Call, request: acme.Request, access: authenticated, http: [{{get: {path}}}]}}
messages:
  acme.Request: {{}}
"
    );
    let catalog = Catalog::with_overlays(&[("overlay.yaml".into(), overlay)]).unwrap();
    assert_eq!(rest(&catalog, &Method::GET, &path), Ok(("Call".to_owned(), Vec::new())));
}

#[test]
fn another_spelling_of_a_path_is_no_path() {
    let catalog = Catalog::builtin().unwrap();
    let long = format!("/api/v1/{}", "a/".repeat(40));
    for path in [
        "/api/v1/projects/",
        "/api/v1/tasks/a/b/",
        "/api/v1/tasks/a//c",
        "/api/v1/Tasks/a/b",
        "//api/v1/tasks/a/b",
        "api/v1/tasks/a/b",
        "/api/v2/tasks/a/b",
        "/api/v1",
        "/",
        "",
        &long,
    ] {
        assert_eq!(
            rest(&catalog, &Method::GET, path).unwrap_err(),
            Unmatched::Path,
            "{path}"
        );
    }
}

#[test]
fn a_known_path_with_another_method_is_told_apart() {
    let catalog = Catalog::builtin().unwrap();
    for (method, path) in [
        (Method::PATCH, "/api/v1/tasks/a/b"),
        (Method::HEAD, "/api/v1/version"),
        (Method::GET, "/api/v1/executions/recover"),
        (Method::POST, "/api/v1/tasks/a/b/c/d"),
    ] {
        assert_eq!(rest(&catalog, &method, path).unwrap_err(), Unmatched::Method, "{path}");
    }
}

#[test]
fn pages_are_exact_unless_what_lies_below_counts() {
    let catalog = Catalog::builtin().unwrap();
    for (path, known) in [
        ("/login", true),
        ("/login/", false),
        ("/loginx", false),
        ("/console", true),
        ("/console/projects/a", true),
        ("/consolex", false),
        ("/api/v1/openapi", true),
        ("/api/v1/projects", false),
        ("/.well-known/openid-configuration", true),
    ] {
        assert_eq!(catalog.lookup_page(path).is_some(), known, "{path}");
    }
    assert!(catalog.lookup_page("/logout").unwrap().redirects);
}
