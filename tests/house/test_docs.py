"""The documentation works: its Python runs, its commands exist with their flags, its links resolve."""

from __future__ import annotations

import importlib
import itertools
import re
import shlex
import tomllib
from collections.abc import Iterator
from pathlib import Path, PurePath

import pytest
from tests.house.pages import (
    PAGES,
    SHELL,
    Block,
    Claim,
    blocks,
    blocks_of,
    claims,
    code_blocks,
    pages_with,
    read,
    runners,
)
from tests.house.source_tree import ROOT, Source, fail_with
from tests.storage.stem import Stem, stem

from headway.core import config, plugins
from headway.data.contract import table_contract as contract
from headway.deployment.plan.prices import read_prices
from headway.features.definitions import read_views

LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(?:#[^)]*)?\)")
BY_HAND = [path for path in PAGES if not path.startswith("docs/reference/")]
ALL = [block for path in PAGES for block in blocks_of(path)]


def lines(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Yield each command of a shell block with its position; the output in a console block is left out."""
    for number, line in enumerate(block.text.split("\n"), block.line):
        if block.language == "console" and not line.startswith("$ "):
            continue
        tokens = shlex.split(line.removeprefix("$ "), comments=True)
        if tokens:
            yield f"{block.path}:{number}", tokens


def unknown(tokens: list[str], reference: str) -> list[str]:
    """Return the words of a command line that do not exist: a make target, a headway command, a flag, a file."""
    program, rest = tokens[0].removeprefix(".venv/bin/"), tokens[1:]
    if program == "make":
        makefiles = read("Makefile") + read("src/headway/deployment/edge/package.mk")
        targets = re.findall(r"^([a-z-]+):", makefiles, re.MULTILINE)
        return [word for word in rest if "=" not in word and word not in targets]
    if program == "headway" and rest:
        return unknown_to_headway(rest, reference)
    return [word for word in tokens if re.match(r"(bench|tools|tests|docs|src)/", word) and not (ROOT / word).exists()]


def unknown_to_headway(words: list[str], reference: str) -> list[str]:
    """Return the command, or the flags, that `headway COMMAND --help` does not list."""
    name = "" if words[0].startswith("-") else f" {words[0]}"
    _, found, section = reference.partition(f"\n## headway{name}\n")
    if not found:
        return [words[0]]
    known = set(re.findall(r"--[\w-]+|(?<![\w-])-\w\b", section.partition("\n## ")[0])) | {"--help", "-h"}
    own = itertools.takewhile(lambda word: word not in ("|", "||", "&&", ";", "&"), words)
    return [word for word in own if word.startswith("-") and word.partition("=")[0] not in known]


def test_every_command_in_the_docs_exists_with_its_flags() -> None:
    reference = "\n" + read("docs/reference/commands.md")
    commands = (command for block in ALL if block.language in SHELL for command in lines(block))
    fail_with(f"{at}: {word}" for at, tokens in commands for word in unknown(tokens, reference))


@pytest.mark.parametrize("block", ALL, ids=lambda block: f"{block.at} {block.language} < {', '.join(runners(block))}")
def test_a_test_runs_the_block_or_checks_it(block: Block) -> None:
    assert runners(block), f"{block.at}: no test runs this {block.language} block; see tests/house/pages.py"


@pytest.fixture(scope="module")
def pages() -> Iterator[Stem]:
    """A process that has the libraries of the pages loaded, and forks a child for each page."""
    with stem("tests.house.forked_pages:run_page") as opened:
        yield opened


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in pages_with("python") if path != "README.md"])  # api/test_families.py
def test_the_python_of_a_page_runs_from_top_to_bottom(path: str, pages: Stem, tmp_path: Path) -> None:
    python = [block for block in blocks_of(path) if block.language == "python"]
    script = tmp_path / "page.py"
    # Each block is compiled by itself: a later one may begin with an import from __future__.
    runs = (f"exec(compile({block.text!r}, {block.at!r}, 'exec', dont_inherit=True))" for block in python)
    script.write_text("\n".join(runs), encoding="utf-8")
    pages.run_to_end(tmp_path, script.name)


@pytest.mark.slow
@pytest.mark.parametrize("path", pages_with("toml"))
def test_the_toml_of_a_page_can_be_read(path: str, tmp_path: Path) -> None:
    for block in (block for block in blocks_of(path) if block.language == "toml"):
        settings = tomllib.loads(block.text)
        entry_points = settings.get("project", {}).get("entry-points")
        if "columns" in settings:
            (tmp_path / "contract.toml").write_text(block.text, encoding="utf-8")
            assert contract.load_contract(tmp_path / "contract.toml"), block.at
        elif "views" in settings:
            (tmp_path / "features.toml").write_text(block.text, encoding="utf-8")
            assert read_views(tmp_path), block.at
        elif "instance" in settings:
            (tmp_path / "prices.toml").write_text(block.text, encoding="utf-8")
            assert read_prices(tmp_path / "prices.toml").hardware, block.at
        elif entry_points:
            assert {group.removeprefix("headway.") for group in entry_points} <= set(plugins.kinds()), block.at
        else:
            (tmp_path / "headway.toml").write_text(block.text, encoding="utf-8")
            assert config.load(tmp_path, environment={}), block.at


def test_the_prices_of_the_demo_are_the_example_of_the_docs() -> None:
    (shown,) = [block.text for block in blocks_of("docs/how-to/plan.md") if "[instance." in block.text]
    assert shown.strip() == read("src/headway/cli/demo/prices.toml").strip()


def test_every_link_to_a_file_resolves() -> None:
    links = ((path, link) for path in BY_HAND for link in LINK.findall(read(path)))
    fail_with(f"{path}: {link}" for path, link in links if not (ROOT / path).parent.joinpath(link).exists())


def test_no_page_of_the_reference_is_written_by_hand(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(ROOT / "tools")
    written = importlib.import_module("reference").PAGES
    fail_with(path for path in pages_with("text", under="docs/reference/") if PurePath(path).stem not in written)


def test_every_decision_has_the_parts_of_the_template() -> None:
    (template,) = code_blocks("docs/decisions/README.md", "text")
    question, *_, doubt = (part.split(maxsplit=1)[1] for part in re.findall(r"^## (.*)$", template, re.MULTILINE))
    parts = ["^# {}: ", rf"^(## The |\*\*){question}", rf"^(## |\*\*)What {doubt}"]
    decisions = [path for path in PAGES if re.match(r"docs/decisions/\d{4}-", path)]
    fail_with(
        f"{path}: no {part}"
        for path in decisions
        for part in (pattern.format(PurePath(path).name[:4]) for pattern in parts)
        if not re.search(part, read(path), re.MULTILINE | re.IGNORECASE)
    )


REFERENCE = "\n## headway\n--version\n## headway gate\n--project PATH\n-v\n## headway serve\n--port INT\n"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("headway gate --project . -v", []),
        ("headway gate --port 1", ["--port"]),
        ("headway gaet --project .", ["gaet"]),
        ("headway --version", []),
        ("headway gate -v | tail -n 4", []),
        ("headway --verson", ["--verson"]),
        ("make test PYTHON=python3.12", []),
        ("make tests", ["tests"]),
        (".venv/bin/headway serve --port=1 --x", ["--x"]),
        ("python bench/no_such_file.py --json", ["bench/no_such_file.py"]),
        ("git clone elsewhere", []),
    ],
)
def test_a_command_that_does_not_exist_is_found(line: str, wrong: list[str]) -> None:
    assert unknown(line.split(), REFERENCE) == wrong


def test_a_console_block_holds_commands_and_their_output() -> None:
    [block] = blocks("a.md", "text\n\n```console\n$ headway gate  # judge\npass\n```\n")
    assert list(lines(block)) == [("a.md:4", ["headway", "gate"])]


def test_a_block_gets_the_file_name_in_the_text_before_it() -> None:
    page = "With this in `a.json`:\n\n```json\n1\n```\nIt is `b.json`, then:\n```json\n2\n```\n"
    assert [block.file for block in blocks("a.md", page)] == ["a.json", ""]


CLAIMING = """
from tests.house.pages import code_blocks, pages_with
ROWS = code_blocks("docs/a.md", "csv")
@parametrize(pages_with("bash", under="docs/b/"))
def test(page): code_blocks(page, "json")
"""


@pytest.mark.parametrize(
    ("path", "language", "claimed"),
    [
        ("docs/a.md", "csv", True),
        ("docs/a.md", "json", False),
        ("docs/b.md", "csv", False),
        ("docs/b/c.md", "bash", True),
        ("docs/c.md", "bash", False),
    ],
)
def test_a_block_without_a_test_is_found(path: str, language: str, claimed: bool) -> None:
    found = claims(Source("tests/test_a.py", CLAIMING))
    assert any(Claim.covers(claim, Block(path, 1, language, "")) for claim in found) is claimed
