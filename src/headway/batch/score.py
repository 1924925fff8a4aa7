"""From rows to the columns of an answer: the engine asked, the calibrator applied, the decision taken."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import nanoarrow
import numpy as np

from headway.batch import columns
from headway.core.batch import Chunk, Column
from headway.core.errors import DataError, EngineError
from headway.core.release import Release
from headway.evaluation.calibration.apply import Apply, ready

if TYPE_CHECKING:
    from headway.core.batch import Flags
    from headway.core.contracts import Engine, Floats

ROW = "row"
_DECISION, _PREDICTION = "decision", "prediction"

RowErrors = Mapping[int, str]
"""Why a row has no answer, by its place among the rows that were asked."""


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Scorer:
    """A release, opened. Threads may share it."""

    release: Release
    engine: Engine
    _calibrated: Apply = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "_calibrated", ready(self.release.calibrator))

    def scores(self, rows: Floats) -> tuple[Floats, RowErrors]:
        """What the release answers to rows float64 [n, d]: float64 [n, k] after the calibrator, and its faults.

        A row without an answer is NaN: the engine fails on it alone, or gives what is no finite number.
        """
        scores, faults = self._asked(rows)
        scores = self._calibrated(scores)
        for place in np.flatnonzero(~np.isfinite(scores).all(axis=1)).tolist():
            faults.setdefault(place, f"the answer is {scores[place].tolist()}")
        return scores, faults

    def _asked(self, rows: Floats) -> tuple[Floats, dict[int, str]]:
        """The engine's answers; rows that it fails on are halved until the bad one stands alone."""
        try:
            return self.engine.predict(rows), {}
        except EngineError as error:
            if len(rows) < 2:
                return np.full((len(rows), self.engine.predict(rows[:0]).shape[1]), np.nan), {0: error.what}
        half = len(rows) // 2
        (left, faults), (right, others) = self._asked(rows[:half]), self._asked(rows[half:])
        return np.concatenate([left, right]), faults | {half + place: why for place, why in others.items()}

    def answer(self, chunk: Chunk, scores: Floats, refused: set[int]) -> dict[str, Column]:
        """The columns of an answer to a chunk; the rows (their numbers in the file) that are refused have nulls."""
        missing = None
        if refused:
            missing = np.zeros(len(scores), dtype=np.bool_)
            missing[[row - chunk.start for row in refused]] = True
        numbers = Column(type=nanoarrow.int64(), values=np.arange(chunk.start, chunk.end, dtype=np.int64))
        return {ROW: numbers, **chunk.kept, **_answers(self.release, scores, missing)}

    def empty(self, kept: Mapping[str, Column]) -> dict[str, Column]:
        """The columns of an answer without rows; raises DataError where a column that is kept has the name of one."""
        width = len(self.release.variant.signature.inputs)
        scores, _ = self._asked(np.empty((0, width)))
        none = Chunk(start=0, rows=np.empty((0, width)), kept={}, position=0, share=0.0)
        own = self.answer(none, scores, set())
        for name in kept:
            if name in own:
                raise DataError(
                    f"column '{name}' cannot be kept: the answer has a column of that name", hint="rename it"
                )
        names = [ROW, *kept, *(name for name in own if name != ROW)]
        return {name: kept[name] if name in kept else own[name] for name in names}


def _answers(release: Release, scores: Floats, missing: Flags | None) -> dict[str, Column]:
    """Of a classifier the probability, or one for each class, and the decision; of all others the prediction."""
    variant, width = release.variant, scores.shape[1]
    if variant.task == "binary":
        yes = Column(type=nanoarrow.int8(), values=(scores[:, 0] >= release.threshold).astype(np.int8), missing=missing)
        return {variant.signature.output: _floats(scores[:, 0], missing), _DECISION: yes}
    if variant.task != "multiclass":
        names = [_PREDICTION] if width == 1 else [f"{_PREDICTION}.{place}" for place in range(width)]
        return {name: _floats(scores[:, place], missing) for place, name in enumerate(names)}
    classes = variant.signature.classes or tuple(str(place) for place in range(width))
    best = np.where(np.isnan(scores), -np.inf, scores).argmax(axis=1)
    chosen = [classes[place] for place in best.tolist()]
    if missing is not None:
        chosen = [None if none else text for text, none in zip(chosen, missing.tolist(), strict=True)]
    found = {
        f"{variant.signature.output}.{name}": _floats(scores[:, place], missing) for place, name in enumerate(classes)
    }
    return {**found, _DECISION: columns.string_column(chosen)}


def _floats(values: Floats, missing: Flags | None) -> Column:
    return Column(type=nanoarrow.float64(), values=np.ascontiguousarray(values), missing=missing)
