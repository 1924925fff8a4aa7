"""D023: Test rows are copies of training rows, equal in every feature."""

from __future__ import annotations

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.duplicates import copy_findings, count_copies, match_rows, row_hashes, train_and_test_features

CODES = ("D023",)


def plugin(survey: CheckContext) -> list[Finding]:
    """Return at most one finding; above 1 % of the test it is a warning if the outcomes agree too."""
    learned, test = train_and_test_features(survey)
    equal = match_rows(*([row_hashes(dataset.table.select(learned.features))] for dataset in (learned, test)))
    return copy_findings(count_copies(learned, test, equal), code="D023", how="equal in every feature")
