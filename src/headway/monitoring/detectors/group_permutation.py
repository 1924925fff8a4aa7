"""O001: The inputs of two periods differ by more than the groups within them do.

Each feature is binned once and counted by group, rows of a log that samples by their weights. The difference of a bin's
share between the windows is divided by its standard error by group; the statistic of a feature is the root mean square
over its bins. Groups are permuted between the windows in runs of neighbors that begin at a random phase, and the
statistic is computed again (a studentized permutation test holds its level for windows of unequal size: Chung and
Romano 2013). Features are scaled by their spread under permutation; the alarm statistic is the sum of squares above
average, which is sensitive to one broken feature as well as to many small changes. The p-value of each feature is
corrected by the maximum over features (Westfall and Young 1993).

A small significance level needs more permutations; sampling stops early only far from an alarm, so that early stopping
adds none. A pattern that repeats every `run` groups is removed first: a month with five Saturdays is not drift. In long
windows runs are lengthened as long as 8 of them remain, which leaves the least dependence between them.
"""

from __future__ import annotations

from dataclasses import dataclass
from dataclasses import replace as replaced
from math import comb

import numpy as np
from msgspec.structs import replace

from headway.core.arrays import Floats, Ints
from headway.core.errors import DataError, NotApplicable
from headway.core.evidence import Finding, Measurement
from headway.core.monitoring import Drift
from headway.data.context import Window, Windows
from headway.evaluation.statistics.intervals import MIN_GROUPS, exact_measurement
from headway.evaluation.statistics.tables import tally
from headway.monitoring.drift import FeatureBins, feature_values, make_bins, window_weights

CODES = ("O001",)
MAX_PERMUTATIONS, BATCH, MIN_PERMUTATIONS = 19_999, 999, 499
RESOLVED = 49  # permutations at min_value as far apart that p = alpha rests on
FAR, AND_MORE = 3, 0.01  # no alarm is near where the first permutations say p > 3 alpha + .01
_WORK = 100_000
NAMED_FEATURES = 3
_EPSILON = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class _BinCounts:
    """Counts by block and bin [G, K], bins of a feature adjacent; rows by block [G], and their squared weights [G].

    Index of each feature's first bin.
    """

    counts: Floats
    rows: Floats
    squares: Floats
    begins: Ints
    bins: tuple[FeatureBins, ...]


def plugin(windows: Windows) -> Drift:
    """Test all features together at the level of `windows`, with a finding for each feature shown to have moved.

    Raises NotApplicable below 20 groups or 8 runs in all, or if there are too few runs for that level, and DataError if
    the windows do not have the columns of the signature.
    """
    blocks = make_blocks(windows)
    _require_resolution(windows, blocks)
    table = _count_bins(windows, blocks)
    statistics = _statistics(table, blocks, windows.alpha)
    spread = _standardized(statistics)
    p = _p_value(spread)
    corrected = (spread.max(1)[:, None] >= spread[0] - _EPSILON).mean(0)
    shares = _shares(table, blocks.first)
    test = f"{len(statistics) - 1} permutations of groups, {windows.run} neighbours or more as one"
    far = _distances(shares, table.begins)
    measured = [
        exact_measurement("drift.p", p, n_rows=len(blocks.codes), method=test),
        *_by_name(windows, "drift.p", corrected, method=f"{test}, the largest of all features"),
        *_by_name(windows, "drift.distance", far, method="triangular discrimination of bins"),
    ]
    findings = _overall_finding(windows, blocks, p) if p <= windows.alpha else []
    if findings:
        order = np.argsort(-spread[0], kind="stable")
        findings[0] = replace(findings[0], message=findings[0].message + f"; most of all {_names(table, order)}")
        moved = [int(j) for j in order if corrected[j] <= windows.alpha]
        findings += [_feature_finding(table, shares, j, findings[0], float(corrected[j])) for j in moved]
    return Drift(alarm=p <= windows.alpha, measurements=tuple(measured), findings=tuple(findings))


def _require_resolution(windows: Windows, blocks: PermutationBlocks) -> None:
    min_value = max(blocks.min_p, 1 / (MAX_PERMUTATIONS + 1))
    if min_value >= windows.alpha:
        sizes = f"{blocks.n_groups[0]} and {blocks.n_groups[1]} groups, {blocks.run} neighbours as one,"
        raise NotApplicable(
            f"{sizes} are too few to show a change at a chance of {windows.alpha:.2g}",
            where=f"the smallest possible p is {min_value:.2g}",
            hint="take longer windows",
        )


def _statistics(table: _BinCounts, blocks: PermutationBlocks, alpha: float) -> Floats:
    """Return each feature's statistic, observed first and then permuted, [1 + R, F]; R depends on `alpha`."""
    table = _without_pattern(table, blocks)
    found = [_permuted_statistics(table, blocks, 0)]
    wanted = min(MAX_PERMUTATIONS, int(RESOLVED / alpha))
    if _p_value(_standardized(found[0])) > FAR * alpha + AND_MORE:
        return found[0]
    while (more := len(found)) * _batch_size(blocks) < wanted:
        found.append(_permuted_statistics(table, blocks, more)[1:])
    return np.concatenate(found)


def _permuted_statistics(table: _BinCounts, blocks: PermutationBlocks, seed: int) -> Floats:
    return _by_feature(_studentized(table, permute_windows(blocks, _batch_size(blocks), seed=seed)), table.begins)


def _batch_size(blocks: PermutationBlocks) -> int:
    """Return the number of permutations of a batch: more if there are few blocks, which makes them cheap."""
    return min(BATCH, max(MIN_PERMUTATIONS, _WORK // blocks.count))


def _p_value(spread: Floats) -> float:
    """Return the share of permutations at least as extreme as the observed windows, which count as one."""
    alarm = np.square(np.maximum(spread, 0)).sum(1)
    return float((alarm >= alarm[0] - _EPSILON).mean())


def _count_bins(windows: Windows, blocks: PermutationBlocks) -> _BinCounts:
    fields = windows.signature.inputs
    for window in (windows.before, windows.after):
        _require_shape(window, len(fields))
    parts, kinds, weights = [], [], window_weights(windows)
    for number, field in enumerate(fields):
        values = feature_values(windows, number)
        bins = make_bins(field, values)
        cells = blocks.codes * bins.size
        cells += bins.codes(values)
        parts.append(tally(cells, blocks.count * bins.size, weights).reshape(blocks.count, bins.size))
        kinds.append(bins)
    begins = np.cumsum([0, *(bins.size for bins in kinds[:-1])])
    return _BinCounts(
        counts=np.concatenate(parts, axis=1),
        rows=tally(blocks.codes, blocks.count, weights),
        squares=tally(blocks.codes, blocks.count, None if weights is None else np.square(weights)),
        begins=begins.astype(np.int64),
        bins=tuple(kinds),
    )


def _require_shape(window: Window, width: int) -> None:
    if window.rows.ndim != 2 or window.rows.shape[1] != width or len(window.rows) != len(window.groups):
        raise DataError(
            f"a window of {width} features and a group a row is needed",
            where=f"rows {window.rows.shape}, groups {window.groups.shape}",
        )


def _without_pattern(table: _BinCounts, blocks: PermutationBlocks) -> _BinCounts:
    """Subtract what repeats every `run` groups, regardless of which window a group is in.

    The pattern is the deviation of a phase from its own week, so that changes from week to week remain.
    """
    if blocks.pattern == 1:
        return table
    counts, rows = table.counts.copy(), table.rows[:, None]
    weeks, phases = (np.unique(part, return_inverse=True)[1] for part in np.divmod(blocks.numbers, blocks.pattern))
    beyond = counts - rows * (_totals(counts, weeks) / _totals(rows, weeks))[weeks]
    counts -= rows * (_totals(beyond, phases) / _totals(rows, phases))[phases]
    return replaced(table, counts=counts)


def _totals(values: Floats, codes: Ints) -> Floats:
    """Sum rows of values [G, K] by code -> [codes, K]."""
    found = np.zeros((int(codes.max()) + 1, values.shape[1]))
    np.add.at(found, codes, values)
    return found


def _studentized(table: _BinCounts, dealt: Floats) -> Floats:
    """Return each bin's difference of shares over its standard error by group, for each permutation -> [1 + R, K].

    The error is at least that of independent rows; otherwise it would be 0 for a bin that is empty in one window.
    """
    counts, rows = table.counts, table.rows[:, None]
    sums = np.concatenate([counts, np.square(counts), counts * rows, rows, np.square(rows)], axis=1)
    first = dealt @ sums
    one, var_one, n_one = _shares_and_variances(first, dealt.sum(1))
    two, var_two, n_two = _shares_and_variances(sums.sum(0) - first, (1 - dealt).sum(1))
    overall = table.counts.sum(0) / table.rows.sum()
    squares = dealt @ table.squares[:, None]
    of_rows = squares / np.square(n_one) + (table.squares.sum() - squares) / np.square(n_two)
    min_value = np.maximum(overall * (1 - overall), _EPSILON) * of_rows
    found: Floats = (one - two) / np.sqrt(np.maximum(var_one + var_two, min_value))
    return found


def _shares_and_variances(sums: Floats, groups: Floats) -> tuple[Floats, Floats, Floats]:
    """Return shares and their linearized variances [R, K], and rows [R, 1], from sums of c, c^2, c n, n and n^2."""
    linear, squares, mixed = np.split(sums[:, :-2], 3, axis=1)
    rows, rows_squared = sums[:, -2:-1], sums[:, -1:]
    shares = linear / rows
    residual = np.maximum(squares - 2 * shares * mixed + np.square(shares) * rows_squared, 0)
    return shares, residual / np.square(rows) * (groups / (groups - 1))[:, None], rows


def _by_feature(ratios: Floats, begins: Ints) -> Floats:
    """Return the root mean square over the bins of each feature -> [1 + R, F]."""
    sizes = np.diff(np.append(begins, ratios.shape[1]))
    means: Floats = np.sqrt(np.add.reduceat(np.square(ratios), begins, axis=1) / sizes)
    return means


def _standardized(statistics: Floats) -> Floats:
    """Scale each feature by its own spread over all permutations, the observed one included."""
    centred = statistics - statistics.mean(0)
    scaled: Floats = centred / (statistics.std(0) + _EPSILON)
    return scaled


def _shares(table: _BinCounts, first: int) -> tuple[Floats, Floats]:
    one, two = table.counts[:first], table.counts[first:]
    return one.sum(0) / table.rows[:first].sum(), two.sum(0) / table.rows[first:].sum()


def _distances(shares: tuple[Floats, Floats], begins: Ints) -> Floats:
    """Compute the triangular discrimination of each feature's shares (Topsoe 2000), in [0, 1]."""
    one, two = shares
    apart = np.square(one - two) / np.maximum(one + two, _EPSILON)
    return np.asarray(np.add.reduceat(apart, begins) / 2)


def _by_name(windows: Windows, name: str, values: Floats, *, method: str) -> list[Measurement]:
    n_rows = len(windows.before.rows) + len(windows.after.rows)
    return [
        replace(exact_measurement(name, float(value), n_rows=n_rows, method=method), slice=feature)
        for feature, value in zip(windows.signature.names, values, strict=True)
    ]


def _overall_finding(windows: Windows, blocks: PermutationBlocks, p: float) -> list[Finding]:
    rows, groups = (len(windows.before.rows), len(windows.after.rows)), blocks.n_groups
    message = (
        f"the inputs changed (p {p:.3g} over {len(windows.signature.inputs)} features): "
        f"{rows[0]:,} rows of {groups[0]} groups against {rows[1]:,} of {groups[1]}"
    )
    hint = "fix the source of a feature that broke, or retrain if the world changed"
    return [
        Finding(code="O001", severity="warn", message=message, where="all", measured=p, limit=windows.alpha, hint=hint)
    ]


def _names(table: _BinCounts, order: Ints) -> str:
    return ", ".join(table.bins[number].field.name for number in order[:NAMED_FEATURES])


def _feature_finding(
    table: _BinCounts, shares: tuple[Floats, Floats], number: int, of_all: Finding, p: float
) -> Finding:
    """Return the finding of one feature, with the bin whose share changed most."""
    bins = table.bins[number]
    begin = int(table.begins[number])
    one, two = (share[begin : begin + bins.size] for share in shares)
    largest = int(np.argmax(np.abs(one - two)))
    message = (
        f"{bins.field.name} changed (p {p:.3g} after correction for {len(table.bins)} features): "
        f"{bins.label(largest)} was {one[largest]:.1%} of rows and is {two[largest]:.1%}"
    )
    return replace(of_all, message=message, where=bins.field.name, measured=p, hint="")


MAX_BLOCKS = 512
MIN_RUNS = 8


@dataclass(frozen=True, slots=True, kw_only=True)
class PermutationBlocks:
    """The units of permutation: `codes` int64 [n] is each row's block; the first `first` blocks are the window before.

    A block is a group, or a few neighbors if there are more than MAX_BLOCKS groups. `numbers` int64 [G] is each block's
    position in time; a pattern repeats every `pattern` blocks (1: none); `run` blocks are permuted together; `n_groups`
    counts the groups by window.
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
    def min_p(self) -> float:
        """Smallest possible p-value: the probability of permuting the windows into the observed ones."""
        return sum(self._min_p_of_phase(phase) for phase in range(self.run)) / self.run

    def _min_p_of_phase(self, phase: int) -> float:
        """Return it for runs cut at one phase: those of the window before come first, and last the one cut in two."""
        runs = (self.count - 1 + phase) // self.run + 1
        complete, into = divmod(self.first + phase, self.run)
        return 1 / (comb(runs, complete) * ((runs - complete) if into else 1))


def make_blocks(windows: Windows) -> PermutationBlocks:
    """Return the blocks of two windows, with runs as long as MIN_RUNS of them allow: longer runs are less dependent.

    Raises NotApplicable below 20 groups or 8 runs in all, which could not show a change.
    """
    groups = (windows.before.groups, windows.after.groups)
    numbers = [np.unique(part) for part in groups]
    n_before, n_after = sizes = (len(numbers[0]), len(numbers[1]))
    fewest = max(MIN_GROUPS, MIN_RUNS * windows.run)
    if min(sizes) < 2 or sum(sizes) < fewest:
        raise NotApplicable(
            f"{n_before} and {n_after} groups are too few to show a change",
            where=f"runs of {windows.run} need {fewest} groups in all",
            hint="take longer windows",
        )
    dense = [np.searchsorted(known, part) for known, part in zip(numbers, groups, strict=True)]
    share = min(1.0, MAX_BLOCKS / sum(sizes))
    first, last = (max(2, int(size * share)) for size in sizes)
    run = max(1, round(windows.run * share))
    return PermutationBlocks(
        codes=np.concatenate([dense[0] * first // n_before, first + dense[1] * last // n_after]),
        first=first,
        numbers=np.concatenate(numbers) if share == 1 else np.arange(first + last),
        pattern=windows.run if share == 1 else 1,
        run=run * max(1, (first + last) // (MIN_RUNS * run)) if windows.run > 1 else 1,
        n_groups=sizes,
    )


def permute_windows(blocks: PermutationBlocks, times: int, *, seed: int = 0) -> Floats:
    """Return which blocks are in the first window: as observed, then permuted `times` times.

    0 or 1, float64 [1 + times, G].

    Runs are cut at a random phase and shuffled; the first blocks of that order form the window.
    """
    rng = np.random.default_rng(seed)
    runs = (np.arange(blocks.count) + rng.integers(blocks.run, size=(times, 1))) // blocks.run
    keys = np.take_along_axis(rng.random((times, int(runs.max()) + 1)), runs, axis=1)
    order = np.argsort(keys, axis=1, kind="stable")
    dealt = np.zeros((times + 1, blocks.count))
    dealt[0, : blocks.first] = 1
    np.put_along_axis(dealt[1:], order[:, : blocks.first], 1.0, axis=1)
    return dealt
