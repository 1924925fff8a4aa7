"""Load by the field's clients, unchanged, against a server process with a worker for each core and its log on.

Each runs for some seconds: every answer is compared, none fails, and the log has every row. The output has requests/s.
"""

from __future__ import annotations

import json
import re
import shutil
import signal
import subprocess
import sys
from collections.abc import Iterator
from dataclasses import dataclass
from itertools import product
from urllib.request import urlopen

import polars as pl
import pytest
from client_environments import environment
from running import MIXED, TESTS, project, release, started

from headway.storage import traffic

pytestmark = pytest.mark.long
LOADS = TESTS / "serving/loads"
SECONDS = 4
REQUESTS = 100
LOADGEN_PER_S = 200


@dataclass(frozen=True)
class Server:
    """A server process: its addresses over HTTP and gRPC."""

    http: str
    grpc: str

    def metric(self, name: str) -> float:
        """Return the sum of a metric over its labels."""
        lines = urlopen(f"{self.http}/metrics").read().decode().splitlines()
        return sum(float(line.rpartition(" ")[2]) for line in lines if re.match(rf"{name}[ {{]", line))

    def version(self, model: str) -> str:
        """Return the version of a model, as its metadata names it."""
        (version,) = json.load(urlopen(f"{self.http}/v2/models/{model}"))["versions"]
        return str(version)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Server]:
    """Serve two echo models; in the end each answered row is in the log, and the server printed no warning."""
    folder = tmp_path_factory.mktemp("server")
    settings = project(folder, release(), release(name="mixed", signature=MIXED))
    with (folder / "headway.toml").open("a") as file:
        file.write("grpc_port = 0\n")
    process = started(folder, "flights@live", "mixed@live")
    assert process.stdout is not None
    http, grpc = re.findall(r"\w+://[\d.:]+", process.stdout.readline())
    running = Server(http, grpc)
    yield running
    n_answered, n_errors = running.metric("headway_rows_total"), running.metric("headway_errors_total")
    process.send_signal(signal.SIGTERM)
    _, errors = process.communicate(timeout=60)
    n_logged = sum(len(pl.read_ipc_stream(path)) for path in traffic.all_segments(settings.state))
    assert (process.returncode, errors, n_errors, n_logged) == (0, "", 0, n_answered) and n_answered


def state_rate(who: str, per_s: float) -> None:
    sys.stdout.write(f"{who}: {per_s:,.0f} requests/s\n")


def expect_right(output: str, who: str) -> None:
    """Check the last line of a load, which is JSON, and print its requests per second."""
    found = json.loads(output.strip().splitlines()[-1])
    state_rate(who, found["requests"] / found["seconds"])
    assert (found["failed"], found["wrong"]) == (0, 0), output
    assert found["requests"] >= REQUESTS, output


def test_tritons_client_gets_right_answers_under_load(server):
    with environment("tritonclient[http,grpc]==2.73.0") as made:
        for kind, address in (("triton-http", server.http), ("triton-grpc", server.grpc)):
            expect_right(made.run("python", str(LOADS / "client_load.py"), kind, address, str(REQUESTS)), kind)


def test_kserves_client_gets_right_answers_under_load(server):
    with environment("kserve==0.21.0") as made:
        for kind, address in (("kserve-http", server.http), ("kserve-grpc", server.grpc)):
            expect_right(made.run("python", str(LOADS / "client_load.py"), kind, address, str(REQUESTS)), kind)


def test_tritons_load_generator_gets_right_answers_of_each_version(server):
    right = {
        "flights": ({"a": [1.0], "b": [2.0], "c": [6.0]}, "probability"),
        "mixed": ({"size": [4.0], "carrier": ["WN"]}, "score"),
    }
    short = ("--measurement-interval", "500", "--stability-percentage", "999", "--max-trials", "3")
    with environment("perf-analyzer==2.60.0") as made:
        for (name, (row, output_name)), protocol in product(right.items(), ("http", "grpc")):
            data = made.folder / f"{name}.json"
            data.write_text(json.dumps({"data": [row], "validation_data": [{output_name: [3.0]}]}))
            for which in ((), ("-x", server.version(name))):
                address = getattr(server, protocol).partition("://")[2]
                words = ("-m", name, *which, "-i", protocol, "-u", address, "--input-data", str(data), *short)
                output = made.run("perf_analyzer", *words)
                (per_s,) = re.findall(r"Throughput: ([\d.]+) infer/sec", output)[-1:]
                state_rate(f"perf_analyzer {name} {protocol} {' '.join(which)}", float(per_s))
                assert float(per_s) > 0, output


def test_mlperf_loadgens_server_scenario_gets_right_answers(server):
    with environment("mlcommons-loadgen==6.0.17") as made:
        words = (server.http, str(LOADGEN_PER_S), str(SECONDS), str(made.folder))
        output = made.run("python", str(LOADS / "loadgen_load.py"), *words)
        detail = (made.folder / "mlperf_log_detail.txt").read_text()
    expect_right(output, "LoadGen")
    assert '"key": "error_runtime"' not in detail and '"key": "error_invalid_test_settings"' not in detail
    assert "Scenario : Server" in output


def test_locust_gets_right_answers(server):
    with environment("locust==2.47.0") as made:
        words = ("--headless", "--users", "8", "--spawn-rate", "8", "--run-time", "300s", "--json")
        output = made.run("locust", "-f", str(LOADS / "locust_load.py"), "--host", server.http, *words)
    (found,) = json.loads(output)
    state_rate("locust", found["num_requests"] / (found["last_request_timestamp"] - found["start_time"]))
    assert found["num_failures"] == 0 and found["num_requests"] >= REQUESTS, output


def test_wrk_gets_right_answers(server):
    wrk = shutil.which("wrk")
    assert wrk, "wrk is missing: tools/system services, or apt-get install wrk"
    command = [wrk, "-t", "2", "-c", "16", "-d", f"{SECONDS}s", "-s", str(LOADS / "wrk_load.lua"), server.http]
    run = subprocess.run(command, check=False, capture_output=True, text=True)
    assert run.returncode == 0, run.stdout + run.stderr
    expect_right(run.stdout, "wrk")
