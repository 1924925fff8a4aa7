"""Exit codes: 0 pass, 1 fail, 2 usage or error, 3 undecided."""

from __future__ import annotations

from collections.abc import Sequence

from headway.core.evidence import Finding
from headway.core.verdict import Answer
from headway.core.watch import MonitoringReport, MonitoringStatus

PASS, FAIL, ERROR, UNDECIDED = 0, 1, 2, 3
OF_ANSWER: dict[Answer, int] = {"pass": PASS, "fail": FAIL, "undecided": UNDECIDED}

OF_OUTLOOK: dict[MonitoringStatus, int] = {"healthy": PASS, "drifted": PASS, "degraded": FAIL, "unknown": UNDECIDED}


def of_watches(found: Sequence[MonitoringReport]) -> int:
    """Return the exit code of the last completed window; 3 where there is none yet."""
    over = [watch for watch in found if watch.is_complete]
    return OF_OUTLOOK[over[-1].status] if over else UNDECIDED


def of_findings(findings: Sequence[Finding]) -> int:
    """Return 1 if a finding says stop, 3 if one is undecided, else 0."""
    severities = {finding.severity for finding in findings}
    if "stop" in severities:
        return FAIL
    return UNDECIDED if "undecided" in severities else PASS
