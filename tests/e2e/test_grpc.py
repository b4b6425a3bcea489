"""Plain gRPC clients made from the published stubs: compression, deadlines, cancellation, and what is refused."""

import pathlib
import time

import grpc
import pytest
from flyteidl.admin import (
    common_pb2,
    event_pb2,
    execution_pb2,
    matchable_resource_pb2,
    project_attributes_pb2,
    project_pb2,
    task_pb2,
)
from flyteidl.core import identifier_pb2
from flyteidl.service import admin_pb2_grpc

SECONDS = 10
LIST = "ListExecutions"
EXECUTION = {"project": "ml", "domain": "development", "name": "f1"}


@pytest.fixture(scope="session")
def channel(running):
    roots = pathlib.Path(running.ca_file).read_bytes()
    unlimited = [("grpc.max_receive_message_length", -1)]
    with grpc.secure_channel(running.grpc, grpc.ssl_channel_credentials(roots), unlimited) as channel:
        yield channel


@pytest.fixture
def admin(channel):
    return admin_pb2_grpc.AdminServiceStub(channel)


@pytest.fixture(scope="session")
def bearer(running):
    return (("authorization", f"Bearer {running.token('ml')}"),)


def executions(project):
    return common_pb2.ResourceListRequest(id={"project": project, "domain": "development"}, limit=5)


def task_id(**parts):
    named = {"project": "ml", "domain": "development", "name": "train", "version": "v1"} | parts
    return identifier_pb2.Identifier(resource_type=identifier_pb2.TASK, **named)


def refused(call):
    with pytest.raises(grpc.RpcError) as error:
        call()
    return error.value


def until(condition):
    """Waits for what happens on another connection a moment later."""
    end = time.monotonic() + SECONDS
    while not condition() and time.monotonic() < end:
        time.sleep(0.02)
    assert condition()


def test_a_call_arrives_once_as_it_was_sent(admin, bearer, control_plane):
    admin.ListExecutions(executions("ml"), metadata=bearer, timeout=SECONDS)
    (arrival,) = control_plane.arrivals()
    assert arrival["rpc"] == LIST
    assert arrival["request"] == {"id": {"project": "ml", "domain": "development"}, "limit": 5}
    assert arrival["outcome"] == "answered"


def test_a_token_may_come_in_flytes_own_metadata_key(admin, bearer, control_plane):
    ((_, token),) = bearer
    admin.ListExecutions(executions("ml"), metadata=(("flyte-authorization", token),), timeout=SECONDS)
    (arrival,) = control_plane.arrivals()
    carried = [value for name, value in arrival["headers"] if name in ("authorization", "flyte-authorization")]
    assert carried == [token]


def test_compressed_requests_are_judged_and_answered(admin, bearer, control_plane):
    options = {"metadata": bearer, "compression": grpc.Compression.Gzip, "timeout": SECONDS}
    admin.CreateTask(
        task_pb2.TaskCreateRequest(id=task_id(version="gzip"), spec={"template": {"type": "x" * 500}}), **options
    )
    assert control_plane.calls() == ["CreateTask"]
    padded = task_pb2.TaskCreateRequest(id=task_id(project="fraud"), spec={"template": {"type": "x" * 500}})
    error = refused(lambda: admin.CreateTask(padded, **options))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert control_plane.calls() == ["CreateTask"]


def test_a_refusal_names_reason_and_request(admin, bearer, control_plane):
    error = refused(lambda: admin.ListExecutions(executions("fraud"), metadata=bearer, timeout=SECONDS))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert "no rule allows" in error.details() and "no_matching_rule" in error.details()
    metadata = dict((*(error.initial_metadata() or ()), *(error.trailing_metadata() or ())))
    assert metadata["x-request-id"] in error.details()
    assert control_plane.arrivals() == []


def test_a_reference_into_another_project_is_refused(admin, bearer, control_plane):
    spec = {"launch_plan": task_id(project="fraud")}
    request = execution_pb2.ExecutionCreateRequest(project="ml", domain="development", spec=spec)
    error = refused(lambda: admin.CreateExecution(request, metadata=bearer, timeout=SECONDS))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert "fraud" in error.details()
    assert control_plane.arrivals() == []


def test_a_launch_plan_of_the_shared_library_may_be_run(admin, bearer, control_plane):
    plan = task_id(project="shared-lib", domain="production")
    plan.resource_type = identifier_pb2.LAUNCH_PLAN
    request = execution_pb2.ExecutionCreateRequest(project="ml", domain="development", spec={"launch_plan": plan})
    error = refused(lambda: admin.CreateExecution(request, metadata=bearer, timeout=SECONDS))
    # The control plane's own answer: nothing is registered there.
    assert (error.code(), error.details()) == (grpc.StatusCode.NOT_FOUND, "no such launch plan")
    assert control_plane.calls() == ["CreateExecution"]


def test_a_task_of_the_shared_library_may_not_be_run_alone_for_that_registers_there(admin, bearer, control_plane):
    spec = {"launch_plan": task_id(project="shared-lib", domain="production")}
    request = execution_pb2.ExecutionCreateRequest(project="ml", domain="development", spec=spec)
    error = refused(lambda: admin.CreateExecution(request, metadata=bearer, timeout=SECONDS))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert "shared-lib" in error.details()
    assert control_plane.arrivals() == []


@pytest.mark.parametrize(
    ("method", "request_message"),
    [
        ("RegisterProject", project_pb2.ProjectRegisterRequest(project={"id": "new"})),
        ("UpdateProject", project_pb2.Project(id="ml", description="ours")),
        (
            "UpdateProjectAttributes",
            project_attributes_pb2.ProjectAttributesUpdateRequest(attributes={"project": "ml"}),
        ),
        ("CreateWorkflowEvent", event_pb2.WorkflowExecutionEventRequest(event={"execution_id": EXECUTION})),
    ],
    ids=lambda value: value if isinstance(value, str) else "",
)
def test_what_is_not_a_teams_work_is_refused(admin, bearer, control_plane, method, request_message):
    error = refused(lambda: getattr(admin, method)(request_message, metadata=bearer, timeout=SECONDS))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert control_plane.arrivals() == []


@pytest.mark.parametrize("empty", ["project", "domain", "name", "version"])
def test_an_empty_part_of_an_id_is_refused_for_it_would_match_anything(admin, bearer, control_plane, empty):
    request = common_pb2.ObjectGetRequest(id=task_id(**{empty: ""}))
    error = refused(lambda: admin.GetTask(request, metadata=bearer, timeout=SECONDS))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert control_plane.arrivals() == []


@pytest.mark.parametrize(
    ("metadata", "code"),
    [
        ((), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Bearer e30.e30.AAAA"),), grpc.StatusCode.UNAUTHENTICATED),
        ((("authorization", "Basic bWw6bWw="),), grpc.StatusCode.UNAUTHENTICATED),
    ],
    ids=["none", "forged", "basic"],
)
def test_without_a_valid_token_nothing_arrives(admin, control_plane, metadata, code):
    error = refused(lambda: admin.ListExecutions(executions("ml"), metadata=metadata, timeout=SECONDS))
    assert error.code() == code
    assert control_plane.arrivals() == []


def test_two_credentials_are_refused(admin, bearer, control_plane):
    twice = (*bearer, ("authorization", "Bearer other"))
    error = refused(lambda: admin.ListExecutions(executions("ml"), metadata=twice, timeout=SECONDS))
    assert error.code() == grpc.StatusCode.INVALID_ARGUMENT
    assert control_plane.arrivals() == []


def test_an_unknown_method_is_refused_by_name(channel, bearer, control_plane):
    method = "/flyteidl.service.AdminService/ReadEverything"
    error = refused(lambda: channel.unary_unary(method)(b"", metadata=bearer, timeout=SECONDS))
    assert error.code() == grpc.StatusCode.PERMISSION_DENIED
    assert "ReadEverything" in error.details() and "method_unknown" in error.details()
    assert control_plane.arrivals() == []


def test_the_clients_deadline_ends_the_call_on_both_sides(admin, bearer, control_plane):
    control_plane.fail({"on": LIST, "fault": "hang"})
    began = time.monotonic()
    error = refused(lambda: admin.ListExecutions(executions("ml"), metadata=bearer, timeout=0.5))
    assert error.code() == grpc.StatusCode.DEADLINE_EXCEEDED
    assert time.monotonic() - began < 5
    until(lambda: [arrival["outcome"] for arrival in control_plane.arrivals()] == ["abandoned"])


def test_a_cancelled_call_is_cancelled_upstream_and_the_channel_lives_on(admin, bearer, control_plane):
    control_plane.fail({"on": LIST, "fault": "hang"})
    call = admin.ListExecutions.future(executions("ml"), metadata=bearer, timeout=SECONDS)
    until(lambda: control_plane.calls() == [LIST])
    assert call.cancel()
    until(lambda: [arrival["outcome"] for arrival in control_plane.arrivals()] == ["abandoned"])
    control_plane.fail()
    admin.ListExecutions(executions("ml"), metadata=bearer, timeout=SECONDS)


def test_errors_of_the_control_plane_pass_with_their_details(admin, bearer, control_plane):
    fault = {"status": {"code": 9, "message": "not now: 50 %", "details": "CAkSAXg="}}
    control_plane.fail({"on": LIST, "fault": fault})
    error = refused(lambda: admin.ListExecutions(executions("ml"), metadata=bearer, timeout=SECONDS))
    assert (error.code(), error.details()) == (grpc.StatusCode.FAILED_PRECONDITION, "not now: 50 %")
    assert dict(error.trailing_metadata())["grpc-status-details-bin"] == b"\x08\x09\x12\x01x"


@pytest.mark.parametrize("fault", ["reset", "reset_midway", {"http": {"status": 502, "body": "<html>"}}], ids=str)
def test_a_failing_control_plane_is_an_error_that_asks_for_no_login(admin, bearer, control_plane, fault):
    control_plane.fail({"on": LIST, "fault": fault})
    error = refused(lambda: admin.ListExecutions(executions("ml"), metadata=bearer, timeout=SECONDS))
    # flytekit logs in again on either of these.
    assert error.code() not in (grpc.StatusCode.UNAUTHENTICATED, grpc.StatusCode.UNKNOWN)


@pytest.mark.parametrize(
    "fault", [{"huge": {"bytes": 6 << 20}}, {"slow": {"piece": 16, "milliseconds": 5}}], ids=["huge", "slow"]
)
def test_large_and_slow_answers_arrive_whole(admin, bearer, control_plane, fault):
    request = task_pb2.TaskCreateRequest(id=task_id(version="large"), spec={"template": {"type": "y" * 300}})
    try:
        admin.CreateTask(request, metadata=bearer, timeout=SECONDS)
    except grpc.RpcError as error:
        # The other case has created it.
        assert error.code() == grpc.StatusCode.ALREADY_EXISTS
    control_plane.fail({"on": "GetTask", "fault": fault})
    wanted = common_pb2.ObjectGetRequest(id=task_id(version="large"))
    answer = admin.GetTask(wanted, metadata=bearer, timeout=SECONDS)
    assert answer.closure.compiled_task.template.type == "y" * 300
    assert (answer.ByteSize() > 6 << 20) == ("huge" in fault)


def test_many_calls_share_a_connection_and_keep_their_own_verdicts(admin, bearer, control_plane):
    projects = ["ml", "fraud"] * 50
    calls = [admin.ListExecutions.future(executions(name), metadata=bearer, timeout=SECONDS) for name in projects]
    codes = [call.code() for call in calls]
    assert codes == [grpc.StatusCode.OK, grpc.StatusCode.PERMISSION_DENIED] * 50
    assert len(control_plane.calls()) == 50


def test_only_the_callers_projects_are_listed(admin, bearer):
    answer = admin.ListProjects(project_pb2.ProjectListRequest(), metadata=bearer, timeout=SECONDS)
    names = [project.id for project in answer.projects]
    assert "ml" in names and "fraud" not in names
