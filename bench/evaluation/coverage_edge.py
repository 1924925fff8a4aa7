"""The rows `coverage.edge*` of bench/evidence.py: shares near 0 and 1, with few groups of dependent rows."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from itertools import product
from statistics import NormalDist

import numpy as np
from numpy.typing import NDArray
from scipy.special import betaincinv

from harness import Row, shown
from headway.core.arrays import Floats
from headway.evaluation.statistics.intervals import LEVEL, Sample
from headway.evaluation.statistics.proportions import effective_rows, share_measurement

DRAWS, CHUNK = 4000, 4_000_000
GROUPS, ROWS, CORRELATIONS, SHARES = (
    (20, 60, 200),
    ("1", "10", "50", "1 to 50"),
    (0.0, 0.1, 0.5),
    (0.8, 0.95, 0.99, 1.0),
)
_TINY_COUNT = 1e-9
MIN_COVERAGE, MAX_FALSE_PASS, MAX_WIDTH = 0.93, 0.07, 1.3
TINY = {"DRAWS": 4, "GROUPS": (20,), "ROWS": ("1", "1 to 50"), "CORRELATIONS": (0.1,)}

Draw = Callable[[np.random.Generator, tuple[int, int], NDArray[np.int64], float, float], Floats]
"""Draws a continuous quantity in [0, 1] of each row, from a shape (draws, groups); an error is above `share`."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Cell:
    """A kind of table, and what its intervals did."""

    name: str
    coverage: float
    false_pass: float
    width: float


def rows() -> tuple[list[Row], list[str]]:
    """Return the worst coverage, rate of false passes and width of all cells, and two kinds of clusters apart.

    In each cell a rule `at_least` stands at the true share. The width is the median, over draws, against that of
    Clopper and Pearson for the same draw, on the effective rows that the true correlation within groups gives.
    """
    cells = [_cell(_copied, correlation, *case) for *case, correlation in product(GROUPS, ROWS, SHARES, CORRELATIONS)]
    judged = [cell for cell in cells if not cell.name.endswith("of 1")]
    covers = min(cells, key=lambda cell: cell.coverage)
    passes = max(judged, key=lambda cell: cell.false_pass)
    widest = max(judged, key=lambda cell: cell.width)
    hardest = list(product(GROUPS, ROWS[-1:], SHARES[-2:-1]))
    blind = [_cell(_by_group_alone, CORRELATIONS[-1], *case) for case in hardest]
    latent = [_cell(_latent, CORRELATIONS[-1], *case) for case in hardest]
    return [
        Row(
            name="coverage.edge",
            measured=covers.coverage,
            unit="share",
            target=f"at least {MIN_COVERAGE}",
            ok=covers.coverage >= MIN_COVERAGE,
            against=f"the worst of {len(cells)} cells, {covers.name}; {DRAWS:,} draws each",
        ),
        Row(
            name="coverage.edge_false_pass",
            measured=passes.false_pass,
            unit="share",
            target=f"at most {MAX_FALSE_PASS}",
            ok=passes.false_pass <= MAX_FALSE_PASS,
            against=f"a rule at the true share; the worst of {len(judged)} cells, {passes.name}",
        ),
        Row(
            name="coverage.edge_width",
            measured=widest.width,
            unit="x",
            target=f"at most {MAX_WIDTH}",
            ok=widest.width <= MAX_WIDTH,
            against=f"the median of Clopper-Pearson at the true size; the worst of {len(judged)} cells, {widest.name}",
        ),
        shown(
            "coverage.edge_unrelated",
            min(cell.coverage for cell in blind),
            "share",
            f"errors of whole groups that the continuous quantity does not know of: {_listed(blind)}",
        ),
        shown(
            "coverage.edge_latent",
            min(cell.coverage for cell in latent),
            "share",
            f"a normal quantity that clusters more than the errors, its tail: {_listed(latent)}",
        ),
    ], []


def _listed(cells: list[Cell]) -> str:
    return "; ".join(
        f"{cell.name}: {cell.coverage:.3f}, false pass {cell.false_pass:.3f}, width x {cell.width:.2f}"
        for cell in cells
    )


def _cell(draw: Draw, correlation: float, groups: int, of_rows: str, share: float) -> Cell:
    """Measure one cell: the share of right answers, of which a draw has `share` in expectation."""
    rng = np.random.default_rng([groups, ROWS.index(of_rows), int(1000 * share), int(100 * correlation)])
    sizes = rng.integers(1, 51, groups) if of_rows == "1 to 50" else np.full(groups, int(of_rows))
    n_rows, of_size = int(sizes.sum()), np.arange(groups).repeat(sizes)
    agreement = float(np.square(sizes).sum() / n_rows)
    of_errors = _tail_correlation(share, correlation) if draw is _latent else correlation
    true_rows = n_rows / (1 + (agreement - 1) * of_errors)
    covered = passed = 0
    widths: list[Floats] = []
    for right, independent in _drawn(draw, rng, sizes, of_size, share, correlation, agreement):
        values = right.sum(1) / n_rows
        low, high = _bounds(values, independent, (1 - LEVEL) / 2)
        _expect_of_headway((values[0], independent[0], low[0], high[0]), Sample(n_rows=n_rows, n_groups=groups))
        covered += int(((low <= share) & (share <= high)).sum())
        passed += int((_bounds(values, independent, 0.05)[0] >= share).sum())
        ideal_low, ideal_high = _bounds(values, true_rows, (1 - LEVEL) / 2)
        widths.append((high - low) / (ideal_high - ideal_low))
    return Cell(
        name=f"{groups} groups of {of_rows} rows, correlation {correlation:g}, share of {share:g}",
        coverage=covered / DRAWS,
        false_pass=passed / DRAWS,
        width=float(np.median(np.concatenate(widths))),
    )


def _bounds(share: Floats, n_rows: Floats | float, alpha: float) -> tuple[Floats, Floats]:
    """Return the bounds of `statistics.proportions` for many shares at once, by scipy."""
    hits, misses = share * n_rows, (1 - share) * n_rows
    low = np.where(hits > 0, betaincinv(np.maximum(hits, _TINY_COUNT), misses + 1, alpha), 0.0)
    high = np.where(misses > 0, betaincinv(hits + 1, np.maximum(misses, _TINY_COUNT), 1 - alpha), 1.0)
    return low, high


def _expect_of_headway(drawn: tuple[float, float, float, float], sample: Sample) -> None:
    """Raise AssertionError if headway's own interval is another."""
    share, rows, low, high = drawn
    found = share_measurement("share", float(share), float(rows), sample)
    assert np.allclose((found.low, found.high), (low, high), atol=1e-6), (drawn, found)


def _drawn(
    draw: Draw,
    rng: np.random.Generator,
    sizes: NDArray[np.int64],
    of_size: NDArray[np.int64],
    share: float,
    correlation: float,
    agreement: float,
) -> Iterator[tuple[Floats, Floats]]:
    """Yield right answers by group, float64 (draws, groups), and effective rows (draws,), some draws at once."""
    starts, n_rows, step = np.cumsum(sizes) - sizes, int(sizes.sum()), max(CHUNK // int(sizes.sum()), 1)
    for begin in range(0, DRAWS, step):
        count = min(step, DRAWS - begin)
        values = draw(rng, (count, len(sizes)), of_size, share, correlation)
        right = np.add.reduceat(values < share, starts, axis=1, dtype=np.float64)
        sums = np.add.reduceat(values, starts, axis=1)
        full = np.full(count, float(n_rows))
        independent = effective_rows(
            right,
            np.broadcast_to(sizes.astype(np.float64), right.shape),
            n_rows=full,
            min_effect=np.ones(count),
            max_effect=np.full(count, agreement),
            related=(sums, values.var(axis=1)),
        )
        yield right, independent


def _copied(
    rng: np.random.Generator, shape: tuple[int, int], of_size: NDArray[np.int64], _share: float, correlation: float
) -> Floats:
    """Let a row have the value of its group by chance sqrt(correlation): any function of it has that correlation."""
    own, common = rng.random((shape[0], len(of_size))), rng.random(shape)
    copies = rng.random(own.shape) < np.sqrt(correlation)
    found: Floats = np.where(copies, common[:, of_size], own)
    return found


def _by_group_alone(
    rng: np.random.Generator, shape: tuple[int, int], of_size: NDArray[np.int64], share: float, correlation: float
) -> Floats:
    """Draw a rate of errors for each group (beta), and values that know no group beyond the side of `share`."""
    scale = 1 / correlation - 1
    rate = rng.beta((1 - share) * scale, share * scale, shape)[:, of_size]
    own = rng.random((shape[0], len(of_size)))
    found: Floats = np.where(rng.random(own.shape) < rate, share + (1 - share) * own, share * own)
    return found


def _latent(
    rng: np.random.Generator, shape: tuple[int, int], of_size: NDArray[np.int64], _share: float, correlation: float
) -> Floats:
    """Draw a normal quantity with that correlation; its tail, the errors, has a lower one."""
    normal = np.sqrt(correlation) * rng.normal(size=shape)[:, of_size]
    normal += np.sqrt(1 - correlation) * rng.normal(size=normal.shape)
    ranks = np.linspace(-5, 5, 4001)
    found: Floats = np.interp(normal, ranks, _normal_share(ranks))
    return found


def _tail_correlation(share: float, correlation: float) -> float:
    """Return the correlation within groups of being above the `share`-quantile of such a quantity."""
    common = np.linspace(-8, 8, 4001)
    edge = NormalDist().inv_cdf(share)
    above = 1 - _normal_share((edge - np.sqrt(correlation) * common) / np.sqrt(1 - correlation))
    density = np.exp(-np.square(common) / 2)
    both = float((np.square(above) * density).sum() / density.sum())
    return (both - (1 - share) ** 2) / (share * (1 - share))


def _normal_share(values: Floats) -> Floats:
    return np.array([NormalDist().cdf(value) for value in values.tolist()])
