"""Catalog of feature views in the store: their versions, which never change, and what a change means for users.

The record of a version has the kind `feature_view_version` and the name of its view.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Mapping, Sequence
from datetime import UTC, datetime
from functools import lru_cache
from typing import Literal

import msgspec
from msgspec.structs import replace

from headway.core.contracts import State
from headway.core.errors import ConfigError
from headway.core.feature_view import ColumnValue, ConstantValue, FeatureView, FeatureViewVersion, FunctionCall
from headway.core.record import Record, kind_of, read, write
from headway.features.expressions import to_sql
from headway.features.rules import expect_valid

LEASE = "feature catalog"
_KIND = kind_of(FeatureViewVersion)
_REFERENCE = re.compile(r"([A-Za-z][A-Za-z0-9_-]*)(?:@v([1-9][0-9]{0,8}))?")
Effect = Literal["breaks", "values", "serving", "none"]
"""What a change means: users cannot go on with the new version as they are; values differ, so that models are to be
retrained; only a server answers missing values differently; nothing."""


class ViewChange(Record, frozen=True, kw_only=True):
    """One difference between two versions: of a `field` of the view, or of one of its features."""

    field: str
    feature: str = ""
    before: str
    after: str
    effect: Effect


def apply(
    state: State, views: Sequence[FeatureView], *, who: str, at: datetime | None = None
) -> list[FeatureViewVersion]:
    """Save the views whose definition changed as their next version, one process at a time.

    Returns
    -------
    list of FeatureViewVersion
        The new versions. A view whose newest version has the same definition gets none; its description and owner do
        not count.

    Raises
    ------
    ConfigError
        If a view has a mistake; nothing is saved.
    LeaseHeld
        If another process applies views at this time.
    """
    for view in views:
        expect_valid(view, is_new=True)
    names = [view.name for view in views]
    if twice := sorted({name for name in names if names.count(name) > 1}):
        raise ConfigError(f"views are declared twice: {', '.join(twice)}", hint="give each view its own name")
    made = []
    with state.lease(LEASE) as lease:
        for view in views:
            newest = _newest(state, view.name)
            if newest and newest.view.digest == view.digest:
                continue
            number = newest.view.version + 1 if newest else 1
            time = (at or datetime.now(UTC)).isoformat()
            version = FeatureViewVersion(
                name=view.name, view=replace(view, version=number, table="", columns=()), who=who, at=time
            )
            lease.expect_held()
            state.save(_KIND, write(version), name=view.name)
            made.append(version)
    return made


def resolve_view(state: State, reference: str) -> FeatureView:
    """Return the view of a reference: `weather` (the newest version) or `weather@v2`.

    Raises
    ------
    ConfigError
        If the reference is malformed, or names no applied view or version.
    """
    found = _REFERENCE.fullmatch(reference)
    if not found:
        raise ConfigError(f"{reference!r} is not a reference to a view", hint="weather, or weather@v2")
    name, number = found[1], found[2]
    if number is None:
        if newest := _newest(state, name):
            return newest.view
        known = [view.name for view in newest_views(state)]
        near = difflib.get_close_matches(name, known, 1)
        where = f"views: {', '.join(known) or 'none'}"
        hint = f"nearest: {near[0]}" if near else "headway features apply"
        raise ConfigError(f"no view '{name}' was applied", where=where, hint=hint)
    known_versions = versions(state, name)
    for version in known_versions:
        if version.view.version == int(number):
            return version.view
    where = f"versions: {', '.join(version.view.reference for version in known_versions) or 'none'}"
    raise ConfigError(f"no version '{reference}'", where=where, hint="headway features list")


def versions(state: State, name: str) -> list[FeatureViewVersion]:
    """Return all versions of a view, oldest first."""
    return [_decoded(content) for content in state.records(_KIND, name=name)]


def newest_views(state: State) -> list[FeatureView]:
    """Return the newest version of every view, by name."""
    found = {version.name: version.view for version in map(_decoded, state.records(_KIND))}
    return [found[name] for name in sorted(found)]


@lru_cache(maxsize=1_024)
def _decoded(content: bytes) -> FeatureViewVersion:
    return read(FeatureViewVersion, content)


def _newest(state: State, name: str) -> FeatureViewVersion | None:
    content = state.latest(_KIND, name=name)
    return None if content is None else _decoded(content)


def compare_views(before: FeatureView, after: FeatureView) -> list[ViewChange]:
    """Return the differences between two definitions of a view, those that break users first."""
    order = ("breaks", "values", "serving", "none")
    return sorted(_changes(before, after), key=lambda change: order.index(change.effect))


def _changes(before: FeatureView, after: FeatureView) -> Iterator[ViewChange]:
    effects: Mapping[str, Effect] = {
        "entities": "breaks",
        "source": "values",
        "sql": "values",
        "ttl_s": "values",
        "description": "none",
        "owner": "none",
    }
    for field, effect in effects.items():
        old, new = (_shown(getattr(view, field)) for view in (before, after))
        if old != new:
            yield ViewChange(field=field, before=old, after=new, effect=effect)
    was, now = ({feature.name: feature for feature in view.features} for view in (before, after))
    for name in was.keys() - now.keys():
        yield ViewChange(field="features", feature=name, before=name, after="", effect="breaks")
    for name in now.keys() - was.keys():
        yield ViewChange(field="features", feature=name, before="", after=name, effect="none")
    feature_effects: Mapping[str, Effect] = {
        "dtype": "breaks",
        "expression": "values",
        "aggregation": "values",
        "when_missing": "serving",
        "default": "serving",
    }
    for name in sorted(was.keys() & now.keys()):
        for field, effect in feature_effects.items():
            old, new = (_shown(getattr(feature, field)) for feature in (was[name], now[name]))
            if old != new:
                yield ViewChange(field=field, feature=name, before=old, after=new, effect=effect)


def _shown(value: object) -> str:
    """Return a value as a person reads it: an expression as SQL, a record as JSON."""
    if isinstance(value, ColumnValue | ConstantValue | FunctionCall):
        return to_sql(value)
    return value if isinstance(value, str) else "" if value is None else msgspec.json.encode(value).decode()
