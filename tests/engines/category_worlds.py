"""Random CatBoost models with categorical columns, and rows that training did and did not see."""

from __future__ import annotations

from dataclasses import dataclass, replace

import catboost
import numpy as np
import pandas as pd

from headway.api.tables import to_polars
from headway.core.variant import Field, Signature
from headway.data.matrix import matrix
from headway.engines.catboost import Catboost
from headway.engines.compiled.categories import compile_categories
from headway.engines.formats.catboost import read_catboost
from headway.engines.trees import Trees

WORDS = ("x", "yy", "zé", "", "日本語", "nan", "-1", "0", " ", "ü" * 40, "q" * 70, "a longer string of thirty-odd by")
STATISTICS = ("Borders", "Buckets", "BinarizedTargetMeanValue", "Counter")
LOSSES = ("Logloss", "RMSE", "MultiClass", "MultiClassOneVsAll", "Poisson", "CrossEntropy")


@dataclass(frozen=True, slots=True, kw_only=True)
class CategoryWorld:
    """A fitted model with its tables: `seen` by training, and `unseen`, with other combinations and categories."""

    model: catboost.CatBoost
    seen: pd.DataFrame
    unseen: pd.DataFrame
    listed: int

    def bound(self) -> tuple[bytes, Signature]:
        """The imported model, bound to a table that lists some of the strings."""
        fields = [self._field(name) for name in self.seen]
        return Catboost.bind(Catboost.import_model(self.model).content, Signature(inputs=tuple(fields)))

    def scores(self, table: pd.DataFrame) -> np.ndarray:
        """The raw scores of the library itself."""
        found = self.model.predict(as_called(table), prediction_type="RawFormulaVal")
        return np.asarray(found).reshape(len(table), -1)

    def _field(self, name: str) -> Field:
        column = self.seen[name]
        if column.dtype.kind in "iuf":
            return Field(name=name)
        return Field(name=name, datatype="BYTES", categories=tuple(sorted(set(column.dropna())))[: self.listed])


def as_called(table: pd.DataFrame) -> pd.DataFrame:
    """Missing categories as the string that users write for them, since the library rejects missing ones."""
    strings = [name for name in table if table[name].dtype.kind not in "iuf"]
    return table.assign(
        **{name: ["nan" if cell != cell or cell is None else cell for cell in table[name]] for name in strings}
    )


def rows_of(table: pd.DataFrame, signature: Signature) -> np.ndarray:
    """The rows that an engine reads."""
    return matrix(to_polars(table), signature)


def raw_trees(content: bytes, level: str = "") -> Trees:
    """The compiled model, without the link of its loss."""
    return Trees(compile_categories(replace(read_catboost(content), loss="RMSE")), {"level": level} if level else {})


def make_world(seed: int, *, rows: int = 0, categories: int = 0, **parameters: object) -> CategoryWorld:
    """A model over random columns, with random kinds of statistics, combinations, losses and trees.

    With a number of `categories` in each column it reads six columns of numbers without gaps as well, as an ordinary
    model does: each of many borders is then in few trees.
    """
    random = np.random.default_rng(seed)
    count = rows or int(random.integers(60, 200))
    categorical = {f"c{index}": _categories(random, count, categories) for index in range(random.integers(1, 6))}
    numeric = {f"n{index}": _numbers(random, count) for index in range(random.integers(0, 4))}
    if categories:
        numeric = {f"n{index}": random.normal(size=count) for index in range(6)}
    columns = categorical | numeric
    table = pd.DataFrame({str(name): columns[name] for name in random.permutation(list(columns))})
    score = random.normal(size=count) + sum(pd.factorize(values)[0] * 7 % 5 for values in categorical.values())
    score = score + sum(np.nan_to_num(values) for values in numeric.values())
    if categories:
        score = (
            score + 3 * (numeric["n0"] > 0) * (pd.factorize(categorical["c0"])[0] % 3) + numeric["n1"] * numeric["n2"]
        )
    loss = str(random.choice(LOSSES))
    settings = {
        "iterations": int(random.integers(1, 15)),
        "depth": int(random.integers(2, 6)),
        "loss_function": loss,
        "learning_rate": float(random.choice([0.03, 0.3])),
        "one_hot_max_size": int(random.choice([0, 2, 5, 30, 255])),
        "max_ctr_complexity": int(random.integers(1, 5)),
        "simple_ctr": _statistics(random, loss),
        "combinations_ctr": _statistics(random, loss),
        "grow_policy": str(random.choice(["SymmetricTree", "SymmetricTree", "Depthwise", "Lossguide"])),
        "nan_mode": str(random.choice(["Min", "Max"])),
    } | parameters
    quiet = {"verbose": 0, "allow_writing_files": False, "thread_count": 1, "random_seed": seed}
    pool = catboost.Pool(as_called(table), _target(loss, score), cat_features=list(categorical))
    model = catboost.CatBoost(settings | quiet).fit(pool)
    unseen = pd.DataFrame({name: random.permutation(table[name]) for name in table})
    for name in categorical:
        other = f"unknown {seed}" if unseen[name].dtype.kind not in "iu" else seed + 1000
        unseen[name] = unseen[name].where(random.random(count) < 0.9, other)
    return CategoryWorld(model=model, seen=table, unseen=unseen, listed=int(random.choice([0, 2, 100])))


def _categories(random: np.random.Generator, count: int, size: int) -> np.ndarray | pd.Series:
    if size:
        return pd.Series([f"c{number}" for number in random.integers(0, size, count)], dtype=object)
    size, kind = int(random.integers(2, 30)), random.choice(["words", "small", "large", "users"])
    if kind == "small":
        return random.integers(-5, size, count)
    if kind == "large":
        return random.integers(-(2**52), 2**52, size)[random.integers(0, size, count)]
    users = np.array([f"user {number}" for number in random.zipf(1.5, count) % 500])
    found = random.choice(WORDS[:size], count) if kind == "words" else users
    values = found.astype(object)
    values[random.random(count) < random.choice([0.0, 0.1])] = None
    return pd.Series(values, dtype=object)


def _numbers(random: np.random.Generator, count: int) -> np.ndarray:
    values = random.normal(size=count).round(int(random.integers(0, 4)))
    values[random.random(count) < random.choice([0.0, 0.15])] = np.nan
    return values


def _target(loss: str, score: np.ndarray) -> np.ndarray:
    if loss == "Logloss":
        return (score > np.median(score)).astype(int)
    if loss.startswith("MultiClass"):
        return np.digitize(score, np.quantile(score, [0.3, 0.7]))
    if loss == "CrossEntropy":
        return 1 / (1 + np.exp(-score))
    return np.abs(score).round() if loss == "Poisson" else score


def _statistics(random: np.random.Generator, loss: str) -> list[str]:
    found = []
    for kind in random.permutation(STATISTICS)[: random.integers(1, 4)]:
        parts = [str(kind)]
        if kind in ("Borders", "Buckets") and loss in ("RMSE", "Poisson") and random.random() < 0.5:
            parts.append(f"TargetBorderCount={random.integers(1, 5)}")
        if random.random() < 0.6:
            parts.append(f"CtrBorderCount={random.integers(1, 200)}")
        if random.random() < 0.6:
            parts.append(f"Prior={random.integers(0, 5) / 4:g}")
        found.append(":".join(parts))
    return found
