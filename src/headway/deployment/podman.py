"""Pods of a server and its nightly jobs for `podman kube play`, on a machine without Kubernetes.

They are the pods that Kubernetes would run, as far as podman can: without probes, which podman runs by a curl that the
image does not have, and each server at a port of its own on the network of the machine. A job is a pod that ends;
`podman pod start` runs it again.
"""

from __future__ import annotations

from typing import Any

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.deployment import kubernetes
from headway.deployment.kubernetes import Workload

Json = dict[str, Any]

_MAX_PORT = 65_535
_LEFT_OUT = ("startupProbe", "readinessProbe", "livenessProbe", "lifecycle", "ports")


def manifests(workload: Workload, config: Config, *, port: int) -> list[Json]:
    """Return the project's files, `workload.replicas` servers from a port on, and the jobs.

    Raises ConfigError as the manifests of Kubernetes do, and if there are too few ports.
    """
    if not 1 <= port <= _MAX_PORT + 1 - workload.replicas:
        raise ConfigError(
            f"{port} is not the first of {workload.replicas} ports", where="--port", hint=f"1 to {_MAX_PORT}"
        )
    found = list(kubernetes.jobs(workload, config)) if workload.watch_image else []
    files = [document for document in found if document["kind"] == "ConfigMap"]
    servers = [server(workload, number + 1, port=port + number) for number in range(workload.replicas)]
    return [*files, *servers, *(_job(document) for document in found if document["kind"] == "CronJob")]


def server(workload: Workload, number: int, *, port: int) -> Json:
    """Return the pod of a server, `NAME-NUMBER`, which listens at a port of the machine."""
    template = kubernetes.deployment(workload)["spec"]["template"]
    spec = {name: value for name, value in template["spec"].items() if name != "topologySpreadConstraints"}
    container = {name: value for name, value in spec["containers"][0].items() if name not in _LEFT_OUT}
    container["env"] = [*container["env"], {"name": "HEADWAY_SERVE_PORT", "value": str(port)}]
    return _pod(f"{workload.name}-{number}", template["metadata"], {**spec, "containers": [container]})


def _job(cron_job: Json) -> Json:
    template = cron_job["spec"]["jobTemplate"]["spec"]["template"]
    return _pod(cron_job["metadata"]["name"], template["metadata"], template["spec"])


def _pod(name: str, metadata: Json, spec: Json) -> Json:
    return {
        "apiVersion": "v1",
        "kind": "Pod",
        "metadata": {"name": name, **metadata},
        "spec": {"hostNetwork": True, **spec},
    }
