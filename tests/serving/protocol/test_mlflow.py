"""MLflow's scoring protocol: its four forms of rows, and its response."""

from __future__ import annotations

import json

import numpy as np
import pytest
from running import MIXED, ask, loaded, serving

from headway.serving.http.connection import Request
from headway.serving.http.routes import MlflowInference
from headway.serving.protocol.mlflow import write_mlflow


@pytest.fixture(scope="module")
def alone():
    """Serve one model."""
    with serving(loaded()) as server:
        yield server


def invoke(server, body: object):
    return ask(server, "/invocations", json.dumps(body).encode())


@pytest.mark.parametrize(
    "body",
    [
        {"dataframe_split": {"columns": ["c", "a", "b"], "index": [0, 1], "data": [[6, 1, 2], [3, 3, 3]]}},
        {"dataframe_records": [{"a": 1, "b": 2, "c": 6}, {"c": 3, "b": 3, "a": 3}]},
        {"instances": [{"a": 1, "b": 2, "c": 6}, {"a": 3, "b": 3, "c": 3}]},
        {"instances": [[1, 2, 6], [3, 3, 3]]},
        {"inputs": {"b": [2, 3], "a": [1, 3], "c": [6, 3]}},
        {"inputs": [[1, 2, 6], [3, 3, 3]], "params": {"key": "a-1"}},
    ],
)
def test_rows_of_each_form_are_answered(alone, body):
    answer = invoke(alone, body)
    assert (answer.status, answer.json) == (200, {"predictions": [3.0, 3.0]})


def test_a_column_absent_from_a_record_is_missing_and_a_non_finite_output_is_null(alone):
    body = {"dataframe_records": [{"a": 1, "b": 2, "c": 6}, {"a": 1, "b": 2}]}
    assert invoke(alone, body).json == {"predictions": [3.0, None]}


def test_strings_are_read_like_those_of_an_infer_request():
    with serving(loaded(name="mixed", signature=MIXED)) as server:
        assert invoke(server, {"inputs": {"size": [4], "carrier": ["WN"]}}).json == {"predictions": [3.0]}
        answer = invoke(server, {"instances": [[4, "WN"]]})
        assert answer.status == 400 and "column 'carrier' holds strings" in answer.json["error"]


def test_a_model_with_several_outputs_returns_a_list_per_row():
    assert json.loads(write_mlflow([1.0, 2.0, 3.0, float("nan")], 2)) == {"predictions": [[1.0, 2.0], [3.0, None]]}


@pytest.mark.parametrize(
    ("body", "message"),
    [
        ({}, "the body has no rows"),
        ([], "the body is not an MLflow request"),
        ({"inputs": [[1, 2, 6]], "instances": [[1, 2, 6]]}, "the body has instances and inputs"),
        ({"inputs": [["x", 2, 6]]}, "holds the string 'x'"),
        ({"inputs": []}, "the request has no rows"),
        ({"inputs": {}}, "the columns have [] values"),
        ({"inputs": {"a": [1], "b": [1, 2], "c": [1]}}, "the columns have [1, 2] values"),
        ({"inputs": {"a": [], "b": [], "c": []}}, "no row"),
        ({"inputs": [[1, 2]]}, "has 2 values, its shape [1, 3] needs 3"),
        ({"inputs": [[1, 2, 6], [1]]}, "row 1 has 1 values, expected 3"),
        ({"instances": [[1, 2, 6], {"a": 1}]}, "some rows are lists and some are records"),
        ({"instances": [{}]}, "the request has no columns"),
        ({"dataframe_records": []}, "the request has no rows"),
        ({"dataframe_records": [{"a": 1, "b": 2}]}, "column 'c' is missing"),
        ({"dataframe_records": [{"a": 1, "b": 2, "c": 1, "d": 1}]}, "unknown column 'd'"),
        ({"dataframe_split": {"columns": ["a", "a"], "data": [[1, 1]]}}, "a column occurs twice"),
        ({"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 1]]}}, "row 0 has 2 values, expected 3"),
        ({"dataframe_split": {"columns": ["a", "b", "c"], "data": [[1, 1, [1]]]}}, "the body is not"),
    ],
)
def test_the_error_explains_what_is_wrong(alone, body, message):
    answer = invoke(alone, body)
    assert answer.status == 400 and message in answer.json["error"]


def test_invocations_need_exactly_one_model(server):
    answer = invoke(server, {"inputs": [[1, 2, 6]]})
    assert answer.status == 400 and "served: flights, mixed" in answer.json["error"]


def test_another_release_reads_the_same_request_with_its_own_columns():
    request = Request(None, b"POST", b"/invocations", b'{"inputs": {"size": [4], "carrier": ["WN"]}}')
    call = MlflowInference(request, rows=np.empty((1, 0)), id="", key="", started_ns=0)
    assert call.read_for(loaded(name="mixed", signature=MIXED)).tolist() == [[4.0, 2.0]]
