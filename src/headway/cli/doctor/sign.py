"""A sign: what the doctor saw of one thing, and the mend."""

from __future__ import annotations

from typing import Literal

from headway.core.record import Record

Health = Literal["well", "note", "absent", "broken"]


class Diagnosis(Record, frozen=True, kw_only=True):
    """One thing that was looked at. `broken` is needed and does not work; `absent` is not needed by every project."""

    what: str
    health: Health
    message: str
    hint: str = ""
