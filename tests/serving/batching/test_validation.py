"""Validation of requests by a contract: violations are counted, marked or rejected, other requests unaffected."""

from __future__ import annotations

import dataclasses
import json

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from msgspec.structs import replace
from running import MIXED, NUMBERS, ask, body_of, bundle, loaded, release, serving
from tests.serving.manual_loop import RecordingCall, run_batches

from headway.core.release import Bounds, Contract
from headway.core.variant import Field, Signature
from headway.data.contract.discovery import observed_contract
from headway.serving.batching import validation
from headway.serving.batching.validation import InputValidator, Violation
from headway.serving.loading import load_model
from headway.serving.protocol.errors import ContractViolation
from headway.serving.protocol.tensors import UNSEEN_CATEGORY
from headway.serving.telemetry.metrics import Metrics

SEEN = np.array([[0.0, 5.0, np.nan], [10.0, 5.0, 2.0]])
CONTRACT = observed_contract(SEEN, NUMBERS, margin=0.1)
HELD = load_model(bundle(replace(release(), contract=CONTRACT)))


NAN = float("nan")
LOWS, HIGHS = np.array([0.0, -1.0]), np.array([1.0, np.inf])
values = st.sampled_from([-1.0, -0.0, 0.0, 0.5, 1.0, 1.5, NAN, np.inf, -np.inf])


@pytest.mark.kernels
@given(st.lists(st.tuples(values, values), max_size=5))
def test_rows_are_within_bounds_in_c_if_they_are_in_numpy(rows):
    table = np.array(rows, dtype=np.float64).reshape(-1, 2)
    assert validation.within(table, LOWS, HIGHS) == bool(((table >= LOWS) & (table <= HIGHS)).all())


@pytest.mark.kernels
def test_rows_of_another_form_are_left_to_numpy():
    assert validation.within(np.zeros((2, 2)), LOWS, HIGHS)
    for rows in (np.zeros((2, 2))[:, ::-1], np.zeros((2, 2), dtype=np.float32), np.zeros(3), [0.0, 0.0]):
        assert not validation.within(rows, LOWS, HIGHS)
    assert not validation.within(np.zeros((2, 2)), LOWS, HIGHS[:1])
    with pytest.raises(TypeError):
        validation.within(np.zeros((2, 2)), LOWS)


@pytest.mark.parametrize("row", [[-1.0, 5.0, 2.0], [-1.01, 5.0, 2.0], [3.0, NAN, 2.0], [3.0, 5.0, NAN]])
def test_rows_are_validated_alike_without_the_extension(monkeypatch, row):
    found = HELD.validator.find(np.array([row])).tolist()
    monkeypatch.setattr(validation, "within", None)
    assert HELD.validator.find(np.array([row])).tolist() == found


def violations(validator, rows):
    """Return all violations in rows."""
    return validator.describe(rows, validator.find(rows))


def test_a_contract_holds_the_ranges_of_the_columns():
    assert CONTRACT.n_rows == 2 and CONTRACT.margin == 0.1
    assert CONTRACT.columns == (
        Bounds(name="a", lowest=0.0, highest=10.0, may_miss=False),
        Bounds(name="b", lowest=5.0, highest=5.0, may_miss=False),
        Bounds(name="c", lowest=2.0, highest=2.0, missing=0.5),
    )


def test_a_contract_holds_the_seen_categories():
    rows = np.array([[1.0, 2.0], [np.nan, 2.0]])
    size, carrier = observed_contract(rows, MIXED, margin=0.0).columns
    assert (size.lowest, size.may_miss) == (1.0, True)
    assert (carrier.categories, carrier.lowest, carrier.may_miss) == (("WN",), None, False)


def test_a_column_of_missing_values_has_no_range():
    rows = np.full((2, 1), np.nan)
    (column,) = observed_contract(rows, Signature(inputs=(Field(name="a"),)), margin=0.1).columns
    assert column == Bounds(name="a", missing=1.0)
    assert observed_contract(rows[:0], Signature(inputs=(Field(name="a"),)), margin=0.1).columns == (column,)
    validator = InputValidator(Contract(columns=(column,)), Signature(inputs=(Field(name="a"),)))
    assert violations(validator, np.array([[1e300], [np.nan]])) == []


@pytest.mark.parametrize(
    ("row", "message"),
    [
        ([-1.0, 5.0, 2.0], None),
        ([-1.01, 5.0, 2.0], ("a", "low", -1.01, -1.0, 11.0)),
        ([11.01, 5.0, 2.0], ("a", "high", 11.01, -1.0, 11.0)),
        ([3.0, NAN, 2.0], ("b", "missing", None, None, None)),
        ([3.0, 5.0, NAN], None),
    ],
)
def test_a_value_violates_the_contract_beyond_range_and_margin_or_if_it_may_not_be_missing(row, message):
    validator = InputValidator(CONTRACT, NUMBERS)
    found = violations(validator, np.array([[5.0, 5.0, 2.0], row]))
    assert [tuple(violation) for violation in found] == ([(1, *message)] if message else [])


def test_categories_are_unseen_if_the_model_or_the_contract_does_not_know_them():
    other = Field(name="other", datatype="BYTES", categories=("x", "y"), unseen="other")
    signature = Signature(inputs=(*MIXED.inputs, other))
    columns = (Bounds(name="carrier", categories=("AA", "WN")), Bounds(name="other", categories=("x", "y")))
    validator = InputValidator(Contract(columns=columns), signature)
    rows = np.array([[1e9, 0, 0], [NAN, UNSEEN_CATEGORY, 1], [0, NAN, 2], [0, 1, 0]])
    kinds = [(violation.row, violation.column, violation.kind) for violation in violations(validator, rows)]
    assert kinds == [(1, "carrier", "unseen"), (2, "other", "unseen"), (3, "carrier", "unseen")]


def test_a_violation_has_a_message():
    assert str(Violation(2, "a", "low", -2.0, -1.0, 11.0)) == "row 2: column 'a' is -2, outside -1 to 11"
    assert (
        str(Violation(0, "b", "missing", None, None, None)) == "row 0: column 'b' is missing; it never was in training"
    )
    assert (
        str(Violation(0, "b", "unseen", None, None, None))
        == "row 0: column 'b' holds a category that training never saw"
    )


def outside_of(plane):
    """Return the number of values of column a that were counted as too high."""
    return plane.metrics._outside["flights\nhigh\na"]


@pytest.mark.slow
def test_without_space_for_another_column_nothing_is_counted_and_nothing_fails():
    metrics = Metrics()
    for number in range(1_030):
        metrics.outside("flights", f"{number:x}" * 100, "low")
    assert len(metrics._outside) == 1_024


def test_a_rejected_call_gets_row_value_and_range_and_the_others_are_answered():
    calls = [
        RecordingCall([5.0, 5.0, 2.0]),
        RecordingCall([5.0, 5.0, 2.0], [99.0, NAN, 2.0], [99.0, 5.0, 7.0]),
        RecordingCall([2.0, 5.0, 2.0], [8.0, 5.0, 2.0]),
    ]
    plane = run_batches(HELD, *calls, contract="reject")
    assert [call.values for call in calls] == [[4.0], None, [3.0, 5.0]]
    assert type(calls[1].error) is ContractViolation
    error = str(calls[1].error)
    assert error.startswith("outside the contract: row 1: column 'a' is 99, outside -1 to 11; row 1: column 'b' is mis")
    assert error.endswith("; and 1 more")
    assert outside_of(plane) == 2
    assert plane.metrics.of("flights").failed == 1


def test_the_engine_is_not_called_if_every_call_violates_the_contract():
    call = RecordingCall([99.0, 5.0, 2.0])
    run_batches(dataclasses.replace(HELD, engine=None), call, contract="reject")
    assert str(call.error) == "outside the contract: row 0: column 'a' is 99, outside -1 to 11"


@pytest.mark.parametrize(("policy", "marked", "counted"), [("off", 0, 0), ("count", 0, 1), ("mark", 1, 1)])
def test_other_policies_answer_anyway(policy, marked, counted):
    calls = [RecordingCall([5.0, 5.0, 2.0]), RecordingCall([5.0, 5.0, 2.0], [98.0, 5.0, 2.0])]
    plane = run_batches(HELD, *calls, contract=policy)
    assert [call.values for call in calls] == [[4.0], [4.0, 35.0]]
    assert [len(call.outside) for call in calls] == [0, marked]
    assert outside_of(plane) == counted


def test_a_call_lists_at_most_a_thousand_violations_and_all_are_counted():
    calls = [RecordingCall(*[[99.0, 5.0, 2.0]] * 2_000), RecordingCall([5.0, 5.0, 2.0], [99.0, NAN, 2.0])]
    plane = run_batches(HELD, *calls, contract="mark")
    assert [len(call.outside) for call in calls] == [1_000, 2]
    assert [(violation.row, violation.kind) for violation in calls[1].outside] == [(1, "high"), (1, "missing")]
    assert outside_of(plane) == 2_001 and plane.metrics._outside["flights\nmissing\nb"] == 1


def test_over_http_violations_are_in_the_response_and_in_the_metrics():
    with serving(HELD, loaded(name="bare"), contract="mark") as server:
        inside, outside = (ask(server, "/v2/models/flights/infer", body_of([value, 5, 2], id="7")) for value in (4, 98))
        assert "parameters" not in inside.json
        mark = {"row": 0, "column": "a", "kind": "high", "value": 98.0, "lowest": -1.0, "highest": 11.0}
        assert outside.json["parameters"] == {"outside": [mark]}
        assert (outside.values, outside.json["id"]) == ([35.0], "7")
        packed = json.dumps({**json.loads(body_of([98, 5, 2])), "parameters": {"binary_data_output": True}}).encode()
        assert b'"parameters":{"outside":[{"row":0,' in ask(server, "/v2/models/flights/infer", packed).body
        frame = json.dumps({"inputs": [[98, 5, 2]]}).encode()
        assert ask(server, "/invocations", frame).status == 400
        metrics = ask(server, "/metrics").body.decode()
        assert 'headway_outside_values_total{model="flights",column="a",kind="high"} 2' in metrics
        assert ask(server, "/v2/models/bare").json["parameters"]["contract"] == "none"
        contract = ask(server, "/v2/models/flights").json["parameters"]["contract"]
        assert contract == "3 columns, of 2 rows"


def test_over_http_a_rejected_request_is_422_and_names_the_unseen_category():
    contract = Contract(columns=(Bounds(name="carrier", categories=("AA", "UA", "WN")),), n_rows=9)
    held = load_model(bundle(replace(release(name="mixed", signature=MIXED), contract=contract)))
    inputs = [
        {"name": "size", "shape": [2], "datatype": "FP64", "data": [1, 2]},
        {"name": "carrier", "shape": [2], "datatype": "BYTES", "data": ["UA", "never seen"]},
    ]
    with serving(held, contract="reject") as server:
        answer = ask(server, "/v2/models/mixed/infer", json.dumps({"inputs": inputs}).encode())
    assert answer.status == 422
    assert answer.json == {
        "error": "outside the contract: row 1: column 'carrier' holds a category that training never saw"
    }


def test_outputs_are_rounded_if_configured():
    call = RecordingCall([1.0, 1.0, 2.0])
    run_batches(HELD, call, round_digits=2)
    assert call.values == [1.33]
