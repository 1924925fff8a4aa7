"""The search combines transforms, selects the fastest feasible variant, and explains why each other one lost."""

from __future__ import annotations

import sys
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.engines.boosters import text
from tests.optimization.contexts import baseline_of, context_in
from tests.optimization.evaluated_variants import ABSOLUTE, evaluated
from tests.optimization.timed_plugins import CLOCK, install

from headway.core import plugins
from headway.core.errors import EngineError, PluginError
from headway.core.variant import Step
from headway.core.verdict import Answer, EvaluatedVariant, Rule, RuleResult, Verdict
from headway.optimization import screening, search
from headway.optimization.context import TransformContext
from headway.optimization.screening import TimeBudget
from headway.optimization.transforms import threads


@pytest.fixture
def context(tmp_path: Path) -> TransformContext:
    return context_in(tmp_path)


def names(expansion: search.Candidates) -> list[str]:
    return [variant.name for variant in expansion.variants]


@pytest.mark.kernels
def test_every_combination_comes_once_and_the_baseline_first(context, monkeypatch):
    monkeypatch.setattr(threads, "cores", lambda: 2)
    found = search.generate_candidates(
        baseline_of(text(trees=2), context), context, ["truncate", "trees", "onnx", "threads"]
    )
    assert names(found)[0] == "lightgbm (baseline)"
    assert set(names(found)[1:]) == {
        "lightgbm · threads=1",
        "lightgbm · threads=2",
        "lightgbm · truncate(trees=1)",
        "lightgbm · truncate(trees=1) · threads=1",
        "lightgbm · truncate(trees=1) · threads=2",
        "onnxruntime",
        "onnxruntime · threads=2",
        "onnxruntime · truncate(trees=1)",
        "onnxruntime · truncate(trees=1) · threads=2",
        "trees",
        "trees · truncate(trees=1)",
    }
    assert len({variant.digest for variant in found.variants}) == len(found.variants) == 12
    assert found.refusals == ()


UNTIMED = search.AnswerTime()


@pytest.fixture
def timed(tmp_path_factory, monkeypatch):
    return install(tmp_path_factory.mktemp("timed"), monkeypatch)


def generate(context, transforms, *, budget_s, answers=UNTIMED):
    """Generate the candidates of a model on the clock of the timed plug-ins."""
    budget = TimeBudget(budget_s, now=CLOCK)
    made = search.CandidateGenerator(
        baseline_of(text(trees=2), context), context, transforms, budget=budget, answers=answers
    )
    return made, [[str(variant.steps[-1]) for variant in batch] for batch in made.batches()]


def test_forms_that_keep_the_answers_come_first_and_the_cheapest_of_them_before_the_others(context, timed):
    names = [
        timed.transform("lossy_a", seconds=1, cost='{"seconds": 1}'),
        timed.transform("dear_a", seconds=9, keeps_answers=True, cost='{"seconds": 9}'),
        timed.transform("cheap_a", seconds=2, keeps_answers=True, cost='{"seconds": 2}'),
    ]
    _, [exact, others] = generate(context, names, budget_s=0)
    assert exact == ["cheap_a", "dear_a", "cheap_a"], "dear_a, which comes before cheap_a, is followed by it"
    assert others[0] == "lossy_a" and len(others) == 4


def test_a_transform_that_would_not_end_in_time_is_left_out_with_its_expected_duration(context, timed):
    names = [
        timed.transform("dear_b", seconds=60, keeps_answers=True, cost='{"seconds": 60}'),
        timed.transform("cheap_b", seconds=10, keeps_answers=True, cost='{"seconds": 10}'),
    ]
    made, [exact, _] = generate(context, names, budget_s=100)
    assert exact == ["cheap_b"] and CLOCK() == 10
    [note] = made.refusals
    assert (note.code, note.severity, note.plugin, note.measured, note.limit) == ("V003", "note", "dear_b", 60, 40)
    assert note.message == "dear_b: not tried, as it takes about 60 s, and 40 s of the budget of 100 s were left for it"
    assert note.hint == "headway optimize --budget 300s"


def test_the_measured_duration_of_a_transform_predicts_the_next(context, timed):
    names = [
        timed.transform("first_c", seconds=1, keeps_answers=True, cost='{"seconds": 0.5}'),
        timed.transform("second_c", seconds=30, keeps_answers=True, cost='{"seconds": 1}'),
    ]
    made, [exact, _] = generate(context, names, budget_s=100)
    assert exact == ["first_c", "second_c"], "it is not applied a second time, to what the first made"
    assert [(note.plugin, note.measured) for note in made.refusals] == [("second_c", 30)]


def test_a_transform_of_unknown_duration_starts_while_time_is_left_and_then_predicts(context, timed):
    names = [timed.transform("unknown_d", seconds=60, keeps_answers=True), timed.transform("late_d", seconds=1)]
    made, [exact, others] = generate(context, names, budget_s=100)
    assert (exact, others) == (["unknown_d"], ["late_d", "late_d"])
    made, _ = generate(context, [timed.transform("long_d", seconds=101, keeps_answers=True), "late_d"], budget_s=100)
    assert [note.message for note in made.refusals] == [
        "late_d: not tried, as no more of the budget of 100 s was left for it"
    ]


@pytest.mark.parametrize("answers, applied", [(search.AnswerTime(row_s=0.001), 1), (search.AnswerTime(call_s=1), 0)])
def test_a_transform_declares_its_cost_in_answers_of_the_baseline_too(context, timed, answers, applied):
    name = timed.transform(f"asks_{applied}", seconds=1, keeps_answers=True, cost='{"rows": 40_000, "calls": 60}')
    _, [exact, _] = generate(context, [name], budget_s=100, answers=answers)
    assert len(exact) == applied


def test_a_cost_in_an_unknown_unit_is_refused_with_the_known_ones(context, timed):
    name = timed.transform("minutes_f", seconds=1, cost='{"minutes": 1}')
    with pytest.raises(PluginError, match="'minutes_f' declares COST in 'minutes'") as refusal:
        generate(context, [name], budget_s=100)
    assert refusal.value.hint == "any of: seconds, rows, calls, opens"


def test_settings_of_a_known_engine_come_after_the_forms_that_keep_the_answers(context, timed):
    names = [timed.transform("compile_h", seconds=5, keeps_answers=True, cost='{"seconds": 5}'), "threads"]
    made, _ = generate(context, names, budget_s=100)
    assert [variant.steps[-1].transform for variant in made.variants[1:3]] == ["compile_h", "threads"]


def test_what_may_compile_the_first_exact_form_is_tried_on_a_busy_machine_though_it_takes_too_long(context, timed):
    name = timed.transform("compile_i", seconds=80, keeps_answers=True, cost='{"seconds": 80}')
    lossy = timed.transform("lossy_i", seconds=80, cost='{"seconds": 80}')
    model, found = baseline_of(text(trees=2), context), []
    for is_busy in (False, True):
        budget = TimeBudget(100, now=CLOCK, cpu_now=lambda: CLOCK() / 8)
        budget.is_busy = is_busy
        generator = search.CandidateGenerator(model, context, [name, lossy], budget=budget)
        found.append([[step.transform for step in variant.steps] for batch in generator.batches() for variant in batch])
    assert found == [[], [[name]]]


def test_named_transforms_are_applied_in_the_order_given(context):
    found = search.generate_candidates(baseline_of(text(trees=2), context), context, ["onnx", "truncate"])
    assert names(found) == ["lightgbm (baseline)", "onnxruntime", "lightgbm · truncate(trees=1)"]
    assert found.refusals == (), "truncate does not apply to a graph, which is not reported as it applied to the model"


def test_a_transform_that_does_not_apply_is_a_single_note(context):
    found = search.generate_candidates(
        baseline_of(text("regression", trees=4, linear_tree=True), context), context, ["truncate", "onnx"]
    )
    [note] = found.refusals
    assert (note.code, note.severity, note.where) == ("V001", "note", "lightgbm (baseline)")
    assert note.message == "onnx: its leaves are linear models, which the tree kernels do not support"


@pytest.mark.slow
@pytest.mark.kernels
def test_a_transform_that_fails_is_a_warning_and_the_others_go_on(context):
    broken = text("poisson").replace("objective=poisson", "objective=poisson sqrt")
    model = baseline_of(broken, context, task="regression")
    found = search.generate_candidates(model, context, ["truncate", "trees", "onnx", "threads"])
    warnings = [finding for finding in found.refusals if finding.severity == "warn"]
    assert {finding.message.partition(":")[0] for finding in warnings} == {"onnx", "trees"}
    assert all(
        "the model answers" in finding.message and "instead of" in finding.message and finding.hint
        for finding in warnings
    )
    assert {variant.engine for variant in found.variants} == {"lightgbm"} and len(found.variants) > 3


def test_a_transform_that_raises_is_a_warning_with_the_line_and_does_not_end_the_search(context, monkeypatch):
    def broken(variant, context):
        raise KeyError("no such thing")

    monkeypatch.setattr(search, "load_transform", lambda name: broken)
    [warning] = search.generate_candidates(baseline_of(text(trees=2), context), context, ["trees"]).refusals
    assert warning.severity == "warn" and warning.message == "trees: raised KeyError: 'no such thing'"
    assert "test_search.py:" in warning.where and "[optimize] transforms" in warning.hint


def test_a_transform_whose_library_is_absent_is_a_warning_with_a_hint(context, monkeypatch):
    monkeypatch.setitem(sys.modules, "onnx", None)
    for module in ("transforms.onnx", "forest_onnx"):
        monkeypatch.delitem(sys.modules, f"headway.optimization.{module}", raising=False)
    found = search.generate_candidates(baseline_of(text(trees=1), context), context, ["onnx"])
    [warning] = found.refusals
    assert warning.severity == "warn" and "needs 'onnx'" in warning.message and "headway[lab]" in warning.hint


def test_an_unknown_transform_is_refused_with_the_nearest(context):
    with pytest.raises(PluginError, match="no transform named 'trunkate'") as refusal:
        search.generate_candidates(baseline_of(text(), context), context, ["trunkate"])
    assert refusal.value.hint == "truncate"


def test_a_transform_that_declares_no_stage_is_applied_before_the_runtimes_and_the_execution_settings():
    assert search.sort_transforms(["zip", "threads", "onnx", "truncate"]) == ["truncate", "onnx", "zip", "threads"]


def feasible(verdict: Verdict) -> bool:
    return all(rule_result.answer == "pass" for rule_result in verdict.rule_results if rule_result.rule.relative)


def test_the_fastest_feasible_variant_wins():
    rows = [
        evaluated(0, 40),
        evaluated(1, 10, answer="fail"),
        evaluated(2, 12, answer="undecided"),
        evaluated(3, 30),
        evaluated(4, 20),
    ]
    assert search.rank_by_objective(rows, "speed", feasible) == [rows[4], rows[3], rows[0]]


def test_the_baseline_wins_if_no_variant_is_feasible_and_faster():
    for others in ([evaluated(1, 10, answer="fail")], [evaluated(1, 40)], [evaluated(1, 50)], [evaluated(1, None)], []):
        rows = [evaluated(0, 40), *others]
        assert search.rank_by_objective(rows, "speed", feasible) == [rows[0]]


def test_an_absolute_rule_makes_no_variant_infeasible():
    rows = [evaluated(0, 40, rule=ABSOLUTE), evaluated(1, 10, answer="fail", rule=ABSOLUTE)]
    assert search.rank_by_objective(rows, "speed", feasible)[0] is rows[1]


def test_the_highest_throughput_wins():
    rows = [evaluated(0, 40, unit="rows/s"), evaluated(1, 90, unit="rows/s"), evaluated(2, 10, unit="rows/s")]
    assert search.rank_by_objective(rows, "speed", feasible) == [rows[1], rows[0]]


def test_a_search_without_the_baseline_is_an_error():
    with pytest.raises(EngineError, match="baseline is not among"):
        search.rank_by_objective([evaluated(1, 10)], "speed", feasible)


def test_every_variant_but_the_winner_has_its_reason():
    winner = evaluated(1, 20)
    rows = [
        evaluated(0, 40),
        winner,
        evaluated(2, 10, answer="fail"),
        evaluated(3, 10, answer="undecided"),
        evaluated(4, 10),
        evaluated(5, None),
    ]
    assert search.explain_losses(rows, winner.variant, "speed") == {
        "echo (baseline)": "2.00 times the winner's speed: 40 us against 20 us",
        "echo · truncate(trees=2)": "fails: brier.drop is what it is",
        "echo · truncate(trees=3)": "undecided: brier.drop is what it is",
        "echo · truncate(trees=4)": "better on validation, but not feasible on test",
        "echo · truncate(trees=5)": "speed was not measured, so nothing shows that it is better",
    }


@pytest.mark.slow
def test_installed_transforms_are_applied_in_the_order_of_their_declared_stages():
    assert search.sort_transforms(plugins.names("transform")) == [
        *("distil", "family", "self_distil", "static", "without", "truncate"),
        *("cascade", "encoder", "fipe", "pine", "prune", "recalibrate", "text", "trees"),
        *("fold", "onnx", "pipeline"),
        *("dense", "quantise"),
        *("bfloat16", "half", "nncf", "openvino"),
        *("cache", "defer", "round", "temperature", "threads", "top"),
    ]


def noisy(number: int, us: float, spread: float, *, steps: int) -> EvaluatedVariant:
    """A feasible variant with this number of steps and interval of its speed."""
    plain = evaluated(number, us)
    speed = replace(plain.evidence.measurements[0], low=us - spread, high=us + spread)
    variant = replace(plain.variant, steps=plain.variant.steps * steps)
    return replace(plain, variant=variant, evidence=replace(plain.evidence, measurements=(speed,)))


def test_the_fewest_steps_win_among_equally_fast_variants():
    simple, further = noisy(1, 21, 2, steps=1), noisy(2, 20, 2, steps=2)
    rows = [evaluated(0, 40), simple, further]
    assert search.rank_by_objective(rows, "speed", feasible) == [simple, further, rows[0]]
    assert "as fast as the winner within the intervals" in search.explain_loss(further, simple, "speed")


def test_wide_intervals_do_not_prefer_a_slower_variant_that_changes_answers_for_its_fewer_steps():
    simple, faster = noisy(1, 30, 20, steps=1), noisy(2, 20, 2, steps=2)
    rows = [evaluated(0, 60), simple, faster]
    assert search.rank_by_objective(rows, "speed", feasible) == [faster, simple, rows[0]]
    assert "times the winner's speed" in search.explain_loss(simple, faster, "speed")


def with_speedup(row: EvaluatedVariant, low: float, high: float) -> EvaluatedVariant:
    """The variant, with an objective of the latency of one row and a speedup with this interval."""
    [speed] = row.evidence.measurements
    speedup = replace(speed, name="latency.speedup", value=(low + high) / 2, low=low, high=high, unit="x")
    measured = (replace(speed, name="latency.one_row"), speedup)
    return replace(row, evidence=replace(row.evidence, measurements=measured))


def test_a_variant_whose_speedup_may_be_noise_does_not_beat_the_baseline(monkeypatch):
    monkeypatch.setattr(search, "is_shown_faster", screening.is_shown_faster)  # as on a machine without other tests
    baseline = with_speedup(evaluated(0, 40), 0.9, 1.1)
    by_noise, faster = with_speedup(evaluated(1, 20), 0.9, 3), with_speedup(evaluated(2, 30), 1.01, 1.6)
    ranked = search.rank_by_objective([baseline, by_noise, faster], "latency.one_row", feasible)
    assert ranked == [faster, baseline]
    for winner in ranked:
        reason = search.explain_loss(by_noise, winner, "latency.one_row")
        assert reason.startswith(
            "not shown to be faster than the baseline: the interval of its speedup includes 1: 20 us"
        )


def with_ratios(row: EvaluatedVariant, **ratios: tuple[float, float] | None) -> EvaluatedVariant:
    """The variant with ratios to the baseline, by the clock or of CPU time: an interval, or none of a value of 90."""
    measured = list(row.evidence.measurements)
    for name, interval in ratios.items():
        low, high = interval or (0.0, sys.float_info.max)
        ratio = replace(measured[0], name=name.replace("__", "."), value=90.0, low=low, high=high, unit="x")
        measured.append(ratio)
    timed = (replace(measured[0], name="latency.one_row"), *measured[1:])
    return replace(row, evidence=replace(row.evidence, measurements=timed))


CPU = "cost__cpu_s__one_row__speedup"


@pytest.mark.parametrize(
    ("ratios", "exact", "shown"),
    [
        ({"latency__speedup": (80, 99)}, False, True),
        ({"latency__speedup": None}, True, False),
        ({"latency__speedup": None, CPU: None}, True, False),
        ({"latency__speedup": None, CPU: (80, 99)}, True, True),
        ({"latency__speedup": (0.9, 99), CPU: (80, 99)}, True, True),
        ({"latency__speedup": (0.9, 99), CPU: (80, 99)}, False, False),
        ({"latency__speedup": (0.8, 0.9), CPU: (80, 99)}, True, False),
        ({CPU: (80, 99)}, False, False),
        ({CPU: (0.5, 99)}, True, False),
        ({}, True, None),
    ],
)
def test_an_exact_form_is_faster_by_any_measured_ratio_and_no_ratio_without_an_interval_counts(ratios, exact, shown):
    form = evaluated(1, 0.7)
    step = Step(transform="trees" if exact else "truncate")
    form = replace(form, variant=replace(form.variant, steps=(step,)))
    assert screening.is_shown_faster(with_ratios(form, **ratios), "latency.one_row") is shown


def test_cpu_time_decides_where_it_orders_the_variants():
    lossy = with_ratios(evaluated(1, 0.7), **{CPU: (80, 99)})
    assert screening.is_shown_faster(lossy, "cost.cpu_s.one_row.speedup")
    assert screening.is_shown_faster(with_ratios(lossy, latency__speedup=(0.5, 0.9)), "cost.cpu_s.one_row") is False


def test_a_variant_without_an_interval_ties_with_none_that_is_far_faster():
    def unknown(row: EvaluatedVariant, *transforms: str) -> EvaluatedVariant:
        speed = replace(row.evidence.measurements[0], low=0.0, high=sys.float_info.max)
        variant = replace(row.variant, steps=tuple(Step(transform=name) for name in transforms))
        return replace(row, variant=variant, evidence=replace(row.evidence, measurements=(speed,)))

    slow, fast = unknown(evaluated(1, 90), "onnx"), unknown(evaluated(2, 0.7), "onnx", "threads")
    ranked = search.rank_by_objective([unknown(evaluated(0, 134)), slow, fast], "speed", feasible)
    assert [row.variant.digest for row in ranked[:2]] == [fast.variant.digest, slow.variant.digest]


RATE = Rule(measure="privacy.membership.tpr_1pct", at_most=0.05)


def attacked(number: int, us: float, answer: Answer, *, measured: bool = True, defence: str = "") -> EvaluatedVariant:
    """A feasible variant for which a rule on privacy has this answer; `defence` is the name of its last step."""
    plain = evaluated(number, us)
    rate = replace(plain.evidence.measurements[0], name=RATE.measure) if measured else None
    ruled = RuleResult(rule=RATE, answer=answer, message="", measurement=rate)
    steps = (*plain.variant.steps, Step(transform=defence)) if defence else plain.variant.steps
    verdict = replace(plain.verdict, rule_results=(*plain.verdict.rule_results, ruled))
    return replace(plain, variant=replace(plain.variant, steps=steps), verdict=verdict)


def test_a_slower_variant_that_meets_a_rule_on_privacy_precedes_faster_ones_that_do_not():
    unmeasured = attacked(4, 12, "undecided", measured=False)
    rows = [
        attacked(0, 40, "fail"),
        attacked(1, 10, "fail"),
        attacked(2, 50, "pass"),
        attacked(3, 30, "undecided"),
        unmeasured,
    ]
    assert search.rank_by_objective(rows, "speed", feasible) == [rows[2], rows[3], unmeasured, rows[1], rows[0]]
    reasons = search.explain_losses(rows, rows[2].variant, "speed")
    assert reasons["echo · truncate(trees=1)"].startswith("fails: privacy.membership.tpr_1pct 10")
    assert reasons["echo · truncate(trees=3)"].startswith("undecided: privacy.membership.tpr_1pct 30")


def test_the_baseline_wins_against_faster_variants_that_give_more_away():
    rows = [attacked(0, 40, "pass"), attacked(1, 10, "fail"), attacked(2, 10, "undecided")]
    assert search.rank_by_objective(rows, "speed", feasible) == [rows[0]]


def test_speed_decides_between_a_defence_and_another_variant_that_meets_the_rule():
    plain, defended, slow = (
        attacked(1, 10, "pass"),
        attacked(2, 20, "pass", defence="round"),
        attacked(3, 50, "pass", defence="round"),
    )
    rows = [attacked(0, 40, "pass"), slow, defended, plain]
    assert search.rank_by_objective(rows, "speed", feasible) == [plain, defended, rows[0]]
    undecided = [
        attacked(0, 40, "undecided"),
        attacked(1, 10, "undecided"),
        attacked(3, 50, "undecided", defence="round"),
    ]
    assert search.rank_by_objective(undecided, "speed", feasible)[0] is undecided[2]
    reason = search.explain_loss(undecided[1], undecided[2], "speed")
    assert reason == "faster, but the answers of the winner say less, or it saves look-ups"
