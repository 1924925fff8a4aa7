"""The record of a release."""

from __future__ import annotations

import pytest

from headway.core.release import Release, SelfTest
from headway.core.variant import Artifact, Signature, Variant
from headway.core.verdict import Verdict

ARTIFACT = Artifact(format="echo", digest="sha256:00", size_bytes=4)


@pytest.mark.parametrize(
    ("classes", "answers", "expected"),
    [
        (("no", "yes"), ((0.5,),), ("no", "yes")),
        ((), ((0.5,),), ("0", "1")),
        ((), (), ("0", "1")),
        ((), ((0.2, 0.3, 0.5),), ("0", "1", "2")),
    ],
)
def test_classes_without_names_have_their_numbers(classes, answers, expected):
    variant = Variant(artifact=ARTIFACT, engine="echo", signature=Signature(inputs=(), classes=classes))
    made = Release(
        name="flights",
        variant=variant,
        evidence=(),
        verdict=Verdict(answer="pass", subject=variant.digest),
        self_test=SelfTest(rows=((),) * len(answers), answers=answers),
    )
    assert made.class_names == expected
