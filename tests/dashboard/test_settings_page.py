"""The Settings page: where each value comes from, keys and people, and what an admin does with them."""

from __future__ import annotations

import re

import pytest
from tests.dashboard.people import Person, RunningDashboard, running_dashboard

from headway.core import config as configuration
from headway.core.action import PersonAction
from headway.core.config import Config
from headway.dashboard.access.users import add_user, read_users
from headway.monitoring.settings.ui import UiSection
from headway.reporting.audit import AuditFilter, audit_entries, audit_page
from headway.serving.auth.keys import create_key, read_keys
from headway.serving.settings.serve import ServeSection

PAGE = "/models/flights/settings"
SET = '[serve]\nport = 9001\n\n[store]\nfeed = "redis://cache.example/0"\n\n[oidc]\nscope_prefix = "https://a:s3cret@b/"\n'


@pytest.fixture
def settings(tmp_path, monkeypatch) -> Config:
    trust = f'[trust]\ntrusted_keys = "{tmp_path}/trusted.txt"\n'
    (tmp_path / "headway.toml").write_text(f'[project]\nname = "flights"\n\n{trust}\n{SET}')
    monkeypatch.setenv("HEADWAY_UI_IDLE_MINUTES", "30")
    return configuration.load(tmp_path)


@pytest.fixture
def served(settings: Config):
    with running_dashboard(settings) as running:
        yield running


@pytest.fixture
def admin(served: RunningDashboard) -> Person:
    return served.visitor("admin")


def actions(served: RunningDashboard) -> list[tuple[str, str, str, str]]:
    found = served.dashboard.project("flights").records(PersonAction)
    return [(one.who, one.action, one.subject, one.reason) for one in found]


def test_only_an_admin_sees_settings(served):
    for role in ("viewer", "labeller", "operator"):
        assert served.visitor(role).get(PAGE).status == 403
        assert "Settings" not in served.visitor(role).get("/").words


def test_each_value_is_shown_with_its_source_and_without_its_password(admin):
    found = admin.get(PAGE)
    assert re.search(r"serve\.port.{0,60}9001 file", found.words)
    assert re.search(r"ui\.idle_minutes.{0,120}30\.0 environment", found.words)
    assert re.search(r"serve\.workers.{0,120}0 default", found.words)
    assert "https://a:***@b/" in found.words and "s3cret" not in found.text


def test_a_value_that_differs_from_the_file_is_named(admin, settings):
    assert "Start the dashboard again" not in admin.get(PAGE).words
    file = settings.path("headway.toml")
    file.write_text(file.read_text().replace("9001", "9002"))
    found = admin.get(PAGE).words
    assert "Start the dashboard again" in found and "9001 flag, or an older file" in found


def test_a_key_is_created_shown_once_and_revoked(served, admin, settings):
    fields = {"name": "ci", "reason": "the nightly job"}
    assert "No use of the key" in admin.post(f"{PAGE}/keys/create", **fields).words
    shown = admin.post(f"{PAGE}/keys/create", **fields, scope="label")
    (key,) = re.findall(r"hw_[\w-]{43}", shown.text)
    assert key not in admin.get(PAGE).text and "ci label all" in admin.get(PAGE).words
    assert Person(served.port).send("POST", "/sign-in", f"key={key}").status == 303
    assert "exists already" in admin.post(f"{PAGE}/keys/create", **fields, scope="label").words
    assert admin.post(f"{PAGE}/keys/revoke", name="ci", reason="it leaked").status == 303
    assert "The API key ci is revoked" in admin.get(PAGE).words
    assert Person(served.port).send("POST", "/sign-in", f"key={key}").status == 401
    assert actions(served) == [
        ("ada", "key.created", "ci", "the nightly job"),
        ("ada", "key.revoked", "ci", "it leaked"),
    ]
    assert read_keys(settings.path(settings[ServeSection].keys))["ci"].revoked


def test_a_key_of_the_dashboard_is_in_the_audit_once_with_who_made_it(served, admin, settings):
    file = settings.path(settings[ServeSection].keys)
    create_key(file, "robot", ["predict"])
    admin.post(f"{PAGE}/keys/create", name="ci", reason="the nightly job", scope="metrics")
    admin.post(f"{PAGE}/keys/revoke", name="ci", reason="it leaked")
    projects, entries, before = [served.dashboard.project("flights")], [], {}
    while True:
        page = audit_page(projects, AuditFilter(kind="key"), before=before, limit=1)
        entries += page.entries
        if not page.following:
            break
        before = page.following
    assert sorted((entry.action, entry.subject, entry.who) for entry in entries) == [
        ("key.created", "ci", "ada"),
        ("key.created", "robot", ""),
        ("key.revoked", "ci", "ada"),
    ]
    assert list(audit_entries(projects, AuditFilter(kind="key"))) == entries


def test_people_are_added_by_a_link_change_roles_and_are_removed(served, admin, settings):
    file = settings.path(settings[UiSection].users)
    shown = admin.post(f"{PAGE}/people/add", name="bob", role="viewer", reason="new in the team")
    address = re.search(r"http://127\.0\.0\.1:\d+/sign-in/link\?secret=([\w-]{43})", shown.text)
    assert address and address[0].startswith(f"http://127.0.0.1:{served.port}/")
    assert address[1] not in admin.get(PAGE).text and "bob viewer" in admin.get(PAGE).words
    assert Person(served.port).send("POST", "/sign-in/link", f"secret={address[1]}").status == 303
    admin.post(f"{PAGE}/people/role", name="bob", role="operator", reason="on call")
    assert read_users(file)["bob"].role == "operator"
    again = admin.post(f"{PAGE}/people/link", name="bob", reason="lost the password")
    assert re.search(r"secret=[\w-]{43}", again.text)
    admin.post(f"{PAGE}/people/remove", name="bob", reason="left")
    assert read_users(file) == {}
    assert [(action, reason) for _, action, _, reason in actions(served)] == [
        ("person.added", "new in the team"),
        ("person.role", "on call"),
        ("person.link", "lost the password"),
        ("person.removed", "left"),
    ]


@pytest.mark.parametrize(
    ("path", "fields"),
    [
        ("people/add", {"name": "<b>", "role": "viewer", "reason": "x"}),
        ("people/add", {"name": "bob", "role": "king", "reason": "x"}),
        ("people/add", {"name": "bob", "role": "viewer"}),
        ("people/add", {"role": "viewer", "reason": "x"}),
        ("people/role", {"name": "eve", "role": "viewer", "reason": "x"}),
        ("people/remove", {"name": "eve", "reason": "x"}),
        ("people/link", {"name": "eve", "reason": "x"}),
        ("keys/create", {"name": "a b", "scope": "metrics", "reason": "x"}),
        ("keys/create", {"name": "ci", "scope": "everything", "reason": "x"}),
        ("keys/create", {"name": "ci", "scope": "metrics"}),
        ("keys/revoke", {"name": "eve", "reason": "x"}),
    ],
)
def test_a_form_with_a_missing_or_wrong_field_changes_nothing_and_says_why(served, admin, settings, path, fields):
    answer = admin.post(f"{PAGE}/{path}", **fields)
    assert answer.status == 400 and "What to do" in answer.words
    assert actions(served) == []
    assert (
        not settings.path(settings[UiSection].users).exists()
        and not settings.path(settings[ServeSection].keys).exists()
    )


def test_people_belong_to_the_first_model_only(tmp_path, settings):
    other = tmp_path / "other"
    other.mkdir()
    (other / "headway.toml").write_text(
        f'[project]\nname = "other"\n[trust]\ntrusted_keys = "{tmp_path}/trusted.txt"\n'
    )
    add_user(settings.path(settings[UiSection].users), "bob", "viewer")
    with running_dashboard(settings, configuration.load(other)) as served:
        admin = served.visitor("admin")
        page = admin.get("/models/other/settings")
        assert "settings of flights" in page.words and "bob" not in page.words
        answer = admin.post("/models/other/settings/people/add", name="eve", role="admin", reason="x")
        assert answer.status == 400
        assert set(read_users(settings.path(settings[UiSection].users))) == {"bob"}


def test_keys_that_servers_share_are_left_to_the_publisher(settings, tmp_path):
    (tmp_path / "shared").mkdir()
    file = tmp_path / "headway.toml"
    file.write_text(file.read_text().replace("[store]\n", f'[store]\nstate = "file://{tmp_path}/shared"\n'))
    with running_dashboard(configuration.load(tmp_path)) as served:
        admin = served.visitor("admin")
        create_key(tmp_path / "keys.toml", "ci", ["metrics"])
        assert "does not have the publisher" in admin.get(PAGE).words
        assert admin.post(f"{PAGE}/keys/create", name="x", scope="metrics", reason="x").status == 400
        assert admin.post(f"{PAGE}/keys/revoke", name="ci", reason="x").status == 400
        assert not read_keys(tmp_path / "keys.toml")["ci"].revoked
