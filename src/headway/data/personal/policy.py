"""Apply `[personal]` when data is opened: drop, hash or keep personal data, so that no later step sees the rest."""

from __future__ import annotations

import difflib
import hashlib
import hmac
import os
import secrets
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

import polars as pl
from msgspec.structs import replace

from headway.core.config import Config
from headway.core.dataset import Roles
from headway.core.errors import ConfigError
from headway.data.personal.detection import PersonalData, find_in_column
from headway.data.personal.patterns import IN_TEXT, KINDS, Hit, find_in_text, replace_hits
from headway.data.settings.personal import PersonalSection
from headway.storage import atomic

_BYTES = 32
_SHOWN = 32
_OTHERS = 0o077 if os.name == "posix" else 0


@dataclass(frozen=True, slots=True)
class HashKey:
    """A secret key for hashes."""

    secret: bytes

    def hash(self, text: str) -> str:
        """Return 32 hex digits of HMAC-SHA256, equal for equal strings and not invertible without the key."""
        return hmac.new(self.secret, text.encode("utf-8", "replace"), hashlib.sha256).hexdigest()[:_SHOWN]


def load_hash_key(config: Config) -> HashKey:
    """Load the key that `[personal] key` names, and create it if needed.

    Raises
    ------
    ConfigError
        If the file is in the store, readable by other users, or not a key.
    """
    file = config.path(config[PersonalSection].key)
    if file.resolve().is_relative_to(config.state.resolve()):
        where = "[personal] key"
        raise ConfigError(
            "the key of the hashes would be in the store that it protects", where=where, hint="another folder"
        )
    try:
        if not file.exists():
            atomic.secret(file, secrets.token_hex(_BYTES).encode())
        text, shared = file.read_bytes(), file.stat().st_mode & _OTHERS
    except OSError as error:
        raise ConfigError(f"no key for hashes: {error.strerror}", where=str(file)) from error
    if shared:
        raise ConfigError("other users can read the key of the hashes", where=str(file), hint=f"chmod 600 {file}")
    try:
        secret = bytes.fromhex(text.decode())
    except ValueError as error:
        raise ConfigError("the key of the hashes is not hexadecimal", where=str(file)) from error
    if len(secret) < _BYTES:
        raise ConfigError("the key of the hashes is shorter than 32 bytes", where=str(file))
    return HashKey(secret)


DROP, HASH, KEEP = "drop", "hash", "keep"
_SINGLE_ROLES = ("target", "time", "groups", "query_id", "sample_weight")
_GROUPING = ("groups", "query_id")
Hashing = Callable[[str], str]


def apply_personal_policy(
    table: pl.DataFrame, roles: Roles, config: Config
) -> tuple[pl.DataFrame, Roles, dict[str, str]]:
    """Drop or hash the personal data of a table.

    A kind within longer text is replaced: by its name in brackets if dropped, by its hash if hashed. A hashed
    column without a role is not a feature, since no server has the key.

    Returns
    -------
    tuple of DataFrame, Roles and dict
        The table, the remaining roles, and what was done to each column.

    Raises
    ------
    ConfigError
        If a name is neither a column nor a kind, is named twice, or its role cannot be dropped.
    """
    by_name = personal_policy(config, table.columns)
    if not by_name:
        return table, roles, {}
    in_text: dict[str, dict[str, str]] = {}
    actions = {name: action for name, action in by_name.items() if name in table.columns}
    for found in _find_kinds(table, by_name):
        action = by_name[found.kind]
        if found.is_the_column:
            actions.setdefault(found.column, action)
        elif found.column not in actions:
            in_text.setdefault(found.column, {})[found.kind] = action
    _check_roles_survive(actions, roles)
    hashed = load_hash_key(config).hash if HASH in by_name.values() else str
    dropped = [name for name, action in actions.items() if action == DROP]
    columns = [_hash_column(table[name], hashed) for name, action in actions.items() if action == HASH]
    in_text = {name: kinds for name, kinds in in_text.items() if name not in actions}
    columns += [_replace_in_column(table[name], kinds, hashed) for name, kinds in in_text.items()]
    done = actions | {name: _describe_replacements(kinds) for name, kinds in in_text.items()}
    return table.with_columns(columns).drop(dropped), _remaining_roles(roles, actions), done


def personal_policy(config: Config, columns: Sequence[str]) -> dict[str, str]:
    """Return the action for each name in `[personal]`: `drop`, `hash` or `keep`."""
    section = config[PersonalSection]
    actions = [(name, action) for action in (DROP, HASH, KEEP) for name in getattr(section, action)]
    names = [name for name, _ in actions]
    for name, action in actions:
        where = f"[personal] {action}"
        if names.count(name) > 1:
            raise ConfigError(f"'{name}' is named twice", where=where, hint="one of drop, hash and keep")
        if name not in columns and name not in KINDS:
            near = difflib.get_close_matches(name, [*columns, *KINDS], 1)
            hint = f"{near[0]} in place of {name}" if near else f"a column, or one of {', '.join(KINDS)}"
            raise ConfigError(f"'{name}' is neither a column nor a kind of personal data", where=where, hint=hint)
    for name, reason in section.keep.items():
        if not reason.strip():
            hint = f'{name} = "why it must stay"'
            raise ConfigError(f"the reason to keep '{name}' is empty", where="[personal.keep]", hint=hint)
    return dict(actions)


def _find_kinds(table: pl.DataFrame, by_name: Mapping[str, str]) -> list[PersonalData]:
    """Find the kinds to drop or hash in columns that `[personal]` does not name."""
    kinds = {name for name, action in by_name.items() if name not in table.columns and action != KEEP}
    if not kinds:
        return []
    columns = [name for name in table.columns if name not in by_name]
    return [found for name in columns for found in find_in_column(table[name]) if found.kind in kinds]


def _check_roles_survive(actions: Mapping[str, str], roles: Roles) -> None:
    for role in _SINGLE_ROLES:
        name = getattr(roles, role)
        action = actions.get(name, KEEP)
        if action == DROP or (action == HASH and role not in _GROUPING):
            hint = f'hash = ["{name}"]' if role in _GROUPING else f'[personal.keep] {name} = "WHY"'
            what = f"'{name}' is the {role}, which cannot be dropped{'' if role in _GROUPING else ' or hashed'}"
            raise ConfigError(what, where=f"[personal] {action}", hint=hint)


def _remaining_roles(roles: Roles, actions: Mapping[str, str]) -> Roles:
    dropped = {name for name, action in actions.items() if action == DROP}
    used = {roles.groups, roles.query_id, *roles.slices, *roles.sensitive_features}
    hashed = [name for name, action in actions.items() if action == HASH and name not in {*used, *roles.ignore}]
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
        def replacement(hit: Hit) -> str:
            return hashed(text[hit.start : hit.end]) if kinds[hit.kind] == HASH else f"[{hit.kind}]"

        return replace_hits(text, (hit for hit in find_in_text(text, IN_TEXT) if hit.kind in kinds), replacement)

    return _map_values(column.cast(pl.String), put)


def _map_values(column: pl.Series, put: Hashing) -> pl.Series:
    values = column.drop_nulls().unique()
    new = pl.Series([put(text) for text in values], dtype=pl.String)
    return column.replace_strict(values, new, default=None, return_dtype=pl.String)


def _describe_replacements(kinds: Mapping[str, str]) -> str:
    return ", ".join(f"{kind} in its texts: {action}" for kind, action in sorted(kinds.items()))
