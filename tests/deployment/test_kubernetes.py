"""Manifests of Kubernetes: valid, restricted, readable in one way only, and the same as the Helm chart's."""

from __future__ import annotations

import importlib
import subprocess
import sys
from pathlib import Path

import pytest
import yaml
from tests.house.source_tree import ROOT
from tests.serving.running import project, release

from headway.cli.main import main
from headway.core import config
from headway.core.errors import ConfigError
from headway.core.sections import StoreSection
from headway.deployment import kserve, kubernetes
from headway.deployment._yaml import to_yaml

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example:5000/ml/flights@{DIGEST}"
INFO = 1
CHART = ROOT / "deploy/helm/headway"
SHARED = StoreSection(
    state="postgresql://ann@db.example/headway", logs="s3://logs/flights", feed="redis://r.example:6380/0"
)


def workload(**fields: object) -> kubernetes.Workload:
    return kubernetes.Workload(
        **{"name": "flights", "image": IMAGE, "release": DIGEST, "keys_secret": "flights-keys", **fields}
    )


def watched(tmp_path: Path, **fields: object) -> list[dict]:
    """Return the manifests of a server with a CronJob, by the files of a project."""
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    settings = config.load(tmp_path, environment={})
    return kubernetes.manifests(workload(watch_image=IMAGE, store=SHARED, **fields), settings)


def by_kind(documents: list[dict]) -> dict[str, dict]:
    return {document["kind"]: document for document in documents}


def services_package(name: str):
    """Import a package of the extra `services`; the test fails without it."""
    try:
        return importlib.import_module(name)
    except ModuleNotFoundError:
        pytest.fail(f"{name} is not installed\n  try: tools/venv services")


def test_a_server_has_all_of_its_objects(tmp_path):
    assert [document["kind"] for document in watched(tmp_path)] == [
        "Deployment",
        "Service",
        "HorizontalPodAutoscaler",
        "PodDisruptionBudget",
        "NetworkPolicy",
        "ServiceMonitor",
        "ConfigMap",
        "CronJob",
    ]


def test_every_pod_follows_the_restricted_profile(tmp_path):
    found = by_kind(watched(tmp_path))
    pods = [
        found["Deployment"]["spec"]["template"]["spec"],
        found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"],
    ]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {
            "type": "RuntimeDefault"
        }
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in pod["containers"]:
            assert container["securityContext"] == {
                "allowPrivilegeEscalation": False,
                "readOnlyRootFilesystem": True,
                "capabilities": {"drop": ["ALL"]},
            }
            assert container["resources"]["requests"] == container["resources"]["limits"]


def test_a_pod_has_time_to_leave_the_balancer_and_to_answer_what_it_began():
    pod = by_kind(kubernetes.manifests(workload(drain_s=20.0), config.Config()))["Deployment"]["spec"]["template"][
        "spec"
    ]
    (container,) = pod["containers"]
    delay = next(int(entry["value"]) for entry in container["env"] if entry["name"] == "HEADWAY_SERVE_SHUTDOWN_DELAY_S")
    assert pod["terminationGracePeriodSeconds"] > container["lifecycle"]["preStop"]["sleep"]["seconds"] + delay + 20
    assert container["readinessProbe"]["httpGet"]["path"] == "/v2/health/ready"
    assert container["livenessProbe"]["httpGet"]["path"] == "/v2/health/live"


def environment(documents: list[dict]) -> dict[str, str]:
    (container,) = by_kind(documents)["Deployment"]["spec"]["template"]["spec"]["containers"]
    return {entry["name"]: entry["value"] for entry in container["env"]}


def test_the_log_is_off_unless_it_outlives_a_pod():
    assert environment(kubernetes.manifests(workload(), config.Config()))["HEADWAY_SERVE_LOG_MODE"] == "off"
    assert "HEADWAY_SERVE_LOG_MODE" not in environment(kubernetes.manifests(workload(store=SHARED), config.Config()))


def test_requests_need_a_key_unless_the_caller_says_otherwise():
    pod = by_kind(kubernetes.manifests(workload(), config.Config()))["Deployment"]["spec"]["template"]["spec"]
    assert {"name": "keys", "secret": {"secretName": "flights-keys"}} in pod["volumes"]
    open_to_all = kubernetes.manifests(workload(keys_secret=""), config.Config())
    assert environment(open_to_all)["HEADWAY_SERVE_WITHOUT_KEYS"] == "true"
    assert [volume["name"] for volume in by_kind(open_to_all)["Deployment"]["spec"]["template"]["spec"]["volumes"]] == [
        "state"
    ]


def test_a_pod_reaches_only_names_and_its_stores():
    egress = by_kind(kubernetes.manifests(workload(store=SHARED), config.Config()))["NetworkPolicy"]["spec"]["egress"]
    assert [[port["port"] for port in rule["ports"]] for rule in egress] == [[53, 53], [443, 5432, 6380]]
    alone = by_kind(kubernetes.manifests(workload(), config.Config()))["NetworkPolicy"]["spec"]["egress"]
    assert len(alone) == 1


def test_a_cron_job_watches_the_shared_log_with_the_files_of_the_project(tmp_path):
    found = by_kind(watched(tmp_path, watch_schedule="*/15 * * * *"))
    (container,) = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert (
        container["args"][:3] == ["watch", "--source", "log"] and found["CronJob"]["spec"]["schedule"] == "*/15 * * * *"
    )
    assert found["ConfigMap"]["data"] == {"headway.toml": '[project]\nname = "flights"\n'}


def test_a_cron_job_without_a_shared_log_is_an_error():
    with pytest.raises(ConfigError, match="cannot watch a log that each pod keeps for itself") as error:
        kubernetes.manifests(workload(watch_image=IMAGE), config.Config())
    assert error.value.hint == "set state and logs in [store] of headway.toml"


def test_a_password_does_not_get_into_a_config_map(tmp_path):
    (tmp_path / "headway.toml").write_text('[data]\nsource = "postgresql://ann:secret@db/flights"\n')
    settings = config.load(tmp_path, environment={})
    with pytest.raises(ConfigError, match="a ConfigMap must not hold a password"):
        kubernetes.manifests(workload(watch_image=IMAGE, store=SHARED), settings)


@pytest.mark.parametrize(
    ("field", "text", "hint"),
    [
        ("name", "Flights_2013", "--name flights-2013"),
        ("name", "flights: {}", "--name flights"),
        ("name", "2013", "small letters"),
        ("name", "f" * 53, "small letters"),
        ("name", "", "small letters"),
        ("namespace", "ml\nkind: Secret", "--namespace ml-kind-secret"),
        ("image", "", "REGISTRY/NAME@sha256:..."),
        ("image", "flights:latest\n", "REGISTRY/NAME@sha256:..."),
        ("image", "registry.example/Flights", "REGISTRY/NAME@sha256:..."),
        ("image", "registry.example/flights@sha256:12", "REGISTRY/NAME@sha256:..."),
        ("cpu", "two", "cores, such as"),
        ("memory", "512", "such as 512Mi"),
        ("keys_secret", "a b", "--keys-secret a-b"),
        ("watch_schedule", "daily", "five fields of cron"),
        ("monitoring_namespace", "-", "small letters"),
        ("replicas", 0, "1 or more"),
        ("requests_per_s", 0, "1 or more"),
        ("max_replicas", 1, "2 or more"),
    ],
)
def test_what_would_break_a_manifest_is_an_error_with_a_hint(field, text, hint):
    with pytest.raises(ConfigError) as error:
        workload(**{field: text})
    assert error.value.where == f"--{field.replace('_', '-')}" and error.value.hint.startswith(hint)


@pytest.mark.parametrize(
    "image", ["flights", "ml/flights:1.2_a", "localhost:5000/a/b__c", IMAGE, f"flights:1@{DIGEST}"]
)
def test_images_are_named_as_registries_name_them(image):
    assert workload(image=image).image == image


@pytest.mark.parametrize(
    "text", ["off", "1e3", "0x1F", "012", "1_000", "~", "12:30", "true", "a: b", "", "a\nb\n", "# c", "é"]
)
def test_yaml_reads_every_text_as_text(text):
    written = to_yaml([{"value": text}])
    assert yaml.safe_load(written) == {"value": text}
    assert '"' in written or "|" in written


def test_one_runtime_serves_the_release_and_a_canary():
    runtime, service = kserve.manifests(workload(), canary=f"ml/flights@{DIGEST}", canary_percent=5)
    assert runtime["spec"]["containers"][0]["args"] == ["serve", "/mnt/models", "--project", "/opt/headway/project"]
    assert service["spec"]["predictor"]["model"]["storageUri"] == f"oci://{IMAGE}"
    (canary,) = service["spec"]["canary"]
    assert (canary["trafficPercent"], canary["predictor"]["model"]["storageUri"]) == (5, f"oci://ml/flights@{DIGEST}")
    assert "canary" not in kserve.manifests(workload())[1]["spec"]


@pytest.mark.parametrize(
    ("image", "percent", "message"),
    [("a b", 5, "cannot be used"), (IMAGE, 0, "is not a percentage"), (IMAGE, 100, "is not a")],
)
def test_a_canary_that_cannot_be_is_an_error(image, percent, message):
    with pytest.raises(ConfigError, match=message):
        kserve.manifests(workload(), canary=image, canary_percent=percent)


@pytest.mark.slow
@pytest.mark.parametrize(("form", "kinds"), [("kubernetes", 6), ("kserve", 2)])
def test_the_command_writes_the_manifests_and_says_what_they_need(tmp_path, capsys, form, kinds):
    project(tmp_path, release(name="flights"))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "export",
                form,
                str(tmp_path / "server.yaml"),
                "--image",
                IMAGE,
                "--release",
                "flights@live",
                "--project",
                str(tmp_path),
            ]
        )
    out = capsys.readouterr().out
    documents = list(yaml.safe_load_all((tmp_path / "server.yaml").read_text()))
    assert ended.value.code == 0 and len(documents) == kinds
    assert "needs: kubectl create secret generic flights-keys --from-file=keys.toml" in out
    assert "the prediction log is off" in out and f"kubectl apply -f {tmp_path}" in out


@pytest.mark.slow
def test_a_name_that_kubernetes_refuses_is_an_error_of_the_command(tmp_path, capsys):
    project(tmp_path, release(name="Flights_2"))
    with pytest.raises(SystemExit) as ended:
        main(
            [
                "export",
                "kubernetes",
                str(tmp_path / "a.yaml"),
                "--image",
                IMAGE,
                "--release",
                "Flights_2@live",
                "--project",
                str(tmp_path),
            ]
        )
    assert ended.value.code == 2 and not (tmp_path / "a.yaml").exists()
    assert "'Flights_2' cannot be used in a manifest\n  at: --name\n  try: --name flights-2" in capsys.readouterr().err


@pytest.mark.services
@pytest.mark.parametrize("version", ["1.30", "latest"])
def test_manifests_are_valid_by_the_schemas_of_kubernetes(tmp_path, version):
    validate = services_package("kubernetes_validate")
    for document in watched(tmp_path):
        if document["kind"] != "ServiceMonitor":  # a resource of the Prometheus operator
            validate.validate(document, validate.latest_version() if version == "latest" else version, strict=True)


@pytest.mark.services
def test_the_chart_has_no_findings_and_gives_the_same_objects_as_the_command():
    helm = services_package("helm_python")
    findings = helm.lint(str(CHART), values={"image": IMAGE})
    assert not findings["errors"] and all(finding["severity"] <= INFO for finding in findings["messages"]), findings
    values = {"image": IMAGE, "release": DIGEST, "storePorts": [443, 5432, 6380], "sharedLog": True, "drainSeconds": 10}
    rendered = chart_documents(helm, values)
    expected = kubernetes.manifests(workload(store=SHARED), config.Config())
    assert rendered == {document["kind"]: document for document in expected}
    open_to_all = kubernetes.manifests(workload(keys_secret="", release=""), config.Config())
    assert chart_documents(helm, {"image": IMAGE, "withoutKeys": True}) == by_kind(open_to_all)


def chart_documents(helm, values: dict) -> dict[str, dict]:
    """Render the chart as release `flights`; the manager of an object is headway, so that it compares."""
    with helm.Chart.load(str(CHART)) as chart:
        files = chart.render(values, name="flights", namespace="default")
    documents = [document for text in files.values() for document in yaml.safe_load_all(text) if document]
    for document in documents:
        assert document["metadata"]["labels"].pop("app.kubernetes.io/managed-by") == "Helm"
        document["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "headway"
    return by_kind(documents)


@pytest.mark.services
def test_the_chart_needs_an_image():
    helm = services_package("helm_python")
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(Exception, match="image"):
        chart.render({}, name="flights", namespace="default")


@pytest.mark.services
def test_manifests_of_kserve_are_read_by_its_own_models(tmp_path):
    """KServe pins other versions of our libraries, so its models are read in an environment of its own."""
    (tmp_path / "service.yaml").write_text(to_yaml(kserve.manifests(workload(), canary=IMAGE)))
    subprocess.run([sys.executable, "-m", "venv", str(tmp_path / "venv")], check=True)
    python = str(tmp_path / "venv/bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-input", "kserve==0.21.0"], check=True)
    checked = subprocess.run(
        [python, str(ROOT / "tests/deployment/kserve_models.py"), str(tmp_path / "service.yaml")],
        check=False,
        capture_output=True,
        text=True,
    )
    assert checked.returncode == 0, checked.stderr
    assert checked.stdout == "V1alpha1ServingRuntime\nV1beta1InferenceService\n"
