"""XGBoost's files are read completely or rejected with the field.

No model passed to the library can end the process.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from typing import Any

import numpy as np
import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from tests.engines.boosters import table
from tests.engines.xgboosters import booster, ubj

from headway.core.contracts import ModelFile
from headway.core.errors import EngineError
from headway.engines.formats import ubjson
from headway.engines.formats.xgboost import is_xgboost, read_xgboost
from headway.engines.xgboost import Xgboost


def decoded() -> Any:
    """A model of three classes, with splits by number and by category, as values that a test may change."""
    return ubjson.decode_ubjson(ubj("multi:softprob", 3))


def changed(path: str, value: object) -> bytes:
    """The model with one field, or one element of an array, changed."""
    document = holder = decoded()
    *way, last = [int(part) if part.isdigit() else part for part in path.split("/")]
    for step in way:
        holder = holder[step]
    holder[last] = value
    return ubjson.encode_ubjson(document)


MODEL, TREE = "learner/gradient_booster/model", "learner/gradient_booster/model/trees/0"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("path", "value", "message"),
    [
        (f"{TREE}/split_indices/0", 4, "a split outside 4 columns"),
        (f"{TREE}/left_children/0", 10_000, "a child that does not exist"),
        (f"{TREE}/left_children/0", -2, "a child that does not exist"),
        (f"{TREE}/left_children/0", 0, "a node with two parents"),
        (f"{TREE}/left_children/0", 2, "a node with two parents"),
        (f"{TREE}/right_children/0", -1, "a node with one child"),
        (f"{TREE}/split_conditions/1", np.inf, "not finite"),
        (f"{TREE}/split_conditions", np.zeros(2, "f4"), "2 numbers, expected"),
        (f"{TREE}/split_type/0", 0, "sets of other nodes"),
        (f"{TREE}/categories/0", 2**24, "a category out of range"),
        (f"{TREE}/categories/0", -1, "a category out of range"),
        (f"{TREE}/categories_sizes/0", 0, "a set out of bounds"),
        (f"{TREE}/categories_sizes/0", 10_000, "a set out of bounds"),
        (f"{TREE}/categories_segments/0", -1, "a set out of bounds"),
        (f"{TREE}/tree_param/num_nodes", "0", "num_nodes is '0'"),
        (f"{TREE}/tree_param/num_nodes", "many", "num_nodes is 'many'"),
        (f"{TREE}/tree_param/size_leaf_vector", "3", "multi_output_tree"),
        (TREE, [], "not a mapping"),
        (f"{MODEL}/tree_info/0", 3, "a tree without an output"),
        (f"{MODEL}/tree_info", [0], "1 numbers, expected"),
        (f"{MODEL}/trees", [], "no trees"),
        (f"{MODEL}/iteration_indptr", [0, 9, 3], "cannot be divided into rounds"),
        (f"{MODEL}/weight_drop", [1.0] * 99, "weights without trees"),
        ("learner/gradient_booster/name", "gbforest", "unknown booster 'gbforest'"),
        ("learner/objective/name", "reg:magic", "unknown objective 'reg:magic'"),
        ("learner/objective/name", "binary:logistic", "with 3 outputs"),
        ("learner/objective/softmax_multiclass_param", {"num_class": "\0"}, "num_class is"),
        ("learner/learner_model_param/num_feature", "0", "num_feature is '0'"),
        ("learner/learner_model_param/num_feature", str(2**31), "num_feature is"),
        ("learner/learner_model_param/base_score", "[1,2]", "2 base scores for 3 outputs"),
        ("learner/learner_model_param/base_score", "nan", "base_score is 'nan'"),
        ("learner/feature_names", ["a"], "does not name 4 columns"),
        ("learner/feature_types", [1, 2, 3, 4], "does not name 4 columns"),
        ("learner/attributes", {"headway_missing": "none"}, "headway_missing is 'none'"),
        ("learner/attributes", {"headway_categories": '{"9": ["a"]}'}, "names a column that does not exist"),
        ("learner/attributes", {"headway_categories": "[]"}, "headway_categories"),
        ("learner/attributes", {"best_iteration": "9", "scikit_learn": "{}"}, "best iteration 9 of 3"),
        ("version", [3], "1 numbers, expected 3"),
        ("learner", None, "not a mapping"),
    ],
)
def test_an_incomplete_model_is_rejected_with_the_field(path: str, value: object, message: str) -> None:
    with pytest.raises(EngineError, match="not an XGBoost model") as refusal:
        read_xgboost(changed(path, value))
    assert message in refusal.value.what and refusal.value.hint == "booster.save_model('model.ubj')"


def test_several_targets_are_refused_by_name() -> None:
    with pytest.raises(EngineError, match="predicts 2 targets") as refusal:
        read_xgboost(changed("learner/learner_model_param/num_target", "2"))
    assert "each target" in refusal.value.hint


@pytest.mark.parametrize(
    "start", [b"binf", b"\0\0\0\x3f" + b"\0" * 132 + b"\x0f" + b"\0" * 7 + b"binary:logisticgbtree"]
)
def test_the_old_binary_format_is_rejected_with_a_hint(start: bytes) -> None:
    content = start + b"\0" * 100
    with pytest.raises(EngineError, match=r"removed in 3\.1") as refusal:
        Xgboost.import_model(ModelFile(content=content, suffix=".model"))
    assert "save_model('model.ubj')" in refusal.value.hint


@pytest.mark.parametrize(
    "content",
    [b"[" * 5000, b'{"learner":' * 100_000, b'{"learner": 1' + b"1" * 5000 + b"}", b"{"],
    ids=["lists", "mappings", "digits", "a bracket"],
)
def test_json_without_end_is_refused(content: bytes) -> None:
    with pytest.raises(EngineError, match="not an XGBoost model"):
        read_xgboost(content)


def test_only_what_begins_like_a_model_looks_like_one() -> None:
    assert is_xgboost(ubj()) and is_xgboost(bytes(booster().save_raw("json"))) and is_xgboost(b"binf")
    assert not is_xgboost(b'{"features_info": {}}') and not is_xgboost(b"") and not is_xgboost(b"tree\n")


def test_a_written_model_is_read_back_unchanged() -> None:
    model = read_xgboost(ubj("multi:softprob", 3))
    assert read_xgboost(model.content()).content() == model.content()


def test_pruned_nodes_are_left_out() -> None:
    content = ubj("reg:squarederror", tree_method="exact", gamma=5.0, categorical=False)
    before = [tree["tree_param"]["num_deleted"] for tree in trees_of(content)]
    assert any(int(part) for part in before)
    assert {tree["tree_param"]["num_deleted"] for tree in trees_of(read_xgboost(content).content())} == {"0"}


def trees_of(content: bytes) -> list[dict[str, Any]]:
    model: Any = ubjson.decode_ubjson(content)
    return list(model["learner"]["gradient_booster"]["model"]["trees"])


def test_dart_weights_are_applied_to_leaves_wherever_they_are_stored() -> None:
    """XGBoost 3.4 stores them inside the model section, older versions next to it."""
    model: Any = ubjson.decode_ubjson(ubj("reg:squarederror", booster="dart", rate_drop=0.9))
    written = model["learner"]["gradient_booster"]
    inner = written.get("gbtree", written)
    weights = {**written, **inner["model"]}["weight_drop"]
    bare = {key: value for key, value in inner["model"].items() if key != "weight_drop"}
    among = {"name": "gbtree", "model": {**bare, "weight_drop": weights}}
    sibling = {"name": "dart", "gbtree": {"name": "gbtree", "model": bare}, "weight_drop": weights}
    contents = []
    for form in (among, sibling, {"name": "gbtree", "model": bare}):
        model["learner"]["gradient_booster"] = form
        contents.append(read_xgboost(ubjson.encode_ubjson(model)).content())
    assert min(weights) < 1 and contents[0] == contents[1] != contents[2]


def test_rounds_before_xgboost_2_are_counted_by_their_trees() -> None:
    model = decoded()
    del model["learner"]["gradient_booster"]["model"]["iteration_indptr"]
    assert read_xgboost(ubjson.encode_ubjson(model)).bounds == (0, 3, 6, 9)


@pytest.mark.parametrize(("version", "names"), [([3, 4, 0], {0: ("ä", "b")}), ([3, 2, 0], {})])
def test_truncated_category_names_of_older_versions_are_ignored(version: list[int], names: object) -> None:
    model = decoded()
    texts = np.frombuffer("äb".encode(), np.int8)
    none: dict[str, object] = {"offsets": np.zeros(0, np.int32), "values": np.zeros(0, np.int8)}
    columns = [{"offsets": np.array([0, 2, 3], np.int32), "values": texts}, none, none, none]
    model["learner"]["gradient_booster"]["model"]["cats"] = {"enc": columns}
    assert read_xgboost(ubjson.encode_ubjson({**model, "version": version})).categories == names


def test_categories_that_are_numbers_are_named_by_them() -> None:
    model = decoded()
    columns = [{"type": 4, "values": np.array([10, 30], np.int64)}] + [{"type": 4, "values": []}] * 3
    model["learner"]["gradient_booster"]["model"]["cats"] = {"enc": columns}
    assert read_xgboost(ubjson.encode_ubjson(model)).categories == {0: ("10", "30")}


def numbers(value: object, way: tuple[str | int, ...] = ()) -> Iterator[tuple[str | int, ...]]:
    """The path to each leaf value of a decoded model."""
    if isinstance(value, dict | list):
        for key, item in value.items() if isinstance(value, dict) else enumerate(value):
            yield from numbers(item, (*way, key))
    else:
        yield way


HOSTILE = (0, 1, -1, 2, 7, 1000, 70_000, 2**24, 2**31 - 1, -(2**31))
TEXTS = ("", "0", "-1", "7", "1e30", "nan", "[1,2]", "gblinear", "99999999999")


def spoil(model: Any, way: tuple[str | int, ...], value: int) -> None:
    """Put a hostile value at the path, of the type that was there."""
    holder = model
    for step in way[:-1]:
        holder = holder[step]
    old = holder[way[-1]]
    if isinstance(old, np.ndarray) and old.size:
        spoiled = old.copy()
        spoiled[value % old.size] = np.array(value).astype(old.dtype)
        holder[way[-1]] = spoiled
    elif isinstance(old, str):
        holder[way[-1]] = TEXTS[value % len(TEXTS)]
    elif isinstance(old, int):
        holder[way[-1]] = value


@pytest.mark.slow
@settings(max_examples=3 * settings().max_examples, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(st.tuples(st.floats(0, 1, exclude_max=True), st.sampled_from(HOSTILE)), min_size=1, max_size=3))
def test_any_number_that_was_altered_is_refused_or_harmless_and_silent(
    capfd: pytest.CaptureFixture[str], changes: list[tuple[float, int]]
) -> None:
    model = decoded()
    ways = list(numbers(model))
    for share, value in changes:
        spoil(model, ways[int(share * len(ways))], value)
    content = ubjson.encode_ubjson(model)
    try:
        engine = Xgboost(content, {"threads": 1})
        assert len(engine.predict(table(20)[:, : read_xgboost(content).width])) == 20
        Xgboost.forest(content)
    except EngineError as refusal:
        assert refusal.what
    except ValueError as shape:  # a model of more columns than the table has, opened and never asked
        assert "shape" in str(shape)
    assert capfd.readouterr() == ("", "")


def test_json_reads_as_ubjson_does() -> None:
    for objective in ("multi:softprob", "reg:gamma"):
        text = bytes(booster(objective).save_raw("json"))
        assert json.loads(text) and read_xgboost(text).content() == read_xgboost(ubj(objective)).content()
