"""Create a project: headway.toml with a line of help above each setting, train.py, and sample data without a table."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Mapping
from datetime import datetime, timedelta
from pathlib import Path

import numpy as np
import polars as pl

from headway.cli.init.propose import Proposal, propose_settings
from headway.core import config
from headway.core.dataset import REQUEST
from headway.core.errors import ConfigError, StoreError
from headway.data.parsing import parse_dates
from headway.data.read import read_file
from headway.data.roles import toml_key

DAYS, A_DAY = 120, 60
DEPOTS = ("north", "river", "south")


def sample_deliveries() -> pl.DataFrame:
    """Return 7,200 made-up deliveries of 120 days; rainy days and long distances are late more often, 4 % of rain is missing."""
    draw = np.random.default_rng(7)
    rows = DAYS * A_DAY
    day = np.repeat(np.arange(DAYS), A_DAY)
    minute = draw.integers(7 * 60, 20 * 60, rows)
    depot = draw.integers(0, len(DEPOTS), rows)
    distance_km = draw.gamma(2.0, 6.0, rows) + 2 * depot
    parcels = draw.poisson(4, rows) + 1
    rain_mm = np.maximum(0, draw.normal(-1, 3, DAYS))[day] * draw.uniform(0.5, 1.5, rows)
    traffic = draw.normal(0, 0.6, DAYS)[day] + (np.abs(minute - 17 * 60) < 90)
    strain = distance_km / 9 + rain_mm / 3 + parcels / 8 + traffic - 4
    late = draw.random(rows) < 1 / (1 + np.exp(-strain))
    start = datetime(2025, 1, 1)
    at = [
        start + timedelta(days=int(number), minutes=int(minutes)) for number, minutes in zip(day, minute, strict=True)
    ]
    return pl.DataFrame(
        {
            "ordered_at": at,
            "day": [moment.date() for moment in at],
            "minute": minute,
            "depot": [DEPOTS[number] for number in depot],
            "distance_km": np.round(distance_km, 1),
            "parcels": parcels,
            "rain_mm": [
                None if lost else round(rain, 1) for rain, lost in zip(rain_mm, draw.random(rows) < 0.04, strict=True)
            ],
            "late": late.astype(np.int8),
        }
    ).sort("ordered_at")


MODEL = Path(__file__).with_name("train.py")
SAMPLE = "deliveries.csv"
HEAD = "# A project of headway; `headway config` shows every setting there is.\n"
ASK = '# Say of each: "request" if it is known when the prediction is asked for, "outcome" if only afterwards.\n'
KNOWN = "# When each column is known; whatever is not said leaves `headway check` undecided.\n"


def create_project(folder: Path, source: Path | None, target: str) -> dict[str, str]:
    """Create a project in a folder, from a table or with sample data; return the files written, by name.

    Raise ConfigError if one of the files exists; nothing is written then.
    """
    if source is None:
        if target:
            raise ConfigError("a target is given and no table", where=f"--target {target}", hint="--from table.parquet")
        table, name = sample_deliveries(), SAMPLE
        proposal = propose_settings(table, "late")
    else:
        table, name = parse_dates(read_file(source)), os.path.relpath(source, folder)
        proposal = propose_settings(table, target)
    files = {
        config.FILE: _toml(_name(folder, proposal), name, proposal, declared=source is None),
        "train.py": _train(proposal),
    }
    if source is None:
        files[SAMPLE] = table.write_csv()
    _write(folder, files)
    told = {
        config.FILE: "the settings, each with its help",
        "train.py": "the model, LightGBM",
        SAMPLE: "7,200 rows, made up",
    }
    return {name: told[name] for name in files}


def _write(folder: Path, files: Mapping[str, str]) -> None:
    there = [name for name in files if (folder / name).exists()]
    if there:
        hint = "headway init ANOTHER_FOLDER"
        raise ConfigError(
            f"{', '.join(there)} is already here, and is not written over", where=str(folder.resolve()), hint=hint
        )
    try:
        folder.mkdir(parents=True, exist_ok=True)
        for name, text in files.items():
            with (folder / name).open("x", encoding="utf-8") as file:
                file.write(text)
    except OSError as error:
        raise StoreError(f"cannot write the project: {error.strerror}", where=str(folder)) from error


def _name(folder: Path, proposal: Proposal) -> str:
    """Return the folder's name as a valid release name, else that of the target."""
    for text in (folder.resolve().name, proposal.target):
        name = re.sub(r"[^A-Za-z0-9_.-]+", "-", text).strip("-._")[:64]
        if name:
            return name
    return "model"


def _train(proposal: Proposal) -> str:
    """Return train.py with the categorical columns and the objective of this table."""
    objective = {"objective": proposal.task} | (
        {"num_class": proposal.numbers} if proposal.task == "multiclass" else {}
    )
    text = MODEL.read_text(encoding="utf-8")
    text = text.replace("CATEGORIES: tuple[str, ...] = ()", f"CATEGORIES: tuple[str, ...] = {proposal.texts!r}")
    return text.replace('OBJECTIVE = {"objective": "binary"}', f"OBJECTIVE = {json.dumps(objective)}")


def _toml(name: str, source: str, proposal: Proposal, *, declared: bool) -> str:
    """Return headway.toml; `declared` marks every feature as known at request time."""
    data = {
        "source": source,
        "task": proposal.task,
        "target": proposal.target,
        "positive": proposal.positive,
        "classes": list(proposal.classes),
        "time": proposal.time,
        "groups": proposal.groups,
        "slices": list(proposal.slices),
        "ignore": list(proposal.ignore),
    }
    parts = [
        HEAD,
        _section("project", {"name": name}),
        _section("data", {field: value for field, value in data.items() if value}),
        _known(proposal, declared=declared),
        _section("split", {period: list(bounds) for period, bounds in proposal.split.items()}),
        _section("model", {"train": "train:train"}),
        *(_rule(measure, limit) for measure, limit in proposal.limits.items()),
    ]
    return "\n".join(part for part in parts if part)


def _section(name: str, fields: Mapping[str, object]) -> str:
    lines = [f"# {config.described(f'{name}.{field}')}\n{field} = {_value(value)}\n" for field, value in fields.items()]
    return f"[{name}]\n{''.join(lines)}" if lines else ""


def _known(proposal: Proposal, *, declared: bool) -> str:
    after = [f'# {why}\n{toml_key(name)} = "outcome"\n' for name, why in proposal.outcome.items()]
    mark = "" if declared else "# "
    before = [f'{mark}{toml_key(name)} = "{REQUEST}"\n' for name in proposal.features]
    return f"[data.known]\n{KNOWN}{'' if declared else ASK}{''.join([*after, *before])}"


def _rule(measure: str, limit: float) -> str:
    return f'[[policy.release]]\nmeasure = "{measure}"\nat_most = {limit}\n'


def _value(value: object) -> str:
    """Return a string or a list of strings as TOML, which is written like JSON."""
    return json.dumps(value, ensure_ascii=False)
