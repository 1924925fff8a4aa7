"""What wrong inputs cost: values missing, noisy, stale, swapped, unseen or in other units, and months by themselves."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import details, meaning, periods
from headway.reporting.charts.drawing import TABLE, Picture, picture
from headway.reporting.charts.intervals import Panel, Span, charted
from headway.reporting.section import Section
from headway.reporting.story import Story
from headway.reporting.text import numbers, words

_BEGINS, _EXCESS, _LOSS = "robustness.", ".excess", ".drop"
MOST = 5
"""Alterations of a kind that are drawn: those that cost most."""


def plugin(story: Story) -> Section | None:
    """The section for altered inputs; None where the audit did not run."""
    held = story.winner.evidence.measurements if story.winner else ()
    found = tuple(each for each in held if each.name.startswith(_BEGINS) and each.slice)
    if not found:
        return None
    excess, lost = (tuple(each for each in found if each.name.endswith(end)) for end in (_EXCESS, _LOSS))
    return Section(
        title="When inputs go wrong",
        place=35,
        reads=(_BEGINS,),
        lead="The inputs were spoilt on purpose, one kind of fault after the other, and put to this form and to the "
        "model as it came.",
        means=(*_cost(excess), *_beside(lost)),
        sheet=details.parts(found, story.groups, first="What befell the rows"),
        picture=lambda: _picture(excess) if excess else None,
    )


def _cost(excess: tuple[Measurement, ...]) -> list[str]:
    """The fault that is shown to cost most, of all that were tried."""
    shown = sorted(meaning.above(excess), key=lambda each: -each.low)
    if not shown:
        return ["No fault that was tried is shown to make it err more."] if excess else []
    worst = shown[0]
    more = f"{len(shown)} of {len(excess)} faults are shown to make it err more"
    return [f"{more}; the worst is {_said(worst)}: its error grows by {meaning.between(worst)}."]


def _beside(lost: tuple[Measurement, ...]) -> list[str]:
    worse = [_said(each) for each in meaning.above(lost)]
    if worse:
        return [f"It is shown to stand it worse than the model as it came: {meaning.listed(worse)}."]
    known = [each for each in lost if numbers.has_interval(each)]
    if not known:
        return []
    most = max(known, key=lambda each: each.high)
    if most.high < numbers.ROUNDING:
        return ["It stands every fault exactly as the model as it came does."]
    return [
        "On no fault is it shown to err more than the model as it came; for the least sure "
        f"({_said(most)}) it could be {numbers.number(most.high)}."
    ]


def _kind(seen: Measurement) -> str:
    return seen.name.removeprefix(_BEGINS).partition(".")[0]


def _said(seen: Measurement) -> str:
    kind = words.FAULTS.get(_kind(seen), _kind(seen))
    return f"{periods.name_of(seen.slice.removeprefix('month='))}, {kind[:1].lower()}{kind[1:]}"


def _picture(excess: tuple[Measurement, ...]) -> Picture:
    shown = meaning.above(excess)
    by_kind = {kind: [each for each in excess if _kind(each) == kind] for kind in dict.fromkeys(map(_kind, excess))}
    panels = [
        Panel(title=words.FAULTS.get(kind, kind), axis="how much the error grows", spans=_spans(found, shown))
        for kind, found in by_kind.items()
    ]
    title = f"{len(shown)} of {len(excess)} faults of the inputs are shown to cost something"
    return picture(
        charted(panels),
        name="robustness",
        title=title,
        alt=f"{title}, of {len(panels)} kinds. {TABLE}",
        reading=(
            "Each line is a fault of the inputs; further right, the model errs more. Each kind has an axis of its own.",
            f"Of each kind the {MOST} that cost most are drawn.",
            "A cross marks what is shown to be above 0, of all that were looked at together.",
        ),
    )


def _spans(found: list[Measurement], shown: list[Measurement]) -> tuple[Span, ...]:
    worst = sorted(found, key=lambda each: -each.value)[:MOST]
    names = (periods.name_of(each.slice.removeprefix("month=")) for each in worst)
    return tuple(
        Span(name=name, seen=each, mood="fail" if each in shown else "live")
        for name, each in zip(names, worst, strict=True)
    )
