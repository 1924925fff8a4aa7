from __future__ import annotations

import polars
import pytest

from headway.core.dataset import Dataset, Roles, SampledRows


def test_roles_ignored_columns_and_outcomes_are_not_features() -> None:
    known = {"air_time": "outcome", "temp": "request", "wind": "observed_at"}
    roles = Roles(target="late", time="departs_at", groups="date", sample_weight="w", ignore=("id",), known=known)
    assert roles.not_features == {"late", "departs_at", "date", "w", "id", "air_time"}


def test_a_role_that_is_not_given_takes_no_column_away() -> None:
    assert Roles(target="late").not_features == {"late"}


def test_slices_and_people_stay_features() -> None:
    assert not {"carrier", "sex"} & Roles(target="late", slices=("carrier",), sensitive_features=("sex",)).not_features


def test_features_are_the_columns_without_another_role_in_order() -> None:
    table = polars.DataFrame({"b": [1], "late": [0], "a": [2]})
    assert Dataset(name="d", table=table, roles=Roles(target="late")).features == ["b", "a"]


def test_texts_are_features_and_only_those_that_are_declared() -> None:
    table = polars.DataFrame({"message": ["a"], "note": ["b"], "late": [0], "reply": ["c"]})
    roles = Roles(target="late", text=("message", "reply"), known={"reply": "outcome"})
    dataset = Dataset(name="d", table=table, roles=roles)
    assert (dataset.texts, dataset.tabular_features) == (["message"], ["note"])


@pytest.mark.parametrize(
    ("sample", "how"),
    [
        (SampledRows(n_rows=9_000, n_sampled=90, drawn="rows"), "sampled at random"),
        (SampledRows(n_rows=9_000, n_sampled=90, drawn="queries"), "sampled: whole queries at random"),
        (
            SampledRows(
                n_rows=9_000, n_sampled=90, drawn="groups", n_groups=100, n_groups_sampled=10, n_groups_exact=False
            ),
            "sampled: 10 of about 100 groups, each whole",
        ),
    ],
)
def test_a_sample_says_which_rows_were_counted_and_which_sampled(sample: SampledRows, how: str) -> None:
    assert str(sample) == f"of 9,000 rows all were counted and 90 {how}"
