"""The architecture page names files, functions and packages that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

from tests.house.pages import code_blocks, read
from tests.house.source_tree import ROOT

PAGE = read("docs/architecture.md")
SRC = ROOT / "src/headway"


def defined(file: Path) -> set[str]:
    """Return the functions and classes of a file, methods as `Class.method`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return names | {f"{class_.name}.{node.name}" for class_ in classes for node in class_.body if hasattr(node, "name")}


def test_every_function_that_the_page_names_exists():
    named = re.findall(r"`([\w/]+\.py):([\w.]+)`", PAGE)
    missing = [f"{file}:{name}" for file, name in named if name not in defined(SRC / file)]
    assert len(named) > 20
    assert missing == []


def test_the_page_lists_exactly_the_packages_that_exist():
    (folders,) = code_blocks("docs/architecture.md", "text")
    named = set(re.findall(r"^  ([\w]+)/ ", folders, re.MULTILINE))
    assert named == {path.name for path in SRC.iterdir() if path.is_dir() and path.name != "__pycache__"}
