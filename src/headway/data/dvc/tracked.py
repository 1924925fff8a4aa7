"""What DVC says of the files that a project reads: what they are, what they were made of, and whether they still are.

A file is looked for in `NAME.dvc` beside it or beside a folder that it lies in, and in each `dvc.lock` above it, up to
the folder in which DVC or git was begun.
"""

from __future__ import annotations

import fnmatch
import functools
import os
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from headway.core.errors import DataError, PluginError
from headway.core.provenance import Tracked
from headway.data.dvc.content import compare_content, listed_files, parent_folders
from headway.data.dvc.stages import LOCK, POINTER, Output, Stage, outputs_of, read_stages

Reader = Callable[[Path], list[Stage]]


def tracked_files(paths: Sequence[Path], folder: Path) -> tuple[Tracked, ...]:
    """What DVC says of each of these files and folders, once each; names are those from `folder`.

    A record that cannot be read is told as such: nothing is raised, for the data can be read all the same.
    """
    reader = functools.cache(read_stages)
    found = (_track(Path(os.path.abspath(path)), folder, reader) for path in paths)
    return tuple(dict.fromkeys(each for each in found if each is not None))


def resolve_pointer(pointer: Path) -> Path:
    """The file or folder that a `.dvc` file points to.

    Raises DataError where it points to more than one, or to what is not here, and PluginError where its reader is
    absent.
    """
    outs = [out for _, out in outputs_of(read_stages(_expect_pointer(pointer)))]
    if len(outs) != 1:
        names = ", ".join(out.path.name for out in outs) or "nothing"
        raise DataError(f"'{pointer.name}' points to {names}", where=str(pointer), hint="name the one file to read")
    if not outs[0].path.exists():
        raise not_fetched_error(outs[0].path, pointer)
    return outs[0].path


def not_fetched_error(path: Path, pointer: Path) -> DataError:
    """What to say of data that DVC has a record of, and that nobody has fetched."""
    return DataError(f"'{path.name}' is not here, only its record", where=str(pointer), hint=f"dvc pull {pointer}")


def unfetched_files(folder: Path, pattern: str) -> list[Path]:
    """The files of a pattern whose `.dvc` is in a folder, and that are not there themselves."""
    pointers = (each for each in folder.glob(f"*{POINTER}") if each.is_file())
    named = (each.with_suffix("") for each in pointers if fnmatch.fnmatch(each.stem, pattern))
    return sorted(each for each in named if not each.exists())


def _expect_pointer(pointer: Path) -> Path:
    if not pointer.is_file():
        raise DataError(f"no file '{pointer.name}'", where=str(pointer), hint="correct [data] source in headway.toml")
    return pointer


def _record_files(path: Path) -> Iterator[Path]:
    """Files of DVC that may tell of a path, the nearest first."""
    inside = path
    for folder in parent_folders(path):
        pointer = inside.with_name(inside.name + POINTER)
        for record in (pointer, folder / LOCK):
            if record.is_file():
                yield record
        inside = folder


def _track(path: Path, folder: Path, reader: Reader) -> Tracked | None:
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


def _contains(out: Output, path: Path) -> bool:
    return path == out.path or out.path in path.parents


def _compare(path: Path, stage: Stage, out: Output, folder: Path) -> Tracked:
    listed = listed_files(out)
    name = path.relative_to(out.path).as_posix()
    digest = listed.get(name, "") if path != out.path and listed else out.digest
    try:
        differs = compare_content(out, path, listed)
    except (OSError, ValueError) as error:
        return _unreadable(path, stage.record, str(error), folder)
    alone = digest == out.digest
    return Tracked(
        path=_relative_name(out.path if alone else path, folder),
        record=_relative_name(stage.record, folder),
        digest=f"{out.kind}:{digest}" if digest else "",
        size_bytes=out.size_bytes if alone else 0,
        n_files=out.n_files if alone else 0,
        stage=stage.name,
        command=stage.command,
        made_from=stage.made_from,
        unlike=differs.message,
        gone=differs.gone,
    )


def _unreadable(path: Path, record: Path, why: str, folder: Path) -> Tracked:
    return Tracked(path=_relative_name(path, folder), record=_relative_name(record, folder), unread=why)


def _relative_name(path: Path, folder: Path) -> str:
    """A path as it is said from the project's folder."""
    return Path(os.path.relpath(path, os.path.abspath(folder))).as_posix()
