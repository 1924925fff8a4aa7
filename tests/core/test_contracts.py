from __future__ import annotations

from pathlib import Path

import numpy as np

from headway.core.contracts import newer_library
from headway.core.plugins import load_blobs
from headway.core.record import digest_of
from headway.core.variant import Signature, Variant
from headway.optimization.context import TransformContext


def test_a_transform_context_reads_back_the_bytes_it_saved(tmp_path: Path) -> None:
    bench = TransformContext(blobs=load_blobs("files")(tmp_path), sample=np.zeros((1, 2)))
    artifact = bench.save(b"a model", "echo")
    assert (artifact.format, artifact.digest, artifact.size_bytes) == ("echo", digest_of(b"a model"), 7)
    assert bench.read(Variant(artifact=artifact, engine="echo", signature=Signature(inputs=()))) == b"a model"


def test_a_transform_context_without_training_data_has_no_rows(tmp_path: Path) -> None:
    assert TransformContext(blobs=load_blobs("files")(tmp_path), sample=np.zeros((1, 2))).train() is None


def test_a_model_of_a_newer_minor_version_is_a_finding_and_one_of_a_newer_patch_is_not() -> None:
    assert newer_library("XGBoost", (3, 1, 9), (3, 1, 0)) == ()
    [finding] = newer_library("XGBoost", (3, 2, 0), (3, 1, 0))
    assert (finding.code, finding.hint) == ("E008", "pip install --upgrade xgboost")
    assert "XGBoost 3.2.0 wrote the model, and 3.1.0 is installed here" in finding.message
