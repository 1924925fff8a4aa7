"""D023: rows of the test that are copies of rows learned from, equal in every feature."""

from __future__ import annotations

from headway.core.contracts import CheckContext
from headway.core.evidence import Finding
from headway.data.leakage.duplicates import copy_findings, count_copies, match_rows, row_hashes, train_and_test_features


def plugin(survey: CheckContext) -> list[Finding]:
    """At most one finding; measured is the share of the test, a warning above 1 % if the outcomes agree as well."""
    learned, test = train_and_test_features(survey)
    equal = match_rows(*([row_hashes(each.table.select(learned.features))] for each in (learned, test)))
    return copy_findings(count_copies(learned, test, equal), code="D023", how="equal in every feature")
