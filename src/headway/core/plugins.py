"""Find plug-ins: kind = folder, name = file, description = first docstring line, object = `plugin`.

A folder declares its kind in its `_plugins.py` (`KIND = "check"`), so this module names none of them. Several folders
may have one kind: the settings of each package lie in it. Names and
descriptions are read without importing anything, so listing plug-ins costs no library. Other packages add plug-ins by
entry points of the group `headway.<kind>`.
"""

from __future__ import annotations

import ast
import difflib
import functools
import importlib
import importlib.util
import re
import sys
import traceback
import types
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any, NamedTuple, TypeVar

import headway
from headway.core.entry_points import EntryPoint, entry_points
from headway.core.errors import ConfigError, HeadwayError, NotApplicable, PluginError, StoreError
from headway.core.renamed import warn_renamed

if TYPE_CHECKING:  # the contracts bring libraries that `headway --help` does without
    from collections.abc import Callable, Iterable, Iterator, Mapping

    from headway.core.batch import Format
    from headway.core.contracts import Blobs, Engine, Feed, OnlineStore, State

Result = TypeVar("Result")
FORMER_KINDS = {"metric": "probe"}
"""Kinds whose entry points an older package may still declare under another name."""
_DECLARED = re.compile(r'^KIND = "(\w+)"$', re.MULTILINE)
_IN_FAMILIES = re.compile(r"^IN_FAMILIES = True$", re.MULTILINE)
_DOCSTRING = re.compile(r'\A"""(.*?)(?:"""|\n)')
# Libraries that are imported by another name than they are installed by.
_PACKAGES = {
    "sklearn": "scikit-learn",
    "joblib": "scikit-learn",
    "vl_convert": "vl-convert-python",
    "xgboost": "xgboost-cpu",
    "argon2": "argon2-cffi",
    "grpc": "grpcio",
    "google": "protobuf",
    "openlineage": "openlineage-python",
    "yaml": "pyyaml",
    "cyclonedx": "cyclonedx-python-lib",
    "packageurl": "packageurl-python",
    "opentelemetry": "opentelemetry-exporter-otlp-proto-http",
}


_ROOT = Path(headway.__file__).parent


@dataclass(frozen=True, slots=True)
class _Folders:
    """The folders of plug-ins of one kind; in families, the files lie one folder deeper."""

    paths: tuple[Path, ...]
    in_families: bool


@functools.cache
def _folders() -> dict[str, _Folders]:
    """Return the folders of each kind: those whose `_plugins.py` declares `KIND`, read without importing it."""
    paths, in_families = dict[str, list[Path]](), set[str]()
    for file in sorted((*_ROOT.glob("*/_plugins.py"), *_ROOT.glob("*/*/_plugins.py"))):
        text = file.read_text(encoding="utf-8")
        (kind,) = _DECLARED.findall(text)
        paths.setdefault(kind, []).append(file.parent)
        if _IN_FAMILIES.search(text):
            in_families.add(kind)
    return {kind: _Folders(tuple(paths[kind]), kind in in_families) for kind in sorted(paths)}


def kinds() -> tuple[str, ...]:
    """Return every kind of plug-in that headway has a folder for."""
    return tuple(_folders())


def names(kind: str) -> list[str]:
    """Return every plug-in of a kind, headway's own and others, sorted."""
    return sorted({*own(kind), *(point.name for point in _outside(kind))})


def require(kind: str, wanted: Iterable[str], *, field: str) -> None:
    """Raise ValueError for the first name that no installed plug-in of a kind has; `field` is the setting of a section.

    Own plug-ins are looked at first, so that packages are read only for the names of others.
    """
    for name in wanted:
        if name not in own(kind) and name not in names(kind):
            raise ValueError(f"{field}: no {kind} '{name}' is installed; one of: {', '.join(names(kind))}")


def all_names() -> dict[str, list[str]]:
    """Return the plug-ins of every kind."""
    return {kind: names(kind) for kind in _folders()}


def own(kind: str) -> dict[str, Path]:
    """Return the file of each of headway's own plug-ins of a kind, by name."""
    return {name: path for name, path in _files(kind).items() if not name.startswith("_")}


def folders(kind: str) -> tuple[Path, ...]:
    """Return the folders of headway's own plug-ins of a kind."""
    return _folders_of(kind).paths


def family(kind: str, name: str) -> str:
    """Return the family of a plug-in; empty for one of another package, and for a kind without families."""
    path = _files(kind).get(name)
    return path.parent.name if path and _folders_of(kind).in_families else ""


def describe(kind: str, name: str) -> str:
    """Return the first docstring line of a plug-in, read without importing it, and if possible without parsing it.

    One of another package that cannot be read is described by the reason, so that the others are still listed.
    """
    try:
        path = _path(kind, name)
        found = _DOCSTRING.match(path.read_text(encoding="utf-8"))
        return found[1] if found else _parsed(path).docstring.partition("\n")[0]
    except (UnreadablePlugin, OSError, SyntaxError, ValueError) as error:
        return f"(cannot be read: {error.what if isinstance(error, UnreadablePlugin) else error})"


def manual(kind: str, name: str) -> str:
    """Return the docstring of a plug-in's object up to its parameters, read without importing it."""
    return _parsed(_path(kind, name)).manual.partition("\nParameters\n")[0].strip()


def declaration(kind: str, name: str, constant: str, default: Any = None) -> Any:
    """Return the literal that a plug-in's module assigns to `constant`, read without importing it.

    Returns `default` where the module assigns none. Raises PluginError for an unknown plug-in.
    """
    assigned = _parsed(_path(kind, name)).assigned
    return ast.literal_eval(assigned[constant]) if constant in assigned else default


_REMOVE = "pip install --force-reinstall its package, or pip uninstall it"


class UnreadablePlugin(PluginError):
    """A plug-in of another package is named by its entry point, and its module cannot be found."""


def _path(kind: str, name: str) -> Path:
    path = _files(kind).get(name)
    if path is not None:
        return path
    module = module_name(kind, name)
    try:
        spec = importlib.util.find_spec(module)
    except Exception as error:
        raise UnreadablePlugin(f"the package of {kind} {name!r} fails: {error}", hint=_REMOVE) from error
    if spec is None or spec.origin is None:
        raise UnreadablePlugin(f"{kind} {name!r} is installed, and its module {module!r} is not", hint=_REMOVE)
    return Path(spec.origin)


class _Parsed(NamedTuple):
    """What is read of a module without importing it: docstrings of the module and its plug-in, values it assigns."""

    docstring: str
    manual: str
    assigned: dict[str, ast.expr]


@functools.lru_cache(maxsize=64)
def _parsed(path: Path) -> _Parsed:
    """Parse a module; only these parts of the tree stay in memory, which is ten times as large."""
    tree = ast.parse(path.read_text(encoding="utf-8"))
    plugins = [node for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef) and node.name == "plugin"]
    names = ((target, node.value) for node in tree.body if isinstance(node, ast.Assign) for target in node.targets)
    assigned = {target.id: value for target, value in names if isinstance(target, ast.Name)}
    manual = ast.get_docstring(plugins[0]) if plugins else None
    return _Parsed(ast.get_docstring(tree) or "", manual or "", assigned)


def load_engine(name: str) -> type[Engine]:
    """Return the class of an engine; raises PluginError with a hint if its library is absent."""
    engine: type[Engine] = load("engine", name)
    return engine


_open_baselines: dict[tuple[str, str, tuple[tuple[str, object], ...]], Engine] = {}


def open_baseline(name: str, digest: str, content: bytes, settings: Mapping[str, Any]) -> Engine:
    """Open the bytes of a baseline with its engine, or return the engine if it was the last baseline to be opened.

    A forest of 500 trees takes seconds to open, and a search needs it at import, on each period, and at the end.
    """
    key = (name, digest, tuple(sorted(settings.items())))
    if key not in _open_baselines:
        opened = load_engine(name)(content, dict(settings))
        _open_baselines.clear()
        _open_baselines[key] = opened
    return _open_baselines[key]


def load_format(name: str) -> Format:
    """Return the file format of a suffix; raises PluginError with a hint if its library is absent."""
    with guarded("format", name):
        format: Format = load("format", name)
    return format


def load_blobs(name: str) -> type[Blobs]:
    """Return the class of a blob store, which opens a folder or an address."""
    blobs: type[Blobs] = load("blobs", name)
    return blobs


def load_object(reference: str, folder: Path) -> Any:
    """Load `module:name` of a project: from `module.py` in its folder, else from an installed module.

    This runs the project's own code; never pass a reference that came with another person's model.
    """
    module_name, _, name = reference.partition(":")
    file = folder / f"{module_name}.py"
    try:
        module = _module_of(file) if file.exists() else importlib.import_module(module_name)
        return getattr(module, name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise PluginError(f"cannot find {reference!r}: {error}", where=str(file), hint="module:function") from error
    except SyntaxError as error:
        line = f"{error.filename}, line {error.lineno}"
        raise PluginError(f"{reference!r} cannot be read: {error.msg}", where=line, hint="correct this line") from error


def _module_of(file: Path) -> Any:
    """Run a file of the project as it is now: bytecode of an edit in the same second would pass for it."""
    module = types.ModuleType(file.stem)
    module.__file__ = str(file)
    sys.modules[file.stem] = module  # dataclasses and pickle look a class's module up here
    exec(compile(file.read_bytes(), str(file), "exec", dont_inherit=True), module.__dict__)
    return module


def load_sibling(module: str, name: str, *, reads: str) -> Any:
    """Import the module `_NAME` next to a module (its `__name__`), whose library may be absent.

    Raises PluginError with a hint if it is; `reads` names what needs the library.
    """
    try:
        return importlib.import_module(f"{module.rpartition('.')[0]}._{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "headway":
            raise
        raise PluginError(f"{reads} needs {missing!r}", hint=install(missing)) from error


def load_state(name: str) -> type[State]:
    """Return the class of a state store, which opens a folder or an address."""
    state: type[State] = load("state", name)
    return state


def load_feed(name: str) -> type[Feed]:
    """Return the class of a change feed, which opens an address; raises PluginError if its library is absent."""
    feed: type[Feed] = load("feed", name)
    return feed


def load_online_store(name: str) -> type[OnlineStore]:
    """Return the class of an online store, which opens a folder or an address."""
    store: type[OnlineStore] = load("online_store", name)
    return store


def load(kind: str, name: str) -> Any:
    """Return the `plugin` object of that kind and name; raises PluginError with a hint if its library is absent."""
    try:
        return importlib.import_module(module_name(kind, name)).plugin
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "headway":
            raise
        raise PluginError(f"{kind} {name!r} needs {missing!r}", hint=install(missing)) from error


@contextmanager
def guarded(kind: str, name: str) -> Iterator[None]:
    """Raise NotApplicable for an error of a plug-in that is not one of headway's, so that its defect is named.

    Also raised if memory does not suffice for it. An interrupt ends the work as always.
    """
    try:
        yield
    except HeadwayError:
        raise
    except Exception as error:
        frame = traceback.extract_tb(error.__traceback__)[-1]
        raise NotApplicable(
            f"it raised {type(error).__name__}: {error}",
            where=f"{frame.filename}:{frame.lineno}",
            hint=f"correct the plug-in {name!r} of the kind {kind!r}, or remove the package that brings it",
        ) from error


def run_plugin(kind: str, name: str, call: Callable[[Any], Result]) -> Result | NotApplicable:
    """Load a plug-in that judges, call it, and return its result, or why it has none: it did not run.

    `call` gets the plug-in, and must read its whole result. Raises PluginError for an unknown name, and passes on a
    ConfigError or StoreError, which the plug-in is not the cause of.
    """
    try:
        with guarded(kind, name):
            return call(load(kind, name))
    except NotApplicable as reason:
        return reason
    except (ConfigError, StoreError):
        raise
    except HeadwayError as error:
        if name not in names(kind):
            raise
        return NotApplicable(error.what, where=error.where, hint=error.hint)


def module_name(kind: str, name: str) -> str:
    """Return the name of the module of a plug-in, which is not imported; raises PluginError for an unknown one."""
    if name in _files(kind):
        return ".".join(("headway", *_files(kind)[name].relative_to(_ROOT).with_suffix("").parts))
    point = next((point for point in _outside(kind) if point.name == name), None)
    if point is None:
        raise _unknown(kind, name)
    return point.module


def _folders_of(kind: str) -> _Folders:
    if kind not in _folders():
        raise PluginError(f"no plug-in kind {kind!r}", hint=f"one of: {', '.join(_folders())}")
    return _folders()[kind]


@functools.cache
def _files(kind: str) -> dict[str, Path]:
    """Return the files of a kind by name, with helpers whose name begins with `_`."""
    folders = _folders_of(kind)
    files = (file for path in folders.paths for file in path.glob("*/*.py" if folders.in_families else "*.py"))
    return {path.stem: path for path in sorted(files, key=lambda path: path.stem) if path.stem != "_plugins"}


def _outside(kind: str) -> list[EntryPoint]:
    """Return the entry points of other packages.

    Those under the former name of a renamed kind count as well, with a warning.
    """
    declared = entry_points(kind)
    if kind in FORMER_KINDS:
        for point in entry_points(FORMER_KINDS[kind]):
            warn_renamed(f"entry point {point.name}", f"headway.{FORMER_KINDS[kind]}", f"headway.{kind}")
            declared.append(point)
    return declared


def _unknown(kind: str, name: str) -> PluginError:
    known = names(kind)
    near = difflib.get_close_matches(name, known, 1)
    return PluginError(
        f"no {kind} named {name!r}", where=f"known: {', '.join(known) or 'none'}", hint=near[0] if near else ""
    )


def package_name(library: str) -> str:
    """Return the name that a library is installed by."""
    return _PACKAGES.get(library, library)


def install(library: str) -> str:
    """Return the pip command that installs a library: the extra of headway that names it, else the library itself."""
    package = package_name(library)
    metadata = importlib.import_module("importlib.metadata")  # read for an error only
    for requirement in metadata.requires("headway") or []:
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if extra and re.split(r"[^\w-]", requirement)[0] == package:
            return f"pip install 'headway[{extra[1]}]'"
    return f"pip install {package}"
