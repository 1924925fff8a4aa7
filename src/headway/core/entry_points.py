"""Read the entry points that installed packages declare for headway, without `importlib.metadata`.

That module costs 20 ms to import, and 40 to 50 ms where 250 packages are installed: it parses the entry points of each.
Here a file is parsed only if it names a group of headway's. The form of the files is that of the PyPA specification
"Entry points"; as there, of two copies of a package on the path, the first one counts.
"""

from __future__ import annotations

import functools
import os
import re
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import NamedTuple

_FOLDERS = (".dist-info", ".egg-info")
_GROUP = re.compile(r"\[\s*headway\.(\w+)\s*\]")
_SEPARATORS = re.compile(r"[-_.]+")


class EntryPoint(NamedTuple):
    """A plug-in that a package declares: its kind and name, the module it is in, and the package with its version.

    `version` is empty where the folder of the package does not name it.
    """

    kind: str
    name: str
    module: str
    distribution: str
    version: str


def entry_points(kind: str) -> list[EntryPoint]:
    """Return the entry points of the group `headway.KIND`; they are read again once a folder on the path changed."""
    return [point for point in _read(tuple((folder, _changed_ns(folder)) for folder in sys.path)) if point.kind == kind]


@functools.lru_cache(maxsize=1)
def _read(path: Sequence[tuple[str, int]]) -> list[EntryPoint]:
    points, seen = list[EntryPoint](), set[str]()
    for folder, _ in path:
        for info in _package_folders(folder):
            distribution, _, version = info.stem.partition("-")
            normalized = _SEPARATORS.sub("-", distribution).lower()
            if normalized not in seen:
                seen.add(normalized)
                points += _declared(info, distribution, version)
    return points


def _package_folders(folder: str) -> list[Path]:
    """Return the folders that describe the packages of a folder of the path, which may be absent or an archive."""
    try:
        names = [name for name in os.listdir(folder or ".") if name.endswith(_FOLDERS)]
    except OSError:
        return []
    return [Path(folder, name) for name in sorted(names)]


def _declared(info: Path, distribution: str, version: str) -> Iterator[EntryPoint]:
    """Yield the plug-ins that the file `entry_points.txt` of a package declares."""
    try:
        text = (info / "entry_points.txt").read_text(encoding="utf-8")
    except (OSError, UnicodeDecodeError):
        return
    kind = ""
    for line in text.splitlines() if "headway." in text else ():
        name, equals, value = (part.strip() for part in line.partition("="))
        if line.startswith("["):
            group = _GROUP.match(line)
            kind = group[1] if group else ""
        elif kind and equals and not name.startswith(("#", ";")):
            module = re.split(r"[:\[\s]", value)[0]
            yield EntryPoint(kind, name, module, distribution, version.partition("-py")[0])


def _changed_ns(folder: str) -> int:
    try:
        return os.stat(folder or ".").st_mtime_ns
    except OSError:
        return 0
