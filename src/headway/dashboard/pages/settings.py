"""Settings: the configuration that applies and where each value comes from, API keys, and people with their roles."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import get_args

import msgspec

from headway.core import config
from headway.core.errors import ConfigError
from headway.core.settings.store import StoreSection
from headway.dashboard.access.sessions import ROLES, Role
from headway.dashboard.access.users import (
    add_user,
    create_link,
    read_users,
    remove_user,
    set_role,
    users_file,
)
from headway.dashboard.page import Action, BadInput, Call, Page, Redirect, Rendered, Reply, View
from headway.dashboard.pages.account import ABOUT_ROLES
from headway.registry.project import Project
from headway.serving.auth.keys import Scope, create_key, keys_file, read_keys, revoke_key
from headway.serving.settings.oidc import OidcSection

_PATH = "/models/{model}/settings"
ABOUT_SCOPES: dict[Scope, str] = {
    "predict": "send rows and get predictions",
    "label": "send labels; sign in here as a labeller",
    "metrics": "read metrics of servers",
    "operate": "load and unload models; sign in here as an operator",
    "push": "send rows of feature views",
    "device": "report as the device of this name, and ship its log",
}


@dataclass(frozen=True, slots=True, kw_only=True)
class SettingRow:
    """A setting with its value, which may be that of an older file, and its source."""

    name: str
    value: str
    source: str
    help: str
    is_stale: bool


def _settings(call: Call) -> Reply:
    return _page(call)


def _page(call: Call, *, secret: str = "", made: str = "") -> Reply:
    """Return the page; `secret` is an API key or the address of a link, which is shown this once."""
    project = call.project
    found = settings_of(project)
    sections: dict[str, list[SettingRow]] = {}
    for setting in found:
        sections.setdefault(setting.name.partition(".")[0], []).append(setting)
    is_first = project.name == next(iter(call.dashboard.projects))
    values = {
        "chosen": [setting for setting in found if setting.source != "default"],
        "stale": any(setting.is_stale for setting in found),
        "sections": sections,
        "keys": read_keys(keys_file(project.config)),
        "scopes": ABOUT_SCOPES,
        "are_shared": bool(project.config[StoreSection].state),
        "people": read_users(users_file(project.config)) if is_first else {},
        "is_first": is_first,
        "first": next(iter(call.dashboard.projects)),
        "about_roles": ABOUT_ROLES,
        "issuer": project.config[OidcSection],
        "secret": secret,
        "made": made,
    }
    return Rendered(template="settings.html", values=values)


def settings_of(project: Project) -> Sequence[SettingRow]:
    """Return every setting that this process runs with, and the source of its value; no value is a secret."""
    folder = Path(project.config.folder)
    now = config.effective(folder)
    found = []
    for name, (_, source) in now.items():
        section, _, field = name.partition(".")
        value = config.masked(msgspec.to_builtins(getattr(project.config[config.section_of(section)], field)))
        is_stale = value != now[name][0]
        found.append(
            SettingRow(
                name=name,
                value=_text(value),
                source="flag, or an older file" if is_stale else source,
                help=config.described(name),
                is_stale=is_stale,
            )
        )
    return found


def _text(value: object) -> str:
    """Return a value as it stands in a TOML file; for a table, as JSON."""
    return msgspec.json.encode(value).decode() if value not in ("", [], {}) else "empty"


def _create_key(call: Call) -> Reply:
    name, reason = call.text("name", what="the name of the key"), call.reason()
    scopes = [scope for scope in call.lists.get("scope", ()) if scope in get_args(Scope)]
    if not scopes:
        raise BadInput("no use of the key is chosen", hint="choose what the key is for")
    _expect_own_keys(call)
    file = keys_file(call.project.config)
    with _form_errors():
        key = create_key(file, name, scopes)  # type: ignore[arg-type]
    call.save_action("key.created", subject=name, reason=reason, outcome=f"it may {', '.join(scopes)}")
    return _page(call, secret=key, made=f"API key {name}")


def _revoke_key(call: Call) -> Reply:
    name, reason = call.text("name", what="the name of the key"), call.reason()
    _expect_own_keys(call)
    with _form_errors():
        revoke_key(keys_file(call.project.config), name)
    call.save_action("key.revoked", subject=name, reason=reason)
    return _back(call, f"The API key {name} is revoked. Its sessions have ended.")


def _expect_own_keys(call: Call) -> None:
    """Refuse to change keys that servers share: their list needs the publisher's signature."""
    if call.project.config[StoreSection].state:
        raise BadInput(
            "the API keys of servers that share a store are signed by the publisher, whose key is not here",
            hint="headway api-keys, where the publisher's key is",
        )


def _add_person(call: Call) -> Reply:
    name, role, reason = call.text("name", what="the name of the person"), _role(call), call.reason()
    file = _people(call)
    with _form_errors():
        add_user(file, name, role)
    call.save_action("person.added", subject=name, reason=reason, outcome=f"with the role {role}")
    return _page(call, secret=_link(call, file, name), made=f"Link for {name}")


def _change_role(call: Call) -> Reply:
    name, role, reason = call.text("name", what="the name of the person"), _role(call), call.reason()
    with _form_errors():
        set_role(_people(call), name, role)
    call.save_action("person.role", subject=name, reason=reason, outcome=f"with the role {role}")
    return _back(call, f"{name} has the role {role} from now on.")


def _remove_person(call: Call) -> Reply:
    name, reason = call.text("name", what="the name of the person"), call.reason()
    with _form_errors():
        remove_user(_people(call), name)
    call.save_action("person.removed", subject=name, reason=reason)
    return _back(call, f"{name} is removed. Their sessions have ended.")


def _link_person(call: Call) -> Reply:
    name, reason = call.text("name", what="the name of the person"), call.reason()
    with _form_errors():
        address = _link(call, _people(call), name)
    call.save_action("person.link", subject=name, reason=reason)
    return _page(call, secret=address, made=f"Link for {name}")


def _link(call: Call, file: Path, name: str) -> str:
    return f"{call.base}/sign-in/link?secret={create_link(file, name)}"


@contextmanager
def _form_errors() -> Iterator[None]:
    """Turn what the file of people or of keys refuses into an error of the form."""
    try:
        yield
    except ConfigError as error:
        raise BadInput(error.what, hint=error.hint or "choose another name") from error


def _people(call: Call) -> Path:
    """Return the file of people, which is that of the first project; raises BadInput for another."""
    if call.project.name != next(iter(call.dashboard.projects)):
        raise BadInput("people sign in to the whole dashboard", hint="see the settings of its first model")
    return users_file(call.project.config)


def _role(call: Call) -> Role:
    role = call.form.get("role", "")
    if role not in ROLES:
        raise BadInput("no role is chosen", hint=f"one of: {', '.join(ROLES)}")
    return role


def _back(call: Call, message: str) -> Reply:
    return Redirect(path=f"/models/{call.project.name}/settings", message=message)


plugin = Page(
    views=[View(_PATH, _settings, role="admin")],
    actions=[
        Action(f"{_PATH}/keys/create", _create_key, role="admin"),
        Action(f"{_PATH}/keys/revoke", _revoke_key, role="admin"),
        Action(f"{_PATH}/people/add", _add_person, role="admin"),
        Action(f"{_PATH}/people/role", _change_role, role="admin"),
        Action(f"{_PATH}/people/remove", _remove_person, role="admin"),
        Action(f"{_PATH}/people/link", _link_person, role="admin"),
    ],
    tab="Settings",
    order=90,
)
