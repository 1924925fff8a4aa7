"""From answered requests to measurements of a rollout: what the release does, beside live, good at every look."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass, replace

import numpy as np

from headway.core.evidence import Measurement
from headway.evaluation.observed import (
    ONE_LOSS,
    ONE_SHARE,
    PAIRED_LOSS,
    PAIRED_SHARE,
    Bools,
    Form,
    Keys,
    Observations,
    difference,
)
from headway.evaluation.statistics import sequential
from headway.evaluation.statistics.betting import Floats
from headway.evaluation.statistics.sequential import Track

FLIPS = "decision_churn"
DECISION = "decision"
LOSS = ".drop"
# Yes or no of the answer that a caller got; at a canary these compare callers, since nobody waits for a paired answer.
OF_CALLERS = ("error_rate", "slow_requests")
MEASURES = (FLIPS, *(name + end for name in (*OF_CALLERS, "brier") for end in ("", LOSS)))


@dataclass(frozen=True, slots=True, kw_only=True)
class Traffic:
    """Requests in the order of their answers, oldest first.

    `keys` are hashes [n]; `canary` [n] says whose key it is. Each of `known` is float64 [n, 2], of live and of the
    release, NaN where that side did not answer or nobody knows yet: `error_rate` and `slow_requests` (0 or 1),
    `decision` (any number), and losses of labelled rows in [0, 1] such as `brier`. Labels that come later are traffic
    of their own, which knows only the losses.
    """

    keys: Keys
    canary: Bools
    known: Mapping[str, Floats]


@dataclass(frozen=True, slots=True, kw_only=True)
class Watch:
    """A track for each measure; `share` of the keys are the release's, none where it only answers beside live."""

    share: float
    tracks: Mapping[str, Track]


def begin(measures: Sequence[str], *, share: float, alpha: float) -> Watch:
    """The watch over a stage before its first request; `alpha` is the chance of false harm that each measure has.

    `NAME` is the release's mean, `NAME.drop` that less live's, `decision_churn` the share on which both differ.
    """
    return Watch(share=share, tracks={name: sequential.begin(_form(name, share), alpha=alpha) for name in measures})


def update(watch: Watch, traffic: Traffic) -> Watch:
    """The watch after more traffic; raises DataError for a value out of range."""
    return replace(
        watch,
        tracks={
            name: sequential.update(track, observed(name, watch.share, traffic)) for name, track in watch.tracks.items()
        },
    )


def measure(watch: Watch) -> tuple[Measurement, ...]:
    """One measurement a measure of which something was seen."""
    found = (sequential.measure(track, name) for name, track in watch.tracks.items())
    return tuple(each for each in found if each is not None)


def _form(name: str, share: float) -> Form:
    base = name.removesuffix(LOSS)
    if name == FLIPS:
        return ONE_SHARE
    if name == base:
        return ONE_SHARE if base in OF_CALLERS else ONE_LOSS
    if base in OF_CALLERS:
        return difference(share) if share else PAIRED_SHARE
    return PAIRED_LOSS


def observed(name: str, share: float, traffic: Traffic) -> Observations:
    """The requests that say something of a measure; none where the traffic does not know it."""
    base = name.removesuffix(LOSS)
    pair = traffic.known.get(DECISION if name == FLIPS else base, np.full((len(traffic.keys), 2), np.nan))
    live, release = pair[:, 0], pair[:, 1]
    if name == FLIPS:
        values = np.where(np.isnan(live + release), np.nan, live != release)
    elif name == base:
        values = release
    elif base in OF_CALLERS and share:
        values = np.where(traffic.canary, release, live)
    else:
        values = release - live
    said = ~np.isnan(values)
    return Observations(keys=traffic.keys[said], values=values[said], canary=traffic.canary[said])
