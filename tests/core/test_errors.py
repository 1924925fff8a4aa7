from __future__ import annotations

import pickle

import pytest

from headway.core import errors
from headway.core.errors import HeadwayError, PointerMoved, StoreError

ALL = [value for value in vars(errors).values() if isinstance(value, type) and issubclass(value, HeadwayError)]


def test_an_error_states_what_happened_then_where_then_the_hint() -> None:
    error = HeadwayError("engine 'x' needs 'x'", where="headway.toml", hint="pip install x")
    assert str(error) == "engine 'x' needs 'x'\n  at: headway.toml\n  try: pip install x"


def test_an_error_leaves_out_the_parts_it_was_not_given() -> None:
    assert str(HeadwayError("the table is empty")) == "the table is empty"


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_an_error_survives_pickling(kind: type[HeadwayError]) -> None:
    error = pickle.loads(pickle.dumps(kind("what", where="where", hint="hint")))
    assert (type(error), error.what, error.where, error.hint) == (kind, "what", "where", "hint")


@pytest.mark.parametrize("kind", ALL, ids=lambda kind: kind.__name__)
def test_the_tree_in_the_module_docstring_names_every_error(kind: type[HeadwayError]) -> None:
    assert kind.__name__ in (errors.__doc__ or "")


def test_a_moved_pointer_is_an_error_of_the_store() -> None:
    assert issubclass(PointerMoved, StoreError)
