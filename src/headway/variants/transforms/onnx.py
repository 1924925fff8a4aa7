"""A model of trees as an ONNX graph for ONNX Runtime, in the very numbers its library compares and adds.

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
from headway.engines.formats.trees import Forest, OfTrees, Tree, one_leaf
from headway.variants.edges import edge_rows

Floats = NDArray[np.float64]
Ints = NDArray[np.int64]

TOLERANCE = 1e-6
_SAMPLE_ROWS = 5_000
_AT_MOST, _MEMBER, _SUM = 0, 6, 1  # codes of the operator: x <= split, x in set, trees are added
_OPERATORS = {"sigmoid": "Sigmoid", "softmax": "Softmax", "exp": "Exp", "softplus": "Softplus", "identity": "Identity"}
_KINDS = {"float32": (TensorProto.FLOAT, np.float32), "float64": (TensorProto.DOUBLE, np.float64)}


def plugin(variant: Variant, bench: Workbench) -> Sequence[Variant]:
    """The variant as a graph opened by `onnxruntime`, if no answer moves by more than 1e-6 on rows at its edges.

    Raises NotApplicable for what the operator cannot say, EngineError where the graph does not open or an answer moves.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, OfTrees):
        raise NotApplicable(f"writes trees as ONNX, and engine {variant.engine!r} does not say what its trees are")
    content = bench.read(variant)
    forest = engine.forest(content)
    whole = _columns_to_cut(forest, variant)
    graph = write_graph(forest, cut=whole)
    rows = _rows(forest, bench.sample, cut=whole)
    native, compiled = engine(content, {}), load_engine("onnxruntime")(graph, {})
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


def write_graph(forest: Forest, *, cut: Sequence[int] = ()) -> bytes:
    """The bytes of an ONNX graph from `rows` ([n, d], of the forest's precision) to `scores` [n, k].

    Columns of `cut` are made whole numbers first, as the library does with the categories of a row.
    """
    kind = _KINDS[forest.rows][0]
    nodes, constants, ready = _made_ready(forest, cut)
    trees = helper.make_node("TreeEnsemble", [ready], ["raw"], domain="ai.onnx.ml", **_ensemble(forest))
    graph = helper.make_graph(
        [*nodes, trees, *_link(forest)],
        "trees",
        [helper.make_tensor_value_info("rows", kind, [None, forest.width])],
        [helper.make_tensor_value_info("scores", _KINDS[forest.sums][0], [None, forest.outputs])],
        constants,
    )
    opsets = [helper.make_opsetid("", 18), helper.make_opsetid("ai.onnx.ml", 5)]
    proto = helper.make_model(graph, opset_imports=opsets, ir_version=10, producer_name="headway")
    content: bytes = proto.SerializeToString(deterministic=True)
    return content


def _columns_to_cut(forest: Forest, variant: Variant) -> list[int]:
    """Categorical columns that a request gives as numbers; the rank of a text is whole already."""
    inputs = variant.signature.inputs
    if len(inputs) != forest.width:
        raise EngineError(f"the model reads {forest.width} columns, its signature names {len(inputs)}")
    return [column for column in forest.categorical if inputs[column].datatype != "BYTES"]


def _made_ready(forest: Forest, cut: Sequence[int]) -> tuple[list[NodeProto], list[TensorProto], str]:
    """Nodes from `rows` to what the trees compare, with their constants, and the name of that."""
    dtype = _KINDS[forest.rows][1]
    nodes: list[NodeProto] = []
    constants: list[TensorProto] = []
    ready = "rows"
    if not np.isnan(forest.missing):
        constants += [_named("missing", dtype(forest.missing)), _named("nan", dtype(np.nan))]
        nodes.append(helper.make_node("Equal", [ready, "missing"], ["is_missing"]))
        nodes.append(helper.make_node("Where", ["is_missing", "nan", ready], ["known"]))
        ready = "known"
    if cut:
        made, needed = _whole(forest, cut, ready)
        nodes, constants, ready = [*nodes, *made], [*constants, *needed], "whole"
    if forest.rows != forest.sums:
        nodes.append(helper.make_node("Cast", [ready], ["exact"], to=_KINDS[forest.sums][0]))
        ready = "exact"
    return nodes, constants, ready


def _whole(forest: Forest, columns: Sequence[int], ready: str) -> tuple[list[NodeProto], list[TensorProto]]:
    """Nodes from `ready` to `whole`, with their constants: a whole number in these columns, x in the others."""
    chosen = np.isin(np.arange(forest.width), columns)[None, :]
    choose = helper.make_node("Where", ["categorical", "cut", ready], ["whole"])
    if forest.whole == "floored":
        return [helper.make_node("Floor", [ready], ["cut"]), choose], [_named("categorical", chosen)]
    nodes = [
        helper.make_node("Mod", [ready, "one"], ["fraction"], fmod=1),
        helper.make_node("Sub", [ready, "fraction"], ["cut"]),
        choose,
    ]
    return nodes, [_named("one", _KINDS[forest.rows][1](1.0)), _named("categorical", chosen)]


def _link(forest: Forest) -> list[NodeProto]:
    """Nodes from `raw`, the sums of the trees, to `scores`."""
    if forest.link == "signed square":
        return [helper.make_node("Abs", ["raw"], ["size"]), helper.make_node("Mul", ["raw", "size"], ["scores"])]
    if forest.link == "positive":
        return [helper.make_node("Sign", ["raw"], ["sign"]), helper.make_node("Relu", ["sign"], ["scores"])]
    return [helper.make_node(_OPERATORS[forest.link], ["raw"], ["scores"])]


def _ensemble(forest: Forest) -> dict[str, object]:
    """Attributes of TreeEnsemble: the nodes of all trees in one list, the leaves in another, sets divided by NaN."""
    dtype = _KINDS[forest.sums][1]
    trees = [_with_a_root(tree) for tree in _one_output_each(forest)]
    inner, leaves = [len(tree.feature) for tree in trees], [len(tree.leaf) for tree in trees]
    roots, first_leaves = np.cumsum([0, *inner[:-1]]), np.cumsum([0, *leaves[:-1]])
    starts = np.repeat(roots, inner), np.repeat(first_leaves, inner)
    left, left_is_leaf = _children(np.concatenate([tree.left for tree in trees]), *starts)
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
        "nodes_truenodeids": left,
        "nodes_trueleafs": left_is_leaf,
        "nodes_falsenodeids": right,
        "nodes_falseleafs": right_is_leaf,
        "leaf_targetids": np.repeat([tree.outputs[0] for tree in trees], leaves),
        "leaf_weights": _tensor(np.concatenate([tree.leaf[:, 0] for tree in trees]).astype(dtype)),
    }
    return attributes | ({"membership_values": _tensor(np.concatenate(members).astype(dtype))} if members else {})


def _one_output_each(forest: Forest) -> list[Tree]:
    """Trees that add to one output each, in order, the base before them: a leaf of TreeEnsemble is one number."""
    base = [one_leaf([value], (output,)) for output, value in enumerate(forest.base) if value]
    return base + [
        dataclasses.replace(tree, leaf=tree.leaf[:, [place]], outputs=(output,))
        for tree in forest.trees
        for place, output in enumerate(tree.outputs)
    ]


def _with_a_root(tree: Tree) -> Tree:
    """A tree of one leaf has no inner node, and TreeEnsemble wants one: both its sides are the leaf."""
    if len(tree.feature):
        return tree
    no, zero, leaf = np.array([False]), np.array([0]), np.array([-1])
    return dataclasses.replace(
        tree, feature=zero, threshold=np.array([0.0]), categorical=no, missing_left=no, left=leaf, right=leaf
    )


def _children(child: Ints, roots: Ints, first_leaves: Ints) -> tuple[Ints, Ints]:
    """Numbers of the children in the lists of all trees, and 1 where they are leaves."""
    return np.where(child < 0, ~child + first_leaves, child + roots), (child < 0).astype(np.int64)


def _members(tree: Tree) -> list[Floats]:
    numbers = tree.threshold[tree.categorical].astype(np.int64)
    return [np.append(tree.sets[number], np.nan) for number in numbers]


def _tensor(values: NDArray[np.generic]) -> TensorProto:
    return numpy_helper.from_array(values)


def _named(name: str, values: object) -> TensorProto:
    return numpy_helper.from_array(np.asarray(values), name)


def _rows(forest: Forest, sample: Floats, *, cut: Sequence[int]) -> Floats:
    """Rows of the sample, and rows at edges; only columns that the graph cuts hold parts of categories."""
    some = sample[:: len(sample) // _SAMPLE_ROWS + 1]
    rows = np.concatenate([some, edge_rows(forest, some)])
    whole = [column for column in forest.categorical if column not in cut]
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
