"""A saved record in words and tables: evidence, verdict, monitoring report, rollout, ticket or retraining."""

from __future__ import annotations

from collections.abc import Sequence
from functools import singledispatch

from msgspec.structs import replace

from headway.core.evidence import Evidence, Measurement
from headway.core.monitoring import MonitoringReport, Ticket
from headway.core.record import Record, StoredRecord
from headway.core.rollout import Rollout
from headway.core.training import Retraining
from headway.core.verdict import Verdict
from headway.reporting.report_data import JUDGE
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import (
    Style,
    Table,
    make_table,
    measure_cell,
    measurement_cell,
    tabulate_findings,
    tabulate_measurements,
    tabulate_rules,
    text_cell,
)

STATUS_STYLES: dict[str, Style] = {
    "healthy": "pass",
    "drifted": "undecided",
    "degraded": "fail",
    "unknown": "undecided",
    "pass": "pass",
    "fail": "fail",
    "undecided": "undecided",
    "running": "undecided",
    "promoted": "pass",
    "rolled back": "fail",
    "inconclusive": "undecided",
}


class RecordSections(Record, frozen=True, kw_only=True):
    """A record for a reader: title, status, what it says, facts, tables with captions, and digests it rests on."""

    title: str
    status: str = ""
    style: Style = "plain"
    message: str = ""
    facts: tuple[tuple[str, str], ...] = ()
    tables: tuple[tuple[str, Table], ...] = ()
    links: tuple[tuple[str, str], ...] = ()


@singledispatch
def describe_record(record: StoredRecord) -> RecordSections:
    """Return a record in words and tables; raises TypeError for a kind without a description."""
    raise TypeError(f"no description of {type(record).__name__}")


@describe_record.register
def _(record: Evidence) -> RecordSections:
    of_all = [found for found in record.measurements if not found.slice]
    sliced = [found for found in record.measurements if found.slice]
    tables = [("Measurements over all rows", tabulate_measurements(of_all))] if of_all else []
    tables += [("Findings", tabulate_findings(record.findings))] if record.findings else []
    tables += [("Measurements by slice", _by_slice(sliced))] if sliced else []
    return RecordSections(
        title="Evidence",
        message=f"What was measured on {formatting.period_name(record.period)}.",
        facts=_facts(
            ("Measured", formatting.format_time(record.at)),
            ("Subject", formatting.short_digest(record.subject)),
            ("Data", formatting.short_digest(record.dataset)),
            ("Compared with live", formatting.short_digest(record.live)),
            ("Machine", f"{record.machine.cpu}, {record.machine.cores} cores, {record.machine.system}"),
        ),
        tables=tuple(tables),
    )


MAX_SLICES = 200


def _by_slice(found: Sequence[Measurement]) -> Table:
    rows = (
        (text_cell(one.slice, "strong"), measure_cell(one.name), text_cell(formatting.format_measurement(one)))
        for one in found[:MAX_SLICES]
    )
    return make_table(("Slice", "Measure", "Measured"), rows, folds=("Slice", "Measure"))


@describe_record.register
def _(record: Verdict) -> RecordSections:
    return RecordSections(
        title="Verdict",
        status=f"{record.answer}{' by override' if record.overridden else ''}",
        style=STATUS_STYLES[record.answer],
        message=record.why,
        facts=_facts(
            ("Given", formatting.format_time(record.at)),
            ("By", "the judge" if not record.overridden else record.by),
            ("Subject", formatting.short_digest(record.subject)),
            ("Evaluations of the test rows", f"{record.test_evaluations:,}" if record.test_evaluations else ""),
        ),
        tables=(("Rule by rule", tabulate_rules(record)),) if record.rule_results else (),
    )


@describe_record.register
def _(record: MonitoringReport) -> RecordSections:
    measured = [*record.quality, *record.change, *([record.cost] if record.cost else []), *record.estimated]
    tables = [("Quality, calibration and cost", tabulate_measurements(measured))] if measured else []
    if record.drift:
        tables.append(("Drift of the inputs, by column", _drift(record.drift.measurements)))
        tables += [("What moved", tabulate_findings(record.drift.findings))] if record.drift.findings else []
    tables += [("What the drift of a column costs", _by_slice(record.drift_costs))] if record.drift_costs else []
    if record.rule_results:
        verdict = Verdict(answer="undecided", subject=record.release, rule_results=record.rule_results)
        tables.append(("Rules of the policy", tabulate_rules(verdict)))
    for caption, findings in (("What could not be judged", record.unknown), ("Rows", record.row_checks)):
        tables += [(caption, tabulate_findings(findings))] if findings else []
    return RecordSections(
        title=f"Monitoring of {formatting.period_name(record.period)}",
        status=record.status,
        style=STATUS_STYLES[record.status],
        message=record.message,
        facts=_facts(
            ("Period", f"{record.since[:16]} to {record.until[:16]}"),
            ("Rows", f"{record.n_rows:,}, {record.n_labeled:,} labeled"),
            ("Read from", "the prediction log" if record.source == "log" else "the table"),
            ("Release", formatting.short_digest(record.release)),
            ("Reported", formatting.format_time(record.at)),
        ),
        tables=tuple(tables),
        links=(("Evidence", record.evidence),) if record.evidence else (),
    )


def _drift(found: Sequence[Measurement]) -> Table:
    rows = (
        (
            text_cell(one.slice or "all columns", "strong"),
            text_cell(words.measure_title(one.name)),
            measurement_cell(replace(one, slice="")),
        )
        for one in sorted(found, key=lambda one: (bool(one.slice), one.value))
    )
    return make_table(("Column", "Measure", "Measured"), rows, folds=("Column",))


@describe_record.register
def _(record: Rollout) -> RecordSections:
    return RecordSections(
        title="Rollout",
        status=record.status,
        style=STATUS_STYLES[record.status],
        message=record.why,
        facts=_facts(
            ("Release", formatting.short_digest(record.release)),
            ("Compared with", formatting.short_digest(record.live)),
            ("Stage", f"{record.stage + 1} of {len(record.plan.stages)}, {record.current.name}"),
            ("Judged at this stage", _judged_requests(record)),
            ("Started", f"{formatting.format_time(record.started_at)} by {_who(record.by)}"),
            ("Last change", formatting.format_time(record.stage_at)),
            ("Rules", "; ".join(str(rule) for rule in (*record.rules, *record.delayed_rules))),
        ),
    )


def _judged_requests(rollout: Rollout) -> str:
    """Return the requests that the judge decided on; empty where no judge did, as the log counts all of them."""
    return (
        f"{rollout.requests:,} requests, {rollout.of_release:,} of them run by the release" if rollout.requests else ""
    )


@describe_record.register
def _(record: Ticket) -> RecordSections:
    loss = [record.expected_loss] if record.expected_loss else []
    pays = {True: "yes", False: "no", None: "not known"}[record.pays]
    return RecordSections(
        title="Ticket to retrain",
        message=record.message,
        facts=_facts(
            ("Opened", formatting.format_time(record.opened_at) if record.opened_at else ""),
            ("By the data of", formatting.format_time(record.at)),
            ("Release", formatting.short_digest(record.release)),
            ("A training takes", formatting.format_seconds(record.price_s) if record.price_s else "not known"),
            ("Retraining pays", pays),
            ("Who acts", "headway" if record.acts else "a person"),
        ),
        tables=(("What waiting costs in a month", tabulate_measurements(loss)),) if loss else (),
        links=tuple(("Evidence", digest) for digest in record.evidence),
    )


@describe_record.register
def _(record: Retraining) -> RecordSections:
    verdict = record.search_result.winner.verdict
    return RecordSections(
        title="Retraining" if record.trainings else "Recalibration",
        status=verdict.answer,
        style=STATUS_STYLES[verdict.answer],
        message=record.message,
        facts=_facts(
            ("Compared with", formatting.short_digest(record.live)),
            ("Model", record.search_result.winner.variant.name),
            ("Release", formatting.short_digest(record.release)),
            ("Trainings", f"{record.trainings:,} in {formatting.format_seconds(record.seconds)}"),
            ("Done", formatting.format_time(record.search_result.at)),
        ),
        tables=(
            *((("Rule by rule", tabulate_rules(verdict)),) if verdict.rule_results else ()),
            *((("Findings", tabulate_findings(record.findings)),) if record.findings else ()),
        ),
    )


def _facts(*facts: tuple[str, str]) -> tuple[tuple[str, str], ...]:
    """Return the facts that are known."""
    return tuple((name, text) for name, text in facts if text)


def _who(name: str) -> str:
    return "the judge" if name == JUDGE else name or "headway"
