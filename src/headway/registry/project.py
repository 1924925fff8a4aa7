"""A project: its configuration, and the stores of its models, records and pointers."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway.core import config as configuration
from headway.core.config import Config
from headway.core.contracts import Blobs, State
from headway.core.plugins import load_blobs, load_state
from headway.core.record import StoredRecord, StoredRecordType, kind_of, read, write
from headway.registry.model_registry import ModelRegistry


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
        return self.config.project.name

    def save(self, record: StoredRecord) -> str:
        """Save a record under this project's name; return its digest."""
        return self.state.save(kind_of(type(record)), write(record), name=self.name)

    def records(self, kind: type[StoredRecordType], *, digest: str = "") -> list[StoredRecordType]:
        """Return the saved records of a class, oldest first; with `digest`, the one of that digest."""
        return [read(kind, content) for content in self.state.records(kind_of(kind), name=self.name, digest=digest)]

    def latest(self, kind: type[StoredRecordType]) -> StoredRecordType | None:
        """Return the record of a class that was saved last, or None."""
        content = self.state.latest(kind_of(kind), name=self.name)
        return None if content is None else read(kind, content)


def open_project(folder: Path = Path("."), *, flags: dict[str, str] | None = None) -> Project:
    """Open the project in a folder with `headway.toml`; raises ConfigError with a hint if there is none."""
    return project_of(configuration.load(folder, flags=flags))


def project_of(config: Config) -> Project:
    """Open the project of a configuration; its stores are created if absent."""
    return Project(
        config=config,
        blobs=load_blobs("files")(config.state / "blobs"),
        state=load_state("sqlite")(config.state),
        registry=ModelRegistry.from_config(config),
    )
