"""D024: rows of the test that nearly are rows learned from: rounded, jittered, or with a few values changed."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence

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
    tables = (learned.table.select(names), test.table.select(names))
    sample = tables[0].gather_every(max(1, len(tables[0]) // SAMPLE))
    coded = [_coded(table, _long_texts(sample)) for table in tables]
    bands = _bands(names, _steps(sample))
    keys = [[exact_keys(table.select(band)) for band in bands] for table in coded]
    near = sources(*keys)
    apart = pl.select(pl.when(~_equal(tables, (keys[0][0], keys[1][0]), near)).then(near)).to_series()
    return told(copies(learned, test, apart), code="D024", how="in four fifths of the features, rounded")


def _coded(table: pl.DataFrame, long: Collection[str]) -> pl.DataFrame:
    """The table with a number for each text: that of its letters, where the column is one of long texts."""
    kinds = (pl.String, pl.Categorical, pl.Enum)
    texts = {name: pl.col(name).cast(pl.String) for name, kind in table.schema.items() if kind in kinds}
    words = {name: texts[name].str.to_lowercase().str.replace_all(NO_WORD, "") for name in long}
    return table.with_columns(each.hash().alias(name) for name, each in (texts | words).items())


def _equal(tables: Sequence[pl.DataFrame], keys: Sequence[pl.Series], near: pl.Series) -> pl.Series:
    """Which rows of a test are equal to one learned from: only those near one can be, and such as agree in one band."""
    asked = near.is_not_null()
    rows = tables[1].filter(asked)
    possible = tables[0].filter(keys[0].is_in(keys[1].filter(asked).implode()))
    found = sources([exact_keys(possible)], [exact_keys(rows)]).is_not_null()
    return pl.repeat(False, len(asked), eager=True).scatter(asked.arg_true(), found)


def _bands(names: list[str], steps: Mapping[str, float]) -> list[list[pl.Expr]]:
    """For each band, all columns outside of it as they are compared."""
    draw = np.random.default_rng(0)
    left_out = np.array_split(draw.permutation(len(names)), BANDS)
    bands = []
    for band in left_out:
        edges = draw.random(len(names))
        kept = [(name, edges[place]) for place, name in enumerate(names) if place not in band]
        bands.append([_compared(name, edge, steps) for name, edge in kept])
    return bands


def _compared(name: str, edge: float, steps: Mapping[str, float]) -> pl.Expr:
    column = pl.col(name)
    return (column / steps[name] + edge).floor() if name in steps else column


def _steps(sample: pl.DataFrame) -> dict[str, float]:
    """The width of a step of each column of numbers that has a middle to speak of."""
    numbers = [name for name, kind in sample.schema.items() if kind.is_numeric()]
    low, high = (sample.select(pl.col(numbers).quantile(edge)).row(0) for edge in MIDDLE)
    widths = {
        name: (to - since) / STEPS for name, since, to in zip(numbers, low, high, strict=True) if since is not None
    }
    return {name: float(width) for name, width in widths.items() if width > 0}


def _long_texts(sample: pl.DataFrame) -> list[str]:
    texts = [name for name, kind in sample.schema.items() if kind == pl.String]
    lengths = sample.select(pl.col(texts).str.len_chars().mean()).row(0, named=True) if texts else {}
    return [name for name, length in lengths.items() if length is not None and length > LONG_TEXT]
