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
from headway.evaluation.comparison import errors_of_answers, open_on_rows, subsample
from headway.evaluation.context import AuditContext, Comparison
from headway.evaluation.machine_load import MachineBusy
from headway.evaluation.quality.row_errors import RowErrors
from headway.evaluation.statistics.claims import ALPHA, classify_difference, describe_needed_data, flag_parts, log_ratio
from headway.evaluation.statistics.subsets import mean_measurement
from headway.optimization.ablation import Component, iter_components, rebuild_without
from headway.optimization.context import TransformContext

ROUNDS, MAX_ROWS = 40, 50_000
QUALITY, TIME = 0.01, 0.05
"""What does not count: a change of the error by less than this share of it, of a time or cost by less than this."""
_SHOWN_ALONE = "p99"


def plugin(subject: Comparison, context: AuditContext) -> list[Measurement]:
    """Measure what each part of the release candidate buys and costs, compared with all parts together.

    Parts are the steps of the variant, the stages of a cascade, the int8 of each layer and the calibrator, each left
    out; a feature view, or a list of `[evaluate] together`, is made missing in every row, which changes no time.

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
        If the variant is the baseline, or cannot be rebuilt.
    """
    until = monotonic() + context.budget_s
    candidate = ReleaseCandidate(subsample(subject, MAX_ROWS), context.calibrator)
    margin = QUALITY * candidate.error
    found: list[Measurement] = []
    unsettled: dict[str, str] = {}
    for part in _parts(candidate, context):
        if monotonic() >= until:
            unsettled[part.name] = "no time to measure without it"
            continue
        try:
            measured = candidate.measure_without(part.made())
            found += (seen for seen in measured if isinstance(seen, Measurement))
            busy = next((seen for seen in measured if isinstance(seen, MachineBusy)), None)
            if busy is not None:
                unsettled[part.name] = busy.what
        except (EngineError, NotApplicable) as reason:
            unsettled[part.name] = f"no model answers without it: {reason.what}"
    if not found and not unsettled:
        raise NotApplicable("the baseline has no parts to leave out")
    return [*found, *_name_parts(found, unsettled, margin=margin, n_rows=len(candidate.subject.rows))]


class ReleaseCandidate:
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

    def measure_without(self, without: _Without) -> list[Measurement | MachineBusy]:
        """Measure the loss of quality without the part and, if another model answers, of time and CPU time."""
        errors = self.errors(without.answers)
        found: list[Measurement | MachineBusy] = [
            mean_measurement(f"{errors.name}.drop", errors.increase, errors.blocks, errors.bounds)
        ]
        if without.model is not None:
            found += measure_savings(self.model, without.model, self.subject.rows, rounds=ROUNDS)
        return [
            replace(seen, name=f"components.{seen.name}", slice=without.name) if isinstance(seen, Measurement) else seen
            for seen in found
        ]


class _Without(NamedTuple):
    """Name of a part, the answers (n, k) without it, and the model that gives them if its time differs."""

    name: str
    answers: Floats
    model: Predictor | None = None


class _Part(NamedTuple):
    name: str
    made: Callable[[], _Without]


def _parts(candidate: ReleaseCandidate, context: AuditContext) -> Iterator[_Part]:
    variant = candidate.subject.variant
    if candidate.is_calibrated:
        yield _Part("calibrator", lambda: _Without("calibrator", candidate.subject.scores, candidate.subject.model))
    if context.baseline and context.transform_context and variant.steps:
        bench = context.transform_context()
        for part in iter_components(variant, context.baseline, bench):
            yield _Part(part.name, partial(_rebuilt, part, bench, candidate))
    names = candidate.subject.names
    groups = [(f"view {view.name}", [name for name in view.feature_names if name in names]) for view in context.views]
    for name, columns in [*groups, *((" + ".join(names), tuple(names)) for names in context.feature_groups)]:
        yield _Part(name, partial(_missing, name, columns, candidate))


def _rebuilt(part: Component, bench: TransformContext, candidate: ReleaseCandidate) -> _Without:
    name, variant = rebuild_without(part, bench)
    model = candidate.calibrated(open_on_rows(variant, candidate.subject.names, bench.blobs))
    return _Without(name, model.predict(candidate.subject.rows), model)


def _missing(name: str, columns: Sequence[str], candidate: ReleaseCandidate) -> _Without:
    rows = candidate.subject.rows.copy()
    rows[:, [candidate.subject.names.index(column) for column in columns]] = np.nan
    return _Without(name, candidate.model.predict(rows))


class _Calibrated:
    """A model followed by a calibrator."""

    def __init__(self, model: Predictor, calibrate: CalibrationFunction) -> None:
        self._model, self._calibrate = model, calibrate

    def predict(self, rows: Floats) -> Floats:
        return self._calibrate(self._model.predict(rows))


def _name_parts(
    found: Sequence[Measurement], unsettled: Mapping[str, str], *, margin: float, n_rows: int
) -> list[Measurement]:
    """Name the harmful, useless and undecided parts, with what would decide."""
    compared = [measurement for measurement in found if _SHOWN_ALONE not in measurement.name]
    alpha = ALPHA / max(len(compared), 1)
    claims: dict[str, dict[str, str]] = {"harmful": {}, "nothing": {}, "unsettled": dict(unsettled)}
    for part in dict.fromkeys(measurement.slice for measurement in compared if measurement.slice not in unsettled):
        claim = _classify([measurement for measurement in compared if measurement.slice == part], margin, alpha)
        if claim is not None:
            claims[claim[0]][part] = claim[1]
    return [
        measurement
        for word, parts in claims.items()
        for measurement in flag_parts(
            f"components.{word}",
            parts,
            n_rows=n_rows,
            undecided=len(claims["unsettled"]) if word == "harmful" else 0,
        )
    ]


def _classify(found: Sequence[Measurement], quality: float, alpha: float) -> tuple[str, str] | None:
    """Return the word for a part and the reason; None for a part that makes something better."""
    margins = [TIME if measurement.unit == "x" else quality for measurement in found]
    classes = [
        classify_difference(log_ratio(measurement), margin, alpha)
        for measurement, margin in zip(found, margins, strict=True)
    ]
    if "gained" in classes:
        return None
    if "open" in classes:
        open_ones = (at for at, word in enumerate(classes) if word == "open")
        return "unsettled", "; ".join(describe_needed_data(found[at], margins[at], alpha) for at in open_ones)
    if "lost" in classes:
        lost = (
            f"{measurement.name} {measurement.value:.3g}"
            for measurement, word in zip(found, classes, strict=True)
            if word == "lost"
        )
        return "harmful", f"worse with it, and nothing better: {', '.join(lost)}"
    return "nothing", f"no error changes by {QUALITY:.0%}, and no time or cost by {TIME:.0%}"
