"""REST, as scripts and the console use it."""

import http.client
import pathlib
import ssl
import urllib.parse

import pytest
import requests
from flyteidl.admin import project_pb2, task_pb2
from google.protobuf import json_format
from google.rpc import status_pb2

SECONDS = 10
PROTOBUF = "application/octet-stream"


class Rest:
    def __init__(self, demo):
        self._demo = demo

    def ask(self, method, path, team="ml", **arguments):
        headers = dict(arguments.pop("headers", {}))
        if team:
            headers["authorization"] = f"Bearer {self._demo.token(team)}"
        arguments |= {"verify": self._demo.ca_file, "timeout": SECONDS, "allow_redirects": False}
        return requests.request(method, self._demo.https + path, headers=headers, **arguments)

    def raw(self, method, target, headers, body=b""):
        """Sends the target as it is: `requests` would tidy it."""
        place = urllib.parse.urlsplit(self._demo.https)
        trust = ssl.create_default_context(cadata=pathlib.Path(self._demo.ca_file).read_text())
        connection = http.client.HTTPSConnection(place.hostname, place.port, timeout=SECONDS, context=trust)
        try:
            connection.request(method, target, body, {"authorization": f"Bearer {self._demo.token('ml')}"} | headers)
            return connection.getresponse().status
        finally:
            connection.close()


@pytest.fixture
def rest(demo):
    return Rest(demo)


def new_task(project, name="train"):
    named = {"resource_type": 1, "project": project, "domain": "development", "name": name, "version": "v1"}
    return task_pb2.TaskCreateRequest(id=named, spec={"template": {"type": "python"}})


def test_an_allowed_call_arrives_once(rest, control_plane):
    answer = rest.ask("GET", "/api/v1/executions/ml/development?limit=5", headers={"accept": "application/json"})
    assert answer.status_code == 200 and "executions" in answer.json()
    (arrival,) = control_plane.arrivals()
    assert (arrival["rpc"], arrival["request"]["id"]) == ("ListExecutions", {"project": "ml", "domain": "development"})
    assert arrival["outcome"] == "answered"


def test_a_refusal_is_json_with_reason_and_request(rest, control_plane):
    answer = rest.ask("GET", "/api/v1/executions/fraud/development")
    body = answer.json()
    assert (answer.status_code, body["code"], body["details"]) == (403, 7, [])
    assert "no rule allows" in body["message"] and "no_matching_rule" in body["message"]
    assert answer.headers["x-request-id"] in body["message"]
    assert control_plane.arrivals() == []


def test_the_console_gets_its_refusal_as_protobuf_with_the_message_first(rest, control_plane):
    answer = rest.ask("GET", "/api/v1/executions/fraud/development", headers={"accept": PROTOBUF})
    assert (answer.status_code, answer.headers["content-type"]) == (403, PROTOBUF)
    status = status_pb2.Status.FromString(answer.content)
    assert status.code == 7 and "no rule allows" in status.message
    # The console takes a first field 1 for something else and then hides the error page.
    assert answer.content[0] == 0x12
    assert control_plane.arrivals() == []


@pytest.mark.parametrize(
    ("content_type", "encode"),
    [
        ("application/json", lambda task: json_format.MessageToJson(task)),
        (
            "application/json; charset=utf-8",
            lambda task: json_format.MessageToJson(task, preserving_proto_field_name=True),
        ),
        (PROTOBUF, lambda task: task.SerializeToString()),
    ],
    ids=["camelCase", "snake_case", "protobuf"],
)
def test_a_body_is_judged_in_every_encoding(request, rest, control_plane, content_type, encode):
    headers = {"content-type": content_type}
    refused = rest.ask("POST", "/api/v1/tasks", headers=headers, data=encode(new_task("fraud")))
    assert refused.status_code == 403, refused.text
    assert control_plane.arrivals() == []
    name = f"train.{request.node.callspec.id.lower()}"
    allowed = rest.ask("POST", "/api/v1/tasks", headers=headers, data=encode(new_task("ml", name)))
    assert allowed.status_code == 200, allowed.text
    (arrival,) = control_plane.arrivals()
    assert arrival["request"]["id"]["name"] == name


@pytest.mark.parametrize(
    ("method", "target"),
    [
        ("GET", "/api/v1/tasks/ml/development/train/v1?id.project=fraud"),
        ("GET", "/api/v1/tasks/ml/development/train/v1?id%2Eproject=fraud"),
        ("GET", "/api/v1/tasks/ml%2Fdevelopment/train/v1"),
        ("GET", "/api/v1/tasks/ml/development/../fraud/v1"),
        ("GET", "/api/v1//executions/ml/development"),
        ("GET", "/api/v1/executions/ml/development?limit=1&limit=2"),
        ("GET", "/api/v1/projects/"),
    ],
)
def test_a_target_with_two_readings_never_arrives(rest, control_plane, method, target):
    assert 400 <= rest.raw(method, target, {}) < 500
    assert control_plane.arrivals() == []


@pytest.mark.parametrize(
    "body",
    [
        '{"project":"ml","project":"fraud","domain":"development"}',
        '{"project":"ml","domain":"development"}{"project":"fraud"}',
        '{"project":"ml","domain":"development","spec":{"launchPlan":{"name":"a"},"launch_plan":{"name":"b"}}}',
        '{"project":"","domain":"development"}',
        "",
    ],
    ids=["duplicate key", "trailing value", "two spellings", "empty project", "no body"],
)
def test_a_body_with_two_readings_never_arrives(rest, control_plane, body):
    answer = rest.ask("POST", "/api/v1/executions", headers={"content-type": "application/json"}, data=body)
    assert answer.status_code == 400, answer.text
    assert control_plane.arrivals() == []


def test_a_form_cannot_change_the_method(rest, control_plane):
    headers = {"content-type": "application/x-www-form-urlencoded", "x-http-method-override": "GET"}
    assert 400 <= rest.raw("POST", "/api/v1/executions/ml/development", headers, b"id.project=fraud") < 500
    assert control_plane.arrivals() == []


def test_metadata_headers_of_the_client_do_not_arrive(rest, control_plane):
    smuggled = {
        "grpc-metadata-authorization": "Bearer other",
        "grpc-metadata-userinfo-bin": "e30=",
        "x-user-subject": "root",
    }
    assert rest.ask("GET", "/api/v1/executions/ml/development", headers=smuggled).status_code == 200
    (arrival,) = control_plane.arrivals()
    names = {name for name, _ in arrival["headers"]}
    assert not names & smuggled.keys()


def test_only_the_callers_projects_are_listed(rest):
    for accept, read in [
        ("application/json", lambda answer: [project["id"] for project in answer.json()["projects"]]),
        (PROTOBUF, lambda answer: [project.id for project in project_pb2.Projects.FromString(answer.content).projects]),
    ]:
        names = read(rest.ask("GET", "/api/v1/projects", headers={"accept": accept}))
        assert "ml" in names and "fraud" not in names


def test_without_a_credential_only_what_is_public_answers(rest, control_plane):
    for method, path, status in [
        ("GET", "/healthcheck", 200),
        ("GET", "/.well-known/oauth-authorization-server", 200),
        ("GET", "/config/v1/flyte_client", 200),
        ("OPTIONS", "/api/v1/projects", 200),
        ("GET", "/login", 303),
    ]:
        assert rest.ask(method, path, team=None).status_code == status, path
    control_plane.reset()
    for path in ["/api/v1/projects", "/api/v1/version", "/me", "/api/v1/executions/ml/development"]:
        answer = rest.ask("GET", path, team=None)
        assert (answer.status_code, answer.json()["code"]) == (401, 16), path
        assert answer.headers["www-authenticate"].startswith("Bearer")
    assert control_plane.arrivals() == []


def test_an_unknown_route_is_not_found_here(rest, control_plane):
    assert rest.ask("GET", "/api/v2/everything").status_code == 404
    assert control_plane.arrivals() == []


def test_errors_of_the_control_plane_pass_unchanged(rest, control_plane):
    answer = rest.ask("GET", "/api/v1/tasks/ml/development/never-registered/v1")
    assert (answer.status_code, answer.json()["code"]) == (404, 5)
    assert control_plane.calls() == ["GetTask"]


def test_projects_of_others_are_not_listed(rest, control_plane):
    for accept in ("application/json", "*/*"):
        answer = rest.ask("GET", "/api/v1/projects?limit=100", headers={"accept": accept})
        assert [project["id"] for project in answer.json()["projects"]] == ["ml", "shared-lib"]
    answer = rest.ask("GET", "/api/v1/projects?sort_by.key=name&filters=eq(state,0)", headers={"accept": PROTOBUF})
    listed = project_pb2.Projects.FromString(answer.content)
    assert [project.id for project in listed.projects] == ["ml", "shared-lib"]
    (*_, asked) = control_plane.arrivals()
    assert asked["request"]["filters"] == "eq(state,0)+value_in(identifier,ml;shared-lib)"


def test_lists_of_a_team_with_listed_names_show_those(rest, lists, control_plane):
    answer = rest.ask("GET", "/api/v1/tasks/ml/development?limit=5", team="fraud")
    assert answer.status_code == 200
    (arrival,) = control_plane.arrivals()
    assert arrival["request"]["filters"] == "value_in(name,team.workflows.double)"
    assert rest.ask("GET", "/api/v1/tasks/ml/production?limit=5", team="fraud").status_code == 403
