"""Starts the proxy with its demo surroundings and gives the tests real clients.

`flyte-authz-proxy demo --stay --json --descriptors FILE` prints one line of JSON on stdout once everything serves, and
stays until its stdin is closed or it gets SIGTERM:

    {
      "proxy_https": "https://localhost:PORT",      REST through the proxy; the certificate must be valid for the name
      "grpc": "localhost:PORT",                     gRPC through the proxy (may be the same port)
      "ca_file": "/path/ca.pem",                    the private CA that signed the proxy's certificate
      "issuer": "http://127.0.0.1:PORT",            the demo issuer; GET {issuer}/__counters -> {"token": n, "jwks": n}
      "token_endpoint": "http://127.0.0.1:PORT/token",
      "clients": {                                  client credentials, by the project that the team has
        "ml": {"id": "...", "secret": "...", "groups": ["..."]},
        "fraud": {"id": "...", "secret": "...", "groups": ["..."]}
      },
      "control_plane_arrivals_url": "http://127.0.0.1:PORT/__arrivals",  on the stand-in itself, not through the proxy
      "policy_file": "/path/policy.yaml",           in force soon after it is written
      "admin": "http://127.0.0.1:PORT"              GET {admin}/status -> {"policy": {"generation": n}}
    }

The policy: each team is contributor in development of its own project, viewer in its production, may use what is in
production of `shared-lib`, and nothing else. The issuer refuses a wrong secret with 400 or 401.

The stand-in must leave executions RUNNING (`executions_keep_running`) and tell clients the issuer's `token_endpoint`.
Both projects and the domains development, staging and production exist. The stand-in also serves `/__faults` and
`/__uploads` beside `/__arrivals`.
"""

import contextlib
import dataclasses
import os
import pathlib
import shlex
import subprocess
import sys
import time
import uuid

import provider
import pytest
import requests
from programs import CALL_SECONDS, HERE, ROOT, ControlPlane, started

COMMAND_SECONDS = 90


def pytest_addoption(parser):
    parser.addoption(
        "--demo",
        default=f"{ROOT}/target/debug/flyte-authz-proxy demo --stay --json"
        f" --descriptors {ROOT}/target/descriptors/flyteidl-1.16.8.binpb",
        help="the command that starts everything and prints where",
    )


@dataclasses.dataclass(frozen=True)
class Client:
    """One team's credentials, and a flytekit configuration made from them."""

    id: str
    secret: str
    config: pathlib.Path
    home: pathlib.Path

    def pyflyte(self, *arguments):
        """Runs the command line tool as a user would; returns exit code and everything it wrote."""
        # A home of its own: no configuration or cached token of the machine is used.
        clean = {key: value for key, value in os.environ.items() if not key.startswith(("FLYTE", "GRPC_", "SSL_"))}
        clean |= {"HOME": str(self.home), "PYTHON_KEYRING_BACKEND": "keyring.backends.null.Keyring", "COLUMNS": "400"}
        pyflyte = pathlib.Path(sys.executable).with_name("pyflyte")
        command = [str(pyflyte), "--config", str(self.config), *map(str, arguments)]
        done = subprocess.run(
            command, cwd=self.home, env=clean, capture_output=True, text=True, timeout=COMMAND_SECONDS, check=False
        )
        return done.returncode, done.stdout + done.stderr

    def register(self, project, domain, version, package):
        """Registers a package of workflows."""
        place = ["--project", project, "--domain", domain, "--version", version, "--image", "demo:1"]
        return self.pyflyte("register", *place, package)


def write_client(home, client_id, secret, endpoint, ca_file):
    """Writes what flytekit needs to log in with a secret."""
    home.mkdir(exist_ok=True)
    secret_file = home / "secret"
    secret_file.write_text(secret)
    config = home / "config.yaml"
    config.write_text(
        "admin:\n"
        f"  endpoint: dns:///{endpoint}\n"
        "  insecure: false\n"
        f"  caCertFilePath: {ca_file}\n"
        "  authType: ClientSecret\n"
        f"  clientId: {client_id}\n"
        f"  clientSecretLocation: {secret_file}\n"
    )
    return Client(client_id, secret, config, home)


class Demo:
    """Where everything is, as the proxy printed it."""

    def __init__(self, shape, folder):
        self.https = shape["proxy_https"]
        self.grpc = shape["grpc"]
        self.ca_file = shape["ca_file"]
        self.issuer = shape["issuer"]
        self.token_endpoint = shape["token_endpoint"]
        self.control_plane = ControlPlane(shape["control_plane_arrivals_url"])
        self.policy_file = pathlib.Path(shape["policy_file"])
        self._admin = shape["admin"]
        self._clients = {
            team: write_client(folder / team, client["id"], client["secret"], self.grpc, self.ca_file)
            for team, client in shape["clients"].items()
        }

    def client(self, team):
        return self._clients[team]

    def apply_policy(self, text):
        """Writes the policy and waits until it is in force."""

        def generation():
            return requests.get(f"{self._admin}/status", timeout=CALL_SECONDS).json()["policy"]["generation"]

        before = generation()
        # Replaced as a whole: a half-written file is no policy.
        fresh = self.policy_file.with_suffix(".new")
        fresh.write_text(text)
        fresh.replace(self.policy_file)
        deadline = time.monotonic() + CALL_SECONDS
        while generation() == before:
            assert time.monotonic() < deadline, "the policy did not come into force"
            time.sleep(0.05)

    @contextlib.contextmanager
    def more_rules(self, rules):
        """Adds rules to the policy, and takes them away again."""
        text = self.policy_file.read_text()
        self.apply_policy(text + rules)
        try:
            yield
        finally:
            self.apply_policy(text)

    def token_fetches(self):
        return requests.get(f"{self.issuer}/__counters", timeout=CALL_SECONDS).json()["token"]

    def token(self, team):
        """A token fetched with nothing but HTTP."""
        client = self.client(team)
        form = {"grant_type": "client_credentials", "scope": "all"}
        answer = requests.post(self.token_endpoint, form, auth=(client.id, client.secret), timeout=CALL_SECONDS)
        answer.raise_for_status()
        return answer.json()["access_token"]


@pytest.fixture(scope="session")
def running(request, tmp_path_factory):
    with started(shlex.split(request.config.getoption("--demo"))) as shape:
        yield Demo(shape, tmp_path_factory.mktemp("clients"))


@pytest.fixture
def demo(running):
    """The demo with nothing recorded and nothing scripted to fail."""
    running.control_plane.reset()
    yield running
    running.control_plane.reset()


@pytest.fixture(scope="session")
def sources(tmp_path_factory):
    """A copy of the workflows as the package `team`: pyflyte uploads everything beside the package."""
    package = tmp_path_factory.mktemp("sources") / "team"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "workflows.py").write_text((HERE / "workflows.py").read_text())
    return package / "workflows.py"


@pytest.fixture(scope="session")
def registered(running, sources):
    """A version of the workflows, registered by the team that may."""
    version = f"v{uuid.uuid4().hex[:8]}"
    code, output = running.client("ml").register("ml", "development", version, sources.parent)
    assert code == 0, output
    return version


@pytest.fixture
def lists(demo):
    """The fraud team may see some names of the ml project, while the test runs."""
    with demo.more_rules(
        """
  - name: some-names
    subjects: [{ groups: [fraud-team] }]
    allow:
      - projects: [ml]
        domains: [development]
        actions: [view_inventory, view_executions, view_data, create_executions]
        tasks: [team.workflows.double]
        workflows: []
        launch_plans: [nightly]
"""
    ):
        yield


@pytest.fixture
def control_plane(demo):
    return demo.control_plane


@pytest.fixture(scope="session")
def deployment(running, tmp_path_factory):
    with provider.deployment(tmp_path_factory.mktemp("deployment"), running.ca_file) as everything:
        yield everything


@pytest.fixture
def deployed(deployment):
    """The proxy with a real identity provider, with nothing recorded at the control plane."""
    deployment.control_plane.reset()
    return deployment
