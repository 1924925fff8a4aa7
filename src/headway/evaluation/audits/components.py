"""Ablation of what is to be released: quality, speed and cost without each part."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from functools import partial
from time import monotonic
from typing import NamedTuple

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats
from headway.core.calibrator import Calibrator
from headway.core.contracts import Engine
from headway.core.errors import EngineError, NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.benchmark import Predictor, measure_savings
from headway.evaluation.calibration.apply import CalibrationFunction, calibration_function
from headway.evaluation.comparison import errors_of_answers, open_variant, subsample
from headway.evaluation.context import AuditContext, Comparison
from headway.evaluation.quality.row_errors import RowErrors
from headway.evaluation.statistics.claims import ALPHA, classify_difference, describe_needed_data, flag_parts, log_ratio
from headway.evaluation.statistics.subsets import mean_measurement
from headway.optimization.ablation import Component, iter_components, rebuild_without
from headway.optimization.context import TransformContext

ROUNDS, MOST_ROWS = 40, 50_000
QUALITY, TIME = 0.01, 0.05
"""What does not count: a change of the error by less than this share of it, of a time or cost by less than this."""
_SHOWN_ALONE = "p99"


def plugin(subject: Comparison, ground: AuditContext) -> list[Measurement]:
    """Measure what each part of the release candidate buys and costs, compared with all parts together.

    Parts are the steps of the variant, the stages of a cascade, the int8 of each layer and the calibrator, each left out;
    a feature view, or a list of `[evaluate] together`, is made missing in every row, which changes no time.

    Measures, one slice for each part:

    - `components.brier.drop` (`mse` for a regression): increase of the error without the part.
    - `components.latency.speedup` and `.p99.speedup` (one row), `components.throughput.speedup` (batches),
      `components.cost.one_row.ratio` and `.cost.batch.ratio` (CPU time): time or cost without the part, divided by that
      with it.
    - `components.harmful`: 1 for each part that makes something worse and nothing better, and their number.
    - `components.nothing`: the same for parts that change nothing that counts.
    - `components.unsettled`: the same for undecided parts, and those that there was no time for.

    The error, two times and two costs of all parts share the 5 % chance that any of these words is wrong; the 99th
    percentile decides nothing.

    Raises
    ------
    NotApplicable
        If there is no part to leave out, or the variant cannot be rebuilt.
    """
    until = monotonic() + ground.budget_s
    whole = _Whole(subsample(subject, MOST_ROWS), ground.calibrator)
    margin = QUALITY * whole.error
    found: list[Measurement] = []
    unsettled: dict[str, str] = {}
    for part in _parts(whole, ground):
        if monotonic() >= until:
            unsettled[part.name] = "no time to measure without it"
            continue
        try:
            found += whole.beside(part.made())
        except (EngineError, NotApplicable) as reason:
            unsettled[part.name] = f"nothing answers without it: {reason.what}"
    if not found and not unsettled:
        raise NotApplicable("it is the model as it came, and nothing could be left out")
    return [*found, *_words(found, unsettled, margin=margin, n_rows=len(whole.subject.rows))]


class _Whole:
    """The variant with its calibrator: the reference for measurements without a part."""

    def __init__(self, subject: Comparison, calibrator: Calibrator) -> None:
        self.subject = subject
        self._calibrate = calibration_function(calibrator) if calibrator and subject.variant.task == "binary" else None
        self.model = self.calibrated(subject.model)
        self.scores = self._calibrate(subject.scores) if self._calibrate else subject.scores

    @property
    def is_calibrated(self) -> bool:
        """Whether the variant has a calibrator."""
        return self._calibrate is not None

    def calibrated(self, model: Engine) -> Predictor:
        """Return the model followed by the calibrator, if there is one."""
        return _Calibrated(model, self._calibrate) if self._calibrate else model

    @property
    def error(self) -> float:
        """Mean error."""
        errors = self.errors(self.scores)
        return errors.blocks.mean(errors.reference)

    def errors(self, answers: Floats) -> RowErrors:
        """Return the errors of these answers, paired with those of the whole."""
        return errors_of_answers(self.subject, answers, self.scores)

    def beside(self, less: _Less) -> list[Measurement]:
        """Measure the loss of quality without the part and, if another model answers, of time and CPU time."""
        errors = self.errors(less.answers)
        found = [mean_measurement(f"{errors.name}.drop", errors.lost, errors.blocks, errors.bounds)]
        if less.model is not None:
            found += measure_savings(self.model, less.model, self.subject.rows, rounds=ROUNDS)
        return [replace(each, name=f"components.{each.name}", slice=less.name) for each in found]


class _Less(NamedTuple):
    """Name of a part, the answers (n, k) without it, and the model that gives them if its time differs."""

    name: str
    answers: Floats
    model: Predictor | None = None


class _Part(NamedTuple):
    name: str
    made: Callable[[], _Less]


def _parts(whole: _Whole, ground: AuditContext) -> Iterator[_Part]:
    variant = whole.subject.variant
    if whole.is_calibrated:
        yield _Part("calibrator", lambda: _Less("calibrator", whole.subject.scores, whole.subject.model))
    if ground.origin and ground.bench and variant.steps:
        bench = ground.bench()
        for part in iter_components(variant, ground.origin, bench):
            yield _Part(part.name, partial(_rebuilt, part, bench, whole))
    groups = [(f"view {view.name}", view.columns) for view in ground.views]
    for name, columns in [*groups, *((" + ".join(names), tuple(names)) for names in ground.together)]:
        yield _Part(name, partial(_missing, name, columns, whole))


def _rebuilt(part: Component, bench: TransformContext, whole: _Whole) -> _Less:
    name, variant = rebuild_without(part, bench)
    model = whole.calibrated(open_variant(variant, bench.blobs))
    return _Less(name, model.predict(whole.subject.rows), model)


def _missing(name: str, columns: Sequence[str], whole: _Whole) -> _Less:
    rows = whole.subject.rows.copy()
    rows[:, [whole.subject.variant.signature.names.index(column) for column in columns]] = np.nan
    return _Less(name, whole.model.predict(rows))


class _Calibrated:
    """A model followed by a calibrator."""

    def __init__(self, model: Predictor, calibrate: CalibrationFunction) -> None:
        self._model, self._calibrate = model, calibrate

    def predict(self, rows: Floats) -> Floats:
        return self._calibrate(self._model.predict(rows))


def _words(
    found: Sequence[Measurement], unsettled: Mapping[str, str], *, margin: float, n_rows: int
) -> list[Measurement]:
    """Name the harmful, useless and undecided parts, with what would decide."""
    asked = [each for each in found if _SHOWN_ALONE not in each.name]
    alpha = ALPHA / max(len(asked), 1)
    words: dict[str, dict[str, str]] = {"harmful": {}, "nothing": {}, "unsettled": dict(unsettled)}
    for part in dict.fromkeys(each.slice for each in asked):
        said = _said([each for each in asked if each.slice == part], margin, alpha)
        if said is not None:
            words[said[0]][part] = said[1]
    return [each for word, parts in words.items() for each in flag_parts(f"components.{word}", parts, n_rows=n_rows)]


def _said(found: Sequence[Measurement], quality: float, alpha: float) -> tuple[str, str] | None:
    """Return the word for a part and the reason; None for a part that makes something better."""
    margins = [TIME if each.unit == "x" else quality for each in found]
    sides = [classify_difference(log_ratio(each), margin, alpha) for each, margin in zip(found, margins, strict=True)]
    if "gained" in sides:
        return None
    if "open" in sides:
        open_ones = (at for at, each in enumerate(sides) if each == "open")
        return "unsettled", "; ".join(describe_needed_data(found[at], margins[at], alpha) for at in open_ones)
    if "lost" in sides:
        lost = (f"{each.name} {each.value:.3g}" for each, where in zip(found, sides, strict=True) if where == "lost")
        return "harmful", f"worse with it, and nothing is better: {', '.join(lost)}"
    return "nothing", f"no error changes by {QUALITY:.0%}, and no time or cost by {TIME:.0%}"
