"""Lineage sent by the client of OpenLineage to a server that receives, refuses, or is not there."""

from __future__ import annotations

import json
import os
import shutil
import socket
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
from tests.pipeline.receiver import Receiver, receiving

from headway.cli import main as cli
from headway.core.plugins import load_beside
from headway.registry.project import open_project
from headway.registry.provenance.lineage import events
from headway.registry.provenance.sending import deliveries

pytestmark = pytest.mark.slow


@pytest.fixture
def receiver() -> Iterator[Receiver]:
    with receiving() as server:
        yield server


@pytest.fixture
def folder(searched, tmp_path, monkeypatch) -> Path:
    """A copy of the project whose variants were searched, in an environment that names no receiver."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.setenv("HOME", str(tmp_path))
    for name in [name for name in os.environ if name.startswith("OPENLINEAGE")]:
        monkeypatch.delenv(name)  # the client writes some itself
    return shutil.copytree(searched[2], tmp_path / "copy")


def to(folder: Path, url: str) -> None:
    """Let the project send its lineage there."""
    toml = folder / "headway.toml"
    toml.write_text(f'{toml.read_text()}[provenance]\nlineage_to = "{url}"\n')


def without_facets_of_the_client(event: dict[str, Any]) -> dict[str, Any]:
    """An event but for what the client adds of itself: facets of the run, and empty ones of inputs and outputs."""
    run = {"run": {"runId": event["run"]["runId"]}} if "run" in event else {}
    sides = {
        side: [{name: each[name] for name in ("namespace", "name", "facets")} for each in event[side]]
        for side in ("inputs", "outputs")
    }
    return {**event, **run, **sides}


def test_every_event_is_taken_once_as_it_is_printed(run, folder, receiver):
    to(folder, receiver.url)
    code, out, _ = run("data", "send", "--project", folder)
    told = events(open_project(folder))

    assert (code, out) == (cli.PASS, f"{len(told)} events of lineage sent to {receiver.url}\n")
    assert {path for path, _ in receiver.taken} == {"/api/v1/lineage"}
    assert [without_facets_of_the_client(each) for _, each in receiver.taken] == [
        without_facets_of_the_client(each) for each in told
    ]
    assert run("data", "send", "--project", folder)[1].startswith("0 events of lineage sent")
    assert len(receiver.taken) == len(told) and len(deliveries(open_project(folder))) == 1


def test_a_stage_of_dvc_is_taken_as_a_job_that_nobody_saw_run(receiver):
    sender = load_beside("headway.registry.provenance.lineage", "openlineage", reads="a test")
    job = {"namespace": "headway", "name": "small.dvc.clean", "facets": {}}
    stage = {"eventTime": "2026-01-01T00:00:00Z", "producer": "https://x", "job": job, "inputs": [], "outputs": []}
    assert list(sender.emitted([stage], receiver.url)) == [stage]
    [(_, taken)] = receiver.taken
    assert "run" not in taken and taken["job"]["name"] == "small.dvc.clean"


def test_the_environment_of_the_client_says_where_and_a_release_passes_its_own_on(run, folder, receiver, monkeypatch):
    monkeypatch.setenv("OPENLINEAGE_URL", receiver.url)
    monkeypatch.setenv("OPENLINEAGE_ENDPOINT", "here")
    to(folder, "environment")
    code, _, err = run("release", "--project", folder, "--who", "ada")

    assert code == cli.PASS and "events of lineage sent to environment" in err
    assert {path for path, _ in receiver.taken} == {"/here"}
    assert receiver.taken[-1][1]["job"]["name"] == "small.release.live"


def test_a_receiver_that_refuses_half_way_is_told_and_has_the_rest_the_next_time(run, folder, receiver):
    to(folder, receiver.url)
    receiver.most = 3
    code, out, _ = run("data", "send", "--project", folder, "--json")
    first = json.loads(out)
    assert code == cli.FAIL and (len(first["events"]), first["left"]) == (3, 1) and "500" in first["failed"]

    receiver.most = 10_000
    assert run("data", "send", "--project", folder)[1].startswith("1 events of lineage sent")
    assert len(receiver.taken) == 4


def test_a_release_stands_though_nobody_receives(run, folder):
    with socket.create_server(("127.0.0.1", 0)) as nobody:
        port = nobody.getsockname()[1]
    to(folder, f"http://me:secret@127.0.0.1:{port}")
    code, out, err = run("release", "--project", folder, "--who", "ada")

    assert code == cli.PASS and "live" in out
    assert "6 events of lineage were not taken by http://me:***@127.0.0.1" in err and "headway data send" in err
    assert "secret" not in out + err + deliveries(open_project(folder))[-1].failed


def test_a_release_stands_without_the_client(run, folder, monkeypatch):
    monkeypatch.setitem(sys.modules, "openlineage.client", None)
    monkeypatch.delitem(sys.modules, "headway.registry.provenance._openlineage", raising=False)
    to(folder, "http://127.0.0.1:9")
    code, _, err = run("release", "--project", folder, "--who", "ada")
    assert code == cli.PASS
    assert "lineage was not sent: lineage that is sent needs 'openlineage'" in err
    assert "pip install 'headway[openlineage]'" in err


@pytest.mark.parametrize(
    ("where", "variables", "message"),
    [
        ("environment", {}, "nothing says where lineage is sent"),
        ("environment", {"OPENLINEAGE_DISABLED": "true"}, "OpenLineage is switched off"),
        ("environment", {"OPENLINEAGE__TRANSPORT__TYPE": "strange"}, "OpenLineage cannot be set up"),
        ("nowhere", {}, "'nowhere' takes no lineage"),
    ],
)
def test_a_receiver_that_there_is_none_of_is_told_with_the_mend(run, folder, monkeypatch, where, variables, message):
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    to(folder, where)
    code, _, err = run("data", "send", "--project", folder)
    assert code == cli.USAGE and message in err and "[provenance] lineage_to" in err
