"""Supervision: dead workers are replaced without affecting others, commands reach all, none outlives the server."""

from __future__ import annotations

import os
import re
import signal
import socket
import time
from pathlib import Path
from types import SimpleNamespace

import pytest
from fleets import Callers, fleet, logged, until
from running import project, release, started, with_operator
from tests.monitoring import rollouts
from tests.serving import plain_client as plain

from headway.core.release import version_of
from headway.monitoring import rollout as control
from headway.serving.telemetry.prediction_log import LogBuffers
from headway.serving.workers.supervisor import Supervisor

KEY = "an-operator's-key"
pytestmark = pytest.mark.slow


def fast_log(folder: Path) -> None:
    """Write the log continuously, so that a kill interrupts a write."""
    file = folder / "headway.toml"
    file.write_text(file.read_text() + "log_flush_s = 0.005\n")


@pytest.mark.parametrize("workers", [1, 3])
def test_every_answer_before_kill_9_is_in_the_log_once(tmp_path, workers):
    settings = project(tmp_path)
    fast_log(tmp_path)
    with fleet(tmp_path, workers=workers) as served:
        with Callers(served.port) as callers:
            for turn in range(6):
                callers.more()
                served.kill(served.workers[turn % workers] if turn % 2 else served.log[0])
            callers.more()
        assert served.count('headway_log_dropped_rows_total{model="flights"}') == 0
        assert served.count('headway_log_lost_rows_total{model="flights"}') == 0
        assert served.count("headway_log_healthy") == 1
        assert served.count('headway_restarts_total{process="log"}') == 3
        assert served.count('headway_restarts_total{process="worker"}') == 3
        assert served.shut_down().count("ended by signal 9") == 6
    found = logged(settings.state)
    assert callers.failed == [] and callers.answered.total() > 1000
    assert {key for key, times in found.items() if times != 1} == set()
    assert callers.answered.keys() - found.keys() == set()
    assert len(found.keys() - callers.answered.keys()) <= callers.reset


def test_connections_to_other_workers_survive_a_kill(tmp_path):
    project(tmp_path)
    with fleet(tmp_path) as served, Callers(served.port, 16) as callers:
        callers.more()
        served.kill(served.workers[0])
        callers.more(1000)
        assert 0 < callers.reset < 16 and callers.failed == []


def test_counters_cover_all_workers_and_those_of_a_dead_one_stay(tmp_path):
    project(tmp_path)
    with fleet(tmp_path) as served:
        with Callers(served.port, 8) as callers:
            callers.more(300)
        n_answered = callers.answered.total()
        until(lambda: served.count('headway_requests_total{model="flights"}') == n_answered)
        for pid in tuple(served.workers):
            served.kill(pid)
        assert served.ask("/v2/models/flights/infer", {}).status == 400
        until(lambda: served.count("headway_workers") == 2)
        for _ in range(8):
            assert served.count('headway_requests_total{model="flights"}') == n_answered
            assert served.count('headway_errors_total{code="400"}') == 1
            stats = served.ask("/v2/models/stats").text
            assert f'"inference_count":{n_answered}' in stats


def test_restarts_of_a_worker_that_dies_repeatedly_are_delayed(tmp_path):
    project(tmp_path)
    with fleet(tmp_path, workers=1) as served:
        for _ in range(4):
            served.kill(served.workers[0])
        log = served.shut_down()
    assert [line.rpartition("restarted ")[2] for line in log.splitlines()] == [
        "now",
        "in 0.1 s",
        "in 0.2 s",
        "in 0.4 s",
    ]


@pytest.mark.parametrize("workers", [1, 3])
def test_no_process_outlives_a_killed_supervisor_and_the_log_is_valid(tmp_path, workers):
    settings = project(tmp_path)
    with fleet(tmp_path, workers=workers) as served:
        assert plain.ask(served.port, [1, 1, 1], key="a").status == 200
        children = served.children
        os.kill(served.process.pid, signal.SIGKILL)
        until(lambda: not any(Path(f"/proc/{pid}").exists() for pid in children))
    assert logged(settings.state) == {"a": 1}


def test_a_second_signal_aborts_requests_in_flight_and_the_log_is_written(tmp_path):
    settings = project(tmp_path)
    with fleet(tmp_path, workers=2) as served:
        assert plain.ask(served.port, [1, 1, 1], key="a").status == 200
        with socket.create_connection(("127.0.0.1", served.port)) as slow:
            slow.sendall(b"POST /v2/models/flights/infer HTTP/1.1\r\nHost: localhost\r\n")
            served.process.send_signal(signal.SIGTERM)
            until(lambda: len(served.children) <= 2)
            served.process.send_signal(signal.SIGTERM)
            assert served.process.communicate(timeout=60)[0] == "" and served.process.returncode == 0
    assert logged(settings.state) == {"a": 1}


def test_an_unload_applies_to_all_workers_and_to_restarted_ones(tmp_path):
    project(tmp_path, release(), release(name="other"))
    with_operator(tmp_path, KEY)
    with fleet(tmp_path, "flights@live", "other@live", workers=3) as served:

        def statuses() -> set[int]:
            return {served.ask("/v2/models/flights/ready").status for _ in range(30)}

        for word, status in (("unload", 404), ("load", 200), ("unload", 404)):
            assert served.ask(f"/v2/repository/models/flights/{word}", {}, key=KEY).status == 200
            assert statuses() == {status}
        for pid in tuple(served.workers):
            served.kill(pid)
        until(lambda: served.count("headway_workers") == 3)
        assert statuses() == {404} and served.ask("/v2/models/other/ready").status == 200
        (model,) = tmp_path.glob(".headway/releases/flights/*/model.echo")
        model.write_bytes(b"evil")
        answer = served.ask("/v2/repository/models/flights/load", {}, key=KEY)
        assert answer.status == 422 and "model.echo was changed" in answer.text


def test_a_rollback_reaches_every_worker_within_a_second_and_no_request_fails(tmp_path):
    made = rollouts.project(tmp_path)
    first = rollouts.live(made, rollouts.release(made_at="1"))
    second = rollouts.live(made, rollouts.release(made_at="2"))
    with fleet(tmp_path, workers=3) as served:
        with Callers(served.port, 12, columns="ab") as callers:
            callers.all_by(version_of(second))
            began = time.monotonic()
            assert (
                control.roll_back(made, from_release=control.release_to_leave(made), who="ann", why="a test").release
                == first
            )
            callers.all_by(version_of(first))
            took = time.monotonic() - began
            served.kill(served.workers[0])
            callers.more(500)
            callers.all_by(version_of(first))
        served.shut_down()
    assert took < 1 and callers.failed == []
    made.state.close()
    made.registry.state.close()


def test_a_restarted_worker_serves_the_deployed_releases_even_if_a_pointer_does_not_verify(tmp_path):
    made = rollouts.project(tmp_path)
    rollouts.live(made, rollouts.release(made_at="1"))
    with fleet(tmp_path, workers=1) as served:
        second = rollouts.live(made, rollouts.release(made_at="2"))
        version = f'"{version_of(second)}"'
        until(lambda: version in served.ask("/v2/models/flights").text)
        (worker,) = served.workers
        os.kill(worker, signal.SIGSTOP)
        third = rollouts.live(made, rollouts.release(made_at="3"))
        (made.registry.folder / "flights" / third.removeprefix("sha256:") / "model.echo").write_bytes(b"evil")
        os.kill(worker, signal.SIGCONT)
        refused = 'headway_pointer_refused{pointer="flights@live"}'
        until(lambda: served.count(refused) == 1)
        served.kill(worker)
        assert version in served.ask("/v2/models/flights").text and served.count(refused) == 1
    made.state.close()
    made.registry.state.close()


def test_a_worker_that_fails_at_start_ends_the_server_with_its_error(tmp_path):
    project(tmp_path)
    process = started(
        tmp_path, "flights@live", first="import headway.serving.workers.worker as w; w.create_authenticator = 1; "
    )
    out, error = process.communicate(timeout=20)
    assert process.returncode != 0 and out == ""
    assert "TypeError: 'int' object is not callable" in error
    assert re.search(r"EngineError: worker \d ended with exit code 1 before it was ready", error)


def test_a_signal_during_the_start_ends_the_server_quietly(tmp_path):
    project(tmp_path)
    process = started(
        tmp_path,
        "flights@live",
        first="import os, signal, headway.serving.workers.worker as w; run = w.run_worker; "
        "w.run_worker = lambda *args: (os.kill(os.getppid(), signal.SIGTERM), run(*args)); ",
    )
    assert process.communicate(timeout=20) == ("", "") and process.returncode == 0


def test_a_restarted_worker_that_cannot_start_logs_the_reason_until_it_can(tmp_path):
    project(tmp_path)
    with fleet(tmp_path, workers=1) as served:
        (tmp_path / "keys.toml").write_text("no keys")
        served.kill(served.workers[0])
        until(lambda: "cannot start" in served.process.stderr.readline())
        (tmp_path / "keys.toml").unlink()
        assert plain.ask(served.port, [1, 1, 1]).status == 200


@pytest.mark.parametrize("writes", [True, False])
def test_what_the_log_writer_cannot_write_at_the_end_is_counted_as_lost(writes):
    counted = []
    writer = SimpleNamespace(write=lambda: writes, give_up=lambda: counted.append("lost"))
    Supervisor._finish_log(SimpleNamespace(_slots=[]), LogBuffers(1, 8_192), writer)
    assert counted == ([] if writes else ["lost"])


COMPANION = (
    "import socket; from headway.serving.workers.channel import WorkerReady; "
    "from headway.serving.workers.supervisor import Companion; listening = socket.create_server(('127.0.0.1', 0)); "
    "run = lambda channel: (channel.send(WorkerReady()), channel.receive()); "
    "others = [Companion(name, run, [listening]) for name in ('the dashboard', 'another')]; "
)


def test_a_companion_is_started_again_and_ends_with_the_server(tmp_path):
    project(tmp_path)
    process = started(tmp_path, "flights@live", first=COMPANION, more="companions=others")

    def children() -> list[str]:
        return Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()

    try:
        assert process.stdout.readline().startswith("listening on "), process.communicate()[1]
        before = children()
        os.kill(int(before[-2]), signal.SIGKILL)
        until(lambda: before[-2] not in children() and len(children()) == len(before))
        process.send_signal(signal.SIGTERM)
        _, messages = process.communicate(timeout=60)
        assert process.returncode == 0 and f"the dashboard (process {before[-2]}) ended by signal 9" in messages
    finally:
        process.kill()
        process.communicate()
