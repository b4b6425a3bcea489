"""Programs that a test starts and ends, and the stand-in for FlyteAdmin as a test asks it."""

import contextlib
import json
import pathlib
import select
import subprocess
import time

import requests

HERE = pathlib.Path(__file__).parent
ROOT = HERE.parent.parent
PROGRAM = ROOT / "target/debug/flyte-authz-proxy"
DESCRIPTORS = ROOT / "target/descriptors/flyteidl-1.16.8.binpb"
START_SECONDS = 60
CALL_SECONDS = 10


@contextlib.contextmanager
def started(command, **arguments):
    """Runs a program that stays until its standard input ends; gives what it printed, one line of JSON."""
    with subprocess.Popen(command, stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True, **arguments) as process:
        try:
            ready, _, _ = select.select([process.stdout], [], [], START_SECONDS)
            line = process.stdout.readline() if ready else ""
            assert line, f"{command[0]} printed nothing within {START_SECONDS} s (exit code {process.poll()})"
            yield json.loads(line)
        finally:
            process.stdin.close()
            ended(process)


def ended(process):
    """Waits for a program that was told to end."""
    try:
        process.wait(timeout=15)
    except subprocess.TimeoutExpired:
        process.kill()
        raise


def eventually(what, seconds=30):
    """What a function gives, as soon as it gives something."""
    deadline = time.monotonic() + seconds
    while not (value := what()):
        assert time.monotonic() < deadline, f"nothing within {seconds} s"
        time.sleep(0.05)
    return value


class ControlPlane:
    """The stand-in, asked directly: what reached it, and how it is to fail."""

    def __init__(self, arrivals_url):
        self._base = arrivals_url.removesuffix("/__arrivals")

    def _ask(self, method, name, **arguments):
        answer = requests.request(method, f"{self._base}/__{name}", timeout=CALL_SECONDS, **arguments)
        answer.raise_for_status()
        return answer

    def arrivals(self):
        return self._ask("GET", "arrivals").json()

    def calls(self):
        """The RPCs that arrived, in order, without those of the log-in that anyone may make."""
        arrived = [arrival["rpc"] for arrival in self.arrivals()]
        return [rpc for rpc in arrived if rpc not in ("GetOAuth2Metadata", "GetPublicClientConfig")]

    def uploads(self):
        return self._ask("GET", "uploads").json()

    def fail(self, *scripts):
        self._ask("PUT", "faults", json=list(scripts))

    def tell(self, **options):
        """What it tells clients from now on."""
        self._ask("PUT", "options", json=options)

    def reset(self):
        self.fail()
        self._ask("DELETE", "arrivals")
        self._ask("DELETE", "uploads")
