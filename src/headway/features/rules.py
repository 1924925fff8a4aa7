"""Rules that a feature view keeps, whether it was declared, applied, or came with a release."""

from __future__ import annotations

import re
from collections.abc import Collection, Iterator, Sequence
from typing import NamedTuple

from msgspec.structs import replace

from headway.core.errors import ConfigError, DataError
from headway.core.feature_view import Feature, FeatureView
from headway.core.urls import without_password
from headway.features.expressions import check_expression, columns_of

RESERVED = ("event_time", "created_time")
"""Names of columns that every computed row has."""
MAX_FEATURES = 10_000
_NAME = re.compile(r"[A-Za-z][A-Za-z0-9_-]{0,62}")
_COLUMN = re.compile(r"[^\x00-\x1f]{1,200}")
_KINDS = {"number": (int, float), "integer": (int,), "boolean": (bool,), "string": (str,)}


class Mistake(NamedTuple):
    """One mistake of a view: the path of what is wrong within it, what, and what to do."""

    path: str
    what: str
    hint: str = ""


def expect_valid(view: FeatureView, *, is_new: bool = False) -> None:
    """Raise ConfigError with all mistakes of a view at once; of a new one also those of the address of its source."""
    if found := [*find_mistakes(view), *(find_address_mistakes(view) if is_new else ())]:
        raise ConfigError(
            f"view '{view.name}': {'; '.join(mistake.what for mistake in found)}",
            where="; ".join(dict.fromkeys(mistake.path for mistake in found)),
            hint="; ".join(dict.fromkeys(mistake.hint for mistake in found if mistake.hint)),
        )


def find_mistakes(view: FeatureView) -> Iterator[Mistake]:
    """Yield every mistake of a view that can be seen without its source."""
    if not _NAME.fullmatch(view.name):
        yield Mistake("", f"'{view.name}' is not a name of a view", "a letter, then letters, digits, _ and -")
    yield from _source_mistakes(view)
    yield from _name_mistakes(view)
    for feature in view.features:
        yield from _feature_mistakes(view, feature)
    if circle := _circle(view):
        yield Mistake(circle[0], f"the features {' -> '.join(circle)} need each other", "break the circle")


def find_address_mistakes(view: FeatureView) -> Iterator[Mistake]:
    """Yield the mistakes of the address of a source that is declared; a release with one of them is still opened."""
    location = view.source.location if view.source is not None else ""
    if without_password(location) != location:
        what = (
            f"the address of the source holds a password, which each release would hold: {without_password(location)}"
        )
        yield Mistake("source", what, "remove it from the address; PostgreSQL reads PGPASSWORD or ~/.pgpass")
    if view.source is None or not location:
        return
    is_database = "://" in location and not location.startswith("s3://")
    if is_database and not view.source.query:
        hint = f'source = {{ location = "{without_password(location)}", query = "SELECT ..." }}'
        yield Mistake("source", "a source in a database needs a query", hint)
    if view.source.query and not is_database:
        yield Mistake("source", "a query of the source is for a database", 'sql = "SELECT ... FROM source"')


def _source_mistakes(view: FeatureView) -> Iterator[Mistake]:
    if view.source is None:
        for name, value in (("entities", view.entities), ("sql", view.sql), ("ttl", view.ttl_s)):
            if value:
                yield Mistake(
                    name, f"'{name}' needs a source", 'source = "FILE.parquet"; without one: expressions only'
                )
        return
    if not view.source.location:
        yield Mistake("source", "the source has no location", 'source = "FILE.parquet"')
    if not view.entities:
        yield Mistake("entities", "a view with a source needs entities", 'entities = ["customer"]: the key columns')
    if view.ttl_s and not view.source.event_time:
        yield Mistake("ttl", "'ttl' needs an event time", 'event_time = "COLUMN"')
    if view.source.created_time and not view.source.event_time:
        yield Mistake("created_time", "'created_time' needs an event time", 'event_time = "COLUMN"')


def _name_mistakes(view: FeatureView) -> Iterator[Mistake]:
    if not view.features:
        yield Mistake("features", "the view has no features", 'features = ["COLUMN"], or expressions, or windows')
    if len(view.features) > MAX_FEATURES:
        yield Mistake("features", f"{len(view.features):,} features", f"at most {MAX_FEATURES:,} in one view")
    seen: set[str] = set()
    for name in (*view.entities, *(feature.name for feature in view.features)):
        if name in seen:
            yield Mistake(name, f"'{name}' is named twice", "entities and features have different names")
        if name in RESERVED:
            yield Mistake(name, f"'{name}' is the name of a time of every row", "choose another name")
        if not _COLUMN.fullmatch(name):
            yield Mistake(name, f"{name[:50]!r} is not a name of a column", "1 to 200 printable characters")
        seen.add(name)
    for name in view.columns:
        if view.features and name not in seen - set(view.entities):
            yield Mistake("columns", f"no feature '{name}'", f"one of: {', '.join(sorted(seen))}")


def _feature_mistakes(view: FeatureView, feature: Feature) -> Iterator[Mistake]:
    if feature.expression is not None and feature.aggregation is not None:
        yield Mistake(feature.name, f"'{feature.name}' has an expression and a window", "give each its own name")
    elif feature.aggregation is not None:
        yield from _window_mistakes(view, feature)
    elif feature.expression is not None:
        try:
            check_expression(feature.expression)
        except DataError as error:
            yield Mistake(feature.name, f"'{feature.name}': {error.what}", error.hint)
        windows = {other.name for other in view.features if other.aggregation and other.name != feature.name}
        for name in sorted(windows & columns_of(feature.expression)):
            hint = "compute it in a view without source, which reads features of other views"
            yield Mistake(feature.name, f"'{feature.name}' reads the window '{name}', which a row does not have", hint)
    elif view.source is None:
        yield Mistake(feature.name, f"'{feature.name}' has no expression", "a view without source has expressions only")
    if feature.when_missing == "default" and not _fits(feature):
        hint = f"{feature.name} = {{ default = VALUE }}, a {feature.dtype}"
        yield Mistake(feature.name, f"the default of '{feature.name}' is {feature.default!r}", hint)


def _window_mistakes(view: FeatureView, feature: Feature) -> Iterator[Mistake]:
    aggregation = feature.aggregation
    if view.source is None or not view.source.event_time:
        yield Mistake(feature.name, f"the window '{feature.name}' needs an event time", 'event_time = "COLUMN"')
    if aggregation and not aggregation.column and aggregation.function != "count":
        hint = f'{feature.name} = "{aggregation.function}(COLUMN) over 1d"'
        yield Mistake(feature.name, f"the window '{feature.name}' has no column", hint)


def _fits(feature: Feature) -> bool:
    """Check that the default of a feature has its type."""
    value, kinds = feature.default, _KINDS.get(feature.dtype, ())
    return isinstance(value, kinds) and (not isinstance(value, bool) or feature.dtype == "boolean")


def _circle(view: FeatureView) -> list[str]:
    """Return features that need each other, in a circle; a feature that reads its own name reads the source."""
    names = {feature.name for feature in view.features}
    needs = {
        feature.name: (columns_of(feature.expression) & names) - {feature.name}
        for feature in view.features
        if feature.expression is not None
    }
    while ready := [name for name, others in needs.items() if not others & needs.keys()]:
        for name in ready:
            del needs[name]
    path: list[str] = []
    name = min(needs, default="")
    while name and name not in path:
        path.append(name)
        name = min(needs[name] & needs.keys())
    return [*path[path.index(name) :], name] if path else []


def views_read(views: Sequence[FeatureView], names: Collection[str]) -> tuple[FeatureView, ...]:
    """Return the views of a release whose model reads columns of these names.

    `columns` of each are the features that the model reads, or that features of the request (on demand) are computed
    from. A view of which nothing is read is left out.
    """
    needed = set(names)
    for view in reversed(views):
        for feature in reversed(view.features):
            if view.is_on_demand and feature.name in needed and feature.expression is not None:
                needed |= columns_of(feature.expression)
    found = []
    for view in views:
        columns = tuple(feature.name for feature in view.features if feature.name in needed)
        if columns:
            found.append(replace(view, columns=columns))
    return tuple(found)


def inputs_through(views: Sequence[FeatureView], name: str, names: Sequence[str]) -> list[str]:
    """Return the inputs of a model, of these names, that it reads from a view or that are computed from its features.

    Without all of them the view is not looked up.
    """
    found = {feature.name for view in views if view.name == name for feature in view.features}
    for view in views:
        for feature in view.features if view.is_on_demand else ():
            if feature.expression is not None and columns_of(feature.expression) & found:
                found.add(feature.name)
    return [column for column in names if column in found]
