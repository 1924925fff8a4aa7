"""Random expressions and columns of every type, for the tests that hold their computations equal."""

from __future__ import annotations

import datetime as dt
import functools
from collections.abc import Callable

import numpy as np
import polars as pl
from hypothesis import strategies as st

from headway.core.feature_view import ColumnValue, ConstantValue, Expression, FunctionCall

SCHEMA = {
    "x": pl.Float64(),
    "y": pl.Float64(),
    "i": pl.Int64(),
    "p": pl.Boolean(),
    "q": pl.Boolean(),
    "s": pl.String(),
    "u": pl.String(),
    "t": pl.Datetime("us"),
}
COLUMNS = {"number": ("x", "y", "i"), "boolean": ("p", "q"), "string": ("s", "u"), "datetime": ("t",)}
NUMBERS = st.one_of(
    st.none(),
    st.floats(),
    st.sampled_from([0.0, -0.0, 1.0, -1.0, 0.5, -0.5, 2.5, -2.5, 7.0, 3.0, -3.0, 0.1, float("inf"), 1e308, 5e-324]),
)
# Unicode 16 gave two of these letters an upper case: Python's table and polars' are of different years.
STRINGS = st.text(st.characters(codec="utf-8", max_codepoint=0x52F, exclude_characters="ƛɤ"), max_size=6)
TIMES = st.datetimes(dt.datetime(1600, 1, 1), dt.datetime(2500, 1, 1))
VALUES = {
    "x": NUMBERS,
    "y": NUMBERS,
    "i": st.one_of(st.none(), st.integers(-(2**63), 2**63 - 1), st.integers(-20, 20)),
    "p": st.sampled_from([True, False, None]),
    "q": st.sampled_from([True, False, None]),
    "s": st.one_of(st.none(), STRINGS),
    "u": st.one_of(st.none(), STRINGS, st.sampled_from(["", "a", "A"])),
    "t": st.one_of(st.none(), TIMES),
}
CONSTANTS = {
    "number": st.one_of(
        st.integers(-(2**53), 2**53), st.integers(-9, 9), st.floats(allow_nan=False, allow_infinity=False)
    ),
    "boolean": st.booleans(),
    "string": STRINGS,
}


MODERATE = st.one_of(st.integers(-9, 9).map(float), st.floats(-1e6, 1e6))
"""Numbers that no simple tree makes overflow."""
PLAIN_STRINGS = st.text("abzAZ 0-", max_size=4)
SIMPLE_VALUES = VALUES | {
    "x": st.one_of(st.none(), MODERATE),
    "y": st.one_of(st.none(), MODERATE),
    "i": st.one_of(st.none(), st.integers(-20, 20)),
    "s": st.one_of(st.none(), PLAIN_STRINGS),
    "u": st.one_of(st.none(), PLAIN_STRINGS),
}
SIMPLE_CONSTANTS = {"number": MODERATE, "boolean": st.booleans(), "string": PLAIN_STRINGS}


def frames(min_size: int = 0, *, simple: bool = False) -> st.SearchStrategy[pl.DataFrame]:
    """Rows of every column; `simple` ones are finite, of moderate size, and ASCII."""
    values = SIMPLE_VALUES if simple else VALUES
    rows = st.lists(st.fixed_dictionaries(values), min_size=min_size, max_size=8)
    return rows.map(lambda found: pl.DataFrame(found, schema=SCHEMA))


def call(function: str, *arguments: Expression) -> FunctionCall:
    return FunctionCall(function=function, arguments=arguments)


@functools.cache  # each strategy is built once: there are exponentially many paths to it
def expressions(dtype: str, depth: int = 3, *, simple: bool = False) -> st.SearchStrategy[Expression]:
    """Expressions whose value has a type.

    `simple` ones have no constant null (it has no type in DuckDB) and no function whose last digit a library chooses.
    """
    leaves = [st.sampled_from(COLUMNS[dtype]).map(lambda name: ColumnValue(name=name))]
    constants = SIMPLE_CONSTANTS if simple else CONSTANTS
    leaves += [constants[dtype].map(lambda value: ConstantValue(value=value))] if dtype in constants else []
    leaf = st.one_of(*leaves, *([] if simple else [st.just(ConstantValue(value=None))]))
    if depth == 0:
        return leaf

    def part(other: str) -> st.SearchStrategy[Expression]:
        return st.deferred(lambda: expressions(other, depth - 1, simple=simple))

    return st.one_of(leaf, *_calls(dtype, part, simple=simple))


def _calls(
    dtype: str, part: Callable[[str], st.SearchStrategy[Expression]], *, simple: bool
) -> list[st.SearchStrategy[Expression]]:
    of = st.builds
    some = [of(lambda c, a, b: call("if", c, a, b), part("boolean"), part(dtype), part(dtype))]
    some += [st.lists(part(dtype), min_size=2, max_size=3).map(lambda parts: call("coalesce", *parts))]
    if dtype in ("number", "datetime"):
        extremes = st.sampled_from(["minimum", "maximum"])
        some += [of(lambda f, parts: call(f, *parts), extremes, st.lists(part(dtype), min_size=2, max_size=3))]
    if dtype == "number":
        two = st.sampled_from(["add", "subtract", "multiply", "divide", "modulo", *([] if simple else ["power"])])
        exact, rest = ["negate", "abs", "sign", "floor", "ceil"], ["sqrt", "exp", "log", "log1p", "sin", "cos"]
        one = st.sampled_from([*exact, *([] if simple else rest)])
        clock = st.sampled_from(["year", "month", "day", "weekday", "hour", "minute", "second", "epoch_s"])
        digits = st.integers(-3, 3).map(lambda value: ConstantValue(value=value))
        some += [
            of(call, two, part("number"), part("number")),
            of(call, one, part("number")),
            of(call, clock, part("datetime")),
            of(call, st.just("round"), part("number"), digits),
            of(call, st.just("length"), part("string")),
        ]
    if dtype == "boolean":
        logic, same = st.sampled_from(["and", "or"]), st.sampled_from(["equal", "not_equal"])
        order = st.sampled_from(["less", "less_equal", "greater", "greater_equal"])
        some += [
            of(lambda f, parts: call(f, *parts), logic, st.lists(part("boolean"), min_size=2, max_size=3)),
            of(call, st.just("not"), part("boolean")),
        ]
        for other in COLUMNS:
            some += [of(call, same, part(other), part(other)), of(call, st.just("is_null"), part(other))]
            some += [of(lambda parts: call("in", *parts), st.lists(part(other), min_size=2, max_size=3))]
            some += [of(call, order, part(other), part(other))] if other != "boolean" else []
    if dtype == "string":
        some += [of(call, st.sampled_from(["lower", "upper"]), part("string"))]
    return some


def arrays(frame: pl.DataFrame) -> dict[str, np.ndarray]:
    """The columns of a frame as a request has them."""
    found = {name: frame[name].to_numpy() for name in ("x", "y", "t")}
    found |= {name: frame[name].cast(pl.Float64).to_numpy() for name in ("i", "p", "q")}
    found |= {name: np.array(frame[name].to_list(), dtype=object) for name in ("s", "u")}
    return found


TYPES = {"x": "number", "y": "number", "i": "integer", "p": "boolean", "q": "boolean"}
TYPES |= {"s": "string", "u": "string", "t": "datetime"}
