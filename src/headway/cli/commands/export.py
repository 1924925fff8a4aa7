"""Export releases: images, manifests, runs of MLflow, a compliance record, or C for devices."""

from __future__ import annotations

import os
import sys
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Literal

from headway.cli.main import AsJson, ProjectFolder
from headway.core import config
from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.core.plugins import load_sibling
from headway.core.settings.project import ProjectSection
from headway.core.settings.store import StoreSection
from headway.deployment import edge, kserve, kubernetes, mlflow, podman
from headway.deployment import image as images
from headway.deployment.python_packages import find_packages
from headway.registry.bundle import Bundle
from headway.registry.model_registry import ModelRegistry
from headway.registry.project import open_project
from headway.registry.sign import load_publisher, load_trusted
from headway.reporting.console import print_result
from headway.serving.settings.serve import ServeSection
from headway.storage import atomic

Form = Literal["oci", "kubernetes", "podman", "kserve", "mlflow", "record", "edge"]
EdgeFormat = Literal["c", "wasm", "wheels"]


def plugin(
    form: Form,
    to: str = "",
    *,
    release: str = "",
    format: EdgeFormat = "c",
    machine: Literal["x86_64", "aarch64"] = "x86_64",
    python: str = "",
    wheel: str = "",
    base: str = "",
    extra: tuple[str, ...] = (),
    image: str = "",
    name: str = "",
    namespace: str = "default",
    replicas: int = 2,
    max_replicas: int = 10,
    cpu: str = "1",
    memory: str = "512Mi",
    requests_per_s: int = 1000,
    keys_secret: str = "",
    without_keys: bool = False,
    monitoring_namespace: str = "monitoring",
    monitor_label: str = "",
    ingress_namespace: tuple[str, ...] = (),
    seen_claim: str = "",
    watch_image: str = "",
    watch_schedule: str = "0 3 * * *",
    retrain_schedule: str = "",
    run_schedule: str = "",
    job_memory: str = "2Gi",
    follow: bool = False,
    port: int = images.PORT,
    canary: str = "",
    canary_percent: int = 10,
    experiment: str = mlflow.EXPERIMENT,
    without_pdf: bool = False,
    project: ProjectFolder = Path("."),
    json: AsJson = False,
) -> None:
    """Write a verified release as a container image, without a daemon, or manifests that run such an image.

    The image holds the packages of this environment, the release, the trusted public keys and the settings of the
    server. It runs as an ordinary user with a read-only root, and holds no private key and no API key.

    Or export the releases that pointers name to MLflow: runs with evidence, model versions, and aliases. An alias of
    each pointer (live, canary) follows it. A release that was exported before is not exported again.

    Or write the compliance record of a release, signed by the publisher: model card, data card, and what the evidence
    shows of the AI Act, the NIST AI RMF and the GDPR, as HTML, PDF, OSCAL and CycloneDX. What is missing comes first.

    Or write a release of trees or of a small network as C99, signed by the publisher: one file with a header, which
    allocates nothing, and computes each row to the bit as the kernel does. It has a self-test of the release. With
    --format wasm it is compiled to WebAssembly, with a module of JavaScript that loads it in a browser. With --format
    wheels, a release of any engine is written with the wheels that its server needs, for Linux without a network.

    Example: headway export oci image --base base@sha256:... --project headway-demo
    Example: headway export kubernetes server.yaml --image registry.example/flights@sha256:... --project headway-demo
    Example: headway export podman pods.yaml --image registry.example/flights@sha256:... --project headway-demo
    Example: headway export kserve service.yaml --image registry.example/flights@sha256:... --project headway-demo
    Example: headway export mlflow https://mlflow.example --project headway-demo
    Example: headway export record record --project headway-demo
    Example: headway export edge edge --project headway-demo
    Example: headway export edge browser --format wasm --project headway-demo
    Example: headway export edge box --format wheels --machine aarch64 --python 3.11 --project headway-demo

    Parameters
    ----------
    form
        oci (an image, in a layout of the Open Container Initiative), kubernetes, podman, kserve (manifests), mlflow,
        record, or edge (folders).
    to
        For oci: new folder of the layout. For kubernetes, podman and kserve: file of the manifests, which is replaced.
        For mlflow: address of the tracking server, without a password; default: MLFLOW_TRACKING_URI.
        For record and edge: folder of the record or of the package; an earlier one there is replaced.
    release
        NAME@POINTER or NAME@DIGEST; default: the project's name at live.
    format
        For edge: c; wasm, which needs a compiler: pip install ziglang, or clang, its linker lld and wasi-libc; or
        wheels.
    machine
        For edge --format wheels: processor of the machine.
    python
        For edge --format wheels: version of Python there; default: that of this environment.
    wheel
        For edge --format wheels: headway's own wheel for that machine; default: that of this version, downloaded.
    base
        For oci: base image with this version of Python, FOLDER@sha256:... of an OCI layout.
    extra
        For oci, repeat for several: an extra of headway that the image holds as well, such as lab. Those that [store]
        needs are in it anyway.
    image
        For kubernetes, podman and kserve: the image of the release, as it is pulled, best by its digest.
    name
        Name of all objects; default: the name of the release.
    namespace
        Namespace of all objects.
    replicas
        Least number of pods; for podman: number of servers on the machine.
    max_replicas
        Largest number of pods.
    cpu
        Cores of a pod: 2 or 500m. The server starts as many workers.
    memory
        Memory of a pod: 512Mi.
    requests_per_s
        For kubernetes: requests per second and pod above which pods are added.
    keys_secret
        Secret with the file keys.toml; default: NAME-keys.
    without_keys
        Accept requests without an API key; use only behind an authenticating proxy.
    monitoring_namespace
        For kubernetes: namespace of Prometheus, which may read the metrics.
    monitor_label
        For kubernetes: NAME=VALUE by which the Prometheus operator selects a ServiceMonitor, such as
        release=kube-prometheus-stack; default: none.
    ingress_namespace
        For kubernetes: another namespace that may send requests, such as ingress-nginx; may be repeated.
    seen_claim
        PersistentVolumeClaim with the last updates of pointers that pods have seen, so that a new pod accepts no older
        copy of the store; default: each pod forgets them.
    watch_image
        For kubernetes and podman: image with the extra lab, for a job that runs `headway watch`.
    watch_schedule
        For kubernetes: its schedule, as cron writes it.
    retrain_schedule
        For kubernetes and podman: schedule of a second job, `headway retrain`, in the same image; default: none.
    run_schedule
        For kubernetes and podman: schedule of a job `headway run --once`, which watches, retrains and alerts, in place
        of these two; default: none.
    job_memory
        Memory of the pods of these jobs.
    follow
        For kubernetes and podman: servers follow the pointer in the shared store, so that a release, a rollout or a
        rollback needs no other image.
    port
        For podman: port of the first server; the others have the next ones.
    canary
        For kserve: image of another release, which gets a part of the traffic.
    canary_percent
        For kserve: percentage of the traffic that it gets.
    experiment
        For mlflow: experiment of the runs.
    without_pdf
        For record: make no PDF, which needs pip install 'headway[record]'.
    """
    if form == "mlflow":
        _export_to_mlflow(project, to, experiment=experiment, json=json)
        return
    if not to:
        raise ConfigError("nothing says where to write", where="TO", hint=f"headway export {form} NAME")
    if form == "record":
        export = load_sibling(__name__, "record", reads="a compliance record").export_record
        export(open_project(project), Path(to), reference=release, pdf=not without_pdf, json=json)
        return
    settings = config.load(project)
    registry = ModelRegistry.from_config(settings)
    pointer = release or f"{settings[ProjectSection].name}@live"
    bundle = registry.resolve(pointer)
    if form == "oci":
        _write_image(bundle, settings, registry, to=Path(to), base=base, extras=extra, json=json)
        return
    if form == "edge":
        if format == "wheels":
            own = Path(wheel) if wheel else None
            files = edge.wheel_files(
                bundle,
                settings,
                load_trusted(registry.trusted_keys),
                registry.operators(),
                machine=machine,
                python=python or f"3.{sys.version_info.minor}",
                wheel=own,
            )
        else:
            files = edge.wasm_files(bundle) if format == "wasm" else edge.package_files(bundle)
        _write_edge_package(bundle, files, registry, Path(to), format=format, json=json)
        return
    called = name or bundle.release.name
    workload = kubernetes.Workload(
        name=called,
        image=image,
        release=bundle.digest,
        namespace=namespace,
        replicas=replicas,
        max_replicas=max_replicas,
        cpu=cpu,
        memory=memory,
        requests_per_s=requests_per_s,
        keys_secret="" if without_keys else keys_secret or f"{called}-keys",
        monitoring_namespace=monitoring_namespace,
        monitor_label=monitor_label,
        ingress_namespaces=ingress_namespace,
        seen_claim=seen_claim,
        watch_image=watch_image,
        watch_schedule=watch_schedule,
        retrain_schedule=retrain_schedule,
        run_schedule=run_schedule,
        job_memory=job_memory,
        follow=pointer if follow else "",
        store=settings[StoreSection],
        s3_endpoint=os.environ.get("AWS_ENDPOINT_URL_S3") or os.environ.get("AWS_ENDPOINT_URL", ""),
        drain_s=settings[ServeSection].drain_s,
    )
    if form == "kserve":
        documents = kserve.manifests(workload, canary=canary, canary_percent=canary_percent)
    elif form == "podman":
        documents = podman.manifests(workload, settings, port=port)
    else:
        documents = kubernetes.manifests(workload, settings)
    to_yaml = load_sibling(kubernetes.__name__, "yaml", reads="a manifest").to_yaml
    atomic.write(Path(to), to_yaml(documents).encode())
    kinds = [document["kind"] for document in documents]
    notes = list(_notes(workload, settings, by_podman=form == "podman"))
    start = "podman kube play" if form == "podman" else "kubectl apply -f"
    text = "\n".join([f"{to} has {', '.join(kinds)}", *notes, f"next: {start} {to}"])
    print_result({"file": to, "kinds": kinds, "release": bundle.digest, "notes": notes}, text, json=json)


def _write_image(
    bundle: Bundle,
    settings: Config,
    registry: ModelRegistry,
    *,
    to: Path,
    base: str,
    extras: tuple[str, ...],
    json: bool,
) -> None:
    trusted = load_trusted(registry.trusted_keys)
    packages = find_packages((*extras, *images.store_extras(settings[StoreSection])))
    written = images.write_image(
        bundle, settings, trusted, registry.operators(), base=base, layout=to, packages=packages
    )
    text = (
        f"{to} is the image {written.digest}\n"
        f"release {written.release}, {written.packages} Python packages, {written.size_bytes / 1e6:.0f} MB compressed\n"
        f"next: skopeo copy oci:{to} docker://REGISTRY/{bundle.release.name}"
    )
    print_result(written._asdict(), text, json=json)


def _write_edge_package(
    bundle: Bundle,
    files: Mapping[str, bytes],
    registry: ModelRegistry,
    folder: Path,
    *,
    format: EdgeFormat,
    json: bool,
) -> None:
    publisher = load_publisher(registry.publisher_key)
    digest = edge.write_package(bundle, files, folder=folder, publisher=publisher)
    sizes = {name: len(content) for name, content in files.items()}
    after = {"c": f"make -C {folder}", "wasm": f"python -m http.server --directory {folder}"}
    lines = [
        f"{folder} is the edge package {digest}",
        f"of the release {bundle.digest}: {', '.join(name for name in files if '/' not in name)}",
    ]
    if format == "wheels":
        wheels = sorted((name for name in files if name.endswith(".whl")), key=lambda name: -sizes[name])
        lines += [f"  {sizes[name] / 1e6:6.1f} MB  {name}" for name in wheels]
        total, all_files = sum(sizes[name] for name in wheels), sum(sizes.values())
        lines.append(
            f"  {total / 1e6:6.1f} MB in {len(wheels)} wheels; {(all_files - total) / 1e6:.1f} MB of other files"
        )
    lines.append(f"next: {after.get(format) or f'copy {folder} to the machine, then: sh {folder}/install.sh'}")
    result = {"folder": str(folder), "package": digest, "release": bundle.digest, "files": sorted(files)}
    print_result({**result, "size_bytes": sizes}, "\n".join(lines), json=json)


def _export_to_mlflow(project: Path, to: str, *, experiment: str, json: bool) -> None:
    versions = mlflow.export(open_project(project), to=to, experiment=experiment)
    lines = [
        f"{version.model} version {version.version}{'' if version.is_new else ' (was there)'}: {version.release[:19]}, "
        f"run {version.run}, aliases: {', '.join(version.aliases)}"
        for version in versions
    ]
    lines += [
        f"next: mlflow.artifacts.download_artifacts('models:/{version.model}@{alias}')"
        for version in versions[:1]
        for alias in version.aliases[:1]
    ]
    print_result(versions, "\n".join(lines) or "no pointer names a release; aliases were removed", json=json)


def _notes(workload: kubernetes.Workload, settings: Config, *, by_podman: bool) -> Iterator[str]:
    """Yield what must be there first, and what is off."""
    secrets = {}
    if workload.keys_secret:
        secrets[workload.keys_secret] = "--from-file=keys.toml"
    if workload.store != StoreSection():
        secrets[kubernetes.store_secret(workload)] = "--from-env-file=store.env"
    if kubernetes.needs_publisher_key(workload, settings):
        secrets[kubernetes.publisher_secret(workload)] = "--from-file=publisher.pem"
    for name, option in secrets.items():
        yield f"needs: the Secret {name}" if by_podman else f"needs: kubectl create secret generic {name} {option}"
    if workload.store.logs == "":
        yield "the prediction log is off: [store] logs names no place that outlives a pod"
    if (workload.follow or workload.watch_image) and not workload.seen_claim:
        yield (
            "a pod forgets which updates of a pointer it saw, so a new pod would accept an older copy of the store: "
            "--seen-claim names a volume that outlives it"
        )
