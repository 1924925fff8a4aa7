"""A project, opened: its configuration, and the stores where its models, records and pointers live."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

from headway.core import config as configuration
from headway.core.config import Config
from headway.core.contracts import Blobs, State
from headway.core.plugins import load_blobs, load_state
from headway.core.record import Kept
from headway.core.record import write as written
from headway.registry.register import Register


@dataclass(frozen=True, slots=True, kw_only=True)
class Project:
    """What every step works with."""

    config: Config
    blobs: Blobs
    state: State
    register: Register

    @property
    def name(self) -> str:
        """The name that releases and pointers of this project carry."""
        return self.config.project.name

    def keep(self, record: Kept) -> str:
        """Keep a record under this project's name; returns its digest."""
        return self.state.keep(type(record).__name__.lower(), written(record), name=self.name)


def open_project(folder: Path = Path("."), *, flags: dict[str, str] | None = None) -> Project:
    """The project in a folder with `headway.toml`; raises ConfigError with the mend where there is none."""
    return project_of(configuration.load(folder, flags=flags))


def project_of(config: Config) -> Project:
    """The project that a configuration describes; its stores are made if absent."""
    return Project(
        config=config,
        blobs=load_blobs("files")(config.state / "blobs"),
        state=load_state("sqlite")(config.state),
        register=Register.from_config(config),
    )
