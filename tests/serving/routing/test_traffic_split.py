"""Two releases of one name: which one answers, what is logged of each, and that no caller meets the canary's errors."""

from __future__ import annotations

import dataclasses

import numpy as np
import polars as pl
import pytest
from msgspec.structs import replace
from running import bundle, loaded, release, serving
from tests.serving.batching.test_data_plane import POISON, Picky
from tests.serving.flushed_log import log_writer, worker_log
from tests.serving.manual_loop import ManualLoop, RecordingCall
from tests.serving.plain_client import ask

from headway.core.calibrator import Calibrator
from headway.core.errors import DataError, Refused, StoreError
from headway.core.feature_view import FeatureView
from headway.features.online.sqlite import SqliteOnlineStore
from headway.registry.key_assignment import assign_key
from headway.serving.batching.data_plane import DataPlane, InferenceSettings
from headway.serving.loading import load_model
from headway.serving.routing.traffic_split import TrafficSplit
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.storage import segments, traffic

LIVE = loaded()
SALT = "salt"


class Tens:
    """An engine that returns 10 for every row."""

    def predict(self, rows):
        return np.full((len(rows), 1), 10.0)


CANARY = dataclasses.replace(LIVE, engine=Tens(), version="canary", digest="sha256:" + "c" * 64)


def keyed(row, key):
    """Return a call with a key."""
    return RecordingCall(list(row), key=key)


def run_batches(tmp_path, split, *calls):
    """Return the log of the live release and of the canary after one batch, and the data plane."""
    buffers = LogBuffers(1, 1 << 20)
    log = worker_log(buffers)
    loop = ManualLoop()
    plane = DataPlane([split.live], loop=loop, settings=InferenceSettings(max_batch_rows=64, long_ms=1e9), log=log)
    plane.set_split(split)
    for call in calls:
        plane.submit(split.live, call)
    loop.run_ready()
    log_writer(tmp_path, buffers).write()
    return [rows_of(tmp_path, model) for model in (split.live, split.canary or CANARY)], plane


def rows_of(folder, which):
    found = [
        pl.read_ipc_stream(path) for path in segments.segments(traffic.log_folder(folder, "flights", which.digest))
    ]
    return pl.concat(found).sort("request") if found else pl.DataFrame()


def split(share, *, live=LIVE, canary=CANARY):
    return TrafficSplit(live=live, canary=canary, share=share, salt=SALT, stage=int(share > 0))


def test_in_shadow_live_answers_all_calls_and_the_canary_is_only_logged(tmp_path):
    calls = [keyed([float(number)] * 3, f"k{number}") for number in range(20)]
    (live, canary), plane = run_batches(tmp_path, split(0.0), *calls)
    assert [call.values for call in calls] == [[float(number)] for number in range(20)]
    assert live["request"].to_list() == canary["request"].to_list()
    assert live.select("answered", "paired", "role", "stage").unique().rows() == [(1, 1, traffic.LIVE, 0)]
    assert canary.select("answered", "paired", "role", "stage").unique().rows() == [(0, 1, traffic.CANARY, 0)]
    assert canary["out.0"].to_list() == [10.0] * 20
    assert plane.metrics.of("flights").requests == 20


def test_keys_assigned_to_the_canary_get_its_answer_and_other_keys_get_lives(tmp_path):
    calls = [keyed([1.0] * 3, f"k{number}") for number in range(200)] + [keyed([1.0] * 3, "")]
    (live, canary), _ = run_batches(tmp_path, split(0.3), *calls)
    its = {call.key for call in calls if call.key and assign_key(call.key, SALT, 0.3)}
    assert [call.values for call in calls] == [[10.0] if call.key in its else [1.0] for call in calls]
    assert set(canary["key"]) == its and (canary["answered"] == 1).all()
    shadow = live.filter(pl.col("paired") == 1)
    assert set(shadow["key"]) == its and (shadow["answered"] == 0).all()
    assert set(shadow["request"]) == set(canary["request"])
    assert len(live) == 201 and live["answered"].sum() == 201 - len(its)


def test_the_canary_is_not_called_if_no_key_is_assigned_to_it(tmp_path):
    call = keyed([1.0] * 3, "")
    (live, canary), _ = run_batches(tmp_path, split(0.5), call)
    assert call.values == [1.0] and canary.is_empty() and live["paired"].to_list() == [0]


def test_if_the_canary_fails_live_answers_and_the_canary_is_counted_as_failed(tmp_path):
    broken = dataclasses.replace(CANARY, engine=Picky())
    rows = [[1.0] * 3, [POISON] * 3, [POISON + 1] * 3, [2.0] * 3]
    calls = [keyed(row, f"k{number}") for number, row in enumerate(rows)]
    (live, canary), plane = run_batches(tmp_path, split(0.999_999, canary=broken), *calls)
    assert [call.values for call in calls] == [[1.0, 2.0], [POISON], [POISON + 1], [2.0, 4.0]]
    assert canary["status"].to_list() == [0, 1, 1, 0] and canary["answered"].to_list() == [1, 0, 0, 1]
    assert live["answered"].to_list() == [0, 1, 1, 0] and (live["paired"] == 1).all()
    assert plane.metrics.canary_errors == {"flights": 2}


def test_in_shadow_no_error_of_the_canary_reaches_a_caller(tmp_path):
    broken = dataclasses.replace(CANARY, engine=Picky())
    call = keyed([POISON + 1] * 3, "k")
    (live, canary), _ = run_batches(tmp_path, split(0.0, canary=broken), call)
    assert call.values == [POISON + 1] and call.error is None
    assert canary["status"].to_list() == [1] and live["status"].to_list() == [0]


def test_if_live_fails_too_the_caller_gets_lives_error(tmp_path):
    both = [dataclasses.replace(model, engine=Picky()) for model in (LIVE, CANARY)]
    call = keyed([POISON] * 3, "k")
    (live, canary), _ = run_batches(tmp_path, split(0.999_999, live=both[0], canary=both[1]), call)
    assert str(call.error).startswith("a row holds 666")
    assert live["status"].to_list() == canary["status"].to_list() == [1]


def test_a_call_without_the_canarys_columns_falls_back_to_live(tmp_path, viewed):
    class Lacks(RecordingCall):
        def read_for(self, release):
            raise DataError("column 'c' is missing")

    live, calls = viewed("right"), [keyed([1.0, 2.0], "anna"), Lacks([1.0, 2.0], key="anna")]
    calls[0].read_for = lambda release: np.array([[1.0, 2.0, 9.0]])
    (_, canary), _ = run_batches(tmp_path, split(0.999_999, live=live), *calls)
    assert [call.values for call in calls] == [[10.0], [2.0]]
    assert sorted(canary["status"].to_list()) == [0, 1]


def test_calls_decoded_for_a_replaced_release_are_answered_by_it_only(tmp_path):
    loop = ManualLoop()
    plane = DataPlane([LIVE], loop=loop, settings=InferenceSettings(max_batch_rows=64, long_ms=1e9))
    call = keyed([1.0] * 3, "k")
    plane.submit(LIVE, call)
    plane.set_split(TrafficSplit(live=CANARY, canary=LIVE))
    loop.run_ready()
    assert call.values == [1.0]


@pytest.fixture
def viewed(tmp_path):
    """Return models whose column c is looked up in the tables `right` and `wrong`."""
    online = SqliteOnlineStore(tmp_path)
    for table, value in (("right", 3.0), ("wrong", 30.0)):
        online.write(table, ["anna"], np.array([[value]]), np.array([5]))

    def opened(table: str, columns=("c",), **fields):
        made = release(**fields)
        return load_model(bundle(replace(made, views=(FeatureView(name="v", table=table, columns=columns),))), online)

    yield opened
    online.close()


def test_each_release_reads_the_same_request_with_its_own_view(tmp_path, viewed):
    live, other = viewed("right"), dataclasses.replace(viewed("wrong"), digest=CANARY.digest)
    call = keyed([1.0, 2.0], "anna")
    (rows, shadow), _ = run_batches(tmp_path, split(0.0, live=live, canary=other), call)
    assert call.values == [2.0]
    assert (rows["in.c"][0], shadow["in.c"][0]) == (3.0, 30.0)
    assert (rows["seen_us.v"][0], rows["in.a"][0], shadow["out.0"][0]) == (5, 1.0, 11.0)


def test_over_http_a_looked_up_column_need_not_be_sent_and_is_ignored_if_sent(viewed):
    with serving(viewed("right")) as server:
        assert ask(server.port, [1, 2], columns="ab", key="anna").value == 2.0
        assert ask(server.port, [1, 2, 99], key="anna").value == 2.0
        assert ask(server.port, [1, 2], columns="ab", key="eve").value is None


def test_a_canary_with_other_columns_reads_the_request_again(tmp_path, viewed):
    with serving(LIVE) as server:
        canary = dataclasses.replace(viewed("wrong"), digest=CANARY.digest)
        split = TrafficSplit(live=LIVE, canary=canary, share=0.999_999, salt=SALT, stage=1)
        server.within(lambda: server.plane.set_split(split))
        assert ask(server.port, [1, 2, 3], key="anna").value == 11.0


def test_a_request_without_the_canarys_columns_falls_back_to_live(viewed):
    with serving(viewed("right")) as server:
        split = TrafficSplit(live=server.plane.find("flights"), canary=CANARY, share=0.999_999, salt=SALT, stage=1)
        server.within(lambda: server.plane.set_split(split))
        assert ask(server.port, [1, 2], columns="ab", key="anna").value == 2.0


def test_a_missing_online_table_is_503(tmp_path, viewed):
    with serving(viewed("right")) as server:
        for file in tmp_path.glob("right.sqlite*"):
            file.write_bytes(b"no table any more, and no database either" * 300)
        answer = ask(server.port, [1, 2], columns="ab", key="anna")
        assert answer.status == 503 and "online table" in answer.json["error"]


@pytest.mark.parametrize(
    ("table", "columns", "message"),
    [
        ("right", ("x",), "that the model does not read"),
        ("right", ("c", "c"), "that another view has too"),
        ("right", ("b", "c"), "has 2 columns, its table 'right' has 1"),
    ],
)
def test_an_inconsistent_feature_view_is_refused_when_loading(viewed, table, columns, message):
    with pytest.raises(Refused, match=message):
        viewed(table, columns)


def test_a_feature_view_without_a_table_is_refused_when_loading(viewed):
    with pytest.raises(StoreError, match="has no table in the online store: 'absent' is missing"):
        viewed("absent")


def test_the_calibrator_applies_to_answers_and_not_to_the_self_test():
    shifted = load_model(bundle(replace(release(), calibrator=Calibrator(shift=float(np.log(2))))))
    with serving(shifted) as server:
        assert ask(server.port, [0.5, 0.5, 0.5]).value == pytest.approx(2 / 3)


def test_the_server_applies_a_table_calibrator():
    table = Calibrator(kind="venn_abers", knots=(0.5,), values=(0.1, 0.2, 0.3))
    with serving(load_model(bundle(replace(release(), calibrator=table)))) as server:
        assert [ask(server.port, [value] * 3).value for value in (0.4, 0.5, 0.6)] == [0.1, 0.2, 0.3]


def test_a_calibrator_for_outputs_other_than_probabilities_is_refused():
    made = release()
    made = replace(made, variant=replace(made.variant, task="regression"), calibrator=Calibrator(shift=1.0))
    with pytest.raises(Refused, match="regression model has a calibrator"):
        load_model(bundle(made))
