"""Manage the people of the dashboard: list, add or remove them, or print a link that signs one in once."""

from __future__ import annotations

import sys
from getpass import getpass
from pathlib import Path
from typing import Any, Literal

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.errors import ConfigError
from headway.dashboard.access.sessions import Role
from headway.dashboard.access.users import add_user, create_link, link_address, read_users, remove_user, users_file
from headway.reporting.console import print_result


def plugin(
    action: Literal["list", "add", "remove", "link"] = "list",
    name: str = "",
    *,
    role: Role = "viewer",
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> None:
    """List, add or remove people of a project's dashboard; a running dashboard picks a change up at once.

    A password is asked for on the terminal, or read as a line of standard input. Without one the person signs in by a
    link, and chooses a password then.

    Example: headway users add ada --role operator --project headway-demo
    Example: headway users link ada --project headway-demo

    Parameters
    ----------
    action
        list, add, remove (ends the sessions of the person), or link (prints an address that signs the person in once,
        within 24 hours).
    name
        Name of the person, such as ada or ada@example.org.
    role
        For add: viewer, labeller, operator or admin; each may do what those before it may.
    """
    settings = config.load(project)
    file = users_file(settings)
    value: dict[str, Any]
    if action == "list":
        users = read_users(file)
        width = max(map(len, users), default=0)
        lines = [
            f"{one:{width}}  {user.role}, added {user.made}{'' if user.hash else ', no password yet'}"
            for one, user in users.items()
        ]
        value = {"people": {one: {"role": user.role, "made": user.made} for one, user in users.items()}}
        text = "\n".join(lines) or "no person is known\n  try: headway users add NAME --role admin"
    elif not name:
        raise ConfigError("no name is given", hint=f"headway users {action} NAME")
    elif action == "remove":
        remove_user(file, name)
        value, text = {"removed": name}, f"{name} is removed"
    else:
        password = _read_password(name) if action == "add" else ""
        if action == "add":
            add_user(file, name, role, password=password)
        address = "" if password else link_address(settings, create_link(file, name))
        value = {"name": name, "link": address}
        text = f"{name} signs in once, within 24 hours, by\n  {address}" if address else f"{name} is added as {role}"
    print_result(value, text, json=json, wrap=False)


def _read_password(name: str) -> str:
    """Ask for a password twice, or read a line of standard input; empty: no password."""
    if not sys.stdin.isatty():
        return sys.stdin.readline().rstrip("\r\n")
    password = getpass(f"Password for {name} (empty: a link instead): ")
    if password and password != getpass("Again: "):
        raise ConfigError("the two passwords differ", hint=f"headway users add {name}")
    return password
