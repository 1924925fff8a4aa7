"""Parity between a model and its new form: every answer agrees to 1e-6, on the sample and on edge cases."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Engine
from headway.core.errors import EngineError
from headway.core.variant import NUMBERS, Variant
from headway.engines.formats.trees import Forest, accepted_rows
from headway.optimization.edge_cases import edge_rows

Floats = NDArray[np.float64]

TOLERANCE = 1e-6
_SAMPLE_ROWS = 5_000
_MAX_CELLS_SHOWN = 8


def parity_rows(forest: Forest, sample: Floats, *, integers: Sequence[int] = ()) -> Floats:
    """Return rows of the sample and rows at the edges of the forest; columns of `integers` are truncated."""
    selected = sample[:: len(sample) // _SAMPLE_ROWS + 1]
    selected = selected[accepted_rows(forest, selected)]
    rows = np.concatenate([selected, edge_rows(forest, selected)])
    rows[:, integers] = np.trunc(rows[:, integers])
    return rows


def predict_both(native: Engine, compiled: Engine, rows: Floats) -> tuple[Floats, Floats]:
    """Return the answers of both models; edge rows beyond float32 cause no warnings."""
    with np.errstate(over="ignore", invalid="ignore"):
        return native.predict(rows), compiled.predict(rows)


def predict_or_nan(engine: Engine, rows: Floats, outputs: int) -> Floats:
    """Return the answers of a model, with NaN for each row that it refuses.

    A refused batch is halved until the refused row is alone.
    """
    try:
        with np.errstate(all="ignore"):  # numbers that a step can make nothing of are among the edges
            return engine.predict(rows)
    except EngineError:
        if len(rows) == 1:
            return np.full((1, outputs), np.nan)
    half = len(rows) // 2
    return np.concatenate([predict_or_nan(engine, part, outputs) for part in (rows[:half], rows[half:])])


def check_parity(rows: Floats, expected: Floats, found: Floats, variant: Variant, *, form: str) -> None:
    """Raise EngineError, naming the row that moved most, if an answer moved by more than 1e-6.

    Parameters
    ----------
    rows : ndarray of shape (n, d)
        Rows that both models answered.
    expected, found : ndarray of shape (n, k)
        Answers of the model and of its new form. NaN, for a refused row, must be NaN in both.
    variant
        Variant of the original form. For a regression the limit is 1e-6 of the largest answer.
    form
        Noun phrase for the new form, such as "an ONNX graph".
    """
    largest = float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected)))
    allowed = TOLERANCE * (max(largest, TOLERANCE) if variant.task in NUMBERS else 1.0)
    equal = (np.isnan(expected) & np.isnan(found)) | (expected == found)
    with np.errstate(invalid="ignore"):
        change = np.where(equal, 0.0, np.nan_to_num(np.abs(expected - found), nan=np.inf)).max(axis=1, initial=0.0)
    if not len(change) or change.max() <= allowed:
        return
    worst = int(np.argmax(change))
    raise EngineError(
        f"as {form} the model answers {_format_answer(found[worst])} instead of {_format_answer(expected[worst])}",
        where=f"{int((change > allowed).sum()):,} of {len(rows):,} rows, edge cases among them, moved by more than "
        f"{allowed:.2g}; the largest change: {_format_row(rows[worst], variant)}",
        hint="[optimize] transforms, without this one",
    )


def _format_answer(answer: Floats) -> str:
    return "a refusal" if np.isnan(answer).any() else " ".join(f"{value:.9g}" for value in answer)


def _format_row(row: Floats, variant: Variant) -> str:
    """Format the first cells of a row, so that it can be sent again."""
    cells = [f"{name}={value!r}" for name, value in zip(variant.signature.names, row.tolist(), strict=True)]
    more = f", and {len(cells) - _MAX_CELLS_SHOWN} more" if len(cells) > _MAX_CELLS_SHOWN else ""
    return f"{', '.join(cells[:_MAX_CELLS_SHOWN])}{more}"
