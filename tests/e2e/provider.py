"""The proxy as it is deployed, `serve --config`, between a real identity provider and the stand-in for FlyteAdmin."""

import base64
import contextlib
import dataclasses
import hashlib
import json
import pathlib
import secrets
import subprocess
import sys
import urllib.parse

import requests
from programs import CALL_SECONDS, DESCRIPTORS, HERE, PROGRAM, ROOT, ControlPlane, ended, eventually, started

# Where scripts/e2e.sh installs the packages of the provider.
MODULES = ROOT / "target/oidc-provider"
NODE = pathlib.Path(sys.executable).with_name("node")
REDIRECT = "http://localhost:53593/callback"

POLICY = """
version: 1
rules:
  - name: ml
    subjects: [{groups: [ml-platform]}]
    allow: [{projects: [ml], domains: [development], role: contributor}]
  - name: fraud
    subjects: [{groups: [fraud-detection]}]
    allow: [{projects: [fraud], domains: [development], role: contributor}]
"""


class Provider:
    """The identity provider, and its users with nothing but HTTP."""

    def __init__(self, issuer):
        self.issuer = issuer
        found = requests.get(f"{issuer}/.well-known/openid-configuration", timeout=CALL_SECONDS).json()
        self.token_endpoint = found["token_endpoint"]
        self.authorization_endpoint = found["authorization_endpoint"]
        self.jwks_uri = found["jwks_uri"]

    def ask(self, method, name, **body):
        answer = requests.request(method, f"{self.issuer}/__{name}", json=body, timeout=CALL_SECONDS)
        answer.raise_for_status()
        return answer.json()

    def _tokens(self, **form):
        answer = requests.post(self.token_endpoint, form, timeout=CALL_SECONDS)
        assert answer.ok, answer.text
        return answer.json()

    def machine(self, client, scope="all"):
        """The token of a client of its own (RFC 6749 section 4.4)."""
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": f"{client}-secret"}
        return self._tokens(**form, scope=scope)["access_token"]

    def log_in(self, user, client="flytectl"):
        """What the command line gets for a person: code with PKCE (RFC 7636), the browser's part played here."""
        verifier = secrets.token_urlsafe(48)
        challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
        state = secrets.token_urlsafe()
        form = {
            "response_type": "code",
            "client_id": client,
            "redirect_uri": REDIRECT,
            "scope": "openid profile email groups offline_access all",
            "state": state,
            "code_challenge": challenge,
            "code_challenge_method": "S256",
        }
        with requests.Session() as browser:
            page = browser.get(self.authorization_endpoint, params=form, timeout=CALL_SECONDS)
            assert page.ok and "Sign in" in page.text, page.text
            answer = browser.post(page.url, {"user": user}, timeout=CALL_SECONDS, allow_redirects=False)
            while not answer.headers["location"].startswith(REDIRECT):
                place = urllib.parse.urljoin(answer.url, answer.headers["location"])
                answer = browser.get(place, timeout=CALL_SECONDS, allow_redirects=False)
        back = urllib.parse.parse_qs(urllib.parse.urlsplit(answer.headers["location"]).query)
        assert (back["state"], back["iss"]) == ([state], [self.issuer])
        form = {"grant_type": "authorization_code", "redirect_uri": REDIRECT, "client_id": client}
        return self._tokens(**form, code=back["code"][0], code_verifier=verifier)

    def refresh(self, refresh_token, client="flytectl"):
        return self._tokens(grant_type="refresh_token", refresh_token=refresh_token, client_id=client)


class Proxy:
    """The real program, running."""

    def __init__(self, port, admin, folder, ca_file):
        self.url = f"https://localhost:{port}"
        self._admin = f"http://{admin}"
        self._audit = folder / "audit.jsonl"
        self._ca_file = ca_file

    def get(self, project, authorization=None):
        headers = {"authorization": authorization} if authorization else {}
        url = f"{self.url}/api/v1/executions/{project}/development?limit=5"
        return requests.get(url, headers=headers, timeout=CALL_SECONDS, verify=self._ca_file)

    def records(self):
        return [json.loads(line) for line in self._audit.read_text().splitlines()]

    def record(self, request_id):
        """The audit record of a request; it is written behind the answer."""
        return eventually(lambda: next((one for one in self.records() if one["request_id"] == request_id), None))

    def _ask(self, name):
        answer = requests.get(f"{self._admin}/{name}", timeout=CALL_SECONDS)
        return answer if answer.ok else None

    def issuer(self):
        """The state of the issuer's keys."""
        (issuer,) = self._ask("status").json()["issuers"]
        return issuer

    def ready(self):
        return self._ask("readyz")

    def refusals(self, reason):
        """How many calls were refused for a reason."""
        lines = self._ask("metrics").text.splitlines()
        counts = [line for line in lines if line.startswith("flyte_authz_refusals_total{")]
        return sum(float(line.split()[-1]) for line in counts if f'reason="{reason}"' in line)


@contextlib.contextmanager
def proxy(folder, ca_file, places, more):
    """Starts the proxy with issuers and credentials as told."""
    (folder / "policy.yaml").write_text(POLICY)
    certificates = pathlib.Path(ca_file).parent
    (folder / "config.yaml").write_text(f"""
version: 1
listeners:
  - name: public
    address: 127.0.0.1:0
    tls: {{certificate: {certificates}/tls.crt, key: {certificates}/tls.key}}
    identity: tokens
admin: {{address: "127.0.0.1:0"}}
upstream: {{grpc: "{places["grpc"]}", http: "{places["http"]}"}}
policy: {{path: policy.yaml}}
audit: {{output: audit.jsonl}}
workers: 1
{more}""")
    log = folder / "log.jsonl"
    with log.open("w") as writer:
        process = subprocess.Popen([PROGRAM, "serve", "--config", folder / "config.yaml"], stderr=writer)

    def addresses():
        assert process.poll() is None, log.read_text()
        lines = [json.loads(line) for line in log.read_text().splitlines()]
        found = {line.get("listener", "admin"): line["address"] for line in lines if "address" in line}
        return found if len(found) == 2 else None

    try:
        found = eventually(addresses)
        yield Proxy(found["public"].rsplit(":", 1)[1], found["admin"], folder, ca_file)
    finally:
        process.terminate()
        ended(process)


def encoded_key(size):
    """A secret as FlyteAdmin's cookie keys are written."""
    return base64.b64encode(secrets.token_bytes(size)).rstrip(b"=").decode()


@dataclasses.dataclass(frozen=True)
class Deployment:
    provider: Provider
    proxy: Proxy
    control_plane: ControlPlane
    places: dict


@contextlib.contextmanager
def deployment(folder, ca_file):
    """Everything; people can log in at the console through the proxy."""
    options = folder / "control-plane.json"
    options.write_text("{}")
    keys = {"cookie_hash_key": encoded_key(64), "cookie_block_key": encoded_key(32)}
    for name, text in keys.items():
        (folder / name).write_text(text)
    stand_in = [PROGRAM, "demo", "--control-plane", options, "--descriptors", DESCRIPTORS]
    program = [NODE, HERE / "idp/provider.mjs"]
    with started(stand_in) as places, started(program, cwd=MODULES) as place:
        provider = Provider(place["issuer"])
        more = f"""
issuers:
  - issuer: {provider.issuer}
    audiences: [flyte, flytectl, flyte-console]
    leeway: 0s
    allow_http: true
credentials:
  session:
    hash_key: {{file: cookie_hash_key}}
    block_key: {{file: cookie_block_key}}
"""
        with proxy(folder, ca_file, places, more) as serving:
            eventually(serving.ready)
            control_plane = ControlPlane(places["control_plane_arrivals_url"])
            callback = f"{serving.url}/callback"
            console = {"client_id": "flyte-console", "client_secret": "flyte-console-secret", "redirect_uri": callback}
            console |= keys | {"scopes": ["openid", "profile", "email", "groups"]}
            provider.ask("PUT", "redirect", client_id="flyte-console", redirect_uri=callback)
            control_plane.tell(
                issuer=provider.issuer,
                authorization_endpoint=provider.authorization_endpoint,
                token_endpoint=provider.token_endpoint,
                jwks_uri=provider.jwks_uri,
                console=console,
            )
            yield Deployment(provider, serving, control_plane, places)
