"""Train the baseline with the project's own function, on columns known at prediction time."""

from __future__ import annotations

import ast
import inspect
import time
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from dataclasses import replace as replaced
from functools import partial
from pathlib import Path

import numpy as np
import polars as pl
from msgspec.structs import replace

from headway.core import plugins
from headway.core.arrays import Floats, Ints
from headway.core.config import Config
from headway.core.contracts import Blobs, Engine
from headway.core.dataset import Dataset
from headway.core.errors import ConfigError, DataError, NotApplicable, Refused
from headway.core.evidence import Finding
from headway.core.provenance import TrainingDigests
from headway.core.record import canonical, digest_of
from headway.core.search_result import Baseline
from headway.core.training import Training, TrainingTask
from headway.core.variant import Signature, Variant
from headway.data.check import BEFORE_TRAINING, run_checks
from headway.data.context import CheckContext
from headway.data.matrix import dataset_signature, group_codes, matrix, target_values, training_frame
from headway.data.provenance.fingerprint import table_digest
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.split import SplitSection
from headway.data.split import half_of_groups, labeled_rows, time_span
from headway.optimization.importers.mlflow import is_address
from headway.optimization.importers.models import import_baseline, import_fitted_model
from headway.storage.in_memory import InMemoryBlobs


def train_model(
    config: Config,
    dataset: Dataset,
    blobs: Blobs,
    *,
    features: Sequence[str] = (),
    seed: int | None = None,
    balanced: bool | None = None,
    curve: Callable[[Signature], object] | None = None,
    on_import: Callable[[Sequence[Finding]], object] = lambda _: None,
) -> Variant:
    """Train a model with the function of `[model] train` on the labeled rows of a dataset.

    Parameters
    ----------
    config
        Project configuration.
    dataset
        Rows to train on; unlabeled rows are left out.
    blobs
        Store for the artifact.
    features
        Columns to train on; by default all features of the dataset.
    seed
        Seed to pass to the function, which must then have a parameter of that name.
    balanced
        Whether to give all classes the same total weight, by the function's parameter `weights` or else by repeated
        rows; None follows `[model] class_weight`.
    curve
        Makes a learning curve for a signature; passed to a function that has a parameter `curve`.
    on_import
        Called with what a person should know about the fitted model.

    Returns
    -------
    Variant
        The model with no steps.

    Raises
    ------
    DataError
        If a feature is known only after the outcome, or a data check stops the training.
    ConfigError
        If no function is declared, or a seed is given and the function has no parameter for it.
    """
    rows = labeled_rows(dataset)
    _check_before_training(config, rows, features)
    return _fit(config, rows, blobs, features=features, seed=seed, balanced=balanced, curve=curve, on_import=on_import)


def _fit(
    config: Config,
    rows: Dataset,
    blobs: Blobs,
    *,
    features: Sequence[str],
    seed: int | None,
    balanced: bool | None,
    curve: Callable[[Signature], object] | None = None,
    half: int | None = None,
    on_import: Callable[[Sequence[Finding]], object] = lambda _: None,
) -> Variant:
    """Train a model on labeled rows that were checked, or on a half of their groups; parameters as in `train_model`."""
    signature = _select_inputs(dataset_signature(rows), features)
    if half is not None:
        rows = replaced(rows, table=rows.table.filter(pl.Series(half_of_groups(group_codes(rows), half))))
    fit = _training_function(config, seed)
    if curve and _accepts(config, "curve"):
        fit = partial(fit, curve=curve(signature))
    frame, outcomes = training_frame(rows.table, signature), target_values(rows)
    if _is_balanced(config, balanced):
        fit, frame, outcomes = _balance(config, fit, frame, outcomes)
    imported = import_fitted_model(fit(frame, outcomes))
    on_import(imported.findings)
    return import_baseline(imported, rows, blobs, signature=signature)


@dataclass(frozen=True, slots=True, kw_only=True, eq=False)
class TrainingInputs:
    """What every training of a model works with, and all that a worker is given: no store, no key, no source of data.

    Attributes
    ----------
    folder, model, data
        Folder of the training function, and the settings that a training reads.
    rows
        Labeled rows, which were checked.
    recipe
        Digest of the training function.
    """

    folder: str
    model: ModelSection
    data: DataSection
    rows: Dataset
    recipe: str

    @classmethod
    def of(cls, config: Config, dataset: Dataset, features: Sequence[str]) -> TrainingInputs:
        """Check the data as `train_model` does, and return what a training needs of them."""
        rows = labeled_rows(dataset)
        _check_before_training(config, rows, features)
        return cls(
            folder=str(Path(config.folder).absolute()),
            model=ModelSection(train=config[ModelSection].train, class_weight=config[ModelSection].class_weight),
            data=DataSection(task=config[DataSection].task),
            rows=replaced(rows, provenance={}, tracked=()),
            recipe=recipe_digest(config),
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class TrainedModel:
    """A trained model with the bytes of its artifact, and how long the training took."""

    variant: Variant
    content: bytes
    seconds: float = field(compare=False)

    def open(self) -> Engine:
        """Open the model with its engine."""
        return plugins.load_engine(self.variant.engine)(self.content, self.variant.settings)

    def save(self, blobs: Blobs) -> Variant:
        """Store the artifact; raise Refused if it is not that of the variant."""
        if blobs.put(self.content) != self.variant.artifact.digest:
            raise Refused("the artifact of a trained model is not the one that it names")
        return self.variant


def train_task(inputs: TrainingInputs, task: TrainingTask) -> TrainedModel:
    """Train one model, here or in a worker; raise Refused if the training function is another one there."""
    config = Config(inputs.model, inputs.data, folder=inputs.folder)
    if recipe_digest(config) != inputs.recipe:
        raise Refused(
            f"the training function of this worker is not that of the driver: {config[ModelSection].train}",
            where=config.folder,
            hint="the folder of the project is the same on every node",
        )
    blobs, began = InMemoryBlobs(), time.perf_counter()
    variant = _fit(
        config, inputs.rows, blobs, features=task.features, seed=task.seed, balanced=task.balanced, half=task.half
    )
    return TrainedModel(
        variant=variant, content=blobs.get(variant.artifact.digest), seconds=time.perf_counter() - began
    )


def refit_answers(
    config: Config, dataset: Dataset, learned: Ints, answered: Ints, *, features: Sequence[str]
) -> Floats:
    """Train a model on some labeled rows of a dataset that was checked, and return its answers (n, k) to others.

    Parameters
    ----------
    config
        Project configuration.
    dataset
        The dataset.
    learned, answered : ndarray of shape (m,), (n,)
        Indices of its labeled rows.
    features
        Columns to train on.
    """
    rows, blobs = labeled_rows(dataset), InMemoryBlobs()
    some = replaced(rows, table=rows.table[learned])
    model = _fit(config, some, blobs, features=features, seed=None, balanced=None)
    engine = plugins.load_engine(model.engine)(blobs.get(model.artifact.digest), model.settings)
    return engine.predict(matrix(rows.table[answered], model.signature))


def model_path(config: Config) -> Path:
    """Return where the project's model file lies: a path in its folder, or an address in MLflow."""
    return (
        Path(config[ModelSection].file)
        if is_address(config[ModelSection].file)
        else config.path(config[ModelSection].file)
    )


def recipe_digest(config: Config) -> str:
    """Return the digest of the training code, or of the model file if there is none.

    The code is the file with the training function, and the files of the project that it imports.
    """
    if not config[ModelSection].train:
        return digest_of(config.path(config[ModelSection].file).read_bytes())
    file = inspect.getsourcefile(plugins.load_object(config[ModelSection].train, Path(config.folder)))
    if not file:
        return digest_of(config[ModelSection].train.encode())
    contents = [path.read_bytes() for path in _code_files(Path(file), Path(config.folder))]
    return digest_of(contents[0]) if len(contents) == 1 else digest_of(canonical(list(map(digest_of, contents))))


def _code_files(file: Path, folder: Path) -> list[Path]:
    """Return a file of Python code, and those next to it, or in the folder, that it imports."""
    code_files = [file]
    for path in code_files:
        for stem in _imported(path, folder):
            files = [stem.with_suffix(".py"), stem / "__init__.py"]
            code_files += [path for path in files if path.is_file() and not any(map(path.samefile, code_files))]
    return code_files


def _imported(file: Path, folder: Path) -> Iterator[Path]:
    """Yield where the modules that a file imports would lie, without suffix: next to it, and in the folder."""
    for node in ast.walk(ast.parse(file.read_bytes())):
        starts, names = [file.parent, folder], list[str]()
        if isinstance(node, ast.Import):
            names = [alias.name for alias in node.names]
        elif isinstance(node, ast.ImportFrom):
            starts = [file.parents[node.level - 1]] if node.level else starts
            names = [".".join(filter(None, (node.module, alias.name))) for alias in node.names]
            names += [node.module] if node.module else []
        yield from (start.joinpath(*name.split(".")) for name in names for start in starts)


def training_digests(config: Config, dataset: Dataset) -> TrainingDigests:
    """Return the digests of what a training on the labeled rows of a dataset works with."""
    roles = dataset.roles
    settings = {
        "train": config[ModelSection].train,
        "class_weight": config[ModelSection].class_weight,
        "task": config[DataSection].task,
        "target": roles.target,
        "sample_weight": roles.sample_weight,
    }
    return TrainingDigests(
        code=recipe_digest(config),
        settings=digest_of(canonical(settings)),
        rows=table_digest(labeled_rows(dataset).table),
    )


def require_same_training(made_with: TrainingDigests, now: TrainingDigests) -> None:
    """Raise NotApplicable if a model was trained with other code, settings or rows; nothing if that is not known."""
    if changed := made_with.differences(now) if made_with.is_known else []:
        raise NotApplicable(
            f"what this model was trained with has changed ({', '.join(changed)}), so a model that is retrained now "
            "says nothing of it",
            where="[model] train",
            hint="restore what changed, or train and search again: headway optimize",
        )


def training_record(config: Config, baseline: Baseline, data: Mapping[str, Dataset], seconds: float) -> Training:
    """Return the record of one training: code, rows, duration, and the period of the rows that evaluate it."""
    split = config[SplitSection]
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


def imported_training(config: Config, baseline: Baseline, data: Mapping[str, Dataset]) -> Training:
    """Return the record that stands for the training of a model that was fitted elsewhere.

    All rows from the first period of `data` on are out of sample, except those of a declared `train` period.
    """
    split = config[SplitSection]
    since, until = (split.train or time_span(data["train"])) if "train" in data else ("", "")
    until = until or time_span(data["validation"])[0]
    judged = split.test or time_span(data["test"])
    return Training(
        dataset=baseline.data.get("train") or baseline.data["test"],
        recipe=baseline.model.artifact.digest,
        model=baseline.model,
        since=since or until,
        until=until,
        judged_since=judged[0],
        judged_until=judged[1],
        n_rows=len(labeled_rows(data["train"]).table) if "train" in data else 0,
        seconds=0.0,
    )


def require_training_function(config: Config) -> None:
    """Raise ConfigError, with what to add, if the project has a model but no function that trains one."""
    if config[ModelSection].train:
        return
    raise ConfigError(
        f"the model comes from {config[ModelSection].file or 'elsewhere'}; "
        "without a function headway cannot train it again",
        where="[model] train",
        hint="write train.py: def train(rows, labels, *, seed=0): return model.fit(rows.to_numpy(), labels); and add "
        'train = "train:train" under [model], where file = may stay. headway retrain --recalibrate needs none',
    )


def require_model(config: Config) -> None:
    """Raise ConfigError if the project has the scores of another system instead of a model."""
    if config[ModelSection].scores:
        raise ConfigError(
            f"the column '{config[ModelSection].scores}' holds the scores of another system, whose model is not here",
            where="[model] scores",
            hint="headway watch monitors the scores; for more, set file = or train = instead of scores =",
        )


def accepts_seed(config: Config) -> bool:
    """Return whether `[model] train` names a function with a parameter `seed`."""
    return bool(config[ModelSection].train) and _accepts(config, "seed")


def _is_balanced(config: Config, balanced: bool | None) -> bool:
    """Return whether to balance the classes; raise ConfigError if the task has none."""
    balanced = config[ModelSection].class_weight == "balanced" if balanced is None else balanced
    if balanced and config[DataSection].task not in ("binary", "multiclass"):
        raise ConfigError(
            f"a target of task '{config[DataSection].task}' has no classes to balance",
            where="[model] class_weight",
            hint="leave it out",
        )
    return balanced


def _balance(
    config: Config, fit: Callable[..., object], frame: pl.DataFrame, outcomes: Floats
) -> tuple[Callable[..., object], pl.DataFrame, Floats]:
    """Return the function, rows and labels with classes balanced by weights, or by repeated rows."""
    if _accepts(config, "weights"):
        return partial(fit, weights=balanced_weights(outcomes)), frame, outcomes
    indices = balanced_indices(outcomes)
    return fit, frame[indices], outcomes[indices]


def _accepts(config: Config, name: str) -> bool:
    fit: Callable[..., object] = plugins.load_object(config[ModelSection].train, Path(config.folder))
    return name in inspect.signature(fit).parameters


def _training_function(config: Config, seed: int | None) -> Callable[..., object]:
    """Return the project's training function, with the seed bound if there is one."""
    if not config[ModelSection].train:
        raise ConfigError("no model is declared", where="[model]", hint='train = "train:train" or file = "model.txt"')
    fit: Callable[..., object] = plugins.load_object(config[ModelSection].train, Path(config.folder))
    if seed is None:
        return fit
    if not accepts_seed(config):
        raise ConfigError(
            "the training function takes no seed, so that the variance between trainings cannot be measured",
            where=f"[model] train = {config[ModelSection].train!r}",
            hint="def train(rows, labels, *, seed=0), or [retrain] seeds = 1 to leave that variance out",
        )
    return partial(fit, seed=seed)


def _check_before_training(config: Config, dataset: Dataset, features: Sequence[str]) -> None:
    """Raise DataError if a feature is known only after the outcome, or a data check stops the training."""
    late = [name for name in features if name in dataset.roles.not_features]
    if late:
        raise DataError(
            f"refused to train on {', '.join(late)}: known only after the outcome, or not a feature",
            where=f"decision: {dataset.roles.decision or 'at request'}",
            hint="leave them out; a model that reads them cannot be served",
        )
    context = CheckContext(dataset=dataset, config=config)
    stops = [finding for finding in run_checks(context, families=BEFORE_TRAINING) if finding.severity == "stop"]
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


def balanced_weights(labels: Floats) -> Floats:
    """Return sample weights (n,) that give all classes the same sum; their mean is 1.

    >>> balanced_weights(np.array([0.0, 0.0, 0.0, 1.0])).round(3).tolist()
    [0.667, 0.667, 0.667, 2.0]
    """
    classes, codes, counts = np.unique(labels, return_inverse=True, return_counts=True)
    weights: Floats = (len(labels) / len(classes) / counts)[codes]
    return weights


def balanced_indices(labels: Floats, *, seed: int = 0) -> Ints:
    """Return row indices (m,) that repeat each class up to the size of the largest.

    Each row of a class is repeated equally often; the remainder is drawn without replacement.

    >>> balanced_indices(np.array([0.0, 0.0, 0.0, 1.0])).tolist()
    [0, 1, 2, 3, 3, 3]
    """
    rng = np.random.default_rng(seed)
    members = [np.flatnonzero(labels == label) for label in np.unique(labels)]
    size = max(map(len, members))
    repeated = [
        np.concatenate([np.tile(rows, size // len(rows)), rng.choice(rows, size % len(rows), replace=False)])
        for rows in members
    ]
    indices: Ints = np.sort(np.concatenate(repeated))
    return indices
