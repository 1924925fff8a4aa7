"""Screening measures every candidate briefly and evaluates in full those that can still win, within the budget."""

from __future__ import annotations

import math
from functools import partial

import pytest
from msgspec.structs import replace
from tests.optimization.evaluated_variants import evaluated

from headway.core.errors import ConfigError, EngineError, StoreUnavailable
from headway.core.evidence import Measurement
from headway.core.search_result import Baseline, SearchResult
from headway.core.variant import Step
from headway.core.workers import HERE
from headway.optimization import screening, search
from headway.optimization.screening import (
    EVALUATION,
    MAX_TIMING_S,
    TimeBudget,
    failed_candidate,
    left_out,
    ordering_measure,
    screen_candidates,
    screened_out,
)


def compiled(judged, name="trees"):
    """The same model in another form, with equal answers."""
    variant = replace(judged.variant, steps=(*judged.variant.steps, Step(transform=name)))
    return replace(judged, variant=variant)


def spread(judged, low, high):
    """A variant with this interval of its speed."""
    speed = replace(judged.evidence.measurements[0], low=low, high=high)
    return replace(judged, evidence=replace(judged.evidence, measurements=(speed,)))


def each(measure, variants, proceed):
    """Measure variants one after the other, as this process does."""
    return HERE.map(lambda _, variant: measure(variant), None, variants, proceed=proceed)


class Screening:
    """A search with known speeds on a clock of its own, which records the variants that were evaluated, in order."""

    def __init__(self, *rows, measuring_s=0, evaluating_s=0):
        self.rows = {row.variant.digest: row for row in rows}
        self.evaluated, self.seconds = [], 0
        self.measuring_s, self.evaluating_s = measuring_s, evaluating_s

    def run(self, budget_s=0, *, first_batch=None, objective="speed", share=1.0):
        """Search; with a share below 1 of the time that a core works for it, on a busy machine."""
        baseline, *variants = (row.variant for row in self.rows.values())
        budget = TimeBudget(budget_s, now=lambda: self.seconds, cpu_now=lambda: share * self.seconds)
        budget.is_busy = share < 1
        with budget.timed(EVALUATION):
            evaluated_baseline = self._evaluate(baseline)
        budget.reserve(self.evaluating_s)  # for the verdict
        return screen_candidates(
            evaluated_baseline,
            [variants[:first_batch], variants[first_batch:]] if first_batch else [variants],
            objective,
            measure_speed=partial(each, self._measure),
            evaluate=partial(each, self._evaluate),
            budget=budget,
            callback=lambda _: None,
        )

    def _measure(self, variant):
        self.seconds += self.measuring_s
        return self.rows[variant.digest]

    def _evaluate(self, variant):
        self.seconds += self.evaluating_s
        self.evaluated.append(variant)
        return self.rows[variant.digest]


def test_variants_are_evaluated_in_the_order_of_their_measured_speed():
    screening = Screening(evaluated(0, 40), evaluated(1, 30), evaluated(2, 10), evaluated(3, 20))
    found = screening.run()
    assert [row.steps for row in screening.evaluated] == [found[index].variant.steps for index in (0, 2, 3, 1)]
    assert not any(map(screened_out, found))


def test_a_variant_slower_than_the_baseline_is_screened_out():
    screening = Screening(evaluated(0, 40), evaluated(1, 50))
    found = screening.run()
    assert len(screening.evaluated) == 1 and "too slow" in screened_out(found[1])


def test_the_slower_of_equal_variants_is_screened_out_but_not_a_changed_model():
    screening = Screening(
        evaluated(0, 40), compiled(evaluated(0, 5)), compiled(evaluated(0, 9), "onnx"), evaluated(1, 20)
    )
    found = screening.run()
    assert [bool(screened_out(row)) for row in found] == [False, False, True, False]


def test_a_variant_that_may_be_as_fast_is_evaluated_in_full():
    screening = Screening(
        evaluated(0, 40), compiled(spread(evaluated(0, 5), 4, 7)), compiled(spread(evaluated(0, 8), 6, 10), "onnx")
    )
    assert not any(map(screened_out, screening.run()))


def test_a_variant_far_slower_than_its_equal_is_screened_out_however_wide_its_interval_is():
    screening = Screening(
        evaluated(0, 400), compiled(evaluated(0, 5)), compiled(spread(evaluated(0, 90), 1, 9_000), "onnx")
    )
    assert [bool(screened_out(row)) for row in screening.run()] == [False, False, True]


def on_engine(judged, engine, us):
    """The same model on this engine: microseconds for one row, and the batches that go with them."""
    seen = judged.evidence.measurements[0]
    speeds = (
        replace(seen, name="speed", value=us, low=us, high=us),
        replace(seen, name="latency.one_row", value=us, low=us, high=us),
        replace(seen, name="throughput.batch", value=1e6 / us, low=1e6 / us, high=1e6 / us, unit="rows/s"),
    )
    variant = replace(judged.variant, engine=engine, settings={"engine": engine})
    return replace(judged, variant=variant, evidence=replace(judged.evidence, measurements=speeds))


@pytest.mark.parametrize(("slow_us", "measured"), [(400, False), (90, True)])
def test_a_changed_model_is_not_measured_on_an_engine_that_is_far_slower_for_the_unchanged_one(slow_us, measured):
    unchanged = [on_engine(evaluated(0, 40), "library", 400), on_engine(evaluated(0, 40), "portable", slow_us)]
    fast = on_engine(compiled(evaluated(0, 10)), "kernel", 10)
    changed = [on_engine(evaluated(1, 10), engine, 9) for engine in ("library", "portable", "kernel")]
    only_slow = on_engine(evaluated(2, 10), "library", 300)
    screening = Screening(*unchanged, fast, *changed, only_slow)
    found = {row.variant.digest: row for row in screening.run(first_batch=2)}
    at = [screened_out(found[row.variant.digest]) for row in changed]
    assert "at least 10 times as long as on kernel" in at[0] and not at[2]
    assert at[1] == ("" if measured else at[0])
    assert found[changed[0].variant.digest].evidence.measurements == ()
    assert found[only_slow.variant.digest].evidence.measurements
    assert search.explain_loss(found[changed[0].variant.digest], fast, "speed") == at[0]


def test_a_variant_that_is_faster_only_in_batches_is_evaluated_in_full():
    def batches(judged, rate):
        found = Measurement(
            name="throughput.batch", value=rate, low=rate, high=rate, method="", n_rows=1, unit="rows/s"
        )
        return replace(judged, evidence=replace(judged.evidence, measurements=(*judged.evidence.measurements, found)))

    screening = Screening(
        batches(evaluated(0, 40), 10),
        batches(compiled(evaluated(0, 5)), 90),
        batches(compiled(evaluated(0, 9), "onnx"), 200),
    )
    assert not any(map(screened_out, screening.run()))


def test_a_screened_out_variant_cannot_win_and_has_the_reason():
    screening = Screening(evaluated(0, 40), compiled(evaluated(0, 5)), compiled(evaluated(0, 9), "onnx"))
    found = screening.run()
    ordered = search.rank_by_objective(found, "speed", lambda _: True)
    assert ordered == [found[1], found[0]]
    assert search.explain_losses(found, found[1].variant, "speed")["echo · onnx"] == (
        "too slow to win in a short measurement: 9 us against 5 us"
    )


@pytest.mark.parametrize("budget_s, n_evaluated, n_measured", [(200, 4, 3), (60, 3, 3), (36, 2, 1), (25, 1, 0)])
def test_a_budget_leaves_the_fastest_evaluated_and_the_others_with_a_reason(budget_s, n_evaluated, n_measured):
    screening = Screening(
        evaluated(0, 40), evaluated(1, 30), evaluated(2, 10), evaluated(3, 20), measuring_s=5, evaluating_s=10
    )
    found = screening.run(budget_s)
    assert (len(screening.evaluated), len(found)) == (n_evaluated, n_measured + 1)
    assert screening.seconds <= budget_s - 10, "the time of the verdict is left"
    assert len(list(filter(left_out, found))) == n_measured + 1 - n_evaluated


@pytest.mark.parametrize(("share", "n_evaluated"), [(1.0, 1), (0.5, 2)])
def test_a_compiled_form_is_evaluated_on_a_busy_machine_though_the_budget_is_short(share, n_evaluated):
    compiled_form, other = (on_engine(compiled(evaluated(0, us)), engine, us) for engine, us in (("b", 2), ("c", 1)))
    rows = on_engine(evaluated(0, 40), "a", 40), compiled_form, on_engine(evaluated(1, 1), "b", 1), other
    screening = Screening(*rows, measuring_s=5, evaluating_s=10)
    screening.run(12, share=share)
    assert len(screening.evaluated) == n_evaluated, "one form alone is late"
    assert screening.evaluated[1:] in ([], [compiled_form.variant])


def test_a_form_on_the_engine_of_the_baseline_or_with_other_answers_is_never_late():
    for row in (on_engine(compiled(evaluated(0, 2), "threads"), "a", 2), on_engine(evaluated(1, 2), "b", 2)):
        screening = Screening(on_engine(evaluated(0, 40), "a", 40), row, measuring_s=5, evaluating_s=10)
        screening.run(12, share=0.5)
        assert len(screening.evaluated) == 1


def test_the_first_compiled_form_may_use_the_budget_in_cpu_time_on_a_busy_machine():
    seconds = [100.0]
    budget = TimeBudget(10, now=lambda: seconds[0], cpu_now=lambda: seconds[0] / 4)
    assert budget.first_form_s == -math.inf
    budget.is_busy, seconds[0] = True, 108.0
    assert budget.remaining_s == 2 and budget.first_form_s == 32  # 8 s of CPU time at a quarter of a core
    seconds[0] = 140.0
    assert budget.first_form_s == 0


def test_a_variant_whose_evaluation_would_not_end_in_time_keeps_its_short_measurement():
    screening = Screening(evaluated(0, 40), evaluated(1, 30), evaluated(2, 10), measuring_s=0, evaluating_s=10)
    baseline, slower, faster = screening.run(35)
    assert not screened_out(baseline) and not screened_out(faster) and left_out(slower)
    assert screened_out(slower) == (
        "not evaluated after its speed was measured, as too little of the budget of 35 s was left"
    )


def test_the_fastest_of_the_first_batch_is_evaluated_before_the_second_batch_is_measured():
    rows = evaluated(0, 40), compiled(evaluated(0, 20)), compiled(evaluated(0, 21), "onnx"), evaluated(1, 10)
    screening = Screening(*rows, measuring_s=1, evaluating_s=10)
    found = screening.run(44, first_batch=2)
    assert [row.variant for row in (found[0], found[1], found[3])] == screening.evaluated
    assert screened_out(found[2]) == "too slow to win in a short measurement"


def test_the_fastest_in_batches_is_evaluated_before_the_second_fastest_for_one_row():
    speeds = [(40, 40), (20, 30), (10, 35), (30, 10)]  # of one row, and of a batch
    rows = [
        timed(evaluated(index, 0), latency__one_row=row, throughput__batch=batch)
        for index, (row, batch) in enumerate(speeds)
    ]
    screening = Screening(*rows)
    screening.run(objective="latency.one_row")
    assert screening.evaluated == [rows[index].variant for index in (0, 2, 3, 1)]


def test_a_budget_of_zero_seconds_never_ends():
    assert TimeBudget(0, now=lambda: 1e9).remaining_s == math.inf


def test_a_budget_counts_from_the_time_that_it_is_given_and_keeps_a_reserve():
    budget = TimeBudget(60, now=lambda: 100.0, began=80.0)
    budget.reserve(15)
    assert (budget.elapsed_s, budget.remaining_s) == (20, 25)


def test_the_timing_of_a_slow_model_gets_a_share_of_the_budget(monkeypatch):
    monkeypatch.setattr(screening, "MAX_TIMING_S", MAX_TIMING_S)  # that of a user, which the tests shorten
    assert [TimeBudget(seconds).timing_s for seconds in (20, 600, 0)] == [0.5, 5, 5]


def timed(judged, **measures):
    """A variant with these measurements alone."""
    measured = tuple(
        Measurement(
            name=name.replace("__", "."),
            value=value,
            low=value,
            high=value,
            method="",
            n_rows=1,
            unit="x" if name.endswith("speedup") else "us",
        )
        for name, value in measures.items()
    )
    return replace(judged, evidence=replace(judged.evidence, measurements=measured))


def test_variants_are_ordered_by_paired_cpu_time_if_one_was_not_timed():
    quiet = timed(evaluated(0, 0), latency__one_row=90, cost__cpu_s__one_row=80, cost__cpu_s__one_row__speedup=1.0)
    busy = timed(evaluated(1, 0), cost__cpu_s__one_row=20, cost__cpu_s__one_row__speedup=4.0)
    slower = timed(evaluated(2, 0), latency__one_row=1, cost__cpu_s__one_row=40, cost__cpu_s__one_row__speedup=2.0)
    ranked = search.rank_by_objective([quiet, slower, busy], "latency.one_row", lambda _: True)
    assert [row.variant.digest for row in ranked] == [row.variant.digest for row in (busy, slower, quiet)]
    assert "cost.cpu_s.one_row" in search.explain_loss(slower, busy, "latency.one_row")


def test_a_variant_that_needed_no_measurement_does_not_end_a_search_on_a_busy_machine():
    def by_cpu_time(judged, engine, speedup):
        of_engine = on_engine(judged, engine, 1)
        return timed(of_engine, cost__cpu_s__one_row__speedup=speedup, cost__cpu_s__batch__speedup=speedup)

    baseline = by_cpu_time(evaluated(0, 0), "library", 1.0)
    fast = by_cpu_time(compiled(evaluated(0, 0)), "kernel", 20.0)
    outpaced, shorter = (by_cpu_time(evaluated(1, 0), engine, 30.0) for engine in ("library", "kernel"))
    screening = Screening(baseline, fast, outpaced, shorter)
    found = {row.variant.digest: row for row in screening.run(first_batch=1, objective="latency.one_row")}
    assert not found[outpaced.variant.digest].evidence.measurements
    assert not screened_out(found[shorter.variant.digest])


def test_a_short_measurement_without_a_baseline_is_ordered_by_cpu_time():
    rows = [
        timed(evaluated(0, 0), latency__one_row=1, cost__cpu_s__one_row=9),
        timed(evaluated(1, 0), cost__cpu_s__one_row=5),
    ]
    assert ordering_measure(rows, "latency.one_row") == "cost.cpu_s.one_row"
    assert ordering_measure(rows[:1], "latency.one_row") == "latency.one_row"
    assert ordering_measure(rows, "roc_auc.drop") == "roc_auc.drop"


def test_a_busy_search_names_cpu_time_and_not_the_missing_latency_as_the_reason_of_a_loss():
    measured = {"cost__cpu_s__one_row": 80, "cost__cpu_s__one_row__speedup": 1.0}
    baseline, slower, winner = (
        timed(compiled(evaluated(0, 0), name), **measured | {"cost__cpu_s__one_row__speedup": speedup})
        for name, speedup in (("baseline", 1.0), ("onnx", 2.0), ("trees", 4.0))
    )
    result = SearchResult(
        name="flights", baseline=Baseline(model=baseline.variant), evaluated=(slower, winner), winner=winner
    )
    (group,) = search.group_losses(result, "latency.one_row")
    assert "not measured" not in group.reason and group.names == (slower.variant.name,)


def test_cpu_times_are_explained_with_their_unit():
    slow, fast = (timed(evaluated(number, 0), cost__cpu_s__one_row=9 * number + 9) for number in (1, 0))
    units = {"latency.one_row": "us", "cost.cpu_s.one_row": "s"}
    slow, fast = (
        replace(
            row,
            evidence=replace(
                row.evidence,
                measurements=tuple(replace(found, unit=units[found.name]) for found in row.evidence.measurements),
            ),
        )
        for row in (slow, fast)
    )
    assert "18 CPU s per million rows against 9 CPU s per million rows" in search.explain_loss(
        slow, fast, "latency.one_row"
    )


@pytest.mark.parametrize("error", [StoreUnavailable("no answer"), ConfigError("unknown setting")])
def test_an_error_of_a_store_or_a_setting_is_not_that_of_a_candidate(error):
    with pytest.raises(type(error)):
        failed_candidate(evaluated(1, 10).variant, error)


def test_an_error_of_the_baseline_is_not_that_of_a_candidate():
    with pytest.raises(ValueError, match="no such border"):
        failed_candidate(evaluated(0, 10).variant, ValueError("no such border"))


def test_the_finding_on_a_failed_candidate_has_the_reason_of_its_library():
    variant = evaluated(1, 10).variant
    finding = failed_candidate(variant, EngineError("a combination with an unknown border", where="model.cbm"))
    assert (finding.code, finding.severity) == ("V004", "warn")
    assert finding.message == f"engine {variant.engine}: a combination with an unknown border"
    assert finding.where == f"{variant.name}, model.cbm"
