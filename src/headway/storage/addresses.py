"""Open the stores of a project, each at its address in [store]; an empty address is a folder of the project.

A plug-in that opens addresses declares their form, such as `ADDRESS = "postgresql://USER@HOST/DATABASE"`, and is named
as their scheme.
"""

from __future__ import annotations

import threading
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any
from urllib.parse import unquote, urlsplit

from headway.core import plugins
from headway.core.config import Config, expect_no_password
from headway.core.contracts import Blobs, Feed, OnlineStore, SharedReleases, State
from headway.core.errors import ConfigError, StoreError
from headway.core.feature_view import FeatureView
from headway.core.settings.store import StoreSection

if TYPE_CHECKING:
    from headway.storage._shared_logs import SharedLogs

_FOLDER = "the folder of [project] state"
_DEFAULTS = {"state": _FOLDER, "blobs": _FOLDER, "logs": _FOLDER, "feed": "no feed", "online": _FOLDER}


def open_state(config: Config) -> State:
    """Open the pointers and records of a project; raises ConfigError for an address that no plug-in opens."""
    address = config[StoreSection].state
    if not address:
        return plugins.load_state("sqlite")(config.state)
    name = plugin_of("state", address, role="state")
    with plugins.guarded("state", name):
        return plugins.load_state(name)(address)


def open_blobs(config: Config) -> Blobs:
    """Open the blobs of a project.

    Raises ConfigError for an address that no plug-in opens, and StoreError if its server does not do what blobs need;
    a folder of the project remembers that it was asked.
    """
    address = config[StoreSection].blobs
    if not address:
        return plugins.load_blobs("files")(config.state / "blobs")
    name = plugin_of("blobs", address, role="blobs")
    with plugins.guarded("blobs", name):
        blobs = plugins.load_blobs(name)(address)
        if hasattr(blobs, "require_usable"):
            blobs.require_usable(config.state)
        return blobs


def open_releases(config: Config) -> SharedReleases | None:
    """Open the releases that machines share at the address of the blobs; None if they lie in the project's folder."""
    blobs = open_blobs(config) if config[StoreSection].blobs else None
    return blobs if isinstance(blobs, SharedReleases) else None


def open_feed(config: Config) -> Feed | None:
    """Open the change feed of a project; None without an address. It connects with its first call."""
    address = config[StoreSection].feed
    if not address:
        return None
    name = plugin_of("feed", address, role="feed")
    with plugins.guarded("feed", name):
        return plugins.load_feed(name)(address)


def online_folder(state: Path) -> Path:
    """Return the folder of the online tables of feature views."""
    return state / "online"


def open_online(config: Config) -> OnlineStore:
    """Open the online store of a project, which connects with its first call."""
    address = config[StoreSection].online
    if not address:
        return plugins.load_online_store("sqlite")(online_folder(config.state))
    name = plugin_of("online_store", address, role="online")
    with plugins.guarded("online_store", name):
        return plugins.load_online_store(name)(address)


def views_without_table(store: OnlineStore, views: Sequence[FeatureView]) -> list[FeatureView]:
    """Return the views of which a table is missing in the online store."""
    there = store.tables()
    return [view for view in views if not there.keys() >= {*view.online_tables}]


def no_table_error(view: FeatureView, where: str) -> StoreError:
    """Return the error of a view without a table, with the command that makes it."""
    tables = "' or '".join(view.online_tables)
    return StoreError(
        f"view '{view.reference}' has no table in the online store: '{tables}' is missing",
        where=where,
        hint=f"headway features materialize {view.name}",
    )


class LateState:
    """A state on another machine that is opened by its first use, and again by the next one if that fails."""

    def __init__(self, config: Config) -> None:
        self._config = config
        self._lock = threading.Lock()
        self._opened: State | None = None

    def __getattr__(self, name: str) -> Any:
        """Open the state, and return its method."""
        with self._lock:
            if self._opened is None:
                self._opened = open_state(self._config)
        return getattr(self._opened, name)

    def close(self) -> None:
        """Close the state if it was opened."""
        if self._opened is not None:
            self._opened.close()


def open_logs(config: Config) -> SharedLogs | None:
    """Open log and labels that machines share; None if they lie in the project's folder.

    Raises ConfigError for an address that is not one of S3, and StoreError as `open_blobs` does.
    """
    address = config[StoreSection].logs
    if not address:
        return None
    plugin_of("blobs", address, role="logs")
    logs: SharedLogs = plugins.load_sibling(__name__, "shared_logs", reads="[store] logs").SharedLogs(
        address, config.state
    )
    logs.require_usable()
    return logs


def log_root(config: Config, *names: str) -> Path:
    """Return the folder in which log and labels of some names, or of all, are found, up to date.

    It is the state folder, or the cache of what machines share.
    """
    logs = open_logs(config)
    return config.state if logs is None else logs.refresh(*names)


def plugin_of(kind: str, address: str, *, role: str) -> str:
    """Return the name of the plug-in that opens the address of a role (a setting of [store]).

    Raises ConfigError, which lists the known forms, for an unknown scheme, and for an address with a password.
    """
    expect_no_password(address, role, where=f"[store] {role}")
    forms = known_addresses(kind)
    scheme, separator, _ = address.partition("://")
    if separator and scheme in forms:
        return scheme
    what = f"no store for {role} is known by the scheme {scheme!r}" if separator else f"{address!r} is not an address"
    raise ConfigError(
        what,
        where=f"[store] {role}",
        hint=f"one of: {', '.join(forms.values())}, or leave it empty for {_DEFAULTS[role]}"
        if forms
        else f"leave it empty: {_DEFAULTS[role]}",
    )


def folder_of(address: str) -> Path:
    """Return the folder of an address `file:///FOLDER`; raises ConfigError if it names none of this machine."""
    parts = urlsplit(address)
    folder = Path(unquote(parts.path))
    if parts.scheme != "file" or parts.netloc not in {"", "localhost"} or len(folder.parts) < 2 or parts.query:
        raise ConfigError(
            f"{address!r} is not the address of a folder", where="[store] state", hint="file:///FOLDER, a complete path"
        )
    return folder


def is_in_store(path: Path, config: Config) -> bool:
    """Return whether a file lies in a folder of the stores, which others may be able to write."""
    address = config[StoreSection].state
    folders = [config.state, *([folder_of(address)] if address.startswith("file:") else [])]
    return any(path.resolve().is_relative_to(folder.resolve()) for folder in folders)


def outside_store(path: Path, config: Config, what: str, *, where: str = "") -> Path:
    """Return the path of a file with keys or secrets; raises ConfigError, which says `what`, if it is in the store."""
    if is_in_store(path, config):
        raise ConfigError(what, where=where or str(path), hint="move it out of the store")
    return path


def known_addresses(kind: str) -> dict[str, str]:
    """Return the form of the addresses that the plug-ins of a kind open, by their scheme."""
    forms = {name: plugins.declaration(kind, name, "ADDRESS", "") for name in plugins.names(kind)}
    return {name: form for name, form in forms.items() if form}
