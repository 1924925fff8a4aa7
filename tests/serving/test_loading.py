"""A release is loaded only if it passes its self-test."""

from __future__ import annotations

import pytest
from msgspec.structs import replace
from running import NUMBERS, bundle, loaded, release

from headway.core.errors import EngineError, Refused
from headway.core.release import SelfTest
from headway.serving.loading import load_model


def test_a_release_that_passes_its_self_test_is_loaded():
    found = loaded(test=SelfTest(rows=((1.0, 2.0, 6.0), (4.0, 4.0, None)), answers=((3.0,), (None,))))
    assert (found.name, found.threshold) == ("flights", 0.25)
    assert found.digest.startswith(f"sha256:{int(found.version):012x}")


def test_an_answer_within_the_tolerance_passes():
    assert loaded(test=SelfTest(rows=((1.0, 2.0, 6.0),), answers=((3.001,),), tolerance=0.01)).name == "flights"


@pytest.mark.parametrize(
    ("answers", "message"),
    [
        (((3.1,),), "off by up to 0.1, more than 1e-06"),
        (((None,),), "off by up to inf"),
        (((3.0, 3.0),), "off by up to inf"),
        (((3.0,), (3.0,)), "off by up to inf"),
    ],
)
def test_a_different_answer_is_refused_with_the_deviation(answers, message):
    with pytest.raises(Refused) as error:
        loaded(test=SelfTest(rows=((1.0, 2.0, 6.0),), answers=answers))
    assert message in error.value.what and error.value.where.startswith("flights sha256:")


def test_a_release_without_a_self_test_is_refused():
    with pytest.raises(Refused, match="has no self-test"):
        loaded(test=SelfTest(rows=(), answers=()))


def test_a_file_that_the_engine_cannot_open_is_not_loaded():
    with pytest.raises(EngineError, match="not an echo model"):
        load_model(bundle(release(), b"other"))


@pytest.mark.parametrize(
    ("task", "classes", "expected"),
    [
        ("binary", (), ("0", "1")),
        ("multiclass", (), ("0", "1")),
        ("multiclass", ("a", "b"), ("a", "b")),
        ("multilabel", ("a", "b"), ()),
        ("regression", (), ()),
    ],
)
def test_a_classifier_has_names_for_its_answers_and_another_model_has_none(task, classes, expected):
    made = release(signature=replace(NUMBERS, classes=classes))
    assert load_model(bundle(replace(made, variant=replace(made.variant, task=task)))).answers == expected
