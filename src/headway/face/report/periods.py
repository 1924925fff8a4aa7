"""The months of a story: which there are, what was measured in each, and what each is called."""

from __future__ import annotations

import calendar

from headway.core.evidence import Measurement
from headway.face import words
from headway.face.report.story import Story


def labels(story: Story) -> list[str]:
    """The labels of the months, in order."""
    return sorted({evidence.period for evidence in story.months})


def shown(story: Story) -> list[str]:
    """The measures that are shown: those that some month holds, at most three."""
    return [name for name in words.QUALITY if any(evidence.find(name) for evidence in story.months)][:3]


def released(story: Story) -> str:
    """The subject that stands for the released variant: the winner's, else the only one there is."""
    return story.winner.variant.digest if story.winner else story.months[0].subject


def of_month(story: Story, label: str, measure: str, *, live: bool = True) -> Measurement | None:
    """What was measured in a month on the released variant, or (`live=False`) on the other one."""
    same = (each for each in story.months if each.period == label and (each.subject == released(story)) is live)
    return next((found for each in same if (found := each.find(measure))), None)


def span_of(story: Story, label: str) -> str:
    """The name of the split's period in which a month lies; empty where none was told."""
    return next((span.name for span in story.spans if span.holds(label)), "")


def name_of(label: str) -> str:
    """A month in words: `September 2013`; a label of another form stays as it is."""
    year, _, month = label.partition("-")
    known = year.isdigit() and month.isdigit() and 1 <= int(month) <= 12
    return f"{calendar.month_name[int(month)]} {year}" if known else label
