"""Split a model with custom Python into that Python and the known model inside it."""

from __future__ import annotations

import copy
from collections.abc import Callable, Sequence
from dataclasses import dataclass
from typing import Any

from headway.core import plugins
from headway.core.errors import EngineError, Refused
from headway.engines.estimators.objects import (
    KNOWN_LIBRARIES,
    NestedObject,
    custom_code,
    qualified_name,
    root_package,
    walk_objects,
)

_PREDICT_METHODS = ("predict_proba", "predict", "decision_function")


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class CustomModel:
    """Model with custom Python, split into that Python and the known model inside it.

    Attributes
    ----------
    parts
        Names of the custom Python code, which is kept unchanged.
    model
        Known model that can be optimized.
    rows
        Function from rows of the outer model to the rows that the known model receives.
    around
        Function from another inner model to the outer model with that in place; it answers `predict` and, for a
        classifier, `predict_proba`.
    """

    parts: tuple[str, ...]
    model: object
    rows: Callable[[Any], Any]
    around: Callable[[Any], Any]


def custom_code_refused(parts: Sequence[str]) -> Refused:
    """Return the error for releasing a model with custom Python around it, with a hint."""
    return Refused(
        "a release stores data only, and this model contains custom Python code",
        where="; ".join(parts),
        hint="compute those columns upstream, and release the model after them: pipeline[k:]",
    )


def split_custom_code(model: Any) -> CustomModel | None:
    """Split a model into custom Python and the known model inside; None if it has no custom Python, or no such model.

    Raises
    ------
    EngineError
        If the custom Python wraps more than one known model.
    """
    model = getattr(model, "best_estimator_", model)  # a search predicts with its best estimator
    kinds = {kind.__module__.partition(".")[0] for kind in type(model).__mro__}
    parts = () if kinds & set(plugins.names("engine")) - {"sklearn"} else tuple(custom_code(model))
    if not parts:
        return None
    head = _count_custom_steps(model)
    if head:
        return _split_pipeline(model, head, parts)
    inner = _find_inner_model(model, parts)
    if inner is None:
        return None
    return CustomModel(
        parts=parts,
        model=inner.value,
        rows=lambda rows: _rows_seen_by_inner(model, inner, rows),
        around=lambda other: _replace_inner(model, inner, other),
    )


def _count_custom_steps(model: Any) -> int:
    """Count the pipeline steps before the part that is known; 0 if the last step is not, or it is not a pipeline."""
    if root_package(model) != "sklearn" or not isinstance(getattr(model, "steps", None), list):
        return 0
    own = [number for number, (_, step) in enumerate(model.steps, 1) if custom_code(step)]
    return own[-1] if own[-1] < len(model.steps) else 0


def _split_pipeline(pipeline: Any, head: int, parts: tuple[str, ...]) -> CustomModel:
    first = [step for _, step in pipeline.steps[:head] if step is not None and step != "passthrough"]
    rest = copy.copy(pipeline)
    rest.steps = pipeline.steps[head:]
    return CustomModel(
        parts=parts,
        model=rest.steps[0][1] if len(rest.steps) == 1 else rest,
        rows=lambda rows: _apply_steps(first, rows),
        around=lambda other: PrefixedModel(first, other),
    )


class PrefixedModel:
    """Model behind preprocessing steps; all other attributes are those of the model."""

    def __init__(self, steps: Sequence[Any], model: Any) -> None:
        self._steps = steps
        self._model = model

    def predict(self, rows: Any) -> Any:
        """Predict rows of the outer model."""
        return self._model.predict(_apply_steps(self._steps, rows))

    def predict_proba(self, rows: Any) -> Any:
        """Predict probabilities for rows of the outer model."""
        return self._model.predict_proba(_apply_steps(self._steps, rows))

    def __getattr__(self, name: str) -> Any:
        if name.startswith("_"):
            raise AttributeError(name)
        return getattr(self._model, name)


def _apply_steps(steps: Sequence[Any], rows: Any) -> Any:
    for step in steps:
        rows = step.transform(rows)
    return rows


def _find_inner_model(model: Any, parts: tuple[str, ...]) -> NestedObject | None:
    """Return the one known model inside another, if there is one; models nested in it do not count."""
    found: list[NestedObject] = []
    for here in walk_objects(model):
        around = tuple(f"{result.path}{mark}" for result in found for mark in ".[")
        if _is_known(here.value) and not here.path.startswith(around):
            found.append(here)
    if len(found) < 2:
        return found[0] if found else None
    locations = ", ".join(f"{path} ({qualified_name(value)})" for path, value in found)
    raise EngineError(
        f"a {qualified_name(model)} is custom Python code around {len(found)} models",
        where="; ".join([*parts[:5], f"models: {locations}"]),
        hint="import one of them, with the rows that it receives there",
    )


def _is_known(value: Any) -> bool:
    """Return whether a value is a fitted model of a known library, without custom Python, and not a clustering."""
    predicts = hasattr(value, "predict") and not hasattr(value, "fit_predict")
    return (
        predicts and root_package(value) in KNOWN_LIBRARIES and not isinstance(value, type) and not custom_code(value)
    )


def _replace_inner(model: Any, inner: NestedObject, other: Any) -> Any:
    """Return a copy of a model with another inner model."""
    try:
        return copy.deepcopy(model, {id(inner.value): other})
    except (TypeError, ValueError, AttributeError, RecursionError) as error:
        raise EngineError(
            f"a {qualified_name(model)} cannot be copied, so that {inner.path} cannot be replaced: {error}",
            hint="import the model inside it, with the rows that it receives there",
        ) from error


def _rows_seen_by_inner(model: Any, inner: NestedObject, rows: Any) -> Any:
    """Return the rows that the inner model receives; the outer model must call it once, with as many rows."""
    recorder = _RowRecorder(inner.value)
    outer = _replace_inner(model, inner, recorder)
    method = next((name for name in _PREDICT_METHODS if hasattr(outer, name)), None)
    if method is None:
        raise EngineError(f"a {qualified_name(model)} has neither predict nor predict_proba")
    getattr(outer, method)(rows)
    counts = [_count_rows(batch) for batch in recorder.batches]
    if counts != [_count_rows(rows)]:
        raise EngineError(
            f"for {_count_rows(rows):,} rows, {qualified_name(model)} calls the model inside it with {counts} rows",
            where=inner.path,
            hint="call it once, with all rows, in the same order",
        )
    return recorder.batches[0]


class _RowRecorder:
    """Answers as a model does, and records the rows it received."""

    def __init__(self, model: Any) -> None:
        self.model = model
        self.batches: list[Any] = []

    def __getattr__(self, name: str) -> Any:
        answer = getattr(self.model, name)
        if name not in _PREDICT_METHODS:
            return answer

        def record(rows: Any, *rest: Any, **named: Any) -> Any:
            self.batches.append(rows)
            return answer(rows, *rest, **named)

        return record


def _count_rows(rows: Any) -> int:
    return int(rows.shape[0]) if hasattr(rows, "shape") else len(rows)
