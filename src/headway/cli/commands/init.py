"""Make a small project that runs: of a table, whose columns are looked at, or of made-up deliveries."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

from cyclopts import Parameter

from headway.cli.init.project import create_project
from headway.reporting.console import print_result


def plugin(
    folder: Path = Path("."),
    *,
    table: Annotated[Path | None, Parameter(name="--from")] = None,
    target: str = "",
    json: bool = False,
) -> None:
    """Write headway.toml and train.py, and without a table one to begin with; nothing is written over.

    Example: headway init deliveries
    Example: headway init flights --from table.parquet --target late

    Parameters
    ----------
    folder
        Where the project is made.
    table
        A parquet, csv or Arrow file: what its columns are for is proposed, for you to correct.
    target
        The column of that file to predict.
    json
        Print one JSON object.
    """
    written = create_project(folder, table, target)
    lines = [f"{folder / name}: {what}" for name, what in written.items()]
    print_result(
        {str(folder / name): what for name, what in written.items()}, "\n".join([*lines, _next(folder)]), json=json
    )


def _next(folder: Path) -> str:
    """The words with which one goes on."""
    where = "" if folder == Path(".") else f" --project {folder}"
    return f"next: read headway.toml, then\n  headway check{where}\n  headway optimize{where}\n  headway release{where}"
