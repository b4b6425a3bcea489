"""flytekit, as a team uses it: the command line tool and `FlyteRemote`, through TLS with a private CA."""

import re
import uuid

import pytest
from flytekit.configuration import Config
from flytekit.exceptions.system import FlyteSystemException
from flytekit.models.common import NamedEntityIdentifier
from flytekit.models.core.execution import WorkflowExecutionPhase
from flytekit.models.core.identifier import Identifier, ResourceType, WorkflowExecutionIdentifier
from flytekit.models.launch_plan import LaunchPlanState
from flytekit.remote import FlyteRemote
from teams import remote

# What a refusal must tell, in any order, beside the place: what was refused, the reason's label, the request id.
REFUSAL = ["no rule allows ", "no_matching_rule", "request[^\n]{0,12}?[0-9A-Za-z-]{8,}"]


def the_one_refusal(demo, fetches, output, place="project fraud, domain development"):
    """What must hold after a refusal, whatever the client was doing."""
    for part in [*REFUSAL, place]:
        assert re.search(part, output), output
    assert "UNAUTHENTICATED" not in output, output
    assert demo.control_plane.calls() == []
    assert demo.token_fetches() - fetches == 1, "the client logged in again"


def test_a_team_registers_its_workflows(demo, control_plane, sources):
    fetches = demo.token_fetches()
    version = f"v{uuid.uuid4().hex[:8]}"
    code, output = demo.client("ml").register("ml", "development", version, sources.parent)
    assert code == 0, output
    assert "Successfully registered 5 entities" in output
    calls = control_plane.calls()
    assert sorted(calls) == ["CreateLaunchPlan"] * 2 + ["CreateTask"] * 2 + ["CreateUploadLocation", "CreateWorkflow"]
    (upload,) = control_plane.uploads()
    assert upload["bytes"] > 0 and upload["path"].startswith("/__uploads/ml/development/")
    assert demo.token_fetches() - fetches == 1


def test_registering_the_same_version_twice_is_no_failure(demo, registered, sources):
    code, output = demo.client("ml").register("ml", "development", registered, sources.parent)
    assert code == 0, output


def test_the_control_plane_gets_the_callers_own_token_and_nothing_else(demo, control_plane, registered):
    remote(demo, "ml", "ml").fetch_task(name="team.workflows.double", version=registered)
    (arrival,) = [arrival for arrival in control_plane.arrivals() if arrival["rpc"] == "GetTask"]
    headers = arrival["headers"]
    credentials = [value for name, value in headers if name in ("authorization", "flyte-authorization")]
    assert len(credentials) == 1 and credentials[0].startswith("Bearer ")
    assert demo.client("ml").secret not in str(headers)


def test_a_team_runs_its_workflow_from_the_command_line(demo, control_plane, sources):
    arguments = ["run", "--remote", "--project", "ml", "--domain", "development", "--image", "demo:1"]
    code, output = demo.client("ml").pyflyte(*arguments, sources, "pipeline", "--number", "4")
    assert code == 0, output
    (created,) = [arrival for arrival in control_plane.arrivals() if arrival["rpc"] == "CreateExecution"]
    assert created["request"]["project"] == "ml"
    assert created["request"]["inputs"]["literals"]["number"]["scalar"]["primitive"]["integer"] == "4"


def test_a_team_fetches_executes_lists_and_terminates(demo, control_plane, registered):
    fetches = demo.token_fetches()
    ml = remote(demo, "ml", "ml")
    assert ml.fetch_task(name="team.workflows.double", version=registered).id.version == registered
    workflow = ml.fetch_workflow(name="team.workflows.pipeline", version=registered)
    assert sorted(node.id for node in workflow.flyte_nodes) == ["n0", "n1"]
    plan = ml.fetch_launch_plan(name="nightly", version=registered)
    assert plan.workflow_id.name == "team.workflows.pipeline"

    execution = ml.execute(plan, inputs={"number": 3})
    listed = ml.recent_executions()
    assert execution.id.name in [recent.id.name for recent in listed]
    assert ml.sync(execution, sync_nodes=True).closure.phase == WorkflowExecutionPhase.RUNNING
    ml.terminate(execution, "enough")
    assert ml.sync(execution).closure.phase == WorkflowExecutionPhase.ABORTED
    assert {
        "GetTask",
        "GetWorkflow",
        "GetLaunchPlan",
        "CreateExecution",
        "ListExecutions",
        "TerminateExecution",
    } <= set(control_plane.calls())
    assert demo.token_fetches() - fetches == 1


def test_each_team_acts_in_its_own_project(demo, control_plane, sources):
    for team in ("fraud", "ml"):
        arguments = ["run", "--remote", "--project", team, "--domain", "development", "--image", "demo:1"]
        code, output = demo.client(team).pyflyte(*arguments, sources, "double", "--number", "1")
        assert code == 0, output
    created = [
        arrival["request"]["project"] for arrival in control_plane.arrivals() if arrival["rpc"] == "CreateExecution"
    ]
    assert created == ["fraud", "ml"]


def test_projects_of_others_are_not_listed(demo):
    for team, other in (("ml", "fraud"), ("fraud", "ml")):
        names = [project.id for project in remote(demo, team, team).list_projects()]
        assert team in names and other not in names


def test_registering_elsewhere_is_refused_with_the_reason_on_the_terminal(demo, sources):
    fetches = demo.token_fetches()
    code, output = demo.client("ml").register("fraud", "development", "v1", sources.parent)
    assert code != 0
    the_one_refusal(demo, fetches, output)
    assert demo.control_plane.uploads() == []


def test_running_elsewhere_is_refused_with_the_reason_on_the_terminal(demo, sources):
    fetches = demo.token_fetches()
    arguments = ["run", "--remote", "--project", "fraud", "--domain", "development", "--image", "demo:1"]
    code, output = demo.client("ml").pyflyte(*arguments, sources, "pipeline", "--number", "4")
    assert code != 0
    the_one_refusal(demo, fetches, output)


def test_production_is_for_looking_at(demo, sources):
    fetches = demo.token_fetches()
    code, output = demo.client("ml").register("ml", "production", "v1", sources.parent)
    assert code != 0
    the_one_refusal(demo, fetches, output, "project ml, domain production")
    assert remote(demo, "ml", "ml", "production").recent_executions() == []


@pytest.mark.parametrize(
    "act",
    [
        lambda remote: remote.fetch_task(name="team.workflows.double", version="v1"),
        lambda remote: remote.fetch_task(name="team.workflows.double"),
        lambda remote: remote.fetch_workflow(name="team.workflows.pipeline", version="v1"),
        lambda remote: remote.fetch_launch_plan(name="nightly", version="v1"),
        lambda remote: remote.fetch_execution(name="f1"),
        lambda remote: remote.recent_executions(),
    ],
    ids=["task", "latest task", "workflow", "launch plan", "execution", "executions"],
)
def test_reading_elsewhere_is_refused_with_the_reason_and_one_login(demo, act):
    fetches = demo.token_fetches()
    with pytest.raises(FlyteSystemException) as refused:
        act(remote(demo, "ml", "fraud"))
    the_one_refusal(demo, fetches, refused.value.__cause__.details())


def test_a_wrong_secret_ends_at_the_issuer(demo, control_plane, tmp_path):
    client = demo.client("ml")
    secret = tmp_path / "secret"
    secret.write_text("wrong")
    config = tmp_path / "config.yaml"
    location = f"clientSecretLocation: {client.home / 'secret'}"
    assert location in client.config.read_text()
    config.write_text(client.config.read_text().replace(location, f"clientSecretLocation: {secret}"))
    with pytest.raises(Exception, match="40[01]"):
        FlyteRemote(Config.auto(str(config)), "ml", "development").recent_executions()
    assert control_plane.calls() == []


def test_a_team_sees_its_own_projects_only(demo, control_plane):
    for team, projects in (("ml", {"ml", "shared-lib"}), ("fraud", {"fraud", "shared-lib"})):
        client = remote(demo, team, team).client
        listed, token = client.list_projects_paginated(limit=10)
        assert ({project.id for project in listed}, token) == (projects, "")
    (*_, asked) = control_plane.arrivals()
    assert asked["request"]["filters"] == "value_in(identifier,fraud;shared-lib)+ne(state,1)"


def test_projects_by_pattern_come_in_full_pages(demo):
    rules = """
  - name: by-pattern
    subjects: [{ groups: [ml-team] }]
    allow: [{ projects: ["f*s"], domains: [development], actions: [view_inventory] }]
"""
    with demo.more_rules(rules):
        client = remote(demo, "ml", "ml").client
        pages, token = [], ""
        while not pages or token:
            listed, token = client.list_projects_paginated(limit=2, token=token)
            pages.append([project.id for project in listed])
    # Between the first two lies one that is hidden.
    assert pages == [["flytesnacks", "ml"], ["shared-lib"]]


def test_a_list_shows_only_names_that_the_rules_list(demo, lists, registered):
    ml, fraud = (remote(demo, team, "ml").client for team in ("ml", "fraud"))
    place = NamedEntityIdentifier("ml", "development")

    def names(client, method, place):
        found, _ = getattr(client, method)(place, limit=100)
        return {entity.id.name for entity in found}

    everything = {"team.workflows.double", "team.workflows.describe"}
    assert everything <= names(ml, "list_tasks_paginated", place)
    assert names(fraud, "list_tasks_paginated", place) == {"team.workflows.double"}
    assert names(fraud, "list_launch_plans_paginated", place) == {"nightly"}
    assert names(fraud, "list_workflows_paginated", place) == set()
    for kind, shown in (("task", {"team.workflows.double"}), ("workflow", set()), ("launch_plan", {"nightly"})):
        ids, _ = getattr(fraud, f"list_{kind}_ids_paginated")("ml", "development", limit=100)
        assert {entity.name for entity in ids} == shown
    for name in ("nightly", "team.workflows.pipeline"):
        plan = Identifier(ResourceType.LAUNCH_PLAN, "ml", "development", name, registered)
        ml.update_launch_plan(plan, LaunchPlanState.ACTIVE)
    for client, shown in ((ml, {"nightly", "team.workflows.pipeline"}), (fraud, {"nightly"})):
        active, _ = client.list_active_launch_plans_paginated("ml", "development", limit=100)
        assert {plan.id.name for plan in active} == shown
    with pytest.raises(FlyteSystemException, match="resource_not_listed"):
        remote(demo, "fraud", "ml").fetch_task(name="team.workflows.describe", version=registered)


def test_executions_are_listed_if_what_they_run_is(demo, lists, registered):
    ml, fraud = (remote(demo, team, "ml") for team in ("ml", "fraud"))
    seen = ml.execute(ml.fetch_launch_plan(name="nightly", version=registered), inputs={"number": 3})
    hidden = ml.execute(ml.fetch_task(name="team.workflows.describe", version=registered), inputs={"number": 3})
    for client, expected in ((ml, {seen.id.name, hidden.id.name}), (fraud, {seen.id.name})):
        listed = {execution.id.name for execution in client.recent_executions(limit=100)}
        assert listed & {seen.id.name, hidden.id.name} == expected


def test_an_execution_is_synced_and_relaunched_if_what_it_runs_is_listed(demo, lists, registered):
    ml, fraud = (remote(demo, team, "ml") for team in ("ml", "fraud"))
    seen = ml.execute(ml.fetch_launch_plan(name="nightly", version=registered), inputs={"number": 3})
    task = ml.execute(ml.fetch_task(name="team.workflows.double", version=registered), inputs={"number": 3})
    hidden = ml.execute(ml.fetch_task(name="team.workflows.describe", version=registered), inputs={"number": 3})
    demo.control_plane.reset()

    # For what a launch plan runs, flytekit fetches the workflow, too, which is not listed.
    synced = fraud.sync(fraud.fetch_execution(name=task.id.name))
    assert synced.spec.launch_plan.name == "team.workflows.double"
    again = fraud.client.relaunch_execution(seen.id)
    assert fraud.client.get_execution(again).spec.launch_plan.name == "nightly"
    assert demo.control_plane.calls().count("RelaunchExecution") == 1

    demo.control_plane.reset()
    nothing = WorkflowExecutionIdentifier("ml", "development", "nothing")
    acts = [lambda of: fraud.fetch_execution(name=of.name), fraud.client.relaunch_execution, fraud.client.get_execution_data]
    for act in acts:
        refusals = set()
        for execution in (hidden.id, nothing):
            with pytest.raises(FlyteSystemException, match="resource_not_listed") as refused:
                act(execution)
            refusals.add(re.sub("request [0-9A-Za-z-]+", "request", str(refused.value)))
        assert len(refusals) == 1, refusals
    assert set(demo.control_plane.calls()) == {"GetExecution"}
