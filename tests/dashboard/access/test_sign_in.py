"""Sign-in over HTTP: what is accepted, what is refused, and when a session ends."""

from __future__ import annotations

import shutil
from contextlib import suppress
from urllib.parse import urlencode

import pytest
from msgspec.structs import replace
from tests.dashboard.people import Answer, Person, RunningDashboard, running_dashboard

from headway.core import config as configuration
from headway.core.config import Config
from headway.dashboard.access import sessions, users
from headway.dashboard.access.sessions import Session
from headway.dashboard.security import COOKIE
from headway.monitoring.settings.ui import UiSection
from headway.serving.auth.keys import create_key, revoke_key
from headway.serving.settings.serve import ServeSection

PASSWORD = "correct horse battery"
SECURE = f"__Host-{COOKIE}"


@pytest.fixture
def settings(tmp_path, empty_project) -> Config:
    shutil.copy(empty_project / "headway.toml", tmp_path)
    return configuration.load(tmp_path)


@pytest.fixture
def served(settings: Config):
    with running_dashboard(settings) as running:
        yield running


@pytest.fixture
def people(settings: Config):
    return users.users_file(settings)


@pytest.fixture
def ada(people):
    users.add_user(people, "ada", "operator", password=PASSWORD)
    return {"name": "ada", "password": PASSWORD}


def sign_in(served: RunningDashboard, path: str = "/sign-in", *, headers: dict[str, str] | None = None, **fields: str):
    return Person(served.port).send("POST", path, urlencode(fields), headers=headers)


def signed_in(served: RunningDashboard, answer: Answer, *, cookie: str = COOKIE) -> Person:
    """Return the person to whom an answer gave a session."""
    assert answer.status == 303, answer.words
    name, _, rest = answer.headers["set-cookie"].partition("=")
    assert name == cookie
    session = served.dashboard.sessions.find(rest.partition(";")[0])
    assert session is not None
    return Person(served.port, session)


@pytest.mark.slow
def test_a_name_and_its_password_sign_in_and_nothing_else_does(served, ada):
    person = signed_in(served, sign_in(served, **ada))
    assert "ada, operator" in person.get("/").words
    for wrong in ({"password": "wrong horse battery"}, {"name": "Ada"}, {"name": "bob"}, {"password": ""}):
        answer = sign_in(served, **{**ada, **wrong})
        assert (answer.status, "set-cookie" in answer.headers) == (401, False)
        assert "Name or password is wrong" in answer.words
    assert "With your name and password" in served.visitor().get("/sign-in").words


def test_an_api_key_signs_in_with_the_role_of_its_scope(served, settings):
    file = settings.path(settings[ServeSection].keys)
    roles = {"operate": "operator", "label": "labeller"}
    for scope, role in roles.items():
        key = create_key(file, scope, [scope, "predict"])
        assert f"key {scope}, {role}" in signed_in(served, sign_in(served, key=key)).get("/").words
    others = {
        "predict": create_key(file, "predict", ["predict"]),
        "metrics": create_key(file, "metrics", ["metrics"]),
        "other": create_key(file, "other", ["operate"], models=["another"]),
        "empty": "",
        "wrong": "hw_wrong",
    }
    assert {sign_in(served, key=key).status for key in others.values()} == {401}
    assert sign_in(served, key=create_key(file, "own", ["operate"], models=["flights", "x"])).status == 303


def test_a_revoked_key_ends_its_sessions_at_once(served, settings):
    file = settings.path(settings[ServeSection].keys)
    person = signed_in(served, sign_in(served, key=create_key(file, "ci", ["operate"])))
    assert person.get("/").status == 200
    revoke_key(file, "ci")
    assert person.get("/").status == 303
    assert person.post("/sign-out").status == 401


@pytest.mark.slow
@pytest.mark.parametrize(
    "change",
    [
        lambda file: users.set_role(file, "ada", "viewer"),
        lambda file: users.remove_user(file, "ada"),
        lambda file: users.set_password(file, "ada", "another long password"),
        lambda file: file.write_text("[ada"),
        lambda file: file.chmod(0o644),
    ],
)
def test_a_changed_role_or_password_and_a_file_that_cannot_be_trusted_end_sessions_at_once(served, people, ada, change):
    person = signed_in(served, sign_in(served, **ada))
    assert person.get("/").status == 200
    change(people)
    assert person.get("/").status == 303
    assert person.post("/sign-out").status == 401


def test_a_link_signs_a_person_in_once_and_they_choose_a_password(served, people):
    users.add_user(people, "bob", "labeller")
    secret = users.create_link(people, "bob")
    assert "signs you in once" in served.visitor().get(f"/sign-in/link?secret={secret}").words
    answer = sign_in(served, "/sign-in/link", secret=secret)
    assert answer.headers["location"] == "/account"
    person = signed_in(served, answer)
    assert "bob, labeller" in person.get("/").words
    assert sign_in(served, "/sign-in/link", secret=secret).status == 401
    assert "Choose a password" in person.get("/account").words
    for fields in ({"again": "different"}, {"password": "short", "again": "short"}):
        assert person.post("/account/password", **{"password": PASSWORD, "again": PASSWORD, **fields}).status == 400
    again = signed_in(served, person.post("/account/password", password=PASSWORD, again=PASSWORD))
    assert person.get("/").status == 303
    assert "bob, labeller" in again.get("/").words
    assert "Change your password" in again.get("/account").words
    assert (
        again.post("/account/password", current="wrong", password="a new password", again="a new password").status
        == 400
    )
    changed = again.post("/account/password", current=PASSWORD, password="a new password", again="a new password")
    assert signed_in(served, changed).get("/").status == 200
    assert sign_in(served, name="bob", password="a new password").status == 303


def test_a_person_without_an_entry_has_no_password_to_change(served):
    person = served.visitor("admin")
    assert "password" not in person.get("/account").words.lower()
    assert person.post("/account/password", password=PASSWORD, again=PASSWORD).status == 400


def test_the_link_at_the_start_signs_in_once(served):
    secret = served.dashboard.sign_in.create_link("root", "admin")
    answer = sign_in(served, "/sign-in/link", secret=secret)
    assert answer.headers["location"] == "/"
    assert "root, admin" in signed_in(served, answer).get("/").words
    assert sign_in(served, "/sign-in/link", secret=secret).status == 401


def test_a_name_is_guessed_a_few_times_only_and_an_unknown_one_as_often(served, ada):
    for name in ("ada", "nemo"):
        found = [sign_in(served, name=name, password=f"guess {number}") for number in range(7)]
        assert [answer.status for answer in found] == [401] * 5 + [429] * 2
        assert int(found[-1].headers["retry-after"]) > 0
        assert "Try again in" in found[-1].words
    assert sign_in(served, **ada).status == 429
    assert sign_in(served, name="eve", password="x").status == 401


def test_a_stranger_who_guesses_a_password_does_not_lock_the_person_out(settings, ada):
    ui = replace(settings[UiSection], proxies=("127.0.0.1",))
    with running_dashboard(settings.having(ui)) as served:
        stranger, own = {"X-Forwarded-For": "192.0.2.66"}, {"X-Forwarded-For": "192.0.2.1"}
        guesses = [sign_in(served, name="ada", password=f"guess {n}", headers=stranger).status for n in range(7)]
        assert guesses == [401] * 5 + [429] * 2
        assert sign_in(served, **ada, headers=own).status == 303


def test_many_sign_ins_of_one_end_no_session_of_another(served, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 10)
    ada, first = served.visitor("operator"), served.visitor("viewer", name="bob")
    for _ in range(40):
        last = served.visitor("viewer", name="bob")
    assert (ada.get("/").status, first.get("/").status, last.get("/").status) == (200, 303, 200)
    for name in ("eve", "mallory", "trent"):
        with suppress(sessions.TooManySessions):
            served.visitor("viewer", name=name)
    assert (ada.get("/").status, last.get("/").status) == (200, 200)


def test_a_person_whom_the_issuer_calls_the_same_ends_no_session_of_the_person_here(served, ada):
    here = signed_in(served, sign_in(served, **ada))
    for _ in range(sessions.MAX_SESSIONS_PER_USER + 1):
        stranger = Person(served.port, served.dashboard.sessions.begin("ada", "viewer", how=sessions.ISSUER))
    assert (here.get("/").status, stranger.get("/").status) == (200, 200)
    here.post("/account/password", current=ada["password"], password="another four words", again="another four words")
    assert (here.get("/").status, stranger.get("/").status) == (303, 200)


def test_many_sign_ins_by_one_api_key_end_no_session_of_a_person(served, settings, ada):
    here = signed_in(served, sign_in(served, **ada))
    key = create_key(settings.path(settings[ServeSection].keys), "ci", ["operate"])
    answers = [sign_in(served, key=key) for _ in range(sessions.MAX_SESSIONS_PER_USER + 1)]
    assert {answer.status for answer in answers} == {303} and here.get("/").status == 200
    assert signed_in(served, answers[-1]).get("/").status == 200


def test_a_sign_in_beyond_all_sessions_is_refused(served, ada, monkeypatch):
    monkeypatch.setattr(sessions, "MAX_SESSIONS", 1)
    served.visitor("viewer", name="bob")
    answer = sign_in(served, **ada)
    assert answer.status == 503 and "1 sessions are open" in answer.words


def test_an_address_guesses_a_few_keys_and_links_only(served, settings):
    statuses = [sign_in(served, key=f"hw_{number}").status for number in range(25)]
    statuses += [sign_in(served, "/sign-in/link", secret=f"{number}").status for number in range(10)]
    assert statuses == [401] * 30 + [429] * 5
    assert sign_in(served, key=create_key(settings.path(settings[ServeSection].keys), "ci", ["operate"])).status == 429


def test_behind_a_declared_proxy_callers_are_counted_by_the_address_that_it_names(settings):
    ui = replace(settings[UiSection], proxies=("127.0.0.1",))
    with running_dashboard(settings.having(ui)) as served:
        for number in range(35):
            answer = sign_in(served, key="hw_", headers={"X-Forwarded-For": f"10.0.0.1, 192.0.2.{number}"})
            assert answer.status == 401
        from_one = [sign_in(served, key="hw_", headers={"X-Forwarded-For": f"{n}, 192.0.2.99"}) for n in range(31)]
        assert [answer.status for answer in from_one] == [401] * 30 + [429]


def test_without_a_declared_proxy_no_request_names_another_address(served):
    statuses = [
        sign_in(served, key="hw_", headers={"X-Forwarded-For": f"192.0.2.{number}"}).status for number in range(31)
    ]
    assert statuses[-1] == 429


@pytest.mark.parametrize(
    "back",
    [
        "//evil.example",
        "/\\evil.example",
        "https://evil.example",
        "evil.example",
        "/\t/evil.example",
        "/\n/evil",
        "javascript:alert(1)",
        "",
    ],
)
def test_sign_in_leads_to_no_other_site(served, settings, back):
    key = create_key(settings.path(settings[ServeSection].keys), "ci", ["operate"])
    assert sign_in(served, key=key, next=back).headers["location"] == "/"
    assert "evil" not in served.visitor().get(f"/sign-in?{urlencode({'next': back})}").text


def test_sign_in_leads_to_the_page_that_was_wanted(served, settings):
    key = create_key(settings.path(settings[ServeSection].keys), "ci", ["operate"])
    assert sign_in(served, key=key, next="/models/flights?x=1").headers["location"] == "/models/flights?x=1"


def test_a_session_is_new_at_each_sign_in_and_the_one_before_ends(served, settings):
    key = create_key(settings.path(settings[ServeSection].keys), "ci", ["operate"])
    before = served.visitor("viewer")
    answer = before.post("/sign-in", key=key)
    after = signed_in(served, answer)
    assert after.session.key != before.session.key and before.get("/").status == 303
    forged = Session(user="eve", role="admin", made_s=0.0, seen_s=0.0, key="chosen-by-eve")
    answer = Person(served.port, forged).send("POST", "/sign-in", urlencode({"key": key}))
    assert "chosen-by-eve" not in answer.headers["set-cookie"]
    assert Person(served.port, forged).get("/").status == 303


def test_the_cookie_is_not_for_scripts_or_other_sites(served, settings):
    key = create_key(settings.path(settings[ServeSection].keys), "ci", ["operate"])
    cookie = sign_in(served, key=key).headers["set-cookie"]
    assert {part.strip().lower() for part in cookie.split(";")[1:]} == {"httponly", "path=/", "samesite=lax"}
    assert "Domain" not in cookie


def test_behind_a_proxy_with_tls_the_cookie_travels_over_tls_only(settings):
    ui = replace(settings[UiSection], url="https://headway.example")
    with running_dashboard(settings.having(ui)) as served:
        key = create_key(settings.path(settings[ServeSection].keys), "ci", ["operate"])
        headers = {"Host": "headway.example", "Origin": "https://headway.example"}
        answer = sign_in(served, key=key, headers=headers)
        person = signed_in(served, answer, cookie=SECURE)
        assert "; Secure" in answer.headers["set-cookie"] and "; Path=/" in answer.headers["set-cookie"]
        cookie = f"{SECURE}={person.session.key}"
        assert person.get("/", Host="headway.example", Cookie=cookie).status == 200
        assert person.get("/", Host="headway.example", Cookie=f"{COOKIE}={person.session.key}").status == 303
        insecure = {**headers, "Origin": "http://headway.example", "Cookie": cookie}
        token = urlencode({"token": person.session.token})
        assert person.send("POST", "/sign-out", token, headers=insecure).status == 403
        secure = {**headers, "Cookie": cookie}
        assert "Secure" in person.send("POST", "/sign-out", token, headers=secure).headers["set-cookie"]


def test_no_secret_is_repeated_by_a_page(served, ada):
    for answer in (sign_in(served, **{**ada, "password": "my other password"}), sign_in(served, key="hw_my-key")):
        assert "my other password" not in answer.text and "hw_my-key" not in answer.text
