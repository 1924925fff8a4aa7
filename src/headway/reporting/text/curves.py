"""Learning curves in words: a sentence that the intervals support, and a table by round."""

from __future__ import annotations

from headway.core.record import read
from headway.core.training import LearningCurve, Round
from headway.evaluation.learning_curves.recorder import MARGIN
from headway.registry.project import Project
from headway.reporting.text import formatting, words
from headway.reporting.text.tables import Cell, Table, make_table, measurement_cell, text_cell


def last_curve(project: Project) -> LearningCurve | None:
    """Return the learning curve of the project's last training; None where it drew none."""
    content = project.state.latest("learning_curve", name=project.name)
    return read(LearningCurve, content) if content else None


def curve_title(curve: LearningCurve) -> str:
    """Return what a learning curve shows, in a clause."""
    seen = curve.reading
    return {
        "flat": f"More rounds would not help: the held-out error has been flat since round {seen.since}",
        "learning": f"Still learning: the held-out error decreased until the last round, by {_by(curve, falls=True)}",
        "memorises": f"Overfitting: the held-out error has increased since round {seen.since}, by {_by(curve)}",
        "worsens": f"Too many rounds: the held-out error has increased since round {seen.since}, by {_by(curve)}",
        "undecided": "It is undecided whether more rounds would help",
        "not drawn": "No learning curve was drawn",
    }[seen.answer]


def describe_curve(curve: LearningCurve) -> str:
    """Return what a learning curve shows and what to do, in sentences."""
    seen = curve.reading
    more = {
        "flat": f" (stopping there is shown to cost less than {MARGIN * 100:.0f} % of it).",
        "learning": ". More rounds may help.",
        "memorises": f", while the training error decreased. Stop near round {seen.since}.",
        "worsens": f". Stop near round {seen.since}.",
        "undecided": f": {seen.why or _open(curve)}.",
        "not drawn": f": {seen.why}.",
    }[seen.answer]
    return f"{curve_title(curve)}{more}"


def describe_cost(curve: LearningCurve) -> str:
    """Return how long the evaluations took, compared with the training."""
    cost = f"{len(curve.rounds)} evaluations took {formatting.format_seconds(curve.spent)}"
    return f"{cost}; the training took {formatting.format_seconds(curve.seconds)}." if curve.seconds else f"{cost}."


def tabulate_curve(curve: LearningCurve, groups: str = "") -> Table:
    """Tabulate every evaluation: round, seconds so far, and each measure on held-out and training rows."""
    names = tuple(measurement.name for measurement in curve.rounds[0].held_out) if curve.rounds else ()
    heads = [f"{words.measure_symbol(name)}, {part}" for name in names for part in ("held out", "training")]
    return make_table(("Round", "Seconds", *heads), (_row(round, names, groups) for round in curve.rounds))


def _row(seen: Round, names: tuple[str, ...], groups: str) -> tuple[Cell, ...]:
    seconds = "not timed" if seen.seconds is None else formatting.format_seconds(seen.seconds)
    errors = (seen.error(name, learned=learned) for name in names for learned in (False, True))
    return (
        text_cell(str(seen.number)),
        text_cell(seconds, "quiet"),
        *(measurement_cell(error, groups=groups) for error in errors),
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
