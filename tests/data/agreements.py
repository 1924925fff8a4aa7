"""Small tables with a contract, for the contract checks."""

from __future__ import annotations

from pathlib import Path

import polars as pl

from headway.core.config import Config
from headway.core.dataset import Dataset, Roles
from headway.data.context import CheckContext
from headway.data.settings.data import DataSection


def table_with_contract(folder: Path, contract: str, **columns: list[object]) -> CheckContext:
    """Return the context of a table with these columns, a target of ones and a contract file."""
    table = pl.DataFrame({**columns, "late": [1] * len(next(iter(columns.values())))})
    (folder / "contract.toml").write_text(f'{contract}\n[columns.late]\ntype = "integer"\n')
    config = Config(DataSection(target="late"), folder=str(folder))
    return CheckContext(dataset=Dataset(name="small", table=table, roles=Roles(target="late")), config=config)
