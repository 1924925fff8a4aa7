"""Shipping the log to S3 while it is written: later after an outage, in order, and none twice."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable, Iterator
from pathlib import Path

import numpy as np
import pytest
from tests.storage.small_s3 import SmallS3, small_s3

from headway.core.config import Config
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.data.settings.personal import PersonalSection
from headway.serving.settings.serve import ServeSection
from headway.serving.store_health import StoreHealth
from headway.serving.telemetry.prediction_log import UNSHIPPED, LogBuffers
from headway.serving.workers.log_shipper import LogShipper, shipping
from headway.storage import segments, traffic
from headway.storage.addresses import open_logs

ADDRESS = "s3://bucket/team"
FOLDER = "log/flights/abcdef012345"


@pytest.fixture
def small(monkeypatch: pytest.MonkeyPatch) -> Iterator[SmallS3]:
    with small_s3() as server:
        for name, value in server.environment.items():
            monkeypatch.setenv(name, value)
        yield server


@pytest.fixture
def buffers() -> Iterator[LogBuffers]:
    made = LogBuffers(1, 1 << 16)
    yield made
    made.wakeup.keep_reader()
    made.wakeup.keep_writer()


def config(state: Path, *, logs: str = ADDRESS, retention: str = "") -> Config:
    return Config(
        ProjectSection(state=str(state)),
        StoreSection(logs=logs),
        ServeSection(log_flush_s=0.01),
        PersonalSection(retention=retention),
    )


def shipper(state: Path, buffers: LogBuffers, away: dict[str, bool], *, retention: str = "") -> LogShipper:
    settings = config(state, retention=retention)
    logs = open_logs(settings)
    assert logs
    return LogShipper(settings, logs, buffers, StoreHealth(away), keep_s=0.0)


def segment(state: Path, number: int) -> Path:
    columns = {"key": [f"key-{number}"], "request": np.array([number], np.int64)}
    return segments.save(state / FOLDER, columns, name=f"{number:020}-1-0.arrow")


def shipped(small: SmallS3) -> list[int]:
    return [segments.written_ns(Path(key)) for key in small.current() if key.endswith(".arrow")]


def test_without_a_store_for_logs_nothing_is_shipped(tmp_path: Path, buffers: LogBuffers) -> None:
    with shipping(config(tmp_path, logs=""), buffers, StoreHealth({})):
        segment(tmp_path, 1)
        assert not any(thread.name == "log-shipper" for thread in threading.enumerate())
    assert len([*traffic.all_segments(tmp_path)]) == 1


@pytest.mark.slow
def test_segments_are_shipped_while_the_log_is_written_and_once_more_at_the_end(
    tmp_path: Path, small: SmallS3, buffers: LogBuffers
) -> None:
    with shipping(config(tmp_path), buffers, StoreHealth({})):
        segment(tmp_path, 1)
        until(lambda: shipped(small) == [1])
        segment(tmp_path, 2)
    assert shipped(small) == [1, 2]
    assert [*traffic.all_segments(tmp_path)] == []


@pytest.mark.slow
def test_while_the_store_is_away_segments_wait_and_are_shipped_later_in_order(
    tmp_path: Path, small: SmallS3, buffers: LogBuffers
) -> None:
    away: dict[str, bool] = {}
    ours = shipper(tmp_path, buffers, away)
    for number in (1, 2, 3):
        segment(tmp_path, number)

    def fail(handler: object) -> bool:
        handler.fail(503, "SlowDown")  # type: ignore[attr-defined]
        return True

    small.fault = fail
    ours.ship()
    assert (away["logs"], ours._own[UNSHIPPED], shipped(small)) == (True, 3, [])
    small.fault = lambda _: False
    small.requests.clear()
    ours.ship()
    assert (away["logs"], ours._own[UNSHIPPED], shipped(small)) == (False, 0, [1, 2, 3])
    assert [int(request.split("/")[-1][:20]) for request in small.requests] == [1, 2, 3]


@pytest.mark.slow
def test_a_segment_of_a_pass_that_is_not_done_waits(tmp_path: Path, small: SmallS3, buffers: LogBuffers) -> None:
    ours = shipper(tmp_path, buffers, {})
    segment(tmp_path, 1)
    segment(tmp_path, 2)
    buffers.current_pass[0] = 2
    ours.ship()
    assert (shipped(small), ours._own[UNSHIPPED]) == ([1], 1)
    buffers.current_pass[0] = 0
    ours.ship()
    assert shipped(small) == [1, 2]


@pytest.mark.slow
def test_another_error_is_logged_and_shipping_goes_on(
    tmp_path: Path, small: SmallS3, buffers: LogBuffers, caplog: pytest.LogCaptureFixture
) -> None:
    away: dict[str, bool] = {}
    ours = shipper(tmp_path, buffers, away)
    segment(tmp_path, 1)

    def refuse(handler: object) -> bool:
        handler.fail(403, "AccessDenied")  # type: ignore[attr-defined]
        return True

    small.fault = refuse
    for _ in range(2):
        ours.ship()
        ours.keep(time.time_ns())
    assert caplog.text.count("waits on this disk") == caplog.text.count("could not be kept") == 1
    assert "t0p/s3cret" not in caplog.text
    small.fault = lambda _: False
    ours.ended.set()
    ours.run()
    assert shipped(small) == [1]


@pytest.mark.slow
def test_old_segments_are_deleted_and_small_ones_merged_in_the_store(
    tmp_path: Path, small: SmallS3, buffers: LogBuffers
) -> None:
    now = time.time_ns()
    hour = 3600 * 10**9
    for number in range(12):
        segment(tmp_path, (now // hour) * hour - 2 * hour + number)
    segment(tmp_path, 1)
    ours = shipper(tmp_path, buffers, {}, retention="90d")
    ours.ship()
    cache = ours._logs.refresh()
    ours.keep(now)
    assert len(shipped(small)) == 1
    assert min(shipped(small)) > 1
    assert [*traffic.all_segments(cache)] == [], "copies of what was deleted are deleted too"
    without_limit = shipper(tmp_path, buffers, {})
    without_limit.keep(now)
    assert len(shipped(small)) == 1


def until(condition: Callable[[], bool], *, seconds: float = 30) -> None:
    ends = time.monotonic() + seconds
    while not condition():
        assert time.monotonic() < ends
        time.sleep(0.005)
