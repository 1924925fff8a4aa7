"""The stages that files of DVC record: what was made (`outs`), of what (`deps`), by which command."""

from __future__ import annotations

import os
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from headway.core.config import without_password
from headway.core.errors import DataError
from headway.core.plugins import load_beside
from headway.core.provenance import Ingredient

POINTER, LOCK, PIPELINE = ".dvc", "dvc.lock", "dvc.yaml"
_HASHES = ("md5", "etag", "checksum")
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class Output:
    """What a stage made: the absolute `path`, `kind` and `digest` of its hash, and its size.

    `md5-dos2unix` is the kind of DVC before 3.0, which read the line ends of a text as those of Unix. `files` are the
    hashes of the files of a folder, by the path within it, where they are recorded in place.
    """

    path: Path
    kind: str
    digest: str
    size_bytes: int
    n_files: int
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class Stage:
    """A stage of `record`; a file that was added by hand has neither a name nor a command."""

    record: Path
    name: str
    command: str
    outs: tuple[Output, ...]
    made_from: tuple[Ingredient, ...]


def read_stages(record: Path) -> list[Stage]:
    """The stages in a `.dvc` file, or in `dvc.lock`.

    Raises DataError where it is neither, and PluginError where the library that reads it is absent.
    """
    content = _load_yaml(record)
    if record.name != LOCK:
        return [_stage(record, "", content, record.parent / str(content.get("wdir", ".")))]
    # The older form of `dvc.lock` has the stages at its top.
    stages = content.get("stages", content)
    places = _working_folders(record.with_name(PIPELINE))
    try:
        return [
            _stage(record, name, stage, record.parent / places.get(name.partition("@")[0], "."))
            for name, stage in stages.items()
        ]
    except (AttributeError, TypeError) as error:
        raise _invalid_record(record, "its stages are none") from error


def _stage(record: Path, name: str, stage: Fields, place: Path) -> Stage:
    command = stage.get("cmd", "")
    try:
        return Stage(
            record=record,
            name=name,
            command=without_password(command if isinstance(command, str) else " && ".join(command)),
            outs=tuple(_output(out, place) for out in stage.get("outs", ())),
            made_from=tuple(_ingredient(dep) for dep in stage.get("deps", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid_record(record, f"what it says of outs and deps is not in the form of DVC ({error!r})") from error


def _output(out: Fields, place: Path) -> Output:
    kind, digest = _hash(out)
    files = {each["relpath"]: _hash(each)[1] for each in out.get("files", ())}
    return Output(
        path=Path(os.path.abspath(place / str(out["path"]))),
        kind=kind,
        digest=digest,
        size_bytes=int(out.get("size", 0)),
        n_files=int(out.get("nfiles", len(files))),
        files=files,
    )


def _hash(fields: Fields) -> tuple[str, str]:
    """The kind and the digest that were recorded; both empty where nothing was made yet."""
    name = next((name for name in _HASHES if fields.get(name)), "")
    kind = "md5-dos2unix" if name == "md5" and "hash" not in fields else name
    return kind, str(fields.get(name, ""))


def _ingredient(dep: Fields) -> Ingredient:
    """A dependency; one of another repository with its address and revision."""
    origin = dep.get("repo", {})
    within = f" of {without_password(origin['url'])}@{origin.get('rev_lock', 'HEAD')}" if origin else ""
    kind, digest = _hash(dep)
    return Ingredient(name=f"{without_password(dep['path'])}{within}", digest=f"{kind}:{digest}" if digest else "")


def _working_folders(pipeline: Path) -> dict[str, str]:
    """The folder in which each stage runs, where `dvc.yaml` says one: paths of `dvc.lock` begin there."""
    if not pipeline.is_file():
        return {}
    stages = _load_yaml(pipeline).get("stages") or {}
    bodies = ((name, stage.get("do", stage)) for name, stage in stages.items() if isinstance(stage, dict))
    return {name: body["wdir"] for name, body in bodies if isinstance(body, dict) and "wdir" in body}


def _load_yaml(record: Path) -> Fields:
    reader = load_beside(__name__, "yaml", reads=f"'{record.name}', a file of DVC,")
    try:
        content = reader.parse_yaml(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _invalid_record(record, str(error)) from error
    if not isinstance(content, dict):
        raise _invalid_record(record, "it holds no mapping")
    return content


def _invalid_record(record: Path, why: str) -> DataError:
    return DataError(f"cannot read '{record.name}' of DVC: {why}", where=str(record), hint="dvc status")


def outputs_of(stages: Sequence[Stage]) -> Iterator[tuple[Stage, Output]]:
    """Each thing made, with the stage that made it."""
    return ((stage, out) for stage in stages for out in stage.outs)
