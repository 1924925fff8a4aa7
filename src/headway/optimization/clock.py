"""How much of the time that was set for a search is left."""

from __future__ import annotations

import time
from collections.abc import Callable


class TimeBudget:
    """A time that began when this was made; 0 seconds set no end."""

    def __init__(self, budget_s: float, now: Callable[[], float] = time.monotonic) -> None:
        self._budget_s, self._now, self._began = budget_s, now, now()

    def is_over(self, share: float = 1.0) -> bool:
        """Whether this share of the time is used up."""
        return 0 < self._budget_s * share <= self._now() - self._began

    def __str__(self) -> str:
        return f"the budget of {self._budget_s:g} s"


UNLIMITED = TimeBudget(0)
