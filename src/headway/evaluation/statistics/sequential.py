"""Confidence sequences of a mean over keys: bounds that hold at every evaluation, however many there are.

Requests of one key are dependent, so a key counts once, by its first request. Two streams run in parallel: the long one
counts each key once; the recent one restarts every `RECENT_LENGTH` requests of the release and counts every key again,
to find harm that begins late, or on keys counted before. A restarted stream is not an independent test: the keys are
the same: the streams divide alpha, whatever the others saw. No bound is asymptotic.

Evidence for harm and evidence for passing are kept apart. Each stream, also a finished one, may show harm by its low
bound. The whole mean, with its high bound, is that of the long stream: a window is small, so that its high bound would
keep a good release waiting forever.

The bounds come from betting (Waudby-Smith and Ramdas 2024): a gambler who bets at fair odds that a mean is above a
limit multiplies the stake by 1/alpha with probability at most alpha, ever, if the mean is within the limit (Ville
1939). The limits that such wealth has not refuted form the sequence. The bets are a fixed mixture, chosen before the
first observation: a bound stays valid if the mean changes over time, as long as its running average is within.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np
from numpy.typing import NDArray

from headway.core.arrays import Bools, Floats, Ints
from headway.core.errors import DataError
from headway.core.evidence import Measurement

Keys = NDArray[np.uint64]

_NEAR = 1e-9


@dataclass(frozen=True, slots=True, kw_only=True)
class ValueGrid:
    """Values in [low, high], tallied at the points of a grid of `cells` equal cells.

    With `share`, the probability that a key belongs to the release, a value y counts +y/share for the release and
    -y/(1 - share) for live: the mean is the release's minus live's (Horvitz and Thompson 1952).
    """

    low: float = 0.0
    high: float = 1.0
    cells: int = 1
    share: float = 0.0

    @property
    def lattice(self) -> Floats:
        """Values that are distinguished, (cells + 1,)."""
        return np.linspace(self.low, self.high, self.cells + 1)

    @property
    def points(self) -> Floats:
        """Values of the tally: the grid; with `share` its weighted values for live, then for the release."""
        if not self.share:
            return self.lattice
        return np.concatenate([-self.lattice / (1 - self.share), self.lattice / self.share])

    @property
    def bounds(self) -> tuple[float, float]:
        """Smallest and largest possible mean."""
        return (self.low - self.high, self.high - self.low) if self.share else (self.low, self.high)

    @property
    def rounding(self) -> float:
        """Largest error of the mean by the grid: half a cell per side; 0 for whole values."""
        width = (self.high - self.low) / self.cells
        return 0.0 if width == 1 else width if self.share else width / 2


PROPORTION = ValueGrid()
UNIT_LOSS = ValueGrid(cells=4096)
PAIRED_PROPORTION = ValueGrid(low=-1.0, cells=2)
PAIRED_LOSS = ValueGrid(low=-1.0, cells=4096)


def unpaired_difference(share: float) -> ValueGrid:
    """Return the grid for release minus live on different keys; a key is the release's with probability `share`.

    Raises DataError if one of them answers all keys.
    """
    if not 0 < share < 1:
        raise DataError(f"release and live cannot be compared at a share of {share:g}: both must answer callers")
    return ValueGrid(share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Requests in the order of their answers: hash of the key (n,), value (n,), and whether the release answered (n,).

    `canary` is needed to compare releases that answer different keys.
    """

    keys: Keys
    values: Floats
    canary: Bools | None = None


def encode_values(form: ValueGrid, seen: Observations) -> Ints:
    """Return the grid point of each observation, int64 (n,) into `form.points`.

    Raises DataError for a value off the grid.
    """
    cells = (np.asarray(seen.values, dtype=np.float64) - form.low) / (form.high - form.low) * form.cells
    inside = (cells >= -_NEAR) & (cells <= form.cells + _NEAR)
    if form.rounding == 0:
        inside &= np.abs(cells - np.rint(cells)) <= _NEAR
    if not inside.all():
        row, kind = int(np.argmin(inside)), "numbers" if form.rounding else "whole numbers"
        expected = f"{kind} from {form.low:g} to {form.high:g}"
        raise DataError(f"expected {expected}, met {float(seen.values[row])!r}", where=f"row {row}")
    codes = np.rint(cells).astype(np.int64)
    if not form.share:
        return codes
    if seen.canary is None:
        raise DataError("a difference needs the arm that answered each request", hint="canary = [n] booleans")
    return codes + len(form.lattice) * seen.canary


# Shares of the largest fair stake, and the money laid on each: the large ones detect gross harm and "never happens"
# soon, small ones distinguish slight harm from none in the long run. The largest is not all, or one loss would end it.
BETS: Floats = np.array([0.999, *(2.0**-power for power in range(1, 10))])
BET_WEIGHTS: Floats = np.array([0.15, 0.13, 0.18, 0.18, 0.13, 0.09, 0.06, 0.04, 0.02, 0.02])
_MIN_LIMIT = 1e-9


def bet_returns(values: Floats, limit: float) -> Floats:
    """Return the factor of each bet against "the mean is at most `limit`", (A, bets), for values (A,) >= 0.

    A bet c becomes 1 - c + c * value / limit: on average no more than before, if the mean is within the limit.
    """
    return 1 - BETS + np.multiply.outer(values / limit, BETS)


def log_wealth(logs: Floats) -> Floats:
    """Return the logarithm of the total wealth from the logarithms of each bet, (..., bets)."""
    log_max = logs.max(axis=-1)
    wealth: Floats = log_max + np.log(np.exp(logs - log_max[..., None]) @ BET_WEIGHTS)
    return wealth


def highest_rejected_limit(values: Floats, counts: Ints, threshold: float) -> float:
    """Return the highest limit whose log wealth is above the threshold > 0; 0 if there is none.

    `values` (A,), all >= 0, were observed `counts` (A,) times. Log wealth is decreasing and convex in the logarithm of
    the limit: Newton steps from below approach the root without passing it, so the result is rejected wherever they
    stop.
    """
    logarithm, often = math.log(_MIN_LIMIT), counts.astype(np.float64)
    wealth, slope = _wealth_and_slope(values, often, logarithm)
    if wealth <= threshold:
        return 0.0
    while (step := (threshold - wealth) / slope) >= _NEAR:
        logarithm += step
        wealth, slope = _wealth_and_slope(values, often, logarithm)
    return math.exp(logarithm)


def _wealth_and_slope(values: Floats, counts: Floats, logarithm: float) -> tuple[float, float]:
    """Return log wealth against the limit of that logarithm, and its derivative."""
    became = bet_returns(values, math.exp(logarithm))
    logs = counts @ np.log(became)
    wealth = float(log_wealth(logs))
    shares = BET_WEIGHTS * np.exp(logs - wealth)
    slopes = counts @ ((1 - BETS) / became - 1)
    return wealth, float(shares @ slopes)


RECENT_LENGTH = 500
LONG_LENGTH = 1 << 20
METHOD = "betting, first request of each key"


@dataclass(frozen=True, slots=True)
class Stream:
    """Keys counted once each: `number` of the stream, requests, tally of grid points, known keys in sorted parts."""

    number: int
    rows: int
    counts: Ints
    met: tuple[Keys, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """Mean of a stream over its keys, with bounds."""

    value: float
    low: float
    high: float
    n_rows: int
    n_keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSequence:
    """State of a confidence sequence; `worst` is the finished stream that showed most harm.

    `alpha` is the probability that any low bound is ever above its mean, `beta` that the high bound is ever below it.
    """

    form: ValueGrid
    alpha: float
    beta: float
    long: Stream
    recent: Stream
    worst: StreamBounds | None = None


def start_sequence(form: ValueGrid, *, alpha: float, beta: float = 0.05) -> ConfidenceSequence:
    """Return the state before the first request; alpha and beta are fixed here.

    Raises DataError unless both are between 0 and 1.
    """
    if not (0 < alpha < 1 and 0 < beta < 1):
        raise DataError(f"error probabilities must be between 0 and 1, not alpha = {alpha:g}, beta = {beta:g}")
    return ConfidenceSequence(
        form=form, alpha=alpha, beta=beta, long=_empty_stream(form, 1), recent=_empty_stream(form, 1)
    )


def update_sequence(track: ConfidenceSequence, seen: Observations) -> ConfidenceSequence:
    """Return the state after more requests, the same in one batch as in many; linear in the new requests.

    Raises DataError for a value off the grid.
    """
    codes = encode_values(track.form, seen)
    long, longs = _fill_stream(track.long, seen.keys, codes, length=LONG_LENGTH)
    recent, rounds = _fill_stream(track.recent, seen.keys, codes, length=recent_length(track.form))
    ended = [_stream_bounds(track, stream, long_alpha_share(stream.number)) for stream in longs]
    ended += [_stream_bounds(track, stream, recent_alpha_share(stream.number)) for stream in rounds]
    harmful = [track.worst] if track.worst else []
    harmful += [bounds for bounds in ended if bounds.low > track.form.bounds[0]]
    return replace(track, long=long, recent=recent, worst=max(harmful, key=_low, default=None))


def measure_sequence(track: ConfidenceSequence, name: str) -> Measurement | None:
    """Return the mean over keys with its bounds, from the long stream; None without observations."""
    return _measurement(track, name, _long_bounds(track)) if track.long.rows else None


def measure_worst_window(track: ConfidenceSequence, name: str) -> Measurement | None:
    """Return the window that shows most harm, named in `slice`; None if none shows more than the long stream does.

    It is evidence of harm alone: its high bound is the end of the range.
    """
    windows = [track.worst] if track.worst else []
    if track.recent.rows:
        windows.append(_stream_bounds(track, track.recent, recent_alpha_share(track.recent.number)))
    worst = max(windows, key=_low, default=None)
    if worst is None or worst.low <= (_long_bounds(track).low if track.long.rows else track.form.bounds[0]):
        return None
    return _measurement(track, name, worst, slice=f"one window of {worst.n_rows:,} requests")


def _measurement(track: ConfidenceSequence, name: str, bounds: StreamBounds, *, slice: str = "") -> Measurement:
    return Measurement(
        name=name,
        slice=slice,
        value=bounds.value,
        low=bounds.low,
        high=bounds.high,
        method=f"{METHOD}, weighted by assignment probability" if track.form.share else METHOD,
        n_rows=bounds.n_rows,
        n_groups=bounds.n_keys,
        level=1 - track.alpha - track.beta,
        validity="anytime",
    )


def long_alpha_share(number: int) -> float:
    """Return the share of alpha of a long stream: 0.72 for the first, 0.08 for all later ones together."""
    return 0.72 if number == 1 else 0.08 / (number * (number - 1))


def long_beta_share(number: int) -> float:
    """Return the share of beta of a long stream: 0.9 for the first, 0.1 for all later ones together."""
    return long_alpha_share(number) / 0.8


def recent_alpha_share(number: int) -> float:
    """Return the share of alpha of a recent stream, 0.2 in total.

    The first has none, since it sees what the long one sees.
    """
    return 0.0 if number == 1 else 0.2 / (number * (number - 1))


def recent_length(form: ValueGrid) -> int:
    """Return the requests until the recent stream restarts, `RECENT_LENGTH` of them the release's."""
    return math.ceil(RECENT_LENGTH / form.share) if form.share else RECENT_LENGTH


def _empty_stream(form: ValueGrid, number: int) -> Stream:
    return Stream(number, 0, np.zeros(len(form.points), dtype=np.int64))


def _fill_stream(stream: Stream, keys: Keys, codes: Ints, *, length: int) -> tuple[Stream, list[Stream]]:
    """Return the stream after these requests, restarted after each `length`, and the finished streams."""
    ended = []
    start = 0
    while start < len(keys):
        stop = min(start + length - stream.rows, len(keys))
        stream = _count_keys(stream, keys[start:stop], codes[start:stop])
        start = stop
        if stream.rows == length:
            ended.append(stream)
            stream = Stream(stream.number + 1, 0, np.zeros_like(stream.counts))
    return stream, ended


def _count_keys(stream: Stream, keys: Keys, codes: Ints) -> Stream:
    """Count the first request of each new key."""
    fresh, first = np.unique(keys, return_index=True)
    new = ~_is_known(stream.met, fresh)
    counts = stream.counts + np.bincount(codes[first[new]], minlength=len(stream.counts))
    return Stream(stream.number, stream.rows + len(keys), counts, _add_keys(stream.met, fresh[new]))


def _is_known(met: Sequence[Keys], keys: Keys) -> Bools:
    found = np.zeros(len(keys), dtype=np.bool_)
    for part in met:
        index = np.minimum(np.searchsorted(part, keys), len(part) - 1)
        found |= part[index] == keys
    return found


def _add_keys(met: tuple[Keys, ...], keys: Keys) -> tuple[Keys, ...]:
    """Add keys as sorted parts, each more than twice as long as the next: few to search, and seldom merged."""
    parts = [*met, keys] if len(keys) else [*met]
    while len(parts) > 1 and len(parts[-2]) <= 2 * len(parts[-1]):
        last = parts.pop()
        parts[-1] = np.sort(np.concatenate([parts[-1], last]), kind="stable")
    return tuple(parts)


def _low(bounds: StreamBounds) -> float:
    return bounds.low


def _long_bounds(track: ConfidenceSequence) -> StreamBounds:
    number = track.long.number
    return _stream_bounds(track, track.long, long_alpha_share(number), beta_share=long_beta_share(number))


def _stream_bounds(
    track: ConfidenceSequence, stream: Stream, alpha_share: float, *, beta_share: float = 0.0
) -> StreamBounds:
    """Return the mean of a stream with bounds at these shares of alpha and beta, widened by the grid's rounding."""
    tallied = np.flatnonzero(stream.counts)
    points, counts = track.form.points[tallied], stream.counts[tallied]
    smallest, largest = float(track.form.points.min()), float(track.form.points.max())
    low, high = track.form.bounds
    if alpha_share:
        up = highest_rejected_limit(points - smallest, counts, -math.log(track.alpha * alpha_share))
        low = max(low, smallest + up - track.form.rounding)
    if beta_share:
        down = highest_rejected_limit(largest - points, counts, -math.log(track.beta * beta_share))
        high = min(high, largest - down + track.form.rounding)
    n_keys = int(counts.sum())
    value = min(max(float(points @ counts) / n_keys, low), high)
    return StreamBounds(value=value, low=low, high=high, n_rows=stream.rows, n_keys=n_keys)
