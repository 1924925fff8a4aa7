"""Sections state what the intervals support, correct for several comparisons, and count what was not measured."""

from __future__ import annotations

import math

import pytest
from msgspec.structs import replace
from stories import estimate, fact, flights
from tests.reporting.examined import BUSY, SILENT, examined, features, only, people, sets

from headway.core.evidence import AS_CALLED, DECLARED_PRIVACY, AttackEffort, Finding, Measurement, TimedCall
from headway.evaluation.statistics.intervals import UNBOUNDED
from headway.reporting.page import render_report
from headway.reporting.report_data import ReportData
from headway.reporting.section import (
    Section,
    build_sections,
    not_run_findings,
    other_findings,
    other_measurements,
    shown_above,
    shown_below,
)
from headway.reporting.text import formatting

pytestmark = pytest.mark.slow

SECTIONS = build_sections(examined())
ODD = fact("threshold", 0.3)  # a measurement without a section


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(examined(ODD))


def conclusions(report: ReportData, name: str) -> str:
    """Return the conclusions of a section as one text."""
    return " ".join(build_sections(report)[name].conclusions)


def unknown(measurement: Measurement) -> Measurement:
    """Return the measurement as of too few groups: its interval is the full range of the measure."""
    return replace(measurement, low=0.0, high=1.0, se=None, dof=None)


def test_sections_are_in_order_and_only_those_with_measurements() -> None:
    assert list(SECTIONS)[:3] == ["speed", "quality", "reliability"]
    assert list(build_sections(only(*people()))) == ["people"]
    assert build_sections(ReportData(title="nothing")) == {}


def test_intervals_are_corrected_for_the_number_of_comparisons() -> None:
    alone = [estimate("bias.tpr_gap", 0.0105, 0.01)]
    assert shown_above(alone) == alone
    assert shown_above([*alone * 12]) == []
    assert shown_below([estimate("x", -0.03, 0.01)] * 3) == [estimate("x", -0.03, 0.01)] * 3


def test_facts_are_not_corrected_and_intervals_of_few_groups_show_nothing() -> None:
    assert shown_above([fact("max_change", 0.2)] * 2, 0.1) == [fact("max_change", 0.2)] * 2
    few = replace(estimate("x", 0.5, 0.1), dof=2.0)
    assert shown_above([few] * 2) == []


@pytest.mark.parametrize(
    ("names", "message"),
    [(["a"], "a"), (["a", "b"], "a and b"), (list("abcdefg"), "a, b, c, d, e and 2 more"), ([], "")],
)
def test_names_are_listed_and_the_rest_counted(names: list[str], message: str) -> None:
    assert formatting.join_names(names) == message


@pytest.mark.parametrize(
    ("name", "message"),
    [
        ("speed", "One row takes 30.6 to 31.8 us; the baseline takes 257 to 267 us."),
        ("speed", "For one row, it is 8.23 to 8.57 times as fast as the baseline."),
        ("speed", "A new process gives its first prediction after 0.270 to 0.290 s."),
        ("quality", "It ranks 66.8 to 73.0 of 100 pairs of a positive and a negative correctly"),
        ("quality", "It is shown to rank better than the baseline."),
        ("reliability", "off by 0.5 to 4.5 percentage points on average, less than the limit of 5."),
        ("parity", "No prediction of 58,665 rows changes by more than 0.100."),
        ("parity", "3.29 to 4.11 of 100 decisions change."),
        ("slices", "even the least certain one, carrier=9E, loses at most 0.00243"),
        ("slices", "Positives are more frequent than predicted where origin=EWR (by 4.0 to 6.0 of 100)."),
        ("slices", "Positives are less frequent than predicted where origin=JFK (by 3.0 to 5.0 of 100)."),
        ("conformal", "The coverage is 88.0 to 91.0 %, which agrees with the promised 90 %."),
        ("conformal", "The coverage is below the promise in August 2013."),
        ("conformal", "30 to 50 of 100 sets hold both classes"),
        ("discovered", "larger than elsewhere where dep_minute 1100-1439, carrier=EV (by 0.040 to 0.080 in Brier)."),
        ("discovered", "a loss of up to 0.00250 is not excluded."),
        ("people", "gender=F is shown to differ: gap in the true positive rate 4.5 to 7.5 of 100."),
        ("people", "not show a difference; the largest that is not excluded is"),
        ("people", "1 more slice has fewer than 1,000 rows or 20 days"),
        ("load", "With bursts, 99 % of the requests are answered within 4.40 ms."),
        ("load", "None of 27,000 requests failed or got a wrong answer."),
        ("load", "All processes of the server use 90.0 MB of memory."),
        (
            "robustness",
            "1 of 3 corruptions are shown to increase the error; the worst is wind_speed x 0.45, value in another unit",
        ),
        ("robustness", "the error increases by 0.040 to 0.060."),
        ("robustness", "It is not shown to be less robust than the baseline to any corruption; a loss of up to"),
        ("privacy", "recognizes 4.0 to 6.0 of 100 rows that the model was trained on, while it wrongly accuses 1 of"),
        ("privacy", "Recognized more often than others are gender=F."),
        ("privacy", "3 rows are given away by most of the models trained on them, first row 7, row 19 and row 400 of"),
        ("privacy", "guesses smoker right for 3.0 to 5.0 of 100 more rows with the answer"),
        ("privacy", "The answers are not shown to add anything on married."),
        ("privacy", "From its answer, a training row is rebuilt with 0.65 to 0.75 of the error of a guess."),
        (
            "extraction",
            "With the answers to 600 to 800 rows a caller has a copy that agrees with the model on 95 of 100",
        ),
        ("extraction", "After 5,000 rows the best copy agrees on 97.0 to 99.0 of 100; always giving the most frequent"),
        ("extraction", "If callers see the decision alone, a copy needs more than 5,000 rows."),
        ("extraction", "At the limit of requests per API key that takes 1.70 to 2.30 h, with one row in a request."),
        ("attack", "For 75 to 85 of 100 rows it is proven that no attack can flip the decision while each number"),
        (
            "attack",
            "Half of the rows keep their decision until a number moves by at least 0.100 to 0.140 interquartile",
        ),
        ("attack", "For half of the rows a change was found that flips the decision, at a distance of at most 0.60 to"),
        ("attack", "The attack flips 17.0 to 23.0 of 100 decisions. A longer attack may flip more, never fewer."),
        (
            "attack",
            "changes one column; its largest change of a number is 0.31 to 0.52 interquartile",
        ),
        ("attack", "The weakest column is dep_minute: changed alone, it flips 9.0 to 13.0 of 100 decisions."),
        ("attack", "not shown to be less robust than the baseline; the difference is at most 0.500 of 100 decisions."),
        ("imbalance", "The positive class is 4.5 to 6.5 of 100 rows."),
        (
            "imbalance",
            "The cost of decisions is lower with 'weights, corrected'; the cost of decisions is higher with 'weights'.",
        ),
        ("imbalance", "Weights increase the recall from 46 to 99 %"),
        ("imbalance", "No treatment is shown to change the ranking"),
        ("components", "Shown to be useful: trees."),
        ("components", "Harmful (something is worse with it, nothing is better): calibrator."),
        ("components", "Useless (nothing that counts changes without it): threads."),
        ("ablation", "dep_minute matters most: without it, the error increases by 0.015 to 0.031."),
        ("ablation", "The model is shown to be better without noise: remove it and retrain."),
        ("ablation", "The error hardly changes without seats"),
        ("ablation", "visib may be harmful; this is undecided"),
    ],
)
def test_a_section_concludes_what_its_intervals_support(name: str, message: str) -> None:
    assert message in " ".join(SECTIONS[name].conclusions)


def test_without_a_harmful_feature_the_section_says_so() -> None:
    assert "No feature is shown to be harmful." in conclusions(only(*features()[:1]), "ablation")


def test_imbalance_without_effect_needs_no_treatment() -> None:
    found = [
        estimate("imbalance.base_rate", 0.95, 0.01),
        *(estimate("imbalance.cost.drop", 0.01, 0.05, slice=name) for name in ("weights", "threshold 0.5")),
        estimate("imbalance.recall.drop", 0.0, 0.1, slice="weights"),
        estimate("imbalance.roc_auc.drop", 0.1, 0.01, slice="weights"),
    ]
    assert conclusions(only(*found), "imbalance") == (
        "The negative class is 4.0 to 6.0 of 100 rows. "
        "No treatment is shown to change the cost of decisions: none is needed."
    )


def test_balanced_classes_have_no_imbalance_section() -> None:
    assert "imbalance" not in build_sections(only(estimate("imbalance.base_rate", 0.4, 0.01)))


@pytest.mark.parametrize(
    ("coverage", "message"),
    [
        (estimate("conformal.coverage", 0.85, 0.02), "below the promised 90 %"),
        (estimate("conformal.coverage", 0.95, 0.02), "the sets are larger than needed"),
        (unknown(estimate("conformal.coverage", 0.85, 0.02)), "cannot be estimated"),
    ],
)
def test_coverage_is_compared_with_the_promise(coverage: Measurement, message: str) -> None:
    assert message in conclusions(only(coverage), "conformal")
    assert build_sections(only(coverage))["conformal"].picture() is None


def test_intervals_have_a_width_and_sets_of_classes_a_size() -> None:
    held, wide = sets()[0], replace(estimate("conformal.width", 12.0, 1.0), unit="min")
    assert "The intervals are 11.0 min to 13.0 min wide" in conclusions(only(held, wide), "conformal").replace(
        "11.0 to", "11.0 min to"
    )
    assert "A set holds 0.95 to 1.15 classes" in conclusions(
        only(held, estimate("conformal.size", 1.05, 0.1)), "conformal"
    )


@pytest.mark.parametrize(
    ("answer", "message"),
    [("fail", "more than the limit of 5"), ("undecided", "it is undecided whether")],
)
def test_calibration_follows_the_verdict(answer: str, message: str) -> None:
    report = flights()
    assert report.winner is not None
    rule_results = tuple(replace(result, answer=answer) for result in report.winner.verdict.rule_results)
    winner = replace(report.winner, verdict=replace(report.winner.verdict, rule_results=rule_results))
    assert message in conclusions(replace(report, winner=winner), "reliability")
    assert "limit" not in conclusions(
        replace(report, winner=replace(winner, verdict=replace(winner.verdict, rule_results=()))), "reliability"
    )


def test_calibration_without_an_interval_cannot_be_estimated() -> None:
    bins = [seen for seen in examined().winner.evidence.measurements if seen.name.startswith("reliability")]  # type: ignore[union-attr]
    assert "cannot be estimated" in conclusions(only(*bins), "reliability")


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (fact("roc_auc.drop", 0.0), "It ranks exactly like the baseline."),
        (estimate("roc_auc.drop", 0.02, 0.01), "shown to rank worse"),
        (
            estimate("roc_auc.drop", 0.001, 0.003),
            "not shown to rank worse than the baseline; the loss is at most 0.00400.",
        ),
    ],
)
def test_ranking_is_compared_with_the_baseline(lost: Measurement, message: str) -> None:
    assert message in conclusions(only(estimate("roc_auc", 0.7, 0.03), lost), "quality")


def test_quality_of_a_regression_and_of_too_few_groups() -> None:
    assert "The root mean squared error (RMSE) is 9.0 to 11.0" in conclusions(
        only(estimate("rmse", 10.0, 1.0)), "quality"
    )
    assert "too few groups of dependent rows" in conclusions(only(unknown(estimate("brier", 0.2, 0.1))), "quality")


@pytest.mark.parametrize(
    ("speedup", "message"), [(0.5, "it is slower than the baseline"), (1.0, "no difference in speed is shown")]
)
def test_a_variant_that_is_not_faster_is_not_called_faster(speedup: float, message: str) -> None:
    assert message in conclusions(
        only(estimate("latency.speedup", speedup, 0.1), estimate("throughput.speedup", 1.0, 0.1)), "speed"
    )


def test_too_few_starts_give_a_value_without_an_interval() -> None:
    start = replace(estimate("start.seconds", 1.45, 0.1), unit="s", low=0.0, high=math.inf, se=None)
    assert "after about 1.45 s (too few groups for an interval)" in conclusions(only(start), "speed")


def test_a_busy_machine_is_reported_with_the_times() -> None:
    report = only(replace(estimate("cost.cpu_s.one_row.speedup", 2.0, 0.1), unit="x"))
    assert report.winner is not None
    busy = replace(report.winner, evidence=replace(report.winner.evidence, findings=(BUSY,)))
    text = conclusions(replace(report, winner=busy), "speed")
    assert "No speedup: other processes used the cores" in text and "--wait-quiet" in text
    assert "CPU time, engine against engine, one row: x 2.00" in text
    assert "No speedup" not in conclusions(report, "speed")


def test_each_ratio_names_the_call_of_the_baseline() -> None:
    call = TimedCall(engine="LGBMClassifier", call="predict_proba", input="dataframe_row", rows=1, threads=1)
    called = replace(estimate(AS_CALLED, 8.0, 0.2, slice="dataframe_row"), unit="x", baseline=call)
    text = conclusions(only(estimate("latency.speedup", 9.0, 0.1), called), "speed")
    assert "As you call it: x 8.00" in text and "LGBMClassifier, predict_proba of a DataFrame row, threads=1" in text


def test_exact_parity_is_a_count_of_rows() -> None:
    text = conclusions(only(fact("max_change", 0.0), fact("decision_churn", 0.0)), "parity")
    assert "beyond rounding" in text and "None of 58,665 decisions changes." in text


def test_changes_near_the_threshold_and_losses_on_missing_values() -> None:
    near = estimate("decision_churn.near", 0.2, 0.05)
    lost = estimate("missing.brier.drop", 0.02, 0.005, slice="rows without seats", rows=9_000)
    small = estimate("missing.brier.drop", 0.2, 0.005, slice="rows without engines", rows=9)
    text = conclusions(only(fact("max_change", 0.1), near, lost, small), "parity")
    assert "Near the threshold, 15.0 to 25.0 of 100 decisions change." in text
    assert "It is shown to be worse than the baseline on rows without seats." in text


def test_no_shown_gap_does_not_prove_equal_treatment() -> None:
    text = conclusions(only(estimate("bias.tpr_gap", 0.01, 0.02, slice="gender=F")), "people")
    assert "This does not prove equal treatment." in text and "not excluded is 3.00 of 100" in text
    mean = replace(estimate("bias.error_gap", 4.0, 1.0, slice="gender=F"))
    assert "gap in the mean error 3.0 to 5.0" in conclusions(only(mean), "people")
    assert "5.00 (gap in the mean error" in conclusions(only(replace(mean, value=1.0, low=-3.0, se=2.0)), "people")


def test_slices_that_are_all_too_small_are_counted_and_not_drawn() -> None:
    small = (
        replace(people()[0], n_rows=40),
        replace(estimate("discovered.brier.excess", 0.1, 0.1, slice="a=1"), n_rows=40),
    )
    for name in ("people", "discovered"):
        section = build_sections(only(*small))[name]
        assert section.conclusions == ("1 more slice has fewer than 1,000 rows or 20 days and cannot be judged.",)
        assert section.picture() is None and not section.table.rows
    assert "cannot be judged" in render_report(only(*small))


def test_discovered_slices_that_are_not_worse() -> None:
    same = fact("discovered.brier.drop", 0.0, slice="a=1"), estimate("discovered.brier.excess", 0.0, 0.1, slice="a=1")
    text = conclusions(only(*same), "discovered")
    assert "On no slice is the error shown to be larger" in text and "No slice loses anything" in text
    harmed = conclusions(only(estimate("discovered.mse.drop", 0.1, 0.02, slice="a=1")), "discovered")
    assert "The model is shown to be worse than the baseline where a=1" in harmed


def test_corruptions_without_cost_and_compared_with_the_baseline() -> None:
    mild = (
        estimate("robustness.noise.excess", 0.0, 0.01, slice="temp"),
        fact("robustness.noise.drop", 0.0, slice="temp"),
    )
    text = conclusions(only(*mild), "robustness")
    assert "No corruption is shown" in text and "exactly as robust as the baseline to every corruption" in text
    worse = estimate("robustness.noise.drop", 0.1, 0.01, slice="temp")
    assert "less robust than the baseline to: temp, noise added." in conclusions(only(worse), "robustness")
    assert build_sections(only(unknown(worse)))["robustness"].conclusions == ()


@pytest.mark.parametrize(
    ("lost", "message"),
    [
        (fact("attack.success.drop", 0.0), "It is exactly as robust as the baseline."),
        (
            estimate("attack.success.drop", 0.04, 0.01),
            "shown to be less robust than the baseline, by 3.0 to",
        ),
        (estimate("attack.success.drop", -0.04, 0.01), "It is shown to be more robust than the baseline."),
    ],
)
def test_an_attack_is_compared_with_that_on_the_baseline(lost: Measurement, message: str) -> None:
    section = build_sections(only(fact("attack.success", 0.0, rows=995), lost))["attack"]
    assert message in " ".join(section.conclusions) and section.picture() is None
    assert section.conclusions[0] == "No decision of 995 rows was flipped. This does not show that none can be."


def with_effort(measured: Measurement, done: int) -> Measurement:
    """Return the measurement of an attack with so many of its 24 shadow models."""
    effort = AttackEffort(attack="lira", done=done, registered=24, unit="shadow models")
    return replace(measured, effort=effort)


@pytest.mark.parametrize(
    ("measured", "message"),
    [
        (
            estimate("privacy.membership.tpr_1pct", 0.01, 0.005),
            "it finds at most 1.50 of 100, while it wrongly",
        ),
        (
            unknown(estimate("privacy.membership.tpr_1pct", 0.01, 0.005)),
            "How many training rows can be recognized cannot be estimated",
        ),
        (estimate("privacy.membership.auc", 0.7, 0.05), "The answers are shown to differ for rows that the model was"),
        (estimate("privacy.membership.auc", 0.52, 0.05), "It is not shown that the answers differ for rows that the"),
        (estimate("privacy.membership.auc", 0.52, 0.05), "How much of the attack was run is not known"),
        (
            with_effort(estimate("privacy.membership.tpr_1pct", 0.01, 0.005), 6),
            "That was the attack 'lira' with 6 of 24 shadow models, so it says little.",
        ),
        (
            with_effort(estimate("privacy.membership.tpr_1pct", 0.01, 0.005), 24),
            "while it wrongly accuses 1 of 100 others.",
        ),
        (fact("privacy.membership.exposed", 0.0), "No single row is given away"),
        (fact("privacy.membership.exposed", 1.0), "1 row is given away"),
        (estimate("privacy.inversion.error", 1.0, 0.05), "From its answer, a training row is not shown to be rebuilt"),
        (estimate("privacy.inversion.trees", 0.1, 0.05), "With the file of the model, a training row is rebuilt with"),
    ],
)
def test_privacy_is_described_by_what_the_interval_shows(measured: Measurement, message: str) -> None:
    section = build_sections(only(measured))["privacy"]
    assert message in " ".join(section.conclusions)
    assert section.picture() is None


def test_privacy_that_is_declared_is_shown_as_not_verified() -> None:
    report = only()
    message = "the model declares that it was trained with differential privacy, epsilon 3; headway did not verify that"
    finding = Finding(code=DECLARED_PRIVACY, severity="note", message=message, measured=3.0)
    evidence = replace(report.winner.evidence, findings=(finding,))
    section = build_sections(replace(report, winner=replace(report.winner, evidence=evidence)))["privacy"]
    assert section.conclusions == (f"T{message[1:]}.",)
    assert section.picture() is None


@pytest.mark.parametrize(
    ("changes", "message"),
    [
        ({"value": 5_000.0, "low": 5_000.0}, "No copy agreed with the model on 95 of 100 rows, after 5,000 rows had"),
        ({"low": 400.0}, "A copy that agrees with the model on 95 of 100 rows needs the answers to at least 400 rows."),
    ],
)
def test_a_level_that_no_copy_reached_has_a_lower_bound(changes: dict[str, float], message: str) -> None:
    queries = estimate("extraction.queries_95", 700.0, 100.0)
    hours = replace(estimate("extraction.hours_95", 2.0, 0.3), unit="h", high=UNBOUNDED[1])
    section = build_sections(only(replace(queries, high=UNBOUNDED[1], **changes), hours))["extraction"]
    assert section.conclusions == (section.conclusions[0], section.conclusions[1]) and section.picture() is None
    assert message in section.conclusions[0] and "takes at least 1.7 h" in section.conclusions[1]


def test_a_copy_of_decisions_that_needs_no_more_rows_is_not_said_to_be_slower() -> None:
    queries = estimate("extraction.queries_95", 700.0, 100.0)
    same = replace(queries, slice="top answer", value=900.0, low=750.0, high=1_050.0)
    slower = replace(same, low=820.0)
    assert "not shown that a copy needs more rows" in conclusions(only(queries, same), "extraction")
    assert "the decision alone, a copy needs 820 to 1,050 rows." in conclusions(only(queries, slower), "extraction")
    few = unknown(estimate("extraction.agreement", 0.9, 0.1, slice="100 queries"))
    assert "How far a copy agrees cannot be estimated" in conclusions(only(few), "extraction")


def test_a_picture_of_copies_has_a_line_for_scores_and_one_for_decisions() -> None:
    picture = SECTIONS["extraction"].picture()
    assert picture is not None and "share of rows on which the copy agrees" in picture.wide
    assert "decisions alone" in picture.wide and "After 5,000 rows the best copy agrees on 97.0 to 99.0" in picture.alt


def test_a_privacy_picture_has_both_logarithmic_scales() -> None:
    picture = SECTIONS["privacy"].picture()
    assert picture is not None and "share of training rows that are recognized" in picture.wide
    assert "Of the training rows 4.0 to 6.0 of 100 are recognized where 1% of the others are accused" in picture.alt


def test_an_attack_on_too_few_groups_has_no_estimate() -> None:
    assert "there are too few groups" in conclusions(only(unknown(estimate("attack.success", 0.2, 0.1))), "attack")


def test_requests_that_failed_are_counted() -> None:
    failed = build_sections(only(fact("load.failed", 3.0, rows=900)))["load"]
    assert failed.conclusions == ("3 of 900 requests failed or got a wrong answer.",) and failed.picture() is None


def test_a_component_without_measurements_is_undecided() -> None:
    section = build_sections(only(fact("components.unsettled", 1.0, slice="quantise")))["components"]
    assert section.conclusions == ("Undecided: quantise.",) and section.picture() is None


def test_metrics_that_did_not_run_are_listed_and_do_not_count_as_passed(page: str) -> None:
    report = examined()
    assert not_run_findings(report) == (SILENT,) and other_findings(report) == (BUSY,)
    assert "Not measured</h2>" in page and "They do not count as passed." in page
    assert "audit &#39;load&#39; did not run" in page and "other processes used the cores" in page
    assert "Not measured</h2>" not in render_report(ReportData(title="all was measured"))


def test_measurements_without_a_section_are_in_the_table(page: str) -> None:
    assert other_measurements(examined(ODD), SECTIONS) == (ODD,)
    assert "Decision threshold" in page


def test_every_section_has_a_link_at_the_top_of_the_page(page: str) -> None:
    assert all(f'<a href="#about-{name}">' in page and f'<h2 id="about-{name}">' in page for name in SECTIONS)


def test_a_measure_of_unknown_size_is_drawn_without_a_line() -> None:
    found = [unknown(measurement) for measurement in people()[:2]]
    section = build_sections(only(*found, people()[2]))["people"]
    assert isinstance(section, Section) and section.picture() is not None
    assert not math.isnan(found[0].value)
