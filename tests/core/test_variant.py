from __future__ import annotations

import math

import msgspec
import pytest

from headway.core.variant import Artifact, Field, Signature, Step, Variant

NATIVE = Variant(
    artifact=Artifact(format="lightgbm", digest="sha256:0", size_bytes=1),
    engine="native",
    signature=Signature(inputs=(Field(name="hour"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA")))),
)
CUT = Step(transform="truncate", settings={"trees": 200})


def test_the_baseline_is_the_variant_with_no_steps() -> None:
    assert NATIVE.steps == ()
    assert NATIVE.name == "native (baseline)"


def test_a_name_shows_engine_steps_and_settings() -> None:
    variant = msgspec.structs.replace(
        NATIVE,
        engine="onnxruntime",
        steps=(Step(transform="onnxruntime"), CUT, Step(transform="threads", settings={"threads": 2})),
        settings={"threads": 2},
    )
    assert variant.name == "onnxruntime · truncate(trees=200) · threads=2"


@pytest.mark.parametrize(
    "change", [{"engine": "echo"}, {"steps": (CUT,)}, {"settings": {"threads": 1}}, {"task": "regression"}]
)
def test_anything_that_changes_an_answer_changes_the_digest(change: dict[str, object]) -> None:
    assert msgspec.structs.replace(NATIVE, **change).digest != NATIVE.digest


def test_equal_variants_have_one_digest() -> None:
    assert msgspec.structs.replace(NATIVE).digest == NATIVE.digest


def test_a_signature_names_its_inputs_in_order() -> None:
    assert NATIVE.signature.names == ("hour", "carrier")


def test_a_step_makes_a_new_variant_and_leaves_the_old_one() -> None:
    cut = NATIVE.with_step(CUT)
    assert (cut.steps, NATIVE.steps) == ((CUT,), ())


def test_threads_that_the_model_came_with_are_not_part_of_its_name() -> None:
    assert msgspec.structs.replace(NATIVE, settings={"threads": 1}).name == "native (baseline)"


def test_a_form_in_the_same_engine_keeps_the_threads_and_one_in_another_does_not() -> None:
    own = msgspec.structs.replace(NATIVE, settings={"threads": 1, "precision": "f32"})
    cut = own.remade(CUT, own.artifact, engine="native")
    assert cut.settings == {"threads": 1} and cut.name == "native · truncate(trees=200) · threads=1"
    assert own.remade(CUT, own.artifact, engine="trees").settings == {}


@pytest.mark.parametrize(
    ("task", "classes", "can", "cannot", "words"),
    [
        ("binary", (), (0.0, 1.0), (2.0, 0.5, math.nan), "0 or 1"),
        ("binary", ("no", "yes"), (0.0, 1.0), (-1.0, math.inf), "0 (no) or 1 (yes)"),
        ("multiclass", ("a", "b", "c"), (0.0, 2.0), (3.0, 1.5), "0 (a) or 1 (b) or 2 (c)"),
        ("multiclass", tuple("abcdef"), (5.0,), (6.0,), "the number of its class, from 0 on"),
        ("multiclass", (), (0.0, 900.0), (-1.0,), "the number of its class, from 0 on"),
        ("regression", (), (-3.5, 7.0), (math.inf, math.nan), "a finite number"),
    ],
)
def test_a_row_has_only_the_labels_of_its_task(task, classes, can, cannot, words) -> None:
    artifact = Artifact(format="onnx", digest="sha256:0", size_bytes=1)
    variant = Variant(artifact=artifact, engine="x", signature=Signature(inputs=(), classes=classes), task=task)
    assert all(map(variant.can_have_label, can))
    assert not any(map(variant.can_have_label, cannot))
    assert variant.label_values() == words
