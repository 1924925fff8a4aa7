"""D003: A single column predicts the target too well."""

from __future__ import annotations

from headway.core.dataset import Dataset
from headway.core.evidence import Finding
from headway.data.context import CheckContext
from headway.data.leakage.single_column import single_column_skills
from headway.data.roles import known_line

CODES = ("D003",)
LIMIT = 0.85
EXPLAINED = {"binary": 0.6, "multiclass": 0.97, "regression": 0.97, "ranking": 0.97}


def plugin(survey: CheckContext) -> list[Finding]:
    """Return a finding per feature with a ROC AUC above 0.85 in either direction, or that explains most of the target.

    Explained is the share of the target's variance between the values of the column, corrected for their number.
    It covers strings and unordered numbers. The limit is 0.6 for two classes, and 0.97 for more classes or for
    the ranks of a number: petal width explains 0.93 of the iris species.
    """
    dataset = survey.dataset
    limit = EXPLAINED.get(dataset.roles.task, 1.0)
    found: list[Finding] = []
    for name, skill in single_column_skills(dataset, dataset.features).items():
        if skill.auc is not None and skill.auc > LIMIT:
            found.append(_finding(dataset, name, f"reaches a ROC AUC of {skill.auc:.3f}", (skill.auc, LIMIT)))
        elif skill.explained is not None and skill.explained > limit:
            share = f"explains {skill.explained:.1%} of '{dataset.roles.target}'"
            found.append(_finding(dataset, name, share, (skill.explained, limit)))
    return found


def _finding(dataset: Dataset, column: str, does: str, measured: tuple[float, float]) -> Finding:
    rows = len(dataset.table) - dataset.table[dataset.roles.target].null_count()
    return Finding(
        code="D003",
        severity="warn" if column in dataset.roles.known else "stop",
        message=f"'{column}' alone {does} on {rows:,} rows: it may be the outcome in disguise",
        where=f"column {column}",
        measured=measured[0],
        limit=measured[1],
        hint=f'{known_line(column, "outcome")}, or "request" if it is honest (then this is a warning)',
    )
