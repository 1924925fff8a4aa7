"""Monitoring: drift between two periods, the report on one period of a live release, and proposals to retrain."""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import ClassVar, Literal

from headway.core.dataset import SampledRows
from headway.core.evidence import Finding, Measurement
from headway.core.record import FormerValues, Record, StoredRecord
from headway.core.verdict import RuleResult

MonitoringStatus = Literal["healthy", "drifted", "degraded", "unknown"]
Question = Literal["drift", "degradation"]
RowSource = Literal["table", "log"]
Reason = Literal["rows", "calibration", "certificate", "inputs"]
GapDirection = Literal["wider", "reversed", "narrower", "not shown"]
AUC_CHANGE, CALIBRATION_ERROR, COST, BIAS = "roc_auc.change", "ece.split", "cost", "bias"
ACCURACY_CHANGE, F1_CHANGE, LOG_LOSS_CHANGE = "accuracy.change", "macro_f1.change", "log_loss.change"
"""What a degradation is shown by, as `MonitoringAnswer.shown` names it; rules of the policy have their own names."""
INPUT_BROKE = "O006"
"""Code of the finding that an input is out of its range."""


class BrokenInput(Record, frozen=True, kw_only=True):
    """An input that is out of its range, with the days of its broken cells (ISO 8601) and what happened to it.

    These cells are one record, which estimates without labels, references, retrainings, tickets and rollouts read.
    """

    column: str
    days: tuple[str, ...]
    message: str


class Drift(Record, frozen=True, kw_only=True):
    """One alarm, and the features that carry it; without a change its false-alarm rate is the given level.

    Measurements: `drift.p` of all features (slice empty), and by feature (slice = its name) `drift.p`, corrected for
    the number of features; a single detector adds `drift.distance` in [0, 1]. Findings are empty without an alarm.
    Findings O006 are of rules, which give an alarm whatever the p-value; `broken` has the cells that they found.
    """

    alarm: bool
    measurements: tuple[Measurement, ...]
    findings: tuple[Finding, ...] = ()
    broken: tuple[BrokenInput, ...] = ()

    @property
    def broken_cells(self) -> frozenset[tuple[str, str]]:
        """Column and day of each broken cell, and each column with an empty day: earlier versions kept no days."""
        days = ((entry.column, day) for entry in self.broken for day in entry.days)
        return frozenset((*days, *((finding.where, "") for finding in self.findings if finding.code == INPUT_BROKE)))


_UNBOUNDED = re.compile(r" \[[−-]?179,769,313(,[0-9]{3})+, 179,769,313(,[0-9]{3})+\]")


def _without_unbounded(why: str) -> str:
    """Leave out an interval without bounds, which earlier versions wrote as two numbers of 309 digits."""
    return _UNBOUNDED.sub("", why)


class Ticket(StoredRecord, frozen=True, kw_only=True):
    """A proposal to retrain the live release, opened by the policy; a person or headway itself acts on it.

    `evidence` holds the digests of the evidence behind it. `expected_loss` is the cost per month above that at release,
    in the unit of `[model] costs`. `price_s` is the duration of a retraining with all its seeds in seconds, None if
    none was measured. `pays` compares the two, None if one of them is unknown. While it is open, each judged period
    renews what waiting costs: `at` is when it was opened in the time of the data, `priced_until` the end of the period
    that priced it last. `opened_at` is when it was opened by the clock; empty in tickets of earlier versions. `broken`
    are inputs out of their range since the release was judged: they are repaired first. A ticket is closed by one
    without reasons.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"why": _without_unbounded}

    version: ClassVar[int] = 3

    name: str
    release: str
    reasons: tuple[Reason, ...]
    why: str
    evidence: tuple[str, ...] = ()
    expected_loss: Measurement | None = None
    price_s: float | None = None
    pays: bool | None = None
    acts: bool = False
    at: str = ""
    priced_until: str = ""
    opened_at: str = ""
    broken: tuple[BrokenInput, ...] = ()

    @property
    def message(self) -> str:
        """The reasons in a sentence, after the inputs to repair."""
        columns = ", ".join(dict.fromkeys(entry.column for entry in self.broken))
        days = {day for entry in self.broken for day in entry.days}
        repair = f"repair the feed of {columns}, out of range on {len(days)} days from {min(days)}" if days else ""
        return "; ".join(filter(None, (repair, self.why)))

    def is_open(self, release: str) -> bool:
        """Return whether it is open for a release."""
        return bool(self.reasons) and self.release == release


class BiasChange(Record, frozen=True, kw_only=True):
    """The gap of a group of people when the release was judged and in a period.

    A gap is a rate of the group minus that of all others, in [-1, 1]: `measure` is `bias.tpr`, `bias.fpr`,
    `bias.selection` or `bias.calibration`, `group` such as `sex=F`. `change` is `now` minus `before`; `direction` says
    what is shown of it.
    """

    measure: str
    group: str
    before: Measurement
    now: Measurement
    change: Measurement
    direction: GapDirection = "not shown"


class MonitoringAnswer(Record, frozen=True, kw_only=True):
    """A question that was tested on a period, once: its false-alarm rate, and the measures that answer yes.

    `not_excluded` are measures that are not shown, but whose interval reaches far beyond the limit.
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"question": {"harm": "degradation"}}

    question: Question
    level: float
    shown: tuple[str, ...] = ()
    not_excluded: tuple[str, ...] = ()


class MonitoringReport(StoredRecord, frozen=True, kw_only=True):
    """A period of a live release compared with the period that it was evaluated on; times are ISO 8601.

    Rows come from the project's table or from the prediction log; `n_without_key` rows of the log have no key, so no
    label can reach them. `is_complete` means that the period has ended: only then, and once, is a question tested.
    `drift` is that of the inputs; `drift_costs` ranks the features by the estimated cost of their drift per row.
    `row_checks` are findings of rules that need no test, on short periods and on those whose drift could not be judged;
    `n_rows_usual` is the median of the ended periods of the log before; `n_lost` rows of the period were lost by the
    log, and the spans of time in which that happened are not judged. `quality`, `change` (since the evaluation) and
    `cost` per month need labels, `estimated` needs none. `unknown` gives the reason for each part that could not be
    judged. `rule_results` are those of `[[policy.watch]]`. `bias` are the gaps of sensitive groups. `recovered_from` is
    the last degraded period before, if what it showed is shown no more. `sampled` states which rows of a table larger
    than memory were looked at; then `n_rows` and `n_labeled` are those of the sample.

    Status: `healthy`; `drifted`, if the inputs changed and no degradation is shown; `degraded`, if it is shown;
    `unknown`, if the period has not ended, the log lost more than 5 % of its rows, the inputs could not be judged, the
    quality neither by labels nor by an estimate, or labels do not exclude a large degradation.
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
    row_checks: tuple[Finding, ...] = ()
    n_rows_usual: float | None = None
    n_lost: int = 0
    bias: tuple[BiasChange, ...] = ()
    recovered_from: str = ""
    sampled: SampledRows | None = None

    def reply(self, question: Question) -> MonitoringAnswer | None:
        """Return the answer to a question, or None if it was not tested."""
        return next((item for item in self.answers if item.question == question), None)

    def find(self, name: str) -> Measurement | None:
        """Return the measurement of that name over all rows, or None."""
        measurements = (*self.quality, *self.change, *self.estimated)
        return next((item for item in measurements if item.name == name and not item.slice), None)


class KeyProbing(Record, frozen=True, kw_only=True):
    """The evidence that an API key copied or probed the model on a day (UTC).

    `rows` counts the rows that were sent and `distinct` the different ones that were judged. `e_value` exceeds the
    limit of the report for a key that is found, `rows_until_found` rows after it began that day. `sign` says most, and
    `shares` are the shares of the rows with each sign: `synthetic`, `boundary`, `bisection`.
    """

    day: str
    api_key: str
    rows: int
    distinct: int
    e_value: float
    sign: str
    shares: dict[str, float]
    is_found: bool = False
    rows_until_found: int = 0
    throttled: bool = False


class ProbingReport(StoredRecord, frozen=True, kw_only=True):
    """What the keys of a release sent, judged by day; `limit` is the e-value from which a key of that day is found.

    `reason` says why nothing could be judged. Rows without an API key, which belong to no
    caller that is known, are counted in `rows_without_key`.
    """

    version: ClassVar[int] = 1

    name: str
    release: str
    at: str
    limit: float
    keys: tuple[KeyProbing, ...] = ()
    rows_without_key: int = 0
    reason: str = ""

    @property
    def found(self) -> tuple[KeyProbing, ...]:
        """The keys and days that are found."""
        return tuple(key for key in self.keys if key.is_found)
