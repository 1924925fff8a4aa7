"""Load plug-ins and native libraries in a separate process, because a broken library may end it.

python -m headway.cli.loading TOKEN ... prints a diagnosis for each `KIND:NAME` or `library:MODULE`, one JSON object a
line.

A plug-in that needs no more than the base install, or that another package brings, is imported. Of the others the
libraries are checked instead, because importing all of them takes 6 s: they and what they require must be installed,
and their compiled code must load.
"""

from __future__ import annotations

import ctypes
import functools
import importlib.machinery
import importlib.metadata
import importlib.util
import os
import re
import subprocess
import sys
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Literal

import msgspec
from packaging.requirements import Requirement

import headway
from headway.core import plugins
from headway.core.errors import HeadwayError, PluginError
from headway.core.record import Record

Health = Literal["well", "note", "absent", "broken"]

BASE = frozenset({"cryptography", "msgspec", "nanoarrow", "numpy", "onnxruntime", "packaging", "rich"})
"""Modules of the base install that plug-ins import."""
IMPORTED = frozenset({"polars"})
"""Libraries that are imported all the same, because they choose code for the processor when they are imported."""
NATIVE = (
    *(suffix for suffix in importlib.machinery.EXTENSION_SUFFIXES if suffix != ".so"),
    *("/_catboost.so", "/lib_lightgbm.so", "/lib_lightgbm.dylib", "/libxgboost.so", "/libxgboost.dylib"),
)
"""Ends of the names of compiled code: extension modules with a tag, and what the engines load otherwise."""
OPENMP = "libgomp.so.1"
INSTALL_OPENMP = "apt-get install libgomp1"
_ROOT = Path(headway.__file__).parent.parent
_IMPORT = re.compile(r"^(?:import ([\w.]+)|from ([\w.]+) import (\([^)]*\)|[^\n(]*))", re.MULTILINE)
_FIRST_DEFINITION = re.compile(r"^(?:@|class |def )", re.MULTILINE)


class Diagnosis(Record, frozen=True, kw_only=True):
    """The state of one thing: `broken` is needed and does not work, `absent` is not needed by every project."""

    what: str
    health: Health
    message: str
    hint: str = ""


def load_plugins(names: Sequence[str]) -> list[Diagnosis]:
    """Diagnose each plug-in (`KIND:NAME`) in separate processes, see the module's docstring."""
    needed = {name: sorted(find_libraries(name) - BASE) for name in names}
    imported = [name for name, libraries in needed.items() if not libraries or _is_outside(name)]
    libraries = {library for name in names if name not in imported for library in needed[name]}
    ordered = sorted(libraries, key=lambda library: (library not in IMPORTED, library))  # imports first
    found = {diagnosis.what: diagnosis for diagnosis in _run([*imported, *(f"library:{name}" for name in ordered)])}
    return [found[name] if name in imported else _of_libraries(name, needed[name], found) for name in names]


def _of_libraries(name: str, libraries: Sequence[str], found: dict[str, Diagnosis]) -> Diagnosis:
    """Return the diagnosis of the first library that does not work, as that of a plug-in."""
    diagnoses = [found[f"library:{library}"] for library in libraries]
    worst = next((diagnosis for diagnosis in diagnoses if diagnosis.health != "well"), diagnoses[0])
    return msgspec.structs.replace(worst, what=name)


def _run(tokens: Sequence[str]) -> list[Diagnosis]:
    """Diagnose each token; one that ends the process is broken, and the next process goes on behind it."""
    found: list[Diagnosis] = []
    while len(found) < len(tokens):
        rest = tokens[len(found) :]
        child = [sys.executable, "-m", "headway.cli.loading", *rest]
        ended = subprocess.run(child, check=False, capture_output=True, text=True)
        printed = [line for line in ended.stdout.splitlines() if line.startswith("{")]
        diagnoses = [msgspec.json.decode(line, type=Diagnosis) for line in printed]
        found += diagnoses
        if len(diagnoses) < len(rest):
            last = (ended.stderr.strip() or f"it ended the process ({ended.returncode})").splitlines()[-1]
            found.append(_broken(rest[len(diagnoses)], last))
    return found


def _is_outside(name: str) -> bool:
    kind, _, plugin = name.partition(":")
    return plugin not in plugins.own(kind)


def find_libraries(name: str) -> set[str]:
    """Return the modules outside headway and the standard library that importing one of headway's plug-ins imports."""
    if _is_outside(name):
        return set()
    kind, _, plugin = name.partition(":")
    pending = [".".join(plugins.own(kind)[plugin].relative_to(_ROOT).with_suffix("").parts)]
    found: set[str] = set()
    seen: set[str] = set()
    while pending:
        module = pending.pop()
        if module not in seen:
            seen.add(module)
            inside, outside = _imports(module)
            pending += inside
            found |= outside
    return found


@functools.cache
def _imports(module: str) -> tuple[frozenset[str], frozenset[str]]:
    """Return the modules of headway and the other roots that a module imports at its top, read without importing it."""
    text = Path(_file(module)).read_text(encoding="utf-8")
    inside, outside = {module.rpartition(".")[0]} - {""}, set[str]()
    for module_name, package, names in _IMPORT.findall(_FIRST_DEFINITION.split(text, maxsplit=1)[0]):
        imported = module_name or package
        if imported.partition(".")[0] != "headway":
            outside.add(imported.partition(".")[0])
            continue
        inside.add(imported)
        inside |= {f"{package}.{name}" for name in re.findall(r"\w+", names)}
    return frozenset(filter(_file, inside)), frozenset(outside - sys.stdlib_module_names)


@functools.cache
def _file(module: str) -> str:
    """Return the source file of a module of headway; empty for what is not a module."""
    path = os.path.join(_ROOT, *module.split("."))
    return next((file for file in (f"{path}.py", f"{path}/__init__.py") if os.path.exists(file)), "")


def diagnose_plugin(name: str) -> Diagnosis:
    """Import one plug-in (`KIND:NAME`): absent if its library is missing, broken if importing fails."""
    kind, _, plugin = name.partition(":")
    try:
        with plugins.guarded(kind, plugin):
            plugins.load(kind, plugin)
    except PluginError as error:
        message = error.what.removeprefix(f"{kind} '{plugin}' ")
        return Diagnosis(what=name, health="absent", message=message, hint=error.hint)
    except HeadwayError as error:
        return _broken(name, error.what)
    return Diagnosis(what=name, health="well", message="")


def diagnose_library(what: str) -> Diagnosis:
    """Check a library (`library:MODULE`): absent if it or a requirement is missing, broken if its code cannot load."""
    module = what.partition(":")[2]
    try:
        if importlib.util.find_spec(module) is None:
            raise ModuleNotFoundError(name=module)
        if module in IMPORTED:
            importlib.import_module(module)
        for file in _native_files(module):
            ctypes.CDLL(file)
    except ModuleNotFoundError as error:
        missing = (error.name or module).partition(".")[0]
        return Diagnosis(what=what, health="absent", message=f"needs {missing!r}", hint=plugins.install(missing))
    except (ImportError, OSError) as error:
        return _broken(what, str(error), hint=INSTALL_OPENMP if _lacks_openmp(module) else "")
    return Diagnosis(what=what, health="well", message="")


def _native_files(module: str) -> Iterator[str]:
    """Yield the compiled files of a library and its direct requirements; ModuleNotFoundError where one is missing."""
    # A module may come from another distribution than the one that headway requires: xgboost instead of xgboost-cpu.
    names = [name for name in (plugins.package_name(module), module) if is_installed(name)][:1]
    seen: set[str] = set()
    pending = [(name, _extras(name), 0) for name in names]
    while pending:
        package, extras, depth = pending.pop()
        if package in seen:
            continue
        seen.add(package)
        if not is_installed(package):
            raise ModuleNotFoundError(name=package)
        distribution = importlib.metadata.distribution(package)
        pending += [(name, frozenset(), depth + 1) for name in _required(distribution, extras)]
        if depth < 2:
            files = (line.partition(",")[0] for line in (distribution.read_text("RECORD") or "").splitlines())
            yield from (str(distribution.locate_file(name)) for name in files if name.endswith(NATIVE))


def is_installed(package: str) -> bool:
    """Return whether a distribution is installed."""
    try:
        importlib.metadata.distribution(package)
    except importlib.metadata.PackageNotFoundError:
        return False
    return True


def _required(distribution: importlib.metadata.Distribution, extras: frozenset[str]) -> Iterator[str]:
    """Yield the packages that a distribution requires on this system, with these extras."""
    for line in distribution.requires or ():
        if "extra" not in line or extras:
            requirement = Requirement(line)
            if not requirement.marker or any(requirement.marker.evaluate({"extra": extra}) for extra in ("", *extras)):
                yield requirement.name


def _extras(*packages: str) -> frozenset[str]:
    """Return the extras with which headway requires packages."""
    required = (Requirement(line) for line in importlib.metadata.requires("headway") or [])
    return frozenset[str]().union(*(requirement.extras for requirement in required if requirement.name in packages))


def _lacks_openmp(module: str) -> bool:
    """Return whether a library is linked with OpenMP, which is not installed."""
    try:
        ctypes.CDLL(OPENMP)
    except OSError:
        return any(OPENMP.encode() in Path(file).read_bytes() for file in _native_files(module))
    return False


def _broken(what: str, message: str, hint: str = "") -> Diagnosis:
    first = message.partition("\n")[0]
    return Diagnosis(what=what, health="broken", message=f"cannot be loaded: {first}", hint=hint)


if __name__ == "__main__":
    for token in sys.argv[1:]:
        diagnose = diagnose_library if token.startswith("library:") else diagnose_plugin
        sys.stdout.buffer.write(msgspec.json.encode(diagnose(token)) + b"\n")
        sys.stdout.flush()
    os._exit(0)  # extension modules that Python did not initialize may abort when it ends
