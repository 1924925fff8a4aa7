"""Scan a path: judge each file of it, and the files together."""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from headway.core.errors import DataError
from headway.scanning.files import judge_file
from headway.scanning.verdicts import FileVerdict, Problem, Verdict, worst

MAX_FILES = 100_000


@dataclass(frozen=True, slots=True, kw_only=True)
class ScanResult:
    """Verdicts on the files of a path, the unsafe ones first."""

    path: str
    files: tuple[FileVerdict, ...]

    @property
    def verdict(self) -> Verdict:
        """Return the worst verdict; not judged for a folder without files."""
        problems = [problem for file in self.files for problem in file.problems]
        return worst(problems) if self.files else "not judged"

    def count(self, verdict: Verdict) -> int:
        """Return how many files have this verdict."""
        return sum(file.verdict == verdict for file in self.files)


def scan_files(path: Path) -> ScanResult:
    """Judge a file, or every file of a folder and its folders; nothing is imported, run or written.

    Raises
    ------
    DataError
        If there is nothing at the path.
    """
    base = path if path.is_dir() else path.parent
    verdicts: list[FileVerdict] = []
    for file in walk_files(path):
        name = file.relative_to(base).as_posix()
        if len(verdicts) == MAX_FILES:
            reason = Problem(code="many-files", message=f"more than {MAX_FILES:,} files", is_unsafe=False)
            verdicts.append(FileVerdict(name="...", kind="folder", size_bytes=0, problems=(reason,)))
            break
        verdicts.append(judge_file(file, name=name))
    order: dict[Verdict, int] = {"unsafe": 0, "not judged": 1, "safe": 2}
    return ScanResult(path=str(path), files=tuple(sorted(verdicts, key=lambda file: order[file.verdict])))


def walk_files(path: Path) -> Iterator[Path]:
    """Return a file, or the files of a folder and its folders, sorted; links are listed and never followed.

    Raises
    ------
    DataError
        If there is nothing at the path.
    """
    if path.is_symlink() or (path.exists() and not path.is_dir()):
        yield path
        return
    if not path.is_dir():
        raise DataError("nothing to scan: the path does not exist", where=str(path), hint="headway scan PATH")
    for folder, folders, names in os.walk(path, followlinks=False):
        folders.sort()
        links = [name for name in folders if (Path(folder) / name).is_symlink()]
        for name in sorted([*names, *links]):
            yield Path(folder) / name
