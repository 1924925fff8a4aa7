"""How it learned: the error after each of some rounds, on rows learned from and on rows held out."""

from __future__ import annotations

from headway.core.learning import LearningCurve
from headway.reporting.charts import learning
from headway.reporting.section import Section
from headway.reporting.story import ReportData
from headway.reporting.text import curves


def plugin(story: ReportData) -> Section | None:
    """The section for the learning curve; None where the training drew none."""
    curve = story.curve
    if curve is None:
        return None
    return Section(
        title="How it learned",
        place=45,
        reads=(),
        lead=f"After some rounds of its training the model was asked about rows that it learned from, and about rows "
        f"held out{_rested(curve)}. Rows of the test were not looked at. {curves.describe_cost(curve)}",
        means=(curves.describe_curve(curve),),
        sheet=curves.tabulate_curve(curve),
        picture=lambda: learning.draw_learning_curve(curve) if len(curve.rounds) > 1 else None,
    )


def _rested(curve: LearningCurve) -> str:
    if not curve.rounds:
        return ""
    seen = curve.rounds[-1].held_out[0]
    return f" ({seen.n_rows:,} rows, {seen.n_groups:,} groups)"
