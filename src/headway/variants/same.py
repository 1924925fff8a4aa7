"""Whether a model in another form still answers the same: to 1e-6, on rows of the table and on rows at its edges."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
from numpy.typing import NDArray

from headway.core.contracts import Engine
from headway.core.errors import EngineError
from headway.engines.formats.trees import Forest, taken
from headway.variants.edges import edge_rows

Floats = NDArray[np.float64]

TOLERANCE = 1e-6
_SAMPLE_ROWS = 5_000
_SHOWN = 12


def rows_to_compare(forest: Forest, sample: Floats, *, whole: Sequence[int] = ()) -> Floats:
    """Rows of the sample, and rows at the edges of the forest; columns of `whole` hold no parts of categories."""
    some = sample[:: len(sample) // _SAMPLE_ROWS + 1]
    some = some[taken(forest, some)]
    rows = np.concatenate([some, edge_rows(forest, some)])
    rows[:, whole] = np.trunc(rows[:, whole])
    return rows


def expect_same(native: Engine, compiled: Engine, rows: Floats, *, relative: bool, form: str) -> None:
    """Raise EngineError, with the row, where an answer moved by more than 1e-6.

    Where that is `relative`, 1e-6 of the largest answer is meant. `form` says what the model became: `an ONNX graph`.
    """
    with np.errstate(over="ignore", invalid="ignore"):  # numbers beyond float32 are among the edges
        expected, found = native.predict(rows), compiled.predict(rows)
        # Equal infinities have no difference.
        change = np.nan_to_num(np.where(expected == found, 0.0, np.abs(expected - found)), nan=np.inf)
        change[np.isnan(expected) & np.isnan(found)] = 0.0
    scale = float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected))) if relative else 1.0
    worst = np.unravel_index(np.argmax(change), change.shape) if change.size else None
    if worst is None or change[worst] <= TOLERANCE * scale:
        return
    allowed = TOLERANCE * scale
    moved = int(np.sum(np.any(change > allowed, axis=1)))
    raise EngineError(
        f"as {form} the model answers otherwise, by up to {change[worst]:.2g}",
        where=f"{moved:,} of {len(rows):,} rows, some of them at the edges of its trees; allowed: {allowed:.2g}; "
        f"{found[worst]:.6g} in place of {expected[worst]:.6g} for {_shown(rows[worst[0]])}",
        mend="[optimize] transforms, without this one",
    )


def _shown(row: Floats) -> str:
    """The first values of a row, so that it can be asked again."""
    more = f", and {len(row) - _SHOWN} more" if len(row) > _SHOWN else ""
    return f"[{', '.join(repr(float(value)) for value in row[:_SHOWN])}{more}]"
