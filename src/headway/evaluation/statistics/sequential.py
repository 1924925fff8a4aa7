"""A mean over keys with bounds that hold at every look, however often one looks.

Requests of one key share fate, so a key counts once: by its first request. Two streams watch. The long one counts each
key once; the recent one begins anew every `RECENT_LENGTH` requests of the release and counts every key again, so that harm is
found which begins late, or on keys that were counted before. A stream begun anew is no fresh chance, for the keys are
the same: the streams divide alpha among them, and each has its part whatever the others saw. Nothing here is
asymptotic; `betting` has the method.
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
    """What is observed: a value in [low, high], tallied at the points of a lattice of `cells` equal cells.

    With `share`, the chance that a key is the release's, a value y counts +y/share for the release and -y/(1 - share)
    for live: the mean of that is the release's mean less live's (Horvitz and Thompson 1952).
    """

    low: float = 0.0
    high: float = 1.0
    cells: int = 1
    share: float = 0.0

    @property
    def lattice(self) -> Floats:
        """The values that are told apart, [cells + 1]."""
        return np.linspace(self.low, self.high, self.cells + 1)

    @property
    def points(self) -> Floats:
        """What a tally counts: the lattice; with `share` what it counts for live, then what for the release."""
        if not self.share:
            return self.lattice
        return np.concatenate([-self.lattice / (1 - self.share), self.lattice / self.share])

    @property
    def bounds(self) -> tuple[float, float]:
        """The least and the most that the mean can be."""
        return (self.low - self.high, self.high - self.low) if self.share else (self.low, self.high)

    @property
    def rounding(self) -> float:
        """How far the lattice may move the mean: half a cell, of both sides; nothing where all values are whole."""
        width = (self.high - self.low) / self.cells
        return 0.0 if width == 1 else width if self.share else width / 2


PROPORTION = ValueGrid()
UNIT_LOSS = ValueGrid(cells=4096)
PAIRED_PROPORTION = ValueGrid(low=-1.0, cells=2)
PAIRED_LOSS = ValueGrid(low=-1.0, cells=4096)


def unpaired_difference(share: float) -> ValueGrid:
    """Shares of two sides that answer different keys, release less live; a key is the release's with chance `share`.

    Raises DataError where one side answers all.
    """
    if not 0 < share < 1:
        raise DataError(f"release and live can be compared where both answer callers, not at a share of {share:g}")
    return ValueGrid(share=share)


@dataclass(frozen=True, slots=True, kw_only=True)
class Observations:
    """Requests in the order in which they were answered: hash of the key [n], value [n], and whose it was [n].

    `canary` is needed where sides that answer different keys are compared.
    """

    keys: Keys
    values: Floats
    canary: Bools | None = None


def encode_values(form: ValueGrid, seen: Observations) -> Ints:
    """The point of each observation, int64 [n] into `form.points`; raises DataError for a value of another form."""
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
        raise DataError("a difference needs to know which side answered each request", hint="canary = [n] booleans")
    return codes + len(form.lattice) * seen.canary


# Shares of the largest fair stake, and the money laid on each: the large ones tell gross harm and "never happens" soon,
# small ones tell slight harm from none in the long run. The largest is not all, or one loss would end it.
BETS: Floats = np.array([0.999, *(2.0**-power for power in range(1, 10))])
BET_WEIGHTS: Floats = np.array([0.15, 0.13, 0.18, 0.18, 0.13, 0.09, 0.06, 0.04, 0.02, 0.02])
_MIN_LIMIT = 1e-9


def bet_returns(values: Floats, limit: float) -> Floats:
    """What each stake against "the mean is at most `limit`" becomes by each value [A], both >= 0 -> [A, stakes].

    A stake c becomes 1 - c + c * value / limit: on average no more than it was, if the mean is within the limit.
    """
    return 1 - BETS + np.multiply.outer(values / limit, BETS)


def log_wealth(logs: Floats) -> Floats:
    """Log of what 1 has become in all, from the logs of what each stake has, [..., stakes] -> [...]."""
    most = logs.max(axis=-1)
    wealth: Floats = most + np.log(np.exp(logs - most[..., None]) @ BET_WEIGHTS)
    return wealth


def highest_rejected_limit(values: Floats, counts: Ints, threshold: float) -> float:
    """The highest limit against which log wealth is above the threshold > 0, or 0 if there is none.

    `values` [A], all >= 0, were observed `counts` [A] times. Log wealth falls, and is convex, in the logarithm of the
    limit: Newton's steps from below come near the end and never past it, so what is given is refuted wherever they
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
    """Log wealth against the limit of that logarithm, and its derivative by it."""
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
    """Keys counted once each: `number` of the stream, requests met, tally of points, keys met in sorted parts."""

    number: int
    rows: int
    counts: Ints
    met: tuple[Keys, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class StreamBounds:
    """The mean of a stream over its keys, and the bounds of it."""

    value: float
    low: float
    high: float
    n_rows: int
    n_keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class ConfidenceSequence:
    """All that the next look needs of what was seen; `worst` is that of the streams which ended with most harm shown.

    `alpha` is the chance that the low bound is ever above the mean, `beta` that the high bound is ever below it.
    """

    form: ValueGrid
    alpha: float
    beta: float
    long: Stream
    recent: Stream
    worst: StreamBounds | None = None


def start_sequence(form: ValueGrid, *, alpha: float, beta: float = 0.05) -> ConfidenceSequence:
    """The track before the first request; what its bounds promise is fixed here, before anything is seen.

    Raises DataError unless both chances of error are between 0 and 1.
    """
    if not (0 < alpha < 1 and 0 < beta < 1):
        raise DataError(f"a chance of error is between 0 and 1, met alpha = {alpha:g}, beta = {beta:g}")
    return ConfidenceSequence(
        form=form, alpha=alpha, beta=beta, long=_empty_stream(form, 1), recent=_empty_stream(form, 1)
    )


def update_sequence(track: ConfidenceSequence, seen: Observations) -> ConfidenceSequence:
    """The track after more requests, the same in one batch as in many; takes time by the new requests.

    Raises DataError for a value that is not of the form.
    """
    codes = encode_values(track.form, seen)
    long, longs = _fill_stream(track.long, seen.keys, codes, length=LONG_LENGTH)
    recent, rounds = _fill_stream(track.recent, seen.keys, codes, length=recent_length(track.form))
    ended = [_stream_bounds(track, each, long_alpha_share(each.number)) for each in longs]
    ended += [_stream_bounds(track, each, recent_alpha_share(each.number)) for each in rounds]
    harmful = [track.worst] if track.worst else []
    harmful += [each for each in ended if each.low > track.form.bounds[0]]
    return replace(track, long=long, recent=recent, worst=max(harmful, key=_low, default=None))


def measure_sequence(track: ConfidenceSequence, name: str) -> Measurement | None:
    """The mean over keys with its bounds; None where nothing was observed.

    Of the two streams and those that ended, the one with most harm shown is given, with its own value and counts.
    """
    both = ((track.long, long_alpha_share(track.long.number)), (track.recent, recent_alpha_share(track.recent.number)))
    found = [_stream_bounds(track, stream, part) for stream, part in both if stream.rows]
    shown = max([*found, *([track.worst] if track.worst else [])], key=_low, default=None)
    if shown is None:
        return None
    return Measurement(
        name=name,
        value=shown.value,
        low=shown.low,
        high=shown.high,
        method=f"{METHOD}, weighed by its chance" if track.form.share else METHOD,
        n_rows=shown.n_rows,
        n_groups=shown.n_keys,
        level=1 - track.alpha - track.beta,
        looks="anytime",
    )


def long_alpha_share(number: int) -> float:
    """The part of alpha that a long stream has: 0.72 the first, all later ones together 0.08."""
    return 0.72 if number == 1 else 0.08 / (number * (number - 1))


def recent_alpha_share(number: int) -> float:
    """The part of alpha that a recent stream has, 0.2 all together; the first sees what the long one sees: none."""
    return 0.0 if number == 1 else 0.2 / (number * (number - 1))


def recent_length(form: ValueGrid) -> int:
    """Requests until the recent stream begins anew: `RECENT_LENGTH` of them are the release's."""
    return math.ceil(RECENT_LENGTH / form.share) if form.share else RECENT_LENGTH


def _empty_stream(form: ValueGrid, number: int) -> Stream:
    return Stream(number, 0, np.zeros(len(form.points), dtype=np.int64))


def _fill_stream(stream: Stream, keys: Keys, codes: Ints, *, length: int) -> tuple[Stream, list[Stream]]:
    """The stream after these requests, begun anew whenever it has met `length`; and those that ended."""
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
    """The stream after these requests: each key that it had not met counts by its first."""
    fresh, first = np.unique(keys, return_index=True)
    new = ~_is_known(stream.met, fresh)
    counts = stream.counts + np.bincount(codes[first[new]], minlength=len(stream.counts))
    return Stream(stream.number, stream.rows + len(keys), counts, _add_keys(stream.met, fresh[new]))


def _is_known(met: Sequence[Keys], keys: Keys) -> Bools:
    found = np.zeros(len(keys), dtype=np.bool_)
    for part in met:
        place = np.minimum(np.searchsorted(part, keys), len(part) - 1)
        found |= part[place] == keys
    return found


def _add_keys(met: tuple[Keys, ...], keys: Keys) -> tuple[Keys, ...]:
    """Sorted parts, each more than twice as long as the next: few to look in, and seldom merged."""
    parts = [*met, keys] if len(keys) else [*met]
    while len(parts) > 1 and len(parts[-2]) <= 2 * len(parts[-1]):
        last = parts.pop()
        parts[-1] = np.sort(np.concatenate([parts[-1], last]), kind="stable")
    return tuple(parts)


def _low(bounds: StreamBounds) -> float:
    return bounds.low


def _stream_bounds(track: ConfidenceSequence, stream: Stream, part: float) -> StreamBounds:
    """The mean of a stream that has this part of alpha and beta, and its bounds, as wide as the lattice rounds."""
    held = np.flatnonzero(stream.counts)
    points, counts = track.form.points[held], stream.counts[held]
    low, high = track.form.bounds
    if part:
        least, most = float(track.form.points.min()), float(track.form.points.max())
        up = highest_rejected_limit(points - least, counts, -math.log(track.alpha * part))
        down = highest_rejected_limit(most - points, counts, -math.log(track.beta * part))
        low = max(low, least + up - track.form.rounding)
        high = min(high, most - down + track.form.rounding)
    n_keys = int(counts.sum())
    value = min(max(float(points @ counts) / n_keys, low), high)
    return StreamBounds(value=value, low=low, high=high, n_rows=stream.rows, n_keys=n_keys)
