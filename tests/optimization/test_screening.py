"""The staged search: a first look at all, the whole evidence on those that can still win, within the time."""

from __future__ import annotations

import itertools

import pytest
from msgspec.structs import replace
from tests.optimization.evaluated_variants import evaluated

from headway.core.evidence import Measurement
from headway.core.variant import Step
from headway.optimization import search
from headway.optimization.screening import UNLIMITED, Looks, TimeBudget, screen_candidates, screened_out


def compiled(judged, name="trees"):
    """The same model in another form, which answers alike."""
    variant = replace(judged.variant, steps=(*judged.variant.steps, Step(transform=name)))
    return replace(judged, variant=variant)


def spread(judged, low, high):
    """A variant whose speed is known to lie there."""
    speed = replace(judged.evidence.measurements[0], low=low, high=high)
    return replace(judged, evidence=replace(judged.evidence, measurements=(speed,)))


class Told:
    """Looks that give what is known of each variant, and remember who was measured wholly, in order."""

    def __init__(self, *rows):
        self.rows = {each.variant.digest: each for each in rows}
        self.wholly = []

    def looks(self):
        return Looks(first=lambda variant: self.rows[variant.digest], whole=self._whole)

    def _whole(self, variant):
        self.wholly.append(variant)
        return self.rows[variant.digest]

    def hold(self, clock=UNLIMITED):
        variants = [each.variant for each in self.rows.values()]
        return screen_candidates(variants, self.looks(), "speed", clock=clock, callback=lambda _: None)


def test_variants_are_measured_wholly_in_the_order_of_their_first_look():
    told = Told(evaluated(0, 40), evaluated(1, 30), evaluated(2, 10), evaluated(3, 20))
    found = told.hold()
    assert [each.steps for each in told.wholly] == [found[place].variant.steps for place in (0, 2, 3, 1)]
    assert not any(map(screened_out, found))


def test_one_that_is_slower_than_the_model_as_it_came_is_left_after_its_first_look():
    told = Told(evaluated(0, 40), evaluated(1, 50))
    found = told.hold()
    assert len(told.wholly) == 1 and "slower" in screened_out(found[1])


def test_of_forms_that_answer_alike_the_slower_is_left_and_a_model_that_was_changed_is_not():
    told = Told(evaluated(0, 40), compiled(evaluated(0, 5)), compiled(evaluated(0, 9), "onnx"), evaluated(1, 20))
    found = told.hold()
    assert [bool(screened_out(each)) for each in found] == [False, False, True, False]


def test_one_that_may_be_as_fast_is_measured_wholly():
    told = Told(
        evaluated(0, 40), compiled(spread(evaluated(0, 5), 4, 7)), compiled(spread(evaluated(0, 8), 6, 10), "onnx")
    )
    assert not any(map(screened_out, told.hold()))


def test_one_that_is_faster_in_batches_alone_is_measured_wholly_too():
    def batches(judged, rate):
        found = Measurement(
            name="throughput.batch", value=rate, low=rate, high=rate, method="", n_rows=1, unit="rows/s"
        )
        return replace(judged, evidence=replace(judged.evidence, measurements=(*judged.evidence.measurements, found)))

    told = Told(
        batches(evaluated(0, 40), 10),
        batches(compiled(evaluated(0, 5)), 90),
        batches(compiled(evaluated(0, 9), "onnx"), 200),
    )
    assert not any(map(screened_out, told.hold()))


def test_what_was_left_cannot_win_and_says_why_it_lost():
    told = Told(evaluated(0, 40), compiled(evaluated(0, 5)), compiled(evaluated(0, 9), "onnx"))
    found = told.hold()
    ordered = search.rank_by_objective(found, "speed", lambda _: True)
    assert ordered == [found[1], found[0]]
    assert search.explain_losses(found, found[1].variant, "speed")["echo · onnx"] == (
        "slower in a first look: 9 us against 5 us"
    )


@pytest.mark.parametrize("budget, wholly, looked", [(100, 4, 3), (45, 2, 3), (15, 1, 1)])
def test_when_the_time_is_used_up_the_fastest_have_been_measured_and_the_others_say_so(budget, wholly, looked):
    seconds = itertools.count(0, 10)  # ten seconds a question
    told = Told(evaluated(0, 40), evaluated(1, 30), evaluated(2, 10), evaluated(3, 20))
    found = told.hold(TimeBudget(budget, now=lambda: next(seconds)))
    assert (len(told.wholly), len(found)) == (wholly, looked + 1)
    late = [screened_out(each) for each in found if screened_out(each)]
    assert all(f"the budget of {budget} s was used up" in why for why in late) and len(late) == looked + 1 - wholly


def test_a_clock_without_a_budget_never_ends():
    assert not TimeBudget(0, now=lambda: 1e9).is_over()
