"""A seat: the release that is live for a name, and beside it the canary of a rollout; taken in one assignment."""

from __future__ import annotations

from dataclasses import dataclass, replace

from headway.serving.loading import LoadedModel
from headway.storage import traffic


@dataclass(frozen=True, slots=True, kw_only=True)
class Arm:
    """How a release came to answer: its role, whether a caller got it, and whether the other release answers too.

    `took_ns` is what the other release took of the same batch, and no part of this one's latency.
    """

    role: int
    answered: int
    paired: int
    stage: int = traffic.ALONE
    took_ns: int = 0


LIVE = Arm(role=traffic.LIVE, answered=1, paired=0)
LIVE_PAIRED = Arm(role=traffic.LIVE, answered=1, paired=1)
LIVE_SHADOW = Arm(role=traffic.LIVE, answered=0, paired=1)
CANARY = Arm(role=traffic.CANARY, answered=1, paired=1)
CANARY_SHADOW = Arm(role=traffic.CANARY, answered=0, paired=1)


@dataclass(frozen=True, slots=True, kw_only=True)
class TrafficSplit:
    """Who answers to a name. `share` of the keys, by `salt`, are the canary's; at 0 it answers beside live, unheard."""

    live: LoadedModel
    canary: LoadedModel | None = None
    share: float = 0.0
    salt: str = ""
    stage: int = traffic.ALONE

    @property
    def reads_anew(self) -> bool:
        """Whether the canary asks a request for other columns than live does."""
        return self.canary is not None and self.canary.views.asked != self.live.views.asked

    def side(self, side: Arm, *, took_ns: int = 0) -> Arm:
        """A side at this seat's stage of its rollout."""
        return replace(side, stage=self.stage, took_ns=took_ns)
