"""Estimate label noise: the transition matrix, the number of wrong labels per class, and error probabilities of rows.

The transition matrix is read where the class is nearly certain (anchor points: Patrini et al. 2017) and
applied to all rows as in confident learning (Northcutt, Jiang and Chuang 2021). So rows with an unpredictable
class are not counted as wrong labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headway.core.arrays import Floats, Ints, softmax
from headway.core.student import student_quantile
from headway.data.labels.out_of_fold import OutOfFold, mean_log_loss

MIN_ANCHORS = 200
"""Or half of a smaller class; with fewer rows, purity is too uncertain."""
PRIOR_ROWS = 20
_ANCHOR_SHARES = np.geomspace(0.01, 1.0, 21)
BLOCKS, MIN_BLOCKS = 20, 5
"""Number of blocks of groups of the jackknife: one for each group if there are fewer."""
_TEMPERATURES = np.geomspace(0.2, 5.0, 61)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelNoise:
    """Estimated label noise.

    `transition`, of shape (k, k), has the probability that a row of one class (row) is labeled as another
    (column). `error_probability`, of shape (n,), is the probability that the label of a row is wrong; `suggested`
    is the likeliest other class. `counts`, of shape (k,), are the expected errors by label. `standard_errors`, of
    shape (k + 1,), are those of the counts and of their sum, by a jackknife over `blocks` of groups; None with fewer
    than MIN_BLOCKS.
    """

    transition: Floats
    error_probability: Floats
    suggested: Ints
    counts: Floats
    standard_errors: Floats | None
    blocks: int = BLOCKS

    @property
    def t_quantile(self) -> float:
        """The quantile of Student's t that gives 95 % intervals."""
        return student_quantile(0.975, max(self.blocks, MIN_BLOCKS) - 1)

    @property
    def count(self) -> float:
        """Expected number of wrong labels."""
        return float(self.counts.sum())


def estimate_noise(oof: OutOfFold) -> LabelNoise:
    """Estimate the label noise from out-of-fold probabilities."""
    scaled = temperature_scaled(oof)
    one_hot = np.eye(len(oof.classes))[oof.labels]
    sums, anchors = _anchor_counts_by_block(scaled, _anchor_rows(scaled, one_hot), one_hot)
    transition = _transition_matrix(sums.sum(axis=0), anchors.sum(axis=0))
    counts = count_errors(one_hot.sum(axis=0), transition)
    wrong = error_probabilities(scaled, transition)
    scale = counts / np.maximum(np.bincount(oof.labels, wrong, len(oof.classes)), 1e-12)
    others = np.where(one_hot == 1, -1.0, scaled.probabilities)
    return LabelNoise(
        transition=transition,
        error_probability=np.minimum(wrong * scale[oof.labels], 1.0),
        suggested=others.argmax(axis=1),
        counts=counts,
        standard_errors=_standard_errors(scaled, sums, anchors),
        blocks=_count_blocks(oof),
    )


def count_errors(sizes: Floats, transition: Floats) -> Floats:
    """Return the expected number of wrong labels per class, from class sizes (k,) and the transition matrix (k, k)."""
    true = np.clip(sizes @ np.linalg.pinv(transition), 0.0, None)
    true *= sizes.sum() / true.sum()
    return true @ (transition - np.diag(np.diag(transition)))


def temperature_scaled(oof: OutOfFold) -> OutOfFold:
    """Return the probabilities calibrated by temperature scaling (Guo et al. 2017)."""
    logs = np.log(np.clip(oof.probabilities, 1e-6, 1.0))
    sample = np.random.default_rng(0).permutation(len(logs))[:20_000]
    losses = [mean_log_loss(softmax(logs[sample] / temperature), oof.labels[sample]) for temperature in _TEMPERATURES]
    return replace(oof, probabilities=softmax(logs / _TEMPERATURES[int(np.argmin(losses))]))


def error_probabilities(oof: OutOfFold, transition: Floats) -> Floats:
    """Return the probability that the true class differs from the label, shape (n,), given the transition matrix."""
    true = np.clip(oof.probabilities @ np.linalg.pinv(transition), 0.0, None)
    true /= true.sum(axis=1, keepdims=True)
    joint = true * transition[:, oof.labels].T
    right = joint[np.arange(len(true)), oof.labels]
    found: Floats = 1 - right / np.maximum(joint.sum(axis=1), 1e-12)
    return found


def _anchor_rows(oof: OutOfFold, one_hot: Floats) -> list[Ints]:
    """Return the rows most certain to be of each class: the same share of every class, chosen for the highest purity.

    Purity is the mean share of correct labels less two standard errors, so that a few correct rows do not pass as
    a class without noise.
    """
    sizes = np.maximum(one_hot.sum(axis=0).astype(np.int64), 2)
    min_rows = np.minimum(MIN_ANCHORS, sizes // 2)
    orders = [np.argsort(-oof.confidence[:, label], kind="stable")[:size] for label, size in enumerate(sizes)]
    depths = [np.clip((sizes * share).astype(np.int64), min_rows, sizes) for share in _ANCHOR_SHARES]
    rights = [np.cumsum(one_hot[order, label]) for label, order in enumerate(orders)]
    confidence = np.empty(len(depths))
    for number, depth in enumerate(depths):
        right = np.array([correct[min(rows, len(correct)) - 1] for correct, rows in zip(rights, depth, strict=True)])
        pure = (right + 1) / (depth + 2)
        confidence[number] = pure.mean() - 2 * np.sqrt((pure * (1 - pure) / depth).sum()) / len(depth)
    best = depths[int(np.argmax(confidence))]
    return [order[:rows] for order, rows in zip(orders, best, strict=True)]


def _anchor_counts_by_block(oof: OutOfFold, anchors: list[Ints], one_hot: Floats) -> tuple[Floats, Floats]:
    """Count anchors and their labels by block and class, shapes (blocks, k, k) and (blocks, k)."""
    blocks, count = _block_of_row(oof), _count_blocks(oof)
    sums = np.zeros((count, len(anchors), len(anchors)))
    counts = np.zeros((count, len(anchors)))
    for label, rows in enumerate(anchors):
        np.add.at(sums[:, label], blocks[rows], one_hot[rows])
        counts[:, label] = np.bincount(blocks[rows], minlength=count)
    return sums, counts


def _count_blocks(oof: OutOfFold) -> int:
    return min(BLOCKS, oof.n_groups)


def _block_of_row(oof: OutOfFold) -> Ints:
    return oof.groups * _count_blocks(oof) // oof.n_groups


def _transition_matrix(sums: Floats, counts: Floats) -> Floats:
    """Return label shares by true class, shrunk towards the mean over classes by PRIOR_ROWS rows."""
    right = np.trace(sums) / counts.sum()
    others = max(1, len(counts) - 1)
    usual = np.where(np.eye(len(counts)) == 1, right, (1 - right) / others)
    found: Floats = (sums + PRIOR_ROWS * usual) / (counts + PRIOR_ROWS)[:, None]
    return found


def _standard_errors(oof: OutOfFold, sums: Floats, anchors: Floats) -> Floats | None:
    """Compute jackknife errors over blocks of consecutive groups; neighbors that depend on each other share a block."""
    n_blocks = _count_blocks(oof)
    if n_blocks < MIN_BLOCKS:
        return None
    counts = np.zeros((n_blocks, len(oof.classes)))
    np.add.at(counts, (_block_of_row(oof), oof.labels), 1.0)
    without = np.empty((n_blocks, len(oof.classes)))
    for block in range(n_blocks):
        transition = _transition_matrix(sums.sum(axis=0) - sums[block], anchors.sum(axis=0) - anchors[block])
        sizes = counts.sum(axis=0) - counts[block]
        without[block] = count_errors(sizes, transition) * counts.sum() / sizes.sum()
    without = np.column_stack([without, without.sum(axis=1)])
    errors: Floats = np.sqrt((n_blocks - 1) / n_blocks * np.square(without - without.mean(axis=0)).sum(axis=0))
    return errors
