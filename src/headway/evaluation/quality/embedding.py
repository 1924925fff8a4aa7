"""Quality of embeddings: whether rows with the same label are nearest neighbours, and how neighbours changed."""

from __future__ import annotations

from dataclasses import replace

import numpy as np

from headway.core.arrays import Floats, Ints
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.intervals import CHANGE, SHARE
from headway.evaluation.statistics.subsets import RowStatistic, subset_mean
from headway.evaluation.statistics.tables import Blocks, block_fields, build_blocks

NEIGHBOURS, MAX_QUERIES, MAX_ROWS = 10, 1_000, 20_000
_QUERY_BATCH = 250


def measure_embedding(subject: Comparison) -> list[Measurement]:
    """Measure `recall1` and `recall10`: a row with the same label is the nearest, or among the ten nearest, by cosine.

    Each has a paired `.drop` (positive: the variant is worse), over rows with another row of their label.
    `neighbours.drop` is the share of the ten nearest neighbours that differ from the baseline's, and `mean_cosine.drop`
    one minus the mean cosine between both answers. At most 1,000 query rows among at most 20,000 are used, spread
    evenly; intervals resample the groups of the query rows.

    Raises
    ------
    NotApplicable
        If the answer is a single number, or there are no more than ten rows.
    """
    blocks, among, asking = _sampled(subject)
    count = blocks.n_rows
    own, before = (_unit(scores) for scores in (subject.scores, subject.reference_scores))
    near, was_near = (_nearest(vectors, asking, among) for vectors in (own, before))
    moved = [len(np.setdiff1d(*pair)) / NEIGHBOURS for pair in zip(near, was_near, strict=True)]
    all_rows = np.ones(count, dtype=np.bool_)
    lacking = 1 - np.einsum("nk,nk->n", own, before)
    cosine = RowStatistic(name="mean_cosine.drop", values=lacking, among=all_rows, bounds=(0.0, 2.0), blocks=blocks)
    neighbours = _row_statistic("neighbours.drop", np.array(moved), asking, blocks)
    recalls, recall_drops = _recalls(subject.labels, asking, (near, was_near), among, blocks)
    is_baseline = not subject.variant.steps and np.array_equal(subject.scores, subject.reference_scores)
    exact = "exact: it is the baseline" if is_baseline else ""
    related = lacking if np.ptp(lacking) > 0 else None  # changed neighbours cluster as the answers that moved do
    drops = [replace(drop, related=related, exact=exact) for drop in (*recall_drops, neighbours)]
    return [subset_mean(statistic, all_rows) for statistic in (*recalls, *drops, cosine)]


def nearest_label_hits(subject: Comparison) -> tuple[Floats, Floats, Blocks]:
    """Return for each query row with another row of its label whether the nearest row has it, and how often by chance.

    Also the blocks of these rows. Raises NotApplicable as `measure_embedding`, or if no label occurs twice.
    """
    blocks, among, asking = _sampled(subject)
    values, counts = np.unique(subject.labels[among], return_counts=True)
    others = counts[np.searchsorted(values, subject.labels[asking])] - 1
    asking, others = asking[others > 0], others[others > 0]
    if not len(asking):
        raise NotApplicable("no label occurs twice, so that no neighbour can have it")
    near = _nearest(_unit(subject.scores), asking, among)[:, 0]
    hits = (subject.labels[near] == subject.labels[asking]).astype(np.float64)
    weights = None if blocks.weights is None else blocks.weights[asking]
    return hits, others / (len(among) - 1), Blocks(**block_fields(subject.groups[asking], weights))


def _sampled(subject: Comparison) -> tuple[Blocks, Ints, Ints]:
    """Return the blocks of all rows, the rows among which neighbours are searched, and the query rows."""
    blocks, (count, width) = build_blocks(subject), subject.scores.shape
    if width < 2 or count <= NEIGHBOURS:
        raise NotApplicable(
            f"the task 'embedding' needs several outputs and more than {NEIGHBOURS} rows, not {width} outputs of "
            f"{count} rows"
        )
    among = _evenly(np.arange(count), MAX_ROWS)
    return blocks, among, _evenly(among, MAX_QUERIES)


def _evenly(rows: Ints, max_rows: int) -> Ints:
    """Return at most `max_rows` of the rows, evenly spread."""
    return rows[:: -(-len(rows) // max_rows)]


def _unit(vectors: Floats) -> Floats:
    """Normalize vectors (n, k) to length 1; zero vectors stay."""
    lengths = np.linalg.norm(vectors, axis=1, keepdims=True)
    found: Floats = vectors / np.where(lengths > 0, lengths, 1.0)
    return found


def _nearest(vectors: Floats, asking: Ints, among: Ints) -> Ints:
    """Return the ten nearest rows of each query row, nearest first, without itself, int64 (asking, 10)."""
    others = vectors[among].astype(np.float32)
    found = []
    for rows in np.array_split(asking, -(-len(asking) // _QUERY_BATCH)):
        cosines = vectors[rows].astype(np.float32) @ others.T
        cosines[np.arange(len(rows)), np.searchsorted(among, rows)] = -np.inf
        some = np.argpartition(-cosines, NEIGHBOURS - 1, axis=1)[:, :NEIGHBOURS]
        order = np.argsort(-np.take_along_axis(cosines, some, axis=1), axis=1, kind="stable")
        found.append(among[np.take_along_axis(some, order, axis=1)])
    return np.concatenate(found)


def _recalls(
    labels: Floats, asking: Ints, near: tuple[Ints, Ints], among: Ints, blocks: Blocks
) -> tuple[list[RowStatistic], list[RowStatistic]]:
    """Return the recalls, and their drops, over rows with another row of their label; nothing if there is none."""
    values, counts = np.unique(labels[among], return_counts=True)
    paired = counts[np.searchsorted(values, labels[asking])] > 1
    recalls, drops = [], []
    for depth in (1, NEIGHBOURS) if paired.any() else ():
        own, before = (
            (labels[rows[paired, :depth]] == labels[asking[paired], None]).any(axis=1).astype(np.float64)
            for rows in near
        )
        recalls.append(_row_statistic(f"recall{depth}", own, asking[paired], blocks))
        drop = _row_statistic(f"recall{depth}.drop", before - own, asking[paired], blocks)
        drops.append(replace(drop, bounds=CHANGE, is_paired=True))
    return recalls, drops


def _row_statistic(name: str, values: Floats, rows: Ints, blocks: Blocks) -> RowStatistic:
    """Build the statistic of these rows alone from their values (rows,)."""
    all_rows, among = np.zeros(blocks.n_rows), np.zeros(blocks.n_rows, dtype=np.bool_)
    all_rows[rows], among[rows] = values, True
    return RowStatistic(name=name, values=all_rows, among=among, bounds=SHARE, blocks=blocks)
