"""Report data with plausible figures, for the tests of tables and report."""

from __future__ import annotations

from headway.core.evidence import Evidence, Finding, Machine, Measurement
from headway.core.variant import Artifact, Field, Signature, Step, Variant
from headway.core.verdict import Answer, EvaluatedVariant, Rule, RuleResult, Verdict
from headway.reporting.report_data import RefusedVariant, Replay, ReportData, SplitPeriod, Stage

MACHINE = Machine(cpu="Intel Xeon Platinum 8481C", cores=2, system="Linux 6.1", python="3.11.7")
RULES = (
    Rule(measure="roc_auc.drop", at_most=0.005),
    Rule(measure="worst_slice.brier.drop", at_most=0.005),
    Rule(measure="decision_churn", at_most=0.05),
    Rule(measure="ece", at_most=0.05),
)
CARRIERS = ("9E", "AA", "B6", "DL", "EV", "F9", "FL", "MQ", "UA", "US", "VX", "WN")


def estimate(
    name: str, value: float, half: float, *, slice: str = "", unit: str = "", rows: int = 58_665
) -> Measurement:
    """Return a measurement with an interval of that half width over 62 days."""
    return Measurement(
        name=name,
        value=value,
        low=value - half,
        high=value + half,
        method="jackknife-t",
        n_rows=rows,
        n_groups=62,
        slice=slice,
        unit=unit,
        se=half / 2,
        dof=61.0,
    )


def fact(name: str, value: float, *, slice: str = "", unit: str = "", rows: int = 58_665) -> Measurement:
    """A count or a maximum over the rows at hand."""
    return Measurement(
        name=name, value=value, low=value, high=value, method="count", n_rows=rows, n_groups=62, slice=slice, unit=unit
    )


def variant(engine: str = "native", *steps: Step, **settings: int) -> Variant:
    """A variant of the flights' model."""
    inputs = (Field(name="wind_speed"), Field(name="carrier", datatype="BYTES", categories=CARRIERS))
    name = " ".join([engine, *map(str, steps), *map(str, settings.items())])
    artifact = Artifact(format=engine, digest=f"sha256:{name.encode().hex():0<64}"[:71], size_bytes=1_048_576)
    return Variant(artifact=artifact, engine=engine, signature=Signature(inputs=inputs), steps=steps, settings=settings)


def evidence(of: Variant, *measurements: Measurement, period: str = "validation") -> Evidence:
    """Evidence on a variant."""
    return Evidence(
        subject=of.digest,
        dataset="sha256:" + "d" * 64,
        period=period,
        machine=MACHINE,
        measurements=measurements,
        at="2026-11-24T15:00:00Z",
    )


def verdict(of: Variant, measurements: tuple[Measurement, ...], *, evaluations: int = 0) -> Verdict:
    """A verdict by RULES over measurements; a rule whose interval straddles its limit is undecided."""
    by_name = {seen.name: seen for seen in measurements if not seen.slice}
    sliced = [seen for seen in measurements if seen.name == "brier.drop" and seen.slice]
    if sliced:
        by_name["worst_slice.brier.drop"] = max(sliced, key=lambda seen: seen.value)
    rule_results = tuple(_rule_result(rule, by_name.get(rule.measure)) for rule in RULES)
    answers = {rule_result.answer for rule_result in rule_results}
    answer: Answer = "fail" if "fail" in answers else "undecided" if "undecided" in answers else "pass"
    return Verdict(
        answer=answer,
        subject=of.digest,
        rule_results=rule_results,
        test_evaluations=evaluations,
        at="2026-11-24T15:00:00Z",
    )


def _rule_result(rule: Rule, measurement: Measurement | None) -> RuleResult:
    if measurement is None:
        return RuleResult(rule=rule, answer="undecided", message=f"no evidence on {rule.measure}")
    limit = rule.at_most or 0.0
    answer: Answer = "pass" if measurement.high <= limit else "fail" if measurement.low > limit else "undecided"
    message = {
        "pass": "the whole interval is within the limit",
        "fail": "the whole interval is outside the limit",
        "undecided": "about 259 groups would decide, 62 are at hand",
    }
    return RuleResult(
        rule=rule, answer=answer, message=message[answer], measurement=measurement, bound=measurement.high
    )


def judged(
    of: Variant, *, us: float, loss: float, flips: float, change: float, period: str = "validation"
) -> EvaluatedVariant:
    """A row of the frontier: one-row time, loss in AUC, decisions flipped and largest change of a probability."""
    half = 0.0 if loss == 0 else 0.0016 + abs(loss) / 3
    speed = (
        estimate("latency.one_row", us, us * 0.02, unit="us", rows=2000),
        estimate("latency.speedup", 262.0 / us, 262.0 / us * 0.02, unit="x", rows=2000),
        estimate("throughput.batch", 4.1e7 / us, 4.1e7 / us * 0.03, unit="rows/s", rows=65_536),
        estimate("throughput.speedup", 262.0 / us / 1.7, 0.1, unit="x", rows=65_536),
    )
    quality = (
        estimate("roc_auc", 0.696 - loss, 0.031),
        estimate("brier", 0.1805 + loss / 4, 0.0135),
        estimate("ece", 0.025, 0.02),
        estimate("roc_auc.drop", loss, half) if half else fact("roc_auc.drop", 0.0),
        estimate("brier.drop", loss / 3, half / 3) if half else fact("brier.drop", 0.0),
        estimate("decision_churn", flips, flips / 9) if flips else fact("decision_churn", 0.0),
        fact("max_change", change),
    )
    measurements = (*speed, *quality, *reliability(0.0), *slices(change / 60))
    return EvaluatedVariant(
        variant=of,
        evidence=evidence(of, *measurements, period=period),
        verdict=verdict(of, measurements, evaluations=1 if period == "test" else 0),
    )


def reliability(tilt: float, *, bins: int = 10) -> tuple[Measurement, ...]:
    """A reliability curve that leaves the diagonal by `tilt` at the top; the counts fall with the probability."""
    pairs = []
    for number in range(1, bins + 1):
        predicted, rows = (number - 0.5) / bins * 0.75, round(14_000 * 0.72 ** (number - 1))
        half = 0.008 + 0.004 * number
        pairs.append(fact("reliability.predicted", predicted, slice=f"bin {number}", rows=rows))
        pairs.append(estimate("reliability", predicted * (1 - tilt) + 0.012, half, slice=f"bin {number}", rows=rows))
    return tuple(pairs)


def slices(worst: float) -> tuple[Measurement, ...]:
    """Loss in Brier by carrier and origin, none far beyond `worst`."""
    names = [f"carrier={code}" for code in CARRIERS] + [f"origin={code}" for code in ("EWR", "JFK", "LGA")]
    return tuple(
        estimate("brier.drop", worst * (1 - 0.11 * rank), worst * 0.4 + 0.0001, slice=name, rows=1130 + 700 * rank)
        for rank, name in enumerate(names)
    )


def months() -> tuple[tuple[Evidence, ...], Variant, Variant]:
    """Return a year of evidence on the baseline and on 200 of its trees in ONNX Runtime."""
    came, live = variant(), RELEASED
    auc = (0.79, 0.78, 0.77, 0.78, 0.742, 0.739, 0.70, 0.69, 0.671, 0.70, 0.706, 0.69)
    ece = (0.006, 0.008, 0.005, 0.007, 0.03, 0.048, 0.036, 0.022, 0.133, 0.071, 0.02, 0.082)
    year = []
    for index in range(12):
        for of, shift in ((came, 0.0), (live, 0.0016)):
            found = (
                estimate("roc_auc", auc[index] + shift, 0.02 + 0.002 * index, rows=27_000),
                estimate("brier", 0.15 + ece[index] / 3 - shift / 3, 0.012, rows=27_000),
                estimate("ece", ece[index] + shift, min(ece[index], 0.035), rows=27_000),
            )
            year.append(evidence(of, *found, period=f"2013-{index + 1:02d}"))
    return tuple(year), came, live


def truncated(trees: int) -> Step:
    """The step that keeps the first trees."""
    return Step(transform="truncate", settings={"trees": trees})


def cut(trees: int) -> Variant:
    """The first trees, in ONNX Runtime on one thread."""
    return variant("onnxruntime", truncated(trees), Step(transform="onnxruntime"), threads=1)


RELEASED = cut(200)


def frontier() -> tuple[EvaluatedVariant, ...]:
    """What a search over native, ONNX Runtime, truncation and threads finds."""
    onnx = Step(transform="onnxruntime")
    return (
        judged(variant(), us=262.0, loss=0.0, flips=0.0, change=0.0),
        judged(variant("native", truncated(200)), us=204.0, loss=-0.0011, flips=0.032, change=0.10),
        judged(variant("native", truncated(100)), us=150.0, loss=-0.0039, flips=0.087, change=0.26),
        judged(variant("onnxruntime", onnx), us=36.4, loss=0.0, flips=0.0, change=4.8e-6),
        judged(variant("onnxruntime", onnx, threads=1), us=33.0, loss=0.0, flips=0.0, change=4.8e-6),
        judged(variant("onnxruntime", onnx, threads=2), us=34.1, loss=0.0, flips=0.0, change=4.8e-6),
        judged(RELEASED, us=31.2, loss=-0.0011, flips=0.032, change=0.10),
        judged(cut(150), us=29.4, loss=-0.0024, flips=0.061, change=0.18),
        judged(cut(100), us=27.1, loss=-0.0039, flips=0.087, change=0.26),
        judged(cut(50), us=24.8, loss=0.0123, flips=0.146, change=0.37),
    )


def findings() -> tuple[Finding, ...]:
    """Return the findings of the checks on the flights."""
    return (
        Finding(code="D014", severity="note", message="the share of positives is 0.214 in train", measured=0.214),
        Finding(
            code="D003",
            severity="stop",
            message="column 'dep_delay' is known only after the outcome",
            where="column dep_delay",
            hint='[data.known] dep_delay = "outcome"',
        ),
        Finding(
            code="D011",
            severity="warn",
            message="rows without an outcome are not a random sample: 8,255 flights were cancelled",
            where="column late",
            measured=0.028,
            limit=0.01,
            hint="judge cancelled flights apart, or say that the model is for flights that leave",
        ),
        Finding(code="D020", severity="undecided", message="too few days to judge 'wind_gust'", measured=18.0),
    )


def spans() -> tuple[SplitPeriod, ...]:
    """The split of the demo."""
    ends = ("2013-01-01", "2013-05-01", "2013-07-01", "2013-09-01", "2014-01-01")
    names = ("train", "validation", "test", "live")
    return tuple(SplitPeriod(name=name, first=ends[i], until=ends[i + 1]) for i, name in enumerate(names))


def replay(*, mismatches: int = 0, failures: int = 0) -> Replay:
    """September over HTTP."""
    return Replay(
        period="2013-09",
        requests=27_122,
        rows=27_122,
        mismatches=mismatches,
        failures=failures,
        largest_difference=0.0978,
        seconds=18.4,
        p50=estimate("request.p50", 0.412, 0.006, unit="ms", rows=27_122),
        p99=estimate("request.p99", 1.31, 0.09, unit="ms", rows=27_122),
    )


def refused() -> RefusedVariant:
    """Scheduled times taken in UTC: every relative rule sees it."""
    of = variant("native", Step(transform="view", settings={"source": "flights:load_utc"}))
    return RefusedVariant(
        title="Scheduled times taken in UTC",
        judged=judged(of, us=262.0, loss=0.0764, flips=0.24, change=0.64, period="test"),
    )


def reasons(rows: tuple[EvaluatedVariant, ...]) -> dict[str, str]:
    """Return the reason why each variant but the released one lost."""
    message = {"pass": "slower than the released variant", "fail": "changes more decisions than the limit allows"}
    lost = (row for row in rows if row.variant.digest != RELEASED.digest)
    return {row.variant.name: message.get(row.verdict.answer, "not decided on these days") for row in lost}


def flights() -> ReportData:
    """Return the complete report data of the demo."""
    year, came, live = months()
    stages = {"load and join": 1.52, "check": 0.61, "train": 1.8, "search": 41.3, "release": 0.09, "replay": 19.6}
    return ReportData(
        title="Will a flight from New York arrive late?",
        lead=("headway searched for a faster variant of a model, evaluated it, and released it.",),
        groups="days",
        findings=findings(),
        frontier=frontier(),
        reasons=reasons(frontier()),
        refusals=(Finding(code="V002", severity="undecided", message="quantize needs a network, this is an ensemble"),),
        winner=judged(live, us=31.2, loss=-0.0029, flips=0.037, change=0.10, period="test"),
        baseline_evidence=evidence(came, *reliability(0.1), estimate("ece", 0.027, 0.02), period="test"),
        refused=refused(),
        months=year,
        spans=spans(),
        replay=replay(),
        release="sha256:9f86d081884c7d659a2feaa0c55ad015a3bf4f1b2b0b822cd15d6c15b0f00a08",
        key="ed25519:5d41402abc4b2a76b9719d911017c592ae08f1b2b0b822cd15d6c15b0f00a08a",
        stages=tuple(Stage(name=name, seconds=seconds) for name, seconds in stages.items()),
        machine=MACHINE,
    )


def own_project() -> ReportData:
    """Return a project in which only the baseline was evaluated."""
    return ReportData(title="churn", frontier=(judged(variant(), us=262.0, loss=0.0, flips=0.0, change=0.0),))
