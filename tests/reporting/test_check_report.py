"""The report of a check: answers, findings by severity with number, limit and hint, charts, and the trend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.reporting.assessed import LEAK, STORED, assessed, assessment, first

from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting.charts import data_check
from headway.reporting.check_page import check_answers, check_charts, render_check_report, write_check_report

pytestmark = pytest.mark.slow
DRAWN = (data_check.draw_rows, data_check.draw_target, data_check.draw_missing, data_check.draw_shifts)


@pytest.fixture(scope="module")
def page() -> str:
    return render_check_report(assessed(), STORED)


@pytest.mark.parametrize(
    "text",
    [
        "Data check of flight-delays",
        "No: 1 finding of severity stop",
        "Stop: no model is trained on these data",
        "limit 0.85",
        '[data.known] air_time = "outcome", or "request" if it is honest',
        "1 of 6 checks",
        "no groups are declared",
        "Assessment 2 was opened",
        "New: D003 stop column air_time",
        "336,776 rows, 3 columns",
    ],
)
def test_the_page_contains(page: str, text: str) -> None:
    plain = re.sub(r"[\u00a0\u202f]", " ", page).replace("&#39;", "'").replace("&#34;", '"')
    assert text in plain


def test_the_page_has_every_chart_and_loads_nothing(page: str) -> None:
    assert set(check_charts(assessed(), STORED)) == {"timeline", "target", "missing", "shifts", "trend"}
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "<script" not in page and not re.search(r"(src|href)=\"https?:", page)


def test_a_first_check_without_findings_has_no_charts() -> None:
    bare = render_check_report(first(), [first().now])
    assert "Yes: no finding forbids it" in bare and "This is the first check" in bare
    assert "<figure" not in bare


def test_the_most_severe_findings_come_first_and_a_declaration_is_not_repeated(page: str) -> None:
    heads = re.findall(r"<h3>([^<]+)</h3>", page)
    assert [head.split(":")[0] for head in heads] == ["Stop", "Undecided", "Warnings"]
    assert "arr_delay" not in page


def test_texts_from_a_table_are_escaped() -> None:
    bad = replace(LEAK, message="<script>x</script>", where="<script>", hint="<script>")
    shown = render_check_report(AssessmentResult(now=assessment(findings=(bad,), name="<script>")), STORED)
    assert "<script" not in shown.replace("&lt;script", "")


def test_chart_titles_state_the_result() -> None:
    now = assessed().now
    drawn = [
        chart
        for chart in (
            data_check.draw_rows(now),
            data_check.draw_target(now),
            data_check.draw_missing(now),
            data_check.draw_shifts(now),
        )
        if chart
    ]
    assert [chart.title.replace("\u00a0", " ") for chart in drawn] == [
        "336,776 rows: from 27,100 in February 2013 to 28,000 in January 2013",
        "The mean of the target lies between 0.200 [0.180, 0.220] in May 2013 and 0.280 [0.260, 0.300] in April 2013",
        "'wind_gust' has the most missing values: 95.0 % of the rows in May 2013",
        "'carrier' shifted most clearly: UA was 48.0 % of the rows and is 69.0 %",
    ]
    rising = data_check.draw_trend(STORED)
    assert rising is not None and rising.title == "Findings since 2026-09-01: stop from 0 to 1, undecided from 0 to 1"


def test_without_data_nothing_is_drawn() -> None:
    now = first().now
    assert [draw(now) for draw in DRAWN] == [None] * 4
    assert data_check.draw_trend([now]) is None


def test_the_answers_have_the_style_of_their_severity() -> None:
    assert [answer.style for answer in check_answers(assessed())] == ["fail", "undecided", "plain", "plain"]
    assert [answer.style for answer in check_answers(first())] == ["pass", "plain", "plain", "pass"]


def test_the_report_is_written_to_the_file(tmp_path: Path) -> None:
    path = write_check_report(first(), [first().now], tmp_path / "a" / "check.html")
    assert path.read_text(encoding="utf-8").endswith("</html>\n") or "</html>" in path.read_text(encoding="utf-8")
