"""The command that lists, adds and removes people of the dashboard, and prints links for them."""

from __future__ import annotations

import io
import json
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from headway.cli import main as cli
from headway.dashboard.access.users import read_users, use_link, verify_password

pytestmark = pytest.mark.slow
PASSWORD = "correct horse battery"


@pytest.fixture
def run(tmp_path, capsys, monkeypatch):
    (tmp_path / "headway.toml").touch()

    def run(*words: str, typed: str = "", code: int = cli.PASS) -> str:
        monkeypatch.setattr(sys, "stdin", io.StringIO(typed))
        with pytest.raises(SystemExit) as ended:
            cli.main(["users", *words, "--project", str(tmp_path)])
        assert ended.value.code == code
        printed = capsys.readouterr()
        return printed.out if code == cli.PASS else printed.err

    return run


def test_a_person_is_added_with_a_password_from_standard_input_listed_and_removed(run, tmp_path):
    assert "try: headway users add NAME" in run()
    assert run("add", "ada", "--role", "operator", typed=f"{PASSWORD}\n") == "ada is added as operator\n"
    assert verify_password(read_users(tmp_path / "users.toml")["ada"], PASSWORD)
    assert "ada  operator, added 20" in run()
    assert "known already" in run("add", "ada", typed=f"{PASSWORD}\n", code=cli.USAGE)
    assert "has 5 characters" in run("add", "bob", typed="short\n", code=cli.USAGE)
    assert run("remove", "ada") == "ada is removed\n"
    assert "no person 'ada'" in run("remove", "ada", code=cli.USAGE)
    assert "no name is given" in run("remove", code=cli.USAGE)


def test_without_a_password_a_link_is_printed_and_again_on_demand(run, tmp_path):
    text = run("add", "ada", "--role", "viewer")
    assert "http://127.0.0.1:8090/sign-in/link?secret=" in text
    assert "no password yet" in run()
    found = json.loads(run("link", "ada", "--json"))
    assert use_link(tmp_path / "users.toml", text.strip().partition("=")[2]) is None
    assert use_link(tmp_path / "users.toml", found["link"].partition("=")[2])[0] == "ada"
    listed = json.loads(run("--json"))
    assert listed["people"]["ada"]["role"] == "viewer" and "hash" not in listed["people"]["ada"]


@pytest.mark.parametrize(
    ("again", "shown"), [(PASSWORD, "ada is added as admin"), ("another", "the two passwords differ")]
)
def test_a_terminal_asks_twice_and_shows_nothing_of_the_password(tmp_path, again, shown):
    (tmp_path / "headway.toml").touch()
    command = [
        sys.executable,
        "-m",
        "headway.cli",
        "users",
        "add",
        "ada",
        "--role",
        "admin",
        "--project",
        str(tmp_path),
    ]
    ours, theirs = pty.openpty()
    with subprocess.Popen(command, stdin=theirs, stdout=theirs, stderr=theirs, start_new_session=True):
        os.close(theirs)
        screen = until(ours, "instead): ")
        os.write(ours, f"{PASSWORD}\n".encode())
        screen += until(ours, "Again: ")
        os.write(ours, f"{again}\n".encode())
        screen += until(ours, shown)
    os.close(ours)
    assert PASSWORD not in screen and again not in screen
    assert Path(tmp_path / "users.toml").exists() == (again == PASSWORD)


def until(terminal: int, text: str) -> str:
    found = ""
    while text not in found:
        found += os.read(terminal, 1024).decode()
    return found
