"""Ablation: rebuild a variant without one component, to measure what that component contributes."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.record import Settings
from headway.core.variant import Step, Variant
from headway.engines.formats.nested import split_models
from headway.optimization.context import TransformContext
from headway.optimization.quantization.int8 import (
    CalibratedNetwork,
    calibrate_network,
    quantize_by_row,
    quantize_layers,
)
from headway.optimization.quantization.networks import calibration_rows, float_layers, load_network, rows_with_answers
from headway.optimization.quantization.sensitivity import group_neighbors
from headway.optimization.search import apply_transform

_INT8: Mapping[object, Callable[[CalibratedNetwork, Sequence[str]], bytes]] = {
    "static": quantize_layers,
    "by row": quantize_by_row,
}


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """A part of a variant: without it the chain goes on from `instead` by the steps `rest`."""

    name: str
    instead: Variant
    rest: Sequence[Step]


def iter_components(variant: Variant, origin: Variant, context: TransformContext) -> Iterator[Component]:
    """The parts of a variant that was made of the model as it came, `origin`, by its steps.

    Without a cascade's step the whole model answers every row. Raises NotApplicable where the chain, taken again, does
    not give the variant.
    """
    before = [origin]
    for step in variant.steps:
        taken = _repeat_step(before[-1], step, context)
        if taken is None or taken.steps[-1] != step:
            raise NotApplicable(f"'{step}' cannot be taken again, so nothing can be left out", where=variant.name)
        before.append(taken)
    for at, step in enumerate(variant.steps):
        rest = variant.steps[at + 1 :]
        yield Component(name=str(step), instead=before[at], rest=rest)
        for name, instead in _INNER_COMPONENTS.get(step.transform, _no_components)(before[at], before[at + 1], context):
            yield Component(name=f"{step.transform}: {name}", instead=instead, rest=rest)


def rebuild_without(part: Component, context: TransformContext) -> tuple[str, Variant]:
    """The variant without the part, later steps taken again with the nearest settings that there are.

    One that no longer applies goes with the part, which is then named by both.
    """
    gone, variant = [part.name], part.instead
    for step in part.rest:
        taken = _repeat_step(variant, step, context)
        if taken is None:
            gone.append(str(step))
        else:
            variant = taken
    return " + ".join(gone), variant


def _repeat_step(variant: Variant, step: Step, context: TransformContext) -> Variant | None:
    """The variant after this step, or the one most like it; None where the transform makes nothing of it."""
    found = apply_transform(step.transform, variant, context) if step.transform in plugins.names("transform") else []
    if isinstance(found, Finding) or not found:
        return None
    return max(found, key=lambda each: _count_shared(each.steps[-1].settings, step.settings))


def _count_shared(some: Settings, others: Settings) -> int:
    return len(some.items() & others.items())


def _cascade_components(before: Variant, after: Variant, context: TransformContext) -> Iterator[tuple[str, Variant]]:  # noqa: ARG001
    """A cascade whose first stage answers every row."""
    header, contents = split_models(context.read(after), models=2)
    quick = header.models[0]
    artifact = context.save(contents[0], plugins.load_engine(quick.engine).formats[0])
    yield "second stage", replace(after, artifact=artifact, engine=quick.engine, settings=quick.settings)


def _int8_components(before: Variant, after: Variant, context: TransformContext) -> Iterator[tuple[str, Variant]]:
    """A network with one of its int8 layers in float32; neighbours go together where there are many."""
    net = load_network(context.read(before))
    rows, _ = rows_with_answers(
        plugins.load_engine("onnxruntime")(context.read(before), {}), calibration_rows(context.sample, net.work)
    )
    ready = calibrate_network(net, rows)
    floats = float_layers(context.read(after), ready.net.layers)
    quantised = tuple(name for name in ready.net.layers if name not in floats)
    groups = group_neighbors(quantised) if len(quantised) > 1 else []
    for some in groups:
        left = [name for name in quantised if name not in some]
        content = _INT8[after.steps[-1].settings["scales"]](ready, left)
        said = some[0] if len(some) == 1 else f"{some[0]} to {some[-1]}"
        yield f"int8 of {said}", replace(after, artifact=context.save(content, "onnx"))


def _no_components(before: Variant, after: Variant, context: TransformContext) -> Iterator[tuple[str, Variant]]:  # noqa: ARG001
    yield from ()


_INNER_COMPONENTS = {"cascade": _cascade_components, "quantise": _int8_components}
