"""Model extraction: how many queries copy the model, and what rounding, top answers, noise and rate limits change."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from msgspec.structs import replace as named

from headway.core.arrays import Bools, Floats
from headway.core.errors import NotApplicable
from headway.core.evidence import AttackEffort, Measurement
from headway.core.variant import DECIDES
from headway.evaluation.comparison import select_rows, subsample
from headway.evaluation.context import AuditContext, Comparison, MetricResults
from headway.evaluation.extraction import AnswerView, CopyTask, QueriedModel, copy_model, milestones
from headway.evaluation.settings.attack import AttackSection
from headway.evaluation.statistics.intervals import SHARE, UNBOUNDED, Sample, jackknife_interval
from headway.evaluation.statistics.subsets import mean_measurement
from headway.evaluation.statistics.tables import Blocks, build_blocks, leave_one_out_mean

ON_REQUEST = ("extraction.",)
SHARED = True
LEVELS = (0.95, 0.99)
SEEDS, MAX_ROWS = 2, 10_000
VIEWS = (
    AnswerView(name="top answer", top=True),
    AnswerView(name="rounded to 2 decimals", decimals=2),
    AnswerView(name="noise of 0.02", noise=0.02),
    AnswerView(),
)
"""The top answer comes first: a caller who sees scores can learn from decisions as well."""


def plugin(subject: Comparison, context: AuditContext) -> MetricResults:
    """Copy the variant from its answers, and count the queries (rows sent) that a copy needs.

    The attacker holds the rows of half of the groups without labels; copies are compared with the variant on the other
    half. Each view of the answers is attacked by students, linear and of boosted trees, by uncertainty sampling and by
    path-finding, with two seeds.

    Measures:

    - `extraction.agreement`: share of held-out rows on which the best copy decides as the variant; one slice for each
      number of queries, `1,000 queries` and `1,000 queries, top answer`. A number agrees within a twentieth of the
      spread of the variant's answers.
    - `extraction.queries_95`, `.queries_99`: queries until the best copy agrees on 95 % and 99 %; also by view (slice
      `rounded to 2 decimals`, `noise of 0.02`, `top answer`). If `[attack] copy_queries` do not suffice, that number,
      as a lower bound: the interval has no upper end, and a rule that asks for more stays undecided.
    - `extraction.hours_95`: hours that these take at `[serve] key_per_s`, one row a request.

    The results are upper bounds of what an attacker needs: another attack may need fewer queries. With fewer
    `[attack] copy_queries` than by default a rule may fail by them, and is never met.
    """
    until = context.until()
    task = _copy_task(subject)
    some = _held_out(subject)
    blocks = build_blocks(some)
    constant = task.constant_copy()
    found: list[Measurement | NotApplicable] = [
        named(mean_measurement("extraction.agreement", constant.astype(np.float64), blocks, SHARE), slice="no queries")
    ]
    marks = milestones(context.attack.copy_queries)
    of_decisions: dict[str, Floats] = {}
    curves_by_view: dict[str, dict[str, Floats]] = {}
    for view in VIEWS if subject.variant.task in DECIDES else VIEWS[-1:]:

        def ask(seed: int, view: AnswerView = view) -> QueriedModel:
            return QueriedModel(subject.model, view, threshold=subject.threshold, until=until, seed=seed)

        curves = copy_model(task, ask, marks[-1], seeds=SEEDS)
        if view.top:
            of_decisions = {f"{name} of decisions": curve for name, curve in curves.items()}
        elif not view.noise:
            curves |= of_decisions
        curves_by_view[view.name] = curves
    for name, curves in sorted(curves_by_view.items()):
        found += _view_measurements(name, curves, constant, blocks, marks, context.key_per_s)
    effort = AttackEffort(
        attack="copies by students and path-finding",
        done=marks[-1],
        registered=AttackSection().copy_queries,
        unit="queries",
        hint=f"copy_queries = {AttackSection().copy_queries} under [attack]",
    )
    return [named(result, effort=effort) if isinstance(result, Measurement) else result for result in found]


def _copy_task(subject: Comparison) -> CopyTask:
    """Return what an attacker knows; raise NotApplicable with the reason if no copy can be judged."""
    if subject.variant.task not in (*DECIDES, "regression"):
        raise NotApplicable(f"a {subject.variant.task} model is judged by its order, and no copy of an order is made")
    if texts := [field.name for field in subject.fields if field.is_text]:
        raise NotApplicable(f"no copy here learns from texts, such as '{texts[0]}'")
    held_out = _held_out(subject)
    pool = subject.rows[subject.groups % 2 == 0]
    if len(pool) < 100 or len(held_out.rows) < 100:
        raise NotApplicable(f"{len(subject.rows):,} rows are too few to split between attacker and comparison")
    return CopyTask(
        task=subject.variant.task,
        fields=subject.fields,
        threshold=subject.threshold,
        pool=pool[:: -(-len(pool) // (2 * MAX_ROWS))],
        targets=held_out.rows,
        answers=held_out.scores,
    )


def _held_out(subject: Comparison) -> Comparison:
    return subsample(select_rows(subject, np.flatnonzero(subject.groups % 2 == 1)), MAX_ROWS)


def _view_measurements(
    view: str,
    curves: dict[str, Floats],
    constant: Bools,
    blocks: Blocks,
    marks: Sequence[int],
    key_per_s: float,
) -> Iterator[Measurement | NotApplicable]:
    """Yield the curve of the best copies of a view, and the queries at each level."""
    best, attacks = best_curve(curves, blocks)
    suffix = f", {view}" if view else ""
    for count, agreement, attack in zip(marks, best, attacks, strict=True):
        measured = mean_measurement("extraction.agreement", agreement, blocks, SHARE)
        yield named(measured, slice=f"{count:,} queries{suffix}", method=f"{measured.method}; {attack}")
    for level in LEVELS:
        name = f"extraction.queries_{level * 100:.0f}"
        start = blocks.mean(constant.astype(np.float64))
        if start >= level:
            yield NotApplicable(f"{name}: a constant answer already agrees on {start:.1%} of the rows")
            continue
        measured = queries_at(name, level, best, constant, blocks, marks)
        yield named(measured, slice=view)
        if key_per_s and level == LEVELS[0]:
            yield named(_hours(measured, key_per_s), slice=view)


def _hours(queries: Measurement, key_per_s: float) -> Measurement:
    """Return the hours that queries of one row each take."""
    hour = key_per_s * 3600
    return named(
        queries,
        name="extraction.hours_95",
        value=queries.value / hour,
        low=queries.low / hour,
        high=queries.high if queries.high >= UNBOUNDED[1] else queries.high / hour,
        se=None if queries.se is None else queries.se / hour,
        unit="h",
        method=f"{queries.value:,.0f} queries of one row at {key_per_s:g} requests/s; {queries.method}",
    )


def best_curve(curves: dict[str, Floats], blocks: Blocks) -> tuple[list[Floats], list[str]]:
    """Return the agreement (n,) of the best copy so far at each number of queries, and the names of their attacks."""
    best: list[Floats] = []
    names: list[str] = []
    for index in range(len(next(iter(curves.values())))):
        candidates = [(curve[index], name) for name, curve in curves.items()]
        candidates += [(best[-1], names[-1])] if best else []
        agreement, name = max(candidates, key=lambda candidate: blocks.mean(candidate[0]))
        best.append(agreement)
        names.append(name)
    return best, names


def queries_at(
    name: str, level: float, best: Sequence[Floats], constant: Bools, blocks: Blocks, marks: Sequence[int]
) -> Measurement:
    """Measure the queries at which a curve reaches a level, interpolated over their logarithm; jackknife by group.

    If the curve, or one without a group, does not reach it, the interval has no upper end.
    """
    columns = [constant.astype(np.float64), *best]
    logs = np.log([1, *marks])
    means = np.array([blocks.mean(column) for column in columns])
    without = np.array([leave_one_out_mean(blocks.per_block(column), blocks.rows) for column in columns])
    value = _crossing(means, logs, level)
    without_each = np.array([_crossing(column, logs, level) for column in without.T])
    sample = Sample(n_rows=blocks.n_rows, n_groups=blocks.n_groups, bounds=(0.0, UNBOUNDED[1]))
    measured = jackknife_interval(name, value, without_each, sample)
    if means.max() >= level and without.max(axis=0).min() >= level:
        return measured
    how = f"; a lower bound: {means.max():.1%} agree after {marks[-1]:,} queries"
    how = "; no upper end: it is not reached without some groups" if means.max() >= level else how
    return named(measured, high=UNBOUNDED[1], se=None, dof=None, method=measured.method + how)


def _crossing(curve: Floats, logs: Floats, level: float) -> float:
    """Return the number of queries at which a curve reaches a level; the last number if it does not."""
    rising = np.maximum.accumulate(curve)
    at = int(np.argmax(rising >= level))
    if rising[at] < level:
        return float(np.exp(logs[-1]))
    if at == 0 or rising[at] == rising[at - 1]:
        return float(np.exp(logs[at]))
    share = (level - rising[at - 1]) / (rising[at] - rising[at - 1])
    return float(np.exp(logs[at - 1] + share * (logs[at] - logs[at - 1])))
