"""What executions may ask for, by flytekit: what is allowed works, else the user reads what to write instead."""

import contextlib
import uuid

import pytest
from flytekit import Options
from flytekit.exceptions.system import FlyteSystemException
from flytekit.models.common import Annotations, RawOutputDataConfig
from flytekit.models.security import Identity, SecurityContext
from teams import remote

RULE = """version: 1
rules:
  - name: ml-team
    subjects: [{{ groups: [ml-team] }}]
    allow:
      - projects: [ml]
        domains: [development]
        role: contributor
{guards}
"""

LISTS = """
        service_accounts: ["${project}-runner"]
        iam_roles: []
        raw_output_prefixes: ["s3://data/${project}"]
        secrets: ["${project}"]
        clusters: [pool-ml]
        download_prefixes: ["s3://data/${project}/${domain}"]
"""

SET = """
        set:
          service_account: "${project}-${domain}"
          raw_output_prefix: "s3://data/${project}/${domain}"
"""

TASK = """
from flytekit import PodTemplate, Secret, task
from kubernetes.client import V1PodSpec


@task({arguments})
def guarded(number: int) -> int:
    return number
"""

SECRET = 'secret_requests=[Secret(group="{group}", key="k")]'
POD = 'pod_template=PodTemplate(pod_spec=V1PodSpec(containers=[], service_account_name="{account}"))'


@contextlib.contextmanager
def in_force(demo, guards):
    """One rule for the team, with these guards, in place of the policy of the demonstration."""
    before = demo.policy_file.read_text()
    demo.apply_policy(RULE.format(guards=guards))
    try:
        yield
    finally:
        demo.apply_policy(before)


@pytest.fixture
def listed(demo, registered):
    """Callers may choose among a few."""
    with in_force(demo, LISTS):
        demo.control_plane.reset()
        yield


@pytest.fixture
def given(demo, registered):
    """Callers get what the rule sets."""
    with in_force(demo, SET):
        demo.control_plane.reset()
        yield


@contextlib.contextmanager
def refused(words):
    """The user reads these words in what flytekit raises."""
    with pytest.raises(FlyteSystemException) as raised:
        yield
    assert words in raised.value.__cause__.details()


def account(name):
    return Options(security_context=SecurityContext(run_as=Identity(k8s_service_account=name)))


def outputs(prefix):
    return Options(raw_output_data_config=RawOutputDataConfig(output_location_prefix=prefix))


def execute(demo, version, options):
    """Starts the launch plan of the team, and reads back what was stored."""
    ml = remote(demo, "ml", "ml")
    plan = ml.fetch_launch_plan(name="nightly", version=version)
    started = ml.execute(plan, inputs={"number": 3}, options=options)
    return ml.client.get_execution(started.id).spec


def register(demo, folder, *arguments, source=None):
    package = folder / "guards"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "workflows.py").write_text(source)
    place = ["--project", "ml", "--domain", "development", "--version", f"v{uuid.uuid4().hex[:8]}", "--image", "demo:1"]
    return demo.client("ml").pyflyte("register", *place, *arguments, package)


@pytest.mark.parametrize(
    ("options", "path", "value"),
    [
        (account("ml-runner"), "security_context.run_as.k8s_service_account", "ml-runner"),
        (outputs("s3://data/ml/today"), "raw_output_data_config.output_location_prefix", "s3://data/ml/today"),
    ],
    ids=["service account", "raw output prefix"],
)
def test_what_a_list_allows_is_stored_as_it_was_asked_for(demo, registered, listed, options, path, value):
    found = execute(demo, registered, options)
    for name in path.split("."):
        found = getattr(found, name)
    assert found == value


@pytest.mark.parametrize(
    ("options", "told"),
    [
        (
            account("admin"),
            "with service account `admin`, asked for in the field `spec.security_context.run_as.k8s_service_account`; "
            "leave it empty, or write one of `ml-runner` [setting_refused; request ",
        ),
        (
            outputs("s3://data/ml-2"),
            "with raw output prefix `s3://data/ml-2`, asked for in the field "
            "`spec.raw_output_data_config.output_location_prefix`; leave it empty, or write one of `s3://data/ml`, or below "
            "[setting_refused; request ",
        ),
    ],
    ids=["service account", "raw output prefix"],
)
def test_what_no_list_allows_is_refused_with_what_to_write_instead(demo, control_plane, registered, listed, options, told):
    with pytest.raises(FlyteSystemException) as refused:
        execute(demo, registered, options)
    details = refused.value.__cause__.details()
    assert f"no rule allows create_executions in project ml, domain development {told}" in details
    assert "CreateExecution" not in control_plane.calls()


@pytest.mark.parametrize("options", [None, account("admin"), outputs("s3://elsewhere")])
def test_an_execution_runs_as_the_rule_sets_it(demo, registered, given, options):
    spec = execute(demo, registered, options)
    assert spec.security_context.run_as.k8s_service_account == "ml-development"
    assert spec.raw_output_data_config.output_location_prefix == "s3://data/ml/development"


def test_a_launch_plan_runs_as_the_rule_sets_it(demo, control_plane, sources, given):
    version = f"v{uuid.uuid4().hex[:8]}"
    place = ["--project", "ml", "--domain", "development", "--version", version, "--image", "demo:1"]
    asking = ["--service-account", "admin", "--raw-data-prefix", "s3://elsewhere"]
    code, output = demo.client("ml").pyflyte("register", *place, *asking, sources.parent)
    assert code == 0, output
    plan = remote(demo, "ml", "ml").fetch_launch_plan(name="nightly", version=version)
    assert plan.security_context.run_as.k8s_service_account == "ml-development"
    assert plan.raw_output_data_config.output_location_prefix == "s3://data/ml/development"


def test_an_execution_of_before_is_not_relaunched_where_rules_set_how_executions_run(demo, control_plane, registered):
    ml = remote(demo, "ml", "ml")
    before = ml.execute(ml.fetch_launch_plan(name="nightly", version=registered), inputs={"number": 3})
    with in_force(demo, SET):
        control_plane.reset()
        for again in (ml.client.relaunch_execution, ml.client.recover_execution):
            with pytest.raises(FlyteSystemException) as refused:
                again(before.id, f"f{uuid.uuid4().hex[:12]}")
            details = refused.value.__cause__.details()
            assert "start it anew from its launch plan [setting_refused; request " in details
    assert control_plane.calls() == []


@pytest.mark.parametrize("asking", [SECRET.format(group="ml"), POD.format(account="ml-runner")], ids=["secret", "pod"])
def test_a_task_may_ask_for_what_is_the_teams_own(demo, control_plane, listed, tmp_path, asking):
    code, output = register(demo, tmp_path, source=TASK.format(arguments=asking))
    assert code == 0, output
    assert "CreateTask" in control_plane.calls()


@pytest.mark.parametrize(
    ("asking", "told"),
    [
        (
            SECRET.format(group="fraud"),
            "with secret `fraud/k`, asked for in the field `spec.template.security_context.secrets[]`; "
            "leave it empty, or write one of `ml`, or below",
        ),
        (POD.format(account="admin"), "with service account `admin`, asked for in the field `spec.template.k8s_pod"),
    ],
    ids=["secret", "pod"],
)
def test_a_task_that_asks_for_what_is_of_others_is_refused(demo, control_plane, listed, tmp_path, asking, told):
    code, output = register(demo, tmp_path, source=TASK.format(arguments=asking))
    assert code != 0
    assert f"no rule allows register_inventory in project ml, domain development {told}" in output, output
    assert "setting_refused" in output
    assert "CreateTask" not in control_plane.calls()


@pytest.mark.parametrize(
    ("options", "thing"),
    [
        (Options(security_context=SecurityContext(run_as=Identity(iam_role="arn:aws:iam::1:role/admin"))), "cloud role"),
        (Options(annotations=Annotations({"iam.amazonaws.com/role": "admin"})), "cloud role"),
        (Options(annotations=Annotations({"flyte.org/user-email": "boss@example.com"})), "identity"),
        (Options(annotations=Annotations({"flyte.secrets/s0": "x"})), "secret"),
    ],
    ids=["cloud role", "cloud role by annotation", "identity by annotation", "secret by annotation"],
)
def test_what_only_others_may_ask_for_is_refused(demo, control_plane, registered, listed, options, thing):
    with refused(f"with {thing} `"):
        execute(demo, registered, options)
    assert "CreateExecution" not in control_plane.calls()


@pytest.mark.parametrize(("pool", "allowed"), [("pool-ml", True), ("pool-other", False)])
def test_a_cluster_is_one_of_those_that_are_listed(demo, registered, listed, pool, allowed):
    ml = remote(demo, "ml", "ml")
    plan = ml.fetch_launch_plan(name="nightly", version=registered)
    outcome = contextlib.nullcontext() if allowed else refused("with cluster pool `")
    with outcome:
        started = ml.execute(plan, inputs={"number": 3}, cluster_pool=pool)
        stored = ml.client.get_execution(started.id).spec
        assert stored.cluster_assignment.cluster_pool == "pool-ml"


@pytest.mark.parametrize(
    ("url", "allowed"), [("s3://data/ml/development/x", True), ("s3://data/ml/production/x", False)]
)
def test_links_to_objects_are_given_below_granted_prefixes(demo, registered, listed, url, allowed):
    client = remote(demo, "ml", "ml").client
    outcome = contextlib.nullcontext() if allowed else refused("no rule allows administer_platform")
    with outcome:
        assert client.get_download_signed_url(url).signed_url
