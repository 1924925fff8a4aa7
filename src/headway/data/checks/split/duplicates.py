"""D023: Test rows are copies of training rows, equal in every feature."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
import polars as pl

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
_COPIED = ", and so are their outcomes ({agree}): they are copies"
_SIMILAR = ", but their outcomes agree as by chance ({agree}; of copies 0.9 or more): they are similar, not copied"
_HINT_COPIED = "remove copies from the source, or give them a group of their own: [data] groups"
_HINT_SIMILAR = "none, unless rows describe the same entity: then declare [data] groups"
_KEY, _ROW = "key", "row"


def plugin(context: CheckContext) -> list[Finding]:
    """Return at most one finding; above 1 % of the test it is a warning if the outcomes agree too."""
    train, test = train_and_test_features(context)
    equal = match_rows(*([row_hashes(dataset.table.select(train.features))] for dataset in (train, test)))
    return copy_findings(count_copies(train, test, equal), code="D023", how="equal in every feature")


@dataclass(frozen=True, slots=True, kw_only=True)
class CopiedRows:
    """Number of test rows, number of copies among them, and the agreement of their outcomes with the copied rows.

    Cohen's kappa (1960) is 1 if all outcomes are copied and 0 if they agree as often as in random pairs; None if
    no copy has an outcome on both sides.
    """

    rows: int
    found: int
    kappa: float | None

    @property
    def share(self) -> float:
        """Share of the test rows that are copies."""
        return self.found / self.rows


def row_hashes(table: pl.DataFrame) -> pl.Series:
    """Hash each row to 64 bits."""
    texts = [pl.col(name).cast(pl.String) for name, kind in table.schema.items() if kind in (pl.Categorical, pl.Enum)]
    return table.with_columns(texts).hash_rows()


def match_rows(train: Sequence[pl.Series], test: Sequence[pl.Series]) -> pl.Series:
    """Return the index of a training row with an equal key for each test row, null if there is none."""
    found = [_match_pair(*pair) for pair in zip(train, test, strict=True)]
    return pl.select(pl.coalesce(found)).to_series()


def count_copies(train: Dataset, test: Dataset, source: pl.Series) -> CopiedRows:
    """Count the copies among the test rows and measure whether their outcomes were copied too."""
    copied = source.is_not_null()
    one, two = _outcomes(train), _outcomes(test)
    pairs = pl.DataFrame({"one": one.gather(source.drop_nulls()), "two": two.filter(copied)}).drop_nulls()
    kappa = None if pairs.is_empty() else _kappa(pairs, train)
    return CopiedRows(rows=len(source), found=int(copied.sum()), kappa=kappa)


def copy_findings(found: CopiedRows, *, code: str, how: str) -> list[Finding]:
    """Return a warning if many rows and their outcomes are copies, and a note if rows are merely similar.

    Rows of few coarse columns repeat naturally. Their outcomes then agree no more than those of other rows.
    """
    copied = found.kappa is None or found.kappa >= MIN_KAPPA
    if not found.found or (found.share <= MAX_SHARE and not copied):
        return []
    warns = found.share > MAX_SHARE and found.found >= MIN_COPIES and copied
    message, hint = (_COPIED, _HINT_COPIED) if copied else (_SIMILAR, _HINT_SIMILAR)
    agree = "none has an outcome" if found.kappa is None else f"kappa {found.kappa:.2f}"
    return [
        Finding(
            code=code,
            severity="warn" if warns else "note",
            message=f"{found.found:,} of {found.rows:,} test rows ({found.share:.1%}) are {how} to training rows"
            + message.format(agree=agree),
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


def _outcomes(dataset: Dataset) -> pl.Series:
    """Return the outcomes as numbers; equal sets of labels have equal ones."""
    target = dataset.table[dataset.roles.target]
    if dataset.roles.task != MULTILABEL:
        return target.cast(pl.Float64)
    return target.hash().cast(pl.Float64).set(target.is_null(), None)


def _kappa(pairs: pl.DataFrame, train: Dataset) -> float:
    """Compute how much more often outcomes agree than after a permutation."""
    one, two = pairs["one"].to_numpy(), pairs["two"].to_numpy()
    spread = _outcomes(train).std()
    near = CLOSE_SHARE * float(spread) if train.roles.task == "regression" and isinstance(spread, float) else 0.0
    agree = float((np.abs(one - two) <= near).mean())
    permuted = np.random.default_rng(0).permutation(one)
    chance = min(float((np.abs(permuted - two) <= near).mean()), 1 - 1e-9)
    return (agree - chance) / (1 - chance)
