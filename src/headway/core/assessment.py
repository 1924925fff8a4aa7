"""Assessment: what the checks found in a table, and what the table was like."""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec

from headway.core.config import current_settings
from headway.core.dataset import SampledRows
from headway.core.evidence import RENAMED_CHECKS, Finding, Measurement
from headway.core.record import FormerValues, Record, StoredRecord

UNJUDGED = "D000"


class CheckRun(Record, frozen=True, kw_only=True):
    """A check that ran: the code of its findings, and why it could not judge; empty if it could."""

    former_values: ClassVar[Mapping[str, FormerValues]] = {"name": RENAMED_CHECKS}

    name: str
    code: str
    unjudged: str = ""


class TimeBucket(Record, frozen=True, kw_only=True):
    """Rows of one month (week, year) or of one part of the split; times are ISO 8601, [since, until).

    `missing` is the share of missing values of each column that has any. `target` is the mean of the target; for
    classes, the share of each (slice).
    """

    former_values: ClassVar[Mapping[str, FormerValues]] = {"name": {"choose": "validation"}}

    name: str
    n_rows: int
    n_groups: int
    since: str = ""
    until: str = ""
    missing: dict[str, float] = {}
    target: tuple[Measurement, ...] = ()


class Shift(Record, frozen=True, kw_only=True):
    """A column whose distribution shifted: for each bin, the share of the rows before and now."""

    column: str
    p: float
    bins: tuple[str, ...]
    before: tuple[float, ...]
    now: tuple[float, ...]


class DriftTest(Record, frozen=True, kw_only=True):
    """Result of testing for drift since an assessment was opened: `count` tests so far, the last on `n_groups` groups.

    `message` is the last answer, or why there was none; `p` is the p-value over all columns and `level` its limit.
    """

    former_names: ClassVar[Mapping[str, str]] = {"says": "message"}

    count: int = 0
    n_groups: int = 0
    message: str = ""
    p: float | None = None
    level: float | None = None
    shifts: tuple[Shift, ...] = ()


def _current_settings(body: dict[str, Any]) -> dict[str, Any]:
    """Bring the settings of an assessment, JSON by `section.field`, to today's names; every table was opened whole."""
    settings: dict[str, str] = {"data.max_rows": "0"}
    for setting, text in body["settings"].items():
        section, _, name = setting.partition(".")
        current = current_settings({section: {name: msgspec.json.decode(text)}})
        for name, value in current[section].items():
            settings[f"{section}.{name}"] = msgspec.json.encode(value, order="sorted").decode()
    return {**body, "settings": settings}


class Assessment(StoredRecord, frozen=True, kw_only=True):
    """All checks of a table at one time; `number` counts the assessments of a project.

    `why` are findings on the changes that opened this one; the first has none. `columns` gives the type of each column,
    `settings` the settings that the checks depend on, `until` the last time of a row. `sample` is the digest of a few
    values of each column by group, with which later data are compared; only the run that opened the number has one.
    `sampled` states which rows of a table larger than memory were looked at; None if all were. `data` is the digest of
    the rows of each period, as a release has them: a retrained one if the table has its rows, else one of the split.
    Assessments of 0.1 and of samples have none.
    """

    former_names: ClassVar[Mapping[str, str]] = {"looked": "check_runs", "stretches": "time_buckets"}
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {1: _current_settings}

    name: str
    at: str
    by: str
    headway: str
    number: int
    source: str
    dataset: str
    n_rows: int
    n_groups: int
    until: str
    columns: dict[str, str]
    settings: dict[str, str]
    check_runs: tuple[CheckRun, ...]
    findings: tuple[Finding, ...]
    time_buckets: tuple[TimeBucket, ...] = ()
    parts: tuple[TimeBucket, ...] = ()
    why: tuple[Finding, ...] = ()
    tested: DriftTest = DriftTest()
    sample: str = ""
    sampled: SampledRows | None = None
    data: dict[str, str] = {}

    def count(self, severity: str) -> int:
        """Return how many findings have a severity; checks that could not judge are counted by `unjudged`."""
        return sum(finding.severity == severity for finding in self.judged)

    @property
    def judged(self) -> tuple[Finding, ...]:
        """The findings of checks that judged."""
        return tuple(finding for finding in self.findings if finding.code != UNJUDGED)

    @property
    def unjudged(self) -> tuple[CheckRun, ...]:
        """The checks that could not judge, and why."""
        return tuple(run for run in self.check_runs if run.unjudged)
