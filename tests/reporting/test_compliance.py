"""The record for people: each number on the page has its source, what is missing comes first, the PDF repeats."""

from __future__ import annotations

import json
import re
from html.parser import HTMLParser

import pytest
from tests.security.record.recorded import DECLARED, recorded_project, write

from headway.reporting.compliance import read_record, render_html
from headway.security.record.sources import value_at


class Numbers(HTMLParser):
    """The traced numbers of a page, and the digits outside of them in the header and the main part."""

    NAMED = ("code", "cite", "time", "q", "data", "style", "title")

    def __init__(self) -> None:
        super().__init__()
        self.open: list[str] = []
        self.traced: list[tuple[str, str, str]] = []
        self.stray: list[str] = []

    def handle_starttag(self, tag, attributes):
        if tag not in ("meta", "link"):
            self.open.append(tag)
        values = dict(attributes)
        if tag in ("data", "q"):
            self.traced.append((values.get("value", ""), values["data-source"], values["data-pointer"]))

    def handle_endtag(self, tag):
        while self.open.pop() != tag:
            pass

    def handle_data(self, data):
        if re.search(r"\d", data) and not set(self.open) & set(self.NAMED) and {"main", "header"} & set(self.open):
            self.stray.append(data)


@pytest.fixture
def page(tmp_path):
    """A project and the folder of its record."""
    project = recorded_project(tmp_path / "project", declared=DECLARED)
    write(project, tmp_path / "record")
    yield project, tmp_path / "record"
    project.state.close()


def test_every_number_of_the_page_is_traced_to_its_source(page):
    _, folder = page
    sources = {}
    for listed in json.loads((folder / "record.json").read_text())["record"]["sources"]:
        sources[listed["digest"]] = json.loads((folder / listed["file"]).read_text())
    found = Numbers()
    found.feed((folder / "record.html").read_text())

    assert found.stray == []
    numbers = [one for one in found.traced if one[0]]
    assert len(numbers) > 50
    for value, source, pointer in numbers:
        at, _, length = pointer.partition("#")
        there = value_at(sources[source], at)
        assert float(value) == (len(there) if length else there)


def test_what_is_missing_comes_first(page):
    project, _ = page
    found, _ = read_record(project)
    headings = re.findall(r'<h2 id="([^"]+)"', render_html(found))

    assert headings == ["missing", "cards", "ai-act", "nist-ai-rmf", "gdpr", "sources"]


def test_the_pdf_repeats_byte_for_byte(page, tmp_path):
    project, _ = page
    write(project, tmp_path / "one", pdf=True)
    write(project, tmp_path / "two", pdf=True)

    pdf = (tmp_path / "one/record.pdf").read_bytes()
    assert pdf.startswith(b"%PDF-") and pdf == (tmp_path / "two/record.pdf").read_bytes()


def test_a_text_of_a_project_is_markup_neither_in_html_nor_in_pdf(tmp_path):
    hostile = 'purpose = "<script>alert(1)</script> #panic() $x$"'
    project = recorded_project(tmp_path / "project", declared=f"[record]\nlegal_hold = '<b>case</b>'\n{hostile}\n")
    write(project, tmp_path / "record", pdf=True)
    project.state.close()
    text = (tmp_path / "record/record.html").read_text()

    assert "<script>" not in text and "&lt;script&gt;" in text and "<b>case</b>" not in text
