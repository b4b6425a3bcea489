"""What a person does in a browser: follows the address of a login, fills in Keycloak's form, is sent back.

As a program (`BROWSER="python browser.py NAME PASSWORD %s &"`) it goes on to where it is sent, as browsers do.
"""

import html.parser
import sys

import requests

SECONDS = 30


class LoginForm(html.parser.HTMLParser):
    """Finds where the login form is to be sent."""

    def __init__(self, page):
        super().__init__()
        self.action = None
        self.feed(page)
        if self.action is None:
            raise RuntimeError("the page has no login form")

    def handle_starttag(self, tag, attributes):
        attributes = dict(attributes)
        if tag == "form" and attributes.get("id") == "kc-form-login":
            self.action = attributes["action"]


def log_in(url, name, password):
    """Logs in and returns the address that the browser is sent back to."""
    with requests.Session() as session:
        page = session.get(url, timeout=SECONDS)
        page.raise_for_status()
        # Browsers trust loopback without TLS: they send it the cookies that are for secure connections only.
        for cookie in session.cookies:
            cookie.secure = False
        form = {"username": name, "password": password, "credentialId": ""}
        sent_back = session.post(LoginForm(page.text).action, form, allow_redirects=False, timeout=SECONDS)
        if sent_back.status_code != 302:
            raise RuntimeError(f"the login was answered {sent_back.status_code}, not with a redirect")
        return sent_back.headers["location"]


if __name__ == "__main__":
    user, secret, address = sys.argv[1:]
    requests.get(log_in(address, user, secret), timeout=SECONDS).raise_for_status()
