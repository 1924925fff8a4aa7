"""A temporary server of a variant: it answers requests built for its columns, and is gone afterwards."""

from __future__ import annotations

import os
from contextlib import closing

import numpy as np
import pytest

from headway.core.config import Config
from headway.core.errors import EngineError
from headway.core.release import Contract, SelfTest
from headway.core.sections import ServeSection
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.evaluation.load_generator import LoadGenerator
from headway.serving.temporary_server import temporary_server
from headway.storage.blobs.files import Files

pytestmark = pytest.mark.slow
COLUMNS = (Field(name="a"), Field(name="carrier", datatype="BYTES", categories=("AA", "UA"), unseen="other"))


def test_a_server_that_refuses_the_variant_is_an_error_with_its_reason(tmp_path):
    blobs = Files(tmp_path)
    artifact = Artifact(format="echo", digest=blobs.put(b"echo"), size_bytes=4)
    variant = Variant(artifact=artifact, engine="echo", signature=Signature(inputs=COLUMNS))
    wrong = SelfTest(rows=((1.0, 1.0),), answers=((9.0,),))
    with (
        pytest.raises(EngineError, match="did not start"),
        temporary_server(Config(serve=ServeSection(workers=1)), blobs, Contract(), wrong, variant),
    ):
        raise AssertionError("it must not start")


def test_categories_and_missing_values_are_sent_and_no_process_is_left(tmp_path):
    blobs = Files(tmp_path)
    artifact = Artifact(format="echo", digest=blobs.put(b"echo"), size_bytes=4)
    variant = Variant(artifact=artifact, engine="echo", signature=Signature(inputs=COLUMNS))
    rows = np.array([[2.0, 1.0], [2.0, 2.0], [4.0, np.nan]])
    test = SelfTest(rows=((1.0, 1.0),), answers=((1.0,),))
    with temporary_server(Config(serve=ServeSection(workers=1)), blobs, Contract(), test, variant) as trial:
        with closing(LoadGenerator(trial, [trial.request(rows)], connections=1)) as caller:
            (call,) = caller.open_loop([0.0]).calls
        np.testing.assert_array_equal(trial.answers(call.body), [1.5, 2.0, np.nan])
    with pytest.raises(ProcessLookupError):
        os.killpg(trial.process, 0)
