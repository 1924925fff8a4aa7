"""Ablation: rebuild a variant without one component, to measure what that component contributes."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass

from msgspec.structs import replace

from headway.core import plugins
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.record import Settings
from headway.core.variant import Step, Variant
from headway.engines.formats.nested import split_models
from headway.optimization.context import TransformContext
from headway.optimization.search import apply_transform


@dataclass(frozen=True, slots=True, kw_only=True)
class Component:
    """One component of a variant.

    Without it, the chain of steps continues from `replacement` with `later_steps`.
    """

    name: str
    replacement: Variant
    later_steps: Sequence[Step]


def iter_components(variant: Variant, baseline: Variant, context: TransformContext) -> Iterator[Component]:
    """Yield the components of a variant: each step, and the inner components of a cascade or an int8 network.

    Parameters
    ----------
    variant
        Variant made from `baseline` by its steps.
    baseline
        Variant with no steps.
    context
        Artifacts and data that the transforms worked with.

    Raises
    ------
    NotApplicable
        If repeating the steps does not give the variant.
    """
    before = [baseline]
    for step in variant.steps:
        repeated = _repeat_step(before[-1], step, context)
        if repeated is None or repeated.steps[-1] != step:
            raise NotApplicable(f"step '{step}' cannot be repeated, so no component can be removed", where=variant.name)
        before.append(repeated)
    for index, step in enumerate(variant.steps):
        later_steps = variant.steps[index + 1 :]
        yield Component(name=str(step), replacement=before[index], later_steps=later_steps)
        for name, replacement in _INNER_COMPONENTS.get(step.transform, _no_components)(
            before[index], before[index + 1], context
        ):
            yield Component(name=f"{step.transform}: {name}", replacement=replacement, later_steps=later_steps)


def rebuild_without(component: Component, context: TransformContext) -> tuple[str, Variant]:
    """Rebuild the variant without one component, and return the name of what was removed with it.

    Later steps are repeated with the nearest settings the transform offers. A step that no longer applies is removed
    too, and its name is added to that of the component.
    """
    removed, variant = [component.name], component.replacement
    for step in component.later_steps:
        repeated = _repeat_step(variant, step, context)
        if repeated is None:
            removed.append(str(step))
        else:
            variant = repeated
    return " + ".join(removed), variant


def repeat_steps(baseline: Variant, steps: Sequence[Step], context: TransformContext) -> Variant:
    """Return a baseline after the same steps.

    Raises
    ------
    NotApplicable
        If a transform does not make the same step of it.
    """
    variant = baseline
    for step in steps:
        repeated = _repeat_step(variant, step, context)
        if repeated is None or repeated.steps[-1].transform != step.transform:
            raise NotApplicable(f"step '{step}' cannot be repeated on a retrained model", where=variant.name)
        variant = repeated
    return variant


def _repeat_step(variant: Variant, step: Step, context: TransformContext) -> Variant | None:
    """Return the variant after this step, or the most similar one; None if the transform makes none."""
    found = apply_transform(step.transform, variant, context) if step.transform in plugins.names("transform") else []
    if isinstance(found, Finding) or not found:
        return None
    return max(found, key=lambda candidate: _count_shared(candidate.steps[-1].settings, step.settings))


def _count_shared(first: Settings, second: Settings) -> int:
    return len(first.items() & second.items())


def _cascade_components(before: Variant, after: Variant, context: TransformContext) -> Iterator[tuple[str, Variant]]:  # noqa: ARG001
    """Yield the cascade reduced to its first stage."""
    header, contents = split_models(context.read(after), models=2)
    quick = header.models[0]
    artifact = context.save(contents[0], plugins.load_engine(quick.engine).formats[0])
    yield "second stage", replace(after, artifact=artifact, engine=quick.engine, settings=quick.settings)


def _int8_components(before: Variant, after: Variant, context: TransformContext) -> Iterator[tuple[str, Variant]]:
    """Yield what `_int8_ablation.int8_components` does; its libraries take a quarter of the start of a command."""
    library = plugins.load_sibling(__name__, "int8_ablation", reads="an int8 network")
    yield from library.int8_components(before, after, context)


def _no_components(before: Variant, after: Variant, context: TransformContext) -> Iterator[tuple[str, Variant]]:  # noqa: ARG001
    yield from ()


_INNER_COMPONENTS = {"cascade": _cascade_components, "quantise": _int8_components}
