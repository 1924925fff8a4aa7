"""Old spellings that are still read: fields and kinds of stored records, settings, and keyword arguments.

A record declares what was renamed (`former_names`, `former_values`, `former_kinds` of `core.record`); this module
brings what was written in an old form to today's. What a user typed gets a `RenamedWarning` that names the new
spelling; what headway itself stored is read without a warning.
"""

from __future__ import annotations

import functools
import inspect
import types
import warnings
from collections.abc import Callable, Mapping
from typing import Annotated, Any, TypeVar, Union, get_args, get_origin

import msgspec

Notice = Callable[[str, str, str], None]
"""Called with where an old spelling stands (`policy.release`), the old spelling and the new one."""
Function = TypeVar("Function", bound=Callable[..., Any])


class RenamedWarning(FutureWarning):
    """An old spelling was used; the next version does not accept it."""


def warn_renamed(where: str, old: str, new: str, *, stacklevel: int = 2) -> None:
    """Warn that `old` is now spelled `new`; `where` names the file, variable, flag or function."""
    prefix = f"{where}: " if where else ""
    message = f"{prefix}'{old}' was renamed to '{new}'; the old name is accepted in this version only"
    warnings.warn(message, RenamedWarning, stacklevel=stacklevel + 1)


def renamed_arguments(**new_names: str) -> Callable[[Function], Function]:
    """Accept old keyword arguments of a function, with a warning: `@renamed_arguments(n_jobs="threads")`.

    Raises TypeError where a caller gives the old and the new name at once.
    """

    def decorate(function: Function) -> Function:
        def current(keywords: dict[str, Any]) -> dict[str, Any]:
            for old in keywords.keys() & new_names.keys():
                if new_names[old] in keywords:
                    raise TypeError(f"{function.__name__}() got '{old}' and '{new_names[old]}', which are the same")
                warn_renamed(f"{function.__name__}()", old, new_names[old], stacklevel=3)
            return {new_names.get(name, name): value for name, value in keywords.items()}

        if inspect.iscoroutinefunction(function):

            @functools.wraps(function)
            async def call_async(*args: Any, **keywords: Any) -> Any:
                return await function(*args, **current(keywords))

            return call_async  # type: ignore[return-value]

        @functools.wraps(function)
        def call(*args: Any, **keywords: Any) -> Any:
            return function(*args, **current(keywords))

        return call  # type: ignore[return-value]

    return decorate


def current_form(value: Any, kind: Any, notice: Notice | None = None, *, where: str = "") -> Any:
    """Return decoded JSON or TOML with the names and values that `kind` (a type annotation) declares today.

    Parameters
    ----------
    value : object
        Dictionaries, lists and scalars, as decoded; it is not changed.
    kind : type
        The record, or any annotation made of records, tuples and mappings, that the value will be converted to.
    notice : callable, optional
        Called for each old spelling that was met, such as with a function that warns.
    where : str
        Dotted path of the value, for `notice`.
    """
    if not _has_former(kind):
        return value
    origin, arguments = get_origin(kind), get_args(kind)
    if origin is Annotated:
        return current_form(value, arguments[0], notice, where=where)
    if origin in (Union, types.UnionType):
        for argument in arguments:
            if isinstance(value, dict if _is_record(argument) else dict | list):
                value = current_form(value, argument, notice, where=where)
        return value
    if _is_record(kind):
        return _current_record(value, kind, notice, where) if isinstance(value, dict) else value
    if isinstance(value, list):
        kinds = arguments if arguments[-1] is not Ellipsis and len(arguments) == len(value) else None
        return [
            current_form(item, kinds[index] if kinds else arguments[0], notice, where=where)
            for index, item in enumerate(value)
        ]
    if isinstance(value, dict) and len(arguments) == 2:
        return {key: current_form(item, arguments[1], notice, where=f"{where}.{key}") for key, item in value.items()}
    return value


def _current_record(value: dict[str, Any], kind: Any, notice: Notice | None, where: str) -> dict[str, Any]:
    found: dict[str, Any] = {}
    types_of = _field_types(kind)
    for name, item in value.items():
        new = kind.former_names.get(name, name)
        if new != name and new in value:
            new = name  # both spellings at once: the old one stays, and is refused as unknown
        elif new != name and notice:
            notice(where, name, new)
        path = f"{where}.{new}" if where else new
        if new in kind.former_values:
            item = _current_value(item, kind.former_values[new], notice, path)
        found[new] = current_form(item, types_of[new], notice, where=path) if new in types_of else item
    return found


def _current_value(
    item: Any, former: Mapping[str, str] | Callable[[str], str], notice: Notice | None, where: str
) -> Any:
    """Map a string, a boolean (by its name in TOML), each string of a list, or each key of a dictionary."""
    if isinstance(item, bool) and not callable(former) and str(item).lower() in former:
        item = str(item).lower()
    if isinstance(item, str):
        new = former(item) if callable(former) else former.get(item, item)
        if new != item and notice:
            notice(where, item, new)
        return new
    if isinstance(item, list):
        return [_current_value(part, former, notice, where) for part in item]
    if isinstance(item, dict):
        return {_current_value(key, former, notice, where): part for key, part in item.items()}
    return item


def _is_record(kind: Any) -> bool:
    return isinstance(kind, type) and hasattr(kind, "former_names")


@functools.cache
def _field_types(kind: Any) -> dict[str, Any]:
    return {field.name: field.type for field in msgspec.structs.fields(kind)}


@functools.cache
def _has_former(kind: Any) -> bool:
    """Check whether a type, or one inside it, declares an old spelling; a type may contain itself."""
    waiting, seen = [kind], set[Any]()
    while waiting:
        one = waiting.pop()
        if one in seen:
            continue
        seen.add(one)
        if _is_record(one):
            if one.former_names or one.former_values:
                return True
            waiting += _field_types(one).values()
        else:
            waiting += [part for part in get_args(one) if not isinstance(part, str | msgspec.Meta)]
    return False
