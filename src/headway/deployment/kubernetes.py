"""Manifests of a server under Kubernetes: Deployment, Service, scaling, disruption, network, metrics, and CronJobs.

They follow the restricted profile of the Pod Security Standards. The pods of a Deployment run the image of one release,
and another release is another image, which replaces them one by one; or they follow a pointer in the shared store.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Mapping
from typing import Any
from urllib.parse import urlsplit

from headway.core.config import FILE, Config
from headway.core.errors import ConfigError
from headway.core.record import Record
from headway.core.settings.store import StoreSection
from headway.core.urls import without_password
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.personal import PersonalSection
from headway.deployment.image import KEYS, PORT, PROJECT, RELEASE_LABEL, STATE, USER
from headway.monitoring.settings.retrain import RetrainSection
from headway.registry.settings.trust import TrustSection

Json = dict[str, Any]

_NAME = re.compile(r"[a-z]([-a-z0-9]{0,50}[a-z0-9])?")  # 52 characters: the names of a CronJob's jobs add 11
_NAMESPACE = re.compile(r"[a-z0-9]([-a-z0-9]{0,61}[a-z0-9])?")
_IMAGE = re.compile(
    r"[A-Za-z0-9][A-Za-z0-9.-]*(:\d{1,5})?(/[a-z0-9]+([._-]+[a-z0-9]+)*)+(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
    r"|[a-z0-9]+([._-]+[a-z0-9]+)*(:[\w][\w.-]{0,127})?(@sha256:[0-9a-f]{64})?"
)
_CPU = re.compile(r"[1-9]\d{0,5}m|[1-9]\d{0,3}(\.\d{1,3})?|0\.\d{1,3}")
_MEMORY = re.compile(r"[1-9]\d{0,6}(Mi|Gi)")
_LABEL = re.compile(r"[A-Za-z0-9][A-Za-z0-9._/-]{0,61}[A-Za-z0-9]=[A-Za-z0-9]([A-Za-z0-9._-]{0,61}[A-Za-z0-9])?")
_CRON = re.compile(r"([\d*,/-]+ ){4}[\d*,/-]+|@(hourly|daily|midnight|weekly|monthly)")
_FORMS: Mapping[str, tuple[re.Pattern[str], str]] = {
    "name": (_NAME, "small letters, digits and -, from a letter to a letter or digit, at most 52"),
    "namespace": (_NAMESPACE, "small letters, digits and -, at most 63"),
    "image": (_IMAGE, "REGISTRY/NAME@sha256:..., or REGISTRY/NAME:TAG"),
    "canary": (_IMAGE, "REGISTRY/NAME@sha256:..., or REGISTRY/NAME:TAG"),
    "watch_image": (_IMAGE, "REGISTRY/NAME@sha256:..., or REGISTRY/NAME:TAG"),
    "watch_schedule": (_CRON, "five fields of cron, such as '0 3 * * *'"),
    "retrain_schedule": (_CRON, "five fields of cron, such as '0 4 * * *'"),
    "run_schedule": (_CRON, "five fields of cron, such as '0 3 * * *'"),
    "cpu": (_CPU, "cores, such as 2 or 500m"),
    "memory": (_MEMORY, "such as 512Mi or 2Gi"),
    "job_memory": (_MEMORY, "such as 512Mi or 2Gi"),
    "keys_secret": (_NAMESPACE, "name of a Secret: small letters, digits and -"),
    "monitoring_namespace": (_NAMESPACE, "small letters, digits and -, at most 63"),
    "ingress_namespace": (_NAMESPACE, "small letters, digits and -, at most 63"),
    "monitor_label": (_LABEL, "NAME=VALUE, such as release=kube-prometheus-stack"),
    "seen_claim": (_NAMESPACE, "name of a PersistentVolumeClaim: small letters, digits and -"),
}
PRE_STOP_S, SHUTDOWN_DELAY_S, _SPARE_S = 2, 5, 8
STATE_SIZE, JOB_STATE_SIZE = "2Gi", "10Gi"
"""What a pod may write before it is evicted: releases that it fetched, and for jobs the rows that they read."""
_SEEN = "/var/lib/headway-seen"
_METRIC = "headway_requests"
"""Requests per second, as prometheus-adapter names the rate of headway_requests_total."""


class Workload(Record, frozen=True, kw_only=True):
    """What the manifests of one server are made from; every text is checked when it is made.

    Parameters
    ----------
    name
        Name of all objects.
    image
        Image of the release, as the cluster pulls it.
    release
        Digest of the release, for an annotation.
    replicas, max_replicas
        Least and most pods.
    requests_per_s
        Requests per second and pod above which pods are added.
    keys_secret
        Secret with the file keys.toml; empty: requests need no key.
    monitoring_namespace
        Namespace of Prometheus, which may read the metrics.
    monitor_label
        NAME=VALUE by which the Prometheus operator selects a ServiceMonitor; empty: it takes all.
    ingress_namespaces
        Other namespaces that may send requests, such as that of an ingress controller.
    seen_claim
        PersistentVolumeClaim with the last updates of pointers that were seen, so that no pod accepts an older copy of
        the store; empty: that is forgotten with each pod.
    follow
        NAME@POINTER that the pods serve, and follow when it moves; empty: the release of the image.
    watch_image, watch_schedule
        Image with the extra lab, in which `headway watch` runs by a schedule; empty: no CronJob.
    retrain_schedule
        Schedule of `headway retrain` in the same image; empty: no CronJob of it.
    run_schedule
        Schedule of `headway run --once` in the same image, in place of the CronJob that watches; empty: none.
    job_memory
        Memory of the pods of these CronJobs.
    s3_endpoint
        URL of the S3 server; empty: Amazon's.
    """

    name: str
    image: str
    release: str
    namespace: str = "default"
    replicas: int = 2
    max_replicas: int = 10
    cpu: str = "1"
    memory: str = "512Mi"
    requests_per_s: int = 1000
    keys_secret: str = ""
    monitoring_namespace: str = "monitoring"
    monitor_label: str = ""
    ingress_namespaces: tuple[str, ...] = ()
    seen_claim: str = ""
    watch_image: str = ""
    watch_schedule: str = "0 3 * * *"
    retrain_schedule: str = ""
    run_schedule: str = ""
    job_memory: str = "2Gi"
    follow: str = ""
    store: StoreSection = StoreSection()
    s3_endpoint: str = ""
    drain_s: float = 10.0

    def __post_init__(self) -> None:
        for field, (_, hint) in _FORMS.items():
            text = getattr(self, field, "")
            if text:
                expect_form(field, text)
            elif field in ("name", "image", "namespace"):
                raise ConfigError("the value is empty", where=_flag(field), hint=hint)
        for namespace in self.ingress_namespaces:
            expect_form("ingress_namespace", namespace)
        for field in ("replicas", "requests_per_s"):
            if getattr(self, field) < 1:
                raise ConfigError(f"{getattr(self, field)} is less than 1", where=_flag(field), hint="1 or more")
        if self.max_replicas < self.replicas:
            raise ConfigError(
                f"{self.max_replicas} is less than --replicas {self.replicas}",
                where="--max-replicas",
                hint=f"{self.replicas} or more",
            )
        for field in ("retrain_schedule", "run_schedule"):
            if getattr(self, field) and not self.watch_image:
                raise ConfigError(
                    "no image is named in which to do that",
                    where=_flag(field),
                    hint="--watch-image IMAGE, with the extra lab",
                )
        if self.retrain_schedule and self.run_schedule:
            raise ConfigError(
                "headway run retrains as well", where="--retrain-schedule", hint="leave out --retrain-schedule"
            )
        if self.follow and not (self.store.state and self.store.blobs):
            raise ConfigError(
                "pods cannot follow a pointer that lies on this machine",
                where="--follow",
                hint="set state and blobs in [store] of headway.toml",
            )

    @property
    def labels(self) -> Json:
        """Labels by which the pods are found."""
        return {"app.kubernetes.io/name": "headway", "app.kubernetes.io/instance": self.name}


def expect_form(field: str, text: str) -> None:
    """Raise ConfigError unless a text has the form of its field, so that it cannot be read as anything else."""
    form, hint = _FORMS[field]
    if not form.fullmatch(text):
        near = re.sub(r"[^a-z0-9]+", "-", text.lower()).strip("-")
        better = f"{_flag(field)} {near}" if form in (_NAME, _NAMESPACE) and form.fullmatch(near) else hint
        raise ConfigError(f"{text!r} cannot be used in a manifest", where=_flag(field), hint=better)


def _flag(field: str) -> str:
    return f"--{field.replace('_', '-')}"


def manifests(workload: Workload, config: Config) -> list[Json]:
    """Return all objects of a server, in the order in which they are applied.

    Parameters
    ----------
    config
        The project, whose files the CronJobs read.

    Raises
    ------
    ConfigError
        If a CronJob is wanted, but could not read the log or the table, or `headway.toml` holds a password.
    """
    made = [
        deployment(workload),
        service(workload),
        autoscaler(workload),
        disruption_budget(workload),
        network_policy(workload),
        service_monitor(workload),
    ]
    return [*made, *(jobs(workload, config) if workload.watch_image else ())]


def _object(workload: Workload, kind: str, version: str, spec: Json, *, suffix: str = "") -> Json:
    metadata = {
        "name": f"{workload.name}{suffix}",
        "namespace": workload.namespace,
        "labels": {**workload.labels, "app.kubernetes.io/managed-by": "headway"},
    }
    return {"apiVersion": version, "kind": kind, "metadata": metadata, "spec": spec}


def deployment(workload: Workload) -> Json:
    """Return the Deployment, whose pods are replaced one by one, each once the next is ready."""
    template = {
        "metadata": {"labels": workload.labels, "annotations": {RELEASE_LABEL: workload.release}},
        "spec": {
            **pod_security(),
            "terminationGracePeriodSeconds": PRE_STOP_S + SHUTDOWN_DELAY_S + round(workload.drain_s) + _SPARE_S,
            "topologySpreadConstraints": [
                {
                    "maxSkew": 1,
                    "topologyKey": "kubernetes.io/hostname",
                    "whenUnsatisfiable": "ScheduleAnyway",
                    "labelSelector": {"matchLabels": workload.labels},
                }
            ],
            "containers": [server_container(workload)],
            "volumes": volumes(workload),
        },
    }
    spec = {
        "selector": {"matchLabels": workload.labels},
        "strategy": {"type": "RollingUpdate", "rollingUpdate": {"maxUnavailable": 0, "maxSurge": 1}},
        "template": template,
    }
    return _object(workload, "Deployment", "apps/v1", spec)


def pod_security() -> Json:
    """Return what every pod has: no token of the cluster, no variables named after services, an ordinary user."""
    return {
        "automountServiceAccountToken": False,
        "enableServiceLinks": False,
        "securityContext": {
            "runAsNonRoot": True,
            "runAsUser": USER,
            "runAsGroup": USER,
            "fsGroup": USER,
            "seccompProfile": {"type": "RuntimeDefault"},
        },
    }


def server_container(workload: Workload) -> Json:
    """Return the container of the server, with probes and an orderly stop."""
    return {
        "name": "server",
        "image": workload.image,
        **({"args": ["serve", workload.follow, "--project", PROJECT]} if workload.follow else {}),
        "env": environment(workload),
        **_store_secret(workload),
        "ports": [{"name": "http", "containerPort": PORT}],
        **probes(),
        "lifecycle": {"preStop": {"sleep": {"seconds": PRE_STOP_S}}},
        **limits(workload),
        "volumeMounts": [
            {"name": "state", "mountPath": STATE},
            *_seen_mount(workload),
            *(
                [{"name": "keys", "mountPath": KEYS.rpartition("/")[0], "readOnly": True}]
                if workload.keys_secret
                else ()
            ),
        ],
    }


def environment(workload: Workload) -> list[Json]:
    """Return the settings that the cluster decides; without a place for the log that outlives a pod, it is off."""
    values = {
        "HEADWAY_SERVE_SHUTDOWN_DELAY_S": str(SHUTDOWN_DELAY_S),
        **({} if workload.keys_secret else {"HEADWAY_SERVE_WITHOUT_KEYS": "true"}),
        **({} if workload.store.logs else {"HEADWAY_SERVE_LOG_MODE": "off"}),
        **({"HEADWAY_TRUST_LAST_SEEN": f"{_SEEN}/last_seen.json"} if workload.seen_claim else {}),
    }
    return [{"name": name, "value": value} for name, value in values.items()]


def _store_secret(workload: Workload) -> Json:
    """Return the Secret with the passwords of [store], as variables of the environment."""
    if workload.store == StoreSection():
        return {}
    return {"envFrom": [{"secretRef": {"name": store_secret(workload)}}]}


def store_secret(workload: Workload) -> str:
    """Return the name of the Secret with the passwords of [store], such as PGPASSWORD and AWS_SECRET_ACCESS_KEY."""
    return f"{workload.name}-store"


def probes() -> Json:
    """Return the probes: started and ready once the releases are verified and loaded, alive while it answers.

    A pod that its CPU limit slows down answers late: it has five minutes to start, and is restarted after one minute
    without an answer.
    """
    ready, live = ({"path": f"/v2/health/{name}", "port": "http"} for name in ("ready", "live"))
    return {
        "startupProbe": {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 150},
        "readinessProbe": {"httpGet": ready, "periodSeconds": 2, "timeoutSeconds": 5, "failureThreshold": 3},
        "livenessProbe": {"httpGet": live, "periodSeconds": 10, "timeoutSeconds": 10, "failureThreshold": 6},
    }


def limits(workload: Workload, *, memory: str = "") -> Json:
    """Return the resources of a container, from which the server takes its number of workers, and its rights."""
    size = {"cpu": workload.cpu, "memory": memory or workload.memory}
    return {
        "resources": {"requests": size, "limits": size},
        "securityContext": {
            "allowPrivilegeEscalation": False,
            "readOnlyRootFilesystem": True,
            "capabilities": {"drop": ["ALL"]},
        },
    }


def volumes(workload: Workload) -> list[Json]:
    """Return the volumes of a server: the only folders that it writes to, and its API keys."""
    keys = {"name": "keys", "secret": {"secretName": workload.keys_secret}}
    state = {"name": "state", "emptyDir": {"sizeLimit": STATE_SIZE}}
    return [state, *_seen_volume(workload), *([keys] if workload.keys_secret else ())]


def _seen_volume(workload: Workload) -> list[Json]:
    """Return the volume that outlives a pod, with the last updates of pointers that were seen; none without a claim."""
    claim = {"claimName": workload.seen_claim}
    return [{"name": "seen", "persistentVolumeClaim": claim}] if workload.seen_claim else []


def _seen_mount(workload: Workload) -> list[Json]:
    return [{"name": "seen", "mountPath": _SEEN}] if workload.seen_claim else []


def service(workload: Workload) -> Json:
    """Return the Service, at port 80."""
    ports = [{"name": "http", "port": 80, "targetPort": "http"}]
    return _object(workload, "Service", "v1", {"selector": workload.labels, "ports": ports})


def autoscaler(workload: Workload) -> Json:
    """Return the HorizontalPodAutoscaler, on the server's own count of requests, and on CPU time."""
    spec = {
        "scaleTargetRef": {"apiVersion": "apps/v1", "kind": "Deployment", "name": workload.name},
        "minReplicas": workload.replicas,
        "maxReplicas": workload.max_replicas,
        "metrics": [
            {
                "type": "Pods",
                "pods": {
                    "metric": {"name": _METRIC},
                    "target": {"type": "AverageValue", "averageValue": str(workload.requests_per_s)},
                },
            },
            {
                "type": "Resource",
                "resource": {"name": "cpu", "target": {"type": "Utilization", "averageUtilization": 70}},
            },
        ],
        "behavior": {"scaleDown": {"stabilizationWindowSeconds": 300}},
    }
    return _object(workload, "HorizontalPodAutoscaler", "autoscaling/v2", spec)


def disruption_budget(workload: Workload) -> Json:
    """Return the PodDisruptionBudget: a node that is drained takes one pod at a time."""
    selector = {"matchLabels": workload.labels}
    spec = {"maxUnavailable": 1, "unhealthyPodEvictionPolicy": "AlwaysAllow", "selector": selector}
    return _object(workload, "PodDisruptionBudget", "policy/v1", spec)


def network_policy(workload: Workload) -> Json:
    """Return the NetworkPolicy: requests from its and the named namespaces, and to names and stores only."""
    namespaces = [
        {"namespaceSelector": {"matchLabels": {"kubernetes.io/metadata.name": namespace}}}
        for namespace in (workload.monitoring_namespace, *workload.ingress_namespaces)
    ]
    dns = {"ports": [{"protocol": protocol, "port": 53} for protocol in ("UDP", "TCP")]}
    stores = [{"protocol": "TCP", "port": port} for port in _store_ports(workload)]
    spec = {
        "podSelector": {"matchLabels": workload.labels},
        "policyTypes": ["Ingress", "Egress"],
        "ingress": [{"from": [{"podSelector": {}}, *namespaces], "ports": [{"protocol": "TCP", "port": "http"}]}],
        "egress": [dns, *([{"ports": stores}] if stores else ())],
    }
    return _object(workload, "NetworkPolicy", "networking.k8s.io/v1", spec)


def _store_ports(workload: Workload) -> list[int]:
    endpoint, store = urlsplit(workload.s3_endpoint), workload.store
    s3 = endpoint.port or (80 if endpoint.scheme == "http" else 443)
    usual = {"postgresql": 5432, "s3": s3, "redis": 6379, "rediss": 6379}
    used = (store.state, store.blobs, store.logs, store.feed, store.online)
    addresses = [urlsplit(address) for address in used if address]
    return sorted({address.port or usual.get(address.scheme, 443) for address in addresses})


def service_monitor(workload: Workload) -> Json:
    """Return the ServiceMonitor, by which Prometheus finds the metrics; the operator finds it by its label."""
    spec = {
        "selector": {"matchLabels": workload.labels},
        "endpoints": [{"port": "http", "path": "/metrics", "interval": "15s"}],
    }
    monitor = _object(workload, "ServiceMonitor", "monitoring.coreos.com/v1", spec)
    name, _, value = workload.monitor_label.partition("=")
    monitor["metadata"]["labels"] |= {name: value} if name else {}
    return monitor


_PROJECT = "/etc/headway-project"
_TRUSTED, _OPERATORS = "trusted_keys.txt", "operator_keys.txt"
_CONTRACT, _PUBLISHER = "contract.toml", "publisher.pem"
_PUBLISHER_SECRET = "/etc/headway-publisher"
_JOB_STATE, _JOB_KEY = f"{STATE}/state", f"{STATE}/publisher/{_PUBLISHER}"
_LOCAL_SOURCES = ("sqlite", "duckdb")


def jobs(workload: Workload, config: Config) -> Iterator[Json]:
    """Yield the ConfigMap of a project, and the CronJobs that watch its live release and retrain it.

    Raises ConfigError if a pod could not read what they need, or `headway.toml` holds a password.
    """
    if not (workload.store.state and workload.store.blobs and workload.store.logs):
        raise ConfigError(
            "a CronJob cannot watch what each pod keeps for itself",
            where="--watch-image",
            hint="set state, blobs and logs in [store] of headway.toml",
        )
    _expect_shared_source(config)
    yield _project(workload, config)
    watch = ["watch", "--source", "log", "--every", "1d", "--project", _PROJECT]
    work = {"watch": (workload.watch_schedule, watch)}
    if workload.retrain_schedule:
        work["retrain"] = workload.retrain_schedule, ["retrain", "--project", _PROJECT]
    if workload.run_schedule:
        work = {"run": (workload.run_schedule, ["run", "--once", "--if-due", "--project", _PROJECT])}
    for name, (schedule, arguments) in work.items():
        pod = _job_pod(workload, name, arguments)
        if name != "watch" and needs_publisher_key(workload, config):
            pod = _with_publisher_key(workload, pod)
        yield _cron_job(workload, name, schedule, pod)


def needs_publisher_key(workload: Workload, config: Config) -> bool:
    """Return whether a job signs what it does: a promotion, or the proof of an erasure."""
    promotes = bool(workload.retrain_schedule or workload.run_schedule) and config[RetrainSection].mode == "auto"
    return promotes or bool(workload.run_schedule and config[PersonalSection].retention)


def _expect_shared_source(config: Config) -> None:
    """Raise ConfigError if the table of a project is a file of this machine."""
    source = config[DataSection].source
    scheme, is_address, _ = source.partition("://")
    if scheme in _LOCAL_SOURCES if is_address else source and ":" not in source:
        raise ConfigError(
            f"a pod cannot read '{config[DataSection].name}', a file of this machine",
            where="[data] source",
            hint='copy the table to where pods read it: source = "s3://BUCKET/PREFIX" (parquet), or a database',
        )


def _project(workload: Workload, config: Config) -> Json:
    """Return the ConfigMap with the files of a project: settings, trusted keys, contract, and its own functions."""
    trust = config[TrustSection]
    paths = {
        FILE: FILE,
        _TRUSTED: trust.trusted_keys,
        _OPERATORS: trust.operator_keys,
        _CONTRACT: config[DataSection].contract,
    }
    for reference in (config[DataSection].source, config[DataSection].snapshot, config[ModelSection].train):
        module, is_function, _ = reference.partition(":")
        if is_function and "://" not in reference:
            paths[f"{module}.py"] = f"{module}.py"
    files = {name: config.path(path).read_text("utf-8") for name, path in paths.items() if config.path(path).is_file()}
    for line in files.get(FILE, "").splitlines():
        if without_password(line) != line:
            raise ConfigError(
                "a ConfigMap must not hold a password",
                where=FILE,
                hint="the environment, or a file outside the project",
            )
    made = _object(workload, "ConfigMap", "v1", {}, suffix="-project")
    del made["spec"]
    return {**made, "data": files}


def _job_pod(workload: Workload, work: str, arguments: list[str]) -> Json:
    """Return the pod of a job; its name is that of who acts, in the history."""
    values = {
        "HEADWAY_PROJECT_STATE": _JOB_STATE,
        "HEADWAY_TRUST_TRUSTED_KEYS": _TRUSTED,
        "HEADWAY_TRUST_OPERATOR_KEYS": _OPERATORS,
        "HEADWAY_TRUST_LAST_SEEN": f"{_SEEN if workload.seen_claim else _JOB_STATE}/last_seen.json",
        "HEADWAY_DATA_CONTRACT": _CONTRACT,
        "LOGNAME": f"{workload.name}-{work}",
    }
    container = {
        "name": work,
        "image": workload.watch_image,
        "args": arguments,
        "env": [{"name": name, "value": value} for name, value in values.items()],
        **_store_secret(workload),
        **limits(workload, memory=workload.job_memory),
        "volumeMounts": [
            {"name": "state", "mountPath": STATE},
            *_seen_mount(workload),
            {"name": "project", "mountPath": _PROJECT, "readOnly": True},
        ],
    }
    return {
        **pod_security(),
        "restartPolicy": "Never",
        "containers": [container],
        "volumes": [
            {"name": "state", "emptyDir": {"sizeLimit": JOB_STATE_SIZE}},
            *_seen_volume(workload),
            {"name": "project", "configMap": {"name": f"{workload.name}-project"}},
        ],
    }


def _with_publisher_key(workload: Workload, pod: Json) -> Json:
    """Return a pod with the publisher's key, copied so that only the job's user reads it: a mounted Secret is wider."""
    (container,) = pod["containers"]
    copy = {
        "name": "publisher-key",
        "image": workload.watch_image,
        "command": ["install", "-D", "-m", "0400", f"{_PUBLISHER_SECRET}/{_PUBLISHER}", _JOB_KEY],
        **limits(workload),
        "volumeMounts": [
            {"name": "state", "mountPath": STATE},
            {"name": "publisher", "mountPath": _PUBLISHER_SECRET, "readOnly": True},
        ],
    }
    key = {"name": "HEADWAY_TRUST_PUBLISHER_KEY", "value": _JOB_KEY}
    secret = {"name": "publisher", "secret": {"secretName": publisher_secret(workload)}}
    return {
        **pod,
        "initContainers": [copy],
        "containers": [{**container, "env": [*container["env"], key]}],
        "volumes": [*pod["volumes"], secret],
    }


def publisher_secret(workload: Workload) -> str:
    """Return the name of the Secret with the file publisher.pem, which only the job that retrains has."""
    return f"{workload.name}-publisher"


def _cron_job(workload: Workload, work: str, schedule: str, pod: Json) -> Json:
    job = {
        "backoffLimit": 0,
        "template": {"metadata": {"labels": {"app.kubernetes.io/name": f"headway-{work}"}}, "spec": pod},
    }
    spec = {
        "schedule": schedule,
        "concurrencyPolicy": "Forbid",
        "failedJobsHistoryLimit": 3,
        "successfulJobsHistoryLimit": 3,
        "jobTemplate": {"spec": job},
    }
    return _object(workload, "CronJob", "batch/v1", spec, suffix=f"-{work}")
