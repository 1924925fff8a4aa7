"""A withdrawal holds for the release that it names, and nothing takes it back."""

from __future__ import annotations

from headway.core.evidence import Measurement
from headway.core.record import write
from headway.core.selective import (
    AnswerPlan,
    CertificateAudit,
    CertificateWithdrawal,
    RemoteAudit,
    SelectiveCertificate,
)
from headway.registry.model_registry import ModelRegistry
from headway.registry.withdrawals import AUDIT_KIND, KIND, remote_audit, withdrawals, withdrawn_classes

MEASURED = Measurement(name="answer.audited_risk", value=0.2, low=0.1, high=0.3, method="test", n_rows=40)
PLAN = AnswerPlan(
    rule="probability",
    thresholds={"refund": 0.8, "delivery": 0.9},
    certificate=SelectiveCertificate(threshold=0.8, coverage=MEASURED, risk=MEASURED, limit=0.05),
)
THIS, OTHER = f"sha256:{'1' * 64}", f"sha256:{'2' * 64}"


def _withdraw(registry: ModelRegistry, digest: str, *classes: str) -> None:
    record = CertificateWithdrawal(
        name="flights", release=digest, classes=classes, risk=MEASURED, limit=0.05, why="wrong", at="2026-11-28"
    )
    registry.state.save(KIND, write(record), name="flights")


def _withdrawn(registry: ModelRegistry, digest: str) -> frozenset[str]:
    return withdrawn_classes(registry.state, PLAN, name="flights", digest=digest)


def test_withdrawn_classes_add_up_and_are_those_of_one_release(ours):
    assert _withdrawn(ours, THIS) == frozenset()

    _withdraw(ours, THIS, "refund", "a class of another plan")
    _withdraw(ours, OTHER)

    assert _withdrawn(ours, THIS) == {"refund"}
    assert _withdrawn(ours, OTHER) == {"refund", "delivery"}
    assert [one.classes for one in withdrawals(ours.state, "flights", OTHER)] == [()]
    _withdraw(ours, THIS)
    assert _withdrawn(ours, THIS) == {"refund", "delivery"}


def test_the_audit_of_a_remote_stage_is_that_of_the_last_audit_of_the_release(ours):
    assert remote_audit(ours.state, name="flights", digest=THIS) is None
    for covers in ((), ("refund",)):
        audit = CertificateAudit(
            name="flights",
            release=THIS,
            status="holds",
            message="",
            limit=0.05,
            n_drawn=1,
            n_labeled=1,
            n_overdue=0,
            rows_to_detect=1,
            remote=RemoteAudit(stage="small", covers=covers),
        )
        ours.state.save(AUDIT_KIND, write(audit), name="flights")
    assert remote_audit(ours.state, name="flights", digest=THIS) == RemoteAudit(stage="small", covers=("refund",))
    assert remote_audit(ours.state, name="flights", digest=OTHER) is None
