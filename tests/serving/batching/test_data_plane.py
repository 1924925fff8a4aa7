"""Batches of one loop iteration: one engine call, each caller its own answer, and isolated failures."""

from __future__ import annotations

import dataclasses

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st
from numpy.typing import NDArray
from running import Peer, body_of, loaded, request, serving
from tests.serving.manual_loop import ManualLoop, RecordingCall, run_batches

from headway.core.errors import EngineError, RowRefused
from headway.core.variant import Field, Signature
from headway.data.refusals import RefusalCheck
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.loading import LoadedModel
from headway.serving.protocol.open_inference import ResponseWriter

POISON = 666.0
LOADED = loaded()


class Picky:
    """Returns the mean of a row and its double; rejects a row with 666, and breaks at 667."""

    def __init__(self) -> None:
        self.sizes: list[int] = []

    def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
        self.sizes.append(len(rows))
        if (rows == POISON).any():
            raise EngineError("a row holds 666", hint="send another")
        if (rows == POISON + 1).any():
            raise ZeroDivisionError("the engine broke")
        mean = rows.mean(axis=1)
        return np.column_stack([mean, 2 * mean])


def picky() -> LoadedModel:
    return dataclasses.replace(LOADED, engine=Picky())


def test_all_calls_of_one_loop_iteration_are_one_engine_call():
    release = picky()
    calls = [RecordingCall([1.0, 3.0]), RecordingCall([2.0, 4.0], [5.0, 5.0]), RecordingCall([0.0, 0.0])]
    plane = run_batches(release, *calls)
    assert [call.values for call in calls] == [[2.0, 4.0], [3.0, 6.0, 5.0, 10.0], [0.0, 0.0]]
    assert release.engine.sizes == [4]
    counts = plane.metrics.of("flights")
    assert (counts.requests, counts.rows, counts.calls) == (3, 4, 1)


@pytest.mark.slow
@given(st.lists(st.lists(st.integers(0, 600), min_size=1, max_size=5), min_size=1, max_size=12), st.integers(1, 7))
def test_no_engine_call_exceeds_the_row_limit_and_no_answers_are_mixed_up(sent, max_rows):
    release = picky()
    calls = [RecordingCall(*[[float(value)] for value in values]) for values in sent]
    run_batches(release, *calls, max_batch_rows=max_rows)
    assert max(release.engine.sizes) <= max_rows
    assert [call.values for call in calls] == [[x for v in values for x in (float(v), 2.0 * v)] for values in sent]


@pytest.mark.slow
@given(st.lists(st.sampled_from([1.0, 2.0, POISON, POISON + 1]), min_size=1, max_size=20))
def test_a_row_that_the_engine_rejects_does_not_fail_others(values):
    calls = [RecordingCall([value]) for value in values]
    run_batches(picky(), *calls)
    for call, value in zip(calls, values, strict=True):
        assert call.values == (None if value >= POISON else [value, 2 * value])
        kinds = {POISON: EngineError, POISON + 1: ZeroDivisionError}
        assert type(call.error) is kinds.get(value, type(None))


@pytest.mark.parametrize(("harm", "kind"), [(POISON, EngineError), (POISON + 1, ZeroDivisionError)])
@pytest.mark.parametrize("at", range(5))
def test_the_error_of_a_request_names_the_first_row_at_fault(harm, kind, at, caplog):
    rows = [[1.0]] * at + [[harm]] + [[harm]] * (4 - at)
    call, other = RecordingCall(*rows), RecordingCall([2.0])
    run_batches(picky(), call, other)
    assert (other.values, type(call.error)) == ([2.0, 4.0], kind)
    assert f"row {at}" in (str(call.error) if kind is EngineError else caplog.text)


def test_a_row_that_the_models_library_refuses_fails_its_request_and_not_the_others():
    signature = Signature(inputs=tuple(Field(name=name, refuses=("missing",)) for name in "ab"))
    release = dataclasses.replace(picky(), refusals=RefusalCheck(signature))
    good, bad = RecordingCall([1.0, 3.0]), RecordingCall([1.0, 1.0], [2.0, np.nan])
    run_batches(release, good, bad)
    assert good.values == [2.0, 4.0] and isinstance(bad.error, RowRefused)
    assert "column 'b' is missing" in str(bad.error) and bad.error.where == "row 1"


def test_over_http_a_refused_row_is_422_with_its_column():
    signature = Signature(inputs=tuple(Field(name=name, refuses=("missing",)) for name in "abc"))
    with serving(dataclasses.replace(picky(), refusals=RefusalCheck(signature))) as server, Peer(server) as peer:
        peer.send_bytes(request(body=body_of([1.0, None, 1.0])) + request(body=body_of([3.0] * 3)))
        refused, answered = peer.read_answer(), peer.read_answer()
    assert (refused.status, answered.status) == (422, 200)
    assert "column 'b' is missing (NaN)" in refused.json["error"]


def test_the_location_in_an_engine_error_follows_the_row():
    class Placed:
        def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            if (rows == POISON).any():
                raise EngineError("no", where="column 'a'")
            return rows

    call = RecordingCall([1.0], [POISON])
    run_batches(dataclasses.replace(LOADED, engine=Placed()), call)
    assert call.error.where == "row 1, column 'a'"


def test_no_row_is_blamed_if_rows_fail_only_together():
    class Narrow:
        def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            if len(rows) > 1:
                raise EngineError("one at a time")
            return rows

    call = RecordingCall([1.0], [2.0])
    run_batches(dataclasses.replace(LOADED, engine=Narrow()), call)
    assert str(call.error) == "one at a time"


def test_an_engine_that_returns_another_number_of_rows_fails_all_calls():
    class Short:
        def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return rows[1:, :1]

    calls = [RecordingCall([1.0]), RecordingCall([2.0])]
    run_batches(dataclasses.replace(LOADED, engine=Short()), *calls)
    assert [call.values for call in calls] == [None, None]
    assert all("the engine returned shape (0, 1) for 1 rows" in str(call.error) for call in calls)


def test_a_replaced_model_takes_effect_with_the_next_request():
    class Tens:
        def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.full((len(rows), 1), 10.0)

    old = LOADED
    new = dataclasses.replace(old, engine=Tens(), version="new")
    loop = ManualLoop()
    plane = DataPlane([old], loop=loop, settings=InferenceSettings(max_batch_rows=8, long_ms=1e9))
    before, after = RecordingCall([1.0]), RecordingCall([1.0])
    plane.submit(plane.models["flights"], before)
    plane.set_model(new)
    plane.submit(plane.models["flights"], after)
    loop.run_ready()
    assert (before.values, after.values) == ([1.0], [10.0])


def test_over_http_a_rejected_row_is_422_and_a_broken_engine_500_next_to_correct_answers(caplog):
    with serving(picky()) as server, Peer(server) as peer:
        values = [3.0, POISON, 6.0, POISON + 1, 9.0]
        peer.send_bytes(b"".join(request(body=body_of([value] * 3)) for value in values))
        answers = [peer.read_answer() for _ in values]
        assert [answer.status for answer in answers] == [200, 422, 200, 500, 200]
        assert [answer.values for answer in answers[::2]] == [[3.0, 6.0], [6.0, 12.0], [9.0, 18.0]]
        assert answers[1].json == {"error": "a row holds 666; send another"}
        assert "broke" not in answers[3].body.decode()
    assert "the engine broke" in caplog.text


@pytest.mark.slow
def test_replacing_models_under_load_loses_and_mixes_up_nothing():
    class Tagged:
        def __init__(self, tag: float) -> None:
            self.tag = tag

        def predict(self, rows: NDArray[np.float64]) -> NDArray[np.float64]:
            return np.column_stack([rows.mean(axis=1), np.full(len(rows), self.tag)])

    def tagged(tag: int) -> LoadedModel:
        writer = ResponseWriter(name="flights", version=str(tag), output="probability")
        return dataclasses.replace(LOADED, engine=Tagged(float(tag)), version=str(tag), writer=writer)

    releases = [tagged(tag) for tag in range(50)]
    with serving(releases[0]) as server:
        peers = [Peer(server) for _ in range(8)]
        for run_ready, release in enumerate(releases):
            for number, peer in enumerate(peers):
                peer.send_bytes(request(body=body_of([number + run_ready] * 3)) * 20)
            server.within(lambda release=release: server.plane.set_model(release))
            for number, answer in [
                (number, peer.read_answer()) for number, peer in enumerate(peers) for _ in range(20)
            ]:
                assert answer.values[0] == number + run_ready
                assert answer.json["model_version"] == str(int(answer.values[1]))
        for peer in peers:
            peer.__exit__()
