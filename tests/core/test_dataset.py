from __future__ import annotations

import polars

from headway.core.dataset import Dataset, Roles


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
