"""Small sentence encoders, and pipelines that begin with one; they need the libraries of the extra `encoders`."""

from __future__ import annotations

import tempfile
from functools import cache
from pathlib import Path
from typing import Any

import numpy as np
from sklearn.linear_model import LogisticRegression
from sklearn.pipeline import Pipeline, make_pipeline
from tests.engines.text_pipelines import TEXTS
from tests.optimization.importers import snapshots
from tests.optimization.text_variants import text_rows

from headway.core.contracts import LabeledData
from headway.engines.estimators.encoders import SentenceEncoder
from headway.engines.sklearn import Sklearn
from headway.optimization.importers.huggingface import read_encoder
from headway.optimization.transforms.encoder import with_model

LABELS = [f"c{len(text) % 3}" for text in TEXTS]


@cache
def static_encoder(**how: Any) -> bytes:
    """The mean of the vectors of words, as model2vec computes it."""
    with tempfile.TemporaryDirectory() as folder:
        return read_encoder(snapshots.write_static(Path(folder), **how))[0]


@cache
def bert(**how: Any) -> bytes:
    """A BERT of two layers."""
    with tempfile.TemporaryDirectory() as folder:
        return read_encoder(snapshots.write_encoder(Path(folder), **how))[0]


def pipeline_of(encoder: bytes) -> Pipeline:
    """An encoder before a logistic regression of three classes."""
    return make_pipeline(SentenceEncoder(encoder), LogisticRegression(max_iter=500)).fit(TEXTS, LABELS)


def labeled_texts() -> LabeledData:
    """The training rows of these pipelines."""
    labels = np.array([float(label[1:]) for label in LABELS])
    return LabeledData(rows=text_rows(), labels=labels, groups=np.arange(len(labels)))


def encoder_before_a_model() -> bytes:
    """The artifact of engine `encoder` for such a pipeline."""
    encoder, model = Sklearn.split_encoder(Sklearn.import_model(pipeline_of(static_encoder())).content)
    return with_model(encoder, "sklearn", model)
