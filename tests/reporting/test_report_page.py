"""The page is one file that asks for nothing, says what the story holds, and is silent about the rest."""

from __future__ import annotations

import re
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path

import pytest
from msgspec.structs import replace
from stories import RELEASED, estimate, judged, own_project, refused
from years import lived, ticket, watch, watched_only

from headway.core.evidence import Finding
from headway.reporting.charts import theme
from headway.reporting.page import render_report, write_report
from headway.reporting.report_data import MonitoringHistory, ReportData, Stage

pytestmark = pytest.mark.slow

EVERY = ("variants", "verdict", "refused", "quality", "events", "replay", "data", "run")


class Outline(HTMLParser):
    """Tags, headings, ids and outside addresses of a page."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[str] = []
        self.ids: list[str] = []
        self.addresses: list[str] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.tags.append(tag)
        for name, value in attrs:
            if name == "id":
                self.ids.append(value or "")
            if name in ("src", "href", "action", "data", "srcset", "xlink:href"):
                self.addresses.append(value or "")

    @property
    def headings(self) -> list[int]:
        return [int(tag[1]) for tag in self.tags if re.fullmatch(r"h[1-6]", tag)]


@pytest.fixture(scope="module")
def page() -> str:
    return render_report(lived())


@pytest.mark.slow
def test_the_whole_page_has_every_section_and_picture(page: str) -> None:
    ids = Outline(page).ids
    assert [name for name in EVERY if name not in ids] == []
    assert {"frontier", "reliability", "slices", "year"} <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_the_page_runs_no_script_and_asks_for_nothing(page: str) -> None:
    outline = Outline(page)
    assert not {"script", "iframe", "img", "object", "embed", "form"} & set(outline.tags)
    assert [address for address in outline.addresses if not address.startswith(("data:", "#"))] == []
    assert "default-src 'none'" in page
    assert not re.search(r"@import|url\(\s*['\"]?https?:", page)


@pytest.mark.slow
def test_headings_are_in_order(page: str) -> None:
    headings = Outline(page).headings
    assert headings.count(1) == 1
    assert headings[0] == 1
    assert all(after <= before + 1 for before, after in pairwise(headings))


@pytest.mark.slow
@pytest.mark.parametrize(
    "text",
    [
        "× 8.40 [8.23, 8.57]",
        "Scheduled times taken in UTC",
        "58,665 rows, 62 days",
        "0.076 [0.049, 0.103]",
        "column 'dep_delay' is known only after the outcome",
        "quantize needs a network",
        "sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        "Intel Xeon Platinum 8481C, 2 cores",
        "This period was looked at once",
        "99 of 100 requests took at most",
    ],
)
def test_the_page_says(page: str, text: str) -> None:
    plain = re.sub(r"[\u00a0\u202f]", " ", page).replace("&#39;", "'")
    assert text in plain


def test_a_bare_story_is_a_page_without_sections() -> None:
    outline = Outline(render_report(ReportData(title="empty")))
    assert outline.headings == [1]
    assert not {"section", "table", "svg", "dl"} & set(outline.tags)


def test_ones_own_project_is_a_page_with_what_it_has() -> None:
    page = render_report(own_project())
    assert Outline(page).ids == ["variants"]
    assert "Nothing was released" in page


def test_a_story_of_findings_and_stages_alone_is_a_page() -> None:
    finding = Finding(code="D001", severity="note", message="all is well")
    page = render_report(ReportData(title="data", findings=(finding,), stages=(Stage(name="check", seconds=0.5),)))
    assert Outline(page).ids == ["data", "run"]
    assert "all is well" in page


@pytest.mark.slow
def test_the_year_comes_first_and_a_story_without_one_shows_nothing_of_it(page: str) -> None:
    assert [each for each in Outline(page).ids if each in EVERY][:2] == ["quality", "events"]
    assert not {"quality", "events", "year"} & set(Outline(render_report(own_project())).ids)


def test_a_project_of_which_nothing_is_known_but_one_period_shows_its_moments_without_a_picture() -> None:
    page = render_report(watched_only(watch(9)))
    assert {"quality", "events"} <= set(Outline(page).ids)
    assert "svg" in Outline(page).tags
    assert "<figure" not in page


def test_a_moment_has_its_number_its_time_and_a_detail_in_smaller_type() -> None:
    page = render_report(ReportData(title="x", year=MonitoringHistory(tickets=(ticket(),))))
    assert "<b>1</b></span>" in page
    assert '<time datetime="2013-10-02">2 October 2013</time>' in page
    assert '<p class="engineer">Labeled rows grew by 132%' in page


def test_a_persons_override_is_told_with_who_when_and_why() -> None:
    winner = replace(refused().judged, verdict=replace(refused().judged.verdict, by="ada", why="a rehearsal"))
    page = render_report(
        ReportData(title="x", winner=replace(winner, evidence=replace(winner.evidence, measurements=())))
    )
    assert "A person answers for this verdict: ada, 2026-11-24T15:00:00Z: a rehearsal" in page


def test_more_looks_than_one_are_counted() -> None:
    verdict = replace(refused().judged.verdict, test_evaluations=3, rule_results=())
    bare = replace(refused().judged, verdict=verdict)
    page = render_report(ReportData(title="x", winner=replace(bare, evidence=replace(bare.evidence, measurements=()))))
    assert "looked at 3 times" in page


def test_what_comes_from_a_table_stays_text() -> None:
    bad = "<script>alert('x')</script>"
    finding = Finding(code="D001", severity="warn", message=bad, where=bad, hint=bad)
    page = render_report(ReportData(title=bad, lead=(bad,), findings=(finding,), key=bad))
    assert "<script" not in page.replace("&lt;script", "")


def test_writing_makes_the_folder_and_leaves_nothing_beside(tmp_path: Path) -> None:
    path = tmp_path / "a" / "report.html"
    write_report(ReportData(title="first"), path)
    assert write_report(ReportData(title="second"), path) == path
    assert "second" in path.read_text(encoding="utf-8")
    assert [each.name for each in path.parent.iterdir()] == ["report.html"]


def test_both_themes_have_every_colour_and_no_two_pictures_colours_are_one() -> None:
    assert theme.LIGHT.keys() == theme.DARK.keys()
    assert len(set(theme.LIGHT.values())) == len(theme.LIGHT)


def test_what_was_left_after_a_first_look_is_counted_and_named_with_its_reason() -> None:
    report = lived()
    *judged, last = report.frontier
    why = {last.variant.name: "slower in a first look: 40 us against <2> us"}
    text = render_report(replace(report, frontier=tuple(judged), left=(last,), reasons=why))
    assert "For 1 more a first look at their speed was enough" in text
    assert f"{last.variant.name}: slower in a first look: 40 us against &lt;2&gt; us" in text


def test_parts_that_were_found_and_gaps_between_people_have_tables() -> None:
    found = (
        estimate("discovered.brier.excess", 0.05, 0.01, slice="carrier=EV & hour 18-20", rows=2000),
        estimate("discovered.brier.drop", 0.002, 0.001, slice="seats missing", rows=20),
        estimate("bias.tpr", 0.7, 0.01, slice="gender=F", rows=2000),
        estimate("bias.tpr_gap", 0.03, 0.01, slice="gender=F", rows=2000),
    )
    winner = judged(RELEASED, us=20.0, loss=0.0, flips=0.0, change=0.0)
    of_winner = replace(winner, evidence=replace(winner.evidence, measurements=found))
    page = render_report(ReportData(title="own", winner=of_winner))
    assert {"discovered", "people"} <= set(Outline(page).ids)
    assert all(text in page for text in ("carrier=EV &amp; hour 18-20", "Found part: excess in Brier", "Gap in true"))
    assert "seats missing" not in page and "One more rests on fewer than 1,000 rows or 20 groups" in page
