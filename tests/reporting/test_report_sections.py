"""Sections say what the ends of intervals bear out, claim only what holds at once, and never pass silence for well."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace
from stories import estimate, fact, flights
from tests.reporting.examined import BUSY, SILENT, examined, features, only, people, sets

from headway.core.evidence import Measurement
from headway.reporting import statements as meaning
from headway.reporting.page import render_report
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, build_sections, not_run_findings, other_findings, other_measurements

pytestmark = pytest.mark.slow

HELD = build_sections(examined())


def told(report: ReportData, name: str) -> str:
    """What a section says, as one text."""
    return " ".join(build_sections(report)[name].conclusions)


def unknown(measurement: Measurement) -> Measurement:
    """The same of too few groups: the whole range of the measure."""
    return replace(measurement, low=0.0, high=1.0, se=None, dof=None)


def test_sections_stand_in_order_and_only_those_that_have_something_to_say() -> None:
    assert list(HELD)[:3] == ["speed", "quality", "reliability"]
    assert list(build_sections(only(*people()))) == ["people"]
    assert build_sections(ReportData(title="nothing")) == {}


def test_of_many_intervals_fewer_are_beyond_a_limit_than_each_by_itself() -> None:
    alone = [estimate("bias.tpr_gap", 0.0105, 0.01)]
    assert meaning.shown_above(alone) == alone
    assert meaning.shown_above([*alone * 12]) == []
    assert meaning.shown_below([estimate("x", -0.03, 0.01)] * 3) == [estimate("x", -0.03, 0.01)] * 3


def test_a_fact_and_an_interval_of_few_groups_are_taken_as_they_are() -> None:
    assert meaning.shown_above([fact("max_change", 0.2)] * 2, 0.1) == [fact("max_change", 0.2)] * 2
    few = replace(estimate("x", 0.5, 0.1), dof=2.0)
    assert meaning.shown_above([few] * 2) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a"], "a"), (["a", "b"], "a and b"), (list("abcdefg"), "a, b, c, d, e and 2 more"), ([], "")],
)
def test_names_are_listed_and_the_rest_counted(names: list[str], message: str) -> None:
    assert meaning.join_names(names) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("speed", "One row is answered in 30.6 to 31.8 us; the model as it came takes 257 to 267 us."),
        ("speed", "For one row it is 8.23 to 8.57 times as fast."),
        ("speed", "A process that is begun gives its first answer after 0.270 to 0.290 s."),
        ("quality", "Of 100 pairs of a case that happens and one that does not, it ranks 66.8 to 73.0 right"),
        ("quality", "It is shown to rank better than the model as it came."),
        ("reliability", "off by 0.5 to 4.5 points of 100 on average, less than the 5 that the policy allows."),
        ("parity", "Over 58,665 rows no answer moved by more than 0.100."),
        ("parity", "Of 100 decisions, 3.29 to 4.11 become another than they were with it."),
        ("slices", "even the least sure, carrier=9E, loses at most 0.00243"),
        ("slices", "More happens than is said where origin=EWR (by 4.0 to 6.0 of 100)."),
        ("slices", "Less happens than is said where origin=JFK (by 3.0 to 5.0 of 100)."),
        ("conformal", "Of 100 sets, 88.0 to 91.0 held the truth, which agrees with the 90 that were promised."),
        ("conformal", "less often than promised in August 2013."),
        ("conformal", "30 to 50 of 100 sets say both yes and no"),
        ("discovered", "err more than elsewhere where dep_minute 1100-1439, carrier=EV (by 0.040 to 0.080 in Brier)."),
        ("discovered", "for the least sure the loss could be 0.00250."),
        ("people", "gender=F is shown to differ: of 100 people for whom yes is right, 4.5 to 7.5 more or fewer get"),
        ("people", "none can be told from no difference"),
        ("people", "One more rests on fewer than 1,000 rows or 20 days"),
        ("load", "With bursts, 99 of 100 requests are answered within 4.40 ms."),
        ("load", "Not one of 27,000 requests failed or was answered wrong."),
        ("load", "All its processes hold 90.0 MB together."),
        ("robustness", "1 of 3 faults are shown to make it err more; the worst is wind_speed x 0.45, a value is in"),
        ("robustness", "its error grows by 0.040 to 0.060."),
        ("robustness", "On no fault is it shown to err more than the model as it came; for the least sure"),
        ("attack", "So 17.0 to 23.0 of 100 decisions can be turned; who looks longer may turn more, never fewer."),
        (
            "attack",
            "take a change of one column at most; the number that moves most moves by 0.31 to 0.52 interquartile",
        ),
        ("attack", "The easiest way leads through dep_minute: alone it turns 9.0 to 13.0 of 100."),
        ("attack", "not shown to be easier to turn than the model as it came; if it is, then by 0.500 of 100 at most."),
        ("imbalance", "The right answer is yes in 4.5 to 6.5 of 100 cases."),
        ("imbalance", "Decisions cost less with 'weights, corrected'; decisions cost more with 'weights'."),
        ("imbalance", "Weights find more of what is rare (99 instead of 46 of 100 cases)"),
        ("imbalance", "None is shown to rank cases better or worse"),
        ("components", "Shown to be worth its place: trees."),
        ("components", "Better left out, for something is worse with it and nothing better: calibrator."),
        ("components", "Of no use, for nothing that counts changes without it: threads."),
        ("ablation", "It needs dep_minute most: without it, its error grows by 0.015 to 0.031."),
        ("ablation", "It is shown to be better without noise: leave it out, and train anew."),
        ("ablation", "Its error hardly changes without seats"),
        ("ablation", "visib may do harm, and that is not decided"),
    ],
)
def test_a_section_says_what_its_intervals_bear_out(name: str, message: str) -> None:
    assert message in " ".join(HELD[name].conclusions)


def test_where_no_feature_does_harm_that_is_said() -> None:
    assert "No feature is shown to do harm." in told(only(*features()[:1]), "ablation")


def test_where_no_treatment_of_a_rare_class_matters_it_says_to_leave_it() -> None:
    found = [
        estimate("imbalance.base_rate", 0.95, 0.01),
        *(estimate("imbalance.cost.drop", 0.01, 0.05, slice=name) for name in ("weights", "threshold 0.5")),
        estimate("imbalance.recall.drop", 0.0, 0.1, slice="weights"),
        estimate("imbalance.roc_auc.drop", 0.1, 0.01, slice="weights"),
    ]
    assert told(only(*found), "imbalance") == (
        "The right answer is no in 4.0 to 6.0 of 100 cases. "
        "No treatment is shown to change what decisions cost: leave the classes as they are."
    )


def test_a_class_that_is_not_rare_has_no_section() -> None:
    assert "imbalance" not in build_sections(only(estimate("imbalance.base_rate", 0.4, 0.01)))


@pytest.mark.parametrize(
    ("coverage", "message"),
    [
        (estimate("conformal.coverage", 0.85, 0.02), "fewer than the 90 that were promised"),
        (estimate("conformal.coverage", 0.95, 0.02), "they are larger than they need be"),
        (unknown(estimate("conformal.coverage", 0.85, 0.02)), "cannot be said"),
    ],
)
def test_sets_are_held_to_their_promise(coverage: Measurement, message: str) -> None:
    assert message in told(only(coverage), "conformal")
    assert build_sections(only(coverage))["conformal"].picture() is None


def test_sets_of_numbers_are_told_by_their_width_and_those_of_classes_by_their_size() -> None:
    held, wide = sets()[0], replace(estimate("conformal.width", 12.0, 1.0), unit="min")
    assert "The intervals are 11.0 min to 13.0 min wide" in told(only(held, wide), "conformal").replace(
        "11.0 to", "11.0 min to"
    )
    assert "A set holds 0.95 to 1.15 answers" in told(only(held, estimate("conformal.size", 1.05, 0.1)), "conformal")


@pytest.mark.parametrize(
    ("answer", "message"),
    [("fail", "more than the 5 that the policy allows"), ("undecided", "the data cannot tell whether")],
)
def test_reliability_follows_the_judge(answer: str, message: str) -> None:
    report = flights()
    assert report.winner is not None
    rule_results = tuple(replace(each, answer=answer) for each in report.winner.verdict.rule_results)
    winner = replace(report.winner, verdict=replace(report.winner.verdict, rule_results=rule_results))
    assert message in told(replace(report, winner=winner), "reliability")
    assert "limit" not in told(
        replace(report, winner=replace(winner, verdict=replace(winner.verdict, rule_results=()))), "reliability"
    )


def test_reliability_without_a_sure_error_says_so() -> None:
    bins = [each for each in examined().winner.evidence.measurements if each.name.startswith("reliability")]  # type: ignore[union-attr]
    assert "cannot be said" in told(only(*bins), "reliability")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (fact("roc_auc.drop", 0.0), "It ranks as the model as it came does."),
        (estimate("roc_auc.drop", 0.02, 0.01), "shown to rank worse"),
        (estimate("roc_auc.drop", 0.001, 0.003), "is not shown; if it does, then by 0.00400 at most."),
    ],
)
def test_ranking_is_told_beside_the_model_as_it_came(lost: Measurement, message: str) -> None:
    assert message in told(only(estimate("roc_auc", 0.7, 0.03), lost), "quality")


def test_quality_of_a_regression_and_of_too_few_groups_is_told() -> None:
    assert "It is off by 9.0 to 11.0" in told(only(estimate("rmse", 10.0, 1.0)), "quality")
    assert "nothing can be said for sure" in told(only(unknown(estimate("brier", 0.2, 0.1))), "quality")


@pytest.mark.parametrize(
    ("speedup", "message"), [(0.5, "it is slower than the model as it came"), (1.0, "no difference of speed is shown")]
)
def test_what_is_not_faster_is_not_called_so(speedup: float, message: str) -> None:
    assert message in told(
        only(estimate("latency.speedup", speedup, 0.1), estimate("throughput.speedup", 1.0, 0.1)), "speed"
    )


def test_what_too_few_starts_say_is_told_without_an_interval() -> None:
    start = replace(estimate("start.seconds", 1.45, 0.1), unit="s", low=0.0, high=math.inf, se=None)
    assert "after about 1.45 s (of so few no interval can be given)" in told(only(start), "speed")


def test_a_machine_that_was_busy_is_told_beside_its_times() -> None:
    report = only(estimate("latency.speedup", 2.0, 0.1))
    assert report.winner is not None
    busy = replace(report.winner, evidence=replace(report.winner.evidence, findings=(BUSY,)))
    assert "take these figures with care" in told(replace(report, winner=busy), "speed")
    assert "take these figures with care" not in told(report, "speed")


def test_parity_to_the_bit_is_told_as_a_count_of_rows() -> None:
    said = told(only(fact("max_change", 0.0), fact("decision_churn", 0.0)), "parity")
    assert "but for the rounding of a computer" in said and "Not one of 58,665 decisions became another." in said


def test_flips_near_the_threshold_and_losses_where_a_value_is_missing_are_told() -> None:
    near = estimate("decision_churn.near", 0.2, 0.05)
    lost = estimate("missing.brier.drop", 0.02, 0.005, slice="rows without seats", rows=9_000)
    small = estimate("missing.brier.drop", 0.2, 0.005, slice="rows without engines", rows=9)
    said = told(only(fact("max_change", 0.1), near, lost, small), "parity")
    assert "Of those nearest to the threshold, 15.0 to 25.0 of 100 do." in said
    assert "It is shown to lose on rows without seats." in said


def test_no_gap_that_is_shown_is_no_proof_that_there_is_none() -> None:
    said = told(only(estimate("bias.tpr_gap", 0.01, 0.02, slice="gender=F")), "people")
    assert "That is no proof that all are." in said and "it could be as much as 3.00 of 100" in said
    mean = replace(estimate("bias.error_gap", 4.0, 1.0, slice="gender=F"))
    assert "its mean error is off by 3.0 to 5.0" in told(only(mean), "people")
    assert "5.00 of mean error" in told(only(replace(mean, value=1.0, low=-3.0, se=2.0)), "people")


def test_parts_that_are_all_too_small_are_counted_and_nothing_is_drawn() -> None:
    small = (
        replace(people()[0], n_rows=40),
        replace(estimate("discovered.brier.excess", 0.1, 0.1, slice="a=1"), n_rows=40),
    )
    for name in ("people", "discovered"):
        section = build_sections(only(*small))[name]
        assert section.conclusions == ("One more rests on fewer than 1,000 rows or 20 days, and cannot be judged.",)
        assert section.picture() is None and not section.table.rows
    assert "cannot be judged" in render_report(only(*small))


def test_found_parts_that_are_not_worse_are_told_so() -> None:
    same = fact("discovered.brier.drop", 0.0, slice="a=1"), estimate("discovered.brier.excess", 0.0, 0.1, slice="a=1")
    said = told(only(*same), "discovered")
    assert "No combination is shown to be one on which the model errs more" in said and "is anything lost" in said
    harmed = told(only(estimate("discovered.mse.drop", 0.1, 0.02, slice="a=1")), "discovered")
    assert "It is shown to be worse than the model as it came where a=1" in harmed


def test_faults_that_cost_nothing_or_that_the_model_as_it_came_stands_better_are_told_so() -> None:
    mild = (
        estimate("robustness.noise.excess", 0.0, 0.01, slice="temp"),
        fact("robustness.noise.drop", 0.0, slice="temp"),
    )
    said = told(only(*mild), "robustness")
    assert "No fault that was tried is shown" in said and "exactly as the model as it came does" in said
    worse = estimate("robustness.noise.drop", 0.1, 0.01, slice="temp")
    assert "stand it worse than the model as it came: temp, a value is noisy." in told(only(worse), "robustness")
    assert build_sections(only(unknown(worse)))["robustness"].conclusions == ()


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (fact("attack.success.drop", 0.0), "It holds exactly as the model as it came does."),
        (
            estimate("attack.success.drop", 0.04, 0.01),
            "shown to be easier to turn than the model as it came, by 3.0 to",
        ),
        (estimate("attack.success.drop", -0.04, 0.01), "It is shown to be harder to turn than the model as it came."),
    ],
)
def test_an_attack_is_told_beside_the_same_on_the_model_as_it_came(lost: Measurement, message: str) -> None:
    section = build_sections(only(fact("attack.success", 0.0, rows=995), lost))["attack"]
    assert message in " ".join(section.conclusions) and section.picture() is None
    assert (
        section.conclusions[0] == "Of 995 rows not one decision could be turned, which does not show that none can be."
    )


def test_an_attack_on_too_few_groups_says_nothing_of_how_many() -> None:
    assert "the groups are too few" in told(only(unknown(estimate("attack.success", 0.2, 0.1))), "attack")


def test_requests_that_failed_are_counted() -> None:
    failed = build_sections(only(fact("load.failed", 3.0, rows=900)))["load"]
    assert failed.conclusions == ("3 of 900 requests failed or were answered wrong.",) and failed.picture() is None


def test_a_part_of_which_nothing_was_measured_is_told_as_unsettled() -> None:
    section = build_sections(only(fact("components.unsettled", 1.0, slice="quantise")))["components"]
    assert section.conclusions == ("It cannot be told what this is worth: quantise.",) and section.picture() is None


def test_what_did_not_run_is_listed_and_does_not_read_as_well() -> None:
    report = examined()
    assert not_run_findings(report) == (SILENT,) and other_findings(report) == (BUSY,)
    page = render_report(report)
    assert "What could not be measured" in page and "does not mean that all is well" in page
    assert "audit &#39;load&#39; did not run" in page and "the machine was busy" in page
    assert "What could not be measured" not in render_report(flights())


def test_what_no_section_tells_of_is_in_the_numbers() -> None:
    odd = fact("threshold", 0.3)
    report = examined(odd)
    assert other_measurements(report, HELD) == (odd,)
    assert "Threshold of a yes" in render_report(report)


def test_every_section_is_a_link_at_the_top_of_the_page() -> None:
    page = render_report(examined())
    assert all(f'<a href="#about-{name}">' in page and f'<h2 id="about-{name}">' in page for name in HELD)


def test_a_measure_of_unknown_size_is_drawn_without_a_line() -> None:
    found = [unknown(each) for each in people()[:2]]
    section = build_sections(only(*found, people()[2]))["people"]
    assert isinstance(section, Section) and section.picture() is not None
    assert not math.isnan(found[0].value)
