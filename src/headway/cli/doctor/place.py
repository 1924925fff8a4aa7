"""The project in a folder: its settings, its keys, and whether its state can be read and written."""

from __future__ import annotations

import os
import shutil
import tempfile
from pathlib import Path

from headway.cli.doctor.sign import Diagnosis
from headway.core import config as configuration
from headway.core.config import Config
from headway.core.errors import HeadwayError
from headway.core.plugins import load_state
from headway.registry.sign import load_publisher, load_trusted

LEAST_FREE = 2**30


def diagnose_project(folder: Path) -> list[Diagnosis]:
    """What there is of each; without a project, one that says so."""
    if not (folder / configuration.FILE).exists():
        message = f"no {configuration.FILE} in {folder.resolve()}: no keys and no state were looked at"
        return [Diagnosis(what="project", health="note", message=message, hint="headway init, or --project FOLDER")]
    try:
        config = configuration.load(folder)
    except HeadwayError as error:
        return [_broken("project", error)]
    project = Diagnosis(what="project", health="well", message=f"{config.project.name} in {folder.resolve()}")
    return [project, *_keys(config), _state(config)]


def _keys(config: Config) -> list[Diagnosis]:
    private, trusted = config.path(config.trust.publisher_key), config.path(config.trust.trusted_keys)
    try:
        listed = load_trusted(trusted).keys
    except HeadwayError as error:
        return [_broken("trusted keys", error)]
    trust = Diagnosis(what="trusted keys", health="well", message=f"{len(listed)} in {trusted}")
    if not listed:
        trust = Diagnosis(
            what="trusted keys", health="note", message=f"none in {trusted}", hint="the first release pins its own"
        )
    if not private.exists():
        message = f"none at {private}: nothing can be published here"
        return [
            trust,
            Diagnosis(what="publisher key", health="note", message=message, hint="the first release makes one"),
        ]
    try:
        key = load_publisher(private).key
    except HeadwayError as error:
        return [trust, _broken("publisher key", error)]
    if listed and key not in listed:
        message, hint = f"{key} is not trusted here", f"have whoever keeps {trusted} add it"
        return [trust, Diagnosis(what="publisher key", health="note", message=message, hint=hint)]
    return [trust, Diagnosis(what="publisher key", health="well", message=f"{key} at {private}")]


def _state(config: Config) -> Diagnosis:
    """Whether files can be made and linked where the state is, or will be, and whether what is there can be read."""
    there = next(path for path in (config.state, *config.state.parents) if path.exists())
    try:
        with tempfile.TemporaryDirectory(prefix=".headway-doctor-", dir=there) as name:
            (Path(name) / "a").write_bytes(b"")
            os.link(Path(name) / "a", Path(name) / "b")
        moves = _moves(config.state)
    except OSError as error:
        hint = f"chmod u+w {there}; or [project] state on a disk of this machine"
        return Diagnosis(what="state", health="broken", message=f"{there}: {error.strerror or error}", hint=hint)
    except HeadwayError as error:
        return _broken("state", error)
    free = shutil.disk_usage(there).free
    message = f"{config.state}: {moves}, {free / 2**30:,.1f} GiB free"
    return Diagnosis(what="state", health="note" if free < LEAST_FREE else "well", message=message)


def _moves(state: Path) -> str:
    if not (state / "state.sqlite").exists():
        return "nothing kept yet"
    opened = load_state("sqlite")(state)
    try:
        return f"{len(opened.moves())} moves of pointers"
    finally:
        opened.close()


def _broken(what: str, error: HeadwayError) -> Diagnosis:
    where = f" at {error.where}" if error.where else ""
    return Diagnosis(what=what, health="broken", message=f"{error.what}{where}", hint=error.hint)
