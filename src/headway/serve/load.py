"""From a verified bundle to a release that takes traffic: opened by its engine, and held to its self-test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from headway.core.calibrator import Calibrator
from headway.core.errors import Refused
from headway.core.plugins import load_engine
from headway.core.record import Scalar
from headway.core.release import Release, SelfTest
from headway.release.bundle import Bundle
from headway.serve.views import Views
from headway.serve.wire import Reader, Writer, describe

if TYPE_CHECKING:
    from headway.core.contracts import Engine, Floats

_VERSION_DIGITS = 12


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class Loaded:
    """A release that answers: all that a request needs of it, so that one assignment changes all of it.

    `version` is the first digits of its digest. `reader` and `writer` know what a request brings and is given;
    `columns` are what the model reads, of which `views` look some up.
    """

    name: str
    version: str
    digest: str
    threshold: float
    engine: Engine
    reader: Reader
    writer: Writer
    metadata: bytes
    columns: tuple[str, ...]
    calibrator: Calibrator
    views: Views


def load(bundle: Bundle, online: Path = Path()) -> Loaded:
    """Open a verified release and let it answer its self-test; `online` is the folder of its views' tables.

    The self-test asks the engine alone, on whole rows and before the calibrator, for that is what another machine or
    library could change. Raises Refused where an answer is not the one that the release was made with, where there is
    no self-test, or where a view or the calibrator does not fit; StoreError where a view's table is not there.
    """
    release, variant = bundle.release, bundle.release.variant
    engine = load_engine(variant.engine)(bundle.model, variant.settings)
    _answer_self_test(engine, release.self_test, where=f"{release.name} {bundle.digest}")
    views = Views(variant.signature, release.views, online)
    _expect_probability(release)
    version = bundle.digest.removeprefix("sha256:")[:_VERSION_DIGITS]
    parameters: dict[str, Scalar] = {"release": bundle.digest, "engine": variant.engine, "threshold": release.threshold}
    return Loaded(
        name=release.name,
        version=version,
        digest=bundle.digest,
        threshold=release.threshold,
        engine=engine,
        reader=Reader(views.asked, passed_over=views.columns),
        writer=Writer(name=release.name, version=version, output=variant.signature.output),
        metadata=describe(views.asked, name=release.name, version=version, parameters=parameters),
        columns=variant.signature.names,
        calibrator=release.calibrator,
        views=views,
    )


def _expect_probability(release: Release) -> None:
    variant = release.variant
    if release.calibrator.shift and variant.task != "binary":
        raise Refused(f"the release of a {variant.task} model has a calibrator, which shifts one probability")


def _answer_self_test(engine: Engine, test: SelfTest, *, where: str) -> None:
    """All rows at once and each alone, since a batch is whatever the traffic of a moment makes it."""
    if not test.rows:
        raise Refused("the release has no self-test, so nothing shows that it answers right here", where=where)
    rows = np.array(test.rows, dtype=np.float64)
    expected = np.array(test.answers, dtype=np.float64)
    alone = np.concatenate([engine.predict(rows[i : i + 1]) for i in range(len(rows))])
    for answers, how in ((engine.predict(rows), "together"), (alone, "one by one")):
        off = _off(answers, expected)
        if not off <= test.tolerance:
            raise Refused(
                f"the release fails its self-test: {len(rows)} rows {how} are off by up to {off:g}, "
                f"more than {test.tolerance:g}",
                where=where,
                mend="it was made on another machine or library: release it anew from here, or serve it there",
            )


def _off(answers: Floats, expected: Floats) -> float:
    """The largest difference; infinite where the shapes differ, and NaN equals NaN only."""
    if answers.shape != expected.shape:
        return float("inf")
    same = (answers == expected) | (np.isnan(answers) & np.isnan(expected))
    off = np.where(same, 0.0, np.abs(answers - expected))
    return float(np.nan_to_num(off, nan=np.inf).max())
