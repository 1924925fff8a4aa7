"""A file is scored row by row, in order, in every format; an invalid file is an error."""

from __future__ import annotations

import math

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from tests.batch.scoring import (
    CARRIER,
    MIXED,
    answer_plan,
    number_table,
    publish,
    read_table,
    refused_rows,
    score_file,
    scoring_project,
    withdraw,
    write_table,
)
from tests.engines.graphs import DOUBLE, softmax
from tests.engines.made_forests import Shape, made

from headway.core.errors import ConfigError, DataError, HeadwayError, Refused, StoreError
from headway.core.feature_view import FeatureView
from headway.core.variant import Field, Signature
from headway.data.settings.data import DataSection
from headway.engines.compiled.forest import compile_forest
from headway.engines.trees import Trees

pytestmark = pytest.mark.slow

SUFFIXES = (".parquet", ".csv", ".arrow")
MANY = 400_000  # rows: more than a chunk of parquet or Arrow, and more than a block of csv


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".feather"])
def test_every_row_of_a_large_file_is_scored_once_and_in_order(suffix, tmp_path):
    table = number_table(MANY)
    source = write_table(table, tmp_path / f"rows{suffix}")
    receipt = score_file(scoring_project(tmp_path), source, tmp_path / "scores.parquet", "key")
    found = read_table(tmp_path / "scores.parquet")
    assert found.columns == ["row", "key", "probability", "decision"]
    assert found["row"].equals(pl.Series("row", range(MANY))) and found["key"].equals(table["key"])
    assert np.allclose(found["probability"], table.select("a", "b", "c").mean_horizontal(), rtol=0, atol=1e-12)
    assert (receipt.rows, receipt.refused, refused_rows(tmp_path / "scores.parquet")) == (MANY, 0, [])


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_output_is_the_same_in_each_format(suffix, tmp_path):
    settings, source = scoring_project(tmp_path), write_table(number_table(1000), tmp_path / "rows.csv")
    score_file(settings, source, tmp_path / "one.parquet", "key", "a")
    score_file(settings, source, tmp_path / f"other{suffix}", "key", "a")
    other = read_table(tmp_path / f"other{suffix}")
    assert other.cast({"a": pl.String, "decision": pl.Int8}).equals(read_table(tmp_path / "one.parquet"))


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_the_decision_is_taken_at_the_threshold_after_the_calibrator(suffix, tmp_path):
    settings = scoring_project(tmp_path, threshold=2 / 3, shift=math.log(2))
    source = write_table(pl.DataFrame({name: [0.49, 0.5, 0.51] for name in "abc"}), tmp_path / f"rows{suffix}")
    score_file(settings, source, tmp_path / "scores.csv")
    found = read_table(tmp_path / "scores.csv")
    assert found["probability"].to_list() == pytest.approx([0.98 / 1.49, 2 / 3, 1.02 / 1.51])
    assert found["decision"].to_list() == [0, 1, 1]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_file_without_rows_has_an_output_without_rows(suffix, tmp_path):
    source = write_table(number_table(3).clear(), tmp_path / f"rows{suffix}")
    receipt = score_file(scoring_project(tmp_path), source, tmp_path / f"scores{suffix}", "key")
    assert receipt.rows == 0
    assert read_table(tmp_path / f"scores{suffix}").columns == ["row", "key", "probability", "decision"]


def test_several_classes_have_a_probability_each_and_the_likeliest_as_decision(tmp_path):
    signature = Signature(inputs=tuple(Field(name=name) for name in "abc"), classes=("low", "mid", "high"))
    settings = scoring_project(tmp_path, content=softmax(3, DOUBLE), signature=signature, task="multiclass")
    table = number_table(3).with_columns(a=pl.Series([0.5, None, 0.5]))
    score_file(settings, write_table(table, tmp_path / "rows.parquet"), tmp_path / "scores.parquet")
    found = read_table(tmp_path / "scores.parquet")
    assert found.columns == ["row", "probability.low", "probability.mid", "probability.high", "decision"]
    assert np.allclose(found.drop_nulls().select(pl.col("^probability.*$")).sum_horizontal(), 1)
    assert found["decision"].to_list() == ["high", None, "high"]


def test_a_regression_of_several_targets_has_a_prediction_for_each(tmp_path):
    settings = scoring_project(tmp_path, content=softmax(3, DOUBLE), task="regression")
    score_file(settings, write_table(number_table(10), tmp_path / "rows.parquet"), tmp_path / "scores.parquet")
    assert read_table(tmp_path / "scores.parquet").columns == ["row", "prediction.0", "prediction.1", "prediction.2"]


def test_a_regression_is_answered_by_its_prediction(tmp_path):
    settings = scoring_project(tmp_path, task="regression")
    score_file(settings, write_table(number_table(10), tmp_path / "rows.parquet"), tmp_path / "scores.parquet")
    assert read_table(tmp_path / "scores.parquet").columns == ["row", "prediction"]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".feather"])
def test_a_forest_scores_columns_as_it_scores_rows_and_infinities_are_refused(suffix, tmp_path):
    content = compile_forest(made(Shape(width=3, trees=30), seed=1))
    settings = scoring_project(tmp_path, content=content, task="regression")
    cells = np.random.default_rng(2).normal(size=(20_000, 3))
    cells[::7, 1] = np.nan
    table = pl.DataFrame(cells, schema=list("abc")).fill_nan(None).with_columns(c=pl.col("c").cast(pl.Float32))
    rows = table.with_columns(pl.all().cast(pl.Float64)).fill_null(np.nan).to_numpy()
    infinite = [] if suffix == ".csv" else [3, 9_000, 19_999]
    table = table.with_columns(a=pl.when(pl.int_range(pl.len()).is_in(infinite)).then(-np.inf).otherwise("a"))
    score_file(settings, write_table(table, tmp_path / f"rows{suffix}"), tmp_path / "scores.parquet", "a")
    found = read_table(tmp_path / "scores.parquet")
    expected = Trees(content, {}).predict(np.ascontiguousarray(rows))[:, 0]
    assert found["prediction"].is_null().arg_true().to_list() == infinite
    assert np.array_equal(np.delete(found["prediction"].to_numpy(), infinite), np.delete(expected, infinite))
    assert [(row, name) for row, name, *_ in refused_rows(tmp_path / "scores.parquet")] == [(n, "a") for n in infinite]


@pytest.mark.parametrize("suffix", SUFFIXES)
def test_a_row_without_a_finite_prediction_is_null_and_listed(suffix, tmp_path):
    table = pl.DataFrame({name: [1.0, None, 2.0] for name in "abc"})
    receipt = score_file(
        scoring_project(tmp_path), write_table(table, tmp_path / f"rows{suffix}"), tmp_path / f"scores{suffix}"
    )
    found = read_table(tmp_path / f"scores{suffix}")
    assert found["probability"].to_list() == [1.0, None, 2.0] and found["decision"].to_list() == [1, None, 1]
    assert refused_rows(tmp_path / f"scores{suffix}") == [(1, "", "", "the answer is [nan]")]
    assert (receipt.rows, receipt.refused, receipt.columns) == (3, 1, {"(row)": 1})


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".feather"])
@pytest.mark.parametrize(
    ("unseen", "answers", "reasons"),
    [
        ("missing", [0.0, None, None], [(1, "", "", "the answer is [nan]"), (2, "", "", "the answer is [nan]")]),
        ("other", [0.0, 1.5, None], [(2, "", "", "the answer is [nan]")]),
        (
            "refused",
            [0.0, None, None],
            [(1, "carrier", "ZZ", "a category that the model does not know"), (2, "", "", "the answer is [nan]")],
        ),
    ],
)
def test_an_unseen_category_is_handled_as_its_field_specifies(suffix, unseen, answers, reasons, tmp_path):
    carrier = replace(CARRIER, unseen=unseen)
    settings = scoring_project(tmp_path, signature=replace(MIXED, inputs=(MIXED.inputs[0], carrier)), task="regression")
    table = pl.DataFrame({"size": [0.0, 0.0, 0.0], "carrier": ["AA", "ZZ", None]})
    receipt = score_file(settings, write_table(table, tmp_path / f"rows{suffix}"), tmp_path / "scores.parquet")
    assert read_table(tmp_path / "scores.parquet")["prediction"].to_list() == answers
    assert refused_rows(tmp_path / "scores.parquet") == reasons and receipt.refused == len(reasons)


def test_a_class_whose_certificate_was_withdrawn_is_not_answered(tmp_path):
    settings = scoring_project(tmp_path, answers=answer_plan())
    table = pl.DataFrame({"a": [0.9, 0.1, 0.5], "b": [0.9, 0.1, 0.5], "c": [0.9, 0.1, 0.5]})
    source, columns = write_table(table, tmp_path / "rows.parquet"), ("answer", "answered_by", "reason")
    before = score_file(settings, source, tmp_path / "before.parquet")
    withdraw(settings, "1")
    after = score_file(settings, source, tmp_path / "after.parquet")
    assert read_table(tmp_path / "before.parquet").select(columns).rows() == [
        ("1", "model", ""),
        ("0", "model", ""),
        ("", "people", "low_confidence"),
    ]
    assert read_table(tmp_path / "after.parquet").select(columns).rows() == [
        ("", "people", "withdrawn"),
        ("0", "model", ""),
        ("", "people", "withdrawn"),
    ]
    assert (before.terms.withdrawn, after.terms.withdrawn) == ((), ("1",))
    with pytest.raises(StoreError, match="withdrawn is"):
        score_file(settings, source, tmp_path / "before.parquet")


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".feather"])
def test_the_missing_values_of_the_project_apply_to_its_files(suffix, tmp_path):
    carrier = replace(CARRIER, unseen="other")
    settings = scoring_project(tmp_path, signature=replace(MIXED, inputs=(MIXED.inputs[0], carrier)), task="regression")
    settings = settings.having(replace(settings[DataSection], missing=("NA",)))
    table = pl.DataFrame({"size": [0.0, 1.0], "carrier": ["NA", "UA"]})
    score_file(settings, write_table(table, tmp_path / f"rows{suffix}"), tmp_path / "scores.parquet", "carrier")
    assert read_table(tmp_path / "scores.parquet").select("carrier", "prediction").rows() == [("NA", None), ("UA", 1.0)]


@pytest.mark.parametrize("suffix", [*SUFFIXES, ".feather"])
def test_a_missing_column_is_named_with_the_nearest_before_anything_is_written(suffix, tmp_path):
    source = write_table(number_table(3).rename({"b": "bb"}), tmp_path / f"rows{suffix}")
    with pytest.raises(DataError, match="column 'b' is missing from the file") as error:
        score_file(scoring_project(tmp_path), source, tmp_path / "scores.parquet")
    assert error.value.hint == "nearest: bb" and str(source) in error.value.where
    assert not list(tmp_path.glob("scores*"))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow", ".feather"])
@pytest.mark.parametrize(
    ("table", "message"),
    [
        ({"size": ["one"], "carrier": ["AA"]}, "column 'size' is .*str.*, the model reads numbers"),
        ({"size": [1.0], "carrier": [7]}, "column 'carrier' is (i|I)nt64, the model reads strings"),
    ],
)
def test_a_column_of_another_type_is_rejected_before_any_row_is_read(suffix, table, message, tmp_path):
    source = write_table(pl.DataFrame(table), tmp_path / f"rows{suffix}")
    with pytest.raises(DataError, match=f"(?i){message}"):
        score_file(scoring_project(tmp_path, signature=MIXED), source, tmp_path / "scores.parquet")


def test_a_column_of_a_feature_view_is_read_from_the_file_and_required_in_it(tmp_path):
    settings = scoring_project(tmp_path, views=(FeatureView(name="weather", table="weather", columns=("c",)),))
    assert score_file(settings, write_table(number_table(3), tmp_path / "whole.csv"), tmp_path / "scores.csv").rows == 3
    with pytest.raises(DataError, match="column 'c' is missing from the file") as error:
        score_file(settings, write_table(number_table(3).drop("c"), tmp_path / "rows.csv"), tmp_path / "others.csv")
    assert "it belongs to view 'weather'" in error.value.hint


@pytest.mark.parametrize(
    ("source", "out", "keep", "error"),
    [
        ("rows.parquet", "scores.txt", [], ConfigError),
        ("rows.xlsx", "scores.csv", [], ConfigError),
        ("none.parquet", "scores.csv", [], DataError),
        ("rows.parquet", "scores.csv", ["no such"], DataError),
        ("rows.parquet", "scores.csv", ["row"], DataError),
        ("rows.parquet", "rows.parquet", [], StoreError),
        ("rows.parquet", "rows.csv", [], StoreError),
    ],
)
def test_invalid_arguments_are_errors_with_a_hint(source, out, keep, error, tmp_path):
    settings = scoring_project(tmp_path)
    write_table(number_table(3).with_columns(row=1), tmp_path / "rows.parquet")
    (tmp_path / "rows.csv").write_text("a file that is there\n")
    with pytest.raises(error) as error_info:
        score_file(settings, tmp_path / source, tmp_path / out, *keep)
    assert isinstance(error_info.value, HeadwayError) and error_info.value.hint
    assert (tmp_path / "rows.csv").read_text() == "a file that is there\n"


def test_a_file_of_another_format_than_its_suffix_is_rejected(tmp_path):
    settings = scoring_project(tmp_path)
    for suffix in (".parquet", ".arrow"):
        (tmp_path / f"rows{suffix}").write_bytes(b"a,b,c\n1,2,3\n")
        with pytest.raises(DataError, match="cannot be read"):
            score_file(settings, tmp_path / f"rows{suffix}", tmp_path / "scores.csv")


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_a_damaged_file_is_rejected_and_has_no_output(suffix, tmp_path):
    source = write_table(number_table(MANY), tmp_path / f"rows{suffix}")
    content = source.read_bytes()
    if suffix == ".parquet":
        source.write_bytes(content[: len(content) // 2] + bytes(100_000) + content[len(content) // 2 + 100_000 :])
    else:
        source.write_bytes(content[:-100_000])
    with pytest.raises(DataError, match="cannot be read"):
        score_file(scoring_project(tmp_path), source, tmp_path / "scores.csv")
    assert not (tmp_path / "scores.csv").exists()


def test_an_unreadable_file_is_rejected(tmp_path):
    (tmp_path / "rows.csv").symlink_to("/proc/self/mem")
    with pytest.raises(DataError, match="cannot be read"):
        score_file(scoring_project(tmp_path), tmp_path / "rows.csv", tmp_path / "scores.csv")


def test_empty_lines_at_the_end_of_a_file_are_ignored(tmp_path, monkeypatch):
    monkeypatch.setattr("headway.batch.formats.csv._BLOCK_BYTES", 1 << 10)  # four blocks of them, and a part of one
    (tmp_path / "rows.csv").write_bytes(b"a,b,c\n1,2,3\n" + b"\n" * (1 << 12))
    assert score_file(scoring_project(tmp_path), tmp_path / "rows.csv", tmp_path / "scores.csv").rows == 1


def test_a_release_that_does_not_verify_scores_nothing(tmp_path):
    settings = scoring_project(tmp_path)
    (model,) = settings.state.glob("releases/*/*/model.echo")
    model.write_bytes(b"ECHO")
    with pytest.raises(Refused, match=r"model\.echo"):
        score_file(settings, write_table(number_table(3), tmp_path / "rows.csv"), tmp_path / "scores.csv")
    assert not list(tmp_path.glob("scores*"))


@pytest.mark.parametrize("suffix", [".parquet", ".arrow"])
def test_the_output_names_the_release_in_its_metadata(suffix, tmp_path):
    settings = scoring_project(tmp_path)
    digest = publish(settings, threshold=0.25)
    out = tmp_path / f"scores{suffix}"
    score_file(settings, write_table(number_table(3), tmp_path / "rows.csv"), out)
    assert digest.encode() in out.read_bytes() and b"headway.threshold" in out.read_bytes()
    if suffix == ".parquet":
        assert pl.read_parquet_metadata(out)["headway.registry"] == digest
