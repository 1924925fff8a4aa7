"""Read the files of DVC: what a project's files should be, what they were made from, and whether they still match.

The record of a file is `NAME.dvc` next to it or next to a parent folder, or a `dvc.lock` in a parent folder,
up to the root of the DVC or git repository. Files are compared by size and MD5; folders file by file.
"""

from __future__ import annotations

import configparser
import fnmatch
import functools
import hashlib
import json
import os
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any, NamedTuple

from headway.core.errors import DataError, PluginError
from headway.core.plugins import load_sibling
from headway.core.provenance import StageInput, TrackedData
from headway.core.urls import without_password

POINTER, LOCK, PIPELINE = ".dvc", "dvc.lock", "dvc.yaml"
_HASH_NAMES = ("md5", "etag", "checksum")
Fields = Mapping[str, Any]


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcOutput:
    """An output of a stage: absolute path, kind and digest of its hash, and size.

    `md5-dos2unix` is the hash of DVC before 3.0, which normalizes the line ends of text. `files` maps paths
    within a folder to hashes, if the record lists them.
    """

    path: Path
    kind: str
    digest: str
    size_bytes: int
    n_files: int
    files: Mapping[str, str]


@dataclass(frozen=True, slots=True, kw_only=True)
class DvcStage:
    """A stage of a record. A file added by `dvc add` has no name and no command."""

    record: Path
    name: str
    command: str
    outs: tuple[DvcOutput, ...]
    inputs: tuple[StageInput, ...]


def read_stages(record: Path) -> list[DvcStage]:
    """Read the stages of a `.dvc` file or a `dvc.lock`.

    Raises
    ------
    DataError
        If it is neither.
    PluginError
        If PyYAML is not installed.
    """
    content = _load_yaml(record)
    if record.name != LOCK:
        return [_stage(record, "", content, record.parent / str(content.get("wdir", ".")))]
    # The older form of `dvc.lock` has the stages at its top.
    stages = content.get("stages", content)
    folders = _working_folders(record.with_name(PIPELINE))
    try:
        return [
            _stage(record, name, stage, record.parent / folders.get(name.partition("@")[0], "."))
            for name, stage in stages.items()
        ]
    except (AttributeError, TypeError) as error:
        raise _invalid_record(record, "it has no valid stages") from error


def _stage(record: Path, name: str, stage: Fields, folder: Path) -> DvcStage:
    command = stage.get("cmd", "")
    try:
        return DvcStage(
            record=record,
            name=name,
            command=without_password(command if isinstance(command, str) else " && ".join(command)),
            outs=tuple(_output(out, folder) for out in stage.get("outs", ())),
            inputs=tuple(_stage_input(dep) for dep in stage.get("deps", ())),
        )
    except (AttributeError, KeyError, TypeError, ValueError) as error:
        raise _invalid_record(record, f"outs and deps are not in the format of DVC ({error!r})") from error


def _output(out: Fields, folder: Path) -> DvcOutput:
    kind, digest = _hash(out)
    files = {entry["relpath"]: _hash(entry)[1] for entry in out.get("files", ())}
    return DvcOutput(
        path=Path(os.path.abspath(folder / str(out["path"]))),
        kind=kind,
        digest=digest,
        size_bytes=int(out.get("size", 0)),
        n_files=int(out.get("nfiles", len(files))),
        files=files,
    )


def _hash(fields: Fields) -> tuple[str, str]:
    """Return kind and digest of the recorded hash; empty if there is none yet."""
    name = next((name for name in _HASH_NAMES if fields.get(name)), "")
    kind = "md5-dos2unix" if name == "md5" and "hash" not in fields else name
    return kind, str(fields.get(name, ""))


def _stage_input(dep: Fields) -> StageInput:
    """Convert a dependency; one of another repository includes its URL and revision."""
    origin = dep.get("repo", {})
    within = f" of {without_password(origin['url'])}@{origin.get('rev_lock', 'HEAD')}" if origin else ""
    kind, digest = _hash(dep)
    return StageInput(name=f"{without_password(dep['path'])}{within}", digest=f"{kind}:{digest}" if digest else "")


def _working_folders(pipeline: Path) -> dict[str, str]:
    """Return the `wdir` of each stage in `dvc.yaml`; paths in `dvc.lock` are relative to it."""
    if not pipeline.is_file():
        return {}
    stages = _load_yaml(pipeline).get("stages") or {}
    bodies = ((name, stage.get("do", stage)) for name, stage in stages.items() if isinstance(stage, dict))
    return {name: body["wdir"] for name, body in bodies if isinstance(body, dict) and "wdir" in body}


def _load_yaml(record: Path) -> Fields:
    reader = load_sibling(__name__, "dvc_yaml", reads=f"'{record.name}', a file of DVC,")
    try:
        content = reader.parse_yaml(record.read_text(encoding="utf-8"))
    except (OSError, ValueError) as error:
        raise _invalid_record(record, str(error)) from error
    if not isinstance(content, dict):
        raise _invalid_record(record, "it is not a mapping")
    return content


def _invalid_record(record: Path, why: str) -> DataError:
    return DataError(f"cannot read '{record.name}' of DVC: {why}", where=str(record), hint="dvc status")


def outputs_of(stages: Sequence[DvcStage]) -> Iterator[tuple[DvcStage, DvcOutput]]:
    """Iterate over all outputs, each with its stage."""
    return ((stage, out) for stage in stages for out in stage.outs)


FOLDER = ".dir"
_BLOCK_BYTES, _HEAD_BYTES = 1 << 20, 512
_TEXT_BYTES = bytes(range(32, 127)) + b"\n\r\t\f\b"
_MAX_NON_TEXT = 0.3
_IGNORED_FOLDERS = (".dvc", ".git", ".hg")
_MAX_NAMES = 3


class Mismatch(NamedTuple):
    """How a path differs from its record; empty if it does not. `missing` if something is missing."""

    message: str = ""
    missing: bool = False


def compare_content(out: DvcOutput, path: Path, listed: Mapping[str, str]) -> Mismatch:
    """Compare a path with its record.

    Parameters
    ----------
    out : Output
        The record.
    path : Path
        The path of `out`, or one below it.
    listed : mapping
        Hashes of the files of a folder, if known.

    Raises
    ------
    ValueError
        If the record has no hash to compare with.
    """
    if not out.kind.startswith("md5"):
        raise ValueError(f"DVC recorded {out.kind or 'no hash'} of it, which cannot be compared with a file")
    if not path.exists():
        return Mismatch("it is not there", missing=True)
    if not out.digest.endswith(FOLDER):
        return Mismatch(_compare_file(path, out.digest, size_bytes=out.size_bytes, kind=out.kind))
    if path != out.path and listed:
        return Mismatch(_compare_listed_file(path, listed, out))
    found_files = dict(_file_hashes(out.path, out.kind))
    if _manifest_digest(found_files) == out.digest:
        return Mismatch()
    if not listed:
        return Mismatch("its files differ, by the digest of their list")
    return Mismatch(_differences(found_files, listed, out), missing=bool(listed.keys() - found_files.keys()))


def listed_files(out: DvcOutput) -> Mapping[str, str]:
    """Return the recorded hash of each file of a folder, from the record or DVC's cache; empty if neither has it."""
    if out.files:
        return out.files
    name = f"{out.digest[:2]}/{out.digest[2:]}"
    for cache in _cache_folders(out.path):
        for manifest in (cache / "files/md5" / name, cache / name):
            if manifest.is_file():
                return _manifest(manifest.read_bytes(), out.digest)
    return {}


def _manifest(content: bytes, digest: str) -> Mapping[str, str]:
    """Parse a list of files; empty if it does not have the expected digest."""
    if hashlib.md5(content, usedforsecurity=False).hexdigest() + FOLDER != digest:
        return {}
    return {entry["relpath"]: entry["md5"] for entry in json.loads(content)}


def _compare_listed_file(path: Path, listed: Mapping[str, str], out: DvcOutput) -> str:
    name = path.relative_to(out.path).as_posix()
    return _compare_file(path, listed[name], kind=out.kind) if name in listed else "it is not among the files recorded"


def _compare_file(path: Path, digest: str, *, kind: str, size_bytes: int = 0) -> str:
    size = path.stat().st_size
    if size_bytes and kind == "md5" and size != size_bytes:
        return f"it has {size:,} bytes, not {size_bytes:,}"
    found = file_md5(path, unix_lines=kind != "md5")
    return "" if found == digest else f"it is md5:{found}"


def _differences(found_files: Mapping[str, str], listed: Mapping[str, str], out: DvcOutput) -> str:
    kinds = {
        "missing": sorted(listed.keys() - found_files.keys()),
        "changed": sorted(name for name in listed.keys() & found_files.keys() if listed[name] != found_files[name]),
        # Files that `.dvcignore` excludes cannot be separated from new ones.
        "not recorded": sorted(found_files.keys() - listed.keys()) if not _has_ignore_file(out.path) else [],
    }
    return "; ".join(
        f"{len(names):,} of its files {what}: {_first_names(names)}" for what, names in kinds.items() if names
    )


def _first_names(names: list[str]) -> str:
    return ", ".join(names[:_MAX_NAMES]) + (" ..." if len(names) > _MAX_NAMES else "")


def _file_hashes(folder: Path, kind: str) -> Iterator[tuple[str, str]]:
    for root, folders, names in os.walk(folder, followlinks=True):
        folders[:] = [name for name in folders if name not in _IGNORED_FOLDERS]
        for name in names:
            path = Path(root, name)
            yield path.relative_to(folder).as_posix(), file_md5(path, unix_lines=kind != "md5")


def _manifest_digest(files: Mapping[str, str]) -> str:
    """Compute DVC's hash of a list of files."""
    listed = [{"md5": digest, "relpath": name} for name, digest in sorted(files.items())]
    return hashlib.md5(json.dumps(listed).encode(), usedforsecurity=False).hexdigest() + FOLDER


def file_md5(path: Path, *, unix_lines: bool = False) -> str:
    """Compute the MD5 of a file in hex; `unix_lines` normalizes the line ends of text, as DVC before 3.0."""
    found = hashlib.md5(usedforsecurity=False)
    with path.open("rb") as file:
        while block := file.read(_BLOCK_BYTES):
            found.update(block.replace(b"\r\n", b"\n") if unix_lines and _is_text(block[:_HEAD_BYTES]) else block)
    return found.hexdigest()


def _is_text(head: bytes) -> bool:
    return b"\x00" not in head and len(head.translate(None, _TEXT_BYTES)) / len(head) <= _MAX_NON_TEXT


def parent_folders(path: Path) -> Iterator[Path]:
    """Yield the parent folders of a path, up to the root of the DVC or git repository."""
    for folder in path.parents:
        yield folder
        if (folder / ".dvc").is_dir() or (folder / ".git").exists():
            return


def _has_ignore_file(path: Path) -> bool:
    return any((folder / ".dvcignore").is_file() for folder in parent_folders(path))


def _cache_folders(path: Path) -> Iterator[Path]:
    """Yield the cache folders of DVC, configured ones first."""
    for folder in parent_folders(path):
        if not (folder / ".dvc").is_dir():
            continue
        for file in (folder / ".dvc/config.local", folder / ".dvc/config"):
            settings = configparser.ConfigParser(interpolation=None, strict=False)
            settings.read(file, encoding="utf-8")
            if configured := settings.get("cache", "dir", fallback=""):
                yield file.parent / configured
        yield folder / ".dvc/cache"


Reader = Callable[[Path], list[DvcStage]]


def tracked_files(paths: Sequence[Path], folder: Path) -> tuple[TrackedData, ...]:
    """Return the DVC records of these files and folders, with names relative to `folder`.

    An unreadable record is reported in `TrackedData.error` and not raised, since the data can be read without it.
    """
    reader = functools.cache(read_stages)
    found = (_track(Path(os.path.abspath(path)), folder, reader) for path in paths)
    return tuple(dict.fromkeys(tracked for tracked in found if tracked is not None))


def resolve_pointer(pointer: Path) -> Path:
    """Return the file or folder that a `.dvc` file points to.

    Raises
    ------
    DataError
        If it points to several, or to data that is not here.
    PluginError
        If PyYAML is not installed.
    """
    outs = [out for _, out in outputs_of(read_stages(_expect_pointer(pointer)))]
    if len(outs) != 1:
        names = ", ".join(out.path.name for out in outs) or "nothing"
        raise DataError(f"'{pointer.name}' points to {names}", where=str(pointer), hint="give the path of one file")
    if not outs[0].path.exists():
        raise not_fetched_error(outs[0].path, pointer)
    return outs[0].path


def not_fetched_error(path: Path, pointer: Path) -> DataError:
    """Return the error for data that has a DVC record and was not fetched."""
    return DataError(f"'{path.name}' is not here, only its record", where=str(pointer), hint=f"dvc pull {pointer}")


def unfetched_files(folder: Path, pattern: str) -> list[Path]:
    """Return the files that match a pattern, have a `.dvc` file in the folder and do not exist."""
    pointers = (path for path in folder.glob(f"*{POINTER}") if path.is_file())
    named = (path.with_suffix("") for path in pointers if fnmatch.fnmatch(path.stem, pattern))
    return sorted(path for path in named if not path.exists())


def _expect_pointer(pointer: Path) -> Path:
    if not pointer.is_file():
        raise DataError(
            f"no file '{pointer.name}'",
            where=str(pointer),
            hint="correct the path: --data, or [data] source in headway.toml",
        )
    return pointer


def _record_files(path: Path) -> Iterator[Path]:
    """Yield the DVC files that may describe a path, the nearest first."""
    inside = path
    for folder in parent_folders(path):
        pointer = inside.with_name(inside.name + POINTER)
        for record in (pointer, folder / LOCK):
            if record.is_file():
                yield record
        inside = folder


def _track(path: Path, folder: Path, reader: Reader) -> TrackedData | None:
    for record in _record_files(path):
        try:
            found = next(((stage, out) for stage, out in outputs_of(reader(record)) if _contains(out, path)), None)
        except PluginError as error:
            return _unreadable(path, record, f"{error.what}: {error.hint}", folder)
        except DataError as error:
            return _unreadable(path, record, error.what, folder)
        if found is not None:
            return _compare(path, *found, folder)
    return None


def _contains(out: DvcOutput, path: Path) -> bool:
    return path == out.path or out.path in path.parents


def _compare(path: Path, stage: DvcStage, out: DvcOutput, folder: Path) -> TrackedData:
    listed = listed_files(out)
    name = path.relative_to(out.path).as_posix()
    digest = listed.get(name, "") if path != out.path and listed else out.digest
    try:
        differs = compare_content(out, path, listed)
    except (OSError, ValueError) as error:
        return _unreadable(path, stage.record, str(error), folder)
    alone = digest == out.digest
    return TrackedData(
        path=_relative_name(out.path if alone else path, folder),
        record=_relative_name(stage.record, folder),
        digest=f"{out.kind}:{digest}" if digest else "",
        size_bytes=out.size_bytes if alone else 0,
        n_files=out.n_files if alone else 0,
        stage=stage.name,
        command=stage.command,
        inputs=stage.inputs,
        difference=differs.message,
        missing=differs.missing,
    )


def _unreadable(path: Path, record: Path, why: str, folder: Path) -> TrackedData:
    return TrackedData(path=_relative_name(path, folder), record=_relative_name(record, folder), error=why)


def _relative_name(path: Path, folder: Path) -> str:
    return Path(os.path.relpath(path, os.path.abspath(folder))).as_posix()
