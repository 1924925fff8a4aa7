"""The file of people: who is in it, how it is protected, and links that work once."""

from __future__ import annotations

import os
import stat
from datetime import timedelta

import pytest

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.settings.project import ProjectSection
from headway.dashboard.access import _passwords, users
from headway.dashboard.access.users import (
    add_user,
    create_link,
    link_address,
    read_users,
    remove_user,
    set_password,
    set_role,
    use_link,
    users_file,
    verify_password,
)
from headway.monitoring.settings.ui import UiSection

PASSWORD = "correct horse battery"


@pytest.fixture
def file(tmp_path):
    return tmp_path / "users.toml"


@pytest.mark.slow
def test_a_person_has_a_role_and_the_password_that_was_set(file):
    add_user(file, "ada@example.org", "operator", password=PASSWORD)
    (user,) = read_users(file).values()
    assert (user.role, verify_password(user, PASSWORD), verify_password(user, "wrong horse battery")) == (
        "operator",
        True,
        False,
    )
    assert PASSWORD not in file.read_text()
    assert stat.S_IMODE(file.stat().st_mode) == 0o600
    set_password(file, "ada@example.org", "another long password")
    set_role(file, "ada@example.org", "admin")
    (user,) = read_users(file).values()
    assert (user.role, verify_password(user, PASSWORD), verify_password(user, "another long password")) == (
        "admin",
        False,
        True,
    )
    remove_user(file, "ada@example.org")
    assert read_users(file) == {}


def test_an_unknown_person_and_one_without_a_password_have_no_password(file):
    add_user(file, "ada", "viewer")
    for password in ("", PASSWORD):
        assert not verify_password(None, password)
        assert not verify_password(read_users(file)["ada"], password)


def test_an_accent_is_the_same_however_a_keyboard_sends_it(file):
    add_user(file, "ada", "viewer", password="caf\u00e9 cr\u00e8me br\u00fbl\u00e9e")
    assert verify_password(read_users(file)["ada"], "cafe\u0301 cre\u0300me bru\u0302le\u0301e")


@pytest.mark.parametrize("password", ["short", "x" * 300])
def test_a_password_of_another_length_is_refused(file, password):
    with pytest.raises(ConfigError, match=f"has {len(password)} characters"):
        add_user(file, "ada", "viewer", password=password)
    assert not file.exists()


@pytest.mark.parametrize("name", ["", " ada", "key ci", "a\nb", "<b>", "x" * 65, "-ada"])
def test_a_name_that_could_be_mistaken_is_refused(file, name):
    with pytest.raises(ConfigError, match="invalid name"):
        add_user(file, name, "viewer")


def test_a_name_is_taken_once_and_an_unknown_one_is_an_error(file):
    add_user(file, "ada", "viewer")
    with pytest.raises(ConfigError, match="known already"):
        add_user(file, "ada", "admin")
    for change in (remove_user, create_link):
        with pytest.raises(ConfigError, match="no person 'bob'"):
            change(file, "bob")


def test_there_is_a_limit_to_people(file, monkeypatch):
    monkeypatch.setattr(users, "MAX_USERS", 1)
    add_user(file, "ada", "viewer")
    with pytest.raises(ConfigError, match="1 people"):
        add_user(file, "bob", "viewer")


def test_a_link_signs_in_once_and_a_new_one_ends_the_old_one(file):
    add_user(file, "ada", "viewer")
    old, secret = create_link(file, "ada"), create_link(file, "ada")
    assert secret not in file.read_text()
    assert use_link(file, old) is None and use_link(file, "") is None
    name, user = use_link(file, secret)
    assert (name, user.role) == ("ada", "viewer")
    assert use_link(file, secret) is None


def test_a_link_expires(file, monkeypatch):
    monkeypatch.setattr(users, "LINK_LIFE", timedelta(seconds=-1))
    add_user(file, "ada", "viewer")
    assert use_link(file, create_link(file, "ada")) is None


def test_a_link_has_the_address_that_people_open():
    assert link_address(Config(UiSection(host="::1", port=1)), "s") == "http://[::1]:1/sign-in/link?secret=s"
    secure = Config(UiSection(tls_certificate="a.pem"))
    assert link_address(secure, "s") == "https://127.0.0.1:8090/sign-in/link?secret=s"
    declared = Config(UiSection(url="https://headway.example/"))
    assert link_address(declared, "s") == "https://headway.example/sign-in/link?secret=s"


@pytest.mark.parametrize("mode", [0o604, 0o602, 0o620])
def test_a_file_that_others_can_read_or_change_is_refused(file, mode):
    add_user(file, "ada", "viewer")
    os.chmod(file, mode)
    with pytest.raises(ConfigError, match="other users of this machine"):
        read_users(file)
    os.chmod(file, 0o640)  # a secret of Kubernetes
    assert set(read_users(file)) == {"ada"}


@pytest.mark.parametrize(
    "text", ["[ada", '[ada]\nrole = "king"\nmade = ""', '["<b>"]\nrole = "admin"\nmade = ""', "\xff"]
)
def test_a_damaged_file_is_an_error(file, text):
    file.write_bytes(text.encode("latin-1"))
    file.chmod(0o600)
    with pytest.raises(ConfigError) as refused:
        read_users(file)
    assert str(file) in str(refused.value)


def test_a_file_in_the_store_is_refused(tmp_path):
    config = Config(ProjectSection(state="."), UiSection(users="users.toml"), folder=str(tmp_path))
    with pytest.raises(ConfigError, match="in the store"):
        users_file(config)


def test_one_password_is_verified_at_a_time_and_a_long_wait_is_an_error(monkeypatch):
    monkeypatch.setattr(_passwords, "_WAIT_S", 0.01)
    with _passwords._ONE_AT_A_TIME, pytest.raises(_passwords.Busy):
        _passwords.verify("", PASSWORD)
    assert not _passwords.verify("no hash", PASSWORD)
