"""Price files and demand files: TOML that a person writes, with errors that name the line and what to write instead."""

from __future__ import annotations

import difflib
import math
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any, TypeVar

import msgspec

from headway.core.config import file_and_line, read_toml
from headway.core.errors import ConfigError
from headway.core.plan import HOURS, AssumedNetwork, Demand, Hardware, Instance, Prices
from headway.core.record import Record

_NAME = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,63}")
_EXAMPLE = "docs/how-to/plan.md has an example"
_TABLES: dict[str, type[Record]] = {"instance": Instance, "hardware": Hardware, "network": AssumedNetwork}
_Kind = TypeVar("_Kind", bound=Record)


def read_prices(file: Path) -> Prices:
    """Return the prices in a file.

    Raises
    ------
    ConfigError
        If the file is missing, has an unknown key or a value out of range, or names a location twice, or none.
    """
    prices = _read_record(file, Prices)
    names = [*prices.instance, *prices.hardware]
    if not names:
        raise ConfigError("the price file has no location", where=str(file), hint=f"add [instance.NAME]: {_EXAMPLE}")
    for table in _TABLES:
        for name in getattr(prices, table):
            if not _NAME.fullmatch(name):
                where = file_and_line(file, f"{table}.{name}")
                raise ConfigError(f"invalid name {name!r}", where=where, hint="up to 64 letters, digits, . _ and -")
    if twice := sorted(set(prices.instance) & set(prices.hardware)):
        where = file_and_line(file, f"hardware.{twice[0]}")
        raise ConfigError(f"{twice[0]!r} is an instance and hardware", where=where, hint="rename one of them")
    for name, network in prices.network.items():
        if network.p99_ms < network.p50_ms:
            raise ConfigError(
                f"the p99 of network {name!r} is {network.p99_ms:g} ms, less than its median of {network.p50_ms:g} ms",
                where=file_and_line(file, f"network.{name}.p99_ms"),
                hint=f"p99_ms = {network.p50_ms:g}, or more",
            )
    return prices


def read_demand(file: Path) -> Demand:
    """Return the demand in a file; `hours` are scaled to mean 1.

    Raises ConfigError if the file is missing, or has a key that is unknown or a value out of range.
    """
    return scaled_hours(_read_record(file, Demand), where=file_and_line(file, "hours"))


def scaled_hours(demand: Demand, *, where: str) -> Demand:
    """Return a demand whose hours have mean 1; raises ConfigError unless there are none or 24, some above 0."""
    if not demand.hours:
        return demand
    if len(demand.hours) != HOURS or not sum(demand.hours):
        found = f"{len(demand.hours)} hours" if len(demand.hours) != HOURS else "24 hours without a request"
        raise ConfigError(f"the demand has {found}", where=where, hint="hours = 24 numbers, from midnight on")
    mean = sum(demand.hours) / HOURS
    return msgspec.structs.replace(demand, hours=tuple(hour / mean for hour in demand.hours))


def _read_record(file: Path, kind: type[_Kind]) -> _Kind:
    try:
        values = read_toml(file)
    except OSError as error:
        raise ConfigError(f"{file.name} cannot be read: {error.strerror}", where=str(file), hint=_EXAMPLE) from error
    for path, value in _numbers(values, ""):
        if not math.isfinite(value):
            raise ConfigError(f"{path} is {value}, not a number", where=file_and_line(file, path))
    try:
        return msgspec.convert(values, kind)
    except msgspec.ValidationError as error:
        raise _invalid_value(str(error), values, kind, file) from error


def _numbers(value: Any, path: str) -> Iterator[tuple[str, float]]:
    """Yield the numbers of nested tables with their paths."""
    if isinstance(value, dict):
        for key, inner in value.items():
            yield from _numbers(inner, f"{path}.{key}".lstrip("."))
    elif isinstance(value, list):
        for inner in value:
            yield from _numbers(inner, path)
    elif isinstance(value, float):
        yield path, value


def _invalid_value(message: str, values: dict[str, Any], kind: type[Record], file: Path) -> ConfigError:
    """Return the error of a value, of which msgspec names the path, with `[...]` for the name of a table."""
    what, _, path = message.partition(" - at `$")
    path = path.strip("`.")
    table, _, rest = path.partition("[...]")
    for name, entry in values.get(table, {}).items() if "[...]" in path else ():
        try:
            msgspec.convert({table: {name: entry}, "source": ""}, kind)
        except msgspec.ValidationError:
            kind, path = _TABLES[table], f"{table}.{name}{rest}"
            break
    unknown = re.search(r"unknown field `(.+)`", what)
    missing = re.search(r"missing required field `(.+)`", what)
    hint = _EXAMPLE
    if unknown:
        near = difflib.get_close_matches(unknown[1], kind.__struct_fields__, 1, cutoff=0.5)
        hint = f"nearest: {near[0]}" if near else ", ".join(kind.__struct_fields__)
    elif missing:
        hint = f"{missing[1]} = ..."
    named = f"{path}.{unknown[1]}".lstrip(".") if unknown else path
    subject = f"{path}: " if path else ""
    return ConfigError(f"{subject}{what[:1].lower()}{what[1:]}", where=file_and_line(file, named), hint=hint)
