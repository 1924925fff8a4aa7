"""The contract of a project's data: discover or import it, and hold a table or a file of any size to it."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.actions.contracts import Given, Word, carry_out
from headway.cli.output import show
from headway.core import config

NOTHING = Given()


def plugin(
    action: Word = "check",
    file: str = "",
    *,
    project: Path = Path("."),
    json: bool = False,
    given: Annotated[Given, Parameter(name="*")] = NOTHING,
) -> int:
    """Discover or import what each column may be, or hold data to it. Exit 1 where a row fails, else 0.

    Example: headway contract discover --replace --project headway-demo
    Example: headway contract check flights.parquet --passed whole.parquet --project headway-demo

    Parameters
    ----------
    action
        discover (writes contract.toml, to be read and edited), import (writes what a schema says) or check.
    file
        For check: a parquet, csv or arrow file, which may be larger than memory; else the project's table. For
        import: a table schema (JSON), a schema of pandera (JSON, YAML or module:name) or of dataframely (module:name).
    project
        Folder with headway.toml.
    json
        Print one JSON object.
    """
    done = carry_out(config.load(project), action, file, given=given)
    show(done.value, done.message, json=json)
    return done.code
