"""Write a scikit-learn pipeline of encoders, scalers and linear models as one small ONNX graph, from columns to scores.

A category is looked up by its rank with the weight of its one-hot column, numbers are one product, and no intermediate
table is made. The graph must answer as the library does within 1e-6, and refuse the rows that the library refuses.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence

import numpy as np
from onnx import NodeProto, TensorProto, helper, load_from_string, numpy_helper

from headway.core.arrays import Floats
from headway.core.contracts import Engine
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Field, Signature, Step, Variant
from headway.engines.formats.graph import FOREST, ROWS, SCORES, Graph, GraphEngine
from headway.engines.formats.trees import Forest
from headway.optimization.context import TransformContext
from headway.optimization.forest_onnx import columns_to_truncate
from headway.optimization.forest_onnx import forest_to_onnx as write_forest
from headway.optimization.parity import check_parity, clip_to_known_ranks, edge_rows, predict_or_nan

STAGE = "export"
KEEPS_ANSWERS = True
COST = {"rows": 10_000, "calls": 100, "seconds": 1}


_SAMPLE_ROWS = 5_000
_MIXED_ROWS = 400
_MAX_EDGES = 60
_MAX_AT_SPLITS, _LARGE = 4_000, 1e15
_OPSET, _ML_OPSET, _IR = 18, 5, 10


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant as a graph for `onnxruntime`, if no answer moves by more than 1e-6 on rows at its edges.

    Raises
    ------
    NotApplicable
        If no graph can express a part of the pipeline, which the error names.
    EngineError
        If an answer moves, with its row.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, GraphEngine):
        raise NotApplicable(f"writes pipelines of scikit-learn, and engine {variant.engine!r} has none")
    content = context.read(variant)
    graph = engine.graph(content)
    written = pipeline_to_onnx(graph, variant.signature)
    native, compiled = context.open(variant), load_engine("onnxruntime")(written, {})
    sample = context.sample[:: len(context.sample) // _SAMPLE_ROWS + 1]
    for rows, answer in _rows_to_compare(native, sample, graph, variant.signature):
        check_parity(rows, answer, compiled.predict(rows), variant, form="one graph")
    step = Step(transform="pipeline")
    return [variant.remade(step, context.save(written, "onnx"), engine="onnxruntime")]


def pipeline_to_onnx(graph: Graph, signature: Signature) -> bytes:
    """Write an ONNX graph from `rows` (float64, (n, d)) to `scores` (float64, (n, k))."""
    nodes: list[NodeProto] = []
    used = {name for operation in graph.operations for name in operation.inputs}
    constants = [numpy_helper.from_array(value, name) for name, value in graph.constants.items() if name in used]
    for operation in graph.operations:
        if operation.kind == FOREST:
            made, needed = _forest(graph.forests[operation.outputs[0]], operation.outputs[0], signature)
            nodes, constants = [*nodes, *made], [*constants, *needed]
        else:
            nodes.append(helper.make_node(operation.kind, operation.inputs, operation.outputs, **operation.attributes))
    proto = helper.make_graph(
        nodes,
        "pipeline",
        [helper.make_tensor_value_info(ROWS, TensorProto.DOUBLE, [None, graph.width])],
        [helper.make_tensor_value_info(SCORES, TensorProto.DOUBLE, [None, graph.outputs])],
        constants,
    )
    opsets = [helper.make_opsetid("", _OPSET), helper.make_opsetid("ai.onnx.ml", _ML_OPSET)]
    model = helper.make_model(proto, opset_imports=opsets, ir_version=_IR, producer_name="headway")
    content: bytes = model.SerializeToString(deterministic=True)
    return content


def _forest(forest: Forest, name: str, signature: Signature) -> tuple[list[NodeProto], list[TensorProto]]:
    """Return the nodes and constants of a forest inside a larger graph; names begin with that of the output."""
    inner = load_from_string(write_forest(forest, truncated=columns_to_truncate(forest, signature))).graph
    named = {"": "", ROWS: f"{name}.{ROWS}", SCORES: f"{name}.{SCORES}"}
    for node in inner.node:
        for names in (node.input, node.output):
            names[:] = [named.get(key, f"{name}.{key}") for key in names]
    for constant in inner.initializer:
        constant.name = f"{name}.{constant.name}"
    kind = inner.input[0].type.tensor_type.elem_type
    first = helper.make_node("Cast", [ROWS], [named[ROWS]], to=kind)
    last = helper.make_node("Cast", [named[SCORES]], [name], to=TensorProto.DOUBLE)
    return [first, *inner.node, last], list(inner.initializer)


def _rows_to_compare(
    native: Engine, sample: Floats, graph: Graph, signature: Signature
) -> Iterator[tuple[Floats, Floats]]:
    """Yield rows with the library's answers, NaN for a row that it refuses."""
    random = np.random.default_rng(0)
    base = sample if len(sample) else np.zeros((1, graph.width))
    columns = [_edges(field, graph.edges[index], base[:, index]) for index, field in enumerate(signature.inputs)]
    single = [_row_with(base, index, value, random) for index, values in enumerate(columns) for value in values]
    mixed = base[random.integers(len(base), size=_MIXED_ROWS)]
    drawn = np.column_stack([random.choice(values, _MIXED_ROWS) for values in columns])
    mixed = np.where(random.random(mixed.shape) < 0.5, drawn, mixed)
    rows = np.concatenate([base, np.array(single), mixed, *_at_splits(graph, base, signature)])
    yield rows, predict_or_nan(native, rows, graph.outputs)
    for index, field in enumerate(signature.inputs[:_MAX_EDGES]):
        odd = [np.nan] if field.datatype == "BYTES" else [np.nan, np.inf, -np.inf]
        for row in (_row_with(base, index, value, random)[None, :] for value in odd):
            yield row, predict_or_nan(native, row, graph.outputs)


def _at_splits(graph: Graph, base: Floats, signature: Signature) -> Iterator[Floats]:
    """Yield rows at the edges of each forest, without numbers so large that another part would refuse them."""
    for forest in graph.forests.values():
        rows = clip_to_known_ranks(edge_rows(forest, base), signature)[:_MAX_AT_SPLITS]
        yield np.where(np.abs(rows) < _LARGE, rows, np.resize(base, rows.shape))


def _edges(field: Field, jumps: Floats, seen: Floats) -> Floats:
    """Return the values of a column that may be special to a model: each category, numbers at and next to each jump."""
    if field.datatype == "BYTES":
        ranks = np.arange(len(field.categories) + field.ranks_unseen, dtype=np.float64)
        return ranks[:: len(ranks) // _MAX_EDGES + 1] if len(ranks) else np.array([np.nan])
    some = jumps[:: len(jumps) // _MAX_EDGES + 1]
    known = seen[np.isfinite(seen)]
    ends = [known.min(), known.max(), np.median(known)] if len(known) else [0.0]
    at = np.concatenate([some, ends])
    return np.concatenate([at, np.nextafter(at, -np.inf), np.nextafter(at, np.inf), [0.0, -0.0]])


def _row_with(base: Floats, index: int, value: float, random: np.random.Generator) -> Floats:
    """Return a random row with one value replaced."""
    row: Floats = base[random.integers(len(base))].copy()
    row[index] = value
    return row
