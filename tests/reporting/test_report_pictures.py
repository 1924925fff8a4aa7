"""Charts state their finding, have a text alternative, and are drawn without network access."""

from __future__ import annotations

import json
import math
import xml.etree.ElementTree as Xml

import pytest
from msgspec.structs import replace
from stories import RELEASED, Step, estimate, evidence, fact, flights, frontier, judged, own_project, truncated, variant
from years import lived

from headway.core.evidence import Measurement
from headway.core.verdict import EvaluatedVariant, Rule, RuleResult
from headway.reporting.charts import pareto, theme
from headway.reporting.charts.rendered import RenderedChart
from headway.reporting.charts.theme import NARROW, WIDE
from headway.reporting.page import report_charts
from headway.reporting.report_data import ReportData
from headway.reporting.sections import reliability, slices

pytestmark = pytest.mark.slow
STORY = lived()
SVG = "{http://www.w3.org/2000/svg}"


@pytest.fixture(scope="module")
def drawn() -> dict[str, RenderedChart]:
    return report_charts(STORY)


def texts(svg: str) -> list[str]:
    return ["".join(node.itertext()) for node in Xml.fromstring(svg).iter(f"{SVG}text")]


def winner(*measurements: Measurement, **changes: object) -> ReportData:
    """The flights, their released variant with this evidence only."""
    row = STORY.winner
    assert row is not None
    return replace(STORY, winner=replace(row, evidence=evidence(RELEASED, *measurements, period="test"), **changes))


def sliced(report: ReportData) -> RenderedChart | None:
    """The picture of the slices of a story."""
    section = slices.plugin(report)
    return section.picture() if section else None


def unknown(measurement: Measurement) -> Measurement:
    """The same for too few groups: the whole range of the measure."""
    return replace(measurement, low=-1.0, high=1.0, se=None, dof=None)


def test_a_full_report_has_six_charts(drawn: dict[str, RenderedChart]) -> None:
    assert list(drawn) == ["frontier", "year", "speed", "reliability", "parity", "slices"]


@pytest.mark.parametrize("name", ["frontier", "year", "speed", "reliability", "parity", "slices"])
def test_a_chart_is_one_labelled_image_in_both_sizes(drawn: dict[str, RenderedChart], name: str) -> None:
    for size, svg in ((WIDE, drawn[name].wide), (NARROW, drawn[name].narrow)):
        root = Xml.fromstring(svg)
        assert root.get("role") == "img"
        assert root.get("aria-label") == drawn[name].alt
        assert float(root.get("width", "0")) <= size.width + 8
        assert "href" not in svg.replace("xmlns:xlink", "")
        assert 'fill="white"' not in svg


def test_ids_are_unique_on_a_page(drawn: dict[str, RenderedChart]) -> None:
    svgs = [svg for chart in drawn.values() for svg in (chart.wide, chart.narrow)]
    ids = [node.get("id") for svg in svgs for node in Xml.fromstring(svg).iter() if node.get("id")]
    assert ids
    assert len(ids) == len(set(ids))


def test_the_title_of_the_pareto_front_states_passing_variants_and_speedup(drawn: dict[str, RenderedChart]) -> None:
    assert drawn["frontier"].title == (
        "6 of 10 variants are shown to stay within the limits; "
        "the released one predicts one row 8.40 [8.23, 8.57] times as fast"
    )


@pytest.mark.parametrize("layout", ["wide", "narrow"])
def test_every_variant_is_numbered_and_baseline_and_release_are_named(
    drawn: dict[str, RenderedChart], layout: str
) -> None:
    found = texts(getattr(drawn["frontier"], layout))
    assert {"1 baseline", "7 released", "limit 100 %", "pass", "fail"} <= set(found)
    assert {"2", "4", "5", "6"} <= set(found)
    assert {f"{number} decisions changed" for number in (3, 8, 9)} | {"10 loss in AUC"} <= set(found)


def test_the_height_is_the_share_of_the_tightest_limit_and_the_reading_states_the_rule(
    drawn: dict[str, RenderedChart],
) -> None:
    shares = {number: pareto.limit_used(row) for number, row in enumerate(frontier(), 1)}
    assert {number: (round(used[0].value), used[1].measure) for number, used in shares.items() if used} == {
        1: (0, "worst_slice.brier.drop"),
        2: (64, "decision_churn"),
        3: (174, "decision_churn"),
        4: (0, "worst_slice.brier.drop"),
        5: (0, "worst_slice.brier.drop"),
        6: (0, "worst_slice.brier.drop"),
        7: (64, "decision_churn"),
        8: (122, "decision_churn"),
        9: (174, "decision_churn"),
        10: (246, "roc_auc.drop"),
    }
    assert "Share of the tightest limit used, %" in texts(drawn["frontier"].wide)
    assert "Verdict against the baseline, by the one-sided 95 % bound:" in texts(drawn["frontier"].wide)
    reading = " ".join(drawn["frontier"].reading)
    assert "A rule passes if the one-sided 95 % bound is within its limit" in reading
    assert "decisions changed at most 5 %" in reading


def test_a_limit_of_zero_leaves_no_share_and_far_beyond_a_limit_is_drawn_at_the_edge() -> None:
    row = frontier()[-1]
    result = row.verdict.rule_results[0]
    at = {limit: replace(result, rule=replace(result.rule, at_most=limit), answer="fail") for limit in (0.0, 0.0005)}
    found = {
        limit: pareto.limit_used(replace(row, verdict=replace(row.verdict, rule_results=(one,))))
        for limit, one in at.items()
    }
    assert found[0.0] is None
    assert found[0.0005] is not None and found[0.0005][0].value == pareto.EDGE


def test_a_pareto_front_of_a_busy_machine_shows_cpu_times() -> None:
    cpu = estimate("cost.cpu_s.one_row", 30.0, 1.0, unit="s")
    rows = [
        replace(
            row,
            evidence=replace(
                row.evidence,
                measurements=(*(seen for seen in row.evidence.measurements if seen.name != pareto.SPEED), cpu),
            ),
        )
        for row in frontier()
    ]
    chart = pareto.draw_pareto(ReportData(title="busy", frontier=tuple(rows)))
    assert chart is not None and "CPU time for one row, µs (log scale)" in texts(chart.wide)


def test_a_pareto_front_is_drawn_without_limit_and_without_intervals() -> None:
    rows = [replace(row, verdict=replace(row.verdict, rule_results=())) for row in frontier()[:2]]
    loss = [unknown(loss) for loss in rows[1].evidence.measurements if loss.name == "brier.drop"]
    speed = [time for time in rows[1].evidence.measurements if time.name.startswith("latency.")]
    bare = [replace(row, evidence=replace(row.evidence, measurements=(*speed, *loss))) for row in rows]
    picture = pareto.draw_pareto(ReportData(title="", frontier=tuple(bare)))
    assert picture is not None
    assert picture.title == "2 of 2 variants are shown to stay within the limits"
    assert "Loss in Brier (above 0 is worse)" in texts(picture.wide)
    assert not [text for text in texts(picture.wide) if text.startswith("limit")]


def test_the_title_states_how_many_variants_meet_the_rules_on_privacy() -> None:
    rule = Rule(measure="privacy.membership.tpr_1pct", at_most=0.05)
    first, second = frontier()[:2]
    ruled = [
        replace(
            row,
            verdict=replace(
                row.verdict,
                answer=answer,
                rule_results=(
                    *(result for result in row.verdict.rule_results if result.rule.relative),
                    RuleResult(rule=rule, answer=answer, message=""),
                ),
            ),
        )
        for row, answer in ((first, "fail"), (second, "pass"))
    ]
    picture = pareto.draw_pareto(ReportData(title="flights", frontier=tuple(ruled)))
    assert picture.title == "2 of 2 variants are shown to stay within the limits, 1 of them also those on privacy"


def test_the_title_states_that_the_baseline_is_kept() -> None:
    came = judged(variant(), us=262.0, loss=0.0, flips=0.0, change=0.0, period="test")
    picture = pareto.draw_pareto(replace(STORY, winner=came))
    assert picture is not None
    assert picture.title.endswith("; the baseline is kept")


@pytest.mark.parametrize("rows", [(), own_project().frontier, frontier()[:1]])
def test_a_pareto_front_of_fewer_than_two_points_is_not_drawn(rows: tuple[EvaluatedVariant, ...]) -> None:
    assert pareto.draw_pareto(ReportData(title="", frontier=rows)) is None


def test_variants_without_speed_or_loss_are_not_drawn() -> None:
    bare = [replace(row, evidence=replace(row.evidence, measurements=())) for row in frontier()]
    assert pareto.draw_pareto(ReportData(title="", frontier=(*frontier()[:1], *bare))) is None


def test_every_label_of_many_close_variants_is_drawn() -> None:
    crowd = [
        judged(
            variant("native", truncated(number), Step(transform="x")),
            us=30 + number / 9,
            loss=0.004,
            flips=0,
            change=0.1,
        )
        for number in range(24)
    ]
    picture = pareto.draw_pareto(ReportData(title="", frontier=(*frontier()[:1], *crowd)))
    assert picture is not None
    assert {f"{number} loss in AUC" for number in range(2, 26)} <= set(texts(picture.narrow))
    assert "undecided" in texts(picture.wide)


@pytest.mark.parametrize(
    ("slowest", "shown", "hidden"), [(90, ["30", "50", "70"], []), (20_000, ["100", "10,000"], ["70", "7,000", "500"])]
)
def test_the_time_axis_has_as_many_ticks_as_fit(slowest: float, shown: list[str], hidden: list[str]) -> None:
    rows = [
        judged(variant(), us=slowest, loss=0.0, flips=0.0, change=0.0),
        judged(RELEASED, us=25.0, loss=0.001, flips=0.0, change=0.0),
    ]
    picture = pareto.draw_pareto(ReportData(title="", frontier=tuple(rows)))
    assert picture is not None
    assert set(shown) <= set(texts(picture.narrow))
    assert not set(hidden) & set(texts(picture.narrow))


def test_reliability_shows_the_calibration_error(drawn: dict[str, RenderedChart]) -> None:
    assert drawn["reliability"].title == "Predicted and observed differ by 0.025 [0.005, 0.045] on average"
    assert {"released", "baseline", "Rows"} <= set(texts(drawn["reliability"].wide))


def test_reliability_without_baseline_and_ece_shows_only_the_winner() -> None:
    bins = [seen for seen in STORY.winner.evidence.measurements if seen.name.startswith("reliability")]  # type: ignore[union-attr]
    alone = replace(winner(*bins), baseline_evidence=None, release="")
    picture = reliability.draw_reliability(alone)
    assert picture is not None
    assert picture.title == "Predicted and observed"
    assert "chosen" in texts(picture.wide)
    assert "baseline" not in texts(picture.wide)


def test_reliability_draws_a_bin_of_too_few_groups_without_its_band() -> None:
    half = replace(estimate("reliability", 0.5, 0.1, slice="bin 2"), low=0.0, high=1.0, se=None)
    pairs = (
        fact("reliability.predicted", 0.2, slice="bin 1"),
        estimate("reliability", 0.2, 0.01, slice="bin 1"),
        fact("reliability.predicted", 0.5, slice="bin 2"),
        half,
        estimate("reliability", 0.9, 0.01, slice="bin 3"),
        fact("reliability.predicted", math.nan, slice="bin 4"),
        estimate("reliability", 0.9, 0.01, slice="bin 4"),
    )
    picture = reliability.draw_reliability(winner(*pairs))
    assert picture is not None
    assert "in 2 bins" in picture.alt
    assert reliability.draw_reliability(winner(*pairs[:2])) is None
    assert reliability.draw_reliability(own_project()) is None


def test_slices_show_the_worst_with_the_limit_rows_and_days(drawn: dict[str, RenderedChart]) -> None:
    assert drawn["slices"].title.startswith("None of 15 slices is beyond the limit; nearest to it is carrier=9E")
    assert {"carrier=9E", "limit 0.005", "rows / days", "1,130 / 62"} <= set(texts(drawn["slices"].wide))
    assert "The 14 worst of 15 slices are shown." in drawn["slices"].reading


def test_slices_too_small_to_be_judged_are_counted_and_not_shown() -> None:
    named = [estimate("brier.drop", 0.001 * n, 0.0005, slice=f"origin={n}", rows=2000) for n in range(3)]
    small = estimate("brier.drop", 0.2, 0.1, slice="origin=LGA", rows=900)
    report = winner(*named, small, unknown(replace(named[0], slice="origin=JFK")))
    picture = sliced(report)
    assert picture is not None
    assert "origin=LGA" not in texts(picture.wide)
    section = slices.plugin(report)
    assert section is not None
    assert section.conclusions[-1] == "2 more slices have fewer than 1,000 rows or 20 days and cannot be judged."


@pytest.mark.parametrize(
    ("answer", "title"),
    [("fail", "Of 2 slices, at least one is beyond the limit"), ("undecided", "Some of 2 slices are undecided")],
)
def test_slices_have_a_title_for_each_answer(answer: str, title: str) -> None:
    named = [estimate("brier.drop", 0.01 * n, 0.0005, slice=f"origin={n}", rows=2000) for n in range(2)]
    rule_result = RuleResult(rule=Rule(measure="worst_slice.brier.drop", at_most=0.005), answer=answer, message="")  # type: ignore[arg-type]
    report = winner(*named)
    assert report.winner is not None
    judged_so = replace(report.winner, verdict=replace(report.winner.verdict, rule_results=(rule_result,)))
    picture = sliced(replace(report, winner=judged_so))
    assert picture is not None
    assert picture.title.startswith(title)


def test_slices_without_a_rule_have_no_limit() -> None:
    named = [estimate("brier.drop", 0.01 * n, 0.0005, slice=f"origin={n}", rows=2000) for n in range(2)]
    report = winner(*named)
    assert report.winner is not None
    plain = replace(report, winner=replace(report.winner, verdict=replace(report.winner.verdict, rule_results=())))
    picture = sliced(plain)
    assert picture is not None
    assert picture.title.startswith("2 slices compared with the baseline; the worst is origin=1")
    assert not [text for text in texts(picture.wide) if text.startswith("limit")]


def test_the_baseline_has_no_section_on_slices() -> None:
    came = judged(variant(), us=262.0, loss=0.0, flips=0.0, change=0.0, period="test")
    assert sliced(replace(STORY, winner=came)) is None
    assert sliced(own_project()) is None
    assert sliced(winner()) is None


def test_a_hostile_name_stays_a_text() -> None:
    bad = '"><script>alert(1)</script>'
    named = [estimate("brier.drop", 0.01 * n, 0.0005, slice=f"{bad}={n}", rows=2000) for n in range(2)]
    picture = sliced(winner(*named))
    assert picture is not None
    assert not [node for node in Xml.fromstring(picture.wide).iter() if node.tag.endswith("script")]
    assert bad in picture.alt


def test_a_chart_cannot_load_data_from_an_address() -> None:
    class Outside:
        def to_dict(self, **_: object) -> dict[str, object]:
            data = {"url": "http://127.0.0.1:9/points.csv"}
            return {"data": data, "mark": "point", "encoding": {"x": {"field": "a", "type": "quantitative"}}}

    with pytest.raises(ValueError, match="data url not allowed"):
        theme.render_chart(lambda size: Outside(), name="outside", title="", alt="", reading=())  # type: ignore[arg-type,return-value]


def test_no_name_of_a_variant_ends_the_script_that_holds_it():
    report = flights()
    first, second, *rest = report.frontier
    hostile = replace(second, variant=replace(second.variant, engine="</script><img src=x onerror=alert(1)>"))
    found = pareto.draw_pareto(replace(report, frontier=(first, hostile, *rest)), interactive=True)
    assert found is not None
    for text in (found.wide_spec, found.narrow_spec):
        assert "<" not in text and hostile.variant.name in json.dumps(json.loads(text), ensure_ascii=False)
