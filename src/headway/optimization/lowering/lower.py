"""Lower the ONNX graph of a small network to a program for engine `dense`."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Any

import numpy as np
import onnx
from onnx import helper, numpy_helper
from onnx.reference import ReferenceEvaluator

from headway.core.errors import NotApplicable
from headway.engines.compiled.program import write_program
from headway.engines.formats.onnx_ports import graph_inputs, score_output
from headway.optimization.lowering import numeric_ops, shape_ops
from headway.optimization.lowering.program import Constant, Emitter, Kind, Node, ProgramWriter, Rows, Span, Value

RULES = {**numeric_ops.RULES, **shape_ops.RULES}

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


@dataclass(slots=True, kw_only=True)
class _Port:
    """An input or output as `onnx_ports` asks for it."""

    name: str
    type: str
    shape: Sequence[int | str | None]


def lower_graph(content: bytes) -> bytes:
    """The bytes of a tape that answers as a graph does; raises NotApplicable that names the node it cannot say."""
    model = onnx.load_from_string(content)
    graph = model.graph
    values: dict[str, Value] = {each.name: Constant(array=numpy_helper.to_array(each)) for each in graph.initializer}
    inputs = graph_inputs([_port(each) for each in graph.input if each.name not in values])
    output = score_output([_port(each) for each in graph.output])
    if inputs.fixed or any(each.most for each in inputs.inputs):
        raise NotApplicable("engine 'dense' reads any number of rows, and no whole numbers")
    tape = ProgramWriter(width=inputs.width)
    for each in inputs.inputs:
        shape = () if each.flat else (each.last - each.first,)
        kind: Kind = "double" if each.dtype is np.float64 else "float"
        values[each.name] = Rows(span=Span(0, each.first), shape=shape, kind=kind)
    for node in _needed_nodes(graph.node, output):
        made = _lower_node(node, values, tape, model.opset_import)
        values |= {name: value for name, value in zip(node.output, made, strict=False) if name}
    answer = values.get(output)
    if not isinstance(answer, Rows) or answer.kind not in ("float", "wide"):
        raise NotApplicable(f"engine 'dense' cannot say output {output!r}: it is not made of a row")
    first = 1 if answer.size == 2 else 0  # of two classes that of the second, as `onnxruntime` answers
    span = Span(answer.span.register, answer.span.offset + first)
    return write_program(tape.written(span, answer.size - first))


def _port(value: Any) -> _Port:
    if not value.type.HasField("tensor_type"):
        return _Port(name=value.name, type=_PAIRS, shape=())
    kind = value.type.tensor_type
    shape = tuple(each.dim_value if each.HasField("dim_value") else None for each in kind.shape.dim)
    return _Port(name=value.name, type=_TYPES.get(kind.elem_type, ""), shape=shape)


def _needed_nodes(nodes: Any, output: str) -> list[Any]:
    """The nodes that an output is made by, in order."""
    wanted, kept = {output}, []
    for node in reversed(nodes):
        if wanted & set(node.output):
            kept.append(node)
            wanted |= set(node.input)
    return kept[::-1]


def _lower_node(node: Any, values: Mapping[str, Value], tape: ProgramWriter, opsets: Any) -> tuple[Value, ...]:
    """What a node makes of values."""
    given = [values.get(name) if name else None for name in node.input]
    attributes = {each.name: _plain(each) for each in node.attribute}
    asked = Node(kind=node.op_type, name=node.name, attributes=attributes, outputs=len(node.output))
    if any(name and value is None for name, value in zip(node.input, given, strict=True)):
        asked.refuse("what it reads is made nowhere")
    constant = all(each is None or (isinstance(each, Constant) and not each.each_row) for each in given)
    if constant and (given or node.op_type == "Constant"):
        return _fold_constants(asked, node, given, opsets)
    if node.op_type not in RULES or node.domain not in _OWN:
        asked.refuse("no step of a tape is that")
    try:
        made = RULES[node.op_type](Emitter(tape=tape, node=asked), *given)
    except (TypeError, KeyError) as error:
        raise NotApplicable(f"engine 'dense' cannot say {node.op_type} ({node.name!r}): {error}") from error
    return made if isinstance(made, tuple) else (made,)


def _fold_constants(asked: Node, node: Any, given: list[Value | None], opsets: Any) -> tuple[Value, ...]:
    """What a node makes of constants alone, which it then makes once."""
    names = {name: each.array for name, each in zip(node.input, given, strict=True) if isinstance(each, Constant)}
    inputs = [
        helper.make_tensor_value_info(name, helper.np_dtype_to_tensor_dtype(each.dtype), each.shape)
        for name, each in names.items()
    ]
    outputs = [onnx.ValueInfoProto(name=name) for name in node.output if name]
    graph = helper.make_graph([node], "constants", inputs, outputs)
    try:
        found = ReferenceEvaluator(helper.make_model(graph, opset_imports=opsets)).run(None, names)
    except _EVALUATOR_FAILURES as error:
        asked.refuse(f"what it makes of constants is not known ({error})")
    return tuple(Constant(array=np.asarray(each)) for each in found)


def _plain(attribute: Any) -> Any:
    value = helper.get_attribute_value(attribute)
    return numpy_helper.to_array(value) if isinstance(value, onnx.TensorProto) else value
