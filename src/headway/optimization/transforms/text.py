"""Compile a scikit-learn pipeline over texts for headway's own kernel: from texts to scores, without scikit-learn."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import Engine
from headway.core.errors import NotApplicable
from headway.core.plugins import load_engine
from headway.core.texts import text_codes
from headway.core.variant import Step, Variant
from headway.engines.formats.text import TextEngine
from headway.optimization.context import TransformContext
from headway.optimization.parity import check_parity, predict_or_nan

STAGE = "restructure"
KEEPS_ANSWERS = True
COST = {"rows": 2_000, "seconds": 1}

_SAMPLE_ROWS = 2_000
EDGE_TEXTS = (
    *("", " ", "\t\n\r\x0b\x0c", "\x00", "\x1c\x1d\x85\u2028\u3000", "a", "A b C d", "!!! ... ???", "x_y __ 42 3.14"),
    *("I\u2019m don't O'Neil", "CAFÉ café cafe\u0301 Ünder straße", "İstanbul ıI ﬁne ™ ² ½", "😀 👩‍👩‍👧 👍🏽 ❤️"),
    *(
        "東京 の 天気",
        "привет мир",
        "مرحبا بالعالم",
        "नमस्ते दुनिया",
        "שלום עולם",
        "١٢٣ ൧൨",
        "a" * 60_000,
        "word " * 12_000,
    ),
)
"""Texts on which tokenizers differ."""


def plugin(variant: Variant, context: TransformContext) -> Sequence[Variant]:
    """Return the variant for engine `text`, if no answer moves by more than 1e-6 on the sample and on edge texts.

    Raises
    ------
    NotApplicable
        If the model reads no texts, or has a step that the kernel cannot express, which the error names.
    EngineError
        If an answer moves.
    PluginError
        If the kernel was not built.
    """
    engine = load_engine(variant.engine)
    if not variant.signature.texts or not isinstance(engine, TextEngine):
        raise NotApplicable("compiles pipelines over texts")
    kernel = load_engine("text")
    program = engine.text_program(context.read(variant))
    native, compiled = context.open(variant), kernel(program, {})
    rows = _rows_to_compare(variant, context.sample)
    outputs = _count_outputs(native, rows)
    answers = (predict_or_nan(model, rows, outputs) for model in (native, compiled))
    check_parity(rows, *answers, variant, form="a text program")
    return [variant.remade(Step(transform="text"), context.save(program, "text"), engine="text")]


def _count_outputs(engine: Engine, rows: Floats) -> int:
    """Return how many scores a model answers, by the first row that it does not refuse; 1 if it refuses all."""
    answers = (predict_or_nan(engine, rows[index : index + 1], 0).shape[1] for index in range(len(rows)))
    return next((count for count in answers if count), 1)


def _rows_to_compare(variant: Variant, sample: Floats) -> Floats:
    """Return rows of the sample, then rows with each edge text, some with changed texts of the sample."""
    rows = sample[:: len(sample) // _SAMPLE_ROWS + 1]
    columns = [index for index, field in enumerate(variant.signature.inputs) if field.is_text]
    if len(rows):
        base = np.resize(rows, (len(EDGE_TEXTS), rows.shape[1]))
    else:
        base = np.zeros((len(EDGE_TEXTS), rows.shape[1]))
        base[:, columns] = text_codes[""]
    parts = [rows]
    for column in columns:
        edges, upper = base.copy(), rows[:100].copy()
        edges[:, column] = [text_codes[text] for text in EDGE_TEXTS]
        known = text_codes.texts(upper[:, column])
        upper[:, column] = [text_codes[None if text is None else f"{text.upper()}, é{text}"] for text in known]
        parts += [edges, upper]
    return np.concatenate(parts)
