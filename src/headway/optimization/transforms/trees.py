"""Compile a tree model for headway's own kernels, exact in the numbers that its library compares and adds."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.core.arrays import Floats
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.variant import Field, Step, Variant
from headway.engines.compiled.categories import compile_categories
from headway.engines.compiled.forest import compile_forest
from headway.engines.formats.catboost import CategoryEngine, numeric_part
from headway.engines.formats.trees import TreeEngine
from headway.optimization.context import TransformContext
from headway.optimization.parity import check_parity, clip_to_known_ranks, parity_rows, predict_both

STAGE = "restructure"
KEEPS_ANSWERS = True
COST = {"rows": 40_000, "opens": 2}
_MAX_UNKNOWN = 50  # the library gets a string with such a hash, which takes milliseconds to find


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `trees`, if no answer moves by more than 1e-6 on rows at its edges.

    Raises
    ------
    NotApplicable
        If its engine does not expose trees.
    EngineError
        If an answer moves.
    PluginError
        If the kernels were not built.
    """
    engine = load_engine(variant.engine)
    if not isinstance(engine, TreeEngine):
        raise NotApplicable(f"compiles tree models, and engine {variant.engine!r} does not expose trees")
    if variant.signature.texts:
        raise NotApplicable("it reads texts, which transform `text` compiles")
    kernels = load_engine("trees")
    content = context.read(variant)
    form, rows = _with_categories(engine, content, variant, context) or _compile(engine, content, variant, context)
    check_parity(rows, *predict_both(context.open(variant), kernels(form, {}), rows), variant, form="a compiled forest")
    return [variant.remade(Step(transform="trees"), context.save(form, "forest"), engine="trees")]


def _compile(engine: TreeEngine, content: bytes, variant: Variant, context: TransformContext) -> tuple[bytes, Floats]:
    """Return the compiled forest, and rows for parity."""
    forest = engine.forest(content)
    rows = clip_to_known_ranks(parity_rows(forest, context.sample), variant.signature)
    return compile_forest(forest), rows


def _with_categories(
    engine: TreeEngine, content: bytes, variant: Variant, context: TransformContext
) -> tuple[bytes, Floats] | None:
    """Do the same for a model with statistics of categories; None for another one.

    Some rows have random categories, also unknown and missing ones, so that combinations meet that no row of the sample
    has.
    """
    model = engine.category_model(content) if isinstance(engine, CategoryEngine) else None
    if model is None or model.categories is None:
        return None
    form = compile_categories(model)
    rows = parity_rows(numeric_part(model), context.sample)
    random = np.random.default_rng(0)
    for index, field in enumerate(variant.signature.inputs):
        if index in model.categories.columns:
            rows[:, index] = _mixed_categories(context.sample[:, index], field, len(rows), random)
    return form, rows


def _mixed_categories(seen: Floats, field: Field, count: int, random: np.random.Generator) -> Floats:
    """Return values of a categorical column: most of the sample, some of all categories, unknown and missing."""
    known = seen[~np.isnan(seen)]
    some = random.choice(known, count) if len(known) else np.zeros(count)
    listed = random.integers(0, len(field.categories) + 1, count) if field.categories else some + 1
    unknown = len(field.categories) + random.integers(0, _MAX_UNKNOWN, count)
    part = random.random(count)
    return np.select([part < 0.7, part < 0.9, part < 0.97], [some, listed, unknown], np.nan)
