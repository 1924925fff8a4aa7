"""Exit codes of results: 0 pass, 1 fail, 3 undecided."""

from __future__ import annotations

from collections.abc import Sequence

from headway.cli.main import FAIL, PASS, UNDECIDED
from headway.core.evidence import Finding
from headway.core.monitoring import MonitoringReport, MonitoringStatus
from headway.core.verdict import Answer

__all__ = ["FAIL", "OF_ANSWER", "PASS", "UNDECIDED", "of_findings", "of_watches"]

OF_ANSWER: dict[Answer, int] = {"pass": PASS, "fail": FAIL, "undecided": UNDECIDED}

OF_STATUS: dict[MonitoringStatus, int] = {"healthy": PASS, "drifted": PASS, "degraded": FAIL, "unknown": UNDECIDED}


def of_watches(reports: Sequence[MonitoringReport]) -> int:
    """Return the exit code of the last complete window; 3 if there is none yet."""
    complete = [report for report in reports if report.is_complete]
    return OF_STATUS[complete[-1].status] if complete else UNDECIDED


def of_findings(findings: Sequence[Finding]) -> int:
    """Return 1 if a finding has severity stop, 3 if one is undecided, else 0."""
    severities = {finding.severity for finding in findings}
    if "stop" in severities:
        return FAIL
    return UNDECIDED if "undecided" in severities else PASS
