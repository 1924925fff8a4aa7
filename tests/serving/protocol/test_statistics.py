"""Triton's configuration and statistics of a model."""

from __future__ import annotations

import time
from dataclasses import replace

from running import MIXED, ask, body_of, loaded, serving

from headway.serving.repository import model_statistics
from headway.serving.telemetry.metrics import ModelCounters

INFER = "/v2/models/flights/infer"


class Broken:
    """An engine that always fails."""

    def predict(self, rows):
        raise OSError("no answer")


def test_a_configuration_names_the_columns_and_their_types(server):
    version = server.plane.find("mixed").version
    config = ask(server, f"/v2/models/mixed/versions/{version}/config").json
    assert config == ask(server, "/v2/models/mixed/config").json
    assert [(tensor["name"], tensor["data_type"]) for tensor in config["input"]] == [
        ("size", "TYPE_FP64"),
        ("carrier", "TYPE_STRING"),
    ]
    assert (config["name"], config["max_batch_size"], config["output"][0]["name"]) == ("mixed", 1024, "score")
    assert ask(server, "/v2/models/hotels/config").status == 404


def test_statistics_count_answered_requests():
    with serving(loaded(), loaded(name="mixed", signature=MIXED)) as server:
        before_ms = time.time_ns() // 1_000_000
        for body in (body_of([1, 2, 6]), body_of([1, 1, 1], [2, 2, 2]), b"{}"):
            ask(server, INFER, body)
        (statistics,) = ask(server, "/v2/models/flights/stats").json["model_stats"]
        assert (statistics["inference_count"], statistics["execution_count"]) == (3, 2)
        assert before_ms <= statistics["last_inference"] <= time.time_ns() // 1_000_000
        parts = statistics["inference_stats"]
        assert parts["success"]["count"] == 2
        spent = [parts[part]["ns"] for part in ("queue", "compute_infer", "compute_output")]
        assert sum(spent) == parts["success"]["ns"] and min(spent) > 0
        assert [statistics["version"]] == ask(server, "/v2/models/flights").json["versions"]
        stats = ask(server, "/v2/models/stats").json["model_stats"]
        assert [(model["name"], model["last_inference"] > 0) for model in stats] == [
            ("flights", True),
            ("mixed", False),
        ]
        assert ask(server, "/v2/models/hotels/stats").status == 404


def test_statistics_count_failed_requests(caplog):
    caplog.set_level("CRITICAL")
    with serving(replace(loaded(), engine=Broken())) as server:
        assert ask(server, INFER, body_of([1, 2, 6])).status == 500
        (statistics,) = ask(server, "/v2/models/flights/stats").json["model_stats"]
        assert statistics["inference_stats"]["fail"]["count"] == 1 and statistics["inference_stats"]["fail"]["ns"] > 0
        assert statistics["inference_stats"]["success"]["count"] == statistics["inference_count"] == 0


def test_the_time_of_requests_is_split_where_the_engine_begins_and_ends():
    counts = ModelCounters()
    counts.add([100, 300], engine_ns=(1_000, 1_500), ended_ns=1_700, rows=2)
    parts = model_statistics(loaded(), counts).inference_stats
    assert (parts.queue.ns, parts.compute_infer.ns, parts.compute_output.ns) == (900 + 700, 2 * 500, 2 * 200)
    assert parts.success.ns == 1_600 + 1_400
