"""The calls of `import headway`: optimize, evaluate, compare, learning_curve, load."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Unpack

from headway import pipeline
from headway.api.in_memory_project import Options, create_project, open_model
from headway.api.learning_curve import CurveOptions, LearningCurve, start_curve
from headway.api.model import Model
from headway.api.results import ComparisonResult, EvaluationResult, OptimizationResult
from headway.core import plugins
from headway.evaluation.comparison import build_evaluation_set, open_variant
from headway.optimization.importers.models import import_baseline
from headway.registry.open import open_release
from headway.registry.project import open_project
from headway.reporting.console import progress


def optimize(model: Any, X: Any, y: Any, **options: Unpack[Options]) -> OptimizationResult:
    """The fastest form of a fitted model that is still right, as a drop-in for it.

    `model` is a fitted estimator or booster, or the path of a model file; `X` [n, d] and `y` [n] are rows with labels
    that it did not learn from, as a polars, pandas or Arrow table or a numpy array. Half of them (the earlier one, by
    whole groups) choose among the variants, the other half judges the winner once. What is returned answers as the
    model did, and says how much faster, what it was judged by, and why each other variant lost. Where nothing faster
    is shown to be right, it is the model as it came. See `Options` for what else can be said.
    """
    laid = create_project(model, X, y, options)
    data = laid.halves()
    with progress(options.get("callback")) as callback:
        frontier = pipeline.optimize(
            laid.project, pipeline.import_model(laid.project, laid.taken, data), data, callback=callback
        )
    engine = open_variant(frontier.winner.variant, laid.project.blobs)
    return OptimizationResult(
        frontier, engine, laid, threshold=frontier.baseline.threshold if "costs" in options else None
    )


def evaluate(model: Any, X: Any, y: Any, **options: Unpack[Options]) -> EvaluationResult:
    """What a fitted model is worth on labelled rows: every probe's measurements, each with its interval, and findings.

    Arguments are those of `optimize`; the rows are used as one period.
    """
    laid = create_project(model, X, y, options)
    baseline = pipeline.import_model(laid.project, laid.taken, {"choose": laid.rows})
    exam = build_evaluation_set(baseline, laid.rows, laid.project.blobs)
    return EvaluationResult(
        pipeline.evaluate(laid.project, baseline.model, exam, probes=plugins.names("probe")).evidence
    )


def compare(model: Any, other: Any, X: Any, y: Any, **options: Unpack[Options]) -> ComparisonResult:
    """Another model against this one, row by row on the same labelled rows, with the verdict of the policy.

    Arguments are those of `optimize`; `other` may read other columns of `X`. Differences are paired: positive losses
    mean that `other` is worse.
    """
    laid = create_project(model, X, y, options, losses_only=True)
    baseline = pipeline.import_model(laid.project, laid.taken, {"choose": laid.rows})
    exam = build_evaluation_set(baseline, laid.rows, laid.project.blobs)
    taken = open_model(other, trust=options.get("trust", False))
    variant = import_baseline(taken, laid.rows, laid.project.blobs)
    return ComparisonResult(
        pipeline.evaluate(laid.project, variant, exam, view=laid.rows, probes=plugins.names("probe"))
    )


def learning_curve(X: Any, y: Any, **options: Unpack[CurveOptions]) -> LearningCurve:
    """How a model learns, looked at while it is trained: one word in `callbacks`, and a sentence at the end.

    `X` [n, d] and `y` [n] are rows held out of training, as the library reads them. `callbacks=[curve.lightgbm]` (or
    `curve.xgboost`, `curve.catboost`); `curve.sklearn(model)` and `curve.torch(module)` are called after a step. See
    `CurveOptions` for what else can be said.
    """
    return start_curve(X, y, options)


def load(reference: str, *, project: str | Path = ".") -> Model:
    """The release that a reference of a project names (`flights@live`, `flights@DIGEST`), verified, as a model.

    It reads the columns of its feature views from the rows as well. Raises Refused where it does not verify.
    """
    opened = open_project(Path(project))
    bundle = opened.register.resolve(reference)
    release = bundle.release
    return Model(release.variant, open_release(bundle), threshold=release.threshold, calibrator=release.calibrator)
