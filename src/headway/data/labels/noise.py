"""How many labels are wrong, by class: how labels turn into others, and the chance that each one is wrong.

How labels turn is read where the class is as good as certain (anchors: Patrini and others 2017), and counted over all
rows as confident learning does (Northcutt, Jiang and Chuang 2021). Rows whose class nobody could tell count by what the
sure ones show, so that chance in the outcome is not taken for wrong labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headway.data.labels.out_of_fold import Floats, Ints, OutOfFold, log_loss

MIN_ANCHORS = 200
"""Or half of a class that is smaller: of fewer rows, some are right by luck."""
PRIOR_ROWS = 20
_ANCHOR_SHARES = np.geomspace(0.01, 1.0, 21)
BLOCKS = 20
T_QUANTILE = 2.0930240544082634
"""The 97.5 % quantile of Student's t with BLOCKS - 1 degrees of freedom."""
_TEMPERATURES = np.geomspace(0.2, 5.0, 61)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LabelNoise:
    """What is known of wrong labels among rows that were told.

    `turned` float64 [k, k] has the chance that a row of one class (line) is labelled as another (column); `wrong`
    float64 [n] the chance of each row that its label is wrong, `likely` int64 [n] the likeliest other class. `counts`
    [k] are the sums over the rows so labelled, `errors` [k + 1] the standard errors of these and of their sum, over
    blocks of groups; None where there are too few groups.
    """

    transition: Floats
    error_probability: Floats
    suggested: Ints
    counts: Floats
    standard_errors: Floats | None

    @property
    def count(self) -> float:
        """How many labels are wrong."""
        return float(self.counts.sum())


def estimate_noise(oof: OutOfFold) -> LabelNoise:
    """The noise in the labels of rows that were told."""
    ready = temperature_scaled(oof)
    held = np.eye(len(oof.classes))[oof.labels]
    sums, anchors = _anchor_counts_by_block(ready, _anchor_rows(ready, held), held)
    transition = _transition_matrix(sums.sum(axis=0), anchors.sum(axis=0))
    counts = count_errors(held.sum(axis=0), transition)
    wrong = error_probabilities(ready, transition)
    scale = counts / np.maximum(np.bincount(oof.labels, wrong, len(oof.classes)), 1e-12)
    others = np.where(held == 1, -1.0, ready.probabilities)
    return LabelNoise(
        transition=transition,
        error_probability=np.minimum(wrong * scale[oof.labels], 1.0),
        suggested=others.argmax(axis=1),
        counts=counts,
        standard_errors=_standard_errors(ready, sums, anchors),
    )


def count_errors(sizes: Floats, transition: Floats) -> Floats:
    """How many rows labelled as each class are of another, [k], from how many are so labelled and how labels turn."""
    true = np.clip(sizes @ np.linalg.pinv(transition), 0.0, None)
    true *= sizes.sum() / true.sum()
    found: Floats = true @ (transition - np.diag(np.diag(transition)))
    return found


def temperature_scaled(oof: OutOfFold) -> OutOfFold:
    """The same with its probabilities made as sure as the labels bear out, by one temperature (Guo and others 2017)."""
    logs = np.log(np.clip(oof.probabilities, 1e-6, 1.0))
    sample = np.random.default_rng(0).permutation(len(logs))[:20_000]
    losses = [log_loss(_softmax(logs[sample] / each), oof.labels[sample]) for each in _TEMPERATURES]
    return replace(oof, probabilities=_softmax(logs / _TEMPERATURES[int(np.argmin(losses))]))


def error_probabilities(oof: OutOfFold, transition: Floats) -> Floats:
    """The chance of each row that its true class is not that of its label, given how labels turn, [n]."""
    true = np.clip(oof.probabilities @ np.linalg.pinv(transition), 0.0, None)
    true /= true.sum(axis=1, keepdims=True)
    joint = true * transition[:, oof.labels].T
    right = joint[np.arange(len(true)), oof.labels]
    found: Floats = 1 - right / np.maximum(joint.sum(axis=1), 1e-12)
    return found


def _anchor_rows(oof: OutOfFold, held: Floats) -> list[Ints]:
    """For each class the rows that are surest to be of it, the same share of every class: that which is purest.

    Purest is the mean over classes of the share of right labels, less two standard errors, so that a few rows that are
    right by luck are not taken for a class without noise.
    """
    sizes = np.maximum(held.sum(axis=0).astype(np.int64), 2)
    least = np.minimum(MIN_ANCHORS, sizes // 2)
    orders = [np.argsort(-oof.confidence[:, place], kind="stable")[:size] for place, size in enumerate(sizes)]
    depths = [np.clip((sizes * share).astype(np.int64), least, sizes) for share in _ANCHOR_SHARES]
    rights = [np.cumsum(held[order, place]) for place, order in enumerate(orders)]
    confidence = np.empty(len(depths))
    for number, depth in enumerate(depths):
        right = np.array([each[min(rows, len(each)) - 1] for each, rows in zip(rights, depth, strict=True)])
        pure = (right + 1) / (depth + 2)
        confidence[number] = pure.mean() - 2 * np.sqrt((pure * (1 - pure) / depth).sum()) / len(depth)
    best = depths[int(np.argmax(confidence))]
    return [order[:rows] for order, rows in zip(orders, best, strict=True)]


def _anchor_counts_by_block(oof: OutOfFold, anchors: list[Ints], held: Floats) -> tuple[Floats, Floats]:
    """Labels among the anchors of each class, [blocks, k, k], and how many anchors there are, [blocks, k]."""
    blocks = _block_of_row(oof)
    sums = np.zeros((BLOCKS, len(anchors), len(anchors)))
    counts = np.zeros((BLOCKS, len(anchors)))
    for place, rows in enumerate(anchors):
        np.add.at(sums[:, place], blocks[rows], held[rows])
        counts[:, place] = np.bincount(blocks[rows], minlength=BLOCKS)
    return sums, counts


def _block_of_row(oof: OutOfFold) -> Ints:
    found: Ints = oof.groups * BLOCKS // oof.n_groups
    return found


def _transition_matrix(sums: Floats, counts: Floats) -> Floats:
    """Shares of labels by true class; each class is held to what all classes show by PRIOR rows."""
    right = np.trace(sums) / counts.sum()
    others = max(1, len(counts) - 1)
    usual = np.where(np.eye(len(counts)) == 1, right, (1 - right) / others)
    found: Floats = (sums + PRIOR_ROWS * usual) / (counts + PRIOR_ROWS)[:, None]
    return found


def _standard_errors(oof: OutOfFold, sums: Floats, anchors: Floats) -> Floats | None:
    """By leaving out each block; blocks are groups in order, so that neighbours that lean on each other share one."""
    if oof.n_groups < BLOCKS:
        return None
    held = np.zeros((BLOCKS, len(oof.classes)))
    np.add.at(held, (_block_of_row(oof), oof.labels), 1.0)
    without = np.empty((BLOCKS, len(oof.classes)))
    for block in range(BLOCKS):
        transition = _transition_matrix(sums.sum(axis=0) - sums[block], anchors.sum(axis=0) - anchors[block])
        left = held.sum(axis=0) - held[block]
        without[block] = count_errors(left, transition) * held.sum() / left.sum()
    without = np.column_stack([without, without.sum(axis=1)])
    errors: Floats = np.sqrt((BLOCKS - 1) / BLOCKS * np.square(without - without.mean(axis=0)).sum(axis=0))
    return errors


def _softmax(logs: Floats) -> Floats:
    found: Floats = np.exp(logs - logs.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    return found
