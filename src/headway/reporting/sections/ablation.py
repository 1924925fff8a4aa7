"""What each feature is worth: the error without its values, and of the model trained without it."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.reporting import meaning
from headway.reporting.charts.drawing import TABLE, Picture, picture
from headway.reporting.charts.intervals import Panel, Span, charted
from headway.reporting.section import Section, measured
from headway.reporting.story import Story
from headway.reporting.text import numbers, sheets

_MASKED = ("ablation.masked.brier.drop", "ablation.masked.mse.drop", "ablation.masked.log_loss.drop")
_RETRAINED = ("ablation.retrained.brier.drop", "ablation.retrained.mse.drop", "ablation.retrained.log_loss.drop")
MOST = 20
"""Features that are drawn: the most needed ones, and all that are harmful."""


def plugin(story: Story) -> Section | None:
    """The section for the worth of features; None where the audit did not run."""
    masked, retrained = measured(story, *_MASKED), measured(story, *_RETRAINED)
    if not masked or story.winner is None:
        return None
    masked = tuple(sorted(masked, key=lambda each: -each.value))
    return Section(
        title="What each feature is worth",
        place=40,
        reads=("ablation.",),
        lead="Each feature was given the values of other rows, so that it says nothing of its own. Where that did not "
        "settle its worth, the model was trained anew without it, with several seeds.",
        means=tuple(_means(story, masked)),
        sheet=sheets.parts(story.winner.evidence.measurements, "ablation"),
        picture=lambda: _picture(masked, retrained, _named(story, "ablation.harmful")),
    )


def _means(story: Story, masked: tuple[Measurement, ...]) -> list[str]:
    needed = [each for each in masked if each in meaning.above(masked)]
    lines = []
    if needed:
        error = meaning.between(needed[0])
        lines.append(f"It needs {needed[0].slice} most: without it, its error grows by {error}.")
    harmful = _named(story, "ablation.harmful")
    better = f"It is shown to be better without {meaning.listed(harmful)}: leave it out, and train anew."
    lines.append(better if harmful else "No feature is shown to do harm.")
    if useless := _named(story, "ablation.useless"):
        lines.append(f"Its error hardly changes without {meaning.listed(useless)}: what that costs can be saved.")
    lines += [
        f"{each.slice} may do harm, and that is not decided: {each.method}."
        for each in measured(story, "ablation.unsettled")
        if each.slice
    ]
    return lines


def _named(story: Story, name: str) -> list[str]:
    return [each.slice for each in measured(story, name) if each.slice]


def _picture(masked: tuple[Measurement, ...], retrained: tuple[Measurement, ...], harmful: list[str]) -> Picture:
    heads = {"With the values of other rows": masked, "Trained without it": retrained}
    panels = [
        Panel(title=head, axis="how much the error grows", spans=_spans(found, harmful))
        for head, found in heads.items()
        if found
    ]
    needed = len(meaning.above(masked))
    title = f"{needed} of {len(masked)} features are shown to be needed"
    more = (f"The {MOST} most needed of {len(masked)} are drawn, and those that do harm.",)
    return picture(
        charted(panels),
        name="ablation",
        title=title,
        alt=f"{title}; the first is {masked[0].slice} with {numbers.measured(masked[0])}. {TABLE}",
        reading=(
            "Further right, the model needs it more. A line that reaches 0 may be worth nothing; one wholly left of it "
            "does harm, and has a cross.",
            *(more if len(masked) > MOST else ()),
        ),
    )


def _spans(found: tuple[Measurement, ...], harmful: list[str]) -> tuple[Span, ...]:
    return tuple(
        Span(name=each.slice, seen=each, mood="fail" if each.slice in harmful else "live")
        for number, each in enumerate(found)
        if number < MOST or each.slice in harmful
    )
