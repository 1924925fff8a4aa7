"""Roles, periods and limits that `headway init` proposes for a table."""

from __future__ import annotations

from datetime import date, datetime, timedelta

import numpy as np
import polars as pl
import pytest

from headway.core.errors import ConfigError, DataError
from headway.data.propose import propose_settings

ROWS = 4000


def table(**columns: object) -> pl.DataFrame:
    """Return 100 days of 40 rows with hours, a carrier, a target that follows the hour, and the given columns."""
    draw = np.random.default_rng(0)
    hour = draw.integers(0, 24, ROWS)
    at = [datetime(2025, 1, 1) + timedelta(days=row // 40, hours=int(hour[row])) for row in range(ROWS)]
    base = {
        "at": at,
        "day": [time.date() for time in at],
        "hour": hour,
        "carrier": draw.choice(["AA", "B6", "UA"], ROWS),
        "late": (draw.random(ROWS) < hour / 30).astype(int),
    }
    return pl.DataFrame({**base, **columns})


def test_time_groups_slices_and_periods_are_found():
    found = propose_settings(table(), "late")
    assert (found.task, found.positive, found.time, found.groups, found.slices) == (
        "binary",
        "",
        "at",
        "day",
        ("carrier",),
    )
    assert found.features == ("hour", "carrier")
    assert found.split == {
        "train": ("2025-01-01", "2025-03-02"),
        "validation": ("2025-03-02", "2025-03-22"),
        "test": ("2025-03-22", "2025-04-11"),
    }


def test_columns_that_follow_the_outcome_are_kept_and_named_with_the_evidence():
    draw = np.random.default_rng(1)
    late = table()["late"].to_numpy()
    gaps = draw.random(ROWS) < 0.05
    leaks = table(
        late=[None if gap else value for value, gap in zip(late.tolist(), gaps, strict=True)],
        delay=late * 20 + draw.normal(0, 5, ROWS),
        landed=[None if gap else float(row % 9) for row, gap in enumerate(gaps)],
    )
    found = propose_settings(leaks, "late")
    assert {name: why[:4] for name, why in found.suspects.items()} == {"delay": "D003", "landed": "D002"}
    assert found.features == ("hour", "carrier", "delay", "landed")
    assert found.outcome == ()

    confirmed = found.confirm(["delay"])
    assert (confirmed.outcome, tuple(confirmed.suspects), confirmed.features) == (
        ("delay",),
        ("landed",),
        ("hour", "carrier", "landed"),
    )
    assert confirmed.roles.known == {"delay": "outcome"}


def test_a_column_that_merely_predicts_well_is_not_suspected():
    late = table()["late"].to_numpy()
    balance = table(balance=late * 3 + np.random.default_rng(1).normal(0, 1.2, ROWS))
    found = propose_settings(balance, "late")
    assert (found.suspects, "balance" in found.features) == ({}, True)


def test_ignored_columns_have_a_reason():
    odd = table(
        ticket=[f"T{row}" for row in range(ROWS)],
        number=range(ROWS),
        plane_id=[row % 7 for row in range(ROWS)],
        country=["US"] * ROWS,
        empty=pl.Series([None] * ROWS, dtype=pl.Float64),
        booked=[date(2024, 1, 1) + timedelta(days=row % 300) for row in range(ROWS)],
        legs=[[1, 2]] * ROWS,
    )
    assert propose_settings(odd, "late").ignored == {
        "ticket": "4,000 different texts in 4,000 rows",
        "number": "another number in each row",
        "plane_id": "its name says that it identifies an entity",
        "country": "one value only",
        "empty": "no value",
        "booked": "a time, which models do not read",
        "legs": "of type List(Int64), which models do not read",
    }


@pytest.mark.parametrize(
    "name", ["sex", "Gender", "race", "applicant_race", "maritalStatus", "marital-status", "age_group"]
)
def test_groups_of_people_are_proposed_as_sensitive_features(name):
    assert propose_settings(table(**{name: ["a", "b"] * (ROWS // 2)}), "late").sensitive_features == (name,)


@pytest.mark.parametrize(("name", "values"), [("sextant", ["a", "b"]), ("race_time", [1.5, 2.5]), ("age", range(80))])
def test_other_columns_are_not_sensitive(name, values):
    found = propose_settings(table(**{name: [*values] * (ROWS // len(values))}), "late")
    assert found.sensitive_features == ()


def test_the_day_of_a_time_is_the_group_if_no_column_holds_the_days():
    found = propose_settings(table().drop("day"), "late")
    assert (found.time, found.groups) == ("at", "at.day")


def test_rows_are_grouped_by_customer_without_a_date():
    by_customer = table(customer_id=[row % 200 for row in range(ROWS)]).drop("at", "day")
    found = propose_settings(by_customer, "late")
    assert (found.time, found.groups, found.split) == ("", "customer_id", {})


def test_groups_of_which_one_holds_half_of_the_rows_are_refused_for_the_day():
    countries = ["UK" if row % 100 < 54 else f"C{row % 37}" for row in range(ROWS)]
    found = propose_settings(table(customer_country=countries).drop("day"), "late")
    assert found.groups == "at.day" and "customer_country" in found.features
    assert found.reasons["groups"].startswith("100 groups, the largest with 1.0% of the rows, worth 100 of equal size")
    assert "not 'customer_country': 38 groups, the largest with 54.0% of the rows, worth 3.4" in found.reasons["groups"]
    undated = propose_settings(table(customer_country=countries).drop("day", "at"), "late")
    assert (undated.groups, undated.reasons["groups"].startswith("not 'customer_country'")) == ("", True)


@pytest.mark.parametrize("name", ["customerID", "patient.id", "nr", "member no"])
def test_ids_that_repeat_are_groups_by_their_name_or_by_what_they_determine(name):
    draw = np.random.default_rng(0)
    person = np.repeat(np.arange(400), 10)
    columns = {
        name: 10_000 + 7 * person,
        "born": draw.integers(1950, 1999, 400)[person],
        "school_years": draw.integers(6, 18, 400)[person],
        "wage": draw.normal(10, 2, ROWS),
    }
    found = propose_settings(table(**columns).drop("at", "day"), "late")
    assert (found.groups, name in found.features) == (name, False)
    assert found.reasons["groups"] == "400 groups, the largest with 0.2% of the rows, worth 400 of equal size"


def test_numbers_that_repeat_are_not_ids():
    draw = np.random.default_rng(5)
    age, place = draw.integers(0, 90, ROWS), draw.integers(0, 300, ROWS)
    columns = {"age": age, "age_squared": age**2, "place": place, "far": place // 2, "code": [f"{n} m" for n in age]}
    assert propose_settings(table(**columns).drop("at", "day"), "late").groups == ""


def test_many_integers_in_few_rows_are_numbers():
    """As scores from 0 to 50 in 167 rows, which were taken for 51 classes."""
    draw = np.random.default_rng(0)
    scores = [*range(51), *draw.integers(0, 51, 116).tolist()]
    found = propose_settings(pl.DataFrame({"hour": draw.integers(0, 24, 167), "score": scores}), "score")
    assert (found.task, found.n_classes) == ("regression", 0)
    assert found.reasons["task"].startswith("51 values in 167 rows, the rarest in ")


def test_a_time_column_with_missing_values_is_not_used():
    gaps = table(at=[None, *table()["at"].to_list()[1:]])
    assert propose_settings(gaps, "late").time == "day"


@pytest.mark.slow
@pytest.mark.parametrize(
    ("values", "task", "positive", "classes"),
    [
        ([0, 1, 1, 0], "binary", "", 2),
        ([True, False, True, None], "binary", "", 2),
        (["no", "yes", "no", "no"], "binary", "yes", 2),
        ([1, 2, 1, 1], "binary", "2", 2),
        ([0, 1, 2, 0], "multiclass", "", 3),
        (["Yes", "No", "Yes", "Yes"], "binary", "Yes", 2),
        ([1, 2, 3, 1], "multiclass", "", 3),
        ([1.0, 2.0, 3.0, 1.0], "multiclass", "", 3),
        ([5, 6, 8, 7], "multiclass", "", 4),
        ([*range(20)] * 2, "multiclass", "", 20),
        ([2, 3, 4, 6, 7, 9, 10, 12, 13, 14, 16], "multiclass", "", 11),
        ([*range(80)] * 2, "multiclass", "", 80),
        ([f"intent {code}" for code in range(160)], "multiclass", "", 160),
        ([1.5, 2.5, 3.5, 0.5], "regression", "", 0),
        ([*range(3, 43)], "regression", "", 0),
        ([0] * 200 + [1] * 100 + [*range(2, 22)] * 5, "regression", "", 0),
    ],
)
def test_the_task_follows_from_the_values_of_the_target(values, task, positive, classes):
    found = propose_settings(pl.DataFrame({"hour": [1, 2] * (len(values) * 20), "late": values * 40}), "late")
    assert (found.task, found.positive, found.n_classes) == (task, positive, classes)


def test_a_target_of_three_strings_has_its_classes_in_order():
    found = propose_settings(table(late=["b", "c", "a", "a"] * (ROWS // 4)), "late")
    assert (found.task, found.classes, found.n_classes) == ("multiclass", ("a", "b", "c"), 3)


@pytest.mark.parametrize(
    ("values", "classes"),
    [([3, 1, 2, 10], ("1", "2", "3", "10")), ([0, 1, 2, 3], ()), ([1.0, 2.0, 3.0, 1.0], ("1", "2", "3"))],
)
def test_integers_that_are_not_numbered_from_0_are_named_as_classes(values, classes):
    assert propose_settings(table(late=values * (ROWS // 4)), "late").classes == classes


@pytest.mark.parametrize(
    ("values", "message"),
    [
        ([1] * ROWS, "'late' has 1 values"),
        ([f"text {row}" for row in range(ROWS)], "4,000 different strings\n  try: another"),
    ],
)
def test_a_target_that_cannot_be_predicted_is_refused(values, message):
    with pytest.raises(DataError, match=message):
        propose_settings(table(late=values), "late")


@pytest.mark.parametrize(("target", "message"), [("", "no target is given"), ("lat", "no column 'lat' to predict")])
def test_an_absent_target_is_an_error_that_lists_the_columns(target, message):
    with pytest.raises(
        ConfigError, match=f"{message}\n  at: columns: at, day, hour, carrier, late\n  try: --target COLUMN"
    ):
        propose_settings(table(), target)


def messages() -> pl.DataFrame:
    """Return 40 messages of two intents, with short and with repeated strings."""
    return pl.DataFrame(
        {
            "message": [f"where is my parcel number {row}" for row in range(40)],
            "name": [f"Ann Smith-{row}" for row in range(40)],
            "answer": ["we are sorry to hear that", "your money is on its way"] * 20,
            "client_note": [f"this client called again on day {row}" for row in range(40)],
            "amount": range(40),
            "intent": ["delivery", "refund", "refund", "delivery"] * 10,
        }
    )


def test_mostly_different_strings_of_several_words_are_texts_and_shorter_ones_are_ignored():
    found = propose_settings(messages(), "intent")
    assert (found.text, found.is_unspaced) == (("message", "client_note"), False)
    assert found.features[:2] == ("message", "client_note")
    assert (found.categories, found.slices, list(found.ignored)) == (("answer",), ("answer",), ["name", "amount"])
    assert found.confirm(["message"]).text == ("client_note",)


def test_texts_of_a_script_without_spaces_are_found():
    table = messages().with_columns(message=pl.Series([f"我的包裹{row}在哪里请问" for row in range(40)]))
    found = propose_settings(table.drop("client_note"), "intent")
    assert (found.text, found.is_unspaced) == (("message",), True)


def test_named_texts_are_the_only_ones():
    found = propose_settings(messages(), "intent", text=["name"])
    assert (found.text, "message" in found.ignored, found.roles.text) == (("name",), True, ("name",))


@pytest.mark.parametrize(
    ("name", "error", "what", "hint"),
    [
        ("mesage", ConfigError, "no column 'mesage' of texts", "--text message"),
        ("xyz", ConfigError, "no column 'xyz' of texts", "--text message --text name"),
        ("intent", ConfigError, "'intent' is the target", "--text message"),
        ("amount", DataError, "the column of texts 'amount' is Int64, such as 0", "--text message"),
    ],
)
def test_a_column_that_cannot_be_a_text_is_named_with_those_that_can(name, error, what, hint):
    with pytest.raises(error, match=what) as caught:
        propose_settings(messages(), "intent", text=[name])
    assert caught.value.hint.startswith(hint)
    with pytest.raises(ConfigError) as caught:
        propose_settings(messages().select("amount", "intent"), "intent", text=["xyz"])
    assert caught.value.hint.startswith("leave out --text")


def test_strings_with_separators_are_sets_of_labels():
    draw = np.random.default_rng(0)
    sets = ["|".join(name for name in ("c", "a", "b") if draw.random() < 0.5) or "|" for _ in range(200)]
    proposal = propose_settings(pl.DataFrame({"x": draw.normal(size=200), "tags": sets}), "tags")
    assert (proposal.task, proposal.classes, proposal.n_classes) == ("multilabel", ("a", "b", "c"), 3)
    assert (
        propose_settings(pl.DataFrame({"x": draw.normal(size=200), "kind": ["a|b", "c", "d", "e"] * 50}), "kind").task
        == "multiclass"
    )
