"""What the documents tell to do can be done: Python runs, commands exist with their flags, links lead somewhere."""

from __future__ import annotations

import re
import shlex
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

import pytest
from tests.house.source_tree import ROOT, none_of, tracked

PAGES = [path for path in tracked() if path.endswith(".md") and not path.startswith("docs/reference/")]
FENCE = re.compile(r"^ *```(\w*)\n(.*?)^ *```$", re.MULTILINE | re.DOTALL)
LINK = re.compile(r"\]\((?!\w+:)([^)#\s]+)(?:#[^)]*)?\)")


@dataclass(frozen=True)
class Block:
    """A fenced block of a page, and the line on which its content begins."""

    path: str
    line: int
    language: str
    text: str


def blocks(path: str, text: str) -> Iterator[Block]:
    for fence in FENCE.finditer(text):
        yield Block(path, text.count("\n", 0, fence.start(2)) + 1, fence[1], fence[2])


def read(path: str) -> str:
    return (ROOT / path).read_text(encoding="utf-8")


def lines(block: Block) -> Iterator[tuple[str, list[str]]]:
    """Each command of a shell block with where it stands; a console block has output between, which is left out."""
    for number, line in enumerate(block.text.split("\n"), block.line):
        if block.language == "console" and not line.startswith("$ "):
            continue
        tokens = shlex.split(line.removeprefix("$ "), comments=True)
        if tokens:
            yield f"{block.path}:{number}", tokens


def unknown(tokens: list[str], reference: str) -> list[str]:
    """What a command line names that does not exist: a target of make, a command of headway, a flag, a file."""
    program, rest = tokens[0].removeprefix(".venv/bin/"), tokens[1:]
    if program == "make":
        targets = re.findall(r"^([a-z-]+):", read("Makefile"), re.MULTILINE)
        return [word for word in rest if "=" not in word and word not in targets]
    if program == "headway" and rest:
        return unknown_to_headway(rest, reference)
    return [word for word in tokens if re.match(r"(bench|tools|tests|docs|src)/", word) and not (ROOT / word).exists()]


def unknown_to_headway(words: list[str], reference: str) -> list[str]:
    """The command, or those of its flags, that `headway COMMAND --help` does not know."""
    name = "" if words[0].startswith("-") else f" {words[0]}"
    _, found, section = reference.partition(f"\n## headway{name}\n")
    if not found:
        return [words[0]]
    known = set(re.findall(r"--[\w-]+|(?<![\w-])-\w\b", section.partition("\n## ")[0])) | {"--help", "-h"}
    return [word for word in words if word.startswith("-") and word.partition("=")[0] not in known]


def shell_blocks() -> Iterator[Block]:
    for path in PAGES:
        yield from (block for block in blocks(path, read(path)) if block.language in ("bash", "console", "sh"))


def test_every_command_of_the_documents_exists_with_its_flags() -> None:
    reference = "\n" + read("docs/reference/commands.md")
    commands = (command for block in shell_blocks() for command in lines(block))
    none_of(f"{at}: {word}" for at, tokens in commands for word in unknown(tokens, reference))


@pytest.mark.slow
@pytest.mark.parametrize("path", [path for path in PAGES if "```python" in read(path)])
def test_the_python_of_a_page_runs_from_top_to_bottom(path: str, tmp_path: Path) -> None:
    python = [block for block in blocks(path, read(path)) if block.language == "python"]
    script = tmp_path / "page.py"
    script.write_text("\n".join(f"# {block.path}:{block.line}\n{block.text}" for block in python), encoding="utf-8")
    run = subprocess.run([sys.executable, script.name], cwd=tmp_path, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stderr


def test_every_link_to_a_file_leads_to_one() -> None:
    links = ((path, link) for path in PAGES for link in LINK.findall(read(path)))
    none_of(f"{path}: {link}" for path, link in links if not (ROOT / path).parent.joinpath(link).exists())


def test_every_block_says_its_language() -> None:
    none_of(
        f"{b.path}:{b.line}: a block with no language"
        for path in PAGES
        for b in blocks(path, read(path))
        if not b.language
    )


@pytest.mark.slow
def test_the_reference_is_what_the_code_says() -> None:
    check = [sys.executable, "tools/reference.py", "--check"]
    run = subprocess.run(check, cwd=ROOT, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr


REFERENCE = "\n## headway\n--version\n## headway gate\n--project PATH\n-v\n## headway serve\n--port INT\n"


@pytest.mark.parametrize(
    ("line", "wrong"),
    [
        ("headway gate --project . -v", []),
        ("headway gate --port 1", ["--port"]),
        ("headway gaet --project .", ["gaet"]),
        ("headway --version", []),
        ("headway --verson", ["--verson"]),
        ("make test PYTHON=python3.12", []),
        ("make tests", ["tests"]),
        (".venv/bin/headway serve --port=1 --x", ["--x"]),
        ("python bench/no_such_file.py --json", ["bench/no_such_file.py"]),
        ("git clone elsewhere", []),
    ],
)
def test_a_command_that_does_not_exist_is_seen(line: str, wrong: list[str]) -> None:
    assert unknown(line.split(), REFERENCE) == wrong


def test_a_console_block_holds_commands_and_what_they_answer() -> None:
    [block] = blocks("a.md", "text\n\n```console\n$ headway gate  # judge\npass\n```\n")
    assert list(lines(block)) == [("a.md:4", ["headway", "gate"])]
