"""Alerts: what changed in the state of a model, to whom it was sent, and what still waits to be sent."""

from __future__ import annotations

from typing import ClassVar, Literal

from headway.core.record import Record, StoredRecord

AlertState = Literal["firing", "resolved", "test"]
Outcome = Literal["waiting", "delivered", "given up"]


class Alert(Record, frozen=True, kw_only=True):
    """A condition that a rule watches began or ended; its `id` is the same however often it is sent.

    Attributes
    ----------
    since, at : str
        When the condition began, and when the alert was made; ISO 8601 in UTC.
    subject : str
        What the condition is about, such as a digest or the time of a ticket; another subject is another alert.
    link : str
        Page of the dashboard; empty if its address is not known.
    """

    id: str
    project: str
    rule: str
    condition: str
    state: AlertState
    at: str
    since: str
    summary: str
    subject: str = ""
    release: str = ""
    link: str = ""


class Delivery(Record, frozen=True, kw_only=True):
    """An alert on its way to the receiver of its rule: the number of attempts, and the problem with the last one.

    While it waits, `due_at` is the time of the next attempt; `done_at` is when it was delivered or given up.
    """

    alert: Alert
    outcome: Outcome = "waiting"
    attempts: int = 0
    due_at: str = ""
    done_at: str = ""
    problem: str = ""


class AlertLog(StoredRecord, frozen=True, kw_only=True):
    """Alerts of a project at one time: the last one of each condition that fires, and the deliveries.

    `number` counts the changes. `sent` are the last deliveries that ended, newest last.
    """

    version: ClassVar[int] = 1

    name: str
    number: int = 0
    at: str = ""
    firing: tuple[Alert, ...] = ()
    waiting: tuple[Delivery, ...] = ()
    sent: tuple[Delivery, ...] = ()
