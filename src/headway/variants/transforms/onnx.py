"""A model of LightGBM as an ONNX graph for ONNX Runtime, exact: thresholds, leaves and sums stay in float64.

The graph is written here and not by a converter: those store thresholds as float32, which moves answers (by 0.04 on
epoch seconds), and guess where missing values go. `TreeEnsemble` of ai.onnx.ml 5 takes float64, and sets of categories.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from msgspec.structs import replace
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from headway.core.contracts import Workbench
from headway.core.errors import EngineError, NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Step, Variant
from headway.engines.formats.lightgbm_text import TextModel, Tree, read
from headway.variants.edges import categorical_columns, edge_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOLERANCE = 1e-6
_SAMPLE_ROWS = 5_000
_AT_MOST, _MEMBER, _SUM = 0, 6, 1  # codes of the operator: x <= split, x in set, trees are added
_ZERO_IS_MISSING, _MISSING_HAS_A_SIDE = 1, 2  # codes of the text format
_ZERO = float(np.float32(1e-35))
_LINKS = {
    "binary": "Sigmoid",
    "cross_entropy": "Sigmoid",
    "multiclassova": "Sigmoid",
    "multiclass": "Softmax",
    "cross_entropy_lambda": "Softplus",
    "poisson": "Exp",
    "gamma": "Exp",
    "tweedie": "Exp",
}


def plugin(variant: Variant, bench: Workbench) -> Sequence[Variant]:
    """The variant as a graph opened by `onnxruntime`, if no answer moves by more than 1e-6 on rows at its edges.

    Raises NotApplicable for what the operator cannot say, EngineError where the graph does not open or an answer moves.
    """
    if variant.artifact.format != "lightgbm":
        raise NotApplicable(f"writes models of format lightgbm as ONNX, not {variant.artifact.format}")
    content = bench.read(variant)
    model = read(content)
    _expect_sayable(model)
    whole = _columns_to_truncate(model, variant)
    graph = write_graph(model, truncate=whole)
    rows = _rows(model, bench.sample, truncated=whole)
    native, compiled = load_engine("lightgbm")(content, {}), load_engine("onnxruntime")(graph, {})
    _expect_equal(native.predict(rows), compiled.predict(rows), relative=variant.task == "regression")
    return [
        replace(
            variant,
            artifact=bench.keep(graph, "onnx"),
            engine="onnxruntime",
            steps=(*variant.steps, Step(transform="onnx")),
            settings={},
        )
    ]


def write_graph(model: TextModel, *, truncate: Sequence[int] = ()) -> bytes:
    """The bytes of an ONNX graph from `rows` (float64 [n, d]) to `scores` (float64 [n, k]).

    Columns of `truncate` are cut to whole numbers first, as LightGBM does with the categories of a row.
    """
    nodes, constants = _truncated(truncate, model.width) if truncate else ([], [])
    trees = helper.make_node(
        "TreeEnsemble", ["whole" if truncate else "rows"], ["raw"], domain="ai.onnx.ml", **_ensemble(model)
    )
    graph = helper.make_graph(
        [*nodes, trees, *_link(model)],
        "lightgbm",
        [helper.make_tensor_value_info("rows", TensorProto.DOUBLE, [None, model.width])],
        [helper.make_tensor_value_info("scores", TensorProto.DOUBLE, [None, model.outputs])],
        constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="headway")
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _expect_sayable(model: TextModel) -> None:
    if any(tree.linear for tree in model.trees):
        raise NotApplicable("its leaves are linear models, and a leaf of TreeEnsemble is a number")
    if any(bool(np.any(tree.missing == _ZERO_IS_MISSING)) for tree in model.trees):
        raise NotApplicable("it reads zero as missing, and TreeEnsemble knows NaN alone")


def _columns_to_truncate(model: TextModel, variant: Variant) -> list[int]:
    """Categorical columns that a request gives as numbers; the rank of a text is whole already."""
    inputs = variant.signature.inputs
    if len(inputs) != model.width:
        raise EngineError(f"the model reads {model.width} columns, its signature names {len(inputs)}")
    return [column for column in categorical_columns(model) if inputs[column].datatype != "BYTES"]


def _truncated(columns: Sequence[int], width: int) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes from `rows` to `whole`, with their constants: x - fmod(x, 1) in these columns, x in the others."""
    chosen = np.isin(np.arange(width), columns)[None, :]
    nodes = [
        helper.make_node("Mod", ["rows", "one"], ["fraction"], fmod=1),
        helper.make_node("Sub", ["rows", "fraction"], ["cut"]),
        helper.make_node("Where", ["categorical", "cut", "rows"], ["whole"]),
    ]
    return nodes, [numpy_helper.from_array(np.array(1.0), "one"), numpy_helper.from_array(chosen, "categorical")]


def _link(model: TextModel) -> list[NodeProto]:
    """Nodes from `raw`, the sums of the trees, to `scores`."""
    name, given = model.objective
    if "sqrt" in given:  # the model learned the signed root of the target
        return [helper.make_node("Abs", ["raw"], ["size"]), helper.make_node("Mul", ["raw", "size"], ["scores"])]
    return [helper.make_node(_LINKS.get(name, "Identity"), ["raw"], ["scores"])]


def _ensemble(model: TextModel) -> dict[str, object]:
    """Attributes of TreeEnsemble: the nodes of all trees in one list, the leaves in another, sets divided by NaN."""
    trees = [_with_a_root(tree) for tree in model.trees]
    inner, leaves = [len(tree.feature) for tree in trees], [len(tree.leaf) for tree in trees]
    roots, first_leaves = np.cumsum([0, *inner[:-1]]), np.cumsum([0, *leaves[:-1]])
    starts = np.repeat(roots, inner), np.repeat(first_leaves, inner)
    left, left_is_leaf = _children(np.concatenate([tree.left for tree in trees]), *starts)
    right, right_is_leaf = _children(np.concatenate([tree.right for tree in trees]), *starts)
    categorical = np.concatenate([tree.categorical for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    members = [member for tree in trees for member in _members(tree)]
    attributes = {
        "n_targets": model.outputs,
        "aggregate_function": _SUM,
        "tree_roots": roots,
        "nodes_featureids": np.concatenate([tree.feature for tree in trees]),
        "nodes_modes": _tensor(np.where(categorical, _MEMBER, _AT_MOST).astype(np.uint8)),
        "nodes_splits": _tensor(np.where(categorical, 0.0, _past_zero(threshold))),
        "nodes_missing_value_tracks_true": np.concatenate([_missing_goes_left(tree) for tree in trees]).astype(int),
        "nodes_truenodeids": left,
        "nodes_trueleafs": left_is_leaf,
        "nodes_falsenodeids": right,
        "nodes_falseleafs": right_is_leaf,
        "leaf_targetids": np.repeat(np.arange(len(trees)) % model.outputs, leaves),
        "leaf_weights": _tensor(np.concatenate([tree.leaf for tree in trees]) * _scale(model)),
    }
    return attributes | ({"membership_values": _tensor(np.concatenate(members))} if members else {})


def _with_a_root(tree: Tree) -> Tree:
    """A tree of one leaf has no inner node, and TreeEnsemble wants one: both its sides are the leaf."""
    if len(tree.feature):
        return tree
    no, zero, leaf = np.array([False]), np.array([0]), np.array([-1])
    return dataclasses.replace(
        tree,
        feature=zero,
        threshold=np.array([0.0]),
        categorical=no,
        default_left=no,
        missing=zero,
        left=leaf,
        right=leaf,
    )


def _children(child: Ints, roots: Ints, first_leaves: Ints) -> tuple[Ints, Ints]:
    """Numbers of the children in the lists of all trees, and 1 where they are leaves."""
    return np.where(child < 0, ~child + first_leaves, child + roots), (child < 0).astype(np.int64)


def _past_zero(threshold: Floats) -> Floats:
    """Thresholds that lie within what LightGBM takes for zero (|x| <= 1e-35 of float32), moved to that side's end."""
    inside = np.abs(threshold) <= _ZERO
    return np.where(inside, np.where(threshold < 0, np.nextafter(-_ZERO, -np.inf), _ZERO), threshold)


def _missing_goes_left(tree: Tree) -> NDArray[np.bool_]:
    """Never left by a set; by a threshold to the default side, or where zero goes if the column never missed one."""
    numeric = np.where(tree.missing == _MISSING_HAS_A_SIDE, tree.default_left, tree.threshold >= 0)
    return ~tree.categorical & numeric


def _members(tree: Tree) -> list[Floats]:
    numbers = tree.threshold[tree.categorical].astype(np.int64)
    return [np.append(tree.sets[number], np.nan) for number in numbers]


def _scale(model: TextModel) -> float:
    """What a leaf is multiplied by: the slope of the sigmoid, and one part of the mean where trees are averaged."""
    slope = float(model.objective[1].get("sigmoid", 1.0))
    return slope / model.iterations if model.averages else slope


def _tensor(values: NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(values)


def _rows(model: TextModel, sample: Floats, *, truncated: Sequence[int]) -> Floats:
    """Rows of the sample, and rows at edges; only columns that the graph truncates hold parts of categories."""
    some = sample[:: len(sample) // _SAMPLE_ROWS + 1]
    rows = np.concatenate([some, edge_rows(model, some)])
    whole = [column for column in categorical_columns(model) if column not in truncated]
    rows[:, whole] = np.trunc(rows[:, whole])
    return rows


def _expect_equal(expected: Floats, found: Floats, *, relative: bool) -> None:
    """Raise EngineError where an answer moved by more than 1e-6, or 1e-6 of the largest one if that is `relative`."""
    scale = float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))) if relative else 1.0
    with np.errstate(invalid="ignore"):  # equal infinities have no difference
        change = np.where(expected == found, 0.0, np.abs(expected - found))
    worst = float(np.max(np.nan_to_num(change, nan=np.inf), initial=0.0))
    if worst > TOLERANCE * scale:
        raise EngineError(
            f"as an ONNX graph the model answers otherwise, by up to {worst:.2g}",
            where=f"{len(expected):,} rows, some of them at the edges of its trees; allowed: {TOLERANCE * scale:.2g}",
            mend='[optimize] transforms = ["truncate", "threads"]',
        )
