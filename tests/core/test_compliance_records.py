"""A compliance record lists what its points have and lack, each once."""

from __future__ import annotations

from headway.core.compliance import ComplianceRecord, Fact, Figure, Gap, Point, RecordDocument

ROWS = Figure(name="rows", value=100, source="sha256:1", pointer="/n_rows", kind="number")
OWNER = Fact(label="owner", text="ann", source="sha256:1", pointer="/owner")
REASON = Fact(label="finding", text="no groups", source="sha256:2", pointer="/message")
NO_TEST = Gap(what="no test", fact=REASON)
NO_LABELS = Gap(what="no labels")
COMPLETE = Point(id="a", section="Article 9", title="Risks", figures=(ROWS,), facts=(OWNER,))
LACKING = [
    Point(id="b", section="Article 10", title="Data", figures=(ROWS,), facts=(OWNER,), gaps=(NO_TEST,)),
    Point(id="c", section="Article 15", title="Accuracy", gaps=(NO_TEST, NO_LABELS)),
    Point(id="d", section="Article 15", title="Robustness", gaps=(NO_TEST,)),
]
RECORD = ComplianceRecord(
    name="flights",
    release="sha256:0",
    at="2026-11-28T12:00:00",
    headway="0.1.0",
    sources=(),
    documents=(
        RecordDocument(name="ai-act", title="AI Act", points=(COMPLETE, LACKING[0])),
        RecordDocument(name="gdpr", title="GDPR", points=tuple(LACKING[1:])),
    ),
)


def test_points_are_those_of_all_documents_in_order_and_some_have_gaps() -> None:
    assert RECORD.points == (COMPLETE, *LACKING)
    assert RECORD.missing == tuple(LACKING)


def test_a_gap_is_listed_once_with_the_sections_that_have_it() -> None:
    assert RECORD.gaps == {NO_TEST: ("Article 10", "Article 15"), NO_LABELS: ("Article 15",)}


def test_figures_and_facts_are_listed_once_those_of_gaps_too() -> None:
    assert (RECORD.figures, RECORD.facts) == ((ROWS,), (OWNER, REASON))
