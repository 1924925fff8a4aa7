"""The formats in which the gate reports, each a file beside this one: the same case gives the same bytes anywhere."""

from __future__ import annotations

import sys
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

import msgspec

from headway.core.errors import ConfigError
from headway.face.gates import github, junit, markdown, sarif, text
from headway.face.gates.case import Case
from headway.face.output import console, put, write_whole


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


def deliver(case: Case, asked: Sequence[str], environment: Mapping[str, str]) -> None:
    """Give a case in each format that is asked for: `NAME` prints it, `NAME=FILE` writes it.

    `github` goes where the environment says, and is printed where it says nothing. Raises ConfigError for a format
    that is unknown, before anything is written.
    """
    wanted = [(_known(name), file) for name, _, file in (each.partition("=") for each in asked)]
    for name, file in wanted:
        if file:
            write_whole(FORMATS[name](case), Path(file))
        elif name == "text" and sys.stdout.isatty():
            console().print(text.told(case))
        elif not (name == "github" and github.publish(case, environment)):
            put(FORMATS[name](case))


def _known(name: str) -> str:
    if name not in FORMATS:
        known = ", ".join(FORMATS)
        raise ConfigError(f"no format {name!r}: there are {known}", where="--format", mend="--format junit=gate.xml")
    return name
