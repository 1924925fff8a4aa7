"""Small tables with a contract beside them, for the checks that hold one to the other."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from headway.core.config import Config, DataSection
from headway.core.dataset import Dataset, Roles
from headway.data.context import CheckContext


def held_to(folder: Path, contract: str, **columns: list[object]) -> CheckContext:
    """A table of these columns, whose contract says this, beyond a target of ones that is in both."""
    table = pl.DataFrame({**columns, "late": [1] * len(next(iter(columns.values())))})
    (folder / "contract.toml").write_text(f'{contract}\n[columns.late]\ntype = "integer"\n')
    config = Config(folder=str(folder), data=DataSection(target="late"))
    return CheckContext(dataset=Dataset(name="held", table=table, roles=Roles(target="late")), config=config)
