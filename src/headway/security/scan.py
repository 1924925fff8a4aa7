"""Find the files of a path to be scanned: a file, or all files of a folder."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

from headway.core.errors import DataError


def list_files(path: Path) -> Iterator[Path]:
    """Return a file, or the files of a folder and its folders, sorted; links are listed and never followed.

    Raises
    ------
    DataError
        If there is nothing at the path.
    """
    if path.is_symlink() or path.is_file():
        yield path
        return
    if not path.is_dir():
        raise DataError("nothing to scan: the path does not exist", where=str(path), hint="headway scan PATH")
    for folder, folders, names in os.walk(path, followlinks=False):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*names, *links]):
            yield Path(folder) / name
