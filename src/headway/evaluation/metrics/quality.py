"""Quality by the measures of the task, and the drop against the baseline."""

from __future__ import annotations

from collections.abc import Callable

from headway.core.errors import NotApplicable
from headway.evaluation.context import Comparison, MetricResults
from headway.evaluation.quality import binary, embedding, multiclass, multilabel, ranking, regression

_OF_TASK: dict[str, Callable[[Comparison], MetricResults]] = {
    "binary": binary.measure_binary,
    "multiclass": multiclass.measure_multiclass,
    "multilabel": multilabel.measure_multilabel,
    "regression": regression.measure_regression,
    "ranking": ranking.measure_ranking,
    "embedding": embedding.measure_embedding,
}


def plugin(subject: Comparison) -> MetricResults:
    """Measure the quality for the task, each measure with a paired `.drop` (positive: the variant is worse).

    See `evaluation/quality/`. Raises NotApplicable for a task without measures, and for rows that cannot be judged.
    """
    task = subject.variant.task
    if task not in _OF_TASK:
        raise NotApplicable(f"quality is measured for the tasks {', '.join(_OF_TASK)}, not for {task!r}")
    return _OF_TASK[task](subject)
