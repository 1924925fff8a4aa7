"""Write a forest as an ONNX graph, exact in the numbers that its library compares and adds."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray
from onnx import NodeProto, TensorProto, helper, numpy_helper

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import EngineError, NotApplicable
from headway.core.variant import Signature
from headway.engines.formats.trees import ZERO_THRESHOLD, Forest, Tree, constant_tree

_AT_MOST, _MEMBER, _SUM = 0, 6, 1  # codes of the operator: x <= split, x in set, trees are added
_NEVER_TRUE = -(2**31 - 1)  # a set needs a member; only sets of ranks, which count from 0, can be empty
_OPERATORS = {"sigmoid": "Sigmoid", "softmax": "Softmax", "exp": "Exp", "softplus": "Softplus", "identity": "Identity"}
_KINDS = {"float32": (TensorProto.FLOAT, np.float32), "float64": (TensorProto.DOUBLE, np.float64)}


def forest_to_onnx(forest: Forest, *, truncated: Sequence[int] = ()) -> bytes:
    """Write a forest as an ONNX graph from `rows` (n, d), in the forest's precision, to `scores` (n, k).

    Columns of `truncated` are truncated to integers first, as the library does with categories in a request.
    """
    if forest.input_dtype == "float64":  # the operator compares and adds in one precision
        forest = dataclasses.replace(forest, sum_dtype="float64")
    kind = _KINDS[forest.input_dtype][0]
    nodes, constants, ready = _prepare_inputs(forest, truncated)
    trees = helper.make_node("TreeEnsemble", [ready], ["raw"], domain="ai.onnx.ml", **_ensemble(forest))
    ends, needed = _ends(forest)
    constants += needed
    graph = helper.make_graph(
        [*nodes, trees, *ends],
        "trees",
        [helper.make_tensor_value_info("rows", kind, [None, forest.width])],
        [helper.make_tensor_value_info("scores", _KINDS[forest.sum_dtype][0], [None, forest.outputs])],
        constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="headway")
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def columns_to_truncate(forest: Forest, signature: Signature) -> list[int]:
    """Return the categorical columns that a request gives as numbers; the rank of a string is an integer already."""
    inputs = signature.inputs
    if len(inputs) != forest.width:
        raise EngineError(f"the model reads {forest.width} columns, its signature names {len(inputs)}")
    return [column for column in forest.categorical if inputs[column].datatype != "BYTES"]


def _prepare_inputs(forest: Forest, truncated: Sequence[int]) -> tuple[list[NodeProto], list[TensorProto], str]:
    """Return nodes from `rows` to the values that trees compare, their constants, and the name of these values."""
    dtype = _KINDS[forest.input_dtype][1]
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    ready = "rows"
    if not np.isnan(forest.missing):
        constants += [_named("missing", dtype(forest.missing)), _named("nan", dtype(np.nan))]
        nodes.append(helper.make_node("Equal", [ready, "missing"], ["is_missing"]))
        nodes.append(helper.make_node("Where", ["is_missing", "nan", ready], ["known"]))
        ready = "known"
    if forest.zero_as_missing:
        made, needed = _without_zeros(forest, ready)
        nodes, constants, ready = [*nodes, *made], [*constants, *needed], "nonzero"
    if truncated:
        made, needed = _truncate_columns(forest, truncated, ready)
        nodes, constants, ready = [*nodes, *made], [*constants, *needed], "whole"
    if forest.input_dtype != forest.sum_dtype:
        nodes.append(helper.make_node("Cast", [ready], ["exact"], to=_KINDS[forest.sum_dtype][0]))
        ready = "exact"
    return nodes, constants, ready


def _truncate_columns(forest: Forest, columns: Sequence[int], ready: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return nodes from `ready` to `whole`, and their constants: integers in these columns, x in the others.

    Where categories are exact, a number with a fraction becomes one that is in no set: the operator would truncate it.
    """
    chosen = _mask(forest, columns)
    choose = helper.make_node("Where", ["categorical", "cut", ready], ["whole"])
    if forest.category_cast == "floored":
        return [helper.make_node("Floor", [ready], ["cut"]), choose], [_named("categorical", chosen)]
    if forest.category_cast == "exact":
        nodes = [
            helper.make_node("Floor", [ready], ["floor"]),
            helper.make_node("Less", ["floor", ready], ["is_part"]),
            helper.make_node("Where", ["is_part", "outside", ready], ["cut"]),
            choose,
        ]
        return nodes, [_named("outside", _KINDS[forest.input_dtype][1](-(2.0**60))), _named("categorical", chosen)]
    nodes = [
        helper.make_node("Mod", [ready, "one"], ["fraction"], fmod=1),
        helper.make_node("Sub", [ready, "fraction"], ["cut"]),
        choose,
    ]
    return nodes, [_named("one", _KINDS[forest.input_dtype][1](1.0)), _named("categorical", chosen)]


def _without_zeros(forest: Forest, ready: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return nodes from `ready` to `nonzero`, and constants: zero becomes missing in `forest.zero_as_missing`."""
    dtype = _KINDS[forest.input_dtype][1]
    nodes = [
        helper.make_node("Abs", [ready], ["distance"]),
        helper.make_node("LessOrEqual", ["distance", "zero"], ["is_zero"]),
        helper.make_node("And", ["is_zero", "zero_is_missing"], ["is_gap"]),
        helper.make_node("Where", ["is_gap", "gap", ready], ["nonzero"]),
    ]
    zeros = _named("zero_is_missing", _mask(forest, forest.zero_as_missing))
    return nodes, [_named("zero", dtype(ZERO_THRESHOLD)), _named("gap", dtype(np.nan)), zeros]


def _mask(forest: Forest, columns: Sequence[int]) -> Bools:
    return np.isin(np.arange(forest.width), columns)[None, :]


def _ends(forest: Forest) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return nodes from `raw`, the sums of the trees, to `scores`, and their constants; rejected rows become NaN."""
    nodes = _link(forest)
    if not (forest.finite_columns or forest.required_columns):
        return nodes, []
    nodes[-1].output[0] = "answers"
    masks = {"finite": forest.finite_columns, "present": forest.required_columns}
    nodes += [
        *_beyond(forest),
        helper.make_node("IsNaN", ["rows"], ["absent"]),
        helper.make_node("And", ["infinite", "finite"], ["beyond"]),
        helper.make_node("And", ["absent", "present"], ["lacking"]),
        helper.make_node("Or", ["beyond", "lacking"], ["refused"]),
        helper.make_node("Cast", ["refused"], ["cells"], to=TensorProto.FLOAT),
        helper.make_node("ReduceMax", ["cells", "columns"], ["worst"], keepdims=1),
        helper.make_node("Cast", ["worst"], ["is_refused"], to=TensorProto.BOOL),
        helper.make_node("Where", ["is_refused", "no_answer", "answers"], ["scores"]),
    ]
    constants = [_named(name, _mask(forest, columns)) for name, columns in masks.items()]
    if np.isfinite(forest.max_magnitude):
        constants.append(_named("reach", _KINDS[forest.input_dtype][1](forest.max_magnitude)))
    nothing = _named("no_answer", _KINDS[forest.sum_dtype][1](np.nan))
    return nodes, [*constants, _named("columns", np.array([1])), nothing]


def _beyond(forest: Forest) -> list[NodeProto]:
    """Return nodes from `rows` to `infinite`: values that are infinite, or become so before the trees."""
    if np.isinf(forest.max_magnitude):
        return [helper.make_node("IsInf", ["rows"], ["infinite"])]
    size = helper.make_node("Abs", ["rows"], ["size"])
    return [size, helper.make_node("GreaterOrEqual", ["size", "reach"], ["infinite"])]


def _link(forest: Forest) -> list[NodeProto]:
    """Return nodes from `raw` to `scores`."""
    if forest.link == "isolation":
        half = helper.make_node("Constant", [], ["half"], value=_tensor(np.array(0.5, _KINDS[forest.sum_dtype][1])))
        return [
            half,
            helper.make_node("Pow", ["half", "raw"], ["share"]),
            helper.make_node("Neg", ["share"], ["scores"]),
        ]
    if forest.link == "signed square":
        return [helper.make_node("Abs", ["raw"], ["size"]), helper.make_node("Mul", ["raw", "size"], ["scores"])]
    if forest.link == "positive":
        return [helper.make_node("Sign", ["raw"], ["sign"]), helper.make_node("Relu", ["sign"], ["scores"])]
    return [helper.make_node(_OPERATORS[forest.link], ["raw"], ["scores"])]


def _ensemble(forest: Forest) -> dict[str, object]:
    """Return the attributes of TreeEnsemble: nodes of all trees in one list, leaves in another, NaN between sets."""
    dtype = _KINDS[forest.sum_dtype][1]
    trees = [_with_a_root(tree) for tree in _one_output_each(forest)]
    inner, leaves = [len(tree.feature) for tree in trees], [len(tree.leaf) for tree in trees]
    roots, first_leaves = np.cumsum([0, *inner[:-1]]), np.cumsum([0, *leaves[:-1]])
    starts = np.repeat(roots, inner), np.repeat(first_leaves, inner)
    left_children, left_is_leaf = _children(np.concatenate([tree.left for tree in trees]), *starts)
    right, right_is_leaf = _children(np.concatenate([tree.right for tree in trees]), *starts)
    categorical = np.concatenate([tree.categorical for tree in trees])
    threshold = np.concatenate([tree.threshold for tree in trees])
    members = [member for tree in trees for member in _members(tree)]
    attributes = {
        "n_targets": forest.outputs,
        "aggregate_function": _SUM,
        "tree_roots": roots,
        "nodes_featureids": np.concatenate([tree.feature for tree in trees]),
        "nodes_modes": _tensor(np.where(categorical, _MEMBER, _AT_MOST).astype(np.uint8)),
        "nodes_splits": _tensor(np.where(categorical, 0.0, threshold).astype(dtype)),
        "nodes_missing_value_tracks_true": np.concatenate([tree.missing_left for tree in trees]).astype(int),
        "nodes_truenodeids": left_children,
        "nodes_trueleafs": left_is_leaf,
        "nodes_falsenodeids": right,
        "nodes_falseleafs": right_is_leaf,
        "leaf_targetids": np.repeat([tree.outputs[0] for tree in trees], leaves),
        "leaf_weights": _tensor(np.concatenate([tree.leaf[:, 0] for tree in trees]).astype(dtype)),
    }
    return attributes | ({"membership_values": _tensor(np.concatenate(members).astype(dtype))} if members else {})


def _one_output_each(forest: Forest) -> list[Tree]:
    """Split trees into trees with one output each, the base first: a leaf of TreeEnsemble is one number."""
    base = [constant_tree([value], (output,)) for output, value in enumerate(forest.base) if value]
    return base + [
        dataclasses.replace(tree, leaf=tree.leaf[:, [index]], outputs=(output,))
        for tree in forest.trees
        for index, output in enumerate(tree.outputs)
    ]


def _with_a_root(tree: Tree) -> Tree:
    """Give a tree of one leaf the inner node that TreeEnsemble requires; both its children are the leaf."""
    if len(tree.feature):
        return tree
    no, zero, leaf = np.array([False]), np.array([0]), np.array([-1])
    return dataclasses.replace(
        tree, feature=zero, threshold=np.array([0.0]), categorical=no, missing_left=no, left=leaf, right=leaf
    )


def _children(child: Ints, roots: Ints, first_leaves: Ints) -> tuple[Ints, Ints]:
    """Return the indices of children in the lists of all trees, and 1 for those that are leaves."""
    return np.where(child < 0, ~child + first_leaves, child + roots), (child < 0).astype(np.int64)


def _members(tree: Tree) -> list[Floats]:
    numbers = tree.threshold[tree.categorical].astype(np.int64)
    if any(np.any(np.abs(tree.sets[number]) >= 2**31) for number in numbers):
        raise NotApplicable("a category exceeds the 32 bits that ONNX Runtime stores in a set")
    return [np.append(tree.sets[number] if len(tree.sets[number]) else _NEVER_TRUE, np.nan) for number in numbers]


def _tensor(values: NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(values)


def _named(name: str, values: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)
