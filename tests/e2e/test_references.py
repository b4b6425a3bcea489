"""What a team uses of other projects, by flytekit: allowed it works, else the user reads what was refused."""

import re
import uuid

import pytest
from flytekit.exceptions.system import FlyteSystemException
from flytekit.models.core.execution import WorkflowExecutionPhase
from flytekit.models.core.identifier import Identifier, ResourceType, WorkflowExecutionIdentifier
from flytekit.models.execution import ExecutionMetadata, ExecutionSpec
from flytekit.models.literals import LiteralMap
from teams import remote

BORROWING = """
from flytekit import reference_{kind}, workflow


@reference_{kind}(project="{project}", domain="{domain}", name="{name}", version="{version}")
def borrowed(number: int) -> {result}:
    ...


@workflow
def borrower(number: int = 1) -> {result}:
    return borrowed(number=number)
"""

TASK = {"kind": "task", "name": "team.workflows.double", "result": "int"}
PLAN = {"kind": "launch_plan", "name": "nightly", "result": "str"}


@pytest.fixture(scope="session")
def library(running, sources):
    """A version of the workflows in the shared library, put there while that is allowed."""
    version = f"v{uuid.uuid4().hex[:8]}"
    rules = """
  - name: publishers
    subjects: [{ groups: [ml-team] }]
    allow: [{ projects: [shared-lib], domains: [production], role: contributor }]
"""
    with running.more_rules(rules):
        code, output = running.client("ml").register("shared-lib", "production", version, sources.parent)
    assert code == 0, output
    return version


@pytest.fixture(scope="session")
def foreign(running, sources):
    """A version of the workflows of the other team."""
    version = f"v{uuid.uuid4().hex[:8]}"
    code, output = running.client("fraud").register("fraud", "development", version, sources.parent)
    assert code == 0, output
    return version


def borrower(folder, **reference):
    """A package with a workflow that uses something registered elsewhere."""
    package = folder / "borrowing"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "workflows.py").write_text(BORROWING.format(**reference))
    return package


def refused_reference(refused, name, place):
    """What a user reads must name what was referred to, where it lies, and what was missing."""
    told = rf"no rule allows use_inventory for \w+ `{re.escape(name)}` in project {place}, to which the field"
    assert re.search(told, refused), refused
    assert "[reference_refused; request " in refused, refused


@pytest.mark.parametrize("thing", [TASK, PLAN], ids=["task", "launch plan"])
def test_a_workflow_may_use_the_shared_library(demo, control_plane, library, tmp_path, thing):
    package = borrower(tmp_path, project="shared-lib", domain="production", version=library, **thing)
    code, output = demo.client("ml").register("ml", "development", f"v{uuid.uuid4().hex[:8]}", package)
    assert code == 0, output
    (created,) = [arrival for arrival in control_plane.arrivals() if arrival["rpc"] == "CreateWorkflow"]
    assert "'project': 'shared-lib'" in str(created["request"]["spec"]["template"]["nodes"])


@pytest.mark.parametrize("thing", [TASK, PLAN], ids=["task", "launch plan"])
def test_a_workflow_that_uses_things_of_others_is_refused_by_name(demo, control_plane, foreign, tmp_path, thing):
    package = borrower(tmp_path, project="fraud", domain="development", version=foreign, **thing)
    code, output = demo.client("ml").register("ml", "development", f"v{uuid.uuid4().hex[:8]}", package)
    assert code != 0
    refused_reference(output, thing["name"], "fraud, domain development")
    assert "CreateWorkflow" not in control_plane.calls()


def test_a_launch_plan_of_the_shared_library_is_run_at_home(demo, control_plane, library):
    ml = remote(demo, "ml", "ml")
    plan = ml.fetch_launch_plan("shared-lib", "production", "nightly", library)
    execution = ml.execute(plan, inputs={"number": 3}, project="ml", domain="development")
    assert ml.sync(execution).closure.phase == WorkflowExecutionPhase.RUNNING
    (created,) = [arrival for arrival in control_plane.arrivals() if arrival["rpc"] == "CreateExecution"]
    request = created["request"]
    assert (request["project"], request["spec"]["launch_plan"]["project"]) == ("ml", "shared-lib")
    # But not where it lies.
    control_plane.reset()
    with pytest.raises(FlyteSystemException) as refused:
        ml.execute(plan, inputs={"number": 3}, project="shared-lib", domain="production")
    details = refused.value.__cause__.details()
    assert "no rule allows create_executions in project shared-lib, domain production" in details
    assert "CreateExecution" not in control_plane.calls()


def run(client, plan, recovered=None):
    """Starts a launch plan in ml, with outputs recovered from another execution if one is given."""
    manual = ExecutionMetadata.ExecutionMode.MANUAL
    metadata = ExecutionMetadata(manual, "", 0, reference_execution=recovered)
    name = f"f{uuid.uuid4().hex[:12]}"
    return client.create_execution("ml", "development", name, ExecutionSpec(plan, metadata), LiteralMap({}))


def test_a_launch_plan_of_others_is_not_run(demo, control_plane, foreign):
    plan = Identifier(ResourceType.LAUNCH_PLAN, "fraud", "development", "nightly", foreign)
    with pytest.raises(FlyteSystemException) as refused:
        run(remote(demo, "ml", "ml").client, plan)
    refused_reference(refused.value.__cause__.details(), "nightly", "fraud, domain development")
    assert control_plane.calls() == []


def test_outputs_are_recovered_only_from_what_the_team_may_read(demo, control_plane, registered, foreign):
    ml, fraud = (remote(demo, team, team) for team in ("ml", "fraud"))
    own = ml.execute(ml.fetch_launch_plan(name="nightly", version=registered), inputs={"number": 3})
    other = fraud.execute(fraud.fetch_launch_plan(name="nightly", version=foreign), inputs={"number": 3})
    plan = Identifier(ResourceType.LAUNCH_PLAN, "ml", "development", "nightly", registered)

    control_plane.reset()
    run(ml.client, plan, own.id)
    ml.client.recover_execution(own.id, f"f{uuid.uuid4().hex[:12]}")
    # What is started again can be of another project, so it is asked for.
    assert control_plane.calls() == ["CreateExecution", "GetExecution", "RecoverExecution"]

    control_plane.reset()
    there = WorkflowExecutionIdentifier("fraud", "development", other.id.name)
    with pytest.raises(FlyteSystemException) as refused:
        run(ml.client, plan, there)
    details = refused.value.__cause__.details()
    assert "no rule allows view_data" in details and "project fraud, domain development" in details
    assert "reference_execution" in details and "[reference_refused; request " in details
    for again in (ml.client.recover_execution, ml.client.relaunch_execution):
        with pytest.raises(FlyteSystemException) as refused:
            again(there, f"f{uuid.uuid4().hex[:12]}")
        assert "no rule allows create_executions in project fraud" in refused.value.__cause__.details()
    assert control_plane.calls() == []
