"""Report data of an evaluation of the flights' winner with every audit."""

from __future__ import annotations

from msgspec.structs import replace
from tests.reporting.stories import estimate, fact, flights

from headway.core.evidence import Finding, Measurement
from headway.core.training import LearningCurve, Reading, Round
from headway.evaluation.statistics.intervals import UNBOUNDED
from headway.reporting.report_data import ReportData

SILENT = Finding(
    code="E001",
    severity="undecided",
    message="audit 'load' did not run: no server is known for the variant",
    where="headway.toml [serve]",
    hint="headway evaluate",
)
BUSY = Finding(
    code="E002",
    severity="undecided",
    message="other processes used the cores during the timing (40% of the time was spent waiting): no wall-clock times",
    measured=0.4,
    limit=0.1,
    hint="measure on a quiet machine: headway optimize --wait-quiet",
)


def examined(*more: Measurement, findings: tuple[Finding, ...] = (SILENT, BUSY)) -> ReportData:
    """Return the flights, whose winner was evaluated with every audit; `more` are additional measurements."""
    report = flights()
    assert report.winner is not None
    evidence = report.winner.evidence
    measurements = (
        *evidence.measurements,
        *people(),
        *discovered(),
        *features(),
        *biased(),
        *faults(),
        *attacked(),
        *recognized(),
        *copies(),
        *components(),
        *loaded(),
        *sets(),
        *started(),
        *treated(),
        *more,
    )
    winner = replace(report.winner, evidence=replace(evidence, measurements=measurements, findings=findings))
    return replace(report, winner=winner, curve=curve(), data={"train": f"sha256:{1:064x}", "test": f"sha256:{2:064x}"})


def only(*measurements: Measurement, **changes: object) -> ReportData:
    """Return the flights with only these measurements of the winner."""
    report = flights()
    assert report.winner is not None
    evidence = replace(report.winner.evidence, measurements=measurements)
    winner = replace(report.winner, evidence=evidence)
    return replace(report, winner=winner, frontier=(), **changes)


def people() -> tuple[Measurement, ...]:
    """Return gaps of two groups of people, one of them shown, and of a third that is too small."""
    gaps = {"bias.tpr_gap": 0.06, "bias.fpr_gap": 0.01, "bias.selection_gap": 0.02, "bias.calibration_gap": 0.008}
    shown = [
        estimate(name, gap, 0.015, slice=f"gender={who}", rows=20_000) for name, gap in gaps.items() for who in "FM"
    ]
    return (*shown, estimate("bias.tpr_gap", 0.3, 0.2, slice="gender=X", rows=40))


def discovered() -> tuple[Measurement, ...]:
    """Return two slices with a larger error, and one without a loss."""
    return (
        estimate("discovered.brier.excess", 0.06, 0.02, slice="dep_minute 1100-1439, carrier=EV", rows=5_600),
        estimate("discovered.brier.excess", 0.03, 0.04, slice="wind_speed 12.7-25.3", rows=7_700),
        estimate("discovered.brier.drop", 0.001, 0.0015, slice="origin=JFK, carrier=B6", rows=9_100),
        fact("discovered.compared", 26_317.0, rows=29_158),
        fact("discovered.confirmed", 1.0, rows=27_891),
    )


def features() -> tuple[Measurement, ...]:
    """Return an ablation of features: one useful, one useless, one harmful, one undecided."""
    return (
        estimate("ablation.masked.brier.drop", 0.023, 0.008, slice="dep_minute"),
        estimate("ablation.masked.brier.drop", 0.0001, 0.0002, slice="seats"),
        estimate("ablation.masked.brier.drop", -0.003, 0.004, slice="noise"),
        estimate("ablation.retrained.brier.drop", -0.004, 0.001, slice="noise"),
        fact("ablation.harmful", 1.0),
        fact("ablation.harmful", 1.0, slice="noise"),
        fact("ablation.useless", 1.0),
        fact("ablation.useless", 1.0, slice="seats"),
        fact("ablation.unsettled", 1.0),
        fact("ablation.unsettled", 1.0, slice="visib"),
        fact("ablation.trainings", 6.0),
    )


def biased() -> tuple[Measurement, ...]:
    """Return observed minus predicted of three slices: above 0, below 0, and undecided."""
    return tuple(
        estimate("calibration.bias", value, 0.01, slice=f"origin={name}", rows=19_000)
        for name, value in (("EWR", 0.05), ("JFK", -0.04), ("LGA", 0.002))
    )


def faults() -> tuple[Measurement, ...]:
    """Return the cost of corruptions: one shown, one not, and a month."""
    return (
        estimate("robustness.unit.excess", 0.05, 0.01, slice="wind_speed x 0.45"),
        estimate("robustness.unit.drop", 0.0002, 0.0004, slice="wind_speed x 0.45"),
        estimate("robustness.missing.excess", 0.0001, 0.0002, slice="carrier"),
        estimate("robustness.months.excess", 0.002, 0.02, slice="month=2013-07"),
    )


def attacked() -> tuple[Measurement, ...]:
    """Return an attack that flips a fifth of the decisions, mostly through one column, as for the baseline."""
    return (
        estimate("attack.success", 0.2, 0.03, rows=995),
        estimate("attack.success.drop", 0.001, 0.004, rows=995),
        estimate("attack.success", 0.4, 0.05, slice="decided yes", rows=210),
        estimate("attack.column.success", 0.11, 0.02, slice="dep_minute", rows=995),
        estimate("attack.column.success", 0.001, 0.002, slice="seats", rows=995),
        replace(fact("attack.columns", 1.0, rows=199), high=2.0),
        replace(fact("attack.reach", 0.4, rows=199), low=0.31, high=0.52),
        fact("attack.queries", 612.0, rows=995),
        estimate("evasion.distance", 0.7, 0.1, rows=500),
        estimate("evasion.certified", 0.6, 0.05, rows=200),
        estimate("evasion.certified", 0.8, 0.05, slice="radius 0.05", rows=200),
        estimate("certificate.distance", 0.12, 0.02, rows=200),
        estimate("certificate.exact", 0.4, 0.05, rows=200),
    )


def copies() -> tuple[Measurement, ...]:
    """Return copies that need about 700 answers with scores, and more than all if callers see decisions alone."""
    name, limit = "extraction.agreement", UNBOUNDED[1]
    scores = {"100": 0.88, "1,000": 0.96, "5,000": 0.98}
    decisions = {"100": 0.85, "1,000": 0.91, "5,000": 0.94}
    queries = estimate("extraction.queries_95", 700.0, 100.0, rows=900)
    return (
        estimate(name, 0.78, 0.02, slice="no queries", rows=900),
        *(estimate(name, value, 0.01, slice=f"{count} queries", rows=900) for count, value in scores.items()),
        *(
            estimate(name, value, 0.01, slice=f"{count} queries, top answer", rows=900)
            for count, value in decisions.items()
        ),
        queries,
        replace(queries, slice="top answer", value=5_000.0, low=5_000.0, high=limit, se=None, dof=None),
        replace(estimate("extraction.hours_95", 2.0, 0.3, rows=900), unit="h"),
    )


def recognized() -> tuple[Measurement, ...]:
    """Return privacy attacks that recognize a twentieth of the training rows, three of them nearly always."""
    name = "privacy.membership"
    curve = {"0.001": 0.01, "0.01": 0.05, "0.1": 0.2, "0.5": 0.6}
    return (
        estimate(f"{name}.auc", 0.6, 0.01, rows=10_000),
        estimate(f"{name}.tpr_1pct", 0.05, 0.01, rows=10_000),
        estimate(f"{name}.tpr_1pct", 0.09, 0.01, slice="gender=F", rows=4_000),
        estimate(f"{name}.tpr_1pct", 0.04, 0.01, slice="gender=M", rows=6_000),
        *(estimate(f"{name}.roc", value, value / 5, slice=rate, rows=10_000) for rate, value in curve.items()),
        fact(f"{name}.exposed", 3.0, rows=10_000),
        *(replace(fact(f"{name}.row", 1.0, slice=f"row {row}", rows=16), low=0.8) for row in (7, 19, 400)),
        estimate("privacy.attribute.advantage", 0.04, 0.01, slice="smoker", rows=5_000),
        estimate("privacy.attribute.advantage", 0.001, 0.01, slice="married", rows=5_000),
        estimate("privacy.inversion.error", 0.7, 0.05, rows=500),
    )


def components() -> tuple[Measurement, ...]:
    """Return an ablation of two steps and a calibrator: one useful, one useless, one harmful."""
    return (
        *(estimate("components.brier.drop", 0.0, 0.0001, slice=name) for name in ("trees", "threads")),
        estimate("components.brier.drop", -0.002, 0.001, slice="calibrator"),
        replace(estimate("components.latency.speedup", 8.0, 0.2, slice="trees"), unit="x"),
        fact("components.harmful", 1.0, slice="calibrator"),
        fact("components.nothing", 1.0, slice="threads"),
        fact("components.unsettled", 0.0),
    )


def loaded() -> tuple[Measurement, ...]:
    """Return a load test without failures."""
    times = {"load.alone.p50_ms": 0.2, "load.p50_ms": 0.3, "load.p99_ms": 1.4, "load.bursts.p99_ms": 4.0}
    return (
        *(replace(estimate(name, value, value / 10, rows=9_000), unit="ms") for name, value in times.items()),
        replace(estimate("load.rows_per_s", 400_000.0, 9_000.0), unit="rows/s"),
        replace(fact("load.memory_mb", 90.0), unit="MB"),
        fact("load.failed", 0.0, rows=27_000),
    )


def curve() -> LearningCurve:
    """Return a learning curve of two evaluations."""
    rounds = [
        Round(
            number=number, held_out=(estimate("log_loss", error, 0.02),), learned=(estimate("log_loss", error, 0.01),)
        )
        for number, error in ((10, 0.6), (300, 0.5))
    ]
    reading = Reading(answer="learning", since=10, low=-0.12, high=-0.08)
    return LearningCurve(
        library="lightgbm",
        error="log_loss",
        rounds=tuple(rounds),
        reading=reading,
        held_out="sha256:0",
        seconds=9.0,
        spent=0.2,
    )


def answering() -> tuple[Measurement, ...]:
    """Return a certified plan of selective answering, with two thresholds of its curve and a class without rows."""
    return (
        estimate("answer.coverage", 0.8, 0.02),
        estimate("answer.risk", 0.03, 0.01, rows=46_932),
        estimate("answer.cost_per_thousand", 400.0, 40.0),
        estimate("answer.groups_needed", 900.0, 0.0, slice="answer=refund", unit="groups"),
        *(estimate("answer.curve_coverage", share, 0.02, slice=f"confidence>={1 - share:g}") for share in (0.5, 0.9)),
        *(estimate("answer.curve_risk", share / 20, 0.01, slice=f"confidence>={1 - share:g}") for share in (0.5, 0.9)),
    )


def sets() -> tuple[Measurement, ...]:
    """Return prediction sets with the promised coverage overall, but not in one month."""
    return (
        estimate("conformal.coverage", 0.895, 0.015),
        estimate("conformal.coverage", 0.93, 0.02, slice="month=2013-07"),
        estimate("conformal.coverage", 0.84, 0.03, slice="month=2013-08"),
        estimate("conformal.coverage", 0.9, 0.02, slice="origin=EWR", rows=19_000),
        estimate("conformal.size", 1.4, 0.1),
    )


def treated() -> tuple[Measurement, ...]:
    """Return treatments of a rare class: weights cost more, corrected weights less, the others are undecided."""
    costs = {"weights": 0.33, "weights, corrected": -0.06, "prior of the rows": -0.01, "threshold 0.5": 0.02}
    recalls = {"baseline": 0.46, "weights": 0.99, "weights, corrected": 0.44, "prior of the rows": 0.42}
    return (
        estimate("imbalance.base_rate", 0.055, 0.01),
        *(estimate("imbalance.cost.drop", value, 0.03, slice=name) for name, value in costs.items()),
        *(estimate("imbalance.recall", value, 0.01, slice=name) for name, value in recalls.items()),
        estimate("imbalance.recall.drop", -0.53, 0.1, slice="weights"),
        *(estimate("imbalance.roc_auc.drop", 0.001, 0.01, slice=name) for name in costs),
    )


def started() -> tuple[Measurement, ...]:
    """Return time and memory of twenty starts."""
    return (
        replace(estimate("start.seconds", 0.28, 0.01, rows=20), unit="s", n_groups=20),
        replace(estimate("start.memory_mb", 37.0, 0.2, rows=20), unit="MB", n_groups=20),
    )
