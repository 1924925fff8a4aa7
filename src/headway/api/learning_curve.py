"""Learning curves recorded while a model is trained, for a notebook."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import polars as pl

from headway.api.in_memory_project import infer_task
from headway.api.tables import to_polars, to_series
from headway.core.late import LateModule
from headway.core.renamed import warn_renamed
from headway.data.provenance.fingerprint import table_digest
from headway.evaluation.learning_curves.curve import Curve
from headway.evaluation.learning_curves.data import CurveData, build_curve_data
from headway.registry.project import open_project
from headway.reporting.text import curves

if TYPE_CHECKING:
    from headway.reporting import page
    from headway.reporting.sections import learning
else:  # with the library for charts
    page, learning = LateModule("headway.reporting.page"), LateModule("headway.reporting.sections.learning")


class LearningCurveRecorder(Curve):
    """A learning curve; `print` gives its conclusion, a notebook also draws it, above the table of rounds.

    Attributes
    ----------
    lightgbm, xgboost, catboost : callback
        Pass one in `callbacks` of the training.
    sklearn, torch : callable
        Call with the model after `fit`, or after each step or epoch.
    """

    def __str__(self) -> str:
        """Return the conclusion and the time that the evaluations took."""
        curve = self.record()
        return f"{curves.describe_curve(curve)}\n{curves.describe_cost(curve)}"

    def _repr_html_(self) -> str:
        curve = self.record()
        return page.notebook_html(
            "Learning curve",
            (curves.describe_curve(curve), curves.describe_cost(curve)),
            curves.tabulate_curve(curve),
            learning.draw_learning_curve(curve) if len(curve.rounds) > 1 else None,
        )

    def save(self, project: str | Path = ".") -> str:
        """Save the curve as evidence of a project, whose report then shows it.

        Parameters
        ----------
        project : str or Path
            Folder with headway.toml.

        Returns
        -------
        str
            Digest of the record.
        """
        return open_project(Path(project)).save(self.record())

    def keep(self, project: str | Path = ".") -> str:
        """Call `save`, which this method was renamed to."""
        warn_renamed("learning_curve", "keep", "save")
        return self.save(project)


def start_curve(
    X: Any,
    y: Any,
    *,
    groups: Any,
    sample_weight: Any,
    training_data: tuple[Any, ...] | None,
    task: str,
    every: int | None,
) -> LearningCurveRecorder:
    """Return a curve without any round yet; parameters as in `headway.learning_curve`."""
    task, classes = _task_and_classes(y, task)
    held_out = _part(X, y, groups, sample_weight, task=task, classes=classes)
    training = _part(*training_data, task=task, classes=classes) if training_data else None
    curve = LearningCurveRecorder(held_out, training, every=every)
    curve.digests["held_out"] = _digest(X, y)
    curve.digests["learned"] = _digest(training_data[0], training_data[1]) if training_data else ""
    return curve


def _part(
    rows: Any, y: Any, groups: Any = None, sample_weight: Any = None, *, task: str, classes: pl.Series
) -> CurveData:
    """Rows with labels as numbers, by groups and weights [n] if there are any."""
    labels = to_series(y, "target")
    if task == "regression":
        codes = labels.cast(pl.Float64).to_numpy()
    else:
        codes = np.searchsorted(classes.to_numpy(), labels.to_numpy()).astype(np.float64)
    numbers = None if groups is None else to_series(groups, "groups").rank("dense").cast(pl.Int64).to_numpy() - 1
    weights = None if sample_weight is None else to_series(sample_weight, "weight").cast(pl.Float64).to_numpy()
    return build_curve_data(rows, codes, numbers, task=task, weights=weights)


def _task_and_classes(y: Any, task: str) -> tuple[str, pl.Series]:
    """Return the task, inferred if not given, and the sorted classes, in the order in which libraries return them."""
    labels = to_series(y, "target")
    classes = labels.drop_nulls().unique().sort()
    if not task and labels.dtype.is_numeric() and len(classes) != 2:
        task = infer_task(labels.cast(pl.Float64))
        task = task if task == "regression" else "multiclass"
    return task or ("binary" if len(classes) == 2 else "multiclass"), classes


def _digest(rows: Any, y: Any) -> str:
    table = to_polars(rows)
    return table_digest(table.with_columns(to_series(y, "target").alias("target")))
