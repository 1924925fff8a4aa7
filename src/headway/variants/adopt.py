"""A fitted model becomes the Variant with no steps: which engine takes it, and which columns of a table it reads.

A file that can run code when it is opened (pickle, joblib) is opened only with trust, once, to be taken over.
"""

from __future__ import annotations

import difflib
import math
from dataclasses import dataclass
from pathlib import Path

from headway.core import plugins
from headway.core.contracts import Adopted, Blobs, ModelFile
from headway.core.dataset import Dataset
from headway.core.errors import DataError, EngineError, NotApplicable, PluginError
from headway.core.variant import Artifact, Field, Signature, Variant
from headway.data.matrix import signature_of


def open_file(path: Path) -> object:
    """What `adopt` takes of a model file; raises EngineError where there is none."""
    try:
        return ModelFile(content=path.read_bytes(), suffix=path.suffix)
    except OSError as error:
        raise EngineError(f"cannot read the model file: {error.strerror}", where=str(path)) from error


@dataclass(frozen=True, slots=True, kw_only=True)
class Taken:
    """A fitted model as the engine of that name took it."""

    engine: str
    adopted: Adopted


def adopt(model: object | Taken, dataset: Dataset, blobs: Blobs, *, signature: Signature | None = None) -> Variant:
    """A fitted model, a ModelFile, or one that was taken, as the Variant with no steps.

    Without a `signature`, the model reads the columns that it names, else those of the dataset in their order. Raises
    EngineError, with the engines there are, where none takes it, and DataError where the dataset lacks its columns.
    """
    taken = model if isinstance(model, Taken) else take(model)
    content = taken.adopted.content
    return Variant(
        artifact=Artifact(
            format=plugins.load_engine(taken.engine).formats[0], digest=blobs.put(content), size_bytes=len(content)
        ),
        engine=taken.engine,
        signature=signature or signature_for(taken.adopted, dataset),
        task=taken.adopted.task or dataset.roles.task,
    )


def take(model: object) -> Taken:
    """A fitted model, or a ModelFile, by the first engine that knows its library.

    Raises EngineError, with the engines there are, where none takes it.
    """
    refusals: list[str] = []
    mends: list[str] = []
    for name in plugins.names("engine"):
        try:
            return Taken(engine=name, adopted=plugins.load_engine(name).adopt(model))
        except (NotApplicable, PluginError) as reason:
            refusals.append(f"{name}: {reason.what}")
            mends += [reason.mend] if isinstance(reason, PluginError) and isinstance(model, ModelFile) else []
    raise EngineError(
        f"no engine takes {_named(model)}",
        where="; ".join(refusals),
        mend=" or ".join([*mends, "save it as ONNX, and give that file"]),
    )


def signature_for(adopted: Adopted, dataset: Dataset) -> Signature:
    """The columns of the dataset that an adopted model reads, with the categories that it knows."""
    there = signature_of(dataset)
    names = adopted.names or there.names
    _expect_columns(names, dataset)
    if adopted.width and len(names) != adopted.width:
        raise DataError(
            f"the model reads {adopted.width} columns, and the table has {len(names)} that are features",
            where=f"features: {', '.join(names)}",
            mend="leave out what is no feature: [data] ignore",
        )
    fields = {field.name: field for field in there.inputs}
    late = [name for name in names if name not in fields]
    if late:
        raise DataError(
            f"the model reads {', '.join(late)}: known only after the outcome, or no feature at all",
            where=f"decision: {dataset.roles.decision or 'at request'}",
            mend="a model that reads them cannot be served: train one without, or correct [data]",
        )
    inputs = _with_categories([fields[name] for name in names], adopted.categories)
    return Signature(inputs=inputs, classes=adopted.classes, absent="missing" if math.isnan(adopted.absent) else "zero")


def _with_categories(fields: list[Field], categories: tuple[tuple[str, ...], ...]) -> tuple[Field, ...]:
    """The model's own categories, whose ranks it learned, in place of those that the table shows."""
    texts = [place for place, field in enumerate(fields) if field.datatype == "BYTES"]
    if not categories:
        return tuple(fields)
    if len(texts) != len(categories):
        raise DataError(
            f"the model reads {len(categories)} columns of categories, and the table has {len(texts)} of text",
            where=f"text columns: {', '.join(fields[place].name for place in texts) or 'none'}",
            mend="give its category columns as text",
        )
    for place, values in zip(texts, categories, strict=True):
        fields[place] = Field(name=fields[place].name, datatype="BYTES", categories=values)
    return tuple(fields)


def _expect_columns(names: tuple[str, ...], dataset: Dataset) -> None:
    missing = [name for name in names if name not in dataset.table.columns]
    if missing:
        near = difflib.get_close_matches(missing[0], dataset.table.columns, 1)
        raise DataError(
            f"the model reads columns that the table lacks: {', '.join(missing)}",
            where=f"{dataset.name} has: {', '.join(dataset.table.columns)}",
            mend=f"rename {near[0]} to {missing[0]}" if near else "give the table that the model was trained on",
        )


def _named(model: object) -> str:
    if isinstance(model, ModelFile):
        return f"this {model.suffix or 'nameless'} file"
    return f"a {type(model).__module__}.{type(model).__name__}"
