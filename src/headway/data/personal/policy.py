"""What `[personal]` says, done to a table when it is opened, so that nothing behind it meets what it forbids."""

from __future__ import annotations

import difflib
from collections.abc import Callable, Mapping, Sequence

import polars as pl
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.dataset import Roles
from headway.core.errors import ConfigError
from headway.data.personal.find import PersonalData, find_in_column
from headway.data.personal.key import load_hash_key
from headway.data.personal.kinds import IN_TEXT, KINDS, find_in_text

DROP, HASH, KEEP = "drop", "hash", "keep"
_SINGLE_ROLES = ("target", "time", "groups", "query_id", "sample_weight")
_GROUPING = ("groups", "query_id")
Hashing = Callable[[str], str]


def apply_personal_policy(
    table: pl.DataFrame, roles: Roles, config: Config
) -> tuple[pl.DataFrame, Roles, dict[str, str]]:
    """The table with its personal data dropped or hashed, the roles of what is left, and what was done by column.

    A kind in a longer text is replaced in it: dropped by its name in brackets, hashed by its hash. A hashed column that
    has no role is no feature, for no server holds the key. Raises ConfigError for a name that is neither a column nor
    a kind, is named twice, or has a role that it cannot lose.
    """
    by_name = personal_policy(config, table.columns)
    if not by_name:
        return table, roles, {}
    in_text: dict[str, dict[str, str]] = {}
    ways = {name: way for name, way in by_name.items() if name in table.columns}
    for found in _find_kinds(table, by_name):
        way = by_name[found.kind]
        if found.is_the_column:
            ways.setdefault(found.column, way)
        elif found.column not in ways:
            in_text.setdefault(found.column, {})[found.kind] = way
    _check_roles_survive(ways, roles)
    hashed = load_hash_key(config).hash if HASH in by_name.values() else str
    dropped = [name for name, way in ways.items() if way == DROP]
    columns = [_hash_column(table[name], hashed) for name, way in ways.items() if way == HASH]
    columns += [_replace_in_column(table[name], kinds, hashed) for name, kinds in in_text.items() if name not in ways]
    done = ways | {name: _describe_replacements(kinds) for name, kinds in in_text.items() if name not in ways}
    return table.with_columns(columns).drop(dropped), _remaining_roles(roles, ways), done


def personal_policy(config: Config, columns: Sequence[str]) -> dict[str, str]:
    """What becomes of each name that `[personal]` says: `drop`, `hash` or `keep`."""
    section = config.personal
    said = [(name, way) for way in (DROP, HASH, KEEP) for name in getattr(section, way)]
    names = [name for name, _ in said]
    for name, way in said:
        where = f"[personal] {way}"
        if names.count(name) > 1:
            raise ConfigError(f"'{name}' is named twice", where=where, hint="one of drop, hash and keep")
        if name not in columns and name not in KINDS:
            near = difflib.get_close_matches(name, [*columns, *KINDS], 1)
            hint = f"{near[0]} in place of {name}" if near else f"a column, or one of {', '.join(KINDS)}"
            raise ConfigError(f"'{name}' is no column and no kind of personal data", where=where, hint=hint)
    for name, reason in section.keep.items():
        if not reason.strip():
            hint = f'{name} = "why it must stay"'
            raise ConfigError(f"nobody says why '{name}' is kept", where="[personal.keep]", hint=hint)
    return dict(said)


def _find_kinds(table: pl.DataFrame, by_name: Mapping[str, str]) -> list[PersonalData]:
    """What is found of the kinds that are dropped or hashed, in columns that are not named themselves."""
    kinds = {name for name, way in by_name.items() if name not in table.columns and way != KEEP}
    if not kinds:
        return []
    asked = [name for name in table.columns if name not in by_name]
    return [found for name in asked for found in find_in_column(table[name]) if found.kind in kinds]


def _check_roles_survive(ways: Mapping[str, str], roles: Roles) -> None:
    for role in _SINGLE_ROLES:
        name = getattr(roles, role)
        way = ways.get(name, KEEP)
        if way == DROP or (way == HASH and role not in _GROUPING):
            hint = f'hash = ["{name}"]' if role in _GROUPING else f'[personal.keep] {name} = "WHY"'
            what = f"'{name}' is the {role}, so it cannot go"
            raise ConfigError(what, where=f"[personal] {way}", hint=hint)


def _remaining_roles(roles: Roles, ways: Mapping[str, str]) -> Roles:
    dropped = {name for name, way in ways.items() if way == DROP}
    used = {roles.groups, roles.query_id, *roles.slices, *roles.sensitive_features}
    hashed = [name for name, way in ways.items() if way == HASH and name not in {*used, *roles.ignore}]
    return replace(
        roles,
        slices=tuple(name for name in roles.slices if name not in dropped),
        sensitive_features=tuple(name for name in roles.sensitive_features if name not in dropped),
        known={name: when for name, when in roles.known.items() if name not in dropped},
        ignore=(*(name for name in roles.ignore if name not in dropped), *hashed),
    )


def _hash_column(column: pl.Series, hashed: Hashing) -> pl.Series:
    return _map_values(column.cast(pl.String), hashed)


def _replace_in_column(column: pl.Series, kinds: Mapping[str, str], hashed: Hashing) -> pl.Series:
    def put(text: str) -> str:
        for hit in sorted(find_in_text(text, IN_TEXT), key=lambda each: -each.start):
            if hit.kind in kinds:
                new = hashed(text[hit.start : hit.end]) if kinds[hit.kind] == HASH else f"[{hit.kind}]"
                text = text[: hit.start] + new + text[hit.end :]
        return text

    return _map_values(column.cast(pl.String), put)


def _map_values(column: pl.Series, put: Hashing) -> pl.Series:
    values = column.drop_nulls().unique()
    new = pl.Series([put(text) for text in values], dtype=pl.String)
    return column.replace_strict(values, new, default=None, return_dtype=pl.String)


def _describe_replacements(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} in its texts: {way}" for kind, way in sorted(kinds.items()))
