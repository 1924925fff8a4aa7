"""Measures of an attack on decisions."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="attack.success",
        title="Decisions flipped by an attack",
        explanation="By a small change of a row; the attacker sees decisions only.",
        violation="Its decisions can be flipped more often than allowed",
        is_share=True,
    ),
    Measure(
        name="attack.success.drop",
        title="Decisions flipped by an attack, compared with the baseline",
        explanation="Share minus that of the baseline, for the same attack on the same rows; below 0 is more robust.",
        violation="Its decisions can be flipped more easily than those of the baseline",
    ),
    Measure(
        name="attack.column.success",
        is_share=True,
        title="Decisions flipped by one column",
        explanation="The largest of these is the weakest point.",
    ),
    Measure(
        name="attack.column.success.drop",
        title="Decisions flipped by one column",
        explanation="Compared with the baseline.",
    ),
    Measure(
        name="attack.columns",
        title="Columns changed for a flip",
        explanation="Median over the decisions that were flipped.",
    ),
    Measure(
        name="attack.reach",
        title="Change of a number for a flip",
        explanation="Median, in interquartile ranges of the column.",
    ),
    Measure(name="attack.queries", title="Queries per row", explanation="Decisions that the attack asked for."),
)
