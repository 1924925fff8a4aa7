"""Open the data of a project for checks in bounded memory: of a larger table all rows are counted and some sampled.

A table of at most `[data] max_rows` rows is opened whole. A larger one is read twice, in batches. First the rows of
each group are counted, by the first bits of a hash of the group, and how each column of strings is to be read. Then the
rows are brought to the form that an opened dataset has: all of them give its digest, and those of the groups with the
smallest hashes, as many as fit, are the sample. It depends on the table and on `max_rows` alone.
"""

from __future__ import annotations

import tempfile
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass, field, replace
from datetime import datetime
from pathlib import Path
from typing import Literal

import numpy as np
import polars as pl

from headway.core.arrays import Ints
from headway.core.config import Config
from headway.core.dataset import Dataset, SampledRows
from headway.core.errors import ConfigError, DataError
from headway.data.contract.quarantine import load_decisions
from headway.data.contract.table_contract import load_project_contract
from headway.data.labels.corrections import apply_corrections, load_corrections
from headway.data.open import open_dataset, tracked_by_dvc
from headway.data.parsing import StringColumn, replace_missing
from headway.data.personal.patterns import KINDS
from headway.data.personal.policy import apply_personal_policy
from headway.data.provenance.fingerprint import Words, canonical_column, fingerprint_columns
from headway.data.provenance.streamed import StreamedVersion
from headway.data.read import read_file
from headway.data.roles import (
    add_derived_group,
    apply_roles,
    check_roles,
    encode_target,
    missing_role_error,
    names_entities,
    parse_roles,
)
from headway.data.scan import TableScan, scan_path, scan_source
from headway.data.settings.data import DataSection
from headway.data.settings.model import ModelSection
from headway.data.settings.personal import PersonalSection

MIN_WHOLE_GROUPS = 100
"""If fewer groups than this fit into the sample, rows are drawn from all groups: intervals need many groups."""
MAX_COUNTED = 1 << 16
"""Groups that are counted exactly; more are estimated, with a standard error of 0.4 %."""
_BUCKET_BITS = 16

Drawn = Literal["groups", "queries", "rows"]


@contextmanager
def open_for_checks(config: Config) -> Iterator[Dataset]:
    """Open the dataset that `[data]` declares, whole or as a sample; temporary files are deleted at the end.

    Raises
    ------
    DataError, ConfigError
        As `open_dataset`, and if the sample is smaller than one group, or a setting needs the whole table.
    """
    with tempfile.TemporaryDirectory(prefix="headway-rows-", ignore_cleanup_errors=True) as name:
        found = scan_source(config, Path(name))
        if isinstance(found, TableScan):
            yield _LargeTable(config, found, Path(name)).open()
        else:
            yield open_dataset(config, rows=found)


def open_sample(config: Config) -> Dataset:
    """Open the dataset that `[data]` declares as `open_for_checks` does, without the rows that are not sampled."""
    with open_for_checks(config) as dataset:
        return replace(dataset, all_rows=None)


def read_sample(path: Path) -> tuple[pl.DataFrame, SampledRows | None]:
    """Read a file, or a folder of them, of which no roles are declared yet; of a large one, a sample of its rows.

    Rows of one entity, by the name of a column, are drawn together: else it would not show that they are dependent. Of
    several such columns the one with the fewest entities counts.
    """
    with tempfile.TemporaryDirectory(prefix="headway-rows-", ignore_cleanup_errors=True) as name:
        scan = scan_path(path, Path(name))
        if scan is None:
            return read_file(path), None
        entities = [column for column, dtype in scan.schema.items() if names_entities(column) and _is_code(dtype)]
        counts = {column: _Counts() for column in ("", *entities)}
        for batch, n_before in _numbered(scan):
            for column, found in counts.items():
                found.add(_hashes(batch, column, n_before))
        fits = {column: found.first_buckets(scan.max_rows) for column, found in counts.items()}
        fitting = [column for column in entities if counts[column].distinct_in(fits[column]) >= MIN_WHOLE_GROUPS]
        key = min(fitting, key=lambda column: counts[column].distinct, default="")
        drawn = (batch.filter(_chosen(batch, key, n_before, fits[key])) for batch, n_before in _numbered(scan))
        table = pl.concat(drawn, rechunk=True)
    groups = counts[key] if key else None
    return table, SampledRows(
        n_rows=scan.n_rows,
        n_sampled=len(table),
        drawn="groups" if groups else "rows",
        n_groups=groups.distinct if groups else 0,
        n_groups_sampled=table[key].n_unique() if groups else 0,
        n_groups_exact=groups is None or groups.is_exact,
    )


@dataclass(slots=True)
class _Counts:
    """Rows by the first bits of the hash of what they belong to, and the smallest hashes of these."""

    rows: Ints = field(default_factory=lambda: np.zeros(1 << _BUCKET_BITS, np.int64))
    smallest: Words = field(default_factory=lambda: np.zeros(0, np.uint64))

    def add(self, hashes: Words) -> None:
        self.rows += np.bincount(_buckets(hashes), minlength=len(self.rows))
        self.smallest = np.unique(np.concatenate([self.smallest, np.unique(hashes)]))[:MAX_COUNTED]

    @property
    def is_exact(self) -> bool:
        return len(self.smallest) < MAX_COUNTED

    @property
    def distinct(self) -> int:
        """Number of different hashes: counted, or estimated from the smallest ones (Bar-Yossef et al. 2002)."""
        if self.is_exact:
            return len(self.smallest)
        return round((MAX_COUNTED - 1) / (float(self.smallest[-1]) / 2.0**64))

    def first_buckets(self, max_rows: int) -> int:
        """Return how many of the first buckets have at most that many rows together."""
        return int(np.searchsorted(np.cumsum(self.rows), max_rows, side="right"))

    def distinct_in(self, n_buckets: int) -> int:
        """Return how many different hashes are in the first buckets, at most MAX_COUNTED."""
        if n_buckets >= len(self.rows):
            return len(self.smallest)
        return int(np.searchsorted(self.smallest, np.uint64(n_buckets) << np.uint64(64 - _BUCKET_BITS)))


class _LargeTable:
    """A table that is read in batches, twice."""

    def __init__(self, config: Config, scan: TableScan, folder: Path) -> None:
        self._config, self._scan, self._folder = config, scan, folder
        self._roles = parse_roles(config[DataSection])
        self._until: datetime | None = None
        self._texts = {
            name: StringColumn(
                config[DataSection].missing,
                blanks=not config[ModelSection].file and name not in self._roles.not_features,
            )
            for name, dtype in scan.schema.items()
            if dtype == pl.String
        }
        self._expect_settings()

    def open(self) -> Dataset:
        """Return the dataset: a sample of its rows, and the digest of all."""
        counts = self._count()
        drawn, n_buckets = self._choose(counts)
        dataset = self._read(drawn, n_buckets)
        groups = counts.get("groups")
        sampled = SampledRows(
            n_rows=self._scan.n_rows,
            n_sampled=len(dataset.table),
            drawn=drawn,
            n_groups=groups.distinct if groups else 0,
            n_groups_sampled=dataset.table[dataset.roles.groups].n_unique() if dataset.roles.groups else 0,
            n_groups_exact=groups is None or groups.is_exact,
            until=self._until.isoformat() if self._until else "",
        )
        return replace(dataset, sampled=sampled)

    def _expect_settings(self) -> None:
        """Raise ConfigError for a setting that only a table in memory can have."""
        section, where = self._config[DataSection], f"'{self._config[DataSection].name}' has {self._scan.n_rows:,} rows"
        hint = f"[data] max_rows = {self._scan.n_rows}, if memory holds them"
        if section.task == "embedding" and not self._scan.schema.get(section.target, pl.Int64()).is_numeric():
            raise ConfigError("classes of a target of strings are numbered over all rows", where=where, hint=hint)
        kinds = [
            name for name in (*self._config[PersonalSection].drop, *self._config[PersonalSection].hash) if name in KINDS
        ]
        kinds = [name for name in kinds if name not in self._scan.schema]
        if kinds:
            raise ConfigError(
                f"'{kinds[0]}' in [personal] is a kind of personal data, which is searched in all values of a table",
                where=where,
                hint=f"name the columns instead; or {hint}",
            )

    def _keyed(self, batch: pl.DataFrame) -> pl.DataFrame:
        """Return a batch without words for missing values, and with a column of groups that is derived from a time."""
        plain = batch.with_columns(texts.without_words(batch[name]) for name, texts in self._texts.items())
        return add_derived_group(plain, self._config[DataSection])

    def _count(self) -> dict[str, _Counts]:
        """Count rows by group, and the values of each column of strings; raise DataError if rows have no group."""
        section, counts = self._config[DataSection], dict[str, _Counts]()
        missing = dict.fromkeys(
            [("time", section.time), ("group", section.groups), ("query", section.query_id)], (0, 0)
        )
        for batch, start in _numbered(self._scan):
            for name, texts in self._texts.items():
                texts.add(batch[name])
            keyed = self._keyed(batch)
            check_roles(keyed, self._roles, name=section.name)
            for (role, name), (n_before, first) in missing.items():
                if name and (n_missing := keyed[name].null_count()):
                    row = first or start + int(keyed[name].is_null().arg_max() or 0) + 1
                    missing[role, name] = n_before + n_missing, row
            for key in self._keys():
                counts.setdefault(key, _Counts()).add(_hashes(keyed, self._column(key), start))
        for (role, name), (n_missing, row) in missing.items():
            if n_missing:
                raise missing_role_error(role, name, n_missing, self._scan.n_rows, row)
        return counts

    def _keys(self) -> list[Drawn]:
        """Return what may be drawn, in order of preference."""
        keys: list[Drawn] = ["groups"] if self._roles.groups else []
        if self._roles.task == "ranking":
            return [*keys, "queries"] if self._roles.query_id not in ("", self._roles.groups) else keys
        return [*keys, "rows"]

    def _column(self, key: Drawn) -> str:
        """Return the column whose values are drawn; empty for single rows."""
        return {"groups": self._roles.groups, "queries": self._roles.query_id, "rows": ""}[key]

    def _choose(self, counts: Mapping[str, _Counts]) -> tuple[Drawn, int]:
        """Return what is drawn, and how many of the first buckets of its hashes.

        Groups are drawn whole, unless so few fit that intervals would be wide or impossible.
        """
        limit = self._scan.max_rows
        fits = {key: counts[key].first_buckets(limit) for key in counts}
        n_whole = {key: counts[key].distinct_in(n_buckets) for key, n_buckets in fits.items()}
        for key in ("groups", "queries", "rows"):
            if key in counts and (n_whole[key] >= MIN_WHOLE_GROUPS or (key != "groups" and n_whole[key])):
                return key, fits[key]
        if n_whole.get("groups"):
            return "groups", fits["groups"]
        raise DataError(
            f"[data] max_rows = {limit:,} holds no whole group of the {self._scan.n_rows:,} rows",
            where=self._scan.where,
            hint="a larger max_rows, or smaller groups",
        )

    def _read(self, drawn: Drawn, n_buckets: int) -> Dataset:
        """Read all rows as they are opened, and return the drawn ones with the digest of all."""
        config, roles, name = self._config, self._roles, self._config[DataSection].name
        corrections, decisions = load_corrections(config), load_decisions(config)
        digests, keeps = self._temporary("digest"), load_project_contract(config) is not None
        version = StreamedVersion(digests, n_rows=self._scan.n_rows)
        all_rows = self._temporary("all") if keeps else None
        sample: list[pl.DataFrame] = []
        done: dict[str, str] = {}
        has_positive = not config[DataSection].positive
        for batch, start in _numbered(self._scan):
            chosen = _chosen(self._keyed(batch), self._column(drawn), start, n_buckets)
            try:
                raw = batch.with_columns(texts.read_words(batch[column]) for column, texts in self._texts.items())
                table = add_derived_group(raw, config[DataSection])
                table = table.with_columns(texts.read_blanks(raw[column]) for column, texts in self._texts.items())
                table, roles, done = apply_personal_policy(table, self._roles, config)
                table = apply_roles(table, config[DataSection], is_part=True)
                table, _ = apply_corrections(table, raw, config, corrections)
                usable = decisions.usable(table)
                if usable is not None:
                    table, chosen = table.filter(usable), chosen.filter(usable)
            except DataError as error:
                where = f"{error.where}, of the rows from {start + 1:,} on" if start else error.where
                raise DataError(error.what, where=where, hint=error.hint) from error
            if sample and table.schema != sample[0].schema:
                raise _other_types(table, sample[0], start + 1)
            has_positive = has_positive or bool((table[config[DataSection].target] == 1).any())
            if config[DataSection].time:
                self._until = _latest(self._until, table[config[DataSection].time])
            version.add(table)
            if all_rows:
                table.write_parquet(all_rows / f"{start:015}.parquet")
            sample.append(table.filter(chosen))
        if not has_positive:
            encode_target(self._scan_target(), config[DataSection])
        table = pl.concat(sample, rechunk=True)
        personal = {f"personal.{column}": action for column, action in done.items()}
        dataset = Dataset(
            name=name,
            table=table,
            roles=roles,
            digest=version.digest(),
            provenance={
                "source": name,
                **({"query": config[DataSection].query} if config[DataSection].query else {}),
                **personal,
            },
            tracked=tracked_by_dvc(config),
            all_rows=pl.scan_parquet(all_rows / "*.parquet") if all_rows else None,
        )
        blanks = {column: texts.blanks for column, texts in self._texts.items() if column in dataset.features}
        return replace(dataset, blanks={column: found for column, found in blanks.items() if found})

    def _scan_target(self) -> pl.Series:
        """Return the target of the first rows, for the error that names its values."""
        first = next(self._scan.batches())
        return replace_missing(first, self._config[DataSection].missing)[self._config[DataSection].target]

    def _temporary(self, name: str) -> Path:
        folder = self._folder / name
        folder.mkdir()
        return folder


def _buckets(hashes: Words) -> Ints:
    return (hashes >> np.uint64(64 - _BUCKET_BITS)).astype(np.int64)


def _latest(before: datetime | None, times: pl.Series) -> datetime | None:
    last = times.cast(pl.Datetime("us")).dt.replace_time_zone(None).max()
    if not isinstance(last, datetime):
        return before
    return last if before is None else max(before, last)


def _other_types(table: pl.DataFrame, first: pl.DataFrame, row: int) -> DataError:
    name = next((name for name in table.columns if table.schema[name] != first.schema.get(name)), "")
    return DataError(
        f"column '{name}' is read as {first.schema.get(name, 'absent')} in the first rows, and as "
        f"{table.schema.get(name, 'absent')} from row {row:,} on",
        where=f"column {name}",
        hint="write the column with one type",
    )


def _numbered(scan: TableScan) -> Iterator[tuple[pl.DataFrame, int]]:
    """Yield the batches of a table, each with the number of rows before it."""
    n_rows = 0
    for batch in scan.batches():
        yield batch, n_rows
        n_rows += len(batch)


def _hashes(batch: pl.DataFrame, name: str, n_before: int) -> Words:
    """Return the hash of a column, or, without a name, of the numbers of the rows."""
    column = batch[name] if name else pl.Series("row", np.arange(n_before, n_before + len(batch)))
    return fingerprint_columns([canonical_column(column)], len(batch)).rows


def _chosen(batch: pl.DataFrame, name: str, n_before: int, n_buckets: int) -> pl.Series:
    return pl.Series(_buckets(_hashes(batch, name, n_before)) < n_buckets)


def _is_code(dtype: pl.DataType) -> bool:
    return dtype.is_integer() or dtype == pl.String
