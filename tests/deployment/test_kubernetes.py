"""Manifests of Kubernetes: valid, restricted, readable in one way only, and the same as the Helm chart's."""

from __future__ import annotations

import copy
import importlib
import shutil
import subprocess
import sys
from http.client import HTTPConnection
from pathlib import Path

import pytest
import yaml
from tests.house.source_tree import ROOT
from tests.serving.running import loaded, project, release, serving

from headway.cli.main import main
from headway.core import config
from headway.core.errors import ConfigError
from headway.core.settings.store import StoreSection
from headway.data.settings.data import DataSection
from headway.deployment import kserve, kubernetes
from headway.deployment._yaml import to_yaml
from headway.registry.settings.trust import TrustSection

DIGEST = "sha256:" + "ab" * 32
IMAGE = f"registry.example:5000/ml/flights@{DIGEST}"
INFO = 1
CHART = ROOT / "deploy/helm/headway"
SHARED = StoreSection(
    state="postgresql://ann@db.example/headway",
    blobs="s3://models/flights",
    logs="s3://logs/flights",
    feed="redis://r.example:6380/0",
)


def workload(**fields: object) -> kubernetes.Workload:
    return kubernetes.Workload(
        **{"name": "flights", "image": IMAGE, "release": DIGEST, "keys_secret": "flights-keys", **fields}
    )


def watched(tmp_path: Path, *, toml: str = "", **fields: object) -> list[dict]:
    """Return the manifests of a server with CronJobs, by the files of a project."""
    (tmp_path / "headway.toml").write_text(f'[project]\nname = "flights"\n{toml}')
    settings = config.load(tmp_path, environment={})
    return kubernetes.manifests(workload(watch_image=IMAGE, store=SHARED, **fields), settings)


def job(documents: list[dict], work: str) -> dict:
    """Return the pod of a CronJob."""
    (found,) = [document for document in documents if document["metadata"]["name"] == f"flights-{work}"]
    return found["spec"]["jobTemplate"]["spec"]["template"]["spec"]


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
    documents = watched(tmp_path, toml='[retrain]\nmode = "auto"\n', retrain_schedule="0 4 * * *")
    pods = [by_kind(documents)["Deployment"]["spec"]["template"]["spec"]]
    pods += [job(documents, work) for work in ("watch", "retrain")]
    for pod in pods:
        assert pod["securityContext"]["runAsNonRoot"] and pod["securityContext"]["seccompProfile"] == {
            "type": "RuntimeDefault"
        }
        assert pod["automountServiceAccountToken"] is False and pod["enableServiceLinks"] is False
        assert {"hostNetwork", "hostPID", "hostIPC"}.isdisjoint(pod)
        assert all("hostPath" not in volume for volume in pod["volumes"])
        for container in (*pod.get("initContainers", ()), *pod["containers"]):
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


def test_all_objects_lead_to_the_pods_of_the_server_and_to_their_port(tmp_path):
    found = by_kind(watched(tmp_path))
    pod, service = found["Deployment"]["spec"]["template"], found["Service"]
    labels = pod["metadata"]["labels"]
    (spread,) = pod["spec"]["topologySpreadConstraints"]
    assert service["spec"]["selector"] == labels == spread["labelSelector"]["matchLabels"]
    for kind in ("Deployment", "PodDisruptionBudget"):
        assert found[kind]["spec"]["selector"] == {"matchLabels": labels}, kind
    assert found["NetworkPolicy"]["spec"]["podSelector"] == {"matchLabels": labels}
    job = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["metadata"]["labels"]
    assert not labels.items() <= job.items()
    (port,) = service["spec"]["ports"]
    (container,) = pod["spec"]["containers"]
    assert {entry["name"]: entry["containerPort"] for entry in container["ports"]} == {port["targetPort"]: 8080}
    (ingress,) = found["NetworkPolicy"]["spec"]["ingress"]
    assert ingress["ports"] == [{"protocol": "TCP", "port": port["targetPort"]}]
    probes = [container[name]["httpGet"]["port"] for name in ("startupProbe", "readinessProbe", "livenessProbe")]
    assert set(probes) == {port["targetPort"]}
    monitor = found["ServiceMonitor"]["spec"]
    assert monitor["selector"]["matchLabels"].items() <= service["metadata"]["labels"].items()
    assert [endpoint["port"] for endpoint in monitor["endpoints"]] == [port["name"]]
    scaled = found["HorizontalPodAutoscaler"]["spec"]["scaleTargetRef"]
    assert scaled == {"apiVersion": "apps/v1", "kind": "Deployment", "name": found["Deployment"]["metadata"]["name"]}


def test_probes_wait_for_a_pod_that_its_cpu_limit_slows_down():
    (container,) = by_kind(kubernetes.manifests(workload(cpu="100m"), config.Config()))["Deployment"]["spec"][
        "template"
    ]["spec"]["containers"]
    probes = {name: container[f"{name}Probe"] for name in ("startup", "readiness", "liveness")}
    assert all(probe["timeoutSeconds"] >= 5 and probe["failureThreshold"] >= 3 for probe in probes.values())
    seconds = {name: probe["periodSeconds"] * probe["failureThreshold"] for name, probe in probes.items()}
    assert seconds["startup"] >= 300 and seconds["liveness"] >= 60 and seconds["readiness"] <= 10


def test_each_folder_that_a_pod_writes_to_has_a_limit(tmp_path):
    documents = watched(tmp_path, retrain_schedule="0 4 * * *")
    pods = [by_kind(documents)["Deployment"]["spec"]["template"]["spec"], job(documents, "watch")]
    pods += [job(documents, "retrain"), kserve.manifests(workload())[0]["spec"]]
    folders = [volume["emptyDir"] for pod in pods for volume in pod["volumes"] if "emptyDir" in volume]
    assert [folder["sizeLimit"] for folder in folders] == ["2Gi", "10Gi", "10Gi", "2Gi"]


def test_the_operator_finds_the_monitor_by_its_label_and_the_named_namespaces_send_requests():
    fields = {"monitor_label": "release=prometheus", "ingress_namespaces": ("ingress-nginx", "gateway")}
    found = by_kind(kubernetes.manifests(workload(**fields), config.Config()))
    assert found["ServiceMonitor"]["metadata"]["labels"]["release"] == "prometheus"
    assert (
        found["ServiceMonitor"]["spec"]["selector"]["matchLabels"].items()
        <= found["Service"]["metadata"]["labels"].items()
    )
    (ingress,) = found["NetworkPolicy"]["spec"]["ingress"]
    own, *others = ingress["from"]
    named = [other["namespaceSelector"]["matchLabels"]["kubernetes.io/metadata.name"] for other in others]
    assert own == {"podSelector": {}} and named == ["monitoring", "ingress-nginx", "gateway"]


def test_what_was_seen_of_pointers_outlives_a_pod_with_a_claim(tmp_path):
    documents = watched(tmp_path, follow="flights@live", seen_claim="flights-seen")
    for pod in (by_kind(documents)["Deployment"]["spec"]["template"]["spec"], job(documents, "watch")):
        (volume,) = [volume for volume in pod["volumes"] if "persistentVolumeClaim" in volume]
        (container,) = pod["containers"]
        mounts = {mount["name"]: mount["mountPath"] for mount in container["volumeMounts"]}
        (file,) = [entry["value"] for entry in container["env"] if entry["name"] == "HEADWAY_TRUST_LAST_SEEN"]
        assert volume["persistentVolumeClaim"] == {"claimName": "flights-seen"}
        assert file.startswith(f"{mounts[volume['name']]}/")


def test_the_autoscaler_counts_what_the_server_counts_from_its_first_second_on(tmp_path):
    """prometheus-adapter calls the rate of a counter by its name without `_total`."""
    found = by_kind(watched(tmp_path))
    metrics = found["HorizontalPodAutoscaler"]["spec"]["metrics"]
    (name,) = [entry["pods"]["metric"]["name"] for entry in metrics if entry["type"] == "Pods"]
    (endpoint,) = found["ServiceMonitor"]["spec"]["endpoints"]
    with serving(loaded()) as server:
        connection = HTTPConnection("127.0.0.1", server.port, timeout=10)
        connection.request("GET", endpoint["path"])
        lines = connection.getresponse().read().decode().splitlines()
        connection.close()
    assert f"# TYPE {name}_total counter" in lines
    assert [line.rpartition(" ")[2] for line in lines if line.startswith(f"{name}_total{{")] == ["0"]


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
    elsewhere = workload(store=SHARED, s3_endpoint="http://s3.example:8333")
    policy = by_kind(kubernetes.manifests(elsewhere, config.Config()))["NetworkPolicy"]
    assert [port["port"] for port in policy["spec"]["egress"][1]["ports"]] == [5432, 6380, 8333]
    alone = by_kind(kubernetes.manifests(workload(), config.Config()))["NetworkPolicy"]["spec"]["egress"]
    assert len(alone) == 1


def test_a_cron_job_watches_the_shared_log_with_the_files_of_the_project(tmp_path):
    found = by_kind(watched(tmp_path, watch_schedule="*/15 * * * *"))
    (container,) = found["CronJob"]["spec"]["jobTemplate"]["spec"]["template"]["spec"]["containers"]
    assert (
        container["args"][:3] == ["watch", "--source", "log"] and found["CronJob"]["spec"]["schedule"] == "*/15 * * * *"
    )
    assert found["ConfigMap"]["data"] == {"headway.toml": '[project]\nname = "flights"\n'}


def test_the_jobs_have_the_functions_the_keys_and_the_contract_of_the_project(tmp_path):
    toml = (
        '[trust]\ntrusted_keys = "keys/ours.txt"\noperator_keys = "keys/operators.txt"\n[model]\ntrain = "mine:train"\n'
        '[data]\nsource = "s3://tables/flights"\ncontract = "rules/flights.toml"\n'
    )
    for name in ("keys/ours.txt", "keys/operators.txt", "mine.py", "rules/flights.toml"):
        (tmp_path / name).parent.mkdir(exist_ok=True)
        (tmp_path / name).write_text(name)
    documents = watched(tmp_path, toml=toml)
    data = by_kind(documents)["ConfigMap"]["data"]
    assert data.pop("headway.toml").endswith(toml)
    assert data == {
        "trusted_keys.txt": "keys/ours.txt",
        "operator_keys.txt": "keys/operators.txt",
        "mine.py": "mine.py",
        "contract.toml": "rules/flights.toml",
    }
    environment = {entry["name"]: entry["value"] for entry in job(documents, "watch")["containers"][0]["env"]}
    (tmp_path / "pod").mkdir()
    (tmp_path / "pod/headway.toml").write_text(f"{toml}[store]\nstate = 'postgresql://ann@db.example/headway'\n")
    settings = config.load(tmp_path / "pod", environment=environment)
    assert settings.path(settings[TrustSection].trusted_keys) == tmp_path / "pod/trusted_keys.txt"
    assert settings.path(settings[TrustSection].operator_keys) == tmp_path / "pod/operator_keys.txt"
    assert settings[DataSection].contract == "contract.toml"
    assert settings[TrustSection].last_seen.startswith("/var/lib/headway/")  # the folder of the keys is read-only


@pytest.mark.parametrize("mode", ["suggest", "auto"])
def test_only_a_job_that_may_retrain_by_itself_has_the_key_of_the_publisher(tmp_path, mode):
    documents = watched(tmp_path, toml=f'[retrain]\nmode = "{mode}"\n', retrain_schedule="0 4 * * *", job_memory="3Gi")
    pod = job(documents, "retrain")
    assert pod["containers"][0]["args"][0] == "retrain"
    assert pod["containers"][0]["resources"]["limits"]["memory"] == "3Gi"
    assert ("flights-publisher" in str(pod)) == (mode == "auto")
    assert "flights-publisher" not in str(job(documents, "watch"))


@pytest.mark.parametrize(
    ("toml", "signs"),
    [("", False), ('[retrain]\nmode = "auto"\n', True), ('[personal]\nretention = "90d"\n', True)],
)
def test_one_job_may_do_the_work_of_a_schedule_and_signs_only_what_it_must(tmp_path, toml, signs):
    documents = watched(tmp_path, toml=toml, run_schedule="0 3 * * *")
    names = [document["metadata"]["name"] for document in documents if document["kind"] == "CronJob"]
    assert names == ["flights-run"]
    pod = job(documents, "run")
    assert pod["containers"][0]["args"] == ["run", "--once", "--if-due", "--project", "/etc/headway-project"]
    assert ("flights-publisher" in str(pod)) == signs


def test_two_jobs_that_retrain_are_refused():
    with pytest.raises(ConfigError, match="headway run retrains as well"):
        workload(watch_image=IMAGE, store=SHARED, retrain_schedule="0 4 * * *", run_schedule="0 3 * * *")


@pytest.mark.parametrize("source", ["table.parquet", "tables", "sqlite:///flights.db", "duckdb:///flights.duckdb"])
def test_a_job_cannot_read_a_table_on_this_machine(tmp_path, source):
    with pytest.raises(ConfigError, match=r"a pod cannot read '.*', a file of this machine") as error:
        watched(tmp_path, toml=f'[data]\nsource = "{source}"\n')
    assert error.value.hint.startswith("copy the table to where pods read it")


@pytest.mark.parametrize("source", ["", "s3://tables/flights", "postgresql://ann@db/flights", "mine:load"])
def test_a_job_reads_a_table_that_is_elsewhere(tmp_path, source):
    assert job(watched(tmp_path, toml=f'[data]\nsource = "{source}"\n'), "watch")


def test_an_address_above_another_one_is_not_taken_for_a_password(tmp_path):
    toml = '[store]\nblobs = "s3://models/flights"\nstate = "postgresql://ann@db.example/headway"\n'
    assert by_kind(watched(tmp_path, toml=toml))["ConfigMap"]["data"]["headway.toml"].endswith(toml)


def test_the_pods_follow_a_pointer_in_the_shared_store(tmp_path):
    pod = by_kind(watched(tmp_path, follow="flights@live"))["Deployment"]["spec"]["template"]["spec"]
    assert pod["containers"][0]["args"] == ["serve", "flights@live", "--project", "/opt/headway/project"]
    fixed = by_kind(watched(tmp_path))["Deployment"]["spec"]["template"]["spec"]
    assert "args" not in fixed["containers"][0]


def test_a_cron_job_without_a_shared_log_is_an_error():
    with pytest.raises(ConfigError, match="cannot watch what each pod keeps for itself") as error:
        kubernetes.manifests(workload(watch_image=IMAGE), config.Config())
    assert error.value.hint == "set state, blobs and logs in [store] of headway.toml"


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
        ("retrain_schedule", "daily", "five fields of cron"),
        ("retrain_schedule", "0 4 * * *", "--watch-image IMAGE"),
        ("run_schedule", "daily", "five fields of cron"),
        ("run_schedule", "0 3 * * *", "--watch-image IMAGE"),
        ("job_memory", "2", "such as 512Mi"),
        ("follow", "flights@live", "set state and blobs in [store]"),
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


def export(folder: Path, form: str, *flags: str) -> tuple[int, Path]:
    """Write manifests of a project by the command; return its exit code and their file."""
    file = folder / "server.yaml"
    with pytest.raises(SystemExit) as ended:
        main(["export", form, str(file), "--image", IMAGE, "--project", str(folder), *flags])
    return int(ended.value.code or 0), file


@pytest.mark.slow
@pytest.mark.parametrize(("form", "kinds"), [("kubernetes", 6), ("kserve", 2)])
def test_the_command_writes_the_manifests_and_says_what_they_need(tmp_path, capsys, form, kinds):
    project(tmp_path, release(name="flights"))
    code, file = export(tmp_path, form, "--release", "flights@live")
    out = capsys.readouterr().out
    assert code == 0 and len(list(yaml.safe_load_all(file.read_text()))) == kinds
    assert "needs: kubectl create secret generic flights-keys --from-file=keys.toml" in out
    assert "the prediction log is off" in out and f"kubectl apply -f {tmp_path}" in out


@pytest.mark.slow
def test_a_name_that_kubernetes_refuses_is_an_error_of_the_command(tmp_path, capsys):
    project(tmp_path, release(name="Flights_2"))
    code, file = export(tmp_path, "kubernetes", "--release", "Flights_2@live")
    assert code == 2 and not file.exists()
    assert "'Flights_2' cannot be used in a manifest\n  at: --name\n  try: --name flights-2" in capsys.readouterr().err


VERSIONS = ["1.30", "latest"]


def schema_errors(document: dict, version: str) -> list[str]:
    """Return what the schema of Kubernetes refuses in an object, unknown fields too."""
    validate = services_package("kubernetes_validate")
    try:
        validate.validate(document, validate.latest_version() if version == "latest" else version, strict=True)
    except validate.ValidationError as error:
        return [error.message]
    return []


@pytest.mark.services
@pytest.mark.parametrize("version", VERSIONS)
def test_every_object_that_is_written_is_valid_by_the_schemas_of_kubernetes(tmp_path, version):
    project(tmp_path / "project", release(name="flights"))
    toml = '[retrain]\nmode = "auto"\n'
    files = [to_yaml(watched(tmp_path, toml=toml, retrain_schedule="0 4 * * *"))]
    for flags in ((), ("--without-keys",), ("--cpu", "500m", "--replicas", "1", "--namespace", "ml")):
        code, file = export(tmp_path / "project", "kubernetes", "--release", "flights@live", *flags)
        assert code == 0
        files.append(file.read_text())
    documents = [document for text in files for document in yaml.safe_load_all(text)]
    assert {document["kind"] for document in documents} == by_kind(watched(tmp_path)).keys()
    for document in documents:
        if document["kind"] != "ServiceMonitor":  # of the Prometheus operator, see below
            assert schema_errors(document, version) == [], document["kind"]


def break_field(document: dict, path: str, value: object) -> dict:
    """Return a copy of an object with another value at a path; None removes it."""
    broken = copy.deepcopy(document)
    *above, last = path.split(".")
    inner = broken
    for key in above:
        inner = inner[int(key) if key.isdigit() else key]
    if value is None:
        del inner[last]
    else:
        inner[last] = value
    return broken


@pytest.mark.services
@pytest.mark.parametrize("version", VERSIONS)
@pytest.mark.parametrize(
    ("kind", "path", "value"),
    [
        ("Deployment", "spec.selector", None),
        ("Deployment", "spec.template.spec.automountToken", False),
        ("Deployment", "spec.template.spec.containers.0.ports.0.containerPort", "http"),
        ("HorizontalPodAutoscaler", "spec.minReplicas", "two"),
        ("NetworkPolicy", "spec.ingress.0.ports", {"port": "http"}),
        ("PodDisruptionBudget", "spec.maxUnavailables", 1),
        ("Service", "spec.ports.0.port", None),
    ],
)
def test_a_wrong_object_is_refused_by_the_schemas_of_kubernetes(tmp_path, version, kind, path, value):
    assert schema_errors(break_field(by_kind(watched(tmp_path))[kind], path, value), version)


@pytest.fixture
def helm():
    """The Helm SDK, which renders and checks charts as the command `helm` does."""
    return services_package("helm_python")


@pytest.mark.services
def test_the_chart_has_no_findings_and_gives_the_same_objects_as_the_command(helm):
    assert chart_findings(helm, CHART) == []
    assert chart_documents(helm, CHART, SHARED_VALUES) == by_kind(
        kubernetes.manifests(workload(store=SHARED), config.Config())
    )
    follows = by_kind(kubernetes.manifests(workload(store=SHARED, follow="flights@live"), config.Config()))
    assert chart_documents(helm, CHART, {**SHARED_VALUES, "follow": "flights@live"}) == follows
    more = {"monitor_label": "release=prometheus", "ingress_namespaces": ("ingress-nginx",), "seen_claim": "seen"}
    values = {"monitorLabels": {"release": "prometheus"}, "ingressNamespaces": ["ingress-nginx"], "seenClaim": "seen"}
    with_more = by_kind(kubernetes.manifests(workload(store=SHARED, **more), config.Config()))
    assert chart_documents(helm, CHART, {**SHARED_VALUES, **values}) == with_more
    open_to_all = kubernetes.manifests(workload(keys_secret="", release=""), config.Config())
    assert chart_documents(helm, CHART, {"image": IMAGE, "withoutKeys": True}) == by_kind(open_to_all)


SHARED_VALUES = {
    "image": IMAGE,
    "release": DIGEST,
    "storePorts": [443, 5432, 6380],
    "sharedLog": True,
    "drainSeconds": 10,
}


def chart_findings(helm, chart: Path) -> list[dict]:
    """Return the errors and warnings of `helm lint`."""
    findings = helm.lint(str(chart), values={"image": IMAGE})
    return [*findings["errors"], *(finding for finding in findings["messages"] if finding["severity"] > INFO)]


def chart_documents(helm, chart: Path, values: dict) -> dict[str, dict]:
    """Render a chart as release `flights`; the manager of an object is headway, so that it compares."""
    with helm.Chart.load(str(chart)) as opened:
        files = opened.render(values, name="flights", namespace="default")
    documents = [document for text in files.values() for document in yaml.safe_load_all(text) if document]
    for document in documents:
        assert document["metadata"]["labels"].pop("app.kubernetes.io/managed-by") == "Helm"
        document["metadata"]["labels"]["app.kubernetes.io/managed-by"] = "headway"
    return by_kind(documents)


def changed_chart(folder: Path, file: str, old: str, new: str) -> Path:
    """Return a copy of the chart with another text in a file."""
    chart = Path(shutil.copytree(CHART, folder / "headway"))
    text = (chart / file).read_text()
    assert text.count(old) == 1
    (chart / file).write_text(text.replace(old, new))
    return chart


@pytest.mark.services
@pytest.mark.parametrize(
    ("file", "old", "new"),
    [
        ("templates/scaling.yaml", "{{ .Values.replicas }}", "{{ .Values.replicas }"),
        ("templates/service.yaml", "  ports:\n", " ports:\n"),
        ("values.yaml", "replicas: 2\nmax", "replicas: two\nmax"),
        ("Chart.yaml", "apiVersion: v2", "apiVersion: v9"),
    ],
)
def test_a_broken_chart_has_findings(helm, tmp_path, file, old, new):
    assert chart_findings(helm, changed_chart(tmp_path, file, old, new))


@pytest.mark.services
def test_a_chart_with_another_object_differs_from_the_command(helm, tmp_path):
    chart = changed_chart(tmp_path, "templates/scaling.yaml", "maxUnavailable: 1", "maxUnavailable: 2")
    found = chart_documents(helm, chart, SHARED_VALUES)
    expected = by_kind(kubernetes.manifests(workload(store=SHARED), config.Config()))
    assert [kind for kind in expected if found[kind] != expected[kind]] == ["PodDisruptionBudget"]


@pytest.mark.services
@pytest.mark.parametrize("values", [{}, {"image": IMAGE, "replicas": "two"}, {"image": IMAGE, "storePorts": ["x"]}])
def test_the_chart_refuses_values_that_cannot_be(helm, values):
    with helm.Chart.load(str(CHART)) as chart, pytest.raises(Exception, match=r"image|replicas|storePorts"):
        chart.render(values, name="flights", namespace="default")


@pytest.fixture(scope="module")
def models_python(tmp_path_factory: pytest.TempPathFactory) -> str:
    """The Python of an environment with KServe's models, which pin other versions of our libraries."""
    folder = tmp_path_factory.mktemp("kserve")
    subprocess.run([sys.executable, "-m", "venv", str(folder)], check=True)
    python = str(folder / "bin/python")
    subprocess.run([python, "-m", "pip", "install", "--quiet", "--no-input", *MODELS], check=True)
    return python


MODELS = ("kserve==0.21.0",)


def read_by_models(python: str, folder: Path, *files: list[dict]) -> list[str]:
    """Return for each file of manifests the classes that read it, or what they do not know."""
    for index, documents in enumerate(files):
        (folder / f"{index}.yaml").write_text(to_yaml(documents))
    paths = [str(folder / f"{index}.yaml") for index in range(len(files))]
    command = [python, str(ROOT / "tests/deployment/kserve_models.py"), *paths]
    return subprocess.run(command, check=True, stdout=subprocess.PIPE, text=True).stdout.splitlines()


@pytest.mark.services
def test_manifests_of_kserve_are_read_by_its_own_models_and_wrong_ones_are_not(tmp_path, models_python):
    runtime, service = kserve.manifests(workload(), canary=IMAGE)
    wrong = [
        break_field(service, "spec.predictor.minReplica", 2),
        break_field(service, "spec.predictor.minReplicas", "two"),
        break_field(service, "spec.canaries", []),
        break_field(runtime, "spec.containers.0.name", None),
        break_field(runtime, "spec.containers.0.ports.0.containerPort", "8080"),
    ]
    found = read_by_models(
        models_python, tmp_path, [runtime, service], kserve.manifests(workload()), *([each] for each in wrong)
    )
    assert found[:2] == ["V1alpha1ServingRuntime V1beta1InferenceService"] * 2
    where = [line.partition(": ")[0] for line in found[2:]]
    assert where[:3] == [f"InferenceService.spec.{path}" for path in WRONG_FIELDS]
    assert where[3:] == ["ServingRuntime.spec.containers[0]"] * 2
    assert " name Field required" in found[-2] and " ports.0.containerPort Input should be a valid integer" in found[-1]


WRONG_FIELDS = ("predictor.minReplica", "predictor.minReplicas", "canaries")
