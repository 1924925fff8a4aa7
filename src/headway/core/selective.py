"""Selective answering: which rows a model answers alone, with its certificate, and who answers the others."""

from __future__ import annotations

import math
from typing import ClassVar, Literal, get_args

from headway.core.evidence import Measurement
from headway.core.record import Record, StoredRecord

ConfidenceRule = Literal["probability", "margin", "entropy", "odds"]
"""What the confidence in an answer is computed from.

The probability of the answer, its distance to that of the second class, the entropy of all, or the odds: the
probability of the answer, divided by its sum with that of the second class and ten times that of the rejects.
"""
Abstention = Literal["low_confidence", "unsupported_class", "not_certified", "withdrawn"]
"""Reason for which a model does not answer a row."""
ABSTENTIONS: tuple[str, ...] = get_args(Abstention)


class SelectiveCertificate(Record, frozen=True, kw_only=True, omit_defaults=True):
    """The lowest threshold that is certified, infinite if none is; an infinite one is not written.

    `coverage` is the share of held-out rows with at least this confidence. `risk` is the share of errors among them,
    and its `high` a bound that holds at the level. `groups_needed` is about how many groups, or rows without groups,
    would certify the first threshold that failed; None if none failed, or more data would not help.
    """

    threshold: float = math.inf
    coverage: Measurement
    risk: Measurement
    limit: float
    groups_needed: int | None = None

    @property
    def is_certified(self) -> bool:
        """True if rows may be answered."""
        return math.isfinite(self.threshold)


class AnswerPlan(Record, frozen=True, kw_only=True, omit_defaults=True):
    """Which rows a release answers: those whose confidence reaches the threshold of the class that it would answer.

    A class without a threshold is never answered. `certificate` is that of all answered rows together, and `classes`
    has those of single classes, by name. `reject` is the class of messages that no answer applies to: it is handed on
    with the reason `unsupported_class`. `stages` are asked one after the other for what the model does not answer.
    `forwarded_by` is the digest of a device's release that forwards rows, if any: `certificate` is then of its answers
    and those of this model together, while `classes` are of this model's own.
    """

    rule: ConfidenceRule
    thresholds: dict[str, float]
    certificate: SelectiveCertificate
    classes: dict[str, SelectiveCertificate] = {}
    reject: str = ""
    stages: tuple[str, ...] = ("people",)
    forwarded_by: str = ""


AuditStatus = Literal["holds", "broken", "unknown"]
"""Whether a certificate still holds: not shown to be broken, broken, or not known for want of labels."""


class RemoteAudit(Record, frozen=True, kw_only=True):
    """Labels that people gave to answers of the remote stage drawn for the audit, compared with the limit of a release.

    `stage` is the identity of the model elsewhere, and answers since `since_us` count, at which it was first audited
    after another one. `risk` is the share of wrong answers among the labeled ones, with bounds for any number of
    audits; None without labels. `covers` are the classes whose answers by the remote stage are shown to be within the
    limit; only these count as answered.
    """

    stage: str
    since_us: int = 0
    n_drawn: int = 0
    n_labeled: int = 0
    n_overdue: int = 0
    risk: Measurement | None = None
    covers: tuple[str, ...] = ()


class CertificateAudit(StoredRecord, frozen=True, kw_only=True):
    """Labels that people gave to answers drawn for the audit, compared with the certificate of a release.

    `risk` is the share of wrong answers among the labeled ones, with bounds for any number of audits; None without
    labels. `n_drawn` answers were drawn, and `n_overdue` of them have had their time and no label: they are neither
    right nor wrong. `classes` has the share by class, where there are labels. `withdrawn` are the classes that are not
    answered any more. `rows_to_detect` is about how many labeled answers show that twice the limit is wrong.
    `remote` is the audit of the remote stage, if it has one; it changes nothing of the others.
    """

    version: ClassVar[int] = 1

    name: str
    release: str
    status: AuditStatus
    message: str
    limit: float
    n_drawn: int
    n_labeled: int
    n_overdue: int
    rows_to_detect: int
    risk: Measurement | None = None
    classes: dict[str, Measurement] = {}
    withdrawn: tuple[str, ...] = ()
    at: str = ""
    remote: RemoteAudit | None = None


class CertificateWithdrawal(StoredRecord, frozen=True, kw_only=True):
    """An audit that broke the certificate of a release: for some classes, or for all if `classes` is empty.

    No record takes it back. A release with a new certificate is another release.
    """

    version: ClassVar[int] = 1

    name: str
    release: str
    classes: tuple[str, ...]
    risk: Measurement
    limit: float
    why: str
    at: str
    by: str = "audit"


class RemoteSpend(StoredRecord, frozen=True, kw_only=True):
    """The cost of a call of the remote stage, which machines reserve in a shared state before they make it.

    `number` counts the calls of a day (UTC), and `units` is what they have cost together, in millionths of the
    currency. `by` is drawn at random, so that two records are never one.
    """

    version: ClassVar[int] = 1

    name: str
    day: str
    number: int
    units: int
    by: str
