"""What a contract found in a table or file, kept as evidence: of which contract, on which bytes, when."""

from __future__ import annotations

from datetime import UTC, datetime

from headway.core.evidence import Evidence
from headway.core.record import digest_of, read
from headway.data.contract.checked import ContractReport
from headway.evaluation.measure import this_machine
from headway.evaluation.statistics.intervals import fact
from headway.registry.project import Project

PERIOD = "contract"
_HOW = "rows that break a rule of the contract"


def keep(project: Project, found: ContractReport) -> Evidence:
    """Keep the evidence: the share of rows that fail, how many rules were asked, and what is told of each.

    Its subject is the digest of the contract file as it stood, its dataset that of the table, or of a file's bytes.
    """
    content = project.config.path(project.config.data.contract).read_bytes()
    share = found.n_failing / found.n_rows if found.n_rows else 0.0
    evidence = Evidence(
        subject=digest_of(content),
        dataset=found.dataset,
        period=PERIOD,
        machine=this_machine(),
        measurements=(
            fact("contract.failing", share, n_rows=found.n_rows, method=_HOW),
            fact("contract.rules", float(found.n_rules), n_rows=found.n_rows, method="count"),
        ),
        findings=found.findings,
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )
    if not _is_kept(project, evidence):
        project.keep(evidence)
    return evidence


def _is_kept(project: Project, evidence: Evidence) -> bool:
    """Whether the last evidence on the same contract and data found the same: a nightly check keeps what is news."""
    subject = evidence.subject.encode()
    kept = (each for each in reversed(project.state.kept("evidence", name=project.name)) if subject in each)
    of_data = (each for content in kept if (each := read(Evidence, content)).dataset == evidence.dataset)
    last = next(of_data, None)
    return last is not None and last.findings == evidence.findings
