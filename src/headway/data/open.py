"""Open the data of a project: read its source, and check the roles of its columns."""

from __future__ import annotations

from dataclasses import replace

import polars as pl

from headway.core.config import Config
from headway.core.dataset import Dataset, Roles
from headway.data.personal.policy import guarded
from headway.data.provenance.digest import digest
from headway.data.read import read_table
from headway.data.roles import expect_columns, roles_of, with_roles


def open_dataset(config: Config) -> Dataset:
    """The dataset that `[data]` names, with its roles checked against its columns, and `[personal]` done to them.

    Raises DataError or ConfigError where the source is missing, is no table, lacks a declared column, or holds in it
    what the role cannot be.
    """
    roles = roles_of(config.data)
    table = read_table(config)
    expect_columns(table, roles, name=config.data.name)
    table, roles, done = guarded(table, roles, config)
    opened = dataset_of(with_roles(table, config.data), roles, name=config.data.name)
    asked = {"query": config.data.query} if config.data.query else {}
    personal = {f"personal.{name}": way for name, way in done.items()}
    return replace(opened, provenance={**opened.provenance, **asked, **personal})


def dataset_of(table: pl.DataFrame, roles: Roles, *, name: str) -> Dataset:
    """A dataset of a polars table; raises DataError where it has no rows, or lacks a column that a role names."""
    expect_columns(table, roles, name=name)
    return Dataset(name=name, table=table, roles=roles, digest=digest(table), provenance={"source": name})
