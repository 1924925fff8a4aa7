"""Pods for podman: those of Kubernetes, each server at a port of its own, and jobs that end."""

from __future__ import annotations

import pytest
import yaml
from tests.deployment.test_kubernetes import DIGEST, IMAGE, SHARED, workload
from tests.serving.running import project, release

from headway.cli.main import main
from headway.core import config
from headway.core.errors import ConfigError
from headway.deployment import kubernetes, podman


def pods(tmp_path, **fields: object) -> dict[str, dict]:
    """Return the manifests of two servers and both jobs, by name."""
    (tmp_path / "headway.toml").write_text('[project]\nname = "flights"\n')
    settings = config.load(tmp_path, environment={})
    made = workload(watch_image=IMAGE, retrain_schedule="0 4 * * *", store=SHARED, **fields)
    return {document["metadata"]["name"]: document for document in podman.manifests(made, settings, port=8080)}


def test_the_servers_listen_at_neighboring_ports_and_the_jobs_end(tmp_path):
    found = pods(tmp_path)
    assert [*found] == ["flights-project", "flights-1", "flights-2", "flights-watch", "flights-retrain"]
    for number, port in ((1, "8080"), (2, "8081")):
        (container,) = found[f"flights-{number}"]["spec"]["containers"]
        assert {"name": "HEADWAY_SERVE_PORT", "value": port} in container["env"]
    assert [found[f"flights-{work}"]["spec"]["restartPolicy"] for work in ("watch", "retrain")] == ["Never", "Never"]


def test_a_pod_has_the_rights_and_limits_of_kubernetes_and_no_probe_that_needs_curl(tmp_path):
    spec = pods(tmp_path)["flights-1"]["spec"]
    (container,) = spec["containers"]
    assert {"startupProbe", "readinessProbe", "livenessProbe", "lifecycle"}.isdisjoint(container)
    of_kubernetes = kubernetes.deployment(workload(store=SHARED))["spec"]["template"]["spec"]
    for field in ("securityContext", "volumes", "terminationGracePeriodSeconds"):
        assert spec[field] == of_kubernetes[field]
    for field in ("image", "resources", "securityContext", "envFrom", "volumeMounts"):
        assert container[field] == of_kubernetes["containers"][0][field]


@pytest.mark.parametrize("port", [0, 65_535])
def test_ports_that_do_not_exist_are_an_error(port):
    with pytest.raises(ConfigError, match=f"{port} is not the first of 2 ports") as error:
        podman.manifests(workload(), config.Config(), port=port)
    assert error.value.where == "--port"


@pytest.mark.slow
def test_the_command_writes_the_pods_and_names_their_secrets(tmp_path, capsys):
    project(tmp_path, release(name="flights"))
    file = tmp_path / "pods.yaml"
    words = ["export", "podman", str(file), "--image", IMAGE, "--replicas", "1", "--port", "9000"]
    with pytest.raises(SystemExit) as ended:
        main([*words, "--release", "flights@live", "--project", str(tmp_path)])
    out = capsys.readouterr().out
    (document,) = yaml.safe_load_all(file.read_text())
    assert ended.value.code == 0 and document["kind"] == "Pod"
    assert document["metadata"]["annotations"]["headway.release"] != DIGEST
    assert "needs: the Secret flights-keys" in out and f"next: podman kube play {file}" in out
