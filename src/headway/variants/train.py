"""The model as it came: fitted by the project's own code, or read from a file; never on what only the outcome tells."""

from __future__ import annotations

import inspect
from collections.abc import Callable, Sequence
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from numpy.typing import NDArray

from headway.core import plugins
from headway.core.config import Config
from headway.core.contracts import Blobs
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError, EngineError, NotApplicable
from headway.core.record import digest_of
from headway.core.variant import Artifact, Signature, Variant
from headway.data.check import check
from headway.data.matrix import labels, matrix, signature_of
from headway.data.split import labelled

Floats = NDArray[np.float64]

FORMATS = {".txt": "lightgbm", ".onnx": "onnx"}


def train(
    config: Config, dataset: Dataset, blobs: Blobs, *, features: Sequence[str] = (), seed: int | None = None
) -> Variant:
    """What `[model] train` fits on the labelled rows of a dataset, or what `[model] file` holds.

    `features` narrows the columns it may read; with a `seed`, the function is called with `seed=`. Raises DataError
    where a feature is known only after the outcome, or where a check says stop; ConfigError where no seed is taken.
    """
    rows = labelled(dataset)
    _refuse(rows, features)
    signature = _narrowed(signature_of(rows), features)
    if config.model.file:
        return _from_file(config.path(config.model.file), signature, blobs, task=rows.roles.task)
    fit = _fit(config, seed)
    frame = pl.DataFrame(matrix(rows.table, signature), schema=list(signature.names))
    return adopt(fit(frame, labels(rows)), signature, blobs, task=rows.roles.task)


def recipe(config: Config) -> str:
    """The digest of the code, or of the file, that the model comes from: another one may give another model."""
    if config.model.file:
        return digest_of(config.path(config.model.file).read_bytes())
    file = inspect.getsourcefile(plugins.load_object(config.model.train, Path(config.folder)))
    return digest_of(Path(file).read_bytes() if file else config.model.train.encode())


def adopt(model: object, signature: Signature, blobs: Blobs, *, task: str) -> Variant:
    """A fitted model as the Variant with no steps, by the first engine that knows its library.

    Raises EngineError, with the engines there are, where none does.
    """
    for name in plugins.names("engine"):
        engine = plugins.load_engine(name)
        try:
            content = engine.adopt(model)
        except NotApplicable:
            continue
        artifact = _keep(content, engine.formats[0], blobs)
        return Variant(artifact=artifact, engine=name, signature=signature, task=task)
    raise EngineError(
        f"no engine takes a {type(model).__module__}.{type(model).__name__}",
        where=f"engines: {', '.join(plugins.names('engine'))}",
        mend="save it as ONNX and name that under [model] file",
    )


def _fit(config: Config, seed: int | None) -> Callable[[pl.DataFrame, Floats], object]:
    """The project's own function; with a seed, it must take one by that name."""
    if not config.model.train:
        raise ConfigError("no model is declared", where="[model]", mend='train = "train:train" or file = "model.txt"')
    fit: Callable[..., object] = plugins.load_object(config.model.train, Path(config.folder))
    if seed is None:
        return fit
    if "seed" not in inspect.signature(fit).parameters:
        raise ConfigError(
            "the training function takes no seed, so that the variance between trainings cannot be measured",
            where=f"[model] train = {config.model.train!r}",
            mend="def train(rows, labels, *, seed=0), or [retrain] seeds = 1 to leave that variance out",
        )
    return partial(fit, seed=seed)


def _from_file(path: Path, signature: Signature, blobs: Blobs, *, task: str) -> Variant:
    if path.suffix not in FORMATS:
        raise ConfigError(f"cannot open '{path.name}' as a model", mend=f"one of {', '.join(FORMATS)}")
    if not path.exists():
        raise ConfigError(f"no model file '{path.name}'", where=str(path), mend="[model] file")
    format = FORMATS[path.suffix]
    engine = next(name for name in plugins.names("engine") if format in plugins.load_engine(name).formats)
    artifact = _keep(path.read_bytes(), format, blobs)
    return Variant(artifact=artifact, engine=engine, signature=signature, task=task)


def _keep(content: bytes, format: str, blobs: Blobs) -> Artifact:
    return Artifact(format=format, digest=blobs.put(content), size_bytes=len(content))


def _refuse(dataset: Dataset, features: Sequence[str]) -> None:
    """Raise DataError where training would read what only the outcome tells."""
    late = [name for name in features if name in dataset.roles.not_features]
    if late:
        raise DataError(
            f"refused to train on {', '.join(late)}: known only after the outcome, or no feature at all",
            where=f"decision: {dataset.roles.decision or 'at request'}",
            mend="leave them out; a model that reads them cannot be served",
        )
    stops = [finding for finding in check(dataset) if finding.severity == "stop"]
    if stops:
        raise DataError(
            f"refused to train: {stops[0].code} {stops[0].says}"
            + (f" (and {len(stops) - 1} more)" if stops[1:] else ""),
            where=stops[0].where,
            mend=stops[0].mend,
        )


def _narrowed(signature: Signature, features: Sequence[str]) -> Signature:
    return Signature(inputs=tuple(f for f in signature.inputs if f.name in features)) if features else signature
