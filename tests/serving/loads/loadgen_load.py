"""Load by MLPerf LoadGen's Server scenario: Poisson arrivals, each sample one request; the last line is JSON.

Arguments: the server's address, requests per second, seconds, and a folder for the logs of LoadGen.
"""

from __future__ import annotations

import array
import http.client
import json
import sys
import threading
import time
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

import mlperf_loadgen as lg

SAMPLES, CALLERS = 256, 8
ROWS = [(float(number), number / 3, -2.5 * number) for number in range(SAMPLES)]
counts = Counter({"requests": 0, "failed": 0, "wrong": 0})
own = threading.local()


def ask(host: str, row: tuple[float, ...]) -> float:
    """Return the answer for a row, over the connection of this thread."""
    if not hasattr(own, "connection"):
        own.connection = http.client.HTTPConnection(host, timeout=30)
    inputs = [{"name": "rows", "datatype": "FP64", "shape": [1, 3], "data": row}]
    headers = {"Content-Type": "application/json"}
    own.connection.request("POST", "/v2/models/flights/infer", json.dumps({"inputs": inputs}), headers)
    answer = own.connection.getresponse()
    body = answer.read()
    if answer.status != 200:
        raise OSError(f"status {answer.status}")
    return float(json.loads(body)["outputs"][0]["data"][0])


def complete(host: str, sample: lg.QuerySample) -> None:
    """Answer a sample; LoadGen gets the value as bytes."""
    row, value = ROWS[sample.index], float("nan")
    try:
        value = ask(host, row)
    except OSError:
        counts["failed"] += 1
    counts["requests"] += 1
    counts["wrong"] += not abs(value - sum(row) / 3) < 1e-9
    content = array.array("d", [value])
    address, _ = content.buffer_info()
    lg.QuerySamplesComplete([lg.QuerySampleResponse(sample.id, address, content.itemsize)])


def main(host: str, per_s: float, seconds: float, folder: Path) -> None:
    """Run the scenario."""
    settings = lg.TestSettings()
    settings.scenario, settings.mode = lg.TestScenario.Server, lg.TestMode.PerformanceOnly
    settings.server_target_qps = per_s
    settings.server_target_latency_ns = 100_000_000
    settings.min_duration_ms, settings.min_query_count = int(seconds * 1000), 100
    logs = lg.LogSettings()
    logs.log_output.outdir, logs.log_output.copy_summary_to_stdout = str(folder), True
    with ThreadPoolExecutor(CALLERS) as pool:
        library = lg.ConstructQSL(SAMPLES, SAMPLES, lambda _: None, lambda _: None)
        system = lg.ConstructSUT(lambda asked: [pool.submit(complete, host, sample) for sample in asked], lambda: None)
        began = time.perf_counter()
        lg.StartTestWithLogSettings(system, library, settings, logs, "audit.config")
        took = time.perf_counter() - began
        lg.DestroySUT(system)
        lg.DestroyQSL(library)
    sys.stdout.write(f"{json.dumps({**counts, 'seconds': took})}\n")


if __name__ == "__main__":
    main(sys.argv[1].removeprefix("http://"), float(sys.argv[2]), float(sys.argv[3]), Path(sys.argv[4]))
