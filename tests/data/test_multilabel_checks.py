"""Checks of a table whose rows have several labels: each label is judged, or the check says why not."""

from __future__ import annotations

from datetime import datetime, timedelta

import numpy as np
import polars as pl
import pytest
from tests.data.tables import split_context

from headway.core.dataset import Dataset, Roles
from headway.core.errors import NotApplicable
from headway.core.evidence import Finding
from headway.core.label_sets import name_labels
from headway.data.checks.labels import label_disagreement, noisy_labels
from headway.data.checks.leakage import target_leak
from headway.data.checks.population import imbalance
from headway.data.checks.roles import target_values
from headway.data.checks.split import duplicates, fitted_on_test
from headway.data.context import CheckContext

NAMES = ("billing", "delivery", "refund")
SHARES = (0.4, 0.3, 0.02)


def context(
    rows: int = 2_000, *, names: tuple[str, ...] = NAMES, copies: int = 0, **columns: pl.Series
) -> CheckContext:
    """Return rows in order of time, the last of which are copies of the first, with other columns."""
    draw = np.random.default_rng(0)
    has_label = (draw.random((rows, 3)) < SHARES).astype(int)
    number, city = draw.normal(size=rows), draw.choice(["A", "B", "C", "D", "E", "F"], rows)
    for values in (has_label, number, city) if copies else ():
        values[-copies:] = values[:copies]
    table = pl.DataFrame(
        {
            "at": [datetime(2025, 1, 1) + timedelta(hours=row) for row in range(rows)],
            "x": number,
            "city": city,
            "subjects": name_labels(has_label, NAMES),
        }
    ).with_columns(**columns)
    roles = Roles(target="subjects", task="multilabel", classes=names, time="at", ignore=("at",))
    return split_context(Dataset(name="tickets", table=table, roles=roles))


def has(label: str, made: CheckContext) -> pl.Series:
    return made.dataset.table["subjects"].str.split("|").list.contains(label)


def only(findings: list[Finding]) -> Finding:
    (found,) = findings
    return found


def test_a_column_that_gives_away_one_label_is_found():
    leak = has("refund", context()).cast(pl.Int8)
    found = only(target_leak.plugin(context(paid_back=leak)))
    assert (found.code, found.severity, found.where) == ("D003", "stop", "column paid_back")
    assert target_leak.plugin(context()) == []


def test_labels_that_no_row_has_are_named():
    found = only(target_values.plugin(context(names=(*NAMES, "praise"))))
    assert found.message == "no row of 'subjects' has 1 of 4 labels: praise"
    assert target_values.plugin(context()) == []


def test_labels_with_few_rows_to_judge_by_are_named_with_their_number():
    found = only(imbalance.plugin(context()))
    assert found.severity == "warn" and "refund (" in found.message and "billing" not in found.message
    assert imbalance.plugin(context(names=NAMES[:2], subjects=pl.Series(["billing|delivery", "|"] * 1_000))) == []


def test_copied_rows_are_compared_by_their_sets_of_labels():
    found = only(duplicates.plugin(context(copies=40)))
    assert found.severity == "warn" and "40 of 400" in found.message


def test_a_column_that_holds_the_mean_of_a_label_by_city_is_found():
    made = context()
    table = made.dataset.table.with_columns(of=has("delivery", made).cast(pl.Float64))
    mean = table.select(pl.col("of").mean().over("city"))["of"]
    found = fitted_on_test.plugin(context(city_rate=mean))
    assert [one.where for one in found if "encoded" in one.message] == ["column city_rate"]


def test_equal_rows_with_other_labels_contradict_each_other():
    made = context(x=pl.Series(np.zeros(2_000)))
    assert only(label_disagreement.plugin(made)).code == "D036"


def test_wrong_labels_are_not_estimated_and_the_reason_is_named():
    with pytest.raises(NotApplicable, match="rows have several labels here"):
        noisy_labels.plugin(context())


@pytest.mark.parametrize(
    ("labels", "reason"),
    [
        (["|".join(f"l{number}" for number in range(200)), "|"] * 1_000, "more than"),
        (["billing|delivery"] * 2_000, "no label differs between rows"),
    ],
)
def test_skill_is_not_judged_for_too_many_labels_or_none_that_differs(labels, reason):
    with pytest.raises(NotApplicable, match=reason):
        target_leak.plugin(context(subjects=pl.Series(labels)))
