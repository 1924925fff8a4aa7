"""The flights as rows for bench/optimize.py: 20 columns, January to June to train on, September to December to test."""

from __future__ import annotations

from dataclasses import dataclass
from pathlib import Path

import joblib
import numpy as np
import pandas as pd
import polars as pl
from numpy.typing import NDArray

import flight_data
from cache import folder, made, versions
from headway.cli.demo import flights
from headway.core.arrays import Floats

TEXTS = ("carrier", "origin", "dest")
NUMBERS = ("dep_minute", "arr_minute", "weekday", "day", "distance", "plane_age", "seats", "engines", *flights.WEATHER)
TRAINED_TO, TESTED_FROM, TEST_ROWS = 6, 9, 100_000
TINY = {"TRAINED_TO": 1, "TEST_ROWS": 2_000}


@dataclass(frozen=True, slots=True, kw_only=True)
class Rows:
    """A part of the data; `rows` float64 [n, 20] with categories as codes, `raw` the same as a pandas table."""

    rows: Floats
    raw: pd.DataFrame
    late: NDArray[np.int64]


def rows(part: str) -> Rows:
    """Return `train` or `test`; the test rows are shuffled, so that the first of them represent all."""
    directory = rows_directory()
    table = np.load(directory / f"{part}.npy")
    return Rows(rows=table, raw=joblib.load(directory / f"{part}.joblib"), late=np.load(directory / f"{part}-late.npy"))


def rows_directory() -> Path:
    """Return the folder of `test.npy`, `test.joblib`, `test-late.npy`, `test-date.npy`, and the same of `train`."""
    return made(folder("rows", of=[Path(__file__).read_text("utf-8"), *versions()]), _write)


def _write(directory: Path) -> None:
    known = flight_data.load().filter(pl.col("late").is_not_null())
    known = known.with_columns(day=pl.col("departs_at").dt.day())
    month = known["departs_at"].dt.month().to_numpy()
    train, test = np.flatnonzero(month <= TRAINED_TO), np.flatnonzero(month >= TESTED_FROM)
    shuffled = np.random.default_rng(5).permutation(test)[:TEST_ROWS]
    ranks = {name: sorted(known[train][name].unique()) for name in TEXTS}
    for part, chosen in (("train", train), ("test", shuffled)):
        table = known[chosen]
        np.save(directory / f"{part}.npy", _matrix(table, ranks))
        np.save(directory / f"{part}-late.npy", table["late"].to_numpy().astype(np.int64))
        np.save(directory / f"{part}-date.npy", table["date"].to_physical().cast(pl.Int64).to_numpy())
        joblib.dump(_raw(table), directory / f"{part}.joblib")


def _matrix(table: pl.DataFrame, ranks: dict[str, list[str]]) -> Floats:
    texts = [
        pl.col(name).replace_strict(known, [float(rank) for rank in range(len(known))], default=None)
        for name, known in ranks.items()
    ]
    numbers = [pl.col(name).cast(pl.Float64) for name in NUMBERS]
    return np.ascontiguousarray(table.select(*texts, *numbers).fill_null(float("nan")).to_numpy())


def _raw(table: pl.DataFrame) -> pd.DataFrame:
    texts = {name: np.array(table[name].to_list(), dtype=object) for name in TEXTS}
    return pd.DataFrame({**texts, **{name: table[name].cast(pl.Float64).to_numpy() for name in NUMBERS}})
