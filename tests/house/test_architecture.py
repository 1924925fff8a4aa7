"""Pages name files, folders, functions and classes that exist."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest
from tests.house.pages import PAGES as ALL_PAGES
from tests.house.pages import code_blocks, read
from tests.house.source_tree import ROOT, fail_with, sources

NAMED = re.compile(r"`([\w/]+\.py):([\w.]+)`")
PATH = re.compile(r"`((?:[\w-]+/)+(?:[\w-]+\.\w+)?)(?::[\w.]+)?`")
CLASS = re.compile(r"`([A-Z]\w*[a-z]\w*)`")

PAGE = read("docs/architecture.md")
PAGES = ("docs/architecture.md", "docs/extending.md", "CONTRIBUTING.md")
DECISIONS = [path for path in ALL_PAGES if path.startswith("docs/decisions/0")]
SRC = ROOT / "src/headway"
ELSEWHERE = {"models/", "services/", "blobs/", "releases/", "log/", "labels/", "online/"}
"""Folders that pages name and that are not in this repository: of a store, or rejected layouts."""


def defined(file: Path) -> set[str]:
    """Return the functions and classes of a file, methods as `Class.method`."""
    tree = ast.parse(file.read_text(encoding="utf-8"))
    names = {node.name for node in tree.body if isinstance(node, ast.FunctionDef | ast.ClassDef)}
    classes = [node for node in tree.body if isinstance(node, ast.ClassDef)]
    return names | {f"{class_.name}.{node.name}" for class_ in classes for node in class_.body if hasattr(node, "name")}


def exists(path: str) -> bool:
    """Check whether a path exists in the repository, in the package, or in one of its folders."""
    return any((folder / path).exists() for folder in (ROOT, SRC, *SRC.glob("*/")))


@pytest.mark.slow
@pytest.mark.parametrize("page", PAGES)
def test_every_function_and_class_that_a_page_names_exists(page: str) -> None:
    named = [(path.removeprefix("src/headway/"), name) for path, name in NAMED.findall(read(page))]
    fail_with(f"{page}: {path}:{name}" for path, name in named if name not in defined(SRC / path))


def test_the_architecture_page_follows_the_code_by_names() -> None:
    assert len(NAMED.findall(PAGE)) > 20


@pytest.mark.parametrize("page", [*PAGES, *DECISIONS])
def test_every_file_and_folder_that_a_page_names_exists(page: str) -> None:
    paths = [path for path in PATH.findall(read(page)) if "NAME" not in path and path not in ELSEWHERE]
    fail_with(f"{page}: {path}" for path in paths if not exists(path))


@pytest.mark.parametrize("page", PAGES)
def test_every_class_that_a_page_names_exists(page: str) -> None:
    code = "\n".join(source.text for folder in ("src", "tests") for source in sources(folder))
    fail_with(f"{page}: {name}" for name in CLASS.findall(read(page)) if not re.search(rf"\b{name}\b", code))


def test_the_page_lists_exactly_the_packages_that_exist():
    (folders,) = code_blocks("docs/architecture.md", "text")
    named = set(re.findall(r"^  ([\w]+)/ ", folders, re.MULTILINE))
    assert named == {path.name for path in SRC.iterdir() if path.is_dir() and path.name != "__pycache__"}
