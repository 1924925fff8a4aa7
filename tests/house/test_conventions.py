"""Conventions that no linter checks: docstrings, skipped tests, paths of one machine."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import PurePath

import pytest
from tests.house.source_tree import ROOT, Source, fail_with, public, sources, tracked

# One letter of each stands in brackets, so that this file does not find itself.
ELSEWHERE = re.compile(
    r"/wor[k]/|/roo[t]/|/hom[e]/\w|/tm[p]/w/|/opt/wheel[s]|pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.org"
)


def undocumented(source: Source) -> list[str]:
    """Return the modules and public classes without a docstring."""
    module = [] if ast.get_docstring(source.tree) else [f"{source.path}:1: the file has no docstring"]
    nodes = [node for node in public(source) if isinstance(node, ast.ClassDef) and not ast.get_docstring(node)]
    return module + [f"{source.at(node)}: {node.name} has no docstring" for node in nodes]


def skipping(source: Source) -> list[str]:
    """Return the marks and calls that skip a test or allow it to fail."""
    named = ("skip", "skipif", "xfail", "importorskip")
    if not any(name in source.text for name in named):
        return []  # most files: they need not be parsed
    nodes = [node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute) and node.attr in named]
    return [source.at(node) for node in nodes if re.match(r"pytest\.(mark\.)?\w+$", ast.unparse(node))]


def machine_paths(path: str, text: str) -> list[str]:
    """Return paths of one machine and hosts of registries."""
    lines = enumerate(text.split("\n"), 1)
    return [f"{path}:{number}: {found[0]}" for number, line in lines if (found := ELSEWHERE.search(line))]


@pytest.mark.slow
def test_every_file_and_public_class_has_a_docstring() -> None:
    fail_with(line for source in sources("src") for line in undocumented(source))


@pytest.mark.slow
def test_no_test_is_skipped_or_allowed_to_fail() -> None:
    fail_with(line for source in sources("tests") for line in skipping(source))


@pytest.mark.slow
def test_no_file_names_a_path_of_one_machine_or_a_registry() -> None:
    texts = {path: (ROOT / path).read_bytes().decode("utf-8", "replace") for path in tracked()}
    fail_with(line for path, text in texts.items() for line in machine_paths(path, text))


def test_names_of_test_files_are_unique() -> None:
    paths = [PurePath(source.path) for source in sources("tests") if not source.path.endswith("/conftest.py")]
    count = Counter(path.name for path in paths)
    fail_with(f"{path}:1: another file has this name" for path in paths if count[path.name] > 1)


@pytest.mark.parametrize(
    ("rule", "text", "count"),
    [
        (undocumented, "def f(): ...", 1),
        (undocumented, "'''A.'''\nclass A:\n    '''A.'''\n    def f(self): ...\nclass B: ...", 1),
        (undocumented, "'''A.'''\ndef plugin(dataset): ...\nclass _B:\n    def f(self): ...", 0),
        (skipping, "import pytest\n@pytest.mark.skip\ndef test(): pytest.importorskip('a')", 2),
        (skipping, "@pytest.mark.slow\ndef test(): buffer.skip(1)", 0),
    ],
)
def test_a_violation_is_found(rule: object, text: str, count: int) -> None:
    assert len(rule(Source("src/headway/a.py", text))) == count  # type: ignore[operator]


@pytest.mark.parametrize("text", [f"cd /{'work'}/main", f"x\nhttps://{'pypi'}.org/simple", f"/{'home'}/ada/x"])
def test_a_path_of_one_machine_is_found(text: str) -> None:
    assert machine_paths("a.md", text)[0].startswith(f"a.md:{text.count(chr(10)) + 1}: ")
