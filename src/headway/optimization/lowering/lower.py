"""Lower the ONNX graph of a small network to a program for engine `dense`."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.engines.compiled.artifact import write_program
from headway.engines.formats.onnx_ports import PortInfo, graph_inputs, score_outputs
from headway.optimization.lowering import image_ops, numeric_ops, shape_ops
from headway.optimization.lowering.program import Constant, Emitter, Kind, Node, ProgramWriter, Rows, Span, Value

RULES = {**numeric_ops.RULES, **shape_ops.RULES, **image_ops.RULES}
_ANY_ORDER = {*numeric_ops.RULES, *image_ops.RULES, *shape_ops.ANY_ORDER}

_OWN = ("", "ai.onnx", "ai.onnx.ml")
_TYPES = {1: "tensor(float)", 6: "tensor(int32)", 7: "tensor(int64)", 8: "tensor(string)", 11: "tensor(double)"}
_PAIRS = "seq(map(int64,tensor(float)))"
# What the library's own evaluator of a node raises that it cannot run.
_EVALUATOR_FAILURES = (
    ArithmeticError,
    AttributeError,
    LookupError,
    NotImplementedError,
    RuntimeError,
    TypeError,
    ValueError,
)


def lower_graph(content: bytes) -> bytes:
    """Lower an ONNX graph to a program with the same answers.

    Parameters
    ----------
    content
        Bytes of the ONNX graph of a small network.

    Returns
    -------
    bytes
        Artifact of engine `dense`.

    Raises
    ------
    NotApplicable
        If a node cannot be lowered; the error names it.
    """
    model = onnx.load_from_string(content)
    graph = model.graph
    values: dict[str, Value] = {
        tensor.name: Constant(array=numpy_helper.to_array(tensor)) for tensor in graph.initializer
    }
    inputs = graph_inputs([_port(port) for port in graph.input if port.name not in values])
    output, *others = score_outputs([_port(port) for port in graph.output])
    if others:
        raise NotApplicable(f"engine 'dense' answers one output, and the graph has {', '.join([output, *others])}")
    if inputs.batch_size or any(port.max_integer for port in inputs.inputs):
        raise NotApplicable("engine 'dense' requires a variable batch size and float inputs")
    program = ProgramWriter(width=inputs.width)
    for port in inputs.inputs:
        shape = () if port.is_flat else (port.stop - port.start,)
        kind: Kind = "double" if port.dtype is np.float64 else "float"
        values[port.name] = Rows(span=Span(0, port.start), shape=shape, kind=kind)
    needed = _needed_nodes(graph.node, output)
    readers = Counter([output, *(name for node in needed for name in node.input)])
    for node in needed:
        reads_alone = bool(node.input) and readers[node.input[0]] == 1
        made = _lower_node(node, values, program, model.opset_import, reads_alone=reads_alone)
        values |= {name: value for name, value in zip(node.output, made, strict=False) if name}
    answer = values.get(output)
    if not isinstance(answer, Rows) or answer.kind not in ("float", "wide"):
        raise NotApplicable(f"engine 'dense' does not support output {output!r}: it does not depend on the input row")
    if answer.order is not None:
        final = Node(kind="output", name=output, attributes={}, outputs=1)
        answer = Emitter(program=program, node=final).in_order(answer)
    # Of two classes that of the second, as the engine of the graph answers.
    first = load_engine("onnxruntime")(content, {}).first_column if answer.size == 2 else 0  # type: ignore[attr-defined]
    span = Span(answer.span.register, answer.span.offset + first)
    return write_program(program.finish(span, answer.size - first))


def exact_answers(content: bytes, rows: Floats) -> Floats | None:
    """Compute the answers of a graph in float64, one row at a time; None if the library's evaluator cannot.

    Parameters
    ----------
    content
        Bytes of an ONNX graph in float32 with one input of columns.
    rows : ndarray of shape (n, d)
        Few rows: the evaluator is slow.

    Returns
    -------
    ndarray of shape (n, k), as engine `onnxruntime` answers, or None
    """
    model = onnx.load_from_string(content)
    inputs = [port for port in model.graph.input if port.name not in {item.name for item in model.graph.initializer}]
    outputs = score_outputs([_port(port) for port in model.graph.output])
    if len(inputs) > 1 or len(outputs) > 1:
        return None
    inputs[0].type.tensor_type.elem_type = TensorProto.DOUBLE
    for tensor in [
        *model.graph.initializer,
        *(a.t for node in model.graph.node for a in node.attribute if a.HasField("t")),
    ]:
        if tensor.data_type == TensorProto.FLOAT:
            tensor.CopyFrom(numpy_helper.from_array(numpy_helper.to_array(tensor).astype(np.float64), tensor.name))
    for node in model.graph.node:
        for attribute in node.attribute:
            if node.op_type == "Cast" and attribute.name == "to" and attribute.i == TensorProto.FLOAT:
                attribute.i = TensorProto.DOUBLE
    try:
        evaluator = ReferenceEvaluator(model)
        found = [
            evaluator.run(outputs, {inputs[0].name: row[None]})[0] for row in rows.astype(np.float32).astype(np.float64)
        ]
    except _EVALUATOR_FAILURES:
        return None
    answers = np.concatenate(found).reshape(len(rows), -1)
    return answers[:, 1:] if answers.shape[1] == 2 else answers


def _port(value: Any) -> PortInfo:
    if not value.type.HasField("tensor_type"):
        return PortInfo(name=value.name, type=_PAIRS, shape=())
    kind = value.type.tensor_type
    shape = tuple(dim.dim_value if dim.HasField("dim_value") else None for dim in kind.shape.dim)
    return PortInfo(name=value.name, type=_TYPES.get(kind.elem_type, ""), shape=shape)


def _needed_nodes(nodes: Any, output: str) -> list[Any]:
    """Return the nodes that an output depends on, in order."""
    names_needed, needed = {output}, []
    for node in reversed(nodes):
        if names_needed & set(node.output):
            needed.append(node)
            names_needed |= set(node.input)
    return needed[::-1]


def _lower_node(
    node: Any, values: Mapping[str, Value], program: ProgramWriter, opsets: Any, *, reads_alone: bool
) -> tuple[Value, ...]:
    """Emit the instructions of a node, and return its outputs."""
    arguments = [values.get(name) if name else None for name in node.input]
    attributes = {attribute.name: _plain(attribute) for attribute in node.attribute}
    operator = Node(
        kind=node.op_type, name=node.name, attributes=attributes, outputs=len(node.output), reads_alone=reads_alone
    )
    if any(name and value is None for name, value in zip(node.input, arguments, strict=True)):
        operator.refuse("its input is not produced by any node")
    constant = all(value is None or (isinstance(value, Constant) and not value.each_row) for value in arguments)
    if constant and (arguments or node.op_type == "Constant"):
        return _fold_constants(operator, node, arguments, opsets)
    if node.op_type not in RULES or node.domain not in _OWN:
        operator.refuse("the operator is not supported")
    emitter = Emitter(program=program, node=operator)
    if node.op_type not in _ANY_ORDER:
        arguments = [emitter.in_order(value) if isinstance(value, Rows) else value for value in arguments]
    try:
        made = RULES[node.op_type](emitter, *arguments)
    except (TypeError, KeyError) as error:
        raise NotApplicable(f"engine 'dense' does not support {node.op_type} ({node.name!r}): {error}") from error
    return made if isinstance(made, tuple) else (made,)


def _fold_constants(operator: Node, node: Any, arguments: list[Value | None], opsets: Any) -> tuple[Value, ...]:
    """Evaluate a node that reads only constants."""
    names = {
        name: value.array for name, value in zip(node.input, arguments, strict=True) if isinstance(value, Constant)
    }
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(key.dtype), key.shape)
        for name, key in names.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "constants", inputs, outputs)
    try:
        found = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, names)
    except _EVALUATOR_FAILURES as error:
        operator.refuse(f"its constant inputs cannot be evaluated ({error})")
    return tuple(Constant(array=np.asarray(result)) for result in found)


def _plain(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
