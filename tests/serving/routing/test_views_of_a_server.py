"""A server process with feature views: a rollback takes them back as one with the model."""

from __future__ import annotations

import signal
import time

import numpy as np
import pytest
from msgspec.structs import replace
from running import project, release, started
from tests.serving.plain_client import post

from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.release import SelfTest
from headway.core.variant import Field, Signature
from headway.features.online.sqlite import SqliteOnlineStore
from headway.registry.model_registry import ModelRegistry, UpdateReason
from headway.storage.addresses import online_folder

pytestmark = pytest.mark.slow

SIGNATURE = Signature(inputs=(Field(name="temp"),))
SOURCE = FeatureSource(location="weather.parquet", event_time="at")
WITHIN_S = 60.0


def version(number: int) -> FeatureView:
    """Return a version of the view of the weather."""
    return FeatureView(
        name="weather", version=number, entities=("origin",), source=SOURCE, features=(Feature(name="temp"),)
    )


def made(*views: FeatureView):
    """Return a release of a model that answers what it reads."""
    test = SelfTest(rows=((1.0,),), answers=((1.0,),))
    return replace(release(signature=SIGNATURE, test=test), views=views, made_at=str(views[0].version))


def ask(port: int) -> float:
    """Return the answer to a request with the entity alone."""
    inputs = [{"name": "origin", "shape": [1], "datatype": "BYTES", "data": ["JFK"]}]
    return post(port, "/v2/models/flights/infer", {"inputs": inputs}).value


def wait_for(port: int, wanted: float) -> None:
    """Ask until the answer is as wanted."""
    until = time.monotonic() + WITHIN_S
    while (answer := ask(port)) != wanted:
        assert time.monotonic() < until, f"still {answer}"


def test_a_rollback_takes_the_views_back_with_the_model(tmp_path):
    store = SqliteOnlineStore(online_folder(tmp_path / ".headway"))
    for number in (1, 2):
        store.write(f"weather.v{number}", ["JFK"], np.array([[10.0 * number]]), np.array([time.time_ns() // 1000]))
    store.close()
    settings = project(tmp_path, made(version(1)))
    register = ModelRegistry.from_config(settings)
    first, second = register.resolve("flights@live").digest, register.publish(made(version(2)), {"model.echo": b"echo"})
    process = started(tmp_path, "flights@live")
    try:
        port = int(process.stdout.readline().split()[2].rpartition(":")[2])
        assert ask(port) == 10.0
        for digest, wanted in ((second, 20.0), (first, 10.0)):
            verdict = register.resolve(f"flights@{digest}").release.verdict
            register.point("flights@live", digest, UpdateReason(who="ann", why="a test", verdict=verdict))
            wait_for(port, wanted)
    finally:
        register.state.close()
        process.send_signal(signal.SIGTERM)
        process.communicate(timeout=30)
