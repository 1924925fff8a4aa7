"""Heavy work of the page of messages: try a text, what waits for a person, and what became of the others."""

from __future__ import annotations

import math

from headway.api.calls import load
from headway.core.answering import decide
from headway.core.config import Config
from headway.core.errors import DataError, StoreError
from headway.core.labeling import LabelRequest
from headway.core.support import MessageSummary, TriedMessage
from headway.dashboard.work.labels import Classes, opened
from headway.monitoring.labeling.selection import label_classes
from headway.monitoring.messages import summarize_messages, waiting_messages
from headway.registry.withdrawals import withdrawn_classes

LIKELY = 3


def try_text(config: Config, text: str) -> TriedMessage:
    """Return what the live release answers to a text, here and now; nothing is logged or sent.

    Other columns than the text are missing. Raises DataError for a model without exactly one column of texts.
    """
    with opened(config) as project:
        bundle = project.registry.resolve(f"{project.name}@live")
        release = bundle.release
        signature, plan = release.variant.signature, release.answers
        if len(signature.texts) != 1 or release.variant.task not in ("binary", "multiclass"):
            raise DataError(
                f"{project.name} does not read one column of texts and answer a class",
                where=f"{project.name}@live",
                hint="headway init shop --template support",
            )
        model = load(f"{project.name}@live", project=config.folder)
        columns = {field.name: [text if field.is_text else None] for field in signature.inputs}
        probabilities = model.predict_proba(columns)
        withdrawn = (
            withdrawn_classes(project.state, plan, name=project.name, digest=bundle.digest) if plan else frozenset()
        )
    names = release.class_names
    ranked = sorted(zip(names, probabilities[0].tolist(), strict=True), key=lambda pair: -pair[1])
    likely = tuple(ranked[:LIKELY])
    if plan is None:
        return TriedMessage(answer=likely[0][0], confidence=likely[0][1], answered_by="model", likely=likely)
    found = decide(plan, names, probabilities, threshold=release.threshold, withdrawn=withdrawn)
    name, is_answered = names[int(found.answer[0])], bool(found.is_answered[0])
    needed = plan.thresholds.get(name, math.inf)
    return TriedMessage(
        answer=name,
        confidence=float(found.confidence[0]),
        answered_by="model" if is_answered else next(iter(plan.stages), ""),
        reason=str(found.reason[0]),
        rule=plan.rule,
        threshold=needed if math.isfinite(needed) else None,
        is_certified=plan.certificate.is_certified,
        likely=likely,
    )


def waiting(config: Config, count: int) -> tuple[Classes, list[LabelRequest]]:
    """Return the classes of a label, and the messages that wait for a person, the oldest first."""
    with opened(config) as project:
        return label_classes(project), waiting_messages(project, count)


def summarize_log(config: Config) -> MessageSummary | str:
    """Return what became of the messages, or why that is unknown."""
    with opened(config) as project:
        try:
            return summarize_messages(project)
        except (DataError, StoreError) as error:
            return error.what
