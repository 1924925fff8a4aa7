"""The status of a replay of logged values."""

from __future__ import annotations

from msgspec.structs import replace

from headway.core.value_replay import ValueReplay, ValueSkew, ViewReplay

EQUAL = ValueReplay(
    name="m",
    release="sha256:0",
    at="2026-11-28",
    since_us=0,
    until_us=9,
    n_rows=9,
    views=(ViewReplay(view="w", n_rows=9),),
)


def test_values_are_equal_only_if_every_view_was_compared_on_some_rows() -> None:
    assert EQUAL.status == "equal"
    for lacking in (replace(EQUAL, unknown={"v": "no source"}), replace(EQUAL, views=()), replace(EQUAL, n_rows=0)):
        assert lacking.status == "unknown"


def test_one_skew_makes_the_values_differ_and_the_skew_of_most_rows_is_first() -> None:
    skews = [ValueSkew(view="w", kind="unit", features=("wind",), n_rows=count, since_us=0) for count in (2, 5)]
    found = replace(EQUAL, unknown={"v": "no source"}, views=(ViewReplay(view="w", n_rows=9, skews=tuple(skews)),))
    assert (found.status, found.skews) == ("differs", (skews[1], skews[0]))
