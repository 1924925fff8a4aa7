"""Scheduled work: how each task of `headway run` ended."""

from __future__ import annotations

from typing import ClassVar, Literal

from headway.core.record import StoredRecord

TaskOutcome = Literal["done", "attention", "failed"]


class TaskRun(StoredRecord, frozen=True, kw_only=True):
    """One run of a task; times are ISO 8601 in UTC.

    Attributes
    ----------
    outcome : str
        `attention` if it did its work and found something that a person should see; `failed` if it did not.
    by : str
        Process and machine that ran it.
    """

    version: ClassVar[int] = 1

    name: str
    task: str
    started_at: str
    ended_at: str
    outcome: TaskOutcome
    message: str
    by: str = ""


class LabelImport(StoredRecord, frozen=True, kw_only=True):
    """A file of labels that was imported, by its name and the digest of its bytes."""

    version: ClassVar[int] = 1

    name: str
    file: str
    content: str
