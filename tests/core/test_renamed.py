"""Old names of fields, kinds, values, settings and arguments are read as today's."""

from __future__ import annotations

import asyncio
import json
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any, ClassVar

import msgspec
import pytest
from headway_greet_settings import GreetSection

from headway.core import config
from headway.core.errors import ConfigError, StoreError
from headway.core.record import FormerValues, Record, StoredRecord, read, write
from headway.core.renamed import RenamedWarning, current_form, renamed_arguments


class Part(Record, frozen=True, kw_only=True):
    former_names: ClassVar[Mapping[str, str]] = {"says": "message"}
    former_values: ClassVar[Mapping[str, FormerValues]] = {
        "status": {"well": "ok"},
        "measures": lambda name: name.replace(".loss", ".drop"),
        "periods": {"choose": "validation"},
    }
    message: str
    status: str = "ok"
    measures: tuple[str, ...] = ()
    periods: dict[str, int] = {}


class Whole(StoredRecord, frozen=True, kw_only=True):
    former_kinds: ClassVar[tuple[str, ...]] = ("oldwhole",)
    one: Part | None = None
    many: tuple[Part, ...] = ()
    by_name: dict[str, Part] = {}
    pair: tuple[str, Part] | None = None


class Branch(Record, frozen=True, kw_only=True):
    branches: tuple[Branch, ...] = ()
    leaves: tuple[Part, ...] = ()


OLD = {"says": "a", "status": "well", "measures": ["auc.loss"], "periods": {"choose": 1}}
NEW = Part(message="a", status="ok", measures=("auc.drop",), periods={"validation": 1})


def stored(version: int, **body: object) -> bytes:
    return json.dumps({"kind": "oldwhole", "version": version, "record": body}).encode()


@pytest.mark.parametrize(
    ("body", "expected"),
    [
        ({"one": OLD}, Whole(one=NEW)),
        ({"many": [OLD, {"says": "b"}]}, Whole(many=(NEW, Part(message="b")))),
        ({"by_name": {"x": OLD}}, Whole(by_name={"x": NEW})),
        ({"pair": ["x", OLD]}, Whole(pair=("x", NEW))),
        ({"one": None}, Whole()),
    ],
    ids=["a field", "a tuple", "a dictionary", "a pair", "none"],
)
def test_old_names_are_read_wherever_the_record_is_nested(body: dict[str, Any], expected: Whole) -> None:
    assert read(Whole, stored(1, **body)) == expected
    assert read(Whole, write(expected)) == expected


def test_old_names_are_read_without_a_warning_from_a_store() -> None:
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        read(Whole, stored(1, one=OLD))


def test_old_names_are_read_in_a_record_that_can_contain_itself() -> None:
    old = {"branches": [{"branches": [{"leaves": [OLD]}]}]}
    new = Branch(branches=(Branch(branches=(Branch(leaves=(NEW,)),)),))
    assert msgspec.convert(current_form(old, Branch), Branch) == new


def test_an_old_name_in_a_record_of_todays_version_is_refused() -> None:
    with pytest.raises(StoreError, match="unknown field `says`"):
        read(Whole, stored(Whole.version, one=OLD))


def test_a_field_under_both_names_is_refused() -> None:
    with pytest.raises(StoreError, match="unknown field `says`"):
        read(Whole, stored(1, one={"says": "a", "message": "b"}))


def test_the_value_that_was_given_is_not_changed() -> None:
    original = {"many": [dict(OLD)]}
    current_form(original, Whole)
    assert original == {"many": [OLD]}


def test_other_values_are_left_to_the_decoder() -> None:
    for body in (
        {"one": [1]},
        {"one": {"message": "a", "status": 1}},
        {"many": "x"},
        {"pair": [1]},
        {"by_name": [OLD]},
    ):
        with pytest.raises(StoreError):
            read(Whole, stored(1, **body))


def test_an_old_keyword_argument_is_accepted_with_a_warning_that_names_the_new_one() -> None:
    @renamed_arguments(tell="callback")
    def search(*, callback: str = "") -> str:
        return callback

    @renamed_arguments(tell="callback")
    async def search_later(*, callback: str = "") -> str:
        return callback

    with pytest.warns(RenamedWarning, match=r"search\(\): 'tell' was renamed to 'callback'"):
        assert search(tell="x") == "x"  # type: ignore[call-arg]
    with pytest.warns(RenamedWarning, match="'tell' was renamed to 'callback'"):
        assert asyncio.run(search_later(tell="x")) == "x"  # type: ignore[call-arg]
    assert search(callback="y") == "y"
    with pytest.raises(TypeError, match="the same"):
        search(tell="x", callback="y")  # type: ignore[call-arg]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """A project's folder; the section [greet] of another package has settings that were renamed."""
    (tmp_path / "headway.toml").write_text("")
    return tmp_path


def test_an_old_setting_is_accepted_from_every_source_with_a_warning(folder: Path) -> None:
    load = config.load
    with pytest.warns(RenamedWarning, match="'hello' was renamed to 'salutation'"):
        found = load(folder, environment={"HEADWAY_GREET_HELLO": "a"})
    assert found[GreetSection].salutation == "a"
    with pytest.warns(RenamedWarning, match="'nice' was renamed to 'friendly'"):
        found = load(folder, environment={}, flags={"greet.tone": "nice"})
    assert found[GreetSection].tone == "friendly"
    (folder / "headway.toml").write_text('[greet]\nhello = "b"\ntone = "nice"\n')
    with pytest.warns(RenamedWarning) as caught:
        found = load(folder, environment={})
    assert found[GreetSection] == GreetSection(salutation="b", tone="friendly")
    assert {str(warning.message).split("'")[3] for warning in caught} == {"salutation", "friendly"}
    with pytest.warns(RenamedWarning):
        assert config.sources("greet.hello", folder, environment={})["file"] == "b"


def test_a_setting_under_both_names_is_refused(folder: Path) -> None:
    (folder / "headway.toml").write_text('[greet]\nhello = "b"\nsalutation = "c"\n')
    with pytest.raises(ConfigError, match=r"unknown setting 'greet\.hello'"):
        config.load(folder, environment={})
