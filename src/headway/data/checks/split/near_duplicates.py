"""D024: Test rows nearly equal training rows: rounded, jittered, or with a few changed values or words."""

from __future__ import annotations

from collections.abc import Collection, Mapping, Sequence
from functools import partial

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Floats
from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.data.checks.split.duplicates import (
    MAX_SHARE,
    MIN_COPIES,
    N_CODES,
    CodedColumns,
    copy_findings,
    count_copies,
    match_rows,
    row_hashes,
)
from headway.data.context import CheckContext
from headway.data.leakage.samples import train_and_test_features
from headway.data.leakage.similar_texts import find_similar, joined_texts, normal_form

CODES = ("D024",)
BANDS = 5
MIN_FEATURES = 5
STEPS, SAMPLE = 50, 10_000
MIDDLE = (0.05, 0.95)
LONG_TEXT = 20
NO_WORD = r"[\W_]+"
FARTHEST = 2.0**52
MAX_TEXTS, MAX_SHOWN = 200_000, 3
"""Texts of a period that are compared, evenly spread; pairs of rows that are named."""
Codes = NDArray[np.uint64]
Band = Mapping[str, tuple[float, np.uint64]]
"""Compared column -> the offset of its rounding edges and the factor of its hash."""


def plugin(context: CheckContext) -> list[Finding]:
    """Return at most one finding on rows that agree, rounded, in four fifths of the features, but not in all exactly.

    Texts are compared on their own: a finding counts those that nearly equal a text before the test.

    Numbers are rounded to 1/50 of the central 90 % of the training rows; long strings are reduced to letters.
    Features are split into 5 bands; two rows match if they agree outside of one band. Rounding edges differ
    between bands, so that most jittered pairs match in at least one. The count is a lower bound. Severity is as
    for D023.
    """
    train, test = train_and_test_features(context)
    names = train.features
    texts = _similar_texts(context, train, test) if train.texts else []
    if train.texts and len(names) < MIN_FEATURES:
        return texts
    if len(names) < MIN_FEATURES:
        raise NotApplicable(f"rows of {len(names)} features are similar by chance; {MIN_FEATURES} are needed")
    tables = (train.table.select(names), test.table.select(names))
    sample = tables[0].gather_every(max(1, len(tables[0]) // SAMPLE))
    steps, bands = _steps(sample), _bands(names)
    coded = partial(_coded, steps=steps, long=_long_texts(sample))
    keys = [_keys(coded(table), bands) for table in tables]
    near = match_rows(*keys)
    similar = pl.select(pl.when(~_equal(tables, (keys[0][0], keys[1][0]), near)).then(near)).to_series()
    copies = count_copies(train, test, similar, coded=lambda table: _rounded(coded(table)))
    return texts + copy_findings(copies, code="D024", how="equal in four fifths of the features, rounded,")


def _similar_texts(context: CheckContext, train: Dataset, test: Dataset) -> list[Finding]:
    """Return a finding on test rows whose texts nearly equal those of a training row, other than copies of rows."""
    known, texts = (joined_texts(period.table.gather_every(_step(period)), train.texts) for period in (train, test))
    found = find_similar(normal_form(known), normal_form(texts))
    tables = (period.table.gather_every(_step(period)).select(train.features) for period in (train, test))
    copied = match_rows(*([row_hashes(table)] for table in tables)).is_not_null().to_numpy()
    rows = np.flatnonzero((found.source >= 0) & ~copied)
    if not len(rows):
        return []
    share, n_equal = len(rows) / len(texts), int((found.is_equal & ~copied).sum())
    in_table = joined_texts(context.dataset.table, train.texts)
    pairs = [(texts[row], known[int(found.source[row])]) for row in rows[:MAX_SHOWN].tolist()]
    shown = [
        " and ".join(str(1 + int(in_table.index_of(text) or 0)) for text in pair)
        for pair in pairs
        if pair[0] != pair[1]
    ]
    return [
        Finding(
            code="D024",
            severity="warn" if share > MAX_SHARE and len(rows) >= MIN_COPIES else "note",
            message=f"the texts of {len(rows):,} of {len(texts):,} test rows ({share:.1%}) nearly equal those of a "
            f"training row, {n_equal:,} of them but for case, white space and punctuation"
            + (f"; such as rows {', '.join(shown)} of the table" if shown else ""),
            where=f"[split] test, column {', '.join(train.texts)}",
            measured=share,
            limit=MAX_SHARE,
            hint="give such rows a group of their own, [data] groups, or remove them: test metrics are optimistic",
        )
    ]


def _step(period: Dataset) -> int:
    return max(1, -(-len(period.table) // MAX_TEXTS))


def _coded(table: pl.DataFrame, steps: Mapping[str, float], long: Collection[str]) -> dict[str, Codes | Floats]:
    """Return each column in rounding steps, or as a hash of its values; of long strings, of their letters."""
    steps_of = {name: (table[name].cast(pl.Float64) / step).fill_null(float("nan")) for name, step in steps.items()}
    found: dict[str, Codes | Floats] = {
        name: np.clip(np.nan_to_num(column.to_numpy(), nan=-FARTHEST), -FARTHEST, FARTHEST)
        for name, column in steps_of.items()
    }
    others = table.select(column for column in table.columns if column not in steps)
    texts = (column.cast(pl.String) if column.dtype in (pl.Categorical, pl.Enum) else column for column in others)
    words = (
        column.str.to_lowercase().str.replace_all(NO_WORD, "") if column.name in long else column for column in texts
    )
    return found | {column.name: column.hash().to_numpy() for column in words}


def _rounded(columns: Mapping[str, Codes | Floats]) -> CodedColumns:
    """Return the steps and hashes as small codes."""
    steps = (column if column.dtype == np.uint64 else np.floor(column + 0.5) for column in columns.values())
    return [np.mod(column, N_CODES).astype(np.uint8) for column in steps]


def _keys(columns: Mapping[str, Codes | Floats], bands: Sequence[Band]) -> list[pl.Series]:
    """Return a 64-bit key per row for each band, equal for rows that agree in all columns outside of it."""
    found = []
    for band in bands:
        key = np.zeros(len(next(iter(columns.values()))), dtype=np.uint64)
        for name, (edge, factor) in band.items():
            column = columns[name]
            codes = column if column.dtype == np.uint64 else np.floor(column + edge).astype(np.int64).view(np.uint64)
            key += codes.astype(np.uint64, copy=False) * factor
        found.append(pl.Series(key))
    return found


def _equal(tables: Sequence[pl.DataFrame], keys: Sequence[pl.Series], near: pl.Series) -> pl.Series:
    """Return which test rows equal a training row; only candidates of the first band and near rows are compared."""
    candidates = near.is_not_null()
    rows = tables[1].filter(candidates)
    possible = tables[0].filter(keys[0].is_in(keys[1].filter(candidates).implode()))
    found = match_rows([row_hashes(possible)], [row_hashes(rows)]).is_not_null()
    return pl.repeat(False, len(candidates), eager=True).scatter(candidates.arg_true(), found)


def _bands(names: list[str]) -> list[Band]:
    """Return, for each band, the columns outside of it, each with a rounding edge and a hash factor."""
    draw = np.random.default_rng(0)
    left_out = np.array_split(draw.permutation(len(names)), BANDS)
    bands: list[Band] = []
    for band in left_out:
        edges, factors = draw.random(len(names)), draw.integers(1 << 63, size=len(names), dtype=np.uint64) * 2 + 1
        indices = (index for index in range(len(names)) if index not in band)
        bands.append({names[index]: (float(edges[index]), factors[index]) for index in indices})
    return bands


def _steps(sample: pl.DataFrame) -> dict[str, float]:
    """Return the rounding step of each numeric column with a non-zero central range."""
    numbers = [name for name, kind in sample.schema.items() if kind.is_numeric()]
    if not numbers:
        return {}
    low, high = (sample.select(pl.col(numbers).quantile(edge)).row(0) for edge in MIDDLE)
    widths = {
        name: (to - since) / STEPS for name, since, to in zip(numbers, low, high, strict=True) if since is not None
    }
    return {name: float(width) for name, width in widths.items() if width > 0}


def _long_texts(sample: pl.DataFrame) -> list[str]:
    texts = [name for name, kind in sample.schema.items() if kind == pl.String]
    lengths = sample.select(pl.col(texts).str.len_chars().mean()).row(0, named=True) if texts else {}
    return [name for name, length in lengths.items() if length is not None and length > LONG_TEXT]
