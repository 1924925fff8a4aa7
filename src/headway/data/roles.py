"""Parse the roles of columns in `[data]`, check a table against them, and encode time and target."""

from __future__ import annotations

import difflib
import json
import re
from collections.abc import Collection, Sequence

import numpy as np
import polars as pl

from headway.core.arrays import Ints
from headway.core.dataset import OUTCOME, REQUEST, Roles
from headway.core.errors import ConfigError, DataError
from headway.core.variant import MULTILABEL
from headway.data.label_sets import encode_label_sets, known_labels
from headway.data.parsing import parse_date_column, unparsed_dates
from headway.data.settings.data import DataSection

_BARE = re.compile(r"[A-Za-z0-9_-]+")


def known_line(column: str, when: str) -> str:
    """Return the line of headway.toml that declares when a column is known.

    >>> known_line("mean area", "request")
    '[data.known] "mean area" = "request"'
    """
    return f"[data.known] {toml_key(column)} = {toml_string(when)}"


def toml_key(name: str) -> str:
    """Format a TOML key, quoted if needed."""
    return name if _BARE.fullmatch(name) else toml_string(name)


def toml_string(value: str) -> str:
    """Format a TOML string."""
    return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")


TASKS = ("binary", "multiclass", MULTILABEL, "regression", "ranking", "embedding")
MAX_SHOWN = 5
MAX_CLASSES = 20
ENTITY_NAME = re.compile(
    r"(?i)(^|_)(id|customer|client|user|patient|account|session|household|store|shop|device|vin)(_|$)"
)
"""Matches the names of columns that identify entities, with underscores between their words."""


def names_entities(column: str) -> bool:
    """Return whether a column, by its name, identifies entities.

    >>> names_entities("customerID"), names_entities("store.id"), names_entities("valid")
    (True, True, False)
    """
    return ENTITY_NAME.search(re.sub(r"(?<=[a-z0-9])(?=[A-Z])|[ .-]", "_", column)) is not None


def effective_groups(sizes: Ints) -> float:
    """Return how many groups of equal size are worth as much as groups of these sizes (Kish 1965).

    >>> float(effective_groups(np.array([50, 50]))), round(effective_groups(np.array([54, *[1] * 46])), 1)
    (2.0, 3.4)
    """
    return float(sizes.sum()) ** 2 / float(np.square(sizes.astype(np.float64)).sum())


def parse_roles(section: DataSection) -> Roles:
    """Return the roles that `[data]` declares; raise ConfigError without a target or with an unknown task."""
    if not section.target:
        raise ConfigError("no target is declared", where="[data] target", hint='target = "COLUMN"')
    if section.task not in TASKS:
        near = difflib.get_close_matches(section.task, TASKS, 1)
        hint = f'task = "{near[0]}"' if near else f"one of {', '.join(TASKS)}"
        raise ConfigError(f"no task '{section.task}'", where="[data] task", hint=hint)
    if section.task == "ranking" and not (section.query_id or section.groups):
        raise ConfigError(
            "no query is declared for a ranking",
            where="[data] query_id",
            hint='query_id = "QUERY"',
        )
    _check_texts(section)
    return Roles(
        target=section.target,
        task=section.task,
        classes=section.classes,
        time=section.time,
        decision=section.decision,
        groups=section.groups or section.query_id,
        query_id=section.query_id,
        slices=section.slices,
        sensitive_features=section.sensitive_features,
        text=section.text,
        sample_weight=section.sample_weight,
        known=section.known,
        ignore=section.ignore if section.key in ("", *section.ignore) else (*section.ignore, section.key),
    )


def _check_texts(section: DataSection) -> None:
    """Raise ConfigError if a column of texts has another role too."""
    roles: dict[str, tuple[str, ...]] = {
        name: value if isinstance(value := getattr(section, name), tuple) else (value,)
        for name in ("target", "time", "groups", "query_id", "key", "sample_weight", *_LISTS)
    }
    for name, columns in roles.items():
        both = [column for column in section.text if column in columns]
        if both:
            rest = [toml_string(column) for column in section.text if column not in columns]
            raise ConfigError(
                f"'{both[0]}' is declared as a text and as {name}",
                where=f"[data] text, [data] {name}",
                hint=f"text = [{', '.join(rest)}], or leave it out of {name}",
            )


_LISTS = ("slices", "sensitive_features", "ignore")


DAY = ".day"
"""Ending of `[data] groups` that makes a group of each day of a time column: `ordered_at.day`."""


def day_of(column: pl.Series) -> pl.Series:
    """Return the day of each time, named `COLUMN.day`."""
    return column.cast(pl.Date).alias(f"{column.name}{DAY}")


LANGUAGE = ".language"
"""Ending of a slice by the language of a column of texts: `message.language`."""


def text_of_language(name: str, texts: Collection[str]) -> str:
    """Return the column of texts whose language is a slice; empty for a slice that is a column."""
    text = name.removesuffix(LANGUAGE)
    return text if name.endswith(LANGUAGE) and text in texts else ""


def derived_group(section: DataSection, columns: Collection[str]) -> str:
    """Return the time column whose days are the groups; empty if the groups are a column of the table."""
    name = section.groups
    time = name.removesuffix(DAY)
    return time if name.endswith(DAY) and name not in columns and time in columns else ""


def add_derived_group(table: pl.DataFrame, section: DataSection) -> pl.DataFrame:
    """Add the column of groups if `[data] groups` names the day of a time column."""
    time = derived_group(section, table.columns)
    return table.with_columns(day_of(_parse_time(table[time]))) if time else table


def check_roles(table: pl.DataFrame, roles: Roles, *, name: str) -> None:
    """Raise DataError if the table has no rows, lacks a column that a role names, or has a name with NUL."""
    if table.is_empty():
        raise DataError(f"the table of '{name}' has no rows", where=name, hint="[data] source, or its query")
    unsafe = next((column for column in table.columns if "\0" in column), None)
    if unsafe is not None:  # polars ends the process where it hands such a name on
        raise DataError(
            f"the name of the column {unsafe!r} has a NUL character", where=name, hint="rename it in the source"
        )
    alone = (roles.target, roles.time, roles.groups, roles.query_id, roles.sample_weight)
    slices = [name for name in roles.slices if not text_of_language(name, roles.text)]
    declared = [*alone, *slices, *roles.sensitive_features, *roles.text, *roles.known, *roles.ignore]
    missing = [column for column in declared if column and column not in table.columns]
    if missing:
        near = difflib.get_close_matches(missing[0], table.columns, 1)
        raise DataError(
            f"headway.toml names columns that the table lacks: {', '.join(missing)}",
            where=f"{name} has: {', '.join(table.columns)}",
            hint=f"{near[0]} in place of {missing[0]}" if near else "correct [data] in headway.toml",
        )
    for column in roles.text:
        strings = [name for name in table.columns if table.schema[name] == pl.String and name not in roles.not_features]
        hint = f"text = {json.dumps(strings, ensure_ascii=False)}" if strings else "leave out [data] text"
        check_text_column(table[column], where="[data] text", hint=hint)
    for column, when in roles.known.items():
        if when not in (REQUEST, OUTCOME, *table.columns):
            near = difflib.get_close_matches(when, (REQUEST, OUTCOME, *table.columns), 1)
            raise DataError(
                f"'{when}' is not a time",
                where=f'[data.known] {column} = "{when}"',
                hint=f'{column} = "{(near or [OUTCOME])[0]}", of request, outcome or a time column',
            )


def check_text_column(column: pl.Series, *, where: str, hint: str) -> None:
    """Raise DataError if a column of texts does not hold strings."""
    if column.dtype not in (pl.String, pl.Categorical, pl.Enum):
        shown = column.drop_nulls().head(1).to_list()
        what = f"is {column.dtype}, such as {shown[0]}" if shown else "has no value"
        raise DataError(f"the column of texts '{column.name}' {what}", where=where, hint=hint)


def apply_roles(table: pl.DataFrame, section: DataSection, *, is_part: bool = False) -> pl.DataFrame:
    """Convert the time column to times and the target to numbers; other columns stay unchanged.

    A binary target is 1 where it equals `positive`, else 0. A multiclass target is the index in `classes`; a multilabel
    one stays a string, such as `billing|delivery`.
    Without these settings the target must be numeric.
    Of a table that `is_part` of a larger one, the positive class may be absent.

    Raises
    ------
    DataError
        If a time or target is invalid, or a row has no time or group.
    """
    table = table.with_columns(encode_target(table[section.target], section, is_part=is_part))
    if section.time:
        table = table.with_columns(_parse_time(table[section.time]))
    for role, name in (("time", section.time), ("group", section.groups), ("query", section.query_id)):
        if name and table[name].null_count():
            raise missing_role_error(
                role, name, table[name].null_count(), len(table), _first_row(table[name].is_null())
            )
    return table


def missing_role_error(role: str, name: str, n_missing: int, n_rows: int, first_row: int) -> DataError:
    """Return the error of rows without a time, group or query; `first_row` is the number of the first, from 1."""
    return DataError(
        f"{n_missing:,} of {n_rows:,} rows have no {role} '{name}'",
        where=f"row {first_row}",
        hint=f"add the {role} of each row, or remove those rows from the source",
    )


_BEFORE = re.compile(r"^(\d+) ?(m|h|d)\w* before (\w+)$")


def decision_times(table: pl.DataFrame, roles: Roles, *, strict: bool = False) -> pl.Series:
    """Return when each prediction is made: `[data] decision` if it reads `2h before COLUMN` (m, h, d), else the time.

    Parameters
    ----------
    table : DataFrame
        Rows of a project that has a time column.
    roles : Roles
        Their roles.
    strict : bool
        Whether to raise ConfigError for a decision of another form, in place of the time column.
    """
    match = _BEFORE.match(roles.decision)
    if match and match[3] in table.columns and table.schema[match[3]] == pl.Datetime:
        return table[match[3]].dt.offset_by(f"-{match[1]}{match[2]}")
    if strict and roles.decision:
        raise ConfigError(
            f"the time of the decision cannot be computed: {roles.decision!r}",
            where="[data] decision",
            hint='decision = "2h before COLUMN" with a datetime column (m, h or d), or leave it out: the time column',
        )
    return as_datetimes(table[roles.time])


def as_datetimes(column: pl.Series) -> pl.Series:
    """Return times as datetimes; a date becomes its midnight, and other columns stay."""
    found = parse_date_column(column)
    return found.cast(pl.Datetime("us")) if found.dtype == pl.Date else found


def _parse_time(column: pl.Series) -> pl.Series:
    found = parse_date_column(column)
    if found.dtype in (pl.Date, pl.Datetime):
        return found
    row = _first_row(unparsed_dates(column)) if column.dtype == pl.String and unparsed_dates(column).any() else 1
    raise DataError(
        f"time column '{column.name}' is not a time: {column[row - 1]!r} in row {row}",
        where=f"column {column.name}, {column.dtype}",
        hint="a date or datetime column, or strings such as 2024-03-31 or 2024-03-31T17:05, in one format for all rows",
    )


def encode_target(column: pl.Series, section: DataSection, *, is_part: bool = False) -> pl.Series:
    """Encode a target, or labels of it, as numbers; raise DataError for an invalid value."""
    if column.dtype.is_float():
        column = column.fill_nan(None)
    if section.positive and section.task != "binary":
        raise ConfigError(
            f"a {section.task} target has no positive class", where="[data] positive", hint="leave it out"
        )
    if section.task == MULTILABEL:
        if not section.classes:
            names = json.dumps(sorted(known_labels(column)[:MAX_CLASSES]), ensure_ascii=False)
            hint = f"[data] classes = {names}"
            raise ConfigError("no labels are declared", where="[data] classes", hint=hint)
        return encode_label_sets(column, section.classes)
    if section.classes and section.task != "multiclass":
        raise ConfigError(
            f"a {section.task} target has no list of classes", where="[data] classes", hint="leave it out"
        )
    if section.positive:
        return _encode_binary(column, section.positive, is_part=is_part)
    if section.classes:
        return _encode_classes(column, section.classes)
    if section.task == "embedding" and not column.dtype.is_numeric():
        return column.rank("dense").cast(pl.Float64) - 1
    if not (column.dtype.is_numeric() or column.dtype in (pl.Boolean, pl.Null)):
        hint = {
            "binary": f'[data] positive = "{(_distinct_values(column) or ["1"])[-1]}"',
            "multiclass": "[data] classes = "
            f"{json.dumps(sorted(_distinct_values(column))[:MAX_CLASSES], ensure_ascii=False)}",
            "regression": 'numbers, or task = "multiclass"',
            "ranking": "numbers for the relevance of a row: 0 for not relevant",
        }[section.task]
        raise DataError(
            f"target '{column.name}' is {column.dtype}, and task '{section.task}' needs a number",
            where=f"values: {_list_values(column)}",
            hint=hint,
        )
    return column


def _encode_binary(column: pl.Series, positive: str, *, is_part: bool) -> pl.Series:
    """Return 1 for the positive class, 0 for other values, null where missing."""
    if column.dtype.is_numeric():
        column = column.cast(pl.Float64)
        found = column == float(positive) if _is_number(positive) else column != column
    else:
        found = column.cast(pl.String) == positive
    if not (is_part or found.any()):
        near = difflib.get_close_matches(positive, _distinct_values(column), 1)
        raise DataError(
            f"target '{column.name}' is never '{positive}'",
            where=f"values: {_list_values(column)}",
            hint=f'[data] positive = "{(near or _distinct_values(column) or ["1"])[0]}"',
        )
    return found.cast(pl.Int8).alias(column.name)


def _encode_classes(column: pl.Series, classes: Sequence[str]) -> pl.Series:
    """Return the index of each value in the classes, null where missing."""
    texts = column.cast(pl.Int64) if _are_integers(column) else column
    texts = texts.cast(pl.String)
    unknown = texts.is_not_null() & ~texts.is_in(list(classes))
    if unknown.any():
        value = texts.filter(unknown)[0]
        near = difflib.get_close_matches(value, classes, 1)
        raise DataError(
            f"target '{column.name}' holds '{value}', which is not among its classes",
            where=f"row {_first_row(unknown)}; classes: {', '.join(classes)}",
            hint=f"'{near[0]}' in place of it" if near else "add it to [data] classes, at the end",
        )
    indices = {name: float(index) for index, name in enumerate(classes)}
    return texts.replace_strict(indices, return_dtype=pl.Float64).alias(column.name)


def _are_integers(column: pl.Series) -> bool:
    return column.dtype.is_float() and bool((column.drop_nulls() == column.drop_nulls().floor()).all())


def _distinct_values(column: pl.Series) -> list[str]:
    """Return the values as strings, the most frequent first."""
    return column.drop_nulls().cast(pl.String).value_counts(sort=True)[column.name].to_list()


def _list_values(column: pl.Series) -> str:
    values = _distinct_values(column)
    return ", ".join(values[:MAX_SHOWN]) + (f" and {len(values) - MAX_SHOWN:,} more" if len(values) > MAX_SHOWN else "")


def _first_row(where: pl.Series) -> int:
    """Return the number, from 1, of the first true row."""
    return int(where.arg_true()[0]) + 1


def _is_number(text: str) -> bool:
    try:
        float(text)
    except ValueError:
        return False
    return True
