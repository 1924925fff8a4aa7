from __future__ import annotations

import tomllib

import polars as pl
import pytest
from tests.data.tables import small, with_column

from headway.core.errors import ConfigError, DataError
from headway.data.provenance.fingerprint import canonical_column
from headway.data.roles import apply_roles, check_roles, known_line, parse_roles
from headway.data.settings.data import DataSection


def prepared(table: pl.DataFrame, **data: object) -> pl.DataFrame:
    return apply_roles(table, DataSection(**{"target": "late", **data}))


def answers(*values: object) -> pl.DataFrame:
    return pl.DataFrame({"late": values}, strict=False)


def test_a_project_without_a_target_is_an_error():
    with pytest.raises(ConfigError, match="no target"):
        parse_roles(DataSection())


def test_an_unknown_time_of_a_column_is_an_error():
    check_roles(small().table, small(known={"hour": "at", "carrier": "outcome"}).roles, name="small")
    with pytest.raises(DataError, match="'outcom' is") as caught:
        check_roles(small().table, small(known={"hour": "outcom"}).roles, name="small")
    assert caught.value.hint.startswith('hour = "outcome"')


def test_a_name_with_a_nul_character_is_an_error_and_not_the_end_of_the_process():
    table = small().table.with_columns(pl.lit(1).alias("a\0b"))
    with pytest.raises(DataError, match=r"column 'a\\x00b' has a NUL character"):
        check_roles(table, small().roles, name="small")
    assert canonical_column(table["a\0b"]).name == "a\0b"


def test_an_unknown_task_is_an_error_with_the_nearest():
    with pytest.raises(ConfigError, match="no task 'binray'") as caught:
        parse_roles(DataSection(target="late", task="binray"))
    assert caught.value.hint == 'task = "binary"'


@pytest.mark.parametrize(
    ("values", "positive"), [(("no", "yes", None), "yes"), ((1, 2, None), "2"), ((False, True, None), "true")]
)
def test_the_positive_class_becomes_1_others_0_and_missing_stays_missing(values, positive):
    assert prepared(answers(*values), positive=positive)["late"].to_list() == [0, 1, None]


@pytest.mark.parametrize("values", [("no", "yes"), (1, 2)])
def test_a_positive_class_that_never_occurs_is_an_error_with_the_values(values):
    with pytest.raises(
        DataError, match=r"target 'late' is never 'yess'\n  at: values: (no, yes|yes, no|1.0, 2.0|2.0, 1.0)"
    ):
        prepared(answers(*values), positive="yess")


def test_a_string_target_is_an_error_with_the_positive_class_as_hint():
    with pytest.raises(DataError) as caught:
        prepared(answers("no", "no", "yes"))
    assert str(caught.value) == (
        "target 'late' is String, and task 'binary' needs a number\n"
        "  at: values: no, yes\n"
        '  try: [data] positive = "yes"'
    )


@pytest.mark.parametrize(
    ("task", "hint"),
    [("regression", 'numbers, or task = "multiclass"'), ("multiclass", '[data] classes = ["a", "b", "c"]')],
)
def test_a_string_target_of_other_tasks_is_an_error_with_a_hint(task, hint):
    with pytest.raises(DataError, match=f"task '{task}' needs a number") as caught:
        prepared(answers("c", "b", "a"), task=task)
    assert caught.value.hint == hint


@pytest.mark.parametrize("values", [("c", "a", None, "b"), (30, 10, None, 20), (30.0, 10.0, None, 20.0)])
def test_a_class_becomes_its_index_among_the_declared_ones(values):
    classes = ("a", "b", "c") if "a" in values else ("10", "20", "30")
    found = prepared(answers(*values), task="multiclass", classes=classes)
    assert found["late"].to_list() == [2.0, 0.0, None, 1.0]


def test_a_class_that_is_not_declared_is_named_with_its_row_and_the_nearest():
    with pytest.raises(DataError, match="holds 'setosaa', which is not among its classes") as caught:
        prepared(answers("setosa", "setosaa"), task="multiclass", classes=("setosa", "virginica"))
    assert "row 2" in caught.value.where and "'setosa' in place of it" in caught.value.hint


def test_a_binary_target_has_no_list_of_classes():
    with pytest.raises(ConfigError, match="a binary target has no list of classes"):
        prepared(answers(1, 0), classes=("a", "b"))


def test_a_regression_has_no_positive_class():
    with pytest.raises(ConfigError, match="a regression target has no positive class"):
        prepared(answers(1.0, 2.0), task="regression", positive="2")


def test_a_nan_in_the_target_is_a_row_without_an_outcome():
    assert prepared(answers(0.0, float("nan"), 1.0))["late"].to_list() == [0.0, None, 1.0]


@pytest.mark.parametrize(
    ("values", "message"),
    [
        (
            ["2013-01-01"] * 7 + ["yesterday"] + ["2013-01-01"] * 392,
            "not a time: 'yesterday' in row 8\n  at: column at, String",
        ),
        ([20130101] * 400, "not a time: 20130101 in row 1\n  at: column at, Int64"),
        (["01/02/2013"] * 400, "not a time: '01/02/2013' in row 1"),
    ],
)
def test_an_invalid_time_is_an_error_with_the_value_and_the_row(values, message):
    with pytest.raises(DataError) as caught:
        prepared(with_column(small(), at=values).table, time="at")
    assert message in str(caught.value)


@pytest.mark.parametrize(("role", "column"), [("time", "at"), ("groups", "day")])
def test_rows_without_a_time_or_a_group_are_counted_and_the_first_is_named(role, column):
    table = small().table.with_columns(
        pl.when(pl.int_range(pl.len()) < 5).then(None).otherwise(pl.col(column)).alias(column)
    )
    with pytest.raises(DataError, match=f"5 of 400 rows have no {role.removesuffix('s')} '{column}'\n  at: row 1"):
        prepared(table, **{role: column})


def test_a_ranking_without_queries_is_an_error_and_a_query_is_a_group():
    with pytest.raises(ConfigError, match="no query is declared for a ranking"):
        parse_roles(DataSection(target="clicks", task="ranking"))
    roles = parse_roles(DataSection(target="clicks", task="ranking", query_id="query"))
    assert (roles.query_id, roles.groups) == ("query", "query") and "query" in roles.not_features


def test_classes_of_an_embedding_may_be_strings():
    table = pl.DataFrame({"kind": ["b", "a", None, "b"]})
    found = apply_roles(table, DataSection(target="kind", task="embedding"))
    assert found["kind"].to_list() == [1.0, 0.0, None, 1.0]


@pytest.mark.parametrize("name", ["hour", "mean area", 'said "so"', "größe", "a.b", ""])
def test_the_line_is_toml_for_any_name(name):
    assert tomllib.loads(known_line(name, "request").replace("] ", "]\n", 1)) == {"data": {"known": {name: "request"}}}


def test_a_text_is_declared_once_and_as_nothing_else():
    section = DataSection(target="late", text=("message", "note"), groups="message")
    with pytest.raises(ConfigError, match="'message' is declared as a text and as groups") as caught:
        parse_roles(section)
    assert caught.value.hint == 'text = ["note"], or leave it out of groups'
    with pytest.raises(ConfigError, match="as a text and as slices"):
        parse_roles(DataSection(target="late", text=("message",), slices=("message",)))
    assert parse_roles(DataSection(target="late", text=("message",))).text == ("message",)


def test_a_text_that_is_not_a_string_is_an_error_that_names_the_columns_of_strings():
    with pytest.raises(DataError, match="the column of texts 'hour' is Int64") as caught:
        check_roles(small().table, small(text=("hour",)).roles, name="small")
    assert caught.value.hint == 'text = ["carrier"]'
    with pytest.raises(DataError, match="the column of texts 'hour' has no value") as caught:
        table = small().table.drop("carrier").with_columns(hour=pl.lit(None))
        check_roles(table, small(text=("hour",)).roles, name="small")
    assert caught.value.hint == "leave out [data] text"
    with pytest.raises(DataError, match="columns that the table lacks: carier"):
        check_roles(small().table, small(text=("carier",)).roles, name="small")
