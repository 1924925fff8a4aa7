"""Lineage sent by the client of OpenLineage to a server that accepts, refuses, or does not exist."""

from __future__ import annotations

import json
import os
import shutil
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.receiver import Receiver, lineage_receiver
from tests.ports import free_port

from headway.cli import main as cli
from headway.core.plugins import load_sibling
from headway.registry.project import open_project
from headway.registry.provenance.lineage import deliveries, events

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with lineage_receiver() as server:
        yield server


@pytest.fixture
def folder(searched, tmp_path, monkeypatch) -> Path:
    """Return a copy of the project with a search result, in an environment that names no receiver."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)  # the client writes some itself
    return shutil.copytree(searched[2], tmp_path / "copy")


def send_lineage_to(folder: Path, url: str) -> None:
    """Configure the receiver of the project's lineage."""
    toml = folder / "headway.toml"
    toml.write_text(f'{toml.read_text()}[provenance]\nlineage_to = "{url}"\n')


def without_facets_of_the_client(event: dict[str, Any]) -> dict[str, Any]:
    """Return an event without what the client adds: facets of the run, and empty ones of inputs and outputs."""
    run = {"run": {"runId": event["run"]["runId"]}} if "run" in event else {}
    datasets = {
        role: [{name: dataset[name] for name in ("namespace", "name", "facets")} for dataset in event[role]]
        for role in ("inputs", "outputs")
    }
    return {**event, **run, **datasets}


def test_every_event_is_sent_once_as_it_is_printed(run, folder, receiver):
    send_lineage_to(folder, receiver.url)
    code, out, _ = run("data", "send", "--project", folder)
    expected = events(open_project(folder))

    assert (code, out) == (cli.PASS, f"{len(expected)} events of lineage sent to {receiver.url}\n")
    assert {path for path, _ in receiver.received} == {"/api/v1/lineage"}
    assert [without_facets_of_the_client(event) for _, event in receiver.received] == [
        without_facets_of_the_client(event) for event in expected
    ]
    assert run("data", "send", "--project", folder)[1].startswith("0 events of lineage sent")
    assert len(receiver.received) == len(expected) and len(deliveries(open_project(folder))) == 1


def test_a_dvc_stage_is_sent_as_a_job_without_a_run(receiver):
    sender = load_sibling("headway.registry.provenance.lineage", "openlineage", reads="a test")
    job = {"namespace": "headway", "name": "small.dvc.clean", "facets": {}}
    stage = {"eventTime": "2026-01-01T00:00:00Z", "producer": "https://x", "job": job, "inputs": [], "outputs": []}
    assert list(sender.emitted([stage], receiver.url)) == [stage]
    [(_, event)] = receiver.received
    assert "run" not in event and event["job"]["name"] == "small.dvc.clean"


def test_the_environment_of_the_client_names_the_receiver_and_a_release_sends_its_events(
    run, folder, receiver, monkeypatch
):
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "here")
    send_lineage_to(folder, "environment")
    code, _, err = run("release", "--project", folder, "--who", "ada")

    assert code == cli.PASS and "events of lineage sent to environment" in err
    assert {path for path, _ in receiver.received} == {"/here"}
    assert receiver.received[-1][1]["job"]["name"] == "small.release.live"


def test_a_receiver_that_fails_halfway_gets_the_remaining_events_next_time(run, folder, receiver):
    send_lineage_to(folder, receiver.url)
    receiver.limit = 3
    code, out, _ = run("data", "send", "--project", folder, "--json")
    first = json.loads(out)
    assert code == cli.FAIL and (len(first["events"]), first["n_pending"]) == (3, 1) and "500" in first["failed"]

    receiver.limit = 10_000
    assert run("data", "send", "--project", folder)[1].startswith("1 events of lineage sent")
    assert len(receiver.received) == 4


def test_a_release_succeeds_without_a_receiver(run, folder):
    send_lineage_to(folder, f"http://me:secret@127.0.0.1:{free_port()}")
    code, out, err = run("release", "--project", folder, "--who", "ada")

    assert code == cli.PASS and "live" in out
    assert "6 events of lineage were not accepted by http://me:***@127.0.0.1" in err and "headway data send" in err
    assert "secret" not in out + err + deliveries(open_project(folder))[-1].failed


def test_a_release_succeeds_without_the_client(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    monkeypatch.delitem(sys.modules, "headway.registry.provenance._openlineage", raising=False)
    send_lineage_to(folder, "http://127.0.0.1:9")
    code, _, err = run("release", "--project", folder, "--who", "ada")
    assert code == cli.PASS
    assert "lineage was not sent: lineage that is sent needs 'openlineage'" in err
    assert "pip install 'headway[openlineage]'" in err


@pytest.mark.parametrize(
    ("target", "variables", "message"),
    [
        ("environment", {}, "no receiver of lineage is set"),
        ("environment", {"OPENLINEAGE_DISABLED": "true"}, "OpenLineage is switched off"),
        ("environment", {"OPENLINEAGE__TRANSPORT__TYPE": "strange"}, "OpenLineage cannot be set up"),
        ("nowhere", {}, "'nowhere' does not accept lineage"),
    ],
)
def test_a_missing_receiver_is_an_error_with_a_hint(run, folder, monkeypatch, target, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    send_lineage_to(folder, target)
    code, _, err = run("data", "send", "--project", folder)
    assert code == cli.USAGE and message in err and "[provenance] lineage_to" in err
