"""Parity between a model and its new form: every answer agrees to 1e-6, on the sample and on edge cases.

Edge cases are rows at the thresholds of trees, with missing and infinite values, and with unknown categories.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Mapping, Sequence

import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import Engine
from headway.core.errors import EngineError
from headway.core.variant import NUMBERS, Signature, Variant
from headway.engines.formats.trees import ZERO_THRESHOLD, Forest, accepted_rows

ROUNDS = 4
MAX_EDGES = 4096
_COMMON_EDGES = np.array(
    [np.nan, np.inf, -np.inf, 0.0, -0.0, 1e-35, -1e-35, 2.0**24 + 1, -(2.0**24) - 1, 1e300, -1e300]
)
_CATEGORY_OFFSETS = np.array([-0.5, 0.0, 0.5, 1.0])


Splits = tuple[Mapping[int, Floats], Mapping[int, Floats]]
"""Thresholds and categories by column."""


def edge_rows(forest: Forest, sample: Floats) -> Floats:
    """Make rows in which about half of the values are edges of their column and the rest come from `sample`.

    Every edge appears in four rows. A column with more than 4,096 edges contributes that many, drawn at random with a
    fixed seed. The forest's library accepts every row.

    Parameters
    ----------
    forest
        Forest whose thresholds and category sets are the edges.
    sample : ndarray of shape (n, d)
        Rows to take the remaining values from.

    Returns
    -------
    ndarray of shape (m, d), float64
    """
    random = np.random.default_rng(0)
    splits = splits_of(forest)
    columns = [column_edges(forest, column, random, splits=splits) for column in range(forest.width)]
    height = max(len(edges) for edges in columns)
    sample = sample[accepted_rows(forest, sample)]
    base = sample if len(sample) else np.zeros((1, forest.width))
    return np.concatenate([_edge_batch(columns, base, height, random) for _ in range(ROUNDS)])


def _edge_batch(columns: list[Floats], base: Floats, height: int, random: np.random.Generator) -> Floats:
    """Make 2 * height rows with each edge once, in one of two rows that share their values from the sample."""
    edges = np.column_stack([random.permutation(np.resize(column, height)) for column in columns])
    from_sample = base[random.integers(len(base), size=height)]
    half = random.random(edges.shape) < 0.5
    return np.concatenate([np.where(half, edges, from_sample), np.where(half, from_sample, edges)])


def column_edges(forest: Forest, column: int, random: np.random.Generator, *, splits: Splits | None = None) -> Floats:
    """Return values of a column on each side of every threshold and category, special ones, and missing values.

    `splits` are those of `splits_of`, which a caller of many columns passes.
    """
    thresholds, categories = splits or splits_of(forest)
    at, members = thresholds.get(column, _COMMON_EDGES[:0]), categories.get(column, _COMMON_EDGES[:0])
    steps = [_neighbors(at), _float32_neighbors(at)] if forest.input_dtype == "float32" else [_neighbors(at)]
    missing = [] if np.isnan(forest.missing) else [forest.missing]
    around = np.add.outer(members, _CATEGORY_OFFSETS).ravel()
    small = (
        [_neighbors(np.array([-ZERO_THRESHOLD, ZERO_THRESHOLD])), [-ZERO_THRESHOLD, ZERO_THRESHOLD]]
        if column in forest.zero_as_missing
        else []
    )
    found = _routable(forest, column, np.concatenate([at, *steps, around, missing, *small, _COMMON_EDGES]))
    return found if len(found) <= MAX_EDGES else random.choice(found, MAX_EDGES, replace=False)


def _routable(forest: Forest, column: int, edges: Floats) -> Floats:
    """Return the edges that the column's library accepts, and the largest numbers it accepts."""
    if column in forest.finite_columns:
        largest = np.nextafter(forest.magnitude_limit, 0)
        edges = np.append(edges[~(np.abs(edges) > largest)], [-largest, largest])
    return edges[~np.isnan(edges)] if column in forest.required_columns else edges


def _neighbors(at: Floats) -> Floats:
    with np.errstate(over="ignore"):  # the next number above the largest is infinity
        return np.nextafter(at[:, None], [-np.inf, np.inf]).ravel()


def _float32_neighbors(at: Floats) -> Floats:
    """Return the next float32 numbers, and the midpoints, which round to either side."""
    with np.errstate(over="ignore"):
        steps = np.nextafter(at.astype(np.float32)[:, None], np.array([-np.inf, np.inf], np.float32)).astype(np.float64)
        half = (at[:, None] + steps) / 2
    return np.concatenate([steps.ravel(), half.ravel(), _neighbors(half.ravel())])


def splits_of(forest: Forest) -> Splits:
    """Return the sorted thresholds of each column that some tree splits, and its sorted categories."""
    thresholds, categories = defaultdict[int, list[float]](list), defaultdict[int, list[Floats]](list)
    for tree in forest.trees:
        for column, categorical, threshold in zip(
            tree.feature.tolist(), tree.categorical.tolist(), tree.threshold.tolist(), strict=True
        ):
            if categorical:
                categories[column].append(tree.sets[int(threshold)].astype(np.float64))
            else:
                thresholds[column].append(threshold)
    return (
        {column: np.unique(np.array(found)) for column, found in thresholds.items()},
        {column: np.unique(np.concatenate(found)) for column, found in categories.items()},
    )


_EDGE_VALUES = (np.nan, np.inf, -np.inf, 0.0, -1.0, 1e9, -1e9)


def add_edge_cases(rows: Floats) -> Floats:
    """Append one row for each column and each edge value: missing, infinite, zero, negative and very large."""
    base = np.nan_to_num(rows[:1]) if len(rows) else np.zeros((1, rows.shape[1]))
    made = np.repeat(base, rows.shape[1] * len(_EDGE_VALUES), axis=0)
    for number, row in enumerate(made):
        row[number % rows.shape[1]] = _EDGE_VALUES[number // rows.shape[1]]
    return np.concatenate([rows, made])


def clip_to_known_ranks(rows: Floats, signature: Signature) -> Floats:
    """Replace each number in a string column that is not the rank of a category by one that is; keep missing values."""
    found = rows.copy()
    for index, field in enumerate(signature.inputs):
        if field.datatype == "BYTES" and not field.is_text:
            ranks = len(field.categories) + field.ranks_unseen
            found[:, index] = _wrap_ranks(rows[:, index], ranks)
    return found


def _wrap_ranks(values: Floats, count: int) -> Floats:
    if not count:
        return np.full(len(values), np.nan)
    with np.errstate(invalid="ignore"):
        return np.where(np.isnan(values), np.nan, np.nan_to_num(np.abs(np.trunc(values)) % count))


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
    """Return the answers of a model, with NaN for each row that it rejects.

    A rejected batch is halved until the rejected row is isolated.
    """
    try:
        with np.errstate(all="ignore"):  # edge values may overflow in a step
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
        Answers of the model and of its new form. NaN, for a rejected row, must be NaN in both.
    variant
        Variant of the original form. For a regression the limit is 1e-6 of the largest answer.
    form
        Noun phrase for the new form, such as "an ONNX graph".
    """
    change, allowed = _changes(expected, found, variant)
    if not len(change) or change.max() <= allowed:
        return
    worst = int(np.argmax(change))
    raise EngineError(
        f"as {form} the model answers {_format_answer(found[worst])} instead of {_format_answer(expected[worst])}",
        where=f"{int((change > allowed).sum()):,} of {len(rows):,} rows, edge cases among them, moved by more than "
        f"{allowed:.2g}; the largest change: {_format_row(rows[worst], variant)}",
        hint="[optimize] transforms, without this one",
    )


def answers_agree(expected: Floats, answers: Floats, variant: Variant) -> bool:
    """Return whether no answer, (n, k), moved by more than `check_parity` allows."""
    change, allowed = _changes(expected, answers, variant)
    return bool((change <= allowed).all())


def _changes(expected: Floats, answers: Floats, variant: Variant) -> tuple[Floats, float]:
    """Return the largest change of each row, and the change that is allowed."""
    largest = float(np.max(np.abs(expected), initial=0.0, where=np.isfinite(expected)))
    allowed = TOLERANCE * (max(largest, TOLERANCE) if variant.task in NUMBERS else 1.0)
    equal = (np.isnan(expected) & np.isnan(answers)) | (expected == answers)
    with np.errstate(invalid="ignore"):
        change = np.where(equal, 0.0, np.nan_to_num(np.abs(expected - answers), nan=np.inf)).max(axis=1, initial=0.0)
    return change, allowed


def _format_answer(answer: Floats) -> str:
    return "a rejection" if np.isnan(answer).any() else " ".join(f"{value:.9g}" for value in answer)


def _format_row(row: Floats, variant: Variant) -> str:
    """Format the first cells of a row, so that it can be sent again."""
    cells = [f"{name}={value!r}" for name, value in zip(variant.signature.names, row.tolist(), strict=True)]
    more = f", and {len(cells) - _MAX_CELLS_SHOWN} more" if len(cells) > _MAX_CELLS_SHOWN else ""
    return f"{', '.join(cells[:_MAX_CELLS_SHOWN])}{more}"
