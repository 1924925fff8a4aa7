"""Workers of Ray: tasks with Ray's own retries, on a cluster or on a Ray of our own that only this user can reach."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from typing import Any

import ray
from ray.util.scheduling_strategies import NodeAffinitySchedulingStrategy

from headway.core.errors import DataError, HeadwayError, PluginError
from headway.core.threads import cores, this_machine
from headway.core.workers import Result, Shared, Task, Workers, always

_RETRIES = 3
_ADDRESS = "127.0.0.1"
_AHEAD = 2
_STORE_BYTES = 1 << 28
_WORKER = {"POLARS_MAX_THREADS": "1", "OMP_NUM_THREADS": "1"}
_TOKEN = secrets.token_hex(32)  # one for the process, as Ray keeps the first that it reads
_OWN = {
    "RAY_AUTH_TOKEN": _TOKEN,
    "RAY_USAGE_STATS_ENABLED": "0",
    "RAY_ENABLE_WINDOWS_OR_OSX_CLUSTER": "0",
    **_WORKER,
}


@contextmanager
def open_workers(address: str, *, own: bool) -> Iterator[Workers]:
    """Connect to a cluster, or start a Ray of our own on loopback with a token, and end it afterwards."""
    if own:
        with _own_ray():
            yield RayWorkers()
        return
    try:
        ray.init(
            address,
            log_to_driver=False,
            logging_level=logging.ERROR,
            runtime_env={"env_vars": _WORKER},
            namespace="headway",
        )
    except (ConnectionError, RuntimeError, ValueError, ImportError) as error:
        raise PluginError(
            f"Ray cannot be reached: {str(error).partition(chr(10))[0]}",
            where=f"[compute] ray = '{address}'",
            hint="is the cluster up, of the same version, and its token in RAY_AUTH_TOKEN or RAY_AUTH_TOKEN_PATH?",
        ) from error
    try:
        yield RayWorkers()
    finally:
        ray.shutdown()


@contextmanager
def _own_ray() -> Iterator[None]:
    """Run a Ray on this machine; its processes get no setting of headway, which may name keys.

    A local Ray has token authentication on unless RAY_AUTH_MODE says otherwise, so that variable is removed as well.
    """
    folder = tempfile.mkdtemp(prefix="headway-ray-")
    environment = {name: value for name, value in os.environ.items() if not name.startswith(("HEADWAY_", "RAY_"))}
    try:
        with _environment(environment | _OWN):
            ray.init(
                "local",
                num_cpus=cores(),
                object_store_memory=_STORE_BYTES,
                include_dashboard=False,
                log_to_driver=False,
                logging_level=logging.ERROR,
                _node_ip_address=_ADDRESS,
                _temp_dir=folder,
            )
            if os.environ.get("RAY_AUTH_MODE") != "token" or ray.util.get_node_ip_address() != _ADDRESS:
                raise PluginError(
                    "Ray was imported before headway could close it to others",
                    hint="run headway in a process of its own, or start Ray and set RAY_ADDRESS",
                )
        yield
    finally:
        ray.shutdown()
        shutil.rmtree(folder, ignore_errors=True)


@contextmanager
def _environment(variables: dict[str, str]) -> Iterator[None]:
    """Replace the environment of this process for a while."""
    before = dict(os.environ)
    try:
        os.environ.clear()
        os.environ.update(variables)
        yield
    finally:
        os.environ.clear()
        os.environ.update(before)


class RayWorkers:
    """Tasks on a connected Ray: each on one CPU, or each with a node to itself."""

    def map(
        self,
        function: Callable[[Shared, Task], Result],
        shared: Shared,
        tasks: Iterable[Task],
        *,
        proceed: Callable[[], bool] = always,
        alone: bool = False,
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each task, in the order in which they end.

        More tasks are sent than there are CPUs, unless `proceed` may end them. A node on which the workers of a task
        that runs alone died gets no other one; the task runs on the next node.
        """
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(function)
        free = _whole_nodes() if alone else [{}] * _slots(_AHEAD if proceed is always else 1)
        sent, waiting, again = ray.put(shared), enumerate(tasks), list[tuple[int, Task]]()
        running: dict[Any, tuple[int, Task, dict[str, Any]]] = {}

        def start() -> None:
            while free and (item := again.pop() if again else next(waiting, None) if proceed() else None):
                options = free.pop()
                running[remote.options(**options).remote(sent, item[1])] = (*item, options)

        start()
        while running:
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            number, task, options = running.pop(done)
            try:
                result = _result(done)
            except _WorkersDied:
                if not options or not (free or running):
                    raise
                again.append((number, task))
            else:
                free.append(options)
                yield number, result
            start()


def _slots(for_each_cpu: int) -> int:
    """Return how many tasks are sent at a time."""
    return for_each_cpu * max(int(ray.cluster_resources().get("CPU", 1)), 1)


def _whole_nodes() -> list[dict[str, Any]]:
    """Return the options that give a task a whole node, for each node that is a machine of the kind of this one.

    The task has all CPUs of the node, so that no other task of Ray runs there, and as many threads as a process here.
    """
    cpus = {node["NodeID"]: int(node["Resources"].get("CPU", 0)) for node in ray.nodes() if node["Alive"]}
    pins = {name: NodeAffinitySchedulingStrategy(name, soft=False) for name, count in cpus.items() if count}
    ask = ray.remote(num_cpus=0, max_retries=_RETRIES)(this_machine)
    answers = {name: ask.options(scheduling_strategy=pin).remote() for name, pin in pins.items()}
    own = this_machine()
    same_kind = [name for name, answer in answers.items() if _result(answer) == own]
    if not same_kind:
        raise PluginError(
            "no node of Ray is a machine like this one, so what it measures says nothing about this one",
            where=f"{own.cpu}, {own.cores} cores, {own.system}, Python {own.python}",
            hint='run headway on a node of the cluster, or measure on this machine alone: ray = ""',
        )
    threads = {name: os.environ.get(name, str(own.cores)) for name in _WORKER}
    common = {"max_retries": _RETRIES, "runtime_env": {"env_vars": threads}}
    return [{**common, "num_cpus": cpus[name], "scheduling_strategy": pins[name]} for name in same_kind]


class _WorkersDied(DataError):
    """The workers of a task died as often as it was tried."""


def _result(done: Any) -> Any:
    """Return the result of a task; raise the error of headway that it raised, or DataError if its workers died."""
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, HeadwayError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise _WorkersDied(
            f"workers of Ray died {_RETRIES + 1} times on one task: {str(error).partition(chr(10))[0]}",
            hint="do they have enough memory, and is the file complete? The same command continues",
        ) from error
