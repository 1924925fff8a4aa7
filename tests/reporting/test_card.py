"""The model card: every part of it, no figure without interval or count, and the same text for the same records."""

from __future__ import annotations

import re

import pytest
from gate_cases import OVERRULED
from markdown_it import MarkdownIt
from msgspec.structs import replace
from stories import RELEASED, cut, estimate, evidence, fact, flights, judged

from headway.core.calibrator import Calibrator
from headway.core.evidence import Finding
from headway.core.search_result import Baseline, SearchResult
from headway.core.training import Training
from headway.reporting.card import model_card

STORY = flights()
DIGESTS = {name: f"sha256:{letter * 64}" for name, letter in zip(("train", "validation", "test"), "abc", strict=True)}
ORIGIN = STORY.frontier[0].variant
FRONTIER = SearchResult(
    name="flights",
    baseline=Baseline(model=ORIGIN, threshold=0.31, costs=(1.0, 3.0), data=DIGESTS),
    evaluated=STORY.frontier,
    winner=STORY.winner or STORY.frontier[0],
    screened_out=(judged(cut(30), us=20.0, loss=0.1, flips=0.2, change=0.5),),
    refusals=(Finding(code="V002", severity="undecided", message="quantize needs a network"),),
    at="2026-11-24T15:00:00Z",
)
LEARNED = Training(
    dataset=DIGESTS["train"],
    recipe="sha256:" + "e" * 64,
    model=ORIGIN,
    since="2013-01-01",
    until="2013-05-01",
    judged_since="2013-07-01",
    judged_until="2013-09-01",
    n_rows=106_000,
    seconds=1.0,
)
CARD = model_card(STORY, FRONTIER, LEARNED)


def section(text: str, title: str) -> str:
    """What stands under a heading."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("What it is", f"- Variant: {RELEASED.digest}"),
        ("What it is", f"- Release: {STORY.release}"),
        ("What it is", "- Says yes: from 0.31 up (a false alarm costs 1, a miss 3)"),
        (
            "What it learned from and was judged on",
            f"| train | 2013-01-01 to 2013-05-01 | 106,000 rows | {DIGESTS['train']}",
        ),
        (
            "What it learned from and was judged on",
            f"| test | 2013-07-01 to 2013-09-01 | 58,665 rows, 62 groups | {DIGESTS['test']}",
        ),
        ("Verdict", "these rows were looked at once"),
        ("How good it is", "| **Calibration error (ECE)**<br>ece | "),
        ("How fast it answers", r"262 us<br>\[257, 267\]<br>2,000 rows, 62 rounds"),
        ("How fast it answers", "- One row is answered in 30.6 to 31.8 us; the model as it came takes 257 to 267 us."),
        ("Part by part", "- None of these parts is harmed by more than the policy allows"),
        ("Part by part", "| carrier=9E | 0.0017<br>"),
        ("Whether what is said is what happens", "| 10 | "),
        ("What was refused", "of 10 variants that were judged did not pass; 1 more were left after a first look"),
        ("What was refused", "V002"),
    ],
)
def test_a_part_of_the_card_says(title: str, message: str) -> None:
    assert message in section(CARD, title)


def test_a_refused_variant_is_named_with_the_judges_sentence() -> None:
    lost = next(row for row in STORY.frontier if row.verdict.answer == "fail")
    assert re.search(
        rf"^- {re.escape(lost.variant.name)}: .*outside the limit", section(CARD, "What was refused"), re.M
    )


def test_no_measured_figure_stands_without_its_interval_or_its_rows() -> None:
    body = [line for line in CARD.splitlines() if line.startswith("| ") and "---" not in line]
    numbers = [cell for line in body for cell in line.strip("| ").split(" | ") if re.match(r"-?[\dx]+[ .]\d", cell)]
    assert len(numbers) > 60
    assert [cell for cell in numbers if r"\[" not in cell and "rows" not in cell and "intervals" not in cell] == []


def test_a_card_without_release_training_or_slices_says_what_is_not_known() -> None:
    winner = replace(FRONTIER.winner, evidence=evidence(RELEASED, estimate("ece", 0.02, 0.01), period="test"))
    told = model_card(
        replace(STORY, release="", as_it_came=None), replace(FRONTIER, winner=winner, evaluated=FRONTIER.evaluated[:1])
    )
    assert "- Release: none: it is not released" in told
    assert "## Part by part" not in told and "what is not written here was not measured" in told
    assert "| As it came |" not in section(told, "How good it is")


def test_slices_too_small_to_be_judged_are_counted() -> None:
    small = fact("brier.drop", 0.1, slice="carrier=HA", rows=40)
    winner = replace(FRONTIER.winner, evidence=evidence(RELEASED, small, period="test"))
    told = section(model_card(STORY, replace(FRONTIER, winner=winner)), "Part by part")
    assert "- One more rests on fewer than 1,000 rows or 20 days, and cannot be judged." in told and "HA" not in told


def test_an_override_a_calibrator_and_looks_are_told() -> None:
    verdict = replace(OVERRULED.verdict, test_evaluations=3)
    changed = replace(
        FRONTIER,
        winner=replace(FRONTIER.winner, verdict=verdict),
        baseline=replace(FRONTIER.baseline, calibrator=Calibrator(shift=0.25, n_rows=9000)),
    )
    told = model_card(STORY, changed)
    assert "passed by ada at" in told and "log-odds shifted by +0.25, from 9,000 rows" in told
    assert "**Warning:** the test set was judged on 3 times" in told


def test_a_text_of_the_project_is_no_mark_in_the_card() -> None:
    told = model_card(STORY, replace(FRONTIER, name="a|b [x](http://y.z) <img>"))
    found = [
        each.type for token in MarkdownIt("commonmark").parse(told.splitlines()[0]) for each in token.children or ()
    ]
    assert set(found) <= {"text", "html_inline"}


def test_the_same_records_give_the_same_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert model_card(STORY, FRONTIER, LEARNED) == CARD and "\r" not in CARD
