"""Words that must stand in a file, and words that must not."""

from __future__ import annotations

import ast
import re
from collections import Counter
from pathlib import PurePath

import pytest
from tests.house.source_tree import ROOT, Source, none_of, public, sources, tracked

# One letter of each stands in brackets, so that this file does not find itself.
ELSEWHERE = re.compile(
    r"/wor[k]/|/roo[t]/|/hom[e]/\w|/tm[p]/w/|/opt/wheel[s]|pyp[i]\.org|pythonhoste[d]\.org|npmj[s]\.org"
)


def undescribed(source: Source) -> list[str]:
    """The file, its public functions and its public classes that no docstring describes."""
    module = [] if ast.get_docstring(source.tree) else [f"{source.path}:1: the file has no docstring"]
    nodes = [node for node in public(source) if node.name != "plugin" and not ast.get_docstring(node)]
    return module + [f"{source.at(node)}: {node.name} has no docstring" for node in nodes]


def passes_over(source: Source) -> list[str]:
    """Marks and calls by which a test is not run, or may fail."""
    names = [node for node in ast.walk(source.tree) if isinstance(node, ast.Attribute)]
    return [
        source.at(node)
        for node in names
        if re.match(r"pytest\.(mark\.)?(skip|skipif|xfail|importorskip)$", ast.unparse(node))
    ]


def names_a_place(path: str, text: str) -> list[str]:
    """Paths of one machine and hosts of registries."""
    lines = enumerate(text.split("\n"), 1)
    return [f"{path}:{number}: {found[0]}" for number, line in lines if (found := ELSEWHERE.search(line))]


def test_every_file_and_public_name_has_a_docstring() -> None:
    none_of(line for source in sources("src") for line in undescribed(source))


def test_no_test_is_passed_over_or_allowed_to_fail() -> None:
    none_of(line for source in sources("tests") for line in passes_over(source))


def test_no_file_names_a_place_on_one_machine_or_a_registry() -> None:
    texts = {path: (ROOT / path).read_bytes().decode("utf-8", "replace") for path in tracked()}
    none_of(line for path, text in texts.items() for line in names_a_place(path, text))


def test_test_files_have_names_of_their_own() -> None:
    paths = [PurePath(source.path) for source in sources("tests") if not source.path.endswith("/conftest.py")]
    count = Counter(path.name for path in paths)
    none_of(f"{path}:1: another file has this name" for path in paths if count[path.name] > 1)


@pytest.mark.parametrize(
    ("rule", "text", "count"),
    [
        (undescribed, "def f(): ...", 2),
        (undescribed, "'''A.'''\nclass A:\n    '''A.'''\n    def f(self): ...\n    def _g(self): ...", 1),
        (undescribed, "'''A.'''\ndef plugin(dataset): ...\nclass _B:\n    def f(self): ...", 0),
        (passes_over, "import pytest\n@pytest.mark.skip\ndef test(): pytest.importorskip('a')", 2),
        (passes_over, "@pytest.mark.slow\ndef test(): buffer.skip(1)", 0),
    ],
)
def test_a_word_against_the_rule_is_seen(rule: object, text: str, count: int) -> None:
    assert len(rule(Source("src/headway/a.py", text))) == count  # type: ignore[operator]


@pytest.mark.parametrize("text", [f"cd /{'work'}/main", f"x\nhttps://{'pypi'}.org/simple", f"/{'home'}/ada/x"])
def test_a_place_on_one_machine_is_seen(text: str) -> None:
    assert names_a_place("a.md", text)[0].startswith(f"a.md:{text.count(chr(10)) + 1}: ")
