"""Screening by successive halving: measure the speed of every candidate briefly, evaluate the promising ones in full.

V002: A candidate was screened out: too slow to win (note).
V003: A candidate, or a transform, was left out: it would not have fitted into the rest of the time budget (note).
V004: A candidate could not be opened, or raised an error while it was measured (warn).
"""

from __future__ import annotations

import functools
import math
import time
import traceback
from collections.abc import Callable, Iterable, Iterator, Sequence
from contextlib import contextmanager

from msgspec.structs import replace

from headway.core import plugins
from headway.core.errors import ConfigError, HeadwayError, StoreError
from headway.core.evidence import Finding
from headway.core.variant import Step, Variant
from headway.core.verdict import EvaluatedVariant, Verdict

MAX_TIMING_S, _TIMING_SHARE = 5.0, 0.025


class TimeBudget:
    """Time budget of a search; 0 seconds set no limit.

    It starts when the object is made, or at `began`, a time of the same clock. The measured duration of a step predicts
    that of the next step of its kind: a step starts only if it is expected to end in time. `is_busy` is set where other
    processes use the cores.
    """

    def __init__(
        self,
        budget_s: float,
        now: Callable[[], float] = time.monotonic,
        *,
        cpu_now: Callable[[], float] = time.process_time,
        began: float | None = None,
    ) -> None:
        self.budget_s, self._now = budget_s, now
        self._began = now() if began is None else began
        self._reserved_s = 0.0
        self._cpu_now, self._cpu_began, self._made = cpu_now, cpu_now(), now()
        self.is_busy = False
        self._longest: dict[str, float] = {}

    @property
    def elapsed_s(self) -> float:
        """Seconds since the start."""
        return self._now() - self._began

    @property
    def remaining_s(self) -> float:
        """Seconds that are left besides the reserve; infinite without a limit."""
        return self.budget_s - self._reserved_s - self.elapsed_s if self.budget_s else math.inf

    @property
    def first_form_s(self) -> float:
        """Seconds by the clock in which the first compiled form uses up the budget; -infinity on a quiet machine.

        On a busy machine each step takes long by the clock. That form is hardly ever the slower one, so it may use the
        budget in CPU time: a result that is late is better than none.
        """
        used_s = self._cpu_now() - self._cpu_began
        share = used_s / max(self._now() - self._made, used_s, 1e-9)
        return (self.budget_s - used_s) / max(share, 1e-3) if self.is_busy else -math.inf

    @property
    def timing_s(self) -> float:
        """Longest time of one measurement of speed, in seconds: 2.5 % of the budget, and 5 s at most."""
        return min(_TIMING_SHARE * self.budget_s, MAX_TIMING_S) if self.budget_s else MAX_TIMING_S

    def exclude(self, seconds: float) -> None:
        """Do not count these seconds, in which the search waited."""
        self._began += seconds

    def reserve(self, seconds: float) -> None:
        """Reserve these seconds at the end, for the verdict."""
        self._reserved_s = seconds

    @contextmanager
    def timed(self, step: str) -> Iterator[None]:
        """Record the duration of a step of this kind."""
        began = self._now()
        try:
            yield
        finally:
            self._longest[step] = max(self._longest.get(step, 0.0), self._now() - began)

    def expected_s(self, step: str, default: float = 0.0) -> float:
        """Return the longest duration of a step of this kind so far, in seconds."""
        return self._longest.get(step, default)

    def __str__(self) -> str:
        return f"the budget of {self.budget_s:g} s"


_MORE_IS_BETTER = ("rows/s", "x")


def objective_cost(row: EvaluatedVariant, objective: str) -> float:
    """Return the value that the search minimizes; infinite if it was not measured."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    return -found.value if found.unit in _MORE_IS_BETTER else found.value


_CPU_TIME = {
    "latency.one_row": ("cost.cpu_s.one_row.speedup", "cost.cpu_s.one_row"),
    "throughput.batch": ("cost.cpu_s.batch.speedup", "cost.cpu_s.batch"),
}
"""What stands in for a wall-clock time where the machine was too busy to measure it, paired CPU time first."""


_RATIOS = {
    "latency.one_row": ("latency.speedup", "cost.cpu_s.one_row.speedup"),
    "throughput.batch": ("throughput.speedup", "cost.cpu_s.batch.speedup"),
}
"""Ratios to the baseline of each measure of speed: by the clock, then of CPU time."""


def is_shown_faster(row: EvaluatedVariant, measure: str) -> bool | None:
    """Return whether the interval of a ratio to the baseline is above 1; None where no ratio was measured.

    `measure` is the one by which variants are ordered, and one that changes answers must be shown faster by it. For one
    that keeps them either ratio of the same calls is enough, by the clock or of CPU time, unless the clock shows that
    it is slower. A ratio without an interval shows nothing.
    """
    names = next((names for name, names in _RATIOS.items() if measure in (name, *_CPU_TIME[name])), (measure,))
    ratios = [ratio for name in names if (ratio := row.evidence.find(name)) and ratio.unit == "x"]
    if not ratios:
        return None
    shown = [ratio for ratio in ratios if ratio.has_interval]
    if any(ratio.name == names[0] and ratio.high < 1 for ratio in shown):
        return False
    if answer_changing_steps(row.variant):
        own = measure if measure in names else names[0]
        shown = [ratio for ratio in shown if ratio.name == own]
    return any(ratio.low > 1 for ratio in shown)


def ordering_measure(rows: Iterable[EvaluatedVariant], objective: str) -> str:
    """Return the measure by which variants are ordered: the objective if all have it, else their CPU time."""
    rows = tuple(rows)
    names = (objective, *_CPU_TIME.get(objective, ()))
    return next((name for name in names if all(row.evidence.find(name) for row in rows)), objective)


def cost_lower_bound(row: EvaluatedVariant, objective: str) -> float:
    """Return the lower end of the interval of the value that the search minimizes; -infinity without an interval."""
    found = row.evidence.find(objective)
    if found is None:
        return math.inf
    if not found.has_interval:
        return -math.inf
    return -found.high if found.unit in _MORE_IS_BETTER else found.low


def cost_upper_bound(row: EvaluatedVariant, objective: str) -> float:
    """Return the upper end of the interval of the value that the search minimizes; infinity without an interval."""
    found = row.evidence.find(objective)
    if found is None or not found.has_interval:
        return math.inf
    return -found.low if found.unit in _MORE_IS_BETTER else found.high


MeasureAll = Callable[[Sequence[Variant], Callable[[], bool]], Iterator[tuple[int, EvaluatedVariant]]]
"""Measures variants, and yields the number of each with its result, in the order in which they end.

The second argument is called before each variant, and none is begun after it returned False.
"""

SCREENED_OUT, LEFT_OUT, FAILED = "V002", "V003", "V004"
SPEED_METRICS = ("latency.one_row", "throughput.batch")
"""A variant that may be the fastest by one of these is evaluated in full: one form may suit rows, another batches."""
EVALUATION, SCREENING, VERDICT = "evaluation", "screening", "verdict"
"""Kinds of steps, by whose durations a budget predicts."""
_PLAUSIBLE = 3.0
_OF_BASELINE = 0.6  # of the time of its evaluation, in which both sides are the slow model, that the fastest form needs
_REPORT_EVERY = 10  # variants
_FAR = 10.0  # a short measurement may be wrong by a factor of three on either side
_SHARE = 0.5  # of the time left when a batch is screened, and when it is evaluated


def screen_candidates(
    baseline: EvaluatedVariant,
    batches: Iterable[Sequence[Variant]],
    objective: str,
    *,
    measure_speed: MeasureAll,
    evaluate: MeasureAll,
    budget: TimeBudget,
    callback: Callable[[str], object],
) -> list[EvaluatedVariant]:
    """Measure the speed of every candidate briefly, then evaluate in full those that can still win.

    Parameters
    ----------
    baseline
        The baseline, evaluated in full.
    batches
        Candidates, the most promising batch first. A batch is asked for when the one before is done.
    objective
        Name of the measure that the search minimizes.
    measure_speed
        Low fidelity: a short measurement of speed alone.
    evaluate
        Full fidelity: every measure that a policy may use. Called fastest first while it fits into the budget.
    budget
        Time budget of the search.
    callback
        Receives progress messages.

    Returns
    -------
    list of EvaluatedVariant
        In the order given, without candidates that were not reached. One that was not evaluated in full keeps the short
        measurement, and a finding V002 or V003 that explains why.
    """
    rows: dict[str, EvaluatedVariant] = {}
    waiting: list[EvaluatedVariant] = []
    for batch in batches:
        outpaced = _outpaced(batch, [baseline, *rows.values()], objective)
        short = [variant for variant in batch if variant.digest not in outpaced]
        is_first = not rows
        speeds = _measure_batch(short, baseline, measure_speed, budget, callback, is_first=is_first)
        measured = {row.variant.digest: row for row in speeds}
        found = measured | outpaced
        rows |= {variant.digest: found[variant.digest] for variant in batch if variant.digest in found}
        rivals = [row for row in (baseline, *rows.values()) if row.evidence.measurements]  # all but outpaced ones
        for row in measured.values():
            if _is_promising(row, rivals, objective):
                waiting.append(row)
            elif not screened_out(row):
                rows[row.variant.digest] = _mark(row, SCREENED_OUT, "too slow to win in a short measurement")
        waiting = _in_turns(waiting, objective)
        must_try = is_first and any(is_compiled(row.variant, baseline.variant) for row in waiting[:1])
        until = budget.remaining_s * (1 - _SHARE)
        rows |= _evaluate_waiting(waiting, evaluate, budget, callback, until=until, must_try=must_try)
    rows |= _evaluate_waiting(waiting, evaluate, budget, callback)
    why = f"not evaluated after its speed was measured, as too little of {budget} was left"
    rows |= {row.variant.digest: _mark(row, LEFT_OUT, why) for row in waiting}
    return [baseline, *rows.values()]


def _outpaced(
    batch: Sequence[Variant], known: Sequence[EvaluatedVariant], objective: str
) -> dict[str, EvaluatedVariant]:
    """Return the variants that need no measurement, by digest: the batch has the same model on a far faster engine.

    Engines are compared by the unchanged model: by each measure, each form of it on the one engine takes at least ten
    times as long as a form on the other.
    """
    forms: dict[str, list[EvaluatedVariant]] = {}
    for row in known:
        if not answer_changing_steps(row.variant):
            forms.setdefault(row.variant.engine, []).append(row)
    faster = {
        engine: {
            name
            for name, others in forms.items()
            if any(all(_is_far_faster(other, row, objective) for row in own) for other in others)
        }
        for engine, own in forms.items()
    }
    found: dict[str, EvaluatedVariant] = {}
    for variant in batch:
        steps = answer_changing_steps(variant)
        for other in batch:
            name = other.engine
            if name in faster.get(variant.engine, ()) and answer_changing_steps(other) == steps:
                why = f"not measured: the unchanged model takes at least {_FAR:g} times as long as on {name}"
                verdict = Verdict(answer="undecided", subject=variant.digest)
                evidence = replace(known[0].evidence, subject=variant.digest, measurements=(), findings=())
                row = EvaluatedVariant(variant=variant, evidence=evidence, verdict=verdict)
                found[variant.digest] = _mark(row, SCREENED_OUT, why)
                break
    return found


def _is_far_faster(row: EvaluatedVariant, other: EvaluatedVariant, objective: str) -> bool:
    """Return whether one form of a model is faster than another by a large factor, by the objective and all speeds."""
    measures = {ordering_measure((row, other), name) for name in (objective, *SPEED_METRICS)}
    pairs = [(row.evidence.find(name), other.evidence.find(name)) for name in measures]
    return all(
        own is not None
        and slow is not None
        and (own.value > _FAR * slow.value if own.unit in _MORE_IS_BETTER else _FAR * own.value < slow.value)
        for own, slow in pairs
    )


def _evaluate_waiting(
    waiting: list[EvaluatedVariant],
    evaluate: MeasureAll,
    budget: TimeBudget,
    callback: Callable[[str], object],
    *,
    until: float = 0.0,
    must_try: bool = False,
) -> dict[str, EvaluatedVariant]:
    """Evaluate the first one if it fits into the budget, and others while more than `until` seconds are left.

    If it `must_try` the first, any time that is left for a first compiled form is enough.
    """
    evaluated: dict[str, EvaluatedVariant] = {}
    first_s = _OF_BASELINE * budget.expected_s(EVALUATION)

    def proceed() -> bool:
        remaining_s = budget.remaining_s
        if evaluated:
            return remaining_s - budget.expected_s(EVALUATION) >= until
        return remaining_s >= first_s or (must_try and budget.first_form_s > 0)

    begun = list(waiting)
    for number, row in _timed(evaluate([row.variant for row in begun], proceed), budget, EVALUATION):
        waiting.remove(begun[number])
        evaluated[row.variant.digest] = row
        callback(f"evaluated {row.variant.name}, {len(waiting)} more")
    return evaluated


def _measure_batch(
    batch: Sequence[Variant],
    baseline: EvaluatedVariant,
    measure_speed: MeasureAll,
    budget: TimeBudget,
    callback: Callable[[str], object],
    *,
    is_first: bool,
) -> Iterator[EvaluatedVariant]:
    """Measure the speed of a batch, the most promising first, while that leaves time to evaluate the fastest.

    Of the first batch a compiled form is measured while any time is left for it.
    """
    until = max(budget.remaining_s * (1 - _SHARE), budget.expected_s(EVALUATION))
    order = sorted(batch, key=lambda row: _screening_order(row, baseline.variant))

    must_try = iter([is_first and any(is_compiled(variant, baseline.variant) for variant in order[:1])])

    def proceed() -> bool:
        is_enough = budget.remaining_s - budget.expected_s(SCREENING) >= until
        return (next(must_try, False) and budget.first_form_s > 0) or is_enough

    for count, (_, row) in enumerate(_timed(measure_speed(order, proceed), budget, SCREENING), 1):
        if count % _REPORT_EVERY == 1:
            callback(f"measured speed {count}/{len(batch)} {row.variant.name}")
        yield row


def _timed(
    results: Iterator[tuple[int, EvaluatedVariant]], budget: TimeBudget, step: str
) -> Iterator[tuple[int, EvaluatedVariant]]:
    """Yield results, and record how long each one took."""
    while True:
        with budget.timed(step):
            found = next(results, None)
        if found is None:
            return
        yield found


def _in_turns(rows: Sequence[EvaluatedVariant], objective: str) -> list[EvaluatedVariant]:
    """Order variants for evaluation: the fastest by the objective, by one row and in batches take turns.

    Otherwise a budget could end before the form for batches is reached, where many are faster for one row.
    """
    waiting, ordered = list(rows), list[EvaluatedVariant]()
    names = dict.fromkeys(ordering_measure(rows, name) for name in (objective, *SPEED_METRICS))
    measures = [name for name in names if all(row.evidence.find(name) for row in rows)] or [objective]
    while waiting:
        measure = measures[len(ordered) % len(measures)]
        ordered.append(min(waiting, key=lambda row: objective_cost(row, measure)))
        waiting.remove(ordered[-1])
    return ordered


def _is_promising(row: EvaluatedVariant, rivals: Sequence[EvaluatedVariant], objective: str) -> bool:
    """Return whether a variant may be the fastest by the objective, for one row, or in batches."""
    measures = (ordering_measure((row, *rivals), name) for name in (objective, *SPEED_METRICS))
    return any(_can_win(row, rivals, name) for name in dict.fromkeys(measures))


def _screening_order(variant: Variant, baseline: Variant) -> tuple[bool, int]:
    """Order by engine, those other than the baseline's first, then by number of steps."""
    return variant.engine == baseline.engine, len(variant.steps)


def screened_out(row: EvaluatedVariant) -> str:
    """Return why a variant was not evaluated in full; empty for one that was."""
    codes = (SCREENED_OUT, LEFT_OUT, FAILED)
    return next((finding.message for finding in row.evidence.findings if finding.code in codes), "")


def describe_error(error: Exception) -> tuple[str, str]:
    """Return what an error says, and where it happened: for an error of a library, the line that raised it."""
    if isinstance(error, HeadwayError):
        return error.what, error.where
    frame = traceback.extract_tb(error.__traceback__)[-1]
    message = str(error).partition("\n")[0]
    return f"raised {type(error).__name__}: {message}", f"{frame.filename}:{frame.lineno}"


def failed_candidate(variant: Variant, error: Exception) -> Finding:
    """Return the finding on a candidate that could not be measured, with the reason.

    Raises the error again if it is not the candidate's own: that of the baseline, of a store or of a setting.
    """
    if not variant.steps or isinstance(error, ConfigError | StoreError):
        raise error
    reason, where = describe_error(error)
    return Finding(
        code=FAILED,
        severity="warn",
        message=f"engine {variant.engine}: {reason}",
        where=", ".join(filter(None, (variant.name, where))),
        hint=f"the search goes on without it; to leave out its last step: transform {variant.steps[-1].transform}",
    )


def left_out(row: EvaluatedVariant) -> bool:
    """Return whether a variant was not evaluated in full for lack of time."""
    return any(finding.code == LEFT_OUT for finding in row.evidence.findings)


def _can_win(row: EvaluatedVariant, rivals: Sequence[EvaluatedVariant], measure: str) -> bool:
    """Return whether a variant may be faster than the baseline and than every variant with the same answers."""
    if row.evidence.find(measure) is None:
        return False
    steps = answer_changing_steps(row.variant)
    lowest = max(cost_lower_bound(row, measure), _plausible_cost(row, measure))
    return all(
        lowest <= cost_upper_bound(rival, measure)
        for rival in rivals
        if (not rival.variant.steps and not comes_first(row.variant)) or answer_changing_steps(rival.variant) == steps
    )


def is_compiled(variant: Variant, baseline: Variant) -> bool:
    """Return whether a variant is the baseline on another engine, with all of its answers."""
    return variant.engine != baseline.engine and not answer_changing_steps(variant)


def comes_first(variant: Variant, *, defences: bool = True) -> bool:
    """Return whether a step declares that the variant is wanted for more than its speed, such as saved look-ups.

    Without `defences`, steps do not count that are there only because their answers say less.
    """
    return any(_comes_first(step.transform) and (defences or not _is_defence(step.transform)) for step in variant.steps)


@functools.cache
def _is_defence(transform: str) -> bool:
    installed = transform in plugins.names("transform")
    return installed and "private" in plugins.declaration("transform", transform, "REQUIRES", ())


@functools.cache
def _comes_first(transform: str) -> bool:
    installed = transform in plugins.names("transform")
    return installed and bool(plugins.declaration("transform", transform, "COMES_FIRST", False))


def _plausible_cost(row: EvaluatedVariant, measure: str) -> float:
    """Return a third of the measured cost: an interval of a few rounds on a busy machine may be wider than that."""
    cost = objective_cost(row, measure)
    return cost / _PLAUSIBLE if cost > 0 else cost * _PLAUSIBLE


def answer_changing_steps(variant: Variant) -> tuple[Step, ...]:
    """Return the steps that change the answers of a model."""
    return tuple(step for step in variant.steps if not keeps_answers(step.transform))


Answers = tuple[str, ...]


def answers_of(variant: Variant) -> Answers:
    """Return the steps that change answers, as a key: variants that have them in common give the same answers."""
    return tuple(map(str, answer_changing_steps(variant)))


@functools.cache
def keeps_answers(transform: str) -> bool:
    """Return what a transform declares as KEEPS_ANSWERS; one that is not installed may have changed them."""
    installed = transform in plugins.names("transform")
    return installed and bool(plugins.declaration("transform", transform, "KEEPS_ANSWERS", False))


def decision_changing_steps(variant: Variant) -> tuple[Step, ...]:
    """Return the steps that may change decisions: those that change answers, and do not declare KEEPS_DECISIONS."""
    return tuple(step for step in answer_changing_steps(variant) if not _keeps_decisions(step.transform))


@functools.cache
def _keeps_decisions(transform: str) -> bool:
    installed = transform in plugins.names("transform")
    return installed and bool(plugins.declaration("transform", transform, "KEEPS_DECISIONS", False))


def proves_decisions(variant: Variant) -> bool:
    """Return whether each step, and there is one, declares PROVES_DECISIONS."""
    return bool(variant.steps) and all(_proves_decisions(step.transform) for step in variant.steps)


@functools.cache
def _proves_decisions(transform: str) -> bool:
    installed = transform in plugins.names("transform")
    return installed and bool(plugins.declaration("transform", transform, "PROVES_DECISIONS", False))


def _mark(row: EvaluatedVariant, code: str, why: str) -> EvaluatedVariant:
    finding = Finding(code=code, severity="note", message=why, where=row.variant.name)
    return replace(row, evidence=replace(row.evidence, findings=(*row.evidence.findings, finding)))
