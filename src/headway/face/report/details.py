"""The numbers behind each picture, as tables of the report."""

from __future__ import annotations

from headway.core.evidence import Evidence, Measurement
from headway.face import numbers, words
from headway.face.report import periods
from headway.face.report.story import Stage, Story
from headway.face.sheets import Cell, Column, Line, Sheet, number_cell


def months(story: Story) -> Sheet:
    """Every measure that is shown by month, of the winner and, where it was measured, of the model as it came."""
    series = _series(story)
    titles = [f"{words.symbol(measure)}, {story.word if live else 'as it came'}" for measure, live in series]
    rows = tuple(
        (
            _month(story, label),
            *(number_cell(periods.of_month(story, label, measure, live=live)) for measure, live in series),
        )
        for label in periods.labels(story)
    )
    return Sheet(columns=tuple(Column(title=title) for title in ("Month", *titles)), rows=rows)


def bins(evidence: Evidence) -> Sheet:
    """The reliability curve in numbers: what was said, and the share observed with its interval."""
    rows = tuple(
        (
            (Line(text=seen.slice.removeprefix("bin ")),),
            number_cell(evidence.find("reliability.predicted", seen.slice)),
            number_cell(seen),
            (Line(text=f"{seen.n_rows:,}"),),
        )
        for seen in evidence.measurements
        if seen.name == "reliability"
    )
    titles = ("Bin", "Said, on average", "Observed", "Rows")
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def slices(found: tuple[Measurement, ...], groups: str) -> Sheet:
    """The loss of each slice in numbers, with what it rests on."""
    rows = tuple(
        (
            (Line(text=each.slice),),
            number_cell(each),
            (Line(text=f"{each.n_rows:,}"),),
            (Line(text=f"{each.n_groups:,}"),),
        )
        for each in found
    )
    titles = ("Slice", words.title(found[0].name), "Rows", groups.capitalize())
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def stages(found: tuple[Stage, ...]) -> Sheet:
    """How long each stage took, and all of them."""
    total = Stage(name="all", seconds=sum(each.seconds for each in found))
    rows = tuple(((Line(text=each.name),), (Line(text=numbers.number(each.seconds)),)) for each in (*found, total))
    return Sheet(columns=(Column(title="Stage", folds=True), Column(title="Seconds")), rows=rows, chosen=len(rows) - 1)


def _series(story: Story) -> list[tuple[str, bool]]:
    """Measure and side (True is the winner) of each column that has a number."""
    sides = [(measure, live) for measure in periods.shown(story) for live in (True, False)]
    labels = periods.labels(story)
    return [side for side in sides if any(periods.of_month(story, label, side[0], live=side[1]) for label in labels)]


def _month(story: Story, label: str) -> Cell:
    name = Line(text=periods.name_of(label))
    span = periods.span_of(story, label)
    return (name, Line(text=span, mood="quiet")) if span else (name,)
