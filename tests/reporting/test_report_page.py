"""The page is one file that loads nothing and shows what the report data hold."""

from __future__ import annotations

import re
import subprocess
import sys
from html.parser import HTMLParser
from itertools import pairwise
from pathlib import Path
from xml.etree import ElementTree

import pytest
from msgspec.structs import replace
from stories import RELEASED, estimate, judged, own_project, refused
from tests.house.source_tree import ROOT
from years import lived, ticket, watch, watched_only

from headway.core.evidence import Finding
from headway.reporting import colours
from headway.reporting.page import render_report, write_report
from headway.reporting.report_data import MonitoringHistory, ReportData, Stage

pytestmark = pytest.mark.slow

PARTS = ("variants", "verdict", "refused", "quality", "events", "replay", "data", "run")


class Outline(HTMLParser):
    """Tags, headings, ids and external addresses of a page."""

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
def test_a_complete_page_has_every_section_and_chart(page: str) -> None:
    ids = Outline(page).ids
    assert [name for name in PARTS if name not in ids] == []
    assert {"frontier", "reliability", "slices", "year"} <= set(ids)
    assert len(ids) == len(set(ids))


@pytest.mark.slow
def test_the_page_runs_no_script_and_loads_nothing(page: str) -> None:
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
        "The test set was evaluated once",
        "99th percentile of the request time",
    ],
)
def test_the_page_contains(page: str, text: str) -> None:
    plain = re.sub(r"[\u00a0\u202f]", " ", page).replace("&#39;", "'")
    assert text in plain


def test_empty_report_data_give_a_page_without_sections() -> None:
    outline = Outline(render_report(ReportData(title="empty")))
    assert outline.headings == [1]
    assert not {"section", "table", "svg", "dl"} & set(outline.tags)


def test_a_small_project_has_only_its_parts() -> None:
    page = render_report(own_project())
    assert Outline(page).ids == ["variants"]
    assert "Nothing was released" in page


def test_a_page_needs_only_findings_and_stages() -> None:
    finding = Finding(code="D001", severity="note", message="all is well")
    page = render_report(ReportData(title="data", findings=(finding,), stages=(Stage(name="check", seconds=0.5),)))
    assert Outline(page).ids == ["data", "run"]
    assert "all is well" in page


@pytest.mark.slow
def test_monitoring_comes_first_and_is_absent_without_a_history(page: str) -> None:
    assert [name for name in Outline(page).ids if name in PARTS][:2] == ["quality", "events"]
    assert not {"quality", "events", "year"} & set(Outline(render_report(own_project())).ids)


def test_one_monitored_period_shows_its_events_without_a_chart() -> None:
    page = render_report(watched_only(watch(9)))
    assert {"quality", "events"} <= set(Outline(page).ids)
    assert "svg" in Outline(page).tags
    assert "<figure" not in page


def test_an_event_has_its_number_its_time_and_a_detail() -> None:
    page = render_report(ReportData(title="x", year=MonitoringHistory(tickets=(ticket(),))))
    assert "<b>1</b></span>" in page
    assert '<time datetime="2013-10-02">2 October 2013</time>' in page
    assert '<p class="engineer">Labeled rows grew by 132%' in page


def test_an_override_shows_who_when_and_why() -> None:
    winner = replace(refused().judged, verdict=replace(refused().judged.verdict, by="ada", why="a rehearsal"))
    page = render_report(
        ReportData(title="x", winner=replace(winner, evidence=replace(winner.evidence, measurements=())))
    )
    assert "Released by an override of ada on 2026-11-24 15:00 UTC, against the policy: a rehearsal" in page


def test_repeated_evaluations_are_counted() -> None:
    verdict = replace(refused().judged.verdict, test_evaluations=3, rule_results=())
    bare = replace(refused().judged, verdict=verdict)
    page = render_report(ReportData(title="x", winner=replace(bare, evidence=replace(bare.evidence, measurements=()))))
    assert "evaluated 3 times" in page


def test_texts_from_a_table_are_escaped() -> None:
    bad = "<script>alert('x')</script>"
    finding = Finding(code="D001", severity="warn", message=bad, where=bad, hint=bad)
    page = render_report(ReportData(title=bad, lead=(bad,), findings=(finding,), key=bad))
    assert "<script" not in page.replace("&lt;script", "")


def test_writing_makes_the_folder_and_leaves_no_other_file(tmp_path: Path) -> None:
    path = tmp_path / "a" / "report.html"
    write_report(ReportData(title="first"), path)
    assert write_report(ReportData(title="second"), path) == path
    assert "second" in path.read_text(encoding="utf-8")
    assert [file.name for file in path.parent.iterdir()] == ["report.html"]


def test_both_themes_have_the_same_colours_and_no_colour_twice() -> None:
    assert colours.LIGHT.keys() == colours.DARK.keys()
    assert len(set(colours.LIGHT.values())) == len(colours.LIGHT)


def test_screened_out_variants_are_counted_and_listed_with_their_reason() -> None:
    report = lived()
    *judged, last = report.frontier
    why = {last.variant.name: "slower in a first look: 40 us against <2> us"}
    text = render_report(replace(report, frontier=tuple(judged), screened_out=(last,), reasons=why))
    assert "1 more were only timed" in text
    assert f"{last.variant.name}: slower in a first look: 40 us against &lt;2&gt; us" in text


def test_discovered_slices_and_fairness_gaps_have_tables() -> None:
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
    assert all(
        text in page for text in ("carrier=EV &amp; hour 18-20", "Discovered slice: excess in Brier", "Gap in the true")
    )
    assert "seats missing" not in page and "1 more slice has fewer than 1,000 rows or 20 groups" in page


def test_the_picture_of_the_readme_is_taken_from_a_page(page: str, tmp_path: Path) -> None:
    report, picture = tmp_path / "report.html", tmp_path / "frontier.svg"
    report.write_text(page, encoding="utf-8")
    subprocess.run([sys.executable, ROOT / "tools/picture.py", report, picture], check=True)
    svg = ElementTree.parse(picture).getroot()
    assert svg.tag == "{http://www.w3.org/2000/svg}svg" and "released" in svg.attrib["aria-label"]
