"""Declarations of feature views in `features.toml`, or by `feature_view` in Python; all mistakes are named at once.

[views.weather]
entities = ["origin"]
source = "weather.parquet"           # or { location = "postgresql://...", query = "SELECT ..." }
event_time = "observed_at"
created_time = "stored_at"           # optional
ttl = "6h"
features = ["temp", "wind_speed"]    # columns as they are
expressions = { celsius = "(temp - 32) / 1.8" }
windows = { rain_1d = "sum(precip) over 1d" }
when_missing = { temp = "refuse", celsius = { default = 15.0 } }
types = { sky = "string" }           # number by default
"""

from __future__ import annotations

import difflib
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any, Literal, get_args

import msgspec
import polars as pl

from headway.core.config import file_and_line, parse_age, read_toml
from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import (
    Aggregation,
    ColumnValue,
    ConstantValue,
    Expression,
    Feature,
    FeatureSource,
    FeatureType,
    FeatureView,
    FunctionCall,
)
from headway.core.record import Record
from headway.features.expressions import parse_expression
from headway.features.polars_expressions import from_polars
from headway.features.rules import Mistake, find_address_mistakes, find_mistakes
from headway.features.sql import check_query
from headway.features.windows import parse_window

FILE = "features.toml"
_BOOLEAN = ("equal", "not_equal", "less", "less_equal", "greater", "greater_equal", "and", "or", "not", "is_null", "in")


class _Source(Record, frozen=True, kw_only=True):
    """Form of a source with a query."""

    location: str
    query: str = ""


class _Default(Record, frozen=True, kw_only=True):
    """Form of a default value."""

    default: bool | int | float | str


Missing = Literal["null", "refuse"] | _Default
_FORM: dict[str, Any] = {
    "description": str,
    "owner": str,
    "entities": tuple[str, ...],
    "source": str | _Source,
    "event_time": str,
    "created_time": str,
    "time_zone": str,
    "ttl": str,
    "sql": str,
    "features": tuple[str, ...],
    "expressions": dict[str, str],
    "windows": dict[str, str],
    "when_missing": dict[str, Missing],
    "types": dict[str, FeatureType],
}
"""The keys of a view, and the type of each."""


def read_views(folder: Path, *, file: str = FILE) -> list[FeatureView]:
    """Read the views that a project declares, in the order of the file.

    Raises
    ------
    ConfigError
        If the file is absent or has mistakes; all are named, with their lines. Columns are not compared with the
        source, which is not read.
    """
    path = folder / file
    try:
        tables = read_toml(path)
    except FileNotFoundError:
        hint = '[views.NAME] entities = ["KEY"], source = "FILE.parquet", features = ["COLUMN"]'
        raise ConfigError(f"no file '{file}'", where=str(path), hint=hint) from None
    mistakes = [Mistake(key, f"unknown key '{key}'", "[views.NAME]") for key in tables.keys() - {"views"}]
    views = []
    declared = tables.get("views", {})
    if not isinstance(declared, dict) or not declared:
        mistakes.append(Mistake("views", "no view is declared", "[views.NAME]"))
        declared = {}
    for name, table in declared.items():
        view, found = _view_of(name, table)
        mistakes += [mistake._replace(path=f"views.{name}.{mistake.path}".rstrip(".")) for mistake in found]
        views += [view] if view else []
    if mistakes:
        raise _error_of(mistakes, path)
    return views


def feature_view(
    name: str,
    *,
    entities: Sequence[str] = (),
    source: str = "",
    query: str = "",
    event_time: str = "",
    created_time: str = "",
    time_zone: str = "UTC",
    ttl: str = "",
    sql: str = "",
    features: Sequence[str] = (),
    expressions: Mapping[str, str | pl.Expr] | None = None,
    windows: Mapping[str, str] | None = None,
    when_missing: Mapping[str, Literal["null", "refuse"] | Mapping[str, bool | int | float | str]] | None = None,
    types: Mapping[str, FeatureType] | None = None,
    description: str = "",
    owner: str = "",
) -> FeatureView:
    """Declare a feature view, as a table of `features.toml` does.

    Parameters
    ----------
    name : str
        Name of the view.
    entities : sequence of str
        Columns that identify an entity.
    source, query : str
        File, folder or address of a database, and the query that it runs, as `[data] source` and `query`.
        Without a source the features are computed from the request.
    event_time, created_time : str
        Columns with the time at which a row became true, and at which it was stored.
    time_zone : str
        Zone of times without one.
    ttl : str
        Age after which a value is stale, such as `6h` or `30d`; empty: never.
    sql : str
        A query over the table `source` that DuckDB runs first.
    features : sequence of str
        Columns that are features as they are.
    expressions : mapping of str to str or polars.Expr
        Features that are SQL or polars expressions.
    windows : mapping of str to str
        Aggregations, such as `sum(precip) over 1d`.
    when_missing : mapping of str to str or mapping
        `"null"`, `"refuse"` or `{"default": VALUE}` by feature.
    types : mapping of str to str
        Types by feature: number (the default of a column), integer, boolean, string or datetime.
    description, owner : str
        For people.

    Raises
    ------
    ConfigError
        With all mistakes at once.
    """
    table: dict[str, Any] = {
        "entities": tuple(entities),
        "source": {"location": source, "query": query} if query else source,
        "event_time": event_time,
        "created_time": created_time,
        "time_zone": time_zone,
        "ttl": ttl,
        "sql": sql,
        "features": tuple(features),
        "windows": dict(windows or {}),
        "when_missing": dict(when_missing or {}),
        "types": dict(types or {}),
        "description": description,
        "owner": owner,
    }
    view, mistakes = _view_of(name, {key: value for key, value in table.items() if value}, expressions or {})
    if mistakes or view is None:
        raise _error_of(mistakes, None, name)
    return view


def _error_of(mistakes: Sequence[Mistake], file: Path | None, name: str = "") -> ConfigError:
    """Return one error for all mistakes, one a line, with the line of the file."""
    positions = [
        file_and_line(file, mistake.path) if file else f"{name} {mistake.path}".strip() for mistake in mistakes
    ]
    if len(mistakes) == 1:
        path = f"{mistakes[0].path}: " if file else ""
        return ConfigError(f"{path}{mistakes[0].what}", where=positions[0], hint=mistakes[0].hint)
    lines = [
        f"{position}: {mistake.path if file else ''}{': ' if file else ''}{mistake.what}"
        for position, mistake in zip(positions, mistakes, strict=True)
    ]
    hints = list(dict.fromkeys(mistake.hint for mistake in mistakes if mistake.hint))
    subject = file.name if file else f"view '{name}'"
    return ConfigError(
        f"{len(mistakes)} mistakes in {subject}:\n  " + "\n  ".join(lines),
        where=str(file or name),
        hint="; ".join(hints[:5]),
    )


def _view_of(
    name: str, table: object, expressions: Mapping[str, str | pl.Expr] | None = None
) -> tuple[FeatureView | None, list[Mistake]]:
    """Return the view of a table, or its mistakes with the paths of their keys; `expressions` are those of Python."""
    if not isinstance(table, dict):
        return None, [Mistake("", f"view '{name}' is not a table", f"[views.{name}]")]
    values, mistakes = _typed(table)
    features = [Feature(name=column) for column in values.get("features", ())]
    for key, text in (expressions or values.get("expressions", {})).items():
        try:
            tree = from_polars(text) if isinstance(text, pl.Expr) else parse_expression(text)
            features.append(Feature(name=key, expression=tree, dtype=_type_of_values(tree)))
        except DataError as error:
            mistakes.append(Mistake(f"expressions.{key}", error.what, error.hint))
    for key, text in values.get("windows", {}).items():
        try:
            aggregation = parse_window(text)
            features.append(Feature(name=key, aggregation=aggregation, dtype=_type_of_window(aggregation)))
        except ConfigError as error:
            mistakes.append(Mistake(f"windows.{key}", error.what, error.hint))
    features = _with_options(features, values, mistakes)
    ttl_s = 0.0
    if values.get("ttl"):
        try:
            ttl_s = parse_age(values["ttl"]).total_seconds()
        except ConfigError as error:
            mistakes.append(Mistake("ttl", error.what, error.hint))
    if values.get("sql"):
        try:
            check_query(values["sql"])
        except DataError as error:
            mistakes.append(Mistake("sql", error.what, error.hint))
    view = FeatureView(
        name=name,
        entities=values.get("entities", ()),
        source=_source_of(values),
        sql=values.get("sql", ""),
        ttl_s=ttl_s,
        features=tuple(features),
        description=values.get("description", ""),
        owner=values.get("owner", ""),
    )
    if not mistakes:  # what was left out above would look like other mistakes
        found = [*find_mistakes(view), *find_address_mistakes(view)]
        mistakes = [mistake._replace(path=_key_of(mistake.path, values)) for mistake in found]
    return view, mistakes


def _typed(table: Mapping[str, object]) -> tuple[dict[str, Any], list[Mistake]]:
    """Return the values of a table that have the type of their key, and a mistake for each other."""
    values, mistakes = dict[str, Any](), list[Mistake]()
    for key, value in table.items():
        if key not in _FORM:
            near = difflib.get_close_matches(key, _FORM, 1)
            hint = f"nearest: {near[0]}" if near else f"keys: {', '.join(_FORM)}"
            mistakes.append(Mistake(key, f"unknown key '{key}'", hint))
            continue
        try:
            values[key] = msgspec.convert(value, _FORM[key])
        except msgspec.ValidationError as error:
            what = str(error).partition(" - at `$")[0]
            mistakes.append(
                Mistake(key, f"'{key}': {what[:1].lower()}{what[1:]}", _EXAMPLES.get(key, f'{key} = "..."'))
            )
    return values, mistakes


_EXAMPLES = {
    "entities": 'entities = ["customer"]',
    "features": 'features = ["COLUMN"]',
    "source": 'source = "FILE.parquet", or { location = "postgresql://...", query = "SELECT ..." }',
    "ttl": 'ttl = "6h"',
    "expressions": 'expressions = { NAME = "a / b" }',
    "windows": 'windows = { NAME = "sum(COLUMN) over 1d" }',
    "when_missing": 'when_missing = { NAME = "refuse" }, or { NAME = { default = 0.0 } }',
    "types": f'types = {{ NAME = "string" }}: {", ".join(get_args(FeatureType))}',
}


def _source_of(values: Mapping[str, Any]) -> FeatureSource | None:
    declared = values.get("source")
    if not declared:
        return None
    source = _Source(location=declared) if isinstance(declared, str) else declared
    return FeatureSource(
        location=source.location,
        query=source.query,
        event_time=values.get("event_time", ""),
        created_time=values.get("created_time", ""),
        time_zone=values.get("time_zone", "UTC"),
    )


def _with_options(features: list[Feature], values: Mapping[str, Any], mistakes: list[Mistake]) -> list[Feature]:
    """Return the features with their types and what is done where they are missing."""
    names = [feature.name for feature in features]
    for key in ("types", "when_missing"):
        for name in values.get(key, {}).keys() - set(names):
            near = difflib.get_close_matches(name, names, 1)
            hint = f"nearest: {near[0]}" if near else f"features: {', '.join(names) or 'none'}"
            mistakes.append(Mistake(f"{key}.{name}", f"no feature '{name}'", hint))
    types, missing = values.get("types", {}), values.get("when_missing", {})
    found = []
    for feature in features:
        option = missing.get(feature.name, "null")
        default = option.default if isinstance(option, _Default) else None
        found.append(
            msgspec.structs.replace(
                feature,
                dtype=types.get(feature.name, feature.dtype),
                when_missing="default" if isinstance(option, _Default) else option,
                default=default,
            )
        )
    return found


def _key_of(path: str, values: Mapping[str, Any]) -> str:
    """Return the key of a table under which a feature is declared."""
    key = next((key for key in ("expressions", "windows") if path in values.get(key, {})), "")
    return f"{key}.{path}" if key else "features" if path in values.get("features", ()) else path


def _type_of_values(tree: Expression) -> FeatureType:
    """Return the type of an expression whose columns are not known: that of its outermost function."""
    if isinstance(tree, ColumnValue):
        return "number"
    if isinstance(tree, ConstantValue):
        return "boolean" if isinstance(tree.value, bool) else "string" if isinstance(tree.value, str) else "number"
    if tree.function in _BOOLEAN:
        return "boolean"
    if tree.function in ("lower", "upper"):
        return "string"
    if tree.function in ("if", "coalesce"):
        parts = tree.arguments[1:] if tree.function == "if" else tree.arguments
        known = [part for part in parts if isinstance(part, FunctionCall) or _is_constant(part)]
        return _type_of_values(known[0]) if known else "number"
    return "number"


def _is_constant(part: Expression) -> bool:
    return isinstance(part, ConstantValue) and part.value is not None


def _type_of_window(aggregation: Aggregation) -> FeatureType:
    return "integer" if aggregation.function in ("count", "distinct") else "number"
