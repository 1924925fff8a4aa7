"""Run every benchmark of bench/ and write docs/benchmarks.md.

A benchmark is a script in bench/ that prints, with --json, one object: `machine`, `rows` (`name`, `measured`, `unit`,
`target`, `ok`, `against`) and `fell_short`. With names, only those run, and the other sections of the page are not
changed. `--data` is passed on to benchmarks that read data which no package ships, and `--parts` to the one that is
named: rows of other parts stay in its section, if they were measured on the same machine.
"""

from __future__ import annotations

import argparse
import ast
import json
import re
import subprocess
import sys
from collections.abc import Sequence
from pathlib import Path
from typing import Any

ROOT = Path(__file__).parent.parent
PAGE = ROOT / "docs/benchmarks.md"
COLUMNS = ("name", "measured", "unit", "target", "ok", "against")
HEAD = """# Benchmarks

<!-- Written by `make bench`: the file named in each section measured its figures. -->
"""


def main(arguments: list[str]) -> int:
    """Run the benchmarks and write the page."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("names", nargs="*", metavar="NAME", help="benchmark to run, e.g. serve; default: all")
    parser.add_argument("--data", metavar="DIR", help="folder with the data of benchmarks that have this option")
    parser.add_argument("--parts", nargs="+", default=[], metavar="PART", help="parts of the one benchmark to run")
    options = parser.parse_args(arguments)
    names = options.names
    if unknown := sorted(set(names) - {file.stem for file in benchmarks()}):
        parser.error(f"unknown benchmark {unknown[0]!r}; choose from {', '.join(file.stem for file in benchmarks())}")
    if options.parts and len(names) != 1:
        parser.error("--parts needs the name of one benchmark")
    found = [file for file in benchmarks() if not names or file.stem in names]
    parts = sections(PAGE.read_text("utf-8")) if names else {}
    for file in found:
        print(f"running bench/{file.name} ...", file=sys.stderr, flush=True)
        data = ["--data", options.data] if options.data and "read_data=" in file.read_text("utf-8") else []
        measured = measure(file, *options.parts, *data)
        earlier = parts.get(file.stem, "") if options.parts else ""
        parts[file.stem] = section(file, measured, parts=options.parts, earlier=earlier)
    PAGE.write_text("\n".join([HEAD, *(parts[name] for name in sorted(parts))]), encoding="utf-8")
    print(f"wrote docs/benchmarks.md: {len(found)} of {len(parts)} benchmarks", file=sys.stderr)
    return 0


def sections(page: str) -> dict[str, str]:
    """Return the sections of the page by the name of their benchmark."""
    found = [part.rstrip() + "\n" for part in page.split("\n## ")[1:]]
    return {part.partition("\n")[0]: f"## {part}" for part in found}


def benchmarks() -> list[Path]:
    """Return the scripts of bench/ that are benchmarks."""
    return [
        file for file in sorted((ROOT / "bench").glob("*.py")) if '__name__ == "__main__"' in file.read_text("utf-8")
    ]


def measure(file: Path, *words: str) -> dict[str, Any]:
    """Return what a benchmark prints with --json; raise CalledProcessError if it could not measure."""
    command = [sys.executable, str(file), *words, "--json"]
    run = subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.PIPE, text=True)
    measured: dict[str, Any] = json.loads(run.stdout)
    return measured


def section(file: Path, measured: dict[str, Any], *, parts: Sequence[str] = (), earlier: str = "") -> str:
    """Format one benchmark: a heading, what it measures, a table, the machine, and where it fell short.

    `earlier` is the section of other parts: rows of its first table stay if they are of the same machine, and so does
    what is written around that table.
    """
    title = (ast.get_docstring(ast.parse(file.read_text("utf-8"))) or "").partition("\n")[0]
    machine, fell_short = f"Machine: {_machine(measured['machine'])}.", measured["fell_short"]
    short = [", ".join(map(str, fell_short)) if isinstance(fell_short, list) else str(fell_short)]
    rows, about, rest = [_row(row) for row in measured["rows"]], "", ""
    found = _EARLIER.search(earlier)
    if found and found["machine"] == machine:
        again = {COLUMNS[0], *(row["name"] for row in measured["rows"])}
        before = [line for line in found["table"].splitlines() if line.startswith("| ")]
        rows = [line for line in before if line.split(" | ")[0].removeprefix("| ") not in again] + rows
        first_parts = found["parts"].split()
        parts = list(dict.fromkeys([*first_parts, *parts])) if first_parts else []  # none: all were measured before
        measured_again = "|".join(map(re.escape, again))
        short.append(re.sub(rf"(?<![\w.])(?:{measured_again}) is [^,]+(?:, )?", "", found["short"] or ""))
        about, rest = found["about"], found["rest"]
    lines = [f"## {file.stem}", "", f"{title} `python {' '.join([f'bench/{file.name}', *parts])}`", ""]
    lines += [*about.splitlines(), f"| {' | '.join(COLUMNS)} |", "|---" * len(COLUMNS) + "|", *rows, "", machine]
    lines += (
        [f"Fell short: {', '.join(filter(None, (one.removesuffix(', ') for one in short)))}."] if any(short) else []
    )
    return "\n".join([*lines, *rest.rstrip("\n").splitlines(), ""])


_EARLIER = re.compile(
    r"`python bench/\w+\.py(?P<parts>[^`]*)`\n\n(?P<about>.*?)(?P<table>\| name \|.*?)\n\n"
    r"(?P<machine>Machine: [^\n]*)\n(?:Fell short: (?P<short>[^\n]*)\.\n)?(?P<rest>.*)",
    re.DOTALL,
)


def _row(row: dict[str, Any]) -> str:
    return f"| {' | '.join(_cell(row.get(column)) for column in COLUMNS)} |"


def _machine(machine: object) -> str:
    return ", ".join(f"{key} {value}" for key, value in machine.items()) if isinstance(machine, dict) else str(machine)


def _cell(value: object) -> str:
    if isinstance(value, bool):
        return "yes" if value else "no"
    return "" if value is None else f"{value:.4g}" if isinstance(value, float) else str(value)


if __name__ == "__main__":
    sys.exit(main(sys.argv[1:]))
