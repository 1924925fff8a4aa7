"""Search variants of a project's model, or of a model file, and judge the fastest that is still right."""

from __future__ import annotations

from collections.abc import Callable
from functools import partial
from json import dumps
from pathlib import Path
from typing import Any

from rich.console import Group, RenderableType
from rich.text import Text

from headway import pipeline
from headway.api.as_called import native_calls
from headway.api.calls import optimize
from headway.api.in_memory_project import require_known_measures
from headway.api.results import OptimizationResult
from headway.cli.exit_codes import OF_ANSWER
from headway.cli.main import AsJson, ProjectFolder
from headway.core.config import FILE, Config, file_and_line
from headway.core.errors import ConfigError
from headway.core.search_result import SearchResult
from headway.core.urls import without_password
from headway.data.read import read_table
from headway.data.settings.data import DataSection
from headway.data.settings.policy import PolicySection
from headway.optimization.importers.models import default_name
from headway.optimization.settings.optimize import OptimizeSection
from headway.registry.candidate import write_candidate
from headway.registry.project import open_project
from headway.reporting.console import make_console, print_result, print_status
from headway.reporting.text.formatting import parse_duration
from headway.reporting.text.terminal import render_search


def plugin(
    model: Path | None = None,
    *,
    data: str = "",
    query: str = "",
    target: str = "",
    groups: str = "",
    time: str = "",
    trust: bool = False,
    digest: str = "",
    report: Path | None = None,
    budget: str = "",
    wait_quiet: bool = False,
    families: str = "",
    without: str = "",
    defer: str = "",
    candidate: Path | None = None,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> int:
    """Search variants and judge the fastest feasible one, or the model itself if none is faster.

    Exit 0 pass, 1 fail, 3 undecided: the verdict on that one.

    Example: headway optimize --project headway-demo --budget 60s
    Example: headway optimize --project headway-demo --candidate candidate
    Example: headway optimize model.txt --data rows.parquet --target late --groups date

    Parameters
    ----------
    model
        A file with a fitted model, or an address in MLflow (models:/name@alias, models:/name/3, runs:/id/model),
        judged on --data; default: the project's own model.
    data
        Labelled rows for a model file: a file, or a database URL together with --query.
    query
        Query to run on the database.
    target
        Column of the labels.
    groups
        Column of dependent rows: rows with the same value form one group (a day, a customer).
    time
        Column that orders the rows: the earlier half is for validation, the later half is the test set.
    trust
        Open a model file that can run code (pickle, joblib), unless headway scan finds that it is unsafe.
    digest
        Open exactly the model file with this digest (sha256:...), whatever headway scan finds in it.
    report
        For a model file: write an HTML report here.
    budget
        Longest time of the search with its verdict, without the training (60s, 5m), in place of [optimize] budget_s.
    wait_quiet
        Wait until other processes leave the cores before speed is measured, at most 10 minutes.
    families
        Model families to train in addition to the project's model: forest,histgb,lightgbm,logistic.
    without
        Features, or feature views with all of theirs, that the variants are to do without: wind,plane. Each variant is
        trained without them, or holds them constant if the project has no training function, and is judged like any.
    defer
        Feature views, or features, that are looked up only where a first model without them does not decide: plane.
    candidate
        For a project: write the winner with its models into this folder, for `headway gate --candidate` in a job that
        runs no code of this project.
    """
    on_progress: Callable[[str], object] = (lambda _: None) if json else make_console().print
    flags = {"optimize.budget_s": str(parse_duration(budget))} if budget else {}
    if wait_quiet:
        flags["optimize.wait_quiet"] = "true"
    if families:
        flags["optimize.families"] = dumps([name.strip() for name in families.split(",")])
    for key, names in (("without", without), ("defer", defer)):
        if names:
            flags[f"optimize.{key}"] = dumps([name.strip() for name in names.split(",")])
    if model is None:
        opened = open_project(project, flags=flags)
        _check_policy(opened.config)
        periods = pipeline.periods(opened)
        search_result = pipeline.optimize(
            opened,
            pipeline.train(opened, periods, trust=digest or trust),
            periods,
            measure_calls=native_calls(opened, periods["validation"].table),
            callback=on_progress,
        )
        if candidate is not None:
            write_candidate(candidate, search_result, opened.blobs)
        pipeline.send_lineage(opened, callback=print_status)
        settings = opened.config[OptimizeSection]
        option = "" if project == Path(".") else f" --project {project}"
        text: RenderableType = render_search(
            search_result,
            objective=settings.objective,
            next_command=f"headway release{option}",
            command=f"headway optimize{option}",
            override_command=f'headway release{option} --override "WHY"',
        )
    else:
        run = partial(
            optimize,
            model,
            groups=groups or None,
            time=time or None,
            budget=budget or None,
            wait_quiet=wait_quiet,
            name=default_name(model),
            trust=digest or trust,
            callback=on_progress,
        )
        search_result, text = _of_file(model, run, source=data, query=query, target=target, report=report)
    print_result(search_result, text, json=json)
    return OF_ANSWER[search_result.winner.verdict.answer]


def _check_policy(config: Config) -> None:
    """Raise ConfigError, with its line, for an unknown measure: the search would end without a verdict or a winner."""
    objective = file_and_line(config.path(FILE), "optimize.objective")
    require_known_measures([config[OptimizeSection].objective], where=objective)
    for name, rules in (("release", config[PolicySection].release), ("retrain", config[PolicySection].retrain)):
        for index, rule in enumerate(rules):
            where = file_and_line(config.path(FILE), f"policy.{name}[{index}].measure")
            require_known_measures([rule.measure], where=where)


def _of_file(
    model: Path,
    run: Callable[[Any, Any], OptimizationResult],
    *,
    source: str,
    query: str,
    target: str,
    report: Path | None,
) -> tuple[SearchResult, RenderableType]:
    """Search variants of the model in a file, judged on a table; raise ConfigError if table or target is missing."""
    if not (source and target):
        raise ConfigError(
            f"a model file needs labelled rows, and {'--target' if source else '--data'} is missing",
            where=str(model),
            hint=f"headway optimize {model} --data rows.parquet --target COLUMN",
        )
    table = read_table(Config(DataSection(source=source, query=query)))
    if target not in table.columns:
        columns = f"{without_password(source)} has: {', '.join(table.columns)}"
        raise ConfigError(f"no column '{target}'", where=columns)
    known = table.drop_nulls(target)
    if len(known) < len(table):
        print_status(f"{len(table) - len(known):,} of {len(table):,} rows have no {target}, and are left out")
    best = run(known.drop(target), known[target])
    native = f"not optimized, still in Python: {'; '.join(best.native)}" if best.native else ""
    written = f"report: {best.report(report)}" if report else ""
    follow = f"headway init PROJECT --from {source} --target {target}, with [model] file, to sign and serve it"
    again = f"headway optimize {model} --data {source} --target {target}"
    shown = render_search(best.search, next_command=follow, command=again)
    return best.search, Group(*(Text(line) for line in (native, written) if line), shown)
