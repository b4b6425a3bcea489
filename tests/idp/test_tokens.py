"""Keycloak's tokens as its clients really get them: who is let through to what, and which tokens are none."""

import base64
import hashlib
import json
import secrets
import urllib.parse

import browser
import pytest
from keycloak import CLI_REDIRECT, CONSOLE_REDIRECT, PASSWORD, REALM_ROLES, SECRETS


def contents(token):
    """A token's header and claims."""
    parts = token.split(".")[:2]
    return [json.loads(base64.urlsafe_b64decode(part + "==")) for part in parts]


def log_in_by_browser(keycloak, name, client="flytectl", redirect=CLI_REDIRECT):
    """The authorization-code flow with PKCE (RFC 7636), as flytectl and FlyteAdmin make it."""
    verifier = secrets.token_urlsafe(48)
    challenge = base64.urlsafe_b64encode(hashlib.sha256(verifier.encode()).digest()).rstrip(b"=").decode()
    state = secrets.token_urlsafe(16)
    url = keycloak.authorization_url(
        client_id=client,
        redirect_uri=redirect,
        response_type="code",
        scope="openid profile",
        state=state,
        code_challenge=challenge,
        code_challenge_method="S256",
    )
    sent_back = browser.log_in(url, name, PASSWORD)
    assert sent_back.startswith(redirect + "?")
    answer = dict(urllib.parse.parse_qsl(urllib.parse.urlsplit(sent_back).query))
    assert answer["state"] == state
    form = {"grant_type": "authorization_code", "client_id": client, "redirect_uri": redirect}
    if client in SECRETS:
        form["client_secret"] = SECRETS[client]
    return keycloak.tokens(**form, code=answer["code"], code_verifier=verifier)


@pytest.mark.parametrize(("name", "project", "other"), [("alice", "ml", "fraud"), ("bob", "fraud", "ml")])
def test_people_reach_the_project_of_their_group_and_no_other(
    keycloak, proxy, control_plane, name, project, other
):
    token = log_in_by_browser(keycloak, name)["access_token"]
    principal = proxy.allows(control_plane, token, project)
    assert principal["issuer"] == keycloak.issuer
    assert (principal["email"], principal["client_id"]) == (f"{name}@example.com", "flytectl")
    message = proxy.refuses(control_plane, token, "no_matching_rule", other)
    assert f"project {other}, domain development" in message
    proxy.refuses(control_plane, token, "no_matching_rule", project, "production")


@pytest.mark.parametrize(("name", "project", "other"), [("alice", "ml", "fraud"), ("bob", "fraud", "ml")])
def test_the_id_token_of_a_console_login_gives_the_same(keycloak, proxy, control_plane, name, project, other):
    token = log_in_by_browser(keycloak, name, "flyte-console", CONSOLE_REDIRECT)["id_token"]
    _, claims = contents(token)
    assert sorted(claims["aud"]) == ["flyte", "flyte-console"]
    proxy.allows(control_plane, token, project, scheme="IDToken")
    proxy.refuses(control_plane, token, "no_matching_rule", other, scheme="IDToken")


def test_a_service_is_known_by_its_client(keycloak, proxy, control_plane):
    token = keycloak.service_token()
    _, claims = contents(token)
    assert (claims["client_id"], claims["azp"], "groups" in claims) == ("ci", "ci", False)
    principal = proxy.allows(control_plane, token, "ml", "staging")
    assert principal["client_id"] == "ci"
    proxy.refuses(control_plane, token, "no_matching_rule", "ml", "development")


def test_a_realm_role_in_the_access_token_is_a_right(keycloak, proxy, control_plane):
    token = keycloak.log_in("carol")["access_token"]
    proxy.allows(control_plane, token, "ml", "production")
    proxy.refuses(control_plane, token, "no_matching_rule", "ml", "development")


def test_keycloak_leaves_realm_roles_out_of_id_tokens_unless_told(keycloak, proxy, control_plane):
    token = keycloak.log_in("carol")["id_token"]
    assert "realm_access" not in contents(token)[1]
    proxy.refuses(control_plane, token, "no_matching_rule", "ml", "production", scheme="IDToken")
    with keycloak.mapping(REALM_ROLES):
        token = keycloak.log_in("carol")["id_token"]
    proxy.allows(control_plane, token, "ml", "production", scheme="IDToken")


def test_other_signature_algorithms_of_keycloak_are_verified(keycloak, proxy, control_plane):
    tokens = []
    for algorithm in ("ES256", "EdDSA"):
        with keycloak.signing_with("ci", algorithm):
            tokens.append(keycloak.service_token())
        assert contents(tokens[-1])[0]["alg"] == algorithm
    # Their keys are new: Keycloak makes one when it first needs it, and the proxy fetches them when it first meets one.
    for token in tokens:
        proxy.allows(control_plane, token, "ml", "staging")


def test_an_algorithm_that_is_not_configured_is_refused(keycloak, proxy, control_plane):
    with keycloak.signing_with("ci", "PS256"):
        token = keycloak.service_token()
    assert contents(token)[0]["alg"] == "PS256"
    proxy.refuses(control_plane, token, "algorithm_refused", "ml", "staging")


def test_a_token_for_another_application_is_refused_though_groups_would_allow_it(keycloak, proxy, control_plane):
    token = keycloak.log_in("alice", "another-application")["access_token"]
    assert contents(token)[1]["aud"] == "account"
    proxy.refuses(control_plane, token, "audience_mismatch")


def test_a_refresh_token_is_no_credential(keycloak, proxy, control_plane):
    token = keycloak.log_in("alice")["refresh_token"]
    header, claims = contents(token)
    assert (header["alg"], claims["iss"]) == ("HS512", keycloak.issuer)
    proxy.refuses(control_plane, token, "algorithm_refused")


def test_an_access_token_marked_as_one_is_not_taken_for_an_id_token(keycloak, proxy, control_plane):
    token = keycloak.log_in("alice")["access_token"]
    assert contents(token)[0]["typ"] == "at+jwt"
    proxy.refuses(control_plane, token, "token_type_refused", scheme="IDToken")


def test_another_realm_of_the_same_server_is_another_issuer(keycloak, proxy, control_plane):
    token = keycloak.admin_token()
    message = proxy.refuses(control_plane, token, "issuer_unknown")
    assert f"{keycloak.url}/realms/master" in message


def test_keycloak_reached_by_another_name_is_another_issuer(keycloak, proxy, control_plane):
    token = keycloak.log_in("alice", host="keycloak.internal")["access_token"]
    message = proxy.refuses(control_plane, token, "issuer_unknown")
    assert "http://keycloak.internal/realms/flyte" in message


def test_a_changed_token_is_refused(keycloak, proxy, control_plane):
    header, claims, signature = keycloak.log_in("bob")["access_token"].split(".")
    claims = json.loads(base64.urlsafe_b64decode(claims + "=="))
    claims["groups"] = ["ml-platform"]
    claims = base64.urlsafe_b64encode(json.dumps(claims).encode()).rstrip(b"=").decode()
    proxy.refuses(control_plane, f"{header}.{claims}.{signature}", "token_signature_invalid")
