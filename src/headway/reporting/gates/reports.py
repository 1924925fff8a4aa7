"""The formats in which gate and check report: the same case gives the same bytes anywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Generic, TypeVar

import msgspec
from rich.console import RenderableType

from headway.core.errors import ConfigError
from headway.monitoring.assessment.assess import Assessed
from headway.reporting.console import make_console, print_text, write_atomically
from headway.reporting.gates import assessments, checked, github, junit, markdown, sarif, text
from headway.reporting.gates.case import Case

Told = TypeVar("Told")


@dataclass(frozen=True, slots=True, kw_only=True)
class Desk(Generic[Told]):
    """Who reports: its formats by name, how a terminal shows it, and its outputs for GitHub Actions."""

    formats: Mapping[str, Callable[[Told], str]]
    terminal: Callable[[Told], RenderableType]
    outputs: Callable[[Told], Mapping[str, str]]


def as_json(case: Case) -> str:
    """The verdict as one JSON object on one line, as `--json` prints it."""
    return f"{msgspec.json.encode(case.verdict).decode()}\n"


FORMATS: dict[str, Callable[[Case], str]] = {
    "text": text.report,
    "json": as_json,
    "junit": junit.report,
    "sarif": sarif.report,
    "markdown": markdown.report,
    "github": github.report,
}
OF_CHECK: dict[str, Callable[[Assessed], str]] = {
    "text": checked.text,
    "json": checked.as_json,
    "junit": lambda found: junit.written(checked.of_check(found)),
    "sarif": lambda found: sarif.written(checked.of_check(found)),
    "markdown": checked.markdown,
    "github": checked.markdown,
}
GATE = Desk(formats=FORMATS, terminal=text.told, outputs=github.named)
CHECK = Desk(formats=OF_CHECK, terminal=assessments.assessed_text, outputs=checked.outputs)


def deliver(case: Told, asked: Sequence[str], environment: Mapping[str, str], desk: Desk[Told]) -> None:
    """Give a case in each format that is asked for: `NAME` prints it, `NAME=FILE` writes it.

    `github` goes where the environment says, and is printed where it says nothing. Raises ConfigError for a format
    that is unknown, before anything is written.
    """
    formats = desk.formats
    wanted = [(_known(name, formats), file) for name, _, file in (each.partition("=") for each in asked)]
    for name, file in wanted:
        if file:
            write_atomically(formats[name](case), Path(file))
        elif name == "text" and sys.stdout.isatty():
            make_console().print(desk.terminal(case))
        elif not (name == "github" and github.publish(formats[name](case), desk.outputs(case), environment)):
            print_text(formats[name](case))


def _known(name: str, formats: Mapping[str, object]) -> str:
    if name not in formats:
        known = ", ".join(formats)
        raise ConfigError(f"no format {name!r}: there are {known}", where="--format", hint="--format junit=gate.xml")
    return name
