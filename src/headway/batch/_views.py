"""Score files that lack the features of views: they are joined as they were known at the time of each row."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path

import polars as pl

from headway.batch.columns import new_refusal
from headway.batch.polars_reader import PolarsScan, scan_arrow
from headway.core.batch import Chunk, Refusal, ScoringOptions
from headway.core.config import Config
from headway.core.dataset import Roles
from headway.core.errors import DataError
from headway.core.feature_view import FeatureView
from headway.core.release import Release
from headway.data.roles import as_datetimes
from headway.data.settings.data import DataSection
from headway.features.compute import read_view_source
from headway.features.join import expect_joinable, join_rows

_REFUSED = "missing, and its view refuses a row without it"


class JoinedScan(PolarsScan):
    """Lazily read file whose rows are joined with views, one slice after the other."""

    def __init__(
        self, frame: pl.LazyFrame, options: ScoringOptions, path: Path, views: Sequence[FeatureView], config: Config
    ) -> None:
        names, folder = frame.collect_schema().names(), Path(config.folder)
        section = config[DataSection]
        self._roles = Roles(target="", time=section.time if section.time in names else "", decision=section.decision)
        self._joined = frame
        self._join = partial(
            join_rows,
            views=views,
            folder=folder,
            sources={view.name: read_view_source(view, folder=folder) for view in views if not view.is_on_demand},
        )
        self._refusing = [
            feature.name for view in views for feature in view.features if feature.when_missing == "refuse"
        ]
        empty = self._with_features(frame.head(0).collect())
        super().__init__(empty.lazy(), options, path)
        self.length = int(frame.select(pl.len()).collect().item())

    def _with_features(self, rows: pl.DataFrame) -> pl.DataFrame:
        if self._roles.time:
            rows = rows.with_columns(as_datetimes(rows[self._roles.time]))
        return self._join(rows, self._roles)

    def _frames(self, start: int, rows: int) -> Iterator[pl.DataFrame]:
        return self._slices(start, rows)

    def _collect(self, start: int, rows: int) -> pl.DataFrame:
        return self._with_features(self._joined.slice(start, rows).collect()).select(self._options.names)

    def _chunk(self, frame: pl.DataFrame, start: int) -> Chunk:
        chunk, refused = super()._chunk(frame, start), list[Refusal]()
        for name in self._refusing:
            if name in frame.columns:
                rows = frame[name].is_null().arg_true().to_list()
                refused += [new_refusal(start + row, name, "", _REFUSED) for row in rows]
        return replace(chunk, refusals=[*chunk.refusals, *refused])


def open_joined(path: Path, options: ScoringOptions, config: Config, release: Release) -> JoinedScan | None:
    """Open a parquet or Arrow file whose rows are to be joined with the views of a release.

    Returns
    -------
    JoinedScan or None
        None if the file has the columns itself.

    Raises
    ------
    DataError
        If it has neither them nor what they are joined by; the hint says what is missing.
    """
    views = [view for view in release.views if view.features]
    frame = _frame(path)
    names = frame.collect_schema().names() if frame is not None else []
    brought = {name for view in views for name in view.feature_names}
    if not views or (frame is not None and not (brought & set(options.names)) - set(names)):
        return None
    shown = ", ".join(view.reference for view in views)
    if frame is None:
        if path.suffix == ".csv" and brought & set(_csv_header(path)):
            return None
        hint = "write the file as parquet or Arrow, or join the features to it"
        raise DataError(f"features of {shown} cannot be joined to a {path.suffix[1:]} file", where=str(path), hint=hint)
    timed = any(view.source is not None and view.source.event_time for view in views)
    if timed and config[DataSection].time not in names:
        raise DataError(
            f"features of {shown} cannot be joined: the file has no time '{config[DataSection].time}'",
            where=str(path),
            hint="add the column of [data] time, or join the features to the file",
        )
    present = [name for name in names if name not in brought]
    expect_joinable(views, present, where=str(path))
    return JoinedScan(frame.select(present), options, path, views, config)


def _frame(path: Path) -> pl.LazyFrame | None:
    """Return a file as a lazy frame; None for a format that is not read by columns."""
    if path.suffix == ".parquet":
        return pl.scan_parquet(path, glob=False, hive_partitioning=False)
    with path.open("rb") as file:
        return scan_arrow(path) if file.read(6) == b"ARROW1" else None


def _csv_header(path: Path) -> list[str]:
    with path.open(encoding="utf-8", errors="replace") as file:
        return file.readline().strip().split(",")
