"""The model card: what a model is, what it was judged on and what was found, in Markdown, with intervals and counts."""

from __future__ import annotations

from collections.abc import Iterable, Sequence

from headway.core.evidence import Measurement
from headway.core.frontier import Frontier
from headway.core.training import Training
from headway.core.verdict import Judged
from headway.face import numbers, sheets, words
from headway.face.gates import case as cases
from headway.face.gates.case import case_of
from headway.face.markdown import escaped, table
from headway.face.report import details
from headway.face.report.story import Story
from headway.face.sheets import Cell, Column, Line, Sheet

TIMED, CURVE = ("latency.", "throughput."), "reliability"
PERIODS = ("train", "choose", "test", "live")


def card(story: Story, frontier: Frontier, training: Training | None = None) -> str:
    """The card of the winner of a search; the same records give the same text on every machine.

    `story` adds the release and the span of each period, `training` what the model as it came had learned from.
    """
    case = case_of(frontier, frontier.winner.verdict)
    sections = {
        "What it is": _what(story, frontier),
        "What it learned from and was judged on": _data(story, frontier, training),
        "Verdict": _verdict(frontier.winner, cases.judged_on(case)),
        "Quality on the rows it was judged on": _quality(story, frontier),
        "Speed, beside the model as it came": _speed(frontier),
        "Slices": _slices(story, frontier.winner),
        "Calibration": _calibration(frontier.winner),
        "What was refused": _refused(frontier),
    }
    head = f"# Model card: {escaped(frontier.name)}\n\nFigures in brackets are the ends of 95 % intervals"
    lead = f"{head}; what is not written here was not measured.\n"
    return lead + "".join(f"\n## {title}\n\n{text.rstrip()}\n" for title, text in sections.items())


def _what(story: Story, frontier: Frontier) -> str:
    variant, baseline = frontier.winner.variant, frontier.baseline
    calibrator = baseline.calibrator
    facts = {
        "Form": variant.name,
        "Made by": ", then ".join(map(str, variant.steps)) or "nothing: it is the model as it came",
        "Predicts": f"{variant.signature.output} ({variant.task})",
        "Inputs": ", ".join(variant.signature.names),
        "Model file": f"{variant.artifact.format}, {variant.artifact.size_bytes:,} bytes, {variant.artifact.digest}",
        "Variant": variant.digest,
        "Release": story.release or "none: it is not released",
        "Calibrator": f"{calibrator}, from {calibrator.n_rows:,} rows" if calibrator else "",
        "Searched": frontier.at,
    }
    if variant.task == "binary":
        alarm, miss = baseline.costs
        facts["Says yes"] = f"from {baseline.threshold:.6g} up (a false alarm costs {alarm:g}, a miss {miss:g})"
    return _facts(facts)


def _facts(facts: dict[str, str]) -> str:
    return "".join(f"- {name}: {escaped(value)}\n" for name, value in facts.items() if value)


def _data(story: Story, frontier: Frontier, training: Training | None) -> str:
    """The periods: the span of each, the digest of its rows, and how many rows and groups were judged."""
    spans = {span.name: f"{span.first} to {span.until}" for span in story.spans}
    judged = {"choose": frontier.origin, frontier.winner.evidence.period: frontier.winner}
    counts = {name: numbers.basis(most) for name, row in judged.items() if (most := _most(row))}
    if training is not None:
        spans.setdefault("train", f"{training.since} to {training.until}")
        counts["train"] = f"{training.n_rows:,} rows"
    digests = frontier.baseline.data
    names = sorted(digests, key=lambda name: (PERIODS.index(name) if name in PERIODS else len(PERIODS), name))
    rows = ((name, spans.get(name, ""), counts.get(name, ""), digests[name]) for name in names)
    return table(_sheet(("Period", "From, to before", "Rows", "Digest"), (_cells(*row) for row in rows)))


def _most(row: Judged) -> Measurement | None:
    """The measurement of a row that rests on the most rows, but for those of time."""
    found = [each for each in row.evidence.measurements if not each.slice and not each.name.startswith(TIMED)]
    return max(found, key=lambda each: each.n_rows, default=None)


def _verdict(winner: Judged, judged_on: str) -> str:
    verdict = winner.verdict
    warning = cases.warning(verdict)
    parts = (
        f"{sheets.MARKS[verdict.answer]}: {escaped(cases.reason(verdict))}.",
        table(sheets.rulings(verdict)) if verdict.rulings else "",
        f"It was {escaped(judged_on)}; {cases.looks(verdict)}.",
        f"**Warning:** {escaped(warning)}." if warning else "",
    )
    return "\n\n".join(part.rstrip() for part in parts if part)


def _quality(story: Story, frontier: Frontier) -> str:
    """What was measured over all rows, of the winner and, where it was measured, of the model as it came."""
    came = story.as_it_came
    found = [
        each
        for each in frontier.winner.evidence.measurements
        if not each.slice and not each.name.startswith((*TIMED, CURVE))
    ]
    others = [came.find(each.name) for each in found] if came else []
    return _beside(found, others) if found else "Nothing was measured."


def _speed(frontier: Frontier) -> str:
    searched, origin = frontier.row(frontier.winner.variant.digest), frontier.origin.evidence
    seen = (searched or frontier.winner).evidence
    found = [each for each in seen.measurements if each.name.startswith(TIMED) and not each.slice]
    if not found:
        return "Its speed was not measured."
    cores = f"{seen.machine.cores} core{'s' if seen.machine.cores > 1 else ''}"
    machine = f"Measured on {seen.machine.cpu}, {cores}, Python {seen.machine.python}"
    return f"{_beside(found, [origin.find(each.name) for each in found])}\n{escaped(machine)}."


def _beside(found: Sequence[Measurement], others: Sequence[Measurement | None]) -> str:
    """Measurements of the winner as a table, beside those of the model as it came where there are any."""
    columns = [found, *([others] if others else [])]
    cells = [[sheets.number_cell(each, groups="groups") for each in column] for column in columns]
    rows = zip(map(_named, found), *cells, strict=True)
    return table(_sheet(("Measure", "This model", "As it came")[: 1 + len(columns)], rows))


def _slices(story: Story, winner: Judged) -> str:
    """Every slice with rows and groups enough to be judged; the others are counted."""
    found = [each for each in winner.evidence.measurements if each.slice and not each.name.startswith((*TIMED, CURVE))]
    large = [each for each in found if each.n_rows >= story.slice_rows and each.n_groups >= story.slice_groups]
    least = f"less than {story.slice_rows:,} rows or {story.slice_groups} groups"
    rows = [((Line(text=each.slice),), _named(each), sheets.number_cell(each, groups="groups")) for each in large]
    parts = (
        table(_sheet(("Slice", "Measure", "Measured"), rows)) if rows else "",
        f"{len(found) - len(large)} of {len(found)} measurements of slices rest on {least}, and are not shown."
        if len(found) > len(large)
        else "",
    )
    return "\n\n".join(part.rstrip() for part in parts if part) or "No slice was measured."


def _calibration(winner: Judged) -> str:
    """The calibration error, and the share that was observed for each probability that was said."""
    error = winner.evidence.find("ece")
    bins = details.bins(winner.evidence)
    says = f"{words.title('ece')}: {numbers.measured(error)} ({numbers.basis(error)})." if error else ""
    parts = (escaped(says), table(bins) if bins.rows else "")
    return "\n\n".join(part for part in parts if part) or "It was not measured."


def _refused(frontier: Frontier) -> str:
    """The variants that the rules against the model as it came do not pass, why, and what did not apply."""
    refused = [row for row in frontier.judged if sheets.against_model(row.verdict) != "pass"]
    lines = [f"- {escaped(row.variant.name)}: {escaped(cases.reason(row.verdict))}" for row in refused]
    counted = f"{len(refused)} of {len(frontier.judged)} variants that were judged did not pass"
    left = f"; {len(frontier.left)} more were left after a first look at their speed" if frontier.left else ""
    parts = (
        f"{counted}{left}.",
        "\n".join(lines),
        table(sheets.frontier(frontier.judged, winner=frontier.winner)),
        table(sheets.findings(frontier.refusals)) if frontier.refusals else "",
    )
    return "\n\n".join(part.rstrip() for part in parts if part)


def _named(measurement: Measurement) -> Cell:
    title = words.title(measurement.name)
    quiet = (Line(text=measurement.name, mood="quiet"),) if title != measurement.name else ()
    return (Line(text=title, mood="strong"), *quiet)


def _cells(*texts: str) -> tuple[Cell, ...]:
    return tuple((Line(text=text),) for text in texts)


def _sheet(titles: Sequence[str], rows: Iterable[tuple[Cell, ...]]) -> Sheet:
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=tuple(rows))
