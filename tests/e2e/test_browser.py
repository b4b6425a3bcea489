"""A person at the console, with a real browser: log-in at the identity provider, session, refusals, log-out."""

import datetime
import json
import shutil
import urllib.parse

import pytest
import selenium.webdriver
from programs import eventually
from selenium.webdriver.common.by import By

CHROMIUM, DRIVER = shutil.which("chromium"), shutil.which("chromedriver")
needs_chromium = pytest.mark.skipif(not (CHROMIUM and DRIVER), reason="chromium and chromedriver are not installed")
pytestmark = needs_chromium
PAGE_SECONDS = 30


class Browser:
    """A browser with nothing in it, and the person in front of it."""

    def __init__(self, driver, deployed):
        self._driver = driver
        self._deployed = deployed
        self._proxy = deployed.proxy

    def open(self, path):
        self._driver.get(self._proxy.url + path)

    def at(self):
        return self._driver.current_url

    def text(self):
        return self._driver.execute_script("return document.body ? document.body.innerText : ''")

    def _shown(self, *which):
        """The element, once the page that is being opened has it."""
        return eventually(lambda: self._driver.find_elements(*which))[0]

    def api(self, project):
        """Opens what the API answers, as a page; returns status, body and audit record."""
        self._deployed.control_plane.reset()
        start = datetime.datetime.now(datetime.UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")
        self.open(f"/api/v1/executions/{project}/development?limit=5")

        def records():
            since = [record for record in self._proxy.records() if record["time"] >= start]
            # Browsers also ask for an icon, and the console that is left may still call, but for protobuf.
            listed = [record for record in since if record.get("rpc", "").endswith("/ListExecutions")]
            return [record for record in listed if record["protocol"] == "rest"]

        (record,) = eventually(records)
        return self._status(), json.loads(self._shown(By.TAG_NAME, "pre").text), record

    def _status(self):
        return self._driver.execute_script("return performance.getEntriesByType('navigation')[0].responseStatus")

    def log_in(self, user):
        """Fills in the identity provider's form, which has to be shown now."""
        eventually(lambda: self.at().startswith(f"{self._deployed.provider.issuer}/interaction/"))
        self._shown(By.NAME, "user").send_keys(user)
        self._shown(By.TAG_NAME, "button").click()

    def cookies(self):
        return {cookie["name"]: cookie for cookie in self._driver.get_cookies()}

    def picture(self, path):
        self._driver.save_screenshot(str(path))


@pytest.fixture
def browser(deployed, tmp_path):
    options = selenium.webdriver.ChromeOptions()
    options.binary_location = CHROMIUM
    # The certificate is signed by an authority of the test's own, which is not the matter here.
    options.accept_insecure_certs = True
    for argument in (
        "--headless=new",
        "--no-sandbox",
        "--disable-gpu",
        "--disable-dev-shm-usage",
        # It talks to nobody else.
        "--disable-background-networking",
        "--disable-component-update",
        "--no-first-run",
        "--window-size=1000,400",
        f"--user-data-dir={tmp_path}/profile",
    ):
        options.add_argument(argument)
    driver = selenium.webdriver.Chrome(options, selenium.webdriver.ChromeService(DRIVER))
    driver.set_page_load_timeout(PAGE_SECONDS)
    try:
        yield Browser(driver, deployed)
    finally:
        driver.quit()


def names(arrival, header):
    """The names of the cookies in a header that reached the control plane."""
    values = [value for name, value in arrival["headers"] if name == header]
    return {pair.split("=")[0].strip() for value in values for pair in value.split(";")}


def console(path):
    """A page of the console that shows what the API answers."""
    return "/console?" + urllib.parse.urlencode({"show": path})


def test_a_person_logs_in_works_is_refused_and_logs_out(browser, deployed, tmp_path):
    # Nobody is logged in: the API refuses, and the console sends to the identity provider and comes back.
    status, body, record = browser.api("ml")
    assert (status, body["code"], record["reason"]) == (401, 16, "credential_missing")
    assert deployed.control_plane.calls() == []
    mine = console("/api/v1/executions/ml/development")
    browser.open(mine)
    browser.log_in("alice")
    eventually(lambda: browser.text().startswith("200: "))
    assert browser.at() == deployed.proxy.url + mine
    cookies = browser.cookies()
    assert {"flyte_idt", "flyte_at_1", "flyte_at_2"} <= cookies.keys()
    assert all(cookies[name]["httpOnly"] and cookies[name]["secure"] for name in ("flyte_idt", "flyte_at_1"))

    # An API page of a project of hers.
    status, body, record = browser.api("ml")
    assert (status, body["executions"]) == (200, [])
    (arrival,) = [one for one in deployed.control_plane.arrivals() if one["rpc"]]
    assert arrival["rpc"] == "ListExecutions"
    # The session is what was judged, and all that goes on.
    assert names(arrival, "cookie") == {"flyte_idt", "flyte_at_1", "flyte_at_2"}
    assert not names(arrival, "authorization") | names(arrival, "flyte-authorization")
    assert record["outcome"] == "forwarded"
    assert record["principal"] == {
        "kind": "token",
        "issuer": deployed.provider.issuer,
        "subject": "alice",
        "email": "alice@example.com",
    }
    assert record["credential"] == "session"

    # One of another team's: she sees who says no to what, and that it is not for lack of a log-in.
    status, body, record = browser.api("fraud")
    browser.picture(tmp_path / "refused.png")
    assert (status, body["code"]) == (403, 7)
    assert "no rule allows view_executions in project fraud, domain development" in body["message"]
    assert "no_matching_rule" in body["message"] and record["request_id"] in body["message"]
    assert (record["reason"], record["principal"]["subject"]) == ("no_matching_rule", "alice")
    assert record["credential"] == "session"
    assert deployed.control_plane.calls() == []
    assert deployed.proxy.refusals("no_matching_rule") > 0

    # The console asks for protobuf, and does not begin to log in again.
    refused = console("/api/v1/executions/fraud/development")
    browser.open(refused)
    eventually(lambda: browser.text().startswith("403 Forbidden: "))
    browser.picture(tmp_path / "console.png")
    assert browser.at() == deployed.proxy.url + refused

    browser.open("/logout")
    eventually(lambda: not browser.cookies().keys() & {"flyte_idt", "flyte_at_1", "flyte_at_2"})
    status, body, record = browser.api("ml")
    assert (status, body["code"], record["reason"]) == (401, 16, "credential_missing")


def test_a_session_ends_with_its_token_and_the_console_gets_a_new_one(browser, deployed):
    mine = console("/api/v1/executions/ml/development")
    deployed.provider.ask("PUT", "lifetime", id_token=2)
    try:
        browser.open(mine)
        browser.log_in("alice")

        def expired():
            status, *answered = browser.api("ml")
            return answered if status == 401 else None

        body, record = eventually(expired)
    finally:
        deployed.provider.ask("PUT", "lifetime", id_token=3600)
    assert record["reason"] == "token_expired" and "log in again" in body["message"]
    assert deployed.control_plane.calls() == []
    # The identity provider still knows her.
    browser.open(mine)
    eventually(lambda: browser.text().startswith("200: "))
    assert browser.at() == deployed.proxy.url + mine
    assert browser.api("ml")[0] == 200
