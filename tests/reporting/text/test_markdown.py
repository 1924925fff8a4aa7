"""Texts and tables in Markdown are shown as they are written, whatever they hold."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st
from markdown_it import MarkdownIt

from headway.reporting.text.formatting import one_line
from headway.reporting.text.markdown import escape_markdown, markdown_table
from headway.reporting.text.tables import Column, Line, Table

READER = MarkdownIt("commonmark").enable(["table", "strikethrough"])
MARKED = st.text(alphabet=list("ab1 \\`*_{}[]()<>#+-.!|~$@:/&;=\n"), max_size=20) | st.text(max_size=20)


def read(markdown: str) -> str:
    """The text that a reader sees of one cell or paragraph."""
    inline = [child for token in READER.parse(markdown) for child in token.children or ()]
    assert {child.type for child in inline} <= {"text", "html_inline"}, inline
    return "".join(child.content for child in inline if child.content not in ("<!-- -->", "<br>"))


@given(MARKED)
def test_a_paragraph_reads_as_the_text_that_was_escaped(text: str) -> None:
    assert [token.type for token in READER.parse(escape_markdown(text))][:1] in ([], ["paragraph_open"])
    assert read(escape_markdown(text)) == one_line(text)


@pytest.mark.slow
@given(st.lists(st.tuples(MARKED, MARKED), min_size=1, max_size=3))
def test_a_table_has_a_cell_a_text(rows: list[tuple[str, str]]) -> None:
    table = Table(
        columns=(Column(title="a|b"), Column(title="")),
        rows=tuple(tuple((Line(text=text),) for text in row) for row in rows),
    )
    cells = [token for token in READER.parse(markdown_table(table)) if token.type == "inline"][2:]
    assert [read(cell.content) for cell in cells] == [one_line(text) for row in rows for text in row]


def test_the_lines_of_a_cell_and_the_notes_of_a_sheet_are_in_its_row() -> None:
    cell = (Line(text="Loss in AUC", style="strong"), Line(text=""), Line(text="roc_auc.drop", style="quiet"))
    table = Table(columns=(Column(title="Rule"),), rows=((cell,), ((Line(text="ece"),),)), notes=("", "too slow"))
    assert markdown_table(table) == (
        "| Rule | Why it lost |\n| --- | --- |\n| **Loss in AUC**<br>roc_auc.drop |  |\n| ece | too slow |\n"
    )


@pytest.mark.parametrize(
    ("text", "written"),
    [
        ("@ada asked", "@<!-- -->ada asked"),
        ("see #12 and !7", "see #<!-- -->12 and !<!-- -->7"),
        ("http://x.y www.x.y", "http:<!-- -->//x.y www<!-- -->.x.y"),
        (":tada:", ":<!-- -->tada:"),
        ("$x$", r"\$x\$"),
    ],
)
def test_mentions_links_and_emojis_are_escaped(text: str, written: str) -> None:
    assert escape_markdown(text) == written


@given(st.text())
def test_a_line_has_no_control_or_bidirectional_characters(text: str) -> None:
    line = one_line(text)
    assert line.isprintable() or all(ord(letter) > 0xA0 for letter in line if not letter.isprintable())
    assert not {*line} & {*"\x00\x1b\x9b\r\n\u2028\u202e\u2066"}
    assert one_line(line) == line
