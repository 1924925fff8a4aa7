"""Measure a variant with metrics and audits, and write the evidence for one period and machine.

E001: a metric or an audit could not judge this variant, or a part of it, and why.
E002: other processes used the cores during the timing, so no wall-clock time is given.
E003: a feature or a part does harm (warn), changes nothing, or is undecided (note).
E004: what class weights, prior correction or the threshold 0.5 change where a class is rare (note).
E005: the model gives one answer to all rows.
E006: the model is not shown to be better than a constant prediction on these rows.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import UTC, datetime
from functools import partial

import numpy as np
from msgspec.structs import replace

from headway.core.errors import NotApplicable
from headway.core.evidence import NOT_RUN, TRAINING_ROWS, Evidence, Finding, Measurement
from headway.core.measure import measures
from headway.core.threads import this_machine
from headway.core.variant import Variant
from headway.evaluation.context import AuditContext, Comparison, MetricResults, run_audit, run_metric
from headway.evaluation.machine_load import BUSY, MachineBusy

CONSTANT_ANSWERS, NO_BETTER = "E005", "E006"
MIN_PERFECT_ROWS, MAX_SHOWN = 50, 4
_PERFECT = {"roc_auc": 0.9995, "r2": 0.999999, "accuracy": 1.0, "ndcg10": 1.0}
"""Value from which a measure counts as perfect."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Audits:
    """Names of audits, the context that they work in, a callback for progress, and the results of those that ran."""

    names: Sequence[str]
    context: AuditContext
    callback: Callable[[str], object] = lambda _: None
    results: Mapping[str, MetricResults | NotApplicable] = field(default_factory=dict)


def measure(
    subject: Comparison, metrics: Sequence[str], *, dataset_digest: str, period: str, audits: Audits | None = None
) -> Evidence:
    """Run metrics, then audits, by name, and collect their measurements and findings.

    A metric that cannot judge, or that raises, leaves a finding E001 of severity `undecided`: what was not measured
    never passes.

    Parameters
    ----------
    subject : Comparison
        The variant and the baseline with their answers.
    metrics : sequence of str
        Names of metrics.
    dataset_digest, period : str
        What the rows belong to.
    audits : Audits, optional
        Audits to run afterwards.

    Raises
    ------
    PluginError
        If a name is unknown.
    """
    steps = [("metric", name, partial(run_metric, name, subject)) for name in metrics]
    if audits is not None:
        steps += [("audit", name, partial(run_audit, name, subject, audits.context)) for name in audits.names]
    done = audits.results if audits is not None else {}
    measurements: list[Measurement] = []
    findings: list[Finding] = []
    for kind, name, ask in steps:
        if kind == "audit" and name in done:
            found = done[name]
        else:
            if audits is not None:
                audits.callback(f"{kind} {name}")
            found = ask()
        if isinstance(found, NotApplicable):
            findings.append(_not_run(kind, name, "did not run", found))
        else:
            measurements += (result for result in found if isinstance(result, Measurement))
            findings += _reasons(kind, name, found)
    findings += [*ablation_findings(measurements), *imbalance_findings(measurements)]
    findings += [*_model_findings(subject, measurements), *subject.findings]
    return build_evidence(subject.variant, measurements, findings, dataset_digest=dataset_digest, period=period)


def run_audits(subject: Comparison, audits: Audits) -> dict[str, MetricResults | NotApplicable]:
    """Run audits, and return the results of each by its name, or why it has none."""
    found: dict[str, MetricResults | NotApplicable] = {}
    for name in audits.names:
        audits.callback(f"audit {name}")
        found[name] = run_audit(name, subject, audits.context)
    return found


def build_evidence(
    variant: Variant,
    measurements: Sequence[Measurement],
    findings: Sequence[Finding] = (),
    *,
    dataset_digest: str,
    period: str,
) -> Evidence:
    """Build the evidence of these measurements on this machine."""
    return Evidence(
        subject=variant.digest,
        dataset=dataset_digest,
        period=period,
        machine=this_machine(),
        measurements=tuple(measurements),
        findings=tuple(findings),
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def with_results(evidence: Evidence, found: MetricResults, *, kind: str, name: str) -> Evidence:
    """Return evidence with more results: measurements, and findings for what could not be measured."""
    return replace(
        evidence,
        measurements=(*evidence.measurements, *(result for result in found if isinstance(result, Measurement))),
        findings=(*evidence.findings, *_reasons(kind, name, found)),
    )


def with_more(evidence: Evidence, more: Evidence) -> Evidence:
    """Return evidence with the measurements of later evidence on the same rows, and the findings that are new."""
    again = {(one.name, one.slice) for one in more.measurements}
    unchanged = (one for one in evidence.measurements if (one.name, one.slice) not in again)
    new = (finding for finding in more.findings if finding not in evidence.findings)
    return replace(evidence, measurements=(*unchanged, *more.measurements), findings=(*evidence.findings, *new))


def _reasons(kind: str, name: str, found: MetricResults) -> list[Finding]:
    """Return why some of the results are missing, each reason once."""
    reasons = {result.what: result for result in found if isinstance(result, NotApplicable)}
    return [
        busy_finding(reason) if isinstance(reason, MachineBusy) else _not_run(kind, name, "did not measure all", reason)
        for reason in reasons.values()
    ]


def _not_run(kind: str, name: str, what: str, why: NotApplicable) -> Finding:
    message = f"{kind} '{name}' {what}: {why.what}"
    return Finding(code=NOT_RUN, severity="undecided", message=message, where=why.where, hint=why.hint, plugin=name)


def _model_findings(subject: Comparison, found: Sequence[Measurement]) -> list[Finding]:
    """Return what is suspicious about the answers as a whole: constant, no better than a constant, or perfect."""
    n_rows = len(subject.labels)
    if n_rows < 2:
        return []
    if not np.ptp(subject.scores, axis=0).any():
        answer = ", ".join(f"{value:.6g}" for value in subject.scores[0][:MAX_SHOWN])
        return [
            Finding(
                code=CONSTANT_ANSWERS,
                severity="warn",
                message=f"the model gives the answer {answer} to all {n_rows:,} rows: it does not use its columns",
                hint="check that the columns have the names, types and units that it was trained on",
            )
        ]
    gain = next((measured for measured in found if measured.name == "gain_over_constant"), None)
    if gain is not None and gain.low <= 0 and (gain.se is not None or gain.n_groups == 0):
        return [
            Finding(
                code=NO_BETTER,
                severity="warn",
                message=f"the model is not shown to be better than a constant prediction on these {n_rows:,} rows: "
                f"it avoids {gain.value:.2%} of its loss, [{gain.low:.2%}, {gain.high:.2%}]",
                measured=gain.value,
                limit=0.0,
                hint="check that rows and labels belong together, and that the model was trained on this target",
            )
        ]
    return _perfect(subject, found)


def _perfect(subject: Comparison, found: Sequence[Measurement]) -> list[Finding]:
    """Return a finding if no answer is wrong on many rows, which is rare on rows that a model has not seen."""
    overall = (measured for measured in found if measured.name in _PERFECT and not measured.slice)
    perfect = next((measured for measured in overall if measured.value >= _PERFECT[measured.name]), None)
    if perfect is None or len(subject.labels) < MIN_PERFECT_ROWS:
        return []
    return [
        Finding(
            code=TRAINING_ROWS,
            severity="warn",
            message=f"{perfect.name} is {perfect.value:.4f} on {perfect.n_rows:,} rows: they may be the rows that the "
            "model was trained on, or a column gives the answer away",
            measured=perfect.value,
            limit=_PERFECT[perfect.name],
            hint="pass rows that the model has not seen; headway check finds copies and leaks in a project",
        )
    ]


def busy_finding(busy: MachineBusy) -> Finding:
    """Return why there are no wall-clock times, and how to get them."""
    return Finding(
        code=BUSY,
        severity="undecided",
        message=busy.what,
        measured=busy.measured,
        limit=busy.limit,
        hint=busy.hint,
        plugin="latency",
    )


ABLATION_CODE = "E003"
_LEFT_OUT = {
    "ablation": "remove it from the features, and retrain",
    "components": "leave it out, and evaluate the rest: headway optimize",
}
_KINDS = {"ablation": "feature", "components": "part"}
_NOTES = {
    "ablation.useless": "features without effect on this model (masked, its error changes by less than 1 %)",
    "components.nothing": "parts without effect (without them errors change by less than 1 %, times and costs by 5 %)",
}


def ablation_findings(found: Sequence[Measurement]) -> list[Finding]:
    """Return a finding for each harmful part, one for all useless ones, and one for all undecided ones."""
    findings: list[Finding] = []
    for audit in _KINDS:
        findings += [_harm_finding(audit, measurement, found) for measurement in _with_name(found, f"{audit}.harmful")]
        for name, what in ((name, what) for name, what in _NOTES.items() if name.startswith(audit)):
            findings += _list_finding(what, [measurement.slice for measurement in _with_name(found, name)])
        open_ones = _with_name(found, f"{audit}.unsettled")
        findings += _list_finding(
            f"{_KINDS[audit]}s undecided",
            [f"{measurement.slice} ({measurement.method})" for measurement in open_ones],
        )
    return findings


def _with_name(found: Sequence[Measurement], name: str) -> list[Measurement]:
    return [measurement for measurement in found if measurement.name == name and measurement.slice]


def _harm_finding(audit: str, named: Measurement, found: Sequence[Measurement]) -> Finding:
    """Return the finding of a harmful part, with the drop without it, which is below 0."""
    names = ("ablation.retrained.", "ablation.masked.") if audit == "ablation" else ("components.",)
    losses = (
        measurement
        for name in names
        for measurement in found
        if measurement.slice == named.slice and measurement.name.startswith(name) and measurement.name.endswith(".drop")
    )
    lost = next(losses, None)
    detail = "" if lost is None else f"; {lost.name} without it is {lost.value:.2g} [{lost.low:.2g}, {lost.high:.2g}]"
    return Finding(
        code=ABLATION_CODE,
        severity="warn",
        message=f"the {_KINDS[audit]} {named.slice!r} does harm: {named.method}{detail}",
        measured=None if lost is None else lost.value,
        limit=0.0,
        hint=_LEFT_OUT[audit],
    )


def _list_finding(what: str, detail: Sequence[str]) -> list[Finding]:
    return [Finding(code=ABLATION_CODE, severity="note", message=f"{what}: {'; '.join(detail)}")] if detail else []


IMBALANCE_CODE = "E004"
_BASELINE = "baseline"
_MOVED = ("roc_auc", "brier", "recall", "cost")
_HINTS = {
    True: "use weights in the training function; headway optimize recalibrates the probabilities (recalibrate)",
    False: "keep the classes as they are: [model] costs set the threshold",
}


def imbalance_findings(found: Sequence[Measurement]) -> list[Finding]:
    """Return a note for each treatment: whether decisions cost less or more, and how measures move."""
    treatments = dict.fromkeys(measurement.slice for measurement in found if measurement.name == "imbalance.cost.drop")
    return [
        _treatment_finding(name, {(measurement.name, measurement.slice): measurement for measurement in found})
        for name in treatments
    ]


def _treatment_finding(treatment: str, found: dict[tuple[str, str], Measurement]) -> Finding:
    lost = found["imbalance.cost.drop", treatment]
    known = lost.se is not None
    helps, harms = known and lost.high < 0, known and lost.low > 0
    message = "decisions cost less" if helps else "decisions cost more" if harms else "no significant change of cost"
    ends = {name: [found[f"imbalance.{name}", case].value for case in (_BASELINE, treatment)] for name in _MOVED}
    moved = [f"{measures()[name].symbol} {before:.3g} to {after:.3g}" for name, (before, after) in ends.items()]
    return Finding(
        code=IMBALANCE_CODE,
        severity="note",
        message=f"rare class, {treatment}: {message} ({lost.value:+.3g} [{lost.low:.3g}, {lost.high:.3g}] a row, "
        f"{lost.n_rows:,} rows, {lost.n_groups:,} groups); {', '.join(moved)}",
        where=treatment,
        measured=lost.value,
        limit=0.0,
        hint=_HINTS[helps],
    )
