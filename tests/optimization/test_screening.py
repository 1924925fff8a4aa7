"""Screening measures every candidate briefly and evaluates in full those that can still win, within the budget."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace
from tests.optimization.evaluated_variants import evaluated

from headway.core.evidence import Measurement
from headway.core.variant import Step
from headway.optimization import search
from headway.optimization.screening import UNLIMITED, TimeBudget, screen_candidates, screened_out


def compiled(judged, name="trees"):
    """The same model in another form, with equal answers."""
    variant = replace(judged.variant, steps=(*judged.variant.steps, Step(transform=name)))
    return replace(judged, variant=variant)


def spread(judged, low, high):
    """A variant with this interval of its speed."""
    speed = replace(judged.evidence.measurements[0], low=low, high=high)
    return replace(judged, evidence=replace(judged.evidence, measurements=(speed,)))


class Screening:
    """A search with known speeds, which records the variants that were evaluated in full, in order."""

    def __init__(self, *rows):
        self.rows = {row.variant.digest: row for row in rows}
        self.evaluated = []

    def run(self, budget=UNLIMITED):
        return screen_candidates(
            [row.variant for row in self.rows.values()],
            "speed",
            measure_speed=lambda variant: self.rows[variant.digest],
            evaluate=self._evaluate,
            budget=budget,
            callback=lambda _: None,
        )

    def _evaluate(self, variant):
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


@pytest.mark.parametrize("budget, n_evaluated, n_measured", [(100, 4, 3), (45, 2, 3), (15, 1, 1)])
def test_an_exhausted_budget_leaves_the_fastest_evaluated_and_the_others_with_a_reason(budget, n_evaluated, n_measured):
    seconds = itertools.count(0, 10)  # ten seconds a question
    screening = Screening(evaluated(0, 40), evaluated(1, 30), evaluated(2, 10), evaluated(3, 20))
    found = screening.run(TimeBudget(budget, now=lambda: next(seconds)))
    assert (len(screening.evaluated), len(found)) == (n_evaluated, n_measured + 1)
    late = [screened_out(row) for row in found if screened_out(row)]
    assert (
        all(f"the budget of {budget} s was used up" in reason for reason in late)
        and len(late) == n_measured + 1 - n_evaluated
    )


def test_a_budget_of_zero_seconds_never_ends():
    assert not TimeBudget(0, now=lambda: 1e9).is_over()
