"""Describe a dataset as Croissant 1.0 metadata (MLCommons): files, columns, creator and origin."""

from __future__ import annotations

import hashlib
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import polars as pl

from headway.core.config import Config
from headway.core.dataset import Dataset
from headway.core.errors import DataError
from headway.core.provenance import TrackedData
from headway.core.settings.project import ProjectSection
from headway.data.settings.data import DataSection
from headway.data.settings.provenance import ProvenanceSection

Json = dict[str, Any]
STANDARD = "http://mlcommons.org/croissant/1.0"
FORMATS = {".csv": "text/csv", ".parquet": "application/x-parquet"}
_CROISSANT_TERMS = (
    *("citeAs", "column", "extract", "field", "fileObject", "fileProperty", "fileSet", "format", "includes", "key"),
    *("isLiveDataset", "jsonPath", "md5", "parentField", "path", "recordSet", "references", "regex", "repeated"),
    *("replace", "separator", "source", "subField", "transform"),
)
_CONTEXT: Json = {
    "@language": "en",
    "@vocab": "https://schema.org/",
    "conformsTo": "dct:conformsTo",
    "cr": "http://mlcommons.org/croissant/",
    "data": {"@id": "cr:data", "@type": "@json"},
    "dataType": {"@id": "cr:dataType", "@type": "@vocab"},
    "dct": "http://purl.org/dc/terms/",
    "examples": {"@id": "cr:examples", "@type": "@json"},
    "prov": "http://www.w3.org/ns/prov#",
    "rai": "http://mlcommons.org/croissant/RAI/",
    "sc": "https://schema.org/",
    **{name: f"cr:{name}" for name in _CROISSANT_TERMS},
}


def croissant_metadata(dataset: Dataset, config: Config, files: Sequence[Path]) -> Json:
    """Return the metadata of a dataset in files, each with its SHA-256; `version` includes the content digest.

    Raises
    ------
    DataError
        If a file has a format that Croissant does not support.
    """
    unsupported = next((file for file in files if file.suffix not in FORMATS), None)
    if unsupported or not files:
        what = f"Croissant does not support '{unsupported.name}'" if unsupported else "Croissant describes files"
        raise DataError(
            what, where=f"[data] source = '{config[DataSection].name}'", hint="write the table as parquet or csv"
        )
    about, name = config[ProvenanceSection], config[ProjectSection].name
    optional = {
        "description": about.description,
        "license": about.license,
        "citeAs": about.cite_as,
        "url": about.url,
        "datePublished": about.published,
        "creator": {"@type": "Organization", "name": about.creator} if about.creator else "",
        "prov:wasDerivedFrom": list(dict.fromkeys([*about.made_from, *_stage_inputs(dataset)])),
        "prov:wasGeneratedBy": [f"{tracked.command} (DVC, stage {tracked.stage})" for tracked in _made(dataset)],
    }
    fields = [name for name in dataset.table.columns if name not in _dropped(dataset)]
    return {
        "@context": _CONTEXT,
        "@type": "Dataset",
        "name": name,
        "conformsTo": STANDARD,
        "identifier": dataset.digest,
        "version": f"1.0.0+{dataset.digest.removeprefix('sha256:')[:12]}",
        **{key: value for key, value in optional.items() if value},
        "distribution": [_file(file) for file in files],
        "recordSet": [_records(dataset, file, fields, _name(number, files)) for number, file in enumerate(files, 1)],
    }


def _made(dataset: Dataset) -> list[TrackedData]:
    """Return the DVC stages whose outputs are unchanged, once each."""
    made = {
        (tracked.record, tracked.stage): tracked
        for tracked in dataset.tracked
        if tracked.command and not tracked.difference
    }
    return list(made.values())


def _stage_inputs(dataset: Dataset) -> list[str]:
    """Return the inputs of unchanged DVC outputs."""
    return [part.name for tracked in dataset.tracked if not tracked.difference for part in tracked.inputs]


def _dropped(dataset: Dataset) -> set[str]:
    """Return the columns that `[personal]` dropped."""
    actions = {key.removeprefix("personal."): action for key, action in dataset.provenance.items()}
    return {name for name, action in actions.items() if action == "drop"}


def _name(number: int, files: Sequence[Path]) -> str:
    return "rows" if len(files) == 1 else f"rows-{number}"


def _file(file: Path) -> Json:
    with file.open("rb") as content:
        digest = hashlib.file_digest(content, "sha256").hexdigest()
    return {
        "@type": "cr:FileObject",
        "@id": file.name,
        "name": file.name,
        "contentUrl": file.name,
        "contentSize": f"{file.stat().st_size} B",
        "encodingFormat": FORMATS[file.suffix],
        "sha256": digest,
    }


def _records(dataset: Dataset, file: Path, names: Sequence[str], record_set: str) -> Json:
    return {
        "@type": "cr:RecordSet",
        "@id": record_set,
        "name": record_set,
        "field": [
            {
                "@type": "cr:Field",
                "@id": f"{record_set}/{name}",
                "name": name,
                "description": _role(dataset, name),
                "dataType": _type(dataset.table.schema[name]),
                "source": {"fileObject": {"@id": file.name}, "extract": {"column": name}},
            }
            for name in names
        ],
    }


def _role(dataset: Dataset, name: str) -> str:
    """Describe the role of a column in `[data]`."""
    roles = dataset.roles
    alone = {"target": roles.target, "time": roles.time, "groups": roles.groups, "query_id": roles.query_id}
    found = [role for role, column in {**alone, "sample_weight": roles.sample_weight}.items() if column == name]
    known = [f"known at {roles.known[name]}"] if name in roles.known else []
    return ", ".join([*found, *known]) or ("feature" if name in dataset.features else "not used")


def _type(dtype: pl.DataType) -> str:
    if dtype == pl.Boolean:
        return "sc:Boolean"
    if dtype.is_integer():
        return "sc:Integer"
    if dtype.is_numeric():
        return "sc:Float"
    return {"Date": "sc:Date", "Datetime": "sc:DateTime"}.get(type(dtype).__name__, "sc:Text")
