"""How many labels are wrong, by class: how labels turn into others, and the chance that each one is wrong.

How labels turn is read where the class is as good as certain (anchors: Patrini and others 2017), and counted over all
rows as confident learning does (Northcutt, Jiang and Chuang 2021). Rows whose class nobody could tell count by what the
sure ones show, so that chance in the outcome is not taken for wrong labels.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

import numpy as np

from headway.data.labels.said import Floats, Ints, Said, loss

FEWEST_ANCHORS = 200
"""Or half of a class that is smaller: of fewer rows, some are right by luck."""
PRIOR = 20
_SHARES = np.geomspace(0.01, 1.0, 21)
BLOCKS = 20
T = 2.0930240544082634
"""The 97.5 % quantile of Student's t with BLOCKS - 1 degrees of freedom."""
_TEMPERATURES = np.geomspace(0.2, 5.0, 61)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Noise:
    """What is known of wrong labels among rows that were told.

    `turned` float64 [k, k] has the chance that a row of one class (line) is labelled as another (column); `wrong`
    float64 [n] the chance of each row that its label is wrong, `likely` int64 [n] the likeliest other class. `counts`
    [k] are the sums over the rows so labelled, `errors` [k + 1] the standard errors of these and of their sum, over
    blocks of groups; None where there are too few groups.
    """

    turned: Floats
    wrong: Floats
    likely: Ints
    counts: Floats
    errors: Floats | None

    @property
    def count(self) -> float:
        """How many labels are wrong."""
        return float(self.counts.sum())


def noise_of(said: Said) -> Noise:
    """The noise in the labels of rows that were told."""
    ready = calibrated(said)
    held = np.eye(len(said.classes))[said.labels]
    sums, anchors = _by_block(ready, _anchors(ready, held), held)
    turned = _turned(sums.sum(axis=0), anchors.sum(axis=0))
    counts = counted(held.sum(axis=0), turned)
    wrong = wrong_chances(ready, turned)
    scale = counts / np.maximum(np.bincount(said.labels, wrong, len(said.classes)), 1e-12)
    others = np.where(held == 1, -1.0, ready.probabilities)
    return Noise(
        turned=turned,
        wrong=np.minimum(wrong * scale[said.labels], 1.0),
        likely=others.argmax(axis=1),
        counts=counts,
        errors=_errors(ready, sums, anchors),
    )


def counted(sizes: Floats, turned: Floats) -> Floats:
    """How many rows labelled as each class are of another, [k], from how many are so labelled and how labels turn."""
    true = np.clip(sizes @ np.linalg.pinv(turned), 0.0, None)
    true *= sizes.sum() / true.sum()
    found: Floats = true @ (turned - np.diag(np.diag(turned)))
    return found


def calibrated(said: Said) -> Said:
    """The same with its probabilities made as sure as the labels bear out, by one temperature (Guo and others 2017)."""
    logs = np.log(np.clip(said.probabilities, 1e-6, 1.0))
    sample = np.random.default_rng(0).permutation(len(logs))[:20_000]
    losses = [loss(_normed(logs[sample] / each), said.labels[sample]) for each in _TEMPERATURES]
    return replace(said, probabilities=_normed(logs / _TEMPERATURES[int(np.argmin(losses))]))


def wrong_chances(said: Said, turned: Floats) -> Floats:
    """The chance of each row that its true class is not that of its label, given how labels turn, [n]."""
    true = np.clip(said.probabilities @ np.linalg.pinv(turned), 0.0, None)
    true /= true.sum(axis=1, keepdims=True)
    joint = true * turned[:, said.labels].T
    right = joint[np.arange(len(true)), said.labels]
    found: Floats = 1 - right / np.maximum(joint.sum(axis=1), 1e-12)
    return found


def _anchors(said: Said, held: Floats) -> list[Ints]:
    """For each class the rows that are surest to be of it, the same share of every class: that which is purest.

    Purest is the mean over classes of the share of right labels, less two standard errors, so that a few rows that are
    right by luck are not taken for a class without noise.
    """
    sizes = np.maximum(held.sum(axis=0).astype(np.int64), 2)
    least = np.minimum(FEWEST_ANCHORS, sizes // 2)
    orders = [np.argsort(-said.sure[:, place], kind="stable")[:size] for place, size in enumerate(sizes)]
    depths = [np.clip((sizes * share).astype(np.int64), least, sizes) for share in _SHARES]
    rights = [np.cumsum(held[order, place]) for place, order in enumerate(orders)]
    sure = np.empty(len(depths))
    for number, depth in enumerate(depths):
        right = np.array([each[min(rows, len(each)) - 1] for each, rows in zip(rights, depth, strict=True)])
        pure = (right + 1) / (depth + 2)
        sure[number] = pure.mean() - 2 * np.sqrt((pure * (1 - pure) / depth).sum()) / len(depth)
    best = depths[int(np.argmax(sure))]
    return [order[:rows] for order, rows in zip(orders, best, strict=True)]


def _by_block(said: Said, anchors: list[Ints], held: Floats) -> tuple[Floats, Floats]:
    """Labels among the anchors of each class, [blocks, k, k], and how many anchors there are, [blocks, k]."""
    blocks = _blocks(said)
    sums = np.zeros((BLOCKS, len(anchors), len(anchors)))
    counts = np.zeros((BLOCKS, len(anchors)))
    for place, rows in enumerate(anchors):
        np.add.at(sums[:, place], blocks[rows], held[rows])
        counts[:, place] = np.bincount(blocks[rows], minlength=BLOCKS)
    return sums, counts


def _blocks(said: Said) -> Ints:
    found: Ints = said.groups * BLOCKS // said.n_groups
    return found


def _turned(sums: Floats, counts: Floats) -> Floats:
    """Shares of labels by true class; each class is held to what all classes show by PRIOR rows."""
    right = np.trace(sums) / counts.sum()
    others = max(1, len(counts) - 1)
    usual = np.where(np.eye(len(counts)) == 1, right, (1 - right) / others)
    found: Floats = (sums + PRIOR * usual) / (counts + PRIOR)[:, None]
    return found


def _errors(said: Said, sums: Floats, anchors: Floats) -> Floats | None:
    """By leaving out each block; blocks are groups in order, so that neighbours that lean on each other share one."""
    if said.n_groups < BLOCKS:
        return None
    held = np.zeros((BLOCKS, len(said.classes)))
    np.add.at(held, (_blocks(said), said.labels), 1.0)
    without = np.empty((BLOCKS, len(said.classes)))
    for block in range(BLOCKS):
        turned = _turned(sums.sum(axis=0) - sums[block], anchors.sum(axis=0) - anchors[block])
        left = held.sum(axis=0) - held[block]
        without[block] = counted(left, turned) * held.sum() / left.sum()
    without = np.column_stack([without, without.sum(axis=1)])
    errors: Floats = np.sqrt((BLOCKS - 1) / BLOCKS * np.square(without - without.mean(axis=0)).sum(axis=0))
    return errors


def _normed(logs: Floats) -> Floats:
    found: Floats = np.exp(logs - logs.max(axis=1, keepdims=True))
    found /= found.sum(axis=1, keepdims=True)
    return found
