"""Write docs/reference/ from the code: settings, plug-ins, commands, findings and the Python names.

usage: python tools/reference.py [--check]
`--check` writes nothing, and exits with 1 if a page is out of date.
"""

from __future__ import annotations

import ast
import io
import re
import sys
import types
import typing
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Any, Literal, get_args, get_origin

import msgspec
from rich.console import Console

import headway
from headway.cli.main import app, command_name
from headway.core import config, plugins
from headway.core.record import Record

ROOT = Path(__file__).parent.parent
FOLDER = ROOT / "docs/reference"
PACKAGE = ROOT / "src/headway"
CODE = re.compile(r"[DVETSO]\d{3}")
KINDS = {"D": "data", "V": "variant", "E": "evidence", "T": "threat", "S": "serving", "O": "observation"}


def main(arguments: list[str]) -> int:
    """Write the pages, or list those that are out of date."""
    pages = {f"{name}.md": page() for name, page in PAGES.items()}
    stale = [name for name, text in pages.items() if not _same(FOLDER / name, text)]
    if "--check" in arguments:
        for name in stale:
            print(f"docs/reference/{name}:1: out of date\n  try: make docs")
        return 1 if stale else 0
    FOLDER.mkdir(parents=True, exist_ok=True)
    for name in stale:
        (FOLDER / name).write_text(pages[name], encoding="utf-8")
    print(f"docs/reference: {len(stale)} of {len(pages)} pages written, the others were up to date")
    return 0


def settings() -> str:
    """Return one table for each section of headway.toml."""
    parts = [
        "Every setting of `headway.toml`. Order: flag > environment (`HEADWAY_SECTION_FIELD`) > file > default;",
        "`headway config` shows what a project has, and who set it.",
    ]
    for name in plugins.own("settings"):
        section = config.section_of(name)
        parts += ["", f"## {name}", "", _line(section), "", "| setting | type | default | what |", "|---|---|---|---|"]
        parts += [_row(f"`{name}.{field.name}`", *_described(field)) for field in msgspec.structs.fields(section)]
        inner = (record for field in msgspec.structs.fields(section) for record in _records(field.type))
        parts += [line for record in inner for line in ("", _fields(record))]
    return _page("Settings", parts)


def plug_ins() -> str:
    """Return one table for each kind of plug-in, with those that headway brings along."""
    parts = [
        "Kind = folder, name = file. A package of yours adds its own by an entry point of the group `headway.KIND`;",
        "`headway plugins` lists all that are installed.",
    ]
    root = Path(headway.__file__).parent
    for kind in plugins.kinds():
        own = sorted(plugins.own(kind), key=lambda name: (plugins.family(kind, name), name))
        parts += [
            "",
            f"## {kind}",
            "",
            ", ".join(f"`src/headway/{path.relative_to(root).as_posix()}/`" for path in plugins.folders(kind)),
            "",
            "| name | what |",
            "|---|---|",
        ]
        parts += [_row(f"`{name}`", plugins.describe(kind, name)) for name in own]
    return _page("Plug-ins", parts)


def commands() -> str:
    """Return what `--help` prints, for headway and each command."""
    parts = ["What `headway --help` and `headway COMMAND --help` print."]
    for name in ("", *map(command_name, plugins.names("command"))):
        parts += ["", f"## {f'headway {name}'.strip()}", "", "```text", _help([name] if name else []), "```"]
    return _page("Commands", parts)


def findings() -> str:
    """Return every code of a finding, with the docstring line that explains it."""
    explained, used = _explained(), _used()
    unexplained = sorted(used.keys() - explained.keys())
    if unexplained:
        where = "\n".join(
            f"{used[code]}: {code} has no docstring line that begins with '{code}: '" for code in unexplained
        )
        raise SystemExit(where)
    parts = ["Codes are stable. A finding shows the measured value, the limit, and a hint."]
    for letter, kind in KINDS.items():
        rows = [_row(code, *explained[code]) for code in sorted(explained) if code.startswith(letter)]
        parts += ["", f"## {letter}: {kind}", "", "| code | what | file |", "|---|---|---|", *rows] if rows else []
    return _page("Findings", parts)


def python_names() -> str:
    """Return the directives for the public names, each under the module that defines it."""
    named = {name: getattr(headway, name) for name in headway.__all__ if not name.startswith("_")}
    ordered = sorted(named, key=lambda name: (isinstance(named[name], type), name))
    parts = ["`import headway as hw`. A call imports the libraries it needs when it is first used."]
    for name in ordered:
        parts += ["", f"::: {named[name].__module__.removeprefix('headway.')}.{name}"]
    return _page("Python API", parts)


def _page(title: str, parts: list[str]) -> str:
    return "\n".join(
        [f"# {title}", "", "<!-- Written by `make docs` from the code: change it there. -->", "", *parts, ""]
    )


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|").replace("\n", " ") for cell in cells) + " |"


def _line(thing: object) -> str:
    return (thing.__doc__ or "").strip().partition("\n")[0]


def _same(file: Path, text: str) -> bool:
    return file.exists() and file.read_text(encoding="utf-8") == text


def _described(field: Any) -> Iterator[str]:
    """Yield type, default and help of a field of a section."""
    default = field.default if field.default is not msgspec.NODEFAULT else field.default_factory()
    yield _type(field.type)
    yield f"`{msgspec.json.encode(default).decode()}`"
    yield field.type.__metadata__[0].description


def _records(kind: Any) -> Iterator[type[Record]]:
    """Yield the records in a type: Rule in `tuple[Rule, ...]`."""
    if isinstance(kind, type) and issubclass(kind, Record):
        yield kind
    for choice in get_args(kind):
        yield from _records(choice)


def _fields(record: type[Record]) -> str:
    names = (f"`{field.name}` ({_type(field.type)})" for field in msgspec.structs.fields(record))
    return f"*{record.__name__.lower()}*: {_line(record)} Fields: {', '.join(names)}."


def _type(kind: Any) -> str:
    """Return a type in words: `list of text`, `number or nothing`."""
    if get_origin(kind) is Annotated:
        return _type(get_args(kind)[0])
    if get_origin(kind) is Literal:
        return " or ".join(map(str, get_args(kind)))
    inner = [_type(choice) for choice in get_args(kind) if choice is not Ellipsis]
    if isinstance(kind, types.UnionType) or get_origin(kind) is typing.Union:
        return " or ".join(inner)
    if get_origin(kind) is dict:
        return f"table of {inner[1]}"
    if get_origin(kind) is tuple:
        return f"list of {inner[0]}"
    if isinstance(kind, type) and issubclass(kind, Record):
        return kind.__name__.lower()
    return {str: "text", int: "integer", float: "number", bool: "yes or no", type(None): "nothing"}[kind]


def _help(tokens: list[str]) -> str:
    out = io.StringIO()
    application = app(tokens)
    application.help_formatter = "plain"
    application.help_print(tokens, console=Console(file=out, width=110, color_system=None, force_terminal=False))
    return "\n".join(line.rstrip() for line in out.getvalue().strip().split("\n"))


def _files() -> Iterator[tuple[str, ast.Module]]:
    for file in sorted(PACKAGE.rglob("*.py")):
        yield str(file.relative_to(ROOT)), ast.parse(file.read_text(encoding="utf-8"))


def _explained() -> dict[str, tuple[str, str]]:
    """Return the text and the file of each code, from docstring lines `CODE: text`."""
    found: dict[str, tuple[str, str]] = {}
    for path, tree in _files():
        documented = (node for node in ast.walk(tree) if isinstance(node, ast.Module | ast.ClassDef | ast.FunctionDef))
        lines = "\n".join(ast.get_docstring(node) or "" for node in documented).split("\n")
        for line in (line for line in lines if CODE.fullmatch(line[:4]) and line[4:6] == ": "):
            if line[:4] in found:
                raise SystemExit(f"{path}: {line[:4]} is a code of {found[line[:4]][1]} already; take a new one")
            found[line[:4]] = (line[6:], f"`{path}`")
    return found


def _used() -> dict[str, str]:
    """Return the `file:line` of a string with each code."""
    return {
        node.value: f"{path}:{node.lineno}"
        for path, tree in _files()
        for node in ast.walk(tree)
        if isinstance(node, ast.Constant) and isinstance(node.value, str) and CODE.fullmatch(node.value)
    }


PAGES = {"settings": settings, "plugins": plug_ins, "commands": commands, "findings": findings, "python": python_names}

if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
