"""Manifests of a release under KServe: a ServingRuntime, and an InferenceService with an optional canary."""

from __future__ import annotations

from typing import Any

from headway.core.errors import ConfigError
from headway.deployment.image import PORT, PROJECT, RELEASE_LABEL
from headway.deployment.kubernetes import (
    Workload,
    environment,
    expect_form,
    limits,
    pod_security,
    probes,
    server_container,
    volumes,
)

MOUNTED = "/mnt/models"
"""Where KServe mounts the model of an image, whose folder `/models` holds the release."""
FORMAT = "headway"


def manifests(workload: Workload, *, canary: str = "", canary_percent: int = 10) -> list[dict[str, Any]]:
    """Return the ServingRuntime of a server and the InferenceService of its release.

    Parameters
    ----------
    canary
        Image of another release, to which `canary_percent` of the traffic goes; empty: none.

    Raises
    ------
    ConfigError
        If the image or the percentage of the canary cannot be used.
    """
    spec: dict[str, Any] = {"predictor": _predictor(workload, workload.image)}
    if canary:
        expect_form("canary", canary)
        if not 1 <= canary_percent <= 99:
            raise ConfigError(f"{canary_percent} is not a percentage", where="--canary-percent", hint="1 to 99")
        spec["canary"] = [{"trafficPercent": canary_percent, "predictor": _predictor(workload, canary)}]
    service = {
        "apiVersion": "serving.kserve.io/v1beta1",
        "kind": "InferenceService",
        "metadata": {
            **_metadata(workload),
            "annotations": {
                "serving.kserve.io/deploymentMode": "Standard",
                "serving.kserve.io/autoscalerClass": "hpa",
                RELEASE_LABEL: workload.release,
            },
        },
        "spec": spec,
    }
    return [_runtime(workload), service]


def _metadata(workload: Workload) -> dict[str, Any]:
    labels = {**workload.labels, "app.kubernetes.io/managed-by": "headway"}
    return {"name": workload.name, "namespace": workload.namespace, "labels": labels}


def _runtime(workload: Workload) -> dict[str, Any]:
    """Return the runtime: the server of the image, with the model that KServe mounts."""
    container = {
        **server_container(workload),
        "name": "kserve-container",
        "args": ["serve", MOUNTED, "--project", PROJECT],
        "env": environment(workload),
        "ports": [{"name": "http", "containerPort": PORT, "protocol": "TCP"}],
        **probes(),
        **limits(workload),
    }
    return {
        "apiVersion": "serving.kserve.io/v1alpha1",
        "kind": "ServingRuntime",
        "metadata": _metadata(workload),
        "spec": {
            "annotations": {"prometheus.kserve.io/port": str(PORT), "prometheus.kserve.io/path": "/metrics"},
            "supportedModelFormats": [{"name": FORMAT, "version": "1", "autoSelect": True, "priority": 1}],
            "protocolVersions": ["v2"],
            "multiModel": False,
            "containers": [container],
            "volumes": volumes(workload),
        },
    }


def _predictor(workload: Workload, image: str) -> dict[str, Any]:
    return {
        "minReplicas": workload.replicas,
        "maxReplicas": workload.max_replicas,
        "scaleMetric": "cpu",
        "scaleTarget": 70,
        **pod_security(),
        "model": {
            "modelFormat": {"name": FORMAT, "version": "1"},
            "runtime": workload.name,
            "protocolVersion": "v2",
            "storageUri": f"oci://{image}",
        },
    }
