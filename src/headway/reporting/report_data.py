"""What a report shows: one record, of which every field but the title may be absent."""

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
    """A named period of the split (`train`, `validation`, `test`, `live`): ISO dates, [first, until)."""

    name: str
    first: str
    until: str

    def holds(self, period: str) -> bool:
        """Whether the period that is labelled so (`2013-09`, `2013-09-01`) begins within the span."""
        day = period if len(period) > 7 else f"{period}-01"
        return self.first[:10] <= day < self.until[:10]


class Replay(Record, frozen=True, kw_only=True):
    """A period sent to the running server as traffic, every answer compared.

    `mismatches` counts the rows whose answer is not what the release itself computes in process (altered or crossed
    answers); `largest_difference` is the largest distance of any probability from the model as it came, over all rows;
    `failures` counts requests without a proper answer. `p50` and `p99` are of the time of one request, unit ms.
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
    """A stage of the run, and how long it took."""

    name: str
    seconds: float


class ColumnUse(Record, frozen=True, kw_only=True):
    """A column: what it is used for, and what was found in it of people and what became of that; empty for nothing."""

    name: str
    purpose: str
    personal: str = ""


class DataUse(Record, frozen=True, kw_only=True):
    """Which data of a source is used for what, how long what was served is kept, and what was forgotten.

    `looked_at` is when the checks last looked for personal data (ISO 8601), `n_read` how many columns the model reads.
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
    """Something that happened after the release: when, what in a few words, and a sentence for whoever must act.

    `at` is ISO 8601, a month or finer; `detail` is for engineers.
    """

    at: str
    what: str
    message: str
    style: EventStyle = "note"
    kind: EventKind = "other"
    detail: str = ""


class RefusedVariant(Record, frozen=True, kw_only=True):
    """A variant that is wrong on purpose, with what is wrong about it in a person's words."""

    title: str
    judged: EvaluatedVariant


class Stamp(StoredRecord, frozen=True, kw_only=True):
    """When something happened by the time of the data, kept by who replays data of another time.

    `of` is the digest of the release that was rolled out, or the key of the retraining; `at` is ISO 8601, a month
    (`2013-10`) or finer. `note` is a sentence on what no other record can know, such as how a feed was broken.
    """

    name: str
    of: str
    at: str
    note: str = ""


class RolloutSummary(Record, frozen=True, kw_only=True):
    """A rollout as it stands now: why it was begun, and the last verdict on its traffic, if there is one."""

    at: str
    rollout: Rollout
    aim: str = ""
    verdict: Verdict | None = None
    note: str = ""


class DatedRetraining(Record, frozen=True, kw_only=True):
    """A retraining, and when it was."""

    at: str
    retraining: Retraining


class LiveChange(Record, frozen=True, kw_only=True):
    """A move of the pointer `live` that no rollout made; `back` where the release had been live before."""

    at: str
    move: PointerUpdate
    back: bool = False


class MonitoringHistory(Record, frozen=True, kw_only=True):
    """What was seen of the live releases, and what was done about it; each part may be empty.

    `watches` are one a period, of the release that was live in it, oldest first. `names` calls each release that was
    ever live by words (`first release`); `limits` are those of `[retrain]` on a measure by itself.
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
        """The retrainings alone."""
        return tuple(each.retraining for each in self.learned)


class ReportData(Record, frozen=True, kw_only=True):
    """Everything a report can show; it shows what is there and is silent about the rest.

    `frontier` holds the variants as judged on `validation`, `winner` the released one as judged on `test`, `as_it_came` the
    model as it came on the same rows as `winner`. `reasons` says for a variant's name why it was not released, those of
    `left` among them, which had a first look alone.
    `months` holds evidence by period on the released variant and on the model as it came; `Evidence.subject` tells
    which, `Evidence.period` is the label. `refusals` says which transforms did not apply. `groups` is the word for rows
    that share fate (`days`); slices of fewer than `slice_rows` rows or `slice_groups` groups are counted, not shown.
    `year` is what was seen and done since; `curve` is that of the last training; `data_use` is of the project's data.
    `release` is a digest and `key` names the publisher's key; without `release`, the winner is chosen, not released.
    `data` is the digest of each period, `tracked` what DVC said of the files that they were read from.
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
        """What the winner is called: `released`, or `chosen` while it is not."""
        return "released" if self.release else "chosen"

    @property
    def origin(self) -> EvaluatedVariant | None:
        """The model as it came, among the variants of the frontier."""
        return next((judged for judged in self.frontier if not judged.variant.steps), None)

    def is_winner(self, judged: EvaluatedVariant) -> bool:
        """Whether this row of the frontier is the released variant."""
        return self.winner is not None and judged.variant.digest == self.winner.variant.digest

    def of_winner(self, name: str) -> Measurement | None:
        """What was measured on the released variant on `test`; of speed, what the search measured of all variants."""
        if self.winner is None:
            return None
        searched = [judged.evidence for judged in self.frontier if self.is_winner(judged)]
        held = (
            (*searched, self.winner.evidence)
            if name.startswith(formatting.TIMED)
            else (self.winner.evidence, *searched)
        )
        return next((found for evidence in held if (found := evidence.find(name))), None)
