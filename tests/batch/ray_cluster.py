"""A cluster of two nodes on this machine, and what a driver of its own process does on it: `python -c` calls these."""

from __future__ import annotations

import json
import os
import signal
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path

import ray
from ray.cluster_utils import Cluster

from headway import pipeline
from headway.batch.compute import open_workers
from headway.batch.settings.compute import ComputeSection
from headway.core.config import Config
from headway.registry.project import open_project

TASKS, BUSY_S = 6, 0.1
NODE = {"num_cpus": 1, "object_store_memory": 80 << 20}


@contextmanager
def two_nodes() -> Iterator[None]:
    """Start the nodes, and let `[compute] ray = "auto"` find them."""
    cluster = Cluster(initialize_head=True, head_node_args={**NODE, "include_dashboard": False})
    try:
        cluster.add_node(**NODE)
        cluster.wait_for_nodes()
        os.environ["RAY_ADDRESS"] = cluster.address
        yield
    finally:
        ray.shutdown()
        cluster.shutdown()


@dataclass(frozen=True, kw_only=True)
class Place:
    """Where and when a task ran, and on how many threads."""

    number: int
    node: str
    began: float
    threads: str
    ended: float = field(default=0.0, compare=False)


def busy(shared: tuple[str, str], number: int) -> Place:
    """Use a core for a while; the first task on a node other than the driver's kills that node if it shall."""
    own, mark = shared
    node, began = ray.get_runtime_context().get_node_id(), time.monotonic()
    if node != own and Path(mark).exists():
        Path(mark).unlink()
        for process in (os.getppid(), os.getpid()):  # the node, and this worker, which would still answer
            os.kill(process, signal.SIGKILL)
    while time.monotonic() < began + BUSY_S:
        pass
    threads = os.environ["OMP_NUM_THREADS"]
    return Place(number=number, node=node, began=began, threads=threads, ended=time.monotonic())


def run(folder: str) -> None:
    """Search again from the baseline of the last search of a project, run tasks alone, and then lose a node.

    Where the tasks ran before and after that is written to standard output, as JSON.
    """
    project, mark = open_project(Path(folder), flags={"compute.ray": "auto"}), Path(folder, "kill_one")
    found = []
    with two_nodes():
        pipeline.optimize(project, pipeline.last_search(project).baseline, pipeline.periods(project))
        with open_workers(Config(ComputeSection(ray="auto")), alone=True) as workers:
            shared = ray.get_runtime_context().get_node_id(), str(mark)
            for change in (mark.exists, mark.touch):
                change()
                places = [place for _, place in workers.map(busy, shared, range(TASKS), alone=True)]
                found.append([[one.number, one.node, one.began, one.ended, one.threads] for one in places])
    sys.stdout.write(json.dumps(found))
