"""The squared error of each row, of the variant and of the model as it came, whatever the task."""

from __future__ import annotations

from dataclasses import dataclass

import numpy as np

from headway.core.contracts import Comparison
from headway.evaluation.quality.multiclass import class_answers, squares
from headway.evaluation.statistics.intervals import ANY, CHANGE, Floats
from headway.evaluation.statistics.tables import Blocks, binary_answers, blocks_of


@dataclass(frozen=True, slots=True, kw_only=True)
class Errors:
    """`brier` of a classifier, `mse` of a regression: float64 [n] of both; differences lie in `bounds`."""

    name: str
    variant: Floats
    reference: Floats
    bounds: tuple[float, float]
    blocks: Blocks

    @property
    def lost(self) -> Floats:
        """How much more the variant errs on each row, float64 [n]."""
        return self.variant - self.reference


def errors_of(subject: Comparison) -> Errors:
    """The errors of a subject; raises NotApplicable where its answers or labels are not those of its task."""
    if subject.variant.task == "regression":
        variant, reference = (
            np.square(scores[:, 0] - subject.labels) for scores in (subject.scores, subject.reference_scores)
        )
        return Errors(name="mse", variant=variant, reference=reference, bounds=ANY, blocks=blocks_of(subject))
    if subject.variant.task == "multiclass":
        several = class_answers(subject)
        variant, reference = (squares(scores, several.labels) for scores in (several.scores, several.reference))
        return Errors(name="brier", variant=variant, reference=reference, bounds=(-2.0, 2.0), blocks=several.blocks)
    answers = binary_answers(subject)
    variant, reference = (np.square(scores - answers.labels) for scores in (answers.scores, answers.reference))
    return Errors(name="brier", variant=variant, reference=reference, bounds=CHANGE, blocks=answers)
