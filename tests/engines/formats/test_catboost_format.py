"""CatBoost's binary models are read completely or rejected with the reason; no accepted model can end the process."""

from __future__ import annotations

import json
import struct

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.boosters import table
from tests.engines.catboosters import category_cbm, cbm

from headway.core.errors import EngineError
from headway.engines.catboost import Catboost
from headway.engines.formats.catboost import is_catboost, read_catboost
from headway.engines.formats.flatbuffer import FlatTable, root_table


def core(content: bytes) -> FlatTable:
    return root_table(content[8 : 8 + int.from_bytes(content[4:8], "little")])


def spoiled(field: int, index: int, value: int | float, content: bytes) -> bytes:
    """The model with one number changed in a vector of its trees, by its field in the schema."""
    kind = {8: "<d", 16: "<d", 10: "<H", 11: "<I"}.get(field, "<i")
    trees = core(content).table(1)
    assert trees is not None
    start = 8 + trees._vector(trees._find(field))[0] + index * struct.calcsize(kind)
    return content[:start] + struct.pack(kind, value) + content[start + struct.calcsize(kind) :]


SPLITS, SIZES, STARTS, LEAVES, STEPS, ENDS, BIAS = 1, 2, 3, 8, 10, 11, 16


@pytest.mark.parametrize(
    ("field", "index", "value", "message"),
    [
        (SPLITS, 0, 10_000, "a split that does not exist"),
        (SPLITS, 0, -1, "a split that does not exist"),
        (SIZES, 0, 2, "splits without a tree"),
        (SIZES, 0, -1, "splits without a tree"),
        (STARTS, 1, 0, "trees that overlap"),
        (LEAVES, 0, np.nan, "not a number for each output"),
        (BIAS, 0, np.inf, "the bias"),
    ],
)
def test_an_incomplete_model_is_rejected_with_the_reason(field: int, index: int, value: float, message: str) -> None:
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(spoiled(field, index, value, cbm()))
    assert message in refusal.value.what and refusal.value.hint == "model.save_model('model.cbm')"


@pytest.mark.parametrize(
    ("field", "index", "value", "message"),
    [
        (STEPS, 0, 60_000, "a step out of the tree"),
        (STEPS, 0, 2, "nodes that do not form trees"),
        (STEPS, 1, 0, "nodes that do not form trees"),
        (ENDS, -1, 3_000_000, "a leaf that does not exist"),
        (ENDS, -1, 1, "a leaf between two leaves"),
        (SIZES, 0, 0, "splits without a tree"),
    ],
)
def test_steps_that_do_not_form_trees_are_rejected(field: int, index: int, value: int, message: str) -> None:
    content = cbm("MultiClass", grow_policy="Lossguide")
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(spoiled(field, index % len(read_catboost(content).end) if index < 0 else index, value, content))
    assert message in refusal.value.what


@pytest.mark.parametrize(
    ("content", "message"),
    [
        (b"", "do not start with 'CBM1'"),
        (b"CBM1", "truncated"),
        (b"CBM1\x08\0\0\0" + b"\0" * 8, "byte"),
        (b"CBM1\xff\xff\xff\xff" + b"\0" * 8, "truncated"),
    ],
)
def test_other_bytes_are_rejected(content: bytes, message: str) -> None:
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(content)
    assert message in refusal.value.what


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        (b"FlabuffersModel_v1", b"FlabuffersModel_v9", "unknown form"),
        (b'{"classes_count"', b'["classes_count"', "delimiter"),
        (b'{"classes_count"', b"[" * 16, "Expecting value"),
    ],
)
def test_strings_that_the_library_cannot_parse_are_rejected(old: bytes, new: bytes, message: str) -> None:
    with pytest.raises(EngineError, match="not a CatBoost model") as refusal:
        read_catboost(cbm().replace(old, new))
    assert message in refusal.value.what


def test_an_unknown_loss_is_rejected_when_the_model_is_opened() -> None:
    with pytest.raises(EngineError, match="cannot open the model") as refusal:
        Catboost(cbm().replace(b'"Logloss"', b'"Lagloss"'), {})
    assert "upgrade catboost" in refusal.value.hint


def test_a_model_is_recognized_by_its_first_bytes() -> None:
    assert is_catboost(cbm()) and not is_catboost(b"CBM") and not is_catboost(b"tree\n")


def test_borders_and_leaves_equal_those_of_the_library(tmp_path) -> None:
    from_json = tmp_path / "model.json"
    Catboost(cbm("RMSE"), {})._model.save_model(str(from_json), format="json")
    exported = json.loads(from_json.read_text())
    model = read_catboost(cbm("RMSE"))
    borders = [split["border"] for tree in exported["oblivious_trees"] for split in tree["splits"]]
    assert np.array_equal(model.border, np.array(borders, np.float32).astype(np.float64))
    assert np.allclose(model.leaf[:, 0], [leaf for tree in exported["oblivious_trees"] for leaf in tree["leaf_values"]])
    assert np.allclose([model.scale, *model.bias], [exported["scale_and_bias"][0], *exported["scale_and_bias"][1]])


HOSTILE = (0, 1, -1, 2, 7, 255, 1000, 70_000, 2**31 - 1, -(2**31))


@pytest.mark.slow
@pytest.mark.parametrize("policy", ["SymmetricTree", "Lossguide", "categories"])
@settings(max_examples=4 * settings().max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(HOSTILE)), min_size=1, max_size=2))
def test_any_altered_number_is_rejected_or_harmless_and_silent(
    policy: str, capfd: pytest.CaptureFixture[str], changes: list[tuple[float, int]]
) -> None:
    content = category_cbm() if policy == "categories" else cbm("MultiClass", grow_policy=policy)
    for index, value in changes:
        at = int(index * (len(content) - 4))
        content = content[:at] + struct.pack("<i", value) + content[at + 4 :]
    try:
        engine = Catboost(content, {"threads": 1})
        assert len(engine.predict(np.zeros((3, read_catboost(content).width)))) == 3
        if policy != "categories":
            Catboost.forest(content)
    except EngineError as refusal:
        assert refusal.what and refusal.hint
    assert capfd.readouterr() == ("", "")


def test_a_truncated_model_is_rejected() -> None:
    for policy in ("SymmetricTree", "Depthwise"):
        content = cbm(grow_policy=policy)
        for size in (0, 3, 7, 11, 12, 100, len(content) // 2, len(content) - 1):
            with pytest.raises(EngineError):
                Catboost(content[:size], {})
    assert Catboost(cbm(), {}).predict(table()).shape == (400, 1)


def buffer() -> bytes:
    """Return a table of four fields: 7, absent, the string "hi", and the vector [1, 2, 3]."""
    vtable = struct.pack("<6H", 12, 16, 4, 0, 8, 12)
    table = struct.pack("<iiII", 12, 7, 8, 14)
    text = struct.pack("<I", 2) + b"hi" + b"\0\0"
    vector = struct.pack("<I3i", 3, 1, 2, 3)
    return struct.pack("<I", 16) + vtable + table + text + b"\0\0" + vector


def test_each_field_of_a_flatbuffer_is_found() -> None:
    table = root_table(buffer())
    assert (table.integer(0, "<i", 0), table.string(2), table.array(3, np.int32).tolist()) == (7, "hi", [1, 2, 3])


def test_an_absent_field_returns_the_default() -> None:
    table = root_table(buffer())
    for field in (1, 9):
        assert (table.integer(field, "<i", 5), table.number(field, "<d", 0.5), table.string(field)) == (5, 0.5, "")
        assert table.table(field) is None and table.tables(field) == [] and len(table.array(field, np.int32)) == 0


@pytest.mark.parametrize(
    "ask",
    [
        lambda table: table.array(3, np.float64),
        lambda table: table.array(3, np.int32, 2),
        lambda table: table.table(0).string(0),
    ],
    ids=["wider numbers", "more numbers", "no table"],
)
def test_a_field_outside_the_bytes_is_rejected_with_its_position(ask) -> None:
    with pytest.raises(ValueError, match="byte "):
        ask(root_table(buffer()))


@given(st.binary(max_size=80))
def test_any_bytes_of_a_flatbuffer_are_read_or_rejected(content: bytes) -> None:
    reads = (
        lambda table: table.integer(0, "<i", 0),
        lambda table: table.string(1),
        lambda table: table.array(2, np.float64),
        lambda table: [child.string(0) for child in table.tables(3)],
    )
    for ask in reads:
        try:
            ask(root_table(content))
        except ValueError as refusal:
            assert str(refusal)
