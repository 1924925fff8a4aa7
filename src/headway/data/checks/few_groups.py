"""D006: too few groups for an interval that can be believed."""

from __future__ import annotations

from headway.core.dataset import Dataset
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding

LIMIT = 20


def plugin(dataset: Dataset) -> list[Finding]:
    """A finding where there are fewer than 20 groups, or where every row is a group of its own."""
    column = dataset.roles.groups
    if not column:
        raise NotApplicable("no groups are declared: every row counts as independent", mend='[data] groups = "COLUMN"')
    count = dataset.table[column].n_unique()
    if count >= LIMIT:
        return []
    return [
        Finding(
            code="D006",
            severity="undecided",
            says=f"{count} groups in '{column}': no method gives an honest interval below {LIMIT}",
            where=f"column {column}",
            measured=float(count),
            limit=float(LIMIT),
            mend="collect more groups, or choose a finer column under [data] groups",
        )
    ]
