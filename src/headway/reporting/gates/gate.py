"""Results of the gate as text, Markdown and GitHub outputs; they name no machine and no time of day."""

from __future__ import annotations

import io
from collections.abc import Mapping
from pathlib import Path

from rich.console import Console, Group, RenderableType
from rich.text import Text

from headway.core.config import FILE
from headway.core.evidence import AS_CALLED, Evidence, Measurement
from headway.core.measure import lower_is_better
from headway.core.record import Record
from headway.core.search_result import SearchResult
from headway.core.verdict import LIVE, EvaluatedVariant, RuleResult, Verdict
from headway.registry.live import JudgedChange
from headway.registry.project import describe_other_live
from headway.reporting.text import formatting, tables, words
from headway.reporting.text.formatting import format_number, one_line
from headway.reporting.text.markdown import escape_markdown, markdown_table
from headway.reporting.text.speeds import COSTS, CPU_RATIOS, WALL_RATIOS, describe_costs, find_all, find_costs
from headway.reporting.text.tables import VERDICT_MARKS
from headway.reporting.text.terminal import render_rules

SPEEDS = (AS_CALLED, "latency.speedup", "throughput.speedup")


class GateResult(Record, frozen=True, kw_only=True):
    """The verdict on the winner of a search, with its evidence.

    `speed` holds the speedups and costs that were measured. `where` is the file with the policy, relative to the folder
    in which the gate runs, with `/` as separator on every system. `change` says what differs from the live release, or
    why nothing was compared.
    """

    project: str
    variant: str
    verdict: Verdict
    evidence: Evidence
    speed: tuple[Measurement, ...] = ()
    where: str = FILE
    change: str = ""


def gate_result(search: SearchResult, where: str = FILE, *, change: str = "") -> GateResult:
    """Return the gate result of a search's winner; its speed was measured during the search."""
    winner = search.winner
    searched = search.row(winner.variant.digest)
    measured = [winner.evidence, *([searched.evidence] if searched else [])]
    speedups = (speedup for name in SPEEDS for speedup in find_all(measured, name))
    return GateResult(
        project=search.name,
        variant=winner.variant.name,
        verdict=winner.verdict,
        evidence=winner.evidence,
        speed=(*speedups, *find_costs(measured)),
        where=where,
        change=change,
    )


def describe_change(change: JudgedChange) -> str:
    """Describe in one line what a change does to the live release: quality, decisions and speed, with intervals.

    Without a comparison it says why there is none: a first model, the live model itself, or a release that is missing.
    """
    live, winner = change.live, change.search.winner
    if live is None:
        return "first model: no release is live, so the rules that compare with one do not apply"
    compared = bool(live.digest) and winner.evidence.live == live.digest
    release = f"the live release {formatting.short_digest(live.digest)}" if live.digest else "the live release"
    if change.is_live and not compared:
        return f"against {release}: the same model"
    if live.problem or not compared:
        return f"not compared with {release}: {describe_other_live(live, winner.evidence)}; try: {live.hint}"
    clauses = [clause for clause in (*_quality_changes(winner), *_other_changes(winner.evidence)) if clause]
    return f"against {release}: {'; '.join(clauses) or 'nothing could be compared'}"


def _quality_changes(winner: EvaluatedVariant) -> list[str]:
    """Describe each measure that a rule compares with the live release: its value there and here, and the loss."""
    rules = [result.rule.measure for result in winner.verdict.rule_results if result.rule.measure.startswith(LIVE)]
    changes = []
    for measure in dict.fromkeys(rules):
        drop, name = winner.evidence.find(measure), measure.removeprefix(LIVE).removesuffix(".drop")
        own = winner.evidence.find(name)
        if drop is None or not measure.endswith(".drop"):
            continue
        values = ""
        if own is not None:
            before = own.value - drop.value if lower_is_better(name) else own.value + drop.value
            values = f" {format_number(before, width=own.high - own.low)} -> {formatting.format_value(own)},"
        loss = f"loss {formatting.format_measurement(drop)} ({formatting.format_basis(drop)})"
        changes.append(f"{words.measure_symbol(name)}{values} {loss}")
    return changes


def _other_changes(evidence: Evidence) -> list[str]:
    """Describe the share of decisions that changed, and the ratios of times, or of CPU times on a busy machine."""
    churn = evidence.find(f"{LIVE}decision_churn")
    decisions = f"decisions changed {formatting.format_measurement(churn)}" if churn else ""
    for title, names in (("speed", WALL_RATIOS), ("speed in CPU time", CPU_RATIOS)):
        ratios = {how: evidence.find(f"{LIVE}{name}") for name, how in names.items()}
        shown = [
            f"{how.split(', ')[-1]} {formatting.format_measurement(ratio)}" for how, ratio in ratios.items() if ratio
        ]
        if shown:
            return [decisions, f"{title}: {', '.join(shown)}"]
    return [decisions, "speed: not measured"]


def failed_rules(verdict: Verdict) -> tuple[RuleResult, ...]:
    """Return the rule results that did not pass: failed before undecided."""
    return tuple(
        rule_result
        for answer in ("fail", "undecided")
        for rule_result in verdict.rule_results
        if rule_result.answer == answer
    )


def verdict_reason(verdict: Verdict) -> str:
    """Return the reason of a verdict as a clause without full stop: the first rule that did not pass."""
    count, failed = len(verdict.rule_results), failed_rules(verdict)
    if verdict.overridden:
        rules = f" ({len(failed)} of {count} rules did not pass: {failed[0].message})" if failed else ""
        return f"passed by {verdict.by} at {verdict.at}, not by the policy: {verdict.why}{rules}"
    if not failed:
        return verdict.why or (f"all {count} rules pass" if count > 1 else "its only rule passes")
    more = f" (and {len(failed) - 1} more of {count} rules did not pass)" if len(failed) > 1 else ""
    return f"{failed[0].message}{more}"


def describe_speed(case: GateResult) -> str:
    """Describe how much faster than the baseline the winner is, and the rows behind that."""
    figures = (
        f"{words.measure_name(measurement.name)} {formatting.format_measurement(measurement)} "
        f"({formatting.format_basis(measurement)})"
        for measurement in case.speed
        if measurement.name not in COSTS
    )
    return "; ".join((case.variant, *figures))


def describe_judged_rows(case: GateResult) -> str:
    """Describe the evaluated rows by count, period and digest."""
    seen = [
        rule_result.measurement
        for rule_result in case.verdict.rule_results
        if rule_result.measurement and not rule_result.measurement.slice
    ]
    basis = formatting.format_basis(max(seen, key=lambda measurement: measurement.n_rows)) if seen else "no row"
    return f"evaluated on {basis} of {case.evidence.period} ({formatting.short_digest(case.evidence.dataset)})"


def describe_evaluations(verdict: Verdict) -> str:
    """Describe how often these rows were evaluated for a verdict."""
    count = verdict.test_evaluations
    times = {0: "no evaluation of these rows is counted", 1: "these rows were evaluated once"}
    return times.get(count, f"these rows were evaluated {count:,} times")


def reuse_warning(verdict: Verdict) -> str:
    """Return a warning for rows that were evaluated more than once; empty otherwise."""
    if verdict.test_evaluations <= 1:
        return ""
    return (
        f"the test set was evaluated {verdict.test_evaluations:,} times, so it was used for selection: test metrics "
        "are optimistic, and the next verdict needs rows that were never evaluated"
    )


def evidence_warnings(evidence: Evidence) -> tuple[str, ...]:
    """Return what is suspicious about the model or its rows, such as one answer for all of them."""
    return tuple(finding.message for finding in evidence.findings if finding.severity == "warn")


WIDTH = 200
"""Characters of a line if the output is not a terminal."""


def render_gate(case: GateResult) -> Group:
    """Render the gate's result for a terminal."""
    verdict = case.verdict
    warning = reuse_warning(verdict)
    first = [Text(one_line(case.change))] if case.change else []
    lines = (
        f"{VERDICT_MARKS[verdict.answer]}: {verdict_reason(verdict)}",
        f"quality: {words.describe_quality(case.evidence)}",
        describe_speed(case),
        f"cost of a million predictions: {describe_costs(case.speed)}",
        f"{describe_judged_rows(case)}; {describe_evaluations(verdict)}",
        *(f"warning: {text}" for text in (*evidence_warnings(case.evidence), *([warning] if warning else []))),
    )
    return Group(*first, render_rules(verdict), *(Text(one_line(line)) for line in lines))


def gate_text(case: GateResult) -> str:
    """Return the gate's result as text without colours, with lines up to `WIDTH` characters."""
    return plain_text(render_gate(case))


def plain_text(rendered: RenderableType) -> str:
    """Return what a terminal would show, without colours, with lines up to `WIDTH` characters."""
    file = io.StringIO()
    # Without a height, rich assumes 80 characters for a dumb terminal and ignores the width.
    console = Console(file=file, width=WIDTH, height=25, color_system=None, highlight=False, legacy_windows=False)
    console.print(rendered)
    return "\n".join(line.rstrip() for line in file.getvalue().splitlines()) + "\n"


def gate_markdown(case: GateResult) -> str:
    """Return the gate's result as Markdown: the change, answer, reason, winner, rules, and evaluations of the rows."""
    verdict = case.verdict
    warning = reuse_warning(verdict)
    parts = (
        escape_markdown(f"{case.change[:1].upper()}{case.change[1:]}"),
        f"## headway gate on {escape_markdown(case.project)}: {tables.VERDICT_MARKS[verdict.answer]}",
        f"Why: {escape_markdown(verdict_reason(verdict))}.",
        f"Winner: {escape_markdown(describe_speed(case))}.",
        f"Cost of a million predictions: {escape_markdown(describe_costs(case.speed))}.",
        f"Quality: {escape_markdown(words.describe_quality(case.evidence))}.",
        markdown_table(tables.tabulate_rules(verdict)).rstrip("\n") if verdict.rule_results else "",
        *(f"**Warning:** {escape_markdown(text)}." for text in evidence_warnings(case.evidence)),
        f"**Warning:** {escape_markdown(warning)}." if warning else "",
        f"It was {escape_markdown(describe_judged_rows(case))}; {describe_evaluations(verdict)}.",
    )
    return "\n\n".join(part for part in parts if part) + "\n"


SUMMARY, OUTPUT = "GITHUB_STEP_SUMMARY", "GITHUB_OUTPUT"


def gate_outputs(case: GateResult) -> dict[str, str]:
    """Return the outputs `verdict`, `reason`, `change`, `variant` and `test_evaluations`, the last by two names."""
    evaluations = str(case.verdict.test_evaluations)
    return {
        "verdict": case.verdict.answer,
        "reason": verdict_reason(case.verdict),
        "change": case.change,
        "variant": case.variant,
        **dict.fromkeys(("test_evaluations", "looks_at_test"), evaluations),
    }


def format_outputs(found: Mapping[str, str]) -> str:
    """Format the outputs of a step, one per line; no value can add a line."""
    return "".join(f"{name}={one_line(value)}\n" for name, value in found.items())


def publish_to_github(summary: str, found: Mapping[str, str], environment: Mapping[str, str]) -> bool:
    """Append summary and outputs to the files that GitHub names in the environment.

    Return False where it names none.
    """
    texts = [(environment.get(SUMMARY), summary), (environment.get(OUTPUT), format_outputs(found))]
    files = [(Path(path), text) for path, text in texts if path]
    for path, text in files:
        with path.open("a", encoding="utf-8", newline="\n") as file:
            file.write(text)
    return bool(files)
