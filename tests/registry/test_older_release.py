"""A release that an older headway kept reads as today's."""

from __future__ import annotations

import msgspec
import numpy as np
import pytest
from msgspec.structs import replace
from onnx import helper
from tests.engines.graphs import DOUBLE, graph
from tests.registry.releases import release

from headway.core.record import digest_of, read, write
from headway.core.release import Release, SelfTest
from headway.core.variant import Artifact
from headway.registry.bundle import Bundle, open_release


def test_a_release_of_version_1_opens_with_its_calibrator_as_a_shift():
    stored = msgspec.json.decode(write(release()))
    stored["version"] = 1
    stored["record"]["calibrator"] = {"shift": 0.5, "n_rows": 10, "n_groups": 2, "at": "2026-11-24"}
    found = read(Release, msgspec.json.encode(stored))
    assert (found.calibrator.shift, str(found.calibrator)) == (0.5, "log-odds shifted by +0.5")


def test_a_release_without_the_digests_of_its_training_opens_and_they_are_not_known():
    stored = msgspec.json.decode(write(release()))
    del stored["record"]["training"]
    assert not read(Release, msgspec.json.encode(stored)).training.is_known


@pytest.mark.parametrize(
    ("outputs", "answers", "columns"),
    [
        ([0, 1], ((2.0,), (5.0,)), [1]),
        ([0, 1], ((1.0, 2.0), (4.0, 5.0)), [0, 1]),
        ([2], ((3.0,), (6.0,)), [2]),
    ],
    ids=["an older release of two", "a release of two", "a release of one"],
)
def test_a_graph_answers_as_many_numbers_as_its_release_recorded(outputs, answers, columns):
    """Before every output was kept, the second of two columns was the answer."""
    node = helper.make_node("Gather", ["x", "at"], ["y"], axis=1)
    content = graph(
        [node], [("x", DOUBLE, [None, 3])], [("y", DOUBLE, [None, len(outputs)])], {"at": np.array(outputs)}
    )
    rows = ((1.0, 2.0, 3.0), (4.0, 5.0, 6.0))
    artifact = Artifact(format="onnx", digest=digest_of(content), size_bytes=len(content))
    variant = replace(release().variant, artifact=artifact, engine="onnxruntime", task="regression")
    test, files = SelfTest(rows=rows, answers=answers), {"model.onnx": artifact.digest}
    older = replace(release(), variant=variant, self_test=test, files=files)
    engine = open_release(Bundle(release=older, files={"model.onnx": content}, digest="sha256:0", key="k"))
    assert engine.predict(np.array(rows)).tolist() == np.array(rows)[:, columns].tolist()
