"""Tokens of a real identity provider, as it makes them, at the proxy as it is deployed."""

import base64
import json

import provider
import pytest
from conftest import write_client
from programs import HERE, eventually


def claims(token):
    payload = token.split(".")[1]
    return json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))


def key_of(token):
    header = token.split(".")[0]
    return json.loads(base64.urlsafe_b64decode(header + "=" * (-len(header) % 4)))["kid"]


def assert_allowed(deployed, project, authorization):
    """The call arrives once; returns who made it, as the audit record names them."""
    deployed.control_plane.reset()
    answer = deployed.proxy.get(project, authorization)
    assert answer.status_code == 200, answer.text
    assert deployed.control_plane.calls() == ["ListExecutions"]
    record = deployed.proxy.record(answer.headers["x-request-id"])
    assert (record["outcome"], record["principal"]["issuer"]) == ("forwarded", deployed.provider.issuer)
    return record["principal"]


def assert_refused(deployed, project, authorization, status, reason):
    """Nothing arrives; the caller, the record and the count say why. Returns the text that the caller sees."""
    deployed.control_plane.reset()
    before = deployed.proxy.refusals(reason)
    answer = deployed.proxy.get(project, authorization)
    assert (answer.status_code, reason in answer.text) == (status, True), answer.text
    assert deployed.control_plane.arrivals() == []
    record = deployed.proxy.record(answer.headers["x-request-id"])
    assert (record["outcome"], record["reason"], record["status"]) == ("denied", reason, status)
    assert deployed.proxy.refusals(reason) == before + 1
    return answer.json()["message"]


def test_a_person_at_the_command_line_reaches_the_projects_of_their_groups(deployed):
    """The authorization-code flow with PKCE, as flytectl and pyflyte make it."""
    for user, mine, other in [("alice", "ml", "fraud"), ("bob", "fraud", "ml")]:
        bearer = f"Bearer {deployed.provider.log_in(user)['access_token']}"
        principal = assert_allowed(deployed, mine, bearer)
        assert (principal["subject"], principal["client_id"]) == (user, "flytectl")
        message = assert_refused(deployed, other, bearer, 403, "no_matching_rule")
        assert f"view_executions in project {other}, domain development" in message


@pytest.mark.parametrize("client", ["ci", "ci-es256"])
def test_a_machine_reaches_the_projects_of_its_groups(deployed, client):
    bearer = f"Bearer {deployed.provider.machine(client)}"
    principal = assert_allowed(deployed, "ml", bearer)
    assert (principal["subject"], principal["client_id"]) == (client, client)
    assert_refused(deployed, "fraud", bearer, 403, "no_matching_rule")


def test_an_id_token_is_taken_under_its_own_scheme(deployed):
    id_token = deployed.provider.log_in("alice")["id_token"]
    assert claims(id_token)["aud"] == "flytectl"
    assert assert_allowed(deployed, "ml", f"IDToken {id_token}")["subject"] == "alice"
    assert_refused(deployed, "fraud", f"IDToken {id_token}", 403, "no_matching_rule")


def test_a_refresh_token_is_no_credential_but_what_it_is_exchanged_for_is(deployed):
    refresh_token = deployed.provider.log_in("alice")["refresh_token"]
    assert_refused(deployed, "ml", f"Bearer {refresh_token}", 401, "token_malformed")
    renewed = deployed.provider.refresh(refresh_token)["access_token"]
    assert assert_allowed(deployed, "ml", f"Bearer {renewed}")["subject"] == "alice"


def test_an_opaque_access_token_is_refused(deployed):
    token = deployed.provider.machine("ci-opaque", scope="")
    assert "." not in token
    assert_refused(deployed, "ml", f"Bearer {token}", 401, "token_malformed")


def test_an_altered_claim_is_refused(deployed):
    header, _, signature = deployed.provider.machine("ci").split(".")
    payload = claims(deployed.provider.machine("ci")) | {"groups": ["fraud-detection"]}
    forged = base64.urlsafe_b64encode(json.dumps(payload).encode()).rstrip(b"=").decode()
    assert_refused(deployed, "fraud", f"Bearer {header}.{forged}.{signature}", 401, "token_signature_invalid")


def test_new_keys_are_fetched_when_a_token_names_one(deployed):
    before = deployed.provider.machine("ci")
    assert_allowed(deployed, "ml", f"Bearer {before}")
    fetched = deployed.provider.ask("GET", "counters")["jwks"]
    deployed.provider.ask("POST", "rotate")
    after = deployed.provider.machine("ci")
    assert key_of(after) != key_of(before)
    assert_allowed(deployed, "ml", f"Bearer {after}")
    # The last key is still published.
    assert_allowed(deployed, "ml", f"Bearer {before}")
    assert deployed.provider.ask("GET", "counters")["jwks"] == fetched + 1


def test_flytekit_gets_its_token_from_the_provider(deployed, running, tmp_path):
    """It learns from the control plane, through the proxy, where to log in."""
    client = write_client(tmp_path, "ci", "ci-secret", deployed.proxy.url.removeprefix("https://"), running.ca_file)
    register = ["register", "--domain", "development", "--version", "v1", "--image", "demo:1", "--project"]
    package = tmp_path / "team"
    package.mkdir()
    (package / "__init__.py").touch()
    (package / "workflows.py").write_text((HERE / "workflows.py").read_text())
    code, output = client.pyflyte(*register, "ml", package)
    assert code == 0, output
    assert "CreateWorkflow" in deployed.control_plane.calls()
    deployed.control_plane.reset()
    code, output = client.pyflyte(*register, "fraud", package)
    assert code != 0 and "no_matching_rule" in output and "project fraud, domain development" in output, output
    assert deployed.control_plane.calls() == []


def test_an_issuer_that_calls_itself_something_else_is_not_believed(deployed, running, tmp_path):
    """Discovery over another name of the same host: its document names the other issuer (OIDC Discovery 4.3)."""
    other = deployed.provider.issuer.replace("localhost", "127.0.0.1")
    more = f"issuers: [{{issuer: '{other}', audiences: [flyte], allow_http: true}}]"
    with provider.proxy(tmp_path, running.ca_file, deployed.places, more) as proxy:
        failure = eventually(lambda: proxy.issuer()["last_error"])
        assert deployed.provider.issuer in failure, failure
        assert proxy.issuer()["keys"] == 0 and not proxy.ready()
        deployed.control_plane.reset()
        answer = proxy.get("ml", f"Bearer {deployed.provider.machine('ci')}")
        assert (answer.status_code, "issuer_unknown" in answer.text) == (401, True), answer.text
        assert proxy.record(answer.headers["x-request-id"])["reason"] == "issuer_unknown"
        assert proxy.refusals("issuer_unknown") == 1
        assert deployed.control_plane.arrivals() == []
