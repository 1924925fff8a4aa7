"""From a verified bundle to a release that takes traffic: opened by its engine, and held to its self-test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headway.core.record import Scalar
from headway.evaluation.calibration.apply import CalibrationFunction, calibration_function
from headway.registry.bundle import Bundle
from headway.registry.open import open_release
from headway.serving.batching.latency import LatencyEstimator
from headway.serving.batching.validation import InputValidator
from headway.serving.protocol.open_inference import RequestReader, ResponseWriter, describe_model
from headway.serving.routing.online_features import OnlineFeatures

if TYPE_CHECKING:
    from headway.core.contracts import Engine

_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A release that answers: all that a request needs of it, so that one assignment changes all of it.

    `version` is the first digits of its digest. `reader` and `writer` know what a request brings and is given;
    `columns` are what the model reads, of which `views` look some up; `checker` holds them to the contract, if there is
    one. `calibrated` is what the calibrator does to an answer. `speed` knows how long the engine takes.
    """

    name: str
    version: str
    digest: str
    threshold: float
    engine: Engine
    reader: RequestReader
    writer: ResponseWriter
    metadata: bytes
    columns: tuple[str, ...]
    calibrated: CalibrationFunction
    views: OnlineFeatures
    validator: InputValidator | None
    latency: LatencyEstimator


def load_model(bundle: Bundle, online: Path = Path()) -> LoadedModel:
    """Open a verified release and let it answer its self-test; `online` is the folder of its views' tables.

    Raises Refused as `release.open` does, and where a view does not fit; StoreError where a view's table is not there.
    """
    release, variant = bundle.release, bundle.release.variant
    engine = open_release(bundle)
    views = OnlineFeatures(variant.signature, release.views, online)
    version = bundle.digest.removeprefix("sha256:")[:_VERSION_DIGITS]
    contract = release.contract
    parameters: dict[str, Scalar] = {
        "release": bundle.digest,
        "engine": variant.engine,
        "threshold": release.threshold,
        "contract": f"{len(contract.columns)} columns, of {contract.n_rows} rows" if contract.columns else "none",
    }
    return LoadedModel(
        name=release.name,
        version=version,
        digest=bundle.digest,
        threshold=release.threshold,
        engine=engine,
        reader=RequestReader(views.asked, passed_over=views.columns),
        writer=ResponseWriter(name=release.name, version=version, output=variant.signature.output),
        metadata=describe_model(views.asked, name=release.name, version=version, parameters=parameters),
        columns=variant.signature.names,
        calibrated=calibration_function(release.calibrator),
        views=views,
        validator=InputValidator(contract, variant.signature) if contract.columns else None,
        latency=LatencyEstimator.of(engine, np.array(release.self_test.rows, dtype=np.float64)),
    )
