"""D024: rows of the test that nearly are rows learned from: rounded, jittered, or with a few values changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping

import numpy as np
import polars as pl

from headway.core.contracts import Survey
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.leakage.copies import compared, copies, exact_keys, sources, told

BANDS = 5
FEWEST_FEATURES = 5
STEPS, SAMPLE = 50, 10_000
MIDDLE = (0.05, 0.95)
LONG_TEXT = 20
NO_WORD = r"[\W_]+"


def plugin(survey: Survey) -> list[Finding]:
    """At most one finding; rows count that agree, rounded, in four fifths of the features, and are not equal in all.

    Numbers are rounded to a fiftieth of the middle 90 % of the rows learned from, long texts to their letters. Features
    are dealt into 5 bands, and two rows are near if they agree in all that is outside of one band; edges of rounding
    lie elsewhere for each, so that most pairs agree in one of them that differ by a jitter alone. The count is a lower
    bound. A warning as for D023: above 1 % of the test, and where the outcomes agree.
    """
    learned, test = compared(survey)
    names = learned.features
    if len(names) < FEWEST_FEATURES:
        raise NotApplicable(
            f"rows of {len(names)} features are near each other by chance; {FEWEST_FEATURES} are needed"
        )
    tables = [each.table.select(names) for each in (learned, test)]
    equal = sources(*([exact_keys(table)] for table in tables))
    near = sources(*([exact_keys(table.select(band)) for band in _bands(tables[0])] for table in tables))
    apart = pl.select(pl.when(equal.is_null()).then(near)).to_series()
    return told(copies(learned, test, apart), code="D024", how="in four fifths of the features, rounded")


def _bands(learned: pl.DataFrame) -> list[list[pl.Expr]]:
    """For each band, all columns outside of it as they are compared."""
    draw = np.random.default_rng(0)
    left_out = np.array_split(draw.permutation(learned.width), BANDS)
    steps, long = _steps(learned), _long_texts(learned)
    bands = []
    for band in left_out:
        edges = draw.random(learned.width)
        kept = [(name, edges[place]) for place, name in enumerate(learned.columns) if place not in band]
        bands.append([_compared(name, edge, steps, long) for name, edge in kept])
    return bands


def _compared(name: str, edge: float, steps: Mapping[str, float], long: Collection[str]) -> pl.Expr:
    column = pl.col(name)
    if name in long:
        return column.str.to_lowercase().str.replace_all(NO_WORD, "")
    return (column / steps[name] + edge).floor() if name in steps else column


def _steps(learned: pl.DataFrame) -> dict[str, float]:
    """The width of a step of each column of numbers that has a middle to speak of."""
    numbers = [name for name, kind in learned.schema.items() if kind.is_numeric()]
    sample = learned.gather_every(max(1, len(learned) // SAMPLE))
    low, high = (sample.select(pl.col(numbers).quantile(edge)).row(0) for edge in MIDDLE)
    widths = {
        name: (to - since) / STEPS for name, since, to in zip(numbers, low, high, strict=True) if since is not None
    }
    return {name: float(width) for name, width in widths.items() if width > 0}


def _long_texts(learned: pl.DataFrame) -> list[str]:
    texts = [name for name, kind in learned.schema.items() if kind == pl.String]
    lengths = learned.select(pl.col(texts).str.len_chars().mean()).row(0, named=True) if texts else {}
    return [name for name, length in lengths.items() if length is not None and length > LONG_TEXT]
