"""Shared by all benchmarks: the command line, and the rows printed as a table or as JSON."""

from __future__ import annotations

import argparse
import json
import sys
from collections.abc import Callable, Collection, Mapping, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path

import msgspec

import tiny
from headway.core.threads import this_machine


@dataclass(frozen=True, slots=True, kw_only=True)
class Row:
    """One figure; booleans are 1 and 0, and `against` names the comparison."""

    name: str
    measured: float
    unit: str
    target: str
    ok: bool
    against: str = ""


Result = tuple[list[Row], list[str]]
"""The rows of a part of a benchmark, and sentences about what fell short or could not run."""


def shown(name: str, measured: float, unit: str, against: str = "") -> Row:
    """Build a row without a target."""
    return Row(name=name, measured=measured, unit=unit, target="shown", ok=True, against=against)


def command_line(description: str | None, parts: Collection[str] = ()) -> argparse.ArgumentParser:
    """Build the parser of a benchmark: `--json`, `--tiny`, and the parts to run."""
    parser = argparse.ArgumentParser(description=description, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--json", action="store_true", help="print one JSON object: machine, rows, fell_short")
    parser.add_argument(
        "--tiny", action="store_true", help="run every part once on tiny settings, without peers: figures mean nothing"
    )
    if parts:
        parser.add_argument("parts", nargs="*", metavar="PART", help=f"of {', '.join(parts)}; default: all")
    return parser


def parse(parser: argparse.ArgumentParser, parts: Collection[str] = ()) -> argparse.Namespace:
    """Parse the command line; reject unknown parts, and apply tiny settings if they are requested."""
    options = parser.parse_args()
    unknown = sorted(set(getattr(options, "parts", ())) - set(parts))
    if unknown:
        parser.error(f"unknown part {unknown[0]!r}; choose from {', '.join(parts)}")
    if options.tiny:
        tiny.start()
    return options


def run_parts(
    description: str | None,
    parts: Mapping[str, Callable[[], Result]],
    *,
    read_data: Callable[[Path], object] | None = None,
) -> None:
    """Run the parts that the command line names, or all of them, and print their rows.

    `read_data` is called with the folder of `--data`, an option of benchmarks that read data which no package ships.
    """
    parser = command_line(description, parts)
    if read_data:
        parser.add_argument("--data", type=Path, metavar="DIR", help="folder with the data; default: generated data")
    options = parse(parser, parts)
    if read_data and options.data:
        read_data(options.data)
    rows: list[Row] = []
    short: list[str] = []
    for name in options.parts or parts:
        print(f"{name} ...", file=sys.stderr, flush=True)
        part_rows, part_short = parts[name]()
        show_progress(part_rows)
        rows, short = [*rows, *part_rows], [*short, *part_short]
    report(rows, short, as_json=options.json)


def show_progress(rows: Sequence[Row]) -> None:
    """Print the rows of a part to stderr once they are measured, so that a later part that fails does not lose them."""
    for row in rows:
        print(f"  {row.name} {row.measured:.4g} {row.unit}: {row.against}", file=sys.stderr, flush=True)


def report(rows: Sequence[Row], fell_short: Sequence[str] = (), *, as_json: bool) -> None:
    """Print the rows; rows that miss their target are listed in `fell_short`, with the benchmark's own sentences."""
    short = [*(f"{row.name} is {row.measured:.4g} {row.unit}".strip() for row in rows if not row.ok), *fell_short]
    machine = msgspec.to_builtins(this_machine())
    if as_json:
        print(json.dumps({"machine": machine, "rows": [asdict(row) for row in rows], "fell_short": short}))
        return
    for sentence in fell_short:
        print("short", sentence)
    for row in rows:
        mark, against = "ok   " if row.ok else "short", f"  (against {row.against})" if row.against else ""
        print(f"{mark} {row.name:<40} {row.measured:>12,.4g} {row.unit:<8} target {row.target}{against}")
    print("machine:", ", ".join(f"{key} {value}" for key, value in machine.items()))
