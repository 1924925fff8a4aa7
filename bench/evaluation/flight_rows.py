"""The flights of 2013 for bench/evidence.py: scores of a model trained on January to April."""

from __future__ import annotations

import json
from dataclasses import dataclass, replace
from pathlib import Path

import lightgbm
import numpy as np
import polars as pl
from numpy.typing import NDArray

import flight_data
from cache import folder, made, versions
from headway.cli.demo import flights
from headway.core.arrays import Floats, Ints
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.data.matrix import matrix
from headway.engines.lightgbm import plugin as engine
from headway.evaluation.context import Comparison
from headway.evaluation.statistics.tables import BinaryAnswers

TEXTS = ("carrier", "origin", "dest")
NUMBERS = ("dep_minute", "arr_minute", "weekday", "day", "distance", "plane_age", "seats", "engines", *flights.WEATHER)
TREES, TRAINED_TO = 120, 4
ARRAYS = ("rows", "late", "scores", "twin", "halved", "day", "month")
TINY = {"TREES": 40}


@dataclass(frozen=True, slots=True, kw_only=True)
class Flights:
    """Flights in order of their day: rows float64 [n, 20] with categories as codes, the other arrays [n].

    `scores` are those of 120 trees, `twin` those of as many with another seed, `halved` of the first half of the trees.
    """

    rows: Floats
    late: Floats
    scores: Floats
    twin: Floats
    halved: Floats
    day: Ints
    month: Ints
    directory: Path

    def within(self, first: int, last: int) -> Flights:
        """Return the flights of these months."""
        return self.chosen((self.month >= first) & (self.month <= last))

    def chosen(self, mask: NDArray[np.bool_]) -> Flights:
        """Return the flights of a mask, bool [n]."""
        return replace(self, **{name: getattr(self, name)[mask] for name in ARRAYS})

    def answers(self) -> BinaryAnswers:
        """Return the input of score tables, with half of the trees as the baseline; groups are days."""
        days, codes = np.unique(self.day, return_inverse=True)
        return BinaryAnswers(
            labels=self.late,
            scores=self.scores,
            reference=self.halved,
            groups=codes,
            blocks=codes,
            n_blocks=len(days),
            n_groups=len(days),
        )

    def subject(self) -> Comparison:
        """Return the input of metrics, with half of the trees as the baseline."""
        content = (self.directory / "model.txt").read_bytes()
        variant = Variant(
            artifact=Artifact(format="lightgbm", digest="sha256:0", size_bytes=len(content)),
            engine="lightgbm",
            signature=_signature(json.loads((self.directory / "texts.json").read_text("utf-8"))),
        )
        model = engine(content, {})
        return Comparison(
            variant=variant,
            model=model,
            reference=model,
            rows=self.rows,
            labels=self.late,
            scores=self.scores[:, None],
            reference_scores=self.halved[:, None],
            groups=np.unique(self.day, return_inverse=True)[1],
            slices={},
            threshold=0.25,
        )


def year() -> Flights:
    """Return all flights with a known outcome; the model is trained once and stored."""
    directory = made(folder("evidence", of=[Path(__file__).read_text("utf-8"), *versions()]), _write)
    arrays = np.load(directory / "flights.npz")
    return Flights(directory=directory, **{name: arrays[name] for name in ARRAYS})


def _signature(texts: dict[str, list[str]]) -> Signature:
    named = (Field(name=name, datatype="BYTES", categories=tuple(known)) for name, known in texts.items())
    return Signature(inputs=(*named, *(Field(name=name) for name in NUMBERS)))


def _write(directory: Path) -> None:
    table = flight_data.load().filter(pl.col("late").is_not_null()).sort("date", maintain_order=True)
    table = table.with_columns(day=pl.col("departs_at").dt.day())
    texts = {name: table[name].unique().sort().to_list() for name in TEXTS}
    rows, late = matrix(table, _signature(texts)), table["late"].cast(pl.Float64).to_numpy()
    month = table["departs_at"].dt.month().cast(pl.Int64).to_numpy()
    past = month <= TRAINED_TO
    models = [_train(rows[past], late[past], seed) for seed in (0, 1)]
    models[0].save_model(directory / "model.txt")
    (directory / "texts.json").write_text(json.dumps(texts), encoding="utf-8")
    scores, twin = (np.asarray(model.predict(rows)) for model in models)
    halved = np.asarray(models[0].predict(rows, num_iteration=TREES // 2))
    day = table["date"].to_physical().cast(pl.Int64).to_numpy()
    arrays = (rows, late, scores, twin, halved, day, month)
    np.savez(directory / "flights.npz", **dict(zip(ARRAYS, arrays, strict=True)))


def _train(rows: Floats, late: Floats, seed: int) -> lightgbm.Booster:
    settings = {"objective": "binary", "num_leaves": 31, "verbose": -1, "seed": seed, "num_threads": 2}
    settings |= {"bagging_fraction": 0.8, "bagging_freq": 1, "feature_fraction": 0.8}
    return lightgbm.train(settings, lightgbm.Dataset(rows, late), num_boost_round=TREES)
