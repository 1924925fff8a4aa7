"""The installed Python packages that a server needs, as files of a layer: by their own lists of files, compiled."""

from __future__ import annotations

import importlib.metadata
import re
import shutil
import subprocess
import sys
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path, PurePosixPath

from packaging.requirements import Requirement
from packaging.utils import canonicalize_name

import headway
from headway.core.errors import ConfigError, PluginError

_UNUSED = re.compile(
    r"(^|/)(__pycache__|tests?|include)/|(\.(pyc|pyi|pyx|pxd|h|hpp|c|a|cmake))$"
    r"|\.dist-info/(RECORD|INSTALLER|REQUESTED|direct_url\.json|uv_[a-z]+\.json)$"
)
"""Files that running code does not read, or that differ between two installations of the same package."""
_OWN_FILES = re.compile(r".*\.(py|so|toml|html|css|typed)")


@dataclass(frozen=True, slots=True, kw_only=True)
class InstalledPackage:
    """A distribution of this environment: name, version, license, and its files by path below `site-packages`."""

    name: str
    version: str
    license: str
    files: dict[str, Path]


def find_packages(extras: Sequence[str] = ()) -> list[InstalledPackage]:
    """Return headway, with some of its extras, and everything that it requires, sorted by name.

    Raises ConfigError for an extra that headway does not have, and PluginError, with the command that installs it, for
    an absent package.
    """
    known = _distribution("headway", extras).metadata.get_all("Provides-Extra") or []
    for extra in extras:
        if extra not in known:
            hint = ", ".join(known)
            raise ConfigError(f"the installed headway has no extra {extra!r}", where="--extra", hint=hint)
    found: dict[str, InstalledPackage] = {}
    pending: list[tuple[str, tuple[str, ...]]] = [("headway", tuple(extras))]
    seen: set[tuple[str, tuple[str, ...]]] = set()
    while pending:
        name, wanted = pending.pop()
        if (name, wanted) in seen:
            continue
        seen.add((name, wanted))
        distribution = _distribution(name, extras)
        found[name] = _package(name, distribution)
        pending += _required(distribution, wanted)
    return [found[name] for name in sorted(found)]


def _distribution(name: str, extras: Sequence[str]) -> importlib.metadata.Distribution:
    try:
        return importlib.metadata.distribution(name)
    except importlib.metadata.PackageNotFoundError as error:
        wanted = f"'headway[{','.join(extras)}]'" if extras else "headway"
        raise PluginError(f"the image needs the package {name!r}", hint=f"pip install {wanted}") from error


def _required(
    distribution: importlib.metadata.Distribution, extras: Sequence[str]
) -> Iterator[tuple[str, tuple[str, ...]]]:
    for line in distribution.requires or ():
        requirement = Requirement(line)
        marker = requirement.marker
        if marker is None or any(marker.evaluate({"extra": extra}) for extra in ("", *extras)):
            yield canonicalize_name(requirement.name), tuple(sorted(requirement.extras))


def _package(name: str, distribution: importlib.metadata.Distribution) -> InstalledPackage:
    listed = {str(PurePosixPath(file)): Path(str(file.locate())) for file in distribution.files or ()}
    files = {path: file for path, file in listed.items() if not path.startswith(("..", "/", "__editable__"))}
    if name == "headway" and "headway/__init__.py" not in files:  # an editable installation
        root = Path(headway.__file__).parent
        own = (file for file in root.rglob("*") if _OWN_FILES.fullmatch(file.name))
        files |= {file.relative_to(root.parent).as_posix(): file for file in own}
    metadata = distribution.metadata
    return InstalledPackage(
        name=name,
        version=distribution.version,
        license=metadata.get("License-Expression") or _license(metadata.get_all("Classifier") or ()),
        files={path: file for path, file in sorted(files.items()) if not _UNUSED.search(path) and file.is_file()},
    )


def _license(classifiers: Sequence[str]) -> str:
    found = [line.rpartition(" :: ")[2] for line in classifiers if line.startswith("License ::")]
    return found[-1] if found else ""


def stage(packages: Sequence[InstalledPackage], folder: Path, *, path_in_image: str) -> dict[str, Path]:
    """Copy the files of packages to a folder and compile them there; return all files by path below it.

    The compiled code says nothing of this machine: it names its source by its path in the image, and is not checked
    against the time of the source, because neither can change in a read-only image.
    """
    for package in packages:
        for path, file in package.files.items():
            target = folder / path
            target.parent.mkdir(parents=True, exist_ok=True)
            shutil.copyfile(file, target)
    _compile(folder, path_in_image)
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*")) if file.is_file()}


def compile_sources(sources: Mapping[str, bytes], folder: Path) -> dict[str, Path]:
    """Compile the modules of a base image, by their paths in it, in a new folder; return the compiled files by path.

    Few bases have compiled code that Python accepts: that of Debian is checked against times, which a layer of fixed
    times changes, and the official images of Python have none.
    """
    for path, content in sources.items():
        target = folder / path
        target.parent.mkdir(parents=True, exist_ok=True)
        target.write_bytes(content)
    _compile(folder, "/")
    return {file.relative_to(folder).as_posix(): file for file in sorted(folder.rglob("*.pyc"))}


def _compile(folder: Path, path_in_image: str) -> None:
    """Compile all modules of a folder for Python to take them as they are, without a look at the source."""
    compiling = [sys.executable, "-I", "-m", "compileall", "-q", "--invalidation-mode", "unchecked-hash"]
    where = ["-s", str(folder), "-p", path_in_image, str(folder)]
    # Exit status 1: a package holds a file for another version of Python, which is not compiled and never imported.
    subprocess.run([*compiling, *where], check=False, capture_output=True)
