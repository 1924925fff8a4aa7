"""Check what the stores of a project can do, and copy a store to another address.

A folder holds everything. An address of [store] holds the pointers and records, or the blobs and releases.
"""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterable, Iterator, Mapping
from contextlib import ExitStack, closing, suppress
from dataclasses import dataclass
from itertools import zip_longest
from pathlib import Path
from typing import Literal, cast

from msgspec.structs import replace

from headway.core import plugins, record
from headway.core.config import Config
from headway.core.contracts import Blobs, Feed, SavedRecord, SharedReleases, Signed, State
from headway.core.errors import ConfigError, HeadwayError, LeaseHeld, PointerMoved, StoreError
from headway.core.record import Record
from headway.core.release import PointerUpdate
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.registry import chain
from headway.registry.bundle import open_bundle, received_release, save_bundle
from headway.registry.chain import UpdateKeys
from headway.registry.settings.trust import TrustSection
from headway.registry.sign import Trusted, load_trusted
from headway.storage.addresses import known_addresses, open_blobs, open_feed, open_state, plugin_of
from headway.storage.state.sqlite import FILE

CheckOutcome = Literal["passed", "failed", "not run"]
PROBE = b"headway store check"
_PROBE_KIND = "store_check"
_READS = 20
REPORT_EVERY = 1000


class StoreCheck(Record, frozen=True, kw_only=True):
    """What one store was asked to do, and whether it did."""

    role: str
    address: str
    check: str
    outcome: CheckOutcome
    message: str = ""
    hint: str = ""


def check_stores(config: Config) -> list[StoreCheck]:
    """Ask each store of a project for what headway needs of it; after a failure the rest is not run.

    It leaves one record and one blob of a few bytes, the same ones each time.
    """
    roles: dict[str, tuple[tuple[str, ...], Callable[[Config], Iterator[str]]]] = {
        "state": (("open", "read your writes", "compare and swap", "lease", "read"), _check_state),
        "blobs": (("open", "write and read", "list"), _check_blobs),
    }
    if config[StoreSection].feed:
        roles["feed"] = (("announce",), _check_feed)
    return [found for role, (checks, run) in roles.items() for found in _run_checks(config, role, checks, run)]


def _run_checks(
    config: Config, role: str, checks: tuple[str, ...], run: Callable[[Config], Iterator[str]]
) -> list[StoreCheck]:
    address, results = getattr(config[StoreSection], role) or str(config.state), list[StoreCheck]()
    try:
        for message in run(config):
            check = checks[len(results)]
            results.append(StoreCheck(role=role, address=address, check=check, outcome="passed", message=message))
    except HeadwayError as error:
        failed = checks[len(results)]
        results.append(
            StoreCheck(role=role, address=address, check=failed, outcome="failed", message=error.what, hint=error.hint)
        )
    rest = checks[len(results) :]
    return [*results, *(StoreCheck(role=role, address=address, check=check, outcome="not run") for check in rest)]


def _check_state(config: Config) -> Iterator[str]:
    with ExitStack() as stack:
        one, other = (stack.enter_context(closing(open_state(config))) for _ in range(2))
        yield f"{len(one.updates()):,} pointer updates"
        digest = one.save(_PROBE_KIND, PROBE, name="")
        _expect(other.records(_PROBE_KIND, digest=digest) == [PROBE], "a record that was saved cannot be read")
        yield "a record is read over another connection"
        yield _refused_update(one)
        yield _exclusive_lease(one, other)
        yield f"{_read_ms(one):.1f} ms"


def _refused_update(state: State) -> str:
    """Append an update that follows nothing, which must be refused and change nothing."""
    update = PointerUpdate(
        name="headway-store-check",
        pointer="check",
        number=2,
        release="",
        previous="",
        at="",
        who="headway store check",
        why="must be refused",
    )
    with suppress(PointerMoved):
        state.append(Signed(content=record.write(update), signature=b""))
        raise StoreError("an update that follows no other was accepted")
    return "an update that does not follow the last one is refused"


def _exclusive_lease(one: State, other: State) -> str:
    work = "headway store check"
    with one.lease(work) as lease:
        lease.expect_held()
        with suppress(LeaseHeld), other.lease(work):
            raise StoreError("two processes hold the same lease")
    return "one process at a time holds it"


def _read_ms(state: State) -> float:
    """Return the median time of a read of the last update, in milliseconds."""
    times = []
    for _ in range(_READS):
        start = time.perf_counter()
        state.last("headway-store-check", "check")
        times.append((time.perf_counter() - start) * 1000)
    return statistics.median(times)


def _check_blobs(config: Config) -> Iterator[str]:
    blobs = open_blobs(config)
    yield "conditional writes are honored" if config[StoreSection].blobs else "a folder"
    digest = blobs.put(PROBE)
    _expect(blobs.get(digest) == PROBE, "a blob that was stored reads differently")
    yield "a blob is read as it was stored"
    _expect(next(blobs.digests(), "") != "", "a blob that was stored is not listed")
    yield "blobs are listed"


def _check_feed(config: Config) -> Iterator[str]:
    with closing(cast("Feed", open_feed(config))) as feed:  # called only with an address
        feed.announce()
    yield "a hint was sent"


def _expect(holds: bool, otherwise: str) -> None:
    if not holds:
        raise StoreError(otherwise)


class StoreMigration(Record, frozen=True, kw_only=True):
    """What a target holds after a migration: numbers of everything that was compared with the source."""

    source: str
    target: str
    updates: int = 0
    records: int = 0
    evaluations: int = 0
    blobs: int = 0
    releases: int = 0


class ReleaseFolder:
    """Releases in the folder of a store."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder

    def names(self) -> list[str]:
        """Return the names that have releases."""
        return sorted(path.name for path in self._folder.glob("*") if path.is_dir())

    def save_release(self, name: str, digest: str, contents: Mapping[str, bytes]) -> None:
        """Save the files of a release in its folder; what is there stays as it is."""
        save_bundle(self._folder / name / digest.removeprefix("sha256:"), received_release(contents, digest))

    def load_release(self, name: str, digest: str) -> dict[str, bytes] | None:
        """Return the files of a release; None if there is none."""
        files = (self._folder / name / digest.removeprefix("sha256:")).glob("*")
        return {path.name: path.read_bytes() for path in sorted(files)} or None

    def releases(self, name: str) -> list[str]:
        """Return the digests of all releases of a name."""
        return [f"sha256:{path.name}" for path in sorted((self._folder / name).glob("[0-9a-f]*"))]

    def verify(self, name: str, digest: str, trusted: Trusted) -> None:
        """Raise Refused unless every byte of a release is what a trusted key signed."""
        open_bundle(self._folder / name / digest.removeprefix("sha256:"), trusted)


@dataclass(frozen=True, slots=True, kw_only=True)
class _Parts:
    """What lies at an address."""

    state: Callable[[], State] | None = None
    blobs: Callable[[], Blobs] | None = None
    releases: SharedReleases | None = None


def migrate_store(
    config: Config, source: str, target: str, *, callback: Callable[[str], object] = lambda _: None
) -> StoreMigration:
    """Copy what both addresses can hold from one to the other, with signatures and chain as they are.

    Run it again after an interruption: what is there already is kept. Nothing may write to either during the copy.

    Raises
    ------
    Refused
        If an update or a release of the source does not verify; nothing after it is copied.
    StoreError
        If the target holds other updates, or differs from the source at the end.
    ConfigError
        If no plug-in opens an address, or the two have nothing in common.
    """
    trusted = load_trusted(config.path(config[TrustSection].trusted_keys))
    keys = UpdateKeys(trusted, load_trusted(config.path(config[TrustSection].operator_keys)))
    here, there = _parts(config, source, is_source=True), _parts(config, target)
    done = StoreMigration(source=source, target=target)
    if here.state and there.state:
        with closing(here.state()) as old, closing(there.state()) as new, new.lease("store migration"):
            done = replace(done, **_copy_state(old, new, keys, callback=callback))
    if here.blobs and there.blobs:
        done = replace(done, blobs=_copy_blobs(here.blobs(), there.blobs(), callback=callback))
    if here.releases and there.releases:
        names = here.releases.names() if isinstance(here.releases, ReleaseFolder) else [config[ProjectSection].name]
        releases = _copy_releases(here.releases, there.releases, names, trusted, callback=callback)
        done = replace(done, releases=releases)
    if not ((here.state and there.state) or (here.blobs and there.blobs)):
        raise ConfigError(
            f"nothing can be copied from {source} to {target}",
            where="one holds pointers and records, the other blobs and releases",
            hint="name the folder of [project] state as the other address",
        )
    return done


def _parts(config: Config, address: str, *, is_source: bool = False) -> _Parts:
    scheme, separator, _ = address.partition("://")
    if not separator:
        folder = Path(address)
        if is_source and not (folder / FILE).is_file():
            raise StoreError("this folder holds no store", where=str(folder), hint="the folder of [project] state")
        return _Parts(
            state=lambda: plugins.load_state("sqlite")(folder),
            blobs=lambda: plugins.load_blobs("files")(folder / "blobs"),
            releases=ReleaseFolder(folder / "releases"),
        )
    if scheme in known_addresses("blobs"):
        blobs = open_blobs(config.having(replace(config[StoreSection], blobs=address)))
        return _Parts(blobs=lambda: blobs, releases=blobs if isinstance(blobs, SharedReleases) else None)
    name = plugin_of("state", address, role="state")
    return _Parts(state=lambda: plugins.load_state(name)(address))


def _copy_state(old: State, new: State, keys: UpdateKeys, *, callback: Callable[[str], object]) -> dict[str, int]:
    updates, there = old.updates(), new.updates()
    chain.audit(updates, keys)
    if there != updates[: len(there)]:
        raise StoreError(
            "the target holds other pointer updates than the source", hint="name an empty database or folder"
        )
    for signed in updates[len(there) :]:
        _expect(new.append(signed), "another process writes to the target")
    callback(f"{len(updates):,} pointer updates")
    records = 0
    for saved in all_records(old):
        new.save(saved.kind, saved.content, name=saved.name)
        records += 1
        if records % REPORT_EVERY == 0:
            callback(f"{records:,} records")
    evaluations = old.all_evaluations()
    for (name, dataset), count in evaluations.items():
        for _ in range(count - new.test_evaluations(name, dataset)):
            new.count_evaluation(name, dataset)
    is_same = (
        old.updates() == updates == new.updates()
        and old.all_evaluations() == evaluations == new.all_evaluations()
        and all(_is_same_record(one, other) for one, other in zip_longest(all_records(old), all_records(new)))
    )
    _expect(is_same, "the target differs from the source: end what writes to either, and run it again")
    return {"updates": len(updates), "records": records, "evaluations": sum(evaluations.values())}


def all_records(state: State) -> Iterator[SavedRecord]:
    """Yield the records of every kind and name, in the order of saving."""
    after = 0
    while saved := state.all_records(after=after):
        yield from saved
        after = saved[-1].position


def _is_same_record(one: SavedRecord | None, other: SavedRecord | None) -> bool:
    return one is not None and other is not None and one[1:] == other[1:]


def _copy_blobs(old: Blobs, new: Blobs, *, callback: Callable[[str], object]) -> int:
    count = 0
    for digest in old.digests():
        new.put(old.get(digest))
        count += 1
        if count % REPORT_EVERY == 0:
            callback(f"{count:,} blobs")
    return count


def _copy_releases(
    old: SharedReleases,
    new: SharedReleases,
    names: Iterable[str],
    trusted: Trusted,
    *,
    callback: Callable[[str], object],
) -> int:
    """Copy the releases of some names; each is verified where it lies in a folder."""
    count = 0
    for name, digest in [(named, digest) for named in names for digest in old.releases(named)]:
        if isinstance(old, ReleaseFolder):
            old.verify(name, digest, trusted)
        contents = old.load_release(name, digest) or {}
        new.save_release(name, digest, contents)
        if isinstance(new, ReleaseFolder):
            new.verify(name, digest, trusted)
        _expect(new.load_release(name, digest) == contents, f"the release {name}@{digest} was copied differently")
        count += 1
        callback(f"release {name}@{digest[7:19]}")
    return count
