"""Learning curves in words: a sentence that the intervals support, and a table by round."""

from __future__ import annotations

from headway.core.learning import LearningCurve, Round
from headway.core.record import read
from headway.evaluation.learning_curves.recorder import MARGIN
from headway.registry.project import Project
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Column, Line, Table, measurement_cell


def last_curve(project: Project) -> LearningCurve | None:
    """Return the learning curve of the project's last training; None where it drew none."""
    content = project.state.latest("learning_curve", name=project.name)
    return read(LearningCurve, content) if content else None


def describe_curve(curve: LearningCurve) -> str:
    """Return what a learning curve shows, in a sentence."""
    seen = curve.reading
    return {
        "flat": f"More rounds would not help: the held-out error has been flat since round {seen.since} (stopping "
        f"there is shown to cost less than {MARGIN * 100:.0f} % of it).",
        "learning": f"It was still learning: from round {seen.since} to the last, the held-out error went on falling, "
        f"by {_by(curve, falls=True)}. More rounds may help.",
        "memorises": f"It memorises: since round {seen.since} it goes on getting better on rows that it learned from, "
        f"while its error on rows that it has not seen grew by {_by(curve)}. Stop near round {seen.since}.",
        "worsens": f"More rounds do harm: since round {seen.since} the held-out error grew by {_by(curve)}. "
        f"Stop near round {seen.since}.",
        "undecided": f"Whether more rounds would help cannot be told: {seen.why or _open(curve)}.",
        "not drawn": f"No learning curve was drawn: {seen.why}.",
    }[seen.answer]


def describe_cost(curve: LearningCurve) -> str:
    """Return how long the evaluations took, compared with the training."""
    looks = f"{len(curve.rounds)} looks took {formatting.format_seconds(curve.spent)}"
    return f"{looks} beside {formatting.format_seconds(curve.seconds)} of training." if curve.seconds else f"{looks}."


def tabulate_curve(curve: LearningCurve, groups: str = "") -> Table:
    """Tabulate every evaluation: round, seconds so far, and each measure on held-out and training rows."""
    names = tuple(measurement.name for measurement in curve.rounds[0].held_out) if curve.rounds else ()
    heads = [f"{words.measure_symbol(name)}, {part}" for name in names for part in ("held out", "learned from")]
    return Table(
        columns=tuple(Column(title=title) for title in ("Round", "Seconds", *heads)),
        rows=tuple(_row(round, names, groups) for round in curve.rounds),
    )


def _row(seen: Round, names: tuple[str, ...], groups: str) -> tuple[tuple[Line, ...], ...]:
    seconds = "not timed" if seen.seconds is None else formatting.format_seconds(seen.seconds)
    sides = [seen.error(name, learned=learned) for name in names for learned in (False, True)]
    return (
        (Line(text=str(seen.number)),),
        (Line(text=seconds, style="quiet"),),
        *(measurement_cell(side, groups=groups) for side in sides),
    )


def _by(curve: LearningCurve, *, falls: bool = False) -> str:
    """Return by how much the error changed, in its unit: `0.012 to 0.031 (log loss)`."""
    low, high = _ends(curve)
    ends = (-high, -low) if falls else (low, high)
    first, last = (formatting.format_number(end, width=high - low) for end in ends)
    return f"{first} to {last} ({curve.error.replace('_', ' ')})"


def _open(curve: LearningCurve) -> str:
    low, high = _ends(curve)
    first, last = (formatting.format_number(end, width=high - low) for end in (low, high))
    return f"from round {curve.reading.since} to the last, the held-out error changed by {first} to {last}"


def _ends(curve: LearningCurve) -> tuple[float, float]:
    return curve.reading.low or 0.0, curve.reading.high or 0.0
