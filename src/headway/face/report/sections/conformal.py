"""Whether sets of answers hold the truth as often as they promise, month after month, and how large they must be."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.evidence.audits.conformal import PLAN
from headway.face import numbers
from headway.face.report import details, meaning, periods
from headway.face.report.pictures.drawing import TABLE, Picture, picture
from headway.face.report.pictures.intervals import Mark, Panel, Span, charted
from headway.face.report.section import Section, measured
from headway.face.report.story import Story

_HELD, _SIZE = "conformal.coverage", "conformal.size"
_PROMISED = PLAN.coverage


def plugin(story: Story) -> Section | None:
    """The section for conformal sets; None where they were not measured."""
    held = next((each for each in measured(story, _HELD) if not each.slice), None)
    if held is None:
        return None
    months = tuple(each for each in measured(story, _HELD) if each.slice)
    size = next((each for each in measured(story, _SIZE) if not each.slice), None)
    return Section(
        title="Answers as sets that hold the truth",
        place=22,
        reads=("conformal.",),
        lead=f"Where yes or no is not sure enough, both can be said. Sets that promise the truth in "
        f"{_PROMISED * 100:.0f} of 100 cases were made anew for each of the {story.groups} from those before it.",
        means=(_held(held), *(_worst(months)), *((_size(size),) if size else ())),
        sheet=details.parts(measured(story, _HELD, _SIZE), story.groups, first="When"),
        picture=lambda: _picture(held, months) if months else None,
    )


def _held(seen: Measurement) -> str:
    if not numbers.has_interval(seen):
        return "How often they hold it cannot be said on so few days."
    says = f"Of 100 sets, {meaning.between(seen, scale=100.0)} held the truth"
    if seen.high < _PROMISED:
        return f"{says}: fewer than the {_PROMISED * 100:.0f} that were promised."
    if seen.low > _PROMISED:
        return f"{says}: more than the {_PROMISED * 100:.0f} that were promised; they are larger than they need be."
    return f"{says}, which agrees with the {_PROMISED * 100:.0f} that were promised."


def _worst(months: tuple[Measurement, ...]) -> list[str]:
    missed = meaning.below(months, _PROMISED)
    names = [_month(each) for each in missed]
    if names:
        return [f"In {meaning.listed(names)} they held it less often than promised."]
    return ["In no month are they shown to hold it less often than promised."] if months else []


def _size(seen: Measurement) -> str:
    if not numbers.has_interval(seen):
        return "How large they are cannot be said on so few days."
    if seen.low <= 1:
        return f"A set holds {meaning.between(seen)} answers."
    more = replace(seen, value=seen.value - 1, low=seen.low - 1, high=seen.high - 1)
    return f"{meaning.of_hundred(more)} sets say both, for neither answer is sure enough there."


def _month(seen: Measurement) -> str:
    return periods.name_of(seen.slice.removeprefix("month="))


def _picture(held: Measurement, months: tuple[Measurement, ...]) -> Picture:
    title = f"Of 100 sets, {meaning.between(held, scale=100.0)} held the truth"
    spans = tuple(Span(name=_month(each), seen=each) for each in months)
    panel = Panel(
        axis="of 100 sets, so many held the truth",
        spans=(*spans, Span(name="all", seen=held)),
        marks=(Mark(at=_PROMISED * 100, says="promised"),),
        scale=100.0,
    )
    return picture(
        charted([panel]),
        name="conformal",
        title=title,
        alt=f"{title}, in {len(months)} months. {TABLE}",
        reading=("Each line is a month. Left of the upright line, sets held the truth less often than promised.",),
    )
