"""A mean over keys with bounds that hold at every look, however often one looks.

Requests of one key share fate, so a key counts once: by its first request. Two streams watch. The long one counts each
key once; the recent one begins anew every `ROUND` requests of the release and counts every key again, so that harm is
found which begins late, or on keys that were counted before. A stream begun anew is no fresh chance, for the keys are
the same: the streams divide alpha among them, and each has its part whatever the others saw. Nothing here is
asymptotic; `betting` has the method.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass, replace

import numpy as np

from headway.core.errors import DataError
from headway.core.evidence import Measurement
from headway.evaluation.observed import Bools, Form, Keys, Observations, codes_of
from headway.evaluation.statistics.betting import Ints, refuted

ROUND = 500
LONG = 1 << 20
METHOD = "betting, first request of each key"


@dataclass(frozen=True, slots=True)
class Stream:
    """Keys counted once each: `number` of the stream, requests met, tally of points, keys met in sorted parts."""

    number: int
    rows: int
    counts: Ints
    met: tuple[Keys, ...] = ()


@dataclass(frozen=True, slots=True, kw_only=True)
class Bounds:
    """The mean of a stream over its keys, and the bounds of it."""

    value: float
    low: float
    high: float
    n_rows: int
    n_keys: int


@dataclass(frozen=True, slots=True, kw_only=True)
class Track:
    """All that the next look needs of what was seen; `worst` is that of the streams which ended with most harm shown.

    `alpha` is the chance that the low bound is ever above the mean, `beta` that the high bound is ever below it.
    """

    form: Form
    alpha: float
    beta: float
    long: Stream
    recent: Stream
    worst: Bounds | None = None


def begin(form: Form, *, alpha: float, beta: float = 0.05) -> Track:
    """The track before the first request; what its bounds promise is fixed here, before anything is seen.

    Raises DataError unless both chances of error are between 0 and 1.
    """
    if not (0 < alpha < 1 and 0 < beta < 1):
        raise DataError(f"a chance of error is between 0 and 1, met alpha = {alpha:g}, beta = {beta:g}")
    return Track(form=form, alpha=alpha, beta=beta, long=_anew(form, 1), recent=_anew(form, 1))


def update(track: Track, seen: Observations) -> Track:
    """The track after more requests, the same in one batch as in many; takes time by the new requests.

    Raises DataError for a value that is not of the form.
    """
    codes = codes_of(track.form, seen)
    long, longs = _filled(track.long, seen.keys, codes, length=LONG)
    recent, rounds = _filled(track.recent, seen.keys, codes, length=round_of(track.form))
    ended = [_bounds(track, each, long_part(each.number)) for each in longs]
    ended += [_bounds(track, each, recent_part(each.number)) for each in rounds]
    harmful = [track.worst] if track.worst else []
    harmful += [each for each in ended if each.low > track.form.bounds[0]]
    return replace(track, long=long, recent=recent, worst=max(harmful, key=_low, default=None))


def measure(track: Track, name: str) -> Measurement | None:
    """The mean over keys with its bounds; None where nothing was observed.

    Of the two streams and those that ended, the one with most harm shown is given, with its own value and counts.
    """
    both = ((track.long, long_part(track.long.number)), (track.recent, recent_part(track.recent.number)))
    found = [_bounds(track, stream, part) for stream, part in both if stream.rows]
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


def long_part(number: int) -> float:
    """The part of alpha that a long stream has: 0.72 the first, all later ones together 0.08."""
    return 0.72 if number == 1 else 0.08 / (number * (number - 1))


def recent_part(number: int) -> float:
    """The part of alpha that a recent stream has, 0.2 all together; the first sees what the long one sees: none."""
    return 0.0 if number == 1 else 0.2 / (number * (number - 1))


def round_of(form: Form) -> int:
    """Requests until the recent stream begins anew: `ROUND` of them are the release's."""
    return math.ceil(ROUND / form.share) if form.share else ROUND


def _anew(form: Form, number: int) -> Stream:
    return Stream(number, 0, np.zeros(len(form.points), dtype=np.int64))


def _filled(stream: Stream, keys: Keys, codes: Ints, *, length: int) -> tuple[Stream, list[Stream]]:
    """The stream after these requests, begun anew whenever it has met `length`; and those that ended."""
    ended = []
    start = 0
    while start < len(keys):
        stop = min(start + length - stream.rows, len(keys))
        stream = _counted(stream, keys[start:stop], codes[start:stop])
        start = stop
        if stream.rows == length:
            ended.append(stream)
            stream = Stream(stream.number + 1, 0, np.zeros_like(stream.counts))
    return stream, ended


def _counted(stream: Stream, keys: Keys, codes: Ints) -> Stream:
    """The stream after these requests: each key that it had not met counts by its first."""
    fresh, first = np.unique(keys, return_index=True)
    new = ~_among(stream.met, fresh)
    counts = stream.counts + np.bincount(codes[first[new]], minlength=len(stream.counts))
    return Stream(stream.number, stream.rows + len(keys), counts, _with(stream.met, fresh[new]))


def _among(met: Sequence[Keys], keys: Keys) -> Bools:
    found = np.zeros(len(keys), dtype=np.bool_)
    for part in met:
        place = np.minimum(np.searchsorted(part, keys), len(part) - 1)
        found |= part[place] == keys
    return found


def _with(met: tuple[Keys, ...], keys: Keys) -> tuple[Keys, ...]:
    """Sorted parts, each more than twice as long as the next: few to look in, and seldom merged."""
    parts = [*met, keys] if len(keys) else [*met]
    while len(parts) > 1 and len(parts[-2]) <= 2 * len(parts[-1]):
        last = parts.pop()
        parts[-1] = np.sort(np.concatenate([parts[-1], last]), kind="stable")
    return tuple(parts)


def _low(bounds: Bounds) -> float:
    return bounds.low


def _bounds(track: Track, stream: Stream, part: float) -> Bounds:
    """The mean of a stream that has this part of alpha and beta, and its bounds, as wide as the lattice rounds."""
    held = np.flatnonzero(stream.counts)
    points, counts = track.form.points[held], stream.counts[held]
    low, high = track.form.bounds
    if part:
        least, most = float(track.form.points.min()), float(track.form.points.max())
        up = refuted(points - least, counts, -math.log(track.alpha * part))
        down = refuted(most - points, counts, -math.log(track.beta * part))
        low = max(low, least + up - track.form.rounding)
        high = min(high, most - down + track.form.rounding)
    n_keys = int(counts.sum())
    value = min(max(float(points @ counts) / n_keys, low), high)
    return Bounds(value=value, low=low, high=high, n_rows=stream.rows, n_keys=n_keys)
