"""What a person did in the dashboard, for the audit page and its export."""

from __future__ import annotations

from typing import ClassVar

from headway.core.record import StoredRecord


class PersonAction(StoredRecord, frozen=True, kw_only=True):
    """An action of a person who is signed in.

    Attributes
    ----------
    at : str
        Time, ISO 8601 in UTC.
    who, role : str
        The person and their role then.
    action : str
        Code of what was done, such as `rollback` or `label.corrected`.
    subject : str
        What it was done to: a digest, a key, a column; empty if the whole model.
    reason : str
        Why, in the person's words.
    outcome : str
        What became of it, in a sentence; empty if it did what it says.
    """

    version: ClassVar[int] = 1

    name: str
    at: str
    who: str
    role: str
    action: str
    subject: str = ""
    reason: str = ""
    outcome: str = ""
