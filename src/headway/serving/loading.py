"""Load a verified release for serving: open it with its engine, run its self-test, and measure its latency."""

from __future__ import annotations

import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from headway.core.record import Scalar
from headway.core.release import version_of
from headway.core.variant import DECIDES, MULTILABEL, Variant
from headway.data.refusals import RefusalCheck
from headway.evaluation.calibration.apply import CalibrationFunction, calibration_function
from headway.registry.bundle import Bundle, open_release, self_test_rows
from headway.serving.batching.answers import ANSWER_OUTPUTS, SelectiveModel
from headway.serving.batching.validation import InputValidator
from headway.serving.protocol.admission import RequestLimits
from headway.serving.protocol.open_inference import RequestReader, ResponseWriter, describe_model
from headway.serving.routing.online_features import OnlineFeatures
from headway.serving.routing.staged_features import contract_of, open_features

if TYPE_CHECKING:
    from headway.core.contracts import Engine, Floats, OnlineStore

_LIMITS = RequestLimits()
_TRIES = 3
_FEW_ROWS = 8
_STEP = 1.05


class LatencyEstimator:
    """Estimates the time of a batch: the larger of a constant and a time per row, both in nanoseconds.

    Both follow the median of the measured times, one step at a time, so that a batch that waited for its core moves
    them no further than any other.
    """

    def __init__(self, few_ns: float, row_ns: float) -> None:
        self._few_ns = few_ns
        self._row_ns = row_ns

    @classmethod
    def of(cls, engine: Engine, rows: Floats) -> LatencyEstimator:
        """Measure an engine on the first row and on all rows, each as the best of a few tries."""
        return cls(_best_ns(engine, rows[:1]), _best_ns(engine, rows) / len(rows))

    def add(self, rows: int, took_ns: int) -> None:
        """Update the estimate with a batch."""
        if rows < _FEW_ROWS:
            self._few_ns *= _STEP if took_ns > self._few_ns else 1 / _STEP
        else:
            self._row_ns *= _STEP if took_ns > rows * self._row_ns else 1 / _STEP

    def expected_ns(self, rows: int) -> float:
        """Return the expected time of a batch."""
        return max(self._few_ns, rows * self._row_ns)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class LoadedModel:
    """A release that is ready to serve: everything that a request needs of it, replaced in one assignment.

    `version` is made of its digest (`version_of`). `columns` are the inputs of the model, of which `features` looks
    some up; `refusals` checks them for values that the model's library refuses, and `validator` against the contract,
    if there is one. `classes` name the columns of an answer of several classes or labels. `calibrate` maps engine
    outputs to the outputs that callers receive. `selective` decides which rows a release with an answer plan answers.
    `answers` are the names of the classes of any classifier that gives one to a row, and `variant` knows its labels.
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
    classes: tuple[str, ...]
    calibrate: CalibrationFunction
    features: OnlineFeatures
    refusals: RefusalCheck
    validator: InputValidator | None
    latency: LatencyEstimator
    selective: SelectiveModel | None = None
    answers: tuple[str, ...] = ()
    variant: Variant | None = None


def load_model(
    bundle: Bundle,
    online: OnlineStore | None = None,
    *,
    limits: RequestLimits = _LIMITS,
    audit_share: float = 0.0,
) -> LoadedModel:
    """Open a verified release and run its self-test.

    Parameters
    ----------
    bundle
        The verified release and its files.
    online
        Online store of its feature views; a release without views needs none.
    limits
        Limits inside a request.
    audit_share
        Share of the rows that the release answers itself that people check.

    Raises
    ------
    Refused
        If the engine, the self-test or a feature view does not fit the release.
    StoreError
        If the table of a feature view is missing.
    """
    release, variant = bundle.release, bundle.release.variant
    engine = open_release(bundle)
    features = open_features(variant.signature, release.views, online, engine)
    version = version_of(bundle.digest)
    contract, answers = release.contract, release.self_test.answers
    n_outputs = len(answers[0]) if answers else -1
    classes = variant.signature.classes if variant.task in ("multiclass", MULTILABEL) else ()
    parameters: dict[str, Scalar] = {
        "release": bundle.digest,
        "engine": variant.engine,
        "threshold": release.threshold,
        "contract": f"{len(contract.columns)} columns, of {contract.n_rows} rows" if contract.columns else "none",
    }
    selective = SelectiveModel.of(release, bundle.digest, audit_share=audit_share)
    return LoadedModel(
        name=release.name,
        version=version,
        digest=bundle.digest,
        threshold=release.threshold,
        engine=engine,
        reader=RequestReader(
            features.request,
            ignored=features.columns,
            texts=features.texts,
            keyed=features.keyed,
            limits=limits,
            outputs=[name for name, _ in ANSWER_OUTPUTS] if selective else (),
        ),
        writer=ResponseWriter(name=release.name, version=version, output=variant.signature.output, classes=classes),
        metadata=describe_model(
            features.request,
            name=release.name,
            version=version,
            parameters=parameters,
            n_outputs=n_outputs,
            more=ANSWER_OUTPUTS if selective else (),
        ),
        columns=variant.signature.names,
        classes=classes,
        calibrate=calibration_function(release.calibrator),
        features=features,
        refusals=RefusalCheck(variant.signature),
        validator=InputValidator(contract_of(features, contract), variant.signature) if contract.columns else None,
        latency=LatencyEstimator.of(engine, self_test_rows(release.self_test, variant.signature)),
        selective=selective,
        answers=release.class_names if variant.task in DECIDES else (),
        variant=variant,
    )


def _best_ns(engine: Engine, rows: Floats) -> int:
    times = []
    for _ in range(_TRIES):
        began = time.perf_counter_ns()
        engine.predict(rows)
        times.append(time.perf_counter_ns() - began)
    return min(times)
