"""Fenced code blocks of the documentation, and the tests that run or check them.

A call of `code_blocks` or `pages_with` with a literal page or literal languages is a claim: its test runs those blocks,
or compares them with what headway prints. `claims` finds all claims, so that a block without a test can be reported.
"""

from __future__ import annotations

import ast
import functools
import re
from collections.abc import Iterator
from dataclasses import dataclass

from tests.house.source_tree import ROOT, Source, sources, tracked

FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
# "with this in `request.json`:" names the block that follows.
FILE = re.compile(r"`([\w-]+\.\w+)`:?\s*\Z")
SHELL = ("bash", "console", "sh")
PAGES = [path for path in tracked() if path.endswith(".md")]


@dataclass(frozen=True)
class Block:
    """A fenced block of a page and the line of its first content.

    `file` is the file name that the text before it gives.
    """

    path: str
    line: int
    language: str
    text: str
    file: str = ""

    @property
    def at(self) -> str:
        """Return the position as `page:line`."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Claim:
    """What a test file claims to run: the blocks of these languages on the pages whose path starts with `under`."""

    test: str
    languages: tuple[str, ...]
    under: str = ""

    def covers(self, block: Block) -> bool:
        """Check whether the claim includes the block.

        A file that the shell blocks of its page name belongs to their script.
        """
        if not block.path.startswith(self.under):
            return False
        return block.language in self.languages or ("bash" in self.languages and is_used(block))


def read(path: str) -> str:
    """Return the text of a page."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str, text: str) -> Iterator[Block]:
    """Yield the fenced blocks of a text, in order."""
    for fence in FENCE.finditer(text):
        file = FILE.search(text, 0, fence.start())
        line = text.count("\n", 0, fence.start(2)) + 1
        yield Block(path, line, fence[1], fence[2], file[1] if file else "")


@functools.cache
def blocks_of(path: str) -> tuple[Block, ...]:
    """Return the fenced blocks of a page of the repository."""
    return tuple(blocks(path, read(path)))


def code_blocks(path: str, language: str) -> list[str]:
    """Return the content of the blocks of a language on a page. This is a claim: the calling test checks them."""
    return [block.text for block in blocks_of(path) if block.language == language]


def pages_with(*languages: str, under: str = "") -> list[str]:
    """Return the pages below a folder that have blocks of these languages.

    This is a claim: the calling test runs them.
    """
    return [path for path in PAGES if path.startswith(under) and {b.language for b in blocks_of(path)} & {*languages}]


def is_used(block: Block) -> bool:
    """Check whether a block is a file that a later command of its page reads."""
    later = (other for other in blocks_of(block.path) if other.line > block.line and other.language in SHELL)
    return bool(block.file) and any(block.file in other.text for other in later)


def claims(source: Source) -> Iterator[Claim]:
    """Yield the claims of a test file."""
    for node in ast.walk(source.tree):
        if not (
            isinstance(node, ast.Call)
            and isinstance(node.func, ast.Name)
            and node.func.id in ("code_blocks", "pages_with")
        ):
            continue
        values = [argument.value for argument in node.args if isinstance(argument, ast.Constant)]
        under = [keyword.value.value for keyword in node.keywords if isinstance(keyword.value, ast.Constant)]
        if node.func.id == "pages_with":
            yield Claim(source.path, tuple(values), *under)
        elif len(values) == 2:
            yield Claim(source.path, (values[1],), values[0])


@functools.cache
def all_claims() -> tuple[Claim, ...]:
    """Return the claims of all tests; only files that import this module are parsed."""
    tests = [source for source in sources("tests") if "tests.house.pages import" in source.text]
    return tuple(claim for source in tests for claim in claims(source))


def runners(block: Block) -> list[str]:
    """Return the test files that run or check a block."""
    return sorted({claim.test for claim in all_claims() if claim.covers(block)})
