"""Columns of a model that are texts: the log gets their strings, and not the numbers that stand for them."""

from __future__ import annotations

import numpy as np

from headway.core.texts import text_codes
from headway.core.variant import Field, Signature
from headway.serving.routing.online_features import OnlineFeatures
from headway.serving.telemetry.prediction_log import LogEntry, split
from headway.storage import traffic

SIGNATURE = Signature(inputs=(Field(name="age"), Field(name="message", datatype="BYTES", is_text=True)))


def test_the_texts_of_rows_are_logged_by_their_strings():
    rows = np.array([[1.0, text_codes["where is it"]], [2.0, np.nan]])
    features = OnlineFeatures(SIGNATURE, (), None)
    assert features.logged_texts == ("message",)
    assert features.model_texts(rows) == (["where is it", None],)
    assert np.array_equal(features.without_texts(rows), [[1.0, np.nan], [2.0, np.nan]], equal_nan=True)
    assert not np.isnan(rows[0, 1])


def test_rows_without_texts_are_logged_as_they_are():
    features, rows = OnlineFeatures(Signature(inputs=SIGNATURE.inputs[:1]), (), None), np.array([[1.0]])
    assert features.model_texts(rows) == features.logged_texts == ()
    assert features.without_texts(rows) is rows


def test_a_batch_of_long_texts_is_logged_in_parts():
    entry = LogEntry(
        release=None,
        at_us=0,
        requests=np.arange(2),
        keys=["", ""],
        sizes=[1, 1],
        latency_ns=np.zeros(2, dtype=np.int64),
        role=traffic.LIVE,
        answered=1,
        stage=traffic.ALONE,
        paired=0,
        rows=np.full((2, 1), np.nan),
        answers=np.zeros((2, 1)),
        seen=(),
        texts=(["x" * 600_000, "y" * 600_000],),
    )
    assert [part.texts for part in split(entry, 1 << 20)] == [(["x" * 600_000],), (["y" * 600_000],)]
    short = entry._replace(texts=(["x", None],))
    assert [part.texts for part in split(short, 1 << 20)] == [(["x", None],)]
