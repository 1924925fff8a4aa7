from __future__ import annotations

import json
import math
import tracemalloc
from collections.abc import Callable, Mapping
from typing import Any, ClassVar

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from headway.core.errors import StoreError
from headway.core.evidence import Evidence, Finding, Machine, Measurement
from headway.core.record import StoredRecord, canonical, digest_of, read, write
from headway.core.release import PointerUpdate
from headway.core.variant import Artifact, Signature, Variant
from headway.core.variant import Field as Column
from headway.core.verdict import Rule, RuleResult, Verdict

texts = st.text(max_size=8)
numbers = st.floats(allow_nan=False, allow_infinity=False)
settings = st.dictionaries(texts, st.booleans() | st.integers(-(2**53), 2**53) | numbers | texts, max_size=3)
measurements = st.builds(
    Measurement,
    name=texts,
    value=numbers,
    low=numbers,
    high=numbers,
    method=texts,
    n_rows=st.integers(0, 9),
    se=numbers,
)
findings = st.builds(
    Finding, code=texts, severity=st.sampled_from(["stop", "warn", "note", "undecided"]), message=texts, limit=numbers
)
machines = st.builds(Machine, cpu=texts, cores=st.integers(1, 64), system=texts, python=texts)
variants = st.builds(
    Variant,
    artifact=st.builds(Artifact, format=texts, digest=texts, size_bytes=st.integers(0, 2**40)),
    engine=texts,
    signature=st.builds(Signature, inputs=st.tuples(st.builds(Column, name=texts, categories=st.tuples(texts, texts)))),
    settings=settings,
)
rule_results = st.builds(
    RuleResult, rule=st.builds(Rule, measure=texts, at_most=numbers), answer=st.just("pass"), message=texts
)
moves = st.builds(
    PointerUpdate,
    name=texts,
    pointer=texts,
    number=st.integers(1, 9),
    release=texts,
    previous=texts,
    at=texts,
    who=texts,
    why=texts,
)
records = st.one_of(
    variants,
    moves,
    st.builds(
        Verdict,
        answer=st.sampled_from(["pass", "fail", "undecided"]),
        subject=texts,
        rule_results=st.tuples(rule_results),
    ),
    st.builds(
        Evidence,
        subject=texts,
        dataset=texts,
        period=texts,
        machine=machines,
        measurements=st.tuples(measurements),
        findings=st.tuples(findings),
    ),
)


class Ticket(StoredRecord, frozen=True, kw_only=True):
    """A record in its third form: `title` became `message`, then `urgent` was added."""

    version: ClassVar[int] = 3
    migrations: ClassVar[Mapping[int, Callable[[dict[str, Any]], dict[str, Any]]]] = {
        1: lambda body: {"message": body["title"]},
        2: lambda body: {**body, "urgent": False},
    }
    message: str
    urgent: bool


def envelope(version: int, **body: object) -> bytes:
    return json.dumps({"kind": "ticket", "version": version, "record": body}).encode()


@given(records)
def test_a_record_is_read_back_as_it_was_written(record: StoredRecord) -> None:
    assert read(type(record), write(record)) == record


@given(records)
def test_a_record_is_written_as_the_same_bytes_after_a_round_trip(record: StoredRecord) -> None:
    assert write(read(type(record), write(record))) == write(record)


@given(settings)
def test_the_digest_does_not_depend_on_the_order_of_keys(values: dict[str, object]) -> None:
    backwards = dict(reversed(values.items()))
    assert digest_of(canonical(backwards)) == digest_of(canonical(values))


def test_the_bytes_that_digests_and_signatures_are_taken_of_stay_as_they_are() -> None:
    assert write(Ticket(message="é", urgent=True)) == (
        '{"kind":"ticket","record":{"message":"é","urgent":true},"version":3}'.encode()
    )
    assert digest_of(b"headway") == "sha256:8da43fa88314b1ae8a192b84b38c8cf058a3ee9424f54ecad07fc2e6c7df72eb"


def test_a_record_cannot_be_edited() -> None:
    with pytest.raises(AttributeError):
        Ticket(message="a", urgent=True).urgent = False  # type: ignore[misc]


@pytest.mark.parametrize(
    ("version", "body"),
    [(1, {"title": "late"}), (2, {"message": "late"}), (3, {"message": "late", "urgent": False})],
    ids=["two behind", "one behind", "today's"],
)
def test_a_record_of_an_older_form_is_brought_to_todays(version: int, body: dict[str, object]) -> None:
    assert read(Ticket, envelope(version, **body)) == Ticket(message="late", urgent=False)


def test_a_record_of_todays_form_is_read_without_a_second_copy_of_its_content() -> None:
    machine = Machine(cpu="c", cores=1, system="s", python="p")
    finding = Finding(code="c", severity="note", message="m", limit=1.5)
    long = Evidence(subject="s", dataset="d", period="p", machine=machine, findings=(finding,) * 20_000)
    content = write(long)
    read(Evidence, content)
    tracemalloc.start()
    found = read(Evidence, content)
    kept, peak = tracemalloc.get_traced_memory()
    tracemalloc.stop()
    assert found == long and peak < 1.2 * kept


def test_a_record_of_a_newer_headway_is_refused_with_a_hint() -> None:
    with pytest.raises(StoreError, match=r"version 4, this headway reads up to 3\n  try: pip install --upgrade"):
        read(Ticket, envelope(4, message="late"))


def test_a_record_of_another_kind_is_refused_by_name() -> None:
    with pytest.raises(StoreError, match="expected a record 'pointer_update', met a record 'ticket'"):
        read(PointerUpdate, envelope(1))


@pytest.mark.parametrize(
    "content",
    [
        b"",
        b"\xff",
        b"[]",
        b'{"kind": "ticket"}',
        envelope(3, message=1, urgent=False),
        envelope(3, message="", urgent=False, x=1),
    ],
    ids=["nothing", "not text", "a list", "no version", "a wrong type", "an unknown field"],
)
def test_bytes_that_are_no_such_record_are_refused(content: bytes) -> None:
    with pytest.raises(StoreError, match="not a record 'ticket'"):
        read(Ticket, content)


@given(st.binary())
def test_arbitrary_bytes_raise_only_headway_errors(content: bytes) -> None:
    with pytest.raises(StoreError):
        read(Ticket, content)


def test_canonical_text_has_sorted_keys_and_no_spaces() -> None:
    assert canonical({"b": 1, "a": [1.5, "é"]}) == '{"a":[1.5,"é"],"b":1}'.encode()
    assert msgspec.json.decode(canonical({"a": None})) == {"a": None}


def test_an_integer_in_a_float_field_keeps_its_digest_when_read():
    measured = Measurement(name="a", value=1, low=0, high=2, method="count", n_rows=3, dof=61)
    evidence = Evidence(
        subject="",
        dataset="",
        period="",
        machine=Machine(cpu="", cores=1, system="", python=""),
        measurements=(measured,),
    )
    content = write(evidence)
    assert write(read(Evidence, content)) == content


@pytest.mark.parametrize("value", [math.nan, math.inf])
def test_a_number_that_json_cannot_hold_is_refused_when_it_is_written(value):
    measured = Measurement(name="a", value=value, low=0, high=2, method="count", n_rows=3)
    with pytest.raises(StoreError, match="holds what cannot be kept"):
        write(
            Evidence(
                subject="",
                dataset="",
                period="",
                machine=Machine(cpu="", cores=1, system="", python=""),
                measurements=(measured,),
            )
        )
