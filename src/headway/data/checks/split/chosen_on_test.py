"""D022: The test is so small that columns selected on it would look good by chance."""

from __future__ import annotations

import math

from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.samples import train_and_test_features

CODES = ("D022",)
LIMIT = 0.1


def plugin(context: CheckContext) -> list[Finding]:
    """Return a note with the largest expected correlation between the target and as many noise columns.

    It is sqrt(2 ln(columns) / n), with n the groups of the test, or its rows without groups. A table does not
    show how its columns were selected; below 0.1 it makes no difference. headway itself selects on the period
    `validation`.
    """
    train, test = train_and_test_features(context)
    groups = test.roles.groups
    count = test.table[groups].n_unique() if groups else len(test.table)
    columns = max(2, len(train.features) + len(train.roles.ignore))
    best = min(1.0, math.sqrt(2 * math.log(columns) / count))
    if best < LIMIT:
        return []
    what = "groups" if groups else "rows"
    return [
        Finding(
            code="D022",
            severity="note",
            message=f"if the {columns} columns were selected on the test, its metrics are optimistic: "
            f"over {count:,} {what} the best of as many noise columns correlates with the target by up to {best:.2f}",
            where="[split] test",
            measured=best,
            limit=LIMIT,
            hint="none if they were not; else select on train and validation, and evaluate on a new test",
        )
    ]
