"""Starts a real Keycloak, the stand-in for FlyteAdmin, and the proxy between its callers and that stand-in.

`scripts/idp.sh` installs Keycloak and passes its folder as `--keycloak`. Everything listens on loopback, in plain text,
and ends with the tests.
"""

import contextlib
import dataclasses
import json
import pathlib
import re
import select
import shutil
import signal
import socket
import subprocess
import time

import grpc
import pytest
import requests
from flyteidl.admin import common_pb2
from flyteidl.service import admin_pb2_grpc
from keycloak import CLI_REDIRECT, Keycloak

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
BINARY = ROOT / "target/debug/flyte-authz-proxy"
SECONDS = 10
START_SECONDS = 60


def pytest_addoption(parser):
    parser.addoption("--keycloak", help="the folder of Keycloak", default=None)


def pytest_configure():
    # What was started is ended also when the tests are told to stop.
    signal.signal(signal.SIGTERM, signal.default_int_handler)


def until(condition, seconds, what):
    """Waits for a condition; returns what it gave."""
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        if result := condition():
            return result
        time.sleep(0.1)
    raise AssertionError(f"not within {seconds} s: {what}")


def free_port():
    with socket.socket() as listener:
        listener.bind(("127.0.0.1", 0))
        return listener.getsockname()[1]


@contextlib.contextmanager
def running(command, **streams):
    """A process that is asked to end, and then made to."""
    with subprocess.Popen([str(part) for part in command], **streams) as process:
        try:
            yield process
        finally:
            process.terminate()
            try:
                process.wait(timeout=45)
            except subprocess.TimeoutExpired:
                process.kill()
                raise


@pytest.fixture(scope="session")
def keycloak(request, tmp_path_factory):
    home = request.config.getoption("--keycloak")
    assert home, "run scripts/idp.sh, which installs Keycloak"
    server = Keycloak(home, tmp_path_factory.mktemp("keycloak"), free_port())
    try:
        server.start()
        server.make_realm()
        yield server
    finally:
        server.stop()


class ControlPlane:
    """The stand-in for FlyteAdmin, asked directly: what reached it?"""

    def __init__(self, places, login):
        self.grpc, self.http = places["grpc"], places["http"]
        self._arrivals = places["control_plane_arrivals_url"]
        self.login = login
        # The tokens of calls that go on beside the test's own.
        self.background = []

    def arrivals(self):
        answer = requests.get(self._arrivals, timeout=SECONDS)
        answer.raise_for_status()
        beside = tuple(self.background)
        return [one for one in answer.json() if not any(value.endswith(beside) for _, value in one["headers"])]

    def calls(self):
        """The RPCs that arrived, without those of the log-in that anyone may make."""
        arrived = [arrival["rpc"] for arrival in self.arrivals()]
        return [rpc for rpc in arrived if rpc not in ("GetOAuth2Metadata", "GetPublicClientConfig")]

    def forget(self):
        requests.delete(self._arrivals, timeout=SECONDS).raise_for_status()


@pytest.fixture(scope="session")
def flyteadmin(keycloak, tmp_path_factory):
    """The stand-in. It sends clients to Keycloak, as FlyteAdmin does with an external authorization server."""
    endpoints = f"{keycloak.issuer}/protocol/openid-connect"
    login = {
        "issuer": keycloak.issuer,
        "token_endpoint": f"{endpoints}/token",
        "authorization_endpoint": f"{endpoints}/auth",
        "jwks_uri": f"{endpoints}/certs",
        "client_id": "flytectl",
        "scopes": ["openid", "profile"],
        # The real one may be in use on this machine.
        "redirect_uri": CLI_REDIRECT.replace("53593", str(free_port())),
    }
    keycloak.allow_redirect("flytectl", login["redirect_uri"])
    options = tmp_path_factory.mktemp("control-plane") / "options.json"
    options.write_text(json.dumps(login))
    descriptors = ROOT / "target/descriptors/flyteidl-1.16.8.binpb"
    command = [BINARY, "demo", "--descriptors", descriptors, "--control-plane", options]
    with running(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True) as process:
        ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
        line = process.stdout.readline() if ready else ""
        assert line.startswith("{"), f"the stand-in did not start: {line}"
        yield ControlPlane(json.loads(line), login)


@pytest.fixture
def control_plane(flyteadmin):
    """The stand-in with nothing recorded."""
    flyteadmin.forget()
    flyteadmin.background = []
    return flyteadmin


@dataclasses.dataclass(frozen=True)
class Answer:
    """What a gRPC caller saw."""

    code: grpc.StatusCode
    message: str = ""

    @property
    def allowed(self):
        return self.code == grpc.StatusCode.OK

    @property
    def reason(self):
        """The label of the reason and the request's id, from the message."""
        found = re.search(r"\[([a-z_]+); request ([0-9a-f-]+)\]", self.message)
        assert found, self
        return found.groups()


class Proxy:
    """The proxy, serving; with what its callers, its operator and its auditor see of it."""

    def __init__(self, folder, process):
        self._folder, self.process = folder, process
        places = until(self._places, START_SECONDS, "the proxy listens")
        self.address, self._admin = places
        self._channel = grpc.insecure_channel(self.address)
        self._service = admin_pb2_grpc.AdminServiceStub(self._channel)

    def _places(self):
        assert self.process.poll() is None, (self._folder / "log.jsonl").read_text()
        lines = [json.loads(line) for line in (self._folder / "log.jsonl").read_text().splitlines() if line]
        listening = [line["address"] for line in lines if line["message"] == "listening"]
        admin = [line["address"] for line in lines if line["message"] == "serving metrics and health"]
        return (listening[0], admin[0]) if listening and admin else None

    def close(self):
        self._channel.close()

    def call(self, token, project="ml", domain="development", scheme="Bearer"):
        """Lists executions by gRPC."""
        request = common_pb2.ResourceListRequest(id={"project": project, "domain": domain}, limit=5)
        metadata = (("authorization", f"{scheme} {token}"),)
        try:
            self._service.ListExecutions(request, metadata=metadata, timeout=SECONDS)
        except grpc.RpcError as error:
            return Answer(error.code(), error.details())
        return Answer(grpc.StatusCode.OK)

    def rest(self, token, project="ml", domain="development", scheme="Bearer"):
        """The same by REST."""
        url = f"http://{self.address}/api/v1/executions/{project}/{domain}?limit=5"
        return requests.get(url, headers={"authorization": f"{scheme} {token}"}, timeout=SECONDS)

    def status(self):
        return requests.get(f"http://{self._admin}/status", timeout=SECONDS).json()

    def readiness(self):
        return requests.get(f"http://{self._admin}/readyz", timeout=SECONDS).status_code

    def refusals(self, reason):
        """How many requests were refused for this reason."""
        metrics = requests.get(f"http://{self._admin}/metrics", timeout=SECONDS).text
        counted = re.findall(rf'^flyte_authz_refusals_total{{[^}}]*reason="{reason}"[^}}]*}} (\d+)$', metrics, re.M)
        assert counted, reason
        return sum(int(count) for count in counted)

    def records(self):
        """The audit records by request id."""
        lines = (self._folder / "audit.jsonl").read_text().splitlines()
        return {record["request_id"]: record for record in map(json.loads, lines)}

    def record(self, request_id):
        return until(lambda: self.records().get(request_id), SECONDS, f"an audit record of {request_id}")

    def allows(self, control_plane, token, project="ml", domain="development", scheme="Bearer"):
        """Asserts that both kinds of call arrive; returns the principal that was recorded."""
        control_plane.forget()
        answer = self.call(token, project, domain, scheme)
        assert answer.allowed, answer
        reply = self.rest(token, project, domain, scheme)
        assert reply.status_code == 200, reply.text
        arrived = control_plane.arrivals()
        place = {"project": project, "domain": domain}
        assert [(one["rpc"], one["request"]["id"]) for one in arrived] == [("ListExecutions", place)] * 2
        record = self.record(reply.headers["x-request-id"])
        assert record["outcome"] == "forwarded"
        return record["principal"]

    def refuses(self, control_plane, token, reason, project="ml", domain="development", scheme="Bearer"):
        """Asserts that neither kind of call arrives, and that caller, operator and auditor are told why."""
        answers = {
            "no_matching_rule": (grpc.StatusCode.PERMISSION_DENIED, 403, "denied"),
            "keys_unavailable": (grpc.StatusCode.UNAVAILABLE, 503, "failed"),
        }
        code, status, outcome = answers.get(reason, (grpc.StatusCode.UNAUTHENTICATED, 401, "denied"))
        control_plane.forget()
        before = self.refusals(reason)
        answer = self.call(token, project, domain, scheme)
        reply = self.rest(token, project, domain, scheme)
        assert (answer.code, answer.reason[0]) == (code, reason), answer
        assert (reply.status_code, f"[{reason}; " in reply.json()["message"]) == (status, True), reply.text
        assert control_plane.arrivals() == []
        assert self.refusals(reason) == before + 2
        for request_id in (answer.reason[1], reply.headers["x-request-id"]):
            record = self.record(request_id)
            assert (record["outcome"], record["reason"]) == (outcome, reason)
            assert token not in json.dumps(record)
        return answer.message


def configuration(issuer, control_plane, refresh):
    return f"""
version: 1
listeners:
  - {{ name: public, address: 127.0.0.1:0, identity: tokens }}
admin: {{ address: 127.0.0.1:0 }}
upstream: {{ grpc: "{control_plane.grpc}", http: "{control_plane.http}" }}
issuers:
  - issuer: {issuer}
    audiences: [flyte]
    allow_http: true
    refresh: {refresh}
policy: {{ path: policy.yaml }}
audit: {{ output: audit.jsonl }}
"""


@pytest.fixture(scope="session")
def start_proxy(keycloak, flyteadmin, tmp_path_factory):
    """Starts a proxy that trusts Keycloak; to be used in a `with`."""

    @contextlib.contextmanager
    def start(refresh="5m"):
        folder = tmp_path_factory.mktemp("proxy")
        shutil.copy(HERE / "policy.yaml", folder)
        (folder / "config.yaml").write_text(configuration(keycloak.issuer, flyteadmin, refresh))
        with open(folder / "log.jsonl", "wb") as log:
            command = [BINARY, "serve", "--config", folder / "config.yaml"]
            with running(command, stdin=subprocess.DEVNULL, stdout=log, stderr=log) as process:
                proxy = Proxy(folder, process)
                try:
                    yield proxy
                finally:
                    proxy.close()

    return start


@pytest.fixture(scope="session")
def shared_proxy(start_proxy):
    with start_proxy() as proxy:
        until(lambda: proxy.readiness() == 200, START_SECONDS, "the proxy has Keycloak's keys")
        yield proxy


@pytest.fixture
def proxy(shared_proxy):
    return shared_proxy
