"""The numbers behind each picture, as tables of the report."""

from __future__ import annotations

from collections.abc import Sequence

from msgspec.structs import replace

from headway.core.evidence import Evidence, Measurement
from headway.reporting import periods
from headway.reporting.periods import Period
from headway.reporting.story import Stage, Story
from headway.reporting.text import numbers, words
from headway.reporting.text.sheets import Cell, Column, Line, Sheet, number_cell

_YEAR = ("roc_auc", "ece", "brier")


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


def year(story: Story) -> Sheet:
    """Every period: what was live, on how many rows, what was measured and estimated, and whether the inputs moved."""
    measures = [
        name for name in _YEAR if any(each.find(name) or each.estimate(name) for each in periods.periods(story))
    ]
    guessed = [name for name in measures if any(each.estimate(name) for each in periods.periods(story))]
    rows = tuple(
        (
            (Line(text=periods.name_of(each.label)),),
            *_watched(story, each),
            *(_said(each.find(name)) for name in measures),
            *(_said(each.estimate(name)) if each.watch else () for name in guessed),
        )
        for each in periods.periods(story)
    )
    titles = ("Period", "Live", "Rows", "Inputs", *map(words.symbol, measures))
    before = (f"{words.symbol(name)} before labels" for name in guessed)
    return Sheet(columns=tuple(Column(title=title) for title in (*titles, *before)), rows=rows)


def _watched(story: Story, period: Period) -> tuple[Cell, Cell, Cell]:
    """What was live, or what the period was used for before; the rows, of those the outcomes known; the inputs."""
    seen = period.watch
    if seen is None:
        count = max((each.n_rows for each in period.measured), default=0)
        return (Line(text=periods.use_of(story, period.label), mood="quiet"),), (Line(text=f"{count:,}"),), ()
    name = story.year.names.get(seen.release, "") if story.year else ""
    live = (Line(text=name or "live"), Line(text=numbers.short(seen.release), mood="quiet"))
    rows = (Line(text=f"{seen.n_rows:,}"), Line(text=f"{seen.n_labelled:,} known", mood="quiet"))
    if seen.drift is None:
        return live, rows, (Line(text="cannot say" if seen.over else "not over yet", mood="quiet"),)
    p = next(each.value for each in seen.drift.measurements if each.name == "drift.p" and not each.slice)
    moved = Line(text="changed", mood="undecided") if seen.drift.alarm else Line(text="no change shown")
    return live, rows, (moved, Line(text=f"p {p:.2g}", mood="quiet"))


def _said(found: Measurement | None) -> Cell:
    return number_cell(found) if found else (Line(text="cannot say", mood="quiet"),)


def bins(evidence: Evidence) -> Sheet:
    """The reliability curve in numbers: what was said, and the share observed with its interval."""
    rows = tuple(
        (
            (Line(text=seen.slice.removeprefix("bin ")),),
            _bare(evidence.find("reliability.predicted", seen.slice)),
            _bare(seen),
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
            _bare(each),
            (Line(text=f"{each.n_rows:,}"),),
            (Line(text=f"{each.n_groups:,}"),),
        )
        for each in found
    )
    titles = ("Slice", words.title(found[0].name) if found else "Loss", "Rows", groups.capitalize())
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def _bare(found: Measurement | None) -> Cell:
    """A measurement of a part that its line names already."""
    return number_cell(replace(found, slice="") if found else None)


def parts(found: Sequence[Measurement], groups: str, *, first: str = "Part") -> Sheet:
    """Measurements of parts in numbers, with what each rests on; of the whole, the part is called `all`."""
    rows = tuple(
        (
            (Line(text=each.slice or "all"),),
            (Line(text=words.title(each.name)),),
            number_cell(replace(each, slice=""), groups=groups),
        )
        for each in found
    )
    return Sheet(columns=tuple(Column(title=title) for title in (first, "Measure", "Measured")), rows=rows)


def beside(found: Sequence[Measurement], came: Evidence | None, groups: str) -> Sheet:
    """Measurements of the winner, beside those of the model as it came where there are any."""
    looks = [] if came is None else [came]
    rows = tuple(
        (
            (Line(text=words.title(each.name), mood="strong"), Line(text=each.name, mood="quiet")),
            number_cell(each, groups=groups),
            *(number_cell(look.find(each.name), groups=groups) for look in looks),
        )
        for each in found
    )
    titles = ("Measure", "This model", "As it came")[: 2 + len(looks)]
    return Sheet(columns=tuple(Column(title=title) for title in titles), rows=rows)


def too_small(story: Story, count: int) -> list[str]:
    """A sentence on what rests on too few rows or groups to be judged; none where nothing does."""
    least = f"fewer than {story.slice_rows:,} rows or {story.slice_groups} {story.groups}"
    rest = "one more rests" if count == 1 else f"{count} more rest"
    return [f"{rest[:1].upper()}{rest[1:]} on {least}, and cannot be judged."] if count else []


def stages(found: tuple[Stage, ...]) -> Sheet:
    """How long each stage took, and all of them."""
    total = Stage(name="all", seconds=sum(each.seconds for each in found))
    rows = tuple(((Line(text=each.name),), (Line(text=numbers.number(each.seconds)),)) for each in (*found, total))
    return Sheet(columns=(Column(title="Stage", folds=True), Column(title="Seconds")), rows=rows, chosen=len(rows) - 1)


def _series(story: Story) -> list[tuple[str, bool]]:
    """Measure and side (True is the winner) of each column that has a number."""
    sides = [(measure, live) for measure in periods.measures(story) for live in (True, False)]
    labels = periods.labels(story)
    return [side for side in sides if any(periods.of_month(story, label, side[0], live=side[1]) for label in labels)]


def _month(story: Story, label: str) -> Cell:
    name = Line(text=periods.name_of(label))
    span = periods.span_of(story, label)
    return (name, Line(text=span, mood="quiet")) if span else (name,)
