"""A learning curve in a notebook: the rows held out as the user has them, and what was seen as he may keep it."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import Any, TypedDict

import numpy as np
import polars as pl

from headway.api.in_memory_project import infer_task
from headway.api.tables import to_polars, to_series
from headway.core.errors import ConfigError
from headway.data.provenance.digest import table_digest
from headway.evaluation.learning_curves.curve import Curve
from headway.evaluation.learning_curves.data import CurveData, build_curve_data
from headway.registry.project import open_project
from headway.reporting.page import notebook_html
from headway.reporting.text import curves


class LearningCurve(Curve):
    """A curve that a notebook shows: printed it is the sentence, `keep(folder)` puts it into a project's store."""

    def __str__(self) -> str:
        """What it says, and what it took."""
        curve = self.record()
        return f"{curves.describe_curve(curve)}\n{curves.describe_cost(curve)}"

    def _repr_html_(self) -> str:
        curve = self.record()
        return notebook_html(
            "How it learned", (curves.describe_curve(curve), curves.describe_cost(curve)), curves.tabulate_curve(curve)
        )

    def keep(self, project: str | Path = ".") -> str:
        """Keep it as evidence of a project, whose report then shows it; returns its digest."""
        return open_project(Path(project)).save(self.record())


class CurveOptions(TypedDict, total=False):
    """What `learning_curve` may be told.

    `groups` [n]: rows with one value share fate, which every interval honours, in order of time where values are;
    `weight` [n] counts a row more or less. `learned` are (X, y), or (X, y, groups), of rows that the model learns from.
    `task` is else told from `y`. `every` looks each so many rounds; without, ever rarer.
    """

    groups: Any
    weight: Any
    learned: tuple[Any, ...]
    task: str
    every: int


def start_curve(X: Any, y: Any, options: CurveOptions) -> LearningCurve:
    """A curve that has seen nothing yet; raises ConfigError for an option that there is not."""
    unknown = sorted(set(options) - set(CurveOptions.__annotations__))
    if unknown:
        raise ConfigError(f"no option {unknown[0]!r}", where=f"options: {', '.join(CurveOptions.__annotations__)}")
    target = _target(y, options.get("task", ""))
    held_out = target.part(X, y, options.get("groups"), options.get("weight"))
    learned = options.get("learned")
    own = target.part(*learned) if learned else None
    curve = LearningCurve(held_out, own, every=options.get("every"))
    curve.digests["held_out"] = _digest(X, y)
    curve.digests["learned"] = _digest(learned[0], learned[1]) if learned else ""
    return curve


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Target:
    """The task, and of a classifier its classes in the order in which libraries give them."""

    task: str
    classes: pl.Series

    def part(self, rows: Any, y: Any, groups: Any = None, weight: Any = None) -> CurveData:
        """Rows with labels, by groups and weights [n] where there are any."""
        labels = to_series(y, "target")
        if self.task == "regression":
            codes = labels.cast(pl.Float64).to_numpy()
        else:
            codes = np.searchsorted(self.classes.to_numpy(), labels.to_numpy()).astype(np.float64)
        by = None if groups is None else to_series(groups, "groups").rank("dense").cast(pl.Int64).to_numpy() - 1
        weights = None if weight is None else to_series(weight, "weight").cast(pl.Float64).to_numpy()
        return build_curve_data(rows, codes, by, task=self.task, weights=weights)


def _target(y: Any, task: str) -> _Target:
    labels = to_series(y, "target")
    classes = labels.drop_nulls().unique().sort()
    if not task:
        numeric = labels.dtype.is_numeric()
        named = "binary" if len(classes) == 2 else "multiclass"
        task = "regression" if numeric and infer_task(labels.cast(pl.Float64)) == "regression" else named
        if numeric and len(classes) == 2:
            task = "binary"
    return _Target(task=task, classes=classes)


def _digest(rows: Any, y: Any) -> str:
    table = to_polars(rows)
    return table_digest(table.with_columns(to_series(y, "target").alias("target")))
