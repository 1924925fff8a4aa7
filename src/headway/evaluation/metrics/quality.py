"""How good the variant is by the measures of its task, and what of that was lost to the model as it came."""

from __future__ import annotations

from headway.core.contracts import Comparison
from headway.core.errors import NotApplicable
from headway.core.evidence import Measurement
from headway.evaluation.quality import binary, embedding, multiclass, ranking, regression

_OF_TASK = {
    "binary": binary.measure_binary,
    "multiclass": multiclass.measure_multiclass,
    "regression": regression.measure_regression,
    "ranking": ranking.measure_ranking,
    "embedding": embedding.measure_embedding,
}


def plugin(subject: Comparison) -> list[Measurement]:
    """The measures of a task, each with a paired `.drop` (positive = the variant is worse): see `evaluation/quality/`.

    Raises NotApplicable for a task that has none here, and for rows that cannot tell.
    """
    task = subject.variant.task
    if task not in _OF_TASK:
        raise NotApplicable(f"quality is measured for the tasks {', '.join(_OF_TASK)}, not for {task!r}")
    return _OF_TASK[task](subject)
