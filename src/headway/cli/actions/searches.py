"""A search that was asked for on the command line: of a project's own model, or of a model file on a table."""

from __future__ import annotations

import json
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated

from cyclopts import Parameter
from rich.console import RenderableType

from headway import pipeline
from headway.api.adhoc import Options
from headway.api.calls import optimize
from headway.cli.actions.lineage import pass_on
from headway.core.config import Config, DataSection, without_password
from headway.core.errors import ConfigError
from headway.core.frontier import Frontier
from headway.data.read import read_table
from headway.registry.project import Project
from headway.reporting.text.durations import seconds
from headway.reporting.text.tables import search_tables


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """Labelled rows that a fitted model did not learn from."""

    data: Annotated[str, Parameter(help="Table of a fitted model: a file, or a database with --query.")] = ""
    query: Annotated[str, Parameter(help="What to ask the database.")] = ""
    target: Annotated[str, Parameter(help="Column of the labels.")] = ""
    groups: Annotated[str, Parameter(help="Column whose rows of one value share fate.")] = ""
    time: Annotated[str, Parameter(help="Column that orders rows: the earlier half chooses, the later judges.")] = ""
    trust: Annotated[bool, Parameter(help="Open a model file that can run code (pickle, joblib).")] = False


@Parameter(name="*")
@dataclass(frozen=True, slots=True, kw_only=True)
class Ways:
    """How a search goes, and where it is told."""

    report: Annotated[Path | None, Parameter(help="Write an HTML report of a model file here.")] = None
    budget: Annotated[
        str, Parameter(help="Longest time to look at the choose period (60s, 5m), in place of [optimize] budget_s.")
    ] = ""

    families: Annotated[
        str, Parameter(help="Families to train beside the project's model: forest,histgb,lightgbm,logistic.")
    ] = ""

    @property
    def flags(self) -> dict[str, str]:
        """The settings that these take the place of; raises ConfigError for a time that is none."""
        budget = {"optimize.budget_s": str(seconds(self.budget))} if self.budget else {}
        names = [name.strip() for name in self.families.split(",")]
        return budget | ({"optimize.families": json.dumps(names)} if self.families else {})


@dataclass(frozen=True, slots=True, kw_only=True)
class Found:
    """What a search found, and how it is told."""

    frontier: Frontier
    text: RenderableType


def of_project(project: Project, *, trust: bool, callback: Callable[[str], object]) -> Found:
    """Search the variants of the project's own model; `trust` opens a model file that can run code."""
    data = pipeline.periods(project)
    frontier = pipeline.optimize(project, pipeline.train(project, data, trust=trust), data, callback=callback)
    pass_on(project)
    return Found(frontier=frontier, text=search_tables(frontier))


def of_file(model: Path, rows: Rows, ways: Ways, *, callback: Callable[[str], object]) -> Found:
    """Search the variants of the model in a file, judged on a table; writes the report, where one is asked for.

    Raises ConfigError where no table, or no target of it, is named.
    """
    if not (rows.data and rows.target):
        raise ConfigError(
            f"a model file is judged on labelled rows, and {'--target' if rows.data else '--data'} is not given",
            where=str(model),
            hint=f"headway optimize {model} --data rows.parquet --target COLUMN",
        )
    table = read_table(Config(data=DataSection(source=rows.data, query=rows.query)))
    if rows.target not in table.columns:
        where = f"{without_password(rows.data)} has: {', '.join(table.columns)}"
        raise ConfigError(f"no column '{rows.target}'", where=where)
    roles = {role: name for role, name in (("groups", rows.groups), ("time", rows.time)) if name}
    options: Options = {"callback": callback, "trust": rows.trust, "name": model.stem, **roles}  # type: ignore[typeddict-item]
    if ways.budget:
        options["budget"] = ways.budget
    best = optimize(model, table.drop(rows.target), table[rows.target], **options)
    written = [f"report: {best.report(ways.report)}"] if ways.report else []
    return Found(frontier=best.frontier, text="\n".join([str(best), *written]))
