"""The pages as a reader meets them: their fenced blocks, and which tests say that they run or check them.

A call of `shown` or `having` with the page or the languages written out is a claim: its test runs those blocks, or
compares them with what headway gives. `claims` finds them all, so that a block that no test claims can be named.
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
    """A fenced block of a page, and the line on which its content begins; `file` is the name that the text gives it."""

    path: str
    line: int
    language: str
    text: str
    file: str = ""

    @property
    def at(self) -> str:
        """Where it stands, as `page:line`."""
        return f"{self.path}:{self.line}"


@dataclass(frozen=True)
class Claim:
    """What a test file says that it runs: the blocks of these languages on the pages whose path begins so."""

    test: str
    languages: tuple[str, ...]
    under: str = ""

    def covers(self, block: Block) -> bool:
        """Whether the block is among them; a file that the shell blocks of its page name is part of their script."""
        if not block.path.startswith(self.under):
            return False
        return block.language in self.languages or ("bash" in self.languages and is_used(block))


def read(path: str) -> str:
    """The text of a page."""
    return (ROOT / path).read_text(encoding="utf-8")


def blocks(path: str, text: str) -> Iterator[Block]:
    """The fenced blocks of a text, in order."""
    for fence in FENCE.finditer(text):
        file = FILE.search(text, 0, fence.start())
        line = text.count("\n", 0, fence.start(2)) + 1
        yield Block(path, line, fence[1], fence[2], file[1] if file else "")


@functools.cache
def of_page(path: str) -> tuple[Block, ...]:
    """The fenced blocks of a page of the repository."""
    return tuple(blocks(path, read(path)))


def shown(path: str, language: str) -> list[str]:
    """What the blocks of a language on one page hold. A claim: the test that asks checks them."""
    return [block.text for block in of_page(path) if block.language == language]


def having(*languages: str, under: str = "") -> list[str]:
    """The pages with blocks of these languages, below a folder. A claim: the test that asks runs them."""
    return [path for path in PAGES if path.startswith(under) and {b.language for b in of_page(path)} & {*languages}]


def is_used(block: Block) -> bool:
    """Whether a block is a file that a later command of its page reads."""
    later = (other for other in of_page(block.path) if other.line > block.line and other.language in SHELL)
    return bool(block.file) and any(block.file in other.text for other in later)


def claims(source: Source) -> Iterator[Claim]:
    """The claims of a test file."""
    for node in ast.walk(source.tree):
        if not (isinstance(node, ast.Call) and isinstance(node.func, ast.Name) and node.func.id in ("shown", "having")):
            continue
        given = [each.value for each in node.args if isinstance(each, ast.Constant)]
        under = [each.value.value for each in node.keywords if isinstance(each.value, ast.Constant)]
        if node.func.id == "having":
            yield Claim(source.path, tuple(given), *under)
        elif len(given) == 2:
            yield Claim(source.path, (given[1],), given[0])


@functools.cache
def all_claims() -> tuple[Claim, ...]:
    """The claims of all tests; only files that import this one are read closely."""
    tests = [source for source in sources("tests") if "tests.house.pages import" in source.text]
    return tuple(claim for source in tests for claim in claims(source))


def runners(block: Block) -> list[str]:
    """The test files that run a block or check it."""
    return sorted({claim.test for claim in all_claims() if claim.covers(block)})
