"""Measures of what a model is better than."""

from __future__ import annotations

from headway.core.measure import Measure

plugin = (
    Measure(
        name="gain_over_constant",
        title="Gain over a constant prediction",
        explanation="Share of the loss of a constant prediction that the model avoids; 0 is as good, 1 is perfect.",
        violation="It is not better than a constant prediction",
    ),
    Measure(
        name="gain_over_reference",
        title="Gain over a simple reference model",
        explanation=(
            "Loss that the model avoids and one tree of depth 3 does not, as a share of that of a constant prediction."
        ),
        violation="It is worse than a simple reference model",
    ),
)
