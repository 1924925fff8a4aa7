"""Quality by the measures of the task, and the drop against the baseline."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

from headway.core.errors import NotApplicable
from headway.evaluation.context import Comparison, MetricResults
from headway.evaluation.quality import binary, embedding, multiclass, multilabel, ranking, regression
from headway.optimization.parity import answers_agree
from headway.optimization.screening import answer_changing_steps

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

    A form that declares to keep the answers, and does to 1e-6, has the quality of the baseline: rounding alone changes
    the order of rows whose probabilities are all but equal, as those of a naive Bayes are near 0 and 1.

    See `evaluation/quality/`. Raises NotApplicable for a task without measures, and for rows that cannot be judged.
    """
    task = subject.variant.task
    if task not in _OF_TASK:
        raise NotApplicable(f"quality is measured for the tasks {', '.join(_OF_TASK)}, not for {task!r}")
    keeps_answers = not answer_changing_steps(subject.variant)
    if keeps_answers and answers_agree(subject.reference_scores, subject.scores, subject.variant):
        subject = replace(subject, scores=subject.reference_scores)
    return _OF_TASK[task](subject)
