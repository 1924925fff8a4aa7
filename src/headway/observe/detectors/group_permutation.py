"""O001: the inputs of two periods differ by more than groups do, shown by permuting runs of groups over all features.

Every feature is coded once into bins and counted by group; a share's difference between the windows is divided by its
own standard error by group; a feature's statistic is the root of the mean square over its bins. The groups are dealt
anew, in runs of neighbours that begin at a random phase, and the statistic is taken again (Chung and Romano
2013: a studentised permutation test holds its level for unequal windows too). Features are scaled by their own spread
under permutation; the alarm is the sum of squares of what is above average, which sees one broken feature as well as
many that moved a little, and each feature's p is corrected by the largest of all (Westfall and Young 1993).
A pattern that repeats every `run` groups is taken out first: a month with five Saturdays is no drift. In long windows
runs are joined as far as 8 remain, since then they lean on each other least.
"""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np
from msgspec.structs import replace

from headway.core.contracts import Window, Windows
from headway.core.drift import Drift
from headway.core.errors import DataError
from headway.core.evidence import Finding, Measurement
from headway.evidence.intervals import fact
from headway.evidence.tables import Floats, Ints
from headway.observe.bins import Bins, bins_of, column
from headway.observe.dealing import Blocks, blocks_of, deal

ALPHA = 0.05
MOST_PERMUTATIONS, FEWEST_PERMUTATIONS = 999, 499
_WORK = 100_000
NAMED = 3
_NOTHING = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class _Table:
    """Counts by block and bin [G, K], bins of one feature side by side; rows by block [G]; where features begin."""

    counts: Floats
    rows: Floats
    begins: Ints
    bins: tuple[Bins, ...]


def plugin(windows: Windows) -> Drift:
    """One alarm at 5 % for all features together, and a finding for each feature that is shown to have moved.

    Raises NotApplicable below 20 groups or 8 runs in all, where no permutation could show a change, and DataError where
    the windows do not have the columns of the signature.
    """
    blocks = blocks_of(windows)
    table = _table(windows, blocks)
    dealt = deal(blocks, _times(blocks))
    spread = _spread(_by_feature(_studentised(_without_pattern(table, blocks), dealt), table.begins))
    alarm = np.square(np.maximum(spread, 0)).sum(1)
    p = float((alarm >= alarm[0] - _NOTHING).mean())
    corrected = (spread.max(1)[:, None] >= spread[0] - _NOTHING).mean(0)
    shares = _shares(table, blocks.first)
    test = f"{len(dealt) - 1} permutations of groups, {windows.run} neighbours or more as one"
    far = _distances(shares, table.begins)
    measured = [
        fact("drift.p", p, n_rows=len(blocks.codes), method=test),
        *_by_name(windows, "drift.p", corrected, method=f"{test}, the largest of all features"),
        *_by_name(windows, "drift.distance", far, method="triangular discrimination of bins"),
    ]
    said = _findings(windows, blocks, p) if p <= ALPHA else []
    if said:
        order = np.argsort(-spread[0], kind="stable")
        said[0] = replace(said[0], says=said[0].says + f"; most of all {_names(table, order)}")
        said += [_moved(table, shares, int(j), float(corrected[j])) for j in order if corrected[j] <= ALPHA]
    return Drift(alarm=p <= ALPHA, measurements=tuple(measured), findings=tuple(said))


def _times(blocks: Blocks) -> int:
    """How often to deal anew: more often where there are few blocks, for which it costs little."""
    return min(MOST_PERMUTATIONS, max(FEWEST_PERMUTATIONS, _WORK // blocks.count))


def _table(windows: Windows, blocks: Blocks) -> _Table:
    fields = windows.signature.inputs
    for window in (windows.before, windows.after):
        _expect(window, len(fields))
    parts, kinds = [], []
    for number, field in enumerate(fields):
        values = column(windows, number)
        bins = bins_of(field, values)
        cells = blocks.codes * bins.size
        cells += bins.codes(values)
        parts.append(np.bincount(cells, minlength=blocks.count * bins.size).reshape(blocks.count, bins.size))
        kinds.append(bins)
    begins = np.cumsum([0, *(bins.size for bins in kinds[:-1])])
    return _Table(
        counts=np.concatenate(parts, axis=1).astype(np.float64),
        rows=np.bincount(blocks.codes, minlength=blocks.count).astype(np.float64),
        begins=begins.astype(np.int64),
        bins=tuple(kinds),
    )


def _expect(window: Window, width: int) -> None:
    if window.rows.ndim != 2 or window.rows.shape[1] != width or len(window.rows) != len(window.groups):
        raise DataError(
            f"a window of {width} features and a group a row is needed",
            where=f"rows {window.rows.shape}, groups {window.groups.shape}",
        )


def _without_pattern(table: _Table, blocks: Blocks) -> _Table:
    """The counts less what repeats every `run` groups; it does not look at which window a group is in."""
    counts, rows = table.counts.copy(), table.rows
    whole = counts.sum(0) / rows.sum()
    for phase in np.unique(blocks.numbers % blocks.pattern) if blocks.pattern > 1 else ():
        here = blocks.numbers % blocks.pattern == phase
        counts[here] -= rows[here, None] * (counts[here].sum(0) / rows[here].sum() - whole)
    return _Table(counts=counts, rows=rows, begins=table.begins, bins=table.bins)


def _studentised(table: _Table, dealt: Floats) -> Floats:
    """Each bin's difference of shares over its standard error by group, for each way of dealing -> [1 + R, K].

    The error is at least that of independent rows, or a bin that is empty in one window would have none.
    """
    counts, rows = table.counts, table.rows[:, None]
    moments = np.concatenate([counts, np.square(counts), counts * rows, rows, np.square(rows)], axis=1)
    first = dealt @ moments
    one, var_one, n_one = _side(first, dealt.sum(1))
    two, var_two, n_two = _side(moments.sum(0) - first, (1 - dealt).sum(1))
    whole = table.counts.sum(0) / table.rows.sum()
    least = np.maximum(whole * (1 - whole), _NOTHING) * (1 / n_one + 1 / n_two)
    found: Floats = (one - two) / np.sqrt(np.maximum(var_one + var_two, least))
    return found


def _side(sums: Floats, groups: Floats) -> tuple[Floats, Floats, Floats]:
    """Shares and their linearised variances [R, K], and rows [R, 1], from sums of c, c^2, c n, n and n^2."""
    linear, squares, mixed = np.split(sums[:, :-2], 3, axis=1)
    rows, rows_squared = sums[:, -2:-1], sums[:, -1:]
    shares = linear / rows
    residual = np.maximum(squares - 2 * shares * mixed + np.square(shares) * rows_squared, 0)
    return shares, residual / np.square(rows) * (groups / (groups - 1))[:, None], rows


def _by_feature(ratios: Floats, begins: Ints) -> Floats:
    """The root of the mean square over the bins of each feature -> [1 + R, F]."""
    sizes = np.diff(np.append(begins, ratios.shape[1]))
    means: Floats = np.sqrt(np.add.reduceat(np.square(ratios), begins, axis=1) / sizes)
    return means


def _spread(statistics: Floats) -> Floats:
    """Each feature in units of its own spread over all ways of dealing, the true one among them."""
    centred = statistics - statistics.mean(0)
    scaled: Floats = centred / (statistics.std(0) + _NOTHING)
    return scaled


def _shares(table: _Table, first: int) -> tuple[Floats, Floats]:
    one, two = table.counts[:first], table.counts[first:]
    return one.sum(0) / table.rows[:first].sum(), two.sum(0) / table.rows[first:].sum()


def _distances(shares: tuple[Floats, Floats], begins: Ints) -> Floats:
    """The triangular discrimination of each feature's shares (Topsoe 2000), in [0, 1]."""
    one, two = shares
    apart = np.square(one - two) / np.maximum(one + two, _NOTHING)
    return np.asarray(np.add.reduceat(apart, begins) / 2)


def _by_name(windows: Windows, name: str, values: Floats, *, method: str) -> list[Measurement]:
    n_rows = len(windows.before.rows) + len(windows.after.rows)
    return [
        replace(fact(name, float(value), n_rows=n_rows, method=method), slice=feature)
        for feature, value in zip(windows.signature.names, values, strict=True)
    ]


def _findings(windows: Windows, blocks: Blocks, p: float) -> list[Finding]:
    rows, groups = (len(windows.before.rows), len(windows.after.rows)), blocks.n_groups
    says = (
        f"the inputs changed (p {p:.3g} over {len(windows.signature.inputs)} features): "
        f"{rows[0]:,} rows of {groups[0]} groups against {rows[1]:,} of {groups[1]}"
    )
    mend = "repair the source of a feature that broke, or train anew where the world changed"
    return [Finding(code="O001", severity="warn", says=says, where="all", measured=p, limit=ALPHA, mend=mend)]


def _names(table: _Table, order: Ints) -> str:
    return ", ".join(table.bins[number].field.name for number in order[:NAMED])


def _moved(table: _Table, shares: tuple[Floats, Floats], number: int, p: float) -> Finding:
    """The finding of one feature, with the bin whose share changed most."""
    bins = table.bins[number]
    begin = int(table.begins[number])
    one, two = (side[begin : begin + bins.size] for side in shares)
    most = int(np.argmax(np.abs(one - two)))
    says = (
        f"{bins.field.name} changed (p {p:.3g} after correction for {len(table.bins)} features): "
        f"{bins.label(most)} was {one[most]:.1%} of rows and is {two[most]:.1%}"
    )
    return Finding(code="O001", severity="warn", says=says, where=bins.field.name, measured=p, limit=ALPHA)
