"""A device's reports and log: sent to a real server under the key of the device, kept while that is away."""

from __future__ import annotations

import logging
import time
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from tests.deployment.device_fleets import NOON
from tests.serving.flushed_log import log_writer
from tests.serving.running import Running
from tests.serving.test_device_reports import OTHER, RELEASE, columns, rows_of, running, status

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.fleet import DeviceState
from headway.core.settings.project import ProjectSection
from headway.deployment.fleet.device import PollResult
from headway.deployment.fleet.reporting import DeviceReporter, device_reporter
from headway.registry.settings.fleet import FleetSection
from headway.serving.auth.keys import throttle_key
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.storage import segments, traffic

STATE = DeviceState(name="flights", pointer="live", release=RELEASE, number=1, timestamp=7)


@pytest.fixture
def server(tmp_path: Path) -> Iterator[Running]:
    with running(tmp_path) as found:
        yield found


@pytest.fixture
def reporter(server: Running, tmp_path: Path) -> DeviceReporter:
    (tmp_path / "device").mkdir()
    key = (tmp_path / "pump-1").read_text()
    url = f"http://127.0.0.1:{server.port}"
    return DeviceReporter(url=url, name="flights", device="pump-1", key=key, log=tmp_path / "device")


def logged(reporter: DeviceReporter, number: int, *, digest: str = RELEASE) -> Path:
    """Write a segment as the server of a device does."""
    folder = traffic.log_folder(reporter.log, "flights", digest)
    return segments.save(folder, columns(), name=f"{time.time_ns():020}-1-{number}{segments.SUFFIX}")


def report(reporter: DeviceReporter, reason: str = "") -> bool:
    return reporter.report(STATE, PollResult(RELEASE, changed=False, reason=reason), at=NOON)


def test_a_device_reports_what_it_serves_and_what_waits(reporter: DeviceReporter, tmp_path: Path) -> None:
    logged(reporter, 0)
    assert report(reporter, "expired")
    found = status(tmp_path).report
    assert (found.device, found.release, found.number) == ("pump-1", RELEASE, 1)
    assert (found.reason, found.waiting) == ("expired", 1)
    assert found.headway


def test_a_log_is_kept_while_the_server_is_away_and_shipped_once(reporter: DeviceReporter, tmp_path: Path) -> None:
    paths = [logged(reporter, number) for number in range(3)]
    away = replace(reporter, url="http://127.0.0.1:1")
    assert (report(away), away.send_log(), len(list(away.waiting()))) == (False, 0, 3)
    content = paths[0].read_bytes()
    assert reporter.send_log() == 3
    assert list(reporter.waiting()) == []
    paths[0].write_bytes(content)  # the device ended after the server had it, and before it was deleted here
    assert reporter.send_log() == 1
    assert (len(rows_of(tmp_path)), status(tmp_path).rows) == (3, 9)


def test_a_report_that_is_not_accepted_is_logged_once_until_the_status_changes(
    reporter: DeviceReporter, monkeypatch: pytest.MonkeyPatch, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.INFO)
    statuses = iter([0, 0, 401, 401, 200, 0])
    monkeypatch.setattr(DeviceReporter, "_post", lambda *_, **__: (next(statuses), ""))
    assert [report(reporter) for _ in range(6)] == [False, False, False, False, True, False]
    assert [(line.levelname, line.args[1]) for line in caplog.records] == [
        ("INFO", "no answer"),
        ("WARNING", 401),
        ("INFO", "no answer"),
    ]


def test_the_log_of_a_release_that_is_not_accepted_is_logged_once(
    reporter: DeviceReporter, caplog: pytest.LogCaptureFixture
) -> None:
    logged(reporter, 0, digest=OTHER)
    assert [reporter.send_log() for _ in range(3)] == [0, 0, 0]
    assert caplog.text.count("is not accepted (403)") == 1


def test_a_log_whose_acknowledgement_was_lost_is_stored_exactly_once(
    reporter: DeviceReporter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder, at = traffic.log_folder(reporter.log, "flights", RELEASE), time.time_ns()
    for number in range(12):  # of one pass, which wrote record by record
        segments.save(folder, columns(), name=f"{at:020}-1-{number}{segments.SUFFIX}")
    with monkeypatch.context() as lost:
        post = DeviceReporter._post
        lost.setattr(DeviceReporter, "_post", lambda *sent, **kind: (post(*sent, **kind), (0, "no answer"))[1])
        assert reporter.send_log() == 0
    assert (status(tmp_path).rows, len(list(reporter.waiting()))) == (3, 12)
    log_writer(reporter.log, LogBuffers(1, 1 << 20), report_url=reporter.url).keep(at + 601 * 10**9)
    assert reporter.send_log() == 12
    assert (status(tmp_path).rows, list(reporter.waiting())) == (36, [])
    assert sum(len(table["at_us"]) for table in rows_of(tmp_path)) == 36


def test_a_damaged_segment_goes_and_the_others_are_shipped(
    reporter: DeviceReporter, caplog: pytest.LogCaptureFixture
) -> None:
    logged(reporter, 0).write_bytes(b"damaged")
    logged(reporter, 1)
    assert (reporter.send_log(), list(reporter.waiting())) == (1, [])
    assert "which is deleted" in caplog.text


def test_the_log_of_a_release_that_was_not_staged_stays(reporter: DeviceReporter, tmp_path: Path) -> None:
    for number in range(2):
        logged(reporter, number, digest=OTHER)
    logged(reporter, 2)
    assert (reporter.send_log(), len(list(reporter.waiting())), status(tmp_path).refused) == (1, 2, 1)


def test_a_quota_ends_the_shipping_until_the_next_poll(reporter: DeviceReporter, tmp_path: Path) -> None:
    throttle_key(tmp_path / "keys.toml", "pump-1", per_s=0.001)
    for number in range(3):
        logged(reporter, number)
    ends = time.monotonic() + 30
    while report(reporter):  # the server reads the keys once a second
        assert time.monotonic() < ends
    assert (reporter.send_log(), len(list(reporter.waiting()))) == (0, 3)


def test_a_segment_that_was_merged_since_is_left_out(reporter: DeviceReporter, monkeypatch: pytest.MonkeyPatch) -> None:
    gone, there = logged(reporter, 0), logged(reporter, 1)
    gone.unlink()
    monkeypatch.setattr(DeviceReporter, "waiting", lambda _: [gone, there])
    assert reporter.send_log() == 1


@pytest.mark.parametrize("url", ["http://models.example", "ftp://127.0.0.1", "models"])
def test_a_key_leaves_the_device_over_https_alone(tmp_path: Path, url: str) -> None:
    with pytest.raises(ConfigError, match="does not send its key"):
        DeviceReporter(url=url, name="flights", device="pump-1", key="hw_1", log=tmp_path)


def test_a_device_without_its_key_says_how_to_get_one(tmp_path: Path) -> None:
    fleet = FleetSection(report_url="https://models.example")
    config = Config(ProjectSection(name="flights"), fleet, folder=str(tmp_path))
    with pytest.raises(ConfigError, match="the API key of this device") as error:
        device_reporter(config, "pump-1")
    assert "api-keys new pump-1 --scope device" in error.value.hint
    (tmp_path / "device_key.txt").write_text("hw_1\n")
    assert device_reporter(config, "pump-1").key == "hw_1"
    assert device_reporter(config.having(FleetSection()), "pump-1") is None
