"""A project: its configuration, and the stores of its models, records and pointers."""

from __future__ import annotations

import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, NamedTuple

from headway.core import config as configuration
from headway.core.config import Config
from headway.core.contracts import Blobs, Lease, State
from headway.core.errors import HeadwayError, LeaseHeld
from headway.core.evidence import Evidence
from headway.core.record import StoredRecord, StoredRecordType, digest_of, kind_of, read, write
from headway.core.settings.project import ProjectSection
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry
from headway.storage.addresses import open_blobs

LIVE_POINTER = "live"
LEASE_POLL_S = 0.1


class Saved(NamedTuple, Generic[StoredRecordType]):
    """A record with its index in the order of saving, from 1, and its digest."""

    position: int
    digest: str
    record: StoredRecordType


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """Configuration and stores that every step works with."""

    config: Config
    blobs: Blobs
    state: State
    registry: ModelRegistry

    @property
    def name(self) -> str:
        """The name that releases and pointers of this project carry."""
        return self.config[ProjectSection].name

    def save(self, record: StoredRecord) -> str:
        """Save a record under this project's name; return its digest."""
        return self.state.save(kind_of(type(record)), write(record), name=self.name)

    def records(self, kind: type[StoredRecordType], *, digest: str = "") -> list[StoredRecordType]:
        """Return the saved records of a class, oldest first; with `digest`, the one of that digest."""
        return [read(kind, content) for content in self.state.records(kind_of(kind), name=self.name, digest=digest)]

    @contextmanager
    def lease(self, work: str, *, wait_s: float = 0.0) -> Iterator[Lease]:
        """Hold the lease of a piece of work (`watch`) on this project, which one process at a time does.

        Raises LeaseHeld, which names the holder, if another process still does the work after `wait_s`.
        """
        with ExitStack() as stack:
            yield self._take_lease(stack, f"{work} of {self.name}", wait_s=wait_s)

    def _take_lease(self, stack: ExitStack, name: str, *, wait_s: float) -> Lease:
        deadline = time.monotonic() + wait_s
        while True:
            try:
                return stack.enter_context(self.state.lease(name))
            except LeaseHeld:
                if time.monotonic() >= deadline:
                    raise
                time.sleep(LEASE_POLL_S)

    def latest(self, kind: type[StoredRecordType]) -> StoredRecordType | None:
        """Return the record of a class that was saved last, or None."""
        content = self.state.latest(kind_of(kind), name=self.name)
        return None if content is None else read(kind, content)

    def recent(
        self, kind: type[StoredRecordType], *, limit: int = 50, before: int = 0
    ) -> list[Saved[StoredRecordType]]:
        """Return a page of the records of a class, newest first: at most `limit`, saved before the index `before`.

        The next page begins before the position of the last record of this one; `before=0` is the first page.
        """
        found = self.state.recent(kind_of(kind), name=self.name, limit=limit, before=before)
        return [Saved(saved.position, digest_of(saved.content), read(kind, saved.content)) for saved in found]

    def count(self, kind: type[StoredRecord]) -> int:
        """Return the number of saved records of a class."""
        return self.state.count(kind_of(kind), name=self.name)


def open_project(folder: Path = Path("."), *, flags: dict[str, str] | None = None) -> Project:
    """Open the project in a folder with `headway.toml`; raises ConfigError with a hint if there is none."""
    return project_of(configuration.load(folder, flags=flags))


def project_of(config: Config) -> Project:
    """Open the project of a configuration; its stores are created if absent."""
    registry = ModelRegistry.from_config(config)
    return Project(config=config, blobs=open_blobs(config), state=registry.state, registry=registry)


@dataclass(frozen=True, slots=True, kw_only=True)
class LiveRelease:
    """The release that is live, verified, or the problem with it; its digest is empty if the pointer is unreadable."""

    digest: str
    bundle: Bundle | None = None
    problem: str = ""
    hint: str = "headway evaluate"


def find_live(project: Project, variant: str) -> LiveRelease | None:
    """Return the live release; None if there is none, or if it is the model with this digest.

    A store without an update of the pointer, of which this machine has seen one, is an old copy or another store: that
    is a problem, and not a project without a release.
    """
    address, digest = f"{project.name}@{LIVE_POINTER}", ""
    try:
        if project.state.last(project.name, LIVE_POINTER) is None and not project.registry.has_seen(address):
            return None
        update = project.registry.head(address)
        digest = update.release if update else ""
        if not digest:
            return None
        bundle = project.registry.resolve(address)
    except HeadwayError as error:
        return LiveRelease(digest=digest, problem=f"the live release cannot be opened: {error.what}")
    return None if bundle.release.variant.digest == variant else LiveRelease(digest=digest, bundle=bundle)


def describe_other_live(live: LiveRelease, evidence: Evidence) -> str:
    """Return why evidence says nothing about the live release; empty if it compares with that release."""
    if live.problem:
        return live.problem
    if evidence.live == live.digest:
        return ""
    if evidence.live:
        return f"the evidence compares with the release {evidence.live[:19]}, and {live.digest[:19]} is live now"
    return f"the evidence was made before {live.digest[:19]} was live"
