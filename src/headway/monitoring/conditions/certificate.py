"""The certificate of answers is broken."""

from __future__ import annotations

from headway.core.selective import CertificateAudit
from headway.monitoring.condition import AlertCondition, ConditionState, Facts
from headway.monitoring.feature_status import last_of_release
from headway.monitoring.settings.alert import AlertRule


def _judge(facts: Facts, _: AlertRule) -> ConditionState | None:
    """Return whether the certificate of the live release is withdrawn; None if no audit could judge it."""
    audit = last_of_release(facts.project, CertificateAudit, facts.release)
    if audit is None or audit.status == "unknown":
        return None
    return ConditionState(
        is_firing=audit.status == "broken",
        summary=audit.message,
        subject=" ".join([facts.release, *audit.withdrawn]) if audit.withdrawn else "",
        release=facts.release,
    )


plugin = AlertCondition(title="A certificate of answers is broken", judge=_judge, order=130)
