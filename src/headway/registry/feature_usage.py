"""Which releases use a feature view, and what a change of its definition means for them."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from headway.core.errors import HeadwayError
from headway.core.record import Record
from headway.features.catalog import ViewChange
from headway.registry.model_registry import ModelRegistry


class FeatureUse(Record, frozen=True, kw_only=True):
    """A release behind a pointer that reads a view; `problem` says why its views are not known, if they are not.

    Attributes
    ----------
    address : str
        The pointer, such as `flights@live`.
    release : str
        Digest of the release.
    view : str
        The version that it has, such as `weather@v2`; empty if it is not known.
    features : tuple of str
        The features of the view that it reads.
    """

    address: str
    release: str
    view: str = ""
    features: tuple[str, ...] = ()
    problem: str = ""


def uses_of(registry: ModelRegistry, name: str = "") -> list[FeatureUse]:
    """Return the releases behind all pointers, of every model of the store, that use a view (any view without a name).

    A release that does not verify may use it, and is listed with its problem.
    """
    return list(_uses(registry, name))


def _uses(registry: ModelRegistry, name: str) -> Iterator[FeatureUse]:
    if registry.state.last() is None:
        return
    newest = {f"{move.name}@{move.pointer}": move for move in registry.history()}
    for address, move in sorted(newest.items()):
        if not move.release:
            continue
        try:
            release = registry.resolve(address).release
        except HeadwayError as error:
            yield FeatureUse(address=address, release=move.release, problem=error.what)
            continue
        for view in release.views:
            if name in ("", view.name):
                yield FeatureUse(
                    address=address, release=move.release, view=view.reference, features=view.feature_names
                )


def changes_for(use: FeatureUse, changes: Sequence[ViewChange]) -> list[ViewChange]:
    """Return the changes that concern a release: of the view as a whole, and of the features that it reads.

    The release itself goes on with the version that it has; they concern its next training.
    """
    if use.problem:
        return list(changes)
    return [change for change in changes if not change.feature or change.feature in use.features]
