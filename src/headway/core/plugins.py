"""The plug-in finder: kind = folder, name = file, description = first docstring line, object = `plugin`.

Names and descriptions are read without importing anything, so that listing plug-ins costs no library. Checks are many:
they lie in families, a folder each.
Packages from outside add plug-ins by entry points of the group `headway.<kind>`.
"""

from __future__ import annotations

import ast
import difflib
import importlib
import importlib.machinery
import importlib.metadata
import importlib.util
import re
import sys
import types
from collections.abc import Callable
from pathlib import Path
from typing import Any

import headway
from headway.core.batch import Format
from headway.core.contracts import Audit, Blobs, Check, Detector, Engine, Metric, Source, State, Transform
from headway.core.errors import PluginError

FOLDERS = {
    "source": "data.sources",
    "check": "data.checks",
    "engine": "engines",
    "transform": "optimization.transforms",
    "probe": "evaluation.metrics",
    "audit": "evaluation.audits",
    "detector": "monitoring.detectors",
    "format": "batch.formats",
    "blobs": "storage.blobs",
    "state": "storage.state",
    "section": "reporting.sections",
    "command": "cli.commands",
}
IN_FAMILIES = frozenset({"check"})
# Libraries that are imported by another name than they are installed by.
_PACKAGES = {
    "sklearn": "scikit-learn",
    "joblib": "scikit-learn",
    "vl_convert": "vl-convert-python",
    "xgboost": "xgboost-cpu",
    "grpc": "grpcio",
    "google": "protobuf",
    "openlineage": "openlineage-python",
    "yaml": "pyyaml",
    "opentelemetry": "opentelemetry-exporter-otlp-proto-http",
}


def names(kind: str) -> list[str]:
    """Every plug-in of a kind, own and from outside, sorted."""
    return sorted({*own(kind), *(point.name for point in _outside(kind))})


def own(kind: str) -> dict[str, Path]:
    """The file of every plug-in of a kind that is headway's own, by name."""
    return {name: path for name, path in _files(kind).items() if not name.startswith("_")}


def family(kind: str, name: str) -> str:
    """The family in which a plug-in lies; empty for one from outside, and of a kind that has none."""
    path = _files(kind).get(name)
    return path.parent.name if path and kind in IN_FAMILIES else ""


def describe(kind: str, name: str) -> str:
    """The first docstring line of a plug-in, read without importing it."""
    return (ast.get_docstring(_tree(kind, name)) or "").partition("\n")[0]


def manual(kind: str, name: str) -> str:
    """What the docstring of a plug-in's object says before it comes to parameters, read without importing it."""
    objects = (node for node in _tree(kind, name).body if getattr(node, "name", "") == "plugin")
    said = (ast.get_docstring(node) for node in objects if isinstance(node, ast.FunctionDef | ast.ClassDef))
    return (next(said, None) or "").partition("\nParameters\n")[0].strip()


def declaration(kind: str, name: str, constant: str, default: Any = None) -> Any:
    """Return the literal that a plug-in's module assigns to `constant`, read without importing it.

    Returns `default` where the module assigns none. Raises PluginError where there is no such plug-in.
    """
    for node in _tree(kind, name).body:
        if isinstance(node, ast.Assign) and any(getattr(target, "id", "") == constant for target in node.targets):
            return ast.literal_eval(node.value)
    return default


def _tree(kind: str, name: str) -> ast.Module:
    path = _files(kind).get(name)
    if path is None:
        point = next((point for point in _outside(kind) if point.name == name), None)
        spec = importlib.util.find_spec(point.module) if point else None
        if spec is None or spec.origin is None:
            raise _unknown(kind, name)
        path = Path(spec.origin)
    return ast.parse(path.read_text(encoding="utf-8"))


def load_engine(name: str) -> type[Engine]:
    """The class that opens models with this engine; raises PluginError with the mend if its library is absent."""
    engine: type[Engine] = _load("engine", name)
    return engine


def load_source(name: str) -> Source:
    """The reader of databases whose URLs begin with that name; raises PluginError if its library is absent."""
    source: Source = _load("source", name)
    return source


def load_check(name: str) -> Check:
    """The check of that name."""
    check: Check = _load("check", name)
    return check


def load_transform(name: str) -> Transform:
    """The transform of that name."""
    transform: Transform = _load("transform", name)
    return transform


def load_probe(name: str) -> Metric:
    """The probe of that name."""
    probe: Metric = _load("probe", name)
    return probe


def load_audit(name: str) -> Audit:
    """The audit of that name; raises PluginError with the mend if its library is absent."""
    audit: Audit = _load("audit", name)
    return audit


def load_detector(name: str) -> Detector:
    """The detector of that name."""
    detector: Detector = _load("detector", name)
    return detector


def load_format(name: str) -> Format:
    """The format of files of that suffix; raises PluginError with the mend if its library is absent."""
    format: Format = _load("format", name)
    return format


def load_blobs(name: str) -> type[Blobs]:
    """The class of the blob store of that name; it opens a folder or an address."""
    blobs: type[Blobs] = _load("blobs", name)
    return blobs


def load_section(name: str) -> Callable[[Any], Any]:
    """The section of reports of that name, a function from a story; `reporting/section.py` says what it gives."""
    section: Callable[[Any], Any] = _load("section", name)
    return section


def load_object(reference: str, folder: Path) -> Any:
    """The object `module:name` of a project: `module.py` in the project's folder, else an installed module.

    This runs the project's own code; never give it a reference that came with somebody else's model.
    """
    module_name, _, name = reference.partition(":")
    file = folder / f"{module_name}.py"
    try:
        module = _module_of(file) if file.exists() else importlib.import_module(module_name)
        return getattr(module, name)
    except (ModuleNotFoundError, AttributeError) as error:
        raise PluginError(f"cannot find {reference!r}: {error}", where=str(file), hint="module:function") from error


def _module_of(file: Path) -> Any:
    module = types.ModuleType(file.stem)
    module.__file__ = str(file)
    sys.modules[file.stem] = module  # dataclasses and pickle look a class's module up here
    importlib.machinery.SourceFileLoader(file.stem, str(file)).exec_module(module)
    return module


def load_beside(module: str, name: str, *, reads: str) -> Any:
    """The file `_NAME.py` beside a module (its `__name__`), whose library may be absent; `reads` is what needs it.

    Raises PluginError with the mend where it is.
    """
    try:
        return importlib.import_module(f"{module.rpartition('.')[0]}._{name}")
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "headway":
            raise
        raise PluginError(f"{reads} needs {missing!r}", hint=install(missing)) from error


def load_state(name: str) -> type[State]:
    """The class of the state store of that name; it opens a folder or an address."""
    state: type[State] = _load("state", name)
    return state


def _load(kind: str, name: str) -> Any:
    try:
        return _module(kind, name).plugin
    except ModuleNotFoundError as error:
        missing = (error.name or "").partition(".")[0]
        if missing == "headway":
            raise
        raise PluginError(f"{kind} {name!r} needs {missing!r}", hint=install(missing)) from error


def _module(kind: str, name: str) -> Any:
    if name in _files(kind):
        inside = [family(kind, name), name] if kind in IN_FAMILIES else [name]
        return importlib.import_module(".".join(("headway", FOLDERS[kind], *inside)))
    point = next((point for point in _outside(kind) if point.name == name), None)
    if point is None:
        raise _unknown(kind, name)
    return importlib.import_module(point.module)


def _folder(kind: str) -> Path:
    if kind not in FOLDERS:
        raise PluginError(f"no plug-in kind {kind!r}", hint=f"one of: {', '.join(FOLDERS)}")
    return Path(headway.__file__).parent / FOLDERS[kind].replace(".", "/")


def _files(kind: str) -> dict[str, Path]:
    """Those that are listed, and parts of them that are loaded by a name that begins with `_`."""
    return {path.stem: path for path in sorted(_folder(kind).glob("*/*.py" if kind in IN_FAMILIES else "*.py"))}


def _outside(kind: str) -> importlib.metadata.EntryPoints:
    return importlib.metadata.entry_points(group=f"headway.{kind}")


def _unknown(kind: str, name: str) -> PluginError:
    known = names(kind)
    near = difflib.get_close_matches(name, known, 1)
    return PluginError(
        f"no {kind} named {name!r}", where=f"known: {', '.join(known) or 'none'}", hint=near[0] if near else ""
    )


def install(library: str) -> str:
    """The pip command that brings a library: the extra of headway that names it, else the library itself."""
    package = _PACKAGES.get(library, library)
    for requirement in importlib.metadata.requires("headway") or []:
        extra = re.search(r"extra == ['\"](\w+)['\"]", requirement)
        if extra and re.split(r"[^\w-]", requirement)[0] == package:
            return f"pip install 'headway[{extra[1]}]'"
    return f"pip install {package}"
