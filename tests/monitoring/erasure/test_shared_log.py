"""Erasure of a log on S3: rows are rewritten there, and a bucket with versions forgets the old ones."""

from __future__ import annotations

import secrets
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import pytest
from tests.monitoring.erasure.test_erase import SECRET, World
from tests.storage.small_s3 import SmallS3, small_s3

from headway.monitoring.erasure.erase import ErasureRequest, erase
from headway.monitoring.prediction_log import LabelReader, read_predictions
from headway.registry.project import open_project
from headway.storage import segments, traffic
from headway.storage.addresses import open_logs

pytestmark = pytest.mark.slow


@dataclass
class Versioned:
    """A bucket that keeps every version."""

    address: str
    small: SmallS3 | None = None
    client: Any = None

    def contents(self) -> list[bytes]:
        """Return the content of every version of every object."""
        if self.small:
            return [found.content for versions in self.small.objects.values() for found in versions if found.content]
        bucket = self.address.split("/")[2]
        return [
            self.client.get_object(Bucket=bucket, Key=found["Key"], VersionId=found["VersionId"])["Body"].read()
            for found in self.client.list_object_versions(Bucket=bucket).get("Versions", ())
        ]


@pytest.fixture(params=["small", pytest.param("seaweed", marks=pytest.mark.services)])
def bucket(request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch) -> Iterator[Versioned]:
    if request.param == "small":
        with small_s3(versioned=True) as server:
            for name, value in server.environment.items():
                monkeypatch.setenv(name, value)
            yield Versioned("s3://bucket/team", small=server)
        return
    request.getfixturevalue("s3")
    seaweed = request.getfixturevalue("seaweed")
    name = f"headway-{secrets.token_hex(6)}"
    seaweed.create_bucket(name, versioned=True)
    yield Versioned(f"s3://{name}/team", client=seaweed.client())


@pytest.fixture
def world(tmp_path: Path) -> Iterator[World]:
    made = World(tmp_path)
    yield made
    made.close()


def test_a_key_is_erased_from_the_log_on_s3_with_all_old_versions(bucket: Versioned, world: World) -> None:
    folder = world.state.parent
    with (folder / "headway.toml").open("a") as file:
        file.write(f'[store]\nlogs = "{bucket.address}"\n')
    world.project.state.close()
    world.project = project = open_project(folder)
    logs = open_logs(project.config)
    assert logs
    n_segments = logs.ship()
    before = read_predictions(logs.refresh(), "flights", [world.first])
    assert any(SECRET.encode() in content for content in bucket.contents())

    def arrive_late(_: float) -> None:
        traffic.save_labels(world.state, "flights", [traffic.Label(SECRET, 1.0)], who="ann")

    erasure = erase(project, ErasureRequest(key=SECRET, who="ann"), wait=arrive_late)

    others = before.filter(before["key"] != SECRET)
    assert 0 < len(others) < len(before)
    root = logs.refresh()
    assert read_predictions(root, "flights", [world.first]).equals(others)
    assert sorted(LabelReader(root, "flights").read()["key"]) == sorted(world.others)
    assert not any(SECRET.encode() in content for content in bucket.contents())
    assert not any(SECRET.encode() in path.read_bytes() for path in world.state.rglob("*.arrow"))
    assert len([*logs.paths()]) == n_segments
    rows = {erased.location: erased.rows for erased in erasure.erased}
    assert rows["log/flights"] == len(before) - len(others)
    assert rows["labels/flights"] == 4
    assert "not reached: segments that another machine has not shipped yet" in erasure.message


def test_a_key_in_a_blob_on_s3_is_reported_as_it_stays_there(bucket: Versioned, world: World) -> None:
    folder = world.state.parent
    with (folder / "headway.toml").open("a") as file:
        file.write(f'[store]\nblobs = "{bucket.address}"\n')
    world.project.state.close()
    world.project = project = open_project(folder)
    project.blobs.put(b"a model of other rows")
    project.blobs.put(f"a model that knows {SECRET}".encode())
    erasure = erase(project, ErasureRequest(key=SECRET, who="ann"), wait=lambda _: None)
    stays = [(residual.location, residual.times) for residual in erasure.residuals if residual.location == "blobs"]
    assert stays == [("blobs", 1)]


def test_old_segments_are_erased_on_s3(bucket: Versioned, world: World) -> None:
    folder = world.state.parent
    with (folder / "headway.toml").open("a") as file:
        file.write(f'[store]\nlogs = "{bucket.address}"\n')
    world.project.state.close()
    world.project = project = open_project(folder)
    (path, *_) = traffic.all_segments(world.state)
    old = path.with_name(f"{10**18:020}-1-0{segments.SUFFIX}")
    old.write_bytes(path.read_bytes())
    logs = open_logs(project.config)
    assert logs
    n_segments = logs.ship()
    erase(project, ErasureRequest(older="90d", who="ann"))
    assert len([*logs.paths()]) == n_segments - 1
    assert not any(old.name in path.name for path in logs.paths())
