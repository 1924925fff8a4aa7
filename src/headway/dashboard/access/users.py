"""People who sign in by name: a file of the project with the role and the hash of the password of each.

The file lies outside the store, and other users of the machine cannot read it. A person without a password signs in by
a link that works once; the file holds the digest of its secret.
"""

from __future__ import annotations

import hashlib
import re
import secrets
import stat
import tomllib
import unicodedata
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Annotated, Any

import msgspec
from msgspec import Meta
from msgspec.structs import replace

from headway.core import plugins
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.dashboard.access.sessions import Role
from headway.monitoring.settings.ui import UiSection
from headway.storage import atomic
from headway.storage.addresses import outside_store

MAX_USERS = 1024
MIN_PASSWORD, MAX_PASSWORD = 12, 256
LINK_LIFE = timedelta(hours=24)
_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.@+-]{0,63}")
_HEAD = "# People of the dashboard, written by `headway users`: roles, and hashes of passwords (argon2id).\n"
_OTHERS = stat.S_IRWXO | stat.S_IWGRP  # a group may read: Kubernetes mounts files of a secret so


class User(Record, frozen=True, kw_only=True):
    """A person: `hash` is empty before there is a password, `link` is the digest of the secret of an unused link."""

    role: Role
    made: str
    hash: str = ""
    link: Annotated[str, Meta(pattern="^([0-9a-f]{64})?$")] = ""
    link_until: str = ""


def users_file(config: Config) -> Path:
    """Return the file of a project's people; raises ConfigError if it is in the store, which others may write."""
    what = "[ui] users is in the store: anyone who can write there could add a person"
    return outside_store(config.path(config[UiSection].users), config, what)


def read_users(file: Path) -> dict[str, User]:
    """Return the people by name; empty if the file is missing. Raises ConfigError, also if others can read the file."""
    try:
        mode = file.stat().st_mode
        tables = tomllib.loads(file.read_text(encoding="utf-8"))
        users = msgspec.convert(tables, dict[str, User])
    except FileNotFoundError:
        return {}
    except (OSError, ValueError, RecursionError, msgspec.ValidationError) as error:
        raise ConfigError(f"cannot read the people of the dashboard: {error}", where=str(file)) from error
    if mode & _OTHERS:
        what = "other users of this machine can read or change the people of the dashboard"
        raise ConfigError(what, where=str(file), hint=f"chmod 600 {file}")
    if wrong := [name for name in users if not _NAME.fullmatch(name)]:
        raise ConfigError(f"invalid name {wrong[0]!r}", where=str(file), hint=_NAMES)
    return users


def add_user(file: Path, name: str, role: Role, *, password: str = "") -> None:
    """Add a person; raises ConfigError if the name is invalid or taken, or the password too short."""
    if not _NAME.fullmatch(name):
        raise ConfigError(f"invalid name {name!r}", hint=_NAMES)
    hashed = hash_password(password) if password else ""
    with _changed(file) as users:
        if name in users:
            raise ConfigError(f"{name} is known already", where=str(file), hint=f"headway users link {name}")
        if len(users) == MAX_USERS:
            raise ConfigError(f"there are {MAX_USERS} people", where=str(file), hint="headway users remove NAME")
        users[name] = User(role=role, made=_now(), hash=hashed)


def remove_user(file: Path, name: str) -> None:
    """Remove a person, whose sessions end; raises ConfigError for an unknown name."""
    with _changed(file) as users:
        _find(users, name, file)
        del users[name]


def set_role(file: Path, name: str, role: Role) -> None:
    """Give a person another role; their sessions end. Raises ConfigError for an unknown name."""
    with _changed(file) as users:
        users[name] = replace(_find(users, name, file), role=role)


def set_password(file: Path, name: str, password: str) -> User:
    """Give a person another password; raises ConfigError for an unknown name or a password that is too short."""
    hashed = hash_password(password)
    with _changed(file) as users:
        users[name] = replace(_find(users, name, file), hash=hashed, link="", link_until="")
        return users[name]


def create_link(file: Path, name: str) -> str:
    """Return the secret of a link that signs a person in once, within `LINK_LIFE`; an older link ends.

    Raises ConfigError for an unknown name.
    """
    secret = secrets.token_urlsafe(32)
    until = datetime.now(UTC) + LINK_LIFE
    with _changed(file) as users:
        users[name] = replace(_find(users, name, file), link=_digest(secret), link_until=f"{until:%Y-%m-%dT%H:%M:%SZ}")
    return secret


def use_link(file: Path, secret: str) -> tuple[str, User] | None:
    """Return the person of a link, and use the link up; None if it is unknown or has expired. Raises ConfigError."""
    digest = _digest(secret)
    if not any(secrets.compare_digest(user.link, digest) for user in read_users(file).values()):
        return None
    with _changed(file) as users:
        for name, user in users.items():
            if secrets.compare_digest(user.link, digest):
                users[name] = replace(user, link="", link_until="")
                return (name, users[name]) if user.link_until > _now() else None
    return None


def link_address(config: Config, secret: str) -> str:
    """Return the address that signs a person in once."""
    settings = config[UiSection]
    host = f"[{settings.host}]" if ":" in settings.host else settings.host
    base = settings.url or f"{'https' if settings.tls_certificate else 'http'}://{host}:{settings.port}"
    return f"{base.rstrip('/')}/sign-in/link?secret={secret}"


def hash_password(password: str) -> str:
    """Return the argon2id hash of a password; raises ConfigError if it is too short or too long."""
    if not MIN_PASSWORD <= len(password) <= MAX_PASSWORD:
        raise ConfigError(
            f"the password has {len(password)} characters",
            hint=f"between {MIN_PASSWORD} and {MAX_PASSWORD}; a few words are easy to remember",
        )
    hashed: str = _passwords().hash_password(_normal(password))
    return hashed


def verify_password(user: User | None, password: str) -> bool:
    """Return whether a person has this password; it takes as long for an unknown person, and for one without."""
    matches: bool = _passwords().verify(user.hash if user else "", _normal(password[: MAX_PASSWORD + 1]))
    return matches


_NAMES = "up to 64 letters, digits and _.@+-, such as ada or ada@example.org"


def _passwords() -> Any:
    return plugins.load_sibling(__name__, "passwords", reads="a password")


def _normal(password: str) -> str:
    """Return a password in one form of Unicode: keyboards differ in how they send an accent."""
    return unicodedata.normalize("NFKC", password)


@contextmanager
def _changed(file: Path) -> Iterator[dict[str, User]]:
    """Yield the people, and write what the block made of them; one process at a time does so."""
    with atomic.locked(file.parent):
        users = read_users(file)
        before = dict(users)
        yield users
        if users != before:
            text = _HEAD + "".join(_table(name, user) for name, user in users.items())
            atomic.write(file, text.encode(), mode=0o600)


def _table(name: str, user: User) -> str:
    fields = {field: text for field, text in msgspec.to_builtins(user).items() if text}
    lines = [f"\n[{_string(name)}]", *(f"{field} = {_string(text)}" for field, text in fields.items())]
    return "\n".join(lines) + "\n"


def _string(text: str) -> str:
    """Return a TOML string; a JSON string is one."""
    return msgspec.json.encode(text).decode()


def _find(users: Mapping[str, User], name: str, file: Path) -> User:
    if name not in users:
        raise ConfigError(f"no person {name!r}", where=str(file), hint=f"known: {', '.join(users) or 'none'}")
    return users[name]


def _digest(secret: str) -> str:
    return hashlib.sha256(secret.encode()).hexdigest()


def _now() -> str:
    return f"{datetime.now(UTC):%Y-%m-%dT%H:%M:%SZ}"
