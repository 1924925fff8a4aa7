"""Every store where rows of a key are kept: how each is erased, read for the person, and searched afterwards.

`headway erase` and `headway access` go through this one list, so that neither can miss what the other reaches. A store
on another machine that does not answer is reported as not reached, and nothing is called erased then.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import AbstractContextManager, ExitStack, closing, nullcontext
from functools import partial
from itertools import chain
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar, Protocol, TypeVar

import polars as pl

from headway.core.contracts import OnlineStore
from headway.core.erasure import Residual, SearchedStore
from headway.core.errors import StoreUnavailable
from headway.core.record import digest_of
from headway.core.settings.store import StoreSection
from headway.monitoring.erasure import files
from headway.monitoring.erasure.files import AffectedFile, ErasureTarget, file_digest
from headway.registry.project import Project
from headway.registry.stores import all_records
from headway.storage import atomic, segments, traffic
from headway.storage.addresses import open_blobs, open_logs, open_online
from headway.storage.messages import message_files

if TYPE_CHECKING:
    from headway.storage._shared_logs import SharedLogs

ONLINE = "online"
Result = TypeVar("Result")
Rows = Iterator[tuple[str, dict[str, Any]]]
"""Rows that are kept, each with its location."""


class Notes(Protocol):
    """What an erasure changes is noted before it is changed."""

    def note(self, file: AffectedFile) -> AbstractContextManager[None]:
        """Record that the block changes a file; it does not count if the store stops answering in the block."""
        ...


class RowStore(ABC):
    """A store of a project that may hold rows of a key."""

    name: ClassVar[str]

    def __init__(self, project: Project) -> None:
        self.project = project
        self.state = project.config.state

    def lock(self, stack: ExitStack) -> None:  # noqa: B027 - most stores need no lock
        """Lock out other processes that rewrite this store, until the stack ends."""

    def erase(self, target: ErasureTarget, journal: Notes) -> None:  # noqa: B027 - some stores hold only copies
        """Erase what a target names, each file noted first."""

    def read(self, keys: Sequence[str]) -> Rows:
        """Yield the rows of these keys."""
        yield from ()

    @abstractmethod
    def search(self, keys: Sequence[str]) -> tuple[int, tuple[Residual, ...]]:
        """Search the complete store; return how many files, tables, objects or records were read, and what is left."""


class SharedSegments(RowStore):
    """The log and the labels that machines share on S3; what is read of them lies in the cache of this machine."""

    name = "logs"
    _logs: SharedLogs | None = None
    _renew_lock: Callable[[], None] | None = None

    @property
    def logs(self) -> SharedLogs:
        """The shared segments, opened by the first use."""
        if self._logs is None:
            self._logs = open_logs(self.project.config)
        assert self._logs is not None
        return self._logs

    def lock(self, stack: ExitStack) -> None:
        """Lock the segments on all machines."""
        self._renew_lock = stack.enter_context(self.logs.rewriting(wait=True))

    def erase(self, target: ErasureTarget, journal: Notes) -> None:
        """Rewrite or delete segments, and delete the old versions of what was ever replaced."""
        cache = self.logs.refresh()
        for file in files.affected_files(cache, target):
            with journal.note(file):
                if files.is_expired(cache / file.path, target):
                    self.logs.delete(file.path)
                else:
                    self.logs.rewrite(file.path, by=partial(files.erase_rows, cache, file, target))
            if self._renew_lock:
                self._renew_lock()
        self.logs.refresh()
        self.logs.delete_old_versions()

    def read(self, keys: Sequence[str]) -> Rows:
        """Yield the rows of the shared log and labels."""
        cache, target = self.logs.refresh(), ErasureTarget(keys=tuple(keys))
        for file in files.affected_files(cache, target):
            yield from ((file.location, row) for row in files.rows_of_keys(cache, file, target))

    def search(self, keys: Sequence[str]) -> tuple[int, tuple[Residual, ...]]:
        """Bring the cache up to date; the search of the folder reads it byte by byte."""
        self.logs.refresh()
        return sum(1 for _ in self.logs.paths()), ()


class StateFolder(RowStore):
    """The folder of the store: log, labels, messages, quarantine, tables of Explore, online tables, models, records."""

    name = "folder"

    def erase(self, target: ErasureTarget, journal: Notes) -> None:
        """Record and rewrite each file that holds rows to erase, and remove partial files of killed processes."""
        for folder in (*(self.state / "log").glob("*"), self.state / "labels"):
            atomic.sweep(folder)
        for file in files.affected_files(self.state, target):
            with journal.note(file):
                files.erase_rows(self.state, file, target)
        for path in _message_files(self.state, target):
            with journal.note(self._message(path)):
                path.unlink(missing_ok=True)
                atomic.sync(path.parent)

    def read(self, keys: Sequence[str]) -> Rows:
        """Yield rows of log, labels, quarantine and online tables, and messages."""
        target = ErasureTarget(keys=tuple(keys))
        for file in files.affected_files(self.state, target):
            yield from ((file.location, row) for row in files.rows_of_keys(self.state, file, target))
        for path in _message_files(self.state, target):
            yield self._message(path).location, json.loads(path.read_bytes())["record"]

    def search(self, keys: Sequence[str]) -> tuple[int, tuple[Residual, ...]]:
        """Search every file of the store: byte by byte, and quarantined rows value by value."""
        there = _all_files(self.state)
        searched = [path for path in there if not _is_database_file(self.state, path)]
        found = [residual for path in searched if (residual := _residual_of_file(self.state, path, keys))]
        return len(there), tuple(_merge_residuals([*found, *_residuals_of_database(self.state, keys)]))

    def _message(self, path: Path) -> AffectedFile:
        location = str(path.parent.relative_to(self.state))
        return AffectedFile(path=str(path.relative_to(self.state)), location=location, rows=1, before=file_digest(path))


class OnlineServer(RowStore):
    """The online store that machines share: rows, states and the strings of vocabularies."""

    name = "online"

    def erase(self, target: ErasureTarget, journal: Notes) -> None:
        """Erase the rows of keys, and strings that equal one; rows have no age here."""
        if not target.keys:
            return
        with closing(open_online(self.project.config)) as store:
            for table in _tables(store):
                found = files.online_keys(store, table, target.keys)
                path, before = f"{ONLINE}/{table}", digest_of(f"{len(found)} rows".encode())  # no hash of keys
                file = AffectedFile(path=path, location=path, rows=len(found), before=before)
                with journal.note(file) if found else nullcontext():
                    store.delete(table, [*target.keys, *found])

    def read(self, keys: Sequence[str]) -> Rows:
        """Yield the rows and states of these keys."""
        with closing(open_online(self.project.config)) as store:
            for table in _tables(store):
                yield from ((f"{ONLINE}/{table}", row) for row in files.read_online(store, table, keys))

    def search(self, keys: Sequence[str]) -> tuple[int, tuple[Residual, ...]]:
        """Search all tables for rows that were pushed again since."""
        with closing(open_online(self.project.config)) as store:
            found = {table: len(files.online_keys(store, table, keys)) for table in _tables(store)}
        return len(found), tuple(
            Residual(location=f"{ONLINE}/{table}", times=times, why=WRITTEN_SINCE)
            for table, times in found.items()
            if times
        )


class SharedBlobs(RowStore):
    """Models and releases that machines share: they are never changed, only searched."""

    name = "blobs"

    def search(self, keys: Sequence[str]) -> tuple[int, tuple[Residual, ...]]:
        """Search every blob, and every file of the releases of this name."""
        blobs, shared, name = open_blobs(self.project.config), self.project.registry.shared, self.project.name
        loaded = (shared.load_release(name, digest) for digest in shared.releases(name)) if shared else ()
        released = (content for release in loaded for content in (release or {}).values())
        n_blobs, of_blobs = _search_contents("blobs", map(blobs.get, blobs.digests()), keys, why=WHY["blobs"])
        n_released, of_releases = _search_contents("releases", released, keys, why=WHY["releases"])
        return n_blobs + n_released, (*of_blobs, *of_releases)


class SharedState(RowStore):
    """The pointers and records that machines share: signatures and digests cover them, so they are only searched."""

    name = "database"

    def search(self, keys: Sequence[str]) -> tuple[int, tuple[Residual, ...]]:
        """Search every record and pointer update."""
        records = (saved.content for saved in all_records(self.project.state))
        updates = (signed.content for signed in self.project.state.updates())
        return _search_contents(self.name, chain(records, updates), keys, why=WHY[DATABASE])


def open_row_stores(project: Project) -> tuple[RowStore, ...]:
    """Return the stores of a project, in the order in which they are erased and searched.

    The segments on S3 come before the folder, which holds their copies.
    """
    store = project.config[StoreSection]
    used: dict[type[RowStore], bool] = {
        SharedSegments: bool(store.logs),
        StateFolder: True,
        OnlineServer: bool(store.online),
        SharedBlobs: bool(store.blobs),
        SharedState: bool(store.state),
    }
    return tuple(store(project) for store, is_used in used.items() if is_used)


class Reach:
    """Which stores answered: one that did not is left out of every later step."""

    def __init__(self) -> None:
        self.failures: dict[str, str] = {}

    def attempt(self, store: RowStore, work: Callable[[], Result]) -> Result | None:
        """Do a step at a store; None if its server does not answer, now or in an earlier step."""
        if store.name in self.failures:
            return None
        try:
            return work()
        except StoreUnavailable as error:
            self.failures[store.name] = error.what
            return None

    def searched(self, store: RowStore, n_searched: int) -> SearchedStore:
        """Return what the proof says of a store."""
        failure = self.failures.get(store.name, "")
        return SearchedStore(name=store.name, n_searched=n_searched, is_reached=not failure, why=failure)


def search_stores(
    stores: Sequence[RowStore], keys: Sequence[str], reach: Reach
) -> tuple[tuple[SearchedStore, ...], tuple[Residual, ...]]:
    """Search all stores for the keys; return what was searched, and what is left where."""
    searched: list[SearchedStore] = []
    residuals: list[Residual] = []
    for store in stores:
        n, found = reach.attempt(store, partial(store.search, keys)) or (0, ())
        searched.append(reach.searched(store, n))
        residuals += found
    return tuple(searched), tuple(residuals)


def _search_contents(
    location: str, contents: Iterable[bytes], keys: Sequence[str], *, why: str
) -> tuple[int, tuple[Residual, ...]]:
    """Count contents, and the keys in them; `why` is the reason of keys that are not a part of longer words."""
    n = times = alone = 0
    for content in contents:
        n += 1
        times += files.count_in(content, keys)
        alone += files.count_in(content, keys, alone=True)
    if not times:
        return n, ()
    return n, (Residual(location=location, times=times, why=why if alone else PART_OF_WORD, is_other=not alone),)


def _all_files(folder: Path) -> list[Path]:
    """Return every file below a folder, also behind links to other folders, of which each is entered once."""
    found, entered = list[Path](), set[str]()
    for parent, folders, names in os.walk(folder, followlinks=True):
        if (target := os.path.realpath(parent)) in entered:
            folders.clear()
            continue
        entered.add(target)
        folders.sort(key=lambda name: Path(parent, name).is_symlink())  # a folder here is named by its own path
        found += [Path(parent, name) for name in names]
    return sorted(path for path in found if path.is_file())


def _tables(store: OnlineStore) -> list[str]:
    """Return the tables of an online store, and those of which all rows are staged."""
    return list(dict.fromkeys([*store.tables(), *store.tables(staged=True)]))


def _message_files(state: Path, target: ErasureTarget) -> list[Path]:
    """Return the files of the messages of customers that are erased with a key, or by their age."""
    if target.keys:
        return [path for key in target.keys for path in message_files(state, key=key)]
    return list(message_files(state, before_ns=target.before_ns))


OTHER_KEYS = "it is part of other keys there"
PART_OF_WORD = "its characters are part of longer words or numbers there"
WRITTEN_SINCE = "it was requested, labeled or written again since"
WHY = {
    "log": WRITTEN_SINCE,
    "labels": WRITTEN_SINCE,
    "messages": "a message with another key contains it: headway erase, for the key of that message",
    "releases": "a signed release that can be rolled back to contains it",
    "blobs": "a model, a release or the sample of an assessment contains it",
    "state.sqlite": "a record contains it that verdicts and signatures cover",
}
UNKNOWN_FILE = "headway does not write here"
BY_NAME = ("log", "labels", "messages", traffic.QUARANTINE, ONLINE)
"""Folders with a folder for each model or table, which a location names."""
DATABASE = "state.sqlite"
# Closing a file of a database releases all POSIX locks of the process on it, SQLite's too. The state is open here, so
# its files are read by another process. Keys are passed by stdin, which no process list shows.
_COUNT = """
import json, sys
from pathlib import Path
from headway.monitoring.erasure.byte_search import count_bytes, map_file
paths, keys = json.load(sys.stdin)
counts = []
for path in paths:
    with map_file(Path(path)) as content:
        counts.append([count_bytes(content, keys), count_bytes(content, keys, alone=True)])
print(json.dumps(counts))
"""


def _is_database_file(state: Path, path: Path) -> bool:
    return path.parent == state and path.name.startswith(DATABASE)


def _residuals_of_database(state: Path, keys: Sequence[str]) -> list[Residual]:
    paths = [str(path) for path in sorted(state.glob(f"{DATABASE}*"))]
    arguments = json.dumps([paths, list(keys)])
    run = subprocess.run([sys.executable, "-c", _COUNT], input=arguments, check=True, stdout=subprocess.PIPE, text=True)
    counts: list[tuple[int, int]] = json.loads(run.stdout)
    return [
        Residual(location=DATABASE, times=times, why=WHY[DATABASE] if alone else PART_OF_WORD, is_other=not alone)
        for times, alone in counts
        if times
    ]


def _residual_of_file(state: Path, path: Path, keys: Sequence[str]) -> Residual | None:
    parts = path.relative_to(state).parts
    if parts[0] == traffic.CACHE and path.suffix == segments.SUFFIX:
        parts = parts[1:]
    by_name = path.suffix == segments.SUFFIX or parts[0] in BY_NAME
    location = "/".join(parts[:2] if by_name else parts[:1])
    packed = parts[0] == traffic.QUARANTINE and path.suffix == ".parquet"
    times = files.count_quarantined(path, keys) if packed else files.count_occurrences(path, keys)
    if not times:
        return None
    if packed:
        return Residual(location=location, times=times, why=WRITTEN_SINCE)
    if path.suffix == segments.SUFFIX or parts[0] == ONLINE:
        location, is_other = location.partition(".sqlite")[0], not _is_value(path, keys)
        return Residual(
            location=location, times=times, why=OTHER_KEYS if is_other else WRITTEN_SINCE, is_other=is_other
        )
    if not files.count_occurrences(path, keys, alone=True):
        return Residual(location=location, times=times, why=PART_OF_WORD, is_other=True)
    return Residual(location=location, times=times, why=WHY.get(parts[0], UNKNOWN_FILE))


def _is_value(path: Path, keys: Sequence[str]) -> bool:
    """Return whether a key is a complete value in a file, and not a part of others, or two adjacent ones."""
    if path.suffix != segments.SUFFIX:
        return files.count_in_table(path.with_name(path.name.partition(".sqlite")[0] + ".sqlite"), keys) > 0
    table = files.read_segment(path)
    texts = [] if table is None else table.select(pl.col(pl.String)).get_columns()
    return any(column.is_in(keys).any() for column in texts)


def _merge_residuals(found: Sequence[Residual]) -> list[Residual]:
    """Merge residuals of the same location and reason."""
    times: dict[tuple[str, str, bool], int] = {}
    for residual in found:
        case = (residual.location, residual.why, residual.is_other)
        times[case] = times.get(case, 0) + residual.times
    return [
        Residual(location=location, times=n, why=why, is_other=is_other)
        for (location, why, is_other), n in times.items()
    ]
