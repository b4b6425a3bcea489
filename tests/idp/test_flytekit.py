"""flytekit logs in at Keycloak with its own flows and calls through the proxy."""

import os
import pathlib
import subprocess
import sys

import pytest
from conftest import HERE
from keycloak import PASSWORD, SECRETS

COMMAND_SECONDS = 120
WORKFLOW = HERE.parent / "e2e/workflows.py"


@pytest.fixture
def pyflyte(proxy, control_plane, tmp_path):
    """Runs `pyflyte` with these settings of the section `admin`, in a home of its own."""

    def run(settings, *arguments, **environment):
        config = tmp_path / "config.yaml"
        config.write_text(f"admin:\n  endpoint: dns:///{proxy.address}\n  insecure: true\n{settings}")
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("FLYTE", "GRPC_", "SSL_"))}
        clean |= {"HOME": str(tmp_path), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "COLUMNS": "400"}
        command = [pathlib.Path(sys.executable).with_name("pyflyte"), "--config", config, *arguments]
        done = subprocess.run(
            list(map(str, command)),
            cwd=tmp_path,
            env=clean | environment,
            capture_output=True,
            text=True,
            timeout=COMMAND_SECONDS,
            check=False,
        )
        return done.returncode, done.stdout + done.stderr

    return run


def register(project, domain, tmp_path):
    package = tmp_path / "team"
    package.mkdir(exist_ok=True)
    (package / "__init__.py").touch()
    (package / "workflows.py").write_text(WORKFLOW.read_text())
    # Every test registers a version of its own.
    version = tmp_path.name
    place = ["--project", project, "--domain", domain, "--version", version]
    return ["register", *place, "--image", "demo:1", package]


def run(project, domain):
    place = ["--project", project, "--domain", domain]
    return ["run", "--remote", *place, "--image", "demo:1", WORKFLOW, "pipeline", "--number", "4"]


def test_a_service_registers_with_its_client_secret(pyflyte, control_plane, tmp_path):
    secret = tmp_path / "secret"
    secret.write_text(SECRETS["ci"])
    settings = f"  authType: ClientSecret\n  clientId: ci\n  clientSecretLocation: {secret}\n"
    code, output = pyflyte(settings, *register("ml", "staging", tmp_path))
    assert code == 0, output
    assert "Successfully registered 5 entities" in output

    control_plane.forget()
    code, output = pyflyte(settings, *register("fraud", "staging", tmp_path))
    assert code != 0
    assert "no rule allows" in output and "no_matching_rule" in output, output
    assert control_plane.calls() == []


@pytest.mark.parametrize(("name", "project", "other"), [("alice", "ml", "fraud"), ("bob", "fraud", "ml")])
def test_a_person_logs_in_with_the_browser_and_runs_a_workflow(pyflyte, control_plane, name, project, other):
    # In place of a browser: it fills in Keycloak's form. The ampersand makes flytekit go on meanwhile.
    browser = f"{sys.executable} {HERE / 'browser.py'} {name} '{PASSWORD}' %s &"
    code, output = pyflyte("  authType: Pkce\n", *run(project, "development"), BROWSER=browser)
    assert code == 0, output
    (created,) = [arrival for arrival in control_plane.arrivals() if arrival["rpc"] == "CreateExecution"]
    assert created["request"]["project"] == project

    control_plane.forget()
    code, output = pyflyte("  authType: Pkce\n", *run(other, "development"), BROWSER=browser)
    assert code != 0
    assert "no rule allows" in output and f"project {other}, domain development" in output, output
    assert control_plane.calls() == []
