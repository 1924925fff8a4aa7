"""Compile a pipeline of a sentence encoder and a scikit-learn model, so that it runs without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Field, Signature, Step, Variant
from headway.engines.formats.encoder import EncoderEngine
from headway.engines.formats.graph import GraphEngine
from headway.engines.formats.nested import NestedHeader, NestedModel, pack_models
from headway.optimization.context import TransformContext
from headway.optimization.lowering.lower import lower_graph
from headway.optimization.parity import check_parity, predict_or_nan
from headway.optimization.transforms.pipeline import pipeline_to_onnx

STAGE = "restructure"
KEEPS_ANSWERS = True
COST = {"rows": 100, "seconds": 5}

_SAMPLE_ROWS = 100


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `encoder`, if no answer moves by more than 1e-6 on the sample.

    Raises
    ------
    NotApplicable
        If the model does not begin with a sentence encoder.
    EngineError
        If an answer moves.
    """
    engine = load_engine(variant.engine)
    if not variant.signature.texts or not isinstance(engine, EncoderEngine):
        raise NotApplicable("compiles pipelines that begin with a sentence encoder")
    encoder, model = engine.split_encoder(context.read(variant))
    name, head = _compiled(engine, model, load_engine("encoder")(encoder, {}).width)
    content = with_model(encoder, name, head)
    rows = context.sample[:: len(context.sample) // _SAMPLE_ROWS + 1]
    native, compiled = context.open(variant), load_engine("encoder")(content, {})
    if len(rows):
        outputs = native.predict(rows[:0]).shape[1]
        answers = (predict_or_nan(opened, rows, outputs) for opened in (native, compiled))
        check_parity(rows, *answers, variant, form="an encoder and a compiled model")
    return [variant.remade(Step(transform="encoder"), context.save(content, "encoder"), engine="encoder")]


def with_model(encoder: bytes, engine: str, model: bytes) -> bytes:
    """Return the artifact of an encoder before a model of another engine, which reads its vectors."""
    inner = [NestedModel(engine=name, size_bytes=len(part)) for name, part in (("encoder", encoder), (engine, model))]
    return pack_models(NestedHeader(models=tuple(inner)), encoder, model)


def _compiled(engine: object, model: bytes, width: int) -> tuple[str, bytes]:
    """Return the fastest form of the model behind the encoder: engine `dense`, one graph, or scikit-learn's own."""
    if not isinstance(engine, GraphEngine):
        raise NotApplicable("the model behind the encoder has no graph")
    signature = Signature(inputs=tuple(Field(name=f"x{index}") for index in range(width)))
    try:
        graph = pipeline_to_onnx(engine.graph(model), signature)
    except NotApplicable:
        return "sklearn", model
    try:
        return "dense", lower_graph(graph)
    except NotApplicable:
        return "onnxruntime", graph
