"""Import a fitted model or a model file as the baseline variant."""

from __future__ import annotations

import difflib
import math
import os
import re
import signal
import subprocess
import sys
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from headway.core import plugins
from headway.core.contracts import Blobs, ImportedModel, ModelFile
from headway.core.dataset import Dataset
from headway.core.errors import DataError, EngineError, NotApplicable, PluginError, Refused
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.data.matrix import dataset_signature

UNSAFE_SUFFIXES = {
    **dict.fromkeys((".pkl", ".pickle", ".joblib", ".sav"), "sklearn"),
    **dict.fromkeys((".pt", ".pth", ".ckpt", ".pt2"), "torch"),
}
"""How the names of files end that can run code when they are opened, and the engine whose library opens them."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A fitted model as the engine of that name took it."""

    engine: str
    adopted: ImportedModel


@dataclass(frozen=True, slots=True, kw_only=True)
class UnpickleResult:
    """What became of a trusted file: its model as it was taken, or why it was not, in the three parts of an error."""

    taken: Taken | None = None
    what: str = ""
    where: str = ""
    hint: str = ""


def open_model_file(path: Path, *, trust: bool = False) -> ModelFile | Taken:
    """What `import_baseline` takes of a model file; one that can run code is taken at once, in a process of its own.

    Raises EngineError where there is none or it cannot be opened, Refused for one that can run code and has no `trust`.
    """
    try:
        file = ModelFile(content=path.read_bytes(), suffix=path.suffix.lower())
    except OSError as error:
        raise EngineError(f"cannot read the model file: {error.strerror}", where=str(path)) from error
    opener = unsafe_opener(file)
    if not opener:
        return file
    if not trust:
        raise Refused(
            f"a {file.suffix or 'nameless'} file can run code of whoever made it when it is opened, as this one might",
            where=str(path),
            hint=f"headway optimize {path} --trust, if you know who made it; in Python: trust=True",
        )
    return _import_in_subprocess(path)


def unsafe_opener(file: ModelFile) -> str:
    """The engine that opens a file which can run code; empty for a file that is data."""
    is_pickle = file.content[:1] == b"\x80" and file.content[1:2] in (b"\2", b"\3", b"\4", b"\5")
    return UNSAFE_SUFFIXES.get(file.suffix, "sklearn" if is_pickle else "")


def _import_in_subprocess(path: Path) -> Taken:
    """The model of a trusted file, opened and taken by `adoption.unpickle` in a process of its own that ends after."""
    paths = os.pathsep.join(os.path.abspath(each) for each in sys.path)  # it finds the classes that this process finds
    with tempfile.TemporaryDirectory(prefix="headway-") as folder:
        answer = Path(folder) / "taken"
        command = [sys.executable, "-m", "headway.optimization.importers.unpickle", str(path), str(answer)]
        run = subprocess.run(
            command, env={**os.environ, "PYTHONPATH": paths}, check=False, capture_output=True, text=True
        )
        if run.returncode:
            raise EngineError(
                f"opening it ended Python with {_describe_exit(run.returncode)}",
                where=str(path),
                hint="open it where it was made, and save it in a form that is data: skops, ONNX, or its library's own",
            )
        outcome = msgspec.msgpack.decode(answer.read_bytes(), type=UnpickleResult)
    if outcome.taken is None:
        raise EngineError(outcome.what, where="; ".join(filter(None, [str(path), outcome.where])), hint=outcome.hint)
    return outcome.taken


def _describe_exit(code: int) -> str:
    return signal.Signals(-code).name if code < 0 else f"exit code {code}"


def import_baseline(
    model: object | Taken, dataset: Dataset, blobs: Blobs, *, signature: Signature | None = None
) -> Variant:
    """A fitted model, a ModelFile, or one that was taken, as the Variant with no steps.

    Without a `signature`, the model reads the columns that it names, else those of the dataset in their order. Raises
    EngineError, with the engines there are, where none takes it, and DataError where the dataset lacks its columns.
    """
    taken = import_model(model)
    engine, content = plugins.load_engine(taken.engine), taken.adopted.content
    if signature is None:
        signature = infer_signature(taken.adopted, dataset)
        content, signature = engine.bind(content, signature) if hasattr(engine, "bind") else (content, signature)
    return Variant(
        artifact=Artifact(format=engine.formats[0], digest=blobs.put(content), size_bytes=len(content)),
        engine=taken.engine,
        signature=signature,
        task=taken.adopted.task or dataset.roles.task,
    )


def import_model(model: object | Taken) -> Taken:
    """A fitted model, or a ModelFile, by the first engine that knows its library; its own library's is asked first.

    Raises EngineError, with the engines there are, where none takes it.
    """
    if isinstance(model, Taken):
        return model
    refusals: list[str] = []
    hints: list[str] = []
    for name in _sort_engines(model):
        try:
            adopted = plugins.load_engine(name).import_model(model)
            return Taken(engine=adopted.engine or name, adopted=adopted)
        except (NotApplicable, PluginError) as reason:
            refusals.append(f"{name}: {reason.what}")
            hints += [reason.hint] if isinstance(reason, PluginError) and isinstance(model, ModelFile) else []
    raise EngineError(
        f"no engine takes {_describe_model(model)}",
        where="; ".join(refusals),
        hint=" or ".join([*hints, conversion_hint(model)]),
    )


def _sort_engines(model: object) -> list[str]:
    """Engines named as a package that the model's classes come from, then the others: asking imports their library."""
    roots = [kind.__module__.partition(".")[0] for kind in type(model).__mro__]
    names = [name for name in plugins.names("engine") if plugins.declaration("engine", name, "IMPORTS_MODELS", True)]
    return sorted(names, key=lambda name: (roots.index(name) if name in roots else len(roots), names.index(name)))


def infer_signature(adopted: ImportedModel, dataset: Dataset) -> Signature:
    """The columns of the dataset that an adopted model reads, with the categories that it knows."""
    names = _match_spelling(adopted.names, dataset.table.columns)
    _check_columns(names, dataset)
    read = replace(dataset, table=dataset.table.select(names)) if names else dataset
    there = dataset_signature(read)
    if adopted.width and len(there.names) != adopted.width:
        raise DataError(
            f"the model reads {adopted.width} columns, and the table has {len(there.names)} that are features",
            where=f"features: {', '.join(there.names)}",
            hint="leave out what is no feature: [data] ignore",
        )
    return Signature(
        inputs=_with_categories(list(there.inputs), adopted.categories),
        classes=adopted.classes or dataset.roles.classes,
        absent="missing" if math.isnan(adopted.absent) else "zero",
    )


def _match_spelling(names: tuple[str, ...], columns: list[str]) -> tuple[str, ...]:
    """The model's names as the table spells them: LightGBM writes `_` for each space in a name."""
    written = {re.sub(r"\s", "_", column): column for column in columns}
    return tuple(name if name in columns else written.get(name, name) for name in names)


def _with_categories(fields: list[Field], categories: tuple[tuple[str, ...], ...]) -> tuple[Field, ...]:
    """The model's own categories, whose ranks it learned, in place of those that the table shows."""
    texts = [place for place, field in enumerate(fields) if field.datatype == "BYTES"]
    if not categories:
        return tuple(fields)
    if len(texts) != len(categories):
        raise DataError(
            f"the model reads {len(categories)} columns of categories, and the table has {len(texts)} of text",
            where=f"text columns: {', '.join(fields[place].name for place in texts) or 'none'}",
            hint="give its category columns as text",
        )
    for place, values in zip(texts, categories, strict=True):
        fields[place] = Field(name=fields[place].name, datatype="BYTES", categories=values)
    return tuple(fields)


def _check_columns(names: tuple[str, ...], dataset: Dataset) -> None:
    missing = [name for name in names if name not in dataset.table.columns]
    if missing:
        near = difflib.get_close_matches(missing[0], dataset.table.columns, 1)
        raise DataError(
            f"the model reads columns that the table lacks: {', '.join(missing)}",
            where=f"{dataset.name} has: {', '.join(dataset.table.columns)}",
            hint=f"rename {near[0]} to {missing[0]}" if near else "give the table that the model was trained on",
        )
    late = [name for name in names if name in dataset.roles.not_features]
    if late:
        raise DataError(
            f"the model reads {', '.join(late)}: known only after the outcome, or no feature at all",
            where=f"decision: {dataset.roles.decision or 'at request'}",
            hint="a model that reads them cannot be served: train one without, or correct [data]",
        )


def _describe_model(model: object) -> str:
    if isinstance(model, ModelFile):
        return f"this {model.suffix or 'nameless'} file"
    return f"a {type(model).__module__}.{type(model).__name__}"


_KERAS = "model.export('model.onnx', format='onnx')"
_TENSORFLOW = "python -m tf2onnx.convert --saved-model FOLDER --output model.onnx"
_JAX = "jax2onnx.to_onnx(function, [('B', d)], return_mode='file', output_path='model.onnx')"
_BY_LIBRARY = {
    "flax": _JAX,
    "h2o": "onnxmltools.convert_h2o(model.download_mojo())",
    "jax": _JAX,
    "jaxlib": _JAX,
    "keras": _KERAS,
    "mlflow": "load it with its own flavour (mlflow.sklearn.load_model), and give that model",
    "pyspark": "onnxmltools.convert_sparkml(model, 'model', [('features', FloatTensorType([None, d]))])",
    "statsmodels": "put model.params into the coef_ and intercept_ of a LinearRegression or LogisticRegression of "
    "scikit-learn, and give that model",
    "tensorflow": f"{_TENSORFLOW}, after tf.saved_model.save(model, 'FOLDER')",
    "tf_keras": _TENSORFLOW,
}
_BY_SUFFIX = {
    ".h5": f"keras.models.load_model('model.h5'), then {_KERAS}",
    ".keras": f"keras.models.load_model('model.keras'), then {_KERAS}",
    ".pb": _TENSORFLOW,
    ".tflite": "python -m tf2onnx.convert --tflite model.tflite --output model.onnx",
}


def conversion_hint(model: object) -> str:
    """What makes of this model, or model file, one that an engine takes; ONNX where nothing better is known."""
    if isinstance(model, ModelFile):
        way = _BY_SUFFIX.get(model.suffix, "")
    else:
        libraries = (kind.__module__.partition(".")[0] for kind in type(model).__mro__)
        way = next((_BY_LIBRARY[each] for each in libraries if each in _BY_LIBRARY), "")
    return way or "save it as ONNX, and give that file"
