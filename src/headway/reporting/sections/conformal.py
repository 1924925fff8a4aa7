"""Whether sets of answers, or intervals of a number, hold the truth as often as promised, and their size."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.evidence import Measurement
from headway.evaluation.audits.conformal import PLAN
from headway.reporting import details, meaning, periods
from headway.reporting.charts.drawing import TABLE, Picture, picture
from headway.reporting.charts.intervals import Mark, Panel, Span, charted
from headway.reporting.section import Section, measured, supported
from headway.reporting.story import Story
from headway.reporting.text import numbers

_HELD = "conformal.coverage"
_PROMISED = PLAN.coverage
_MONTH = "month="


def plugin(story: Story) -> Section | None:
    """The section for sets, whole, by month and by slice; None where they were not measured."""
    found = measured(story, _HELD)
    held = next((each for each in found if not each.slice), None)
    if held is None:
        return None
    parts = supported(story, found)
    return Section(
        title="Answers that hold the truth",
        place=22,
        reads=("conformal.",),
        lead="Where one answer is not sure enough, a set of several can be said, and an interval in place of a number. "
        f"Sets that promise to hold the truth in {_PROMISED * 100:.0f} of 100 cases were made anew for each of the "
        f"{story.groups} from those before it.",
        means=(_held(held), *_worst(parts), *_sizes(story)),
        sheet=details.parts(_told(story), story.groups, first="Where"),
        picture=lambda: _picture(held, parts) if parts else None,
    )


def _told(story: Story) -> tuple[Measurement, ...]:
    """Of the whole, and of parts that are large enough."""
    held = story.winner.evidence.measurements if story.winner else ()
    found = tuple(each for each in held if each.name.startswith("conformal."))
    large = supported(story, found)
    return tuple(each for each in found if not each.slice or each in large)


def _held(seen: Measurement) -> str:
    if not numbers.has_interval(seen):
        return "How often they hold it cannot be said on so few days."
    message = f"Of 100 sets, {meaning.between(seen, scale=100.0)} held the truth"
    if seen.high < _PROMISED:
        return f"{message}: fewer than the {_PROMISED * 100:.0f} that were promised."
    if seen.low > _PROMISED:
        return f"{message}: more than the {_PROMISED * 100:.0f} that were promised; they are larger than they need be."
    return f"{message}, which agrees with the {_PROMISED * 100:.0f} that were promised."


def _worst(parts: tuple[Measurement, ...]) -> list[str]:
    missed = [_where(each) for each in meaning.below(parts, _PROMISED)]
    if missed:
        return [f"They held it less often than promised in {meaning.listed(missed)}."]
    return ["In no month and no slice are they shown to hold it less often than promised."] if parts else []


def _sizes(story: Story) -> list[str]:
    whole = {each.name: each for each in measured(story, "conformal.size", "conformal.width") if not each.slice}
    known = {name: each for name, each in whole.items() if numbers.has_interval(each)}
    if width := known.get("conformal.width"):
        return [f"The intervals are {meaning.between(width)} wide on average."]
    size = known.get("conformal.size")
    if size is None:
        return []
    if story.winner is None or story.winner.variant.task != "binary" or size.low <= 1:
        return [f"A set holds {meaning.between(size)} answers on average."]
    more = replace(size, value=size.value - 1, low=size.low - 1, high=size.high - 1)
    return [f"{meaning.of_hundred(more)} sets say both yes and no, for neither is sure enough there."]


def _where(seen: Measurement) -> str:
    return periods.name_of(seen.slice.removeprefix(_MONTH))


def _picture(held: Measurement, parts: tuple[Measurement, ...]) -> Picture:
    months, slices = (
        [each for each in parts if each.slice.startswith(_MONTH) is is_month] for is_month in (True, False)
    )
    title = f"Of 100 sets, {meaning.between(held, scale=100.0)} held the truth"
    panels = [
        Panel(
            title=head,
            axis="of 100 sets, so many held the truth",
            spans=tuple(Span(name=_where(each) or "all", seen=each) for each in found),
            marks=(Mark(at=_PROMISED * 100, message="promised"),),
            scale=100.0,
        )
        for head, found in {"Month by month": [*months, held], "Slice by slice": slices}.items()
        if found
    ]
    return picture(
        charted(panels),
        name="conformal",
        title=title,
        alt=f"{title}, in {len(months)} months and {len(slices)} slices. {TABLE}",
        reading=("Left of the upright line, sets held the truth less often than promised.",),
    )
