"""The model card: its parts, an interval or count for each figure, and the same text for the same records."""

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
    """Return the text under a heading."""
    return text.partition(f"\n## {title}\n")[2].partition("\n## ")[0]


@pytest.mark.parametrize(
    ("title", "message"),
    [
        ("Model", f"- Digest: {RELEASED.digest}"),
        ("Model", f"- Release: {STORY.release}"),
        ("Model", "- Decision threshold: 0.31 (a false positive costs 1, a false negative 3)"),
        (
            "Training and evaluation data",
            f"| train | 2013-01-01 to 2013-05-01 | 106,000 rows | {DIGESTS['train']}",
        ),
        (
            "Training and evaluation data",
            f"| test | 2013-07-01 to 2013-09-01 | 58,665 rows, 62 groups | {DIGESTS['test']}",
        ),
        ("Verdict", "these rows were evaluated once"),
        ("Model quality", "| **Calibration error (ECE)**<br>ece | "),
        ("Speed", r"262 us<br>\[257, 267\]<br>2,000 rows, 62 rounds"),
        ("Speed", "- One row takes 30.6 to 31.8 us; the baseline takes 257 to 267 us."),
        ("Performance by slice", "- No slice loses more than the policy allows"),
        ("Performance by slice", "| carrier=9E | 0.0017<br>"),
        ("Calibration", "| 10 | "),
        ("Other variants", "of 10 evaluated variants did not pass; 1 more were screened out by their speed"),
        ("Other variants", "V002"),
    ],
)
def test_the_card_has_its_parts(title: str, message: str) -> None:
    assert message in section(CARD, title)


def test_a_failed_variant_is_named_with_its_reason() -> None:
    lost = next(row for row in STORY.frontier if row.verdict.answer == "fail")
    assert re.search(rf"^- {re.escape(lost.variant.name)}: .*outside the limit", section(CARD, "Other variants"), re.M)


def test_every_measured_figure_has_an_interval_or_rows() -> None:
    body = [line for line in CARD.splitlines() if line.startswith("| ") and "---" not in line]
    numbers = [cell for line in body for cell in line.strip("| ").split(" | ") if re.match(r"-?[\dx]+[ .]\d", cell)]
    assert len(numbers) > 60
    assert [cell for cell in numbers if r"\[" not in cell and "rows" not in cell and "intervals" not in cell] == []


def test_a_card_without_release_training_or_slices() -> None:
    winner = replace(FRONTIER.winner, evidence=evidence(RELEASED, estimate("ece", 0.02, 0.01), period="test"))
    card = model_card(
        replace(STORY, release="", baseline_evidence=None),
        replace(FRONTIER, winner=winner, evaluated=FRONTIER.evaluated[:1]),
    )
    assert "- Release: not released" in card
    assert "## Performance by slice" not in card and "Everything that was measured is listed." in card
    assert "| Baseline |" not in section(card, "Model quality")


def test_slices_too_small_to_be_judged_are_counted() -> None:
    small = fact("brier.drop", 0.1, slice="carrier=HA", rows=40)
    winner = replace(FRONTIER.winner, evidence=evidence(RELEASED, small, period="test"))
    card = section(model_card(STORY, replace(FRONTIER, winner=winner)), "Performance by slice")
    assert "- 1 more slice has fewer than 1,000 rows or 20 days and cannot be judged." in card and "HA" not in card


def test_the_card_shows_an_override_a_calibrator_and_repeated_evaluations() -> None:
    verdict = replace(OVERRULED.verdict, test_evaluations=3)
    changed = replace(
        FRONTIER,
        winner=replace(FRONTIER.winner, verdict=verdict),
        baseline=replace(FRONTIER.baseline, calibrator=Calibrator(shift=0.25, n_rows=9000)),
    )
    card = model_card(STORY, changed)
    assert "passed by ada at" in card and "log-odds shifted by +0.25, from 9,000 rows" in card
    assert "**Warning:** the test set was evaluated 3 times" in card


def test_texts_of_the_project_are_escaped_in_the_card() -> None:
    card = model_card(STORY, replace(FRONTIER, name="a|b [x](http://y.z) <img>"))
    found = [
        child.type for token in MarkdownIt("commonmark").parse(card.splitlines()[0]) for child in token.children or ()
    ]
    assert set(found) <= {"text", "html_inline"}


def test_the_same_records_give_the_same_card(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("TZ", "Asia/Tokyo")
    assert model_card(STORY, FRONTIER, LEARNED) == CARD and "\r" not in CARD
