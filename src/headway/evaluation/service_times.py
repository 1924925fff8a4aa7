"""Service times of a variant at a location, round trips over a network, and pauses of a machine, for a deployment plan.

A worker is occupied by a request for the time that the next one has to wait: the CPU time of the server's process, and
for a long engine call, which the server runs on a thread, the time of that call. The rest of a round trip on the same
machine (sockets, wake-ups, the client) delays the answer, and no other request waits for it.
"""

from __future__ import annotations

import http.client
from collections.abc import Sequence
from contextlib import closing, suppress
from datetime import UTC, datetime
from pathlib import Path
from time import perf_counter, sleep
from typing import NamedTuple
from urllib.parse import urlsplit

import msgspec
import numpy as np

from headway.core.arrays import Floats
from headway.core.contracts import Trial
from headway.core.errors import ConfigError, NotApplicable
from headway.core.plan import NetworkTimes, ServiceTimes
from headway.core.threads import this_machine
from headway.evaluation.context import Comparison
from headway.evaluation.load_generator import LoadGenerator
from headway.evaluation.machine_load import LoadMeter

IN_FLIGHT = (4, 16)
"""Requests in flight for which the time per request in a batch is measured."""
MAX_TIMES, MIN_TIMES = 20_000, 100
PAUSE_S = 5e-4
_TRIES, _ROWS = 4, 64
_MAX_PAGE_BYTES = 65_536
_PAGE = "a page that costs nothing: http://HOST:8080/v2/health/live"
_LEAST_SHARE = 0.2  # of the mean service time: no request takes less
_PAUSES_SHARE = 0.2  # of the time of a measurement
_LONG_US = 500.0  # the server runs longer engine calls on a thread, and reads other requests during them
_BLOCKS = 4


def measure_service_times(
    subject: Comparison, trial: Trial, *, location: str, seconds: float, accept_busy: bool = False
) -> ServiceTimes:
    """Measure a running server with one worker in closed loops: with one request in flight, then with several.

    Parameters
    ----------
    accept_busy
        Return the times although other processes used the cores; `busy` of the record says so.

    Raises
    ------
    NotApplicable
        If other processes used the cores, too few requests were answered, or the system does not report the CPU time
        of other processes.
    """
    rows = np.linspace(0, len(subject.rows) - 1, _ROWS).astype(np.int64)
    requests = [trial.request(subject.select(subject.rows[[row]])) for row in rows]
    watch = LoadMeter()
    watch.spin()
    alone = _loop(trial, requests, connections=1, seconds=seconds / 2)
    if len(alone.round_trips_us) < MIN_TIMES:
        raise NotApplicable(
            f"{len(alone.round_trips_us)} requests were answered in {seconds / 2:g} s, {MIN_TIMES} are needed",
            hint="headway measure --time 60s",
        )
    watch.spin()
    busy = watch.busy([float(np.median(block)) for block in np.array_split(alone.round_trips_us, _BLOCKS)])
    if busy and not accept_busy:
        raise NotApplicable(
            busy.what,
            hint="headway measure on a quiet machine; or with --accept-busy, if other processes always run there",
        )
    pauses = measure_pauses(max(seconds * _PAUSES_SHARE, 0.1))
    pauses_per_s = len(pauses) / max(seconds * _PAUSES_SHARE, 0.1)
    round_trips = without_pauses(alone.round_trips_us, pauses * 1e6, count=round(pauses_per_s * seconds / 2))
    mean_us = min(alone.occupied_us, float(round_trips.mean()))
    delay_us = float(round_trips.mean()) - mean_us
    times = np.maximum(round_trips - delay_us, _LEAST_SHARE * mean_us)[:MAX_TIMES]
    loops = [_loop(trial, requests, connections=count, seconds=seconds / 8) for count in IN_FLIGHT]
    return ServiceTimes(
        location=location,
        variant=subject.variant.digest,
        variant_name=subject.variant.name,
        machine=this_machine(),
        times_us=tuple(times.round(3).tolist()),
        delay_us=round(delay_us, 3),
        batch_us=tuple((loop.batch, round(loop.occupied_us, 3)) for loop in loops if loop.batch > 1),
        pauses_us=tuple((pauses * 1e6).round(3).tolist()),
        pauses_per_s=pauses_per_s,
        busy=busy.sign if busy else "",
        at=datetime.now(UTC).isoformat(timespec="seconds"),
    )


def without_pauses(times: Floats, pauses: Floats, *, count: int) -> Floats:
    """Return times of a sample less the pauses that came in them, in the order of the sample.

    `count` pauses came, in the longest times. No time falls below the median.
    """
    count = min(count, len(times)) if len(pauses) else 0
    if not count:
        return times
    longest = np.argsort(times)[-count:]
    lasting = np.quantile(pauses, (np.arange(count) + 0.5) / count)
    found = times.copy()
    middle = np.median(times)
    found[longest] = np.minimum(times[longest], np.maximum(times[longest] - lasting, middle))
    return found


def measure_pauses(seconds: float) -> Floats:
    """Return how late this thread woke up, s, each time that it was more than half a millisecond.

    It sleeps as a server does that waits for requests: a thread that works all the time is interrupted more often.
    """
    found = []
    began = now = perf_counter()
    while now - began < seconds:
        sleep(PAUSE_S)
        late = perf_counter() - now - PAUSE_S
        now = perf_counter()
        if late > PAUSE_S:
            found.append(late)
    return np.array(found, dtype=np.float64)


def measure_network(url: str, *, name: str, count: int, timeout_s: float = 10.0) -> NetworkTimes:
    """Measure round trips to a server over one connection that stays open: a GET each.

    The time of the server is counted as well, so `url` should be a page that costs nothing, as `/v2/health/live`. A
    request fails if it has no answer, or one with another status than 2xx.

    Raises ConfigError if the address is not one of HTTP, or no round trip can be measured.
    """
    scheme, host, port, path = _parts_of(url)
    times, failed, why = list[float](), 0, "the server closes the connection after each response"
    kind = http.client.HTTPSConnection if scheme == "https" else http.client.HTTPConnection
    with closing(kind(host, port, timeout=timeout_s)) as connection:
        for tried in range(2 * count + _TRIES):  # a request that has to connect as well is not counted
            if len(times) + failed == count or (not times and tried == _TRIES):
                break
            is_open = connection.sock is not None
            began = perf_counter()
            try:
                _get(connection, path)
            except (OSError, http.client.HTTPException) as error:
                failed, why = failed + 1, str(error)
                connection.close()
            else:
                times += [(perf_counter() - began) * 1e6] if is_open else []
    if not times:
        raise ConfigError(f"no round trip was measured: {why}", where=url, hint=_PAGE)
    at = datetime.now(UTC).isoformat(timespec="seconds")
    return NetworkTimes(name=name, times_us=tuple(np.round(times, 3).tolist()), n_failed=failed, url=url, at=at)


def _parts_of(url: str) -> tuple[str, str, int | None, str]:
    """Return scheme, host, port and path with query of an address."""
    try:
        parts = urlsplit(url)
        host, port = parts.hostname, parts.port
    except ValueError:
        host = None
    if not host or not url.isascii() or parts.scheme not in ("http", "https"):
        raise ConfigError(f"{url!r} is not an address", where="--network", hint=_PAGE)
    return parts.scheme, host, port, parts._replace(scheme="", netloc="", fragment="").geturl() or "/"


def _get(connection: http.client.HTTPConnection, path: str) -> None:
    """Request a page; raise HTTPException unless it has a status of 2xx and at most 64 KiB."""
    connection.request("GET", path)
    response = connection.getresponse()
    length = len(response.read(_MAX_PAGE_BYTES + 1))
    if not 200 <= response.status < 300:
        raise http.client.HTTPException(f"the answer has status {response.status}")
    if length > _MAX_PAGE_BYTES:
        raise http.client.HTTPException(f"the page has more than {_MAX_PAGE_BYTES:,} bytes")


class _Loop(NamedTuple):
    """Round trips of a closed loop, us, in order; the time for which each occupied a worker; requests of a batch."""

    round_trips_us: Floats
    occupied_us: float
    batch: int


def _loop(trial: Trial, requests: Sequence[bytes], *, connections: int, seconds: float) -> _Loop:
    """Run a closed loop, and compare the counters of the server before and after. Leave refused requests out."""
    with closing(LoadGenerator(trial, requests, connections=connections)) as caller:
        cpu_before, before = _cpu_us(trial.process), _counters(trial)
        run = caller.closed_loop(seconds)
        cpu, after = _cpu_us(trial.process), _counters(trial)
    round_trips = np.array([(call.done_s - call.sent_s) * 1e6 for call in run.calls if call.status == 200])
    n_answers = max(sum(call.status != 0 for call in run.calls), 1)
    used = max((cpu[process] - cpu_before.get(process, 0.0) for process in cpu), default=0.0) / n_answers
    answered = max(after.requests - before.requests, 1)
    batch = answered / max(after.executions - before.executions, 1)
    call_us = (after.engine_ns - before.engine_ns) / answered / 1e3
    return _Loop(
        round_trips_us=round_trips,
        occupied_us=call_us / batch if call_us > _LONG_US else max(used, call_us / batch),
        batch=round(batch),
    )


class _Counters(NamedTuple):
    """Counters of a server: answered requests, engine calls, and for each request the time of its engine call, ns."""

    requests: int
    executions: int
    engine_ns: int


def _counters(trial: Trial) -> _Counters:
    """Return the statistics of a server in Triton's form, summed over its models."""
    with closing(http.client.HTTPConnection(trial.host, trial.port, timeout=10.0)) as connection:
        connection.request("GET", "/v2/models/stats")
        body = connection.getresponse().read()
    try:
        models = msgspec.json.decode(body, type=_Statistics).model_stats
    except msgspec.MsgspecError as error:
        raise NotApplicable(f"the server has no statistics: {error}", hint="headway measure starts its own") from error
    return _Counters(
        sum(model.inference_stats.success.count for model in models),
        sum(model.execution_count for model in models),
        sum(model.inference_stats.compute_infer.ns for model in models),
    )


class _Duration(msgspec.Struct):
    count: int
    ns: int


class _InferStatistics(msgspec.Struct):
    success: _Duration
    compute_infer: _Duration


class _ModelStatistics(msgspec.Struct):
    execution_count: int
    inference_stats: _InferStatistics


class _Statistics(msgspec.Struct):
    """The fields of the response of `/v2/models/stats` that are read."""

    model_stats: list[_ModelStatistics]


def _cpu_us(process: int) -> dict[int, float]:
    """Return the CPU time of a process and its descendants, us, by process, without threads and children that ended."""
    found, pending = dict[int, float](), [process]
    try:
        while pending:
            pid = pending.pop()
            threads = [_thread(task) for task in _tasks(pid)]
            found[pid] = sum(cpu_us for cpu_us, _ in threads)
            pending += [child for _, children in threads for child in children]
    except (OSError, IndexError, ValueError) as error:
        raise NotApplicable(f"the CPU time of a server cannot be read: {error}", hint="measure on Linux") from error
    if not found[process]:
        raise NotApplicable(f"the CPU time of process {process} cannot be read", hint="measure on Linux")
    return found


def _tasks(pid: int) -> list[Path]:
    """Return the folders of the threads of a process, none if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        return list(Path(f"/proc/{pid}/task").iterdir())
    return []


def _thread(task: Path) -> tuple[float, list[int]]:
    """Return the CPU time of a thread, us, and the processes that it started; nothing if it has ended."""
    with suppress(FileNotFoundError, ProcessLookupError):
        cpu_us = int((task / "schedstat").read_text().split()[0]) / 1e3
        return cpu_us, list(map(int, (task / "children").read_text().split()))
    return 0.0, []
