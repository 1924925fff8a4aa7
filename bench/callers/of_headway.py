"""A variant of headway: its engine on prepared rows, and the model that `headway.optimize` returns, with validation."""

from __future__ import annotations

from typing import Any

import numpy as np
from msgspec.structs import replace

from callers.call import Call, Order, on_frames
from headway.api.model import Model
from headway.core.contracts import Engine
from headway.core.plugins import load_engine
from headway.core.record import read
from headway.core.variant import LIBRARY_THRESHOLD, Variant
from headway.engines.compiled.text import TextModel
from headway.evaluation.quality.row_errors import decide_class
from headway.serving.protocol.tensors import string_codes


def engine(order: Order) -> Call:
    """Call the engine of the variant, with the order's options as further settings."""
    return Call(_opened(order)[1].predict)


def pipeline(order: Order) -> Call:
    """Call the engine of the variant on raw columns: the codes of categories are looked up in the call."""
    variant, opened = _opened(order)
    inputs = variant.signature.inputs
    ranks = [
        {text: float(rank) for rank, text in enumerate(field.categories)} if field.datatype == "BYTES" else None
        for field in inputs
    ]

    def ready(frame: Any) -> list[Any]:
        columns = [frame[field.name] for field in inputs]
        return [column.tolist() if known else column.to_numpy() for column, known in zip(columns, ranks, strict=True)]

    def predict(columns: list[Any]) -> Any:
        rows = np.empty((len(columns[0]), len(columns)))
        for index, (values, known) in enumerate(zip(columns, ranks, strict=True)):
            rows[:, index] = [known.get(text, np.nan) for text in values] if known else values
        return opened.predict(rows)

    return Call(predict, ready=ready)


def categories(order: Order) -> Call:
    """Call the engine of the variant on a list of rows with strings, whose codes are looked up in the call."""
    variant, opened = _opened(order)
    codes = tuple(string_codes(field) for field in variant.signature.inputs)
    engine: Any = opened
    names = list(variant.signature.names)
    return Call(
        lambda rows: engine.predict_cells(rows, codes), ready=lambda frame: frame[names].to_numpy(object).tolist()
    )


def drop_in(order: Order) -> Call:
    """Call predict_proba of the model that `headway.optimize` returns."""
    model = Model(*_opened(order))
    call = Call(model.predict_proba)
    return on_frames(call, model.feature_names_in_) if order.options.get("frames") else call


def scored(order: Order) -> Call:
    """Compute the score of the engine, and decide by it."""
    engine = _opened(order)[1]
    return Call(lambda rows: decide_class(engine.predict(rows), LIBRARY_THRESHOLD))


def decided(order: Order) -> Call:
    """Ask the engine for the decision alone."""
    variant, opened = _opened(order)
    engine: Any = opened
    if variant.task == "multiclass":
        return Call(engine.most_probable)
    return Call(lambda rows: engine.at_least(rows, LIBRARY_THRESHOLD))


def text_kernel(order: Order) -> Call:
    """Call the text kernel with the program of a pipeline on a list of texts."""
    return Call(TextModel((order.model / "program").read_bytes(), {}).score, ready=list)


def _opened(order: Order) -> tuple[Variant, Engine]:
    variant = read(Variant, (order.model / "variant").read_bytes())
    options = {name: value for name, value in order.options.items() if name != "frames"}
    variant = replace(variant, settings={**variant.settings, **options})
    content = (order.model / "artifact").read_bytes()
    return variant, load_engine(variant.engine)(content, variant.settings)
