"""People sign in at a certified OpenID Connect issuer, and nothing that an attacker sends back signs them in."""

from __future__ import annotations

import re
import shutil
import subprocess
import urllib.error
import urllib.request
from collections.abc import Iterator
from html import unescape
from http.cookiejar import CookieJar
from pathlib import Path
from types import SimpleNamespace
from urllib.parse import parse_qs, urlencode, urljoin, urlsplit

import pytest
from msgspec.structs import replace
from tests.dashboard.people import Person, RunningDashboard, running_dashboard
from tests.ports import free_port

from headway.core import config as configuration
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.dashboard.access import oidc
from headway.dashboard.access.oidc import CALLBACK, open_issuer
from headway.dashboard.security import COOKIE
from headway.monitoring.settings.ui import UiSection
from headway.serving.settings.oidc import OidcSection

LIBRARY = Path(__file__).parents[3] / ".venv/npm/node_modules/oidc-provider/lib/index.js"
SCRIPT = Path(__file__).with_name("people_issuer.mjs")
SECRET = "a secret/with+signs"


class _NoRedirect(urllib.request.HTTPRedirectHandler):
    def redirect_request(self, *_: object) -> None:
        return None


class WebBrowser:
    """A browser that keeps cookies, follows redirects and fills in the forms of the issuer."""

    def __init__(self) -> None:
        self.cookies = CookieJar()
        self._opener = urllib.request.build_opener(_NoRedirect, urllib.request.HTTPCookieProcessor(self.cookies))

    def send(self, url: str, body: str | None = None) -> tuple[int, str, str]:
        """Send one request; returns the status, the address that follows and the text."""
        try:
            with self._opener.open(url, None if body is None else body.encode(), timeout=30) as answer:
                return answer.status, "", answer.read().decode()
        except urllib.error.HTTPError as error:
            with error:
                follows = error.headers.get("location") or ""
                return error.code, urljoin(url, follows) if follows else "", error.read().decode()

    def sign_in(self, url: str, name: str, *, stop_at: str = "") -> tuple[str, int, str]:
        """Go where redirects lead and sign in at the issuer; returns the last address, status and text."""
        body = None
        for _ in range(20):
            if stop_at and urlsplit(url).path == stop_at:
                return url, 0, ""
            status, follows, text = self.send(url, body)
            body = None
            if follows:
                url = follows
            elif action := re.search(r'<form[^>]*action="([^"]+)"', text) if "/interaction/" in url else None:
                url = urljoin(url, unescape(action[1]))
                prompt = re.search(r'name="prompt" value="(\w+)"', text)[1]
                body = urlencode({"prompt": prompt, "login": name, "password": "any"})
            else:
                return url, status, text
        raise AssertionError(f"the sign-in goes round in circles at {url}")


@pytest.fixture(scope="module")
def issuer(tmp_path_factory: pytest.TempPathFactory) -> Iterator[tuple[int, int]]:
    """The ports of an issuer and of the dashboard that is its client."""
    node = shutil.which("node")
    assert node and LIBRARY.exists(), "oidc-provider is not here\n  try: tools/npm-packages"
    port, own = free_port(), free_port()
    callback = f"http://127.0.0.1:{own}{CALLBACK}"
    process = subprocess.Popen(
        [node, str(SCRIPT), str(LIBRARY), str(port), callback],
        stdout=subprocess.PIPE,
        stderr=subprocess.DEVNULL,
        text=True,
    )
    try:
        assert any("listening" in line for line in process.stdout)
        yield port, own
    finally:
        process.kill()
        process.communicate()


@pytest.fixture
def served(issuer: tuple[int, int], empty_project: Path, tmp_path: Path) -> Iterator[RunningDashboard]:
    port, own = issuer
    (tmp_path / "secret.txt").write_text(SECRET)
    shutil.copy(empty_project / "headway.toml", tmp_path)
    config = configuration.load(tmp_path)
    oidc = OidcSection(
        issuer=f"http://127.0.0.1:{port}",
        client_id="dashboard",
        client_secret_file="secret.txt",
        roles={"ml-team": "operator", "*": "viewer"},
    )
    url = f"http://127.0.0.1:{own}"
    with running_dashboard(config.having(oidc, replace(config[UiSection], url=url, port=own))) as running:
        yield running


def begun(served: RunningDashboard, browser: WebBrowser, *, name: str = "ada") -> str:
    """Sign in at the issuer; returns the address with which it sends the browser back, not yet opened."""
    address, _, _ = browser.sign_in(
        f"http://127.0.0.1:{served.port}/sign-in/issuer?next=/account", name, stop_at=CALLBACK
    )
    return address.replace(served.dashboard.config[UiSection].url, f"http://127.0.0.1:{served.port}")


@pytest.mark.slow
@pytest.mark.services
@pytest.mark.parametrize(("name", "shown"), [("ada", "ada@example.org, operator"), ("bob", "bob, viewer")])
def test_a_person_signs_in_at_the_issuer_with_the_role_of_their_groups(served, name, shown):
    browser = WebBrowser()
    assert "/sign-in/issuer" in Person(served.port).get("/sign-in").text
    status, follows, _ = browser.send(begun(served, browser, name=name))
    assert (status, urlsplit(follows).path) == (303, "/account")
    assert shown in browser.send(f"http://127.0.0.1:{served.port}/account")[2]


@pytest.mark.slow
@pytest.mark.services
def test_an_answer_is_accepted_once_in_the_browser_that_began_and_unchanged(served):
    browser, other = WebBrowser(), WebBrowser()
    address = begun(served, browser)
    assert other.send(address)[0] == 401  # sent to another person, who has no such cookie
    begun(served, other)
    assert other.send(address)[0] == 401  # who has begun a sign-in of their own
    code = parse_qs(urlsplit(address).query)["code"][0]
    another = f"{'y' if code.startswith('x') else 'x'}{code[1:]}"
    assert browser.send(address.replace(code, another))[0] == 401
    assert browser.send(address)[0] == 401  # its state was used by the changed one
    for part, wrong in (("iss=", "iss=https%3A%2F%2Fevil.example%2F"), ("state=", "state=x")):
        address = begun(served, browser)
        assert browser.send(address.replace(part, f"{wrong}&old_{part}"))[0] == 401
    address = begun(served, browser)
    assert browser.send(address)[0] == 303
    assert browser.send(address)[0] == 401
    assert all(cookie.name != COOKIE for cookie in other.cookies)


@pytest.mark.slow
@pytest.mark.services
def test_a_person_who_refuses_or_has_no_group_is_not_signed_in(served):
    browser = WebBrowser()
    address = begun(served, browser)
    refused = address.replace("code=", "error=access_denied&old_code=")
    status, _, text = browser.send(refused)
    assert status == 401 and "access_denied" in text
    served.dashboard.sign_in.issuer.settings = replace(
        served.dashboard.sign_in.issuer.settings, roles={"ml-team": "operator"}
    )
    status, _, text = browser.send(begun(served, WebBrowser(), name="bob"))
    assert status == 401
    bob = WebBrowser()
    status, _, text = bob.send(begun(served, bob, name="bob"))
    assert status == 401 and "no role here" in text


@pytest.mark.slow
def test_an_issuer_that_does_not_answer_leaves_the_other_ways_open(empty_project, tmp_path):
    shutil.copy(empty_project / "headway.toml", tmp_path)
    oidc = OidcSection(issuer=f"http://127.0.0.1:{free_port()}", client_id="dashboard", roles={"*": "viewer"})
    with running_dashboard(configuration.load(tmp_path).having(oidc)) as served:
        found = Person(served.port).get("/sign-in/issuer")
        assert found.status == 401 and "does not answer" in found.words and "API key" in found.words


@pytest.mark.parametrize(
    ("settings", "what"),
    [
        (OidcSection(client_id="dashboard", issuer="http://login.example", roles={"*": "viewer"}), "not an https URL"),
        (OidcSection(client_id="dashboard", issuer="https://login.example"), "would have a role"),
        (
            OidcSection(
                client_id="dashboard",
                issuer="https://login.example",
                roles={"*": "viewer"},
                client_secret_file="absent",
            ),
            "cannot read the secret",
        ),
    ],
)
def test_settings_that_cannot_work_are_refused(tmp_path, settings, what):
    with pytest.raises(ConfigError, match=what):
        open_issuer(Config(settings, folder=str(tmp_path)))


def test_a_stranger_who_begins_many_sign_ins_ends_none_that_another_person_began(tmp_path, monkeypatch):
    issuer = open_issuer(
        Config(
            OidcSection(client_id="dashboard", issuer="https://login.example", roles={"*": "viewer"}),
            folder=str(tmp_path),
        )
    )
    monkeypatch.setattr(oidc, "MAX_STARTED", 3)
    monkeypatch.setattr(issuer, "_discover", lambda: SimpleNamespace(authorization_endpoint="https://login.example/a"))
    states = {}
    for address in ("192.0.2.1", *["192.0.2.66"] * 9):
        states.setdefault(address, []).append(issuer.begin(base="", back="/", address=address)[1])
    assert [*issuer._started] == [*states["192.0.2.1"], *states["192.0.2.66"][-2:]]


def test_the_groups_of_a_nested_claim_give_the_highest_role(tmp_path):
    settings = OidcSection(
        client_id="dashboard",
        issuer="https://login.example",
        role_claim="realm_access.roles",
        roles={"a": "viewer", "b": "admin", "c": "operator"},
    )
    opened = open_issuer(Config(settings, folder=str(tmp_path)))
    assert opened._role({"realm_access": {"roles": ["c", "b", 7]}}) == "admin"
    assert opened._name({"sub": "x", "email": "a@b", "email_verified": False}) == "x"
    assert opened._name({"sub": "x", "email": "a@b", "email_verified": True}) == "a@b"
