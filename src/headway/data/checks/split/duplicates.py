"""D023: Test rows are copies of training rows, equal in every feature."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, replace

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core.arrays import Floats, Ints
from headway.core.dataset import Dataset
from headway.core.evidence import Finding
from headway.core.variant import MULTILABEL
from headway.data.context import CheckContext
from headway.data.leakage.samples import train_and_test_features

CODES = ("D023",)
MAX_SHARE = 0.01
MIN_COPIES = 10
MIN_KAPPA = 0.9
CLOSE_SHARE = 0.01
MAX_REPEATS = 1 / 3
"""Rows that training rows repeat less than this often, compared with the test, do not repeat by nature."""
MIN_COPIED, MAX_GAP = 0.2, 3
"""Least share of copies among likely ones, and the distances beyond the nearest row at which a copy has no other."""
MAX_PROFILED, MIN_PROFILED, MAX_VALUES = 200, 20, 200_000_000
"""Test rows whose distances to the training rows are counted, and the values that are compared for this."""
_COPIED = ", and so are their outcomes ({agree}): {how_many} copies"
_SIMILAR = ", but their outcomes agree as by chance ({agree}; of copies 0.9 or more): they are similar, not copied"
_COMMON = ", but other training rows are about as near to {near:.0%} of them: they are similar, not copied"
_HINT_COPIED = "remove copies from the source, or give them a group of their own: [data] groups"
_HINT_SIMILAR = "none, unless rows describe the same entity: then declare [data] groups"
_KEY, _ROW = "key", "row"
N_CODES = 251
MOST = 0.9
CodedColumns = Sequence[NDArray[np.uint8]]
"""Each column as codes of shape (n,); equal values have equal codes, and nearly all others have not."""


def plugin(context: CheckContext) -> list[Finding]:
    """Return at most one finding; above 1 % of the test it is a warning if the rows are copies.

    The outcomes of copies agree too. And a copy is isolated: of rows that agree by chance, there are more that agree in
    all columns but one or two than in all of them. Or training rows hardly ever repeat each other.
    """
    train, test = train_and_test_features(context)
    equal = match_rows(*([row_hashes(dataset.table.select(train.features))] for dataset in (train, test)))
    return copy_findings(count_copies(train, test, equal), code="D023", how="equal in every feature")


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedRows:
    """Number of test rows, number of likely copies among them, and the agreement of their outcomes with the originals.

    Cohen's kappa (1960) is 1 if all outcomes are copied and 0 if they agree as often as in random pairs; None if no
    copy has an outcome on both sides. It is that of the copies if there are enough of them. `copied` is the share of
    the likely copies that are copies, 0 to 1.
    """

    rows: int
    found: int
    kappa: float | None
    copied: float = 1.0

    @property
    def share(self) -> float:
        """Share of the test rows that are likely copies."""
        return self.found / self.rows

    @property
    def outcomes_agree(self) -> bool:
        """Whether the outcomes do not speak against copies."""
        return self.kappa is None or self.kappa >= MIN_KAPPA

    @property
    def is_many(self) -> bool:
        """Whether enough rows are found, and enough of them copies, to make test metrics optimistic."""
        n_copied = self.found * self.copied
        return self.copied >= MIN_COPIED and n_copied > MAX_SHARE * self.rows and n_copied >= MIN_COPIES


def row_hashes(table: pl.DataFrame) -> pl.Series:
    """Hash each row to 64 bits."""
    texts = [pl.col(name).cast(pl.String) for name, kind in table.schema.items() if kind in (pl.Categorical, pl.Enum)]
    return table.with_columns(texts).hash_rows()


def match_rows(train: Sequence[pl.Series], test: Sequence[pl.Series]) -> pl.Series:
    """Return the index of a training row with an equal key for each test row, null if there is none."""
    found = [_match_pair(*pair) for pair in zip(train, test, strict=True)]
    return pl.select(pl.coalesce(found)).to_series()


def count_copies(
    train: Dataset, test: Dataset, source: pl.Series, *, coded: Callable[[pl.DataFrame], CodedColumns] | None = None
) -> CopiedRows:
    """Count the likely copies among the test rows, and measure whether they are copies.

    Parameters
    ----------
    train, test : Dataset
        Rows.
    source : Series of shape (n,)
        Index of the training row that a test row resembles; null if there is none.
    coded : callable, optional
        Codes of each column of a table, by which rows are near each other; default: hashes of the values, where rows
        that hardly ever repeat are copies too.
    """
    likely = source.is_not_null()
    pairs = pl.DataFrame({"source": _outcomes(train).gather(source), "copy": _outcomes(test)})
    copies = CopiedRows(rows=len(source), found=int(likely.sum()), kappa=_kappa(pairs.filter(likely), train))
    if not copies.is_many:
        return copies
    tables = [dataset.table.select(train.features) for dataset in (train, test)]
    repeats = coded is not None or row_hashes(tables[0]).is_duplicated().sum() >= MAX_REPEATS * copies.share * len(
        train.table
    )
    if not repeats and copies.outcomes_agree:
        return copies
    known, tested = ((coded or _value_codes)(table) for table in tables)
    sample = _sample_rows(likely.arg_true().to_numpy(), n_values=len(known) * len(known[0]))
    isolated = sample[[_is_isolated(known, tested, int(row)) for row in sample]]
    kappa = _kappa(pairs[isolated.tolist()], train) if len(isolated) >= MIN_COPIES else copies.kappa
    return replace(copies, copied=len(isolated) / len(sample), kappa=kappa)


def copy_findings(found: CopiedRows, *, code: str, how: str) -> list[Finding]:
    """Return a warning if many rows and their outcomes are copies, and a note if rows are merely similar.

    Rows of few coarse columns repeat naturally. Their outcomes then agree no more than those of other rows, or many
    training rows are about as near.
    """
    if not found.found or (found.share <= MAX_SHARE and not found.outcomes_agree):
        return []
    warns = found.is_many and found.outcomes_agree
    is_common = found.outcomes_agree and not warns and found.copied < 1
    message = _COMMON if is_common else _COPIED if found.outcomes_agree else _SIMILAR
    agree = "none has an outcome" if found.kappa is None else f"kappa {found.kappa:.2f}"
    n_copied = round(found.found * found.copied)
    how_many = "they are" if n_copied >= MOST * found.found else f"about {n_copied:,} of them are"
    hint = _HINT_COPIED if message == _COPIED else _HINT_SIMILAR
    return [
        Finding(
            code=code,
            severity="warn" if warns else "note",
            message=f"{found.found:,} of {found.rows:,} test rows ({found.share:.1%}) are {how} to training rows"
            + message.format(agree=agree, how_many=how_many, near=1 - found.copied),
            where="[split] test",
            measured=found.share,
            limit=MAX_SHARE,
            hint=hint,
        )
    ]


def _match_pair(train: pl.Series, test: pl.Series) -> pl.Series:
    """Join the smaller side first, since few rows of the larger one have a copy."""
    candidates = pl.DataFrame({_KEY: test})
    rows = pl.DataFrame({_KEY: train, _ROW: np.arange(len(train))}).join(candidates, on=_KEY, how="semi")
    return candidates.join(rows.unique(_KEY, keep="any"), on=_KEY, how="left", maintain_order="left")[_ROW]


def _value_codes(table: pl.DataFrame) -> CodedColumns:
    texts = [pl.col(name).cast(pl.String) for name, kind in table.schema.items() if kind in (pl.Categorical, pl.Enum)]
    return [(column.hash() % N_CODES).cast(pl.UInt8).to_numpy() for column in table.with_columns(texts)]


def _sample_rows(rows: Ints, *, n_values: int) -> Ints:
    """Return some of the rows, fewer if the table to compare them with has many values."""
    count = min(len(rows), MAX_PROFILED, max(MIN_PROFILED, MAX_VALUES // n_values))
    return rows[np.linspace(0, len(rows) - 1, count).astype(np.int64)]


def _is_isolated(train: CodedColumns, test: CodedColumns, row: int) -> bool:
    """Return whether no training row is nearly as near to a test row as the nearest one.

    The distance of two rows is the number of columns in which they differ. If columns agree by chance, even dependent
    ones, rows at the next distances are more frequent than at the smallest; next to a copy there is none.
    """
    distance: NDArray[np.int32] = np.zeros(len(train[0]), dtype=np.int32)
    for ours, theirs in zip(train, test, strict=True):
        np.add(distance, ours != theirs[row], out=distance)
    nearest, gap = int(distance.min()), max(1, min(MAX_GAP, len(train) // 3))
    return not ((distance > nearest) & (distance <= nearest + gap)).any()


def _outcomes(dataset: Dataset) -> pl.Series:
    """Return the outcomes as numbers; equal sets of labels have equal ones."""
    target = dataset.table[dataset.roles.target]
    if dataset.roles.task != MULTILABEL:
        return target.cast(pl.Float64)
    return target.hash().cast(pl.Float64).set(target.is_null(), None)


def _kappa(pairs: pl.DataFrame, train: Dataset) -> float | None:
    """Compute how much more often the outcomes of pairs agree than with any training row; None without a pair."""
    pairs, outcomes = pairs.drop_nulls(), _outcomes(train).drop_nulls().to_numpy()
    if pairs.is_empty():
        return None
    near = CLOSE_SHARE * float(np.std(outcomes, ddof=1)) if train.roles.task == "regression" else 0.0
    return outcome_agreement(pairs["source"].to_numpy(), pairs["copy"].to_numpy(), outcomes, near=near)


def outcome_agreement(source: Floats, copy: Floats, outcomes: Floats, *, near: float = 0.0) -> float:
    """Compute how much more often the outcomes of pairs (n,) agree than with any of `outcomes` (m,): Cohen's kappa.

    Outcomes agree if they differ by `near` at most.
    """
    known = np.sort(outcomes)
    agree = float((np.abs(source - copy) <= near).mean())
    n_near = np.searchsorted(known, copy + near, "right") - np.searchsorted(known, copy - near, "left")
    chance = min(float(n_near.mean()) / len(known), 1 - 1e-9)
    return (agree - chance) / (1 - chance)
