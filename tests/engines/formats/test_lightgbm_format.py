"""The reader of LightGBM's text: complete models pass unchanged, anything that could end the process is rejected."""

from __future__ import annotations

import lightgbm
import numpy as np
import pytest
from tests.engines.boosters import OBJECTIVES, booster, table, text

from headway.core.errors import EngineError
from headway.engines.formats.lightgbm import read_lightgbm

FOREST = {"boosting": "rf", "bagging_freq": 1, "bagging_fraction": 0.5}


@pytest.mark.slow
@pytest.mark.parametrize("objective", OBJECTIVES)
def test_a_rewritten_model_predicts_the_same(objective: str) -> None:
    model = read_lightgbm(text(objective).encode())
    expected = booster(objective).predict(table())
    for written in (model.text(), model.prediction_text()):
        assert np.array_equal(lightgbm.Booster(model_str=written).predict(table()), expected)


def test_a_model_reports_its_columns_and_objective() -> None:
    model = read_lightgbm(text("multiclassova", sigmoid=0.7).encode())
    assert (model.width, model.outputs, model.iterations, model.averages) == (4, 3, 7, False)
    assert model.objective == ("multiclassova", {"num_class": "3", "sigmoid": "0.7"})
    assert read_lightgbm(text("regression", **FOREST).encode()).averages


def test_a_model_without_an_objective_is_read() -> None:
    assert read_lightgbm(text().replace("objective=binary sigmoid:1\n", "").encode()).objective == ("", {})


def test_linear_leaves_and_single_leaves_are_read() -> None:
    assert any(tree.linear for tree in read_lightgbm(text("regression", linear_tree=True).encode()).trees)
    assert [len(tree.tree.leaf) for tree in read_lightgbm(text(trees=1, min_data_in_leaf=300).encode()).trees] == [1]


def test_the_first_iterations_equal_those_of_the_library() -> None:
    model = read_lightgbm(text("multiclass").encode()).truncate(3)
    assert model.iterations == 3 and "feature_importances" not in model.tail and "[num_class: 3]" in model.tail
    assert np.array_equal(
        lightgbm.Booster(model_str=model.text()).predict(table()),
        booster("multiclass").predict(table(), num_iteration=3),
    )


def test_there_is_one_monotone_constraint_per_column() -> None:
    constrained = text(monotone_constraints=(0, 0, 1, 0))
    assert read_lightgbm(constrained.encode()).width == 4
    with pytest.raises(EngineError, match="constraints"):
        read_lightgbm(constrained.replace("monotone_constraints=0 0 1 0", "monotone_constraints=0 0 1").encode())


@pytest.mark.parametrize(
    ("old", "new", "message"),
    [
        ("tree\n", "leaf\n", "first line"),
        ("end of trees", "end of tree", "cut short"),
        ("Column_2", "Column\x002", "control characters"),
        ("version=v4", "version=v4\nversion=v3", "line 'version=v3'"),
        ("version=v4", "version=v=4", "line 'version=v=4'"),
        ("num_class=1", "num_class=x", "'num_class'"),
        ("num_class=1", "num_class=0", "no outputs"),
        ("num_class=1", "num_class=2", "one tree a class"),
        ("max_feature_idx=3", "max_feature_idx=2", "'feature_names'"),
        ("max_feature_idx=3", "max_feature_idx=-1", "no columns"),
        ("feature_infos=", "feature_infos= ", "'feature_infos'"),
        ("objective=binary sigmoid:1", "objective=gibberish", "unknown objective"),
        ("objective=binary sigmoid:1", "objective=multiclass num_class:50", "with 1 outputs"),
        ("objective=binary sigmoid:1", "objective=binary", "no slope"),
        ("objective=binary sigmoid:1", "objective=binary sigmoid:-1", "no slope"),
        ("shrinkage=1\n", "shrinkage=1 2\n", "'shrinkage'"),
        ("num_leaves=6", "num_leaves=7", "'num_leaves'"),
        ("leaf_value=", "leaf_value=nan ", "'leaf_value'"),
        ("left_child=", "left_child=9999 ", "unequal length"),
        ("split_feature=", "split_feature=1 ", "unequal length"),
        ("split_feature=0", "split_feature=4", "outside the 4 columns"),
        ("split_feature=0", "split_feature=٣", "is not a list of integers"),
        ("decision_type=", "decision_type=99 ", "unequal length"),
        ("num_cat=1", "num_cat=-1", "'num_cat'"),
        ("num_cat=1", "num_cat=2", "'cat_boundaries'"),
        ("cat_boundaries=0", "cat_boundaries=1", "sets overlap"),
        ("cat_threshold=", "cat_threshold=-", "32-bit"),
        ("is_linear=0", "is_linear=2", "'is_linear'"),
        ("is_linear=0", "is_linear=1", "unequal length"),
        ("shrinkage=1\n", "shrinkage=1\n" + "".join(f"{c}=1\n" for c in "abcdefghijk"), "more lines"),
    ],
)
def test_an_incomplete_document_is_rejected_with_the_reason(old: str, new: str, message: str) -> None:
    model_text = text()
    assert old in model_text
    with pytest.raises(EngineError, match=message) as refusal:
        read_lightgbm(model_text.replace(old, new, 1).encode())
    assert refusal.value.hint


def with_line(name: str, change: str, model_text: str = "") -> bytes:
    """The model with the first line of that name set to other values."""
    lines = (model_text or text()).split("\n")
    number = next(number for number, line in enumerate(lines) if line.startswith(f"{name}="))
    return "\n".join([*lines[:number], f"{name}={change}", *lines[number + 1 :]]).encode()


@pytest.mark.parametrize(
    ("left", "right", "message"),
    [
        ("1 2 3 4 -1", "-2 -3 -4 -5 -5", "one tree"),
        ("1 2 3 4 -1", "-2 -3 -4 -5 -99", "one tree"),
        ("-1 2 3 4 1", "-2 -3 -4 -5 -6", "before its parent"),
    ],
)
def test_children_that_do_not_form_a_tree_are_rejected(left: str, right: str, message: str) -> None:
    half = with_line("left_child", left).decode()
    with pytest.raises(EngineError, match=message) as refusal:
        read_lightgbm(with_line("right_child", right, half))
    assert refusal.value.where == "tree 0"


def test_an_unknown_kind_of_split_is_rejected() -> None:
    with pytest.raises(EngineError, match="unknown kind"):
        read_lightgbm(with_line("decision_type", "2 2 2 2 12"))


@pytest.mark.parametrize("number", ["1.5", "7", "-1"])
def test_a_split_by_a_missing_set_is_rejected(number: str) -> None:
    broken = with_line("decision_type", "1 2 2 2 2").decode()
    with pytest.raises(EngineError, match="a split by a missing set"):
        read_lightgbm(with_line("threshold", f"{number} 0 0 0 0", broken))


def test_linear_leaves_that_read_other_columns_are_rejected() -> None:
    model_text = text("regression", linear_tree=True)
    tree = model_text[model_text.index("Tree=1") :]
    columns = tree[tree.index("leaf_features=") :].split("\n")[0]
    assert any(character.isdigit() for character in columns)
    with pytest.raises(EngineError, match="a leaf reads outside"):
        read_lightgbm(model_text.replace(columns, columns.translate(str.maketrans("0123", "9999"))).encode())
    with pytest.raises(EngineError, match="negative number of columns"):
        read_lightgbm(with_line("num_features", "-1 0 0 0 0 1", model_text))


def test_a_number_of_trees_that_the_classes_do_not_divide_is_rejected() -> None:
    model_text = text("multiclass", trees=1)
    with pytest.raises(EngineError, match="2 trees cannot be divided among 3"):
        read_lightgbm(
            (model_text[: model_text.index("Tree=2")] + model_text[model_text.index("end of trees") :]).encode()
        )


@pytest.mark.parametrize("content", [b"", b"\xff\xfe", b"\x89PNG", b"tree\nend of trees\n"])
def test_other_bytes_are_rejected(content: bytes) -> None:
    with pytest.raises(EngineError, match="not a LightGBM model"):
        read_lightgbm(content)
