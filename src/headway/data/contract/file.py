"""`contract.toml`, read and written; an error names the file, the column and what it may be."""

from __future__ import annotations

import difflib
import json
import re
import tomllib
from collections.abc import Sequence
from datetime import date, datetime
from pathlib import Path
from typing import Any

import msgspec
import polars as pl

from headway.core.config import Config
from headway.core.errors import ConfigError
from headway.data.contract.relations import relation_of
from headway.data.contract.terms import TableContract, Terms
from headway.data.contract.values import COUNTED, edge
from headway.storage.atomic import write

_BARE = re.compile(r"[A-Za-z0-9_-]+")
KINDS = {"number": "number", "whole": "number", "text": "text", "boolean": "boolean", "date": "date", "time": "time"}
_OF_TEXT = ("pattern", "shortest", "longest")


def of_project(config: Config) -> TableContract | None:
    """The contract of a project; None where it has no file of one. Raises ConfigError for a file that is none."""
    path = config.path(config.data.contract)
    return read(path) if path.is_file() else None


def read(path: Path) -> TableContract:
    """The contract in a file; raises ConfigError where it says what no contract can say."""
    try:
        values = tomllib.loads(path.read_text(encoding="utf-8"))
        found = msgspec.convert(_plain(values), TableContract)
        expect(found)
    except (OSError, tomllib.TOMLDecodeError, UnicodeDecodeError, msgspec.ValidationError) as error:
        raise ConfigError(f"'{path.name}' is no contract: {error}", where=str(path), hint=_near(str(error))) from error
    except ConfigError as error:
        raise ConfigError(error.what, where=f"{path}, {error.where}", hint=error.hint) from error
    return found


def save(contract: TableContract, path: Path, *, about: Sequence[str]) -> Path:
    """Write a contract whole or not at all, with lines about it at its head."""
    write(path, text_of(contract, about=about).encode())
    return path


def text_of(contract: TableContract, *, about: Sequence[str] = ()) -> str:
    """A contract as TOML; what is as by default is left out, but for `missing`."""
    lines = [f"# {line}" for line in about]
    if contract.unique:
        lines += ["", "unique = [", *(f"  {_value(key)}," for key in contract.unique), "]"]
    if contract.relations:
        lines += ["", "relations = [", *(f"  {_value(text)}," for text in contract.relations), "]"]
    for name, terms in contract.columns.items():
        lines += ["", f"[columns.{name if _BARE.fullmatch(name) else _value(name)}]", *_lines(terms)]
    return "\n".join(lines) + "\n"


def expect(contract: TableContract) -> None:
    """Raise ConfigError where a contract contradicts itself, or speaks of what its type has not."""
    for name, terms in contract.columns.items():
        _expect_terms(name, terms)
    for key in contract.unique:
        _expect_named(key, contract, where="unique")
    for text in contract.relations:
        relation, where = relation_of(text), f"relations, {text!r}"
        _expect_named(relation.columns, contract, where=where)
        kinds = {KINDS[contract.columns[name].type] for name in relation.columns}
        able = {"+": {"number"}, "<": {"number", "date", "time"}, "<=": {"number", "date", "time"}}
        if relation.kind != "->" and (len(kinds) > 1 or not kinds <= able.get(relation.kind, kinds)):
            hint = "numbers with numbers, dates with dates, times with times"
            raise ConfigError(f"it is not said of {' and '.join(sorted(kinds))}", where=where, hint=hint)


def _expect_named(names: Sequence[str], contract: TableContract, *, where: str) -> None:
    strange = [name for name in names if name not in contract.columns]
    if strange or not names:
        near = difflib.get_close_matches(strange[0], contract.columns, 1) if strange else []
        message = f"'{strange[0]}' is none of its columns" if strange else "a key has no column"
        raise ConfigError(message, where=where, hint=near[0] if near else "name a column of [columns]")


def _expect_terms(name: str, terms: Terms) -> None:
    where = f"[columns.{name}]"
    ends = [edge(terms, given, where=where) for given in (terms.lowest, terms.highest) if given is not None]
    if ends and terms.type not in COUNTED:
        raise ConfigError(f"a {terms.type} has no range", where=where, hint="values = [...], or another type")
    if not pl.Series(ends, strict=False).is_sorted() or (terms.shortest or 0) > (terms.longest or terms.shortest or 0):
        raise ConfigError("it ends before it begins", where=where, hint="exchange the two")
    of_text = [field for field in _OF_TEXT if getattr(terms, field) not in ("", None)]
    if of_text and terms.type != "text":
        raise ConfigError(f"a {terms.type} has no '{of_text[0]}'", where=where, hint='type = "text"')
    for value in terms.values:
        edge(terms, value, where=f"{where} values")
    try:
        pl.Series([""]).str.contains(terms.pattern)
    except pl.exceptions.ComputeError as error:
        hint = "the regular expressions of Rust: no look-around, no back references"
        raise ConfigError(f"{terms.pattern!r} is no pattern: {error}", where=where, hint=hint) from error


def _plain(value: Any) -> Any:
    """What TOML gave, its dates and times as texts."""
    if isinstance(value, dict):
        return {name: _plain(each) for name, each in value.items()}
    if isinstance(value, list):
        return [_plain(each) for each in value]
    return value.isoformat() if isinstance(value, date | datetime) else value


def _near(message: str) -> str:
    """The nearest field to one that there is not."""
    found = re.search(r"unknown field `(\w+)`", message)
    if not found:
        return "docs/contract.md tells what it may say"
    known = Terms.__struct_fields__ if "$.columns" in message else TableContract.__struct_fields__
    near = difflib.get_close_matches(found[1], known, 1)
    return f"{near[0]} in place of {found[1]}" if near else f"one of {', '.join(known)}"


def _lines(terms: Terms) -> list[str]:
    defaults = Terms(type=terms.type)
    fields = [field for field in Terms.__struct_fields__ if field not in ("type", "missing")]
    told = [field for field in fields if getattr(terms, field) != getattr(defaults, field)]
    return [f"{field} = {_value(getattr(terms, field))}" for field in ("type", "missing", *told)]


def _value(value: object) -> str:
    if isinstance(value, tuple):
        return f"[{', '.join(_value(each) for each in value)}]"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, str):
        return json.dumps(value, ensure_ascii=False).replace("\x7f", "\\u007f")
    return repr(value)
