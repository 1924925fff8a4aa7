"""Quality of rankings: the order of the rows of each query, with the drop against the baseline."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.intervals import CHANGE, SHARE
from headway.evaluation.statistics.subsets import mean_measurement
from headway.evaluation.statistics.tables import Blocks, build_blocks, tally

TOP = 10
MAX_RELEVANCE = 31.0
"""Gains are 2^relevance - 1, as in LightGBM and XGBoost, which take no more either."""
HINT = 'query_id = "the column of a query", or groups, in [data]'


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Queries:
    """Query of each row, int64 (n,) in 0..L-1, and relevance (n,).

    `kept` bool (L,), and the blocks of those queries.
    """

    codes: Ints
    relevance: Floats
    informative: Bools
    blocks: Blocks


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class _Ranking:
    """Rows by query and descending score: row index, query and rank from 0, each int64 (n,).

    `equal` numbers the runs of tied scores; `starts` (L,) is the position where each query begins.
    """

    rows: Ints
    codes: Ints
    ranks: Ints
    equal: Ints
    starts: Ints


def measure_ranking(subject: Comparison) -> list[Measurement]:
    """Measure `ndcg10`, `mrr` and `map` over queries, each with a paired `.drop` (positive: the variant is worse).

    A row is relevant if its label is above 0. For tied scores, NDCG averages over all orders, the others take the
    worst. Queries whose rows are equally relevant are left out; a query has the mean weight of its rows.

    Raises
    ------
    NotApplicable
        If no query is left, or a query has rows in several groups.
    """
    lists = _queries(subject)
    own, before = (_query_metrics(scores[:, 0], lists) for scores in (subject.scores, subject.reference_scores))
    rows = int(lists.informative[lists.codes].sum())
    found = []
    for name, values in own.items():
        found += [
            mean_measurement(name, values, lists.blocks, SHARE),
            mean_measurement(f"{name}.drop", before[name] - values, lists.blocks, CHANGE),
        ]
    return [replace(measurement, n_rows=rows) for measurement in found]


def ndcg_by_query(subject: Comparison, scores: Sequence[Floats]) -> tuple[list[Floats], Blocks, int]:
    """Return NDCG of each query by each of these scores (n,), the blocks of the queries, and their rows.

    Raises
    ------
    NotApplicable
        As `measure_ranking`.
    """
    lists = _queries(subject)
    values = [_query_metrics(one, lists)["ndcg10"] for one in scores]
    return values, lists.blocks, int(lists.informative[lists.codes].sum())


def query_codes(subject: Comparison) -> Ints:
    """Return the query of each row, int64 (n,) in 0..L-1: as declared, else its group."""
    codes = np.unique(subject.groups if subject.query_ids is None else subject.query_ids, return_inverse=True)[1]
    return codes.astype(np.int64)


def is_first(scores: Floats, codes: Ints) -> Bools:
    """Return which rows rank first in their query, bool (n,); the earlier row wins a tie."""
    ordered = _rank(scores, codes)
    found = np.zeros(len(codes), dtype=np.bool_)
    found[ordered.rows[ordered.starts]] = True
    return found


def _queries(subject: Comparison) -> _Queries:
    rows, labels, codes = build_blocks(subject), subject.labels, query_codes(subject)
    if not ((labels >= 0) & (labels <= MAX_RELEVANCE)).all():
        raise NotApplicable(f"ranking labels must be relevances from 0 to {MAX_RELEVANCE:g}")
    first = np.unique(codes, return_index=True)[1]
    if (rows.groups != rows.groups[first][codes]).any():
        raise NotApplicable("the rows of a query belong to several groups", hint=HINT)
    informative = tally(codes, len(first), (labels != labels[first][codes]).astype(np.float64)) > 0
    if not informative.any():
        raise NotApplicable(f"no query of {len(first):,} has rows of different relevance", hint=HINT)
    return _Queries(
        codes=codes, relevance=labels, informative=informative, blocks=_blocks(rows, codes, first, informative)
    )


def _blocks(rows: Blocks, codes: Ints, first: Ints, informative: Bools) -> Blocks:
    """Build the blocks of the kept queries; `first` (L,) is a row of each query."""
    weights = None
    if rows.weights is not None:
        weights = (tally(codes, len(first), rows.weights) / tally(codes, len(first)))[informative]
    (there, blocks), (groups, numbers) = (
        np.unique(column[first][informative], return_inverse=True) for column in (rows.blocks, rows.groups)
    )
    return Blocks(groups=numbers, blocks=blocks, n_blocks=len(there), n_groups=len(groups), weights=weights)


def _rank(scores: Floats, codes: Ints) -> _Ranking:
    rows = np.lexsort((-scores, codes))
    inside = codes[rows]
    begins = np.diff(inside, prepend=-1) != 0
    starts = np.flatnonzero(begins)
    equal = np.cumsum(begins | (np.diff(scores[rows], prepend=np.nan) != 0)) - 1
    return _Ranking(rows=rows, codes=inside, starts=starts, ranks=np.arange(len(rows)) - starts[inside], equal=equal)


def _query_metrics(scores: Floats, lists: _Queries) -> dict[str, Floats]:
    """Return each metric of each kept query."""
    gains = np.exp2(lists.relevance) - 1
    ordered, ideal = _rank(scores, lists.codes), _rank(gains, lists.codes)
    ideal_dcg = np.where(lists.informative, _dcg(gains, ideal), 1.0)
    found = {"ndcg10": _dcg(gains, ordered) / ideal_dcg, **_mrr_and_map(lists.relevance > 0, ordered)}
    return {name: values[lists.informative] for name, values in found.items()}


def _dcg(gains: Floats, ordered: _Ranking) -> Floats:
    """Return the discounted gain of the first ten rows of each query (L,); tied rows share their gain."""
    shared = tally(ordered.equal, len(gains), gains[ordered.rows]) / np.maximum(tally(ordered.equal, len(gains)), 1)
    discounts = np.where(ordered.ranks < TOP, 1 / np.log2(ordered.ranks + 2), 0.0)
    return tally(ordered.codes, len(ordered.starts), shared[ordered.equal] * discounts)


def _mrr_and_map(relevant: Bools, ordered: _Ranking) -> dict[str, Floats]:
    """Return reciprocal rank and average precision of each query (L,); 0 without a relevant row."""
    hits = relevant[ordered.rows].astype(np.float64)
    above = np.cumsum(hits)
    above -= (above - hits)[ordered.starts][ordered.codes]
    last = np.flatnonzero(np.diff(ordered.equal, append=-1))[ordered.equal]
    ranks = ordered.ranks[last] + 1.0
    count = len(ordered.starts)
    nearest = np.minimum.reduceat(np.where(hits > 0, ranks, np.inf), ordered.starts)
    averages = tally(ordered.codes, count, hits * above[last] / ranks)
    return {"mrr": 1 / nearest, "map": averages / np.maximum(tally(ordered.codes, count, hits), 1)}
