"""What a person did with the label of a row, and the agreement of annotators."""

from __future__ import annotations

import pytest

from headway.core.evidence import Measurement
from headway.core.labeling import Agreement, Confirmation, Correction, Labeling, describe_review

REVIEW = {"row": "sha256:0", "row_number": 1_200, "who": "ann", "why": "asked", "at": "2026-11-28"}


@pytest.mark.parametrize(
    ("review", "message"),
    [
        (Correction(old=1.0, new=0.0, **REVIEW), "row 1,200: label 1 corrected to 0 by ann"),
        (Correction(old=None, new=2.0, **REVIEW), "row 1,200: label no label corrected to 2 by ann"),
        (Confirmation(label=1.0, **REVIEW), "row 1,200: the label 1 confirmed by ann"),
        (Confirmation(label=None, **REVIEW), "row 1,200: no label confirmed by ann"),
    ],
)
def test_a_review_is_described_with_the_label_and_the_person(review: Correction | Confirmation, message: str) -> None:
    assert describe_review(review) == message


def test_the_agreement_of_all_annotators_is_found_and_not_that_of_one_of_them() -> None:
    of_all, of_ann = (
        Measurement(name="agreement", slice=part, value=0.5, low=0.4, high=0.6, method="m", n_rows=9)
        for part in ("", "annotator=ann")
    )
    found = Agreement(name="m", source="labels", annotators=("ann", "bob"), measurements=(of_ann, of_all))
    assert found.find("agreement") is of_all and found.find("alpha") is None


def test_without_measured_labels_neither_agreement_nor_delays_are_known() -> None:
    assert (Labeling().agreement(), Labeling().delays()) == (None, None)
