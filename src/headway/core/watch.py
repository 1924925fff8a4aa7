"""Watch: what was seen of a live release over one period, and what it means."""

from __future__ import annotations

from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.drift import Drift
from headway.core.evidence import Finding, Measurement
from headway.core.record import FormerValues, Record, StoredRecord
from headway.core.ticket import Ticket
from headway.core.verdict import RuleResult

MonitoringStatus = Literal["healthy", "drifted", "degraded", "unknown"]
Question = Literal["drift", "harm"]
RowSource = Literal["table", "log"]


class MonitoringAnswer(Record, frozen=True, kw_only=True):
    """A question put to a period, once: the chance of a false yes that it was given, and the measures that say yes."""

    question: Question
    level: float
    shown: tuple[str, ...] = ()


class MonitoringReport(StoredRecord, frozen=True, kw_only=True):
    """A period of a live release beside the period that it was judged on; times are ISO 8601.

    Rows come from the project's table, or from the log of what was served; `n_keyless` of these have no key by which a
    label could come. `over` says that the period has ended: only then, and once, is a question put to it. `drift` is of
    the inputs, `harms` ranks their features by what their drift is estimated to cost a row; `quality`, `change` (less
    what it was when judged) and `cost` a month need labels, `estimated` needs none. `unknown` says of each part that
    could not judge why. Outlook: `well`; `moved`, the inputs differ and no harm is shown; `worse`, harm is shown;
    `unknown`, it is not over, or no label has come and no estimate can be given.
    `rulings` are the judge's on `[[policy.watch]]`.
    """

    former_names: ClassVar[Mapping[str, str]] = {
        "says": "message",
        "outlook": "status",
        "n_labelled": "n_labeled",
        "harms": "drift_costs",
        "n_keyless": "n_without_key",
        "replies": "answers",
        "rulings": "rule_results",
        "over": "is_complete",
    }
    former_kinds: ClassVar[tuple[str, ...]] = ("watch",)
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "status": {"well": "healthy", "moved": "drifted", "worse": "degraded"}
    }

    name: str
    release: str
    period: str
    since: str
    until: str
    n_rows: int
    n_labeled: int
    status: MonitoringStatus
    message: str
    drift: Drift | None = None
    drift_costs: tuple[Measurement, ...] = ()
    quality: tuple[Measurement, ...] = ()
    change: tuple[Measurement, ...] = ()
    cost: Measurement | None = None
    estimated: tuple[Measurement, ...] = ()
    unknown: tuple[Finding, ...] = ()
    evidence: str = ""
    ticket: Ticket | None = None
    at: str = ""
    source: RowSource = "table"
    is_complete: bool = True
    n_without_key: int = 0
    answers: tuple[MonitoringAnswer, ...] = ()
    rule_results: tuple[RuleResult, ...] = ()

    def reply(self, question: Question) -> MonitoringAnswer | None:
        """How a question was answered, None where it was not put."""
        return next((each for each in self.answers if each.question == question), None)

    def find(self, name: str) -> Measurement | None:
        """The measurement of that name over all rows, or None."""
        every = (*self.quality, *self.change, *self.estimated)
        return next((each for each in every if each.name == name and not each.slice), None)
