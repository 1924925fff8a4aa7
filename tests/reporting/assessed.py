"""Assessments for a report: months with a gap, a leak that appears and is resolved, and columns that shift."""

from __future__ import annotations

from msgspec.structs import replace
from tests.reporting.stories import estimate

from headway.core.assessment import Assessment, CheckRun, DriftTest, Shift, TimeBucket
from headway.core.evidence import Finding
from headway.monitoring.assessment.assess import AssessmentResult

LEAK = Finding(
    code="D003",
    severity="stop",
    message="'air_time' alone reaches a ROC AUC of 0.912 on 327,346 rows: it may be the outcome in disguise",
    where="column air_time",
    measured=0.912,
    limit=0.85,
    hint='[data.known] air_time = "outcome", or "request" if it is honest (then this is a warning)',
)
UNDECLARED = Finding(
    code="D005",
    severity="undecided",
    message="it is not declared when 2 of 20 features are known: seats, engines",
    where="[data.known]",
    measured=2.0,
    limit=0.0,
    hint='seats = "request" (or "outcome", or the name of a time column)',
)
GAPS = Finding(
    code="D004", severity="warn", message="9,430 of 336,776 rows (2.8%) have no outcome", where="column late"
)
OUTCOME = Finding(
    code="D001", severity="note", message="'arr_delay' is known only after the outcome", where="column arr_delay"
)
NOT_RUN = Finding(
    code="D000",
    severity="note",
    message="check 'few_groups' did not run: no groups are declared",
    where="check few_groups",
    hint='[data] groups = "COLUMN"',
    plugin="few_groups",
    reason="no groups are declared",
)
RUNS = (
    CheckRun(name="target_leak", code="D003"),
    CheckRun(name="undeclared_features", code="D005"),
    CheckRun(name="unlabeled_rows", code="D004"),
    CheckRun(name="outcome_columns", code="D001"),
    CheckRun(name="few_groups", code="D006", unjudged=NOT_RUN.message),
    CheckRun(name="target_values", code="D007"),
)
MOVED = Finding(
    code="D060", severity="warn", message="the data moved since the assessment of 2026-10-01", measured=0.001
)


def month(number: int, *, rows: int = 28_000) -> TimeBucket:
    """A month of flights; wind gusts lack most values, and in May nearly all."""
    last = f"2013-{number:02}-28T21:00:00"
    gusts, seats = (0.95 if number == 5 else 0.76), 0.12 + number / 200
    mean = replace(estimate("target.mean", 0.20 + 0.02 * (number % 5), 0.02), n_rows=rows, n_groups=28)
    return TimeBucket(
        name=f"2013-{number:02}",
        n_rows=rows,
        n_groups=28,
        since=f"2013-{number:02}-01T05:00:00",
        until=last,
        missing={"wind_gust": gusts, "seats": seats, "late": 0.03},
        target=(mean,),
    )


def part(name: str, first: int, last: int) -> TimeBucket:
    """A part of the split, from one month to another."""
    since, until = month(first), month(last)
    mean = replace(estimate("target.mean", 0.22, 0.02), n_rows=99_000, n_groups=110)
    return TimeBucket(
        name=name, n_rows=99_000, n_groups=110, since=since.since, until=until.until, missing={}, target=(mean,)
    )


def assessment(**changes: object) -> Assessment:
    """An assessment of the flights in which all severities were found."""
    plain: dict[str, object] = {
        "name": "flight-delays",
        "at": "2026-11-02T10:00:00+00:00",
        "by": "ada",
        "headway": "1.0",
        "number": 1,
        "source": "flights:load",
        "dataset": "sha256:" + "b" * 64,
        "n_rows": 336_776,
        "n_groups": 365,
        "until": "2013-12-31T23:59:00",
        "columns": dict.fromkeys(("late", "seats", "wind_gust"), "Float64"),
        "settings": {},
        "check_runs": RUNS,
        "findings": (OUTCOME, GAPS, UNDECLARED, LEAK, NOT_RUN),
        "time_buckets": tuple(month(number, rows=28_000 - 900 * (number == 2)) for number in range(1, 13)),
        "parts": (part("train", 1, 4), part("validation", 5, 6), part("test", 7, 8), part("live", 9, 12)),
        "sample": "sha256:1",
    }
    return Assessment(**{**plain, **changes})


SHIFTS = (
    Shift(
        column="carrier",
        p=0.0005,
        bins=("AA", "UA", "missing"),
        before=(0.5, 0.48, 0.02),
        now=(0.3, 0.69, 0.01),
    ),
    Shift(
        column="wind_speed",
        p=0.004,
        bins=("below 5.75", "5.75 to 9.2", "9.2 or more"),
        before=(0.3, 0.4, 0.3),
        now=(0.1, 0.3, 0.6),
    ),
)
FIRST = assessment(at="2026-09-01T10:00:00+00:00", findings=(OUTCOME, GAPS, NOT_RUN))
SECOND = assessment(at="2026-10-01T10:00:00+00:00", findings=(OUTCOME, UNDECLARED, GAPS, NOT_RUN), sample="")
THIRD = assessment(
    number=2,
    why=(MOVED,),
    tested=DriftTest(count=0, message="p 0.001, limit 0.025", p=0.001, level=0.025, shifts=SHIFTS),
)
STORED = (FIRST, SECOND, THIRD)


def assessed() -> AssessmentResult:
    """The third, which opened a new assessment."""
    return AssessmentResult(now=THIRD, before=SECOND)


def first() -> AssessmentResult:
    """A first check of a table without time, groups or gaps, in which nothing was found."""
    bare = assessment(
        findings=(),
        check_runs=tuple(replace(run, unjudged="") for run in RUNS),
        time_buckets=(),
        parts=(),
        n_groups=0,
        until="",
    )
    return AssessmentResult(now=bare)
