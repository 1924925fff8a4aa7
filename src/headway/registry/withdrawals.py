"""What audits say of a release: what it answers no more, and which answers of its remote stage count.

A withdrawal needs no key, since it only makes a model answer less. Nothing gives an answer back except a release with a
new certificate, which is signed.
"""

from __future__ import annotations

from headway.core.contracts import State
from headway.core.record import kind_of, read
from headway.core.selective import AnswerPlan, CertificateAudit, CertificateWithdrawal, RemoteAudit

KIND = kind_of(CertificateWithdrawal)
AUDIT_KIND = kind_of(CertificateAudit)


def withdrawals(state: State, name: str, digest: str) -> list[CertificateWithdrawal]:
    """Return the withdrawals of the certificate of a release, oldest first."""
    found = (read(CertificateWithdrawal, content) for content in state.records(KIND, name=name))
    return [one for one in found if one.release == digest]


def withdrawn_classes(state: State, plan: AnswerPlan, *, name: str, digest: str) -> frozenset[str]:
    """Return the classes that a release (its digest) with a plan answers no more."""
    answered = frozenset(plan.thresholds)
    found = [one.classes for one in withdrawals(state, name, digest)]
    return answered if () in found else answered.intersection(name for names in found for name in names)


def remote_audit(state: State, *, name: str, digest: str) -> RemoteAudit | None:
    """Return the last audit of the remote stage behind a release (its digest), None if there is none."""
    content = state.latest(AUDIT_KIND, name=name)
    audit = read(CertificateAudit, content) if content else None
    return audit.remote if audit and audit.release == digest else None
