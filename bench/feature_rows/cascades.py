"""Defer look-ups on the flights: a view in Redis behind a first model, against looking it up for each row."""

from __future__ import annotations

import os
import sys
import time
from collections.abc import Sequence
from contextlib import closing
from datetime import datetime
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
from msgspec.structs import replace

import flight_data
from harness import Result, Row, shown
from headway.cli.demo.flights import PLANE, SCHEDULE, WEATHER
from headway.core.arrays import Floats, Ints
from headway.core.config import Config
from headway.core.contracts import LabeledData, OnlineStore
from headway.core.feature_view import Feature, FeatureSource, FeatureView
from headway.core.record import digest_of, write
from headway.core.release import Release
from headway.core.selective import SelectiveCertificate
from headway.core.settings.store import StoreSection
from headway.core.texts import entity_codes
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.core.verdict import Verdict
from headway.engines.cascade import Cascade
from headway.evaluation.comparison import record_self_test
from headway.evaluation.selective import certify_threshold, measure_risk
from headway.evaluation.statistics.percentiles import median_interval
from headway.optimization.context import TransformContext
from headway.optimization.search import generate_candidates
from headway.registry.bundle import Bundle
from headway.serving.loading import LoadedModel, load_model
from headway.storage.addresses import open_online
from headway.storage.in_memory import InMemoryBlobs

sys.path.append(str(Path(__file__).parents[2]))

from tests.storage.redis_server import PASSWORD, redis_server

COLUMNS = (*SCHEDULE, *PLANE, *WEATHER)
SIGNATURE = Signature(inputs=tuple(Field(name=name) for name in COLUMNS))
LIMIT, THRESHOLD = 0.1, 0.5
TURNS, CALLS, BATCH = 25, 300, 100
TINY = {"TURNS": 11, "CALLS": 5}
_TRAIN_UNTIL, _TEST_FROM = datetime(2013, 3, 1), datetime(2013, 11, 1)
_SETTINGS = {"learning_rate": 0.05, "min_data_in_leaf": 200}
_PASSWORD_VARIABLE = "HEADWAY_STORE_ONLINE_PASSWORD"
VIEW = FeatureView(
    name="plane",
    version=1,
    entities=("tail",),
    source=FeatureSource(location="none.parquet", event_time="at"),
    features=tuple(Feature(name=name) for name in PLANE),
)


def deferred() -> Result:
    """Compare requests whose look-up of the plane is deferred with those that always look it up.

    Both models are trained on January and February. The band is chosen and certified on the days from March to October;
    coverage and risk are measured on November and December.
    """
    table = flight_data.load().filter(pl.col("late").is_not_null()).sort("departs_at")
    train, judged, test = (
        _labeled(table.filter(part))
        for part in (
            pl.col("departs_at") < _TRAIN_UNTIL,
            pl.col("departs_at").is_between(_TRAIN_UNTIL, _TEST_FROM, closed="left"),
            pl.col("departs_at") >= _TEST_FROM,
        )
    )
    blobs = InMemoryBlobs()
    context = _context(train, judged, blobs)
    assert context.baseline is not None
    found = generate_candidates(context.baseline, context, ["trees", "defer"])
    forms = {tuple(step.transform for step in variant.steps): variant for variant in found.variants}
    if ("trees", "defer") not in forms:
        return [], [finding.message for finding in found.refusals if finding.plugin == "defer"]
    with redis_server() as redis:
        os.environ[_PASSWORD_VARIABLE] = PASSWORD
        with closing(open_online(Config(StoreSection(online=redis.address)))) as store:
            _write(store, test)
            always, staged = (_opened(forms[steps], store, context) for steps in (("trees",), ("trees", "defer")))
            return [*_certified(staged, always, test), *_speeds(staged, always, test)], []


def _labeled(table: pl.DataFrame) -> LabeledData:
    days = table["date"].rank("dense").to_numpy().astype(np.int64) - 1
    rows = np.ascontiguousarray(table.select(pl.col(COLUMNS).cast(pl.Float64)).to_numpy())
    return LabeledData(rows=rows, labels=table["late"].to_numpy().astype(np.float64), groups=days)


def _context(train: LabeledData, judged: LabeledData, blobs: InMemoryBlobs) -> TransformContext:
    def fitted(features: Sequence[str]) -> Variant:
        columns = [COLUMNS.index(name) for name in features]
        data = lightgbm.Dataset(train.rows[:, columns], train.labels)
        settings = {**_SETTINGS, "objective": "binary", "verbose": -1, "num_threads": 1, "seed": 0}
        content = lightgbm.train(settings, data, num_boost_round=200).model_to_string().encode()
        inputs = tuple(Field(name=name) for name in features)
        artifact = Artifact(format="lightgbm", digest=blobs.put(content), size_bytes=len(content))
        return Variant(artifact=artifact, engine="lightgbm", signature=replace(SIGNATURE, inputs=inputs))

    def certify(
        confidence: Floats, errors: Floats, thresholds: Floats, limit: float, groups: Ints
    ) -> SelectiveCertificate:
        return certify_threshold(confidence, errors, thresholds=thresholds.tolist(), limit=limit, groups=groups)

    return TransformContext(
        blobs=blobs,
        sample=judged.rows,
        validation=judged,
        columns=COLUMNS,
        threshold=THRESHOLD,
        retrain=fitted,
        deferred=PLANE,
        max_changed=LIMIT,
        certify=certify,
        baseline=fitted(COLUMNS),
    )


def _write(store: OnlineStore, test: LabeledData) -> None:
    """Write the plane of each flight of the test under a key of its own."""
    planes, now_us = test.rows[:, [COLUMNS.index(name) for name in PLANE]], time.time_ns() // 1000
    for start in range(0, len(planes), 10_000):
        part = planes[start : start + 10_000]
        keys = [f"tail-{start + number}" for number in range(len(part))]
        store.write(VIEW.online_table, keys, part, np.full(len(part), now_us))


def _opened(variant: Variant, store: OnlineStore, context: TransformContext) -> LoadedModel:
    content = context.read(variant)
    record = Release(
        name="flights",
        variant=variant,
        evidence=(),
        verdict=Verdict(answer="pass", subject=variant.digest),
        views=(VIEW,),
        files={"model": variant.artifact.digest},
        self_test=record_self_test(variant, context.sample, context.blobs),
    )
    return load_model(Bundle(record, {"model": content}, digest_of(write(record)), "bench"), store)


def _certified(staged: LoadedModel, always: LoadedModel, test: LabeledData) -> list[Row]:
    """Return the certificate, and the coverage and risk on later days."""
    model = staged.engine
    assert isinstance(model, Cascade) and model.certificate is not None
    answered = ~model.undecided(test.rows)
    own, full = (engine.predict(test.rows)[:, 0] >= THRESHOLD for engine in (model, always.engine))
    coverage, risk = measure_risk(answered, (own != full).astype(np.float64), groups=test.groups)
    certificate, of_test = model.certificate, f"{risk.n_groups} later days"
    chosen = f"{certificate.risk.value:.4f} of {certificate.risk.n_rows:,} rows, {certificate.risk.n_groups} days"
    interval = f"95 % {coverage.low:.3f} to {coverage.high:.3f}, {of_test}"
    return [
        Row(
            name="cascade.certified_risk",
            measured=round(certificate.risk.high, 4),
            unit="share",
            target=f"<= {LIMIT}",
            ok=certificate.risk.high <= LIMIT,
            against=chosen,
        ),
        shown("cascade.coverage", round(coverage.value, 4), "share", interval),
        shown("cascade.risk", round(risk.value, 4), "share", f"at most {risk.high:.4f}, {of_test}"),
    ]


def _speeds(staged: LoadedModel, always: LoadedModel, test: LabeledData) -> list[Row]:
    """Return ratios of the rates of single rows and of batches, each pair in one turn on the same rows."""
    draw = np.random.default_rng(0)
    rows = []
    for size, calls in ((1, CALLS), (BATCH, max(CALLS // 10, 1))):
        batches = [draw.integers(0, len(test.rows), size) for _ in range(calls)]
        times = np.array([[_seconds(model, test, batches) for model in (always, staged)] for _ in range(TURNS + 1)])[1:]
        for kind, column in (("rate", 0), ("cpu", 1)):
            ratio = median_interval("cascade.ratio", times[:, 0, column] / times[:, 1, column], of="turns")
            rows.append(
                shown(
                    f"cascade.{kind}_of_{size}_over_always",
                    round(ratio.value, 2),
                    "x",
                    f"95 % {ratio.low:.2f} to {ratio.high:.2f}, {TURNS} turns; Redis on loopback, look-ups and model",
                )
            )
    return rows


def _seconds(model: LoadedModel, test: LabeledData, batches: Sequence[Ints]) -> tuple[float, float]:
    """Return wall-clock and CPU seconds of look-ups and predictions."""
    names = model.features.request.names
    columns = [COLUMNS.index(name) for name in names if name != "tail"]
    requests = []
    for which in batches:
        request = np.empty((len(which), len(names)))
        request[:, [name != "tail" for name in names]] = test.rows[np.ix_(which, columns)]
        request[:, names.index("tail")] = [entity_codes[f"tail-{row}"] for row in which.tolist()]
        requests.append(request)
    began, spent = time.perf_counter(), time.process_time()
    for request in requests:
        model.engine.predict(model.features.get_online_features(request, [""] * len(request)).rows)
    return time.perf_counter() - began, time.process_time() - spent
