"""Train the baseline with the project's own function, on columns known at prediction time."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace
from numpy.typing import NDArray

from headway.core import plugins
from headway.core.config import Config
from headway.core.contracts import Blobs
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError
from headway.core.record import digest_of
from headway.core.search_result import Baseline
from headway.core.training import Training
from headway.core.variant import Signature, Variant
from headway.data.check import BEFORE_TRAINING, run_checks
from headway.data.context import CheckContext
from headway.data.matrix import dataset_signature, matrix, target_values
from headway.data.split import labeled_rows, time_span
from headway.optimization.importers.models import import_baseline

Floats = NDArray[np.float64]


@dataclass(frozen=True, slots=True, kw_only=True)
class Asked:
    """What a training function is called with beside rows and labels.

    A `seed` that is given must be taken. The `curve`, made for the columns that are read, is for who takes one. Classes
    that are to count alike do so by `weights`, for who takes them, else by rows that recur; None leaves it to
    `[model] class_weight`.
    """

    seed: int | None = None
    alike: bool | None = None
    curve: Callable[[Signature], object] | None = None


PLAIN = Asked()


def train(
    config: Config, dataset: Dataset, blobs: Blobs, *, features: Sequence[str] = (), asked: Asked = PLAIN
) -> Variant:
    """What `[model] train` fits on the labelled rows of a dataset.

    `features` narrows the columns it may read. Raises DataError where a feature is known only after the outcome, or
    where a check says stop; ConfigError where no seed is taken.
    """
    rows = labeled_rows(dataset)
    _check_before_training(config, rows, features)
    signature = _select_inputs(dataset_signature(rows), features)
    fit = _training_function(config, asked.seed)
    if asked.curve and _accepts(config, "curve"):
        fit = partial(fit, curve=asked.curve(signature))
    frame, outcomes = pl.DataFrame(matrix(rows.table, signature), schema=list(signature.names)), target_values(rows)
    if _is_balanced(config, asked):
        fit, frame, outcomes = _balance(config, fit, frame, outcomes)
    return import_baseline(fit(frame, outcomes), rows, blobs, signature=signature)


def recipe_digest(config: Config) -> str:
    """The digest of the code, or of the file, that the model comes from: another one may give another model."""
    if config.model.file:
        return digest_of(config.path(config.model.file).read_bytes())
    file = inspect.getsourcefile(plugins.load_object(config.model.train, Path(config.folder)))
    return digest_of(Path(file).read_bytes() if file else config.model.train.encode())


def training_record(config: Config, baseline: Baseline, data: Mapping[str, Dataset], seconds: float) -> Training:
    """The record of a model fitted once: by which code, on which rows, and when those that judge it lie."""
    split = config.split
    since, until = split.train or time_span(data["train"])
    judged = split.test or split.validation or time_span(data["test"])
    return Training(
        dataset=baseline.data["train"],
        recipe=recipe_digest(config),
        model=baseline.model,
        since=since,
        until=until,
        judged_since=judged[0],
        judged_until=judged[1],
        n_rows=len(labeled_rows(data["train"]).table),
        seconds=seconds,
    )


def accepts_seed(config: Config) -> bool:
    """Whether `[model] train` names a function that can be asked for another draw of the same model."""
    return bool(config.model.train) and _accepts(config, "seed")


def _is_balanced(config: Config, asked: Asked) -> bool:
    """Whether classes are to count alike; raises ConfigError where a target that has none is declared so."""
    wanted = config.model.class_weight == "balanced" if asked.alike is None else asked.alike
    if wanted and config.data.task not in ("binary", "multiclass"):
        raise ConfigError(
            f"a target of task '{config.data.task}' has no classes that could count alike",
            where="[model] class_weight",
            hint="leave it out",
        )
    return wanted


def _balance(
    config: Config, fit: Callable[..., object], frame: pl.DataFrame, outcomes: Floats
) -> tuple[Callable[..., object], pl.DataFrame, Floats]:
    """The same, with weights for a function that takes them, else with rows that recur."""
    if _accepts(config, "weights"):
        return partial(fit, weights=balanced_weights(outcomes)), frame, outcomes
    places = balanced_indices(outcomes)
    return fit, frame[places], outcomes[places]


def _accepts(config: Config, name: str) -> bool:
    fit: Callable[..., object] = plugins.load_object(config.model.train, Path(config.folder))
    return name in inspect.signature(fit).parameters


def _training_function(config: Config, seed: int | None) -> Callable[..., object]:
    """The project's own function; with a seed, it must take one by that name."""
    if not config.model.train:
        raise ConfigError("no model is declared", where="[model]", hint='train = "train:train" or file = "model.txt"')
    fit: Callable[..., object] = plugins.load_object(config.model.train, Path(config.folder))
    if seed is None:
        return fit
    if not accepts_seed(config):
        raise ConfigError(
            "the training function takes no seed, so that the variance between trainings cannot be measured",
            where=f"[model] train = {config.model.train!r}",
            hint="def train(rows, labels, *, seed=0), or [retrain] seeds = 1 to leave that variance out",
        )
    return partial(fit, seed=seed)


def _check_before_training(config: Config, dataset: Dataset, features: Sequence[str]) -> None:
    """Raise DataError where training would read what only the outcome tells."""
    late = [name for name in features if name in dataset.roles.not_features]
    if late:
        raise DataError(
            f"refused to train on {', '.join(late)}: known only after the outcome, or no feature at all",
            where=f"decision: {dataset.roles.decision or 'at request'}",
            hint="leave them out; a model that reads them cannot be served",
        )
    survey = CheckContext(dataset=dataset, config=config)
    stops = [finding for finding in run_checks(survey, families=BEFORE_TRAINING) if finding.severity == "stop"]
    if stops:
        raise DataError(
            f"refused to train: {stops[0].code} {stops[0].message}"
            + (f" (and {len(stops) - 1} more)" if stops[1:] else ""),
            where=stops[0].where,
            hint=stops[0].hint,
        )


def _select_inputs(signature: Signature, features: Sequence[str]) -> Signature:
    inputs = tuple(field for field in signature.inputs if not features or field.name in features)
    return replace(signature, inputs=inputs)


Ints = NDArray[np.int64]


def balanced_weights(labels: Floats) -> Floats:
    """The weight of each row, with which all classes have one sum; labels and weights [n], the weights' mean is 1.

    >>> balanced_weights(np.array([0.0, 0.0, 0.0, 1.0])).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: Floats = (len(labels) / len(classes) / counts)[codes]
    return weights


def balanced_indices(labels: Floats, *, seed: int = 0) -> Ints:
    """Rows [m] that give each class as many as the largest has: each of a class as often as another, the rest drawn.

    >>> balanced_indices(np.array([0.0, 0.0, 0.0, 1.0])).tolist()
    [0, 1, 2, 3, 3, 3]
    """
    rng = np.random.default_rng(seed)
    of_class = [np.flatnonzero(labels == each) for each in np.unique(labels)]
    most = max(map(len, of_class))
    found = [
        np.concatenate([np.tile(each, most // len(each)), rng.choice(each, most % len(each), replace=False)])
        for each in of_class
    ]
    places: Ints = np.sort(np.concatenate(found))
    return places
