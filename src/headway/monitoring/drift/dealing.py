"""Groups of two windows in one row, and who is in the first window if chance deals anew, in runs of neighbours."""

from __future__ import annotations

from dataclasses import dataclass
from math import comb

import numpy as np

from headway.core.contracts import Windows
from headway.core.errors import NotApplicable
from headway.evaluation.statistics.intervals import FEWEST_GROUPS
from headway.evaluation.statistics.tables import Floats, Ints

MOST_BLOCKS = 512
FEWEST_RUNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class Blocks:
    """The block of each row, `codes` int64 [n], those of the window before first: `first` blocks are its.

    A block is a group, or beyond MOST_BLOCKS groups a few neighbours. `numbers` int64 [G] place each block in time;
    `pattern` is over how many a pattern repeats (1: none), `run` how many move as one; `n_groups` counts by window.
    """

    codes: Ints
    first: int
    numbers: Ints
    pattern: int
    run: int
    n_groups: tuple[int, int]

    @property
    def count(self) -> int:
        """Number of blocks."""
        return len(self.numbers)

    @property
    def least(self) -> float:
        """How often chance deals the windows just as they are: no p can be below, however far the windows are apart."""
        return sum(self._as_it_is(phase) for phase in range(self.run)) / self.run

    def _as_it_is(self, phase: int) -> float:
        """The same for runs cut at one phase: those of the window before come first, and last the one cut in two."""
        runs = (self.count - 1 + phase) // self.run + 1
        whole, into = divmod(self.first + phase, self.run)
        return 1 / (comb(runs, whole) * ((runs - whole) if into else 1))


def blocks_of(windows: Windows) -> Blocks:
    """The blocks of two windows, with runs as long as leave FEWEST_RUNS of them: longer ones lean on each other least.

    Raises NotApplicable below 20 groups or 8 runs in all, where dealing anew could not show a change.
    """
    groups = (windows.before.groups, windows.after.groups)
    numbers = [np.unique(each) for each in groups]
    n_before, n_after = sizes = (len(numbers[0]), len(numbers[1]))
    fewest = max(FEWEST_GROUPS, FEWEST_RUNS * windows.run)
    if min(sizes) < 2 or sum(sizes) < fewest:
        raise NotApplicable(
            f"{n_before} and {n_after} groups are too few to show a change",
            where=f"runs of {windows.run} need {fewest} groups in all",
            hint="take longer windows",
        )
    dense = [np.searchsorted(known, each) for known, each in zip(numbers, groups, strict=True)]
    share = min(1.0, MOST_BLOCKS / sum(sizes))
    first, last = (max(2, int(size * share)) for size in sizes)
    run = max(1, round(windows.run * share))
    return Blocks(
        codes=np.concatenate([dense[0] * first // n_before, first + dense[1] * last // n_after]),
        first=first,
        numbers=np.concatenate(numbers) if share == 1 else np.arange(first + last),
        pattern=windows.run if share == 1 else 1,
        run=run * max(1, (first + last) // (FEWEST_RUNS * run)) if windows.run > 1 else 1,
        n_groups=sizes,
    )


def deal(blocks: Blocks, times: int, *, seed: int = 0) -> Floats:
    """Who is in the first window: as it is, then dealt anew so many times; 0 or 1, float64 [1 + times, G].

    Runs are cut at a random phase and put in random order; the first blocks of that order make the window.
    """
    rng = np.random.default_rng(seed)
    runs = (np.arange(blocks.count) + rng.integers(blocks.run, size=(times, 1))) // blocks.run
    keys = np.take_along_axis(rng.random((times, int(runs.max()) + 1)), runs, axis=1)
    order = np.argsort(keys, axis=1, kind="stable")
    dealt = np.zeros((times + 1, blocks.count))
    dealt[0, : blocks.first] = 1
    np.put_along_axis(dealt[1:], order[:, : blocks.first], 1.0, axis=1)
    return dealt
