"""How easily somebody turns a decision who sees decisions alone: how often, through which columns, how far."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import details, meaning
from headway.reporting.charts.drawing import TABLE, Picture, picture
from headway.reporting.charts.intervals import Panel, Span, charted
from headway.reporting.section import Section, measured
from headway.reporting.story import Story
from headway.reporting.text import numbers

_BEGINS, _SUCCESS, _LOSS = "attack.", "attack.success", "attack.success.drop"
_COLUMN, _TAKES, _REACH = "attack.column.success", "attack.columns", "attack.reach"
MOST = 8
"""Columns that are drawn: those that turn most decisions by themselves."""


def plugin(story: Story) -> Section | None:
    """The section for attacks; None where the audit did not run."""
    whole = [each for each in measured(story, _SUCCESS) if not each.slice]
    if not whole:
        return None
    columns = sorted(measured(story, _COLUMN), key=lambda each: -each.value)
    held = story.winner.evidence.measurements if story.winner else ()
    return Section(
        title="When somebody wants another decision",
        place=36,
        reads=(_BEGINS,),
        lead="For rows of every group, a small change was sought that turns the decision, by somebody who can ask for "
        "decisions and sees nothing else. What is declared fixed was left alone, and what has bounds kept within them.",
        means=(*_turned(whole[0]), *_takes(story), *_easiest(columns), *_beside(story)),
        sheet=details.parts(tuple(each for each in held if each.name.startswith(_BEGINS)), story.groups),
        picture=lambda: _picture(columns) if columns else None,
    )


def _turned(seen: Measurement) -> list[str]:
    if seen.high < numbers.ROUNDING:
        return [f"Of {seen.n_rows:,} rows not one decision could be turned, which does not show that none can be."]
    if not numbers.has_interval(seen):
        return ["How many decisions can be turned cannot be said: the groups are too few for an interval."]
    return [f"So {meaning.of_hundred(seen)} decisions can be turned; who looks longer may turn more, never fewer."]


def _takes(story: Story) -> list[str]:
    takes, reach = measured(story, _TAKES), measured(story, _REACH)
    if not takes or not reach:
        return []
    change = "one column" if takes[0].value < 2 else f"{numbers.number(takes[0].value)} columns"
    how = f"the number that moves most moves by {meaning.between(reach[0])} interquartile ranges"
    return [f"Half of those that are turned take a change of {change} at most; {how}."]


def _easiest(columns: list[Measurement]) -> list[str]:
    shown = meaning.above(columns)
    if not shown:
        return []
    worst = shown[0]
    return [f"The easiest way leads through {worst.slice}: alone it turns {meaning.of_hundred(worst)}."]


def _beside(story: Story) -> list[str]:
    whole = [each for each in measured(story, _LOSS) if not each.slice]
    if not whole or not numbers.has_interval(whole[0]):
        return []
    (lost,) = whole
    if max(abs(lost.low), lost.high) < numbers.ROUNDING:
        return ["It holds exactly as the model as it came does."]
    if lost.low > 0:
        return [f"It is shown to be easier to turn than the model as it came, by {meaning.of_hundred(lost)} decisions."]
    if lost.high < 0:
        return ["It is shown to be harder to turn than the model as it came."]
    most = numbers.number(lost.high * 100)
    return [f"It is not shown to be easier to turn than the model as it came; if it is, then by {most} of 100 at most."]


def _picture(columns: list[Measurement]) -> Picture:
    shown = meaning.above(columns)
    spans = tuple(Span(name=each.slice, seen=each, mood="fail" if each in shown else "live") for each in columns[:MOST])
    title = f"{len(shown)} of {len(columns)} columns are shown to turn decisions by themselves"
    return picture(
        charted([Panel(axis="share of decisions that it turns alone", spans=spans)]),
        name="attack",
        title=title,
        alt=f"{title}. {TABLE}",
        reading=(
            "Each line is a column; further right, more decisions are turned by changing it alone.",
            f"The {MOST} that turn most are drawn.",
            "A cross marks what is shown to be above 0, of all columns together.",
        ),
    )
