"""The tracked files of the repository: Python sources, parsed once, and their imports."""

from __future__ import annotations

import ast
import functools
import subprocess
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path

ROOT = Path(__file__).parents[2]
Function = ast.FunctionDef | ast.AsyncFunctionDef


@dataclass(frozen=True)
class Source:
    """One Python file; `path` is relative to the repository."""

    path: str
    text: str

    @functools.cached_property
    def tree(self) -> ast.Module:
        return ast.parse(self.text)

    @functools.cached_property
    def imports(self) -> tuple[Import, ...]:
        """Return every import of the file, including those in functions and under TYPE_CHECKING."""
        return tuple(_imports(self, self.tree, typing=False, local=""))

    @property
    def inner(self) -> str:
        """Return the path inside the package, or an empty string: `serving/protocol/open_inference.py`."""
        return self.path.removeprefix("src/headway/") if self.path.startswith("src/headway/") else ""

    @property
    def module(self) -> str:
        """Return the dotted name by which it is imported."""
        return self.path.removeprefix("src/").removesuffix(".py").removesuffix("/__init__").replace("/", ".")

    def at(self, node: ast.AST) -> str:
        """Return the position of a node as `file:line`."""
        return f"{self.path}:{getattr(node, 'lineno', 1)}"


@dataclass(frozen=True)
class Import:
    """One imported name: `module` is the module of the statement, `name` the name imported from it."""

    at: str
    module: str
    name: str = ""
    typing: bool = False
    local: str = ""

    @property
    def library(self) -> str:
        return self.module.partition(".")[0]


@functools.cache
def tracked() -> tuple[str, ...]:
    """Return every file that git tracks or would track, sorted."""
    # A checkout may belong to another user than the one who tests.
    git = ["git", "-c", f"safe.directory={ROOT}"]
    listing = [*git, "ls-files", "--cached", "--others", "--exclude-standard"]
    names = subprocess.run(listing, cwd=ROOT, check=True, capture_output=True, text=True).stdout.split("\n")
    return tuple(sorted(name for name in names if name and (ROOT / name).is_file()))


@functools.cache
def sources(folder: str) -> tuple[Source, ...]:
    """Return the Python files below a folder of the repository."""
    names = (name for name in tracked() if name.startswith(f"{folder}/") and name.endswith(".py"))
    return tuple(Source(name, (ROOT / name).read_text(encoding="utf-8")) for name in names)


def _imports(source: Source, node: ast.AST, *, typing: bool, local: str) -> Iterator[Import]:
    for child in ast.iter_child_nodes(node):
        if isinstance(child, ast.Import):
            for alias in child.names:
                yield Import(source.at(child), alias.name, "", typing, local)
        elif isinstance(child, ast.ImportFrom):
            for alias in child.names:
                yield Import(source.at(child), child.module or ".", alias.name, typing, local)
        elif not isinstance(child, ast.expr):  # no expression holds a statement
            inside = child.name if isinstance(child, Function) else local
            yield from _imports(source, child, typing=typing or _guards_types(child), local=inside)


def _guards_types(node: ast.AST) -> bool:
    return isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)


def public(source: Source) -> Iterator[Function | ast.ClassDef]:
    """Yield the functions, classes and methods without a leading underscore in their own or their class's name."""
    found = [node for node in source.tree.body if isinstance(node, Function | ast.ClassDef)]
    for node in found:
        if not node.name.startswith("_"):
            yield node
            if isinstance(node, ast.ClassDef):
                found += [child for child in node.body if isinstance(child, Function | ast.ClassDef)]


def fail_with(found: Iterable[str]) -> None:
    """Fail with every line found."""
    lines = list(found)
    assert not lines, "\n" + "\n".join(lines)
