"""While calls go on: Keycloak changes its keys, goes down, and comes back."""

import base64
import contextlib
import json
import threading

import pytest
from conftest import until

# The shortest that the configuration accepts, with the tenth by which the proxy spreads it, and a busy machine.
REFRESH = "10s"
REFRESHED_SECONDS = 30
CALLS_PER_SECOND = 20


def key_id(token):
    return json.loads(base64.urlsafe_b64decode(token.split(".")[0] + "=="))["kid"]


class Traffic(threading.Thread):
    """Calls all the time, with each of its tokens in turn, and remembers what was not answered with success."""

    def __init__(self, proxy, token):
        super().__init__(daemon=True)
        self._proxy, self._done = proxy, threading.Event()
        self.tokens, self.sent, self.failures = [token], 0, []

    def run(self):
        while not self._done.wait(1 / CALLS_PER_SECOND):
            answer = self._proxy.call(self.tokens[self.sent % len(self.tokens)])
            self.sent += 1
            if not answer.allowed:
                self.failures.append(answer)

    def send(self, more):
        """Waits until that many more calls have been answered."""
        wanted = self.sent + more
        until(lambda: self.sent >= wanted, 60, f"{more} more calls")

    def end(self):
        self._done.set()
        self.join(60)


@contextlib.contextmanager
def traffic(proxy, control_plane, token):
    running = Traffic(proxy, token)
    control_plane.background = running.tokens
    running.start()
    try:
        yield running
    finally:
        running.end()


@pytest.fixture
def fresh_proxy(start_proxy):
    """A proxy of the test's own, with Keycloak's keys, that fetches them often."""
    with start_proxy(REFRESH) as proxy:
        until(lambda: proxy.readiness() == 200, REFRESHED_SECONDS, "the proxy has Keycloak's keys")
        yield proxy


def alice(keycloak):
    return keycloak.log_in("alice")["access_token"]


def test_no_call_fails_while_the_signing_key_changes_and_a_removed_key_ends(keycloak, fresh_proxy, control_plane):
    proxy = fresh_proxy
    before = alice(keycloak)
    with traffic(proxy, control_plane, before) as calls:
        calls.send(20)
        former = keycloak.signing_keys()
        keycloak.add_signing_key()
        after = alice(keycloak)
        assert key_id(after) != key_id(before)
        # Both kinds of token are in use now: the first that names the new key has it fetched.
        calls.tokens.append(after)
        calls.send(100)
        assert calls.failures == []

        # Tokens of the former key are asked for no more, then it goes.
        calls.tokens.remove(before)
        calls.send(2)
        for component in former:
            keycloak.remove_key(component)
        until(lambda: not proxy.call(before).allowed, REFRESHED_SECONDS, "tokens of the removed key are refused")
        proxy.refuses(control_plane, before, "key_unknown")
        calls.send(20)
        assert calls.failures == []


def test_calls_go_on_while_keycloak_is_down(keycloak, fresh_proxy, start_proxy, control_plane):
    seen, unseen = alice(keycloak), alice(keycloak)
    proxy = fresh_proxy
    with traffic(proxy, control_plane, seen) as calls:
        calls.send(20)
        keycloak.stop()
        try:
            until(lambda: proxy.status()["issuers"][0]["last_error"], REFRESHED_SECONDS, "a fetch has failed")
            assert proxy.status()["issuers"][0]["stale"]
            assert proxy.readiness() == 200
            # A token that the proxy has never seen is verified with the keys that it has.
            proxy.allows(control_plane, unseen)
            calls.send(20)

            # One that starts meanwhile cannot verify anything. It must not say that the token is bad: clients would
            # ask people to log in again, which cannot work now.
            with start_proxy() as newcomer:
                newcomer.refuses(control_plane, unseen, "keys_unavailable")
                assert newcomer.readiness() == 503
                keycloak.start()
                until(lambda: newcomer.readiness() == 200, 120, "the proxy has found Keycloak again by itself")
                newcomer.allows(control_plane, unseen)
        finally:
            if not keycloak.running():
                keycloak.start()
        assert calls.failures == []
    until(lambda: not proxy.status()["issuers"][0]["stale"], REFRESHED_SECONDS, "the keys are fetched again")
    proxy.allows(control_plane, alice(keycloak))
