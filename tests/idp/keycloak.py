"""A Keycloak on loopback, and the realm that docs/identity.md tells operators to make."""

import contextlib
import os
import signal
import subprocess
import time
import urllib.parse

import requests

SECONDS = 30
# On a busy machine with two cores; it takes about 12 s on an idle one.
START_SECONDS = 240
STOP_SECONDS = 60

REALM = "flyte"
CLI_REDIRECT = "http://localhost:53593/callback"
CONSOLE_REDIRECT = "https://flyte.example.com/callback"
PASSWORD = "correct horse"
SECRETS = {"ci": "ci-secret", "flyte-console": "console-secret"}


class Keycloak:
    """One server with its data in a folder; it can be stopped and started again."""

    def __init__(self, home, folder, port):
        self.url = f"http://127.0.0.1:{port}"
        self.issuer = f"{self.url}/realms/{REALM}"
        self._home, self._folder, self._port = home, folder, port
        self._process = None

    def start(self):
        environment = os.environ | {
            "KC_BOOTSTRAP_ADMIN_USERNAME": "admin",
            "KC_BOOTSTRAP_ADMIN_PASSWORD": PASSWORD,
            "KC_DB": "dev-file",
            # Where Keycloak's own setting has it, a second run would find the realm of the first.
            "KC_DB_URL": f"jdbc:h2:file:{self._folder}/keycloak;NON_KEYWORDS=VALUE",
            "JAVA_OPTS_KC_HEAP": "-Xms64m -Xmx512m",
        }
        command = ["sh", f"{self._home}/bin/kc.sh", "start-dev", "--http-host=127.0.0.1", f"--http-port={self._port}"]
        log = open(self._folder / "keycloak.log", "ab")
        with log:
            # A group of its own: the script starts Java, once more after it has set itself up.
            self._process = subprocess.Popen(
                command,
                env=environment,
                cwd=self._folder,
                stdin=subprocess.DEVNULL,
                stdout=log,
                stderr=log,
                start_new_session=True,
            )
        deadline = time.monotonic() + START_SECONDS
        while not self._answers():
            if self._process.poll() is not None or time.monotonic() > deadline:
                self.stop()
                tail = (self._folder / "keycloak.log").read_text(errors="replace")[-4000:]
                raise RuntimeError(f"Keycloak did not start within {START_SECONDS} s:\n{tail}")
            time.sleep(0.25)

    def _answers(self):
        with contextlib.suppress(requests.RequestException):
            return requests.get(f"{self.url}/realms/master", timeout=5).status_code == 200
        return False

    def running(self):
        return self._process is not None

    def stop(self):
        """Ends it, whatever state it is in, and waits for that."""
        if self._process is None:
            return
        process, self._process = self._process, None
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGTERM)
        with contextlib.suppress(subprocess.TimeoutExpired):
            process.wait(STOP_SECONDS)
        with contextlib.suppress(ProcessLookupError):
            os.killpg(process.pid, signal.SIGKILL)
        process.wait(STOP_SECONDS)

    def admin_token(self):
        """An access token of the realm `master`."""
        form = {"grant_type": "password", "client_id": "admin-cli", "username": "admin", "password": PASSWORD}
        url = f"{self.url}/realms/master/protocol/openid-connect/token"
        answer = requests.post(url, form, timeout=SECONDS)
        answer.raise_for_status()
        return answer.json()["access_token"]

    def admin(self, method, path, body=None, **query):
        """Asks the admin API; `path` is below the realm. Returns the answer, or the id of what was made."""
        headers = {"authorization": f"Bearer {self.admin_token()}"}
        url = f"{self.url}/admin/realms{path}"
        answer = requests.request(method, url, json=body, params=query, headers=headers, timeout=SECONDS)
        if not answer.ok:
            raise RuntimeError(f"{method} {path}: {answer.status_code} {answer.text}")
        if answer.status_code == 201:
            return answer.headers["location"].rpartition("/")[2]
        return answer.json() if answer.content else None

    def make_realm(self):
        """The realm as an operator would click it together."""
        self.admin(
            "POST",
            "",
            {
                "realm": REALM,
                "enabled": True,
                # Longer than the suite takes.
                "accessTokenLifespan": 1800,
                "groups": [{"name": "ml-platform"}, {"name": "analytics"}],
                "roles": {"realm": [{"name": "flyte-release-manager"}]},
            },
        )
        scope = self.admin("POST", f"/{REALM}/client-scopes", CLIENT_SCOPE)
        for client in CLIENTS:
            made = self.admin("POST", f"/{REALM}/clients", client)
            if client["clientId"] != "another-application":
                self.admin("PUT", f"/{REALM}/clients/{made}/default-client-scopes/{scope}")
        for name, groups in [("alice", ["ml-platform"]), ("bob", ["analytics"]), ("carol", [])]:
            self.admin("POST", f"/{REALM}/users", user(name, groups))
        (carol,) = self.admin("GET", f"/{REALM}/users", username="carol", exact="true")
        role = self.admin("GET", f"/{REALM}/roles/flyte-release-manager")
        self.admin("POST", f"/{REALM}/users/{carol['id']}/role-mappings/realm", [role])

    def client_uuid(self, client_id):
        (client,) = self.admin("GET", f"/{REALM}/clients", clientId=client_id)
        return client["id"]

    def allow_redirect(self, client_id, redirect):
        client = self.admin("GET", f"/{REALM}/clients/{self.client_uuid(client_id)}")
        client["redirectUris"].append(redirect)
        self.admin("PUT", f"/{REALM}/clients/{client['id']}", client)

    @contextlib.contextmanager
    def signing_with(self, client_id, algorithm):
        """The client's access tokens are signed with another algorithm meanwhile."""
        path = f"/{REALM}/clients/{self.client_uuid(client_id)}"
        before = self.admin("GET", path)
        changed = {"access.token.signed.response.alg": algorithm}
        self.admin("PUT", path, before | {"attributes": before["attributes"] | changed})
        try:
            yield
        finally:
            self.admin("PUT", path, before | {"attributes": before["attributes"] | dict.fromkeys(changed, "")})

    @contextlib.contextmanager
    def mapping(self, extra):
        """The client scope `flyte` has another mapper meanwhile."""
        scopes = self.admin("GET", f"/{REALM}/client-scopes")
        (scope,) = [scope["id"] for scope in scopes if scope["name"] == CLIENT_SCOPE["name"]]
        path = f"/{REALM}/client-scopes/{scope}/protocol-mappers/models"
        made = self.admin("POST", path, extra)
        try:
            yield
        finally:
            self.admin("DELETE", f"{path}/{made}")

    def signing_keys(self):
        """The ids of the components that give the realm its RSA signing keys."""
        components = self.admin("GET", f"/{REALM}/components", type="org.keycloak.keys.KeyProvider")
        return [component["id"] for component in components if component["providerId"] == "rsa-generated"]

    def add_signing_key(self):
        """Adds a key that new tokens are signed with; the former stay published."""
        priority = 100 + 100 * len(self.signing_keys())
        return self.admin(
            "POST",
            f"/{REALM}/components",
            {
                "name": f"rsa-{priority}",
                "providerId": "rsa-generated",
                "providerType": "org.keycloak.keys.KeyProvider",
                "config": {"priority": [str(priority)], "algorithm": ["RS256"], "keySize": ["2048"]},
            },
        )

    def remove_key(self, component):
        self.admin("DELETE", f"/{REALM}/components/{component}")

    def tokens(self, *, host=None, **form):
        """What the token endpoint answers; `host` is another name that it is reached by."""
        url = f"{self.issuer}/protocol/openid-connect/token"
        answer = requests.post(url, form, headers={"host": host} if host else None, timeout=SECONDS)
        if not answer.ok:
            raise RuntimeError(f"{answer.status_code} {answer.text}")
        return answer.json()

    def log_in(self, name, client="flytectl", **more):
        """Logs a person in with the password grant."""
        form = {"grant_type": "password", "client_id": client, "username": name, "password": PASSWORD}
        return self.tokens(**form, scope="openid profile", **more)

    def service_token(self, client="ci"):
        """A service's token, by the client-credentials grant."""
        form = {"grant_type": "client_credentials", "client_id": client, "client_secret": SECRETS[client]}
        return self.tokens(**form)["access_token"]

    def authorization_url(self, **query):
        return f"{self.issuer}/protocol/openid-connect/auth?{urllib.parse.urlencode(query)}"


def user(name, groups):
    return {
        "username": name,
        "enabled": True,
        "email": f"{name}@example.com",
        "emailVerified": True,
        "firstName": name.title(),
        "lastName": "Example",
        "groups": groups,
        "credentials": [{"type": "password", "value": PASSWORD, "temporary": False}],
    }


def mapper(name, kind, **config):
    both = {"access.token.claim": "true", "id.token.claim": "true", "introspection.token.claim": "true"}
    return {"name": name, "protocol": "openid-connect", "protocolMapper": kind, "config": both | config}


CLIENT_SCOPE = {
    "name": "flyte",
    "protocol": "openid-connect",
    "protocolMappers": [
        mapper("audience", "oidc-audience-mapper", **{"included.custom.audience": "flyte"}),
        mapper("groups", "oidc-group-membership-mapper", **{"claim.name": "groups", "full.path": "false"}),
    ],
}


REALM_ROLES = mapper(
    "realm roles",
    "oidc-usermodel-realm-role-mapper",
    **{"claim.name": "realm_access.roles", "multivalued": "true", "jsonType.label": "String"},
)


def client(name, *, flow=None, attributes=None, **more):
    return {
        "clientId": name,
        "publicClient": name not in SECRETS,
        "secret": SECRETS.get(name),
        "standardFlowEnabled": flow is not None,
        "redirectUris": [flow] if flow else [],
        "attributes": attributes or {},
    } | more


CLIENTS = [
    client(
        "flytectl",
        flow=CLI_REDIRECT,
        # The password grant is for tests only.
        directAccessGrantsEnabled=True,
        attributes={"pkce.code.challenge.method": "S256", "access.token.header.type.rfc9068": "true"},
    ),
    client("flyte-console", flow=CONSOLE_REDIRECT),
    client("ci", serviceAccountsEnabled=True),
    client("another-application", directAccessGrantsEnabled=True),
]
