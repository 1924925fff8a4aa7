"""What wrong inputs cost, and whether they are stood as well as by the model as it came."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.face import numbers, stress, words
from headway.face.report import meaning
from headway.face.report.section import Section, measured
from headway.face.report.story import Story


def plugin(story: Story) -> Section | None:
    """The section for altered inputs; None where the audit did not run."""
    added, beside = (_all(story, name) for name in ("excess", "loss"))
    if not added:
        return None
    return Section(
        title="When inputs are wrong",
        place=45,
        reads=("robustness.",),
        lead="Rows were asked again with a fault in them: a value missing, noisy, stale or in another unit, columns "
        "swapped, a text that nobody saw. Of each kind the worst is shown, so it looks a little worse than it is.",
        means=(*_costly(added), *_beside(beside)),
        sheet=stress.faults((*added, *beside, *_all(story, "changed_decisions"))),
    )


def _all(story: Story, name: str) -> tuple[Measurement, ...]:
    return measured(story, *(f"robustness.{kind}.{name}" for kind in words.FAULTS))


def _costly(added: tuple[Measurement, ...]) -> list[str]:
    shown = sorted(meaning.above(added, numbers.ROUNDING), key=lambda each: -each.value)
    if not shown:
        return ["No fault is shown to cost anything."]
    return [
        f"{len(shown)} of {len(added)} faults are shown to cost something, most of all {_said(shown[0])}: its error "
        f"grows by {meaning.between(shown[0])}."
    ]


def _beside(beside: tuple[Measurement, ...]) -> list[str]:
    shown = sorted(meaning.above(beside, numbers.ROUNDING), key=lambda each: -each.value)
    if not shown:
        return ["None is shown to be stood worse than by the model as it came."]
    names = meaning.listed([_said(each) for each in shown])
    return [f"Worse than the model as it came it stands {names}: look at what the conversion does with such values."]


def _said(found: Measurement) -> str:
    return f"{words.FAULTS[found.name.split('.')[1]].lower()} ({found.slice})"
