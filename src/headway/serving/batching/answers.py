"""Selective answers of a batch: which rows the model answers, who answers the others, and what people check."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from itertools import repeat
from typing import TYPE_CHECKING, NamedTuple

from headway.core.answering import AnswerDecider
from headway.core.release import Release
from headway.core.selective import RemoteAudit
from headway.registry.key_assignment import is_drawn_for_audit
from headway.storage import traffic
from headway.storage.traffic import MODEL, REMOTE

if TYPE_CHECKING:
    from headway.core.contracts import Floats, Ints

ANSWER_OUTPUTS = (("answer", "BYTES"), ("confidence", "FP64"), ("answered_by", "BYTES"), ("reason", "BYTES"))
"""Name and datatype of the outputs of a release with an answer plan, behind its probabilities."""
_BY_NAME = {name: code for code, name in enumerate(traffic.ANSWERED_BY)}
_REASONS = {name: code for code, name in enumerate(traffic.REASONS)}


class RowAnswers(NamedTuple):
    """Answers to rows, one item a row: the class or "", its confidence, `model` or the next stage, and the reason.

    `best` is the class that the model would answer, also of rows that it does not answer.
    """

    answer: list[str]
    confidence: list[float]
    answered_by: list[str]
    reason: list[str]
    best: list[str]

    def select(self, start: int, end: int) -> RowAnswers:
        """Return the answers to some rows."""
        return RowAnswers(
            self.answer[start:end],
            self.confidence[start:end],
            self.answered_by[start:end],
            self.reason[start:end],
            self.best[start:end],
        )

    def outputs(self) -> Iterator[tuple[str, str, list[str] | list[float]]]:
        """Yield name, datatype and values of each output."""
        for name, datatype in ANSWER_OUTPUTS:
            yield name, datatype, getattr(self, name)


class SelectiveModel:
    """Decides which rows a release with an answer plan answers.

    `stage` is the first that answers the other rows, "" for none. Of the answered rows, people check those whose key is
    drawn with probability `audit_share`: always the same keys of a release, which callers cannot know beforehand.
    `withdrawn` are the classes whose certificate an audit broke, and `remote_audit` says which answers of the remote
    stage count. Rows that are handed to it are drawn in the same way.
    """

    def __init__(self, release: Release, digest: str, *, audit_share: float = 0.0) -> None:
        plan = release.answers
        assert plan is not None
        self.plan = plan
        self.classes = release.class_names
        self.stage = next(iter(plan.stages), "")
        self.withdrawn: frozenset[str] = frozenset()
        self.remote_audit: RemoteAudit | None = None
        self._threshold = release.threshold
        self._decide = AnswerDecider(plan, self.classes, threshold=release.threshold)
        self._digest, self._share = digest, audit_share

    @classmethod
    def of(cls, release: Release, digest: str, *, audit_share: float) -> SelectiveModel | None:
        """Return the decisions of a release; None if it has no answer plan and so answers every row."""
        return None if release.answers is None else cls(release, digest, audit_share=audit_share)

    def decide(self, probabilities: Floats) -> RowAnswers:
        """Return the answers to rows with these probabilities, (n, k)."""
        found = self._decide(probabilities)
        best = [self.classes[index] for index in found.answer.tolist()]
        is_answered = found.is_answered.tolist()
        return RowAnswers(
            answer=[name if answered else "" for name, answered in zip(best, is_answered, strict=True)],
            confidence=found.confidence.tolist(),
            answered_by=[MODEL if answered else self.stage for answered in is_answered],
            reason=found.reason.tolist(),
            best=best,
        )

    def withdraw(self, classes: frozenset[str]) -> bool:
        """Answer these classes no more, and no others; return whether this is new. Any thread may call it."""
        if classes == self.withdrawn:
            return False
        self._decide = AnswerDecider(self.plan, self.classes, threshold=self._threshold, withdrawn=classes)
        self.withdrawn = classes
        return True

    def covers_remote(self, stage: str, answer: str, *, certified_for: str = "") -> bool:
        """Return whether an answer of a remote stage, by its identity, is shown to be within the limit.

        A stage without an identity is a headway server. Only a certificate for the rows that this release forwards
        covers its answers: they are the hard ones, and what holds for all rows does not hold for them.
        """
        if not stage:
            return certified_for == self._digest
        audit = self.remote_audit
        return audit is not None and audit.stage == stage and answer in audit.covers

    def is_drawn(self, key: str) -> bool:
        """Return whether people check the answers to the rows of a key."""
        return is_drawn_for_audit(key, self._digest, self._share)

    def codes(self, answers: RowAnswers, keys: Sequence[str], sizes: Sequence[int]) -> Ints:
        """Return what the prediction log has of each row, int64 (n,); `traffic.answer_columns` reads it."""
        drawn = [
            is_drawn for key, size in zip(keys, sizes, strict=True) for is_drawn in repeat(self.is_drawn(key), size)
        ]
        return traffic.answer_codes(
            [_BY_NAME[name] for name in answers.answered_by],
            [_REASONS[reason] for reason in answers.reason],
            [is_drawn and name in (MODEL, REMOTE) for is_drawn, name in zip(drawn, answers.answered_by, strict=True)],
        )
