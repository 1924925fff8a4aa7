"""Model card in Markdown: the model, its evaluation data and all measurements, with intervals and counts."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.evidence import Finding, Measurement
from headway.core.search_result import SearchResult
from headway.core.training import Training
from headway.core.verdict import EvaluatedVariant
from headway.reporting.gates import gate
from headway.reporting.gates.gate import gate_result
from headway.reporting.report_data import ReportData
from headway.reporting.section import Section, build_sections, not_run_findings, other_findings, other_measurements
from headway.reporting.text import formatting, tables
from headway.reporting.text.markdown import escape_markdown, markdown_table
from headway.reporting.text.tables import make_table, text_cell

PERIODS = ("train", "validation", "test", "live")


def model_card(report: ReportData, search: SearchResult, training: Training | None = None) -> str:
    """Return the model card of a search's winner as Markdown; the same records give the same text on every machine.

    `report` adds the release and the dates of each period, `training` the rows that the baseline was trained on.
    """
    case = gate_result(search)
    report = replace(report, winner=search.winner, frontier=search.evaluated, data={})
    found = build_sections(report)
    parts = {
        "Model": _model(report, search),
        "Training and evaluation data": _data(report, search, training),
        "Verdict": _verdict(search.winner, gate.describe_judged_rows(case)),
        **{section.title: _section(section) for section in found.values()},
        "Other measurements": _measurements(other_measurements(report, found), report.groups),
        "Not measured": _findings(not_run_findings(report)),
        "Findings of the evaluation": _findings(other_findings(report)),
        "Other variants": _others(search),
    }
    head = f"# Model card: {escape_markdown(search.name)}\n\nNumbers in brackets are 95 % intervals"
    lead = f"{head}. Everything that was measured is listed.\n"
    return lead + "".join(f"\n## {title}\n\n{text.rstrip()}\n" for title, text in parts.items() if text)


def _section(section: Section) -> str:
    lines = "\n".join(f"- {escape_markdown(line)}" for line in section.conclusions)
    table = markdown_table(section.table) if section.table.rows else ""
    return "\n\n".join(part for part in (escape_markdown(section.lead), lines, table) if part)


def _measurements(found: Sequence[Measurement], groups: str) -> str:
    return markdown_table(tables.tabulate_measurements(found, groups=groups)) if found else ""


def _findings(found: Sequence[Finding]) -> str:
    return markdown_table(tables.tabulate_findings(found)) if found else ""


def _model(report: ReportData, search: SearchResult) -> str:
    variant, baseline = search.winner.variant, search.baseline
    calibrator = baseline.calibrator
    facts = {
        "Variant": variant.name,
        "Steps": ", then ".join(map(str, variant.steps)) or "none: it is the baseline",
        "Predicts": f"{variant.signature.output} ({variant.task})",
        "Inputs": ", ".join(variant.signature.names),
        "Model file": f"{variant.artifact.format}, {variant.artifact.size_bytes:,} bytes, {variant.artifact.digest}",
        "Digest": variant.digest,
        "Release": report.release or "not released",
        "Calibrator": f"{calibrator}, from {calibrator.n_rows:,} rows" if calibrator else "",
        "Searched": search.at,
    }
    if variant.task == "binary":
        positive, negative = baseline.costs
        reason = (
            f"a false positive costs {positive:g}, a false negative {negative:g}"
            if baseline.threshold_rule == "costs"
            else "as the predict of its library decides; a tie is the first class"
        )
        facts["Decision threshold"] = f"{baseline.threshold:.6g} ({reason})"
    return _facts(facts)


def _facts(facts: dict[str, str]) -> str:
    return "".join(f"- {name}: {escape_markdown(value)}\n" for name, value in facts.items() if value)


def _data(report: ReportData, search: SearchResult, training: Training | None) -> str:
    """Return a table of the periods: dates, digest of the rows, and how many rows and groups were judged."""
    spans = {span.name: f"{span.first} to {span.until}" for span in report.spans}
    judged = {"validation": search.evaluated_baseline, search.winner.evidence.period: search.winner}
    counts = {name: formatting.format_basis(largest) for name, row in judged.items() if (largest := _largest(row))}
    if training is not None:
        spans.setdefault("train", f"{training.since} to {training.until}")
        counts["train"] = f"{training.n_rows:,} rows"
    digests = search.baseline.data
    names = sorted(digests, key=lambda name: (PERIODS.index(name) if name in PERIODS else len(PERIODS), name))
    rows = (tuple(map(text_cell, (name, spans.get(name, ""), counts.get(name, ""), digests[name]))) for name in names)
    return markdown_table(make_table(("Period", "From, to before", "Rows", "Digest"), rows))


def _largest(row: EvaluatedVariant) -> Measurement | None:
    """Return the measurement with the most rows, timings excluded."""
    found = [
        measurement
        for measurement in row.evidence.measurements
        if not measurement.slice and not measurement.name.startswith(formatting.TIMED)
    ]
    return max(found, key=lambda measurement: measurement.n_rows, default=None)


def _verdict(winner: EvaluatedVariant, judged_on: str) -> str:
    verdict = winner.verdict
    warning = gate.reuse_warning(verdict)
    parts = (
        f"{tables.VERDICT_MARKS[verdict.answer]}: {escape_markdown(gate.verdict_reason(verdict))}.",
        markdown_table(tables.tabulate_rules(verdict)) if verdict.rule_results else "",
        f"It was {escape_markdown(judged_on)}; {gate.describe_evaluations(verdict)}.",
        f"**Warning:** {escape_markdown(warning)}." if warning else "",
    )
    return "\n\n".join(part.rstrip() for part in parts if part)


def _others(search: SearchResult) -> str:
    """List the variants that fail a rule against the baseline, with the reason, and transforms that did not apply."""
    failed = [row for row in search.evaluated if tables.baseline_answer(row.verdict) != "pass"]
    lines = [
        f"- {escape_markdown(row.variant.name)}: {escape_markdown(gate.verdict_reason(row.verdict))}" for row in failed
    ]
    counted = f"{len(failed)} of {len(search.evaluated)} evaluated variants did not pass"
    screened = f"; {len(search.screened_out)} more were screened out by their speed" if search.screened_out else ""
    parts = (
        f"{counted}{screened}.",
        "\n".join(lines),
        markdown_table(tables.tabulate_variants(search.evaluated, winner=search.winner)),
        markdown_table(tables.tabulate_findings(search.refusals)) if search.refusals else "",
    )
    return "\n\n".join(part.rstrip() for part in parts if part)
