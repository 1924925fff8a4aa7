"""CatBoost's binary models are read whole or refused with the reason, and none that is read ends the process."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.boosters import table
from tests.engines.catboosters import cbm

from headway.core.errors import EngineError
from headway.engines.catboost import Catboost
from headway.engines.formats.catboost import Table, is_catboost, read_catboost, root_table


def core(content: bytes) -> Table:
    return root_table(content[8 : 8 + int.from_bytes(content[4:8], "little")])


def spoiled(field: int, place: int, value: int | float, content: bytes) -> bytes:
    """The model with one number changed in a vector of its trees, by its field in the schema."""
    kind = {8: "<d", 16: "<d", 10: "<H", 11: "<I"}.get(field, "<i")
    trees = core(content).table(1)
    assert trees is not None
    start = 8 + trees._vector(trees._at(field))[0] + place * struct.calcsize(kind)
    return content[:start] + struct.pack(kind, value) + content[start + struct.calcsize(kind) :]


SPLITS, SIZES, STARTS, LEAVES, STEPS, ENDS, BIAS = 1, 2, 3, 8, 10, 11, 16


@pytest.mark.parametrize(
    ("field", "place", "value", "message"),
    [
        (SPLITS, 0, 10_000, "a split that is not there"),
        (SPLITS, 0, -1, "a split that is not there"),
        (SIZES, 0, 2, "splits of no tree"),
        (SIZES, 0, -1, "splits of no tree"),
        (STARTS, 1, 0, "trees that overlap"),
        (LEAVES, 0, np.nan, "not a number for each output"),
        (BIAS, 0, np.inf, "the bias"),
    ],
)
def test_what_is_not_whole_is_refused_with_the_reason(field: int, place: int, value: float, message: str) -> None:
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(spoiled(field, place, value, cbm()))
    assert message in refusal.value.what and refusal.value.hint == "model.save_model('model.cbm')"


@pytest.mark.parametrize(
    ("field", "place", "value", "message"),
    [
        (STEPS, 0, 60_000, "a step out of the tree"),
        (STEPS, 0, 2, "nodes that do not make trees"),
        (STEPS, 1, 0, "nodes that do not make trees"),
        (ENDS, -1, 3_000_000, "a leaf that is not there"),
        (ENDS, -1, 1, "a leaf between the leaves"),
        (SIZES, 0, 0, "splits of no tree"),
    ],
)
def test_steps_that_make_no_trees_are_refused(field: int, place: int, value: int, message: str) -> None:
    content = cbm("MultiClass", grow_policy="Lossguide")
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(spoiled(field, place % len(read_catboost(content).end) if place < 0 else place, value, content))
    assert message in refusal.value.what


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "do not begin with 'CBM1'"),
        (b"CBM1", "cut short"),
        (b"CBM1\x08\0\0\0" + b"\0" * 8, "byte"),
        (b"CBM1\xff\xff\xff\xff" + b"\0" * 8, "cut short"),
    ],
)
def test_bytes_that_are_no_model_are_refused(content: bytes, message: str) -> None:
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(content)
    assert message in refusal.value.what


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"FlabuffersModel_v1", b"FlabuffersModel_v9", "is unknown"),
        (b'{"classes_count"', b'["classes_count"', "delimiter"),
        (b'{"classes_count"', b"[" * 16, "Expecting value"),
    ],
)
def test_texts_that_are_not_what_the_library_reads_are_refused(old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(cbm().replace(old, new))
    assert message in refusal.value.what


def test_a_loss_that_the_library_does_not_know_is_refused_when_it_is_opened() -> None:
    with pytest.raises(EngineError, match="cannot open the model") as refusal:
        Catboost(cbm().replace(b'"Logloss"', b'"Lagloss"'), {})
    assert "upgrade catboost" in refusal.value.hint


def test_only_what_begins_like_a_model_looks_like_one() -> None:
    assert is_catboost(cbm()) and not is_catboost(b"CBM") and not is_catboost(b"tree\n")


def test_the_borders_and_leaves_are_those_that_the_library_tells(tmp_path) -> None:
    from_json = tmp_path / "model.json"
    Catboost(cbm("RMSE"), {})._model.save_model(str(from_json), format="json")
    told = json.loads(from_json.read_text())
    model = read_catboost(cbm("RMSE"))
    borders = [split["border"] for tree in told["oblivious_trees"] for split in tree["splits"]]
    assert np.array_equal(model.border, np.array(borders, np.float32).astype(np.float64))
    assert np.allclose(model.leaf[:, 0], [leaf for tree in told["oblivious_trees"] for leaf in tree["leaf_values"]])
    assert np.allclose([model.scale, *model.bias], [told["scale_and_bias"][0], *told["scale_and_bias"][1]])


HOSTILE = (0, 1, -1, 2, 7, 255, 1000, 70_000, 2**31 - 1, -(2**31))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide"])
@settings(max_examples=400, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(HOSTILE)), min_size=1, max_size=2))
def test_any_number_that_was_altered_is_refused_or_harmless_and_silent(
    policy: str, capfd: pytest.CaptureFixture[str], changes: list[tuple[float, int]]
) -> None:
    content = cbm("MultiClass", grow_policy=policy)
    for place, value in changes:
        at = int(place * (len(content) - 4))
        content = content[:at] + struct.pack("<i", value) + content[at + 4 :]
    try:
        engine = Catboost(content, {"threads": 1})
        assert len(engine.predict(np.zeros((3, read_catboost(content).width)))) == 3
        Catboost.forest(content)
    except EngineError as refusal:
        assert refusal.what and refusal.hint
    assert capfd.readouterr() == ("", "")


def test_half_of_any_model_is_refused() -> None:
    for policy in ("SymmetricTree", "Depthwise"):
        content = cbm(grow_policy=policy)
        for size in (0, 3, 7, 11, 12, 100, len(content) // 2, len(content) - 1):
            with pytest.raises(EngineError):
                Catboost(content[:size], {})
    assert Catboost(cbm(), {}).predict(table()).shape == (400, 1)
