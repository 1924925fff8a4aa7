"""Files, functions, arguments, nesting and folders stay within what one can read."""

from __future__ import annotations

import ast
from collections import Counter
from pathlib import PurePath

import pytest
from tests.house.source_tree import Function, Source, functions, length, none_of, sources

from headway.core import plugins

FILE, FUNCTION, ARGUMENTS, NESTING, FOLDER = 400, 50, 5, 3, 15
FOLDERS = ("src", "tests", "bench", "tools")
BLOCKS = (ast.If, ast.For, ast.AsyncFor, ast.While, ast.With, ast.AsyncWith, ast.Try, ast.Match)


def arguments(node: Function) -> int:
    """Arguments of a function but for self and cls."""
    names = [each.arg for each in (*node.args.posonlyargs, *node.args.args, *node.args.kwonlyargs)]
    return len(names) - (names[:1] in (["self"], ["cls"]))


def nesting(node: ast.AST, depth: int = 0) -> int:
    """The deepest block in a block; an `elif` stands where its `if` stands, an inner function begins anew."""
    deepest = depth
    for field, value in ast.iter_fields(node):
        children = [child for child in (value if isinstance(value, list) else [value]) if isinstance(child, ast.AST)]
        chained = field == "orelse" and isinstance(node, ast.If) and len(children) == 1
        for child in children:
            if not isinstance(child, Function):
                inner = depth + (isinstance(child, BLOCKS) and not (chained and isinstance(child, ast.If)))
                deepest = max(deepest, nesting(child, inner))
    return deepest


def oversized(source: Source) -> list[str]:
    """What of a file is past its limit, as `file:line: what`."""
    lines = source.text.count("\n")
    found = [f"{source.path}:{lines}: {lines} lines, at most {FILE}"] if lines > FILE else []
    for node in functions(source):
        sizes = ((length(node), FUNCTION, "lines"), (nesting(node), NESTING, "blocks deep"))
        found += [
            f"{source.at(node)}: {node.name} is {size} {unit}, at most {limit}"
            for size, limit, unit in sizes
            if size > limit
        ]
    return found


def overloaded(source: Source) -> list[str]:
    """Functions of too many arguments."""
    many = [(node, arguments(node)) for node in functions(source) if arguments(node) > ARGUMENTS]
    return [f"{source.at(node)}: {node.name} takes {count} arguments, at most {ARGUMENTS}" for node, count in many]


@pytest.mark.parametrize("folder", FOLDERS)
def test_files_functions_and_blocks_are_small(folder: str) -> None:
    none_of(line for source in sources(folder) for line in oversized(source))


def test_folders_are_small_but_for_those_of_plugins_and_the_nouns_of_core() -> None:
    many = {f"src/headway/{folder.replace('.', '/')}" for folder in (*plugins.FOLDERS.values(), "core")}
    count = Counter(str(PurePath(source.path).parent) for source in sources("src"))
    none_of(
        f"{folder}:1: {n} files, at most {FOLDER}" for folder, n in count.items() if n > FOLDER and folder not in many
    )


@pytest.mark.parametrize("folder", ["src", "bench", "tools"])
def test_functions_take_few_arguments(folder: str) -> None:
    none_of(line for source in sources(folder) for line in overloaded(source))


def planted(text: str) -> list[str]:
    source = Source("planted.py", text)
    return [*oversized(source), *overloaded(source)]


@pytest.mark.parametrize(
    ("text", "says"),
    [
        ("\n" * 401, "planted.py:401: 401 lines, at most 400"),
        ("def f():\n" + "    x = 1\n" * 50, "planted.py:1: f is 51 lines, at most 50"),
        ("def f(a, b, /, c, d, *, e, g): ...", "planted.py:1: f takes 6 arguments, at most 5"),
        ("def f():\n for a in b:\n  if a:\n   with a:\n    while a: a", "planted.py:1: f is 4 blocks deep, at most 3"),
    ],
    ids=["file", "function", "arguments", "nesting"],
)
def test_what_is_too_large_is_seen(text: str, says: str) -> None:
    assert planted(text) == [says]


@pytest.mark.parametrize(
    "text",
    [
        "\n" * 400,
        "def f():\n    '''A.\n" + "\n" * 60 + "    '''\n" + "    x = 1\n" * 49,
        "class A:\n    def f(self, a, b, c, d, e): ...",
        "def f():\n if a:\n  if b:\n   if c: a\n   elif d: a\n   elif e: a\n   else: a",
        "def f():\n if a:\n  if b:\n   def g():\n    if c: a",
    ],
    ids=["file", "docstring", "self", "elif", "inner function"],
)
def test_what_is_just_within_its_limit_is_left_alone(text: str) -> None:
    assert planted(text) == []
