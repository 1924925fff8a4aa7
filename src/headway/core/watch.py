"""Watch: what was seen of a live release over one period, and what it means."""

from __future__ import annotations

from typing import Literal

from headway.core.drift import Drift
from headway.core.evidence import Finding, Measurement
from headway.core.record import Kept
from headway.core.ticket import Ticket

Outlook = Literal["well", "moved", "worse", "unknown"]


class Watch(Kept, frozen=True, kw_only=True):
    """A period of a live release beside the period that it was judged on; times are ISO 8601.

    `drift` is of the inputs, `harms` ranks their features by what their drift is estimated to cost a row; `quality`,
    `change` (less what it was when judged) and `cost` a month need labels, `estimated` needs none. `unknown` says of
    each part that could not judge why. Outlook: `well`; `moved`, the inputs differ and no harm is shown; `worse`, harm
    is shown; `unknown`, no label has come and no estimate can be given.
    """

    name: str
    release: str
    period: str
    since: str
    until: str
    n_rows: int
    n_labelled: int
    outlook: Outlook
    says: str
    drift: Drift | None = None
    harms: tuple[Measurement, ...] = ()
    quality: tuple[Measurement, ...] = ()
    change: tuple[Measurement, ...] = ()
    cost: Measurement | None = None
    estimated: tuple[Measurement, ...] = ()
    unknown: tuple[Finding, ...] = ()
    evidence: str = ""
    ticket: Ticket | None = None
    at: str = ""

    def find(self, name: str) -> Measurement | None:
        """The measurement of that name over all rows, or None."""
        every = (*self.quality, *self.change, *self.estimated)
        return next((each for each in every if each.name == name and not each.slice), None)
