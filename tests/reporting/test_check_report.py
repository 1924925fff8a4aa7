"""The report of a check: the answers first, findings by severity with number, limit and mend, pictures, the trend."""

from __future__ import annotations

import re
from pathlib import Path

import pytest
from msgspec.structs import replace
from tests.reporting.assessed import KEPT, LEAK, assessed, assessment, first

from headway.monitoring.assessment.assess import AssessmentResult
from headway.reporting.charts import data_check
from headway.reporting.check_page import check_answers, check_charts, render_check_report, write_check_report

pytestmark = pytest.mark.slow
DRAWN = (data_check.draw_rows, data_check.draw_target, data_check.draw_missing, data_check.draw_shifts)


@pytest.fixture(scope="module")
def page() -> str:
    return render_check_report(assessed(), KEPT)


@pytest.mark.parametrize(
    "text",
    [
        "Are the data of flight-delays fit to learn from?",
        "No: 1 finding says stop",
        "Stop: no model is trained on such data",
        "limit 0.85",
        '[data.known] air_time = "outcome", or "request" if it is honest',
        "1 of 6 checks",
        "no groups are declared",
        "Assessment 2 was opened",
        "Opened: D003 stop column air_time",
        "336,776 rows, 3 columns",
    ],
)
def test_the_page_says(page: str, text: str) -> None:
    plain = re.sub(r"[\u00a0\u202f]", " ", page).replace("&#39;", "'").replace("&#34;", '"')
    assert text in plain


def test_the_page_has_every_picture_and_asks_for_nothing(page: str) -> None:
    assert set(check_charts(assessed(), KEPT)) == {"timeline", "target", "missing", "shifts", "trend"}
    ids = re.findall(r'\bid="([^"]+)"', page)
    assert len(ids) == len(set(ids))
    assert "<script" not in page and not re.search(r"(src|href)=\"https?:", page)


def test_a_first_check_that_found_nothing_is_a_page_without_pictures() -> None:
    bare = render_check_report(first(), [first().now])
    assert "Yes: nothing forbids it" in bare and "This is the first check" in bare
    assert "<figure" not in bare


def test_the_gravest_findings_stand_first(page: str) -> None:
    heads = re.findall(r"<h3>([^<]+)</h3>", page)
    assert [each.split(":")[0] for each in heads] == ["Stop", "Undecided", "Warnings", "Notes"]


def test_what_comes_from_a_table_stays_text() -> None:
    bad = replace(LEAK, message="<script>x</script>", where="<script>", hint="<script>")
    shown = render_check_report(AssessmentResult(now=assessment(findings=(bad,), name="<script>")), KEPT)
    assert "<script" not in shown.replace("&lt;script", "")


def test_the_titles_of_pictures_are_their_findings() -> None:
    now = assessed().now
    drawn = [
        each
        for each in (
            data_check.draw_rows(now),
            data_check.draw_target(now),
            data_check.draw_missing(now),
            data_check.draw_shifts(now),
        )
        if each
    ]
    assert [each.title.replace("\u00a0", " ") for each in drawn] == [
        "336,776 rows: from 27,100 in February 2013 to 28,000 in January 2013",
        "The target's mean lies between 0.200 [0.180, 0.220] in May 2013 and 0.280 [0.260, 0.300] in April 2013",
        "'wind_gust' lacks the most: 95.0 % of the rows in May 2013",
        "'carrier' moved most surely: UA was 48.0 % of the rows and is 69.0 %",
    ]
    rising = data_check.draw_trend(KEPT)
    assert rising is not None and rising.title.endswith("09-01 0 stop became 1, 0 undecided became 1")


def test_nothing_to_draw_is_no_picture() -> None:
    now = first().now
    assert [draw(now) for draw in DRAWN] == [None] * 4
    assert data_check.draw_trend([now]) is None


def test_the_answers_tell_what_a_person_has_to_do() -> None:
    moods = [each.style for each in check_answers(assessed())]
    assert moods == ["fail", "undecided", "plain", "plain"]
    assert [each.style for each in check_answers(first())] == ["pass", "plain", "plain", "pass"]


def test_writing_gives_the_file(tmp_path: Path) -> None:
    path = write_check_report(first(), [first().now], tmp_path / "a" / "check.html")
    assert path.read_text(encoding="utf-8").endswith("</html>\n") or "</html>" in path.read_text(encoding="utf-8")
