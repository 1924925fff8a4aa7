"""Workers of Ray: tasks with Ray's own retries, on a cluster or on a Ray of our own that only this user can reach."""

from __future__ import annotations

import logging
import os
import secrets
import shutil
import tempfile
from collections.abc import Callable, Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import ray

from headway.batch.compute import Result, Shared, Task, Workers
from headway.core.errors import DataError, HeadwayError, PluginError
from headway.core.threads import cores

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
    """Tasks on a connected Ray, each on one CPU."""

    def map(
        self, function: Callable[[Shared, Task], Result], shared: Shared, tasks: Sequence[Task]
    ) -> Iterator[tuple[int, Result]]:
        """Yield the number and the result of each task, in the order in which they end."""
        remote = ray.remote(num_cpus=1, max_retries=_RETRIES)(function)
        sent, running, waiting = ray.put(shared), dict[Any, int](), iter(enumerate(tasks))
        ahead = _AHEAD * max(int(ray.cluster_resources().get("CPU", 1)), 1)
        while True:
            for number, task in waiting:
                running[remote.remote(sent, task)] = number
                if len(running) >= ahead:
                    break
            if not running:
                return
            (done, *_), _ = ray.wait(list(running), num_returns=1)
            yield running.pop(done), _result(done)


def _result(done: Any) -> Any:
    """Return the result of a task; raise the error of headway that it raised, or DataError if its workers died."""
    try:
        return ray.get(done)
    except ray.exceptions.RayTaskError as error:
        if isinstance(error.cause, HeadwayError):
            raise error.cause from None
        raise
    except ray.exceptions.RayError as error:
        raise DataError(
            f"workers of Ray died {_RETRIES + 1} times on one task: {str(error).partition(chr(10))[0]}",
            hint="do they have enough memory, and is the file complete? The same command continues",
        ) from error
