"""Whether groups of people are treated alike: gaps in the decisions, and in what is said against what happens."""

from __future__ import annotations

from itertools import groupby

from headway.core.evidence import Measurement
from headway.reporting import details, meaning
from headway.reporting.charts.drawing import TABLE, Picture, picture
from headway.reporting.charts.intervals import Panel, Span, charted
from headway.reporting.section import Section, measured, supported
from headway.reporting.story import Story
from headway.reporting.text import numbers, words

_SHARES = {
    "bias.tpr_gap": "of 100 people for whom yes is right, this many more or fewer get a yes than among the others",
    "bias.fpr_gap": "of 100 people for whom yes is wrong, this many more or fewer get a yes than among the others",
    "bias.selection_gap": "of 100 people, this many more or fewer get a yes than among the others",
    "bias.calibration_gap": "what is said is this many of 100 further from what happens than for the others",
    "bias.ece_gap": "the error of what is said differs by this many of 100 from that for the others",
}
_ERROR = "bias.error_gap"


def plugin(story: Story) -> Section | None:
    """The section for groups of people large enough to be judged; None where no gap was measured."""
    every = measured(story, *_SHARES, _ERROR)
    found = supported(story, every)
    if not every:
        return None
    return Section(
        title="Between groups of people",
        place=30,
        reads=("bias.",),
        lead="Each group of people that the project names is compared with all the others, by the decisions at the "
        "threshold and by what is said against what happens. 0 is no difference.",
        means=(*_means(found), *details.too_small(story, len(every) - len(found))),
        sheet=details.parts(supported(story, _told(story)), story.groups, first="People"),
        picture=lambda: _picture(found) if found else None,
    )


def _told(story: Story) -> tuple[Measurement, ...]:
    """Gaps, and the rates that they are between, group by group."""
    held = story.winner.evidence.measurements if story.winner else ()
    return tuple(sorted((each for each in held if each.name.startswith("bias.")), key=lambda each: each.slice))


def _means(found: tuple[Measurement, ...]) -> list[str]:
    """The gaps that are shown, each in a sentence; then how large any other could still be."""
    shown = meaning.above(found)
    open_ = [each for each in found if each not in shown and numbers.has_interval(each)]
    if not found:
        return []
    lines = [f"{each.slice} is shown to differ: {_size(each)}." for each in shown]
    if not shown:
        lines = ["No group of people is shown to be treated otherwise than the others. That is no proof that all are."]
    if open_:
        worst = max(open_, key=lambda each: each.high)
        rest = "the other" if shown else "the"
        lines.append(
            f"Of {rest} {len(open_)} comparisons none can be told from no difference; the least sure is that of "
            f"{worst.slice}: it could be as much as {_most(worst)}."
        )
    return lines


def _size(seen: Measurement) -> str:
    if seen.name == _ERROR:
        return f"its mean error is off by {meaning.between(seen)} from theirs"
    return _SHARES[seen.name].replace("this many", meaning.between(seen, scale=100.0))


def _most(seen: Measurement) -> str:
    if seen.name == _ERROR:
        return f"{numbers.number(seen.high)} of mean error"
    return f"{numbers.number(seen.high * 100)} of 100 ({words.in_sentence(seen.name)})"


def _picture(found: tuple[Measurement, ...]) -> Picture:
    shown = meaning.above(found)
    ordered = sorted(found, key=lambda each: each.name)
    panels = [_panel(name, tuple(same), shown) for name, same in groupby(ordered, key=lambda each: each.name)]
    count = f"{len(shown)} of {len(found)} gaps between groups of people are shown to be there"
    return picture(
        charted(panels),
        name="people",
        title=count,
        alt=f"{count}: {', '.join(each.slice for each in shown) or 'none'}. {TABLE}",
        reading=(
            "Each line is a group of people against all the others. A line that reaches 0 may be no difference at all.",
            "A cross marks a gap that is shown to be there, of all those that were looked at together.",
        ),
    )


def _panel(name: str, found: tuple[Measurement, ...], shown: list[Measurement]) -> Panel:
    share = name != _ERROR
    return Panel(
        title=words.title(name),
        axis="of 100" if share else "mean error",
        scale=100.0 if share else 1.0,
        spans=tuple(Span(name=each.slice, seen=each, mood="fail" if each in shown else "live") for each in found),
    )
