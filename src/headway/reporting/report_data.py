"""Data of a report: one record in which every field but the title may be absent."""

from __future__ import annotations

from typing import Literal

from headway.core.erasure import Erasure
from headway.core.evidence import Evidence, Finding, Machine, Measurement
from headway.core.learning import LearningCurve
from headway.core.provenance import Tracked
from headway.core.record import Record, StoredRecord
from headway.core.release import PointerUpdate
from headway.core.rollout import Rollout
from headway.core.ticket import Ticket
from headway.core.training import Retraining
from headway.core.verdict import EvaluatedVariant, Verdict
from headway.core.watch import MonitoringReport
from headway.reporting.text import formatting


class SplitPeriod(Record, frozen=True, kw_only=True):
    """A period of the split (train, validation, test or live): ISO dates, [first, until)."""

    name: str
    first: str
    until: str

    def holds(self, period: str) -> bool:
        """Return whether the period with this label (`2013-09`, `2013-09-01`) begins within these dates."""
        day = period if len(period) > 7 else f"{period}-01"
        return self.first[:10] <= day < self.until[:10]


class Replay(Record, frozen=True, kw_only=True):
    """A period sent to the running server as traffic, with every answer compared.

    `mismatches` counts rows whose answer differs from what the release computes in process; `largest_difference` is the
    largest distance of a probability from the baseline's over all rows; `failures` counts requests without a valid answer.
    `p50` and `p99` are request times in ms.
    """

    period: str
    requests: int
    rows: int
    mismatches: int
    failures: int
    largest_difference: float
    seconds: float
    p50: Measurement | None = None
    p99: Measurement | None = None


class Stage(Record, frozen=True, kw_only=True):
    """A stage of the run and its duration."""

    name: str
    seconds: float


class ColumnUse(Record, frozen=True, kw_only=True):
    """A column: its use, and the personal data found in it; empty for none."""

    name: str
    purpose: str
    personal: str = ""


class DataUse(Record, frozen=True, kw_only=True):
    """How the data of a source are used, how long served data are kept, and what was erased.

    `looked_at` is when checks last searched for personal data (ISO 8601), `n_read` how many columns the model reads.
    """

    source: str
    columns: tuple[ColumnUse, ...]
    n_read: int
    looked_at: str = ""
    retention: str = ""
    erasures: tuple[Erasure, ...] = ()


EventKind = Literal["drift", "worse", "taken back", "ticket", "retrained", "live", "other"]
EventStyle = Literal["pass", "fail", "note"]


class Event(Record, frozen=True, kw_only=True):
    """Something that happened after the release: when, what, and a sentence for the person who must act.

    `at` is ISO 8601, a month or finer; `detail` is for engineers.
    """

    at: str
    what: str
    message: str
    style: EventStyle = "note"
    kind: EventKind = "other"
    detail: str = ""


class RefusedVariant(Record, frozen=True, kw_only=True):
    """A variant that is wrong on purpose, and what is wrong about it."""

    title: str
    judged: EvaluatedVariant


class Stamp(StoredRecord, frozen=True, kw_only=True):
    """When something happened in the time of the data, stored by programs that replay old data.

    `of` is the salt of the rollout or the key of the retraining; `at` is ISO 8601, a month (`2013-10`) or finer. `note`
    states what no other record knows, such as how a feed was broken.
    """

    name: str
    of: str
    at: str
    note: str = ""


class RolloutSummary(Record, frozen=True, kw_only=True):
    """A rollout as it stands now: why it was started, and the last verdict on its traffic, if any."""

    at: str
    rollout: Rollout
    aim: str = ""
    verdict: Verdict | None = None
    note: str = ""


class DatedRetraining(Record, frozen=True, kw_only=True):
    """A retraining with its time."""

    at: str
    retraining: Retraining


class LiveChange(Record, frozen=True, kw_only=True):
    """An update of the pointer `live` without a rollout; `back` if the release had been live before."""

    at: str
    move: PointerUpdate
    back: bool = False


class MonitoringHistory(Record, frozen=True, kw_only=True):
    """What was seen of the live releases and what was done about it; each part may be empty.

    `watches` holds one report per period on the release that was live in it, oldest first. `names` gives each live release
    a name (`first release`); `limits` are those of `[retrain]` by measure.
    """

    watches: tuple[MonitoringReport, ...] = ()
    tickets: tuple[Ticket, ...] = ()
    trials: tuple[RolloutSummary, ...] = ()
    learned: tuple[DatedRetraining, ...] = ()
    turns: tuple[LiveChange, ...] = ()
    names: dict[str, str] = {}
    limits: dict[str, float] = {}

    @property
    def retrained(self) -> tuple[Retraining, ...]:
        """Retrainings without their times."""
        return tuple(each.retraining for each in self.learned)


class ReportData(Record, frozen=True, kw_only=True):
    """Everything a report can show; it shows what is present.

    `frontier` holds the variants as judged on the validation period, `winner` the released one as judged on the test
    period, `as_it_came` the baseline on the same rows as `winner`. `left` are variants that were screened out, `reasons`
    why each variant was not released, `refusals` the transforms that did not apply. `months` holds evidence by period on
    the released variant and on the baseline: `Evidence.subject` tells which, `Evidence.period` is the label. `groups` is
    the word for dependent rows (`days`); slices with fewer than `slice_rows` rows or `slice_groups` groups are counted, not
    shown. `release` is a digest and `key` names the publisher's key; without `release` the winner is not released. `data`
    is the digest of each period, `tracked` what DVC recorded of its files.
    """

    title: str
    lead: tuple[str, ...] = ()
    groups: str = "groups"
    slice_rows: int = 1000
    slice_groups: int = 20
    findings: tuple[Finding, ...] = ()
    frontier: tuple[EvaluatedVariant, ...] = ()
    left: tuple[EvaluatedVariant, ...] = ()
    reasons: dict[str, str] = {}
    refusals: tuple[Finding, ...] = ()
    winner: EvaluatedVariant | None = None
    as_it_came: Evidence | None = None
    refused: RefusedVariant | None = None
    months: tuple[Evidence, ...] = ()
    spans: tuple[SplitPeriod, ...] = ()
    replay: Replay | None = None
    year: MonitoringHistory | None = None
    curve: LearningCurve | None = None
    data_use: DataUse | None = None
    release: str = ""
    key: str = ""
    data: dict[str, str] = {}
    tracked: tuple[Tracked, ...] = ()
    stages: tuple[Stage, ...] = ()
    machine: Machine | None = None

    @property
    def word(self) -> str:
        """`released`, or `chosen` while the winner is not released."""
        return "released" if self.release else "chosen"

    @property
    def origin(self) -> EvaluatedVariant | None:
        """The baseline among the variants."""
        return next((judged for judged in self.frontier if not judged.variant.steps), None)

    def is_winner(self, judged: EvaluatedVariant) -> bool:
        """Return whether this is the released variant."""
        return self.winner is not None and judged.variant.digest == self.winner.variant.digest

    def of_winner(self, name: str) -> Measurement | None:
        """Return a measurement of the released variant on the test period; speed is taken from the search."""
        if self.winner is None:
            return None
        searched = [judged.evidence for judged in self.frontier if self.is_winner(judged)]
        held = (
            (*searched, self.winner.evidence)
            if name.startswith(formatting.TIMED)
            else (self.winner.evidence, *searched)
        )
        return next((found for evidence in held if (found := evidence.find(name))), None)
