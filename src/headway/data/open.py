"""Open the data of a project: read the source, apply roles, the personal data policy and label corrections."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, replace
from pathlib import Path

import polars as pl
from msgspec.structs import replace as changed

from headway.core.config import Config
from headway.core.contracts import State
from headway.core.dataset import Dataset, Roles
from headway.core.provenance import TrackedData
from headway.data.contract.quarantine import load_decisions
from headway.data.dvc import tracked_files
from headway.data.labels.corrections import apply_corrections, load_corrections
from headway.data.parsing import parse_number_texts, replace_missing
from headway.data.personal.policy import apply_personal_policy
from headway.data.provenance.fingerprint import table_digest
from headway.data.read import read_table, resolve_path, source_files, unfetched_source_files
from headway.data.roles import add_derived_group, apply_roles, check_roles, parse_roles
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection


@dataclass(frozen=True, slots=True, kw_only=True)
class OpenedRows:
    """The rows of a project in the order of its source: as read (`raw`), and as opened (`table`), with their roles.

    `target` is the encoded target before label corrections, `changes` what the provenance says of them and of
    `[personal]`, and `blanks` counts the blanks of columns that were read as numbers.
    """

    raw: pl.DataFrame
    table: pl.DataFrame
    roles: Roles
    target: pl.Series
    changes: Mapping[str, str]
    blanks: Mapping[str, dict[str, int]]


def open_rows(config: Config, raw: pl.DataFrame, *, state: State | None = None) -> OpenedRows:
    """Apply roles, `[personal]` and label corrections to the rows of a source, without those that were discarded.

    See `open_dataset`.
    """
    roles = parse_roles(config[DataSection])
    table, blanks = _as_numbers(add_derived_group(raw, config[DataSection]), roles, config)
    check_roles(table, roles, name=config[DataSection].name)
    table, roles, done = apply_personal_policy(table, roles, config)
    table = apply_roles(table, config[DataSection])
    corrected, corrections = apply_corrections(table, raw, config, load_corrections(config, state))
    target, changes = table[roles.target], {f"personal.{name}": action for name, action in done.items()} | corrections
    usable = load_decisions(config, state).usable(corrected)
    if usable is not None and not usable.all():
        changes["rows.discarded"] = f"{len(usable) - usable.sum():,} rows in quarantine"
        raw, corrected, target = raw.filter(usable), corrected.filter(usable), target.filter(usable)
    return OpenedRows(raw=raw, table=corrected, roles=roles, target=target, changes=changes, blanks=blanks)


def open_dataset(config: Config, *, rows: pl.DataFrame | None = None) -> Dataset:
    """Open the dataset that `[data]` declares.

    Its roles are checked against its columns, `[personal]` is applied, labels are corrected, and rows that a person
    discarded from quarantine are left out.
    `rows` is the table of the source if it was read already.

    Raises
    ------
    DataError, ConfigError
        If the source is missing or not a table, lacks a declared column, or a column does not fit its role.
    """
    found = open_rows(
        config, read_table(config) if rows is None else replace_missing(rows, config[DataSection].missing)
    )
    opened = make_dataset(found.table, found.roles, name=config[DataSection].name)
    query = {"query": config[DataSection].query} if config[DataSection].query else {}
    return replace(
        opened,
        provenance={**opened.provenance, **query, **found.changes},
        tracked=tracked_by_dvc(config),
        blanks={name: counts for name, counts in found.blanks.items() if name in opened.features},
    )


def _as_numbers(table: pl.DataFrame, roles: Roles, config: Config) -> tuple[pl.DataFrame, dict[str, dict[str, int]]]:
    """Read features of numbers and blanks as numbers; a model file was fitted on the strings, so they stay for it."""
    if config[ModelSection].file:
        return table, {}
    return parse_number_texts(table, [name for name in table.columns if name not in {*roles.not_features, *roles.text}])


def load_snapshot(config: Config) -> pl.DataFrame | None:
    """Load `[data] snapshot` with `[personal]` applied; None if none is declared."""
    section = config[DataSection]
    if not section.snapshot:
        return None
    table = read_table(config.having(changed(section, source=section.snapshot, query="")))
    roles = parse_roles(section)
    return apply_personal_policy(_as_numbers(table, roles, config)[0], roles, config)[0]


def make_dataset(table: pl.DataFrame, roles: Roles, *, name: str) -> Dataset:
    """Make a dataset of a polars table; raise DataError if it has no rows or lacks a column that a role names."""
    check_roles(table, roles, name=name)
    return Dataset(name=name, table=table, roles=roles, digest=table_digest(table), provenance={"source": name})


def tracked_by_dvc(config: Config) -> tuple[TrackedData, ...]:
    """Return the DVC record of the source folder as a whole if there is one, else of each file."""
    folder, files = Path(config.folder), source_files(config)
    if not files:
        return ()
    path = resolve_path(config.path(config[DataSection].source))
    of_folder = tracked_files([path], folder) if path.is_dir() else ()
    return of_folder or tracked_files([*files, *unfetched_source_files(config)], folder)
